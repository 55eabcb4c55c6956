//! The system's randomness.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use ports::Rng;
use zeroize::{Zeroize, Zeroizing};

/// Bytes that are asked for at once. A system call costs half a microsecond or more, and a delivery takes 48 bytes.
const DRAWN_BYTES: usize = 1_024;

/// The operating system's generator as an [`Rng`]: unpredictable, so fit for ids and keys.
///
/// Draws ahead. What was given away is wiped, so that memory never shows an earlier value.
#[derive(Default)]
pub struct SystemRng {
    drawn: Mutex<Drawn>,
}

struct Drawn {
    bytes: Zeroizing<[u8; DRAWN_BYTES]>,
    left: usize,
}

impl Default for Drawn {
    fn default() -> Self {
        Self { bytes: Zeroizing::new([0; DRAWN_BYTES]), left: 0 }
    }
}

impl SystemRng {
    /// Makes a generator; nothing is drawn yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn take<const N: usize>(&self) -> [u8; N] {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.left < N {
            getrandom::fill(drawn.bytes.as_mut())
                .expect("the operating system provides randomness");
            drawn.left = DRAWN_BYTES;
        }
        let end = drawn.left;
        drawn.left -= N;
        let part = drawn.bytes.get_mut(end - N..end).expect("what is left lies within the bytes");
        let mut taken = [0; N];
        taken.copy_from_slice(part);
        part.zeroize();
        taken
    }
}

impl Rng for SystemRng {
    /// # Panics
    /// When the operating system has no randomness to give: going on would mean ids and keys that can be guessed.
    fn next_u64(&self) -> u64 {
        u64::from_ne_bytes(self.take())
    }

    fn next_u128(&self) -> u128 {
        u128::from_ne_bytes(self.take())
    }
}

impl fmt::Debug for SystemRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemRng").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn values_differ_over_many_draws() {
        let rng = SystemRng::new();
        let values: BTreeSet<u64> = (0..1_000).map(|_| rng.next_u64()).collect();
        assert_eq!(values.len(), 1_000);
        assert!(!values.contains(&0));
        let values: BTreeSet<u128> = (0..1_000).map(|_| rng.next_u128()).collect();
        assert_eq!(values.len(), 1_000);
        assert!(!values.contains(&0));
    }

    #[test]
    fn what_was_given_away_is_wiped() {
        let rng = SystemRng::new();
        for _ in 0..5 {
            rng.next_u128();
        }
        let drawn = rng.drawn.lock().unwrap();
        assert!(drawn.bytes[drawn.left..].iter().all(|byte| *byte == 0));
        assert!(drawn.bytes[..drawn.left].iter().any(|byte| *byte != 0));
    }
}
