//! HMAC-SHA256 with the key absorbed once, so that signing a message costs only its own blocks.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

/// A keyed state; cloned for each message.
#[derive(Clone)]
pub(crate) struct KeyedMac(Hmac<Sha256>);

impl KeyedMac {
    /// Absorbs `key`; HMAC takes keys of any length (RFC 2104 §2).
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC accepts keys of any length"))
    }

    /// Returns the MAC of the parts, as if they were one message.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut state = self.0.clone();
        for part in parts {
            state.update(part);
        }
        state.finalize().into_bytes().into()
    }
}
