//! A storage in memory that crashes, fails and forgets on command.

mod disk;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use connector_core::{ReadFile, Storage, WriteFile};

use disk::{Disk, NodeId};

/// A [`Storage`] in memory that keeps two images: *live*, which calls see, and *durable*, which is
/// what a power cut leaves.
///
/// - Bytes become durable by [`WriteFile::sync`], names by [`Storage::sync_folder`] of their
///   folder; the name of a new folder counts, too, and needs a sync of the folder above it.
/// - Every call is numbered from 1: those of the storage and those of its open files.
///   [`freeze_at`](Self::freeze_at) stops the process there, [`fault_at`](Self::fault_at) lets
///   something go wrong there, once or for good.
/// - [`reopen`](Self::reopen) is the next start of the process: a new storage from what is left.
///
/// Nothing is left to chance: the same calls give the same images. A storage on which no fault was
/// set never fails. All clones are the same storage.
///
/// ```
/// use connector_core::Storage;
/// use connector_testkit::{CrashStorage, Unsynced};
///
/// let storage = CrashStorage::new();
/// let mut file = storage.create("a")?;
/// file.write(b"kept")?;
/// file.sync()?;
/// file.write(b" and lost")?;
/// storage.sync_folder("")?;
///
/// let after_the_crash = storage.reopen(Unsynced::Lost);
/// assert_eq!(after_the_crash.open("a")?.size()?, 4);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CrashStorage(Arc<Mutex<Inner>>);

/// A storage in memory for tests that crash nothing: a [`CrashStorage`] on which no fault is set.
pub type MemoryStorage = CrashStorage;

#[derive(Default)]
struct Inner {
    disk: Disk,
    calls: Vec<String>,
    freeze_at: Option<u64>,
    fault: Option<(u64, StorageFault)>,
    holder: Option<String>,
}

/// What becomes of that which was not synced when the process died.
///
/// A file system may do any of these. Whatever it does, a store must open one whole committed
/// state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// All of it is lost: bytes, new names, new places of old names, removals.
    Lost,
    /// All of it reached the disk.
    Kept,
    /// Names reached the disk, and of each file the first half of the bytes.
    Torn,
    /// Names and lengths reached the disk, and where the bytes should be there are zeros.
    Zeroed,
    /// One name reached the disk and another did not, and so with each file's bytes: any of the
    /// above for each of them, as the seed has it. The two names of a rename go together.
    Mixed(u64),
}

impl Unsynced {
    /// Every mode, for tests that try them all; the mixed one with some seeds.
    pub const ALL: [Self; 8] = [
        Self::Lost,
        Self::Kept,
        Self::Torn,
        Self::Zeroed,
        Self::Mixed(1),
        Self::Mixed(2),
        Self::Mixed(3),
        Self::Mixed(4),
    ];
}

/// What goes wrong at a storage call, while the process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageFault {
    /// The call fails, and no other. A write that fails leaves half its bytes; after a sync that
    /// fails, what was written to that file before never becomes durable, whatever a later sync
    /// says, as on Linux.
    Fails(io::ErrorKind),
    /// The disk is full from that call on: files can't be made, and a write leaves half its bytes.
    /// All else goes on.
    Full,
    /// From that call on nothing may be done by a path. Files that are open stay so.
    Denied,
    /// Somebody else removes the file that the call is about, just before it.
    Removed,
}

impl StorageFault {
    /// Every fault, for tests that try them all.
    pub const ALL: [Self; 5] = [
        Self::Fails(io::ErrorKind::Other),
        Self::Fails(io::ErrorKind::StorageFull),
        Self::Full,
        Self::Denied,
        Self::Removed,
    ];
}

/// What the plan says about a call.
enum Fate {
    Passes,
    /// Only this call fails.
    Fails(io::Error),
    /// The process dies in this call.
    Dies,
    /// It died before.
    Dead,
}

fn dead() -> io::Error {
    io::Error::other("the storage is frozen: the process is taken to be dead")
}

impl Inner {
    fn is_frozen(&self) -> bool {
        self.freeze_at
            .is_some_and(|at| self.calls.len() as u64 >= at)
    }

    fn next_call(&mut self, call: &str, path: &str) -> Fate {
        if self.is_frozen() {
            return Fate::Dead;
        }
        self.calls.push(format!("{call} {path}"));
        let number = self.calls.len() as u64;
        if let Some((at, fault)) = self.fault
            && number >= at
            && let Some(kind) = self.strike(fault, number == at, call, path)
        {
            let message = format!("call {number} ({call} {path}) failed as it was told to");
            return Fate::Fails(io::Error::new(kind, message));
        }
        if self.is_frozen() {
            Fate::Dies
        } else {
            Fate::Passes
        }
    }

    /// Tells how a call fails by the fault, if it does. `first` is the call that was planned.
    fn strike(
        &mut self,
        fault: StorageFault,
        first: bool,
        call: &str,
        path: &str,
    ) -> Option<io::ErrorKind> {
        match fault {
            StorageFault::Fails(kind) => first.then_some(kind),
            StorageFault::Full => {
                matches!(call, "create" | "write").then_some(io::ErrorKind::StorageFull)
            }
            StorageFault::Denied => {
                let open = matches!(call, "write" | "sync" | "size" | "read");
                (!open).then_some(io::ErrorKind::PermissionDenied)
            }
            StorageFault::Removed => {
                let path = path.split(" to ").next().unwrap_or_default();
                // What is no file is not removed, and the call then has no fault.
                if first && self.disk.open(path).is_ok() {
                    let _ = self.disk.remove(path);
                }
                None
            }
        }
    }

    /// Counts a call that does all or nothing.
    fn enter(&mut self, call: &str, path: &str) -> io::Result<()> {
        match self.next_call(call, path) {
            Fate::Passes => Ok(()),
            Fate::Fails(error) => Err(error),
            Fate::Dies | Fate::Dead => Err(dead()),
        }
    }
}

impl CrashStorage {
    /// Makes an empty storage without faults.
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic of a test elsewhere leaves nothing half done in here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many calls were made.
    pub fn calls(&self) -> u64 {
        self.inner().calls.len() as u64
    }

    /// Returns what call of that number was, for messages: `sync hr/devices/1.base`.
    pub fn call(&self, number: u64) -> Option<String> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.inner().calls.get(index).cloned()
    }

    /// Stops the process in the call of that number: it fails, as do all after it, and none of
    /// them changes anything. A write that is stopped leaves half its bytes, not synced.
    pub fn freeze_at(&self, call: u64) {
        self.inner().freeze_at = Some(call);
    }

    /// Tells whether the process was stopped.
    pub fn is_frozen(&self) -> bool {
        self.inner().is_frozen()
    }

    /// Lets something go wrong in the call of that number.
    pub fn fault_at(&self, call: u64, fault: StorageFault) {
        self.inner().fault = Some((call, fault));
    }

    /// Ends the fault, if one was set: there is room again, the right is back.
    pub fn mend(&self) {
        self.inner().fault = None;
    }

    /// Returns a storage of its own with the same two images, without faults, calls or lock.
    #[must_use]
    pub fn copy(&self) -> Self {
        let disk = self.inner().disk.clone();
        Self::of(disk)
    }

    fn of(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            disk,
            ..Inner::default()
        })))
    }

    /// Returns what a crash at this moment leaves, as a new storage without faults, calls or lock.
    #[must_use]
    pub fn reopen(&self, unsynced: Unsynced) -> Self {
        let disk = self.inner().disk.after_crash(unsynced);
        Self::of(disk)
    }

    /// Changes a byte of a file, live and durable, as a failing disk does: for tests that damage
    /// must be found.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] when there is no such file; [`io::ErrorKind::InvalidInput`]
    /// when it ends before that place.
    pub fn damage(&self, path: &str, offset: u64) -> io::Result<()> {
        self.inner().disk.damage(path, offset)
    }

    /// Returns the paths of all files, in order.
    pub fn files(&self) -> Vec<String> {
        self.inner().disk.files()
    }
}

impl Storage for CrashStorage {
    fn create(&self, path: &str) -> io::Result<Box<dyn WriteFile>> {
        let mut inner = self.inner();
        inner.enter("create", path)?;
        let node = inner.disk.create(path)?;
        Ok(Box::new(Handle::new(self, node, path)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn ReadFile>> {
        let mut inner = self.inner();
        inner.enter("open", path)?;
        let node = inner.disk.open(path)?;
        Ok(Box::new(Handle::new(self, node, path)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.enter("rename", &format!("{from} to {to}"))?;
        inner.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.enter("remove", path)?;
        inner.disk.remove(path)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut inner = self.inner();
        inner.enter("list", folder)?;
        Ok(inner.disk.list(folder))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.enter("sync folder", folder)?;
        inner.disk.sync_folder(folder)
    }

    fn lock(&self, holder: &str) -> io::Result<Box<dyn Send + Sync>> {
        let mut inner = self.inner();
        inner.enter("lock", holder)?;
        if let Some(other) = &inner.holder {
            let message = format!("in use by {other}");
            return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
        }
        // The files that the real one leaves there, so that nobody takes the folder for his own.
        inner.disk.create(".lock")?;
        inner.disk.create(".lock.holder")?;
        inner.holder = Some(holder.to_owned());
        Ok(Box::new(Lock(self.clone())))
    }

    fn locate(&self, path: &str) -> String {
        format!("memory:{path}")
    }
}

impl fmt::Debug for CrashStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        f.debug_struct("CrashStorage")
            .field("calls", &inner.calls.len())
            .field("frozen", &inner.is_frozen())
            .finish_non_exhaustive()
    }
}

struct Lock(CrashStorage);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.inner().holder = None;
    }
}

/// An open file: goes on working under another name or none.
struct Handle {
    storage: CrashStorage,
    node: NodeId,
    path: String,
}

impl Handle {
    fn new(storage: &CrashStorage, node: NodeId, path: &str) -> Self {
        Self {
            storage: storage.clone(),
            node,
            path: path.to_owned(),
        }
    }
}

impl WriteFile for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.storage.inner();
        let half = &bytes[..bytes.len() / 2];
        match inner.next_call("write", &self.path) {
            Fate::Passes => {
                inner.disk.append(self.node, bytes);
                Ok(())
            }
            Fate::Fails(error) => {
                inner.disk.append(self.node, half);
                Err(error)
            }
            Fate::Dies => {
                inner.disk.append(self.node, half);
                Err(dead())
            }
            Fate::Dead => Err(dead()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.storage.inner();
        match inner.next_call("sync", &self.path) {
            Fate::Passes => {
                inner.disk.sync(self.node);
                Ok(())
            }
            Fate::Fails(error) => {
                inner.disk.fail_sync(self.node);
                Err(error)
            }
            Fate::Dies | Fate::Dead => Err(dead()),
        }
    }
}

impl ReadFile for Handle {
    fn size(&self) -> io::Result<u64> {
        let mut inner = self.storage.inner();
        inner.enter("size", &self.path)?;
        Ok(inner.disk.content(self.node).len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut inner = self.storage.inner();
        inner.enter("read", &self.path)?;
        let wanted = usize::try_from(offset)
            .ok()
            .and_then(|start| inner.disk.content(self.node).get(start..))
            .and_then(|rest| rest.get(..buffer.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(wanted);
        Ok(())
    }
}
