//! Removing what has expired, and backlog rows behind their lanes' cursors. Nothing that waits ever expires.

use domain::limits::{ATTEMPT_RETENTION, DEAD_LETTER_RETENTION, IDEMPOTENCY_TTL, JOB_RETENTION};
use domain::{BacklogKey, EndpointUid, LaneKey, LaneRow, Shard, Timestamp};
use rusqlite::Connection;

use super::{Store, backlog, inbox, lanes};
use crate::error::Fault;
use crate::writer::Cost;

/// Rows that one transaction looks at (`embedded.md` §4).
const SLICE: usize = 2_000;
/// Slices of one table in one call; the rest is left to the next call.
const SLICES_MAX: usize = 100;
/// Lanes that are looked at together.
const LANES: usize = 256;
/// Pages given back to the file system at once.
const VACUUM_PAGES: u32 = 4_000;

/// Facts, keys and commands come in the order of their times, but for seconds: the head of the table is the oldest.
pub(super) const EXPIRE_FACTS: &str = "DELETE FROM facts
    WHERE id IN (SELECT id FROM facts ORDER BY id LIMIT ?2) AND time <= ?1";
pub(super) const EXPIRE_KEYS: &str = "DELETE FROM idempotency
    WHERE id IN (SELECT id FROM idempotency ORDER BY id LIMIT ?2) AND time <= ?1";
pub(super) const EXPIRE_INBOX: &str = "DELETE FROM inbox
    WHERE id IN (SELECT id FROM inbox ORDER BY id LIMIT ?2) AND time <= ?1";
pub(super) const EXPIRE_DEAD_LETTERS: &str = "DELETE FROM dead_letters
    WHERE id IN (SELECT id FROM dead_letters WHERE time <= ?1 ORDER BY time LIMIT ?2)";
pub(super) const EXPIRE_JOBS: &str = "DELETE FROM jobs
    WHERE id IN (SELECT id FROM jobs WHERE time <= ?1 ORDER BY time LIMIT ?2)";
pub(super) const EXPIRE_EVENTS: &str = "DELETE FROM events
    WHERE id IN (SELECT id FROM events WHERE keep_until <= ?1 ORDER BY keep_until LIMIT ?2)";

/// What a pass removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Expired {
    pub(crate) facts: u64,
    pub(crate) dead_letters: u64,
    pub(crate) keys: u64,
    pub(crate) commands: u64,
    pub(crate) jobs: u64,
    pub(crate) events: u64,
    pub(crate) backlog: u64,
}

impl Store {
    /// Removes what had expired at `now`, in slices, so that writes come through in between.
    pub(crate) async fn expire(&self, now: Timestamp) -> ports::Result<Expired> {
        let expired = Expired {
            facts: self.slices(EXPIRE_FACTS, now - ATTEMPT_RETENTION).await?,
            dead_letters: self.slices(EXPIRE_DEAD_LETTERS, now - DEAD_LETTER_RETENTION).await?,
            keys: self.slices(EXPIRE_KEYS, now - IDEMPOTENCY_TTL).await?,
            commands: self.slices(EXPIRE_INBOX, now - inbox::KEEP).await?,
            jobs: self.slices(EXPIRE_JOBS, now - JOB_RETENTION).await?,
            events: self.slices(EXPIRE_EVENTS, now).await?,
            backlog: self.trim_backlog().await?,
        };
        self.writer.alone(|state| crate::file::compact(&state.conn, VACUUM_PAGES)).await?;
        Ok(expired)
    }

    async fn slices(&self, sql: &'static str, cutoff: Timestamp) -> ports::Result<u64> {
        let mut sum = 0;
        for _ in 0..SLICES_MAX {
            let slice = move |conn: &Connection| {
                let mut statement = conn.prepare_cached(sql)?;
                Ok(statement.execute([cutoff.as_millis(), super::sql_limit(SLICE)])?)
            };
            let removed = self.write(Cost::rows(SLICE), slice).await?;
            sum += removed as u64;
            if removed < SLICE {
                break;
            }
        }
        Ok(sum)
    }

    /// Removes rows that their lanes have handed off.
    async fn trim_backlog(&self) -> ports::Result<u64> {
        let mut sum = 0;
        // Those of the lanes: the log may be another one, with other shards than the embedded one has.
        let mut from = Shard(0);
        while let Some(shard) = self.read(move |conn| lanes::next_shard(conn, from)).await? {
            from = Shard(shard.0 + 1);
            let mut after: Option<EndpointUid> = None;
            loop {
                let page =
                    self.read(move |conn| lanes::of_shard(conn, shard, after, LANES)).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.key.endpoint);
                let cursors: Vec<(LaneKey, BacklogKey)> = page
                    .iter()
                    .filter(|lane| lane.cursor > BacklogKey::START)
                    .map(|lane: &LaneRow| (lane.key, lane.cursor))
                    .collect();
                sum += self.trim_lanes(cursors).await?;
            }
        }
        Ok(sum)
    }

    async fn trim_lanes(&self, mut cursors: Vec<(LaneKey, BacklogKey)>) -> ports::Result<u64> {
        let mut sum = 0;
        for _ in 0..SLICES_MAX {
            if cursors.is_empty() {
                break;
            }
            let slice = move |conn: &Connection| trim_some(conn, cursors);
            let (rows, left) = self.write(Cost::rows(SLICE), slice).await?;
            sum += rows;
            cursors = left;
        }
        Ok(sum)
    }
}

/// Trims lanes until one slice's rows are gone; gives the lanes that are left.
fn trim_some(
    conn: &Connection,
    mut cursors: Vec<(LaneKey, BacklogKey)>,
) -> Result<(u64, Vec<(LaneKey, BacklogKey)>), Fault> {
    let mut sum = 0;
    while let Some((lane, cursor)) = cursors.pop() {
        let slice = backlog::trim_slice(conn, lane, cursor)?;
        sum += slice.rows;
        if slice.more {
            cursors.push((lane, cursor));
        }
        if sum >= SLICE as u64 {
            break;
        }
    }
    Ok((sum, cursors))
}
