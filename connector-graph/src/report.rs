//! Usage reports of Microsoft 365.
//!
//! <https://learn.microsoft.com/graph/api/resources/report>

use std::sync::Arc;

use connector_core::{Batch, Result, SnapshotWriter, Value};
use connector_http::{Request, decode::CsvDecoder, download};
use serde::Deserialize;
use tracing::warn;

use crate::{
    collection::unwrapped,
    dataset::{Report, Version},
    definition::Definition,
    export::tell,
    link::Link,
};

/// Rows are handed on in batches of this many bytes.
const BATCH_BYTES: usize = 256 << 10;

/// What is said where names are concealed.
pub(crate) const CONCEALED: &str = "names of users and sites are concealed in this tenant's \
                                    reports: rows can't be joined to users. An administrator can \
                                    change that under Settings, Org settings, Reports";

/// Makes the request for a report.
pub(crate) fn request(link: &Link, definition: &Definition, report: &Report) -> Result<Request> {
    let function = definition.path(report.function);
    let path = match report.period {
        Some(period) => format!("reports/{function}(period='{}')", definition.period(period)),
        None => format!("reports/{function}"),
    };
    let url = link.url(definition.declared.version, &path, None)?;
    // Each function has a limit of its own.
    let request = Request::get(url).group(report.function);
    // Some clouds' functions have JSON too.
    request.header("accept", "text/csv, application/octet-stream, */*")
}

/// Reads a report.
pub(crate) async fn read(
    link: &Link,
    definition: &Definition,
    report: &Report,
    out: &mut SnapshotWriter,
) -> Result<()> {
    let file = download(&*link.transport, request(link, definition, report)?).await?;
    let mut body = file.body;
    let mut decoder = CsvDecoder::new(&definition.declared.reply)?;
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let columns = decoder.schema().columns().iter();
    let user = report.user.and_then(|user| {
        let mut columns = columns.map(connector_core::Column::name);
        columns.position(|name| name == user)
    });
    let mut names = Names::default();
    while let Some(chunk) = body.chunk().await? {
        decoder.push(&chunk, &mut rows)?;
        if rows.byte_len() >= BATCH_BYTES {
            names.count(&rows, user);
            let next = rows.next(None);
            out.batch(std::mem::replace(&mut rows, next)).await?;
        }
    }
    let facts = decoder.finish(&mut rows)?;
    names.count(&rows, user);
    out.batch(rows).await?;
    tell(link, definition, &facts);
    if names.are_concealed() && link.is_new("concealed names", CONCEALED) {
        warn!("data set {}: {CONCEALED}", definition.name());
    }
    Ok(())
}

/// How many names of users were seen, and how many of them are none.
#[derive(Debug, Default, PartialEq)]
struct Names {
    all: u64,
    concealed: u64,
}

impl Names {
    fn count(&mut self, rows: &Batch, column: Option<usize>) {
        let Some(column) = column else { return };
        for row in rows.rows() {
            if let Value::Text(name) = row.at(column) {
                self.all += 1;
                self.concealed += u64::from(is_concealed(&name));
            }
        }
    }

    /// The setting is for the whole tenant; single names look like that where a user is gone.
    fn are_concealed(&self) -> bool {
        self.concealed * 2 > self.all
    }
}

/// Tells whether a name was replaced: by a hash, by a mark, or by nothing.
fn is_concealed(name: &str) -> bool {
    let is_hash = name.len() >= 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash || name.starts_with("<PII:") || name == "(Unknown)"
}

/// Asks whether names are concealed; none where that can't be asked.
pub(crate) async fn are_concealed(link: &Link) -> Option<bool> {
    #[derive(Deserialize)]
    struct Settings {
        #[serde(rename = "displayConcealedNames")]
        concealed: bool,
    }
    let url = link.url(Version::V1, "admin/reportSettings", None).ok()?;
    let reply = link.transport.send(Request::get(url)).await.ok()?;
    let bytes = reply.bytes(1 << 20).await.ok()?;
    let settings = serde_json::from_slice::<Settings>(unwrapped(&bytes)).ok()?;
    Some(settings.concealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concealed_names_are_told_from_names() {
        for name in [
            "0123456789ABCDEF0123456789abcdef",
            "<PII:H105(0a1b)>@acme.example",
            "(Unknown)",
        ] {
            assert!(is_concealed(name), "{name}");
        }
        for name in ["ada@acme.example", "", "deadbeef", "https://acme.example/a"] {
            assert!(!is_concealed(name), "{name}");
        }
        assert!(!Names::default().are_concealed());
    }
}
