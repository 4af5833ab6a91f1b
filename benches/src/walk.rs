//! A source of many pages, a tenant of Microsoft Graph or an instance of ServiceNow, and a walk through
//! all of them.
//!
//! The server is the testkit's, in a process of its own, over TLS. Pages are made beforehand, so
//! that sending them costs next to nothing.

use std::{
    io::{Read, stdin},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use connector_core::{
    Connector, Cycle, DatasetExt, FileStorage, NamedSink, Outcome, Secret, Store, SystemClock, Type,
};
use connector_http::{HttpConfig, Request, Service, Stack};
use connector_intune::{
    Intune, IntuneConfig,
    connector_graph::{Authentication, Hosts},
};
use connector_servicenow::{ServiceNow, ServiceNowConfig};
use connector_testkit::{
    Authority,
    http::{HttpReply, HttpRequest, HttpServer, ServerTls},
};

use serde_json::{Value as Json, json};

use crate::{
    Report, Result, Source,
    child::print,
    computers,
    counted::{CountedStorage, NoSink},
    replies::{self, PAGE},
};

/// As the connectors call what is read.
const DEVICES: &str = "managedDevices";
const COMPUTERS: &str = "computers";
const COLLECTION: &str = "/v1.0/deviceManagement/managedDevices";
const TABLE: &str = "cmdb_ci_computer";
/// How many bytes the server sends at a time.
const CHUNK: usize = 16 << 10;

/// Serves a source of so many rows until standard input ends.
pub(crate) async fn serve(rows: u64, source: Source, authority: &Path) -> Result<()> {
    let own = Authority::new();
    std::fs::write(authority, own.pem())?;
    let tls = ServerTls::new(own.issue(&["localhost"]));
    let pages = rows.div_ceil(PAGE).max(1);
    let bodies: Vec<Vec<u8>> = (0..pages)
        .map(|page| {
            // The next page's address is relative to this one's.
            let next = (page + 1 < pages).then(|| format!("{COLLECTION}?page={}", page + 1));
            let body = match source {
                Source::Graph => replies::page(page * PAGE, next.as_deref()),
                Source::Servicenow => computers::page(page * PAGE),
            };
            body.map(String::into_bytes)
        })
        .collect::<Result<_>>()?;
    let server = HttpServer::start_tls(&tls, move |request| match source {
        Source::Graph => graph(request, &bodies),
        Source::Servicenow => servicenow(request, &bodies),
    })
    .await;
    print(&Report::from([("port".into(), server.port().into())]))?;
    tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

fn graph(request: &HttpRequest, bodies: &[Vec<u8>]) -> HttpReply {
    if request.path().ends_with("/token") {
        return HttpReply::json(
            r#"{"token_type":"Bearer","expires_in":3599,"access_token":"eyJ0.e30.c"}"#,
        );
    }
    // The first page is asked for with `$select`, the others by their number.
    let page = numbered(request).unwrap_or(0);
    bodies
        .get(page)
        .map_or_else(|| HttpReply::status(404), |body| page_of(body))
}

/// Answers for a table, page by page: ids stand in the order of numbers.
fn servicenow(request: &HttpRequest, bodies: &[Vec<u8>]) -> HttpReply {
    let path = request.path();
    if path.ends_with("/sys_db_object") || path.ends_with("/sys_dictionary") {
        let rows = dictionary(path);
        let count = rows.len().to_string();
        return HttpReply::json(json!({ "result": rows }).to_string())
            .header("x-total-count", &count);
    }
    let behind = || {
        let (_, rest) = request.query().split_once("sys_id%3E")?;
        let number = u64::from_str_radix(rest.get(..16)?, 16).ok()?;
        usize::try_from((number + 1) / PAGE).ok()
    };
    let page = numbered(request).or_else(behind).unwrap_or(0);
    let left = bodies.len().saturating_sub(page) as u64 * PAGE;
    let body = bodies
        .get(page)
        .map_or(&br#"{"result":[]}"#[..], Vec::as_slice);
    page_of(body).header("x-total-count", &left.to_string())
}

fn dictionary(path: &str) -> Vec<Json> {
    if path.ends_with("/sys_db_object") {
        return vec![json!({ "sys_id": "1", "name": TABLE, "super_class.name": "" })];
    }
    let columns = computers::COMPUTERS.columns.iter();
    let fields = columns.map(|column| {
        let ty = match column.ty() {
            Type::Bool => "boolean",
            Type::Int => "integer",
            Type::Float => "decimal",
            Type::Timestamp => "glide_date_time",
            _ => "string",
        };
        json!({
            "sys_id": column.path(),
            "name": TABLE,
            "element": column.path(),
            "internal_type": ty,
            "reference": "",
        })
    });
    fields.collect()
}

/// Returns the number of the page that is asked for by it.
fn numbered(request: &HttpRequest) -> Option<usize> {
    request.query().strip_prefix("page=")?.parse().ok()
}

fn page_of(body: &[u8]) -> HttpReply {
    let mut reply = HttpReply::status(200).header("content-type", "application/json");
    for chunk in body.chunks(CHUNK) {
        reply = reply.chunk(chunk);
    }
    reply
}

/// Only downloads the pages, over TLS as the connector does, and drops them.
pub(crate) async fn drain(port: u16, authority: PathBuf, rows: u64) -> Result<Report> {
    let mut config = HttpConfig::default();
    config.ca_file = Some(authority);
    let transport = Stack::new(Service::new("the server"), config).build()?;
    let mut bytes = 0;
    for page in 0..rows.div_ceil(PAGE).max(1) {
        let url = format!("https://localhost:{port}{COLLECTION}?page={page}").parse()?;
        let request = Request::get(url).without_credential();
        let page = transport.send(request).await?.bytes(u64::MAX).await?;
        bytes += std::hint::black_box(page).len() as u64;
    }
    Ok(Report::from([("bytes".into(), bytes)]))
}

/// Runs a cycle of all rows.
pub(crate) async fn cycle(
    port: u16,
    source: Source,
    authority: PathBuf,
    state: &Path,
) -> Result<Report> {
    let host = format!("https://localhost:{port}/");
    let (connector, name): (Box<dyn Connector>, _) = match source {
        Source::Graph => (Box::new(intune(&host, authority)?), DEVICES),
        Source::Servicenow => (Box::new(instance(&host, authority)?), COMPUTERS),
    };
    let datasets = connector.datasets().await?;
    let dataset = datasets.iter().find(|dataset| dataset.name() == name);
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

fn intune(host: &str, authority: PathBuf) -> Result<Intune> {
    let auth = Authentication::Secret {
        client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        client_secret: Secret::new("s3cret"),
    };
    let mut config = IntuneConfig::new("acme.example", auth);
    config.hosts = Some(Hosts {
        login: host.parse()?,
        graph: host.parse()?,
    });
    config.http.ca_file = Some(authority);
    Ok(Intune::new("bench", config)?)
}

fn instance(host: &str, authority: PathBuf) -> Result<ServiceNow> {
    let auth = connector_servicenow::Authentication::Basic {
        user: "datasync".to_owned(),
        password: Secret::new("s3cret"),
    };
    let mut config = ServiceNowConfig::new(host.parse()?, auth);
    config.page = u32::try_from(PAGE)?;
    config.http.ca_file = Some(authority);
    Ok(ServiceNow::new("bench", &config)?)
}
