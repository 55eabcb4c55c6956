use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::service::Routes;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use wire::api::v1::ListDeadLettersRequest;

use super::*;
use crate::cli::Format;

fn global(server: &str, ca_file: Option<&Path>) -> Global {
    Global {
        server: server.to_owned(),
        ca_file: ca_file.map(Path::to_owned),
        api_key: None,
        tenant: "default".to_owned(),
        output: Format::Table,
    }
}

/// A private authority in a file, and a server without services that it vouches for: it answers UNIMPLEMENTED.
async fn server_behind_tls() -> (String, tempfile::NamedTempFile) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let ca_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca_file.path(), authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))
        .unwrap()
        .add_routes(Routes::default());
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (format!("https://localhost:{port}"), ca_file)
}

#[tokio::test]
async fn a_server_behind_tls_is_reached_if_its_authority_is_named() {
    let (server, ca_file) = server_behind_tls().await;
    let api = Api::connect(&global(&server, Some(ca_file.path()))).await.expect("trusted");
    let answer = api.dead_letters().list_dead_letters(ListDeadLettersRequest::default()).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented, "the server itself answered");
    let stranger = Api::connect(&global(&server, None)).await.expect_err("nobody vouches for it");
    let Failure::Unreachable { cause, .. } = stranger else { panic!("{stranger:?}") };
    assert!(cause.contains("certificate"), "{cause}");
}

#[tokio::test]
async fn what_cannot_be_an_address_or_an_authority_is_a_wrong_usage() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let missing = Path::new("/nowhere/ca.pem");
    for (server, ca_file, part) in [
        ("ftp://localhost", None, "https://postrider.example.com"),
        ("localhost:7070", None, "is not an address"),
        ("https://localhost", Some(missing), "/nowhere/ca.pem cannot be read"),
        ("https://localhost", Some(empty.path()), "no PEM certificate"),
    ] {
        let failure = Api::connect(&global(server, ca_file)).await.expect_err(server);
        let Failure::Usage(message) = failure else { panic!("{failure:?}") };
        assert!(message.contains(part), "{message}");
    }
}
