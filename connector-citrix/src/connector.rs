//! The connector.

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{CheckReport, Connector, ConnectorInfo, Dataset, Result};
use connector_mssql::SqlServer;

use crate::{config::CitrixConfig, datasets::datasets};

/// Reads the monitoring database of Citrix Virtual Apps and Desktops.
///
/// ```
/// use connector_citrix::{Citrix, CitrixConfig};
/// use connector_core::{Connector, Secret};
/// use connector_mssql::Authentication;
///
/// let mut config = CitrixConfig::new("ctx-sql.acme.local".parse()?, "CitrixLondonMonitoring");
/// config.auth = Authentication::Sql {
///     user: "datasync".to_owned(),
///     password: Secret::new("s3cret"),
/// };
/// let connector = Citrix::new("vdx", config)?;
/// assert_eq!(connector.info().kind, "citrix");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Citrix {
    inner: SqlServer,
    keep_groomed: bool,
}

impl Citrix {
    /// Takes the configured name. The server need not be there yet; files of certificates are
    /// read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](connector_core::ErrorKind::Config) naming the setting or the data set
    /// whose entry is wrong.
    pub fn new(name: &str, config: CitrixConfig) -> Result<Self> {
        let (config, settings) = config.split();
        let inner = SqlServer::new("citrix", name, config, &datasets(&settings))?;
        Ok(Self {
            inner,
            keep_groomed: settings.keep_groomed,
        })
    }
}

/// What the database says of itself. Connections are numbered as they come, so the first and the
/// last one cost nothing to find. The column of `Version` is inferred from the table's name; who
/// has another gets no such fact.
const QUESTIONS: [(&str, &str); 3] = [
    (
        "schema version",
        "SELECT TOP (1) v.Version AS answer FROM MonitorData.Version AS v",
    ),
    (
        "oldest connection",
        "SELECT TOP (1) CONVERT(nvarchar(33), c.CreatedDate, 126) AS answer \
         FROM MonitorData.[Connection] AS c ORDER BY c.Id",
    ),
    (
        "newest connection",
        "SELECT TOP (1) CONVERT(nvarchar(33), c.CreatedDate, 126) AS answer \
         FROM MonitorData.[Connection] AS c ORDER BY c.Id DESC",
    ),
];

#[async_trait]
impl Connector for Citrix {
    fn info(&self) -> &ConnectorInfo {
        self.inner.info()
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        self.inner.datasets().await
    }

    /// Connects, says from when to when the database reaches, and looks up each data set in the
    /// catalogue.
    ///
    /// # Errors
    ///
    /// When the server can't be used.
    async fn check(&self) -> Result<CheckReport> {
        let mut report = self.inner.check().await?;
        report.facts.extend(self.inner.facts(&QUESTIONS).await?);
        let groomed = if self.keep_groomed {
            "kept as they were last read"
        } else {
            "deleted"
        };
        report
            .facts
            .push(("groomed records".to_owned(), groomed.to_owned()));
        Ok(report)
    }
}
