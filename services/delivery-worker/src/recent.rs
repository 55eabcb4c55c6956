//! What makes an event of a plain producer a repeat of another, and a memory of those that were met lately.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use domain::record::{Poison, has_own_id};
use domain::{ApiVersion, Content, Event, LogPosition, TenantId};
use sha2::{Digest, Sha256};

/// Events in one of the two generations of the memory, at about 100 bytes each.
const GENERATION_MAX: usize = 32 * 1_024;

/// What an event is among those of its key, or of its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// The one that is delivered; also when it is read again.
    First,
    /// The first one lies at another place.
    Repeat,
    /// The first one lies at another place, and is another event.
    OtherBody,
    /// Another one of its key was met, and the store has not said yet that it is the first: it is asked for this one too.
    Unsure,
}

impl Standing {
    /// What an event is beside the first one. Each is its place and the hash of its content.
    pub(crate) fn beside(
        (at, hash): (LogPosition, &[u8; 32]),
        (first_at, first_hash): (LogPosition, &[u8; 32]),
    ) -> Self {
        match (at == first_at, hash == first_hash) {
            (true, _) => Self::First,
            (false, true) => Self::Repeat,
            (false, false) => Self::OtherBody,
        }
    }

    /// Whether the event goes on. One of which nobody is sure does: twice is better than never.
    pub(crate) fn check(self) -> Result<bool, Poison> {
        match self {
            Self::First | Self::Unsure => Ok(true),
            Self::Repeat => Ok(false),
            Self::OtherBody => Err(Poison {
                field: "postrider_idempotency_key",
                reason: "came with another body within 24 h: give each event a key of its own"
                    .to_owned(),
            }),
        }
    }
}

/// What an event may be a repeat by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark<'a> {
    event: &'a Event,
    pub(crate) at: LogPosition,
    pub(crate) hash: [u8; 32],
}

impl<'a> Mark<'a> {
    /// The mark of an event; `None` where it is no repeat of anything, or the API looked already: its events carry a revision.
    ///
    /// `default` is the version that stands in for a missing one.
    pub(crate) fn of(event: &'a Event, at: LogPosition, default: &ApiVersion) -> Option<Self> {
        let key = event.idempotency_key.as_deref();
        if event.revision.is_some() || (key.is_none() && !has_own_id(event, at)) {
            return None;
        }
        let hash = Content::of(event, default).hash(key.unwrap_or(event.id.as_str()));
        Some(Self { event, at, hash })
    }

    /// One key with two bodies is a fault. One id with two is two events: sources of CloudEvents may use the same ids.
    fn digest(&self) -> [u8; 32] {
        let key = self.event.idempotency_key.as_deref();
        let (kind, by) = key.map_or((0, &self.hash[..]), |key| (BY_KEY, key.as_bytes()));
        digest(kind, &self.event.tenant, by)
    }
}

/// The kind of what is remembered by its idempotency key.
const BY_KEY: u8 = 1;

fn digest(kind: u8, tenant: &TenantId, by: &[u8]) -> [u8; 32] {
    let digest = Sha256::new().chain_update([kind]).chain_update(tenant.as_str());
    digest.chain_update([0]).chain_update(by).finalize().into()
}

/// First events that were met lately. Bounded: the older half is forgotten when the newer one is full.
#[derive(Default)]
pub(crate) struct Recent(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    new: HashMap<[u8; 32], Met>,
    old: HashMap<[u8; 32], Met>,
}

/// The first one that was met, as far as is known.
#[derive(Clone, Copy)]
struct Met {
    at: LogPosition,
    hash: [u8; 32],
    /// The store says so, or is not asked.
    is_sure: bool,
}

impl Recent {
    /// The store says which event of a key is the first one: its word holds. Otherwise the one that it names would be taken for a repeat here, should its shard
    /// come to this worker, and nobody would deliver either (DL-1).
    pub(crate) fn learn(&self, tenant: &TenantId, key: &str, (at, hash): (LogPosition, [u8; 32])) {
        let digest = digest(BY_KEY, tenant, key.as_bytes());
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        met.old.remove(&digest);
        if let Some(first) = met.new.get_mut(&digest) {
            *first = Met { at, hash, is_sure: true };
        }
    }

    pub(crate) fn meet(&self, mark: &Mark<'_>) -> Standing {
        let digest = mark.digest();
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = met.new.get(&digest).or_else(|| met.old.get(&digest)) {
            let standing = Standing::beside((mark.at, &mark.hash), (first.at, &first.hash));
            let is_known = first.is_sure || standing == Standing::First;
            return if is_known { standing } else { Standing::Unsure };
        }
        if met.new.len() == GENERATION_MAX {
            met.old = std::mem::take(&mut met.new);
        }
        let is_sure = mark.event.idempotency_key.is_none();
        met.new.insert(digest, Met { at: mark.at, hash: mark.hash, is_sure });
        Standing::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{ContentType, EventId, EventType, Position, Revision, Shard, Timestamp};

    fn version() -> ApiVersion {
        ApiVersion::parse("2026-01-01").expect("a version")
    }

    fn at(position: u64) -> LogPosition {
        LogPosition { shard: Shard(1), position: Position(position) }
    }

    fn event(id: &str, key: Option<&str>, data: &'static str) -> Event {
        Event {
            tenant: TenantId::default_tenant(),
            id: EventId::parse(id).expect("an id"),
            event_type: EventType::parse("a.b").expect("a type"),
            created_at: Timestamp::ZERO,
            api_version: version(),
            content_type: ContentType::json(),
            data: data.into(),
            ordering_key: None,
            idempotency_key: key.map(Into::into),
            channels: Vec::new(),
            deliver_at: None,
            revision: None,
            traceparent: None,
        }
    }

    fn meet(recent: &Recent, event: &Event, position: u64) -> Option<Standing> {
        Mark::of(event, at(position), &version()).map(|mark| recent.meet(&mark))
    }

    #[test]
    fn a_key_has_one_event_and_an_id_one_for_each_body() {
        let recent = Recent::default();
        let keyed = event("e1", Some("k"), "1");
        assert_eq!(meet(&recent, &keyed, 1), Some(Standing::First));
        assert_eq!(meet(&recent, &event("e2", Some("k"), "1"), 2), Some(Standing::Unsure));
        let hash = Mark::of(&keyed, at(1), &version()).map(|mark| mark.hash).expect("a mark");
        recent.learn(&keyed.tenant, "k", (at(1), hash));
        assert_eq!(meet(&recent, &event("e2", Some("k"), "1"), 2), Some(Standing::Repeat));
        assert_eq!(meet(&recent, &event("e1", Some("k"), "2"), 3), Some(Standing::OtherBody));
        assert_eq!(meet(&recent, &keyed, 1), Some(Standing::First), "read again");
        assert_eq!(meet(&recent, &event("k", None, "1"), 4), Some(Standing::First), "an id");
        assert_eq!(meet(&recent, &event("k", None, "1"), 5), Some(Standing::Repeat));
        assert_eq!(meet(&recent, &event("k", None, "2"), 6), Some(Standing::First));
    }

    #[test]
    fn the_first_of_a_key_is_the_one_that_the_store_names() {
        let recent = Recent::default();
        let (one, other) = (event("e1", Some("k"), "1"), event("e2", Some("k"), "1"));
        assert_eq!(meet(&recent, &other, 2), Some(Standing::First), "as far as is known");
        let hash = Mark::of(&one, at(1), &version()).map(|mark| mark.hash).expect("a mark");
        recent.learn(&one.tenant, "k", (at(1), hash));
        assert_eq!(meet(&recent, &one, 1), Some(Standing::First), "its shard came here");
        assert_eq!(meet(&recent, &other, 2), Some(Standing::Repeat));
    }

    #[test]
    fn what_the_api_published_and_what_has_no_id_is_no_repeat() {
        let recent = Recent::default();
        let published = Event { revision: Some(Revision(1)), ..event("e1", Some("k"), "1") };
        assert_eq!(meet(&recent, &published, 1), None);
        assert_eq!(meet(&recent, &event("log_1_1", None, "1"), 1), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let recent = Recent::default();
        let many = 2 * GENERATION_MAX as u64 + 1;
        for position in 0..many {
            let new = event(&format!("e{position}"), None, "1");
            assert_eq!(meet(&recent, &new, position), Some(Standing::First));
        }
        assert_eq!(
            meet(&recent, &event("e0", None, "1"), many),
            Some(Standing::First),
            "forgotten"
        );
        let last = event(&format!("e{}", many - 1), None, "1");
        assert_eq!(meet(&recent, &last, many + 1), Some(Standing::Repeat));
    }
}
