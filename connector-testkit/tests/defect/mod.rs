//! A connector that is sound but for one defect.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use connector_core::{
    Availability, CheckReport, Column, Connector, ConnectorInfo, Dataset, DatasetCheck, DatasetExt,
    DatasetInfo, Result, Row, Schema, Secret, SnapshotWriter, Value,
};
use connector_testkit::{Check, Fault, Harness, Subject, Unsupported, Values, run};

use crate::memory::{BreakingDataset, MemoryHarness};

/// What is wrong. Everything that is not overridden is as it should be.
#[async_trait]
pub(crate) trait Defect: Default + Send + Sync + 'static {
    async fn read(&self, dataset: &BreakingDataset, out: &mut SnapshotWriter) -> Result<()> {
        dataset.read(out).await
    }

    async fn schema(&self, dataset: &BreakingDataset) -> Result<Arc<Schema>> {
        dataset.schema(None).await
    }

    fn info(&self, dataset: &BreakingDataset) -> DatasetInfo {
        dataset.info().clone()
    }

    async fn datasets(&self, sound: Vec<Arc<dyn Dataset>>) -> Result<Vec<Arc<dyn Dataset>>> {
        Ok(sound)
    }

    async fn check(&self, sound: CheckReport) -> Result<CheckReport> {
        Ok(sound)
    }

    fn debug(&self, _secret: &Secret, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a connector")
    }
}

pub(crate) struct BrokenDataset<D> {
    inner: Arc<BreakingDataset>,
    info: DatasetInfo,
    defect: D,
}

#[async_trait]
impl<D: Defect> Dataset for BrokenDataset<D> {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        self.defect.schema(&self.inner).await
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        self.defect.read(&self.inner, out).await
    }
}

impl<D> fmt::Debug for BrokenDataset<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.info.name)
    }
}

pub(crate) struct BrokenConnector<D> {
    info: ConnectorInfo,
    secret: Secret,
    datasets: Vec<Arc<dyn Dataset>>,
    defect: D,
}

#[async_trait]
impl<D: Defect> Connector for BrokenConnector<D> {
    fn info(&self) -> &ConnectorInfo {
        &self.info
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        self.defect.datasets(self.datasets.clone()).await
    }

    async fn check(&self) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        for dataset in &self.datasets {
            report.datasets.push(DatasetCheck {
                name: dataset.name().to_owned(),
                availability: Availability::from_outcome(dataset.schema(None).await.map(drop)),
            });
        }
        self.defect.check(report).await
    }
}

impl<D: Defect> fmt::Debug for BrokenConnector<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.defect.debug(&self.secret, f)
    }
}

pub(crate) struct BrokenHarness<D> {
    sound: MemoryHarness,
    connector: Arc<dyn Connector>,
    defect: PhantomData<D>,
}

#[async_trait]
impl<D: Defect> Harness for BrokenHarness<D> {
    async fn start(secret: &Secret) -> Self {
        let sound = MemoryHarness::start(secret).await;
        let info = sound.connector().info().clone();
        let datasets = sound.datasets.iter().map(|dataset| {
            let defect = D::default();
            Arc::new(BrokenDataset {
                inner: Arc::clone(dataset),
                info: defect.info(dataset),
                defect,
            }) as Arc<dyn Dataset>
        });
        let connector = BrokenConnector {
            info,
            secret: secret.clone(),
            datasets: datasets.collect(),
            defect: D::default(),
        };
        Self {
            connector: Arc::new(connector),
            sound,
            defect: PhantomData,
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector)
    }

    fn subjects(&self) -> Vec<Subject> {
        self.sound.subjects()
    }

    async fn load(&self, subject: &Subject, rows: &[Values]) {
        self.sound.load(subject, rows).await;
    }

    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        self.sound.fault(subject, fault).await
    }

    fn holds(&self, _column: &Column, _value: &Value<'static>) -> bool {
        true
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        &[]
    }
}

/// Sees that each of the checks catches it, and that what it says holds these words.
#[track_caller]
pub(crate) fn caught<D: Defect>(checks: &[Check], words: &str) {
    // A read that never gives its thread back is waited for so long.
    let limit = Some(Duration::from_mins(1));
    for check in checks {
        let failure = match run::<BrokenHarness<D>>(*check, limit) {
            Err(failure) => failure,
            Ok(verdict) => panic!("{check} did not catch it: {verdict:?}"),
        };
        assert_eq!(failure.check(), *check);
        if check == &checks[0] {
            let text = failure.to_string();
            assert!(text.contains(words), "{text}");
        }
    }
}

/// All rows as values, for defects that write other ones.
pub(crate) async fn values(dataset: &BreakingDataset) -> Result<Vec<Values>> {
    let rows = dataset.collect().await?;
    let owned = |row: Row| row.values().map(Value::into_owned).collect();
    Ok(rows.into_iter().map(owned).collect())
}

pub(crate) async fn write(out: &mut SnapshotWriter, rows: &[Values]) -> Result<()> {
    for values in rows {
        let mut row = out.row();
        for value in values {
            row.value(value);
        }
        row.end().await?;
    }
    Ok(())
}

/// Writes every cell that is not part of the key through a function.
pub(crate) async fn map_cells(
    dataset: &BreakingDataset,
    out: &mut SnapshotWriter,
    map: impl Fn(Value<'static>) -> Value<'static>,
) -> Result<()> {
    let mut rows = values(dataset).await?;
    let schema = Arc::clone(out.schema());
    for row in &mut rows {
        for (column, cell) in schema.columns().iter().zip(row) {
            if !column.is_key() {
                *cell = map(std::mem::replace(cell, Value::Null));
            }
        }
    }
    write(out, &rows).await
}

macro_rules! defect {
    ($name:ident, |$self:ident, $dataset:ident, $out:ident| $read:block) => {
        #[async_trait]
        impl Defect for $name {
            async fn read(
                &self,
                $dataset: &BreakingDataset,
                $out: &mut SnapshotWriter,
            ) -> Result<()> {
                let $self = self;
                $read
            }
        }
    };
}

pub(crate) use defect;
