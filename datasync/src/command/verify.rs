//! The command that reads repositories back.

use std::{io::Write, path::Path};

use connector_core::{DatasetStatus, Result};

use crate::{
    cli::Verdict,
    config::Config,
    connectors,
    console::Console,
    host::Host,
    output::{self, failed},
    sink::{OpenSink, TableState},
    stop::Stop,
};

pub(crate) async fn verify(config: &Path, names: &[String], console: Console) -> Result<Verdict> {
    let config = Config::load(config)?;
    let connectors = connectors::connect(&config, names)?;
    let (_requests, stop) = Stop::new();
    let host = Host::open(&config, &connectors, console, stop).await?;
    let mut ok = true;
    let mut out = output::open();
    let known = host.store().datasets().await?;
    for configured in &connectors {
        for id in known
            .iter()
            .filter(|id| id.connector() == configured.name())
        {
            let Some(status) = host.store().status(id).await? else {
                continue;
            };
            for (name, sink) in host.sinks_of(configured) {
                let Some(repository) = &sink.repository else {
                    continue;
                };
                let found = repository.lock().await.verify(id, &status.schema).await;
                let (line, good) = match found {
                    Ok(found) => judge(&status, sink, found.as_ref()),
                    Err(error) => (format!("failed: {error:#}"), false),
                };
                writeln!(out, "{id} in {name}: {line}").map_err(failed)?;
                ok &= good;
            }
        }
    }
    out.flush().map_err(failed)?;
    Ok(ok.into())
}

const HEAL: &str = "run `datasync sync --clean` to load it anew";

fn judge(status: &DatasetStatus, sink: &OpenSink, found: Option<&TableState>) -> (String, bool) {
    let confirmed = status
        .sinks
        .iter()
        .find(|(name, _)| name == sink.named.name());
    match (found, confirmed) {
        // Not sent, or sent in part: the next cycle brings it up to date by itself.
        (_, None) => ("not sent yet; the next sync sends it".to_owned(), false),
        (_, Some((_, confirmed))) if *confirmed != status.cycle.number() => (
            "behind; the next sync brings it up to date".to_owned(),
            false,
        ),
        (None, Some(_)) => (format!("the table is missing; {HEAL}"), false),
        (Some(found), Some(_)) if (found.rows, found.digest) == (status.rows, status.digest) => {
            let records = if found.rows == 1 { "record" } else { "records" };
            (
                format!("{} {records} in table {}, equal", found.rows, found.table),
                true,
            )
        }
        (Some(found), Some(_)) => (
            format!(
                "table {} differs: {} records there, {} last synced; {HEAL}",
                found.table, found.rows, status.rows
            ),
            false,
        ),
    }
}
