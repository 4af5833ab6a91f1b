use std::path::Path;

use connector_core::{
    Schema, Value,
    memory::{MemoryConnector, MemoryDataset},
    schema::{Declared, int, text},
};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::console::LogFormat;

const DEVICES: Declared = Declared::new(&[text("name").key(), int("cores")]);
const CONFIG: &str = r#"
[sink.repository]
kind = "sqlite"
path = "repository.db"
[sink.events]
kind = "ndjson"
path = "events.ndjson"
[connector.lab]
kind = "memory"
# The tests tell what was logged in which order.
concurrency = 1
delete_guard = { rows = 1, share = 0.5 }
"#;

struct Lab {
    folder: TempDir,
    devices: Arc<MemoryDataset>,
    users: Arc<MemoryDataset>,
    configured: Configured,
    requests: watch::Sender<u32>,
    stop: Stop,
}

fn dataset(name: &str) -> Arc<MemoryDataset> {
    Arc::new(MemoryDataset::new(name, Arc::new(Schema::from(DEVICES))))
}

fn rows(count: i64) -> Vec<Vec<Value<'static>>> {
    (0..count)
        .map(|i| vec![Value::Text(format!("PC-{i}").into()), Value::Int(i)])
        .collect()
}

impl Lab {
    fn new() -> Self {
        let (devices, users) = (dataset("devices"), dataset("users"));
        devices.set(rows(10));
        users.set(rows(3));
        let folder = tempfile::tempdir().unwrap();
        let settings = Config::parse(CONFIG, Path::new("/"))
            .unwrap()
            .connectors
            .remove(0);
        let datasets = vec![Arc::clone(&devices), Arc::clone(&users)];
        let (requests, stop) = Stop::new();
        Self {
            folder,
            devices,
            users,
            configured: Configured {
                settings,
                connector: Arc::new(MemoryConnector::new("lab", datasets)),
            },
            requests,
            stop,
        }
    }

    fn offer(&mut self, datasets: Vec<Arc<MemoryDataset>>) {
        self.configured.connector = Arc::new(MemoryConnector::new("lab", datasets));
    }

    async fn host(&self) -> Host {
        let config = Config::parse(CONFIG, self.folder.path()).unwrap();
        let connectors = [self.configured.clone()];
        let console = Console::start(LogFormat::Json, 0);
        Host::open(&config, &connectors, console, self.stop.clone())
            .await
            .unwrap()
    }

    async fn sync(&self, selection: &Selection) -> bool {
        let host = self.host().await;
        let plan = host.plan(&self.configured, selection).await.unwrap();
        host.carry_out(plan).await
    }

    async fn sync_all(&self) -> bool {
        self.sync(&Selection::default()).await
    }

    fn query<T: rusqlite::types::FromSql>(&self, sql: &str) -> Vec<T> {
        let path = self.folder.path().join("repository.db");
        let connection = rusqlite::Connection::open(path).unwrap();
        let mut select = connection.prepare(sql).unwrap();
        let found = select.query_map([], |row| row.get(0)).unwrap();
        found.map(Result::unwrap).collect()
    }

    fn outcomes(&self) -> Vec<String> {
        self.query("SELECT dataset || ' ' || outcome FROM _sync_log ORDER BY id")
    }

    fn events(&self) -> usize {
        let text = std::fs::read_to_string(self.folder.path().join("events.ndjson"));
        text.unwrap_or_default().lines().count()
    }
}

#[tokio::test]
async fn the_first_sync_is_full_and_the_second_sends_nothing() {
    let lab = Lab::new();
    assert!(lab.sync_all().await);
    assert_eq!(lab.query::<i64>("SELECT count(*) FROM devices"), [10]);
    assert_eq!(lab.events(), 12 + 5);
    assert!(lab.sync_all().await);
    assert_eq!(lab.events(), 12 + 5);
    lab.users.set(rows(4));
    assert!(lab.sync_all().await);
    assert_eq!(lab.events(), 12 + 5 + 2);
    let inserts = "SELECT inserts FROM _sync_log WHERE dataset = 'users' ORDER BY id";
    assert_eq!(lab.query::<i64>(inserts), [3, 0, 1]);
    let actions = lab.query::<String>("SELECT action || connector FROM _process_log");
    assert_eq!(actions, ["synclab", "synclab", "synclab"]);
}

#[tokio::test]
async fn a_failing_data_set_stops_no_other() {
    let lab = Lab::new();
    lab.devices.set_failure(Some(2));
    assert!(!lab.sync_all().await);
    assert_eq!(lab.outcomes(), ["devices failed", "users synced"]);
    let errors = lab.query::<Option<String>>("SELECT error FROM _sync_log ORDER BY id");
    assert!(
        errors[0].as_ref().unwrap().contains("lab/devices"),
        "{errors:?}"
    );
    assert_eq!(errors[1], None);
}

#[tokio::test]
async fn a_data_set_that_vanished_fails_and_keeps_its_records() {
    let mut lab = Lab::new();
    assert!(lab.sync_all().await);
    lab.offer(vec![Arc::clone(&lab.users)]);
    assert!(!lab.sync_all().await);
    assert_eq!(lab.outcomes()[2..], ["users synced", "devices failed"]);
    assert_eq!(lab.query::<i64>("SELECT count(*) FROM devices"), [10]);
    // Who asks for another one is not told.
    let users = Selection {
        datasets: vec!["USERS".to_owned()],
        ..Selection::default()
    };
    assert!(lab.sync(&users).await);
}

#[tokio::test]
async fn a_selection_is_kept_to() {
    let lab = Lab::new();
    let selection = |datasets: &[&str], categories: &[&str]| Selection {
        datasets: datasets.iter().map(|&name| name.to_owned()).collect(),
        categories: categories.iter().map(|&name| name.to_owned()).collect(),
        clean: false,
    };
    assert!(lab.sync(&selection(&["users"], &[])).await);
    assert_eq!(lab.outcomes(), ["users synced"]);
    assert!(lab.sync(&selection(&[], &["general"])).await);
    assert_eq!(lab.outcomes()[1..], ["devices synced", "users synced"]);
    let host = lab.host().await;
    let all = Selection::default();
    let plan = host.plan(&lab.configured, &all).await.unwrap();
    assert!(plan.has_dataset("Devices") && plan.has_category("GENERAL"));
    assert!(!plan.has_dataset("device") && !plan.has_category("Users"));
}

#[tokio::test]
async fn a_held_cycle_waits_for_a_person() {
    let lab = Lab::new();
    assert!(lab.sync_all().await);
    lab.devices.set(rows(2));
    assert!(!lab.sync_all().await);
    assert_eq!(lab.outcomes()[2..], ["devices held", "users synced"]);
    assert_eq!(lab.query::<i64>("SELECT count(*) FROM devices"), [10]);
    let id = DatasetId::new("lab", "devices");
    lab.host().await.reject(&lab.configured, &id).await.unwrap();
    assert!(
        !lab.host().await.approve(&lab.configured, &id).await,
        "nothing is held"
    );
    assert!(!lab.sync_all().await);
    assert!(lab.host().await.approve(&lab.configured, &id).await);
    assert_eq!(lab.query::<i64>("SELECT count(*) FROM devices"), [2]);
}

#[tokio::test]
async fn a_clean_sync_loads_what_this_connector_put_there() {
    let lab = Lab::new();
    assert!(lab.sync_all().await);
    lab.query::<i64>("UPDATE devices SET cores = 99 RETURNING cores");
    let clean = Selection {
        clean: true,
        ..Selection::default()
    };
    assert!(lab.sync(&clean).await);
    assert_eq!(lab.query::<i64>("SELECT max(cores) FROM devices"), [9]);
}

#[tokio::test]
async fn a_repository_that_was_deleted_is_filled_again_without_the_source() {
    let lab = Lab::new();
    assert!(lab.sync_all().await);
    for suffix in ["", "-wal", "-shm"] {
        let path = lab.folder.path().join(format!("repository.db{suffix}"));
        let _ = std::fs::remove_file(path);
    }
    lab.devices.set_failure(Some(0));
    assert!(!lab.sync_all().await);
    assert_eq!(lab.query::<i64>("SELECT count(*) FROM devices"), [10]);
    assert_eq!(lab.events(), 12 + 5, "the other sink needed nothing");
}

#[tokio::test]
async fn a_stop_begins_no_other_data_set() {
    let lab = Lab::new();
    lab.requests.send_replace(1);
    assert!(!lab.sync_all().await);
    assert!(lab.outcomes().is_empty());
}

#[tokio::test]
async fn a_second_process_is_told_who_is_first() {
    let lab = Lab::new();
    let _first = lab.host().await;
    let config = Config::parse(CONFIG, lab.folder.path()).unwrap();
    let error = open_store(&config, &clock()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    let message = format!("{error:#}");
    let process = format!("process {}", std::process::id());
    assert!(message.contains(&process), "{message}");
}
