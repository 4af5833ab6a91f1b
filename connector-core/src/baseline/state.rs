//! One data set's folder: its manifest, its segments, and the one step that moves from one
//! committed state to the next.

use std::sync::Arc;

use super::{
    live::Layers,
    manifest::{self, Manifest},
    segment::{Segment, SegmentKind, SegmentRef, SegmentWriter},
    storage::Storage,
    store::Claim,
};
use crate::{
    error::{Error, ErrorKind, Result},
    event::DatasetId,
    schema::Schema,
};

/// The committed state of a data set, and the right to change it.
pub(crate) struct Baseline {
    pub(crate) id: DatasetId,
    storage: Arc<dyn Storage>,
    folder: String,
    manifest: Option<Manifest>,
    /// A commit failed half-way: what is on disk is in doubt until it is read again.
    broken: bool,
    /// Keeps every other cycle of this data set out.
    _claim: Claim,
}

impl Baseline {
    /// Opens what was committed last and removes what no manifest names.
    ///
    /// With `heal`, a manifest that can't be read counts as none: the data set starts anew.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        id: DatasetId,
        claim: Claim,
        heal: bool,
    ) -> Result<Self> {
        let folder = super::store::folder(&id);
        let manifest = match Manifest::read(&*storage, &folder) {
            Err(error) if heal => {
                tracing::warn!("data set {id} starts anew: {error:#}");
                None
            }
            manifest => manifest?,
        };
        let baseline = Self {
            id,
            storage,
            folder,
            manifest,
            broken: false,
            _claim: claim,
        };
        baseline.sweep();
        Ok(baseline)
    }

    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The manifest of a data set that must have one.
    pub(crate) fn committed(&self) -> Result<&Manifest> {
        self.manifest.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the data set was never synced")
                .with("data set", &self.id)
        })
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// Starts a file of the next generation.
    pub(crate) fn create(
        &self,
        kind: SegmentKind,
        name: &str,
        schema: &Schema,
    ) -> Result<SegmentWriter> {
        self.refuse_when_broken()?;
        let generation = self
            .manifest
            .as_ref()
            .map_or(1, |manifest| manifest.generation + 1);
        let file = format!("{generation:010}.{name}");
        SegmentWriter::create(&*self.storage, &self.folder, file, kind, schema)
    }

    pub(crate) fn open_segment(&self, named: &SegmentRef) -> Result<Arc<Segment>> {
        Segment::open(&*self.storage, &self.folder, named).map(Arc::new)
    }

    /// The base with the live changes over it.
    pub(crate) fn layers(&self) -> Result<Layers> {
        layers(&*self.storage, &self.folder, self.committed()?)
    }

    /// Makes `next` the committed state. Its segments are written and synced.
    pub(crate) fn commit(&mut self, mut next: Manifest) -> Result<()> {
        self.refuse_when_broken()?;
        let first = self.manifest.is_none();
        next.generation = self
            .manifest
            .as_ref()
            .map_or(1, |manifest| manifest.generation + 1);
        self.check_new_files(&next)?;
        // Until the folder is read again nobody knows which of the two states is there.
        self.broken = true;
        self.sync_names(first)?;
        next.write(&*self.storage, &self.folder)?;
        self.broken = false;
        let before: Vec<String> = self
            .manifest
            .iter()
            .flat_map(Manifest::files)
            .map(str::to_owned)
            .collect();
        let keeps: Vec<&str> = next.files().collect();
        for file in before.iter().filter(|file| !keeps.contains(&file.as_str())) {
            self.remove(file);
        }
        self.manifest = Some(next);
        Ok(())
    }

    /// Drops the data set: first the manifest, so that a crash leaves all of it or nothing that
    /// counts.
    pub(crate) fn erase(mut self) -> Result<()> {
        self.refuse_when_broken()?;
        let manifest = format!("{}/{}", self.folder, manifest::FILE);
        let cannot = |error| {
            Error::new(ErrorKind::Storage, "can't remove the manifest")
                .with("path", self.storage.locate(&manifest))
                .with_source(error)
        };
        self.storage.remove(&manifest).map_err(cannot)?;
        self.storage.sync_folder(&self.folder).map_err(cannot)?;
        self.manifest = None;
        self.sweep();
        if let Err(error) = self.storage.remove(&self.folder) {
            tracing::debug!(folder = self.folder, error = %error, "an empty folder stays");
        }
        Ok(())
    }

    /// A new segment that somebody removed or cut while it was written, which goes unnoticed as
    /// long as it is open, must not become part of the state.
    fn check_new_files(&self, next: &Manifest) -> Result<()> {
        let known: Vec<&str> = self.manifest.iter().flat_map(Manifest::files).collect();
        let new = next.segments();
        for segment in new.filter(|segment| !known.contains(&segment.file.as_str())) {
            let path = format!("{}/{}", self.folder, segment.file);
            let failed = |error| {
                Error::new(
                    ErrorKind::Storage,
                    "a file that was just written is not there; does another program clean up the \
                     state folder?",
                )
                .with("path", self.storage.locate(&path))
                .with_source(error)
            };
            let size = self.storage.open(&path).and_then(|file| file.size());
            if size.map_err(failed)? != segment.bytes {
                return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(())
    }

    /// The names of new segments, and of new folders, before the manifest that counts on them.
    fn sync_names(&self, first: bool) -> Result<()> {
        let mut folders = vec![self.folder.as_str()];
        if first {
            let above = self.folder.rsplit_once('/').map_or("", |(above, _)| above);
            folders.extend([above, ""]);
        }
        for folder in folders {
            self.storage.sync_folder(folder).map_err(|error| {
                Error::new(ErrorKind::Storage, "can't sync a folder")
                    .with("path", self.storage.locate(folder))
                    .with_source(error)
            })?;
        }
        Ok(())
    }

    fn refuse_when_broken(&self) -> Result<()> {
        if self.broken {
            return Err(Error::new(
                ErrorKind::Storage,
                "an earlier commit failed; the data set is opened again in its next cycle",
            )
            .with("data set", &self.id));
        }
        Ok(())
    }

    /// Removes what a crash left behind. What can't be removed now is tried again next time.
    fn sweep(&self) {
        for file in self.storage.list(&self.folder).unwrap_or_default() {
            let needed = self
                .manifest
                .as_ref()
                .is_some_and(|m| m.files().any(|f| f == file));
            // A damaged manifest stays until a healing commit replaces it.
            if !needed && file != manifest::FILE {
                self.remove(&file);
            }
        }
    }

    pub(crate) fn remove(&self, file: &str) {
        let path = format!("{}/{file}", self.folder);
        if let Err(error) = self.storage.remove(&path) {
            let path = self.storage.locate(&path);
            tracing::debug!(path, error = %error, "a file that is no longer needed stays for now");
        }
    }
}

/// Opens the base and the live changes that a manifest names.
pub(super) fn layers(storage: &dyn Storage, folder: &str, manifest: &Manifest) -> Result<Layers> {
    let live = manifest
        .live_changes()
        .iter()
        .map(|changes| &changes.segment);
    let segments = std::iter::once(&manifest.base)
        .chain(live)
        .map(|named| Segment::open(storage, folder, named).map(Arc::new));
    Ok(Layers::new(segments.collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        io,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
    };

    use super::*;
    use crate::{
        baseline::{FileStorage, ReadFile, Retain, WriteFile},
        event::{CycleId, Digest},
        schema::{Declared, int},
        time::Timestamp,
    };

    const SCHEMA: Declared = Declared::new(&[int("id").key()]);

    /// Files whose folders can't be synced while that is set.
    #[derive(Debug)]
    struct Unsyncable(FileStorage, AtomicBool);

    impl Storage for Unsyncable {
        fn create(&self, path: &str) -> io::Result<Box<dyn WriteFile>> {
            self.0.create(path)
        }

        fn open(&self, path: &str) -> io::Result<Box<dyn ReadFile>> {
            self.0.open(path)
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }

        fn remove(&self, path: &str) -> io::Result<()> {
            self.0.remove(path)
        }

        fn list(&self, folder: &str) -> io::Result<Vec<String>> {
            self.0.list(folder)
        }

        fn sync_folder(&self, folder: &str) -> io::Result<()> {
            if self.1.load(Relaxed) {
                return Err(io::Error::other("no sync"));
            }
            self.0.sync_folder(folder)
        }

        fn lock(&self, holder: &str) -> io::Result<Box<dyn Send + Sync>> {
            self.0.lock(holder)
        }

        fn locate(&self, path: &str) -> String {
            self.0.locate(path)
        }
    }

    fn empty(base: SegmentRef) -> Manifest {
        Manifest {
            generation: 0,
            connector: "lab".into(),
            dataset: "devices".into(),
            schema: SCHEMA.into(),
            rows: 0,
            digest: Digest::default(),
            cycle: CycleId::new(1, Timestamp::MIN, true),
            synced: Timestamp::MIN,
            base,
            base_cycle: 1,
            full_cycle: 1,
            changes: Vec::new(),
            sinks: BTreeMap::new(),
            bookmark: None,
            held: None,
            retained: Retain::Rows,
        }
    }

    /// A sync that is tried again can succeed without having done anything.
    #[test]
    fn a_handle_whose_sync_failed_refuses_to_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let files = FileStorage::new(folder.path());
        let storage = Arc::new(Unsyncable(files, AtomicBool::new(false)));
        let open = || {
            let claim = Arc::new(tokio::sync::Mutex::new(())).try_lock_owned();
            let id = DatasetId::new("lab", "devices");
            Baseline::open(storage.clone(), id, claim.unwrap(), false).unwrap()
        };
        let base = |baseline: &Baseline| {
            let writer = baseline.create(SegmentKind::Base, "base", &SCHEMA.into());
            writer.and_then(|writer| writer.into_index()?.finish_base(std::iter::empty(), false))
        };
        let mut baseline = open();
        let manifest = empty(base(&baseline).unwrap());
        storage.1.store(true, Relaxed);
        let error = baseline.commit(manifest.clone()).unwrap_err();
        assert!(error.to_string().contains("devices"), "{error}");
        storage.1.store(false, Relaxed);
        let error = baseline.commit(manifest).unwrap_err();
        assert!(
            error.message().contains("an earlier commit failed"),
            "{error}"
        );
        assert!(base(&baseline).is_err() && baseline.erase().is_err());

        let mut next = open();
        let manifest = empty(base(&next).unwrap());
        next.commit(manifest).unwrap();
    }
}
