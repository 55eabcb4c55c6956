//! Opening, keeping and closing a data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use domain::Timestamp;
use domain::limits::LOG_RETENTION;
use ports::Clock;
use tokio::sync::Mutex;

use crate::error::{Health, HealthCell, OpenError};
use crate::feed::InProcessFeed;
use crate::file::{Kind, ensure, open_writer};
use crate::lock::DirLock;
use crate::log::{self, Log, LogState, Space, ensure_shards};
use crate::readers::Readers;
use crate::store::{self, Store, StoreState};
use crate::writer::Writer;

/// Most shards of an embedded log.
const SHARDS_MAX: u16 = 256;

/// How a data directory is used.
#[derive(Clone)]
pub struct Options {
    /// Shards of the log, 1 to 256; default 4. More than there are adds some (keys move); fewer is refused.
    pub shards: u16,
    /// Where times come from.
    pub clock: Arc<dyn Clock>,
    /// Appends to the log are refused (`Full`) while less than this many bytes are free on the disk; default 256 MiB.
    pub free_space_floor: u64,
    /// Above so many bytes the oldest records are removed although a group has not acked them (a `Gap`, logged as an error);
    /// default none: then a full disk refuses appends instead, and nothing is lost.
    pub log_bytes_max: Option<u64>,
    /// Reader threads of each file, 1 to 16; default 2.
    pub readers: usize,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            shards: 4,
            clock,
            free_space_floor: 256 * 1024 * 1024,
            log_bytes_max: None,
            readers: 2,
        }
    }

    fn validate(&self) -> Result<(), OpenError> {
        let refuse = |option, value: usize, allowed| {
            Err(OpenError::Option { option, value: value.to_string(), allowed })
        };
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return refuse("shards", self.shards.into(), "1 to 256");
        }
        if !(1..=16).contains(&self.readers) {
            return refuse("readers", self.readers, "1 to 16");
        }
        Ok(())
    }
}

/// An open data directory: log, store and feed.
pub struct Embedded {
    log: Arc<Log>,
    store: Arc<Store>,
    feed: Arc<InProcessFeed>,
    health: HealthCell,
    options: Options,
    /// Drawn when the directory was made.
    id: String,
    /// One pass of maintenance at a time.
    maintaining: Mutex<()>,
}

/// What a pass of [`Embedded::maintain`] removed, in rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Maintained {
    /// Records of the log.
    pub records: u64,
    /// Of these, records that a group had not acked: the log had outgrown its limit.
    pub records_lost: u64,
    /// Facts older than 30 days.
    pub facts: u64,
    /// Dead letters older than 30 days.
    pub dead_letters: u64,
    /// Idempotency keys older than 24 hours.
    pub keys: u64,
    /// Commands older than a day.
    pub commands: u64,
    /// Bodies that nothing can wait for any more.
    pub events: u64,
    /// Backlog rows behind their lanes' cursors.
    pub backlog: u64,
}

impl Embedded {
    /// Opens a data directory, or makes it; recovers by itself from a kill at any point. Takes a few milliseconds, and some hundred for files that
    /// are near 64 MiB: up to there they are checked whole, above it what a start needs.
    ///
    /// # Errors
    /// [`OpenError`] says in one line what is wrong and what to do. An existing directory never starts empty in silence.
    pub fn open(data_dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        options.validate()?;
        let dir = data_dir.as_ref();
        std::fs::create_dir_all(dir).map_err(|source| OpenError::Io {
            dir: dir.to_owned(),
            what: "it cannot be made",
            source,
        })?;
        // Every thread holds the lock: the directory is free when the last one has ended, whoever forgot to close.
        let lock = Arc::new(DirLock::take(dir)?);
        // The store first: what exists alone is then the store, never a log whose store is lost.
        ensure(dir, [&store::KIND, &log::KIND])?;
        let health = HealthCell::new();
        let of_log = open_writer(dir, &log::KIND)?;
        let of_store = open_writer(dir, &store::KIND)?;
        check_pair(dir, &of_log.pair, &of_store.pair)?;
        ensure_shards(dir, &of_log.conn, options.shards)?;
        let (state, commits) = LogState::load(of_log.conn, of_log.mark)
            .map_err(|fault| OpenError::from_fault(&log::KIND.path(dir), &fault))?;
        let readers =
            |kind: &'static Kind| Readers::start(dir, kind, options.readers, &health, &lock);
        let log = Log::new(
            Writer::start(log::KIND.name, state, health.clone(), Arc::clone(&lock))?,
            readers(&log::KIND)?,
            commits,
            Arc::clone(&options.clock),
            Space {
                dir: dir.to_owned(),
                floor: options.free_space_floor,
                refusing: AtomicBool::new(false),
            },
        );
        let state = StoreState::new(of_store.conn, of_store.mark);
        let store = Store::new(
            Writer::start(store::KIND.name, state, health.clone(), Arc::clone(&lock))?,
            readers(&store::KIND)?,
            Arc::clone(&options.clock),
        );
        Ok(Self {
            log: Arc::new(log),
            store: Arc::new(store),
            feed: Arc::new(InProcessFeed::new()),
            health,
            options,
            id: of_log.pair,
            maintaining: Mutex::new(()),
        })
    }

    /// Names this data directory; another one, or one made anew, has another name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The event log.
    #[must_use]
    pub fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    /// Every store port.
    #[must_use]
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Hints within this process.
    #[must_use]
    pub fn feed(&self) -> Arc<InProcessFeed> {
        Arc::clone(&self.feed)
    }

    /// Whether writes are taken. Cheap: readiness asks often.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.get()
    }

    /// Removes what has expired at `now`, gives space back and checkpoints the WALs. The runtime calls this about once a minute.
    ///
    /// Works in slices, between which other writes come through, and up to a bound: a call that has much to do leaves some to the next.
    /// While a call runs another one waits for it.
    ///
    /// # Errors
    /// When a file cannot be written; the next call goes on where this one ended.
    pub async fn maintain(&self, now: Timestamp) -> ports::Result<Maintained> {
        let _one = self.maintaining.lock().await;
        let log = self.log.trim(now - LOG_RETENTION, self.options.log_bytes_max).await?;
        let store = self.store.expire(now).await?;
        Ok(Maintained {
            records: log.records,
            records_lost: log.lost,
            facts: store.facts,
            dead_letters: store.dead_letters,
            keys: store.keys,
            commands: store.commands,
            events: store.events,
            backlog: store.backlog,
        })
    }

    /// Reads both files whole and checks them; minutes for large ones. `None` when both are sound, else what is wrong and where.
    ///
    /// # Errors
    /// When a file is too damaged to be read at all.
    pub async fn check_integrity(&self) -> ports::Result<Option<String>> {
        let found = |file: &str, found: Option<String>| found.map(|what| format!("{file}: {what}"));
        let log = found(log::KIND.name, self.log.quick_check().await?);
        let store = found(store::KIND.name, self.store.quick_check().await?);
        Ok(log.or(store))
    }

    /// Finishes what was handed in before, empties the WALs, ends all threads and frees the directory.
    ///
    /// Later calls on the log and the stores answer `Unavailable`. Without this call a drop is a kill: nothing acknowledged is lost.
    pub async fn close(&self) {
        self.log.stop().await;
        self.store.stop().await;
    }
}

/// Files of two directories do not belong together, even if both are sound.
fn check_pair(dir: &Path, log: &str, store: &str) -> Result<(), OpenError> {
    if log == store {
        return Ok(());
    }
    let file: PathBuf = store::KIND.path(dir);
    Err(OpenError::Damaged {
        file,
        reason: format!("it belongs to another log.db (pair {store}, the log's is {log})"),
    })
}
