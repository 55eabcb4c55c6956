//! TLS: public roots, the operator's own on top, and a line for people when a handshake fails.

use std::io;
use std::path::Path;
use std::sync::Arc;

use domain::ErrorClass;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use crate::failure::Failure;
use crate::settings::BuildError;

/// Server names whose sessions can be resumed; about the endpoints of a worker (`performance.md` §4).
const SESSIONS_MAX: usize = 16_384;

/// Makes the one client configuration.
pub(crate) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, BuildError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        add_roots(&mut roots, path)
            .map_err(|source| BuildError::CaFile { path: path.to_owned(), source })?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(config)
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> io::Result<()> {
    let mut added = 0;
    let pem = std::fs::read(path)?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
        added += 1;
    }
    if added == 0 { Err(io::Error::other("no certificate in it")) } else { Ok(()) }
}

/// Says why a handshake failed. Never a downgrade: what rustls does not support is named as such.
pub(crate) fn failure(error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let detail = match inner {
        Some(rustls::Error::InvalidCertificate(fault)) => certificate_fault(fault),
        Some(error) if is_unsupported(error) => {
            "tls: unsupported, no protocol version or cipher in common"
        }
        Some(_) => "tls: handshake failed",
        None => "tls: connection closed during the handshake",
    };
    Failure::new(ErrorClass::Tls, detail)
}

fn certificate_fault(fault: &CertificateError) -> &'static str {
    if matches!(fault, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
        "tls: certificate has expired"
    } else if matches!(
        fault,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    ) {
        "tls: certificate is for another name"
    } else if matches!(fault, CertificateError::UnknownIssuer) {
        "tls: certificate is self-signed or from an unknown authority"
    } else {
        "tls: certificate is not valid"
    }
}

fn is_unsupported(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(
                AlertDescription::HandshakeFailure
                    | AlertDescription::ProtocolVersion
                    | AlertDescription::InsufficientSecurity
            )
    )
}
