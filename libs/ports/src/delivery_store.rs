//! What waits, lanes, and commands to lanes.

use async_trait::async_trait;
use domain::{
    BacklogKey, BacklogRow, Command, CommandId, EndpointUid, Epoch, LaneKey, LaneRow, Shard,
    Timestamp,
};

use crate::Result;

/// Rows that wait, per lane, in the order of their keys.
///
/// BL-1  `append` is durable when it returns. Appending the same row again changes nothing.
/// BL-2  `page` gives rows with keys in `(after, upto]` in order, at most `limit`, and the due time of the first row behind those that it gave.
/// BL-3  Every row whose append was acknowledged before the call is seen.
/// BL-4  Rows at or before a `trim` key may vanish; later ones never do, whatever their age.
/// BL-5  Lanes do not see each other's rows.
#[async_trait]
pub trait BacklogStore: Send + Sync + 'static {
    /// Appends rows to lanes.
    ///
    /// # Errors
    /// When it is not certain that all are durable; repeat.
    async fn append(&self, rows: &[(LaneKey, BacklogRow)]) -> Result<()>;

    /// Reads a part of a lane's backlog.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn page(
        &self,
        lane: LaneKey,
        after: BacklogKey,
        upto: BacklogKey,
        limit: usize,
    ) -> Result<BacklogPage>;

    /// Allows rows at or before `upto` to vanish: all of them have been handed off.
    ///
    /// # Errors
    /// When the store cannot be written; nothing depends on it.
    async fn trim(&self, lane: LaneKey, upto: BacklogKey) -> Result<()>;
}

/// A part of a lane's backlog.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BacklogPage {
    /// The rows, in order.
    pub rows: Vec<BacklogRow>,
    /// Due time of the first row behind these, whether or not it is within `upto`; `None` when there is none.
    pub next_due: Option<Timestamp>,
}

/// What outlives the owner of a lane.
///
/// LA-1  `save` is durable when it returns; the last one wins, unless its epoch is older than the stored one: then nothing changes.
/// LA-2  `of_shard` gives every lane of a shard that was saved and not removed.
/// LA-3  Rows do not expire.
/// LA-4  `remove` leaves what an owner of a newer epoch saved, also when it is done after that.
#[async_trait]
pub trait LaneStore: Send + Sync + 'static {
    /// Saves lanes.
    ///
    /// # Errors
    /// When it is not certain that all are durable; repeat.
    async fn save(&self, lanes: &[LaneRow]) -> Result<()>;

    /// Reads the lanes of a shard, in pages by endpoint uid: those after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<EndpointUid>,
        limit: usize,
    ) -> Result<Vec<LaneRow>>;

    /// Reads one lane.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn get(&self, lane: LaneKey) -> Result<Option<LaneRow>>;

    /// Forgets what owners up to this epoch saved of a lane: it has nothing to remember.
    ///
    /// # Errors
    /// When the store cannot be written; repeat.
    async fn remove(&self, lane: LaneKey, epoch: Epoch) -> Result<()>;
}

/// Commands from the control plane to the owners of shards.
///
/// IN-1  `send` is durable when it returns; sending the same command again changes nothing. A command's id is a UUIDv7 of its time.
/// IN-2  `pending` gives the commands of a shard that are not done, oldest first.
/// IN-3  After `done` a command is not given again.
/// IN-4  Commands expire unread after a day.
#[async_trait]
pub trait InboxStore: Send + Sync + 'static {
    /// Sends commands.
    ///
    /// # Errors
    /// When it is not certain that all are durable; repeat.
    async fn send(&self, commands: &[Command]) -> Result<()>;

    /// Reads the commands of a shard that are not done, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn pending(&self, shard: Shard, limit: usize) -> Result<Vec<Command>>;

    /// Marks commands of a shard as done.
    ///
    /// # Errors
    /// When it is not certain that all are durable; repeat.
    async fn done(&self, shard: Shard, commands: &[CommandId]) -> Result<()>;
}
