//! Answers and how they are shown: the message as JSON or YAML, or a table made from it.

use comfy_table::{Table, presets};
use serde_json::Value;

use super::{Format, json};
use crate::failure::Failure;
use crate::terminal::{Terminal, Tone};

/// What a command has to show.
#[derive(Debug)]
pub(crate) struct Answer {
    message: Value,
    table: Table,
    notes: Vec<String>,
    failed: bool,
}

impl Answer {
    /// Shows a message of the API, as a table with these columns.
    pub(crate) fn table<M: json::Named>(
        message: &M,
        columns: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Result<Self, Failure> {
        Ok(Self::value(json::of(message)?, columns, rows))
    }

    /// Shows what is no message of the API.
    pub(crate) fn value(
        message: Value,
        columns: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if !columns.is_empty() {
            table.set_header(columns.to_vec());
        }
        table.add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self { message, table, notes: Vec::new(), failed: false }
    }

    /// Shows one thing: its fields below each other, without the empty ones.
    pub(crate) fn fields<M: json::Named>(
        message: &M,
        fields: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, Failure> {
        let rows = fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| vec![format!("{name}:"), value]);
        Self::table(message, &[], rows)
    }

    /// Adds a hint, for people alone.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The command ends with exit code 1 although there is something to show.
    #[must_use]
    pub(crate) fn failed_if(mut self, failed: bool) -> Self {
        self.failed = failed;
        self
    }

    /// Writes data to standard output and hints to standard error.
    pub(crate) fn show(self, format: Format, terminal: &Terminal) -> Result<(), Failure> {
        match format {
            Format::Table if self.table.is_empty() => terminal.note("nothing there"),
            Format::Table => {
                // Trailing blanks come from padding the last column.
                let lines: Vec<_> = self.table.lines().collect();
                let lines: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
                terminal.data(lines.join("\n"))?;
            }
            Format::Json => {
                let text =
                    serde_json::to_string_pretty(&self.message).map_err(anyhow::Error::from)?;
                terminal.data(text)?;
            }
            Format::Yaml => {
                let text = serde_yaml_ng::to_string(&self.message).map_err(anyhow::Error::from)?;
                terminal.data(text.trim_end())?;
            }
        }
        for note in self.notes {
            terminal.note(terminal.err(Tone::Faint, note));
        }
        if self.failed { Err(Failure::Said) } else { Ok(()) }
    }
}
