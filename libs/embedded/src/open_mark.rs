//! Tells a file that was closed from one whose WAL must be there.
//!
//! The mark is a file beside the database. While it stands, the WAL exists and has a valid header (OPEN-1): what a start finds otherwise was lost.
//! Each step keeps that true over a kill or a power failure behind it:
//!
//! | step | behind it |
//! |---|---|
//! | open 1: the first COMMIT, synced by SQLite with the WAL's place in its directory | no mark; the WAL has a header |
//! | open 2: make the mark, sync it and the directory | mark and WAL. Nothing was acknowledged before this |
//! | at work: a checkpoint restarts the WAL, and never empties it (`RESTART`, not `TRUNCATE`; connections neither checkpoint nor remove it when they are dropped) | mark and WAL |
//! | close 1: a whole checkpoint, synced by SQLite | mark and WAL; the WAL could go, but a start need not know |
//! | close 2: remove the mark, sync the directory | no mark; the WAL may stay or go, all of it is in the file |
//! | close 3: the last connection removes the WAL | closed |
//!
//! What it does not tell: whether the end of the last transaction was damaged, which looks like one that was being written. A directory of an earlier
//! version, and one restored from a backup, have no mark: they open as closed ones.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::OpenError;
use crate::error::Fault;
use crate::file::{Kind, checkpoint};
use crate::wal::{self, Found};

const TEXT: &str = "While this file exists, postrider has the database beside it open, or did not end cleanly.\n\
    Its -wal file then holds acknowledged writes: never remove one without the other.\n";

/// The mark of a file that is open.
pub(crate) struct OpenMark {
    path: PathBuf,
    dir: PathBuf,
}

impl OpenMark {
    fn of(dir: &Path, kind: &Kind) -> Self {
        Self { path: dir.join(format!("{}-open", kind.name)), dir: dir.to_owned() }
    }

    /// Refuses a file whose WAL is lost or damaged. Called before SQLite sees either: it would take what is left for everything.
    pub(crate) fn check(dir: &Path, kind: &Kind) -> Result<Self, OpenError> {
        let mark = Self::of(dir, kind);
        let wal = kind.wal_path(dir);
        let io = |what| move |source| OpenError::Io { dir: dir.to_owned(), what, source };
        let page_bytes = usize::try_from(kind.page_size).unwrap_or_default();
        let found = wal::inspect(&wal, page_bytes).map_err(io("a -wal file cannot be read"))?;
        let marked = mark.path.try_exists().map_err(io("its files cannot be looked at"))?;
        let lost = |reason: String, remove: &[&Path]| {
            let remove: Vec<String> =
                remove.iter().map(|path| path.display().to_string()).collect();
            let remove = remove.join(" and ");
            Err(OpenError::WalLost { wal: wal.clone(), reason, remove })
        };
        match found {
            Found::Damaged(reason) if marked => lost(reason, &[&wal, &mark.path]),
            Found::Damaged(reason) => lost(reason, &[&wal]),
            Found::Nothing if marked => {
                let reason = if wal.exists() { "it is empty" } else { "it is missing" };
                lost(format!("{reason} though postrider did not end cleanly"), &[&mark.path])
            }
            Found::Nothing | Found::Sound => Ok(mark),
        }
    }

    /// Writes a first transaction, then makes the mark (open 1 and 2). Nothing may be acknowledged before.
    pub(crate) fn set(&self, conn: &Connection) -> Result<(), SetError> {
        conn.execute(
            "INSERT INTO meta VALUES ('opened', '1')
             ON CONFLICT(key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
            [],
        )?;
        let mut file = File::create(&self.path)?;
        file.write_all(TEXT.as_bytes())?;
        file.sync_all()?;
        self.sync_dir()?;
        Ok(())
    }

    /// Ends cleanly (close 1 and 2). An error leaves the mark and the WAL: the next start finds everything there.
    pub(crate) fn clear(&self, conn: &Connection) -> Result<(), SetError> {
        if !checkpoint(conn)? {
            return Err(Fault::Bug("a reader is still at work at the end").into());
        }
        fs::remove_file(&self.path)?;
        self.sync_dir()?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// Why a mark was not set or cleared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetError {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the mark of an open file cannot be written or removed: {0}")]
    Io(#[from] io::Error),
}

impl From<rusqlite::Error> for SetError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Fault(error.into())
    }
}
