//! Reads changes as structs of one's own, with serde.

use connector_core::{Change, Cycle, DatasetId, Date, NamedSink, Store, memory::MemorySink};
use connector_fileupload::{DatasetConfig, FileUpload, FileUploadConfig};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Device {
    name: String,
    cores: u16,
    bought: Option<Date>,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example prints")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut config = FileUploadConfig::new(folder.path());
    let mut devices = DatasetConfig::new("devices", "devices.csv");
    devices.key = vec!["name".to_owned()];
    devices
        .types
        .insert("cores".to_owned(), connector_core::Type::Int);
    devices
        .types
        .insert("bought".to_owned(), connector_core::Type::Date);
    config.datasets.push(devices);

    let store = Store::open_folder(folder.path().join("state")).await?;
    let sink = MemorySink::default();
    let cycle = Cycle::new(&store).sink(NamedSink::new("typed", sink.clone()));
    let connector = FileUpload::new("hr", config)?;

    examples::write_devices(folder.path())?;
    cycle.run(&connector).await?;
    sink.take_events();
    examples::write_changed_devices(folder.path())?;
    cycle.run(&connector).await?;

    for event in sink.take_events() {
        match &event.change {
            Change::Insert { after } => {
                let device: Device = after.deserialize()?;
                let bought = device
                    .bought
                    .map_or("never".to_owned(), |day| day.to_string());
                println!(
                    "new: {} with {} cores, bought {bought}",
                    device.name, device.cores
                );
            }
            Change::Update { before, after } => {
                let (before, after): (Device, Device) =
                    (before.deserialize()?, after.deserialize()?);
                println!(
                    "{}: {} cores became {}",
                    after.name, before.cores, after.cores
                );
            }
            Change::Delete { before } => {
                let device: Device = before.deserialize()?;
                println!("gone: {}", device.name);
            }
            Change::Truncate { .. } | Change::SnapshotComplete { .. } => {}
        }
    }
    let devices = sink.rows(&DatasetId::new("hr", "devices"));
    let cores: u64 = devices
        .iter()
        .map(|row| {
            row.deserialize::<Device>()
                .map(|device| u64::from(device.cores))
        })
        .sum::<Result<_, _>>()?;
    println!("{} devices, {cores} cores", devices.len());
    Ok(())
}
