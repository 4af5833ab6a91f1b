//! Batches on their way into the repository, as files.
//!
//! ```text
//! spool/TENANT/DATASET/CYCLE/00…01-00…2048    one batch as it arrived, named by its first new
//!                                             event and its last one
//! ```
//!
//! A file has its name only when it is durable, and a cycle's files are removed from the last to the
//! first: whatever a crash leaves is the start of a cycle.

use std::{fmt::Write, io, sync::Arc};

use connector_core::{
    Change, ChangeEvent, CycleId, DatasetId, Digest, Error, ErrorKind, Result, Storage,
};

use crate::upload::{BatchError, read_batch};

/// What a file is called until it is durable.
const INCOMING: &str = "incoming";

/// The spool of one data set.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    storage: Arc<dyn Storage>,
    folder: String,
    /// How many bytes a batch may have, decompressed.
    most: u64,
}

/// A cycle of which some events are here, from the first on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpooledCycle {
    pub(super) cycle: CycleId,
    /// The first event that is not here.
    pub(super) next_seq: u64,
    /// What the last event of the cycle says, once it is here.
    pub(super) complete: Option<(u64, Digest)>,
    pub(super) bytes: u64,
    files: Vec<SpoolFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpoolFile {
    first: u64,
    last: u64,
    bytes: u64,
}

impl SpoolFile {
    fn name(self) -> String {
        format!("{:020}-{:020}", self.first, self.last)
    }

    fn parse(name: &str) -> Option<Self> {
        let (first, last) = name.split_once('-')?;
        let file = Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            bytes: 0,
        };
        (file.name() == name && file.first <= file.last).then_some(file)
    }
}

impl SpooledCycle {
    fn new(cycle: CycleId) -> Self {
        Self {
            cycle,
            next_seq: 1,
            complete: None,
            bytes: 0,
            files: Vec::new(),
        }
    }

    /// Its files in the order of events.
    pub(super) fn files(&self) -> &[SpoolFile] {
        &self.files
    }
}

impl Spool {
    pub(super) fn new(storage: &Arc<dyn Storage>, tenant: &str, id: &DatasetId, most: u64) -> Self {
        Self {
            storage: Arc::clone(storage),
            folder: format!("spool/{tenant}/{}", folder_name(id)),
            most,
        }
    }

    fn cycle_folder(&self, cycle: CycleId) -> String {
        // Windows takes no colon in a name.
        format!("{}/{}", self.folder, cycle.to_string().replace(':', "_"))
    }

    fn path(&self, cycle: CycleId, name: &str) -> String {
        format!("{}/{name}", self.cycle_folder(cycle))
    }

    /// Finds what is here. What no sender can go on from is removed. Blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] naming the folder.
    pub(super) fn load(&self) -> Result<Option<SpooledCycle>> {
        let mut found = None;
        for name in self.list(&self.folder)? {
            let cycle: Option<CycleId> = name.replace('_', ":").parse().ok();
            let Some(cycle) = cycle.filter(|_| found.is_none()) else {
                self.clear(&format!("{}/{name}", self.folder))?;
                continue;
            };
            found = self.load_cycle(cycle)?;
        }
        Ok(found)
    }

    fn load_cycle(&self, cycle: CycleId) -> Result<Option<SpooledCycle>> {
        let folder = self.cycle_folder(cycle);
        let mut spooled = SpooledCycle::new(cycle);
        for name in self.list(&folder)? {
            let file = SpoolFile::parse(&name).filter(|file| file.first == spooled.next_seq);
            let Some(mut file) = file else {
                self.failed(self.storage.remove(&self.path(cycle, &name)), &folder)?;
                continue;
            };
            file.bytes = self.size(cycle, file)?;
            spooled.next_seq = file.last + 1;
            spooled.bytes += file.bytes;
            spooled.files.push(file);
        }
        let Some(last) = spooled.files.last() else {
            self.clear(&folder)?;
            return Ok(None);
        };
        if let Ok(events) = self.read(cycle, *last)? {
            spooled.complete = events.last().and_then(|event| completion(&event.change));
            return Ok(Some(spooled));
        }
        tracing::warn!("A damaged batch in the spool {folder} is removed, and is sent again");
        self.clear(&folder)?;
        Ok(None)
    }

    /// Begins a cycle, in the place of any other.
    ///
    /// # Errors
    ///
    /// As [`Spool::load`].
    pub(super) fn begin(&self, cycle: CycleId) -> Result<SpooledCycle> {
        for name in self.list(&self.folder)? {
            self.clear(&format!("{}/{name}", self.folder))?;
        }
        Ok(SpooledCycle::new(cycle))
    }

    /// Adds a batch whose events up to `last` are new from the cycle's next one on. It is durable
    /// when this returns.
    ///
    /// # Errors
    ///
    /// As [`Spool::load`].
    pub(super) fn add(
        &self,
        spooled: &mut SpooledCycle,
        last: u64,
        batch: &[u8],
        complete: Option<(u64, Digest)>,
    ) -> Result<()> {
        let file = SpoolFile {
            first: spooled.next_seq,
            last,
            bytes: batch.len() as u64,
        };
        let folder = self.cycle_folder(spooled.cycle);
        let incoming = self.path(spooled.cycle, INCOMING);
        let write = || {
            let mut out = self.storage.create(&incoming)?;
            out.write(batch)?;
            out.sync()?;
            drop(out);
            self.storage
                .rename(&incoming, &self.path(spooled.cycle, &file.name()))?;
            self.storage.sync_folder(&folder)?;
            if spooled.files.is_empty() {
                // The folders themselves may be new.
                let mut above = folder.as_str();
                while let Some((parent, _)) = above.rsplit_once('/') {
                    self.storage.sync_folder(parent)?;
                    above = parent;
                }
            }
            Ok(())
        };
        self.failed(write(), &folder)?;
        spooled.next_seq = last + 1;
        spooled.bytes += file.bytes;
        spooled.complete = complete;
        spooled.files.push(file);
        Ok(())
    }

    /// Removes a cycle.
    ///
    /// # Errors
    ///
    /// As [`Spool::load`].
    pub(super) fn remove(&self, cycle: CycleId) -> Result<()> {
        self.clear(&self.cycle_folder(cycle))
    }

    /// Reads the new events of a file; the inner error is a damaged file.
    ///
    /// # Errors
    ///
    /// As [`Spool::load`].
    pub(super) fn read(
        &self,
        cycle: CycleId,
        file: SpoolFile,
    ) -> Result<Result<Vec<ChangeEvent>, BatchError>> {
        let path = self.path(cycle, &file.name());
        let read = || {
            let opened = self.storage.open(&path)?;
            let size = usize::try_from(opened.size()?).map_err(io::Error::other)?;
            let mut bytes = vec![0; size];
            opened.read_at(0, &mut bytes)?;
            Ok(bytes)
        };
        let bytes = self.failed(read(), &path)?;
        let mut events = Vec::new();
        let read = read_batch(&bytes, self.most, |event| {
            if event.seq >= file.first {
                events.push(event);
            }
        });
        Ok(read.map(|_| events))
    }

    fn size(&self, cycle: CycleId, file: SpoolFile) -> Result<u64> {
        let path = self.path(cycle, &file.name());
        let size = self.storage.open(&path).and_then(|opened| opened.size());
        self.failed(size, &path)
    }

    /// Removes a folder with its files, the last one first.
    fn clear(&self, folder: &str) -> Result<()> {
        for name in self.list(folder)?.iter().rev() {
            let path = format!("{folder}/{name}");
            self.failed(self.storage.remove(&path), &path)?;
        }
        match self.storage.remove(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => self.failed(removed, folder),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.failed(self.storage.list(folder), folder)
    }

    fn failed<T>(&self, outcome: io::Result<T>, path: &str) -> Result<T> {
        outcome.map_err(|error| {
            Error::new(ErrorKind::Storage, "the spool can't be used")
                .with("path", self.storage.locate(path))
                .with_source(error)
        })
    }
}

/// Returns what the last event of a cycle says.
pub(super) fn completion(change: &Change) -> Option<(u64, Digest)> {
    match change {
        Change::SnapshotComplete { rows, digest } => Some((*rows, *digest)),
        _ => None,
    }
}

/// Returns how many bytes a tenant's spool has on disk. Blocks.
///
/// # Errors
///
/// Those of the file system.
pub(super) fn used(storage: &dyn Storage, tenant: &str) -> io::Result<u64> {
    let mut used = 0;
    let root = format!("spool/{tenant}");
    for dataset in storage.list(&root)? {
        for cycle in storage.list(&format!("{root}/{dataset}"))? {
            let folder = format!("{root}/{dataset}/{cycle}");
            for name in storage.list(&folder)? {
                used += storage.open(&format!("{folder}/{name}"))?.size()?;
            }
        }
    }
    Ok(used)
}

/// A name that every file system takes: what can be read of both names, and a hash that tells any
/// two data sets apart.
fn folder_name(id: &DatasetId) -> String {
    let mut name = String::new();
    for part in [id.connector(), id.dataset()] {
        let plain = part.chars().filter(char::is_ascii_alphanumeric);
        name.extend(plain.take(24).map(|c| c.to_ascii_lowercase()));
        name.push('-');
    }
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    hash.update(&(id.connector().len() as u64).to_le_bytes());
    hash.update(id.connector().as_bytes());
    hash.update(id.dataset().as_bytes());
    for byte in &hash.finish().as_ref()[..12] {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}
