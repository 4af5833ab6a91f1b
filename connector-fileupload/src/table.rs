//! One file as a header and records.

use std::io::{self, Read};

use connector_core::{Error, ErrorKind, Result};

use crate::{
    config::{Delimiter, Encoding, Quoting},
    file::SourceFile,
    format::Format,
    lines::Lines,
    record::Record,
    records::{BUFFER, Records},
    text::{Malformed, Text},
};

/// The longest row in bytes. A quote that is never closed would otherwise make the rest of the
/// file one row, and take as much memory.
const MAX_ROW: u64 = 16 << 20;

/// Reads the records of one file.
pub(crate) struct Table<'a> {
    file: &'a SourceFile,
    format: &'a Format,
    encoding: Encoding,
    delimiter: Delimiter,
    columns: Vec<String>,
    records: Records<Guard>,
    record: Record,
    lines: Option<Lines>,
}

impl<'a> Table<'a> {
    /// Opens the file and reads its header.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when the file is gone, [`ErrorKind::Data`] when it has no header
    /// that can be used.
    pub(crate) fn open(file: &'a SourceFile, format: &'a Format) -> Result<Self> {
        let failed = |error| file.failed(error);
        let mut text = Text::open(&file.path, format.encoding).map_err(failed)?;
        let encoding = text.encoding();
        let delimiter = match format.delimiter {
            Some(delimiter) => delimiter,
            None if file.extension().as_deref() == Some("tsv") => Delimiter::TAB,
            None => match format.sniff(&mut text) {
                Ok(delimiter) => delimiter,
                // Reading on will meet it again and say where.
                Err(error) if is::<Malformed>(&error) => Delimiter::COMMA,
                Err(error) => return Err(failed(error)),
            },
        };
        text.rewind().map_err(failed)?;
        let mut table = Self {
            file,
            format,
            encoding,
            delimiter,
            columns: format.columns.clone(),
            records: format.records(Guard::new(text), delimiter, BUFFER),
            record: Record::default(),
            lines: None,
        };
        if format.columns.is_empty() {
            table.read_header()?;
        }
        Ok(table)
    }

    fn read_header(&mut self) -> Result<()> {
        if !self.advance()? {
            return Err(Error::new(
                ErrorKind::Data,
                "the file has no header row; name the columns in its first row, or in `columns`",
            )
            .with("file", &self.file.name));
        }
        match headings(&self.record, self.encoding) {
            Ok(columns) => self.columns = columns,
            Err(message) => {
                let line = self.line()?;
                return Err(Error::new(ErrorKind::Data, message)
                    .with("file", &self.file.name)
                    .with("line", line));
            }
        }
        Ok(())
    }

    /// Returns the names of the columns in the order of the fields.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns the encoding that the file turned out to have.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Reads the next record; returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Incomplete`] when the file ends within quotes, [`ErrorKind::Data`] when a
    /// UTF-16 file is malformed or a row too long.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        let start = self.records.position();
        self.records.text_mut().row_start = start;
        match self.records.read(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => return Err(self.explain(error, start)),
        }
        if self.record.as_slice().last() != Some(&0) {
            return Ok(true);
        }
        let guard = self.records.text();
        if !guard.ended || self.records.position() < guard.emitted {
            return Ok(true);
        }
        if self.record.as_slice() == [0] {
            return Ok(false);
        }
        let line = self.open_quote(start)?;
        Err(Error::new(
            ErrorKind::Incomplete,
            "the file ends within quotes: it was cut short, or the quote opened on this line is \
             not closed; for files that do not quote set `quoting = \"raw\"`",
        )
        .with("file", &self.file.name)
        .with("line", line))
    }

    /// Returns the record that was read last.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Returns the line on which the record that was read last begins.
    pub(crate) fn line(&mut self) -> Result<u64> {
        let start = self.record.start();
        if self.lines.is_none() {
            self.lines = Some(self.count_lines()?);
        }
        match &mut self.lines {
            Some(lines) => lines.of_row(start).map_err(|error| self.file.failed(error)),
            None => Ok(0),
        }
    }

    fn count_lines(&self) -> Result<Lines> {
        Text::open(&self.file.path, self.format.encoding)
            .map(Lines::new)
            .map_err(|error| self.file.failed(error))
    }

    fn open_quote(&self, start: u64) -> Result<u64> {
        if self.format.quoting == Quoting::Raw {
            return self.line_of(start);
        }
        let opened = self
            .count_lines()?
            .of_open_quote(start, self.delimiter.byte(), MAX_ROW)
            .map_err(|error| self.file.failed(error))?;
        match opened {
            Some(line) => Ok(line),
            None => self.line_of(start),
        }
    }

    fn line_of(&self, start: u64) -> Result<u64> {
        self.count_lines()?
            .of_row(start)
            .map_err(|error| self.file.failed(error))
    }

    fn explain(&self, error: io::Error, start: u64) -> Error {
        let (message, line) = if is::<Malformed>(&error) {
            (
                format!(
                    "the file is not {} throughout: it was cut short, or has another encoding",
                    self.encoding
                ),
                self.count_lines().map(|mut lines| lines.of_malformed()),
            )
        } else if is::<TooLong>(&error) {
            (
                "the row is over 16 MiB: a quote opened on this line may not be closed; for files \
                 that do not quote set `quoting = \"raw\"`"
                    .to_owned(),
                self.open_quote(start),
            )
        } else {
            return self.file.failed(error);
        };
        match line {
            Ok(line) => Error::new(ErrorKind::Data, message)
                .with("file", &self.file.name)
                .with("line", line)
                .with_source(error),
            Err(error) => error,
        }
    }
}

/// Returns the names in a header, free of white space around them, or what is wrong with it.
fn headings(header: &Record, encoding: Encoding) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    for (place, name) in header.iter().enumerate() {
        let place = place + 1;
        let Ok(name) = std::str::from_utf8(name) else {
            return Err(format!(
                "the heading of column {place} is not {encoding}; set `encoding`"
            ));
        };
        let name = name.trim();
        if name.contains('\0') {
            return Err(format!(
                "the heading of column {place} holds a NUL character; for UTF-16 without a byte \
                 order mark set `encoding`"
            ));
        }
        if name.is_empty() {
            return Err(format!(
                "column {place} has no heading; give it one, or name all columns in `columns`"
            ));
        }
        if names.iter().any(|earlier| earlier == name) {
            return Err(format!(
                "column {place} has the heading of an earlier column"
            ));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn is<E: std::error::Error + 'static>(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<E>())
}

/// Ends the text with a row of its own, a single NUL, and bounds the length of a row.
///
/// The parser takes the end of a file for the end of quotes, too. If the NUL comes out as a row of
/// its own the file was whole; if it comes out at the end of another row, that row's last cell was
/// still within quotes. A check that costs nothing, and that agrees with the parser by nature.
struct Guard {
    text: Text,
    row_start: u64,
    emitted: u64,
    ended: bool,
}

const LAST_ROW: &[u8; 2] = b"\n\0";

impl Guard {
    fn new(text: Text) -> Self {
        Self {
            text,
            row_start: 0,
            emitted: 0,
            ended: false,
        }
    }
}

/// Marks a row over [`MAX_ROW`].
#[derive(Debug, thiserror::Error)]
#[error("no end of the row was found")]
struct TooLong;

impl Read for Guard {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.emitted - self.row_start > MAX_ROW {
            return Err(io::Error::new(io::ErrorKind::InvalidData, TooLong));
        }
        let mut read = self.text.read(out)?;
        if read == 0
            && !self.ended
            && let Some(room) = out.get_mut(..LAST_ROW.len())
        {
            room.copy_from_slice(LAST_ROW);
            read = room.len();
            self.ended = true;
        }
        self.emitted += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, SourceFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let file = SourceFile::new(folder.path(), path);
        (folder, file)
    }

    fn records(content: &[u8], format: &Format) -> Result<Vec<Vec<String>>> {
        let (_folder, file) = file("a.csv", content);
        let mut table = Table::open(&file, format)?;
        let mut records = vec![table.columns().to_vec()];
        while table.advance()? {
            let cells = table.record().iter().map(String::from_utf8_lossy);
            records.push(cells.map(Into::into).collect());
        }
        Ok(records)
    }

    #[test]
    fn reads_what_exports_hold() {
        for (content, expected) in [
            ("a,b\n1,2\n", vec!["a|b", "1|2"]),
            ("a,b\n1,2", vec!["a|b", "1|2"]),
            ("a,b\n", vec!["a|b"]),
            ("a,b", vec!["a|b"]),
            ("\n\n a , b \r\n\r\n1,2\r\n", vec!["a|b", "1|2"]),
            // Line ends of old Mac programs.
            ("a,b\r1,2\r3,4\r", vec!["a|b", "1|2", "3|4"]),
            ("a,b\n\"x\r\ny\",\"\"\"\"", vec!["a|b", "x\r\ny|\""]),
            ("a,b\n5\",\"x,y\"\n", vec!["a|b", "5\"|x,y"]),
            ("\u{feff}a,b\n1,2\n", vec!["a|b", "1|2"]),
            ("a,b\n1,\0\n", vec!["a|b", "1|\0"]),
            ("a,b\n1,2\n\0", vec!["a|b", "1|2", "\0"]),
            ("a,b\n1,\0", vec!["a|b", "1|\0"]),
        ] {
            let records = records(content.as_bytes(), &Format::default()).unwrap();
            let records: Vec<String> = records.iter().map(|cells| cells.join("|")).collect();
            assert_eq!(records, expected, "{content:?}");
        }
    }

    #[test]
    fn a_header_that_cannot_be_used_is_named() {
        for (content, message) in [
            (&b""[..], "the file has no header row"),
            (b"\n\r\n", "the file has no header row"),
            (b"a,,c\n", "column 2 has no heading"),
            (b"a,b, a\n", "column 3 has the heading of an earlier column"),
            (b"a,b\xe9\n", "the heading of column 2 is not utf-8"),
            (
                b"a\0,\0b\0\n\0",
                "the heading of column 1 holds a NUL character",
            ),
        ] {
            let error = records(content, &Format::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data);
            assert!(error.message().starts_with(message), "{error}");
            assert!(error.to_string().contains("file: a.csv"), "{error}");
        }
    }

    #[test]
    fn a_file_that_ends_within_quotes_is_not_whole() {
        for (content, line) in [
            ("a,b\n1,\"x", 2),
            ("a,b\n1,\"x\n", 2),
            ("a,b\n1,2\n\"3\n\",\"", 4),
            ("a,b\n1,\"x\"\"", 2),
            ("a,\"b", 1),
        ] {
            let error = records(content.as_bytes(), &Format::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Incomplete, "{content:?}");
            let suffix = format!("(file: a.csv, line: {line})");
            assert!(error.to_string().ends_with(&suffix), "{content:?}: {error}");
        }
        let raw = Format {
            quoting: Quoting::Raw,
            ..Format::default()
        };
        assert_eq!(records(b"a,b\n1,\"x", &raw).unwrap()[1], ["1", "\"x"]);
    }

    proptest! {
        /// The parser decides whether a quote is open, [`Lines`] where; they agree on whether.
        #[test]
        fn an_open_quote_is_never_without_a_line(body in "[\",x\n]{0,16}") {
            let (_folder, file) = file("a.csv", format!("a,b\n{body}").as_bytes());
            let format = Format { delimiter: Some(Delimiter::COMMA), ..Format::default() };
            let mut table = Table::open(&file, &format).unwrap();
            let (open, start) = loop {
                let start = table.records.position();
                match table.advance() {
                    Ok(true) => {}
                    Ok(false) => break (false, start),
                    Err(_) => break (true, start),
                }
            };
            let lines = table.count_lines().unwrap().of_open_quote(start, b',', MAX_ROW);
            prop_assert_eq!(lines.unwrap().is_some(), open);
        }
    }

    #[test]
    fn a_quote_that_swallows_the_file_is_found_early() {
        let rows = "1,2\n".repeat(5 << 20);
        let content = format!("a,b\n1,2\n1,\"2\n{rows}");
        let error = records(content.as_bytes(), &Format::default()).unwrap_err();
        assert!(
            error.message().starts_with("the row is over 16 MiB"),
            "{error}"
        );
        assert!(error.to_string().ends_with("line: 3)"), "{error}");
    }

    #[test]
    fn malformed_utf_16_is_named_with_its_line() {
        let mut content: Vec<u8> = "\u{feff}a,b\r\n1,2\r\n3,4\r\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        content.truncate(content.len() - 7);
        let error = records(&content, &Format::default()).unwrap_err();
        assert!(
            error.message().contains("not utf-16le throughout"),
            "{error}"
        );
        assert!(error.to_string().ends_with("line: 3)"), "{error}");
    }

    #[test]
    fn lines_are_those_an_editor_shows() {
        for ends in ["\n", "\r\n", "\r"] {
            let content = ["a,b", "1,2", "\"x", "y\",3", "", "4,5"].join(ends);
            let (_folder, file) = file("a.csv", content.as_bytes());
            let format = Format::default();
            let mut table = Table::open(&file, &format).unwrap();
            let mut lines = Vec::new();
            while table.advance().unwrap() {
                lines.push(table.line().unwrap());
            }
            assert_eq!(lines, [2, 3, 6], "{ends:?}");
        }
    }

    #[test]
    fn a_tsv_file_is_not_sniffed() {
        let (_folder, file) = file("A.TSV", b"a,b,c\td\n1,2,3\t4\n");
        let format = Format::default();
        let table = Table::open(&file, &format).unwrap();
        assert_eq!(table.columns(), ["a,b,c", "d"]);
    }
}
