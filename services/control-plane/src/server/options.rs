//! The limits of the listener.

use std::sync::Arc;
use std::time::Duration;

use runtime::metrics::Registry;

use super::auth::{Authenticator, Open};

/// What the listener allows. Defaults are those of production; `auth` alone must be chosen.
#[derive(Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Who is let in. Default: everyone ([`Open`]), which is right for `dev` alone.
    pub auth: Arc<dyn Authenticator>,
    /// What `/metrics` shows; the listener adds its own. Default: those alone.
    pub metrics: Registry,
    /// The most connections at one time; more wait in the kernel's queue. Default 1 024.
    pub connections_max: usize,
    /// The most calls at one time; more are answered RESOURCE_EXHAUSTED. Default 512.
    pub calls_max: usize,
    /// The most streams of one HTTP/2 connection. Default 200.
    pub streams_per_connection_max: u32,
    /// The longest that a call may take until its answer begins; a client's `grpc-timeout` may shorten it. Default 30 s.
    pub call_timeout: Duration,
    /// The longest from connecting to the whole head of the first request. Default 10 s.
    pub head_timeout: Duration,
    /// How long a connection without a call stays open, a head that is still coming included. Default 2 min.
    pub idle_timeout: Duration,
    /// When a connection is asked to end, so that clients spread over new servers. Default 5 min.
    pub connection_age_max: Duration,
    /// How long a connection that was asked to end may finish its calls. Default 70 s.
    pub connection_grace: Duration,
    /// Interval of HTTP/2 pings to a silent peer. Default 60 s.
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered. Default 10 s.
    pub ping_timeout: Duration,
    /// How long calls may finish once shutdown was asked for; what is left then is cut. Default 35 s, above `call_timeout`.
    pub drain_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            auth: Arc::new(Open),
            metrics: Registry::default(),
            connections_max: 1_024,
            calls_max: 512,
            streams_per_connection_max: 200,
            call_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            connection_age_max: Duration::from_secs(300),
            connection_grace: Duration::from_secs(70),
            ping_interval: Duration::from_secs(60),
            ping_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(35),
        }
    }
}
