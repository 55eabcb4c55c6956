//! Statements: prepared once, token-aware, marked idempotent, counted. Everything that talks to the cluster goes through here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::ExecutionError;
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};

use crate::error::{Effect, OpenError, damaged, failed};
use crate::turns::Turns;
pub(crate) use crate::turns::{all, gather};

/// Rows of one batch (`performance.md` §5.2).
const BATCH_ROWS: usize = 50;
/// Bytes of one batch; Cassandra refuses 50 KiB.
const BATCH_BYTES: usize = 32 * 1024;
/// Rows that one read brings at once where a partition is read whole.
const PAGE_ROWS: i32 = 1_000;

/// The session with its counters.
pub(crate) struct Cql {
    pub(crate) session: Session,
    keyspace: String,
    turns: Turns,
    counters: Mutex<BTreeMap<&'static str, Arc<Counters>>>,
}

/// A statement and the table that it is about.
pub(crate) struct Statement {
    prepared: PreparedStatement,
    table: &'static str,
    counters: Arc<Counters>,
}

/// A row to write: the values of a statement's markers, and about how many bytes they are.
pub(crate) struct NewRow<V> {
    pub(crate) values: V,
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct Counters {
    writes: AtomicU64,
    rows_written: AtomicU64,
    bytes_written: AtomicU64,
    reads: AtomicU64,
    rows_read: AtomicU64,
}

/// What went to and came from one table since the connection was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Statements that wrote; a batch is one.
    pub writes: u64,
    /// Rows that they wrote.
    pub rows_written: u64,
    /// Bytes of those rows' values, without the protocol's.
    pub bytes_written: u64,
    /// Statements that read; each page is one.
    pub reads: u64,
    /// Rows that they brought.
    pub rows_read: u64,
}

impl Cql {
    pub(crate) fn new(session: Session, keyspace: String) -> Self {
        Self { session, keyspace, turns: Turns::new(), counters: Mutex::default() }
    }

    pub(crate) fn keyspace(&self) -> &str {
        &self.keyspace
    }

    /// Prepares a statement that may be repeated.
    pub(crate) async fn prepare(
        &self,
        table: &'static str,
        text: &str,
    ) -> Result<Statement, OpenError> {
        let text = in_keyspace(&self.keyspace, table, text);
        let mut prepared = self.session.prepare(text).await.map_err(|error| {
            OpenError::statement(
                "prepare a statement",
                &self.keyspace,
                &ExecutionError::from(error),
            )
        })?;
        prepared.set_is_idempotent(true);
        prepared.set_page_size(PAGE_ROWS);
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = Arc::clone(counters.entry(table).or_default());
        Ok(Statement { prepared, table, counters })
    }

    /// Prepares a compare-and-set, which the driver never repeats by itself.
    pub(crate) async fn prepare_cas(
        &self,
        table: &'static str,
        text: &str,
    ) -> Result<Statement, OpenError> {
        let mut statement = self.prepare(table, text).await?;
        statement.prepared.set_is_idempotent(false);
        Ok(statement)
    }

    /// What went to and came from each table.
    pub(crate) fn traffic(&self) -> BTreeMap<&'static str, Traffic> {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.iter().map(|(table, counters)| (*table, counters.read())).collect()
    }

    /// Writes one row.
    pub(crate) async fn write(
        &self,
        to: &Statement,
        row: NewRow<impl SerializeRow>,
    ) -> ports::Result<()> {
        to.counters.wrote(1, row.bytes);
        let write = self.session.execute_unpaged(&to.prepared, row.values);
        let written = self.turns.take(write).await;
        written.map(|_| ()).map_err(|error| failed(to.table, Effect::Write, error))
    }

    /// Writes rows of many partitions, each by a statement of its own. All are tried.
    pub(crate) async fn write_each<V: SerializeRow>(
        &self,
        to: &Statement,
        rows: Vec<NewRow<V>>,
    ) -> ports::Result<()> {
        all(rows.into_iter().map(|row| self.write(to, row))).await
    }

    /// Writes rows of one partition in unlogged batches, which go at once: one after the other, many rows would outlast a call when the store is slow.
    pub(crate) async fn write_partition<V: SerializeRow>(
        &self,
        to: &Statement,
        rows: Vec<NewRow<V>>,
    ) -> ports::Result<()> {
        all(batches(rows).into_iter().map(|rows| self.write_batch(to, rows))).await
    }

    async fn write_batch<V: SerializeRow>(
        &self,
        to: &Statement,
        mut rows: Vec<NewRow<V>>,
    ) -> ports::Result<()> {
        if rows.len() == 1
            && let Some(row) = rows.pop()
        {
            return self.write(to, row).await;
        }
        let bytes = rows.iter().map(|row| row.bytes).sum();
        to.counters.wrote(rows.len(), bytes);
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        for _ in &rows {
            batch.append_statement(to.prepared.clone());
        }
        let values: Vec<V> = rows.into_iter().map(|row| row.values).collect();
        let written = self.turns.take(self.session.batch(&batch, values)).await;
        written.map(|_| ()).map_err(|error| failed(to.table, Effect::Write, error))
    }

    /// Reads one page; gives where to go on, if anywhere.
    pub(crate) async fn read_page<R>(
        &self,
        from: &Statement,
        values: impl SerializeRow,
        at: PagingState,
    ) -> ports::Result<(Vec<R>, Option<PagingState>)>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        // On the heap: the driver's futures are large, and callers hold several.
        self.turns.take(Box::pin(self.read_page_at_once(from, values, at))).await
    }

    /// Reads one page without waiting for a turn: whether the store answers is not a question of how much else is under way.
    pub(crate) async fn read_page_at_once<R>(
        &self,
        from: &Statement,
        values: impl SerializeRow,
        at: PagingState,
    ) -> ports::Result<(Vec<R>, Option<PagingState>)>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let read = self.session.execute_single_page(&from.prepared, values, at).await;
        let (result, more) = read.map_err(|error| failed(from.table, Effect::Read, error))?;
        let result = result.into_rows_result().map_err(|error| damaged(from.table, error))?;
        from.counters.read_rows(result.rows_num());
        let rows = result.rows::<R>().map_err(|error| damaged(from.table, error))?;
        let rows =
            rows.collect::<Result<Vec<R>, _>>().map_err(|error| damaged(from.table, error))?;
        let more = match more {
            PagingStateResponse::HasMorePages { state } => Some(state),
            PagingStateResponse::NoMorePages => None,
        };
        Ok((rows, more))
    }

    /// Reads all that a statement selects: by its LIMIT, or a partition that is bounded by its design.
    pub(crate) async fn read<R>(
        &self,
        from: &Statement,
        values: impl SerializeRow + Clone,
    ) -> ports::Result<Vec<R>>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let mut all = Vec::new();
        let mut at = PagingState::start();
        loop {
            let (rows, more) = self.read_page(from, values.clone(), at).await?;
            all.extend(rows);
            match more {
                Some(state) => at = state,
                None => return Ok(all),
            }
        }
    }

    /// Runs a batch of a compare-and-set and plain statements of one partition; whether it was applied.
    pub(crate) async fn compare_and_set(
        &self,
        table: &'static str,
        steps: Vec<Step>,
    ) -> ports::Result<bool> {
        let mut batch = Batch::new(BatchType::Logged);
        let mut values = Vec::with_capacity(steps.len());
        for step in steps {
            batch.append_statement(step.statement);
            values.push(step.values);
        }
        let done = self.turns.take(self.session.batch(&batch, values)).await;
        let result = done.map_err(|error| failed(table, Effect::Write, error))?;
        applied(table, result)
    }

    /// Runs one compare-and-set; whether it was applied.
    pub(crate) async fn set_if(
        &self,
        to: &Statement,
        values: impl SerializeRow,
    ) -> ports::Result<bool> {
        to.counters.wrote(1, 0);
        let set = self.session.execute_unpaged(&to.prepared, values);
        let done = self.turns.take(set).await;
        let result = done.map_err(|error| failed(to.table, Effect::Write, error))?;
        applied(to.table, result)
    }
}

/// One statement of a conditional batch, with its values.
pub(crate) struct Step {
    statement: PreparedStatement,
    values: Vec<CqlValue>,
}

impl Statement {
    /// Brings so many rows with each read.
    pub(crate) fn in_pages_of(mut self, rows: i32) -> Self {
        self.prepared.set_page_size(rows);
        self
    }

    /// A statement of a conditional batch.
    pub(crate) fn step(&self, values: Vec<CqlValue>) -> Step {
        self.counters.wrote(1, 0);
        Step { statement: self.prepared.clone(), values }
    }
}

/// Whether a compare-and-set was applied: its first column says so.
pub(crate) fn applied(table: &'static str, result: QueryResult) -> ports::Result<bool> {
    let rows = result.into_rows_result().map_err(|error| damaged(table, error))?;
    let row: Row = rows.first_row().map_err(|error| damaged(table, error))?;
    let flag = row.columns.into_iter().next().flatten();
    Ok(flag.and_then(|flag| flag.as_boolean()).unwrap_or(false))
}

impl Counters {
    fn wrote(&self, rows: usize, bytes: usize) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.rows_written.fetch_add(rows as u64, Ordering::Relaxed);
        self.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read_rows(&self, rows: usize) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.rows_read.fetch_add(rows as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Traffic {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            writes: get(&self.writes),
            rows_written: get(&self.rows_written),
            bytes_written: get(&self.bytes_written),
            reads: get(&self.reads),
            rows_read: get(&self.rows_read),
        }
    }
}

/// The statement on one line, with its table named in full.
fn in_keyspace(keyspace: &str, table: &str, text: &str) -> String {
    // Each word with a blank behind it, so that a name at the end is found too.
    let line: String = text.split_whitespace().flat_map(|word| [word, " "]).collect();
    let line = line.replacen(&format!(" {table} "), &format!(" {keyspace}.{table} "), 1);
    line.trim_end().to_owned()
}

/// Rows in batches, in their order.
fn batches<V>(mut rows: Vec<NewRow<V>>) -> Vec<Vec<NewRow<V>>> {
    let mut batches = Vec::new();
    while !rows.is_empty() {
        let rest = rows.split_off(batch_len(rows.iter().map(|row| row.bytes)));
        batches.push(std::mem::replace(&mut rows, rest));
    }
    batches
}

/// How many of the first rows make one batch: at least one.
fn batch_len(bytes: impl Iterator<Item = usize>) -> usize {
    let mut sum = 0;
    let fitting = bytes.take(BATCH_ROWS).take_while(|bytes| {
        sum += bytes;
        sum <= BATCH_BYTES
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_in_full() {
        let text = "SELECT a FROM lanes\n    WHERE lanes = ?";
        assert_eq!(in_keyspace("ks", "lanes", text), "SELECT a FROM ks.lanes WHERE lanes = ?");
        let text = "INSERT INTO lanes (a) VALUES (?)";
        assert_eq!(in_keyspace("ks", "lanes", text), "INSERT INTO ks.lanes (a) VALUES (?)");
        let text = "SELECT DISTINCT shard FROM lanes";
        assert_eq!(in_keyspace("ks", "lanes", text), "SELECT DISTINCT shard FROM ks.lanes");
    }

    #[test]
    fn batches_are_bounded_in_rows_and_bytes() {
        assert_eq!(batch_len(std::iter::repeat_n(100, 500)), BATCH_ROWS);
        assert_eq!(batch_len(std::iter::repeat_n(10_000, 500)), 3);
        assert_eq!(batch_len(std::iter::once(1_000_000)), 1);
    }

    #[test]
    fn every_row_is_in_one_batch_in_its_turn() {
        let rows = (0..512).map(|n| NewRow { values: n, bytes: if n == 7 { 40_000 } else { 90 } });
        let batches = batches(rows.collect());
        let counts: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(counts, [7, 1, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 4]);
        let rows: Vec<i32> = batches.into_iter().flatten().map(|row| row.values).collect();
        assert_eq!(rows, (0..512).collect::<Vec<_>>());
    }
}
