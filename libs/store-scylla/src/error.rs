//! What goes wrong with a cluster, in the words of whoever has to act.

use ports::ErrorKind;
use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};

/// The store cannot be used. Each says in one line what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No node answers.
    #[error("cannot reach the store at {nodes}: {reason}; start it, or correct scylla.nodes")]
    Unreachable {
        /// What was tried.
        nodes: String,
        /// Why it failed.
        reason: String,
    },
    /// Wrong credentials, or none where some are wanted.
    #[error(
        "the store at {nodes} refuses the login of {user}: correct scylla.user and scylla.password (or scylla.password_file)"
    )]
    Login {
        /// What was tried.
        nodes: String,
        /// The user that was named.
        user: String,
    },
    /// The user may not do what is needed.
    #[error("the store user may not {what}: grant it the rights on keyspace {keyspace} ({reason})")]
    Rights {
        /// What was tried.
        what: &'static str,
        /// The keyspace.
        keyspace: String,
        /// What the database said.
        reason: String,
    },
    /// The keyspace does not exist.
    #[error(
        "there is no keyspace {keyspace}: run `postrider migrate` with the same configuration, or correct scylla.keyspace"
    )]
    NoKeyspace {
        /// Its name.
        keyspace: String,
    },
    /// Too few replicas to survive the loss of a node.
    #[error(
        "keyspace {keyspace} has {replicas} replica(s) in {datacenter}, and with fewer than 3 the loss of one node stops or loses deliveries: \
         ALTER KEYSPACE it to 3 or more and repair, or set scylla.allow_few_replicas = true for a trial"
    )]
    FewReplicas {
        /// The keyspace.
        keyspace: String,
        /// Copies of each row.
        replicas: u32,
        /// Where.
        datacenter: String,
    },
    /// Tables are missing or older than this program.
    #[error(
        "keyspace {keyspace} has schema version {found}, this program needs {wanted}: run `postrider migrate`"
    )]
    OldSchema {
        /// The keyspace.
        keyspace: String,
        /// What is there; 0 without tables.
        found: i32,
        /// What is needed.
        wanted: i32,
    },
    /// Tables are newer than this program.
    #[error(
        "keyspace {keyspace} has schema version {found}, this program knows {wanted}: run the newer postrider that made it"
    )]
    NewSchema {
        /// The keyspace.
        keyspace: String,
        /// What is there.
        found: i32,
        /// What is known.
        wanted: i32,
    },
    /// Another migration holds the lock.
    #[error(
        "another migration of keyspace {keyspace} is under way and did not end within {waited_s} s: wait for it, or for a minute after it was killed"
    )]
    Migrating {
        /// The keyspace.
        keyspace: String,
        /// How long it was waited for.
        waited_s: u64,
    },
    /// This migration stood still for so long that its lock was given to another.
    #[error(
        "the migration of keyspace {keyspace} lost its lock and has ended: another may be under way; once it has ended, run `postrider migrate` again"
    )]
    LockLost {
        /// The keyspace.
        keyspace: String,
    },
    /// The keyspace keeps no rows.
    #[error(
        "the replication of keyspace {keyspace} names no number of replicas: ALTER KEYSPACE it to NetworkTopologyStrategy with 3 or more in each data centre"
    )]
    NoReplicas {
        /// The keyspace.
        keyspace: String,
    },
    /// The keyspace holds the deliveries of another log.
    #[error(
        "keyspace {keyspace} belongs to event log {owner}, and this process has {ours}: its positions would mean other events. Use the data_dir (or topic) of that log, \
         or a keyspace of its own for this one"
    )]
    OtherLog {
        /// The keyspace.
        keyspace: String,
        /// Whose it is.
        owner: String,
        /// Who asked.
        ours: String,
    },
    /// A name that may not stand in a statement.
    #[error("scylla.keyspace is {0:?}: letters, digits and _ are allowed, 1 to 48 of them")]
    KeyspaceName(String),
    /// A data centre without nodes.
    #[error(
        "scylla.datacenter is {wanted:?}, and the nodes are in {known}: name one of those, or none"
    )]
    Datacenter {
        /// What was configured.
        wanted: String,
        /// Where there are nodes.
        known: String,
    },
    /// Several data centres, and no word which one is near.
    #[error(
        "the nodes are in {known}, and local_quorum has to know which one is local: set scylla.datacenter to the same one in every process, or scylla.consistency to quorum"
    )]
    NoDatacenter {
        /// Where there are nodes.
        known: String,
    },
    /// A statement was not answered, or not as it may be answered later.
    #[error("the store failed to {what}: {reason}")]
    Statement {
        /// What was tried.
        what: &'static str,
        /// What it said.
        reason: String,
    },
    /// The database does not take a statement, and will not take it later either.
    #[error("the store refuses to {what}: {reason}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What it said.
        reason: String,
    },
}

impl OpenError {
    /// Whether the same call may succeed later without anybody doing something about the configuration.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Migrating { .. }
                | Self::LockLost { .. }
                | Self::Statement { .. }
        )
    }

    pub(crate) fn statement(what: &'static str, keyspace: &str, error: &ExecutionError) -> Self {
        match db_error(error) {
            Some(DbError::Unauthorized) => {
                Self::Rights { what, keyspace: keyspace.to_owned(), reason: error.to_string() }
            }
            _ if kind(Effect::Read, error) == ErrorKind::Bug => {
                Self::Refused { what, reason: error.to_string() }
            }
            _ => Self::Statement { what, reason: error.to_string() },
        }
    }

    /// The error of a call of the store that belongs to opening it.
    pub(crate) fn call(what: &'static str, error: &ports::Error) -> Self {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let reason = cause.unwrap_or_else(|| error.to_string());
        if error.is_retryable() {
            Self::Statement { what, reason }
        } else {
            Self::Refused { what, reason }
        }
    }
}

/// What a statement does, for what its failure means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// A failure changes nothing.
    Read,
    /// A failure may have happened all the same.
    Write,
}

/// The port's error for a failed statement.
pub(crate) fn failed(table: &'static str, effect: Effect, error: ExecutionError) -> ports::Error {
    let what = match effect {
        Effect::Read => format!("the store did not read {table}"),
        Effect::Write => format!("the store did not confirm a write to {table}"),
    };
    ports::Error::new(kind(effect, &error), what).with_source(error)
}

/// A stored value that is not what was written.
pub(crate) fn damaged(
    table: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> ports::Error {
    ports::Error::new(ErrorKind::Corrupt, format!("a row of {table} in the store is damaged"))
        .with_source(source)
}

fn kind(effect: Effect, error: &ExecutionError) -> ErrorKind {
    let lost = match effect {
        Effect::Read => ErrorKind::Unavailable,
        Effect::Write => ErrorKind::Unknown,
    };
    if let Some(error) = db_error(error) {
        return kind_of_db(error, lost);
    }
    if matches!(error, ExecutionError::BadQuery(_) | ExecutionError::UseKeyspaceError(_)) {
        ErrorKind::Bug
    } else if matches!(error, ExecutionError::EmptyPlan | ExecutionError::ConnectionPoolError(_)) {
        ErrorKind::Unavailable
    } else {
        // Timeouts, and connections that broke under a request.
        lost
    }
}

fn kind_of_db(error: &DbError, lost: ErrorKind) -> ErrorKind {
    if matches!(
        error,
        DbError::SyntaxError
            | DbError::Invalid
            | DbError::AlreadyExists { .. }
            | DbError::FunctionFailure { .. }
            | DbError::ProtocolError
    ) {
        ErrorKind::Bug
    } else if matches!(
        error,
        DbError::Unavailable { .. }
            | DbError::Overloaded
            | DbError::IsBootstrapping
            | DbError::AuthenticationError
            | DbError::Unauthorized
            | DbError::ConfigError
    ) {
        // Nothing happened. Rights that were taken away can be given back: waiting is right, and the message says why.
        ErrorKind::Unavailable
    } else {
        lost
    }
}

fn db_error(error: &ExecutionError) -> Option<&DbError> {
    if let ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _))
    | ExecutionError::PrepareError(PrepareError::AllAttemptsFailed {
        first_attempt: RequestAttemptError::DbError(error, _),
    }) = error
    {
        return Some(error);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn db(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
    }

    #[test]
    fn a_write_that_timed_out_is_unknown_and_a_read_is_not() {
        let timeout = || ExecutionError::RequestTimeout(Duration::from_secs(5));
        assert_eq!(failed("events", Effect::Write, timeout()).kind(), ErrorKind::Unknown);
        assert_eq!(failed("events", Effect::Read, timeout()).kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn a_start_waits_for_what_passes_by_itself_alone() {
        let statement = |error| OpenError::statement("read the keyspace", "orders", &error);
        for passes in [db(DbError::Overloaded), db(DbError::ServerError), ExecutionError::EmptyPlan]
        {
            let error = statement(passes);
            assert!(error.is_retryable(), "{error}");
        }
        for stays in [db(DbError::Invalid), db(DbError::SyntaxError), db(DbError::Unauthorized)] {
            let error = statement(stays);
            assert!(!error.is_retryable(), "{error}");
        }
        let call = |kind| OpenError::call("ask", &ports::Error::new(kind, "why"));
        assert!(call(ErrorKind::Unknown).is_retryable());
        assert!(!call(ErrorKind::Bug).is_retryable());
    }

    #[test]
    fn what_a_person_must_mend_in_our_statements_is_a_bug_and_the_rest_may_be_repeated() {
        assert_eq!(failed("events", Effect::Write, db(DbError::Invalid)).kind(), ErrorKind::Bug);
        for error in [DbError::Overloaded, DbError::IsBootstrapping, DbError::Unauthorized] {
            assert_eq!(failed("events", Effect::Write, db(error)).kind(), ErrorKind::Unavailable);
        }
        assert_eq!(
            failed("events", Effect::Write, db(DbError::ServerError)).kind(),
            ErrorKind::Unknown
        );
    }
}
