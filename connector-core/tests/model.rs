//! Random schedules of what happens to a data set over its life, against a plain map: whatever the
//! order of edits, failures, cancels, restarts and new sinks, every sink ends with what the source
//! holds. The memory sink checks each event on the way: its `before`, its order, the digest.

mod lab;

use std::{collections::BTreeMap, sync::Arc};

use connector_core::{
    Outcome, Row, Value,
    memory::MemorySink,
    schema::{Declared, Schema, int, text},
};
use connector_testkit::{FaultySink, SinkFault, Unsynced};
use futures::FutureExt;
use lab::Lab;
use proptest::prelude::*;

const WIDER: Declared = Declared::new(&[
    text("name").key(),
    int("cores").null(),
    int("free").null().volatile(),
    text("owner").null(),
]);

#[derive(Debug, Clone)]
enum Step {
    /// Records come, change and go: the key, and the value or none.
    Edit(Vec<(u8, Option<u8>)>),
    /// The rows come in another order.
    Turn,
    /// The columns are four from now on, and `owner` of a record is set.
    Widen(u8),
    Sync,
    Clean,
    /// The source fails after so many rows.
    Cut(u8),
    /// The cycle is dropped after so many polls.
    Cancel(u8),
    SinkFails(SinkFault, u8),
    /// The process dies and starts again.
    Crash(Unsynced),
    NewSink,
    /// A sink loses its copy.
    LostSink(u8),
    History(u8),
    Memory(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let edit = (any::<u8>(), prop::option::weighted(0.7, any::<u8>()));
    let edits = prop::collection::vec(edit, 1..40);
    prop_oneof![
        6 => edits.prop_map(Step::Edit),
        1 => Just(Step::Turn),
        1 => any::<u8>().prop_map(Step::Widen),
        6 => Just(Step::Sync),
        1 => Just(Step::Clean),
        2 => any::<u8>().prop_map(Step::Cut),
        2 => any::<u8>().prop_map(Step::Cancel),
        3 => (prop::sample::select(SinkFault::ALL.to_vec()), any::<u8>())
            .prop_map(|(fault, sink)| Step::SinkFails(fault, sink)),
        2 => prop::sample::select(Unsynced::ALL.to_vec()).prop_map(Step::Crash),
        1 => Just(Step::NewSink),
        1 => any::<u8>().prop_map(Step::LostSink),
        1 => (0_u8..4).prop_map(Step::History),
        1 => prop::sample::select(vec![0, 200, u16::MAX]).prop_map(Step::Memory),
    ]
}

/// The source as a plain map.
#[derive(Default)]
struct World {
    rows: BTreeMap<u8, (u8, Option<String>)>,
    wide: bool,
    turned: bool,
}

impl World {
    fn values(&self) -> Vec<Vec<Value<'static>>> {
        let row = |(key, (cores, owner)): (&u8, &(u8, Option<String>))| {
            let mut row = vec![
                Value::Text(format!("PC-{key:03}").into()),
                if cores % 5 == 0 {
                    Value::Null
                } else {
                    Value::Int((*cores).into())
                },
                Value::Int(i64::from(*cores) * 7),
            ];
            if self.wide {
                row.push(
                    owner
                        .clone()
                        .map_or(Value::Null, |owner| Value::Text(owner.into())),
                );
            }
            row
        };
        let mut rows: Vec<_> = self.rows.iter().map(row).collect();
        if self.turned {
            rows.reverse();
        }
        rows
    }

    /// What a copy must hold: the compared columns.
    fn expected(&self) -> Vec<Vec<Value<'static>>> {
        let mut rows = self.values();
        rows.sort_by_key(|row| row[0].to_string());
        for row in &mut rows {
            row.remove(2);
        }
        rows
    }
}

/// The compared columns, those that the copy does not have yet as null.
fn compared(rows: &[Row], wide: bool) -> Vec<Vec<Value<'static>>> {
    let names: &[&str] = if wide {
        &["name", "cores", "owner"]
    } else {
        &["name", "cores"]
    };
    rows.iter()
        .map(|row| {
            let value = |name: &&str| row.value(name).unwrap_or(Value::Null).into_owned();
            names.iter().map(value).collect()
        })
        .collect()
}

async fn live(steps: Vec<Step>) {
    let mut lab = Lab::new(&["one", "two"]);
    lab.options.guard.rows = u64::MAX;
    lab.options.guard.empty = false;
    let mut world = World::default();
    for step in steps {
        lab.options.clean = false;
        lab.source.set_failure(None);
        match step {
            Step::Edit(edits) => {
                for (key, value) in edits {
                    match value {
                        Some(value) => world.rows.entry(key).or_default().0 = value,
                        None => drop(world.rows.remove(&key)),
                    }
                }
            }
            Step::Turn => world.turned = !world.turned,
            Step::Widen(key) => {
                world.wide = true;
                lab.source.set_schema(Arc::new(Schema::from(WIDER)));
                if let Some((_, owner)) = world.rows.get_mut(&key) {
                    *owner = Some(format!("owner of {key}"));
                }
            }
            Step::Sync => drop(lab.sync().await),
            Step::Clean => {
                lab.options.clean = true;
                lab.sync().await;
            }
            Step::Cut(after) => {
                lab.source.set_failure(Some(usize::from(after) % 50));
                let report = lab.sync().await;
                // Or nothing was read, because no sink could have been sent anything.
                assert!(!report.is_ok());
            }
            Step::Cancel(polls) => {
                let cycle = lab.cycle().await;
                let source = Arc::clone(&lab.source);
                let mut run = Box::pin(cycle.run_dataset("lab", &*source));
                for _ in 0..polls % 24 {
                    if (&mut run).now_or_never().is_some() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            Step::SinkFails(fault, sink) => {
                let sinks = lab.sinks.len();
                lab.sinks[usize::from(sink) % sinks].1.fail(fault, 0);
            }
            Step::Crash(unsynced) => {
                lab.stop();
                lab.storage = lab.storage.reopen(unsynced);
            }
            Step::NewSink if lab.sinks.len() < 4 => {
                let name = ["three", "four"][lab.sinks.len() - 2];
                lab.sinks
                    .push((name, FaultySink::new(MemorySink::default())));
            }
            Step::NewSink => {}
            Step::LostSink(sink) => {
                let sinks = lab.sinks.len();
                lab.sinks[usize::from(sink) % sinks].1.inner().clear();
            }
            Step::History(cycles) => lab.options.history = cycles.into(),
            Step::Memory(bytes) => lab.options.memory = bytes.into(),
        }
        lab.source.set(world.values());
    }
    lab.source.set_failure(None);
    lab.options.clean = false;
    // Changes that every sink must be sent, so that one that lost its copy says so; and as many
    // cycles as there may be faults that were planned and did not happen yet.
    let mut report = lab.sync().await;
    for change in 0..6 {
        world.rows.insert(0, (250 + change, None));
        lab.source.set(world.values());
        report = lab.sync().await;
    }
    assert!(
        matches!(report.outcome, Outcome::Synced(_)) && report.is_ok(),
        "{report:?}"
    );
    let baseline = lab.baseline().await;
    assert_eq!(compared(&baseline, world.wide), world.expected());
    for (i, (name, _)) in lab.sinks.iter().enumerate() {
        assert_eq!(
            compared(&lab.copy(i), world.wide),
            world.expected(),
            "sink {name}"
        );
    }
    let report = lab.sync().await;
    assert!(
        matches!(report.outcome, Outcome::Synced(counts) if counts.is_empty()),
        "{report:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn d1_d2_c2_every_schedule_converges(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(live(steps));
    }
}
