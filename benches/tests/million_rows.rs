//! A million records in a file without order: exactly the edits are sent, and another order of the
//! same records is no change.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use benches::{Edit, Inventory, Order};
use connector_core::{
    Change, ChangeEvent, Counts, Cycle, CycleId, NamedSink, Outcome, Result, Row, Sink, Store,
};
use connector_fileupload::{DatasetConfig, FileUpload, FileUploadConfig};

/// What was sent, by kind: the keys.
#[derive(Debug, Default)]
struct Sent {
    inserted: BTreeSet<String>,
    updated: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

/// Keeps keys, and of full loads only counts: a million rows twice would be too much to hold.
#[derive(Clone, Default)]
struct Keys(Arc<Mutex<Sent>>);

fn key(row: &Row) -> String {
    format!("{}|{}", row.at(0), row.at(1))
}

#[async_trait]
impl Sink for Keys {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        let mut sent = self.0.lock().unwrap();
        for event in events.iter().filter(|event| !event.cycle.is_full()) {
            match &event.change {
                Change::Insert { after } => assert!(sent.inserted.insert(key(after))),
                Change::Update { after, .. } => {
                    assert_eq!(event.change.changed(), ["publisher"]);
                    assert!(sent.updated.insert(key(after)));
                }
                Change::Delete { before } => assert!(sent.deleted.insert(key(before))),
                _ => {}
            }
        }
        Ok(())
    }

    async fn commit(&mut self, _cycle: &CycleId) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_records_send_exactly_their_edits() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("inbox");
    std::fs::create_dir(&inbox).unwrap();
    let mut config = FileUploadConfig::new(&inbox);
    let mut software = DatasetConfig::new("software", "software.csv");
    software.key = vec!["device".into(), "product".into(), "version".into()];
    config.datasets.push(software);

    let store = Store::open_folder(folder.path().join("state"))
        .await
        .unwrap();
    let keys = Keys::default();
    let cycle = Cycle::new(&store).sink(NamedSink::new("keys", keys.clone()));
    let inventory = Inventory::new(1_000_000, Order::Shuffled(1));
    let sync = async |inventory: Inventory, path: &Path| -> Counts {
        inventory.write(path).unwrap();
        let connector = FileUpload::new("lab", config.clone()).unwrap();
        match cycle.run(&connector).await.unwrap().remove(0).outcome {
            Outcome::Synced(counts) => counts,
            other => panic!("{other:?}"),
        }
    };
    let file = inbox.join("software.csv");

    let first = sync(inventory, &file).await;
    assert_eq!((first.truncates, first.inserts), (1, 1_000_000));

    let reordered = sync(
        Inventory {
            order: Order::Shuffled(2),
            ..inventory
        },
        &file,
    )
    .await;
    assert!(reordered.is_empty(), "{reordered}");

    let edited = sync(
        Inventory {
            order: Order::Shuffled(3),
            edited: true,
            ..inventory
        },
        &file,
    )
    .await;
    let sent = std::mem::take(&mut *keys.0.lock().unwrap());
    for (edit, keys, count) in [
        (Edit::Insert, sent.inserted, edited.inserts),
        (Edit::Update, sent.updated, edited.updates),
        (Edit::Delete, sent.deleted, edited.deletes),
    ] {
        let expected: BTreeSet<String> = inventory.edited(edit).collect();
        assert!(expected.len() > 2_500, "{edit:?}: {}", expected.len());
        assert_eq!(keys.len() as u64, count);
        assert!(
            keys == expected,
            "{edit:?}: {} sent, {} expected",
            keys.len(),
            expected.len()
        );
    }
    assert_eq!((edited.truncates, edited.snapshot_completes), (0, 1));
}
