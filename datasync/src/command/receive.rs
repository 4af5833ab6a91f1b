//! The commands of the receiver.

use std::{collections::BTreeSet, io::Write, path::Path};

use connector_core::{Error, ErrorKind, Result};
use tracing::info;

use crate::{
    cli::Verdict,
    config::Config,
    host,
    output::{self, failed},
    receive::{Authority, ReceiveSettings, Server},
    sink::blocking::blocking,
    stop::Stop,
    upload::SETUP_LIFE,
};

pub(crate) async fn receive(config: &Path) -> Result<Verdict> {
    let settings = settings(&Config::load(config)?)?;
    let stop = Stop::on_signals().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "can't listen to signals").with_source(error)
    })?;
    let server = Server::open(settings, host::clock()).await?;
    info!("Receiving at {}", server.address()?);
    stop.unless_asked_again(server.run(&stop)).await?;
    Ok(Verdict::Good)
}

/// Prints a setup token.
pub(crate) async fn token(config: &Path, tenant: &str, syncs: &[String]) -> Result<Verdict> {
    let settings = settings(&Config::load(config)?)?;
    let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
    let Some(known) = settings.tenants.iter().find(|known| known.name == tenant) else {
        return wrong(format!("no [[receive.tenant]] has the name `{tenant}`"));
    };
    let syncs: BTreeSet<String> = syncs.iter().cloned().collect();
    if let Some(sync) = syncs.difference(&known.syncs).next() {
        return wrong(format!("`{sync}` is none of the tenant's `syncs`"));
    }
    let (folder, tenant) = (settings.state.join("auth"), tenant.to_owned());
    let token =
        blocking(move || Authority::open(&folder, host::clock())?.setup_token(&tenant, syncs))
            .await?;
    let mut out = output::open();
    writeln!(out, "{}", token.expose())
        .and_then(|()| out.flush())
        .map_err(failed)?;
    info!(
        "It is used once, within {}",
        humantime::format_duration(SETUP_LIFE)
    );
    Ok(Verdict::Good)
}

fn settings(config: &Config) -> Result<ReceiveSettings> {
    match &config.receive {
        Some(settings) => Ok(settings.clone()),
        None => Err(Error::new(
            ErrorKind::Config,
            "the configuration has no table [receive]",
        )
        .with("file", config.path.display())),
    }
}
