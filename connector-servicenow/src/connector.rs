//! The connector.

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{
    Availability, CheckReport, Clock, Connector, ConnectorInfo, Dataset, DatasetCheck, Error,
    ErrorKind, Result,
};
use connector_http::{Refusal, Transport};

use crate::{
    config::ServiceNowConfig, dataset::TableDataset, datasets::datasets, definition::Definition,
    link::Link,
};

/// Reads tables of an instance of ServiceNow.
///
/// ```
/// use connector_core::{Connector, Secret};
/// use connector_servicenow::{Authentication, ServiceNow, ServiceNowConfig};
///
/// let url = "https://acme.service-now.com".parse()?;
/// let auth = Authentication::Basic {
///     user: "datasync".to_owned(),
///     password: Secret::new("s3cret"),
/// };
/// let connector = ServiceNow::new("cmdb", &ServiceNowConfig::new(url, auth))?;
/// assert_eq!(connector.info().kind, "servicenow");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ServiceNow {
    info: ConnectorInfo,
    link: Arc<Link>,
    datasets: Vec<Arc<TableDataset>>,
}

impl ServiceNow {
    /// Takes the configured name. The instance need not be there yet; files of certificates are
    /// read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting that is wrong.
    pub fn new(name: &str, config: &ServiceNowConfig) -> Result<Self> {
        Self::with(name, config, Link::new(config, None)?)
    }

    /// The same over another client and clock, for tests and for programs that send requests in
    /// their own way. The client returns every reply as `Ok`, whatever its status.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn over(
        name: &str,
        config: &ServiceNowConfig,
        client: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Self::with(name, config, Link::new(config, Some((client, clock)))?)
    }

    fn with(name: &str, config: &ServiceNowConfig, link: Link) -> Result<Self> {
        let declared = datasets()
            .iter()
            .map(|declared| Definition::declared(declared, config));
        let configured = config
            .datasets
            .iter()
            .map(|own| Definition::configured(own, config));
        let definitions = declared.chain(configured).collect::<Result<Vec<_>>>()?;
        check_names(config, &definitions)?;
        let is_in =
            |names: &[String], text: &str| names.iter().any(|name| name.eq_ignore_ascii_case(text));
        let link = Arc::new(link);
        let chosen = definitions.into_iter().filter(|definition| {
            let categories = &config.categories;
            (categories.is_empty() || is_in(categories, &definition.info.category))
                && !is_in(&config.skip, definition.name())
        });
        Ok(Self {
            info: ConnectorInfo {
                kind: "servicenow",
                name: name.to_owned(),
                version: env!("CARGO_PKG_VERSION"),
            },
            datasets: chosen
                .map(|definition| {
                    Arc::new(TableDataset {
                        definition: Arc::new(definition),
                        link: Arc::clone(&link),
                    })
                })
                .collect(),
            link,
        })
    }
}

/// Refuses names that are none, and two data sets of one name.
fn check_names(config: &ServiceNowConfig, definitions: &[Definition]) -> Result<()> {
    for (place, definition) in definitions.iter().enumerate() {
        let is_same = |other: &Definition| other.name().eq_ignore_ascii_case(definition.name());
        if definitions[..place].iter().any(is_same) {
            let message = "`dataset` has a name that another data set has already";
            let error = Error::new(ErrorKind::Config, message);
            return Err(error.with("data set", definition.name()));
        }
    }
    let names = || definitions.iter().map(Definition::name);
    let declared = datasets().iter().map(|declared| declared.name);
    let categories = definitions.iter().map(|d| d.info.category.as_ref());
    known("override", "data set", config.overrides.keys(), declared)?;
    known("skip", "data set", &config.skip, names())?;
    known("categories", "category", &config.categories, categories)
}

fn known<'a>(
    setting: &str,
    what: &str,
    set: impl IntoIterator<Item = &'a String>,
    names: impl Iterator<Item = &'a str>,
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
impl Connector for ServiceNow {
    fn info(&self) -> &ConnectorInfo {
        &self.info
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        let datasets = self.datasets.iter();
        Ok(datasets
            .map(|dataset| Arc::clone(dataset) as Arc<dyn Dataset>)
            .collect())
    }

    /// Signs in, and for each data set looks into the dictionary and asks for some rows.
    ///
    /// # Errors
    ///
    /// When signing in fails, or the instance can't be reached.
    async fn check(&self) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        let mut absent = Vec::new();
        for dataset in &self.datasets {
            let name = dataset.definition.name().to_owned();
            let outcome = match dataset.try_some().await {
                Err(error) if is_everywhere(&error) => return Err(error),
                Ok(fields) => {
                    if !fields.is_empty() {
                        absent.push(format!("{name}: {}", fields.join(", ")));
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            };
            report.datasets.push(DatasetCheck {
                name,
                availability: Availability::from_outcome(outcome),
            });
        }
        let mut fact = |name: &str, text: String| report.facts.push((name.to_owned(), text));
        fact("instance", self.link.host().to_owned());
        if !absent.is_empty() {
            fact("fields that the instance does not have", absent.join("; "));
        }
        Ok(report)
    }
}

/// Tells whether no data set could do better.
fn is_everywhere(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Auth => true,
        ErrorKind::Unavailable => Refusal::of(error).is_none(),
        _ => false,
    }
}
