//! Which calls of a worker fail, hang or are slow. Publishers and people reach the store directly: what they hear is the plan's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Timestamp;
use ports::{Clock as _, Error, ErrorKind};
use testkit::{Fault, SimClock};

use crate::chance::Chance;
use crate::journal::{Journal, What};
use crate::plan::{Misfortune, Setup};

/// The misfortunes that are under way. Clones are the same.
#[derive(Clone)]
pub(crate) struct Faults {
    state: Arc<Mutex<State>>,
    clock: SimClock,
    journal: Journal,
    setup: Setup,
}

struct State {
    reads: usize,
    writes: VecDeque<Fault>,
    hang_until: Timestamp,
    log_reads: usize,
    acks: VecDeque<Fault>,
    hints: usize,
    chance: Chance,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// How long until it happens.
    pub(crate) before: Duration,
    /// How long from then to the answer.
    pub(crate) after: Duration,
    pub(crate) fault: Option<Fault>,
    /// It happens although its caller is gone.
    pub(crate) outlives: bool,
}

impl Faults {
    pub(crate) fn new(seed: u64, setup: Setup, clock: SimClock, journal: Journal) -> Self {
        let state = State {
            reads: 0,
            writes: VecDeque::new(),
            hang_until: Timestamp::ZERO,
            log_reads: 0,
            acks: VecDeque::new(),
            hints: 0,
            chance: Chance::new(seed, "store"),
        };
        Self { state: Arc::new(Mutex::new(state)), clock, journal, setup }
    }

    pub(crate) fn befall(&self, misfortune: Misfortune) {
        let now = self.clock.now();
        let mut state = self.lock();
        match misfortune {
            Misfortune::Reads(count) => state.reads += count,
            Misfortune::Writes(count, fault) => state.writes.extend(vec![fault; count]),
            Misfortune::Hang(time) => state.hang_until = state.hang_until.max(now + time),
            Misfortune::LogReads(count) => state.log_reads += count,
            Misfortune::Acks(count, fault) => state.acks.extend(vec![fault; count]),
            Misfortune::Hints(count) => state.hints += count,
            Misfortune::Over => state.clear(),
        }
    }

    /// Waits as long as a read takes, then says whether it fails.
    pub(crate) async fn read(&self, what: &'static str) -> ports::Result<()> {
        let wait = self.latency();
        self.wait(wait).await;
        let mut state = self.lock();
        if state.reads == 0 {
            return Ok(());
        }
        state.reads -= 1;
        self.journal.note(self.clock.now(), What::Failed(what));
        Err(Error::new(ErrorKind::Unavailable, "a read was made to fail"))
    }

    /// What becomes of the next write.
    pub(crate) fn fate(&self, what: &'static str) -> Fate {
        let (before, after) = (self.latency(), self.usual());
        let mut state = self.lock();
        let fault = state.writes.pop_front();
        if fault.is_some() {
            self.journal.note(self.clock.now(), What::Failed(what));
        }
        let outlives = self.setup.lands_late && state.chance.percent(50);
        Fate { before, after, fault, outlives }
    }

    /// Whether a read of the log fails.
    pub(crate) fn log_read(&self) -> ports::Result<()> {
        let mut state = self.lock();
        if state.log_reads == 0 {
            return Ok(());
        }
        state.log_reads -= 1;
        self.journal.note(self.clock.now(), What::Failed("read of the log"));
        Err(Error::new(ErrorKind::Unavailable, "a read of the log was made to fail"))
    }

    /// How the next call of `ack` fails.
    pub(crate) fn ack(&self) -> Option<Fault> {
        self.lock().acks.pop_front()
    }

    /// Whether the next hint is lost.
    pub(crate) fn loses_hint(&self) -> bool {
        let mut state = self.lock();
        let lost = state.hints > 0;
        state.hints = state.hints.saturating_sub(1);
        lost
    }

    pub(crate) async fn wait(&self, time: Duration) {
        if !time.is_zero() {
            self.clock.sleep(time).await;
        }
    }

    fn latency(&self) -> Duration {
        let hang = self.lock().hang_until.since(self.clock.now());
        hang + self.usual()
    }

    /// How long half of a call takes while nothing is wrong with the store.
    fn usual(&self) -> Duration {
        match self.setup.store_ms_max / 2 {
            0 => Duration::ZERO,
            max => self.lock().chance.millis(0, max),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear(&mut self) {
        self.reads = 0;
        self.writes.clear();
        self.hang_until = Timestamp::ZERO;
        self.log_reads = 0;
        self.acks.clear();
        self.hints = 0;
    }
}

/// What a caller hears of a write that was failed.
pub(crate) fn error_of(fault: Fault) -> Error {
    let kind = match fault {
        Fault::Unavailable => ErrorKind::Unavailable,
        Fault::Full => ErrorKind::Full,
        Fault::UnknownLost | Fault::UnknownApplied => ErrorKind::Unknown,
    };
    Error::new(kind, "a write was made to fail")
}
