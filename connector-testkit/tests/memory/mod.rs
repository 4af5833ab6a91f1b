//! The memory connector under the kit, with a source that breaks in every way.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use connector_core::{
    Column, Connector, Dataset, DatasetExt, DatasetInfo, Error, ErrorKind, Result, Schema, Secret,
    SnapshotWriter, Value,
    memory::{MemoryConnector, MemoryDataset},
    schema::{Declared, Duplicates, int, text, uuid},
};
use connector_testkit::{Fault, Harness, Subject, Unsupported, Values};

/// A key of two columns, a column that moves by itself, and the other policy for duplicates.
const STAMPED: Declared = Declared::new(&[
    int("site").key(),
    uuid("device").key(),
    text("note").null(),
    int("stamp").volatile(),
]);

pub(crate) fn subjects() -> Vec<Subject> {
    let stamped = Schema::from(STAMPED).with_duplicates(Duplicates::KeepGreatest);
    vec![
        Subject::of_every_type("everything"),
        Subject::new("stamped", stamped),
    ]
}

pub(crate) struct MemoryHarness {
    connector: Arc<MemoryConnector>,
    pub(crate) datasets: Vec<Arc<BreakingDataset>>,
}

impl MemoryHarness {
    pub(crate) fn dataset(&self, subject: &Subject) -> &BreakingDataset {
        let mut datasets = self.datasets.iter();
        datasets
            .find(|d| d.name() == subject.name)
            .expect("one of the subjects")
    }
}

#[async_trait]
impl Harness for MemoryHarness {
    async fn start(_secret: &Secret) -> Self {
        let subjects = subjects().into_iter();
        let datasets: Vec<_> = subjects
            .map(|s| Arc::new(BreakingDataset::new(&s)))
            .collect();
        let offered = datasets.iter().map(|d| Arc::clone(d) as Arc<dyn Dataset>);
        let connector = MemoryConnector::with_datasets("lab", offered.collect());
        Self {
            connector: Arc::new(connector),
            datasets,
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector) as Arc<dyn Connector>
    }

    fn subjects(&self) -> Vec<Subject> {
        subjects()
    }

    async fn load(&self, subject: &Subject, rows: &[Values]) {
        self.dataset(subject).load(rows);
    }

    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        self.dataset(subject).fail(fault);
        true
    }

    fn holds(&self, _column: &Column, _value: &Value<'static>) -> bool {
        true
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        &[]
    }
}

/// A data set in memory whose source breaks.
pub(crate) struct BreakingDataset {
    inner: MemoryDataset,
    fault: Mutex<Option<Fault>>,
}

impl BreakingDataset {
    fn new(subject: &Subject) -> Self {
        Self {
            inner: MemoryDataset::new(&subject.name, Arc::clone(&subject.schema)),
            fault: Mutex::new(None),
        }
    }

    fn load(&self, rows: &[Values]) {
        self.inner.set(rows.to_vec());
        self.inner.set_failure(None);
        *self.fault_mut() = None;
    }

    fn fail(&self, fault: &Fault) {
        if *fault == Fault::Cut {
            self.inner.set_failure(Some(7));
        }
        *self.fault_mut() = Some(fault.clone());
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault_mut().clone()
    }

    fn fault_mut(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self) -> Result<()> {
        match self.fault() {
            Some(Fault::Deny) => Err(Error::new(ErrorKind::Permission, "reading is not allowed")),
            Some(Fault::Vanish) => Err(Error::new(ErrorKind::NotFound, "the data set is gone")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Dataset for BreakingDataset {
    fn info(&self) -> &DatasetInfo {
        self.inner.info()
    }

    async fn schema(&self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        self.refuse()?;
        self.inner.schema(known).await
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        self.refuse()?;
        self.inner.read(out).await?;
        match self.fault() {
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Malformed { .. }) => Err(Error::new(ErrorKind::Data, "not a number")
                .with("column", "int")
                .with("row", 3)),
            Some(Fault::ChangeWhileRead) => Err(Error::new(
                ErrorKind::Incomplete,
                "changed while it was read",
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for BreakingDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
