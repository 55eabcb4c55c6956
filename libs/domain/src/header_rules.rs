//! Which custom headers an endpoint may have.

use crate::limits;

/// A custom header that may not be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a token of RFC 9110 §5.6.2.
    #[error("header name {0:?} is not valid: allowed are letters, digits and !#$%&'*+-.^_`|~")]
    Name(String),
    /// A header that Postrider or the protocol sets.
    #[error("header {0:?} is reserved: choose a name that neither HTTP nor the signature uses")]
    Reserved(String),
    /// Not visible ASCII.
    #[error(
        "value of header {0:?} is not valid: allowed are visible ASCII characters and inner blanks, \
         {max} bytes at most", max = limits::HEADER_VALUE_BYTES_MAX
    )]
    Value(String),
}

/// Names that a tenant must not set: framing, hop-by-hop, our own (`reliability.md` §2.5).
const RESERVED: [&str; 22] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "metadata-flavor",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "traceparent",
    "tracestate",
    "upgrade",
    "user-agent",
    "x-aws-ec2-metadata-token",
];

/// Prefixes that a tenant must not use: ours, and those that cloud metadata services obey.
const RESERVED_PREFIXES: [&str; 7] =
    ["webhook-", "x-webhook-", "x-amz-", "x-goog", "x-azure-", "x-aws-", "ce-"];

/// Checks one custom header and gives it back as it is stored: name in lower case, value trimmed.
///
/// # Errors
/// [`HeaderError`] says what is wrong and what is allowed.
pub fn check_custom_header(name: &str, value: &str) -> Result<(String, String), HeaderError> {
    let lower = name.trim().to_ascii_lowercase();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if lower.is_empty() || lower.len() > 128 || !lower.bytes().all(is_token) {
        return Err(HeaderError::Name(name.chars().take(80).collect()));
    }
    if RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|p| lower.starts_with(p))
    {
        return Err(HeaderError::Reserved(lower));
    }
    let value = value.trim_matches([' ', '\t']);
    let visible = |b: u8| (0x20..0x7f).contains(&b);
    if value.len() > limits::HEADER_VALUE_BYTES_MAX || !value.bytes().all(visible) {
        return Err(HeaderError::Value(lower));
    }
    Ok((lower, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_malformed_headers_are_refused() {
        assert_eq!(
            check_custom_header("Authorization", " Bearer x "),
            Ok(("authorization".to_owned(), "Bearer x".to_owned()))
        );
        for name in ["Host", "webhook-id", "X-Webhook-Signature", "Transfer-Encoding", "X-Amz-Date"]
        {
            assert!(
                matches!(check_custom_header(name, "v"), Err(HeaderError::Reserved(_))),
                "{name}"
            );
        }
        for name in ["", "a b", "a:b", "ä"] {
            assert!(matches!(check_custom_header(name, "v"), Err(HeaderError::Name(_))), "{name}");
        }
        for value in ["a\r\nb: c", "a\tb", "ä", "\0"] {
            assert!(
                matches!(check_custom_header("k", value), Err(HeaderError::Value(_))),
                "{value:?}"
            );
        }
    }
}
