//! What the row codec does on one core. It is to encode at least 600 MB/s and to compare at least
//! 3 GB/s.
//!
//! ```sh
//! cargo bench -p benches --bench codec
//! ```

use std::{hint::black_box, sync::Arc};

use benches::{Inventory, Order};
use connector_core::{
    Batch, Schema,
    schema::{Declared, text},
};
use criterion::{Criterion, Throughput};

const COLUMNS: Declared = Declared::new(&[
    text("device").key(),
    text("product").key(),
    text("version").key(),
    text("publisher"),
    text("installed_on"),
    text("path"),
    text("size"),
    text("user"),
    text("source"),
]);

/// Enough rows for a median, few enough to stay in the caches, as the rows of a batch do.
const ROWS: u64 = 20_000;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("software.csv");
    let inventory = Inventory::new(ROWS, Order::Shuffled(1));
    inventory.write(&file).expect("disk space");

    let schema = Arc::new(Schema::from(COLUMNS));
    let mut reader = csv::Reader::from_path(file).expect("the file was just written");
    let records: Vec<csv::StringRecord> = reader
        .records()
        .collect::<Result<_, _>>()
        .expect("well-formed");
    let encode = || {
        let mut batch = Batch::new(Arc::clone(&schema));
        for record in &records {
            let mut row = batch.row();
            for cell in record {
                row.text(cell);
            }
            row.end().expect("the columns are the file's");
        }
        batch
    };
    let (one, other) = (encode(), encode());
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("row codec");
    group.throughput(Throughput::BytesDecimal(one.byte_len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(encode())));
    group.bench_function("compare", |bencher| {
        bencher.iter(|| {
            let pairs = black_box(&one).rows().zip(black_box(&other).rows());
            pairs.filter(|(a, b)| a.bytes() == b.bytes()).count()
        });
    });
    group.finish();
    criterion.final_summary();
}
