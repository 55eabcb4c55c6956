//! Names, answered by a name server of the test's own.

use std::net::{IpAddr, SocketAddr};

use domain::egress_policy::AllowedPorts;
use tokio::net::UdpSocket;

use super::*;

/// What the name server says to a name's first label.
fn answers(label: &str, wants_v6: bool) -> Vec<IpAddr> {
    let of = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
    match (label, wants_v6) {
        ("good", false) => of(&["127.0.0.1"]),
        ("mixed", false) => of(&["127.0.0.1", "10.0.0.1"]),
        ("public-first", false) => of(&["1.1.1.1", "169.254.169.254"]),
        ("internal", false) => of(&["10.0.0.1"]),
        ("mapped", true) => of(&["::ffff:127.0.0.1"]),
        ("many", false) => (0..30).map(|_| IpAddr::from([127, 0, 0, 1])).collect(),
        _ => Vec::new(),
    }
}

/// Encodes an answer to a query: its id and question, then one record for each address (RFC 1035 §4.1).
fn reply(query: &[u8]) -> Option<Vec<u8>> {
    let question = &query[12..];
    let label_length = usize::from(question[0]);
    let label = String::from_utf8_lossy(&question[1..=label_length]).to_lowercase();
    let name_end = question.iter().position(|byte| *byte == 0)? + 1;
    let kind = question[name_end + 1];
    if label == "silent" {
        return None;
    }
    let found = answers(&label, kind == 28);
    let code = match label.as_str() {
        "missing" => 3,
        "broken" => 2,
        _ => 0,
    };
    let mut out = query[..2].to_vec();
    out.extend_from_slice(&[
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::try_from(found.len()).unwrap(),
        0,
        0,
        0,
        0,
    ]);
    out.extend_from_slice(&question[..name_end + 4]);
    for ip in found {
        let bytes = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let length = u8::try_from(bytes.len()).unwrap();
        out.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, length]);
        out.extend_from_slice(&bytes);
    }
    Some(out)
}

struct NameServer {
    addr: SocketAddr,
    queries: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl NameServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let queries = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&queries);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut buffer = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                counter.fetch_add(1, Ordering::SeqCst);
                if let Some(reply) = reply(&buffer[..length]) {
                    socket.send_to(&reply, from).await.unwrap();
                }
            }
        });
        Self { addr, queries, _task: task }
    }

    /// A client that asks this server and may go to 127.0.0.0/8, but nowhere else internal.
    fn client(&self) -> Egress {
        let mut policy = EgressPolicy::production();
        policy.allow_http = true;
        policy.allowed_ports = AllowedPorts::Any;
        policy.allowed_cidrs = vec!["127.0.0.0/8".parse().unwrap()];
        let mut settings = Settings::new(policy);
        settings.name_servers = vec![self.addr];
        settings.dns_timeout = Duration::from_millis(400);
        Egress::new(&settings).unwrap()
    }
}

async fn send(client: &Egress, host: &str, port: u16) -> Outcome {
    client.send(request(&format!("http://{host}.example.com:{port}/"))).await
}

#[tokio::test]
async fn names_are_resolved_and_cached() {
    let (server, receiver) = (NameServer::start().await, Receiver::answering(OK, true).await);
    let client = server.client();
    assert_eq!(status(&send(&client, "good", receiver.port).await), 200);
    let queries = server.queries.load(Ordering::SeqCst);
    assert_eq!(status(&send(&client, "good", receiver.port).await), 200);
    assert_eq!(receiver.connections(), 2);
    assert_eq!(server.queries.load(Ordering::SeqCst), queries);
    assert_eq!(status(&send(&client, "many", receiver.port).await), 200);
}

#[tokio::test]
async fn one_forbidden_answer_rejects_the_name() {
    let (server, receiver) = (NameServer::start().await, Receiver::answering(OK, true).await);
    let client = server.client();
    for host in ["mixed", "public-first", "internal", "mapped"] {
        let outcome = send(&client, host, receiver.port).await;
        assert_eq!(class(&outcome), ErrorClass::Blocked, "{host}: {}", outcome.detail);
        assert_eq!(outcome.detail, "destination is not allowed by the egress policy");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn names_that_do_not_resolve_are_of_class_dns() {
    let server = NameServer::start().await;
    let client = server.client();
    for host in ["missing", "broken", "empty", "silent"] {
        let outcome = send(&client, host, 9).await;
        assert_eq!(class(&outcome), ErrorClass::Dns, "{host}: {}", outcome.detail);
    }
}
