//! A CSV file into rows, as it arrives.

use std::sync::Arc;

use connector_core::{Batch, Error, ErrorKind, Result, Schema, Value};
use memchr::memchr;
use wide::u8x16;

use super::{
    cell::{self, Misfit},
    reply::Reply,
};

const STEP: usize = 16;

/// A record is not longer; a quote that nobody closes is, and would take the file into memory.
const RECORD_BYTES: usize = 16 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What a CSV file was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CsvFacts {
    /// How many rows were written.
    pub rows: u64,
    /// Headers that no column is read from.
    pub ignored: Vec<String>,
    /// Names of optional columns that the file has no header for; they are null in every row.
    pub missing: Vec<&'static str>,
    /// How many cells had bytes that are not UTF-8, each of which became U+FFFD. In a column of the
    /// key that is an error.
    pub replaced: u64,
}

/// Turns a CSV file into rows, as a [`Reply`] declares them, chunk by chunk.
///
/// A column's path is its header; columns may stand in any order, and others than the declared ones
/// are passed over. An empty cell is null in a column that can be, and lines may end in any way
/// (RFC 4180; quotes as the `csv` crate takes them, save that one must be closed).
///
/// ```
/// use std::sync::Arc;
/// use connector_http::connector_core::Batch;
/// use connector_http::decode::{CsvDecoder, Reply, int, text};
///
/// const INSTALLS: Reply = Reply {
///     name: "installs",
///     columns: &[
///         text("app", "ApplicationKey").key(),
///         text("device", "DeviceId").key(),
///         text("version", "ApplicationVersion").null(),
///     ],
///     ..Reply::NEW
/// }
/// .checked();
///
/// let mut decoder = CsvDecoder::new(&INSTALLS)?;
/// let mut rows = Batch::new(Arc::clone(decoder.schema()));
/// decoder.push(b"DeviceId,Applicati", &mut rows)?;
/// decoder.push(b"onVersion,ApplicationKey\r\nd1,,\"a\"\r\n", &mut rows)?;
/// let facts = decoder.finish(&mut rows)?;
/// assert_eq!((facts.rows, rows.len()), (1, 1));
/// # let _ = int("", "");
/// # Ok::<(), connector_http::connector_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CsvDecoder {
    reply: &'static Reply<'static>,
    schema: Arc<Schema>,
    /// Where each column's cell stands in a record; nothing before the header was read.
    sources: Option<Vec<Source>>,
    headers: usize,
    given: Vec<Value<'static>>,
    buffer: Vec<u8>,
    /// How much must be there before another look at an unfinished record is worth it.
    worth: usize,
    /// Where the buffer begins in the file.
    offset: u64,
    record: Record,
    facts: CsvFacts,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Header(usize),
    Given(usize),
    Missing,
}

impl CsvDecoder {
    /// Prepares for a file of that declaration.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] when the declaration is wrong, which one that was
    /// [checked](Reply::checked) is not.
    pub fn new(reply: &'static Reply<'static>) -> Result<Self> {
        let given = reply.columns.iter().filter(|column| column.given).count();
        Ok(Self {
            reply,
            schema: Arc::new(reply.schema()?),
            sources: None,
            headers: 0,
            given: vec![Value::Null; given],
            buffer: Vec::new(),
            worth: 0,
            offset: 0,
            record: Record::default(),
            facts: CsvFacts::default(),
        })
    }

    /// Returns the columns of the rows.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    pub(crate) fn reply(&self) -> &'static Reply<'static> {
        self.reply
    }

    /// Sets the value of a column that is [given](super::given).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when there is no such column.
    pub fn give(&mut self, column: &str, value: Value<'static>) -> Result<()> {
        *self.reply.given_place(column, &mut self.given)? = value;
        Ok(())
    }

    /// Takes the next bytes of the file and writes the rows that are whole with them.
    ///
    /// # Errors
    ///
    /// All name the data set, and where there is one, the column, the row's number (from 1, without
    /// the header) and the byte of the file where its record begins. [`ErrorKind::Data`] when a
    /// header is missing or repeated, a record has more or fewer cells than the header or is over
    /// 16 MiB, or a value is missing or does not fit its column; [`ErrorKind::Unexpected`] when
    /// `rows` has other columns.
    pub fn push(&mut self, chunk: &[u8], rows: &mut Batch) -> Result<()> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() < self.worth.max(BYTE_ORDER_MARK.len()) {
            return Ok(());
        }
        self.take(false, rows)
    }

    /// Ends the file, writes its last row if there is no line's end behind it, and says what the
    /// file was.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push); and [`ErrorKind::Incomplete`] when there was no header, or a quote
    /// was left open.
    pub fn finish(mut self, rows: &mut Batch) -> Result<CsvFacts> {
        self.take(true, rows)?;
        if self.sources.is_none() {
            return Err(self.error(ErrorKind::Incomplete, "the file has no header"));
        }
        Ok(self.facts)
    }

    fn take(&mut self, is_last: bool, rows: &mut Batch) -> Result<()> {
        if rows.schema() != &self.schema {
            return Err(self.error(ErrorKind::Unexpected, "a batch of other columns was given"));
        }
        let buffer = std::mem::take(&mut self.buffer);
        let mut from = 0;
        if self.offset == 0 && buffer.starts_with(BYTE_ORDER_MARK) {
            from = BYTE_ORDER_MARK.len();
        }
        let taken = self.take_from(&buffer, &mut from, is_last, rows);
        self.buffer = buffer;
        self.buffer.drain(..from);
        self.offset += from as u64;
        let left = self.buffer.len();
        self.worth = left * 2;
        taken?;
        if left > RECORD_BYTES {
            let error = self.error(
                ErrorKind::Data,
                "a record is over 16 MiB: is a quote left open?",
            );
            return Err(self.located(error, 0));
        }
        Ok(())
    }

    fn take_from(
        &mut self,
        buffer: &[u8],
        from: &mut usize,
        is_last: bool,
        rows: &mut Batch,
    ) -> Result<()> {
        loop {
            match self.record.read(buffer, *from, is_last) {
                Found::Record(end) => {
                    self.write(&buffer[*from..end], *from, rows)?;
                    *from = end;
                }
                Found::Empty(end) => *from = end,
                Found::Cut if is_last && *from < buffer.len() => {
                    let error = self.error(
                        ErrorKind::Incomplete,
                        "the file was cut short: a quote is left open",
                    );
                    return Err(self.located(error, *from));
                }
                Found::Cut => return Ok(()),
            }
        }
    }

    /// Takes a record, which begins at a byte of the buffer.
    fn write(&mut self, bytes: &[u8], from: usize, rows: &mut Batch) -> Result<()> {
        let Some(sources) = &self.sources else {
            return self.read_header(bytes, from);
        };
        let record = &self.record;
        if record.cells.len() != self.headers {
            let message = format!(
                "the record has {} cells, the header {}",
                record.cells.len(),
                self.headers
            );
            self.facts.rows += 1;
            return Err(self.located(self.error(ErrorKind::Data, message), from));
        }
        let text = std::str::from_utf8(bytes).ok();
        let mut row = rows.row();
        let mut replaced = 0;
        for (column, source) in self.reply.columns.iter().zip(sources) {
            let written = match *source {
                Source::Header(place) => {
                    let cell = record.cell(place, bytes, text);
                    match cell {
                        Ok("") if column.nullable => {
                            row.null();
                            Ok(())
                        }
                        Ok(text) => cell::write_text(&mut row, column, text),
                        Err(_) if column.key => Err(Misfit::Encoding),
                        Err(bytes) => {
                            replaced += 1;
                            cell::write_text(&mut row, column, &String::from_utf8_lossy(bytes))
                        }
                    }
                }
                Source::Given(place) => cell::write_given(&mut row, column, &self.given[place]),
                Source::Missing => cell::null(&mut row, column, Misfit::Missing),
            };
            if let Err(misfit) = written {
                self.facts.rows += 1;
                let error = self.error(ErrorKind::Data, misfit.message(column.ty));
                return Err(self.located(error.with("column", column.name), from));
            }
        }
        self.facts.rows += 1;
        self.facts.replaced += replaced;
        row.end().map_err(|error| {
            // It names the column and a row of its own counting.
            let mut named = self.error(error.kind(), error.message());
            if let Some((name, column)) = error.context().find(|(name, _)| *name == "column") {
                named = named.with(name, column);
            }
            self.located(named, from)
        })
    }

    fn read_header(&mut self, bytes: &[u8], from: usize) -> Result<()> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            let error = self.error(ErrorKind::Data, "the header is not UTF-8");
            return Err(error.with("byte", self.offset + from as u64));
        };
        let cells = 0..self.record.cells.len();
        let headers: Vec<&str> = cells
            .map(|place| {
                self.record
                    .cell(place, bytes, Some(text))
                    .unwrap_or_default()
                    .trim()
            })
            .collect();
        let find = |header: &str| -> Result<Option<usize>> {
            let mut found = (0..headers.len()).filter(|place| headers[*place] == header);
            let first = found.next();
            if found.next().is_some() {
                let error = self.error(ErrorKind::Data, "the file has a header twice");
                return Err(error.with("header", header));
            }
            Ok(first)
        };
        let (mut sources, mut given, mut missing) = (Vec::new(), 0, Vec::new());
        let mut optional = Vec::new();
        for column in self.reply.columns {
            if column.given {
                sources.push(Source::Given(given));
                given += 1;
                continue;
            }
            let mut place = find(column.path)?;
            for instead in column.instead.into_iter().flatten() {
                if place.is_none() {
                    place = find(instead)?;
                }
            }
            sources.push(place.map_or(Source::Missing, Source::Header));
            if place.is_none() && column.optional {
                optional.push(column.name);
            } else if place.is_none() {
                missing.push(column.path);
            }
        }
        if !missing.is_empty() {
            let error = self.error(ErrorKind::Data, "the file lacks headers that are needed");
            return Err(error.with("headers", missing.join(", ")));
        }
        let used = |place: usize| {
            sources
                .iter()
                .any(|source| matches!(source, Source::Header(used) if *used == place))
        };
        let ignored = headers
            .iter()
            .enumerate()
            .filter(|(place, _)| !used(*place));
        let ignored = ignored.map(|(_, header)| (*header).to_owned()).collect();
        self.headers = headers.len();
        self.facts.ignored = ignored;
        self.facts.missing = optional;
        self.sources = Some(sources);
        Ok(())
    }

    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, message).with("data set", self.reply.name)
    }

    /// Says where a record stands that begins at a byte of the buffer.
    fn located(&self, error: Error, from: usize) -> Error {
        error
            .with("row", self.facts.rows)
            .with("byte", self.offset + from as u64)
    }
}

impl Reply<'_> {
    /// Returns the place of a column's value among those that are given.
    pub(crate) fn given_place<'a>(
        &self,
        column: &str,
        given: &'a mut [Value<'static>],
    ) -> Result<&'a mut Value<'static>> {
        let columns = self.columns.iter().filter(|column| column.given);
        let mut columns = columns.map(|column| column.name).zip(given);
        match columns.find(|(name, _)| *name == column) {
            Some((_, place)) => Ok(place),
            None => Err(
                Error::new(ErrorKind::Unexpected, "no column is given by that name")
                    .with("data set", self.name)
                    .with("column", column),
            ),
        }
    }
}

/// The cells of one record.
#[derive(Debug, Clone, Default)]
struct Record {
    cells: Vec<Span>,
    /// Cells that are not as they stand in the file: without the quotes that are doubled.
    unquoted: Vec<u8>,
}

/// Where a cell stands in its record, or among those that are unquoted.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    is_unquoted: bool,
}

/// What a look at the buffer found.
enum Found {
    /// A record, which ends before the place.
    Record(usize),
    /// Nothing but the line's end, before the place.
    Empty(usize),
    /// The buffer ends before the record.
    Cut,
}

impl Record {
    /// Returns a cell, or its bytes where they are no text.
    #[inline]
    fn cell<'a>(
        &'a self,
        place: usize,
        record: &'a [u8],
        text: Option<&'a str>,
    ) -> std::result::Result<&'a str, &'a [u8]> {
        let span = self.cells[place];
        let bytes = if span.is_unquoted {
            &self.unquoted[span.start..span.end]
        } else if let Some(cell) = text.and_then(|text| text.get(span.start..span.end)) {
            return Ok(cell);
        } else {
            &record[span.start..span.end]
        };
        std::str::from_utf8(bytes).map_err(|_| bytes)
    }

    /// Takes the record apart that begins at `from`.
    fn read(&mut self, buffer: &[u8], from: usize, is_last: bool) -> Found {
        self.cells.clear();
        self.unquoted.clear();
        let upto = buffer.len();
        if from == upto {
            return Found::Cut;
        }
        let (mut cell, mut at) = (from, from);
        'steps: while at < upto {
            let (mut marks, len) = marks(&buffer[at..]);
            while marks != 0 {
                let place = at + marks.trailing_zeros() as usize;
                marks &= marks - 1;
                match buffer[place] {
                    b',' => {
                        self.push(from, cell, place);
                        cell = place + 1;
                    }
                    b'\n' | b'\r' => {
                        if place == from {
                            return Found::Empty(place + 1);
                        }
                        self.push(from, cell, place);
                        // What is left of a CRLF is an empty line.
                        return Found::Record(place + 1);
                    }
                    b'"' if place == cell => {
                        let Some(end) = self.quoted(buffer, from, place + 1, is_last) else {
                            return Found::Cut;
                        };
                        match buffer.get(end) {
                            Some(b',') => {}
                            Some(_) => return Found::Record(end + 1),
                            None => return Found::Record(end),
                        }
                        (cell, at) = (end + 1, end + 1);
                        continue 'steps;
                    }
                    _ => {}
                }
            }
            at += len;
        }
        if !is_last {
            return Found::Cut;
        }
        self.push(from, cell, upto);
        Found::Record(upto)
    }

    #[inline]
    fn push(&mut self, from: usize, start: usize, end: usize) {
        self.cells.push(Span {
            start: start - from,
            end: end - from,
            is_unquoted: false,
        });
    }

    /// Reads a cell whose opening quote is behind, and returns the place of the comma or line's end
    /// that follows, or of the end of the file. Nothing where it is not known yet, or where the
    /// quote is never closed.
    #[inline]
    fn quoted(&mut self, buffer: &[u8], from: usize, start: usize, is_last: bool) -> Option<usize> {
        let end = start + memchr(b'"', &buffer[start..])?;
        match buffer.get(end + 1) {
            Some(b',' | b'\n' | b'\r') => {}
            None if is_last => {}
            None => return None,
            Some(_) => return self.unquote(buffer, start, is_last),
        }
        self.push(from, start, end);
        Some(end + 1)
    }

    /// The same for a cell with quotes in it, or with text behind them.
    #[cold]
    fn unquote(&mut self, buffer: &[u8], start: usize, is_last: bool) -> Option<usize> {
        let first = self.unquoted.len();
        let mut at = start;
        let end = loop {
            let quote = at + memchr(b'"', &buffer[at..])?;
            self.unquoted.extend_from_slice(&buffer[at..quote]);
            match buffer.get(quote + 1) {
                Some(b'"') => {
                    self.unquoted.push(b'"');
                    at = quote + 2;
                }
                None if !is_last => return None,
                _ => {
                    let rest = &buffer[quote + 1..];
                    let len = rest.iter().position(|b| matches!(b, b',' | b'\n' | b'\r'));
                    let len = match len {
                        Some(len) => len,
                        None if is_last => rest.len(),
                        None => return None,
                    };
                    self.unquoted.extend_from_slice(&rest[..len]);
                    break quote + 1 + len;
                }
            }
        };
        self.cells.push(Span {
            start: first,
            end: self.unquoted.len(),
            is_unquoted: true,
        });
        Some(end)
    }
}

/// Returns which of the next bytes may end a cell or begin one that is quoted, one bit each, the
/// first byte's lowest; and how many bytes those are.
#[inline]
fn marks(bytes: &[u8]) -> (u32, usize) {
    if let Some(step) = bytes.first_chunk::<STEP>() {
        let bytes = u8x16::new(*step);
        let control = bytes.min(u8x16::splat(b'\r')).simd_eq(bytes);
        let marks = bytes.simd_eq(u8x16::splat(b',')) | bytes.simd_eq(u8x16::splat(b'"')) | control;
        return (marks.to_bitmask(), STEP);
    }
    let mut marks = 0;
    for (place, byte) in bytes.iter().enumerate() {
        marks |= u32::from(matches!(byte, b',' | b'"' | b'\n' | b'\r')) << place;
    }
    (marks, bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The records of a text that arrives in chunks, or nothing where a quote is left open.
    fn ours(text: &[u8], chunk: usize) -> Option<Vec<Vec<Vec<u8>>>> {
        let (mut record, mut records, mut from) = (Record::default(), Vec::new(), 0);
        let mut upto = chunk.min(text.len());
        loop {
            match record.read(&text[..upto], from, upto == text.len()) {
                Found::Record(end) => {
                    let bytes = &text[from..end];
                    let cells = (0..record.cells.len())
                        .map(|place| match record.cell(place, bytes, None) {
                            Ok(text) => text.as_bytes().to_vec(),
                            Err(bytes) => bytes.to_vec(),
                        })
                        .collect();
                    records.push(cells);
                    from = end;
                }
                Found::Empty(end) => from = end,
                Found::Cut if upto < text.len() => upto = (upto + chunk).min(text.len()),
                Found::Cut => return (from == text.len()).then_some(records),
            }
        }
    }

    fn theirs(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text)
            .byte_records()
            .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_a_record_is_what_the_csv_crate_has(
            text in "(([a-f]{0,5}|[a-z]{10,40}|\"([a-c,\n]|\"\"){0,12}\"|[a\",\té]{0,6})[,,,\n\r]|\r\n){0,40}[\",a]{0,3}",
            chunk in prop_oneof![1_usize..40, Just(1 << 20)],
        ) {
            // A quote that is left open is an error here, and the crate's last record.
            if let Some(ours) = ours(text.as_bytes(), chunk) {
                prop_assert_eq!(ours, theirs(text.as_bytes()));
            } else {
                prop_assert!(text.contains('"'));
            }
        }
    }
}
