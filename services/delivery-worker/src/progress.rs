//! How far the shards of this worker have come: what lies behind them, how old it is, and whether one stands still.
//!
//! The reader tells what it reads and what it acks; a task asks the log now and then how far it reaches. Nothing that delivers waits for any of it.

mod track;
mod watching;

pub(crate) use watching::watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Position, Shard, Timestamp};
use ports::{Hold, Lease};
use tokio::sync::watch;

use track::Track;

/// How long a worker that joined its group may be without shards before it is taken for a spare one: longer than a rebalance takes, with the session
/// timeout of a member that fell silent (10 s by default) in it.
const SPARE_AFTER: Duration = Duration::from_secs(30);

/// How long a failure to read the log is told: the log says it at least every few seconds while it lasts.
const UNREADABLE_FOR: Duration = Duration::from_secs(10);

/// How far behind a shard is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShardLag {
    /// Records that the log holds and that are not handed off: at most, since positions are not dense.
    pub records: u64,
    /// How long the oldest of them has been in the log: at most, since times are kept a second apart.
    pub age: Duration,
    /// How long it has stood still, once that is too long: something is not handed off, and the acked position does not move.
    pub stalled: Option<Duration>,
}

/// What the group of consumers gave this worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Membership {
    /// The log has not let it join yet.
    #[default]
    Joining,
    /// It joined, and the group has not given it a shard yet.
    Waiting,
    /// It has no shard: others have all of them, and it takes over when one goes.
    Spare,
    /// It has shards.
    Owner,
}

/// What a worker knows of its own progress.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// What the group gave it.
    pub membership: Membership,
    /// Its shards.
    pub shards: BTreeMap<Shard, ShardLag>,
    /// Why the log cannot be read, while it cannot.
    pub unreadable: Option<String>,
}

/// Follows the shards of a worker. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Follower {
    state: Arc<Mutex<State>>,
    tell: watch::Sender<Progress>,
}

#[derive(Default)]
struct State {
    joined: Option<Duration>,
    had_shards: bool,
    tracks: BTreeMap<Shard, Track>,
    leases: BTreeMap<Shard, Lease>,
    /// When the log could not be read last (monotonic), and why.
    unreadable: Option<(Duration, String)>,
}

impl Follower {
    pub(crate) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.tell.subscribe()
    }

    /// The log let us join the group.
    pub(crate) fn joined(&self, now: Duration) {
        self.state().joined = Some(now);
    }

    /// A shard is ours, until its lease ends or the log says so: its word may lie behind records that the engine has no place for.
    pub(crate) fn assigned(&self, shard: Shard, acked: Option<Position>, lease: &Lease) {
        let mut state = self.state();
        state.had_shards = true;
        state.tracks.insert(shard, Track::new(acked));
        state.leases.insert(shard, lease.clone());
        drop(state);
        self.tell.send_if_modified(|told| {
            let before = std::mem::replace(&mut told.membership, Membership::Owner);
            before != Membership::Owner
        });
    }

    /// A shard is ours no more.
    pub(crate) fn revoked(&self, shard: Shard) {
        let mut state = self.state();
        state.tracks.remove(&shard);
        state.leases.remove(&shard);
    }

    /// Records were read, in order: where each lies and when the log took it.
    pub(crate) fn read(
        &self,
        shard: Shard,
        records: impl Iterator<Item = (Position, Timestamp)>,
        now: Duration,
    ) {
        if let Some(track) = self.state().tracks.get_mut(&shard) {
            records.for_each(|(at, time)| track.read(at, time, now));
        }
    }

    /// The log could not be read. Whether that is news: it is tried again and again.
    pub(crate) fn unreadable(&self, cause: String, now: Duration) -> bool {
        let before = self.state().unreadable.replace((now, cause));
        before.is_none_or(|(last, _)| now.saturating_sub(last) > UNREADABLE_FOR)
    }

    /// The acked position was saved.
    pub(crate) fn acked(&self, shard: Shard, upto: Position, now: Duration) {
        if let Some(track) = self.state().tracks.get_mut(&shard) {
            track.acked(upto, now);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn progress(
        &mut self,
        now: Timestamp,
        monotonic: Duration,
        stalled_after: Duration,
    ) -> Progress {
        self.leases.retain(|_, lease| lease.hold(monotonic) != Hold::Ended);
        self.tracks.retain(|shard, _| self.leases.contains_key(shard));
        let lag =
            |(shard, track): (&Shard, &Track)| (*shard, track.lag(now, monotonic, stalled_after));
        Progress {
            membership: self.membership(monotonic),
            shards: self.tracks.iter().map(lag).collect(),
            unreadable: self.unreadable_at(monotonic),
        }
    }

    /// The log says nothing when it can be read again and has no records: what is not said again has passed.
    fn unreadable_at(&self, now: Duration) -> Option<String> {
        let (last, cause) = self.unreadable.as_ref()?;
        (now.saturating_sub(*last) <= UNREADABLE_FOR).then(|| cause.clone())
    }

    fn membership(&self, now: Duration) -> Membership {
        match self.joined {
            None => Membership::Joining,
            Some(_) if !self.tracks.is_empty() => Membership::Owner,
            Some(since) if !self.had_shards && now.saturating_sub(since) < SPARE_AFTER => {
                Membership::Waiting
            }
            Some(_) => Membership::Spare,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_without_shards_waits_first_and_is_a_spare_one_then() {
        let secs = Duration::from_secs;
        let mut state = State::default();
        assert_eq!(state.membership(secs(1)), Membership::Joining);
        state.joined = Some(secs(5));
        assert_eq!(state.membership(secs(34)), Membership::Waiting);
        assert_eq!(state.membership(secs(35)), Membership::Spare);
        state.tracks.insert(Shard(1), Track::new(None));
        state.had_shards = true;
        assert_eq!(state.membership(secs(6)), Membership::Owner);
        state.tracks.clear();
        assert_eq!(state.membership(secs(6)), Membership::Spare, "it lost what it had");
    }

    #[test]
    fn a_shard_whose_lease_ended_is_not_ours_although_the_log_has_not_said_so() {
        let follower = Follower::default();
        let (kept, lost) = (Lease::forever(), Lease::forever());
        follower.assigned(Shard(1), None, &kept);
        follower.assigned(Shard(2), None, &lost);
        lost.end();
        let secs = Duration::from_secs;
        let told = follower.state().progress(Timestamp::from_millis(1), secs(1), secs(120));
        assert_eq!(told.shards.into_keys().collect::<Vec<_>>(), [Shard(1)]);
    }

    #[test]
    fn a_log_that_cannot_be_read_is_news_once_and_told_for_as_long_as_it_says_so() {
        let follower = Follower::default();
        let secs = Duration::from_secs;
        let told = |at| {
            let now = Timestamp::from_millis(1);
            follower.state().progress(now, secs(at), secs(120)).unreadable
        };
        assert_eq!(told(0), None);
        assert!(follower.unreadable("no coordinator".to_owned(), secs(5)));
        assert!(!follower.unreadable("no coordinator".to_owned(), secs(15)));
        assert_eq!(told(25).as_deref(), Some("no coordinator"));
        assert_eq!(told(26), None);
        assert!(follower.unreadable("no coordinator".to_owned(), secs(26)));
    }
}
