//! Repeats among plain producers' events: one idempotency key, one fan-out (DL-7).

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::TenantId;
use domain::record::Poison;
use ports::{IdempotencyRow, LogRecord};

use super::{Matched, Reader};
use crate::calls::within;
use crate::recent::{Mark, Standing};

/// What a record is: an event with its endpoints, a repeat (`None`), or no event.
pub(super) type Decided = Result<Option<Matched>, Poison>;

/// A key that is looked up.
struct Asked {
    /// Of the record in its batch.
    index: usize,
    key: Arc<str>,
    /// What is remembered when the key is new. Its time is the log's: a key counts for 24 h from there, however late the log is read.
    row: IdempotencyRow,
}

impl Reader {
    /// Leaves out the repeats in a batch, and refuses keys that came with another body.
    ///
    /// An id without a key is looked for among recent ones alone: a producer that repeats a record does so soon.
    pub(super) async fn leave_out_repeats(&self, records: &[LogRecord], decided: &mut [Decided]) {
        let mut asked: BTreeMap<TenantId, Vec<Asked>> = BTreeMap::new();
        for (index, (record, decided)) in records.iter().zip(decided.iter_mut()).enumerate() {
            let Ok(Some((event, _))) = &*decided else { continue };
            let Some(mark) = Mark::of(event, record.at, &self.config.api_version) else { continue };
            let standing = self.recent.meet(&mark);
            match &event.idempotency_key {
                Some(key) if matches!(standing, Standing::First | Standing::Unsure) => {
                    let row = IdempotencyRow {
                        event: event.id.clone(),
                        at: mark.at,
                        body_hash: mark.hash,
                        time: record.time,
                    };
                    let asked = asked.entry(event.tenant.clone()).or_default();
                    asked.push(Asked { index, key: key.clone(), row });
                }
                Some(_) | None => settle(record, decided, standing),
            }
        }
        for (tenant, asked) in asked {
            let standings = self.look_up(&tenant, &asked).await;
            for (asked, standing) in asked.iter().zip(standings) {
                if let (Some(record), Some(decided)) =
                    (records.get(asked.index), decided.get_mut(asked.index))
                {
                    settle(record, decided, standing);
                }
            }
        }
    }

    /// Waits for the store as long as it must: an event is not handed off before its key is remembered.
    async fn look_up(&self, tenant: &TenantId, asked: &[Asked]) -> Vec<Standing> {
        let mut told = false;
        loop {
            match within(&*self.deps.clock, self.try_look_up(tenant, asked)).await {
                Ok(standings) => return standings,
                Err(error) => {
                    self.wait_after(&error, &mut told, "idempotency keys", tenant).await;
                }
            }
        }
    }

    async fn try_look_up(
        &self,
        tenant: &TenantId,
        asked: &[Asked],
    ) -> ports::Result<Vec<Standing>> {
        let keys: Vec<&str> = asked.iter().map(|asked| &*asked.key).collect();
        let mut found = self.deps.idempotency.get(tenant, &keys).await?;
        let new = asked.iter().zip(&found).filter(|(_, found)| found.is_none());
        let new: Vec<(&str, IdempotencyRow)> =
            new.map(|(asked, _)| (&*asked.key, asked.row.clone())).collect();
        if !new.is_empty() {
            self.deps.idempotency.put(tenant, &new).await?;
            // Of several that were new at the same moment, here or elsewhere, the store kept one: all go by that.
            found = self.deps.idempotency.get(tenant, &keys).await?;
        }
        let standings = asked.iter().zip(found).map(|(asked, found)| {
            let Some(found) = found else { return Standing::First };
            self.recent.learn(tenant, &asked.key, (found.at, found.body_hash));
            let row = &asked.row;
            Standing::beside((row.at, &row.body_hash), (found.at, &found.body_hash))
        });
        Ok(standings.collect())
    }
}

fn settle(record: &LogRecord, decided: &mut Decided, standing: Standing) {
    match standing.check() {
        Ok(true) => {}
        Ok(false) => {
            tracing::debug!(at = %record.at, "an event is a repeat, and is left out");
            *decided = Ok(None);
        }
        Err(poison) => *decided = Err(poison),
    }
}
