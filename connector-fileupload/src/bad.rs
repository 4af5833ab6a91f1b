//! Rows that can't be read, and what becomes of them.

use std::fmt::Write;

use connector_core::{Error, ErrorKind, Result};

use crate::{
    config::BadRows as Policy, datasets::Files, file::SourceFile, quarantine::Quarantine,
    table::Table,
};

/// How many bad rows a message names.
const NAMED: u64 = 10;

/// What is wrong with a row. Never shows a value of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub(crate) column: Option<String>,
    pub(crate) reason: String,
}

impl BadRow {
    /// Takes what is wrong with the row as a whole.
    pub(crate) fn whole(reason: String) -> Self {
        Self {
            column: None,
            reason,
        }
    }
}

/// From what a row's end says of a wrong cell.
impl From<&Error> for BadRow {
    fn from(error: &Error) -> Self {
        let mut context = error.context();
        let column = context.find(|(name, _)| *name == "column");
        Self {
            column: column.map(|(_, column)| column.to_owned()),
            reason: error.message().to_owned(),
        }
    }
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(column) = &self.column {
            write!(f, "column {column}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// The bad rows of one read.
pub(crate) struct BadRows<'a> {
    files: &'a Files,
    total: u64,
    named: String,
    /// At least one row was good.
    passed: bool,
    quarantine: Option<Quarantine>,
}

impl<'a> BadRows<'a> {
    pub(crate) fn new(files: &'a Files) -> Self {
        Self {
            files,
            total: 0,
            named: String::new(),
            passed: false,
            quarantine: None,
        }
    }

    /// Takes note of a good row.
    pub(crate) fn pass(&mut self) {
        self.passed = true;
    }

    /// Takes the record that the table read last.
    ///
    /// # Errors
    ///
    /// When its line can't be counted, or the quarantine not be written.
    pub(crate) fn add(
        &mut self,
        table: &mut Table<'_>,
        file: &SourceFile,
        bad: &BadRow,
    ) -> Result<()> {
        self.total += 1;
        let quarantined = self.files.settings.bad_rows == Policy::Quarantine;
        if self.total > NAMED && !quarantined {
            return Ok(());
        }
        let line = table.line()?;
        if self.total <= NAMED {
            let separator = if self.total == 1 { "" } else { "; " };
            // Writing to a string does not fail.
            let _ = write!(self.named, "{separator}{}:{line}: {bad}", file.name);
        }
        if quarantined {
            if self.quarantine.is_none() {
                self.quarantine = Some(Quarantine::begin(self.files, table.columns())?);
            }
            if let Some(quarantine) = &mut self.quarantine {
                quarantine.add(table.record(), &file.name, line, bad)?;
            }
        }
        Ok(())
    }

    /// Ends the read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] naming the first bad rows and the number of all, unless they went to
    /// the quarantine and good ones were left.
    pub(crate) fn finish(self) -> Result<()> {
        let rows = if self.total == 1 { "row" } else { "rows" };
        let first = if self.total > NAMED {
            ", of which the first ten are"
        } else {
            ""
        };
        let message = format!("{} {rows} can't be read{first}: {}", self.total, self.named);
        match self.quarantine {
            Some(quarantine) if self.passed => {
                let path = quarantine.commit()?;
                tracing::warn!(
                    dataset = self.files.name,
                    rows = self.total,
                    quarantine = path,
                    "{message}"
                );
                Ok(())
            }
            Some(_) => Err(Error::new(
                ErrorKind::Data,
                format!(
                    "no row can be read, so none is put in quarantine; see whether `encoding`, \
                     `delimiter` and `types` fit: {message}"
                ),
            )),
            None if self.total > 0 => Err(Error::new(
                ErrorKind::Data,
                format!(
                    "{message}; correct the file, or set `bad_rows = \"quarantine\"` to go on \
                     without such rows"
                ),
            )),
            None => Quarantine::clear(self.files),
        }
    }
}
