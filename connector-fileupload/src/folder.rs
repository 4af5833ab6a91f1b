//! What is in the folder.

use std::{
    io,
    path::{Path, PathBuf},
};

use connector_core::Result;
use walkdir::{DirEntry, WalkDir};

use crate::file::{SourceFile, failed};

/// Everything below a folder that may be data, in the order of the names.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) files: Vec<SourceFile>,
    /// Folders that could not be looked into, and why.
    pub(crate) unreadable: Vec<(String, io::Error)>,
}

/// Lists a folder and those below it. Names that begin with a dot are passed over; links are
/// followed.
///
/// # Errors
///
/// When the folder itself can't be read.
pub(crate) fn list(folder: &Path) -> Result<Listing> {
    let wrong = |message: &str, error| failed(message, error).with("folder", folder.display());
    // Walking would take a file for a folder with one file in it.
    std::fs::read_dir(folder)
        .map_err(|error| wrong("the folder can't be read; see the setting `folder`", error))?;
    let mut listing = Listing {
        files: Vec::new(),
        unreadable: Vec::new(),
    };
    let entries = WalkDir::new(folder)
        .follow_links(true)
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry));
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_type().is_file() => {
                let file = SourceFile::new(folder, entry.into_path());
                listing.files.push(file);
            }
            Ok(_) => {}
            // A folder that holds itself has nothing new in it.
            Err(error) if error.loop_ancestor().is_some() => {}
            Err(error) => {
                let path = error
                    .path()
                    .map_or_else(|| folder.to_owned(), PathBuf::from);
                let file = SourceFile::new(folder, path);
                let error = error
                    .into_io_error()
                    .unwrap_or_else(|| io::Error::other("unknown"));
                if error.kind() == io::ErrorKind::NotFound {
                    // A dangling link, or gone just now: whoever reads it says so.
                    listing.files.push(file);
                } else {
                    listing.unreadable.push((file.name, error));
                }
            }
        }
    }
    listing.files.sort_unstable();
    Ok(listing)
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}
