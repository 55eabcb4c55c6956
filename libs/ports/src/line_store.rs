//! Deliveries that are held behind others of their ordering key.

use async_trait::async_trait;
use domain::{EndpointUid, HeldRow, LaneKey, Line, LineRow, Position, Shard};

use crate::Result;

/// The lines of lanes, and what is held in them.
///
/// LI-1  `hold` is durable when it returns. Holding the same row again changes nothing.
/// LI-2  `read` gives the rows of one line at or behind `from` and before `before`, in the order of their positions, at most `limit`: every one whose `hold` was
///       acknowledged before the call. Rows before what was last saved as a line's `from`, and rows of a line that was saved as closed, may be missing.
/// LI-3  `save` is durable when it returns; the last one wins, unless its epoch is older than that of a line that is open.
/// LI-4  `of_shard` gives every line of a shard that was saved as open and not closed since, and no other; in pages.
/// LI-5  After `forget` the lines of a lane and what is held in them may be missing; other lanes' are not.
#[async_trait]
pub trait LineStore: Send + Sync + 'static {
    /// Puts rows into lines.
    ///
    /// # Errors
    /// When it is not certain that all are durable; repeat.
    async fn hold(&self, rows: &[(LaneKey, Line, HeldRow)]) -> Result<()>;

    /// Reads a part of a line.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn read(
        &self,
        lane: LaneKey,
        line: Line,
        from: Position,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<HeldRow>>;

    /// Saves lines: a closed one is forgotten.
    ///
    /// # Errors
    /// When it is not certain that all are durable; repeat.
    async fn save(&self, lines: &[LineRow]) -> Result<()>;

    /// Reads the open lines of a shard, in pages by endpoint and line: those after `after`, at most `limit`. A page may be short of `limit` and still have a
    /// successor; an empty one has none.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<(EndpointUid, Line)>,
        limit: usize,
    ) -> Result<Vec<LineRow>>;

    /// Forgets the lines of a lane whose endpoint was deleted, with what is held in them.
    ///
    /// # Errors
    /// When the store cannot be written; nothing depends on it.
    async fn forget(&self, lane: LaneKey) -> Result<()>;
}
