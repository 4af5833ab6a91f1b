//! What a cycle costs, as ratios against only parsing the same file with the `csv` crate.
//!
//! ```sh
//! cargo bench -p benches --bench cycle
//! ```
//!
//! Rows: 200,000 by default; another number in the environment variable `ROWS`. Machines are noisy:
//! read the ratios at the end, not the times.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use benches::{Inventory, Order};
use connector_core::{
    Batch, Cycle, Dataset, Outcome, Schema, Store,
    schema::{Declared, text},
};
use connector_fileupload::{DatasetConfig, FileUpload, FileUploadConfig};
use criterion::{BenchmarkId, Criterion, Throughput};

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

/// Medians by name, so that the ratios can be printed at the end.
type Times = RefCell<BTreeMap<&'static str, Vec<Duration>>>;

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn measure(
    criterion: &mut Criterion,
    times: &Times,
    name: &'static str,
    bytes: u64,
    mut work: impl FnMut(),
) {
    let mut group = criterion.benchmark_group("file");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_custom(|rounds| {
            let start = Instant::now();
            for _ in 0..rounds {
                work();
            }
            let took = start.elapsed();
            let each = took / u32::try_from(rounds).unwrap_or(1);
            times.borrow_mut().entry(name).or_default().push(each);
            took
        });
    });
    group.finish();
}

fn parse(path: &Path) -> usize {
    let mut reader = csv::Reader::from_path(path).expect("the file was just written");
    let mut record = csv::ByteRecord::new();
    let mut cells = 0;
    while reader
        .read_byte_record(&mut record)
        .expect("the file is well-formed")
    {
        cells += record.len();
    }
    cells
}

/// One connector over one file, with its own store.
struct Bench {
    runtime: tokio::runtime::Runtime,
    store: Store,
    dataset: Arc<dyn Dataset>,
    file: PathBuf,
}

impl Bench {
    fn new(folder: &Path, name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build();
        let runtime = runtime.expect("a runtime");
        let inbox = folder.join(name);
        std::fs::create_dir_all(&inbox).expect("a folder");
        let mut config = FileUploadConfig::new(&inbox);
        let mut software = DatasetConfig::new("software", "software.csv");
        software.key = benches::COLUMNS[..3]
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        config.datasets.push(software);
        let file = inbox.join("software.csv");
        std::fs::write(&file, "").expect("a file");
        let (store, dataset) = runtime.block_on(async {
            use connector_core::Connector;
            let connector = FileUpload::new("bench", config).expect("a connector");
            let dataset = connector.datasets().await.expect("data sets").remove(0);
            let store = Store::open_folder(folder.join(format!("{name}.state"))).await;
            (store.expect("a store"), dataset)
        });
        Self {
            runtime,
            store,
            dataset,
            file,
        }
    }

    /// A cycle over that file.
    fn cycle(&self, file: &Path) {
        std::fs::remove_file(&self.file).expect("the file is there");
        std::fs::hard_link(file, &self.file).expect("one file system");
        let cycle = Cycle::new(&self.store);
        let report = self
            .runtime
            .block_on(cycle.run_dataset("bench", &*self.dataset));
        assert!(
            matches!(report.outcome, Outcome::Synced(_)),
            "{:?}",
            report.outcome
        );
    }
}

fn encode_and_compare(criterion: &mut Criterion, file: &Path) {
    let schema = Arc::new(Schema::from(COLUMNS));
    let mut reader = csv::Reader::from_path(file).expect("the file was just written");
    let records: Vec<csv::StringRecord> = reader
        .records()
        .take(20_000)
        .collect::<Result<_, _>>()
        .expect("well-formed");
    let fill = || {
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
    let (one, other) = (fill(), fill());
    let mut group = criterion.benchmark_group("row codec");
    group.throughput(Throughput::Bytes(one.byte_len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(fill())));
    group.bench_function("compare", |bencher| {
        bencher.iter(|| {
            let pairs = black_box(&one).rows().zip(black_box(&other).rows());
            pairs.filter(|(a, b)| a.bytes() == b.bytes()).count()
        });
    });
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "a bench may be told its size")]
fn rows() -> u64 {
    std::env::var("ROWS")
        .ok()
        .and_then(|rows| rows.parse().ok())
        .unwrap_or(200_000)
}

#[expect(clippy::print_stdout, reason = "a bench prints")]
fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, order, edited| {
        let path = folder.path().join(name);
        let bytes = Inventory {
            rows: rows(),
            order,
            edited,
        }
        .write(&path)
        .expect("disk space");
        (path, bytes)
    };
    let (old, bytes) = write("old.csv", Order::Shuffled(1), false);
    let (new, _) = write("new.csv", Order::Shuffled(2), true);
    let (old_ordered, _) = write("old_ordered.csv", Order::Key, false);
    let (new_ordered, _) = write("new_ordered.csv", Order::Key, true);

    let mut criterion = Criterion::default().configure_from_args();
    encode_and_compare(&mut criterion, &old);
    let times = Times::default();
    let run = |criterion: &mut Criterion, name, work: &mut dyn FnMut()| {
        measure(criterion, &times, name, bytes, work);
    };
    run(&mut criterion, "parse", &mut || {
        black_box(parse(&old));
    });
    run(&mut criterion, "parse again", &mut || {
        black_box(parse(&old));
    });

    let bench = Bench::new(folder.path(), "first");
    let mut round = 0;
    run(&mut criterion, "first cycle", &mut || {
        round += 1;
        Bench::new(folder.path(), &format!("first {round}")).cycle(&old);
    });
    bench.cycle(&old);
    run(&mut criterion, "nothing changed", &mut || bench.cycle(&old));
    let mut files = [&new, &old].into_iter().cycle();
    run(&mut criterion, "steady cycle, no order", &mut || {
        bench.cycle(files.next().expect("a cycle of two"));
    });
    let ordered = Bench::new(folder.path(), "ordered");
    ordered.cycle(&old_ordered);
    let mut files = [&new_ordered, &old_ordered].into_iter().cycle();
    run(&mut criterion, "steady cycle, key order", &mut || {
        ordered.cycle(files.next().expect("a cycle of two"));
    });
    criterion.final_summary();

    let median = |name: &str| {
        let mut all = times.borrow().get(name).cloned().unwrap_or_default();
        all.sort_unstable();
        all.get(all.len() / 2).map_or(0.0, Duration::as_secs_f64)
    };
    println!(
        "\nwall clock against only parsing the file ({} rows, {bytes} bytes):",
        rows()
    );
    for name in times.borrow().keys() {
        println!("{name:>24}  {:.2}", median(name) / median("parse"));
    }
}
