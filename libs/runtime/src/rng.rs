//! The system's randomness.

use ports::Rng;

/// The operating system's generator as an [`Rng`]: unpredictable, so fit for ids and keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    /// # Panics
    /// When the operating system has no randomness to give: going on would mean ids and keys that can be guessed.
    fn next_u64(&self) -> u64 {
        getrandom::u64().expect("the operating system provides randomness")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ() {
        assert_ne!(SystemRng.next_u128(), SystemRng.next_u128());
    }
}
