//! Commands from the control plane to the owners of shards.

use std::time::Duration;

use async_trait::async_trait;
use domain::{Command, CommandId, Shard, Timestamp};
use ports::InboxStore;
use rusqlite::{Connection, Row, params};

use super::{Store, odd, sql_limit};
use crate::error::Fault;
use crate::writer::Cost;

/// Commands expire unread after a day (IN-4).
pub(super) const KEEP: Duration = Duration::from_secs(24 * 3_600);

pub(super) const SEND: &str =
    "INSERT INTO inbox(shard, command, time, done, body) VALUES (?1, ?2, ?3, 0, ?4)
    ON CONFLICT(shard, command) DO NOTHING";
pub(super) const PENDING: &str = "SELECT command, time, body FROM inbox
    WHERE done = 0 AND shard = ?1 AND time > ?2 ORDER BY time, command LIMIT ?3";
pub(super) const DONE: &str = "UPDATE inbox SET done = 1 WHERE shard = ?1 AND command = ?2";

#[async_trait]
impl InboxStore for Store {
    async fn send(&self, commands: &[Command]) -> ports::Result<()> {
        let rows: Vec<(Command, Vec<u8>)> = commands
            .iter()
            .map(|command| (command.clone(), codec::encode_command(command)))
            .collect();
        let cost = Cost::rows(rows.len());
        let send = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(SEND)?;
            for (command, body) in &rows {
                let id = command.id.0.as_bytes();
                let time = command.time.as_millis();
                statement.execute(params![command.shard.0, id, time, body])?;
            }
            Ok(())
        };
        self.write(cost, send).await
    }

    async fn pending(&self, shard: Shard, limit: usize) -> ports::Result<Vec<Command>> {
        let since = self.now() - KEEP;
        let pending = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(PENDING)?;
            let mut rows =
                statement.query(params![shard.0, since.as_millis(), sql_limit(limit)])?;
            let mut commands = Vec::new();
            while let Some(row) = rows.next()? {
                commands.push(command(shard, row)?);
            }
            Ok(commands)
        };
        self.read(pending).await
    }

    async fn done(&self, shard: Shard, commands: &[CommandId]) -> ports::Result<()> {
        let ids: Vec<CommandId> = commands.to_vec();
        let cost = Cost::rows(ids.len());
        let done = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(DONE)?;
            for id in &ids {
                statement.execute(params![shard.0, id.0.as_bytes()])?;
            }
            Ok(())
        };
        self.write(cost, done).await
    }
}

fn command(shard: Shard, row: &Row<'_>) -> Result<Command, Fault> {
    let blob = |column| row.get_ref(column)?.as_blob().map_err(|_| odd("command"));
    // A uuid is 16 bytes, as an endpoint's uid is; the typed ids know how to read them.
    let id = domain::AttemptId::from_slice(blob(0)?).ok_or_else(|| odd("command"))?;
    let time = Timestamp::from_millis(row.get(1)?);
    Ok(codec::decode_command(CommandId(id.uuid()), shard, time, blob(2)?)?)
}
