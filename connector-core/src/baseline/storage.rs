//! The file work of the store, small enough that a test can stop it anywhere.

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Files below one folder. All methods block and are called on threads where that is allowed.
///
/// Paths are relative, with `/` between folder and name. What was written is durable after
/// [`WriteFile::sync`]; that a file exists, has its new name or is gone, after
/// [`Storage::sync_folder`] of its folder.
pub trait Storage: Debug + Send + Sync + 'static {
    /// Makes a file for writing, and the folders above it; an existing file is emptied.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn create(&self, path: &str) -> io::Result<Box<dyn WriteFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadFile>>;

    /// Gives a file another name in one step; a file of that name is replaced.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, or a folder that is empty.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Returns the names in a folder, in order; of none when it does not exist.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes names that came, changed or went in a folder durable.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Keeps other processes out until what it returns is dropped. `holder` is what they are told.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] with the other holder in its message.
    fn lock(&self, holder: &str) -> io::Result<Box<dyn Send + Sync>>;

    /// Returns where a path is, for messages.
    fn locate(&self, path: &str) -> String;
}

/// A file being written from its start to its end.
pub trait WriteFile: Send {
    /// Appends.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    ///
    /// Those of the file system. What was written before is then in doubt.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read anywhere.
pub trait ReadFile: Send + Sync {
    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn size(&self) -> io::Result<u64>;

    /// Fills the buffer from that place.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Files of the operating system below a folder.
#[derive(Debug)]
pub struct FileStorage {
    root: PathBuf,
}

impl FileStorage {
    /// Takes the folder, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

impl Storage for FileStorage {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is what others are told to use"
    )]
    fn create(&self, path: &str) -> io::Result<Box<dyn WriteFile>> {
        let path = self.path(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(Box::new(File::create(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(File::open(self.path(path))?))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is what others are told to use"
    )]
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        if path.is_dir() {
            fs::remove_dir(path)
        } else {
            fs::remove_file(path)
        }
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        sync_folder(&self.path(folder))
    }

    fn lock(&self, holder: &str) -> io::Result<Box<dyn Send + Sync>> {
        fs::create_dir_all(&self.root)?;
        let path = self.root.join(".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        // The holder stands in a file of its own: Windows lets nobody read a locked one.
        let name = self.root.join(".lock.holder");
        match file.try_lock() {
            Ok(()) => {
                let mut file_of_name = OpenOptions::new()
                    .create(true)
                    .truncate(true)
                    .write(true)
                    .open(name)?;
                file_of_name.write_all(holder.as_bytes())?;
                Ok(Box::new(file))
            }
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(name).unwrap_or_default();
                let holder = if holder.is_empty() {
                    "another process"
                } else {
                    &holder
                };
                Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    format!("in use by {holder}"),
                ))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn locate(&self, path: &str) -> String {
        self.path(path).display().to_string()
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// NTFS journals names; a folder can't be synced there.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the twin on Unix can fail")]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

impl WriteFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl ReadFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(self, buffer, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    offset += read as u64;
                    buffer = &mut buffer[read..];
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        let held = storage.lock("datasync, process 42").unwrap();
        let error = storage.lock("another").err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(error.to_string(), "in use by datasync, process 42");
        drop(held);
        assert!(storage.lock("another").is_ok());
    }
}
