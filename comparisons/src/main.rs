//! Prints what else a person could use to find the differences of two files, beside one steady
//! cycle over the same files. See `run`.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use benches::{
    Bar::AtLeast, Bars, Data, Edits, Figure, Inventory, KEY_COLUMNS, Order, Result, Run, Work,
    interleaved, print_table, usage_of,
};
use clap::{Parser, Subcommand, ValueEnum};
use csv_diff::{
    csv::Csv, csv_diff::CsvByteDiffLocalBuilder,
    csv_hash_task_spawner::CsvHashTaskSpawnerLocalRayon, diff_row::DiffByteRecord,
};

const OURS: &str = "DataSync, one cycle";
const CSV_DIFF: &str = "crate `csv-diff` 0.1.2";
const DUCKDB: &str = "DuckDB 2.0.0, 2 threads";
const POLARS: &str = "Polars 2.1.0";
const SORT: &str = "GNU `sort`, `comm`, `awk`";

/// Measures peers beside one steady cycle.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    /// How many records.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How often each is run.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// In which order the records stand. Default: one table for each.
    #[arg(long, value_enum)]
    order: Option<Named>,
    /// Where files are made. Default: a folder that is removed.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// A Python that has what `requirements.txt` names.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Do one work in this process.
    #[command(subcommand)]
    Child(Work),
    /// Compare two files with the crate `csv-diff`.
    CsvDiff {
        /// The first state.
        old: PathBuf,
        /// The edited one.
        new: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Named {
    /// No order, and another one in each file.
    None,
    /// Key order.
    Key,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let end = match &cli.mode {
        Some(Mode::Child(work)) => work.clone().perform(),
        Some(Mode::CsvDiff { old, new }) => csv_diff(old, new).map(|()| ExitCode::SUCCESS),
        None => compare_all(&cli).map(|()| ExitCode::SUCCESS),
    };
    end.unwrap_or_else(|error| {
        // If standard error takes nothing, there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "comparisons: {error}");
        ExitCode::FAILURE
    })
}

fn compare_all(cli: &Cli) -> Result<()> {
    let temporary;
    let folder = if let Some(folder) = &cli.folder {
        folder.as_path()
    } else {
        temporary = tempfile::tempdir()?;
        temporary.path()
    };
    let data = Data::new(folder)?;
    let orders = match &cli.order {
        Some(order) => std::slice::from_ref(order),
        None => Named::value_variants(),
    };
    for order in orders {
        let (head, seeds) = match order {
            Named::None => ("no order", [Order::Shuffled(1), Order::Shuffled(2)]),
            Named::Key => ("key order", [Order::Key, Order::Key]),
        };
        let figures = compare(cli, &data, seeds)?;
        writeln!(std::io::stdout(), "\n{} rows, {head}:\n", cli.rows)?;
        print_table(&figures)?;
    }
    Ok(())
}

/// Measures all on one pair of files.
fn compare(cli: &Cli, data: &Data, [first, second]: [Order; 2]) -> Result<Vec<Figure>> {
    let first = Inventory::new(cli.rows, first);
    let edited = Inventory {
        order: second,
        edited: true,
        ..first
    };
    let state = data.state(first)?;
    let (old_inbox, inbox) = (data.inbox(first)?, data.inbox(edited)?);
    let (old, new) = (old_inbox.join("software.csv"), inbox.join("software.csv"));
    let edits = edited.edits();

    let cycle = |name| {
        Run::new(name, || {
            let state = data.copy(&state)?;
            checked(edits, &mut data.cycle(&inbox, &state, 256 << 20))
        })
    };
    let table = |name, engine| {
        let (old, new) = (&old, &new);
        Run::new(name, move || {
            let mut python = Command::new(&cli.python);
            python.arg(beside("tables.py")).arg(engine);
            checked(edits, python.args([old, new]))
        })
    };
    let runs = [
        cycle(OURS),
        cycle("the same again"),
        Run::new(CSV_DIFF, || {
            let mut csv_diff = Command::new(std::env::current_exe()?);
            checked(edits, csv_diff.arg("csv-diff").args([&old, &new]))
        }),
        table(DUCKDB, "duckdb"),
        table(POLARS, "polars"),
        Run::new(SORT, || {
            let mut sorted = Command::new("bash");
            sorted.arg(beside("sorted.sh")).args([&old, &new]);
            checked(edits, sorted.arg(data.empty("sorted")?))
        }),
    ];
    let [ours, again, csv_diff, duckdb, polars, sorted] = interleaved(cli.rounds, runs)?;
    let figure = |name, used, wall: Option<f64>| {
        let bars = Bars {
            wall: wall.map(AtLeast),
            ..Bars::default()
        };
        Figure::ratio(name, used, "", &ours, bars)
    };
    Ok(vec![
        figure(OURS, &ours, None),
        figure("the same again", &again, None),
        figure(CSV_DIFF, &csv_diff, Some(2.5)),
        figure(DUCKDB, &duckdb, Some(4.0)),
        figure(POLARS, &polars, Some(8.0)),
        figure(SORT, &sorted, None),
    ])
}

/// A peer that finds anything else is no peer.
fn checked(edits: Edits, command: &mut Command) -> Result<benches::Usage> {
    let used = usage_of(command)?;
    edits.check(&used)?;
    Ok(used)
}

/// A file of this crate.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn csv_diff(old: &Path, new: &Path) -> Result<()> {
    let csv = |path| File::open(path).map(Csv::with_reader_seek);
    let diff = CsvByteDiffLocalBuilder::<CsvHashTaskSpawnerLocalRayon<'_>>::new()
        .primary_key_columns(0..KEY_COLUMNS)
        .build()?;
    let (mut inserts, mut updates, mut deletes) = (0, 0, 0);
    for record in diff.diff(csv(old)?, csv(new)?)? {
        match record {
            DiffByteRecord::Add(_) => inserts += 1,
            DiffByteRecord::Modify { .. } => updates += 1,
            DiffByteRecord::Delete(_) => deletes += 1,
        }
    }
    writeln!(
        std::io::stdout(),
        "inserts={inserts}\nupdates={updates}\ndeletes={deletes}"
    )?;
    Ok(())
}
