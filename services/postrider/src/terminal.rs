//! The one place that knows what standard output and standard error are: a terminal or a pipe, with or without colour.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Environment variables, read once.
pub(crate) type Environment = BTreeMap<String, String>;

/// What the output looks like to whoever reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    /// Colours are wanted (`NO_COLOR` is not set) where a terminal shows them.
    pub(crate) colour: bool,
    /// Standard output is a terminal.
    pub(crate) out_is_terminal: bool,
    /// Standard error is a terminal.
    pub(crate) err_is_terminal: bool,
}

/// What a piece of text means; the terminal chooses how to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Went well.
    Good,
    /// Went badly.
    Bad,
    /// Needs a look.
    Warn,
    /// Matters less.
    Faint,
    /// Stands out.
    Strong,
}

impl Terminal {
    /// Looks at the standard streams. <https://no-color.org>: any value but the empty one turns colours off.
    pub(crate) fn detect(environment: &Environment) -> Self {
        let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
        let dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        Self {
            colour: !is_set("NO_COLOR") && !dumb,
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Writes data to standard output.
    ///
    /// # Errors
    /// When nobody reads it any more (`| head`), or the disk is full.
    pub(crate) fn data(&self, text: impl Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Writes a line for people to standard error. Whether it can be read is not our concern.
    pub(crate) fn note(&self, text: impl Display) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Colours text for standard output.
    pub(crate) fn out(&self, tone: Tone, text: impl Display) -> String {
        paint(self.colour && self.out_is_terminal, tone, text)
    }

    /// Colours text for standard error.
    pub(crate) fn err(&self, tone: Tone, text: impl Display) -> String {
        paint(self.colour && self.err_is_terminal, tone, text)
    }
}

fn paint(colour: bool, tone: Tone, text: impl Display) -> String {
    if !colour {
        return text.to_string();
    }
    let code = match tone {
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Warn => "33",
        Tone::Faint => "2",
        Tone::Strong => "1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_turns_colours_off_and_an_empty_one_does_not() {
        let with = |value: &str| {
            Terminal::detect(&Environment::from([("NO_COLOR".into(), value.into())])).colour
        };
        assert!(!with("1"));
        assert!(with(""));
    }
}
