//! The connector.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use connector_core::{
    CheckReport, Connector, ConnectorInfo, Dataset, DatasetCheck, DatasetExt, Error, ErrorKind,
    Result,
};

use crate::{
    config::FileUploadConfig,
    datasets::{self, Declared, Offer},
    stop,
};

/// Reads a folder of TSV and CSV files.
///
/// ```
/// use connector_core::{Connector, DatasetExt};
/// use connector_fileupload::{FileUpload, FileUploadConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let inbox = tempfile::tempdir()?;
/// std::fs::write(inbox.path().join("devices.csv"), "name;cores\nPC-1;8\nPC-2;4\n")?;
///
/// let connector = FileUpload::new("hr", FileUploadConfig::new(inbox.path()))?;
/// let devices = connector.datasets().await?.remove(0);
/// assert_eq!(devices.name(), "devices");
/// let rows = devices.collect().await?;
/// assert_eq!(serde_json::to_string(&rows[1])?, r#"{"name":"PC-2","cores":"4"}"#);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FileUpload {
    info: ConnectorInfo,
    config: FileUploadConfig,
    declared: Arc<[Declared]>,
}

impl FileUpload {
    /// Takes the configured name. The folder need not exist yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the data set whose entry is wrong.
    pub fn new(name: &str, config: FileUploadConfig) -> Result<Self> {
        let mut names: HashMap<String, &str> = HashMap::new();
        for dataset in &config.datasets {
            if names
                .insert(dataset.name.to_lowercase(), &dataset.name)
                .is_some()
            {
                return Err(Error::new(
                    ErrorKind::Config,
                    "two data sets have this name; letters in either case are the same",
                )
                .with("data set", &dataset.name));
            }
        }
        let declared = config.datasets.iter().cloned().map(Declared::new);
        Ok(Self {
            info: ConnectorInfo {
                kind: "fileupload",
                name: name.to_owned(),
                version: env!("CARGO_PKG_VERSION"),
            },
            declared: declared.collect::<Result<_>>()?,
            config,
        })
    }

    async fn discover(&self) -> Result<Offer> {
        let (config, declared) = (self.config.clone(), Arc::clone(&self.declared));
        stop::blocking(move |_| datasets::discover(&config, &declared)).await
    }
}

#[async_trait]
impl Connector for FileUpload {
    fn info(&self) -> &ConnectorInfo {
        &self.info
    }

    /// Lists the folder anew.
    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        let offer = self.discover().await?;
        let datasets = offer.datasets.into_iter();
        Ok(datasets.map(|dataset| Arc::new(dataset) as _).collect())
    }

    /// Lists the folder and reads each file's header.
    ///
    /// # Errors
    ///
    /// When the folder can't be read; [`ErrorKind::NotFound`] when no file is in it.
    async fn check(&self) -> Result<CheckReport> {
        let offer = self.discover().await?;
        let folder = self.config.folder.display();
        if offer.files == 0 {
            return Err(Error::new(
                ErrorKind::NotFound,
                "the folder holds no file to read: neither one that a data set declares nor one \
                 whose name ends in .tsv or .csv",
            )
            .with("folder", folder));
        }
        let mut report = CheckReport {
            facts: vec![
                ("folder".to_owned(), folder.to_string()),
                ("files".to_owned(), offer.files.to_string()),
            ],
            datasets: Vec::new(),
        };
        for dataset in &offer.datasets {
            report.datasets.push(DatasetCheck {
                name: dataset.name().to_owned(),
                availability: dataset.check().await,
            });
        }
        Ok(report)
    }
}
