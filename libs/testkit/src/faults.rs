//! Failures on demand.

use std::sync::{Arc, Mutex, PoisonError};

use ports::{Error, ErrorKind};

/// How a call fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// `Unavailable`: nothing happened.
    Unavailable,
    /// `Full`: nothing happened.
    Full,
    /// `Unknown`: nothing happened, but the caller cannot tell.
    UnknownLost,
    /// `Unknown`: it happened, but the caller cannot tell.
    UnknownApplied,
}

/// The switches of one memory adapter. Clones switch the same adapter.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Planned>>);

#[derive(Default)]
struct Planned {
    writes: Vec<(usize, Fault)>,
    reads: usize,
    failed: u64,
}

impl Faults {
    /// Fails the next `count` writes so, after those that were asked for before.
    pub fn fail_writes(&self, count: usize, fault: Fault) {
        self.with(|planned| planned.writes.push((count, fault)));
    }

    /// Fails the next `count` reads with `Unavailable`.
    pub fn fail_reads(&self, count: usize) {
        self.with(|planned| planned.reads = count);
    }

    /// Fails nothing any more.
    pub fn clear(&self) {
        self.with(|planned| {
            planned.writes.clear();
            planned.reads = 0;
        });
    }

    /// Calls that were failed so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.with(|planned| planned.failed)
    }

    /// Runs a write, or fails it as planned.
    pub(crate) fn write<T>(&self, run: impl FnOnce() -> T) -> ports::Result<T> {
        let error = |kind| Err(Error::new(kind, "a write was made to fail"));
        match self.take() {
            None => Ok(run()),
            Some(Fault::Unavailable) => error(ErrorKind::Unavailable),
            Some(Fault::Full) => error(ErrorKind::Full),
            Some(Fault::UnknownLost) => error(ErrorKind::Unknown),
            Some(Fault::UnknownApplied) => {
                run();
                error(ErrorKind::Unknown)
            }
        }
    }

    /// Runs a read, or fails it as planned.
    pub(crate) fn read<T>(&self, run: impl FnOnce() -> T) -> ports::Result<T> {
        let fails = self.with(|planned| {
            let fails = planned.reads > 0;
            planned.reads = planned.reads.saturating_sub(1);
            planned.failed += u64::from(fails);
            fails
        });
        if fails {
            let message = "a read was made to fail";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(run())
    }

    fn take(&self) -> Option<Fault> {
        self.with(|planned| {
            planned.writes.retain(|(count, _)| *count > 0);
            let (count, fault) = planned.writes.first_mut()?;
            *count -= 1;
            planned.failed += 1;
            Some(*fault)
        })
    }

    fn with<T>(&self, run: impl FnOnce(&mut Planned) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
