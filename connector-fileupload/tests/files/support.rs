//! A folder of files, and data sets read from it.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

use async_trait::async_trait;
use connector_core::{
    Connector, Dataset, DatasetExt, DatasetInfo, Result, Row, Schema, SnapshotWriter,
};
use connector_fileupload::{FileUpload, FileUploadConfig};

pub(crate) struct Inbox(tempfile::TempDir);

impl Inbox {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let inbox = Self(tempfile::tempdir().unwrap());
        for (name, content) in files {
            inbox.put(name, content);
        }
        inbox
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Reads settings as a host does; the folder is added.
    pub(crate) fn connector(&self, settings: &str) -> FileUpload {
        self.try_connector(settings).unwrap()
    }

    pub(crate) fn try_connector(&self, settings: &str) -> Result<FileUpload> {
        let folder = format!("folder = {:?}\n", self.path().display().to_string());
        let config: FileUploadConfig = toml::from_str(&(folder + settings)).unwrap();
        FileUpload::new("hr", config)
    }

    pub(crate) async fn datasets(&self, settings: &str) -> Vec<Arc<dyn Dataset>> {
        self.connector(settings).datasets().await.unwrap()
    }

    /// The one data set of the folder.
    pub(crate) async fn dataset(&self, settings: &str) -> Arc<dyn Dataset> {
        let mut datasets = self.datasets(settings).await;
        assert_eq!(datasets.len(), 1);
        datasets.remove(0)
    }

    pub(crate) async fn rows(&self, settings: &str) -> Result<Vec<String>> {
        Ok(json(&self.dataset(settings).await.collect().await?))
    }
}

pub(crate) fn json(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|row| serde_json::to_string(row).unwrap())
        .collect()
}

/// A data set whose last committed snapshot had these columns.
#[derive(Debug)]
pub(crate) struct Known(pub(crate) Arc<dyn Dataset>, pub(crate) Arc<Schema>);

#[async_trait]
impl Dataset for Known {
    fn info(&self) -> &DatasetInfo {
        self.0.info()
    }

    async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        self.0.schema(Some(&self.1)).await
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        self.0.read(out).await
    }
}

/// What the crate logged, on whatever thread, since the first call of [`log`].
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn log() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    let start = || {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    };
    LOG.get_or_init(start).clone()
}
