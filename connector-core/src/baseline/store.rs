//! The state folder: one folder a data set, one process at a time.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use super::{
    manifest::Manifest,
    retain::Retain,
    segment::Segment,
    state::{Baseline, layers},
    storage::{FileStorage, Storage},
};
use crate::{
    budget::Budget,
    clock::{Clock, SystemClock},
    error::{Error, ErrorKind, Result},
    event::{ChangeEvent, Counts, CycleId, DatasetId, Digest},
    outbox::Outbox,
    row::Row,
    schema::Schema,
    time::Timestamp,
};

/// Keeps the baseline and the changes of every data set. Cheap to clone.
///
/// The folder is locked while a clone lives.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    claims: Mutex<HashMap<DatasetId, Arc<tokio::sync::Mutex<()>>>>,
    budget: Arc<Budget>,
    _lock: Box<dyn Send + Sync>,
}

/// The right to change one data set's state, held until its last piece of work has ended: the work
/// of a cycle that was dropped goes on for a moment on its thread.
pub(crate) type Claim = OwnedMutexGuard<()>;

/// Runs file work where blocking is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    // The span is the caller's, so that what is logged there names the data set too.
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(crate::snapshot::panicked)?
}

impl Store {
    /// Opens the store in a folder of the file system, which is made when it does not exist.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] when the folder can't be used, or another process uses it; the
    /// message names that process.
    pub async fn open_folder(folder: impl Into<PathBuf>) -> Result<Self> {
        let storage = Arc::new(FileStorage::new(folder));
        Self::open(storage, Arc::new(SystemClock::default())).await
    }

    /// Opens the store on any storage.
    ///
    /// # Errors
    ///
    /// As for [`Store::open_folder`].
    pub async fn open(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>) -> Result<Self> {
        blocking(move || {
            let holder = format!("process {} since {}", std::process::id(), clock.now());
            let lock = storage.lock(&holder).map_err(|error| {
                let what = if error.kind() == std::io::ErrorKind::WouldBlock {
                    "another process uses the state folder; wait for it or stop it"
                } else {
                    "can't use the state folder"
                };
                Error::new(ErrorKind::Storage, what)
                    .with("path", storage.locate(""))
                    .with_source(error)
            })?;
            Ok(Self(Arc::new(Inner {
                storage,
                clock,
                claims: Mutex::default(),
                budget: Arc::default(),
                _lock: lock,
            })))
        })
        .await
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// The memory that all cycles over this store share.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.0.budget
    }

    /// Opens a data set's state for a cycle; another one of the same data set waits for its turn.
    pub(crate) async fn baseline(&self, id: &DatasetId, heal: bool) -> Result<Baseline> {
        let claim = {
            let mut claims = self.0.claims.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(claims.entry(id.clone()).or_default())
        };
        let claim = claim.lock_owned().await;
        let (storage, id) = (Arc::clone(&self.0.storage), id.clone());
        blocking(move || Baseline::open(storage, id, claim, heal)).await
    }

    async fn manifest(
        &self,
        id: &DatasetId,
    ) -> Result<Option<(Arc<dyn Storage>, String, Manifest)>> {
        let (storage, folder) = (Arc::clone(&self.0.storage), folder(id));
        blocking(move || {
            let manifest = Manifest::read(&*storage, &folder)?;
            Ok(manifest.map(|manifest| (storage, folder, manifest)))
        })
        .await
    }

    async fn committed(&self, id: &DatasetId) -> Result<(Arc<dyn Storage>, String, Manifest)> {
        self.manifest(id).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the data set was never synced").with("data set", id)
        })
    }

    /// Returns the data sets that were ever committed, in order.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] when a folder can't be read. A data set whose manifest is damaged is
    /// left out and logged.
    pub async fn datasets(&self) -> Result<Vec<DatasetId>> {
        let storage = Arc::clone(&self.0.storage);
        blocking(move || {
            let list = |folder: &str| {
                storage.list(folder).map_err(|error| {
                    Error::new(ErrorKind::Storage, "can't read a folder")
                        .with("path", storage.locate(folder))
                        .with_source(error)
                })
            };
            let mut found = Vec::new();
            // No connector's folder begins with a point; the lock does.
            for connector in list("")?.iter().filter(|name| !name.starts_with('.')) {
                for dataset in list(connector)? {
                    match Manifest::read(&*storage, &format!("{connector}/{dataset}")) {
                        Ok(Some(m)) => found.push(DatasetId::new(&m.connector, &m.dataset)),
                        Ok(None) => {}
                        Err(error) => tracing::error!("{error:#}"),
                    }
                }
            }
            found.sort_unstable();
            Ok(found)
        })
        .await
    }

    /// Returns what the store knows of a data set, or none when it was never committed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] when its manifest can't be read.
    pub async fn status(&self, id: &DatasetId) -> Result<Option<DatasetStatus>> {
        let found = self.manifest(id).await?;
        Ok(found.map(|(_, _, manifest)| DatasetStatus::from(manifest)))
    }

    /// Returns the records of the last committed snapshot.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when the data set was never committed, or digests are all that is
    /// kept of it; [`ErrorKind::Storage`] when a file can't be read or is damaged.
    pub async fn rows(&self, id: &DatasetId) -> Result<Rows> {
        let (storage, folder, manifest) = self.committed(id).await?;
        if manifest.retained == Retain::Digests {
            let message = "only digests of its records are kept, as `retain` says";
            return Err(Error::new(ErrorKind::NotFound, message).with("data set", id));
        }
        let rows = blocking(move || layers(&*storage, &folder, &manifest)?.rows()).await?;
        Ok(Rows(Some(rows)))
    }

    /// Returns the kept history: the changes of the last cycles, oldest first.
    ///
    /// # Errors
    ///
    /// As for [`Store::rows`].
    pub async fn changes(&self, id: &DatasetId) -> Result<Changes> {
        let (storage, folder, manifest) = self.committed(id).await?;
        let id = id.clone();
        blocking(move || {
            let outboxes = manifest.changes.iter().map(|changes| {
                let segment = Segment::open(&*storage, &folder, &changes.segment)?;
                Ok(Outbox::changes(id.clone(), changes, &Arc::new(segment)))
            });
            let outboxes: Result<Vec<_>> = outboxes.collect();
            Ok(Changes(outboxes?.into_iter().collect()))
        })
        .await
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.0.storage.locate(""))
    }
}

/// What the store knows of a data set.
#[derive(Debug, Clone)]
pub struct DatasetStatus {
    /// The columns.
    pub schema: Arc<Schema>,
    /// How many records there are.
    pub rows: u64,
    /// The digest of all records.
    pub digest: Digest,
    /// The last cycle that changed something.
    pub cycle: CycleId,
    /// When the source was last read to the end.
    pub synced: Timestamp,
    /// A cycle that waits for a person.
    pub held: Option<Held>,
    /// The number of the last cycle that each sink has confirmed.
    pub sinks: Vec<(String, u64)>,
}

/// A cycle that the delete guard stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// When it was found.
    pub since: Timestamp,
    /// What it would send.
    pub counts: Counts,
    /// How many records there are without it.
    pub rows_before: u64,
    /// How many there would be with it.
    pub rows_after: u64,
}

impl From<Manifest> for DatasetStatus {
    fn from(manifest: Manifest) -> Self {
        Self {
            rows: manifest.rows,
            digest: manifest.digest,
            cycle: manifest.cycle,
            synced: manifest.synced,
            held: manifest.held.as_ref().map(|held| Held {
                since: held.since,
                counts: held.counts,
                rows_before: manifest.rows,
                rows_after: held.rows,
            }),
            sinks: manifest.sinks.into_iter().collect(),
            schema: Arc::new(manifest.schema),
        }
    }
}

/// Records of a committed snapshot, in pieces.
pub struct Rows(Option<super::live::LiveRows>);

impl Rows {
    /// Returns the next records, or none after the last.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] when a file can't be read or is damaged.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        const ROWS: usize = 1024;
        let Some(mut live) = self.0.take() else {
            return Ok(None);
        };
        let (live, rows) = blocking(move || {
            let mut rows = Vec::new();
            while rows.len() < ROWS {
                match live.next()? {
                    Some(row) => rows.push(row),
                    None => return Ok((None, rows)),
                }
            }
            Ok((Some(live), rows))
        })
        .await?;
        self.0 = live;
        Ok(if rows.is_empty() { None } else { Some(rows) })
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}

/// Change events of the kept history, in pieces.
pub struct Changes(std::collections::VecDeque<Outbox>);

impl Changes {
    /// Returns the next events, or none after the last.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] when a file can't be read or is damaged.
    pub async fn next(&mut self) -> Result<Option<Vec<ChangeEvent>>> {
        while let Some(outbox) = self.0.pop_front() {
            let (outbox, events) = outbox.next().await?;
            if let Some(events) = events {
                self.0.push_front(outbox);
                return Ok(Some(events));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Changes({} cycles)", self.0.len())
    }
}

/// The folder of a data set, relative to the state folder.
pub(crate) fn folder(id: &DatasetId) -> String {
    format!("{}/{}", file_name(id.connector()), file_name(id.dataset()))
}

/// A name that every file system takes, different for names that differ in more than case.
fn file_name(name: &str) -> String {
    use std::fmt::Write;

    // Windows keeps these for devices, whatever the extension.
    const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
    let lower = name.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    let numbered = |port: &str| stem.len() == 4 && stem.starts_with(port);
    let device = DEVICES.contains(&stem) || numbered("com") || numbered("lpt");

    let mut out = String::new();
    for (i, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b' ' | b'.');
        let edge = i == 0 || i + 1 == name.len();
        if plain && !(edge && !byte.is_ascii_alphanumeric() && byte != b'_') && !(i == 0 && device)
        {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    if out.len() > 120 {
        let sum = twox_hash::XxHash3_64::oneshot(lower.as_bytes());
        out.truncate(100);
        let _ = write!(out, "~{sum:016x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_file_name() {
        for (name, file) in [
            ("v_R_System", "v_R_System"),
            ("site/devices", "site%2Fdevices"),
            ("..", "%2E%2E"),
            (".hidden", "%2Ehidden"),
            ("con", "%63on"),
            ("COM1.x", "%43OM1.x"),
            ("console", "console"),
            ("Geräte", "Ger%C3%A4te"),
            ("100%", "100%25"),
            ("a ", "a%20"),
        ] {
            assert_eq!(file_name(name), file);
        }
        assert!(file_name(&"x".repeat(500)).len() <= 120);
        assert_ne!(file_name(&"x".repeat(500)), file_name(&"x".repeat(501)));
    }
}
