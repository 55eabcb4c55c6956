//! Which event log the keyspace belongs to.

use domain::Timestamp;
use scylla::response::PagingState;
use scylla::value::CqlTimestamp;

use super::{Store, time_of};
use crate::cql::{Cql, Statement};
use crate::error::OpenError;

const TABLE: &str = "installation";
const CLAIM: &str = "INSERT INTO installation (part, event_log) VALUES (0, ?) IF NOT EXISTS";
const OWNER: &str = "SELECT event_log FROM installation WHERE part = 0";
const TIME: &str = "SELECT totimestamp(now()) FROM installation WHERE part = 0";

pub(super) struct Statements {
    claim: Statement,
    owner: Statement,
    time: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            claim: cql.prepare_cas(TABLE, CLAIM).await?,
            owner: cql.prepare(TABLE, OWNER).await?,
            time: cql.prepare(TABLE, TIME).await?,
        })
    }

    pub(super) async fn ping(&self, cql: &Cql) -> ports::Result<()> {
        let start = PagingState::start();
        cql.read_page_at_once::<(String,)>(&self.owner, (), start).await.map(|_| ())
    }
}

impl Store {
    /// Makes the keyspace a log's, unless it is one's already; whose it is then.
    pub(crate) async fn claim(&self, event_log: &str) -> ports::Result<String> {
        if self.cql.set_if(&self.installation.claim, (event_log,)).await? {
            return Ok(event_log.to_owned());
        }
        Ok(self.owner().await?.unwrap_or_default())
    }

    /// What time it is for one of the nodes. None while the keyspace is nobody's.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn time(&self) -> ports::Result<Option<Timestamp>> {
        let rows: Vec<(CqlTimestamp,)> = self.cql.read(&self.installation.time, ()).await?;
        Ok(rows.into_iter().next().map(|(time,)| time_of(time)))
    }

    /// The log that the keyspace belongs to: the first one that asked. None, if none did.
    pub(crate) async fn owner(&self) -> ports::Result<Option<String>> {
        let rows: Vec<(String,)> = self.cql.read(&self.installation.owner, ()).await?;
        Ok(rows.into_iter().next().map(|(owner,)| owner))
    }
}
