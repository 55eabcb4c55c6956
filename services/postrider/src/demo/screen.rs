//! What the viewer sees: a narration, every request as it arrives, and live counters where there is a terminal.

use std::path::Path;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ports::Clock as _;
use runtime::SystemClock;

use super::audit::Count;
use super::cast::{PARTS, Part};
use super::ledger::Ledger;
use super::receiver::Arrival;
use crate::terminal::{Terminal, Tone};

/// The viewer's screen.
pub(crate) struct Screen {
    terminal: Terminal,
    clock: SystemClock,
    live: Option<Live>,
}

/// Counters that are redrawn in place.
struct Live {
    all: MultiProgress,
    lines: Vec<(Part, ProgressBar)>,
}

impl Screen {
    /// Begins with an empty screen.
    pub(crate) fn new(terminal: Terminal, clock: SystemClock) -> Self {
        let is_live = terminal.out_is_terminal && terminal.err_is_terminal;
        Self { terminal, clock, live: is_live.then(Live::new) }
    }

    /// Writes a line. A viewer who has gone changes nothing.
    pub(crate) fn say(&self, line: &str) {
        let write = || {
            let _ = self.terminal.data(line);
        };
        match &self.live {
            Some(live) => live.all.suspend(write),
            None => write(),
        }
    }

    /// Begins a chapter: what happens now, and why.
    pub(crate) fn chapter(&self, number: u32, title: &str, why: &str) {
        self.say("");
        self.say(&self.terminal.out(Tone::Strong, format!("{number}. {title}")));
        self.explain(why);
    }

    /// Says more about what happens.
    pub(crate) fn explain(&self, why: &str) {
        self.say(&format!("   {}", self.terminal.out(Tone::Faint, why)));
    }

    /// Shows the command that does the same by hand.
    pub(crate) fn command(&self, command: &str) {
        self.say(&format!("   $ {command}"));
    }

    /// Shows one request, and the counters after it.
    pub(crate) fn arrival(&self, arrival: &Arrival, ledger: &Ledger) {
        let elapsed = self.elapsed();
        let (mark, verified) = match &arrival.unverified {
            None => (Tone::Good, "signature verified".to_owned()),
            Some(why) => (Tone::Bad, format!("NOT verified ({why})")),
        };
        let tone = if arrival.status.is_success() { Tone::Good } else { Tone::Bad };
        self.say(&format!(
            "   {} {:<9} <- {:<17} {} {:<7} #{}  {}  answers {}",
            elapsed,
            arrival.part.id(),
            arrival.event_type,
            self.terminal.out(Tone::Faint, short(&arrival.event)),
            arrival.trigger,
            arrival.attempt,
            self.terminal.out(mark, verified),
            self.terminal.out(tone, arrival.status.as_u16()),
        ));
        self.counters(ledger);
    }

    /// Shows that an event was acknowledged.
    pub(crate) fn published(&self, event_type: &str, id: &str, how: &str) {
        let elapsed = self.elapsed();
        self.say(&format!(
            "   {elapsed} publish   -> {event_type:<17} {} {how}",
            self.terminal.out(Tone::Faint, short(id)),
        ));
    }

    /// Shows that a breaker has opened or closed.
    pub(crate) fn breaker(&self, part: Part, is_open: bool, failures: i32) {
        let elapsed = self.elapsed();
        let what = if is_open {
            let what = format!("breaker OPEN after {failures} failures in a row");
            self.terminal.out(Tone::Warn, what)
        } else {
            self.terminal.out(Tone::Good, "breaker closed: what waited goes out")
        };
        self.say(&format!("   {elapsed} {:<9} == {what}", part.id()));
    }

    fn elapsed(&self) -> String {
        let seconds = self.clock.monotonic().as_secs_f64();
        self.terminal.out(Tone::Faint, format!("{seconds:5.1}s"))
    }

    fn counters(&self, ledger: &Ledger) {
        let Some(live) = &self.live else { return };
        for (part, bar) in &live.lines {
            let line = ledger.line(*part);
            bar.set_message(format!(
                "{:<10} {:<22} {} delivered   {} failed attempts",
                part.id(),
                part.condition(),
                self.terminal.err(Tone::Good, format!("{:>3}", line.taken)),
                self.terminal.err(Tone::Bad, format!("{:>3}", line.refused)),
            ));
        }
    }

    /// Shows the summary: every number with those who counted it.
    pub(crate) fn summary(&self, counts: &[Count], took: Duration) {
        self.close();
        self.say("");
        self.say(
            &self
                .terminal
                .out(Tone::Strong, "Summary: every number is counted, by each side for itself"),
        );
        for count in counts {
            let by: Vec<_> =
                count.by.iter().map(|(who, number)| format!("{who} {number}")).collect();
            let number = count.by.first().map_or(0, |(_, number)| *number);
            let mark = if count.agrees() {
                self.terminal.out(Tone::Good, "ok")
            } else {
                self.terminal.out(Tone::Bad, "DISAGREES")
            };
            let by = self.terminal.out(Tone::Faint, by.join(" = "));
            self.say(&format!("   {:<18} {number:>4}   {mark}   {by}", count.what));
        }
        let wrong = counts.iter().filter(|count| !count.agrees()).count();
        let seconds = took.as_secs_f64();
        let verdict = if wrong == 0 {
            self.terminal.out(
                Tone::Good,
                format!("Everything that was acknowledged arrived ({seconds:.1} s)."),
            )
        } else {
            self.terminal.out(Tone::Bad, format!("{wrong} counts disagree ({seconds:.1} s)."))
        };
        self.say(&verdict);
    }

    /// Tells how to go on with what is left running.
    pub(crate) fn keep(&self, url: &str, data_dir: &Path) {
        self.say("");
        self.say(&format!("postrider ready on {url}"));
        self.say(&format!("   $ postrider --server {url} endpoint list"));
        self.say(&format!(
            "   $ postrider --server {url} event publish payment.completed --data '{{\"amount\": 1}}'"
        ));
        let dir = data_dir.display();
        self.say(&format!("   Ctrl-C ends it and removes {dir}."));
    }

    /// Removes the live counters.
    pub(crate) fn close(&self) {
        if let Some(live) = &self.live {
            for (_, bar) in &live.lines {
                bar.finish_and_clear();
            }
        }
    }
}

impl Live {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let lines = PARTS
            .into_iter()
            .map(|part| {
                let bar = all.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("   {spinner} {msg}") {
                    bar.set_style(style);
                }
                bar.set_message(format!("{:<10} {}", part.id(), part.condition()));
                bar.enable_steady_tick(Duration::from_millis(120));
                (part, bar)
            })
            .collect();
        Self { all, lines }
    }
}

/// The end of an id: ids of one moment begin alike.
fn short(id: &str) -> String {
    let skip = id.chars().count().saturating_sub(6);
    let tail: String = id.chars().skip(skip).collect();
    format!("…{tail}")
}
