//! What a child does.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytesize::ByteSize;
use clap::Subcommand;
use connector_core::{
    Cycle, CycleOptions, FileStorage, NamedSink, Outcome, Retain, Store, SystemClock,
};
use connector_fileupload::{DatasetConfig, FileUpload, FileUploadConfig};
use datasync::{NdjsonSink, Repository};
use tokio::runtime::Runtime;

use crate::{
    COLUMNS, Inventory, KEY_COLUMNS, Order, Report, Result, Source,
    child::print,
    counted::{CountedStorage, NoSink},
    postgres, replies, sqlserver, vcenter, walk,
};

/// One thing to measure, done in a process of its own.
#[derive(Debug, Clone, Subcommand)]
pub enum Work {
    /// Write a generated inventory.
    Generate {
        /// Where to.
        file: PathBuf,
        /// How many records.
        #[arg(long)]
        rows: u64,
        /// How many columns.
        #[arg(long)]
        columns: usize,
        /// How many records in a thousand are edited.
        #[arg(long)]
        changed: u64,
        /// The seed of their order; without one, key order.
        #[arg(long)]
        shuffled: Option<u64>,
        /// The edited state.
        #[arg(long)]
        edited: bool,
    },
    /// Only parse the file with the `csv` crate.
    Parse {
        /// The file.
        file: PathBuf,
    },
    /// Run one cycle over the file `software.csv` of a folder.
    Cycle {
        /// The folder.
        inbox: PathBuf,
        /// The state folder.
        state: PathBuf,
        /// What sorting may use before it goes to disk.
        #[arg(long, default_value = "256 MiB")]
        memory: ByteSize,
        /// Keep digests of rows instead of the rows.
        #[arg(long)]
        digests: bool,
        /// Append the events to this file.
        #[arg(long)]
        ndjson: Option<PathBuf>,
        /// Keep the records in this SQLite database.
        #[arg(long)]
        sqlite: Option<PathBuf>,
        /// Keep the records in the PostgreSQL database of this URL.
        #[arg(long)]
        postgres: Option<String>,
    },
    /// Insert the rows into a new SQLite table with one prepared statement in one transaction.
    Insert {
        /// The file.
        file: PathBuf,
        /// The database.
        database: PathBuf,
        /// Index the key afterwards, as a repository does.
        #[arg(long)]
        index: bool,
    },
    /// Insert the rows into a new PostgreSQL table, one after the other, with one prepared statement
    /// in one transaction.
    PgInsert {
        /// The file.
        file: PathBuf,
        /// The URL of the database.
        url: String,
    },
    /// Be a SQL Server until standard input ends.
    SqlServer {
        /// Where the certificate of its authority goes.
        authority: PathBuf,
        /// How many rows its data set has.
        #[arg(long)]
        rows: u64,
    },
    /// Only read the rows of that server with its driver.
    SqlDrain {
        /// The certificate of the server's authority.
        authority: PathBuf,
        /// The server's port.
        #[arg(long)]
        port: u16,
    },
    /// Run a first cycle over that server's data set.
    SqlCycle {
        /// The certificate of the server's authority.
        authority: PathBuf,
        /// The state folder.
        state: PathBuf,
        /// The server's port.
        #[arg(long)]
        port: u16,
        /// Over how many connections.
        #[arg(long)]
        connections: usize,
    },
    /// Write a page of rows as a reply of JSON has them.
    WritePage {
        /// Where to.
        file: PathBuf,
        /// Whose.
        #[arg(long)]
        source: Source,
    },
    /// Make rows of that page, again and again.
    PageRows {
        /// The page.
        file: PathBuf,
        /// How many rows in all.
        #[arg(long)]
        rows: u64,
        /// Whose.
        #[arg(long)]
        source: Source,
        /// By way of a `serde_json::Value` a page.
        #[arg(long)]
        values: bool,
    },
    /// Write an export of installs.
    WriteInstalls {
        /// Where to.
        file: PathBuf,
        /// How many rows.
        #[arg(long)]
        rows: u64,
    },
    /// Pack a file into a zip archive.
    Pack {
        /// The file.
        file: PathBuf,
        /// The archive.
        archive: PathBuf,
    },
    /// Make rows of an export.
    InstallRows {
        /// The export.
        file: PathBuf,
        /// It is a zip archive.
        #[arg(long)]
        packed: bool,
    },
    /// Serve a source until standard input ends.
    PageServer {
        /// Where to write the certificate of its authority.
        authority: PathBuf,
        /// Which.
        #[arg(long)]
        source: Source,
        /// How many rows it has.
        #[arg(long)]
        rows: u64,
    },
    /// Only download its pages.
    PageDrain {
        /// The certificate of its authority.
        authority: PathBuf,
        /// Where it listens.
        #[arg(long)]
        port: u16,
        /// How many rows it has.
        #[arg(long)]
        rows: u64,
    },
    /// Run a cycle of its rows.
    PageCycle {
        /// The certificate of its authority.
        authority: PathBuf,
        /// The state folder.
        state: PathBuf,
        /// Which source it is.
        #[arg(long)]
        source: Source,
        /// Where it listens.
        #[arg(long)]
        port: u16,
    },
    /// Serve a vCenter until standard input ends.
    VcenterServer {
        /// Where to write the certificate of its authority.
        authority: PathBuf,
        /// How many virtual machines it has.
        #[arg(long)]
        rows: u64,
    },
    /// Only repeat what its first cycle asked for, and read the replies as events of XML.
    VcenterDrain {
        /// The certificate of its authority.
        authority: PathBuf,
        /// Where it listens.
        #[arg(long)]
        port: u16,
    },
    /// Run a cycle of all its data sets.
    VcenterCycle {
        /// The certificate of its authority.
        authority: PathBuf,
        /// The state folder.
        state: PathBuf,
        /// Where it listens.
        #[arg(long)]
        port: u16,
    },
    /// Be the program `datasync`.
    Host {
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

impl Work {
    /// Does it, prints a report and returns how the process ends.
    ///
    /// # Errors
    ///
    /// Whatever went wrong in it.
    #[expect(clippy::too_many_lines, reason = "an arm for each thing to measure")]
    pub fn perform(self) -> Result<ExitCode> {
        let report = match self {
            Self::Generate {
                file,
                rows,
                columns,
                changed,
                shuffled,
                edited,
            } => {
                let inventory = Inventory {
                    rows,
                    columns,
                    changed,
                    order: shuffled.map_or(Order::Key, Order::Shuffled),
                    edited,
                };
                Report::from([("bytes".into(), inventory.write(&file)?)])
            }
            Self::Parse { file } => Report::from([("rows".into(), parse(&file)?)]),
            Self::Cycle {
                inbox,
                state,
                memory,
                digests,
                ndjson,
                sqlite,
                postgres,
            } => {
                let sinks = Sinks {
                    ndjson,
                    sqlite,
                    postgres,
                };
                let mut options = CycleOptions::default();
                options.memory = memory.as_u64();
                if digests {
                    options.retain = Retain::Digests;
                }
                runtime()?.block_on(cycle(inbox, &state, options, sinks))?
            }
            Self::Insert {
                file,
                database,
                index,
            } => Report::from([("rows".into(), insert(&file, &database, index)?)]),
            Self::PgInsert { file, url } => {
                let rows = runtime()?.block_on(postgres::insert(&file, &url))?;
                Report::from([("rows".into(), rows)])
            }
            Self::SqlServer { authority, rows } => {
                runtime()?.block_on(sqlserver::serve(rows, &authority))?;
                return Ok(ExitCode::SUCCESS);
            }
            Self::SqlDrain { authority, port } => {
                runtime()?.block_on(sqlserver::drain(port, &authority))?
            }
            Self::SqlCycle {
                authority,
                state,
                port,
                connections,
            } => runtime()?.block_on(sqlserver::cycle(port, authority, &state, connections))?,
            Self::WritePage { file, source } => replies::write_page(&file, source)?,
            Self::PageRows {
                file,
                rows,
                source,
                values,
            } => {
                if values {
                    replies::page_values(&file, rows, source)?
                } else {
                    replies::page_rows(&file, rows, source)?
                }
            }
            Self::WriteInstalls { file, rows } => replies::write_installs(&file, rows)?,
            Self::Pack { file, archive } => replies::pack(&file, &archive)?,
            Self::InstallRows { file, packed } => replies::install_rows(&file, packed)?,
            Self::PageServer {
                authority,
                source,
                rows,
            } => {
                runtime()?.block_on(walk::serve(rows, source, &authority))?;
                return Ok(ExitCode::SUCCESS);
            }
            Self::PageDrain {
                authority,
                port,
                rows,
            } => runtime()?.block_on(walk::drain(port, authority, rows))?,
            Self::PageCycle {
                authority,
                state,
                source,
                port,
            } => runtime()?.block_on(walk::cycle(port, source, authority, &state))?,
            Self::VcenterServer { authority, rows } => {
                runtime()?.block_on(vcenter::serve(rows, &authority))?;
                return Ok(ExitCode::SUCCESS);
            }
            Self::VcenterDrain { authority, port } => {
                runtime()?.block_on(vcenter::drain(port, authority))?
            }
            Self::VcenterCycle {
                authority,
                state,
                port,
            } => runtime()?.block_on(vcenter::cycle(port, authority, &state))?,
            Self::Host { arguments } => {
                let program = OsString::from("datasync");
                return Ok(datasync::run(std::iter::once(program).chain(arguments)));
            }
        };
        print(&report)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// As the program `datasync` has it.
fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

fn parse(file: &Path) -> Result<u64> {
    let mut reader = csv::Reader::from_path(file)?;
    let mut record = csv::ByteRecord::new();
    let mut rows = 0;
    while reader.read_byte_record(&mut record)? {
        std::hint::black_box(&record);
        rows += 1;
    }
    Ok(rows)
}

/// Where events go; without any they are dropped.
struct Sinks {
    ndjson: Option<PathBuf>,
    sqlite: Option<PathBuf>,
    postgres: Option<String>,
}

async fn cycle(
    inbox: PathBuf,
    state: &Path,
    options: CycleOptions,
    sinks: Sinks,
) -> Result<Report> {
    let mut software = DatasetConfig::new("software", "software.csv");
    let key = COLUMNS[..KEY_COLUMNS].iter();
    software.key = key.map(|&name| name.to_owned()).collect();
    let mut config = FileUploadConfig::new(inbox);
    config.datasets.push(software);
    let connector = FileUpload::new("bench", config)?;

    let written = Arc::new(AtomicU64::new(0));
    let storage = CountedStorage::new(FileStorage::new(state), Arc::clone(&written));
    let store = Store::open(Arc::new(storage), Arc::new(SystemClock::default())).await?;
    let mut cycle = Cycle::new(&store).options(options);
    cycle = match sinks {
        Sinks {
            ndjson: Some(path), ..
        } => cycle.sink(NamedSink::new("ndjson", NdjsonSink::open(&path).await?)),
        Sinks {
            sqlite: Some(path), ..
        } => cycle.sink(NamedSink::new("sqlite", Repository::sqlite(&path).await?)),
        Sinks {
            postgres: Some(url),
            ..
        } => cycle.sink(NamedSink::new("postgres", postgres::open(url).await?)),
        _ => cycle.sink(NamedSink::new("none", NoSink)),
    };
    let report = cycle
        .run(&connector)
        .await?
        .pop()
        .ok_or("the folder holds no file")?;
    let sent = match report.outcome {
        Outcome::Synced(sent) if report.sink_errors.is_empty() => sent,
        _ => return Err(format!("the cycle failed: {report:?}").into()),
    };
    Ok(Report::from([
        ("inserts".into(), sent.inserts),
        ("updates".into(), sent.updates),
        ("deletes".into(), sent.deletes),
        ("rows".into(), report.rows),
        ("written".into(), written.load(Ordering::Relaxed)),
    ]))
}

fn insert(file: &Path, database: &Path, index: bool) -> Result<u64> {
    let mut reader = csv::Reader::from_path(file)?;
    let quote = |name: &str| format!("\"{name}\"");
    let columns: Vec<String> = reader.headers()?.iter().map(quote).collect();
    let connection = rusqlite::Connection::open(database)?;
    connection.execute_batch(&format!(
        "BEGIN; CREATE TABLE software ({} TEXT)",
        columns.join(" TEXT, ")
    ))?;
    let places = vec!["?"; columns.len()].join(", ");
    let mut statement = connection.prepare(&format!("INSERT INTO software VALUES ({places})"))?;
    let mut record = csv::StringRecord::new();
    let mut rows = 0;
    while reader.read_record(&mut record)? {
        statement.execute(rusqlite::params_from_iter(&record))?;
        rows += 1;
    }
    drop(statement);
    if index {
        let key = columns[..KEY_COLUMNS].join(", ");
        connection.execute_batch(&format!("CREATE UNIQUE INDEX by_key ON software ({key})"))?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(rows)
}
