//! A tenant of Microsoft Graph with many devices, and a walk through all of them.
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
    Connector, Cycle, DatasetExt, FileStorage, NamedSink, Outcome, Secret, Store, SystemClock,
};
use connector_http::{HttpConfig, Request, Service, Stack};
use connector_intune::{
    Intune, IntuneConfig,
    connector_graph::{Authentication, Hosts},
};
use connector_testkit::{
    Authority,
    http::{HttpReply, HttpRequest, HttpServer, ServerTls},
};

use crate::{
    Report, Result,
    child::print,
    counted::{CountedStorage, NoSink},
    replies::{self, PAGE},
};

/// As the connector calls it.
const DATASET: &str = "managedDevices";
const COLLECTION: &str = "/v1.0/deviceManagement/managedDevices";
/// How many bytes the server sends at a time.
const CHUNK: usize = 16 << 10;

/// Serves a tenant of so many devices until standard input ends.
pub(crate) async fn serve(rows: u64, authority: &Path) -> Result<()> {
    let own = Authority::new();
    std::fs::write(authority, own.pem())?;
    let tls = ServerTls::new(own.issue(&["localhost"]));
    let pages = rows.div_ceil(PAGE).max(1);
    let bodies: Vec<Vec<u8>> = (0..pages)
        .map(|page| {
            // The next page's address is relative to this one's.
            let next = (page + 1 < pages).then(|| format!("{COLLECTION}?page={}", page + 1));
            replies::page(page * PAGE, next.as_deref()).map(String::into_bytes)
        })
        .collect::<Result<_>>()?;
    let server = HttpServer::start_tls(&tls, move |request| answer(request, &bodies)).await;
    print(&Report::from([("port".into(), server.port().into())]))?;
    tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

fn answer(request: &HttpRequest, bodies: &[Vec<u8>]) -> HttpReply {
    if request.path().ends_with("/token") {
        return HttpReply::json(
            r#"{"token_type":"Bearer","expires_in":3599,"access_token":"eyJ0.e30.c"}"#,
        );
    }
    // The first page is asked for with `$select`, the others by their number.
    let page = request.query().strip_prefix("page=");
    let page = page.and_then(|page| page.parse().ok()).unwrap_or(0_usize);
    let Some(body) = bodies.get(page) else {
        return HttpReply::status(404);
    };
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

/// Runs a cycle of all devices.
pub(crate) async fn cycle(port: u16, authority: PathBuf, state: &Path) -> Result<Report> {
    let connector = connector(port, authority)?;
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

fn connector(port: u16, authority: PathBuf) -> Result<Intune> {
    let auth = Authentication::Secret {
        client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        client_secret: Secret::new("s3cret"),
    };
    let mut config = IntuneConfig::new("acme.example", auth);
    let host = format!("https://localhost:{port}/");
    config.hosts = Some(Hosts {
        login: host.parse()?,
        graph: host.parse()?,
    });
    config.http.ca_file = Some(authority);
    Ok(Intune::new("bench", config)?)
}
