//! Dead letters.

use async_trait::async_trait;
use domain::limits::{DEAD_LETTER_RETENTION, DEAD_LETTERS_READ_MAX};
use domain::{DeadLetter, DeadLetterId, EndpointUid, Resolution, RunId, TenantId, Timestamp};
use ports::{DeadLetterFilter, DeadLetterKey, DeadLetterPage, DeadLetterStore, Taken};
use rusqlite::{Connection, OptionalExtension as _, Row, Rows, params};

use super::{Store, events, odd};
use crate::error::Fault;
use crate::writer::Cost;

/// Runs that a dead letter remembers, so that the end of an old one that is put again is known.
const RUNS_MAX: usize = 64;

const NOTHING: u8 = 0;
const REDRIVING: u8 = 1;
const RESOLVED: u8 = 2;

pub(super) const RUNS: &str = "SELECT runs FROM dead_letters WHERE endpoint = ?1 AND letter = ?2";
pub(super) const PUT: &str = "INSERT INTO dead_letters
      (endpoint, letter, tenant, time, reason, runs, redrive, redrive_run, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, NULL, ?7)
    ON CONFLICT(endpoint, letter) DO UPDATE SET tenant = excluded.tenant, time = excluded.time,
      reason = excluded.reason, runs = excluded.runs, redrive = 0, redrive_run = NULL, body = excluded.body";
pub(super) const GET: &str = "SELECT redrive, redrive_run, body FROM dead_letters
    WHERE endpoint = ?1 AND letter = ?2 AND tenant = ?3 AND time > ?4 AND redrive < 2";
/// `?2` and `?3` are the newest key that is left out, `?4` the oldest time that is shown. The index leaves out what is resolved; the reason is looked at
/// row by row, so that rows are what is bounded.
pub(super) const LIST: &str =
    "SELECT redrive, redrive_run, body, time, letter, reason FROM dead_letters
    WHERE redrive < 2 AND endpoint = ?1 AND (time, letter) < (?2, ?3) AND time >= ?4
    ORDER BY time DESC, letter DESC";
pub(super) const TAKE: &str = "UPDATE dead_letters SET redrive = 1, redrive_run = ?3
    WHERE endpoint = ?1 AND letter = ?2";
pub(super) const RESOLVE: &str = "UPDATE dead_letters SET redrive = 2
    WHERE endpoint = ?1 AND letter = ?2 AND redrive = 1 AND redrive_run = ?3";

type Found = (DeadLetter, Option<Resolution>);

#[async_trait]
impl DeadLetterStore for Store {
    async fn put(&self, letters: &[DeadLetter]) -> ports::Result<()> {
        let letters: Vec<DeadLetter> = letters.to_vec();
        let cost = Cost::rows(letters.len() * 2);
        let put = move |conn: &Connection| letters.iter().try_for_each(|letter| put(conn, letter));
        self.write(cost, put).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        id: DeadLetterId,
    ) -> ports::Result<Option<Found>> {
        let tenant = tenant.clone();
        let since = self.now() - DEAD_LETTER_RETENTION;
        self.read(move |conn| get(conn, &tenant, endpoint, id, since)).await
    }

    async fn list(
        &self,
        endpoint: EndpointUid,
        filter: &DeadLetterFilter,
        before: Option<DeadLetterKey>,
        limit: usize,
    ) -> ports::Result<DeadLetterPage> {
        // Those that expire at this moment are hidden: the oldest that is shown is a millisecond newer.
        let oldest = self.now().as_millis() - millis(DEAD_LETTER_RETENTION) + 1;
        let since = filter.since.map_or(oldest, |since| since.as_millis().max(oldest));
        let reason = filter.reason.map(codec::reason_code);
        let mut end = before.map_or((i64::MAX, vec![0xff; 17]), |(time, id)| {
            (time.as_millis(), id.as_bytes().to_vec())
        });
        // `until` is left out as a whole: nothing sorts before an empty id.
        if let Some(until) = filter.until {
            end = end.min((until.as_millis(), Vec::new()));
        }
        let list = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(LIST)?;
            let rows = statement.query(params![endpoint.as_bytes(), end.0, end.1, since])?;
            page_of(rows, reason, limit)
        };
        self.read(list).await
    }

    async fn begin_redrive(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        id: DeadLetterId,
        run: RunId,
    ) -> ports::Result<Taken> {
        let tenant = tenant.clone();
        let since = self.now() - DEAD_LETTER_RETENTION;
        let take = move |conn: &Connection| {
            let Some((letter, state)) = get(conn, &tenant, endpoint, id, since)? else {
                return Ok(Taken::NotFound);
            };
            match state {
                Some(Resolution::Redriving(other)) if other != run => {
                    return Ok(Taken::InProgress);
                }
                Some(_) => {}
                // A repeat of a redrive that has failed since: it was ours, and nothing is on its way.
                None if ended(conn, endpoint, id, run)? => {}
                None => {
                    let key = params![endpoint.as_bytes(), id.as_bytes(), run.as_bytes()];
                    conn.prepare_cached(TAKE)?.execute(key)?;
                }
            }
            Ok(Taken::Ours(Box::new(letter)))
        };
        self.write(Cost::ONE, take).await
    }

    async fn resolve(
        &self,
        endpoint: EndpointUid,
        id: DeadLetterId,
        run: RunId,
    ) -> ports::Result<()> {
        let resolve = move |conn: &Connection| {
            let key = params![endpoint.as_bytes(), id.as_bytes(), run.as_bytes()];
            conn.prepare_cached(RESOLVE)?.execute(key)?;
            Ok(())
        };
        self.write(Cost::ONE, resolve).await
    }
}

fn put(conn: &Connection, letter: &DeadLetter) -> Result<(), Fault> {
    let mut runs = runs(conn, letter.endpoint, letter.id)?;
    let run = letter.run.as_bytes();
    if runs.chunks(run.len()).any(|known| known == run) {
        return Ok(());
    }
    runs.extend_from_slice(run);
    let forgotten = runs.len().saturating_sub(RUNS_MAX * run.len());
    let runs: Vec<u8> = runs.into_iter().skip(forgotten).collect();
    conn.prepare_cached(PUT)?.execute(params![
        letter.endpoint.as_bytes(),
        letter.id.as_bytes(),
        letter.tenant.as_str(),
        letter.time.as_millis(),
        codec::reason_code(letter.reason),
        runs,
        codec::encode_dead_letter(letter)
    ])?;
    events::keep(conn, &letter.event, letter.time + events::KEEP_DEAD)
}

fn runs(conn: &Connection, endpoint: EndpointUid, id: DeadLetterId) -> Result<Vec<u8>, Fault> {
    let mut statement = conn.prepare_cached(RUNS)?;
    let found = statement
        .query_row(params![endpoint.as_bytes(), id.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn ended(
    conn: &Connection,
    endpoint: EndpointUid,
    id: DeadLetterId,
    run: RunId,
) -> Result<bool, Fault> {
    let runs = runs(conn, endpoint, id)?;
    Ok(runs.chunks(16).any(|known| known == run.as_bytes()))
}

fn get(
    conn: &Connection,
    tenant: &TenantId,
    endpoint: EndpointUid,
    id: DeadLetterId,
    since: Timestamp,
) -> Result<Option<Found>, Fault> {
    let mut statement = conn.prepare_cached(GET)?;
    let mut rows = statement.query(params![
        endpoint.as_bytes(),
        id.as_bytes(),
        tenant.as_str(),
        since.as_millis()
    ])?;
    rows.next()?.map(letter_of).transpose()
}

/// The first rows with the reason (`None`: with any), at most `limit` of them, and of so many rows as one call reads.
fn page_of(mut rows: Rows<'_>, reason: Option<u8>, limit: usize) -> Result<DeadLetterPage, Fault> {
    let mut page = DeadLetterPage::default();
    let mut read = 0;
    while let Some(row) = rows.next()? {
        if page.letters.len() == limit || read == DEAD_LETTERS_READ_MAX {
            return Ok(page);
        }
        read += 1;
        page.next = Some(key_of(row)?);
        let ended_so: u8 = row.get(5)?;
        if reason.is_none_or(|reason| reason == ended_so) {
            page.letters.push(letter_of(row)?);
        }
    }
    Ok(DeadLetterPage { next: None, ..page })
}

fn key_of(row: &Row<'_>) -> Result<DeadLetterKey, Fault> {
    let bad = || odd("dead letter");
    let id = row.get_ref(4)?.as_blob().map_err(|_| bad())?;
    Ok((Timestamp::from_millis(row.get(3)?), DeadLetterId::from_slice(id).ok_or_else(bad)?))
}

fn letter_of(row: &Row<'_>) -> Result<Found, Fault> {
    let bad = || odd("dead letter");
    let state = match row.get::<_, u8>(0)? {
        NOTHING => None,
        REDRIVING => {
            let run = row.get_ref(1)?.as_blob().map_err(|_| bad())?;
            Some(Resolution::Redriving(RunId::from_slice(run).ok_or_else(bad)?))
        }
        RESOLVED => Some(Resolution::Resolved),
        _ => return Err(bad()),
    };
    let body = row.get_ref(2)?.as_blob().map_err(|_| bad())?;
    Ok((codec::decode_dead_letter(body)?, state))
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
