//! The connector.

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{CheckReport, Connector, ConnectorInfo, Dataset, Error, ErrorKind, Result};
use connector_mssql::{ServerName, SqlServer};

use crate::{config::WsusConfig, datasets::datasets};

/// Reads the public views of a WSUS database.
///
/// ```
/// use connector_core::{Connector, Secret};
/// use connector_mssql::Authentication;
/// use connector_wsus::{Wsus, WsusConfig};
///
/// let mut config = WsusConfig::new("wsus-sql.acme.local".parse()?, "SUSDB");
/// config.auth = Authentication::Sql {
///     user: "datasync".to_owned(),
///     password: Secret::new("s3cret"),
/// };
/// let connector = Wsus::new("wsus", config)?;
/// assert_eq!(connector.info().kind, "wsus");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Wsus {
    inner: SqlServer,
    server: ServerName,
}

impl Wsus {
    /// Takes the configured name. The server need not be there yet; files of certificates are
    /// read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting or the data set whose entry is wrong.
    pub fn new(name: &str, config: WsusConfig) -> Result<Self> {
        let (config, settings) = config.split();
        let server = config.server.clone();
        let inner = SqlServer::new("wsus", name, config, &datasets(&settings))?;
        Ok(Self { inner, server })
    }
}

/// What WSUS says of itself.
const QUESTIONS: [(&str, &str); 3] = [
    (
        COMPUTERS,
        "SELECT COUNT(*) AS answer FROM PUBLIC_VIEWS.vComputerTarget AS c",
    ),
    (
        ROLLED_UP,
        "SELECT COUNT(*) AS answer FROM PUBLIC_VIEWS.vComputerTarget AS c \
         WHERE c.ParentServerId IS NOT NULL",
    ),
    (
        "newest report",
        "SELECT CONVERT(nvarchar(33), MAX(c.LastReportedStatusTime), 126) AS answer \
         FROM PUBLIC_VIEWS.vComputerTarget AS c",
    ),
];

const COMPUTERS: &str = "computers";
const ROLLED_UP: &str = "computers of downstream servers";

/// The Windows Internal Database: <https://learn.microsoft.com/en-us/previous-versions/windows/desktop/bb410149(v=vs.85)>
/// names its pipe, and that there is no other way in.
const INTERNAL: &str = "WSUS keeps its database in the Windows Internal Database unless it was told \
    otherwise, and that one can be reached only on the WSUS server itself, through the named pipe \
    \\\\.\\pipe\\MICROSOFT##WID\\tsql\\query: no port, no remote access, and no way to switch them on. \
    On the WSUS server, SqlServerName below HKLM\\SOFTWARE\\Microsoft\\Update Services\\Server\\Setup \
    says which one it is: with ##WID or ##SSEE in it, move SUSDB to a SQL Server (Microsoft \
    describes it as \"Migrate the WSUS database from WID to SQL\") and set `server` to that one; \
    without, it is what `server` has to be";

/// Tells whether the name is that of a Windows Internal Database, new or old.
fn is_internal(server: &ServerName) -> bool {
    server
        .to_string()
        .to_ascii_uppercase()
        .contains("MICROSOFT##")
}

#[async_trait]
impl Connector for Wsus {
    fn info(&self) -> &ConnectorInfo {
        self.inner.info()
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        self.inner.datasets().await
    }

    /// Connects, counts the computers that report to this server, and looks up each data set in
    /// the catalogue.
    ///
    /// # Errors
    ///
    /// When the server can't be used; when it does not answer, the message tells of the Windows
    /// Internal Database.
    async fn check(&self) -> Result<CheckReport> {
        if is_internal(&self.server) {
            return Err(Error::new(ErrorKind::Config, INTERNAL).with("server", &self.server));
        }
        let mut report = self.inner.check().await.map_err(|error| {
            if error.kind() == ErrorKind::Unavailable {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("the server can't be reached. {INTERNAL}"),
                )
                .with_retry(error.retry())
                .with_source(error)
            } else {
                error
            }
        })?;
        let mut facts = self.inner.facts(&QUESTIONS).await?;
        for (name, answer) in &mut facts {
            match (name.as_str(), answer.as_str()) {
                (COMPUTERS, "0") => answer.push_str(
                    ": nobody reports to this server. Below Configuration Manager, WSUS has \
                     updates and no installation states: read those from the site's database",
                ),
                (ROLLED_UP, count) if count != "0" => answer.push_str(
                    ": they are rolled up to this server, so don't read the downstream servers' \
                     databases besides",
                ),
                _ => {}
            }
        }
        report.facts.extend(facts);
        Ok(report)
    }
}
