//! The conformance kit over a vCenter that answers as scripted, in several chunks.
//!
//! The simulator of govmomi, which others wrote, holds no rows of free choice and no two objects
//! of one id, and can't be broken: `tests/simulator.rs` reads it and follows its changes.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod soap;

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{
    CheckReport, Column, Connector, ConnectorInfo, Dataset, DatasetExt, DatasetInfo, Result,
    Schema, Secret, SnapshotWriter, Type, Value,
};
use connector_testkit::{Fault, FaultKind, Harness, Subject, Unsupported, Values, http::HttpReply};
use connector_vcenter::{Origin, Take, Vcenter, VcenterConfig, VcenterDataset, datasets};

use crate::soap::{Fake, INSTANCE, Object, USER, fault};

/// Texts, whole numbers, truth values, UUIDs and times; and volatile columns. `tests/soap/replies.rs` and
/// `tests/simulator.rs` read the others.
const SUBJECTS: [&str; 2] = ["virtual_machines", "datastores"];

struct VcenterHarness {
    fake: Fake,
    connector: Arc<Unscoped>,
}

fn declared(name: &str) -> &'static VcenterDataset {
    let mut all = datasets().iter();
    all.find(|dataset| dataset.name == name).unwrap()
}

fn kind(declared: &VcenterDataset) -> &'static str {
    match declared.from {
        Origin::Objects(kind) => kind,
        _ => panic!("{} is not read from objects", declared.name),
    }
}

/// The object that a row is read from.
fn object(declared: &VcenterDataset, row: &Values) -> Object {
    let columns = declared.columns[1..].iter().zip(row);
    let mut object = Object::default();
    for (column, value) in columns {
        match (column.take(), value) {
            (_, Value::Null) => {}
            (Take::Id, id) => object = Object::new(id.as_text().unwrap()),
            (Take::Property(path), value) => object = object.with(path, &value.to_string()),
            (other, _) => panic!("{other:?} can't be loaded"),
        }
    }
    object
}

#[async_trait]
impl Harness for VcenterHarness {
    async fn start(secret: &Secret) -> Self {
        let fake = Fake::new(secret.expose());
        let url = "https://vcenter.test".parse().unwrap();
        let mut config = VcenterConfig::new(url, USER, secret.clone());
        let others = datasets().iter().map(|dataset| dataset.name);
        config.skip = others
            .filter(|name| !SUBJECTS.contains(name))
            .map(str::to_owned)
            .collect();
        config.page = 3_000;
        config.http.retry.attempts = 1;
        let connector = Vcenter::over("vcenter", &config, fake.transport()).unwrap();
        Self {
            fake,
            connector: Arc::new(Unscoped(connector)),
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector) as Arc<dyn Connector>
    }

    fn subjects(&self) -> Vec<Subject> {
        let subjects = SUBJECTS.map(declared);
        subjects
            .iter()
            .map(|declared| Subject::new(declared.name, unscoped(&declared.schema().unwrap())))
            .collect()
    }

    async fn load(&self, subject: &Subject, rows: &[Values]) {
        let declared = declared(&subject.name);
        let objects = rows.iter().map(|row| object(declared, row));
        self.fake.load(kind(declared), objects);
    }

    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        let declared = declared(&subject.name);
        let spoil: fn(HttpReply) -> HttpReply = match fault {
            Fault::Cut => |page| {
                let whole = page.chunks().concat();
                HttpReply::status(200)
                    .chunk(&whole[..whole.len() / 2])
                    .cut()
            },
            Fault::Hang => |_| HttpReply::never(),
            Fault::Deny => |_| {
                self::fault(
                    "NoPermission",
                    "<object type=\"Folder\">group-d1</object>\
                     <privilegeId>System.View</privilegeId>",
                )
            },
            Fault::Malformed { text } => {
                let numbers = subject.schema.columns().iter();
                let number = numbers.clone().position(|column| column.ty() == Type::Int);
                let Take::Property(path) = declared.columns[1 + number.unwrap()].take() else {
                    return false;
                };
                let wrong = Object::new("malformed").with(path, text);
                self.fake.load(kind(declared), [wrong]);
                return true;
            }
            _ => return false,
        };
        self.fake.spoil(kind(declared), spoil);
        true
    }

    fn holds(&self, _: &Column, value: &Value<'static>) -> bool {
        // XML 1.0, 2.2.
        !matches!(value, Value::Text(text) if text.contains('\0'))
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        &[
            (
                Unsupported::Fault(FaultKind::Vanish),
                "the types of objects are part of the API: without objects there are no rows",
            ),
            (
                Unsupported::Fault(FaultKind::ChangeWhileRead),
                "vCenter does not tell: what a walk shows of an object is from when its chunk was made",
            ),
        ]
    }
}

connector_testkit::conformance!(VcenterHarness);

/// The connector without the column that is the same in all rows: the kit loads rows of its own
/// making, which are not all of one vCenter.
#[derive(Debug)]
struct Unscoped(Vcenter);

#[derive(Debug)]
struct UnscopedDataset(Arc<dyn Dataset>);

fn unscoped(schema: &Schema) -> Schema {
    let columns = schema.columns().iter().skip(1).cloned();
    let unscoped = Schema::new(columns).unwrap();
    unscoped.with_duplicates(schema.duplicates())
}

#[async_trait]
impl Connector for Unscoped {
    fn info(&self) -> &ConnectorInfo {
        self.0.info()
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        let datasets = self.0.datasets().await?.into_iter();
        Ok(datasets
            .map(|dataset| Arc::new(UnscopedDataset(dataset)) as Arc<dyn Dataset>)
            .collect())
    }

    async fn check(&self) -> Result<CheckReport> {
        self.0.check().await
    }
}

#[async_trait]
impl Dataset for UnscopedDataset {
    fn info(&self) -> &DatasetInfo {
        self.0.info()
    }

    async fn schema(&self, _: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        Ok(Arc::new(unscoped(&*self.0.schema(None).await?)))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        for row in self.0.collect().await? {
            assert_eq!(row.at(0), Value::Uuid(INSTANCE.parse().unwrap()));
            let mut writer = out.row();
            for value in row.values().skip(1) {
                writer.value(&value);
            }
            writer.end().await?;
        }
        Ok(())
    }
}
