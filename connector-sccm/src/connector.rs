//! The connector.

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{CheckReport, Connector, ConnectorInfo, Dataset, Result};
use connector_mssql::SqlServer;

use crate::{config::SccmConfig, datasets::datasets};

/// Reads the site database of Configuration Manager.
///
/// ```
/// use connector_core::{Connector, Secret};
/// use connector_mssql::Authentication;
/// use connector_sccm::{Sccm, SccmConfig};
///
/// let mut config = SccmConfig::new("ACME-CM01.acme.local".parse()?, "CM_CAS");
/// config.auth = Authentication::Ntlm {
///     user: "ACME\\datasync".to_owned(),
///     password: Secret::new("s3cret"),
/// };
/// config.categories = vec!["Devices".to_owned(), "CMSync".to_owned()];
/// # config.auth = Authentication::Sql { user: "u".to_owned(), password: Secret::new("p") };
/// let connector = Sccm::new("cm", config)?;
/// assert_eq!(connector.info().kind, "sccm");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sccm {
    inner: SqlServer,
}

impl Sccm {
    /// Takes the configured name. The server need not be there yet; files of certificates are
    /// read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](connector_core::ErrorKind::Config) naming the setting or the data set
    /// whose entry is wrong.
    pub fn new(name: &str, config: SccmConfig) -> Result<Self> {
        let (config, settings) = config.split();
        let inner = SqlServer::new("sccm", name, config, &datasets(&settings))?;
        Ok(Self { inner })
    }
}

/// What the site says of itself. Types of sites are those of "SMS_Site Server WMI Class".
const QUESTIONS: [(&str, &str); 4] = [
    (
        SITE,
        "SELECT TOP (1) i.ThisSiteCode AS answer FROM dbo.v_Identification AS i",
    ),
    (
        VERSION,
        "SELECT TOP (1) s.Version AS answer FROM dbo.v_Site AS s \
         JOIN dbo.v_Identification AS i ON i.ThisSiteCode = s.SiteCode",
    ),
    (
        ROLE,
        "SELECT TOP (1) s.Type AS answer FROM dbo.v_Site AS s \
         JOIN dbo.v_Identification AS i ON i.ThisSiteCode = s.SiteCode",
    ),
    (
        PARENT,
        "SELECT TOP (1) s.ReportingSiteCode AS answer FROM dbo.v_Site AS s \
         JOIN dbo.v_Identification AS i ON i.ThisSiteCode = s.SiteCode \
         WHERE s.ReportingSiteCode <> N''",
    ),
];

const SITE: &str = "site";
const VERSION: &str = "site version";
const ROLE: &str = "site role";
const PARENT: &str = "parent site";

/// Says what the type of a site means for who reads its database.
fn role(ty: &str, parent: Option<&str>) -> String {
    match (ty, parent) {
        ("4", _) => "central administration site: its database has every site's data".to_owned(),
        ("2", None) => "primary site that stands alone".to_owned(),
        ("2", Some(parent)) => format!(
            "primary site below {parent}: its database has its own clients; read that of {parent}, \
             or those of all primary sites, never both"
        ),
        ("1", _) => {
            "secondary site: its database has a part of the data; read that of its primary \
                     site"
                .to_owned()
        }
        (other, _) => format!("of type {other}"),
    }
}

#[async_trait]
impl Connector for Sccm {
    fn info(&self) -> &ConnectorInfo {
        self.inner.info()
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        self.inner.datasets().await
    }

    /// Connects, says which site the database is of, and looks up each data set in the catalogue.
    ///
    /// # Errors
    ///
    /// When the server can't be used.
    async fn check(&self) -> Result<CheckReport> {
        let mut report = self.inner.check().await?;
        let mut facts = self.inner.facts(&QUESTIONS).await?;
        let parent = facts.iter().find(|(name, _)| name == PARENT).cloned();
        if let Some((_, answer)) = facts.iter_mut().find(|(name, _)| name == ROLE) {
            *answer = role(answer, parent.as_ref().map(|(_, parent)| parent.as_str()));
        }
        report.facts.extend(facts);
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_says_which_database_to_read() {
        assert!(role("4", None).starts_with("central"));
        assert_eq!(role("2", None), "primary site that stands alone");
        assert!(role("2", Some("CAS")).contains("read that of CAS, or those of all"));
        assert!(role("1", Some("P01")).contains("primary site"));
        assert_eq!(role("9", None), "of type 9");
    }
}
