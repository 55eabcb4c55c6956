//! CPU time, memory, writes and wake-ups of a process, from `/proc`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

/// Ticks of `utime` and `stime`: 100 a second on every Linux whatever its own clock (`USER_HZ`, proc(5)).
const TICK: Duration = Duration::from_millis(10);

/// CPU time since the process or thread began.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    /// Reads what a process has used, all its threads together.
    pub(crate) fn of_process(id: u32) -> Result<Self> {
        read(&format!("/proc/{id}/stat"))
    }

    /// Reads what the calling thread has used.
    pub(crate) fn of_this_thread() -> Result<Self> {
        read("/proc/thread-self/stat")
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

fn read(path: &str) -> Result<Cpu> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{path} (the benchmark needs Linux)"))?;
    parse(&text).with_context(|| format!("{path} is not as proc(5) says"))
}

/// Parses `pid (name) state …`; the name may hold blanks and brackets, so fields count from the last bracket.
fn parse(text: &str) -> Option<Cpu> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || Some(TICK * fields.next()?.parse::<u32>().ok()?);
    Some(Cpu { user: ticks()?, system: ticks()? })
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that was ever resident.
    pub(crate) peak: u64,
}

impl Memory {
    pub(crate) fn of_process(id: u32) -> Result<Self> {
        let path = format!("/proc/{id}/status");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let kib = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        let bytes =
            |name| kib(name).map(|kib| kib * 1024).with_context(|| format!("{name} {path}"));
        Ok(Self { resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
    }
}

/// What a process has written since it began, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Io {
    /// Sent on to the disk; nothing where files are in memory.
    pub(crate) written_bytes: u64,
    /// Given to write calls of any kind.
    pub(crate) write_call_bytes: u64,
}

impl Io {
    pub(crate) fn of_process(id: u32) -> Result<Self> {
        let path = format!("/proc/{id}/io");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let bytes = |name| number(&text, name).with_context(|| format!("{name} {path}"));
        Ok(Self { written_bytes: bytes("write_bytes:")?, write_call_bytes: bytes("wchar:")? })
    }
}

/// How often each thread of a process gave up its core by itself: each time it had woken up before.
#[derive(Clone, Default, Debug)]
pub(crate) struct Switches(BTreeMap<OsString, u64>);

impl Switches {
    pub(crate) fn of_process(id: u32) -> Result<Self> {
        let path = format!("/proc/{id}/task");
        let mut switches = BTreeMap::new();
        for thread in fs::read_dir(&path).with_context(|| path.clone())? {
            let thread = thread?;
            // One that has ended meanwhile has nothing to say.
            if let Ok(text) = fs::read_to_string(thread.path().join("status")) {
                let count = number(&text, "voluntary_ctxt_switches:").unwrap_or_default();
                switches.insert(thread.file_name(), count);
            }
        }
        Ok(Self(switches))
    }

    /// Wake-ups since `earlier`. A thread that has ended took its count with it: it woke up at least to end.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        let before = |thread| earlier.0.get(thread).copied().unwrap_or_default();
        let of_living = self.0.iter().map(|(thread, now)| now.saturating_sub(before(thread)));
        let ended = earlier.0.keys().filter(|thread| !self.0.contains_key(*thread));
        of_living.sum::<u64>() + ended.map(|_| 1).sum::<u64>()
    }
}

/// The number behind `name` at the start of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_brackets() {
        let cpu = parse("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0").unwrap();
        assert_eq!(cpu.user, Duration::from_millis(2_500));
        assert_eq!(cpu.system, Duration::from_millis(500));
    }

    #[test]
    fn own_process_has_memory_and_cpu() {
        let id = std::process::id();
        assert!(Memory::of_process(id).unwrap().peak > 0);
        Cpu::of_process(id).unwrap();
        Cpu::of_this_thread().unwrap();
        Io::of_process(id).unwrap();
        Switches::of_process(id).unwrap();
    }

    #[test]
    fn threads_that_began_or_ended_are_counted_too() {
        let switches = |threads: &[(&str, u64)]| {
            Switches(threads.iter().map(|(thread, count)| ((*thread).into(), *count)).collect())
        };
        let (before, after) =
            (switches(&[("1", 10), ("2", 500)]), switches(&[("1", 15), ("3", 4)]));
        assert_eq!(after.since(&before), 5 + 4 + 1);
    }

    #[test]
    fn numbers_stand_behind_the_start_of_a_line() {
        let status = "nonvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t7\n";
        assert_eq!(number(status, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(number(status, "write_bytes:"), None);
    }
}
