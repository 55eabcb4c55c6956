//! Sealing that hides nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use ports::{KeyError, KeyProvider};

const MARK: u8 = b'P';

/// Seals by writing the plain text behind a checksum: it keeps the port's contract and no secret.
#[derive(Default)]
pub struct PlainKeys {
    seals: AtomicU64,
}

impl PlainKeys {
    /// Makes a provider.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

fn checksum(number: [u8; 8], plain: &[u8], context: &str) -> [u8; 8] {
    let mut hasher = DefaultHasher::new();
    (number, plain, context).hash(&mut hasher);
    hasher.finish().to_be_bytes()
}

#[async_trait]
impl KeyProvider for PlainKeys {
    async fn seal(&self, plain: &[u8], context: &str) -> Result<Bytes, KeyError> {
        let number = self.seals.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let sum = checksum(number, plain, context);
        let sealed = [&[MARK], number.as_slice(), sum.as_slice(), plain].concat();
        Ok(sealed.into())
    }

    async fn open(&self, sealed: &[u8], context: &str) -> Result<Vec<u8>, KeyError> {
        let parts = || {
            let rest = sealed.strip_prefix(&[MARK])?;
            let (number, rest) = rest.split_first_chunk::<8>()?;
            let (sum, plain) = rest.split_first_chunk::<8>()?;
            (*sum == checksum(*number, plain, context)).then(|| plain.to_vec())
        };
        parts().ok_or(KeyError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_keys_keep_the_contract() {
        ports::conformance::key_provider_suite(&PlainKeys::new()).await;
    }
}
