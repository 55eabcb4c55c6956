//! What can go wrong: at open, and at run time.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ports::ErrorKind;
use rusqlite::ErrorCode;
use tokio::sync::watch;

use codec::Damaged;

/// What to do about damage.
const RESTORE: &str = "stop postrider, and restore the data directory from a backup";

/// The data directory cannot be used. Every message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error(
        "data directory {dir} is in use by another postrider{}: stop that one, or give this one its own --data-dir",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), dir = dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The other process, if it says so.
        pid: Option<u32>,
    },
    /// The directory cannot be read or written.
    #[error("data directory {dir} cannot be used: {what}", dir = dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// One of the two files is gone.
    #[error(
        "{missing} is missing while {present} exists: restore both from a backup, or remove the whole directory to start empty",
        missing = missing.display(), present = present.display()
    )]
    Missing {
        /// The file that is not there.
        missing: PathBuf,
        /// The file that is.
        present: PathBuf,
    },
    /// A file is damaged, or belongs to something else.
    #[error(
        "{file} cannot be used: {reason}; restore the data directory from a backup, or remove the whole directory to start empty",
        file = file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The process did not end cleanly, and the WAL that it left is gone or damaged.
    #[error(
        "{wal} cannot be used: {reason}, and it held acknowledged writes; restore the data directory from a backup, or remove {remove} to go on without those writes",
        wal = wal.display()
    )]
    WalLost {
        /// The WAL.
        wal: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Whoever removes these accepts the loss.
        remove: String,
    },
    /// A file was written by a newer version.
    #[error(
        "{file} has format {found}, this postrider knows formats up to {known}: run the newer version again, or restore a backup made by this one",
        file = file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// Not even the first few pages can be written.
    #[error("{file} cannot be opened: no space is left on its disk; free some, and start again", file = file.display())]
    Full {
        /// The file.
        file: PathBuf,
    },
    /// The configuration asks for fewer shards than there are.
    #[error("data directory {dir} has {found} shards, {asked} were asked for: shards can be added, never removed", dir = dir.display())]
    FewerShards {
        /// The directory.
        dir: PathBuf,
        /// Shards that it has.
        found: u16,
        /// Shards that the options ask for.
        asked: u16,
    },
    /// The options are out of bounds.
    #[error("{option} is {value}: allowed is {allowed}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl OpenError {
    /// A fault of SQLite while a file was opened.
    pub(crate) fn from_fault(file: &std::path::Path, fault: &Fault) -> Self {
        if fault.is_full() {
            return Self::Full { file: file.to_owned() };
        }
        Self::Damaged { file: file.to_owned(), reason: fault.to_string() }
    }
}

/// Whether the engine takes writes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Health {
    /// It does.
    #[default]
    Ok,
    /// It does, but met a row that does not decode: what needs that row fails, everything else works.
    Damaged {
        /// `log.db` or `store.db`.
        file: &'static str,
        /// What did not decode, and what to do.
        reason: String,
    },
    /// A COMMIT failed, or SQLite found the file damaged: nothing is written until the engine is opened again. What would be acknowledged in a
    /// damaged file would be lost with it.
    Failed {
        /// `log.db` or `store.db`.
        file: &'static str,
        /// What SQLite said, and what to do.
        reason: String,
    },
}

/// The health of both files: the first failure stays, and outranks a damaged row.
#[derive(Clone)]
pub(crate) struct HealthCell(Arc<watch::Sender<Health>>);

impl HealthCell {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Health::Ok)))
    }

    pub(crate) fn get(&self) -> Health {
        self.0.borrow().clone()
    }

    pub(crate) fn fail(&self, file: &'static str, reason: &str) {
        self.0.send_if_modified(|health| {
            let first = !matches!(health, Health::Failed { .. });
            if first {
                *health = Health::Failed { file, reason: reason.to_owned() };
            }
            first
        });
    }

    /// The port's word for a fault where nothing was written. Damage is remembered, so that readiness tells of it.
    pub(crate) fn tell(&self, file: &'static str, fault: Fault) -> ports::Error {
        if fault.is_corrupt() {
            let reason = format!("it is damaged ({fault}): {RESTORE}");
            if fault.code().is_some() {
                self.fail(file, &reason);
            } else {
                self.0.send_if_modified(|health| {
                    let first = *health == Health::Ok;
                    if first {
                        *health = Health::Damaged { file, reason };
                    }
                    first
                });
            }
        }
        fault.into_port(file)
    }
}

/// Why one operation on a file failed.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    /// A stored value does not decode.
    Damaged(Damaged),
    /// The caller asked for what cannot be; our own bug.
    Bug(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(error) => error.fmt(f),
            Self::Damaged(damaged) => damaged.fmt(f),
            Self::Bug(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Fault {}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Damaged> for Fault {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged)
    }
}

impl Fault {
    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sql(error) => error.sqlite_error_code(),
            Self::Damaged(_) | Self::Bug(_) => None,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.code() == Some(ErrorCode::DiskFull)
    }

    fn is_corrupt(&self) -> bool {
        let by_type = matches!(
            self,
            Self::Damaged(_)
                | Self::Sql(
                    rusqlite::Error::FromSqlConversionFailure(..)
                        | rusqlite::Error::InvalidColumnType(..)
                )
        );
        by_type || matches!(self.code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    fn into_port(self, file: &'static str) -> ports::Error {
        let (kind, message) = if self.is_corrupt() {
            let message = format!("{file} is damaged: {RESTORE}");
            (ErrorKind::Corrupt, message)
        } else if self.is_full() {
            (ErrorKind::Full, format!("no space left on the disk for {file}"))
        } else if matches!(self, Self::Bug(_)) {
            (ErrorKind::Bug, format!("{file}: {self}"))
        } else {
            (ErrorKind::Unavailable, format!("{file} could not be used; nothing was changed"))
        };
        ports::Error::new(kind, message).with_source(self)
    }
}

/// The file's threads have ended.
pub(crate) fn closed(file: &'static str) -> ports::Error {
    ports::Error::new(ErrorKind::Unavailable, format!("{file} is closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_does_not_decode_is_told_and_a_damaged_file_outranks_it() {
        let health = HealthCell::new();
        let error = health.tell("store.db", Fault::Damaged(Damaged("lane")));
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let Health::Damaged { file: "store.db", reason } = health.get() else {
            panic!("{:?}", health.get());
        };
        assert!(reason.contains("restore"), "{reason}");
        let malformed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        let malformed = rusqlite::Error::SqliteFailure(malformed, None);
        health.tell("log.db", Fault::Sql(malformed));
        assert!(matches!(health.get(), Health::Failed { file: "log.db", .. }));
        health.tell("store.db", Fault::Damaged(Damaged("lane")));
        assert!(matches!(health.get(), Health::Failed { file: "log.db", .. }));
    }
}
