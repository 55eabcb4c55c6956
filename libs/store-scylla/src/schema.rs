//! Tables: numbered, additive CQL files, applied one after the other and noted in the keyspace.

mod lock;

use std::time::Duration;

use ports::{Clock, Rng};
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};
use scylla::statement::Statement;
use uuid::Uuid;

use crate::connect;
use crate::error::OpenError;
use crate::settings::Settings;
use lock::Lock;

/// Every step, oldest first; its number is its place, from 1. A step that was released is never changed: the next file changes what it made.
const STEPS: [(&str, &str); 3] = [
    ("0001_stores", include_str!("schema/0001_stores.cql")),
    ("0002_jobs", include_str!("schema/0002_jobs.cql")),
    ("0003_lines", include_str!("schema/0003_lines.cql")),
];

/// The schema that this program needs.
pub const SCHEMA_VERSION: i32 = STEPS.len() as i32;

/// What was applied and by whom the lock is held. Version 0 is the lock.
const MIGRATIONS: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    part int, version int, name text, applied timestamp, owner uuid,
    PRIMARY KEY ((part), version)) WITH comment = 'steps of the schema; version 0 is the lock of a migration'";
const APPLIED: &str = "INSERT INTO schema_migrations (part, version, name, applied) VALUES (0, ?, ?, toTimestamp(now()))";
const VERSION: &str =
    "SELECT version FROM schema_migrations WHERE part = 0 ORDER BY version DESC LIMIT 1";

/// How each statement of a file begins.
const MAKES: &str = "CREATE TABLE IF NOT EXISTS ";
/// How long a change of the schema may take: it waits until all nodes agree.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(60);

/// What [`migrate`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Migrated {
    /// Whether the keyspace was made too.
    pub made_keyspace: bool,
    /// The steps that were applied now; empty when all was up to date.
    pub steps: Vec<&'static str>,
}

/// Makes the keyspace when it is missing, and every table. Safe to run twice, and from two processes: one of them waits.
///
/// # Errors
/// [`OpenError`] says in one line what is wrong and what to do. What was applied stays; the next call goes on there.
pub async fn migrate(
    settings: &Settings,
    clock: &dyn Clock,
    rng: &dyn Rng,
) -> Result<Migrated, OpenError> {
    let session = connect::session(settings).await?;
    let made_keyspace = make_keyspace(&session, settings).await?;
    let keyspace = &settings.keyspace;
    run(&session, keyspace, "make a table", &in_keyspace(MIGRATIONS, keyspace)).await?;
    let owner = Uuid::from_u128(rng.next_u128());
    let lock = Lock::take(&session, keyspace, clock, owner).await?;
    let applied = Box::pin(lock.hold(apply(&session, keyspace))).await;
    // Whether or not a step failed, the next one need not wait a minute.
    let freed = lock.free().await;
    let steps = applied?;
    freed?;
    Ok(Migrated { made_keyspace, steps })
}

/// The tables that the steps make.
pub(crate) fn tables() -> impl Iterator<Item = String> {
    let made = STEPS.iter().flat_map(|(_, text)| statements(text));
    made.filter_map(|made| Some(made.strip_prefix(MAKES)?.split([' ', '(']).next()?.to_owned()))
}

/// Compares the keyspace's schema with the one that this program needs.
pub(crate) async fn check(session: &Session, keyspace: &str) -> Result<(), OpenError> {
    let found = version(session, keyspace).await?;
    let keyspace = keyspace.to_owned();
    match found.cmp(&SCHEMA_VERSION) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => {
            Err(OpenError::OldSchema { keyspace, found, wanted: SCHEMA_VERSION })
        }
        std::cmp::Ordering::Greater => {
            Err(OpenError::NewSchema { keyspace, found, wanted: SCHEMA_VERSION })
        }
    }
}

/// The newest step that was applied; 0 without tables.
async fn version(session: &Session, keyspace: &str) -> Result<i32, OpenError> {
    let failed =
        |reason: String| OpenError::Statement { what: "read the schema's version", reason };
    match session.query_unpaged(in_keyspace(VERSION, keyspace), ()).await {
        Ok(result) => {
            let rows = result.into_rows_result().map_err(|error| failed(error.to_string()))?;
            let row: Option<(i32,)> =
                rows.maybe_first_row().map_err(|error| failed(error.to_string()))?;
            Ok(row.map_or(0, |(version,)| version))
        }
        Err(error) if is_missing(&error) => Ok(0),
        Err(error) => Err(OpenError::statement("read the schema's version", keyspace, &error)),
    }
}

/// A table that does not exist is an invalid statement, in both databases.
fn is_missing(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _))
            | ExecutionError::PrepareError(PrepareError::AllAttemptsFailed {
                first_attempt: RequestAttemptError::DbError(DbError::Invalid, _)
            })
    )
}

async fn make_keyspace(session: &Session, settings: &Settings) -> Result<bool, OpenError> {
    const EXISTS: &str =
        "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let keyspace = settings.keyspace.to_lowercase();
    let failed =
        |error: &ExecutionError| OpenError::statement("read the keyspaces", &keyspace, error);
    let found =
        session.query_unpaged(EXISTS, (&keyspace,)).await.map_err(|error| failed(&error))?;
    if found.into_rows_result().is_ok_and(|rows| rows.rows_num() > 0) {
        return Ok(false);
    }
    let statement = format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', 'replication_factor': {}}}",
        settings.replication_factor
    );
    run(session, &keyspace, "make the keyspace", &statement).await?;
    Ok(true)
}

async fn apply(session: &Session, keyspace: &str) -> Result<Vec<&'static str>, OpenError> {
    let from = version(session, keyspace).await?;
    if from > SCHEMA_VERSION {
        return Err(OpenError::NewSchema {
            keyspace: keyspace.to_owned(),
            found: from,
            wanted: SCHEMA_VERSION,
        });
    }
    let mut applied = Vec::new();
    for (number, (name, text)) in (1..).zip(STEPS) {
        if number <= from {
            continue;
        }
        for statement in statements(text) {
            let statement = statement.replacen(MAKES, &format!("{MAKES}{keyspace}."), 1);
            run(session, keyspace, "make a table", &statement).await?;
        }
        session
            .query_unpaged(in_keyspace(APPLIED, keyspace), (number, name))
            .await
            .map_err(|error| OpenError::statement("note a step of the schema", keyspace, &error))?;
        applied.push(name);
    }
    Ok(applied)
}

pub(crate) async fn run(
    session: &Session,
    keyspace: &str,
    what: &'static str,
    text: &str,
) -> Result<(), OpenError> {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(SCHEMA_TIMEOUT));
    let done = session.query_unpaged(statement, ()).await;
    done.map(|_| ()).map_err(|error| OpenError::statement(what, keyspace, &error))
}

/// Names the table of migrations in full: nothing of ours depends on a keyspace in use.
fn in_keyspace(text: &str, keyspace: &str) -> String {
    text.replacen("schema_migrations", &format!("{keyspace}.schema_migrations"), 1)
}

/// The statements of a file, without its comments.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    code.join("\n")
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_in_order_and_every_table_says_what_it_is() {
        for (number, (name, text)) in (1..).zip(STEPS) {
            assert!(name.starts_with(&format!("{number:04}_")), "{name}");
            let mut before = "";
            for line in text.lines() {
                if line.starts_with("CREATE TABLE") {
                    assert!(before.starts_with("--"), "no comment above: {line}");
                }
                before = line;
            }
        }
    }

    #[test]
    fn every_statement_makes_something_that_may_be_there_already() {
        for (_, text) in STEPS {
            for statement in statements(text) {
                assert!(statement.starts_with(MAKES), "{statement}");
                assert!(!statement.contains("--"), "{statement}");
            }
        }
    }
}
