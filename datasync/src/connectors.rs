//! The kinds of connectors, as configuration names them: a new one is one entry in [`KINDS`].

use std::{path::Path, sync::Arc};

use connector_citrix::Citrix;
use connector_core::{Connector, Error, ErrorKind, Result};
use connector_fileupload::{FileUpload, FileUploadConfig};
use connector_graph::GraphConfig;
use connector_intune::Intune;
use connector_mssql::{Settings, SqlServer, SqlServerConfig};
use connector_office365::Office365;
use connector_sccm::Sccm;
use connector_servicenow::{ServiceNow, ServiceNowConfig};
use connector_vcenter::{Vcenter, VcenterConfig};
use connector_wsus::Wsus;

use crate::config::{Config, ConnectorSettings, Section};

const KINDS: &[Kind] = &[
    Kind {
        name: "fileupload",
        make: |from| {
            let mut config: FileUploadConfig = from.settings()?;
            config.folder = from.folder.join(config.folder);
            Ok(Arc::new(FileUpload::new(from.name, config)?))
        },
    },
    Kind {
        name: "mssql",
        make: |from| {
            from.sql(|config: SqlServerConfig| SqlServer::new("mssql", from.name, config, &[]))
        },
    },
    Kind {
        name: "sccm",
        make: |from| from.sql(|config| Sccm::new(from.name, config)),
    },
    Kind {
        name: "wsus",
        make: |from| from.sql(|config| Wsus::new(from.name, config)),
    },
    Kind {
        name: "citrix",
        make: |from| from.sql(|config| Citrix::new(from.name, config)),
    },
    Kind {
        name: "intune",
        make: |from| from.graph(|config| Intune::new(from.name, config)),
    },
    Kind {
        name: "office365",
        make: |from| from.graph(|config| Office365::new(from.name, config)),
    },
    Kind {
        name: "servicenow",
        make: |from| {
            let mut config: ServiceNowConfig = from.settings()?;
            config.relative_to(from.folder);
            Ok(Arc::new(ServiceNow::new(from.name, &config)?))
        },
    },
    Kind {
        name: "vcenter",
        make: |from| {
            let mut config: VcenterConfig = from.settings()?;
            config.relative_to(from.folder);
            Ok(Arc::new(Vcenter::new(from.name, &config)?))
        },
    },
];

/// How a connector of one kind is made.
struct Kind {
    name: &'static str,
    make: fn(&Setup<'_>) -> Result<Arc<dyn Connector>>,
}

/// What a connector is made from.
struct Setup<'a> {
    /// Its configured name.
    name: &'a str,
    /// What paths in its settings are relative to.
    folder: &'a Path,
    own: &'a Section,
}

impl Setup<'_> {
    fn settings<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        self.own.clone().read()
    }

    /// Makes a connector of a product that keeps its data in SQL Server.
    fn sql<S: Settings, C: Connector + 'static>(
        &self,
        make: impl FnOnce(SqlServerConfig<S>) -> Result<C>,
    ) -> Result<Arc<dyn Connector>> {
        let mut config: SqlServerConfig<S> = self.settings()?;
        config.ca_file = config.ca_file.map(|file| self.folder.join(file));
        Ok(Arc::new(make(config)?))
    }

    /// Makes a connector of a product behind Microsoft Graph.
    fn graph<P: Settings, C: Connector + 'static>(
        &self,
        make: impl FnOnce(GraphConfig<P>) -> Result<C>,
    ) -> Result<Arc<dyn Connector>> {
        let mut config: GraphConfig<P> = self.settings()?;
        config.relative_to(self.folder);
        Ok(Arc::new(make(config)?))
    }
}

/// A connector, and what the host was told to do with it.
#[derive(Debug, Clone)]
pub(crate) struct Configured {
    pub(crate) settings: ConnectorSettings,
    pub(crate) connector: Arc<dyn Connector>,
}

impl Configured {
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }
}

/// Makes the connectors of these names; all of them when no name is given.
///
/// # Errors
///
/// [`ErrorKind::Config`] naming what is wrong.
pub(crate) fn connect(config: &Config, names: &[String]) -> Result<Vec<Configured>> {
    for name in names {
        if !config.connectors.iter().any(|c| c.name == *name) {
            let known: Vec<_> = config.connectors.iter().map(|c| c.name.as_str()).collect();
            let message = format!(
                "there is no [connector.{name}]; configured: {}",
                known.join(", ")
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
    }
    config
        .connectors
        .iter()
        .filter(|settings| names.is_empty() || names.contains(&settings.name))
        .map(|settings| {
            Ok(Configured {
                connector: make(KINDS, settings, &config.folder)
                    .map_err(|error| error.with("file", config.path.display()))?,
                settings: settings.clone(),
            })
        })
        .collect()
}

fn make(kinds: &[Kind], settings: &ConnectorSettings, folder: &Path) -> Result<Arc<dyn Connector>> {
    let Some(kind) = kinds.iter().find(|kind| kind.name == settings.kind) else {
        let known: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
        let message = format!(
            "unknown kind `{}`; known: {}",
            settings.kind,
            known.join(", ")
        );
        return Err(settings.own.wrong("kind", &message));
    };
    (kind.make)(&Setup {
        name: &settings.name,
        folder,
        own: &settings.own,
    })
    .map_err(|error| error.with("connector", &settings.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/etc/datasync")).unwrap()
    }

    #[test]
    fn an_unknown_kind_and_an_unknown_name_are_named() {
        let config = config("[connector.hr]\nkind = \"floppy\"");
        let error = connect(&config, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let message = error.to_string();
        assert!(
            message.starts_with("connector.hr.kind: unknown kind `floppy`; known: fileupload"),
            "{message}"
        );
        let message = connect(&config, &["it".to_owned()])
            .unwrap_err()
            .to_string();
        assert_eq!(message, "there is no [connector.it]; configured: hr");
    }

    #[test]
    fn a_tenant_of_graph_is_made_of_its_settings() {
        let auth = "auth = { method = 'secret', client_id = 'a', client_secret = 'b' }";
        let with = |more: &str| {
            let text = format!("[connector.mdm]\nkind = 'intune'\n{auth}\n{more}");
            connect(&config(&text), &[])
        };
        let made = with("tenant = 'acme.example'\ndevice_details = true").unwrap();
        assert_eq!(made[0].connector.info().kind, "intune");
        let message = with("").unwrap_err().to_string();
        assert!(message.contains("missing field `tenant`"), "{message}");
        let message = with("tenant = 'a'\ncolour = 1").unwrap_err().to_string();
        assert!(
            message.contains("expected one of `device_details`"),
            "{message}"
        );
    }

    #[test]
    fn a_connectors_own_settings_are_checked_by_name() {
        let config = config("[connector.hr]\nkind = \"fileupload\"\nfolder = 5");
        let message = connect(&config, &[]).unwrap_err().to_string();
        assert!(message.starts_with("connector.hr.folder: "), "{message}");
    }
}
