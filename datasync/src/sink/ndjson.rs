//! Change events as lines of JSON.

use std::{
    collections::HashMap,
    fmt,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use connector_core::{
    Change, ChangeEvent, CycleId, DatasetId, Digest, Error, ErrorKind, Result, Row, Sink,
};
use serde::{Deserialize, Serialize};

use super::blocking::{Worker, blocking};

/// The JSON Schema of a line.
pub const EVENT_SCHEMA: &str = include_str!("../../schema/event.schema.json");

/// So much of a file is looked at in one step while its last whole cycle is sought.
const STEP: u64 = 64 << 10;

/// The last line of a cycle is no longer than this, however long the names in it are.
const LONGEST_END: u64 = 1 << 20;

/// A change event as a line of JSON has it; see [`EVENT_SCHEMA`].
///
/// ```
/// use connector_core::{Change, ChangeEvent, CycleId, DatasetId, Digest};
/// use datasync::EventLine;
///
/// let event = ChangeEvent {
///     dataset: DatasetId::new("hr", "devices"),
///     cycle: CycleId::new(7, "2026-11-21T03:08:00Z".parse().unwrap(), false),
///     seq: 1,
///     change: Change::SnapshotComplete { rows: 0, digest: Digest::default() },
/// };
/// assert_eq!(
///     serde_json::to_string(&EventLine::from(&event)).unwrap(),
///     concat!(
///         r#"{"connector":"hr","dataset":"devices","cycle":"2026-11-21T03:08:00Z.7","seq":1,"#,
///         r#""op":"snapshot_complete","rows":0,"digest":"00000000000000000000000000000000"}"#,
///     ),
/// );
/// ```
#[derive(Serialize)]
pub struct EventLine<'a> {
    connector: &'a str,
    dataset: &'a str,
    cycle: CycleId,
    seq: u64,
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

impl<'a> From<&'a ChangeEvent> for EventLine<'a> {
    fn from(event: &'a ChangeEvent) -> Self {
        let mut line = Self {
            connector: event.dataset.connector(),
            dataset: event.dataset.dataset(),
            cycle: event.cycle,
            seq: event.seq,
            op: event.change.kind(),
            before: None,
            after: None,
            changed: None,
            rows: None,
            digest: None,
        };
        match &event.change {
            Change::Truncate { .. } => {}
            Change::Insert { after } => line.after = Some(after),
            Change::Update { before, after } => {
                line.before = Some(before);
                line.after = Some(after);
                line.changed = Some(event.change.changed());
            }
            Change::Delete { before } => line.before = Some(before),
            Change::SnapshotComplete { rows, digest } => {
                line.rows = Some(*rows);
                line.digest = Some(*digest);
            }
        }
        line
    }
}

/// Values of rows do not belong in logs.
impl fmt::Debug for EventLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (op, cycle, seq) = (self.op, self.cycle, self.seq);
        write!(
            f,
            "EventLine({op} {}/{} {cycle} {seq})",
            self.connector, self.dataset
        )
    }
}

/// Appends change events to a file, or writes them to standard output, a line each.
///
/// Every cycle ends with a line of the kind `snapshot_complete`. When a file is opened, whatever
/// stands behind the last such line belongs to a cycle that was cut off, and is removed; the cycle
/// is delivered again. So a file holds every cycle once. A reader that follows the file while it
/// is written, and every reader of standard output, may see lines of a cycle twice, with the same
/// connector, dataset, cycle and seq.
pub struct NdjsonSink(Worker<Writer>);

impl NdjsonSink {
    /// Opens a file for appending, or makes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`] naming the file.
    pub async fn open(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let writer = blocking(move || Writer::open(path)).await?;
        Ok(Self(Worker::new(writer)))
    }

    /// Writes to standard output.
    pub fn stdout() -> Self {
        Self(Worker::new(Writer::new(Out::Stdout(io::stdout()))))
    }
}

impl fmt::Debug for NdjsonSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NdjsonSink").finish_non_exhaustive()
    }
}

#[async_trait]
impl Sink for NdjsonSink {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        // Rows are shared, not copied.
        let events = events.to_vec();
        self.0.run(move |writer| writer.write(&events)).await
    }

    async fn commit(&mut self, cycle: &CycleId) -> Result<()> {
        let cycle = *cycle;
        self.0.run(move |writer| writer.commit(cycle)).await
    }
}

enum Out {
    Stdout(io::Stdout),
    File {
        path: PathBuf,
        file: BufWriter<File>,
        /// Where the last committed cycle ends.
        end: u64,
    },
}

struct Writer {
    out: Out,
    /// The last cycle of each data set that is known to be written whole.
    committed: HashMap<DatasetId, CycleId>,
    delivery: Option<Delivery>,
}

struct Delivery {
    dataset: DatasetId,
    cycle: CycleId,
    next_seq: u64,
    repeat: bool,
    complete: bool,
}

impl Writer {
    fn new(out: Out) -> Self {
        Self {
            out,
            committed: HashMap::new(),
            delivery: None,
        }
    }

    fn open(path: PathBuf) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Sink, "can't open the file of events")
                .with("file", path.display())
                .with_source(error)
        };
        let mut file = open(&path).map_err(failed)?;
        let (end, last) = last_cycle(&mut file).map_err(failed)?;
        file.set_len(end)
            .and_then(|()| file.seek(SeekFrom::Start(end)))
            .map_err(failed)?;
        let mut writer = Self::new(Out::File {
            path,
            file: BufWriter::with_capacity(256 << 10, file),
            end,
        });
        writer.committed.extend(last);
        Ok(writer)
    }

    fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        let outcome = events.iter().try_for_each(|event| self.take(event));
        if outcome.is_err() {
            self.delivery = None;
        }
        outcome
    }

    fn take(&mut self, event: &ChangeEvent) -> Result<()> {
        if event.seq == 1 {
            self.begin(event)?;
        }
        let Some(delivery) = &mut self.delivery else {
            return Err(refused("an event without a beginning"));
        };
        if event.seq != delivery.next_seq
            || event.cycle != delivery.cycle
            || event.dataset != delivery.dataset
            || delivery.complete
        {
            return Err(refused("an event out of order").with("seq", event.seq));
        }
        delivery.next_seq += 1;
        delivery.complete = matches!(event.change, Change::SnapshotComplete { .. });
        if delivery.repeat {
            return Ok(());
        }
        self.out
            .write_line(event)
            .map_err(|error| self.out.failed(error))
    }

    /// Goes back to the end of the last whole cycle.
    fn begin(&mut self, event: &ChangeEvent) -> Result<()> {
        self.delivery = None;
        self.out.rewind().map_err(|error| self.out.failed(error))?;
        self.delivery = Some(Delivery {
            dataset: event.dataset.clone(),
            cycle: event.cycle,
            next_seq: 1,
            repeat: self.committed.get(&event.dataset) == Some(&event.cycle),
            complete: false,
        });
        Ok(())
    }

    fn commit(&mut self, cycle: CycleId) -> Result<()> {
        let Some(delivery) = self
            .delivery
            .take()
            .filter(|d| d.complete && d.cycle == cycle)
        else {
            return Err(refused("a commit of a cycle that is not complete"));
        };
        // A repeat too: that its lines can be read does not mean that they are durable.
        self.out.sync().map_err(|error| self.out.failed(error))?;
        self.committed.insert(delivery.dataset, cycle);
        Ok(())
    }
}

impl Out {
    fn write_line(&mut self, event: &ChangeEvent) -> io::Result<()> {
        let line = EventLine::from(event);
        match self {
            Self::Stdout(out) => {
                // In one piece, so that a log line never stands in the middle of an event.
                let mut line = serde_json::to_vec(&line)?;
                line.push(b'\n');
                out.write_all(&line)
            }
            Self::File { file, .. } => {
                serde_json::to_writer(&mut *file, &line)?;
                file.write_all(b"\n")
            }
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        let Self::File { path, file, end } = self else {
            return Ok(());
        };
        if file.buffer().is_empty() && file.get_mut().stream_position()? == *end {
            return Ok(());
        }
        // A fresh writer: the old one may hold half of what could not be written.
        let mut fresh = open(path)?;
        fresh.set_len(*end)?;
        fresh.seek(SeekFrom::Start(*end))?;
        let old = std::mem::replace(file, BufWriter::with_capacity(256 << 10, fresh));
        // Taken apart, it does not write on being dropped.
        drop(old.into_parts());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File { file, end, .. } => {
                file.flush()?;
                file.get_mut().sync_data()?;
                *end = file.get_mut().stream_position()?;
                Ok(())
            }
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        let place = match self {
            Self::Stdout(_) => "standard output".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
        };
        Error::new(ErrorKind::Sink, "can't write events")
            .with("file", place)
            .with_source(error)
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Sink, message)
}

/// What the last line of a cycle tells.
#[derive(Deserialize)]
struct End {
    connector: String,
    dataset: String,
    cycle: CycleId,
    op: String,
}

/// Finds where the last whole cycle ends, and which one it is.
fn last_cycle(file: &mut File) -> io::Result<(u64, Option<(DatasetId, CycleId)>)> {
    // The lines are looked at from the last to the first; `line_end` is where the one at hand
    // ends, behind its line break.
    let mut line_end = None;
    let mut at = file.metadata()?.len();
    let mut step = Vec::new();
    while at > 0 {
        let start = at.saturating_sub(STEP);
        step.resize(usize::try_from(at - start).unwrap_or_default(), 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut step)?;
        for place in (0..step.len()).rev().filter(|place| step[*place] == b'\n') {
            let line_start = start + place as u64 + 1;
            if let Some(end) = line_end
                && let Some(last) = read_end(file, line_start, end)?
            {
                return Ok((end, Some(last)));
            }
            line_end = Some(line_start);
        }
        at = start;
    }
    if let Some(end) = line_end
        && let Some(last) = read_end(file, 0, end)?
    {
        return Ok((end, Some(last)));
    }
    Ok((0, None))
}

fn read_end(file: &mut File, start: u64, end: u64) -> io::Result<Option<(DatasetId, CycleId)>> {
    if end - start > LONGEST_END {
        return Ok(None);
    }
    let mut line = vec![0; usize::try_from(end - start).unwrap_or_default()];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut line)?;
    Ok(serde_json::from_slice::<End>(&line)
        .ok()
        .filter(|end| end.op == "snapshot_complete")
        .map(|end| (DatasetId::new(&end.connector, &end.dataset), end.cycle)))
}

#[cfg(test)]
#[path = "ndjson_tests.rs"]
mod tests;
