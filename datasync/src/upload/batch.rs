//! Batches of change events: a header and a line an event, NDJSON, compressed with zstd.

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufRead, BufReader, Read},
    sync::Arc,
};

use connector_core::{Change, ChangeEvent, CycleId, DatasetId, Digest, JsonCells, Row, Schema};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version of the form of a batch.
const VERSION: u32 = 1;

/// How well batches are compressed: beyond this, time grows faster than what is saved.
const LEVEL: i32 = 3;

/// The largest window that a batch may ask its reader to keep, as a power of two: 8 MiB, which RFC
/// 8878, 3.1.1.1.2 recommends to support and all levels up to 19 stay within.
const WINDOW_LOG: u32 = 23;

/// The first line of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// The version of the form.
    #[serde(rename = "datasync")]
    version: u32,
    connector: String,
    dataset: String,
    pub(crate) cycle: CycleId,
    /// The place of the first event within the cycle; the others follow without gaps.
    pub(crate) seq: u64,
    /// How many events follow.
    pub(crate) events: u64,
    /// The columns of the rows; none in a batch without rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Arc<Schema>>,
}

impl Header {
    /// The data set.
    pub(crate) fn dataset(&self) -> DatasetId {
        DatasetId::new(&self.connector, &self.dataset)
    }
}

/// An event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    op: Op,
    #[serde(default, borrow)]
    before: Option<&'a RawValue>,
    #[serde(default, borrow)]
    after: Option<&'a RawValue>,
    #[serde(default)]
    rows: Option<u64>,
    #[serde(default)]
    digest: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Truncate,
    Insert,
    Update,
    Delete,
    SnapshotComplete,
}

/// A batch that is being filled.
pub(crate) struct BatchWriter {
    header: Header,
    cells: Option<JsonCells>,
    lines: Vec<u8>,
}

impl BatchWriter {
    /// Begins a batch with the event that is then pushed first.
    pub(crate) fn new(event: &ChangeEvent) -> Self {
        Self {
            header: Header {
                version: VERSION,
                connector: event.dataset.connector().to_owned(),
                dataset: event.dataset.dataset().to_owned(),
                cycle: event.cycle,
                seq: event.seq,
                events: 0,
                schema: None,
            },
            cells: None,
            lines: Vec::new(),
        }
    }

    /// The place of its first event.
    pub(crate) fn seq(&self) -> u64 {
        self.header.seq
    }

    /// The place of the event behind its last one.
    pub(crate) fn next_seq(&self) -> u64 {
        self.header.seq + self.header.events
    }

    /// Adds the next event, or tells that it does not belong to this batch: its row has other
    /// columns, or the batch would grow over so many bytes.
    pub(crate) fn push(&mut self, event: &ChangeEvent, largest: usize) -> bool {
        if !self.adopt(&event.change) {
            return false;
        }
        let start = self.lines.len();
        self.line(&event.change);
        if start > 0 && self.lines.len() > largest {
            self.lines.truncate(start);
            return false;
        }
        self.header.events += 1;
        true
    }

    /// Takes the columns of the event's row, if that has no others than the ones before.
    fn adopt(&mut self, change: &Change) -> bool {
        let schema = match change {
            Change::Truncate { schema } => schema,
            Change::Insert { after } | Change::Update { after, .. } => after.schema(),
            Change::Delete { before } => before.record_schema(),
            Change::SnapshotComplete { .. } => return true,
        };
        if let Some(known) = &self.cells {
            Arc::ptr_eq(known.schema(), schema) || known.schema() == schema
        } else {
            self.cells = Some(JsonCells::new(schema));
            self.header.schema = Some(Arc::clone(schema));
            true
        }
    }

    fn line(&mut self, change: &Change) {
        let out = &mut self.lines;
        let row = |name: &str, row: &Row, out: &mut Vec<u8>| {
            out.extend_from_slice(name.as_bytes());
            if let Some(cells) = &self.cells {
                cells.write(row, out);
            }
        };
        let digest = |name: &str, row: &Row, out: &mut Vec<u8>| {
            out.extend_from_slice(name.as_bytes());
            if let Some(cells) = &self.cells {
                cells.write_digest(row, out);
            }
        };
        match change {
            Change::Truncate { .. } => out.extend_from_slice(br#"{"op":"truncate""#),
            Change::Insert { after } => row(r#"{"op":"insert","after":"#, after, out),
            Change::Update { before, after } => {
                digest(r#"{"op":"update","before":"#, before, out);
                row(r#","after":"#, after, out);
            }
            Change::Delete { before } => digest(r#"{"op":"delete","before":"#, before, out),
            Change::SnapshotComplete { rows, digest } => {
                let text =
                    format!(r#"{{"op":"snapshot_complete","rows":{rows},"digest":"{digest}""#);
                out.extend_from_slice(text.as_bytes());
            }
        }
        out.extend_from_slice(b"}\n");
    }

    /// Returns the batch as it is sent. Takes some milliseconds a megabyte.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        let mut out = zstd::Encoder::new(Vec::with_capacity(self.lines.len() / 4), LEVEL)?;
        // Of what lies in a spool, so that a damaged file is found.
        out.include_checksum(true)?;
        let mut header = serde_json::to_vec(&self.header)?;
        header.push(b'\n');
        io::Write::write_all(&mut out, &header)?;
        io::Write::write_all(&mut out, &self.lines)?;
        out.finish()
    }
}

/// What is wrong with a batch. Shows no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BatchError {
    /// It is longer than allowed, in bytes, decompressed.
    TooLarge(u64),
    /// It can't be read: at which line, and why.
    Malformed(u64, Cow<'static, str>),
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(most) => write!(f, "a batch has more than {most} bytes"),
            Self::Malformed(line, what) => write!(f, "line {line}: {what}"),
        }
    }
}

impl std::error::Error for BatchError {}

/// Reads a batch of at most so many bytes, decompressed, and hands over its events one after the
/// other. Nothing is kept of what was handed over.
///
/// What is read is what was written: a row that could be read in two ways is refused.
pub(crate) fn read_batch(
    compressed: &[u8],
    most: u64,
    mut each: impl FnMut(ChangeEvent),
) -> Result<Header, BatchError> {
    let mut lines = Lines::open(compressed, most)?;
    let header = lines.header()?;
    let dataset = header.dataset();
    let cells = header.schema.as_ref().map(JsonCells::new);
    for number in 0..header.events {
        let Some(line) = lines.next()? else {
            return Err(lines.wrong("the batch has fewer events than its header says"));
        };
        let change = match read_line(line, header.schema.as_ref(), cells.as_ref()) {
            Ok(change) => change,
            Err(what) => return Err(BatchError::Malformed(lines.number, what)),
        };
        each(ChangeEvent {
            dataset: dataset.clone(),
            cycle: header.cycle,
            seq: header.seq + number,
            change,
        });
    }
    match lines.next()? {
        None => Ok(header),
        Some(_) => Err(lines.wrong("the batch has more events than its header says")),
    }
}

fn read_line(
    line: &str,
    schema: Option<&Arc<Schema>>,
    cells: Option<&JsonCells>,
) -> Result<Change, Cow<'static, str>> {
    const NO_EVENT: &str = "not an event";
    const NO_SCHEMA: &str = "an event with a row in a batch without a schema";
    // The parser's own words may show a value.
    let line: Line<'_> = serde_json::from_str(line).map_err(|_| NO_EVENT)?;
    let cells = || cells.ok_or(NO_SCHEMA);
    let row = |json: &RawValue| {
        let read = cells()?.read(json.get());
        read.map_err(|error| Cow::from(error.to_string()))
    };
    let digest = |json: &RawValue| {
        let read = cells()?.read_digest(json.get());
        read.map_err(|error| Cow::from(error.to_string()))
    };
    Ok(match line {
        Line {
            op: Op::Truncate,
            before: None,
            after: None,
            rows: None,
            digest: None,
        } => Change::Truncate {
            schema: Arc::clone(schema.ok_or(NO_SCHEMA)?),
        },
        Line {
            op: Op::Insert,
            before: None,
            after: Some(after),
            rows: None,
            digest: None,
        } => Change::Insert { after: row(after)? },
        Line {
            op: Op::Update,
            before: Some(before),
            after: Some(after),
            rows: None,
            digest: None,
        } => {
            let (before, after) = (digest(before)?, row(after)?);
            if before.key() != after.key() {
                return Err("an update of a row under another key".into());
            }
            Change::Update { before, after }
        }
        Line {
            op: Op::Delete,
            before: Some(before),
            after: None,
            rows: None,
            digest: None,
        } => Change::Delete {
            before: digest(before)?,
        },
        Line {
            op: Op::SnapshotComplete,
            before: None,
            after: None,
            rows: Some(rows),
            digest: Some(digest),
        } => Change::SnapshotComplete { rows, digest },
        _ => return Err(NO_EVENT.into()),
    })
}

/// The lines of a batch, of which no more is decompressed than allowed.
struct Lines<'a> {
    text: BufReader<io::Take<zstd::Decoder<'a, &'a [u8]>>>,
    line: Vec<u8>,
    number: u64,
    most: u64,
}

impl<'a> Lines<'a> {
    fn open(compressed: &'a [u8], most: u64) -> Result<Self, BatchError> {
        let open = || {
            let mut decoder = zstd::Decoder::with_buffer(compressed)?;
            decoder.window_log_max(WINDOW_LOG)?;
            // One frame is one batch; what follows it is no part of it and found below.
            Ok(decoder.single_frame())
        };
        let decoder = open().map_err(|_: io::Error| NOT_ZSTD)?;
        Ok(Self {
            // One more, so that more can be told from as much.
            text: BufReader::with_capacity(64 << 10, decoder.take(most.saturating_add(1))),
            line: Vec::new(),
            number: 0,
            most,
        })
    }

    fn wrong(&self, what: &'static str) -> BatchError {
        BatchError::Malformed(self.number, what.into())
    }

    fn header(&mut self) -> Result<Header, BatchError> {
        let Some(line) = self.next()? else {
            return Err(self.wrong("the batch is empty"));
        };
        let header: Result<Header, _> = serde_json::from_str(line);
        match header {
            Ok(header) if header.version != VERSION => {
                Err(self.wrong("the batch is of another version; this receiver knows 1"))
            }
            Ok(header) if header.seq == 0 || header.seq.checked_add(header.events).is_none() => {
                Err(self.wrong("events are counted from 1"))
            }
            Ok(header) if header.events == 0 => Err(self.wrong("the batch has no events")),
            Ok(header) if header.schema.as_deref().is_some_and(is_reserved) => {
                Err(self.wrong("a column's name begins with a zero"))
            }
            Ok(header) => Ok(header),
            Err(error) => Err(BatchError::Malformed(
                self.number,
                // A header holds no values.
                format!("not the header of a batch: {error}").into(),
            )),
        }
    }

    /// Returns the next line without its end; none after the last.
    fn next(&mut self) -> Result<Option<&str>, BatchError> {
        self.line.clear();
        self.number += 1;
        let read = self.text.read_until(b'\n', &mut self.line);
        if self.text.get_ref().limit() == 0 {
            return Err(BatchError::TooLarge(self.most));
        }
        match read {
            Err(_) => Err(NOT_ZSTD),
            Ok(0) if !self.text.get_ref().get_ref().get_ref().is_empty() => {
                Err(self.wrong("something follows the compressed batch"))
            }
            Ok(0) => Ok(None),
            Ok(_) if self.line.pop() != Some(b'\n') => Err(self.wrong("the last line has no end")),
            Ok(_) => match std::str::from_utf8(&self.line) {
                Ok(line) => Ok(Some(line)),
                Err(_) => Err(BatchError::Malformed(self.number, "not UTF-8".into())),
            },
        }
    }
}

/// Such names are this program's own.
pub(crate) fn is_reserved(schema: &Schema) -> bool {
    let mut columns = schema.columns().iter();
    columns.any(|column| column.name().starts_with('\0'))
}

const NOT_ZSTD: BatchError = BatchError::Malformed(
    0,
    Cow::Borrowed("not compressed with zstd, cut, damaged, or with a window over 8 MiB"),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sink::testing::{self, Source, all_types};

    const MOST: u64 = 1 << 20;

    fn batches(events: &[ChangeEvent], largest: usize) -> Vec<Vec<u8>> {
        let mut batches = Vec::new();
        let mut open: Option<BatchWriter> = None;
        for event in events {
            if open.as_mut().is_some_and(|open| open.push(event, largest)) {
                continue;
            }
            batches.extend(open.take().map(|full| full.finish().unwrap()));
            let mut next = BatchWriter::new(event);
            assert!(next.push(event, largest), "an empty batch takes any event");
            open = Some(next);
        }
        batches.extend(open.map(|last| last.finish().unwrap()));
        batches
    }

    fn read(batch: &[u8]) -> Result<Vec<ChangeEvent>, BatchError> {
        let mut events = Vec::new();
        read_batch(batch, MOST, |event| events.push(event))?;
        Ok(events)
    }

    fn compressed(text: &str) -> Vec<u8> {
        zstd::encode_all(text.as_bytes(), 1).unwrap()
    }

    /// What a repository needs of an event.
    fn essence(event: &ChangeEvent) -> ChangeEvent {
        let digest = |row: &Row| {
            let cells = JsonCells::new(row.record_schema());
            let mut json = Vec::new();
            cells.write_digest(row, &mut json);
            cells
                .read_digest(std::str::from_utf8(&json).unwrap())
                .unwrap()
        };
        let mut event = event.clone();
        match &mut event.change {
            Change::Update { before, .. } | Change::Delete { before } => *before = digest(before),
            _ => {}
        }
        event
    }

    fn rows() -> impl Strategy<Value = Vec<Vec<connector_core::Value<'static>>>> {
        prop::collection::vec(testing::values(&all_types()), 0..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn what_is_read_is_what_was_written(
            old in rows(),
            new in rows(),
            kept in 0..4_usize,
            largest in 1..4000_usize,
        ) {
            let mut source = Source::new("hr", "every type", all_types());
            let row = |source: &Source, values: &Vec<_>| source.row(values);
            let first: Vec<Row> = old.iter().map(|v| row(&source, v)).collect();
            let mut second: Vec<Row> = new.iter().map(|v| row(&source, v)).collect();
            second.extend(first.iter().take(kept).cloned());
            // One whose key stays.
            if let (Some(from), Some(to)) = (old.first(), new.first()) {
                let half = from.len() / 2;
                let values: Vec<_> = from[..half].iter().chain(&to[half..]).cloned().collect();
                second.push(row(&source, &values));
            }
            for (_, events) in [source.full(first), source.change(second)] {
                let batches = batches(&events, largest);
                let mut back = Vec::new();
                for batch in &batches {
                    back.extend(read(batch).unwrap());
                }
                let expected: Vec<_> = events.iter().map(essence).collect();
                prop_assert_eq!(back, expected);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let text = String::from_utf8_lossy(&bytes);
            let _ = read(&compressed(&format!("{HEADER}{text}\n")));
        }
    }

    const HEADER: &str = concat!(
        r#"{"datasync":1,"connector":"hr","dataset":"devices","cycle":"2026-11-21T03:08:00Z.2","#,
        r#""seq":5,"events":1,"schema":{"columns":[{"name":"name","type":"text","key":true},"#,
        r#"{"name":"cores","type":"int","nullable":true}]}}"#,
        "\n"
    );

    #[test]
    fn the_form_is_as_documented() {
        let mut source = Source::devices("hr");
        let (_, events) = source.full(vec![source.device("PC-1", 4)]);
        let mut batch = BatchWriter::new(&events[0]);
        for event in &events {
            assert!(batch.push(event, 4096));
        }
        let text = zstd::decode_all(batch.finish().unwrap().as_slice()).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].starts_with(
                r#"{"datasync":1,"connector":"hr","dataset":"devices","cycle":"2026-11-21T03:08:01Z.1.full","seq":1,"events":3,"schema":{"columns":[{"name":"name","type":"text""#
            ),
            "{text}"
        );
        assert_eq!(lines[1], r#"{"op":"truncate"}"#);
        assert_eq!(lines[2], r#"{"op":"insert","after":["PC-1",4]}"#);
        assert!(
            lines[3].starts_with(r#"{"op":"snapshot_complete","rows":1,"digest":""#),
            "{text}"
        );
    }

    #[test]
    fn rows_of_other_columns_begin_another_batch() {
        let mut one = Source::devices("hr");
        let (_, first) = one.full(vec![one.device("a", 1)]);
        let two = Source::new(
            "hr",
            "devices",
            vec![connector_core::schema::text("name").key()],
        );
        let mut other = first[1].clone();
        other.change = Change::Insert {
            after: two.row(&[connector_core::Value::Text("b".into())]),
        };
        let mut batch = BatchWriter::new(&first[1]);
        assert!(batch.push(&first[1], 4096));
        assert!(!batch.push(&other, 4096));
        assert_eq!(read(&batch.finish().unwrap()).unwrap(), first[1..2]);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_and_never_shown() {
        for (lines, why) in [
            (
                r#"{"op":"insert","after":["S3CRET"]}"#,
                "line 2: 1 values for 2 columns",
            ),
            (
                r#"{"op":"insert","after":["S3CRET","4"]}"#,
                "line 2: the column is int, the value is not in the JSON form of that type (column: cores",
            ),
            (r#"{"op":"insert"}"#, "line 2: not an event"),
            (r#"{"op":"delete","before":["S3CRET"]}"#, "line 2: 1 values"),
            (
                r#"{"op":"update","before":["a","0000000000000000"],"after":["b",1]}"#,
                "line 2: an update of a row under another key",
            ),
            (r#"{"op":"truncate","rows":1}"#, "line 2: not an event"),
            (r#"{"op":"S3CRET"}"#, "line 2: not an event"),
            (
                "{\"op\":\"truncate\"}\n{\"op\":\"truncate\"}",
                "line 3: the batch has more events than its header says",
            ),
        ] {
            let error = read(&compressed(&format!("{HEADER}{lines}\n"))).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with(why), "{lines}: {error}");
            assert!(!error.contains("S3CRET"), "{error}");
        }
        let wrong = |text: &str| read(&compressed(text)).unwrap_err().to_string();
        assert!(wrong("").contains("empty"));
        assert!(wrong(HEADER).contains("fewer events"));
        assert!(wrong(&HEADER.replace(":1,\"conn", ":2,\"conn")).contains("another version"));
        assert!(wrong(&HEADER.replace("\"seq\":5", "\"seq\":0")).contains("from 1"));
        assert!(wrong(&HEADER.replace("hr\"", "hr\",\"more\":1")).contains("not the header"));
        assert!(wrong(&format!("{HEADER}{{\"op\":\"truncate\"}}")).contains("no end"));
    }

    #[test]
    fn what_is_cut_damaged_or_followed_by_more_is_refused() {
        let whole = compressed(&format!("{HEADER}{{\"op\":\"truncate\"}}\n"));
        assert_eq!(read(&whole).unwrap().len(), 1);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut} bytes");
        }
        for more in [&b"x"[..], &whole] {
            let error = read(&[&whole, more].concat()).unwrap_err().to_string();
            assert!(error.contains("follows"), "{error}");
        }
        let mut source = Source::devices("hr");
        let (_, events) = source.full(vec![source.device("PC-1", 4)]);
        let sent = batches(&events, 4096).remove(0);
        for place in 0..sent.len() {
            let mut damaged = sent.clone();
            damaged[place] ^= 0x10;
            if let Ok(read) = read(&damaged) {
                // A bit that the format keeps for later.
                assert_eq!(read, events, "byte {place}");
            }
        }
    }

    #[test]
    fn a_bomb_is_not_decompressed() {
        let zeros = vec![b' '; 1 << 28];
        let bomb = zstd::encode_all(&zeros[..], 1).unwrap();
        assert!(bomb.len() < 64 << 10);
        assert_eq!(read(&bomb), Err(BatchError::TooLarge(MOST)));
        let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
        wide.window_log(27).unwrap();
        io::Write::write_all(&mut wide, &zeros).unwrap();
        assert_eq!(read(&wide.finish().unwrap()), Err(NOT_ZSTD));
        let exact = format!("{HEADER}{{\"op\":\"truncate\"}}\n");
        let batch = compressed(&exact);
        let most = exact.len() as u64;
        assert!(read_batch(&batch, most, drop).is_ok());
        assert_eq!(
            read_batch(&batch, most - 1, drop).unwrap_err(),
            BatchError::TooLarge(most - 1)
        );
    }
}
