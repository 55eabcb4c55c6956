//! Commands from the control plane to the owners of shards.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Command, CommandId, Shard, Timestamp};
use ports::InboxStore;
use scylla::response::PagingState;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::{Store, time, time_of, undecodable};
use crate::bucket::hour;
use crate::cql::{Cql, NewRow, Statement, all};
use crate::error::OpenError;

const TABLE: &str = "inbox";
const SEND: &str = "INSERT INTO inbox (shard, hour, id, time, body) VALUES (?, ?, ?, ?, ?)";
const PENDING: &str =
    "SELECT id, time, done, body FROM inbox WHERE shard = ? AND hour = ? AND id >= ?";
const DONE: &str = "UPDATE inbox SET done = true WHERE shard = ? AND hour = ? AND id = ?";

/// Commands expire unread after a day (IN-4).
const KEEP: Duration = Duration::from_secs(24 * 3_600);
/// How far back a reader looks again: senders' clocks differ, and a write may be repeated for some seconds.
const MARGIN: Duration = Duration::from_secs(120);
/// How often everything of the last day is looked through, for what came later than that.
const SWEEP: Duration = Duration::from_secs(600);

pub(super) struct Statements {
    send: Statement,
    pending: Statement,
    done: Statement,
    /// From where the commands of a shard have to be read.
    read_from: Mutex<HashMap<Shard, Mark>>,
}

/// Everything of a shard that is older than `from` is done or has expired, as of the last sweep.
#[derive(Clone, Copy)]
struct Mark {
    from: Timestamp,
    swept: Timestamp,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            send: cql.prepare(TABLE, SEND).await?,
            pending: cql.prepare(TABLE, PENDING).await?,
            done: cql.prepare(TABLE, DONE).await?,
            read_from: Mutex::default(),
        })
    }

    fn mark(&self, shard: Shard) -> Option<Mark> {
        self.read_from.lock().unwrap_or_else(PoisonError::into_inner).get(&shard).copied()
    }

    fn set_mark(&self, shard: Shard, mark: Mark) {
        self.read_from.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, mark);
    }
}

#[async_trait]
impl InboxStore for Store {
    async fn send(&self, commands: &[Command]) -> ports::Result<()> {
        let mut partitions: BTreeMap<(Shard, Timestamp), Vec<_>> = BTreeMap::new();
        for command in commands {
            let (id, hour) = (command.id.0, hour_of(command.id));
            let body = codec::encode_command(command);
            let bytes = body.len() + 36;
            let values = (i32::from(command.shard.0), time(hour), id, time(command.time), body);
            partitions.entry((command.shard, hour)).or_default().push(NewRow { values, bytes });
        }
        // Nobody's mark passes what this process itself has sent, whatever its clock says.
        for (shard, hour) in partitions.keys() {
            if let Some(mark) = self.inbox.mark(*shard).filter(|mark| mark.from > *hour) {
                let oldest = commands
                    .iter()
                    .filter(|command| command.shard == *shard)
                    .map(|command| time_in(command.id))
                    .min();
                let from = oldest.map_or(mark.from, |oldest| oldest.min(mark.from));
                self.inbox.set_mark(*shard, Mark { from, ..mark });
            }
        }
        all(partitions.into_values().map(|rows| self.cql.write_partition(&self.inbox.send, rows)))
            .await
    }

    async fn pending(&self, shard: Shard, limit: usize) -> ports::Result<Vec<Command>> {
        let now = self.now();
        let day_ago = now - KEEP;
        let mark = self.inbox.mark(shard).filter(|mark| now.since(mark.swept) < SWEEP);
        let (from, swept) =
            mark.map_or((day_ago, now), |mark| (mark.from.max(day_ago), mark.swept));
        let mut commands = self.commands_since(shard, from, now, limit).await?;
        // Read in the order of their ids, so of a part that was read the oldest is the oldest of all.
        let oldest = commands.iter().map(|command| time_in(command.id)).min();
        let settled = now - MARGIN;
        let from = oldest.map_or(settled, |oldest| oldest.min(settled));
        self.inbox.set_mark(shard, Mark { from, swept });
        commands.sort_by_key(|command| (command.time, command.id));
        Ok(commands)
    }

    async fn done(&self, shard: Shard, commands: &[CommandId]) -> ports::Result<()> {
        let mut partitions: BTreeMap<Timestamp, Vec<_>> = BTreeMap::new();
        for id in commands {
            let hour = hour_of(*id);
            let values = (i32::from(shard.0), time(hour), id.0);
            partitions.entry(hour).or_default().push(NewRow { values, bytes: 29 });
        }
        all(partitions.into_values().map(|rows| self.cql.write_partition(&self.inbox.done, rows)))
            .await
    }
}

type Row = (Uuid, Option<CqlTimestamp>, Option<bool>, Option<Vec<u8>>);

impl Store {
    /// The first commands of a shard with ids of `from` and later that are not done, at most `limit`, in the order of their ids.
    async fn commands_since(
        &self,
        shard: Shard,
        from: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> ports::Result<Vec<Command>> {
        let ms = u128::try_from(from.as_millis()).unwrap_or(0);
        let first = Uuid::from_u128(ms << 80 | 7 << 76);
        let day_ago = now - KEEP;
        let mut commands = Vec::new();
        let mut next = hour(from);
        // A sender's clock may be ahead.
        while next <= hour(now + MARGIN) {
            let key = (i32::from(shard.0), time(next), first);
            let mut at = PagingState::start();
            loop {
                let (rows, more) = self.cql.read_page::<Row>(&self.inbox.pending, key, at).await?;
                for row in rows {
                    commands.extend(open_command(shard, row)?.filter(|c| c.time > day_ago));
                    if commands.len() >= limit {
                        return Ok(commands);
                    }
                }
                match more {
                    Some(state) => at = state,
                    None => break,
                }
            }
            next = hour(next + Duration::from_secs(3_600));
        }
        Ok(commands)
    }
}

/// The command of a row, unless it is done.
fn open_command(shard: Shard, (id, time, done, body): Row) -> ports::Result<Option<Command>> {
    // Marked as done without having been sent: a repeat after the row had expired.
    let (Some(time), Some(body), None | Some(false)) = (time, body, done) else {
        return Ok(None);
    };
    let command = codec::decode_command(CommandId(id), shard, time_of(time), &body);
    command.map(Some).map_err(undecodable(TABLE))
}

/// When a command was asked for, by its id: a UUIDv7, whose first 48 bits are milliseconds (RFC 9562 §5.7).
fn time_in(id: CommandId) -> Timestamp {
    Timestamp::from_millis(i64::try_from(id.0.as_u128() >> 80).unwrap_or(i64::MAX))
}

fn hour_of(id: CommandId) -> Timestamp {
    hour(time_in(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_lies_in_the_hour_of_its_id() {
        let ms: u64 = 1_700_003_661_500;
        let id = CommandId(Uuid::from_u128(u128::from(ms) << 80 | 0x7000 << 64 | 0x8000 << 48));
        assert_eq!(time_in(id).as_millis(), 1_700_003_661_500);
        assert_eq!(hour_of(id).as_millis() % 3_600_000, 0);
    }
}
