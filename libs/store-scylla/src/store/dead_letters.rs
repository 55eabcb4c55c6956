//! Dead letters: lists by endpoint, and the port.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::limits::DEAD_LETTER_RETENTION;
use domain::{
    DeadLetter, DeadLetterId, DeadLetterReason, EndpointUid, Resolution, RunId, TenantId, Timestamp,
};
use ports::{DeadLetterFilter, DeadLetterStore, Taken};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::dead_letter_runs::End;
use super::newest_first::{Keyed, newest_first};
use super::registry::Registry;
use super::{Store, cql_limit, odd, time, time_of, undecodable};
use crate::bucket::Bucket;
use crate::cql::{Cql, NewRow, Statement, all};
use crate::error::OpenError;

const TABLE: &str = "dead_letters";
const PUT: &str = "INSERT INTO dead_letters
    (endpoint, bucket_start, bucket_width, time, letter, version, reason, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const LIST: &str = "SELECT time, letter, version, reason, gone, redriving, body FROM dead_letters
    WHERE endpoint = ? AND bucket_start = ? AND bucket_width = ? AND (time, letter, version) < (?, ?, ?) LIMIT ?";
const GONE: &str = "UPDATE dead_letters SET gone = true
    WHERE endpoint = ? AND bucket_start = ? AND bucket_width = ? AND time = ? AND letter = ? AND version = ?";
const REDRIVING: &str = "UPDATE dead_letters SET redriving = ?
    WHERE endpoint = ? AND bucket_start = ? AND bucket_width = ? AND time = ? AND letter = ? AND version = ?";

pub(super) struct Statements {
    put: Statement,
    list: Statement,
    gone: Statement,
    redriving: Statement,
    buckets: Registry,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            put: cql.prepare(TABLE, PUT).await?,
            list: cql.prepare(TABLE, LIST).await?,
            gone: cql.prepare(TABLE, GONE).await?,
            redriving: cql.prepare(TABLE, REDRIVING).await?,
            buckets: Registry::prepare(cql, "dead_letter_buckets").await?,
        })
    }
}

type Found = (DeadLetter, Option<Resolution>);

#[async_trait]
impl DeadLetterStore for Store {
    async fn put(&self, letters: &[DeadLetter]) -> ports::Result<()> {
        // Ends of one dead letter follow each other; those of different ones do not wait for each other.
        let mut by_id: BTreeMap<(EndpointUid, DeadLetterId), Vec<DeadLetter>> = BTreeMap::new();
        for letter in letters {
            by_id.entry((letter.endpoint, letter.id)).or_default().push(letter.clone());
        }
        all(by_id.into_values().map(|letters| self.put_in_turn(letters))).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        id: DeadLetterId,
    ) -> ports::Result<Option<Found>> {
        let history = self.runs.read(&self.cql, endpoint, id).await?;
        let Some(end) = history.current().filter(|end| self.is_shown(tenant, end)) else {
            return Ok(None);
        };
        Ok(match history.resolution(end) {
            Some(Resolution::Resolved) => None,
            state => Some((end.letter.clone(), state)),
        })
    }

    async fn list(
        &self,
        endpoint: EndpointUid,
        filter: &DeadLetterFilter,
        before: Option<(Timestamp, DeadLetterId)>,
        limit: usize,
    ) -> ports::Result<Vec<Found>> {
        let wanted = Wanted::new(self.now(), filter, before);
        let read = |bucket: Bucket| self.newest_of(endpoint, bucket, wanted, limit);
        let list = (&self.cql, &self.dead_letters.buckets);
        let (oldest, newest) = (wanted.oldest, wanted.before.time);
        let listed = newest_first(list, endpoint, (oldest, newest), limit, read, |row: &Listed| {
            row.letter.time
        })
        .await?;
        let found = |row: Listed| (row.letter, row.redriving.map(Resolution::Redriving));
        Ok(listed.into_iter().map(found).collect())
    }

    async fn begin_redrive(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        id: DeadLetterId,
        run: RunId,
    ) -> ports::Result<Taken> {
        let history = self.runs.read(&self.cql, endpoint, id).await?;
        let Some(end) = history.current().filter(|end| self.is_shown(tenant, end)) else {
            return Ok(Taken::NotFound);
        };
        match history.resolution(end) {
            Some(Resolution::Resolved) => return Ok(Taken::NotFound),
            Some(Resolution::Redriving(other)) if other != run => return Ok(Taken::InProgress),
            // A repeat of a redrive that has failed since: it was ours, and nothing is on its way.
            None if history.end_of(run).is_some() => {}
            Some(Resolution::Redriving(_)) | None => {
                if !self.runs.take(&self.cql, end, run).await? {
                    return Ok(Taken::InProgress);
                }
                let key = list_key(end);
                let values = (run.uuid(), key.0, key.1, key.2, key.3, key.4, key.5);
                self.cql.write(&self.dead_letters.redriving, NewRow { values, bytes: 72 }).await?;
            }
        }
        Ok(Taken::Ours(Box::new(end.letter.clone())))
    }

    async fn resolve(
        &self,
        endpoint: EndpointUid,
        id: DeadLetterId,
        run: RunId,
    ) -> ports::Result<()> {
        let history = self.runs.read(&self.cql, endpoint, id).await?;
        let Some(end) = history.current() else {
            return Ok(());
        };
        // A put that was killed half-way may have left an older end in the list.
        self.hide_all(history.replaced()).await?;
        match history.resolution(end) {
            Some(Resolution::Redriving(redriving)) if redriving == run => {
                self.runs.put_delivered(&self.cql, endpoint, id, run, self.now()).await?;
                self.hide(end).await
            }
            // A repeat: the list may not know yet.
            Some(Resolution::Resolved) => self.hide(end).await,
            Some(Resolution::Redriving(_)) | None => Ok(()),
        }
    }
}

impl Store {
    async fn put_in_turn(&self, letters: Vec<DeadLetter>) -> ports::Result<()> {
        for letter in &letters {
            self.put_one(letter).await?;
        }
        Ok(())
    }

    /// Keeps one end: the end itself with the place of its row, then that row, then older ends leave the list. A repeat finds the place and goes on there.
    async fn put_one(&self, letter: &DeadLetter) -> ports::Result<()> {
        let history = self.runs.read(&self.cql, letter.endpoint, letter.id).await?;
        if let Some(known) = history.end_of(letter.run) {
            self.put_in_list(known).await?;
            return self.hide_all(history.replaced()).await;
        }
        let buckets = &self.dead_letters.buckets;
        let ((_, bucket), is_registered) = buckets.place(letter.endpoint, letter.time);
        if !is_registered {
            buckets.register(&self.cql, [(letter.endpoint, bucket)]).await?;
        }
        let end = End { letter: letter.clone(), version: history.next_version(), bucket };
        self.runs.put(&self.cql, &end).await?;
        self.put_in_list(&end).await?;
        self.hide_all(history.replaced().chain(history.current())).await
    }

    async fn hide_all(&self, ends: impl Iterator<Item = &End>) -> ports::Result<()> {
        let keys: Vec<ListKey> = ends.map(list_key).collect();
        let rows = keys.into_iter().map(|values| NewRow { values, bytes: 57 }).collect();
        self.cql.write_each(&self.dead_letters.gone, rows).await
    }

    async fn put_in_list(&self, end: &End) -> ports::Result<()> {
        let body = codec::encode_dead_letter(&end.letter);
        let bytes = body.len() + 72;
        let key = list_key(end);
        let reason = codec::reason_code(end.letter.reason).cast_signed();
        let values = (key.0, key.1, key.2, key.3, key.4, key.5, reason, body);
        self.cql.write(&self.dead_letters.put, NewRow { values, bytes }).await
    }

    async fn hide(&self, end: &End) -> ports::Result<()> {
        self.cql.write(&self.dead_letters.gone, NewRow { values: list_key(end), bytes: 57 }).await
    }

    fn is_shown(&self, tenant: &TenantId, end: &End) -> bool {
        end.letter.tenant == *tenant && end.letter.time > self.now() - DEAD_LETTER_RETENTION
    }

    /// The newest rows of one bucket that are wanted.
    async fn newest_of(
        &self,
        endpoint: EndpointUid,
        bucket: Bucket,
        wanted: Wanted,
        limit: usize,
    ) -> ports::Result<Vec<Listed>> {
        let mut before = wanted.before;
        let mut found = Vec::new();
        // Rows that are gone or filtered out are passed over, a page at a time.
        let page = limit.clamp(50, 1_000);
        loop {
            let key = (
                endpoint.uuid(),
                time(bucket.start),
                bucket.width.seconds(),
                time(before.time),
                before.letter.to_vec(),
                before.version,
                cql_limit(page),
            );
            let rows: Vec<Row> = self.cql.read(&self.dead_letters.list, key).await?;
            let is_last = rows.len() < page;
            for row in rows {
                before = Before::of(&row)?;
                if wanted.has(&row) {
                    found.push(Listed::of(row)?);
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
            if is_last || before.time < wanted.oldest {
                return Ok(found);
            }
        }
    }
}

type ListKey = (Uuid, CqlTimestamp, i32, CqlTimestamp, Vec<u8>, i32);

fn list_key(end: &End) -> ListKey {
    let letter = &end.letter;
    (
        letter.endpoint.uuid(),
        time(end.bucket.start),
        end.bucket.width.seconds(),
        time(letter.time),
        letter.id.as_bytes().to_vec(),
        end.version,
    )
}

type Row = (CqlTimestamp, Vec<u8>, i32, Option<i8>, Option<bool>, Option<Uuid>, Option<Vec<u8>>);

/// A place in a list: what follows it is older.
#[derive(Clone, Copy)]
struct Before {
    time: Timestamp,
    letter: [u8; 16],
    version: i32,
}

impl Before {
    fn of(row: &Row) -> ports::Result<Self> {
        let letter = row.1.as_slice().try_into().map_err(|_| odd(TABLE))?;
        Ok(Self { time: time_of(row.0), letter, version: row.2 })
    }
}

/// What a list shows.
#[derive(Clone, Copy)]
struct Wanted {
    oldest: Timestamp,
    before: Before,
    reason: Option<DeadLetterReason>,
}

impl Wanted {
    fn new(
        now: Timestamp,
        filter: &DeadLetterFilter,
        before: Option<(Timestamp, DeadLetterId)>,
    ) -> Self {
        // Those that expire at this moment are hidden: the oldest that is shown is a millisecond newer.
        let young = now - DEAD_LETTER_RETENTION + std::time::Duration::from_millis(1);
        let oldest = filter.since.map_or(young, |since| since.max(young));
        // Dead letters are made before they are listed, but for clocks that differ.
        let newest = Before {
            time: now + std::time::Duration::from_secs(60),
            letter: [0xff; 16],
            version: i32::MAX,
        };
        let key = before.map_or(newest, |(time, id)| Before {
            time,
            letter: *id.as_bytes(),
            version: i32::MIN,
        });
        // `until` is left out as a whole: nothing sorts before an empty letter of its time.
        let end = filter.until.map(|time| Before { time, letter: [0; 16], version: i32::MIN });
        let before = match end {
            Some(end) if (end.time, end.letter) < (key.time, key.letter) => end,
            _ => key,
        };
        Self { oldest, before, reason: filter.reason }
    }

    fn has(&self, row: &Row) -> bool {
        let (at, _, _, reason, gone, _, body) = row;
        let is_wanted = self
            .reason
            .is_none_or(|wanted| *reason == Some(codec::reason_code(wanted).cast_signed()));
        body.is_some() && *gone != Some(true) && is_wanted && time_of(*at) >= self.oldest
    }
}

struct Listed {
    letter: DeadLetter,
    redriving: Option<RunId>,
}

impl Listed {
    fn of((_, _, _, _, _, redriving, body): Row) -> ports::Result<Self> {
        let body = body.ok_or_else(|| odd(TABLE))?;
        let letter = codec::decode_dead_letter(&body).map_err(undecodable(TABLE))?;
        Ok(Self { letter, redriving: redriving.map(RunId::from_uuid) })
    }
}

impl Keyed for Listed {
    type Key = (Timestamp, DeadLetterId);

    fn key(&self) -> Self::Key {
        (self.letter.time, self.letter.id)
    }
}
