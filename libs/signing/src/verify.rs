//! The receiving side: is this request from someone who holds a live secret, and recent?

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

use crate::asymmetric::PublicKey;
use crate::header;
use crate::mac::KeyedMac;
use crate::secret::Secret;
use crate::signer::push_x_webhook;

#[cfg(test)]
mod tests;

/// How far a timestamp may be from the receiver's clock, in both directions (spec §4).
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// Longest id that is believed; senders' ids are far shorter.
const ID_BYTES_MAX: usize = 256;

/// The keys that a receiver accepts for the `standard` scheme.
///
/// Kinds are kept apart by type: a `v1` entry is only ever checked against secrets, a `v1a` entry only against public
/// keys, so that nobody can pass off an HMAC made with a public key.
#[derive(Debug, Clone, Copy, Default)]
pub struct StandardKeys<'a> {
    /// Live symmetric secrets, the current one first.
    pub secrets: &'a [Secret],
    /// Live public keys.
    pub public_keys: &'a [PublicKey],
}

impl<'a> From<&'a [Secret]> for StandardKeys<'a> {
    fn from(secrets: &'a [Secret]) -> Self {
        Self { secrets, public_keys: &[] }
    }
}

impl<'a, const N: usize> From<&'a [Secret; N]> for StandardKeys<'a> {
    fn from(secrets: &'a [Secret; N]) -> Self {
        Self { secrets, public_keys: &[] }
    }
}

/// A request that verified under `standard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<'h> {
    /// The signed id: the same in every repeat of the event.
    pub id: &'h str,
    /// Unix seconds of the attempt.
    pub timestamp: i64,
}

/// A request that verified under `x-webhook`. It has no id: the header is not signed, so take the id from the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedXWebhook {
    /// Unix seconds of the attempt.
    pub timestamp: i64,
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The verifier has no key, so nothing can verify.
    #[error("no secret or public key to verify with")]
    NoKeys,
    /// A header of the scheme is absent or empty.
    #[error("header `{0}` is missing")]
    MissingHeader(&'static str),
    /// A header holds bytes that are not visible ASCII, or an id with a `.` or over 256 bytes.
    #[error("header `{0}` is malformed")]
    MalformedHeader(&'static str),
    /// The timestamp is not plain decimal Unix seconds.
    #[error("timestamp is not a decimal number of Unix seconds")]
    MalformedTimestamp,
    /// The timestamp is further in the past than tolerated.
    #[error("timestamp is too old")]
    TimestampTooOld,
    /// The timestamp is further in the future than tolerated (milliseconds instead of seconds look like this, too).
    #[error("timestamp is too far in the future")]
    TimestampTooNew,
    /// No entry has the shape `version,signature` (`standard`) or `algorithm=digits` (`x-webhook`).
    #[error("signature is malformed")]
    MalformedSignature,
    /// All well-formed entries are of versions that this library does not know or has no key for.
    #[error("signature has no version that can be verified here")]
    UnknownVersion,
    /// No signature fits: another secret, or the body or a header was changed.
    #[error("no signature matches")]
    NoMatch,
}

/// Makes a header look-up from pairs; names are compared without case, the first of a name counts.
pub fn from_pairs<'h, N, V>(pairs: &'h [(N, V)]) -> impl Fn(&str) -> Option<&'h [u8]>
where
    N: AsRef<str>,
    V: AsRef<[u8]>,
{
    move |name| {
        pairs
            .iter()
            .find(|(candidate, _)| candidate.as_ref().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
    }
}

/// Verifies `webhook-id`, `webhook-timestamp` and `webhook-signature` (Standard Webhooks 1.0.0).
///
/// `header` looks a header up by its lower-case name, without regard to case. `body` must be the bytes as received,
/// before any parsing. `now` is Unix seconds; `tolerance` holds both ways. All entries are compared with all keys in
/// constant time; entries that are malformed or of an unknown version are passed over.
///
/// # Errors
/// [`VerifyError`]; whatever it is, the request must not be processed.
pub fn verify_standard<'k, 'h>(
    keys: impl Into<StandardKeys<'k>>,
    header: impl Fn(&str) -> Option<&'h [u8]>,
    body: &[u8],
    now: i64,
    tolerance: Duration,
) -> Result<Verified<'h>, VerifyError> {
    let keys = keys.into();
    if keys.secrets.is_empty() && keys.public_keys.is_empty() {
        return Err(VerifyError::NoKeys);
    }
    let id = text(&header, header::WEBHOOK_ID)?;
    // A `.` in an id would let a sender's signature be read with other borders between id, timestamp and body.
    if id.len() > ID_BYTES_MAX || id.contains('.') {
        return Err(VerifyError::MalformedHeader(header::WEBHOOK_ID));
    }
    let timestamp_text = text(&header, header::WEBHOOK_TIMESTAMP)?;
    let timestamp = parse_timestamp(timestamp_text)?;
    let signatures = text(&header, header::WEBHOOK_SIGNATURE)?;
    check_time(timestamp, now, tolerance)?;
    let parts = [id.as_bytes(), b".", timestamp_text.as_bytes(), b".", body];
    match_standard(keys, signatures, &parts)?;
    Ok(Verified { id, timestamp })
}

/// Verifies `X-Webhook-Timestamp` with `X-Webhook-Signature` or `X-Webhook-Signature-Previous`.
///
/// Arguments as for [`verify_standard`]. Either signature may fit either secret, so a receiver that still holds only
/// the old secret verifies through the grace period.
///
/// # Errors
/// [`VerifyError`]; whatever it is, the request must not be processed.
pub fn verify_x_webhook<'h>(
    secrets: &[Secret],
    header: impl Fn(&str) -> Option<&'h [u8]>,
    body: &[u8],
    now: i64,
    tolerance: Duration,
) -> Result<VerifiedXWebhook, VerifyError> {
    if secrets.is_empty() {
        return Err(VerifyError::NoKeys);
    }
    let timestamp_text = text(&header, header::X_WEBHOOK_TIMESTAMP)?;
    let timestamp = parse_timestamp(timestamp_text)?;
    let current = text(&header, header::X_WEBHOOK_SIGNATURE)?;
    let previous = match text(&header, header::X_WEBHOOK_SIGNATURE_PREVIOUS) {
        Ok(value) => Some(value),
        Err(VerifyError::MissingHeader(_)) => None,
        Err(error) => return Err(error),
    };
    check_time(timestamp, now, tolerance)?;
    let parts = [timestamp_text.as_bytes(), b".", body];
    match_x_webhook(secrets, std::iter::once(current).chain(previous), &parts)?;
    Ok(VerifiedXWebhook { timestamp })
}

fn text<'h>(
    header: impl Fn(&str) -> Option<&'h [u8]>,
    name: &'static str,
) -> Result<&'h str, VerifyError> {
    let bytes = header(name).filter(|bytes| !bytes.is_empty());
    let bytes = bytes.ok_or(VerifyError::MissingHeader(name))?;
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
        .ok_or(VerifyError::MalformedHeader(name))
}

/// Accepts `0` or digits without a sign, blank or leading zero: exactly one spelling for each second, because the text
/// is what was signed. 18 digits fit an `i64`.
fn parse_timestamp(text: &str) -> Result<i64, VerifyError> {
    let plain = text.len() <= 18
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if !plain {
        return Err(VerifyError::MalformedTimestamp);
    }
    text.parse().map_err(|_| VerifyError::MalformedTimestamp)
}

fn check_time(timestamp: i64, now: i64, tolerance: Duration) -> Result<(), VerifyError> {
    let tolerance = i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX);
    if timestamp < now.saturating_sub(tolerance) {
        Err(VerifyError::TimestampTooOld)
    } else if timestamp > now.saturating_add(tolerance) {
        Err(VerifyError::TimestampTooNew)
    } else {
        Ok(())
    }
}

fn match_standard(
    keys: StandardKeys<'_>,
    signatures: &str,
    parts: &[&[u8]],
) -> Result<(), VerifyError> {
    let expected: Vec<String> = keys
        .secrets
        .iter()
        .map(|secret| STANDARD.encode(KeyedMac::new(secret.standard_key()).digest(parts)))
        .collect();
    let message = if keys.public_keys.is_empty() { Vec::new() } else { parts.concat() };
    let (mut well_formed, mut known) = (false, false);
    let mut matched = Choice::from(0);
    for entry in signatures.split(' ') {
        let Some((version, signature)) = entry.split_once(',') else {
            continue;
        };
        well_formed = true;
        match version {
            "v1" if !expected.is_empty() => {
                known = true;
                for expected in &expected {
                    matched |= expected.as_bytes().ct_eq(signature.as_bytes());
                }
            }
            "v1a" if !keys.public_keys.is_empty() => {
                known = true;
                // Public data on both sides: nothing to hide in the timing.
                let fits = STANDARD.decode(signature).is_ok_and(|signature| {
                    keys.public_keys.iter().any(|key| key.verifies(&message, &signature))
                });
                matched |= Choice::from(u8::from(fits));
            }
            _ => {}
        }
    }
    verdict(matched, well_formed, known)
}

fn match_x_webhook<'h>(
    secrets: &[Secret],
    signatures: impl Iterator<Item = &'h str>,
    parts: &[&[u8]],
) -> Result<(), VerifyError> {
    let expected: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let mut text = String::with_capacity(71);
            push_x_webhook(&KeyedMac::new(secret.x_webhook_key()).digest(parts), &mut text);
            text
        })
        .collect();
    let (mut well_formed, mut known) = (false, false);
    let mut matched = Choice::from(0);
    for signature in signatures {
        let Some((algorithm, _)) = signature.split_once('=') else {
            continue;
        };
        well_formed = true;
        known |= algorithm == "sha256";
        for expected in &expected {
            matched |= expected.as_bytes().ct_eq(signature.as_bytes());
        }
    }
    verdict(matched, well_formed, known)
}

fn verdict(matched: Choice, well_formed: bool, known: bool) -> Result<(), VerifyError> {
    if matched.into() {
        Ok(())
    } else if !well_formed {
        Err(VerifyError::MalformedSignature)
    } else if !known {
        Err(VerifyError::UnknownVersion)
    } else {
        Err(VerifyError::NoMatch)
    }
}
