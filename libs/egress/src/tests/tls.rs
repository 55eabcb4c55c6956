//! TLS receivers with certificates of the test's own.

use std::io::Write as _;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name`, over since 1975 when `expired`.
fn certificate(
    authority: &Authority,
    name: &str,
    expired: bool,
) -> (CertificateDer<'static>, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_after = rcgen::date_time_ymd(1976, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.der().clone(), key)
}

fn self_signed(name: &str) -> (CertificateDer<'static>, KeyPair) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.der().clone(), made.signing_key)
}

async fn receiver((certificate, key): (CertificateDer<'static>, KeyPair)) -> Receiver {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Receiver::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            while read_request(&mut stream).await.is_some() {
                stream.write_all(OK).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    })
    .await
}

fn client(authority: &Authority) -> Egress {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(authority.pem().as_bytes()).unwrap();
    let mut settings = Settings::new(EgressPolicy::dev());
    settings.ca_file = Some(file.path().to_owned());
    Egress::new(&settings).unwrap()
}

async fn send(client: &Egress, host: &str, receiver: &Receiver) -> Outcome {
    client.send(request(&format!("https://{host}:{}/", receiver.port))).await
}

#[tokio::test]
async fn a_receiver_of_the_operators_authority_is_believed_and_its_connection_kept() {
    let authority = authority("operator");
    let client = client(&authority);
    for host in ["localhost", "127.0.0.1"] {
        let receiver = receiver(certificate(&authority, host, false)).await;
        for _ in 0..3 {
            assert_eq!(status(&send(&client, host, &receiver).await), 200, "{host}");
        }
        assert_eq!(receiver.connections(), 1, "{host}");
    }
}

#[tokio::test]
async fn wrong_certificates_are_of_class_tls() {
    let authority = authority("operator");
    let client = client(&authority);
    let stranger = self::authority("stranger");
    let cases = [
        (certificate(&stranger, "localhost", false), "unknown authority"),
        (self_signed("localhost"), "self-signed"),
        (certificate(&authority, "example.com", false), "another name"),
        (certificate(&authority, "localhost", true), "expired"),
    ];
    for (certificate, expected) in cases {
        let receiver = receiver(certificate).await;
        let outcome = send(&client, "localhost", &receiver).await;
        assert_eq!(class(&outcome), ErrorClass::Tls);
        assert!(outcome.detail.contains(expected), "{}", outcome.detail);
    }
}

#[tokio::test]
async fn receivers_that_do_not_speak_tls_are_of_class_tls() {
    let authority = authority("operator");
    let client = client(&authority);
    let plain = Receiver::start(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(class(&send(&client, "localhost", &plain).await), ErrorClass::Tls);
    let closing = Receiver::start(|stream, _| async move { drop(stream) }).await;
    assert_eq!(class(&send(&client, "localhost", &closing).await), ErrorClass::Tls);
}

#[tokio::test]
async fn a_hanging_handshake_ends_at_its_own_timeout() {
    let hanging = Receiver::start(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let mut settings = Settings::new(EgressPolicy::dev());
    settings.tls_timeout = Duration::from_millis(100);
    let client = Egress::new(&settings).unwrap();
    assert_eq!(class(&send(&client, "127.0.0.1", &hanging).await), ErrorClass::Tls);
}

#[tokio::test]
async fn a_bad_ca_file_is_named() {
    let mut settings = Settings::new(EgressPolicy::dev());
    for content in [None, Some("not a certificate")] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.unwrap_or_default().as_bytes()).unwrap();
        settings.ca_file = Some(file.path().to_owned());
        let error = Egress::new(&settings).unwrap_err();
        assert!(error.to_string().contains("PEM file"), "{error}");
    }
    settings.ca_file = Some("/nonexistent/ca.pem".into());
    assert!(Egress::new(&settings).is_err());
}
