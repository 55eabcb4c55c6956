//! Who migrates: one at a time. The lock goes by itself soon after whoever held it was killed, so a migration that runs holds on to it.

use std::convert::Infallible;
use std::time::Duration;

use ports::Clock;
use scylla::client::session::Session;
use uuid::Uuid;

use super::in_keyspace;
use crate::cql::applied;
use crate::error::OpenError;

/// How long the lock stands without being renewed; a migration that was killed frees it by then. In seconds, as CQL takes it.
const LOCK_SECONDS: u64 = 60;
/// How often it is renewed: a renewal may fail twice.
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// Without a renewal for so long, it may be over before the next one: the migration ends.
const RENEWED_WITHIN: Duration = Duration::from_secs(LOCK_SECONDS - 15);
/// How long a migration waits for another.
const WAIT_MAX: Duration = Duration::from_secs(LOCK_SECONDS);
const ASK_EVERY: Duration = Duration::from_millis(500);

const LOCK: &str = "INSERT INTO schema_migrations (part, version, owner, applied) VALUES (0, 0, ?, toTimestamp(now())) IF NOT EXISTS USING TTL 60";
const RENEW: &str = "UPDATE schema_migrations USING TTL 60 SET owner = ? WHERE part = 0 AND version = 0 IF owner = ?";
const UNLOCK: &str = "DELETE FROM schema_migrations WHERE part = 0 AND version = 0 IF owner = ?";

/// The right to migrate a keyspace.
pub(super) struct Lock<'a> {
    session: &'a Session,
    keyspace: &'a str,
    clock: &'a dyn Clock,
    owner: Uuid,
}

impl<'a> Lock<'a> {
    /// Takes the lock once nobody else has it.
    pub(super) async fn take(
        session: &'a Session,
        keyspace: &'a str,
        clock: &'a dyn Clock,
        owner: Uuid,
    ) -> Result<Self, OpenError> {
        let lock = Self { session, keyspace, clock, owner };
        let began = clock.monotonic();
        while !lock.change("lock the migration", LOCK, (owner,)).await? {
            let waited = clock.monotonic().saturating_sub(began);
            if waited >= WAIT_MAX {
                let keyspace = keyspace.to_owned();
                return Err(OpenError::Migrating { keyspace, waited_s: waited.as_secs() });
            }
            clock.sleep(ASK_EVERY).await;
        }
        Ok(lock)
    }

    /// Does some work with the lock held; ends it when the lock is lost.
    pub(super) async fn hold<T>(
        &self,
        work: impl Future<Output = Result<T, OpenError>>,
    ) -> Result<T, OpenError> {
        tokio::select! {
            done = work => done,
            lost = self.renew() => match lost {
                Ok(never) => match never {},
                Err(error) => Err(error),
            },
        }
    }

    /// Renews the lock for as long as it is polled and the lock is ours.
    async fn renew(&self) -> Result<Infallible, OpenError> {
        let mut renewed = self.clock.monotonic();
        loop {
            self.clock.sleep(RENEW_EVERY).await;
            let asked = self.clock.monotonic();
            match self
                .change("renew the lock of the migration", RENEW, (self.owner, self.owner))
                .await
            {
                Ok(true) => renewed = asked,
                Ok(false) => {
                    return Err(OpenError::LockLost { keyspace: self.keyspace.to_owned() });
                }
                Err(error) if self.clock.monotonic().saturating_sub(renewed) >= RENEWED_WITHIN => {
                    return Err(error);
                }
                Err(error) => tracing::debug!(%error, "the lock is renewed a little later"),
            }
        }
    }

    /// Frees the lock, so that the next migration need not wait until it goes by itself.
    pub(super) async fn free(self) -> Result<(), OpenError> {
        self.change("free the lock of the migration", UNLOCK, (self.owner,)).await.map(|_| ())
    }

    /// Runs a compare-and-set of the lock; whether it was applied.
    async fn change(
        &self,
        what: &'static str,
        text: &str,
        values: impl scylla::serialize::row::SerializeRow,
    ) -> Result<bool, OpenError> {
        let done = self.session.query_unpaged(in_keyspace(text, self.keyspace), values).await;
        let result = done.map_err(|error| OpenError::statement(what, self.keyspace, &error))?;
        applied("schema_migrations", result).map_err(|error| OpenError::call(what, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_names_its_own_length_and_is_renewed_within_it() {
        assert!(LOCK.ends_with(&format!("TTL {LOCK_SECONDS}")));
        assert!(RENEW.contains(&format!("TTL {LOCK_SECONDS} ")));
        assert!((RENEWED_WITHIN + RENEW_EVERY).as_secs() <= LOCK_SECONDS);
    }
}
