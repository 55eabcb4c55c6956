//! One lane's backlog as its owner sees it: which rows are in memory, how far it has read, and how far the cursor may move.
//!
//! Rows are read front to back, once. A page ends before the smallest key that is issued and not acknowledged, and new keys come after the end of
//! the last page requested: so nothing ever lands behind the cursor.

use std::collections::{BTreeMap, BTreeSet};

use domain::{BacklogKey, BacklogRow, Epoch, LogPosition, RunId, Seq, Timestamp};

#[derive(Debug)]
pub(crate) struct Backlog {
    epoch: Epoch,
    count: u64,
    cursor: BacklogKey,
    /// Every durable row up to here is behind the cursor or in `rows`.
    read_to: BacklogKey,
    /// End of the last page requested; new keys lie behind it.
    floor: BacklogKey,
    rows: BTreeMap<BacklogKey, Entry>,
    waiting: BTreeSet<BacklogKey>,
    deferred: BTreeSet<BacklogKey>,
    /// Keys that are issued and not acknowledged.
    pending: BTreeSet<BacklogKey>,
    /// Upper bound of the page that is being read.
    reading: Option<BacklogKey>,
    /// Earliest due time acknowledged while a page was being read, and how many rows that were not in memory.
    appended_meanwhile: Option<Timestamp>,
    appended_count: u64,
    /// Due time of the first row that is not in memory.
    next_due: Option<Timestamp>,
    size: u64,
}

#[derive(Debug)]
struct Entry {
    row: BacklogRow,
    state: RowState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RowState {
    /// Read, and not looked at yet.
    Waiting,
    /// Its event is being loaded, or it is on its way to a receiver.
    Busy,
    /// Another delivery of its run is on its way; looked at again when that has ended.
    Deferred,
    /// Handed off.
    Done,
}

impl Backlog {
    /// A backlog that goes on at a cursor. It reads once to find out what there is.
    pub(crate) fn resume(cursor: BacklogKey, epoch: Epoch, size: u64) -> Self {
        Self { next_due: Some(Timestamp::ZERO), size, ..Self::empty(cursor, epoch) }
    }

    /// A backlog that is known to be empty: the lane is new.
    pub(crate) fn empty(cursor: BacklogKey, epoch: Epoch) -> Self {
        Self {
            epoch,
            count: 0,
            cursor,
            read_to: cursor,
            floor: cursor,
            rows: BTreeMap::new(),
            waiting: BTreeSet::new(),
            deferred: BTreeSet::new(),
            pending: BTreeSet::new(),
            reading: None,
            appended_meanwhile: None,
            appended_count: 0,
            next_due: None,
            size: 0,
        }
    }

    pub(crate) fn cursor(&self) -> BacklogKey {
        self.cursor
    }

    /// Rows that are not handed off, as far as known.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.next_due
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When the first row is due that waits, in memory or in the store.
    pub(crate) fn first_due(&self) -> Option<Timestamp> {
        let waiting = self.waiting.first().map(|key| key.due);
        waiting.into_iter().chain(self.next_due).min()
    }

    /// Whether no row is due that is not in memory and on its way.
    pub(crate) fn nothing_due(&self, now: Timestamp) -> bool {
        self.waiting.is_empty()
            && self.pending.is_empty()
            && self.reading.is_none()
            && self.next_due.is_none_or(|due| due > now)
    }

    /// First due time of the oldest row in memory.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let open = self.rows.values().filter(|entry| entry.state != RowState::Done);
        open.map(|entry| entry.row.first_due).min()
    }

    /// Issues a key for a row due at `due`. It stays outstanding until [`Backlog::appended`].
    pub(crate) fn issue(&mut self, due: Timestamp) -> BacklogKey {
        self.count += 1;
        let mut key = BacklogKey { due, seq: Seq::new(self.epoch, self.count) };
        if key <= self.floor {
            key.due = Timestamp::from_millis(self.floor.due.as_millis().saturating_add(1));
        }
        self.pending.insert(key);
        key
    }

    /// The row of an issued key is durable.
    pub(crate) fn appended(&mut self, key: BacklogKey) {
        if !self.pending.remove(&key) {
            return;
        }
        self.size += 1;
        let earlier = |known: Option<Timestamp>| Some(known.map_or(key.due, |t| t.min(key.due)));
        if self.reading.is_some() {
            self.appended_count += u64::from(!self.rows.contains_key(&key));
            self.appended_meanwhile = earlier(self.appended_meanwhile);
        }
        self.next_due = earlier(self.next_due);
    }

    /// Keeps a row in memory that is durable and already on its way.
    pub(crate) fn adopt(&mut self, row: BacklogRow) {
        self.rows.insert(row.key, Entry { row, state: RowState::Busy });
    }

    /// Takes rows in memory that wait since before `first_due` was `limit`, at most so many.
    pub(crate) fn take_older(&mut self, limit: Timestamp, most: usize) -> Vec<BacklogRow> {
        let is_older =
            |key: &&BacklogKey| self.rows.get(key).is_some_and(|entry| entry.row.first_due < limit);
        let keys: Vec<BacklogKey> =
            self.waiting.iter().filter(is_older).take(most).copied().collect();
        keys.iter().for_each(|key| {
            self.waiting.remove(key);
            self.set(*key, RowState::Busy);
        });
        keys.iter().filter_map(|key| self.rows.get(key)).map(|entry| entry.row.clone()).collect()
    }

    /// Whether a row in memory waits since before its first due time was `limit`.
    pub(crate) fn has_older(&self, limit: Timestamp) -> bool {
        let mut waiting = self.waiting.iter().filter_map(|key| self.rows.get(key));
        waiting.any(|entry| entry.row.first_due < limit)
    }

    /// Rows in memory that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a page is on its way.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Whether nothing waits, in memory, in the store or on its way there.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.pending.is_empty()
            && self.reading.is_none()
            && self.next_due.is_none()
    }

    /// Takes a durable row out of its turn. Returns `false` when it is handed off, or on its way already.
    pub(crate) fn claim(&mut self, row: BacklogRow) -> bool {
        let key = row.key;
        match self.rows.get(&key).map(|entry| entry.state) {
            Some(RowState::Waiting) => {
                self.waiting.remove(&key);
                self.set(key, RowState::Busy);
                true
            }
            Some(RowState::Busy | RowState::Deferred | RowState::Done) => false,
            // Not in memory, and read before: it is behind the cursor.
            None if key <= self.read_to => false,
            None => {
                self.adopt(row);
                true
            }
        }
    }

    /// Asks for the next page, if one is due: bounds `(after, upto]`. The caller must read it.
    pub(crate) fn request_page(&mut self, now: Timestamp) -> Option<(BacklogKey, BacklogKey)> {
        if self.reading.is_some() || self.next_due.is_none_or(|due| due > now) {
            return None;
        }
        let mut upto = BacklogKey::end_of(now);
        if let Some(first) = self.pending.first() {
            upto = upto.min(before(*first));
        }
        if upto <= self.read_to {
            return None;
        }
        self.reading = Some(upto);
        self.appended_count = 0;
        self.floor = self.floor.max(upto);
        Some((self.read_to, upto))
    }

    /// Takes a page. Returns whether the backlog is read to its end, up to the time of the request.
    pub(crate) fn take_page(
        &mut self,
        rows: Vec<BacklogRow>,
        next_due: Option<Timestamp>,
        limit: usize,
    ) -> bool {
        let Some(upto) = self.reading.take() else {
            return false;
        };
        let full = rows.len() >= limit;
        self.read_to = match rows.last() {
            Some(last) if full => last.key,
            _ => upto,
        };
        for row in rows {
            let key = row.key;
            if let std::collections::btree_map::Entry::Vacant(vacant) = self.rows.entry(key) {
                vacant.insert(Entry { row, state: RowState::Waiting });
                self.waiting.insert(key);
            }
        }
        let meanwhile = self.appended_meanwhile.take();
        self.next_due = match (next_due, meanwhile) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.move_cursor();
        self.size = match next_due {
            // All that is durable is in memory, or came meanwhile: what an owner before counted is corrected.
            None => self.open_rows() + self.appended_count,
            Some(_) => self.size.max(self.open_rows()),
        };
        !full
    }

    fn open_rows(&self) -> u64 {
        self.rows.values().filter(|entry| entry.state != RowState::Done).count() as u64
    }

    /// Takes the first row that waits.
    pub(crate) fn take_waiting(&mut self) -> Option<BacklogRow> {
        let key = self.waiting.pop_first()?;
        let entry = self.rows.get_mut(&key)?;
        entry.state = RowState::Busy;
        Some(entry.row.clone())
    }

    /// Puts a row back: it was not attempted.
    pub(crate) fn put_back(&mut self, key: BacklogKey) {
        self.set(key, RowState::Waiting);
    }

    /// Leaves a row aside until another delivery of its run has ended.
    pub(crate) fn defer(&mut self, key: BacklogKey) {
        self.set(key, RowState::Deferred);
        self.deferred.insert(key);
    }

    /// Looks again at rows that were left aside.
    pub(crate) fn retry_deferred(&mut self) {
        for key in std::mem::take(&mut self.deferred) {
            self.set(key, RowState::Waiting);
        }
    }

    fn set(&mut self, key: BacklogKey, state: RowState) {
        if let Some(entry) = self.rows.get_mut(&key) {
            entry.state = state;
            if state == RowState::Waiting {
                self.waiting.insert(key);
            }
        }
    }

    /// A row is handed off. Returns whether the cursor moved.
    pub(crate) fn done(&mut self, key: BacklogKey) -> bool {
        self.size = self.size.saturating_sub(1);
        self.waiting.remove(&key);
        self.deferred.remove(&key);
        self.set(key, RowState::Done);
        self.move_cursor()
    }

    /// Moves the cursor over what is handed off. Returns whether it moved.
    fn move_cursor(&mut self) -> bool {
        let before = self.cursor;
        while let Some(first) = self.rows.first_entry() {
            if first.get().state != RowState::Done || *first.key() > self.read_to {
                break;
            }
            self.cursor = *first.key();
            first.remove();
        }
        self.cursor != before
    }

    /// Takes the rows in memory that an event has here and that are neither being looked at nor on their way. The caller ends them.
    pub(crate) fn take_idle_rows_of(
        &mut self,
        at: LogPosition,
        is_it: impl Fn(RunId) -> bool,
    ) -> Vec<BacklogRow> {
        let idle = self.waiting.iter().chain(&self.deferred);
        let rows = idle.filter_map(|key| self.rows.get(key)).map(|entry| &entry.row);
        let rows: Vec<BacklogRow> =
            rows.filter(|row| row.event.at == at && is_it(row.run)).cloned().collect();
        for row in &rows {
            self.waiting.remove(&row.key);
            self.deferred.remove(&row.key);
            self.set(row.key, RowState::Busy);
        }
        rows
    }
}

/// The largest key below `key`.
fn before(key: BacklogKey) -> BacklogKey {
    match key.seq.0.checked_sub(1) {
        Some(seq) => BacklogKey { due: key.due, seq: Seq(seq) },
        None => BacklogKey::end_of(Timestamp::from_millis(key.due.as_millis() - 1)),
    }
}

#[cfg(test)]
mod tests;
