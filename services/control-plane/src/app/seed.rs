//! Where the ids of one call come from.

use domain::{CommandId, EndpointId, EndpointUid, EventId, RunId, SubscriptionId, Timestamp};
use ports::{Clock, Rng};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The root of every id that one call makes: a UUIDv7 with the call's time. With a request id it is kept, so that a repeat makes the same ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seed(Uuid);

impl Seed {
    pub(crate) fn new(clock: &dyn Clock, rng: &dyn Rng) -> Self {
        Self(uuid_v7(clock.now(), &rng.next_u128().to_be_bytes()))
    }

    /// Undoes [`Seed::to_event_id`]: request ids are kept in rows that hold an event's id.
    pub(crate) fn from_event_id(id: &EventId) -> Option<Self> {
        Uuid::try_parse(id.as_str()).ok().map(Self)
    }

    pub(crate) fn to_event_id(self) -> EventId {
        EventId::parse(&self.0.simple().to_string()).expect("32 hex digits are a valid event id")
    }

    /// When the call was made first.
    pub(crate) fn time(self) -> Timestamp {
        let ms = self.0.as_u128() >> 80;
        // 48 bits fit.
        Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    /// A UUIDv7 of the call's time that `label` alone distinguishes from the others of this call.
    pub(crate) fn uuid(self, label: &str) -> Uuid {
        uuid_v7(self.time(), &self.digest(label))
    }

    pub(crate) fn endpoint_uid(self) -> EndpointUid {
        EndpointUid::from_uuid(self.uuid("endpoint"))
    }

    pub(crate) fn endpoint_id(self) -> EndpointId {
        let text = format!("ep-{}", self.letters("endpoint id"));
        EndpointId::parse(&text).expect("letters after a prefix are a valid id")
    }

    pub(crate) fn subscription_id(self, index: usize) -> SubscriptionId {
        let text = format!("sub-{}", self.letters(&format!("subscription id {index}")));
        SubscriptionId::parse(&text).expect("letters after a prefix are a valid id")
    }

    pub(crate) fn event_id(self) -> EventId {
        EventId::from_uuid(self.uuid("event"))
    }

    pub(crate) fn run(self, label: &str) -> RunId {
        RunId::from_uuid(self.uuid(&format!("run {label}")))
    }

    pub(crate) fn command(self, label: &str) -> CommandId {
        CommandId(self.uuid(&format!("command {label}")))
    }

    fn digest(self, label: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.0.as_bytes()).chain_update(label).finalize().into()
    }

    /// Twelve letters and digits that are hard to mistake: 60 bits.
    fn letters(self, label: &str) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        self.digest(label)
            .iter()
            .take(12)
            .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
            .map(|letter| char::from(*letter))
            .collect()
    }
}

/// A UUIDv7 of a time and at least 10 bytes of chance; missing ones are 0.
pub(crate) fn uuid_v7(time: Timestamp, random: &[u8]) -> Uuid {
    let mut bytes = [0; 10];
    bytes.iter_mut().zip(random).for_each(|(to, from)| *to = *from);
    let ms = u64::try_from(time.as_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_keeps_its_time_and_makes_the_same_ids_again() {
        let time = Timestamp::from_millis(1_772_366_400_250);
        let seed = Seed(uuid_v7(time, &[7; 10]));
        let again = Seed::from_event_id(&seed.to_event_id()).expect("a seed");
        assert_eq!((again, again.time()), (seed, time));
        assert_eq!(again.endpoint_id(), seed.endpoint_id());
        assert_eq!(seed.event_id().embedded_time_ms(), Some(time.as_millis()));
        assert_ne!(seed.run("a"), seed.run("b"));
        assert_ne!(seed.subscription_id(0), seed.subscription_id(1));
    }
}
