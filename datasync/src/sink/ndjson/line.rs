//! Change events as text.

use std::fmt;

use connector_core::{Change, ChangeEvent, CycleId, Digest, JsonRows, Row};
use serde::Serialize;

/// The JSON Schema of a line.
pub const EVENT_SCHEMA: &str = include_str!("../../../schema/event.schema.json");

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

/// Events of one cycle on their way to lines: the same bytes as [`EventLine`] serializes to, without
/// rendering again what stands in every line.
pub(in crate::sink) struct Lines {
    /// A line up to its `seq`.
    start: Vec<u8>,
    rows: JsonRows,
    pub(in crate::sink) text: Vec<u8>,
}

impl Lines {
    pub(in crate::sink) fn new(event: &ChangeEvent) -> Self {
        let mut start = b"{\"connector\":".to_vec();
        json(event.dataset.connector(), &mut start);
        start.extend_from_slice(b",\"dataset\":");
        json(event.dataset.dataset(), &mut start);
        start.extend_from_slice(b",\"cycle\":");
        json(&event.cycle, &mut start);
        start.extend_from_slice(b",\"seq\":");
        Self {
            start,
            rows: JsonRows::default(),
            text: Vec::new(),
        }
    }

    pub(in crate::sink) fn push(&mut self, event: &ChangeEvent) {
        let text = &mut self.text;
        text.extend_from_slice(&self.start);
        json(&event.seq, text);
        let mut row = |name: &[u8], row: &Row, text: &mut Vec<u8>| {
            text.extend_from_slice(name);
            self.rows.write(row, text);
        };
        match &event.change {
            Change::Truncate { .. } => text.extend_from_slice(b",\"op\":\"truncate\""),
            Change::Insert { after } => row(b",\"op\":\"insert\",\"after\":", after, text),
            Change::Update { before, after } => {
                row(b",\"op\":\"update\",\"before\":", before, text);
                row(b",\"after\":", after, text);
                text.extend_from_slice(b",\"changed\":");
                json(&event.change.changed(), text);
            }
            Change::Delete { before } => row(b",\"op\":\"delete\",\"before\":", before, text),
            Change::SnapshotComplete { rows, digest } => {
                text.extend_from_slice(b",\"op\":\"snapshot_complete\",\"rows\":");
                json(rows, text);
                text.extend_from_slice(b",\"digest\":");
                json(digest, text);
            }
        }
        text.extend_from_slice(b"}\n");
    }
}

/// Appends what has no row in it. A `Vec` takes everything, and these are texts and numbers.
fn json(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}
