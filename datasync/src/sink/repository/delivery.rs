//! Deliveries of cycles into a database: in order, once, and whole.

use std::sync::Arc;

use connector_core::{
    Change, ChangeEvent, CycleId, DatasetId, Digest, Error, ErrorKind, Result, Row, Schema,
};

use super::{Database, Table, catalog::Entry, refused, tally};

/// A database and the delivery on its way into it.
pub(super) struct Deliveries {
    database: Box<dyn Database>,
    delivery: Option<Delivery>,
}

struct Delivery {
    dataset: DatasetId,
    cycle: CycleId,
    next_seq: u64,
    step: Step,
}

enum Step {
    /// Waits for the truncate of a full cycle, which replaces this table.
    Full(Option<Table>),
    Load(Arc<Schema>),
    Apply(Apply),
    /// The cycle is here already: its events change nothing.
    Repeat(Entry),
    /// Everything is applied and waits for the commit.
    Complete,
}

/// Differences on their way into a table.
struct Apply {
    entry: Entry,
    /// Count and digest are taken from the table again: its columns changed, which changes every
    /// row's hash, or its rows were not what they should be.
    recount: bool,
}

impl Deliveries {
    pub(super) fn new(database: Box<dyn Database>) -> Self {
        Self {
            database,
            delivery: None,
        }
    }

    pub(super) fn place(&self) -> String {
        self.database.place()
    }

    /// The database for something that is no delivery. A delivery on its way is dropped.
    pub(super) fn beside(&mut self) -> Result<&mut dyn Database> {
        self.delivery = None;
        self.database.begin()?;
        Ok(&mut *self.database)
    }

    /// Looks at one state of the database.
    pub(super) fn look<T>(
        &mut self,
        look: impl FnOnce(&mut dyn Database) -> Result<T>,
    ) -> Result<T> {
        let database = self.beside()?;
        let outcome = database.freeze().and_then(|()| look(database));
        self.abandon();
        outcome
    }

    pub(super) fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        let outcome = self.take(events);
        if outcome.is_err() {
            self.abandon();
        }
        outcome
    }

    fn take(&mut self, events: &[ChangeEvent]) -> Result<()> {
        let mut rest = events;
        while let Some(event) = rest.first() {
            if event.seq == 1 {
                let database = self.beside()?;
                database.claim(&event.dataset)?;
                self.delivery = Some(Delivery::begin(&mut *self.database, event)?);
            }
            let Some(delivery) = &mut self.delivery else {
                return Err(refused("an event without a beginning"));
            };
            let taken = delivery
                .take(&mut *self.database, rest)
                .map_err(|error| error.with("data set", &event.dataset))?;
            rest = &rest[taken..];
        }
        match &self.delivery {
            Some(Delivery {
                step: Step::Load(_),
                ..
            }) => self.database.pause(),
            _ => Ok(()),
        }
    }

    pub(super) fn commit(&mut self, cycle: CycleId) -> Result<()> {
        let complete = |delivery: &Delivery| {
            delivery.cycle == cycle && matches!(delivery.step, Step::Complete)
        };
        let outcome = if self.delivery.take().is_some_and(|d| complete(&d)) {
            self.database.commit()
        } else {
            Err(refused("a commit of a cycle that is not complete"))
        };
        if outcome.is_err() {
            self.abandon();
        }
        outcome
    }

    fn abandon(&mut self) {
        self.delivery = None;
        self.database.abandon();
    }
}

impl Delivery {
    fn begin(database: &mut dyn Database, event: &ChangeEvent) -> Result<Self> {
        let (dataset, cycle) = (&event.dataset, event.cycle);
        let same_state = |entry: &Entry| {
            (entry.cycle.number(), entry.cycle.at()) == (cycle.number(), cycle.at())
        };
        let step = match Entry::load(database, dataset)? {
            // What a repair says is true of the rows as they are now, whatever was sent before.
            Some(entry) if cycle.is_repair() => {
                database.start_changes(&entry.table)?;
                Step::Apply(Apply {
                    entry,
                    recount: true,
                })
            }
            Some(entry) if entry.cycle == cycle => Step::Repeat(entry),
            held if cycle.is_full() => Step::Full(held.map(|entry| entry.table)),
            // The same state, once delivered whole and now as differences.
            Some(entry) if same_state(&entry) => Step::Repeat(entry),
            Some(entry) if entry.cycle.number() + 1 == cycle.number() => {
                database.start_changes(&entry.table)?;
                Step::Apply(Apply {
                    entry,
                    recount: false,
                })
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Incomplete,
                    "the repository lacks the cycle before this one",
                )
                .with("data set", dataset)
                .with("cycle", cycle));
            }
        };
        Ok(Self {
            dataset: dataset.clone(),
            cycle,
            next_seq: 1,
            step,
        })
    }

    /// Takes one event, or all that are alike, and returns how many.
    fn take(&mut self, database: &mut dyn Database, events: &[ChangeEvent]) -> Result<usize> {
        let taken = match &mut self.step {
            Step::Load(schema) => {
                let rows: Vec<&Row> = events.iter().map_while(inserted).collect();
                if rows.iter().any(|row| !same(row.schema(), schema)) {
                    return Err(refused("a record with other columns than its data set's"));
                }
                if !rows.is_empty() {
                    database.load(&rows)?;
                }
                rows.len()
            }
            Step::Apply(apply) => apply.take(database, events)?,
            Step::Full(_) | Step::Repeat(_) | Step::Complete => 0,
        };
        if taken > 0 {
            events[..taken].iter().try_for_each(|e| self.in_order(e))?;
            return Ok(taken);
        }
        let Some(event) = events.first() else {
            return Ok(0);
        };
        self.in_order(event)?;
        self.take_one(database, &event.change).map(|()| 1)
    }

    fn in_order(&mut self, event: &ChangeEvent) -> Result<()> {
        if event.seq != self.next_seq || event.cycle != self.cycle || event.dataset != self.dataset
        {
            return Err(refused("an event out of order").with("seq", event.seq));
        }
        self.next_seq += 1;
        Ok(())
    }

    fn take_one(&mut self, database: &mut dyn Database, change: &Change) -> Result<()> {
        let step = std::mem::replace(&mut self.step, Step::Complete);
        self.step = match (step, change) {
            (Step::Full(held), Change::Truncate { schema }) => {
                database.start_load(&self.dataset, schema, held.as_ref())?;
                Step::Load(Arc::clone(schema))
            }
            (Step::Repeat(entry), Change::SnapshotComplete { rows, digest }) => {
                entry.expect(&self.dataset, (*rows, *digest))?;
                Step::Complete
            }
            (Step::Repeat(entry), _) => Step::Repeat(entry),
            (Step::Apply(apply), Change::SnapshotComplete { rows, digest }) => {
                let entry = apply.finish(database, &self.dataset, (*rows, *digest))?;
                self.save(database, entry)?;
                Step::Complete
            }
            (Step::Load(_), Change::SnapshotComplete { rows, digest }) => {
                let table = database.finish_load(&self.dataset, (*rows, *digest))?;
                let entry = Entry {
                    table,
                    cycle: self.cycle,
                    rows: *rows,
                    digest: *digest,
                };
                self.save(database, entry)?;
                Step::Complete
            }
            (Step::Full(_) | Step::Load(_) | Step::Apply(_) | Step::Complete, change) => {
                return Err(
                    refused("an event that does not belong there").with("kind", change.kind())
                );
            }
        };
        Ok(())
    }

    fn save(&self, database: &mut dyn Database, mut entry: Entry) -> Result<()> {
        entry.cycle = self.cycle;
        entry.save(database, &self.dataset)
    }
}

fn inserted(event: &ChangeEvent) -> Option<&Row> {
    match &event.change {
        Change::Insert { after } => Some(after),
        _ => None,
    }
}

/// The record that a change is about, as it is now or was at last.
fn record(event: &ChangeEvent) -> Option<&Row> {
    match &event.change {
        Change::Insert { after } | Change::Update { after, .. } => Some(after),
        Change::Delete { before } => Some(before),
        Change::Truncate { .. } | Change::SnapshotComplete { .. } => None,
    }
}

/// By address where that does, since it is asked for each row.
fn same(one: &Arc<Schema>, other: &Arc<Schema>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

impl Apply {
    /// Takes all changes of records with the same columns that come first, and returns how many.
    fn take(&mut self, database: &mut dyn Database, events: &[ChangeEvent]) -> Result<usize> {
        let Some(first) = events.first().and_then(record) else {
            return Ok(0);
        };
        self.adopt(database, first.record_schema())?;
        let schema = &self.entry.table.schema;
        let fits = |event: &&ChangeEvent| {
            record(event).is_some_and(|row| same(row.record_schema(), schema))
        };
        let count = events.iter().take_while(fits).count();
        let events = &events[..count];
        for event in events {
            self.count(&event.change);
        }
        database.change(&self.entry.table, events)?;
        Ok(count)
    }

    fn count(&mut self, change: &Change) {
        let (rows, digest) = (&mut self.entry.rows, &mut self.entry.digest);
        match change {
            Change::Insert { after } => {
                *rows += 1;
                digest.add(after);
            }
            Change::Update { before, after } => {
                digest.remove(before);
                digest.add(after);
            }
            Change::Delete { before } => {
                *rows = rows.saturating_sub(1);
                digest.remove(before);
            }
            Change::Truncate { .. } | Change::SnapshotComplete { .. } => {}
        }
    }

    /// Adds the columns that a record has more than its table.
    fn adopt(&mut self, database: &mut dyn Database, schema: &Arc<Schema>) -> Result<()> {
        let table = &mut self.entry.table;
        if same(schema, &table.schema) {
            // So that the next record compares by address.
            table.schema = Arc::clone(schema);
            return Ok(());
        }
        let Some((extended, added)) = table.extended(database.names(), schema) else {
            return Err(
                refused("a record whose columns do not fit its table").with("table", &table.name)
            );
        };
        database.add_columns(&extended, &added)?;
        *table = extended;
        self.recount = true;
        Ok(())
    }

    fn finish(
        mut self,
        database: &mut dyn Database,
        dataset: &DatasetId,
        expected: (u64, Digest),
    ) -> Result<Entry> {
        let entry = &mut self.entry;
        database.finish_changes(&entry.table)?;
        if self.recount {
            let table = &entry.table;
            (entry.rows, entry.digest) = tally(|each| database.read(table, &table.schema, each))?;
        }
        entry.expect(dataset, expected)?;
        Ok(self.entry)
    }
}
