//! The connector.

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{CheckReport, Clock, Connector, ConnectorInfo, Dataset, Result};
use connector_graph::{Graph, connector_http::Transport};

use crate::{config::Office365Config, datasets::DATASETS};

const KIND: &str = "office365";

/// Reads licences, users and usage of Microsoft 365.
///
/// ```
/// use connector_core::{Connector, Secret};
/// use connector_graph::Authentication;
/// use connector_office365::{Office365, Office365Config};
///
/// let app = Authentication::Secret {
///     client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
///     client_secret: Secret::new("s3cret"),
/// };
/// let connector = Office365::new("m365", Office365Config::new("acme.example", app))?;
/// assert_eq!(connector.info().kind, "office365");
/// # Ok::<(), connector_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Office365(Graph);

impl Office365 {
    /// Takes the configured name. Graph need not be there yet; files of certificates are read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](connector_core::ErrorKind::Config) naming the setting or the data set
    /// whose entry is wrong.
    pub fn new(name: &str, config: Office365Config) -> Result<Self> {
        let (config, ()) = config.split();
        Graph::new(KIND, name, &config, &DATASETS).map(Self)
    }

    /// The same over another client and clock, for tests and for programs that send requests in
    /// their own way. The client returns every reply as `Ok`, whatever its status.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn over(
        name: &str,
        config: Office365Config,
        client: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (config, ()) = config.split();
        Graph::over(KIND, name, &config, &DATASETS, client, clock).map(Self)
    }
}

#[async_trait]
impl Connector for Office365 {
    fn info(&self) -> &ConnectorInfo {
        self.0.info()
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        self.0.datasets().await
    }

    /// Signs in, asks for one object or the address of one file of each data set, and says whether
    /// the names in usage reports are concealed.
    ///
    /// # Errors
    ///
    /// When signing in fails, or Graph can't be reached.
    async fn check(&self) -> Result<CheckReport> {
        self.0.check().await
    }
}
