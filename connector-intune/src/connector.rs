//! The connector.

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{CheckReport, Clock, Connector, ConnectorInfo, Dataset, Result};
use connector_graph::{Graph, connector_http::Transport};

use crate::{config::IntuneConfig, datasets::datasets};

/// Reads the inventory of Microsoft Intune.
///
/// ```
/// use connector_core::{Connector, Secret};
/// use connector_graph::Authentication;
/// use connector_intune::{Intune, IntuneConfig};
///
/// let config = IntuneConfig::new(
///     "acme.example",
///     Authentication::Secret {
///         client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
///         client_secret: Secret::new("s3cret"),
///     },
/// );
/// let connector = Intune::new("intune", config)?;
/// assert_eq!(connector.info().kind, "intune");
/// # Ok::<(), connector_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Intune(Graph);

const KIND: &str = "intune";

impl Intune {
    /// Takes the configured name. Graph need not be there yet; files of certificates are read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](connector_core::ErrorKind::Config) naming the setting that is wrong.
    pub fn new(name: &str, config: IntuneConfig) -> Result<Self> {
        let (config, settings) = config.split();
        Graph::new(KIND, name, &config, datasets(&settings)).map(Self)
    }

    /// The same over another client and clock; see [`Graph::over`].
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn over(
        name: &str,
        config: IntuneConfig,
        client: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (config, settings) = config.split();
        Graph::over(KIND, name, &config, datasets(&settings), client, clock).map(Self)
    }
}

#[async_trait]
impl Connector for Intune {
    fn info(&self) -> &ConnectorInfo {
        self.0.info()
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        self.0.datasets().await
    }

    async fn check(&self) -> Result<CheckReport> {
        self.0.check().await
    }
}
