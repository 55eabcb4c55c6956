//! What a figure means depends on where and when it was measured.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// The machine and the state of the sources.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) commit: String,
    pub(crate) system: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
}

impl Machine {
    pub(crate) fn describe() -> Self {
        let commit = said_by("git", &["describe", "--always", "--dirty", "--abbrev=10"]);
        Self {
            commit: commit.unwrap_or_else(|| "unknown".into()),
            system: said_by("uname", &["-srm"]).unwrap_or_else(|| "unknown".into()),
            processor: processor().unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
        }
    }
}

/// The load averages of 1, 5 and 15 minutes, as text.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn said_by(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
