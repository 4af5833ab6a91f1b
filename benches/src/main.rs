//! Prints what whole programs use, beside the bars that are set for them.
//!
//! ```sh
//! cargo run --release -p benches -- steady --rounds 3
//! ```

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use benches::{
    Bar::AtMost, Bars, Data, Edits, Figure, Inventory, Order, PAGE, Result, Run, Server, Source,
    Work, idle, interleaved, print_table, usage_of,
};
use bytesize::ByteSize;
use clap::{Parser, ValueEnum};
use connector_testkit::peer::PostgresPeer;

const FIRST: Order = Order::Shuffled(1);
const SECOND: Order = Order::Shuffled(2);

/// Measures whole programs, as ratios against only parsing the same file with the `csv` crate.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    /// What to measure. Default: everything, which takes half an hour.
    #[arg(value_enum)]
    works: Vec<Measure>,
    /// How many records. `growth` and `large` take ten times as many.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How many columns; `large` has twenty.
    #[arg(long, default_value_t = benches::COLUMNS.len())]
    columns: usize,
    /// What sorting may use before it goes to disk; 64 MiB for `large`.
    #[arg(long, default_value = "256 MiB")]
    memory: ByteSize,
    /// How often each is run; three times at most what is ten times as large.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where files are made; generated ones are left there. Default: a folder that is removed.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Run measured cycles under a profiler, such as `perf record -o /tmp/perf.data`.
    #[arg(long, default_value = "")]
    under: String,
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Debug, clap::Subcommand)]
enum Mode {
    /// Do one work in this process.
    #[command(subcommand)]
    Child(Work),
}

/// What can be measured by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// A cycle with few changes, rows in no order.
    Steady,
    /// The same, rows in key order.
    Ordered,
    /// A cycle without changes, in either order.
    Unchanged,
    /// 64 MiB against everything in memory.
    Memory,
    /// A first full load into the ndjson sink.
    Ndjson,
    /// A first full load into the SQLite sink, against a bare insert.
    Sqlite,
    /// A first full load into the PostgreSQL sink, against single prepared inserts; a tenth of the
    /// rows.
    Postgres,
    /// A host that waits for its next cycle.
    Idle,
    /// A first cycle over a SQL Server, against only reading its rows.
    SqlServer,
    /// A full cycle of the devices of a tenant of Microsoft Graph, against only fetching the pages;
    /// a tenth of the rows.
    Walk,
    /// A full cycle of a vCenter, against only fetching the same replies and reading them as events of
    /// XML; 3,000 virtual machines for a million rows.
    Vcenter,
    /// Pages of JSON into rows, against a `serde_json::Value` a page; a tenth of the rows.
    Json,
    /// Both of them with computers of ServiceNow.
    #[value(name = "servicenow")]
    ServiceNow,
    /// An export of CSV into rows, plain and packed, against only parsing it.
    Export,
    /// Ten times as many rows.
    Growth,
    /// Ten times as many rows, twenty columns, 64 MiB; with rows kept, and with digests.
    Large,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let end = match cli.mode {
        Some(Mode::Child(work)) => work.perform(),
        None => measure(&cli).map(|()| ExitCode::SUCCESS),
    };
    end.unwrap_or_else(|error| {
        use std::io::Write;
        // If standard error takes nothing, there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "measure: {error}");
        ExitCode::FAILURE
    })
}

fn measure(cli: &Cli) -> Result<()> {
    let temporary;
    let folder = if let Some(folder) = &cli.folder {
        std::fs::create_dir_all(folder)?;
        folder.as_path()
    } else {
        temporary = tempfile::tempdir()?;
        temporary.path()
    };
    let bench = Bench {
        data: Data::new(folder)?.under(&cli.under),
        rows: cli.rows,
        columns: cli.columns,
        memory: cli.memory.as_u64(),
        rounds: cli.rounds,
    };
    let works = match &*cli.works {
        [] => Measure::value_variants(),
        works => works,
    };
    let mut figures = Vec::new();
    for work in works {
        figures.extend(match work {
            Measure::Steady => bench.steady()?,
            Measure::Ordered => bench.ordered()?,
            Measure::Unchanged => bench.unchanged()?,
            Measure::Memory => bench.memory()?,
            Measure::Ndjson => bench.ndjson()?,
            Measure::Sqlite => bench.sqlite()?,
            Measure::Postgres => bench.postgres()?,
            Measure::Idle => bench.idle()?,
            Measure::SqlServer => bench.sqlserver()?,
            Measure::Walk => bench.walk(Source::Graph)?,
            Measure::Vcenter => bench.vcenter()?,
            Measure::Json => bench.json(Source::Graph)?,
            Measure::ServiceNow => [
                bench.json(Source::Servicenow)?,
                bench.walk(Source::Servicenow)?,
            ]
            .concat(),
            Measure::Export => bench.export()?,
            Measure::Growth => bench.growth()?,
            Measure::Large => bench.large()?,
        });
    }
    print_table(&figures)
}

/// What is measured, and with what.
struct Bench {
    data: Data,
    rows: u64,
    columns: usize,
    memory: u64,
    rounds: usize,
}

/// A state folder and the file that its next cycle reads.
struct Scene<'a> {
    data: &'a Data,
    state: PathBuf,
    inbox: PathBuf,
    new: Inventory,
}

impl Bench {
    fn inventory(&self, order: Order) -> Inventory {
        Inventory {
            columns: self.columns,
            ..Inventory::new(self.rows, order)
        }
    }

    /// The scene of a cycle from one file to another.
    fn scene(&self, old: Inventory, new: Inventory) -> Result<Scene<'_>> {
        Ok(Scene {
            data: &self.data,
            state: self.data.state(old)?,
            inbox: self.data.inbox(new)?,
            new,
        })
    }

    /// The scene of a steady cycle.
    fn edited(&self, inventory: Inventory) -> Result<Scene<'_>> {
        let order = match inventory.order {
            Order::Key => Order::Key,
            Order::Shuffled(_) => SECOND,
        };
        let edited = Inventory {
            order,
            edited: true,
            ..inventory
        };
        self.scene(inventory, edited)
    }

    /// Measures a cycle against the parse.
    fn cycle(&self, work: &str, scene: &Scene<'_>, bars: Bars) -> Result<Vec<Figure>> {
        let runs = [
            scene.parse("parse"),
            scene.parse("parse again"),
            scene.cycle(work, self.memory),
        ];
        let [parse, again, cycle] = interleaved(self.rounds, runs)?;
        Ok(vec![
            Figure::ratio("parse again", &again, "parse", &parse, Bars::default()),
            Figure::ratio(work, &cycle, "parse", &parse, bars),
        ])
    }

    fn steady(&self) -> Result<Vec<Figure>> {
        let bars = Bars {
            cpu: Some(AtMost(2.6)),
            wall: Some(AtMost(2.0)),
            ..Bars::default()
        };
        let scene = self.edited(self.inventory(FIRST))?;
        self.cycle("steady cycle, no order", &scene, bars)
    }

    fn ordered(&self) -> Result<Vec<Figure>> {
        let scene = self.edited(self.inventory(Order::Key))?;
        let bars = Bars {
            cpu: Some(AtMost(1.9)),
            peak: Some(AtMost(48.0)),
            wall: Some(AtMost(1.4)),
            written: Some(scene.written()),
        };
        self.cycle("steady cycle, key order", &scene, bars)
    }

    fn unchanged(&self) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for (work, first, second) in [
            ("nothing changed, no order", FIRST, SECOND),
            ("nothing changed, key order", Order::Key, Order::Key),
        ] {
            let scene = self.scene(self.inventory(first), self.inventory(second))?;
            let manifest = scene.state.join("bench/software/manifest");
            // The times in it are not always of one length.
            let bars = Bars {
                written: Some(std::fs::metadata(manifest)?.len() + 32),
                ..Bars::default()
            };
            figures.extend(self.cycle(work, &scene, bars)?);
        }
        Ok(figures)
    }

    fn memory(&self) -> Result<Vec<Figure>> {
        let bars = Bars {
            wall: Some(AtMost(1.8)),
            ..Bars::default()
        };
        let scene = self.edited(self.inventory(FIRST))?;
        let (small, all) = ("no order, 64 MiB", "everything in memory");
        let runs = [scene.cycle(all, 16 << 30), scene.cycle(small, 64 << 20)];
        let [in_memory, spilled] = interleaved(self.rounds, runs)?;
        Ok(vec![Figure::ratio(small, &spilled, all, &in_memory, bars)])
    }

    fn ndjson(&self) -> Result<Vec<Figure>> {
        let bars = Bars {
            cpu: Some(AtMost(2.5)),
            wall: Some(AtMost(2.5)),
            ..Bars::default()
        };
        let scene = self.first()?;
        let work = "first load into ndjson";
        let runs = [
            scene.parse("parse"),
            scene.parse("parse again"),
            scene.load(work, "--ndjson", self.memory),
        ];
        let [parse, again, load] = interleaved(self.rounds, runs)?;
        Ok(vec![
            Figure::ratio("parse again", &again, "parse", &parse, Bars::default()),
            Figure::ratio(work, &load, "parse", &parse, bars),
        ])
    }

    fn sqlite(&self) -> Result<Vec<Figure>> {
        // At least 0.7 of the rows in the same time.
        let bars = Bars {
            wall: Some(AtMost(1.0 / 0.7)),
            ..Bars::default()
        };
        let scene = self.first()?;
        let (work, floor, index) = ("first load into SQLite", "bare insert", "insert and index");
        let runs = [
            scene.insert(floor, false),
            scene.insert(index, true),
            scene.load(work, "--sqlite", self.memory),
        ];
        let [insert, indexed, load] = interleaved(self.rounds, runs)?;
        Ok(vec![
            Figure::ratio(index, &indexed, floor, &insert, Bars::default()),
            Figure::ratio(work, &load, floor, &insert, bars),
        ])
    }

    fn postgres(&self) -> Result<Vec<Figure>> {
        // At least five times the rows in the same time.
        let bars = Bars {
            wall: Some(AtMost(1.0 / 5.0)),
            peak: Some(AtMost(96.0)),
            ..Bars::default()
        };
        let new = Inventory {
            rows: self.rows / 10,
            ..self.inventory(FIRST)
        };
        let inbox = self.data.inbox(new)?;
        let file = inbox.join("software.csv");
        let server = PostgresPeer::start();
        let insert = |name| {
            Run::new(name, || {
                let mut insert = self.data.work("pg-insert", [&file]);
                usage_of(insert.arg(server.database().url()))
            })
        };
        let (floor, again) = ("single prepared inserts", "single prepared inserts again");
        let work = "first load into PostgreSQL";
        let runs = [
            insert(floor),
            insert(again),
            Run::new(work, || {
                let state = self.data.empty("loaded")?;
                let mut cycle = self.data.cycle(&inbox, &state, self.memory);
                usage_of(cycle.arg("--postgres").arg(server.database().url()))
            }),
        ];
        let [single, twice, load] = interleaved(self.rounds, runs)?;
        Ok(vec![
            Figure::ratio(again, &twice, floor, &single, Bars::default()),
            Figure::ratio(work, &load, floor, &single, bars),
        ])
    }

    fn idle(&self) -> Result<Vec<Figure>> {
        let bars = Bars {
            peak: Some(AtMost(20.0)),
            wall: Some(AtMost(0.05)),
            ..Bars::default()
        };
        let [idle] = interleaved(self.rounds, [Run::new("idle host", || idle(&self.data))])?;
        Ok(vec![Figure::absolute(
            "idle host; start to ready",
            &idle,
            bars,
        )])
    }

    fn sqlserver(&self) -> Result<Vec<Figure>> {
        let authority = self.data.empty("authority.pem")?;
        let mut command = self.data.work("sql-server", [&authority]);
        command.args(["--rows", &self.rows.to_string()]);
        let server = Server::start(command)?;
        let port = server.port.to_string();
        let drain = |name| {
            let mut command = self.data.work("sql-drain", [&authority]);
            command.args(["--port", &port]);
            Run::new(name, move || usage_of(&mut command))
        };
        let cycle = &|state: &Path, connections: &str| {
            let mut command = self.data.work("sql-cycle", [&authority, state]);
            command.args(["--port", &port, "--connections", connections]);
            command
        };
        // A full cycle is a first one: every row is stored and sent.
        let full = |name, connections| {
            Run::new(name, move || {
                let state = self.data.empty("first")?;
                usage_of(&mut cycle(&state, connections))
            })
        };
        // Nothing changes, so a state is as good for the next round.
        let state = self.data.empty("state")?;
        usage_of(&mut cycle(&state, "1"))?;
        let mut next = cycle(&state, "1");
        let (floor, steady) = ("only reading", "nothing changed, one connection");
        let (one, two) = ("full cycle, one connection", "full cycle, two connections");
        let runs = [
            drain(floor),
            drain("only reading again"),
            full(one, "1"),
            full(two, "2"),
            Run::new(steady, move || usage_of(&mut next)),
        ];
        let [drained, again, single, double, unchanged] = interleaved(self.rounds, runs)?;
        // Rows in the same time: at least 0.9 and 1.5 times as many.
        let bars = |rows: Option<f64>| Bars {
            peak: Some(AtMost(96.0)),
            wall: rows.map(|rows| AtMost(1.0 / rows)),
            ..Bars::default()
        };
        let ratio = |name, used, bars| Figure::ratio(name, used, floor, &drained, bars);
        Ok(vec![
            ratio("only reading again", &again, Bars::default()),
            ratio(one, &single, bars(Some(0.9))),
            ratio(two, &double, bars(Some(1.5))),
            ratio(steady, &unchanged, bars(None)),
        ])
    }

    fn walk(&self, source: Source) -> Result<Vec<Figure>> {
        let authority = self.data.empty("authority.pem")?;
        let (own, rows) = (source.name(), (self.rows / 10).max(PAGE).to_string());
        let mut command = self.data.work("page-server", [&authority]);
        command.args(["--source", own, "--rows", &rows]);
        let server = Server::start(command)?;
        let port = server.port.to_string();
        let drain = |name| {
            let mut command = self.data.work("page-drain", [&authority]);
            command.args(["--port", &port, "--rows", &rows]);
            Run::new(name, move || usage_of(&mut command))
        };
        let cycle = &|state: &Path| {
            let mut command = self.data.work("page-cycle", [&authority, state]);
            command.args(["--source", own, "--port", &port]);
            command
        };
        // Nothing changes, so a state is as good for the next round.
        let state = self.data.empty("state")?;
        usage_of(&mut cycle(&state))?;
        let mut next = cycle(&state);
        let (floor, first, unchanged) = match source {
            Source::Graph => (
                "only fetching",
                "first load of devices",
                "no device changed",
            ),
            Source::Servicenow => (
                "only fetching computers",
                "first load of computers",
                "no computer changed",
            ),
        };
        let again = format!("{floor} again");
        let runs = [
            drain(floor),
            drain(&again),
            Run::new(first, || usage_of(&mut cycle(&self.data.empty("first")?))),
            Run::new(unchanged, move || usage_of(&mut next)),
        ];
        let [drained, repeated, full, steady] = interleaved(self.rounds, runs)?;
        let bars = Bars {
            peak: Some(AtMost(64.0)),
            ..Bars::default()
        };
        let ratio = |name, used, bars| Figure::ratio(name, used, floor, &drained, bars);
        Ok(vec![
            ratio(&again, &repeated, Bars::default()),
            ratio(first, &full, bars),
            ratio(unchanged, &steady, bars),
        ])
    }

    fn vcenter(&self) -> Result<Vec<Figure>> {
        let authority = self.data.empty("authority.pem")?;
        let mut command = self.data.work("vcenter-server", [&authority]);
        command.args(["--rows", &(self.rows * 3 / 1000).max(1).to_string()]);
        let server = Server::start(command)?;
        let port = server.port.to_string();
        let drain = |name| {
            let mut command = self.data.work("vcenter-drain", [&authority]);
            command.args(["--port", &port]);
            Run::new(name, move || usage_of(&mut command))
        };
        let cycle = &|state: &Path| {
            let mut command = self.data.work("vcenter-cycle", [&authority, state]);
            command.args(["--port", &port]);
            command
        };
        // What this one asks for is what is only fetched. Nothing changes, so its state is as good
        // for the next round.
        let state = self.data.empty("state")?;
        usage_of(&mut cycle(&state))?;
        let mut next = cycle(&state);
        let (floor, again) = ("fetch and read XML", "fetch and read XML again");
        let (first, unchanged) = ("first load of a vCenter", "no vCenter object changed");
        let runs = [
            drain(floor),
            drain(again),
            Run::new(first, || usage_of(&mut cycle(&self.data.empty("first")?))),
            Run::new(unchanged, move || usage_of(&mut next)),
        ];
        let [drained, repeated, full, steady] = interleaved(self.rounds, runs)?;
        let bars = Bars {
            cpu: Some(AtMost(2.0)),
            wall: Some(AtMost(2.0)),
            peak: Some(AtMost(64.0)),
            ..Bars::default()
        };
        let ratio = |name, used, bars| Figure::ratio(name, used, floor, &drained, bars);
        Ok(vec![
            ratio(again, &repeated, Bars::default()),
            ratio(first, &full, bars),
            ratio(unchanged, &steady, bars),
        ])
    }

    fn json(&self, source: Source) -> Result<Vec<Figure>> {
        // At least three times as fast.
        let bars = Bars {
            cpu: Some(AtMost(1.0 / 3.0)),
            wall: Some(AtMost(1.0 / 3.0)),
            ..Bars::default()
        };
        let page = self.data.empty("page.json")?;
        let mut write = self.data.work("write-page", [&page]);
        usage_of(write.args(["--source", source.name()]))?;
        let rows = (self.rows / 10).max(PAGE).to_string();
        let run = |name, values: bool| {
            let mut command = self.data.work("page-rows", [&page]);
            command.args(["--source", source.name(), "--rows", &rows]);
            if values {
                command.arg("--values");
            }
            Run::new(name, move || usage_of(&mut command))
        };
        let (floor, work) = match source {
            Source::Graph => ("JSON by way of values", "JSON pages into rows"),
            Source::Servicenow => (
                "ServiceNow's JSON by way of values",
                "ServiceNow's pages into rows",
            ),
        };
        let again = format!("{floor} again");
        let runs = [run(floor, true), run(&again, true), run(work, false)];
        let [values, repeated, decoded] = interleaved(self.rounds, runs)?;
        if values.report != decoded.report {
            return Err("the rows are others than by way of values".into());
        }
        let ratio = |name, used, bars| Figure::ratio(name, used, floor, &values, bars);
        Ok(vec![
            ratio(&again, &repeated, Bars::default()),
            ratio(work, &decoded, bars),
        ])
    }

    fn export(&self) -> Result<Vec<Figure>> {
        // At least half of the rows in the same time.
        let bars = Bars {
            cpu: Some(AtMost(2.0)),
            wall: Some(AtMost(2.0)),
            peak: Some(AtMost(16.0)),
            ..Bars::default()
        };
        let (file, archive) = (
            self.data.empty("installs.csv")?,
            self.data.empty("installs.zip")?,
        );
        let mut write = self.data.work("write-installs", [&file]);
        usage_of(write.args(["--rows", &self.rows.to_string()]))?;
        usage_of(&mut self.data.work("pack", [&file, &archive]))?;
        let parse = |name| {
            let mut command = self.data.work("parse", [&file]);
            Run::new(name, move || usage_of(&mut command))
        };
        let mut plain = self.data.work("install-rows", [&file]);
        let mut packed = self.data.work("install-rows", [&archive]);
        packed.arg("--packed");
        let (floor, work, zip) = (
            "parse installs",
            "installs into rows",
            "packed installs into rows",
        );
        let runs = [
            parse(floor),
            parse("parse installs again"),
            Run::new(work, move || usage_of(&mut plain)),
            Run::new(zip, move || usage_of(&mut packed)),
        ];
        let [parsed, again, plain, packed] = interleaved(self.rounds, runs)?;
        for used in [&plain, &packed] {
            if used.report != parsed.report {
                return Err("the rows are not as many as were parsed".into());
            }
        }
        let ratio = |name, used, bars| Figure::ratio(name, used, floor, &parsed, bars);
        let small = Bars {
            peak: bars.peak,
            ..Bars::default()
        };
        Ok(vec![
            ratio("parse installs again", &again, Bars::default()),
            ratio(work, &plain, bars),
            ratio(zip, &packed, small),
        ])
    }

    fn growth(&self) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for (order, name, peak) in [
            (FIRST, "no order", None),
            (Order::Key, "key order", Some(AtMost(48.0))),
        ] {
            let one = self.inventory(order);
            let ten = Inventory {
                rows: one.rows * 10,
                ..one
            };
            let (one, ten) = (self.edited(one)?, self.edited(ten)?);
            let written = (order == Order::Key).then(|| ten.written());
            let (work, against) = (
                format!("ten times the rows, {name}"),
                format!("rows, {name}"),
            );
            let runs = [
                one.cycle(&against, self.memory),
                ten.cycle(&work, self.memory),
            ];
            let [one, ten] = interleaved(self.rounds.min(3), runs)?;
            let bars = Bars {
                cpu: Some(AtMost(11.0)),
                wall: Some(AtMost(11.0)),
                peak,
                written,
            };
            figures.push(Figure::ratio(&work, &ten, &against, &one, bars));
        }
        Ok(figures)
    }

    fn large(&self) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for (work, data, cpu, peak) in [
            ("large, no order, 64 MiB", self.data.clone(), 3.0, 128.0),
            (
                "the same, digests",
                self.data.clone().with_digests(),
                2.2,
                96.0,
            ),
        ] {
            let bench = Bench {
                data,
                rows: self.rows * 10,
                columns: 20,
                memory: 64 << 20,
                rounds: self.rounds.min(3),
            };
            let inventory = Inventory {
                changed: 20,
                ..bench.inventory(FIRST)
            };
            let bars = Bars {
                cpu: Some(AtMost(cpu)),
                peak: Some(AtMost(peak)),
                ..Bars::default()
            };
            let scene = bench.edited(inventory)?;
            figures.extend(bench.cycle(work, &scene, bars)?);
        }
        Ok(figures)
    }

    /// The scene of a first load.
    fn first(&self) -> Result<Scene<'_>> {
        let new = self.inventory(FIRST);
        Ok(Scene {
            data: &self.data,
            state: PathBuf::new(),
            inbox: self.data.inbox(new)?,
            new,
        })
    }
}

impl Scene<'_> {
    fn file(&self) -> PathBuf {
        self.inbox.join("software.csv")
    }

    /// What a steady cycle in key order may write.
    fn written(&self) -> u64 {
        self.new.edits().bytes * 13 / 10 + (64 << 10)
    }

    fn parse(&self, name: &str) -> Run<'_> {
        Run::new(name, || {
            usage_of(&mut self.data.work("parse", [&self.file()]))
        })
    }

    /// One steady cycle, which must find exactly the edits.
    fn cycle(&self, name: &str, memory: u64) -> Run<'_> {
        let edits = if self.new.edited {
            self.new.edits()
        } else {
            Edits::default()
        };
        Run::new(name, move || {
            let state = self.data.copy(&self.state)?;
            let used = usage_of(&mut self.data.cycle(&self.inbox, &state, memory))?;
            edits.check(&used)?;
            Ok(used)
        })
    }

    /// One first load into a sink.
    fn load<'a>(&'a self, name: &str, sink: &'a str, memory: u64) -> Run<'a> {
        Run::new(name, move || {
            let (state, out) = (self.data.empty("loaded")?, self.data.empty("out")?);
            let mut cycle = self.data.cycle(&self.inbox, &state, memory);
            usage_of(cycle.arg(sink).arg(out))
        })
    }

    fn insert<'a>(&'a self, name: &str, index: bool) -> Run<'a> {
        Run::new(name, move || {
            let out = self.data.empty("out")?;
            let mut insert = self.data.work("insert", [&self.file(), &out]);
            if index {
                insert.arg("--index");
            }
            usage_of(&mut insert)
        })
    }
}
