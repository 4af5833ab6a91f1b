//! Passes over what changed, between walks through everything.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use connector_core::{
    Connector, Cycle, DatasetId, NamedSink, Outcome, Secret, Store, memory::MemorySink,
};
use connector_servicenow::{Authentication, ServiceNow, ServiceNowConfig, TableConfig};
use connector_testkit::{
    MemoryStorage,
    http::Scripted,
    servicenow::{ServiceNow as Instance, ServiceNowApp, ServiceNowTable},
};
use serde_json::{Value as Json, json};

const TABLE: &str = "x_acme_device";

fn device(number: u32, cpus: u32, updated: &str) -> Json {
    json!({
        "sys_id": format!("{number:032x}"),
        "name": format!("PC-{number}"),
        "cpus": cpus.to_string(),
        "sys_updated_on": updated,
    })
}

/// A process that reads an instance into a sink.
struct Lab {
    instance: Instance,
    config: ServiceNowConfig,
    store: Store,
    sink: MemorySink,
}

impl Lab {
    async fn new() -> Self {
        let instance = Instance::new();
        instance.table(
            ServiceNowTable::new(TABLE)
                .field("name", "string")
                .field("cpus", "integer"),
        );
        let auth = Authentication::Basic {
            user: ServiceNowApp::default().user,
            password: Secret::new("s3cret"),
        };
        let mut config = ServiceNowConfig::new(instance.url().parse().unwrap(), auth);
        config.datasets = vec![TableConfig::new("devices", TABLE)];
        config.categories = vec!["General".to_owned()];
        config.full_every = NonZeroU32::new(3).unwrap();
        let storage = Arc::new(MemoryStorage::default());
        Self {
            store: Store::open(storage, instance.clock()).await.unwrap(),
            sink: MemorySink::default(),
            instance,
            config,
        }
    }

    /// Syncs, and returns what was sent and how often the table was asked for changes only.
    async fn sync(&self) -> (String, usize) {
        tokio::time::advance(Duration::from_hours(1)).await;
        let transport: Arc<Scripted> = self.instance.transport();
        let client = Arc::clone(&transport) as Arc<_>;
        let connector = ServiceNow::over("cmdb", &self.config, client, self.instance.clock());
        let datasets = connector.unwrap().datasets().await.unwrap();
        let cycle = Cycle::new(&self.store).sink(NamedSink::new("memory", self.sink.clone()));
        let report = cycle.run_dataset("cmdb", &*datasets[0]).await;
        let Outcome::Synced(counts) = report.outcome else {
            panic!("{report:?}");
        };
        let seen = transport.requests();
        let of_changes = seen
            .iter()
            .filter(|r| r.target.contains("sys_updated_on%3E%3D"));
        (counts.to_string(), of_changes.count())
    }

    fn now(&self) -> String {
        let now = self.instance.clock().now().to_string();
        now[..19].replace('T', " ")
    }

    fn held(&self) -> usize {
        self.sink.rows(&DatasetId::new("cmdb", "devices")).len()
    }
}

const LONG_AGO: &str = "1969-01-01 00:00:00";

#[tokio::test(start_paused = true)]
async fn changes_come_with_every_pass_and_deletions_with_a_walk() {
    let lab = Lab::new().await;
    let devices = |edit: &dyn Fn(u32) -> Option<Json>| {
        let all = 0..25;
        lab.instance.load(TABLE, all.filter_map(edit));
    };
    devices(&|n| Some(device(n, 4, LONG_AGO)));
    assert_eq!(
        lab.sync().await.0,
        "Truncates: 1, Inserts: 25, SnapshotCompletes: 1"
    );

    // One was changed, one by a script that leaves no trace, one was deleted.
    let now = lab.now();
    let edited = |n: u32| match n {
        7 => Some(device(7, 8, &now)),
        8 => Some(device(8, 8, LONG_AGO)),
        9 => None,
        n => Some(device(n, 4, LONG_AGO)),
    };
    devices(&edited);
    let (sent, of_changes) = lab.sync().await;
    assert_eq!(sent, "Updates: 1, SnapshotCompletes: 1");
    assert!(of_changes > 0);
    let (sent, of_changes) = lab.sync().await;
    assert_eq!((&*sent, lab.held()), ("No events sent", 25));
    assert!(of_changes > 0);
    let (sent, of_changes) = lab.sync().await;
    assert_eq!(sent, "Updates: 1, Deletes: 1, SnapshotCompletes: 1");
    assert_eq!((of_changes, lab.held()), (0, 24));
}

/// As far as time zones are from each other: what an instance takes for later than it is.
#[tokio::test(start_paused = true)]
async fn a_time_of_another_zone_loses_nothing() {
    let lab = Lab::new().await;
    lab.instance
        .load(TABLE, (0..25).map(|n| device(n, 4, LONG_AGO)));
    lab.sync().await;
    let now = lab.instance.clock().now();
    let zone = 12 * 3600 * 10_000_000;
    let west = connector_core::Timestamp::from_ticks(now.ticks() - zone).unwrap();
    let west = west.to_string()[..19].replace('T', " ");
    lab.instance.load(
        TABLE,
        (0..25).map(|n| {
            device(
                n,
                if n == 3 { 8 } else { 4 },
                if n == 3 { &west } else { LONG_AGO },
            )
        }),
    );
    assert_eq!(lab.sync().await.0, "Updates: 1, SnapshotCompletes: 1");
}

#[tokio::test(start_paused = true)]
async fn changes_that_the_user_may_not_read_are_no_mistake() {
    let lab = Lab::new().await;
    lab.instance
        .load(TABLE, (0..25).map(|n| device(n, 4, LONG_AGO)));
    lab.sync().await;
    let now = lab.now();
    lab.instance.load(
        TABLE,
        (0..25).map(|n| device(n, 4, if n == 3 { &now } else { LONG_AGO })),
    );
    lab.instance.hide(TABLE, [&*format!("{:032x}", 3)]);
    let (sent, of_changes) = lab.sync().await;
    assert_eq!(sent, "No events sent");
    assert!(of_changes > 0);
}

#[tokio::test(start_paused = true)]
async fn another_filter_asks_for_everything() {
    let mut lab = Lab::new().await;
    lab.instance
        .load(TABLE, (0..25).map(|n| device(n, n % 2, LONG_AGO)));
    lab.config.datasets[0].filter = Some("cpus=1".to_owned());
    lab.sync().await;
    assert_eq!(lab.held(), 12);
    lab.config.datasets[0].filter = None;
    let (sent, of_changes) = lab.sync().await;
    assert_eq!(
        (&*sent, of_changes),
        ("Inserts: 13, SnapshotCompletes: 1", 0)
    );
}
