//! Dead letters by id: how each run ended, and who redrives what.
//!
//! *Dramatis personae.* A row of `dead_letter_runs` says how one run ended: with a body it is a dead letter, without one it was delivered. The highest version
//! is the current dead letter. A row of `dead_letter_redrives` says which run redrives an end; the first to write it has it. The state follows from both: no
//! redrive of the current end, nothing on its way; a redrive whose run has no row yet is on its way; one whose run was delivered resolves the letter; one whose
//! run ended as a dead letter again made a newer current end.

use std::collections::BTreeMap;

use domain::{DeadLetter, DeadLetterId, EndpointUid, Resolution, RunId, Timestamp};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::{odd, time, time_of, undecodable};
use crate::bucket::Bucket;
use crate::cql::{Cql, NewRow, Statement};
use crate::error::OpenError;

const RUNS: &str = "dead_letter_runs";
const REDRIVES: &str = "dead_letter_redrives";
const PUT: &str = "INSERT INTO dead_letter_runs
    (endpoint, letter, run, version, time, bucket_start, bucket_width, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const DELIVERED: &str =
    "INSERT INTO dead_letter_runs (endpoint, letter, run, time) VALUES (?, ?, ?, ?)";
const OF_LETTER: &str = "SELECT run, version, time, bucket_start, bucket_width, body FROM dead_letter_runs WHERE endpoint = ? AND letter = ?";
const TAKE: &str = "INSERT INTO dead_letter_redrives (endpoint, letter, ended, run) VALUES (?, ?, ?, ?) IF NOT EXISTS";
const REDRIVES_OF: &str =
    "SELECT ended, run FROM dead_letter_redrives WHERE endpoint = ? AND letter = ?";

pub(super) struct Statements {
    put: Statement,
    delivered: Statement,
    of_letter: Statement,
    take: Statement,
    redrives_of: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            put: cql.prepare(RUNS, PUT).await?,
            delivered: cql.prepare(RUNS, DELIVERED).await?,
            of_letter: cql.prepare(RUNS, OF_LETTER).await?,
            take: cql.prepare_cas(REDRIVES, TAKE).await?,
            redrives_of: cql.prepare(REDRIVES, REDRIVES_OF).await?,
        })
    }

    /// Notes that a run ended as a dead letter.
    pub(super) async fn put(&self, cql: &Cql, end: &End) -> ports::Result<()> {
        let body = codec::encode_dead_letter(&end.letter);
        let bytes = body.len() + 80;
        let letter = &end.letter;
        let values = (
            letter.endpoint.uuid(),
            letter.id.as_bytes().to_vec(),
            letter.run.uuid(),
            end.version,
            time(letter.time),
            time(end.bucket.start),
            end.bucket.width.seconds(),
            body,
        );
        cql.write(&self.put, NewRow { values, bytes }).await
    }

    /// Notes that a run was delivered after all.
    pub(super) async fn put_delivered(
        &self,
        cql: &Cql,
        endpoint: EndpointUid,
        id: DeadLetterId,
        run: RunId,
        at: Timestamp,
    ) -> ports::Result<()> {
        let values = (endpoint.uuid(), id.as_bytes().to_vec(), run.uuid(), time(at));
        cql.write(&self.delivered, NewRow { values, bytes: 56 }).await
    }

    /// Takes up an end for a run; whether it is that run's now.
    pub(super) async fn take(&self, cql: &Cql, end: &End, run: RunId) -> ports::Result<bool> {
        let letter = &end.letter;
        let values =
            (letter.endpoint.uuid(), letter.id.as_bytes().to_vec(), letter.run.uuid(), run.uuid());
        if cql.set_if(&self.take, values).await? {
            return Ok(true);
        }
        let history = self.read(cql, letter.endpoint, letter.id).await?;
        Ok(history.redrives.get(&letter.run) == Some(&run))
    }

    /// Reads what is known of a dead letter.
    pub(super) async fn read(
        &self,
        cql: &Cql,
        endpoint: EndpointUid,
        id: DeadLetterId,
    ) -> ports::Result<History> {
        let key = || (endpoint.uuid(), id.as_bytes().to_vec());
        let runs = cql.read::<RunRow>(&self.of_letter, key());
        let redrives = cql.read::<(Uuid, Uuid)>(&self.redrives_of, key());
        let (runs, redrives) = futures::try_join!(runs, redrives)?;
        let mut history = History::default();
        for row in runs {
            history.take(row)?;
        }
        let redrive = |(ended, run): (Uuid, Uuid)| (RunId::from_uuid(ended), RunId::from_uuid(run));
        history.redrives = redrives.into_iter().map(redrive).collect();
        Ok(history)
    }
}

type RunRow =
    (Uuid, Option<i32>, Option<CqlTimestamp>, Option<CqlTimestamp>, Option<i32>, Option<Vec<u8>>);

/// A run that ended as a dead letter, and where its row in the list lies.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) letter: DeadLetter,
    pub(super) version: i32,
    pub(super) bucket: Bucket,
}

/// What is known of a dead letter.
#[derive(Default)]
pub(super) struct History {
    ends: BTreeMap<RunId, End>,
    delivered: Vec<RunId>,
    redrives: BTreeMap<RunId, RunId>,
}

impl History {
    fn take(&mut self, (run, version, at, start, width, body): RunRow) -> ports::Result<()> {
        let run = RunId::from_uuid(run);
        let (Some(version), Some(body)) = (version, body) else {
            self.delivered.push(run);
            return Ok(());
        };
        let mut letter = codec::decode_dead_letter(&body).map_err(undecodable(RUNS))?;
        letter.time = at.map_or(letter.time, time_of);
        let bucket = start
            .zip(width)
            .and_then(|(start, width)| Bucket::of_columns(start.0, width))
            .ok_or_else(|| odd(RUNS))?;
        self.ends.insert(run, End { letter, version, bucket });
        Ok(())
    }

    /// How a run ended, if it ended as a dead letter.
    pub(super) fn end_of(&self, run: RunId) -> Option<&End> {
        self.ends.get(&run)
    }

    /// The newest end.
    pub(super) fn current(&self) -> Option<&End> {
        self.ends.values().max_by_key(|end| (end.version, end.letter.time, end.letter.run))
    }

    /// The ends that a newer one has replaced.
    pub(super) fn replaced(&self) -> impl Iterator<Item = &End> {
        let current = self.current().map(|end| end.letter.run);
        self.ends.values().filter(move |end| Some(end.letter.run) != current)
    }

    /// The version of the next end.
    pub(super) fn next_version(&self) -> i32 {
        self.current().map_or(1, |end| end.version.saturating_add(1))
    }

    /// What became of an end.
    pub(super) fn resolution(&self, end: &End) -> Option<Resolution> {
        let run = *self.redrives.get(&end.letter.run)?;
        if self.delivered.contains(&run) {
            return Some(Resolution::Resolved);
        }
        // A run that ended as a dead letter is not on its way any more.
        (!self.ends.contains_key(&run)).then_some(Resolution::Redriving(run))
    }
}
