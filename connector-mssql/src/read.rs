//! Reading a data set: in one statement or in ranges over several connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use connector_core::{Batch, Error, ErrorKind, Result, Retry, Schema, SnapshotWriter};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tracing::{debug, warn};

use crate::{
    catalogue::Database,
    config::Isolation,
    definition::{Definition, Ranged},
    driver::Target,
    link::{Asked, Link, Patience},
    name::quoted,
    statement::{Bounds, Statement},
};

/// About how many rows a range has: short for the server, and few enough to hold on to.
const RANGE_ROWS: u64 = 50_000;

/// A range is held back until it is whole, as long as it takes no more than this; one that is
/// larger can't be repeated on its own.
const HELD_BYTES: usize = 16 << 20;

/// A batch is handed on when it holds this many bytes, as core's own are.
const BATCH_BYTES: usize = 256 << 10;

/// How many batches may wait for each connection.
const WAITING: usize = 2;

/// How often a statement is tried in all, when the error passes by itself.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// One thing to ask.
#[derive(Debug, Clone)]
struct Task {
    statement: usize,
    bounds: Bounds,
}

/// What all connections of one read share.
#[derive(Debug)]
struct Shared {
    target: Arc<Target>,
    name: String,
    schema: Arc<Schema>,
    statements: Vec<Statement>,
    tasks: Vec<Task>,
    next: AtomicUsize,
    snapshots: bool,
    patience: Patience,
}

/// Reads everything and hands it on. Only when every statement came to its end that was all.
pub(crate) async fn read(
    mut link: Link,
    definition: &Definition,
    statements: Vec<Statement>,
    database: &Database,
    out: &mut SnapshotWriter,
) -> Result<()> {
    let target = Arc::clone(link.target());
    let config = target.config();
    let mut patience = link.patience();
    if let Some(first_row) = definition.first_row {
        patience.first_row = first_row;
        patience.statement = patience.statement.max(first_row);
    }
    let tasks = split(&mut link, definition, &statements, patience).await?;
    let snapshots = database.snapshots && config.isolation == Isolation::Best;
    let connections = config.connections.min(tasks.len()).max(1);
    debug!(
        "data set {}: {} statements over {connections} connections",
        definition.info.name,
        tasks.len()
    );
    let shared = Arc::new(Shared {
        name: definition.info.name.to_string(),
        schema: Arc::clone(out.schema()),
        statements,
        tasks,
        next: AtomicUsize::new(0),
        snapshots,
        patience,
        target,
    });
    let (hand_on, mut handed) = mpsc::channel(WAITING * connections);
    // Dropped with this future: whoever stops the read closes the connections.
    let mut workers = JoinSet::new();
    let mut first = Some(link);
    for _ in 0..connections {
        let worker = Worker {
            shared: Arc::clone(&shared),
            link: first.take(),
            began: false,
            held: Held::new(hand_on.clone()),
        };
        workers.spawn(worker.run());
    }
    drop(hand_on);
    while let Some(batch) = handed.recv().await {
        out.batch(batch).await?;
    }
    let mut failed = None;
    while let Some(ended) = workers.join_next().await {
        let outcome = ended.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Unexpected,
                "a task panicked; its message is on standard error",
            ))
        });
        // The first error is the cause; the others only ended after it.
        if let Err(error) = outcome {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Splits a large data set into ranges.
async fn split(
    link: &mut Link,
    definition: &Definition,
    statements: &[Statement],
    patience: Patience,
) -> Result<Vec<Task>> {
    let whole = |statement| Task {
        statement,
        bounds: Bounds::default(),
    };
    let Some(range) = &definition.range else {
        return Ok((0..statements.len()).map(whole).collect());
    };
    let large = link.target().config().large;
    let mut tasks = Vec::new();
    let listed = match &range.keys {
        Some(keys) => match listed_bounds(link, range, large, patience).await {
            // The list only helps, unless the data set must never be read as a whole.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Permission)
                    && !range.always =>
            {
                warn!(
                    "data set {} is read as a whole, since {} can't be: {error:#}",
                    definition.info.name, keys.object
                );
                link.reopen().await?;
                Some(Vec::new())
            }
            cuts => Some(cuts?),
        },
        None => None,
    };
    for (place, statement) in statements.iter().enumerate() {
        let cuts = match &listed {
            Some(cuts) => cuts.clone(),
            None => measured_bounds(link, statement, range, large, patience).await?,
        };
        tasks.extend(ranges(cuts).into_iter().map(|bounds| Task {
            statement: place,
            bounds,
        }));
    }
    Ok(tasks)
}

/// Into how many ranges so many rows go.
fn count(rows: u64, range: &Ranged, large: u64) -> u64 {
    if rows <= large && !range.always {
        return 1;
    }
    rows.div_ceil(RANGE_ROWS).max(1)
}

/// The ranges between cuts, which together hold every value.
fn ranges(cuts: Vec<String>) -> Vec<Bounds> {
    let mut ranges = Vec::new();
    let mut from = None;
    for cut in cuts {
        ranges.push(Bounds {
            from: from.take(),
            below: Some(cut.clone()),
        });
        from = Some(cut);
    }
    ranges.push(Bounds { from, below: None });
    ranges
}

/// Cuts from a smaller list of keys, in the order that the server has for them.
async fn listed_bounds(
    link: &mut Link,
    range: &Ranged,
    large: u64,
    patience: Patience,
) -> Result<Vec<String>> {
    let Some(keys) = &range.keys else {
        return Ok(Vec::new());
    };
    let column = format!("[k].{}", quoted(&keys.column));
    let object = keys.object.to_string();
    // The one order that is asked for: of a short list, by its key.
    let sql = format!(
        "SELECT DISTINCT {column} AS [k] FROM {object} AS [k] WHERE {column} IS NOT NULL ORDER BY {column}"
    );
    let asked = Asked {
        sql: &sql,
        object: Some(&object),
    };
    let mut reply = link.ask(asked, patience).await?;
    let mut list = Vec::new();
    while let Some(record) = reply.next().await? {
        list.push(record.literal(0).ok_or_else(|| not_ordered(&keys.column))?);
    }
    reply.finish(Some(list.len() as u64))?;
    let rows = list.len() as u64 * u64::from(keys.rows);
    let parts = count(rows, range, large).min(list.len() as u64).max(1);
    Ok(cut_list(&list, parts))
}

fn cut_list(list: &[String], parts: u64) -> Vec<String> {
    let Ok(parts) = usize::try_from(parts) else {
        return Vec::new();
    };
    (1..parts)
        .filter_map(|part| list.get(part * list.len() / parts).cloned())
        .collect()
}

/// Cuts of equal width between the least and the greatest value.
async fn measured_bounds(
    link: &mut Link,
    statement: &Statement,
    range: &Ranged,
    large: u64,
    patience: Patience,
) -> Result<Vec<String>> {
    let Some(sql) = statement.extent() else {
        return Ok(Vec::new());
    };
    let asked = Asked {
        sql: &sql,
        object: statement.object.as_deref(),
    };
    let mut reply = link.ask(asked, patience).await?;
    let row = reply.next().await?;
    let extent = row.map(|row| (row.literal(0).is_some(), row.int(0), row.int(1), row.int(2)));
    while reply.next().await?.is_some() {}
    reply.finish(None)?;
    match extent {
        Some((_, Some(least), Some(greatest), Some(rows))) => {
            let rows = u64::try_from(rows).unwrap_or_default();
            Ok(cut_evenly(least, greatest, count(rows, range, large)))
        }
        Some((true, _, _, _)) => Err(not_ordered(&range.column)),
        // No row, or none with a value.
        _ => Ok(Vec::new()),
    }
}

fn cut_evenly(least: i64, greatest: i64, parts: u64) -> Vec<String> {
    let width = i128::from(greatest) - i128::from(least) + 1;
    let parts = i128::from(parts).min(width);
    (1..parts)
        .map(|part| (i128::from(least) + part * width / parts).to_string())
        .collect()
}

fn not_ordered(column: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        "ranges go by an integer column, or with a list of keys by text or a uniqueidentifier",
    )
    .with("column", column)
}

/// One connection at work.
struct Worker {
    shared: Arc<Shared>,
    link: Option<Link>,
    /// Whether the link's transaction has begun.
    began: bool,
    held: Held,
}

impl Worker {
    async fn run(mut self) -> Result<()> {
        loop {
            let shared = Arc::clone(&self.shared);
            let Some(task) = shared
                .tasks
                .get(shared.next.fetch_add(1, Ordering::Relaxed))
            else {
                return Ok(());
            };
            let outcome = self.attempts(task).await;
            if outcome.is_err() {
                // Nobody starts what will not be used.
                shared.next.store(shared.tasks.len(), Ordering::Relaxed);
            }
            outcome?;
        }
    }

    /// Tries a statement until it is whole, an error does not pass, or rows were handed on.
    async fn attempts(&mut self, task: &Task) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let error = match self.attempt(task).await {
                Ok(()) => return self.held.hand_on().await,
                Err(error) => error,
            };
            let passes = match error.retry() {
                Retry::Backoff => Some(pause),
                Retry::After(pause) => Some(pause),
                Retry::Never | Retry::Restart | Retry::Exhausted => None,
            };
            // What was half read on it is still on its way.
            self.link = None;
            self.began = false;
            let Some(wait) = passes else {
                return Err(error);
            };
            if attempt >= ATTEMPTS || !self.held.forget() {
                return Err(error.with_retry(Retry::Exhausted));
            }
            warn!(
                "data set {}: a statement is tried again: {error:#}",
                self.shared.name
            );
            sleep(wait).await;
            pause *= 2;
        }
        Ok(())
    }

    async fn attempt(&mut self, task: &Task) -> Result<()> {
        let Self {
            shared,
            link,
            began,
            held,
        } = self;
        if link.is_none() {
            *link = Some(Link::open(&shared.target).await?);
            *began = false;
        }
        let Some(link) = link else { return Ok(()) };
        if !*began {
            link.run(begin(shared)).await?;
            *began = true;
        }
        let statement = &shared.statements[task.statement];
        let config = shared.target.config();
        let sql = statement.sql(&task.bounds, config.max_dop);
        let asked = Asked {
            sql: &sql,
            object: statement.object.as_deref(),
        };
        let mut reply = link.ask(asked, shared.patience).await?;
        let readings = statement
            .readings(reply.columns())
            .map_err(|error| error.with("query", &sql))?;
        let mut batch = held.batch(&shared.schema);
        let mut rows = 0;
        let mut scratch = Vec::new();
        while let Some(record) = reply.next().await? {
            record.write(&readings, &mut scratch, &mut batch)?;
            rows += 1;
            if batch.byte_len() >= BATCH_BYTES {
                let next = batch.next(None);
                held.take(std::mem::replace(&mut batch, next)).await?;
            }
        }
        reply.finish(Some(rows))?;
        held.take(batch).await
    }
}

/// The statements that come before the first read of a connection.
fn begin(shared: &Shared) -> &'static str {
    if shared.target.config().isolation == Isolation::ReadUncommitted {
        "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;"
    } else if shared.snapshots && !shared.target.refuses_snapshots() {
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRANSACTION;"
    } else {
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
    }
}

/// Rows of a statement that is not known to be whole.
struct Held {
    batches: Vec<Batch>,
    bytes: usize,
    /// Rows were handed on: the statement can't be repeated any more.
    handed: bool,
    on: mpsc::Sender<Batch>,
}

impl Held {
    fn new(on: mpsc::Sender<Batch>) -> Self {
        Self {
            batches: Vec::new(),
            bytes: 0,
            handed: false,
            on,
        }
    }

    fn batch(&self, schema: &Arc<Schema>) -> Batch {
        match self.batches.last() {
            Some(last) => last.next(None),
            None => Batch::new(Arc::clone(schema)),
        }
    }

    async fn take(&mut self, batch: Batch) -> Result<()> {
        self.bytes += batch.byte_len();
        self.batches.push(batch);
        if self.handed || self.bytes > HELD_BYTES {
            self.handed = true;
            self.send().await?;
        }
        Ok(())
    }

    /// The statement is whole.
    async fn hand_on(&mut self) -> Result<()> {
        self.send().await?;
        self.bytes = 0;
        self.handed = false;
        Ok(())
    }

    async fn send(&mut self) -> Result<()> {
        for batch in self.batches.drain(..) {
            self.on
                .send(batch)
                .await
                .map_err(|_| Error::new(ErrorKind::Cancelled, "the read was stopped"))?;
        }
        Ok(())
    }

    /// Drops what is held; returns false when some of it is gone already.
    fn forget(&mut self) -> bool {
        self.batches.clear();
        self.bytes = 0;
        !self.handed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_every_value_once(
            a: i64,
            b: i64,
            parts in 1u64..50,
            values in prop::collection::vec(any::<i64>(), 1..20),
        ) {
            let ranges = ranges(cut_evenly(a.min(b), a.max(b), parts));
            prop_assert!(ranges.len() as u64 <= parts);
            for value in values {
                let inside = |bounds: &Bounds| {
                    let number = |text: &String| text.parse::<i64>().unwrap();
                    bounds.from.as_ref().is_none_or(|from| number(from) <= value)
                        && bounds.below.as_ref().is_none_or(|below| value < number(below))
                };
                prop_assert_eq!(ranges.iter().filter(|r| inside(r)).count(), 1);
            }
        }

        #[test]
        fn a_list_is_cut_in_order(length in 0usize..50, parts in 1u64..10) {
            let list: Vec<String> = (0..length).map(|n| format!("{n:03}")).collect();
            let cuts = cut_list(&list, parts.min(length as u64).max(1));
            prop_assert!(cuts.is_sorted_by(|a, b| a < b));
            prop_assert!(cuts.iter().all(|cut| list.contains(cut)));
        }
    }

    #[test]
    fn only_large_data_sets_are_split() {
        let range = |always| Ranged {
            column: "t.Id".to_owned(),
            keys: None,
            always,
        };
        assert_eq!(count(1_000_000, &range(false), 1_000_000), 1);
        assert_eq!(count(1_000_001, &range(false), 1_000_000), 21);
        assert_eq!(count(120_000, &range(true), 1_000_000), 3);
        assert_eq!(count(0, &range(true), 1_000_000), 1);
        assert_eq!(cut_evenly(7, 7, 5), Vec::<String>::new());
    }
}
