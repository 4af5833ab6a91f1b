//! Files to measure with, and states to begin from.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;

use crate::{Inventory, Order, Result, usage_of};

/// Generated files and prepared states. All of it is made by children, so that whoever measures
/// stays small.
#[derive(Debug, Clone)]
pub struct Data {
    /// What stays for the next measurement.
    folder: PathBuf,
    /// What does not: another build may write another state.
    scratch: Arc<TempDir>,
    program: PathBuf,
    /// What stands before a measured command, such as a profiler.
    under: Vec<OsString>,
    /// Whether states keep digests instead of rows.
    digests: bool,
}

impl Data {
    /// Takes the folder for generated files. This program must do a [`Work`](crate::Work) when its
    /// first argument is `child`.
    ///
    /// # Errors
    ///
    /// When this program can't be found, or the folder can't be written to.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            scratch: Arc::new(TempDir::new_in(folder)?),
            program: std::env::current_exe()?,
            under: Vec::new(),
            digests: false,
        })
    }

    /// Puts words before every cycle's command: a profiler and its options.
    #[must_use]
    pub fn under(mut self, words: &str) -> Self {
        self.under = words.split_whitespace().map(OsString::from).collect();
        self
    }

    /// Keeps digests of rows in all states, instead of the rows.
    #[must_use]
    pub fn with_digests(mut self) -> Self {
        self.digests = true;
        self
    }

    /// Returns a path at which nothing is, whatever was there before.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn empty(&self, name: &str) -> Result<PathBuf> {
        let path = self.scratch.path().join(name);
        remove(&path)?;
        Ok(path)
    }

    /// Returns the command of a work by its arguments.
    pub fn work<const N: usize>(&self, work: &str, arguments: [&Path; N]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["child", work]).args(arguments);
        command
    }

    /// Returns the command of a cycle.
    pub fn cycle(&self, inbox: &Path, state: &Path, memory: u64) -> Command {
        let mut words = self.under.iter().cloned();
        let mut command = match words.next() {
            Some(profiler) => {
                let mut command = Command::new(profiler);
                command.args(words).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(["child", "cycle"]).args([inbox, state]);
        command.args(["--memory", &memory.to_string()]);
        if self.digests {
            command.arg("--digests");
        }
        command
    }

    /// Returns the folder in which the file `software.csv` of the inventory is, which is written
    /// if it is not there yet.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn inbox(&self, inventory: Inventory) -> Result<PathBuf> {
        let inbox = self.folder.join(name(inventory));
        let (part, file) = (inbox.join("part"), inbox.join("software.csv"));
        if file.exists() {
            return Ok(inbox);
        }
        let Inventory {
            rows,
            columns,
            changed,
            order,
            edited,
        } = inventory;
        fs::create_dir_all(&inbox)?;
        let mut generate = self.work("generate", [&part]);
        generate
            .args(["--rows", &rows.to_string()])
            .args(["--columns", &columns.to_string()])
            .args(["--changed", &changed.to_string()]);
        if let Order::Shuffled(seed) = order {
            generate.args(["--shuffled", &seed.to_string()]);
        }
        if edited {
            generate.arg("--edited");
        }
        usage_of(&mut generate)?;
        // Whole or not there at all, also when the measurement is stopped meanwhile.
        #[expect(clippy::disallowed_methods, reason = "not the store's file")]
        fs::rename(part, file)?;
        Ok(inbox)
    }

    /// Returns a state folder that has seen the inventory's file, which is then removed: what is
    /// large may not fit twice.
    ///
    /// # Errors
    ///
    /// Those of the file system and of the cycle.
    pub fn state(&self, inventory: Inventory) -> Result<PathBuf> {
        let kept = if self.digests { "digests" } else { "rows" };
        let state = self.scratch.path().join(kept).join(name(inventory));
        if !state.exists() {
            let inbox = self.inbox(inventory)?;
            let plain = Self {
                under: Vec::new(),
                ..self.clone()
            };
            usage_of(&mut plain.cycle(&inbox, &state, 256 << 20))?;
            fs::remove_dir_all(inbox)?;
        }
        Ok(state)
    }

    /// Returns a copy of a state folder, in place of the copy before.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn copy(&self, state: &Path) -> Result<PathBuf> {
        let copy = self.empty("copy")?;
        link_all(state, &copy)?;
        Ok(copy)
    }
}

/// The name of an inventory's folder.
fn name(inventory: Inventory) -> String {
    let Inventory {
        rows,
        columns,
        changed,
        order,
        edited,
    } = inventory;
    let order = match order {
        Order::Key => "key".to_owned(),
        Order::Shuffled(seed) => seed.to_string(),
    };
    let state = if edited { "edited" } else { "first" };
    format!("{rows}-{columns}-{changed}-{order}-{state}")
}

/// Removes a file or folder, if there is one.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Segments are never written to again, so they need not be copied. What is small is.
fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            link_all(&from, &to)?;
        } else if metadata.len() < 1 << 16 || fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
