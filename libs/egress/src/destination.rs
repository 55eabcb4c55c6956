//! What a URL means for the wire, worked out once per URL and kept in a bounded table.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use domain::ErrorClass;
use domain::egress_policy::{EgressPolicy, UrlScheme};
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;
use tokio::time::Instant;
use url::{Position, Url};

use crate::failure::Failure;
use crate::pool::{IdleLimits, Origin};

/// Most URLs that are remembered; beyond that each is worked out anew. A worker serves fewer endpoints.
const REMEMBERED_MAX: usize = 16_384;

/// One URL, ready to be sent to.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) origin: Arc<Origin>,
    /// Path and query.
    pub(crate) uri: Uri,
    pub(crate) host_header: HeaderValue,
    used: AtomicBool,
}

/// Whom to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OriginKey {
    pub(crate) scheme: UrlScheme,
    pub(crate) host: HostKey,
    pub(crate) port: u16,
}

/// A name in lower-case ASCII without final dot, or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum HostKey {
    Name(Box<str>),
    Ip(IpAddr),
}

impl OriginKey {
    /// The name that the certificate must be for.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        match &self.host {
            HostKey::Name(name) => ServerName::try_from(name.to_string()).ok(),
            HostKey::Ip(ip) => Some(ServerName::IpAddress((*ip).into())),
        }
    }

    /// The address to dial, when no name has to be resolved.
    pub(crate) fn literal(&self) -> Option<SocketAddr> {
        match self.host {
            HostKey::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            HostKey::Name(_) => None,
        }
    }
}

/// The destinations in use, and their origins.
#[derive(Debug, Default)]
pub(crate) struct Destinations {
    by_url: Mutex<HashMap<Arc<str>, Arc<Destination>>>,
    origins: Mutex<HashMap<OriginKey, Weak<Origin>>>,
}

impl Destinations {
    /// Finds or makes the destination of a URL.
    pub(crate) fn get(
        &self,
        url: &Arc<str>,
        policy: &EgressPolicy,
        limits: &Arc<IdleLimits>,
    ) -> Result<Arc<Destination>, Failure> {
        let mut by_url = self.by_url.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_url.get(url) {
            known.used.store(true, Ordering::Relaxed);
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(self.make(url, policy, limits)?);
        if by_url.len() < REMEMBERED_MAX {
            by_url.insert(Arc::clone(url), Arc::clone(&made));
        }
        Ok(made)
    }

    /// Closes connections that idled too long and forgets URLs that were not used since the last call and hold no connection.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut by_url = self.by_url.lock().unwrap_or_else(PoisonError::into_inner);
        by_url.retain(|_, destination| {
            let used = destination.used.swap(false, Ordering::Relaxed);
            destination.origin.close_expired(now) > 0 || used
        });
        drop(by_url);
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.retain(|_, origin| origin.strong_count() > 0);
    }

    fn make(
        &self,
        text: &str,
        policy: &EgressPolicy,
        limits: &Arc<IdleLimits>,
    ) -> Result<Destination, Failure> {
        let url =
            Url::parse(text).map_err(|_| Failure::new(ErrorClass::Blocked, "url is not valid"))?;
        let target = policy.check_url(&url).map_err(|rejection| {
            tracing::debug!(%rejection, "url refused by the egress policy");
            Failure::blocked()
        })?;
        let host_header = match url.port() {
            Some(port) => format!("{}:{port}", target.host),
            None => target.host.to_string(),
        };
        let unsendable = || Failure::new(ErrorClass::Blocked, "url cannot be put into a request");
        let key = OriginKey {
            scheme: target.scheme,
            host: match target.host {
                url::Host::Domain(name) => HostKey::Name(name.into()),
                url::Host::Ipv4(ip) => HostKey::Ip(ip.into()),
                url::Host::Ipv6(ip) => HostKey::Ip(ip.into()),
            },
            port: target.port,
        };
        Ok(Destination {
            origin: self.origin(key, limits),
            uri: url[Position::BeforePath..Position::AfterQuery]
                .parse()
                .map_err(|_| unsendable())?,
            host_header: HeaderValue::try_from(host_header).map_err(|_| unsendable())?,
            used: AtomicBool::new(true),
        })
    }

    fn origin(&self, key: OriginKey, limits: &Arc<IdleLimits>) -> Arc<Origin> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        match origins.entry(key) {
            Entry::Occupied(mut known) => known.get().upgrade().unwrap_or_else(|| {
                let made = Arc::new(Origin::new(known.key().clone(), Arc::clone(limits)));
                known.insert(Arc::downgrade(&made));
                made
            }),
            Entry::Vacant(slot) => {
                let made = Arc::new(Origin::new(slot.key().clone(), Arc::clone(limits)));
                slot.insert(Arc::downgrade(&made));
                made
            }
        }
    }
}
