//! The connector, and its data sets.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use connector_core::{
    Availability, Batch, CheckReport, Clock, Connector, ConnectorInfo, Dataset, DatasetCheck,
    DatasetInfo, Error, ErrorKind, Result, Schema, SnapshotWriter, SystemClock,
};
use connector_http::{Refusal, Request, Transport, decode::PageDecoder};

use crate::{
    cloud::Cloud,
    collection,
    config::GraphConfig,
    dataset::{Call, GraphDataset},
    definition::Definition,
    export,
    link::Link,
    report,
};

/// A tenant of Microsoft Graph as a connector.
///
/// Connectors for products wrap it: they give it the data sets that they declare, and forward
/// [`Connector`] to it.
pub struct Graph {
    info: ConnectorInfo,
    cloud: Cloud,
    link: Arc<Link>,
    definitions: Vec<Arc<Definition>>,
}

impl Graph {
    /// Takes the connector's kind, its configured name and the data sets. Graph need not be there
    /// yet; files of certificates are read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting that is wrong.
    pub fn new(
        kind: &'static str,
        name: &str,
        config: &GraphConfig,
        datasets: impl IntoIterator<Item = &'static GraphDataset>,
    ) -> Result<Self> {
        let clock = Arc::new(SystemClock::default());
        let link = Link::new(config, None, clock)?;
        Self::with(kind, name, config, datasets, link)
    }

    /// The same over another client and clock, for tests and for programs that send requests in
    /// their own way. The client returns every reply as `Ok`, whatever its status.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn over(
        kind: &'static str,
        name: &str,
        config: &GraphConfig,
        datasets: impl IntoIterator<Item = &'static GraphDataset>,
        client: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let link = Link::new(config, Some(client), clock)?;
        Self::with(kind, name, config, datasets, link)
    }

    fn with(
        kind: &'static str,
        name: &str,
        config: &GraphConfig,
        datasets: impl IntoIterator<Item = &'static GraphDataset>,
        link: Link,
    ) -> Result<Self> {
        let declared: Vec<_> = datasets.into_iter().collect();
        let definitions = declared
            .iter()
            .map(|dataset| Definition::new(dataset, config))
            .collect::<Result<Vec<_>>>()?;
        let names = || declared.iter().map(|dataset| dataset.name());
        known("override", "data set", config.overrides.keys(), names())?;
        known("skip", "data set", &config.skip, names())?;
        let categories = declared.iter().map(|dataset| dataset.category);
        known("categories", "category", &config.categories, categories)?;
        let is_in =
            |names: &[String], text: &str| names.iter().any(|name| name.eq_ignore_ascii_case(text));
        let is_chosen = |definition: &Definition| {
            let categories = &config.categories;
            (categories.is_empty() || is_in(categories, &definition.info.category))
                && !is_in(&config.skip, definition.name())
        };
        Ok(Self {
            info: ConnectorInfo {
                kind,
                name: name.to_owned(),
                version: env!("CARGO_PKG_VERSION"),
            },
            cloud: config.cloud,
            link: Arc::new(link),
            definitions: definitions
                .into_iter()
                .filter(is_chosen)
                .map(Arc::new)
                .collect(),
        })
    }
}

/// Refuses names that are none.
fn known<'a>(
    setting: &str,
    what: &str,
    set: impl IntoIterator<Item = &'a String>,
    names: impl Iterator<Item = &'static str>,
) -> Result<()> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    let is_known = |set: &str| names.iter().any(|name| name.eq_ignore_ascii_case(set));
    match set.into_iter().find(|set| !is_known(set)) {
        None => Ok(()),
        Some(unknown) => Err(Error::new(
            ErrorKind::Config,
            format!(
                "`{setting}` names the {what} {unknown}, which is none; there are: {}",
                names.join(", ")
            ),
        )),
    }
}

#[async_trait]
impl Connector for Graph {
    fn info(&self) -> &ConnectorInfo {
        &self.info
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        let datasets = self.definitions.iter().map(|definition| {
            Arc::new(Read {
                definition: Arc::clone(definition),
                link: Arc::clone(&self.link),
            }) as Arc<dyn Dataset>
        });
        Ok(datasets.collect())
    }

    /// Signs in and asks for one object of each data set. Of an export, a job is submitted that
    /// nobody waits for: nothing less tells whether it would be allowed.
    ///
    /// # Errors
    ///
    /// When signing in fails, or Graph can't be reached.
    async fn check(&self) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        for definition in &self.definitions {
            let outcome = match &definition.absent {
                Some(reason) => Err(not_collected(reason)),
                None => probe(&self.link, definition).await,
            };
            if let Err(error) = &outcome
                && is_everywhere(error)
            {
                return outcome.map(|()| report);
            }
            let outcome = outcome.map_err(|error| self.link.explain(definition, error));
            report.datasets.push(DatasetCheck {
                name: definition.name().to_owned(),
                availability: Availability::from_outcome(outcome),
            });
        }
        self.facts(&mut report).await;
        Ok(report)
    }
}

impl Graph {
    async fn facts(&self, report: &mut CheckReport) {
        let mut fact = |name: &str, text: String| report.facts.push((name.to_owned(), text));
        fact("graph", self.link.host().to_owned());
        fact("cloud", self.cloud.name().to_owned());
        if let Some(claims) = self.link.newest.claims() {
            if let Some(tenant) = claims.tenant {
                fact("tenant", tenant);
            }
            if let Some(app) = claims.app {
                fact("app", app);
            }
            let roles = if claims.roles.is_empty() {
                "none: nobody has consented to any application permission".to_owned()
            } else {
                claims.roles.join(", ")
            };
            fact("permissions", roles);
        }
        let has_reports = self.definitions.iter().any(|definition| {
            definition.absent.is_none() && matches!(definition.declared.call, Call::Report(_))
        });
        if has_reports {
            let concealed = match report::are_concealed(&self.link).await {
                Some(true) => report::CONCEALED,
                Some(false) => "shown",
                None => "not known: the permission ReportSettings.Read.All would tell",
            };
            fact("names in reports", concealed.to_owned());
        }
    }
}

fn not_collected(reason: &str) -> Error {
    Error::new(ErrorKind::NotCollected, reason)
}

/// Tells whether no data set could do better.
fn is_everywhere(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Auth | ErrorKind::Config => true,
        ErrorKind::Unavailable => Refusal::of(error).is_none(),
        _ => false,
    }
}

/// Asks for as little as tells whether a data set can be read.
async fn probe(link: &Link, definition: &Definition) -> Result<()> {
    match &definition.declared.call {
        Call::Collection(of) => {
            let request = collection::request(link, definition, of, 1)?;
            decodes(link, definition, request).await
        }
        Call::Single(path) => {
            let request = collection::object(link, definition, path, None)?;
            decodes(link, definition, request).await
        }
        Call::Each(each) => {
            let first = collection::id_request(link, definition, &each.of, 1)?;
            let Some(id) = collection::first_id(link, first).await? else {
                return Ok(());
            };
            let request = collection::each_object(link, definition, each, &id)?;
            match link.transport.send(request).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                reply => reply.map(drop),
            }
        }
        Call::Export(export) => export::submit(link, definition, export).await.map(drop),
        Call::Report(of) => {
            let request = report::request(link, definition, of)?.streamed();
            match link.transport.send(request).await {
                Err(error) if is_redirect(&error) => Ok(()),
                reply => reply.map(drop),
            }
        }
    }
}

fn is_redirect(error: &Error) -> bool {
    Refusal::of(error).is_some_and(|refusal| refusal.status.is_redirection())
}

async fn decodes(link: &Link, definition: &Definition, request: Request) -> Result<()> {
    let mut decoder = PageDecoder::new(&definition.declared.reply)?;
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let reply = link.transport.send(request).await?;
    let bytes = reply.bytes(u64::MAX).await?;
    let is_list = !definition.declared.reply.list.is_empty();
    let page = if is_list {
        &bytes
    } else {
        collection::unwrapped(&bytes)
    };
    decoder.decode(page, &mut rows).map(drop)
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("info", &self.info)
            .field("cloud", &self.cloud)
            .finish_non_exhaustive()
    }
}

/// One data set.
#[derive(Debug)]
struct Read {
    definition: Arc<Definition>,
    link: Arc<Link>,
}

#[async_trait]
impl Dataset for Read {
    fn info(&self) -> &DatasetInfo {
        &self.definition.info
    }

    /// Returns what is declared, whatever the cloud: a column that it lacks is null.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotCollected`] when the cloud does not offer it, or it is in beta and the
    /// setting `beta` is off.
    async fn schema(&self, _: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        let definition = &self.definition;
        if let Some(reason) = &definition.absent {
            return Err(not_collected(reason).with("data set", definition.name()));
        }
        Ok(Arc::new(definition.declared.schema()?))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let (link, definition) = (&*self.link, &*self.definition);
        if let Some(reason) = &definition.absent {
            return Err(not_collected(reason).with("data set", definition.name()));
        }
        let read = match &definition.declared.call {
            Call::Collection(of) => collection::read(link, definition, of, out).await,
            Call::Single(path) => collection::single(link, definition, path, out).await,
            Call::Each(each) => collection::each(link, definition, each, out).await,
            Call::Export(export) => export::read(link, definition, export, out).await,
            Call::Report(of) => report::read(link, definition, of, out).await,
        };
        read.map_err(|error| link.explain(definition, error))
    }
}
