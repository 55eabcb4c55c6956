//! Host names that cannot be a public receiver's.

use std::fmt;

/// Longest name without final dot, and longest label (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Zones that only resolve inside some network.
const INTERNAL_ZONES: [&str; 4] = ["local", "internal", "localhost", "home.arpa"];

/// What is wrong with a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// An empty label, a label over 63 bytes, or over 253 bytes in all.
    Shape,
    /// Characters that no host name has.
    Characters,
    /// A single label, or a zone that only resolves inside a network.
    Internal,
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "labels must have 1 to 63 bytes, the name at most 253",
            Self::Characters => "use letters, digits, `-`, `_` and dots",
            Self::Internal => {
                "use a public name with a dot in it, not under .local, .internal, .localhost or .home.arpa"
            }
        })
    }
}

/// Checks the shape of a name without final dot. Names are lower-case ASCII here: the URL parser turned the rest into punycode.
pub(super) fn check(name: &str) -> Result<(), NameFault> {
    let sized = |label: &str| (1..=LABEL_BYTES_MAX).contains(&label.len());
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(sized) {
        return Err(NameFault::Shape);
    }
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.bytes().all(usual) { Ok(()) } else { Err(NameFault::Characters) }
}

/// Whether a name means something only inside a network.
pub(super) fn is_internal(name: &str) -> bool {
    !name.contains('.') || INTERNAL_ZONES.iter().any(|zone| is_under(name, zone))
}

/// Whether `name` is `zone` or lies under it; a leading dot of `zone` has no meaning.
pub(super) fn is_under(name: &str, zone: &str) -> bool {
    let zone = zone.trim_start_matches('.');
    !zone.is_empty()
        && name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
