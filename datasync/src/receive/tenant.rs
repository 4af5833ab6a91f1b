//! One tenant: its spool, its repository, and how far each of its data sets is.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use connector_core::{
    Change, Copies, CycleId, DatasetId, Digest, Error, JsonCells, KeyRange, RangeDigest, Result,
    Schema, Sink, Storage,
};
use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard, watch},
    task::JoinSet,
};

use super::{
    limit::RateLimit,
    problem::Problem,
    settings::TenantSettings,
    spool::{Spool, SpooledCycle, completion, used},
};
use crate::{
    sink::{Repository, blocking::blocking},
    upload::{Commit, Committed, Header, Position, Spooled, Standing, Taken, code, read_batch},
};

/// For how long the answer to a commit waits for the repository.
const WAIT: Duration = Duration::from_secs(5);

/// When to ask again for a commit that takes longer, in seconds.
const AGAIN: u64 = 1;

/// How many data sets a tenant may have: each takes memory here.
const MOST_DATASETS: usize = 10_000;

/// A tenant's repository, written to by one cycle at a time.
pub(super) type Records = Arc<AsyncMutex<Repository>>;

/// Somebody whose records are kept apart from those of all others.
pub(super) struct Tenant {
    pub(super) settings: TenantSettings,
    pub(super) limit: RateLimit,
    records: Records,
    storage: Arc<dyn Storage>,
    /// What the spool may take on disk, and what it takes, in bytes.
    quota: u64,
    used: AtomicU64,
    largest_batch: u64,
    datasets: Mutex<HashMap<DatasetId, Arc<State>>>,
    /// Cycles on their way into the repository.
    work: Mutex<JoinSet<()>>,
}

/// One data set.
struct State {
    spool: Spool,
    slot: AsyncMutex<Slot>,
}

/// How far a data set is.
#[derive(Default)]
struct Slot {
    /// Whether repository and spool have been looked at.
    known: bool,
    committed: Option<Committed>,
    spooled: Option<SpooledCycle>,
    /// Closed when the cycle in the spool is in the repository, or has failed to get there.
    applying: Option<watch::Receiver<()>>,
    /// Why the last one failed, until somebody was told.
    failure: Option<(CycleId, Problem)>,
}

/// The answer to a commit.
pub(super) enum Outcome {
    Done(Committed),
    /// Ask again after so many seconds.
    Working(u64),
}

/// A batch that was read whole.
struct Checked {
    header: Header,
    complete: Option<(u64, Digest)>,
}

impl Tenant {
    /// Opens the tenant's repository and finds its spool.
    ///
    /// # Errors
    ///
    /// Those of the repository and of the spool's files.
    pub(super) async fn open(
        settings: TenantSettings,
        storage: &Arc<dyn Storage>,
        (quota, largest_batch, rate): (u64, u64, u32),
    ) -> Result<Self> {
        let records = settings.sink.open_repository(&settings.name).await?;
        let (files, name) = (Arc::clone(storage), settings.name.clone());
        let used = blocking(move || {
            used(&*files, &name).map_err(|error| {
                Error::new(
                    connector_core::ErrorKind::Storage,
                    "the spool can't be read",
                )
                .with("tenant", name)
                .with_source(error)
            })
        })
        .await?;
        Ok(Self {
            limit: RateLimit::new(rate),
            records,
            storage: Arc::clone(storage),
            quota,
            used: AtomicU64::new(used),
            largest_batch,
            datasets: Mutex::default(),
            work: Mutex::default(),
            settings,
        })
    }

    /// Returns what tells the tenant's repository from any other.
    pub(super) async fn repository(&self) -> String {
        self.records.lock().await.id().to_owned()
    }

    fn state(&self, id: &DatasetId) -> Result<Arc<State>, Problem> {
        let mut datasets = self.datasets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = datasets.get(id) {
            return Ok(Arc::clone(state));
        }
        if datasets.len() >= MOST_DATASETS {
            return Err(Problem::new(
                axum::http::StatusCode::FORBIDDEN,
                code::TOO_LARGE,
                format!("the tenant has {MOST_DATASETS} data sets already"),
            ));
        }
        let state = Arc::new(State {
            spool: Spool::new(&self.storage, &self.settings.name, id, self.largest_batch),
            slot: AsyncMutex::default(),
        });
        datasets.insert(id.clone(), Arc::clone(&state));
        Ok(state)
    }

    /// Waits for the data set's turn, and looks where it is if nobody has.
    async fn enter<'a>(
        &self,
        id: &DatasetId,
        state: &'a State,
    ) -> Result<MutexGuard<'a, Slot>, Problem> {
        let mut slot = state.slot.lock().await;
        if !slot.known {
            let position = {
                let mut records = self.records.lock().await;
                records.position(id).await.map_err(|e| failed(id, &e))?
            };
            slot.committed = position.map(|(cycle, held)| Committed {
                cycle,
                rows: held.rows,
                digest: held.digest,
            });
            let spool = state.spool.clone();
            slot.spooled = blocking(move || spool.load())
                .await
                .map_err(|e| failed(id, &e))?;
            slot.known = true;
        }
        // A thread that panicked has said so, and has left everything to be done again.
        if slot
            .applying
            .as_ref()
            .is_some_and(|done| done.has_changed().is_err())
        {
            slot.applying = None;
        }
        Ok(slot)
    }

    /// Tells how far a data set is.
    pub(super) async fn position(&self, id: &DatasetId) -> Result<Position, Problem> {
        let state = self.state(id)?;
        let slot = self.enter(id, &state).await?;
        Ok(Position {
            committed: slot.committed,
            spooled: slot.spooled.as_ref().map(|spooled| Spooled {
                cycle: spooled.cycle,
                next_seq: spooled.next_seq,
            }),
            largest_batch: self.largest_batch,
        })
    }

    /// Takes a batch: what is new of it is durable once this returns `Ok`.
    pub(super) async fn take(
        &self,
        id: &DatasetId,
        cycle: CycleId,
        seq: u64,
        batch: Bytes,
    ) -> Result<Taken, Problem> {
        let (most, body) = (self.largest_batch, batch.clone());
        let checked = blocking(move || Ok(check(&body, most))).await;
        let Checked { header, complete } = checked.map_err(|e| failed(id, &e))??;
        if header.dataset() != *id || header.cycle != cycle || header.seq != seq {
            return Err(Problem::malformed(
                "the batch's header names another data set, cycle or place than its address",
            ));
        }
        let last = seq + header.events - 1;
        let state = self.state(id)?;
        let mut slot = self.enter(id, &state).await?;
        match Standing::of(cycle, slot.committed.as_ref()) {
            Standing::Repeat => return Ok(Taken { next_seq: last + 1 }),
            Standing::Incomplete => {
                return Err(Problem::incomplete(
                    "the repository lacks the cycle before this one",
                ));
            }
            Standing::Next => {}
        }
        // A repair that begins anew may be another than the one before of the same name.
        let anew = cycle.is_repair() && seq == 1;
        let known = slot.spooled.as_ref();
        let known = known.filter(|known| known.cycle == cycle && !anew);
        let expected = known.map_or(1, |known| known.next_seq);
        if seq > expected {
            return Err(Problem::gap(expected));
        }
        if last < expected {
            return Ok(Taken { next_seq: expected });
        }
        if slot.applying.is_some() {
            return Err(Problem::busy(
                "another cycle is being written to the repository",
            ));
        }
        if known.is_some_and(|known| known.complete.is_some()) {
            return Err(Problem::malformed(
                "an event behind the last one of its cycle",
            ));
        }
        self.reserve(batch.len() as u64, known.map_or(0, |known| known.bytes))?;
        slot.failure = None;
        let other = slot
            .spooled
            .take_if(|spooled| spooled.cycle != cycle || anew);
        let begun = slot.spooled.take();
        let spool = state.spool.clone();
        let size = batch.len() as u64;
        let added = blocking(move || {
            let mut spooled = match begun {
                Some(begun) => begun,
                None => spool.begin(cycle)?,
            };
            spool.add(&mut spooled, last, &batch, complete)?;
            Ok(spooled)
        })
        .await;
        self.release(other.map_or(0, |other| other.bytes));
        match added {
            Ok(spooled) => {
                slot.spooled = Some(spooled);
                Ok(Taken { next_seq: last + 1 })
            }
            Err(error) => {
                // What is there is looked for anew.
                slot.known = false;
                self.release(size);
                Err(failed(id, &error))
            }
        }
    }

    fn reserve(&self, bytes: u64, of_cycle: u64) -> Result<(), Problem> {
        if of_cycle + bytes > self.quota {
            return Err(Problem::too_large(
                "the cycle is larger than the spool may be; `receive.spool` says how large",
            ));
        }
        let room = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.quota);
        match self.used.fetch_update(Relaxed, Relaxed, room) {
            Ok(_) => Ok(()),
            Err(_) => Err(Problem::new(
                axum::http::StatusCode::SERVICE_UNAVAILABLE,
                code::SPOOL_FULL,
                "other cycles of the tenant fill the spool",
            )
            .after(30)),
        }
    }

    fn release(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.used.fetch_update(Relaxed, Relaxed, less);
    }

    /// Brings a cycle that is here whole into the repository.
    pub(super) async fn commit(
        self: &Arc<Self>,
        id: &DatasetId,
        cycle: CycleId,
        commit: Commit,
    ) -> Result<Outcome, Problem> {
        let state = self.state(id)?;
        let done = {
            let mut slot = self.enter(id, &state).await?;
            if let Some(outcome) = finished(&mut slot, cycle, commit) {
                return outcome;
            }
            if let Some(done) = &slot.applying {
                done.clone()
            } else {
                let spooled = whole(slot.spooled.as_ref(), cycle, commit)?.clone();
                let (working, done) = watch::channel(());
                slot.applying = Some(done.clone());
                let (tenant, id, state) = (Arc::clone(self), id.clone(), Arc::clone(&state));
                let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
                // What has ended is nobody's any more.
                while work.try_join_next().is_some() {}
                work.spawn(async move {
                    tenant.apply(&id, &state, spooled).await;
                    drop(working);
                });
                done
            }
        };
        let mut done = done;
        let _ = tokio::time::timeout(WAIT, done.changed()).await;
        let mut slot = self.enter(id, &state).await?;
        match finished(&mut slot, cycle, commit) {
            Some(outcome) => outcome,
            None if slot.applying.is_some() => Ok(Outcome::Working(AGAIN)),
            None => Err(Problem::unexpected()),
        }
    }

    async fn apply(&self, id: &DatasetId, state: &State, spooled: SpooledCycle) {
        let cycle = spooled.cycle;
        let outcome = self.feed(&state.spool, &spooled).await;
        let mut slot = state.slot.lock().await;
        slot.applying = None;
        let keep = match outcome {
            Ok(()) => {
                slot.committed = spooled.complete.map(|(rows, digest)| Committed {
                    cycle,
                    rows,
                    digest,
                });
                tracing::info!(
                    tenant = self.settings.name,
                    "Committed data set {id}, cycle {cycle}: {} events",
                    spooled.next_seq - 1
                );
                false
            }
            Err(problem) => {
                // The repository may be another than the one that was looked at.
                slot.known = !problem.is_incomplete();
                let keep = problem.passes();
                slot.failure = Some((cycle, problem));
                keep
            }
        };
        if keep {
            return;
        }
        slot.spooled = None;
        let spool = state.spool.clone();
        match blocking(move || spool.remove(cycle)).await {
            Ok(()) => self.release(spooled.bytes),
            Err(error) => {
                slot.known = false;
                drop(failed(id, &error));
            }
        }
    }

    /// Hands a cycle over to the repository, a batch at a time.
    async fn feed(&self, spool: &Spool, spooled: &SpooledCycle) -> Result<(), Problem> {
        let id_of = |error: &Error| {
            tracing::warn!(
                tenant = self.settings.name,
                "A cycle was not taken by the repository: {error:#}"
            );
            Problem::from(error)
        };
        let mut records = self.records.lock().await;
        for file in spooled.files() {
            let (spool, cycle, file) = (spool.clone(), spooled.cycle, *file);
            let read = blocking(move || spool.read(cycle, file)).await;
            let Ok(events) = read.map_err(|e| id_of(&e))? else {
                tracing::warn!("A batch in the spool is damaged; its cycle is sent again");
                return Err(Problem::gap(1));
            };
            records.write(&events).await.map_err(|e| id_of(&e))?;
        }
        records.commit(&spooled.cycle).await.map_err(|e| id_of(&e))
    }

    /// Counts and digests the rows of a data set in ranges of key hashes.
    pub(super) async fn digests(
        &self,
        id: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Option<Vec<RangeDigest>>, Problem> {
        let mut records = self.records.lock().await;
        let counted = records.digests(id, schema, ranges).await;
        counted.map_err(|e| failed(id, &e))
    }

    /// Returns the digests of a data set's rows in ranges of key hashes, as JSON.
    pub(super) async fn rows(
        &self,
        id: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Vec<u8>, Problem> {
        let found = {
            let mut records = self.records.lock().await;
            let found = records.rows(id, schema, ranges).await;
            found.map_err(|e| failed(id, &e))?
        };
        let cells = JsonCells::new(schema);
        let mut json = b"{\"rows\":[".to_vec();
        for (place, row) in found.iter().enumerate() {
            if place > 0 {
                json.push(b',');
            }
            cells.write_digest(row, &mut json);
        }
        json.extend_from_slice(b"]}");
        Ok(json)
    }

    /// Waits until the repository has what it was given.
    pub(super) async fn finish(&self) {
        let mut work = {
            let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *work)
        };
        while work.join_next().await.is_some() {}
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", self.settings.name)
    }
}

/// Tells how a cycle ended, if it has.
fn finished(slot: &mut Slot, cycle: CycleId, commit: Commit) -> Option<Result<Outcome, Problem>> {
    if let Some((_, problem)) = slot.failure.take_if(|(failed, _)| *failed == cycle) {
        return Some(Err(problem));
    }
    let standing = Standing::of(cycle, slot.committed.as_ref());
    let here = slot.committed.filter(|held| {
        let spooled = slot.spooled.as_ref();
        let pending = spooled.is_some_and(|spooled| spooled.cycle == cycle);
        // Its answer was lost.
        let repaired = cycle.is_repair() && held.cycle == cycle && !pending;
        repaired || standing == Standing::Repeat
    });
    match (standing, here) {
        (_, Some(held)) => Some(
            if (held.rows, held.digest) == (commit.rows, commit.digest) {
                Ok(Outcome::Done(held))
            } else {
                Err(Problem::incomplete("the repository holds other rows"))
            },
        ),
        (Standing::Incomplete, _) => Some(Err(Problem::incomplete(
            "the repository lacks the cycle before this one",
        ))),
        _ => None,
    }
}

/// Returns the cycle if all of it is here, and is what the sender says.
fn whole(
    spooled: Option<&SpooledCycle>,
    cycle: CycleId,
    commit: Commit,
) -> Result<&SpooledCycle, Problem> {
    let Some(spooled) = spooled.filter(|spooled| spooled.cycle == cycle) else {
        return Err(Problem::gap(1));
    };
    let Some((rows, digest)) = spooled.complete else {
        return Err(Problem::gap(spooled.next_seq));
    };
    if (spooled.next_seq - 1, rows, digest) != (commit.events, commit.rows, commit.digest) {
        return Err(Problem::malformed(
            "the cycle's last event says otherwise than its commit",
        ));
    }
    Ok(spooled)
}

/// Reads a batch whole: nothing gets into the spool that the repository could not be given.
fn check(batch: &[u8], most: u64) -> Result<Checked, Problem> {
    let (mut complete, mut wrong) = (None, None);
    let header = read_batch(batch, most, |event| {
        let full = event.cycle.is_full();
        let fits = complete.is_none()
            && match event.change {
                Change::Truncate { .. } => full && event.seq == 1,
                Change::Insert { .. } => !full || event.seq > 1,
                Change::Update { .. } | Change::Delete { .. } => !full,
                Change::SnapshotComplete { .. } => true,
            };
        if !fits {
            wrong.get_or_insert(event.seq);
        }
        complete = complete.or(completion(&event.change));
    })?;
    match wrong {
        None => Ok(Checked { header, complete }),
        Some(seq) => Err(Problem::malformed(format!(
            "event {seq} does not belong where it stands"
        ))),
    }
}

/// Logs what a sender need not know all of.
fn failed(id: &DatasetId, error: &Error) -> Problem {
    tracing::warn!("Data set {id}: {error:#}");
    Problem::from(error)
}
