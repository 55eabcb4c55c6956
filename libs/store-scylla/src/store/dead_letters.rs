//! Dead letters: the port, and what writes the rows of their lists.
//!
//! A list's row says where an end belongs; what the letter is, and whether that end is the current one, is known by id alone (`dead_letter_runs`). So the
//! row is written first, the end makes it count, and rows of older ends are marked `gone` afterwards: at each moment exactly one row of a letter counts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::limits::DEAD_LETTER_RETENTION;
use domain::{DeadLetter, DeadLetterId, EndpointUid, Resolution, RunId, TenantId};
use ports::{DeadLetterFilter, DeadLetterKey, DeadLetterPage, DeadLetterStore, Taken};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::dead_letter_lists::LIST;
use super::dead_letter_runs::End;
use super::registry::Registry;
use super::{Store, time};
use crate::cql::{Cql, NewRow, Statement, all};
use crate::error::OpenError;

pub(super) const TABLE: &str = "dead_letters";
const PUT: &str = "INSERT INTO dead_letters
    (endpoint, bucket_start, bucket_width, time, letter, version, reason) VALUES (?, ?, ?, ?, ?, ?, ?)";
const GONE: &str = "UPDATE dead_letters SET gone = true
    WHERE endpoint = ? AND bucket_start = ? AND bucket_width = ? AND time = ? AND letter = ? AND version = ?";

pub(super) struct Statements {
    put: Statement,
    gone: Statement,
    pub(super) list: Statement,
    pub(super) buckets: Registry,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            put: cql.prepare(TABLE, PUT).await?,
            gone: cql.prepare(TABLE, GONE).await?,
            list: cql.prepare(TABLE, LIST).await?,
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
        before: Option<DeadLetterKey>,
        limit: usize,
    ) -> ports::Result<DeadLetterPage> {
        self.page_of_dead_letters(endpoint, filter, before, limit).await
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
        // A put that was killed half-way may have left rows of older ends: lists would ask for each of them whether it counts.
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

    /// Keeps one end: its row in the list, then the end itself with the row's place, which makes both count; then rows of older ends are hidden. The row of a
    /// put that came no further than that never counts.
    async fn put_one(&self, letter: &DeadLetter) -> ports::Result<()> {
        let history = self.runs.read(&self.cql, letter.endpoint, letter.id).await?;
        if history.end_of(letter.run).is_some() {
            return self.hide_all(history.replaced()).await;
        }
        let buckets = &self.dead_letters.buckets;
        let ((_, bucket), is_registered) = buckets.place(letter.endpoint, letter.time);
        if !is_registered {
            buckets.register(&self.cql, [(letter.endpoint, bucket)]).await?;
        }
        let end = End { letter: letter.clone(), version: history.next_version(), bucket };
        self.put_in_list(&end).await?;
        self.runs.put(&self.cql, &end).await?;
        self.hide_all(history.replaced().chain(history.current())).await
    }

    async fn hide_all(&self, ends: impl Iterator<Item = &End>) -> ports::Result<()> {
        let keys: Vec<ListKey> = ends.map(list_key).collect();
        let rows = keys.into_iter().map(|values| NewRow { values, bytes: 57 }).collect();
        self.cql.write_each(&self.dead_letters.gone, rows).await
    }

    async fn put_in_list(&self, end: &End) -> ports::Result<()> {
        let key = list_key(end);
        let reason = codec::reason_code(end.letter.reason).cast_signed();
        let values = (key.0, key.1, key.2, key.3, key.4, key.5, reason);
        self.cql.write(&self.dead_letters.put, NewRow { values, bytes: 57 }).await
    }

    async fn hide(&self, end: &End) -> ports::Result<()> {
        self.cql.write(&self.dead_letters.gone, NewRow { values: list_key(end), bytes: 57 }).await
    }

    fn is_shown(&self, tenant: &TenantId, end: &End) -> bool {
        end.letter.tenant == *tenant && end.letter.time > self.now() - DEAD_LETTER_RETENTION
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
