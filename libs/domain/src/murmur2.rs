//! Kafka's key hash, so that the embedded log and every Kafka client map a key to the same shard.

use crate::Shard;

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// The 32-bit murmur2 of Kafka's Java client (seed `0x9747b28c`), as a non-negative number comes from `& 0x7fff_ffff`.
///
/// Source: Apache Kafka, `org.apache.kafka.common.utils.Utils.murmur2`.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut chunks = data.chunks_exact(4);
    let mut h = SEED ^ length;
    for chunk in &mut chunks {
        let mut k = chunk.iter().rev().fold(0u32, |k, byte| k << 8 | u32::from(*byte));
        k = k.wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = chunks.remainder();
    if !tail.is_empty() {
        h ^= tail.iter().rev().fold(0u32, |k, byte| k << 8 | u32::from(*byte));
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// The shard of a key, as Kafka's default partitioner chooses it: `(murmur2(key) & 0x7fffffff) % shards`.
///
/// `shards` is at least 1; 0 is read as 1.
#[must_use]
pub fn shard_of_key(key: &[u8], shards: u16) -> Shard {
    let slot = (murmur2(key) & 0x7fff_ffff) % u32::from(shards.max(1));
    Shard(u16::try_from(slot).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn agrees_with_kafkas_vectors() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }
}
