//! Embeds one connector in a program: the first cycle is full, the second carries the difference.

use connector_core::{Cycle, DatasetId, NamedSink, Store, memory::MemorySink};
use connector_fileupload::{FileUpload, FileUploadConfig};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example prints")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    examples::write_devices(folder.path())?;

    let connector = FileUpload::new("hr", FileUploadConfig::new(folder.path()))?;
    let store = Store::open_folder(folder.path().join("state")).await?;
    let copy = MemorySink::default();
    let cycle = Cycle::new(&store).sink(NamedSink::new("copy", copy.clone()));

    for report in cycle.run(&connector).await? {
        println!("{}: {:?}", report.id, report.outcome);
    }
    examples::write_changed_devices(folder.path())?;
    for report in cycle.run(&connector).await? {
        println!("{}: {:?}", report.id, report.outcome);
    }
    for row in copy.rows(&DatasetId::new("hr", "devices")) {
        println!("{}", serde_json::to_string(&row)?);
    }
    Ok(())
}
