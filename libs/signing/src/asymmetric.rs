//! Ed25519 keys of Standard Webhooks: `whsk_` signs, `whpk_` verifies; entries are marked `v1a`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;
use zeroize::Zeroizing;

const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// A private signing key: `whsk_` + base64 of the 32-byte seed followed by the 32-byte public key.
///
/// The seed alone (32 bytes) is accepted too. Wiped on drop; `Debug` shows nothing.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

/// A public key: `whpk_` + base64 of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Why a text is not a key; says what is allowed and never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The prefix is missing or belongs to another kind of key.
    #[error("key must start with `{expected}`")]
    Prefix {
        /// The prefix of this kind of key.
        expected: &'static str,
    },
    /// What follows the prefix is not standard padded base64 (RFC 4648 §4).
    #[error("key must be standard base64 with padding after its prefix")]
    Base64,
    /// The decoded key has a wrong length.
    #[error(
        "key decodes to {0} bytes, allowed are 32, or 64 for a private key with its public half"
    )]
    Length(usize),
    /// The bytes are no usable key: the halves do not belong together, or the point is invalid or weak.
    #[error("key is not a valid ed25519 key")]
    Invalid,
}

impl PrivateKey {
    /// Makes a new random key.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0_u8; 32]);
        getrandom::fill(seed.as_mut()).expect("the operating system provides randomness");
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads `whsk_…`.
    ///
    /// # Errors
    /// [`KeyError`] when the prefix, the base64, the length or the key itself is wrong.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = decode(text, PRIVATE_PREFIX)?;
        if let Ok(pair) = <&[u8; 64]>::try_from(bytes.as_slice()) {
            return SigningKey::from_keypair_bytes(pair).map(Self).map_err(|_| KeyError::Invalid);
        }
        let seed =
            <&[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Length(bytes.len()))?;
        Ok(Self(SigningKey::from_bytes(seed)))
    }

    /// Returns the whole `whsk_…` string, wiped on drop: for the one answer that shows it, and for sealing it at rest.
    pub fn expose(&self) -> Zeroizing<String> {
        let pair = Zeroizing::new(self.0.to_keypair_bytes());
        let mut text = Zeroizing::new(String::with_capacity(PRIVATE_PREFIX.len() + 88));
        text.push_str(PRIVATE_PREFIX);
        STANDARD.encode_string(pair.as_ref(), &mut text);
        text
    }

    /// Returns the half that receivers need.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl PublicKey {
    /// Reads `whpk_…`.
    ///
    /// # Errors
    /// [`KeyError`] when the prefix, the base64, the length or the key itself is wrong; weak keys, for which anybody
    /// can make signatures, are refused.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = decode(text, PUBLIC_PREFIX)?;
        let bytes =
            <&[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Length(bytes.len()))?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Invalid)?;
        if key.is_weak() { Err(KeyError::Invalid) } else { Ok(Self(key)) }
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", STANDARD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(***)")
    }
}

fn decode(text: &str, expected: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let encoded = text.strip_prefix(expected).ok_or(KeyError::Prefix { expected })?;
    STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| KeyError::Base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_survive_their_text() {
        let key = PrivateKey::generate();
        let again = PrivateKey::parse(&key.expose()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(PublicKey::parse(&key.public().to_string()).unwrap(), key.public());
    }

    #[test]
    fn a_seed_alone_is_a_private_key() {
        let key = PrivateKey::generate();
        let pair = STANDARD.decode(key.expose().strip_prefix("whsk_").unwrap()).unwrap();
        let seed = format!("whsk_{}", STANDARD.encode(&pair[..32]));
        assert_eq!(PrivateKey::parse(&seed).unwrap().public(), key.public());
    }

    #[test]
    fn wrong_keys_are_refused() {
        let key = PrivateKey::generate();
        let mut pair = STANDARD.decode(key.expose().strip_prefix("whsk_").unwrap()).unwrap();
        pair[63] ^= 1;
        let torn = format!("whsk_{}", STANDARD.encode(&pair));
        assert_eq!(PrivateKey::parse(&torn).unwrap_err(), KeyError::Invalid);
        let public = key.public().to_string();
        assert_eq!(PrivateKey::parse(&public).unwrap_err(), KeyError::Prefix { expected: "whsk_" });
        assert_eq!(
            PublicKey::parse(&key.expose()).unwrap_err(),
            KeyError::Prefix { expected: "whpk_" }
        );
        assert_eq!(PublicKey::parse("whpk_AAAA").unwrap_err(), KeyError::Length(3));
        assert_eq!(PublicKey::parse("whpk_*").unwrap_err(), KeyError::Base64);
        let identity = format!("whpk_{}", STANDARD.encode([&[1_u8][..], &[0; 31]].concat()));
        assert_eq!(PublicKey::parse(&identity).unwrap_err(), KeyError::Invalid);
    }

    #[test]
    fn debug_shows_nothing_of_a_private_key() {
        assert_eq!(format!("{:?}", PrivateKey::generate()), "PrivateKey(***)");
    }
}
