//! A site database of Configuration Manager that is never what a client waits for.
//!
//! The server is the testkit's, which follows the published protocol, in a process of its own. It
//! answers the statements of one data set, the largest that sites have: what Windows shows as
//! installed.

use std::{
    io::{BufRead, BufReader, Read, stdin},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use connector_core::{
    Connector, Cycle, DatasetExt, FileStorage, NamedSink, Outcome, Secret, Store, SystemClock,
};
use connector_mssql::Authentication;
use connector_sccm::{Sccm, SccmConfig};
use connector_testkit::{
    cells,
    tds::{Cell, Column, Encryption, Reply, Request, Script, SqlType},
};
use futures::TryStreamExt;
use tiberius::{AuthMethod, Client, EncryptionLevel, QueryItem};
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncWriteCompatExt;

use crate::{
    Report, Result,
    child::print,
    counted::{CountedStorage, NoSink},
};

/// As the list of the Agent names it.
const DATASET: &str = "v_Add_Remove_Programs";
/// The two views behind it, each with half of the rows.
const VIEWS: [&str; 2] = ["v_GS_ADD_REMOVE_PROGRAMS", "v_GS_ADD_REMOVE_PROGRAMS_64"];
/// How many programs a device has in each view.
const EACH: u64 = 50;
const FIRST_DEVICE: u64 = 16_777_216;
const USER: &str = "reader";
const PASSWORD: &str = "Passw0rd!";

/// Name, `system_type_id`, length and type on the wire.
fn columns() -> Vec<(&'static str, i64, i64, SqlType)> {
    let text = |name, length: u16| (name, 231, 2 * i64::from(length), SqlType::NVarChar(length));
    let int = |name| (name, 56, 4, SqlType::Int);
    vec![
        int("ResourceID"),
        int("GroupID"),
        text("DisplayName0", 255),
        text("ProdID0", 255),
        text("Publisher0", 255),
        text("Version0", 255),
        text("InstallDate0", 255),
        int("RevisionID"),
        int("AgentID"),
        ("TimeStamp", 61, 8, SqlType::DateTime),
    ]
}

/// A server at work, as its parent sees it.
#[derive(Debug)]
pub struct SqlServer {
    process: Child,
    /// Where it takes what is encrypted, and where what is not.
    pub ports: [u64; 2],
}

impl SqlServer {
    /// Starts it in a child; `authority` is a file for the certificate of its authority.
    ///
    /// # Errors
    ///
    /// When the child ends before it listens.
    pub fn start(mut command: Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let printed = process.stdout.take().ok_or("the server says nothing")?;
        let mut ports = BufReader::new(printed).lines().map(|line| -> Result<u64> {
            let line = line?;
            let (_, port) = line.split_once('=').ok_or("not a port")?;
            Ok(port.parse()?)
        });
        let mut port = || ports.next().ok_or("the server ended")?;
        Ok(Self {
            ports: [port()?, port()?],
            process,
        })
    }
}

impl Drop for SqlServer {
    fn drop(&mut self) {
        // It ends when its standard input does.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Serves `rows` rows until standard input ends.
pub(crate) async fn serve(rows: u64, authority: &Path) -> Result<()> {
    let encrypted = script(rows).start().await;
    let clear = script(rows)
        .encryption(Encryption::NotSupported)
        .start()
        .await;
    std::fs::write(authority, encrypted.authority_pem())?;
    print(&Report::from([
        ("1 encrypted".into(), encrypted.port().into()),
        ("2 clear".into(), clear.port().into()),
    ]))?;
    tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

fn script(rows: u64) -> Script {
    let devices = rows / (VIEWS.len() as u64 * EACH);
    let name = || SqlType::NVarChar(128);
    let database = Reply::columns([
        Column::new("snapshot_isolation_state", SqlType::TinyInt),
        Column::new("is_read_committed_snapshot_on", SqlType::Bit),
        Column::new("collation_name", name()),
    ])
    .row(cells![0, true, "SQL_Latin1_General_CP1_CI_AS"]);
    let list = Reply::columns([Column::new("k", SqlType::Int)])
        .rows(devices, |device| vec![int(FIRST_DEVICE + device)]);
    let mut script = Script::new()
        .login(USER, PASSWORD)
        .on("sys.databases", database)
        .on("FROM [dbo].[v_R_System]", list);
    for view in VIEWS {
        let mut catalogue = Reply::columns([
            Column::new("name", name()),
            Column::new("system_type_id", SqlType::Int),
            Column::new("max_length", SqlType::Int),
            Column::new("precision", SqlType::Int),
            Column::new("scale", SqlType::Int),
            Column::new("is_nullable", SqlType::Bit),
            Column::new("collation_name", name()),
        ]);
        for (name, ty, length, _) in columns() {
            catalogue = catalogue.row(cells![name, ty, length, 0, 0, true, ()]);
        }
        script = script
            .on(&format!("OBJECT_ID(N'[dbo].[{view}]')"), catalogue)
            .on_each(&format!("FROM [dbo].[{view}] AS"), move |request| {
                answer(request, devices)
            });
    }
    script
}

/// The rows between the bounds that a statement has, in the columns that it asks for.
fn answer(request: &Request, devices: u64) -> Reply {
    let text = &request.text;
    let bound = |sign: &str| {
        let (_, after) = text.split_once(&format!("[ResourceID] {sign} "))?;
        let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()
    };
    let from = bound(">=").unwrap_or(FIRST_DEVICE);
    let below = bound("<").unwrap_or(FIRST_DEVICE + devices);
    let list = text
        .strip_prefix("SELECT ")
        .and_then(|text| text.split_once(" FROM "))
        .map_or("", |(list, _)| list);
    let asked: Vec<Asked> = list.split(", ").filter_map(Asked::read).collect();
    let heads = asked.iter().map(|asked| match asked {
        Asked::Column(place) => {
            let (name, _, _, ty) = columns().swap_remove(*place);
            Column::new(name, ty)
        }
        Asked::Number(_) => Column::new("number", SqlType::Int),
    });
    Reply::columns(heads.collect::<Vec<_>>()).rows((below - from) * EACH, move |number| {
        let (device, program) = (from + number / EACH, number % EACH);
        let cells = asked.iter().map(|asked| match asked {
            Asked::Column(place) => cell(*place, device, program),
            Asked::Number(number) => int(*number),
        });
        cells.collect()
    })
}

/// What stands in a list of columns: `[i].[GroupID] AS [GroupID]`, `32 AS [Bits]`.
enum Asked {
    Column(usize),
    Number(u64),
}

impl Asked {
    fn read(item: &str) -> Option<Self> {
        let (what, _) = item.split_once(" AS ")?;
        if let Ok(number) = what.parse() {
            return Some(Self::Number(number));
        }
        let named = |(name, ..): &(&str, _, _, _)| what.ends_with(&format!("[{name}]"));
        columns().iter().position(named).map(Self::Column)
    }
}

fn cell(place: usize, device: u64, program: u64) -> Cell {
    match place {
        0 => int(device),
        1 => int(program + 1),
        2 => Cell::Text(format!("Contoso Suite Component {program} for Business")),
        3 => Cell::Text(format!(
            "{{8F1D6E{program:02}-0A3B-4C5D-9E7F-112233445566}}"
        )),
        4 => Cell::Text("Contoso Corporation".to_owned()),
        5 => Cell::Text(format!("{}.{}.17328.20162", program % 9 + 10, device % 4)),
        6 => Cell::Text(format!("202603{:02}", device % 28 + 1)),
        7 => int(device % 7),
        8 => int(1),
        _ => Cell::Text(format!("2026-03-{:02} 03:04:05.123", device % 28 + 1)),
    }
}

fn int(number: u64) -> Cell {
    Cell::Int(number.try_into().unwrap_or(i64::MAX))
}

/// Only reads the rows with the driver, and drops them.
pub(crate) async fn drain(port: u16) -> Result<Report> {
    let mut config = tiberius::Config::new();
    config.host("localhost");
    config.port(port);
    config.database("CM_P01");
    config.authentication(AuthMethod::sql_server(USER, PASSWORD));
    config.encryption(EncryptionLevel::NotSupported);
    config.packet_size(16_383);
    let tcp = TcpStream::connect(config.get_addr()).await?;
    tcp.set_nodelay(true)?;
    let mut client = Client::connect(config, tcp.compat_write()).await?;
    let mut rows = 0;
    for view in VIEWS {
        let names: Vec<_> = columns()
            .iter()
            .map(|(name, ..)| format!("[i].[{name}] AS [{name}]"))
            .collect();
        let sql = format!("SELECT {} FROM [dbo].[{view}] AS [i]", names.join(", "));
        let mut items = client.simple_query(sql).await?;
        while let Some(item) = items.try_next().await? {
            if let QueryItem::Row(row) = item {
                std::hint::black_box(&row);
                rows += 1;
            }
        }
    }
    Ok(Report::from([("rows".into(), rows)]))
}

/// Runs a first cycle of the data set.
pub(crate) async fn cycle(
    port: u16,
    authority: PathBuf,
    state: &Path,
    connections: usize,
) -> Result<Report> {
    let mut config = SccmConfig::new(format!("localhost,{port}").parse()?, "CM_P01");
    config.auth = Authentication::Sql {
        user: USER.to_owned(),
        password: Secret::new(PASSWORD),
    };
    config.ca_file = Some(authority);
    config.connections = connections;
    // One connection reads it as a whole.
    config.large = if connections == 1 { u64::MAX } else { 0 };
    let connector = Sccm::new("bench", config)?;
    let datasets = connector.datasets().await?;
    let dataset = datasets.iter().find(|dataset| dataset.name() == DATASET);
    let dataset = dataset.ok_or("the data set is not there")?;

    let written = Arc::new(AtomicU64::new(0));
    let storage = CountedStorage::new(FileStorage::new(state), Arc::clone(&written));
    let store = Store::open(Arc::new(storage), Arc::new(SystemClock::default())).await?;
    let cycle = Cycle::new(&store).sink(NamedSink::new("none", NoSink));
    let report = cycle.run_dataset("bench", dataset.as_ref()).await;
    match report.outcome {
        Outcome::Synced(_) if report.sink_errors.is_empty() => Ok(Report::from([
            ("rows".into(), report.rows),
            ("written".into(), written.load(Ordering::Relaxed)),
        ])),
        _ => Err(format!("the cycle failed: {report:?}").into()),
    }
}
