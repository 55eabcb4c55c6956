//! What lies beside a committed offset: who owned the partition, and whether anything was acked.

use std::fmt;

use domain::{Epoch, Shard, Timestamp};

/// The metadata of a committed offset, as text: `postrider epoch=7 acked=yes shard=1027`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    /// The owner's epoch.
    pub(crate) epoch: Epoch,
    /// Whether the offset comes from an ack; otherwise it is where the group began.
    pub(crate) acked: bool,
    /// What the partition was called; not known of earlier versions.
    pub(crate) shard: Option<Shard>,
}

impl Claim {
    /// Reads metadata; `None` when somebody else wrote it, such as a tool that resets offsets.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        if words.next() != Some("postrider") {
            return None;
        }
        let mut claim = Self { epoch: Epoch(0), acked: false, shard: None };
        for word in words {
            match word.split_once('=')? {
                ("epoch", value) => claim.epoch = Epoch(value.parse().ok()?),
                ("acked", value) => claim.acked = value == "yes",
                ("shard", value) => claim.shard = Some(Shard(value.parse().ok()?)),
                // Of a later version.
                _ => {}
            }
        }
        Some(claim)
    }

    /// The epoch of the next owner.
    ///
    /// Larger than the last one, and at least the minutes since 2026: committed offsets expire when a group was empty for a week, and tools overwrite them, and
    /// even then no epoch is given out twice. Epochs below 2^23 order the keys of the backlog (`domain::BacklogSeq`): enough until 2041.
    pub(crate) fn next_epoch(last: Option<Self>, now: Timestamp) -> Epoch {
        const YEAR_2026_SECS: i64 = 1_767_225_600;
        let minutes = u32::try_from((now.as_secs() - YEAR_2026_SECS).max(0) / 60);
        let after_last = last.map_or(0, |claim| claim.epoch.0.saturating_add(1));
        Epoch(minutes.unwrap_or(u32::MAX).max(after_last).max(1))
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let acked = if self.acked { "yes" } else { "no" };
        write!(f, "postrider epoch={} acked={acked}", self.epoch.0)?;
        self.shard.map_or(Ok(()), |shard| write!(f, " shard={}", shard.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_survives_its_text_and_later_versions() {
        let claim = Claim { epoch: Epoch(7), acked: true, shard: Some(Shard(1_027)) };
        assert_eq!(Claim::parse(&claim.to_string()), Some(claim));
        let earlier = Claim { shard: None, ..claim };
        assert_eq!(Claim::parse("postrider epoch=7 zone=a acked=yes"), Some(earlier));
        assert_eq!(Claim::parse(&earlier.to_string()), Some(earlier));
        assert_eq!(Claim::parse(""), None);
        assert_eq!(Claim::parse("someone epoch=7"), None);
        assert_eq!(Claim::parse("postrider epoch=x"), None);
    }

    #[test]
    fn epochs_grow_also_when_the_last_one_is_lost() {
        let at = Timestamp::parse_rfc3339("2026-01-01T02:00:00Z").expect("a time");
        assert_eq!(Claim::next_epoch(None, at), Epoch(120));
        let last = |epoch| Some(Claim { epoch: Epoch(epoch), acked: false, shard: None });
        assert_eq!(Claim::next_epoch(last(120), at), Epoch(121));
        assert_eq!(Claim::next_epoch(last(3), at), Epoch(120));
        assert_eq!(Claim::next_epoch(None, Timestamp::ZERO), Epoch(1));
    }
}
