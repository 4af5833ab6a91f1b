//! The commands that look and change nothing.

use std::{io::Write, path::Path};

use connector_core::{Column, DatasetExt, DatasetId, Error, ErrorKind, Result, Row, Schema, Store};
use tracing::{debug, error};

use crate::{
    cli::{RowFormat, Verdict},
    config::Config,
    connectors::{self, Configured},
    host::{self, log_process},
    output::{self, failed},
    sink::{EventLine, ProcessEntry, configured_name},
};

pub(crate) async fn check(config: &Path, names: &[String]) -> Result<Verdict> {
    let config = Config::load(config)?;
    let mut ok = true;
    let mut out = output::open();
    for configured in connectors::connect(&config, names)? {
        let info = configured.connector.info();
        writeln!(out, "{} ({} {})", info.name, info.kind, info.version).map_err(failed)?;
        let found = match configured.connector.check().await {
            Ok(report) => {
                for (name, fact) in &report.facts {
                    writeln!(out, "  {name}: {fact}").map_err(failed)?;
                }
                for dataset in &report.datasets {
                    writeln!(out, "  {}: {}", dataset.name, dataset.availability)
                        .map_err(failed)?;
                }
                report.is_ok()
            }
            Err(error) => {
                writeln!(out, "  failed: {error:#}").map_err(failed)?;
                false
            }
        };
        log_check(&config, &configured, found).await;
        ok &= found;
    }
    out.flush().map_err(failed)?;
    Ok(ok.into())
}

/// Notes the check in the repositories that exist already: a check makes nothing.
async fn log_check(config: &Config, configured: &Configured, ok: bool) {
    for name in &configured.settings.sinks {
        let Some(settings) = config.sinks.get(name) else {
            continue;
        };
        let Some(opened) = settings.open_existing_repository(name).await else {
            continue;
        };
        match opened {
            Ok(sink) => {
                let entry = ProcessEntry {
                    at: host::clock().now(),
                    action: "check",
                    connector: Some(configured.name().to_owned()),
                    message: Some(if ok { "good" } else { "failed" }.to_owned()),
                };
                log_process(&sink, entry).await;
            }
            Err(error) => error!("{error:#}"),
        }
    }
}

pub(crate) async fn datasets(config: &Path, names: &[String], schema: bool) -> Result<Verdict> {
    let config = Config::load(config)?;
    let store = if schema {
        store_if_free(&config).await
    } else {
        None
    };
    let mut ok = true;
    let mut out = output::open();
    let mut lines = vec![["CONNECTOR", "DATA SET", "CATEGORY"].map(str::to_owned)];
    for configured in connectors::connect(&config, names)? {
        let offered = match configured.connector.datasets().await {
            Ok(offered) => offered,
            Err(error) => {
                error!(
                    "Can't list the data sets of {}: {error:#}",
                    configured.name()
                );
                ok = false;
                continue;
            }
        };
        for dataset in offered {
            let (name, category) = (dataset.name(), &dataset.info().category);
            if !schema {
                lines.push([configured.name(), name, category].map(str::to_owned));
                continue;
            }
            writeln!(out, "{}/{name} ({category})", configured.name()).map_err(failed)?;
            let known = match &store {
                Some(store) => {
                    let id = DatasetId::new(configured.name(), name);
                    store.status(&id).await?.map(|status| status.schema)
                }
                None => None,
            };
            match dataset.schema(known.as_ref()).await {
                Ok(schema) => write_schema(&mut out, &schema)?,
                Err(error) => {
                    writeln!(out, "  failed: {error:#}").map_err(failed)?;
                    ok = false;
                }
            }
        }
    }
    if !schema {
        output::table(&mut out, &lines)?;
    }
    out.flush().map_err(failed)?;
    Ok(ok.into())
}

/// What was found before decides what is found now; without it the columns are shown as a first
/// cycle would find them.
async fn store_if_free(config: &Config) -> Option<Store> {
    if !config.state.exists() {
        return None;
    }
    match host::open_store(config, &host::clock()).await {
        Ok(store) => Some(store),
        Err(error) => {
            debug!("Looking without the store: {error:#}");
            None
        }
    }
}

fn write_schema(out: &mut impl Write, schema: &Schema) -> Result<()> {
    for column in schema.columns() {
        let flags = [
            (column.is_key(), " key"),
            (column.is_nullable(), " null"),
            (column.is_volatile(), " volatile"),
        ];
        let flags: String = flags
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| *name)
            .collect();
        writeln!(out, "  {}: {}{flags}", column.name(), column.ty()).map_err(failed)?;
    }
    Ok(())
}

pub(crate) async fn status(config: &Path) -> Result<Verdict> {
    let config = Config::load(config)?;
    let headings = [
        "CONNECTOR",
        "DATA SET",
        "RECORDS",
        "SYNCED",
        "CYCLE",
        "CONFIRMED",
        "HELD",
    ];
    let mut lines = vec![headings.map(str::to_owned)];
    if config.state.exists() {
        let store = host::open_store(&config, &host::clock()).await?;
        for id in store.datasets().await? {
            let Some(status) = store.status(&id).await? else {
                continue;
            };
            let sinks: Vec<_> = status
                .sinks
                .iter()
                .map(|(name, cycle)| format!("{}: {cycle}", configured_name(name)))
                .collect();
            let held = status.held.map_or_else(String::new, |held| {
                format!("since {}: {}", held.since, held.counts)
            });
            lines.push([
                id.connector().to_owned(),
                id.dataset().to_owned(),
                status.rows.to_string(),
                status.synced.to_string(),
                status.cycle.number().to_string(),
                sinks.join(", "),
                held,
            ]);
        }
    }
    let mut out = output::open();
    output::table(&mut out, &lines)?;
    out.flush().map_err(failed)?;
    Ok(Verdict::Good)
}

/// Opens the store for reading one data set; finds its name in either case of letters.
async fn open_synced(config: &Path, connector: &str, dataset: &str) -> Result<(Store, DatasetId)> {
    let config = Config::load(config)?;
    let never = || {
        Error::new(
            ErrorKind::NotFound,
            "the data set was never synced; see `datasync status`",
        )
        .with("data set", DatasetId::new(connector, dataset))
    };
    if !config.state.exists() {
        return Err(never());
    }
    let store = host::open_store(&config, &host::clock()).await?;
    let known = store.datasets().await?;
    let id = known
        .into_iter()
        .find(|id| id.connector() == connector && host::same(id.dataset(), dataset))
        .ok_or_else(never)?;
    Ok((store, id))
}

pub(crate) async fn show(
    config: &Path,
    connector: &str,
    dataset: &str,
    format: RowFormat,
) -> Result<Verdict> {
    let (store, id) = open_synced(config, connector, dataset).await?;
    let mut out = output::open();
    let mut rows = store.rows(&id).await?;
    match format {
        RowFormat::Ndjson => {
            while let Some(rows) = rows.next().await? {
                for row in rows {
                    write_json(&mut out, &row)?;
                }
            }
            out.flush().map_err(failed)?;
        }
        RowFormat::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            if let Some(status) = store.status(&id).await? {
                let names = status.schema.columns().iter().map(Column::name);
                csv.write_record(names).map_err(csv_failed)?;
            }
            while let Some(rows) = rows.next().await? {
                for row in rows {
                    write_csv(&mut csv, &row)?;
                }
            }
            csv.flush().map_err(failed)?;
        }
    }
    Ok(Verdict::Good)
}

fn write_csv(csv: &mut csv::Writer<impl Write>, row: &Row) -> Result<()> {
    for value in row.values() {
        match value.as_text() {
            Some(text) => csv.write_field(text),
            None => csv.write_field(value.to_string()),
        }
        .map_err(csv_failed)?;
    }
    csv.write_record(None::<&[u8]>).map_err(csv_failed)
}

fn csv_failed(error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => failed(error),
        _ => Error::new(ErrorKind::Unexpected, "a record does not fit its headings"),
    }
}

pub(crate) async fn changes(config: &Path, connector: &str, dataset: &str) -> Result<Verdict> {
    let (store, id) = open_synced(config, connector, dataset).await?;
    let mut out = output::open();
    let mut changes = store.changes(&id).await?;
    while let Some(events) = changes.next().await? {
        for event in &events {
            write_json(&mut out, &EventLine::from(event))?;
        }
    }
    out.flush().map_err(failed)?;
    Ok(Verdict::Good)
}

fn write_json(out: &mut impl Write, line: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(|error| failed(error.into()))?;
    out.write_all(b"\n").map_err(failed)
}
