//! The sending side: one [`Signer`] per endpoint and set of live secrets.

use std::fmt::{self, Write as _};
use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::asymmetric::PrivateKey;
use crate::header;
use crate::mac::KeyedMac;
use crate::secret::Secret;

/// Which header families a delivery carries (spec §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Scheme {
    /// Both families.
    #[default]
    Both,
    /// `webhook-*` only.
    Standard,
    /// `x-webhook-*` only.
    XWebhook,
}

/// Signs deliveries with a fixed set of live secrets.
///
/// Keys are absorbed once, here; a message then costs its own hash blocks. A signer knows no time: make a new one when a
/// secret ends or is revoked (SE-1).
#[derive(Clone)]
pub struct Signer {
    standard: Vec<KeyedMac>,
    asymmetric: Vec<PrivateKey>,
    x_webhook: Option<XWebhookKeys>,
    live_secrets: usize,
}

#[derive(Clone)]
struct XWebhookKeys {
    current: KeyedMac,
    previous: Option<KeyedMac>,
}

impl Signer {
    /// Makes a signer from the secrets that are live now: the current one and, newest first, those still in their grace
    /// period. At most 5 live secrets exist (spec §5); the caller sees to that.
    pub fn new(current: &Secret, previous_live: &[Secret], scheme: Scheme) -> Self {
        let standard = match scheme {
            Scheme::Both | Scheme::Standard => std::iter::once(current)
                .chain(previous_live)
                .map(|secret| KeyedMac::new(secret.standard_key()))
                .collect(),
            Scheme::XWebhook => Vec::new(),
        };
        let x_webhook = match scheme {
            Scheme::Both | Scheme::XWebhook => Some(XWebhookKeys {
                current: KeyedMac::new(current.x_webhook_key()),
                previous: previous_live.first().map(|secret| KeyedMac::new(secret.x_webhook_key())),
            }),
            Scheme::Standard => None,
        };
        Self { standard, asymmetric: Vec::new(), x_webhook, live_secrets: 1 + previous_live.len() }
    }

    /// Adds a `v1a` entry to `webhook-signature`; without effect where the scheme has no `standard` family.
    #[must_use]
    pub fn with_private_key(mut self, key: &PrivateKey) -> Self {
        if !self.standard.is_empty() {
            self.asymmetric.push(key.clone());
        }
        self
    }

    /// Returns how many symmetric secrets are live, for the attempt's record.
    pub fn live_secrets(&self) -> usize {
        self.live_secrets
    }

    /// Signs one attempt and replaces what `out` held.
    ///
    /// `id` is the event's id (`[A-Za-z0-9_-]{1,64}`, so it has no `.` that could move the border between the signed
    /// parts), `timestamp` the Unix seconds of this attempt, `body` the exact bytes that are sent. Reusing `out` saves
    /// its allocation.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8], out: &mut SignedHeaders) {
        out.clear();
        let mut timestamp_text = String::with_capacity(20);
        // Writing to a String cannot fail.
        let _ = write!(timestamp_text, "{timestamp}");
        if !self.standard.is_empty() {
            self.sign_standard(id, &timestamp_text, body, out);
        }
        if let Some(keys) = &self.x_webhook {
            let parts = [timestamp_text.as_bytes(), b".", body];
            out.push(header::X_WEBHOOK_ID, |text| text.push_str(id));
            out.push(header::X_WEBHOOK_TIMESTAMP, |text| text.push_str(&timestamp_text));
            out.push(header::X_WEBHOOK_SIGNATURE, |text| {
                push_x_webhook(&keys.current.digest(&parts), text);
            });
            if let Some(previous) = &keys.previous {
                out.push(header::X_WEBHOOK_SIGNATURE_PREVIOUS, |text| {
                    push_x_webhook(&previous.digest(&parts), text);
                });
            }
        }
    }

    fn sign_standard(&self, id: &str, timestamp: &str, body: &[u8], out: &mut SignedHeaders) {
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        out.push(header::WEBHOOK_ID, |text| text.push_str(id));
        out.push(header::WEBHOOK_TIMESTAMP, |text| text.push_str(timestamp));
        out.push(header::WEBHOOK_SIGNATURE, |text| {
            for (index, mac) in self.standard.iter().enumerate() {
                text.push_str(if index == 0 { "v1," } else { " v1," });
                STANDARD.encode_string(mac.digest(&parts), text);
            }
            if self.asymmetric.is_empty() {
                return;
            }
            // Ed25519 reads its message twice, so it needs it in one piece.
            let message = parts.concat();
            for key in &self.asymmetric {
                text.push_str(" v1a,");
                STANDARD.encode_string(key.sign(&message), text);
            }
        });
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("standard", &!self.standard.is_empty())
            .field("x_webhook", &self.x_webhook.is_some())
            .field("live_secrets", &self.live_secrets)
            .finish_non_exhaustive()
    }
}

/// Appends `sha256=` and the lower-case hex of a MAC.
pub(crate) fn push_x_webhook(mac: &[u8; 32], text: &mut String) {
    text.push_str("sha256=");
    for byte in mac {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16"));
        }
    }
}

/// The signature headers of one attempt: at most seven pairs in one buffer.
#[derive(Debug, Clone, Default)]
pub struct SignedHeaders {
    text: String,
    entries: Vec<(&'static str, Range<usize>)>,
}

impl SignedHeaders {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists (name, value): names in lower case from [`header`], values visible ASCII.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.entries
            .iter()
            .map(|(name, range)| (*name, self.text.get(range.clone()).unwrap_or_default()))
    }

    /// Returns the value of a header by its lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
    }

    fn push(&mut self, name: &'static str, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        self.entries.push((name, start..self.text.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scheme: Scheme, previous: &[Secret]) -> Vec<&'static str> {
        let mut out = SignedHeaders::new();
        let signer = Signer::new(&Secret::generate(), previous, scheme)
            .with_private_key(&PrivateKey::generate());
        signer.sign("evt_1", 1, b"{}", &mut out);
        out.iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn each_scheme_sends_its_own_headers() {
        let standard = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let x = ["x-webhook-id", "x-webhook-timestamp", "x-webhook-signature"];
        assert_eq!(names(Scheme::Standard, &[]), standard);
        assert_eq!(names(Scheme::XWebhook, &[]), x);
        assert_eq!(names(Scheme::Both, &[]), [standard, x].concat());
    }

    #[test]
    fn only_a_live_previous_secret_adds_the_previous_header() {
        let previous = [Secret::generate(), Secret::generate()];
        assert!(names(Scheme::XWebhook, &previous).contains(&"x-webhook-signature-previous"));
        assert!(!names(Scheme::Standard, &previous).contains(&"x-webhook-signature-previous"));
    }

    #[test]
    fn every_live_secret_signs_once_and_the_current_one_first() {
        let (current, previous) =
            (Secret::generate(), vec![Secret::generate(), Secret::generate()]);
        let mut out = SignedHeaders::new();
        Signer::new(&current, &previous, Scheme::Standard).sign("evt_1", 7, b"body", &mut out);
        let all: Vec<_> =
            out.get("webhook-signature").unwrap().split(' ').map(str::to_owned).collect();
        assert_eq!(all.len(), 3);
        for (entry, secret) in all.iter().zip(std::iter::once(&current).chain(&previous)) {
            let mut alone = SignedHeaders::new();
            Signer::new(secret, &[], Scheme::Standard).sign("evt_1", 7, b"body", &mut alone);
            assert_eq!(alone.get("webhook-signature").unwrap(), entry);
        }
    }

    #[test]
    fn every_entry_has_exactly_one_comma() {
        let mut out = SignedHeaders::new();
        Signer::new(&Secret::generate(), &[Secret::generate()], Scheme::Both)
            .with_private_key(&PrivateKey::generate())
            .sign("evt_1", 7, b"body", &mut out);
        let value = out.get("webhook-signature").unwrap();
        assert_eq!(value.split(' ').count(), 3);
        assert!(value.split(' ').all(|entry| entry.matches(',').count() == 1), "{value}");
    }

    #[test]
    fn reused_output_holds_only_the_last_attempt() {
        let signer = Signer::new(&Secret::generate(), &[], Scheme::Both);
        let (mut reused, mut fresh) = (SignedHeaders::new(), SignedHeaders::new());
        signer.sign("evt_first", 1, b"first", &mut reused);
        signer.sign("evt_2", 2, b"second", &mut reused);
        signer.sign("evt_2", 2, b"second", &mut fresh);
        assert!(reused.iter().eq(fresh.iter()));
    }

    #[test]
    fn debug_of_a_signer_tells_only_counts() {
        let shown = format!("{:?}", Signer::new(&Secret::generate(), &[], Scheme::Both));
        assert!(shown.contains("live_secrets: 1"), "{shown}");
        assert!(!shown.contains("whsec"), "{shown}");
    }
}
