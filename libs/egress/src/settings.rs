//! What an operator can set, and what can be wrong with it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::egress_policy::EgressPolicy;
use thiserror::Error;

/// How to reach receivers. Defaults: `reliability.md` §2.5, `performance.md` §4.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where deliveries may go.
    pub policy: EgressPolicy,
    /// Longest name resolution: 2 s.
    pub dns_timeout: Duration,
    /// Longest TCP connect over all addresses of a name: 5 s.
    pub connect_timeout: Duration,
    /// Longest TLS handshake: 5 s.
    pub tls_timeout: Duration,
    /// Idle connections are closed after this: 60 s.
    pub idle_timeout: Duration,
    /// Connections are not used again after this, so that changes of DNS apply: 5 min.
    pub connection_age_max: Duration,
    /// Most idle connections in all: 1 024. Keep it below a quarter of the limit on open files.
    pub idle_max: usize,
    /// Most idle connections of one scheme, host and port: 512. Endpoints of one receiver share them, each with up to 64 requests
    /// in flight, and half of all places stay for others.
    pub idle_per_origin_max: usize,
    /// A PEM file with certificate authorities that are trusted beside the public ones.
    pub ca_file: Option<PathBuf>,
    /// Name servers instead of the system's.
    pub name_servers: Vec<SocketAddr>,
}

impl Settings {
    /// The defaults under a policy.
    #[must_use]
    pub fn new(policy: EgressPolicy) -> Self {
        Self {
            policy,
            dns_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            tls_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            connection_age_max: Duration::from_secs(5 * 60),
            idle_max: 1_024,
            idle_per_origin_max: 512,
            ca_file: None,
            name_servers: Vec::new(),
        }
    }
}

/// Why the client cannot be made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The file with certificate authorities cannot be used.
    #[error("ca file {path:?} cannot be read: give a PEM file with at least one certificate")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// The TLS library refused its own defaults.
    #[error("tls cannot be set up")]
    Tls(#[from] rustls::Error),
}
