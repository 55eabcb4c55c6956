//! Opening, creating and checking one SQLite file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::OpenError;
use crate::error::Fault;
use crate::open_mark::{OpenMark, SetError};

/// What one of the two files is.
pub(crate) struct Kind {
    /// Its name in the data directory.
    pub(crate) name: &'static str,
    /// SQLite's `application_id`, so that a foreign file is recognised.
    pub(crate) application_id: i64,
    /// SQLite's `user_version`: the newest format that this code knows.
    pub(crate) format: i64,
    /// Bytes of a page; fixed when the file is made.
    pub(crate) page_size: i64,
    /// Tables and indexes.
    pub(crate) schema: &'static str,
    /// What makes of a file of format 1 one of format 2, and so on: as many as there are formats before this one.
    pub(crate) upgrades: &'static [&'static str],
    /// Tables that nothing works without; read at each start, however large the file.
    pub(crate) vital: &'static [&'static str],
}

/// Prepared statements that a connection keeps; above the number of our statements.
const STATEMENTS_MAX: usize = 96;
/// A WAL longer than this is cut after a checkpoint.
const WAL_BYTES: i64 = 64 * 1024 * 1024;
/// A file up to this size is checked whole when it is opened: some 0.2 s at most.
const CHECKED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Page cache of the writer and of a reader, in KiB (SQLite counts KiB as negative pages).
const WRITER_CACHE_KIB: i64 = -16_384;
const READER_CACHE_KIB: i64 = -4_096;
/// Readers wait so long for a checkpoint that restarts the WAL.
const BUSY: Duration = Duration::from_secs(5);

impl Kind {
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.name)
    }

    pub(crate) fn wal_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}-wal", self.name))
    }

    fn new_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.new", self.name))
    }
}

/// Makes both files when neither exists; refuses when one alone does.
///
/// Both are completed under other names before either gets its own, so that a kill in between is healed by the next start
/// and a lost file is never mistaken for one that was not made yet.
pub(crate) fn ensure(dir: &Path, kinds: [&Kind; 2]) -> Result<(), OpenError> {
    let [first, second] = kinds;
    match (first.path(dir).exists(), second.path(dir).exists()) {
        (true, true) => Ok(()),
        (false, false) => {
            let pair: String = create_pair(dir, kinds)?;
            tracing::info!(dir = %dir.display(), pair, "created an empty data directory");
            publish(dir, first)?;
            publish(dir, second)
        }
        (present, _) => {
            let (missing, there) = if present { (second, first) } else { (first, second) };
            if missing.new_path(dir).exists() {
                return publish(dir, missing);
            }
            Err(OpenError::Missing { missing: missing.path(dir), present: there.path(dir) })
        }
    }
}

fn create_pair(dir: &Path, kinds: [&Kind; 2]) -> Result<String, OpenError> {
    let mut pair = String::new();
    for kind in kinds {
        let path = kind.new_path(dir);
        remove_leftovers(&path).map_err(|source| OpenError::Io {
            dir: dir.to_owned(),
            what: "a half-made file cannot be removed",
            source,
        })?;
        pair = create(&path, kind, &pair).map_err(|fault| OpenError::from_fault(&path, &fault))?;
    }
    Ok(pair)
}

fn remove_leftovers(path: &Path) -> std::io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(name) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes one file; an empty `pair` means that this is the first of the two and draws the name of the pair.
fn create(path: &Path, kind: &Kind, pair: &str) -> Result<String, Fault> {
    let conn = Connection::open(path)?;
    // Page size and vacuum mode hold only if they are set before anything is written and before the WAL.
    conn.pragma_update(None, "page_size", kind.page_size)?;
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    let pair = if pair.is_empty() {
        conn.query_row("SELECT lower(hex(randomblob(8)))", [], |row| row.get(0))?
    } else {
        pair.to_owned()
    };
    conn.execute_batch(&format!(
        "BEGIN; CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID; {} COMMIT;",
        kind.schema
    ))?;
    conn.execute("INSERT INTO meta VALUES ('pair', ?1)", [&pair])?;
    conn.pragma_update(None, "application_id", kind.application_id)?;
    conn.pragma_update(None, "user_version", kind.format)?;
    conn.close().map_err(|(_, error)| error)?;
    Ok(pair)
}

fn publish(dir: &Path, kind: &Kind) -> Result<(), OpenError> {
    let failed = |what| move |source| OpenError::Io { dir: dir.to_owned(), what, source };
    std::fs::rename(kind.new_path(dir), kind.path(dir))
        .map_err(failed("a file cannot be renamed"))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("it cannot be synced"))
}

/// Checks the header before SQLite sees the file: what it is, its format, and that nothing was cut off.
fn check_header(dir: &Path, kind: &Kind) -> Result<(), OpenError> {
    let path = kind.path(dir);
    let damaged = |reason: String| Err(OpenError::Damaged { file: path.clone(), reason });
    let io = |source| OpenError::Io { dir: dir.to_owned(), what: "a file cannot be read", source };
    let mut header = Vec::with_capacity(100);
    let file = File::open(&path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    file.take(100).read_to_end(&mut header).map_err(io)?;
    let number = |at: usize| -> i64 {
        let bytes = header.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(0, |bytes| i64::from(u32::from_be_bytes(bytes)))
    };
    if !header.starts_with(b"SQLite format 3\0") || header.len() < 100 {
        return damaged("it is not a database file, or its beginning is overwritten".to_owned());
    }
    if number(68) != kind.application_id {
        return damaged(format!("it is not postrider's {}", kind.name));
    }
    if number(60) > kind.format {
        return Err(OpenError::Newer { file: path.clone(), found: number(60), known: kind.format });
    }
    // With a WAL the file may rightly be shorter than its header says: a kill during a checkpoint.
    let wal = std::fs::metadata(kind.wal_path(dir)).map_or(0, |meta| meta.len());
    let pages = u64::try_from(number(28)).unwrap_or(0);
    let page_size = u64::try_from(kind.page_size).unwrap_or(0);
    if wal == 0 && length < pages * page_size {
        return damaged(format!("it is cut off: {length} of {} bytes", pages * page_size));
    }
    Ok(())
}

/// A file that its writer has open.
pub(crate) struct Opened {
    pub(crate) conn: Connection,
    /// Stands until the file is closed cleanly.
    pub(crate) mark: OpenMark,
    /// The name of the file's pair.
    pub(crate) pair: String,
}

/// Opens the writer's connection.
pub(crate) fn open_writer(dir: &Path, kind: &Kind) -> Result<Opened, OpenError> {
    check_header(dir, kind)?;
    let mark = OpenMark::check(dir, kind)?;
    let path = kind.path(dir);
    let open = || -> Result<(Connection, String), Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&path, flags)?;
        leave_wal(&conn)?;
        conn.busy_timeout(BUSY)?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
        conn.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let pair =
            conn.query_row("SELECT value FROM meta WHERE key = 'pair'", [], |row| row.get(0))?;
        Ok((conn, pair))
    };
    let (conn, pair) = open().map_err(|fault| OpenError::from_fault(&path, &fault))?;
    // Before anything is written, and before anybody is told that we are ready.
    match check(&conn, &path, kind) {
        Ok(None) => {}
        Ok(Some(found)) => {
            return Err(OpenError::Damaged {
                file: path,
                reason: format!("it is damaged ({found})"),
            });
        }
        Err(fault) => return Err(OpenError::from_fault(&path, &fault)),
    }
    mark.set(&conn).map_err(|error| match error {
        SetError::Fault(fault) => OpenError::from_fault(&path, &fault),
        SetError::Io(source) => OpenError::Io {
            dir: dir.to_owned(),
            what: "the mark of an open file cannot be written",
            source,
        },
    })?;
    upgrade(&conn, kind).map_err(|fault| OpenError::from_fault(&path, &fault))?;
    Ok(Opened { conn, mark, pair })
}

/// Brings a file of an older format to this one, a format at a time. One that is killed in between goes on where it was.
fn upgrade(conn: &Connection, kind: &Kind) -> Result<(), Fault> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(found - 1).unwrap_or(0);
    for (from, step) in (1..).zip(kind.upgrades).skip(done) {
        conn.execute_batch(&format!("BEGIN; {step} PRAGMA user_version = {}; COMMIT;", from + 1))?;
        tracing::info!(file = kind.name, from, to = from + 1, "upgraded");
    }
    Ok(())
}

/// Keeps a connection that is dropped from emptying the WAL: that is for a clean end alone (OPEN-1).
fn leave_wal(conn: &Connection) -> Result<(), Fault> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

/// Opens a reader's connection; it cannot write.
pub(crate) fn open_reader(dir: &Path, kind: &Kind) -> Result<Connection, OpenError> {
    let path = kind.path(dir);
    let open = || -> Result<Connection, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&path, flags)?;
        leave_wal(&conn)?;
        conn.busy_timeout(BUSY)?;
        conn.pragma_update(None, "query_only", true)?;
        conn.pragma_update(None, "cache_size", READER_CACHE_KIB)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(conn)
    };
    open().map_err(|fault| OpenError::from_fault(&path, &fault))
}

/// Looks for damage, as much as a start has time for; `None` when it finds none.
fn check(conn: &Connection, path: &Path, kind: &Kind) -> Result<Option<String>, Fault> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() <= CHECKED_BYTES_MAX) {
        return quick_check(conn);
    }
    tracing::info!(
        file = kind.name,
        "too large to be checked whole; `postrider doctor` reads all of it"
    );
    for table in kind.vital {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}"))?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                row.get_ref(column)?;
            }
        }
    }
    Ok(None)
}

/// Asks SQLite to check all of the file; `None` when it finds nothing, else a line.
pub(crate) fn quick_check(conn: &Connection) -> Result<Option<String>, Fault> {
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then(|| found.trim().replace('\n', ": ")))
}

/// Gives freed pages back to the file system, so many at most, and lets the WAL begin anew.
pub(crate) fn compact(conn: &Connection, pages_max: u32) -> Result<(), Fault> {
    let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({pages_max})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    checkpoint(conn)?;
    Ok(())
}

/// Moves the WAL into the file; the next write begins it anew. Tells whether all of it was moved: a reader in the middle of a page leaves the rest
/// for the next time.
///
/// `RESTART` and not `TRUNCATE`: an empty WAL would look like a lost one (OPEN-1). `journal_size_limit` bounds what stays.
pub(crate) fn checkpoint(conn: &Connection) -> Result<bool, Fault> {
    let moved = |row: &rusqlite::Row<'_>| {
        let (busy, frames, moved): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(busy == 0 && frames == moved)
    };
    Ok(conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], moved)?)
}
