//! Whether a path still leads to the file that was opened there.

use std::{fs, io, path::Path};

/// Tells an open file from any other that may come to stand at its path: what is written to a file
/// that was removed is written to nobody.
///
/// Windows does not let an open file be removed or replaced, if it was opened so: SQLite does, and
/// [`keep`] sees to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(#[cfg(unix)] (u64, u64));

impl Identity {
    #[cfg(unix)]
    pub(super) fn of(file: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self((file.dev(), file.ino()))
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &fs::Metadata) -> Self {
        Self()
    }

    /// Tells whether that file is at a path.
    pub(super) fn is_at(self, path: &Path) -> io::Result<bool> {
        match fs::metadata(path) {
            Ok(file) => Ok(Self::of(&file) == self),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Opens a file so that nobody removes it meanwhile, where the system can do that.
pub(super) fn keep(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;
        const SHARE_READ_AND_WRITE: u32 = 1 | 2;
        options.share_mode(SHARE_READ_AND_WRITE);
    }
    options
}
