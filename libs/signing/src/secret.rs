//! Symmetric signing secrets: `whsec_` and base64.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";
/// Bytes of a generated secret (spec §4).
const GENERATED_BYTES: usize = 32;
/// Allowed lengths of a decoded secret (Standard Webhooks 1.0.0).
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;

/// A symmetric signing secret.
///
/// Shown as `whsec_` + standard padded base64 of 24 to 64 bytes. The `standard` scheme keys its HMAC with the decoded
/// bytes, `x-webhook` with the whole string (spec §4). Memory is wiped on drop, comparison takes constant time, and
/// neither `Debug` nor any serialization shows the content:
///
/// ```compile_fail
/// fn needs_display<T: std::fmt::Display>(_: T) {}
/// needs_display(postrider_signing::Secret::generate());
/// ```
#[derive(Clone)]
pub struct Secret {
    text: Zeroizing<String>,
    key: Zeroizing<Vec<u8>>,
}

/// Why a text is not a [`Secret`]; says what is allowed and never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SecretError {
    /// The text does not start with `whsec_`.
    #[error("secret must start with `whsec_`, followed by base64 of 24 to 64 bytes")]
    Prefix,
    /// What follows the prefix is not standard padded base64 (RFC 4648 §4).
    #[error(
        "secret must be `whsec_` followed by standard base64 with padding (A-Z, a-z, 0-9, `+`, `/`, `=`)"
    )]
    Base64,
    /// The decoded secret is too short or too long.
    #[error("secret decodes to {0} bytes, allowed are 24 to 64")]
    Length(usize),
}

impl Secret {
    /// Makes a new secret of 32 random bytes.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: going on would mean a guessable secret.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0_u8; GENERATED_BYTES]);
        getrandom::fill(bytes.as_mut()).expect("the operating system provides randomness");
        Self::from_key(bytes.as_ref())
    }

    /// Reads a secret as its owner writes it: `whsec_…`.
    ///
    /// # Errors
    /// [`SecretError`] when the prefix, the base64 or the length (24 to 64 bytes) is wrong.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        let key = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?);
        if !(BYTES_MIN..=BYTES_MAX).contains(&key.len()) {
            return Err(SecretError::Length(key.len()));
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()), key })
    }

    /// Returns the whole `whsec_…` string: for the one answer that shows it, and for sealing it at rest.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The key of the `standard` scheme: the decoded bytes.
    pub(crate) fn standard_key(&self) -> &[u8] {
        &self.key
    }

    /// The key of the `x-webhook` scheme: the whole string, so that a receiver needs no base64.
    pub(crate) fn x_webhook_key(&self) -> &[u8] {
        self.text.as_bytes()
    }

    fn from_key(key: &[u8]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + key.len() * 2));
        text.push_str(PREFIX);
        STANDARD.encode_string(key, &mut text);
        Self { text, key: Zeroizing::new(key.to_vec()) }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.key.as_slice().ct_eq(other.key.as_slice()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn generated_secrets_differ_and_parse_back() {
        let (one, two) = (Secret::generate(), Secret::generate());
        assert_ne!(one, two);
        assert_eq!(one.expose().len(), "whsec_".len() + 44);
        assert_eq!(Secret::parse(one.expose()).unwrap(), one);
    }

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        let secret = Secret::generate();
        assert_eq!(format!("{secret:?}"), "Secret(***)");
    }

    #[test]
    fn wrong_secrets_are_refused_with_what_is_allowed() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7_u8; bytes]));
        let cases = [
            (String::new(), SecretError::Prefix),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), SecretError::Prefix),
            ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), SecretError::Prefix),
            (" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), SecretError::Prefix),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n".to_owned(), SecretError::Base64),
            ("whsec_".to_owned(), SecretError::Length(0)),
            ("whsec_not base64!".to_owned(), SecretError::Base64),
            (of(32).trim_end_matches('=').to_owned(), SecretError::Base64),
            (of(23), SecretError::Length(23)),
            (of(65), SecretError::Length(65)),
        ];
        for (text, error) in cases {
            assert_eq!(Secret::parse(&text).unwrap_err(), error, "{text:?}");
        }
        assert!(Secret::parse(&of(24)).is_ok());
        assert!(Secret::parse(&of(64)).is_ok());
        assert!(SecretError::Length(9).to_string().contains("24 to 64"));
    }

    proptest! {
        #[test]
        fn whatever_parses_is_exposed_unchanged(key in proptest::collection::vec(any::<u8>(), 24..=64)) {
            let text = format!("whsec_{}", STANDARD.encode(&key));
            let secret = Secret::parse(&text).unwrap();
            prop_assert_eq!(secret.expose(), text.as_str());
            prop_assert_eq!(secret.standard_key(), key.as_slice());
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,120}") {
            let _ = Secret::parse(&text);
            let _ = Secret::parse(&format!("whsec_{text}"));
        }
    }
}
