//! The commands that run cycles.

use std::path::Path;

use connector_core::{DatasetId, Error, ErrorKind, Result};
use tracing::{error, info};

use crate::{
    cli::Verdict,
    config::Config,
    connectors::{self, Configured},
    console::Console,
    host::{Host, Selection},
    schedule,
    stop::Stop,
};

pub(crate) async fn sync(
    config: &Path,
    names: &[String],
    selection: &Selection,
    console: Console,
) -> Result<Verdict> {
    let config = Config::load(config)?;
    let connectors = connectors::connect(&config, names)?;
    let host = Host::open(&config, &connectors, console, listen()?).await?;
    let work = async {
        let mut plans = Vec::new();
        for configured in &connectors {
            plans.push(host.plan(configured, selection).await?);
        }
        let unknown = |what: &str, name: &str| {
            let message =
                format!("no connector offers the {what} `{name}`; see `datasync datasets`");
            Err(Error::new(ErrorKind::Config, message))
        };
        for name in &selection.datasets {
            if !plans.iter().any(|plan| plan.has_dataset(name)) {
                return unknown("data set", name);
            }
        }
        for name in &selection.categories {
            if !plans.iter().any(|plan| plan.has_category(name)) {
                return unknown("category", name);
            }
        }
        let mut ok = true;
        for plan in plans {
            ok &= host.carry_out(plan).await;
        }
        Ok(Verdict::from(ok))
    };
    host.stop().unless_asked_again(work).await?
}

pub(crate) async fn run(config: &Path, console: Console) -> Result<Verdict> {
    let config = Config::load(config)?;
    let connectors = connectors::connect(&config, &[])?;
    if connectors.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            "no connector is configured, so there is nothing to run",
        ));
    }
    let host = Host::open(&config, &connectors, console, listen()?).await?;
    if let Some(address) = config.health {
        host.answer(address).await?;
    }
    host.log_process(None, "start", None).await;
    for Configured { settings, .. } in &connectors {
        let every = humantime::format_duration(settings.every);
        info!("Running connector {} every {every}", settings.name);
    }
    let selection = Selection::default();
    let jobs = connectors.iter().map(|c| (c.settings.every, c));
    let work = schedule::run(jobs, host.stop(), async |configured| {
        match host.plan(configured, &selection).await {
            // What failed is in the log and is tried again in the next cycle.
            Ok(plan) => drop(host.carry_out(plan).await),
            Err(error) => error!("{error:#}"),
        }
    });
    host.stop().unless_asked_again(work).await?;
    host.log_process(None, "stop", None).await;
    info!("Stopped");
    Ok(Verdict::Good)
}

pub(crate) async fn approve(
    config: &Path,
    connector: &str,
    dataset: &str,
    console: Console,
) -> Result<Verdict> {
    let (host, configured) = open_one(config, connector, console).await?;
    let id = DatasetId::new(connector, dataset);
    let work = host.approve(&configured, &id);
    let ok = host.stop().unless_asked_again(work).await?;
    Ok(ok.into())
}

pub(crate) async fn reject(
    config: &Path,
    connector: &str,
    dataset: &str,
    console: Console,
) -> Result<Verdict> {
    let (host, configured) = open_one(config, connector, console).await?;
    let id = DatasetId::new(connector, dataset);
    host.reject(&configured, &id).await?;
    info!("Rejected the held cycle of data set {dataset}; the next cycle reads the source again");
    Ok(Verdict::Good)
}

pub(crate) async fn forget(
    config: &Path,
    connector: &str,
    dataset: &str,
    console: Console,
) -> Result<Verdict> {
    let (host, configured) = open_one(config, connector, console).await?;
    let id = DatasetId::new(connector, dataset);
    let work = host.forget(&configured, &id);
    let ok = host.stop().unless_asked_again(work).await?;
    Ok(ok.into())
}

async fn open_one(config: &Path, connector: &str, console: Console) -> Result<(Host, Configured)> {
    let config = Config::load(config)?;
    let mut connectors = connectors::connect(&config, &[connector.to_owned()])?;
    let host = Host::open(&config, &connectors, console, listen()?).await?;
    // `connect` has found the one that was asked for.
    match connectors.pop() {
        Some(configured) => Ok((host, configured)),
        None => Err(Error::new(ErrorKind::Unexpected, "a connector is missing")),
    }
}

fn listen() -> Result<Stop> {
    Stop::on_signals().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "can't listen to signals").with_source(error)
    })
}
