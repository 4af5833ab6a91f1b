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
use connector_mssql::{Authentication, Encryption as Strictness};
use connector_sccm::{Sccm, SccmConfig};
use connector_testkit::{
    cells,
    tds::{Cell, Column, Encryption, Reply, Request, Script, SqlType},
};
use futures::TryStreamExt;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tiberius::{AuthMethod, Client, EncryptionLevel, QueryItem};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
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
/// Which of the two a row is from: no column of theirs.
const BITS: &str = "Bits";
/// How many programs a device has in each view.
const EACH: u64 = 50;
const FIRST_DEVICE: u64 = 16_777_216;
/// How many bytes the server sends at a time.
const PIECE: usize = 256 << 10;
const USER: &str = "reader";
const PASSWORD: &str = "Passw0rd!";

/// Name, `system_type_id`, length and type on the wire, in the order in which the connector asks for
/// them.
fn columns() -> Vec<(&'static str, i64, i64, SqlType)> {
    let text = |name, length: u16| (name, 231, 2 * i64::from(length), SqlType::NVarChar(length));
    let int = |name| (name, 56, 4, SqlType::Int);
    vec![
        int("ResourceID"),
        int(BITS),
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
pub struct Server {
    process: Child,
    /// Where it listens.
    pub port: u64,
}

impl Server {
    /// Starts it in a child.
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
        let mut line = String::new();
        BufReader::new(printed).read_line(&mut line)?;
        let (_, port) = line.trim().split_once('=').ok_or("the server ended")?;
        let port = port.parse()?;
        Ok(Self { process, port })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends when its standard input does.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Serves `rows` rows until standard input ends.
pub(crate) async fn serve(rows: u64, authority: &Path) -> Result<()> {
    let server = script(rows).encryption(Encryption::Strict).start().await;
    std::fs::write(authority, server.authority_pem())?;
    print(&Report::from([("port".into(), server.port().into())]))?;
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
    let list = Reply::columns([Column::new("k", SqlType::Int)]).rows(devices, |device| {
        vec![Cell::Int(
            (FIRST_DEVICE + device).try_into().unwrap_or(i64::MAX),
        )]
    });
    let mut script = Script::new()
        .login(USER, PASSWORD)
        .on("sys.databases", database)
        .on("FROM [dbo].[v_R_System]", list);
    for (view, bits) in VIEWS.into_iter().zip([32, 64]) {
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
            if name == BITS {
                continue;
            }
            catalogue = catalogue.row(cells![name, ty, length, 0, 0, true, ()]);
        }
        script = script
            .on(&format!("OBJECT_ID(N'[dbo].[{view}]')"), catalogue)
            .on_each(&format!("FROM [dbo].[{view}] AS"), {
                let rows = Encoded::new(bits, devices);
                move |request| rows.answer(request)
            });
    }
    script
}

/// Rows as bytes, so that sending them costs the server next to nothing.
struct Encoded {
    bytes: Vec<u8>,
    /// Where the rows of each device begin, and the end.
    devices: Vec<usize>,
}

impl Encoded {
    fn new(bits: i32, devices: u64) -> Self {
        let mut encoded = Self {
            bytes: Vec::new(),
            devices: vec![0],
        };
        for device in 0..devices {
            for program in 0..EACH {
                row(bits, device, program, &mut encoded.bytes);
            }
            encoded.devices.push(encoded.bytes.len());
        }
        encoded
    }

    /// The rows between the bounds that a statement has.
    fn answer(&self, request: &Request) -> Reply {
        let bound = |sign: &str| {
            let (_, after) = request.text.split_once(&format!("[ResourceID] {sign} "))?;
            let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
            let device = digits.parse::<u64>().ok()?.checked_sub(FIRST_DEVICE)?;
            self.devices.get(usize::try_from(device).ok()?).copied()
        };
        let from = bound(">=").unwrap_or(0);
        let upto = bound("<").unwrap_or(self.bytes.len());
        let head = columns()
            .into_iter()
            .map(|(name, _, _, ty)| Column::new(name, ty));
        self.bytes[from..upto]
            .chunks(PIECE)
            .fold(Reply::columns(head), Reply::then_raw)
            .without_count()
    }
}

/// Appends [MS-TDS] 2.2.7.20 ROW.
fn row(bits: i32, device: u64, program: u64, out: &mut Vec<u8>) {
    let int = |number: u64, out: &mut Vec<u8>| {
        out.push(4);
        out.extend(i32::try_from(number).unwrap_or(i32::MAX).to_le_bytes());
    };
    let text = |text: &str, out: &mut Vec<u8>| {
        let length = 2 * text.encode_utf16().count();
        out.extend(u16::try_from(length).unwrap_or_default().to_le_bytes());
        out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    };
    out.push(0xD1);
    int(FIRST_DEVICE + device, out);
    int(bits.unsigned_abs().into(), out);
    int(program + 1, out);
    text(
        &format!("Contoso Suite Component {program} for Business"),
        out,
    );
    text(
        &format!("{{8F1D6E{program:02}-0A3B-4C5D-9E7F-112233445566}}"),
        out,
    );
    text("Contoso Corporation", out);
    text(
        &format!("{}.{}.17328.20162", program % 9 + 10, device % 4),
        out,
    );
    text(&format!("202603{:02}", device % 28 + 1), out);
    int(device % 7, out);
    int(1, out);
    // Days since 1900 and three hundredths of a second.
    out.push(8);
    out.extend(i32::to_le_bytes(46_000));
    out.extend(u32::to_le_bytes(3_318_337));
}

/// Only reads the rows with the driver, and drops them. The connection is encrypted as the
/// connector's is.
pub(crate) async fn drain(port: u16, authority: &Path) -> Result<Report> {
    let mut config = tiberius::Config::new();
    config.host("localhost");
    config.port(port);
    config.database("CM_P01");
    config.authentication(AuthMethod::sql_server(USER, PASSWORD));
    config.encryption(EncryptionLevel::NotSupported);
    config.packet_size(16_383);
    let tcp = TcpStream::connect(config.get_addr()).await?;
    tcp.set_nodelay(true)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_file_iter(authority)?.flatten());
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"tds/8.0".to_vec()];
    let name = ServerName::try_from("localhost")?;
    let tcp = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?;
    let mut client = Box::pin(Client::connect(config, tcp.compat_write())).await?;
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

/// Runs a cycle of the data set.
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
    config.encrypt = Strictness::Strict;
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
