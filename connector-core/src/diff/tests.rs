//! Here marks have six bits, so that rows do pass for others.

use std::sync::Arc;

use crate::{
    Cycle, DatasetExt, DatasetId, NamedSink, Progress, Row, Schema, Store, Value,
    memory::{MemoryDataset, MemorySink},
    schema::{Declared, int, text},
};

const DEVICES: Declared = Declared::new(&[text("name").key(), int("cores")]);

/// `SplitMix64`.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) % bound
    }
}

#[tokio::test]
async fn a_row_that_passes_for_another_is_found_and_the_data_set_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_folder(folder.path()).await.unwrap();
    let schema = Arc::new(Schema::from(DEVICES));
    let (mut numbers, mut again, mut at_once) = (Numbers(7), 0, 0);
    for set in 0..40 {
        let name = format!("devices {set}");
        let source = MemoryDataset::new(&name, Arc::clone(&schema));
        let sink = MemorySink::default();
        let id = DatasetId::new("lab", &name);
        let mut rows: Vec<(u64, i64)> = (0..100).map(|n| (n, 0)).collect();
        for cycle in 0..8 {
            for _ in 0..3 {
                rows.pop();
                rows[0].1 += 1;
                rows.push((1000 * (set + 1) + numbers.below(1000), cycle));
            }
            rows.sort_unstable();
            rows.dedup_by_key(|(name, _)| *name);
            for at in (1..rows.len()).rev() {
                rows.swap(at, usize::try_from(numbers.below(at as u64 + 1)).unwrap());
            }
            // One row comes twice.
            let rows = rows.iter().chain(&rows[5..6]);
            let rows = rows.map(|(name, cores)| {
                vec![Value::Text(format!("PC-{name}").into()), Value::Int(*cores)]
            });
            source.set(rows.collect());
            let read = Progress::default();
            let cycle = Cycle::new(&store)
                .progress(read.clone())
                .sink(NamedSink::new("copy", sink.clone()));
            let report = cycle.run_dataset("lab", &source).await;
            assert!(report.is_ok(), "{report:?}");
            assert_eq!(report.duplicates.identical, 1);
            match read.rows() - report.rows {
                0 => at_once += 1,
                _ => again += 1,
            }
            let mut expected = source.collect().await.unwrap();
            expected.sort_by_key(Row::key);
            expected.dedup();
            assert_eq!(sink.rows(&id), expected);
        }
    }
    assert!(
        again > 20 && at_once > 20,
        "{again} again, {at_once} at once"
    );
}
