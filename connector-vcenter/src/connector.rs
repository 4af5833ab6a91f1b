//! The connector.

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{
    Availability, CheckReport, Connector, ConnectorInfo, Dataset, DatasetCheck, ErrorKind, Result,
};
use connector_http::Transport;

use crate::{client::Client, config::VcenterConfig, dataset::DeclaredDataset, datasets::datasets};

/// Reads the inventory of a vCenter.
///
/// ```
/// use connector_core::{Connector, Secret};
/// use connector_vcenter::{Vcenter, VcenterConfig};
///
/// let url = "https://vcenter.acme.local".parse()?;
/// let config = VcenterConfig::new(url, "datasync@vsphere.local", Secret::new("s3cret"));
/// let connector = Vcenter::new("vc", &config)?;
/// assert_eq!(connector.info().kind, "vcenter");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Vcenter {
    info: ConnectorInfo,
    client: Arc<Client>,
    datasets: Vec<Arc<DeclaredDataset>>,
}

impl Vcenter {
    /// Takes the configured name. The server need not be there yet; files of certificates are
    /// read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting that is wrong.
    pub fn new(name: &str, config: &VcenterConfig) -> Result<Self> {
        let client = Client::new(config)?;
        Self::with(name, config, client)
    }

    /// The same over another transport, which returns every reply as `Ok`: for tests.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn over(name: &str, config: &VcenterConfig, transport: Arc<dyn Transport>) -> Result<Self> {
        let client = Client::over(config, transport)?;
        Self::with(name, config, client)
    }

    fn with(name: &str, config: &VcenterConfig, client: Client) -> Result<Self> {
        let client = Arc::new(client);
        let chosen = datasets()
            .iter()
            .filter(|dataset| !config.skip.iter().any(|skipped| skipped == dataset.name));
        let datasets =
            chosen.map(|declared| Ok(Arc::new(DeclaredDataset::new(declared, &client)?)));
        Ok(Self {
            info: ConnectorInfo {
                kind: "vcenter",
                name: name.to_owned(),
                version: env!("CARGO_PKG_VERSION"),
            },
            datasets: datasets.collect::<Result<_>>()?,
            client,
        })
    }
}

#[async_trait]
impl Connector for Vcenter {
    fn info(&self) -> &ConnectorInfo {
        &self.info
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        let datasets = self.datasets.iter();
        Ok(datasets
            .map(|d| Arc::clone(d) as Arc<dyn Dataset>)
            .collect())
    }

    /// Asks who answers, signs in, and reads one object for each data set.
    ///
    /// # Errors
    ///
    /// When the server can't be used: it is not reached, is no vCenter, or does not accept the
    /// account.
    async fn check(&self) -> Result<CheckReport> {
        let server = self.client.server().await?;
        let mut facts = vec![
            ("product".to_owned(), server.product.clone()),
            ("instance uuid".to_owned(), server.instance.to_string()),
            ("version of the API".to_owned(), server.version.to_string()),
        ];
        let (mut checks, mut empty) = (Vec::new(), Vec::new());
        for dataset in &self.datasets {
            let availability = match dataset.try_one(&server).await {
                Err(error) if error.kind() == ErrorKind::Auth => return Err(error),
                outcome => {
                    if matches!(outcome, Ok(0)) {
                        empty.push(dataset.name());
                    }
                    Availability::from_outcome(outcome.map(drop))
                }
            };
            checks.push(DatasetCheck {
                name: dataset.name().to_owned(),
                availability,
            });
        }
        // Objects without a right are not there, rather than refused.
        if !empty.is_empty() {
            facts.push(("nothing seen in".to_owned(), empty.join(", ")));
        }
        Ok(CheckReport {
            facts,
            datasets: checks,
        })
    }
}
