//! New connections, to vetted addresses only.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::ErrorClass;
use domain::egress_policy::{EgressPolicy, UrlScheme};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::destination::OriginKey;
use crate::failure::Failure;
use crate::monotonic;
use crate::pool::Live;
use crate::resolve::Resolver;
use crate::settings::{BuildError, Settings};
use crate::stream::Stream;
use crate::tls;

/// Limits of an answer's head (`reliability.md` §2.5).
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;

/// Makes connections.
pub(crate) struct Dialler {
    resolver: Resolver,
    tls: TlsConnector,
    policy: EgressPolicy,
    connect_timeout: Duration,
    tls_timeout: Duration,
    http: http1::Builder,
}

impl Dialler {
    pub(crate) fn new(settings: &Settings) -> Result<Self, BuildError> {
        let mut http = http1::Builder::new();
        // The first bounds a head that is complete, the second one that never is.
        http.max_header_size(HEAD_BYTES_MAX).max_buf_size(HEAD_BYTES_MAX);
        http.max_headers(HEADERS_MAX);
        Ok(Self {
            resolver: Resolver::new(settings),
            tls: TlsConnector::from(Arc::new(tls::client_config(settings.ca_file.as_deref())?)),
            policy: settings.policy.clone(),
            connect_timeout: settings.connect_timeout,
            tls_timeout: settings.tls_timeout,
            http,
        })
    }

    pub(crate) fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// Resolves, vets, connects and, for `https`, shakes hands.
    pub(crate) async fn dial(&self, key: &OriginKey) -> Result<Live, Failure> {
        let tcp = match key.literal() {
            Some(addr) => self.connect(&[self.vetted(addr)?]).await?,
            None => self.connect(&self.resolver.addresses(key, &self.policy).await?).await?,
        };
        let stream = match key.scheme {
            UrlScheme::Http => Stream::Plain(tcp),
            UrlScheme::Https => self.shake_hands(key, tcp).await?,
        };
        let handshake = self.http.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = handshake.map_err(|error| Failure::exchange(&error))?;
        Ok(Live { sender, driver, ended: false, born: monotonic::now() })
    }

    fn vetted(&self, addr: SocketAddr) -> Result<SocketAddr, Failure> {
        self.policy.check_addr(addr.ip(), addr.port()).map(|()| addr).map_err(|blocked| {
            tracing::info!(%blocked, "egress.blocked");
            Failure::blocked()
        })
    }

    /// Tries the addresses in turn, each with its share of the time that is left.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        let deadline = monotonic::now() + self.connect_timeout;
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut last = Failure::new(ErrorClass::Dns, "host name has no address");
        for addr in addresses {
            let now = monotonic::now();
            let share = deadline.saturating_duration_since(now) / left.max(1);
            left = left.saturating_sub(1);
            last = match timeout_at(now + share, TcpStream::connect(addr)).await {
                Ok(Ok(stream)) => return self.accepted(stream, *addr),
                Ok(Err(error)) => Failure::connect(&error),
                Err(_) => Failure::new(ErrorClass::Connect, "no connection within the time for it"),
            };
        }
        Err(last)
    }

    /// Looks once more at where the connection really leads.
    fn accepted(&self, stream: TcpStream, addr: SocketAddr) -> Result<TcpStream, Failure> {
        let ends = || -> io::Result<(SocketAddr, SocketAddr)> {
            stream.set_nodelay(true)?;
            Ok((stream.peer_addr()?, stream.local_addr()?))
        };
        let (peer, local) = ends().map_err(|error| Failure::connect(&error))?;
        if peer == local {
            // A port of our own that nobody listens on can connect to itself.
            return Err(Failure::new(ErrorClass::Connect, "connection refused"));
        }
        if peer.ip() != addr.ip() {
            self.vetted(peer)?;
        }
        Ok(stream)
    }

    async fn shake_hands(&self, key: &OriginKey, tcp: TcpStream) -> Result<Stream, Failure> {
        let name = key.server_name();
        let name =
            name.ok_or_else(|| Failure::new(ErrorClass::Tls, "tls: host name is not valid"))?;
        let shake = Box::pin(self.tls.connect(name, tcp));
        match timeout(self.tls_timeout, shake).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(tls::failure(&error)),
            Err(_) => {
                Err(Failure::new(ErrorClass::Tls, "tls: no handshake within the time for it"))
            }
        }
    }
}
