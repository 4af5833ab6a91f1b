//! Consumes a stream that the sink `jetstream` has written: keeps the records of every data set as a
//! table, and proves after each cycle that the table equals the source.
//!
//! ```sh
//! cargo run -p examples --bin jetstream_consumer -- nats://127.0.0.1:4222
//! ```
//!
//! The rules are those of `docs/jetstream.md`: take each event of a cycle once, by its `seq`; apply
//! a cycle as a whole, when its last event is there; take a cycle that continues the one before, or
//! a full one.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use async_nats::jetstream::{self, consumer::pull::OrderedConfig};
use connector_core::{CycleId, Digest, Row, Schema, Value};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Record = Map<String, Json>;

/// An event, as a message has it.
#[derive(Deserialize)]
struct Event {
    connector: String,
    dataset: String,
    cycle: CycleId,
    seq: u64,
    op: String,
    before: Option<Record>,
    after: Option<Record>,
    rows: Option<usize>,
    digest: Option<Digest>,
    /// The columns, from the header of a cycle's first event.
    #[serde(skip)]
    schema: Option<Arc<Schema>>,
}

impl Event {
    fn read(message: &async_nats::Message) -> Result<Self> {
        let mut event: Self = serde_json::from_slice(&message.payload)?;
        let headers = message.headers.as_ref();
        if let Some(schema) = headers.and_then(|headers| headers.get("Inventory-Schema")) {
            event.schema = Some(Arc::new(serde_json::from_str(schema.as_str())?));
        }
        Ok(event)
    }
}

/// The copy of a data set. A database would keep all this, the staged events too, and apply a cycle
/// in one transaction with the position.
#[derive(Default)]
struct Table {
    schema: Option<Arc<Schema>>,
    /// Rows by their key.
    rows: BTreeMap<String, Row>,
    /// The cycle that was applied last.
    position: Option<CycleId>,
    /// Events of cycles that are not complete yet.
    staged: BTreeMap<CycleId, BTreeMap<u64, Event>>,
}

impl Table {
    fn take(&mut self, event: Event) -> Result<()> {
        let (cycle, seq, last) = (event.cycle, event.seq, event.op == "snapshot_complete");
        if self.position == Some(cycle) {
            return Ok(());
        }
        let staged = self.staged.entry(cycle).or_default();
        // Sent again after the server had forgotten it, or out of order: its number tells.
        staged.entry(seq).or_insert(event);
        if !last {
            return Ok(());
        }
        if staged.len() as u64 != seq {
            return Err(format!("events of cycle {cycle} are missing").into());
        }
        let events = self.staged.remove(&cycle).unwrap_or_default();
        let continues = self.position.map(|held| held.number() + 1) == Some(cycle.number());
        if cycle.is_full() || continues {
            for event in events.into_values() {
                self.apply(event)?;
            }
            self.position = Some(cycle);
            // What was begun before is over.
            self.staged.clear();
        }
        Ok(())
    }

    fn apply(&mut self, event: Event) -> Result<()> {
        if let Some(schema) = event.schema {
            for row in self.rows.values_mut() {
                // New columns are null.
                *row = row.recode(&schema)?;
            }
            self.schema = Some(schema);
        }
        let schema = self.schema.clone().ok_or("no event told the columns")?;
        match event.op.as_str() {
            "truncate" => self.rows.clear(),
            "insert" | "update" => {
                let after = event.after.ok_or("an event without its record")?;
                let row = row(&schema, &after)?;
                self.rows.insert(key(&schema, &after), row);
            }
            "delete" => {
                let before = event.before.ok_or("an event without its record")?;
                self.rows.remove(&key(&schema, &before));
            }
            _ => {
                let mut digest = Digest::default();
                for row in self.rows.values() {
                    digest.add(row);
                }
                if event.rows != Some(self.rows.len()) || event.digest != Some(digest) {
                    return Err(format!("after {} the copy is not the source", event.cycle).into());
                }
            }
        }
        Ok(())
    }
}

fn key(schema: &Schema, record: &Record) -> String {
    let cells = schema
        .key()
        .map(|column| record.get(column.name()).cloned());
    cells
        .map(Option::unwrap_or_default)
        .collect::<Json>()
        .to_string()
}

fn row(schema: &Arc<Schema>, record: &Record) -> Result<Row> {
    let mut cells = Vec::new();
    for column in schema.columns() {
        cells.push(match record.get(column.name()) {
            None | Some(Json::Null) => Value::Null,
            Some(Json::String(text)) => column.ty().parse(text)?,
            Some(other) => column.ty().parse(&other.to_string())?.into_owned(),
        });
    }
    Ok(Row::from_values(schema, &cells)?)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example prints")]
async fn main() -> Result<()> {
    let url = std::env::args()
        .nth(1)
        .ok_or("name a server: nats://host:4222")?;
    let context = jetstream::new(async_nats::connect(url).await?);
    let stream = context.get_stream("INVENTORY").await?;
    let mut tables = BTreeMap::<(String, String), Table>::new();
    // From the beginning, in the order of the stream. One that remembers tables and position would
    // go on behind the last message that it has applied.
    let consumer = stream.create_consumer(OrderedConfig::default()).await?;
    let mut left = consumer.cached_info().num_pending;
    let mut messages = consumer.messages().await?;
    while left > 0
        && let Some(message) = messages.next().await
    {
        let message = message?;
        left = message.info()?.pending;
        let event = Event::read(&message.message)?;
        let name = (event.connector.clone(), event.dataset.clone());
        tables.entry(name).or_default().take(event)?;
    }
    for ((connector, dataset), table) in &tables {
        let cycle = table.position.map_or(0, CycleId::number);
        let count = table.rows.len();
        println!("{connector}/{dataset} after cycle {cycle}: {count} records, as at the source");
        for row in table.rows.values() {
            println!("{}", serde_json::to_string(row)?);
        }
    }
    Ok(())
}
