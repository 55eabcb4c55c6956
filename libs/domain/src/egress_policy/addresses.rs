//! The address lists, and the one function that decides.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::EgressPolicy;

/// Which rule forbids an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockReason {
    /// The port is 0 or not on the list.
    Port,
    /// One of our own listeners, brokers or stores.
    Own,
    /// A cloud metadata service.
    Metadata,
    /// The machine itself.
    Loopback,
    /// A private or shared network.
    Private,
    /// Valid on one link only.
    LinkLocal,
    /// More than one receiver.
    Multicast,
    /// Another special purpose: documentation, benchmarking, reserved.
    Reserved,
    /// An IPv4 address wrapped into IPv6 in a form that is not believed.
    Embedded,
}

impl fmt::Display for BlockReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "port is not allowed",
            Self::Own => "one of our own addresses",
            Self::Metadata => "cloud metadata address",
            Self::Loopback => "loopback address",
            Self::Private => "private or shared network",
            Self::LinkLocal => "link-local address",
            Self::Multicast => "multicast address",
            Self::Reserved => "special-purpose address",
            Self::Embedded => "ipv4 address wrapped into ipv6",
        })
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(high: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = high;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// What IPv4 denies (`reliability.md` §2.4; IANA IPv4 special-purpose registry). The AS112 and AMT blocks are reachable, but never a customer.
pub(super) const DENIED_V4: [(Ipv4Net, BlockReason); 18] = [
    (v4(0, 0, 0, 0, 8), BlockReason::Loopback),
    (v4(10, 0, 0, 0, 8), BlockReason::Private),
    (v4(100, 64, 0, 0, 10), BlockReason::Private),
    (v4(127, 0, 0, 0, 8), BlockReason::Loopback),
    (v4(169, 254, 0, 0, 16), BlockReason::LinkLocal),
    (v4(172, 16, 0, 0, 12), BlockReason::Private),
    (v4(192, 0, 0, 0, 24), BlockReason::Reserved),
    (v4(192, 0, 2, 0, 24), BlockReason::Reserved),
    (v4(192, 31, 196, 0, 24), BlockReason::Reserved),
    (v4(192, 52, 193, 0, 24), BlockReason::Reserved),
    (v4(192, 88, 99, 0, 24), BlockReason::Reserved),
    (v4(192, 168, 0, 0, 16), BlockReason::Private),
    (v4(192, 175, 48, 0, 24), BlockReason::Reserved),
    (v4(198, 18, 0, 0, 15), BlockReason::Reserved),
    (v4(198, 51, 100, 0, 24), BlockReason::Reserved),
    (v4(203, 0, 113, 0, 24), BlockReason::Reserved),
    (v4(224, 0, 0, 0, 4), BlockReason::Multicast),
    (v4(240, 0, 0, 0, 4), BlockReason::Reserved),
];

/// The only part of IPv6 that is global unicast, and what is denied inside it.
pub(super) const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);
pub(super) const DENIED_V6: [(Ipv6Net, BlockReason); 5] = [
    (v6([0x2001, 0, 0, 0], 23), BlockReason::Reserved),
    (v6([0x2001, 0x0db8, 0, 0], 32), BlockReason::Reserved),
    (v6([0x2002, 0, 0, 0], 16), BlockReason::Embedded),
    (v6([0x2620, 0x004f, 0x8000, 0], 48), BlockReason::Reserved),
    (v6([0x3fff, 0, 0, 0], 20), BlockReason::Reserved),
];

/// Names for what lies outside [`GLOBAL_V6`]; anything else there is reserved.
const NAMED_V6: [(Ipv6Net, BlockReason); 5] = [
    (v6([0xfc00, 0, 0, 0], 7), BlockReason::Private),
    (v6([0xfe80, 0, 0, 0], 10), BlockReason::LinkLocal),
    (v6([0xfec0, 0, 0, 0], 10), BlockReason::Private),
    (v6([0xff00, 0, 0, 0], 8), BlockReason::Multicast),
    (v6([0, 0, 0, 0], 8), BlockReason::Embedded),
];

/// The well-known NAT64 prefix (RFC 6052 §2.1).
const NAT64: Ipv6Net = v6([0x0064, 0xff9b, 0, 0], 96);

/// Metadata services: link-local of all clouds, Alibaba, Oracle, Azure's wire server (a public address), EC2 and GCP over IPv6.
const METADATA_V4: [Ipv4Net; 4] = [
    v4(169, 254, 0, 0, 16),
    v4(100, 100, 100, 200, 32),
    v4(192, 0, 0, 192, 32),
    v4(168, 63, 129, 16, 32),
];
const METADATA_V6: [Ipv6Net; 2] = [v6([0xfd00, 0x0ec2, 0, 0], 32), v6([0xfd20, 0x00ce, 0, 0], 32)];

impl EgressPolicy {
    /// Decides on an address whose port is allowed: `None` is yes.
    ///
    /// Own and metadata addresses come before everything that allows; an address that carries an IPv4 address is judged by that one too.
    pub(super) fn address_verdict(&self, addr: SocketAddr) -> Option<BlockReason> {
        let ip = addr.ip();
        let canonical = SocketAddr::new(ip.to_canonical(), addr.port());
        if self.denied.contains(&addr) || self.denied.contains(&canonical) {
            return Some(BlockReason::Own);
        }
        let allowed = self.allowed_cidrs.iter().any(|net| net.contains(&ip));
        if is_metadata(ip) && !(allowed && self.allow_metadata) {
            return Some(BlockReason::Metadata);
        }
        if allowed {
            return match ip {
                IpAddr::V4(_) => None,
                // A network of the operator's never opens a way around the rules for IPv4.
                IpAddr::V6(ip) => self.carried_verdict(ip, addr.port()),
            };
        }
        match ip {
            IpAddr::V4(ip) => self.verdict_v4(ip),
            IpAddr::V6(ip) => self.verdict_v6(ip, addr.port()),
        }
    }

    fn verdict_v4(&self, ip: Ipv4Addr) -> Option<BlockReason> {
        if self.allow_loopback && ip.is_loopback() {
            return None;
        }
        find(&DENIED_V4, |net| net.contains(&ip))
    }

    fn verdict_v6(&self, ip: Ipv6Addr, port: u16) -> Option<BlockReason> {
        if ip.is_loopback() {
            return if self.allow_loopback { None } else { Some(BlockReason::Loopback) };
        }
        if self.nat64_prefixes.iter().any(|prefix| prefix.contains(&ip)) {
            return self.carried_verdict(ip, port);
        }
        if self.nat64 && NAT64.contains(&ip) {
            return self.wrapped(low_v4(ip), port);
        }
        if !GLOBAL_V6.contains(&ip) {
            let named = find(&NAMED_V6, |net| net.contains(&ip));
            return Some(named.unwrap_or(BlockReason::Reserved));
        }
        find(&DENIED_V6, |net| net.contains(&ip))
            .or_else(|| isatap_v4(ip).and_then(|v4| self.wrapped(v4, port)))
    }

    /// Judges an IPv6 address by the IPv4 address that it carries; one that carries none passes.
    fn carried_verdict(&self, ip: Ipv6Addr, port: u16) -> Option<BlockReason> {
        let translated = self.nat64_prefixes.iter().find(|prefix| prefix.contains(&ip));
        if let Some(prefix) = translated {
            return match translated_v4(ip, prefix.prefix_len()) {
                Some(v4) => self.wrapped(v4, port),
                None => Some(BlockReason::Embedded),
            };
        }
        wrapped_v4(ip).and_then(|v4| self.wrapped(v4, port))
    }

    fn wrapped(&self, ip: Ipv4Addr, port: u16) -> Option<BlockReason> {
        self.address_verdict(SocketAddr::new(ip.into(), port))
    }
}

fn find<N>(list: &[(N, BlockReason)], contains: impl Fn(&N) -> bool) -> Option<BlockReason> {
    list.iter().find(|(net, _)| contains(net)).map(|(_, reason)| *reason)
}

fn is_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => METADATA_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => {
            METADATA_V6.iter().any(|net| net.contains(&ip))
                || wrapped_v4(ip).is_some_and(|v4| is_metadata(v4.into()))
        }
    }
}

/// The IPv4 address inside the well-known wrappers: mapped, compatible, SIIT, NAT64, 6to4, ISATAP.
fn wrapped_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, _, _] = ip.segments();
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if ip.is_loopback() || ip.is_unspecified() => None,
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => {
            Some(low_v4(ip))
        }
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => isatap_v4(ip),
    }
}

/// ISATAP: `…:[02]00:5efe:a.b.c.d` under any prefix (RFC 5214 §6.1).
fn isatap_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    match ip.segments() {
        [_, _, _, _, 0 | 0x0200, 0x5efe, _, _] => Some(low_v4(ip)),
        _ => None,
    }
}

fn low_v4(ip: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = ip.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// The IPv4 address inside an operator's NAT64 prefix; bits 64 to 71 are left out (RFC 6052 §2.2).
fn translated_v4(ip: Ipv6Addr, prefix_len: u8) -> Option<Ipv4Addr> {
    if !matches!(prefix_len, 32 | 40 | 48 | 56 | 64 | 96) {
        return None;
    }
    let start = usize::from(prefix_len / 8);
    let skip_from = if prefix_len == 96 { 16 } else { 8 };
    let octets = ip.octets();
    let mut inside = octets
        .iter()
        .enumerate()
        .filter(|(index, _)| *index >= start && *index != skip_from)
        .map(|(_, octet)| *octet);
    Some(Ipv4Addr::new(inside.next()?, inside.next()?, inside.next()?, inside.next()?))
}
