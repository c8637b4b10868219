//! The only printer: one document on stdout in the form that was asked for, everything else on stderr.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::io::Write as _;

use serde::Serialize;

/// The form of a verb's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Lines for a person.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// How a verb ended; the process ends with [`Exit::code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well: 0.
    Fine,
    /// It did not work: 1.
    Error,
    /// Changes are pending, or lag is left: 2.
    Pending,
    /// A check failed: 3.
    CheckFailed,
}

impl Exit {
    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Error => 1,
            Exit::Pending => 2,
            Exit::CheckFailed => 3,
        }
    }
}

/// Prints answers in one form.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    format: Format,
}

impl Out {
    /// A printer of this form.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Out { format }
    }

    /// The form.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Prints `value`: as it is for machines, through `lines` for people.
    ///
    /// # Errors
    /// A value that cannot be serialised, or a closed stdout.
    pub fn show<T: Serialize>(&self, value: &T, lines: impl FnOnce(&T) -> Vec<String>) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Table => lines(value).join("\n"),
            Format::Json => serde_json::to_string_pretty(value)?,
            Format::Yaml => serde_yaml_ng::to_string(value)?.trim_end().to_owned(),
        };
        writeln!(std::io::stdout().lock(), "{text}")?;
        Ok(())
    }

    /// Prints text that is the same in every form (a configuration file).
    ///
    /// # Errors
    /// A closed stdout.
    pub fn text(&self, text: &str) -> anyhow::Result<()> {
        writeln!(std::io::stdout().lock(), "{}", text.trim_end())?;
        Ok(())
    }

    /// Says something by the way (progress, what to run next): on stderr, so that stdout stays one document.
    pub fn hint(&self, text: &str) {
        // a closed stderr must not end a failover
        let _closed = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Says why a verb did not work.
    pub fn error(&self, error: &anyhow::Error) {
        self.hint(&format!("error: {error:#}"));
    }
}

/// A table with a head, columns padded to their widest cell.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let cells = |row: usize, column: usize| rows[row].get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(column, name)| (0..rows.len()).map(|row| cells(row, column)).chain([name.len()]).max().unwrap_or(0))
        .collect();
    let line = |row: Vec<&str>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec())).chain(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["orders".into(), "1".into()], vec!["t".into(), "2000".into()]];
        assert_eq!(table(&["TOPIC", "LAG"], &rows), ["TOPIC   LAG", "orders  1", "t       2000"]);
    }
}
