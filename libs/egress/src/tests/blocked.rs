//! Destinations that the policy forbids: no connection is made (SE-2).

use super::*;

#[tokio::test]
async fn production_connects_to_no_internal_address() {
    let receiver = Receiver::answering(OK, true).await;
    let mut policy = EgressPolicy::production();
    policy.allow_http = true;
    policy.allowed_ports = domain::egress_policy::AllowedPorts::Any;
    let client = Egress::new(&Settings::new(policy)).unwrap();
    for host in
        ["127.0.0.1", "localhost", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "0x7f.1"]
    {
        let outcome = client.send(request(&format!("http://{host}:{}/", receiver.port))).await;
        assert_eq!(class(&outcome), ErrorClass::Blocked, "{host}");
        assert_eq!(outcome.detail, "destination is not allowed by the egress policy");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn the_operator_can_open_a_network() {
    let receiver = Receiver::answering(OK, true).await;
    let mut policy = EgressPolicy::production();
    policy.allow_http = true;
    policy.allowed_ports = domain::egress_policy::AllowedPorts::Any;
    policy.allowed_cidrs = vec!["127.0.0.0/8".parse().unwrap()];
    let client = Egress::new(&Settings::new(policy)).unwrap();
    assert_eq!(status(&client.send(request(&receiver.url())).await), 200);
}

#[tokio::test]
async fn a_url_that_is_none_is_blocked() {
    for url in ["", "nonsense", "http://", "ftp://127.0.0.1/", "http://user@127.0.0.1/"] {
        assert_eq!(class(&dev().send(request(url)).await), ErrorClass::Blocked, "{url}");
    }
}

#[tokio::test]
async fn local_names_mean_this_machine_in_dev() {
    let receiver = Receiver::answering(OK, true).await;
    for host in ["localhost", "LOCALHOST.", "app.localhost"] {
        let url = format!("http://{host}:{}/", receiver.port);
        assert_eq!(status(&dev().send(request(&url)).await), 200, "{host}");
    }
}
