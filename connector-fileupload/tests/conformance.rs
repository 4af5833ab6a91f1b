//! The conformance kit over files that a test writes with the `csv` crate.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use connector_core::{
    Column, Connector, Duplicates, Schema, Secret, Type, Value,
    schema::{Declared, bool, bytes, date, decimal, float, int, json, text, time, uuid},
};
use connector_fileupload::{DatasetConfig, Empty, FileUpload, FileUploadConfig};
use connector_testkit::{Check, Fault, FaultKind, Harness, Subject, Unsupported, Values};

/// What a cell holds that is null, so that empty text is empty text.
const NULL: &str = "\\N";

/// A file has no rule against null but for the key's columns.
const EVERYTHING: Declared = Declared::new(&[
    text("name").key(),
    bool("bool").null(),
    int("int").null(),
    float("float").null(),
    decimal("decimal", 4).null(),
    text("text").null(),
    bytes("bytes").null(),
    time("timestamp").null(),
    time("local").local().null(),
    date("date").null(),
    uuid("uuid").null(),
    json("json").null(),
]);

/// A key of two types, a column that moves by itself, and the other policy for duplicates.
const STAMPED: Declared = Declared::new(&[
    int("site").key(),
    uuid("device").key(),
    text("note").null(),
    int("stamp").null().volatile(),
]);

struct FileUploadHarness {
    folder: tempfile::TempDir,
    connector: Arc<FileUpload>,
    /// What was loaded last, to be broken.
    loaded: Mutex<BTreeMap<String, Vec<Values>>>,
}

fn declare(subject: &Subject) -> DatasetConfig {
    let mut config = DatasetConfig::new(&subject.name, format!("{}.csv", subject.name));
    for column in subject.schema.columns() {
        let name = column.name().to_owned();
        if column.is_key() {
            config.key.push(name.clone());
        }
        if column.is_volatile() {
            config.volatile.push(name.clone());
        }
        config.types.insert(name, column.ty());
    }
    config.duplicates = Some(subject.schema.duplicates());
    config
}

fn subjects() -> Vec<Subject> {
    let stamped = Schema::from(STAMPED).with_duplicates(Duplicates::KeepGreatest);
    vec![
        Subject::new("everything", EVERYTHING),
        Subject::new("stamped", stamped),
    ]
}

impl FileUploadHarness {
    fn file(&self, subject: &Subject) -> PathBuf {
        self.folder.path().join(format!("{}.csv", subject.name))
    }

    fn write(
        &self,
        subject: &Subject,
        rows: &[Values],
        cell: impl Fn(usize, &Column, &Value<'_>) -> String,
    ) {
        let mut file = csv::WriterBuilder::new()
            .quote_style(csv::QuoteStyle::Always)
            .from_path(self.file(subject))
            .unwrap();
        let columns = subject.schema.columns();
        file.write_record(columns.iter().map(Column::name)).unwrap();
        for (number, values) in rows.iter().enumerate() {
            let cells = columns.iter().zip(values);
            file.write_record(cells.map(|(column, value)| cell(number, column, value)))
                .unwrap();
        }
        file.flush().unwrap();
    }
}

fn render(value: &Value<'_>) -> String {
    if value.is_null() {
        NULL.to_owned()
    } else {
        value.to_string()
    }
}

#[async_trait]
impl Harness for FileUploadHarness {
    async fn start(_secret: &Secret) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = FileUploadConfig::new(folder.path());
        config.empty = Empty::Text;
        config.null = Some(NULL.to_owned());
        config.datasets = subjects().iter().map(declare).collect();
        let connector = Arc::new(FileUpload::new("lab", config).unwrap());
        let harness = Self {
            folder,
            connector,
            loaded: Mutex::default(),
        };
        for subject in subjects() {
            harness.load(&subject, &[]).await;
        }
        harness
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector) as Arc<dyn Connector>
    }

    fn subjects(&self) -> Vec<Subject> {
        subjects()
    }

    async fn load(&self, subject: &Subject, rows: &[Values]) {
        self.write(subject, rows, |_, _, value| render(value));
        self.loaded
            .lock()
            .unwrap()
            .insert(subject.name.clone(), rows.to_vec());
    }

    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        let file = self.file(subject);
        match fault {
            Fault::Cut => {
                let whole = fs::read(&file).unwrap();
                // Every cell is quoted: without the last quote the last cell never ends.
                let quote = whole.iter().rposition(|b| *b == b'"').unwrap();
                fs::write(&file, &whole[..quote]).unwrap();
            }
            Fault::Vanish => fs::remove_file(&file).unwrap(),
            Fault::Malformed { text } => {
                let rows = self.loaded.lock().unwrap()[&subject.name].clone();
                let last = rows.len() - 1;
                let typed = subject
                    .schema
                    .columns()
                    .iter()
                    .find(|c| c.ty() == Type::Int)
                    .unwrap();
                self.write(subject, &rows, |number, column, value| {
                    let wrong = number == last && column.name() == typed.name();
                    if wrong { text.clone() } else { render(value) }
                });
            }
            _ => return false,
        }
        true
    }

    fn holds(&self, column: &Column, value: &Value<'static>) -> bool {
        let text = value.to_string();
        // In the key there is no null, and so no text that means it.
        let means_null = !column.is_key() && text == NULL;
        // NUL in a text file is damage, and the connector says so.
        value.is_null() || !(means_null || text.contains('\0'))
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        &[
            (
                Unsupported::Check(Check::Hang),
                "a file that stops answering is the file system's hang, which no reader sees",
            ),
            (
                Unsupported::Fault(FaultKind::Deny),
                "the tests may run as a user who may read every file",
            ),
            (
                Unsupported::Fault(FaultKind::ChangeWhileRead),
                "the moment is a matter of luck here; `file` tests it with a file that it changes between two reads",
            ),
        ]
    }
}

connector_testkit::conformance!(FileUploadHarness);
