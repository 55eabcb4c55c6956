//! Which destinations deliveries may go to: pure rules, so that whoever stores a URL can advise with the same ones that the dial enforces.
//!
//! [`EgressPolicy::check_url`] is advice at create and update: it sees a URL. [`EgressPolicy::check_addr`] is the boundary (SE-2): it sees each
//! address that a connection would go to. A name that looks harmless can resolve to anything, so the first never replaces the second.
//! IPv4 is a list of what is denied, IPv6 of what is allowed, both from the IANA special-purpose registries (`reliability.md` §2.4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};
use url::{Host, Url};

use crate::limits;

mod addresses;
mod names;

#[cfg(test)]
mod tests;

pub use addresses::BlockReason;
pub use names::NameFault;

/// What the operator lets deliveries reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Loopback addresses and `localhost` names are allowed: for `postrider dev`.
    pub allow_loopback: bool,
    /// `http:` is allowed beside `https:`.
    pub allow_http: bool,
    /// Networks that are allowed although the lists deny them. Never unblocks metadata addresses.
    pub allowed_cidrs: Vec<IpNet>,
    /// Cloud metadata addresses are reachable where `allowed_cidrs` has them.
    pub allow_metadata: bool,
    /// Name suffixes, such as `svc.cluster.local`, that are exempt from the rule against internal names; addresses are checked all the same.
    pub allowed_name_suffixes: Vec<String>,
    /// Ports that may be dialled.
    pub allowed_ports: AllowedPorts,
    /// `64:ff9b::/96` gets the verdict of the IPv4 address inside, instead of being denied.
    pub nat64: bool,
    /// The operator's own NAT64 prefixes (RFC 6052 §2.2: 32, 40, 48, 56, 64 or 96 bits): verdict of the IPv4 address inside.
    pub nat64_prefixes: Vec<Ipv6Net>,
    /// Our own listeners, brokers and stores: denied whatever else allows them.
    pub denied: Vec<SocketAddr>,
}

/// Which ports may be dialled; 0 never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedPorts {
    /// All but 0.
    Any,
    /// These.
    Only(Vec<u16>),
}

/// How to talk to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UrlScheme {
    /// In the clear.
    Http,
    /// TLS.
    Https,
}

/// Where a URL points, borrowed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'u> {
    /// How to talk to it.
    pub scheme: UrlScheme,
    /// A name in lower-case ASCII without final dot, or an address.
    pub host: Host<&'u str>,
    /// The port, the scheme's default when the URL names none.
    pub port: u16,
}

/// Why a URL cannot be an endpoint's; says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlRejection {
    /// Longer than 2 048 bytes.
    #[error("url is {0} bytes long, allowed are {max}", max = limits::URL_BYTES_MAX)]
    TooLong(usize),
    /// Neither `https` nor, where the operator allows it, `http`.
    #[error("url scheme {found:?} is not allowed: use {allowed}")]
    Scheme {
        /// The URL's scheme.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A user name or password in the URL.
    #[error("url must not contain a user name or password: use a custom header instead")]
    Userinfo,
    /// No host.
    #[error("url has no host")]
    NoHost,
    /// A port that may not be dialled.
    #[error("url port {found} is not allowed: {allowed}")]
    Port {
        /// The URL's port.
        found: u16,
        /// What is allowed.
        allowed: String,
    },
    /// A host name that cannot be public.
    #[error("url host name is not allowed: {0}")]
    Name(NameFault),
    /// An address that deliveries may not go to. Tenants see no more than this; the reason is for the operator's log.
    #[error("url host is an address that deliveries may not go to: use a public address or name")]
    Address(BlockReason),
}

/// An address that deliveries may not go to, for the operator's log: tenants see the constant category alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{addr} is blocked: {reason}")]
pub struct Blocked {
    /// What would have been dialled.
    pub addr: SocketAddr,
    /// Which rule forbids it.
    pub reason: BlockReason,
}

impl EgressPolicy {
    /// The safe default: `https` to public addresses on ports 443, 8080 and 8443.
    #[must_use]
    pub fn production() -> Self {
        Self {
            allow_loopback: false,
            allow_http: false,
            allowed_cidrs: Vec::new(),
            allow_metadata: false,
            allowed_name_suffixes: Vec::new(),
            allowed_ports: AllowedPorts::Only(vec![443, 8080, 8443]),
            nat64: false,
            nat64_prefixes: Vec::new(),
            denied: Vec::new(),
        }
    }

    /// For `postrider dev`: also `http`, loopback and every port. Private networks stay denied.
    #[must_use]
    pub fn dev() -> Self {
        Self {
            allow_loopback: true,
            allow_http: true,
            allowed_ports: AllowedPorts::Any,
            ..Self::production()
        }
    }

    /// For a person who sends to a server of their own: every address but those of cloud metadata services, and the name
    /// `host` whatever zone it is in.
    #[must_use]
    pub fn near_by(host: &str) -> Self {
        let everywhere = |ip: IpAddr| IpNet::new(ip, 0).ok();
        let any = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        Self {
            allowed_cidrs: any.into_iter().filter_map(everywhere).collect(),
            allowed_name_suffixes: vec![host.to_owned()],
            ..Self::dev()
        }
    }

    /// Checks what can be seen of a URL without resolving its host.
    ///
    /// A fragment is ignored: it never goes over the wire ([`stored_form`] drops it).
    ///
    /// # Errors
    /// [`UrlRejection`] says which part is wrong and what is allowed.
    pub fn check_url<'u>(&self, url: &'u Url) -> Result<Target<'u>, UrlRejection> {
        let length = url.as_str().len();
        if length > limits::URL_BYTES_MAX {
            return Err(UrlRejection::TooLong(length));
        }
        let scheme = self.check_scheme(url.scheme())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRejection::Userinfo);
        }
        let port = url.port_or_known_default().ok_or(UrlRejection::NoHost)?;
        self.check_url_port(port)?;
        let host = url.host().ok_or(UrlRejection::NoHost)?;
        let host = match host {
            Host::Domain(name) => Host::Domain(self.check_name(name)?),
            Host::Ipv4(ip) => {
                self.check_literal(ip.into(), port)?;
                host
            }
            Host::Ipv6(ip) => {
                self.check_literal(ip.into(), port)?;
                host
            }
        };
        Ok(Target { scheme, host, port })
    }

    /// Checks one address that a connection would go to.
    ///
    /// # Errors
    /// [`Blocked`] names the address and the rule.
    pub fn check_addr(&self, ip: IpAddr, port: u16) -> Result<(), Blocked> {
        let addr = SocketAddr::new(ip, port);
        let reason = if self.port_allowed(port) {
            self.address_verdict(addr)
        } else {
            Some(BlockReason::Port)
        };
        match reason {
            None => Ok(()),
            Some(reason) => Err(Blocked { addr, reason }),
        }
    }

    /// Whether `name` means this machine and may be used: `localhost` and names under it, where loopback is allowed (RFC 6761 §6.3).
    #[must_use]
    pub fn is_local_name(&self, name: &str) -> bool {
        self.allow_loopback && (name == "localhost" || name.ends_with(".localhost"))
    }

    fn check_scheme(&self, scheme: &str) -> Result<UrlScheme, UrlRejection> {
        match scheme {
            "https" => Ok(UrlScheme::Https),
            "http" if self.allow_http => Ok(UrlScheme::Http),
            _ => Err(UrlRejection::Scheme {
                found: scheme.chars().take(32).collect(),
                allowed: if self.allow_http { "https or http" } else { "https" },
            }),
        }
    }

    fn check_url_port(&self, port: u16) -> Result<(), UrlRejection> {
        if self.port_allowed(port) {
            return Ok(());
        }
        let allowed = match &self.allowed_ports {
            AllowedPorts::Any => "use 1 to 65535".to_owned(),
            AllowedPorts::Only(ports) => {
                let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                format!("use one of {}", ports.join(", "))
            }
        };
        Err(UrlRejection::Port { found: port, allowed })
    }

    fn check_name<'u>(&self, name: &'u str) -> Result<&'u str, UrlRejection> {
        let name = name.strip_suffix('.').unwrap_or(name);
        names::check(name).map_err(UrlRejection::Name)?;
        let exempt = self.is_local_name(name)
            || self.allowed_name_suffixes.iter().any(|suffix| names::is_under(name, suffix));
        if names::is_internal(name) && !exempt {
            return Err(UrlRejection::Name(NameFault::Internal));
        }
        Ok(name)
    }

    fn check_literal(&self, ip: IpAddr, port: u16) -> Result<(), UrlRejection> {
        self.check_addr(ip, port).map_err(|blocked| UrlRejection::Address(blocked.reason))
    }

    /// Port 80 needs no entry where `http` is allowed: it is what `http:` means.
    fn port_allowed(&self, port: u16) -> bool {
        match &self.allowed_ports {
            AllowedPorts::Any => port != 0,
            AllowedPorts::Only(ports) => {
                port != 0 && (ports.contains(&port) || (port == 80 && self.allow_http))
            }
        }
    }
}

/// The URL as it is stored: without its fragment.
#[must_use]
pub fn stored_form(mut url: Url) -> Url {
    url.set_fragment(None);
    url
}
