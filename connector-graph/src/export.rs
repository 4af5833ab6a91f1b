//! Files that Intune makes on request.
//!
//! <https://learn.microsoft.com/intune/device-management/reports/export-graph-apis>

use std::time::Duration;

use connector_core::{Error, ErrorKind, Result, Retry, SnapshotWriter};
use connector_http::{
    Refusal, Request, Response,
    decode::{CsvDecoder, CsvFacts, Download},
    download,
};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::{collection::unwrapped, dataset::Export, definition::Definition, group, link::Link};

const JOBS: &str = "deviceManagement/reports/exportJobs";

/// The longest pause between two looks at a job: no interval is documented, and looks count against
/// the quota as well.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The largest answer about a job that is read, in bytes.
const LARGEST: u64 = 1 << 20;

#[derive(Debug, Deserialize)]
struct Job {
    id: String,
    status: String,
    /// A signed address, which is itself the permission.
    url: Option<String>,
}

/// How a job ended that gives no file.
#[derive(Debug, Clone, Copy)]
enum Lost {
    Failed,
    Late,
    Gone,
}

impl Lost {
    fn text(self) -> &'static str {
        match self {
            Self::Failed => "the job failed",
            Self::Late => "the job was not done in time (`export.deadline`)",
            Self::Gone => "the file of the job was gone before it was read",
        }
    }
}

/// Has a report made, and reads it.
pub(crate) async fn read(
    link: &Link,
    definition: &Definition,
    export: &Export,
    out: &mut SnapshotWriter,
) -> Result<()> {
    // It is never closed.
    let _turn = link.exports.acquire().await;
    let decoder = CsvDecoder::new(&definition.declared.reply)?;
    let mut lost = Lost::Failed;
    for _ in 0..link.export.submissions {
        let job = submit(link, definition, export).await?;
        match file(link, definition, job).await? {
            Ok(file) => return rows(link, definition, file, decoder, out).await,
            Err(why) => {
                warn!("data set {}: {}", definition.name(), why.text());
                lost = why;
            }
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("Intune did not export the report: {}", lost.text()),
    )
    .with_retry(Retry::Exhausted)
    .with("jobs", link.export.submissions))
}

/// Submits a job. Returns its id.
///
/// Columns are always named, since those that come by themselves change.
pub(crate) async fn submit(
    link: &Link,
    definition: &Definition,
    export: &Export,
) -> Result<String> {
    let mut body = serde_json::json!({
        "reportName": definition.path(export.report),
        "select": definition.select,
        "format": "csv",
        "localizationType": "localizedValuesAsAdditionalColumn",
    });
    let filter = definition.filter(export.filter);
    if !filter.is_empty() {
        body["filter"] = filter.into();
    }
    let url = link.url(definition.declared.version, JOBS, None)?;
    let request = Request::post(url, "application/json", body.to_string())?
        .group(group::EXPORTS)
        // A second job is one that nobody fetches.
        .idempotent();
    let reply = link.transport.send(request).await?;
    let job = read_job(reply).await?;
    debug!(
        data_set = definition.name(),
        job = job.id,
        "submitted an export"
    );
    Ok(job.id)
}

async fn look(link: &Link, definition: &Definition, id: &str) -> Result<Job> {
    let path = format!("{JOBS}('{{id}}')");
    let url = link.url(definition.declared.version, &path, Some(id))?;
    let reply = link.transport.send(Request::get(url).group(group::EXPORTS));
    read_job(reply.await?).await
}

async fn read_job(reply: Response) -> Result<Job> {
    let bytes = reply.bytes(LARGEST).await?;
    // The cause could show the signed address.
    serde_json::from_slice(unwrapped(&bytes)).map_err(|_| {
        Error::new(
            ErrorKind::Source,
            "what Graph says of an export job is no job",
        )
    })
}

/// Waits for a job, and opens its file.
async fn file(link: &Link, definition: &Definition, id: String) -> Result<Result<Response, Lost>> {
    let start = Instant::now();
    let mut pause = link.export.pause;
    let mut refused = 0;
    loop {
        if start.elapsed() >= link.export.deadline {
            return Ok(Err(Lost::Late));
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        let job = match look(link, definition, &id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err(Lost::Gone)),
            job => job?,
        };
        match (job.status.as_str(), job.url) {
            ("failed", _) => return Ok(Err(Lost::Failed)),
            ("completed", Some(url)) => match open(link, &url).await {
                // The link has expired: a second look at the job may give a new one.
                Err(error) if is_refused(&error) => {
                    refused += 1;
                    if refused > 1 {
                        return Ok(Err(Lost::Gone));
                    }
                }
                opened => return opened.map(Ok),
            },
            _ => {}
        }
    }
}

async fn open(link: &Link, url: &str) -> Result<Response> {
    // The cause would show the address.
    let url = url
        .parse()
        .map_err(|_| Error::new(ErrorKind::Source, "the address of an export is none"))?;
    download(&*link.transport, Request::get(url).without_credential()).await
}

fn is_refused(error: &Error) -> bool {
    Refusal::of(error).is_some_and(|refusal| matches!(refusal.status.as_u16(), 403 | 404 | 410))
}

async fn rows(
    link: &Link,
    definition: &Definition,
    file: Response,
    decoder: CsvDecoder,
    out: &mut SnapshotWriter,
) -> Result<()> {
    let read = Download::zip().read(file.body, decoder, out).await;
    let facts = read.map_err(|error| match error.kind() {
        // What was read of it counts for nothing: from the start, with another job.
        ErrorKind::Incomplete | ErrorKind::Unavailable => error.with_retry(Retry::Restart),
        _ => error,
    })?;
    tell(link, definition, &facts);
    Ok(())
}

/// Says once which columns a file lacks.
pub(crate) fn tell(link: &Link, definition: &Definition, facts: &CsvFacts) {
    let asked = |name: &&&str| {
        let mut columns = definition.declared.reply.columns.iter();
        let column = columns.find(|column| column.name() == **name);
        column.is_some_and(|column| definition.select.contains(&column.path()))
    };
    let missing: Vec<_> = facts.missing.iter().filter(asked).copied().collect();
    let missing = missing.join(", ");
    if link.is_new(definition.name(), &missing) && !missing.is_empty() {
        warn!(
            "data set {}: the file lacks the columns {missing}, which are null",
            definition.name()
        );
    }
}
