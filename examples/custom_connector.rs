//! Writes a connector of one's own: the environment's `PATH` as an inventory of programs.
//!
//! A data set is its columns as data and one function that writes rows; everything else, from the
//! diff to the delivery, comes with it. A connector crate adds `tests/conformance.rs`, and the kit
//! tests it.

use std::{fs, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use connector_core::{
    Availability, CheckReport, Connector, ConnectorInfo, Cycle, Dataset, DatasetCheck, DatasetInfo,
    Error, ErrorKind, Result, Schema, SnapshotWriter, Store,
    schema::{Declared, int, text},
};

static PROGRAMS: DatasetInfo = DatasetInfo::new("programs", "Software");
const COLUMNS: Declared = Declared::new(&[text("name").key(), int("bytes")]);

/// The programs in one folder.
#[derive(Debug, Clone)]
struct Programs {
    folder: PathBuf,
}

#[async_trait]
impl Dataset for Programs {
    fn info(&self) -> &DatasetInfo {
        &PROGRAMS
    }

    async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        Ok(Arc::new(COLUMNS.into()))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let folder = self.folder.clone();
        // Files block, and the runtime must not.
        out.blocking(move |out| {
            let unreadable = |error| {
                Error::new(ErrorKind::Unavailable, "can't read the folder")
                    .with("folder", folder.display())
                    .with_source(error)
            };
            for entry in fs::read_dir(&folder).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let bytes = entry.metadata().map_err(unreadable)?.len();
                let name = entry.file_name();
                out.row()
                    .text(&name.to_string_lossy())
                    .int(i64::try_from(bytes).unwrap_or(i64::MAX))
                    .end()?;
            }
            Ok(())
        })
        .await
    }
}

#[derive(Debug)]
struct ProgramsConnector {
    info: ConnectorInfo,
    programs: Arc<Programs>,
}

#[async_trait]
impl Connector for ProgramsConnector {
    fn info(&self) -> &ConnectorInfo {
        &self.info
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        Ok(vec![Arc::clone(&self.programs) as Arc<dyn Dataset>])
    }

    async fn check(&self) -> Result<CheckReport> {
        let found = fs::metadata(&self.programs.folder)
            .map(drop)
            .map_err(|error| {
                Error::new(ErrorKind::NotFound, "there is no such folder").with_source(error)
            });
        let check = DatasetCheck {
            name: PROGRAMS.name.to_string(),
            availability: Availability::from_outcome(found),
        };
        Ok(CheckReport {
            facts: Vec::new(),
            datasets: vec![check],
        })
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example prints")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let bin = folder.path().join("bin");
    fs::create_dir(&bin)?;
    fs::write(bin.join("ls"), "1")?;
    fs::write(bin.join("cat"), "22")?;

    let info = ConnectorInfo {
        kind: "programs",
        name: "local".to_owned(),
        version: "1.0.0",
    };
    let programs = Arc::new(Programs {
        folder: bin.clone(),
    });
    let connector = ProgramsConnector { info, programs };
    println!(
        "check: {}",
        connector.check().await?.datasets[0].availability
    );

    let store = Store::open_folder(folder.path().join("state")).await?;
    let cycle = Cycle::new(&store);
    for (change, program) in [("first", "ls"), ("upgraded", "ls"), ("removed", "cat")] {
        match change {
            "upgraded" => fs::write(bin.join(program), "4444")?,
            "removed" => fs::remove_file(bin.join(program))?,
            _ => {}
        }
        for report in cycle.run(&connector).await? {
            println!("{change}: {} rows, {}", report.rows, report.is_ok());
        }
    }
    let mut changes = store
        .changes(&connector_core::DatasetId::new("local", "programs"))
        .await?;
    while let Some(events) = changes.next().await? {
        for event in events {
            println!("{} {}", event.cycle.number(), event.change.kind());
        }
    }
    Ok(())
}
