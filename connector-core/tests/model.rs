//! Random schedules of what happens to a data set over its life, against a plain map: whatever the
//! order of edits, failures, cancels, restarts and new sinks, and whatever the store keeps of rows,
//! every sink ends with what the source holds. The memory sink checks each event on the way: its `before`, its order, the digest.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod lab;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use connector_core::{
    DeleteGuard, Duplicates, ErrorKind, Outcome, Retain, Row, Value,
    memory::MemorySink,
    schema::{Declared, Schema, int, text},
};
use connector_testkit::{FaultySink, SinkFault, StorageFault, Unsynced};
use futures::FutureExt;
use lab::{DEVICES, Lab};
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
    Edit(Vec<(u16, Option<u8>)>),
    /// So many records from a key on have that value, or are gone.
    Fill(u16, u16, Option<u8>),
    /// The source holds again what it held so many syncs ago.
    Back(u8),
    Order(Order),
    /// Rows are returned more than once from now on.
    Repeat(Vec<Copy>),
    /// The columns are four from now on, and `owner` of a record is set.
    Widen(u16),
    Sync,
    Clean,
    /// The source fails after so many rows.
    Cut(u16),
    /// Differing rows of one key are not allowed for once.
    Refuse,
    /// A cycle that deletes is held for once, and approved or rejected.
    Hold(bool),
    /// The cycle is dropped after so many polls.
    Cancel(u8),
    /// A fault of the disk, so many calls from now.
    Fault(StorageFault, u8),
    SinkFails(SinkFault, u8, u32),
    /// The process dies and starts again.
    Crash(Unsynced),
    NewSink,
    /// A sink loses its copy.
    LostSink(u8),
    History(u8),
    Memory(u32),
    /// The store keeps rows, or digests, from now on.
    Keep(Retain),
}

/// In which order the source returns its rows.
#[derive(Debug, Clone)]
enum Order {
    Keys,
    /// But for some that have changed places with another.
    Nearly(Vec<(u16, u16)>),
    Reversed,
    Shuffled(u64),
}

/// A row that is returned once more: which, where, and whether it differs.
#[derive(Debug, Clone)]
struct Copy {
    of: u16,
    at: u16,
    differs: bool,
}

/// As many records as there are keys: more than a sorted run has that is spilled.
const KEYS: u16 = 400;

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        3 => Just(Order::Keys),
        2 => prop::collection::vec((0..KEYS, 0..KEYS), 1..4).prop_map(Order::Nearly),
        1 => Just(Order::Reversed),
        2 => any::<u64>().prop_map(Order::Shuffled),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Few values, so that a record often becomes again what it was.
    let value = || prop::option::weighted(0.7, 0_u8..7);
    let edits = prop::collection::vec((0..KEYS, value()), 1..40);
    let copy = (0..KEYS, 0..KEYS, any::<bool>());
    let copy = copy.prop_map(|(of, at, differs)| Copy { of, at, differs });
    let faults = vec![
        StorageFault::Fails(std::io::ErrorKind::Other),
        StorageFault::Full,
        StorageFault::Denied,
    ];
    prop_oneof![
        6 => edits.prop_map(Step::Edit),
        2 => (0..KEYS, 0..KEYS, value()).prop_map(|(from, many, to)| Step::Fill(from, many, to)),
        3 => (1_u8..4).prop_map(Step::Back),
        3 => order().prop_map(Step::Order),
        1 => prop::collection::vec(copy, 0..6).prop_map(Step::Repeat),
        1 => (0..KEYS).prop_map(Step::Widen),
        8 => Just(Step::Sync),
        1 => Just(Step::Clean),
        2 => (0..KEYS).prop_map(Step::Cut),
        1 => Just(Step::Refuse),
        1 => any::<bool>().prop_map(Step::Hold),
        2 => any::<u8>().prop_map(Step::Cancel),
        2 => (prop::sample::select(faults), any::<u8>())
            .prop_map(|(fault, after)| Step::Fault(fault, after)),
        3 => (prop::sample::select(SinkFault::ALL.to_vec()), any::<u8>(), 0_u32..3)
            .prop_map(|(fault, sink, passes)| Step::SinkFails(fault, sink, passes)),
        2 => prop::sample::select(Unsynced::ALL.to_vec()).prop_map(Step::Crash),
        1 => Just(Step::NewSink),
        1 => any::<u8>().prop_map(Step::LostSink),
        1 => (0_u8..4).prop_map(Step::History),
        2 => prop::sample::select(vec![0, 200, 8 << 10, 64 << 10, 1 << 20]).prop_map(Step::Memory),
    ]
}

/// Where in a schedule it is said anew what the store keeps. Drawn after the steps, so that the kept
/// seeds stand for the steps that they always stood for.
fn choices() -> impl Strategy<Value = Vec<(usize, Retain)>> {
    let retain = prop::sample::select(vec![Retain::Digests, Retain::Rows]);
    prop::collection::vec((0..30_usize, retain), 0..5)
}

type Records = BTreeMap<u16, (u8, Option<String>)>;

/// The source as a plain map.
struct World {
    rows: Records,
    /// What it was at each sync.
    earlier: Vec<Records>,
    wide: bool,
    order: Order,
    copies: Vec<Copy>,
}

impl World {
    fn new() -> Self {
        Self {
            rows: Records::new(),
            earlier: Vec::new(),
            wide: false,
            order: Order::Keys,
            copies: Vec::new(),
        }
    }

    fn schema(&self, duplicates: Duplicates) -> Arc<Schema> {
        let columns = if self.wide { WIDER } else { DEVICES };
        Arc::new(Schema::from(columns).with_duplicates(duplicates))
    }

    fn set(&mut self, key: u16, value: Option<u8>) {
        match value {
            Some(value) => self.rows.entry(key).or_default().0 = value,
            None => drop(self.rows.remove(&key)),
        }
    }

    /// One row a record, in the order of keys.
    fn values(&self) -> Vec<Vec<Value<'static>>> {
        let row = |(key, (cores, owner)): (&u16, &(u8, Option<String>))| {
            let mut row = vec![
                Value::Text(format!("PC-{key:03}").into()),
                if cores % 5 == 0 {
                    Value::Null
                } else {
                    Value::Int((*cores).into())
                },
                // Moves with every sync.
                Value::Int(i64::from(*cores) + 100 * i64::try_from(self.earlier.len()).unwrap()),
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
        self.rows.iter().map(row).collect()
    }

    /// What the source returns.
    fn read(&self) -> Vec<Vec<Value<'static>>> {
        let mut rows = self.values();
        let len = rows.len();
        match &self.order {
            Order::Nearly(swaps) if len > 0 => {
                for (a, b) in swaps {
                    rows.swap(usize::from(*a) % len, usize::from(*b) % len);
                }
            }
            Order::Keys | Order::Nearly(_) => {}
            Order::Reversed => rows.reverse(),
            Order::Shuffled(seed) => rows.sort_by_cached_key(|row| {
                let mut sum = DefaultHasher::new();
                (seed, row[0].to_string()).hash(&mut sum);
                sum.finish()
            }),
        }
        let whole = rows.clone();
        for Copy { of, at, differs } in self.copies.iter().filter(|_| len > 0) {
            let mut copy = whole[usize::from(*of) % len].clone();
            if *differs {
                let schema = self.schema(Duplicates::KeepGreatest);
                copy = lab::loser(&schema, &copy, |n| Value::Int(1000 + n), 1);
            }
            rows.insert(usize::from(*at) % (rows.len() + 1), copy);
        }
        rows
    }

    /// What a copy must hold: the compared columns.
    fn expected(&self) -> Vec<Vec<Value<'static>>> {
        let mut rows = self.values();
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

#[expect(clippy::too_many_lines, reason = "an arm a step, and none is long")]
async fn live(steps: Vec<Step>) {
    let mut lab = Lab::new(&["one", "two"]);
    let trusting = DeleteGuard {
        rows: u64::MAX,
        share: 1.0,
        empty: false,
    };
    lab.options.guard = trusting;
    let mut world = World::new();
    let show = |world: &World, lab: &Lab| {
        lab.source
            .set_schema(world.schema(Duplicates::KeepGreatest));
        lab.source.set(world.read());
    };
    for step in steps {
        show(&world, &lab);
        match step {
            Step::Edit(edits) => {
                for (key, value) in edits {
                    world.set(key, value);
                }
            }
            Step::Fill(from, many, value) => {
                (from..KEYS.min(from + many)).for_each(|key| world.set(key, value));
            }
            Step::Back(syncs) => {
                let ago = world.earlier.len().checked_sub(usize::from(syncs));
                world.rows = ago.map_or_else(Records::new, |at| world.earlier[at].clone());
            }
            Step::Order(order) => world.order = order,
            Step::Repeat(copies) => world.copies = copies,
            Step::Widen(key) => {
                world.wide = true;
                if let Some((_, owner)) = world.rows.get_mut(&key) {
                    *owner = Some(format!("owner of {key}"));
                }
            }
            Step::Sync => {
                lab.sync().await;
                world.earlier.push(world.rows.clone());
            }
            Step::Clean => {
                lab.options.clean = true;
                lab.sync().await;
                lab.options.clean = false;
            }
            Step::Cut(after) => {
                let after = usize::from(after) % (world.read().len() + 1);
                lab.source.set_failure(Some(after));
                let report = lab.sync().await;
                lab.source.set_failure(None);
                // Or nothing was read, because no sink could have been sent anything.
                assert!(!report.is_ok());
            }
            Step::Refuse => {
                let mut rows = world.read();
                if let Some(row) = rows.first() {
                    let mut differs = row.clone();
                    differs[1] = Value::Int(-1);
                    rows.push(differs);
                    lab.source.set(rows);
                    lab.source.set_schema(world.schema(Duplicates::Fail));
                    assert!(!lab.sync().await.is_ok());
                }
            }
            Step::Hold(approve) => {
                (lab.options.guard.rows, lab.options.guard.share) = (0, 0.0);
                if let Outcome::Held(_) = lab.sync().await.outcome {
                    if approve {
                        lab.cycle().await.approve(&Lab::id()).await;
                    } else {
                        lab.cycle().await.reject(&Lab::id()).await.unwrap();
                    }
                }
                lab.options.guard = trusting;
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
            Step::Fault(fault, after) => {
                // The lock is not part of it.
                lab.store().await;
                let call = lab.storage.calls() + 1 + u64::from(after % 64);
                lab.storage.fault_at(call, fault);
                lab.sync().await;
                lab.storage.mend();
            }
            Step::SinkFails(fault, sink, passes) => {
                let sinks = lab.sinks.len();
                lab.sinks[usize::from(sink) % sinks].1.fail(fault, passes);
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
            Step::Keep(retain) => lab.options.retain = retain,
        }
    }
    // Changes that every sink must be sent, so that one that lost its copy says so; and as many
    // cycles as there may be faults that were planned and did not happen yet.
    show(&world, &lab);
    let mut report = lab.sync().await;
    for change in 0..8 {
        world.rows.insert(0, (240 + change, None));
        show(&world, &lab);
        report = lab.sync().await;
    }
    assert!(
        matches!(report.outcome, Outcome::Synced(_)) && report.is_ok(),
        "{report:?}"
    );
    match lab.options.retain {
        Retain::Rows => {
            let baseline = lab.baseline().await;
            assert_eq!(compared(&baseline, world.wide), world.expected());
        }
        Retain::Digests => {
            let error = lab.store().await.rows(&Lab::id()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    }
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
    assert_eq!(lab.files(), lab.named());
}

/// What was found once, whatever the seeds above make of later steps.
#[tokio::test]
async fn a_cycle_that_only_deletes_after_a_new_column() {
    live(vec![
        Step::Edit(vec![(33, Some(0))]),
        Step::Sync,
        Step::Widen(0),
        Step::Edit(vec![(33, None)]),
    ])
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn d1_d2_c2_every_schedule_converges(
        mut steps in prop::collection::vec(step(), 1..30),
        choices in choices(),
    ) {
        for (at, retain) in choices {
            steps.insert(at % (steps.len() + 1), Step::Keep(retain));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(live(steps));
    }
}
