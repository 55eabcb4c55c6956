//! Names to addresses that may be dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use domain::ErrorClass;
use domain::egress_policy::EgressPolicy;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use tokio::time::timeout;

use crate::destination::{HostKey, OriginKey};
use crate::failure::Failure;
use crate::settings::Settings;

/// Most addresses of a name that are dialled; all of its answers are vetted.
const ADDRESSES_MAX: usize = 16;
/// Bounds of how long an answer is believed, and how long a failure is (`performance.md` §4).
const TTL_MIN: Duration = Duration::from_secs(5);
const TTL_MAX: Duration = Duration::from_secs(300);
const NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// Answers that are cached.
const CACHE_ENTRIES: u64 = 16_384;

/// The caching resolver. Without name servers only addresses and, where loopback is allowed, local names can be reached.
pub(crate) struct Resolver {
    dns: Option<TokioResolver>,
    budget: Duration,
}

impl Resolver {
    pub(crate) fn new(settings: &Settings) -> Self {
        let dns = build(settings)
            .inspect_err(|error| {
                tracing::warn!(%error, "no name server: receivers can be reached by address only");
            })
            .ok();
        Self { dns, budget: settings.dns_timeout }
    }

    /// Returns the addresses of an origin, all of them vetted (SE-2).
    ///
    /// One forbidden answer rejects the whole name: whoever mixes public and internal addresses is not to be trusted with a retry.
    pub(crate) async fn addresses(
        &self,
        key: &OriginKey,
        policy: &EgressPolicy,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let found = match &key.host {
            HostKey::Ip(ip) => vec![*ip],
            HostKey::Name(name) if policy.is_local_name(name) => {
                vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            }
            HostKey::Name(name) => self.look_up(name).await?,
        };
        for ip in &found {
            if let Err(blocked) = policy.check_addr(*ip, key.port) {
                tracing::info!(host = ?key.host, %blocked, answers = found.len(), "egress.blocked");
                return Err(Failure::blocked());
            }
        }
        Ok(found.into_iter().take(ADDRESSES_MAX).map(|ip| SocketAddr::new(ip, key.port)).collect())
    }

    async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        let failed = |detail: &'static str| Failure::new(ErrorClass::Dns, detail);
        let dns = self.dns.as_ref().ok_or_else(|| failed("no name server is configured"))?;
        // Fully qualified: the search domains of this machine must not turn a public name into an internal one.
        let mut name = Name::from_ascii(host).map_err(|_| failed("host name is not valid"))?;
        name.set_fqdn(true);
        let answer = timeout(self.budget, Box::pin(dns.lookup_ip(name)))
            .await
            .map_err(|_| failed("name server did not answer in time"))?
            .map_err(|error| {
                failed(if error.is_no_records_found() || error.is_nx_domain() {
                    "host name has no address"
                } else {
                    "name resolution failed"
                })
            })?;
        let found: Vec<IpAddr> = answer.iter().collect();
        if found.is_empty() { Err(failed("host name has no address")) } else { Ok(found) }
    }
}

fn build(settings: &Settings) -> Result<TokioResolver, NetError> {
    let mut builder = if settings.name_servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = settings.name_servers.iter().copied().map(name_server).collect();
        TokioResolver::builder_with_config(
            ResolverConfig::from_name_servers(servers),
            TokioRuntimeProvider::default(),
        )
    };
    tune(builder.options_mut(), settings.dns_timeout);
    builder.build()
}

fn tune(options: &mut ResolverOpts, budget: Duration) {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Two tries fit the budget.
    options.timeout = budget / 2;
    options.attempts = 2;
    options.cache_size = CACHE_ENTRIES;
    options.positive_min_ttl = Some(TTL_MIN);
    options.positive_max_ttl = Some(TTL_MAX);
    options.negative_min_ttl = Some(NEGATIVE_TTL);
    options.negative_max_ttl = Some(NEGATIVE_TTL);
}

fn name_server(addr: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(addr.ip());
    server.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = addr.port();
            connection
        })
        .into();
    server
}
