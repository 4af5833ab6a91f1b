//! Writes a sink of one's own: it prints what changes, and drops what it has seen before.

use std::collections::HashMap;

use async_trait::async_trait;
use connector_core::{
    Change, ChangeEvent, Cycle, CycleId, DatasetId, NamedSink, Result, Sink, Store,
};
use connector_fileupload::{FileUpload, FileUploadConfig};

/// Prints changes. A real one would keep `committed` where it keeps the records, in one transaction.
#[derive(Default)]
struct Printer {
    committed: HashMap<DatasetId, CycleId>,
    lines: Vec<String>,
    open: Option<DatasetId>,
}

#[async_trait]
impl Sink for Printer {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        for event in events {
            if event.seq == 1 {
                // A cycle begins, perhaps not for the first time.
                self.lines.clear();
                self.open = Some(event.dataset.clone());
            }
            if self.committed.get(&event.dataset) == Some(&event.cycle) {
                continue;
            }
            self.lines.push(match &event.change {
                Change::Truncate { schema } => {
                    format!("truncate, {} columns", schema.columns().len())
                }
                Change::Insert { after } => format!("insert {}", after.at(0)),
                Change::Update { after, .. } => {
                    format!(
                        "update {}: {}",
                        after.at(0),
                        event.change.changed().join(", ")
                    )
                }
                Change::Delete { before } => format!("delete {}", before.at(0)),
                Change::SnapshotComplete { rows, .. } => format!("complete with {rows} records"),
            });
        }
        Ok(())
    }

    #[expect(clippy::print_stdout, reason = "an example prints")]
    async fn commit(&mut self, cycle: &CycleId) -> Result<()> {
        for line in self.lines.drain(..) {
            println!("{}: {line}", cycle.number());
        }
        if let Some(dataset) = self.open.take() {
            self.committed.insert(dataset, *cycle);
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Store::open_folder(folder.path().join("state")).await?;
    let cycle = Cycle::new(&store).sink(NamedSink::new("printer", Printer::default()));

    examples::write_devices(folder.path())?;
    cycle
        .run(&FileUpload::new(
            "hr",
            FileUploadConfig::new(folder.path()),
        )?)
        .await?;
    examples::write_changed_devices(folder.path())?;
    cycle
        .run(&FileUpload::new(
            "hr",
            FileUploadConfig::new(folder.path()),
        )?)
        .await?;
    Ok(())
}
