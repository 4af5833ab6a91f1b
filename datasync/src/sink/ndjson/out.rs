//! Where lines go: a file, or standard output.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use connector_core::{CycleId, DatasetId, Error, ErrorKind, Result};
use serde::Deserialize;

use crate::sink::identity::{Identity, keep};

/// So much of a file is looked at in one step while its last whole cycle is sought.
const STEP: u64 = 64 << 10;

/// The last line of a cycle is no longer than this, however long the names in it are.
const LONGEST_END: u64 = 1 << 20;

/// So many bytes are written before they are made durable while more are written.
const SYNC_EVERY: usize = 32 << 20;

/// The file, or standard output.
pub(super) enum Out {
    Stdout(io::Stdout),
    File(Appended),
}

impl Out {
    /// Appends lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<()> {
        match self {
            // Line by line, so that a line of the log never stands in the middle of an event.
            Self::Stdout(out) => lines
                .split_inclusive(|byte| *byte == b'\n')
                .try_for_each(|line| out.write_all(line)),
            Self::File(file) => file.write(lines),
        }
        .map_err(|error| self.failed(error))
    }

    /// Goes back to the end of the last whole cycle. When another file stands at the path by now,
    /// that one is written to; what comes back is then what is known of it.
    pub(super) fn rewind(&mut self) -> Result<Option<Known>> {
        let Self::File(file) = self else {
            return Ok(None);
        };
        match file.identity.is_at(&file.path) {
            Ok(true) => file.rewind().map(|()| None),
            Ok(false) => {
                tracing::warn!(
                    "The file of events {} was removed or replaced; what was in it is not written \
                     again",
                    file.path.display()
                );
                let (fresh, known) = Appended::open(&file.path)?;
                *file = fresh;
                return Ok(Some(known));
            }
            Err(error) => Err(error),
        }
        .map_err(|error| self.failed(error))
    }

    /// Makes everything durable; the cycle is whole.
    pub(super) fn commit(&mut self) -> Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(file) => file.commit(),
        }
        .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        let place = match self {
            Self::Stdout(_) => "standard output".to_owned(),
            Self::File(file) => file.path.display().to_string(),
        };
        Error::new(ErrorKind::Sink, "can't write events")
            .with("file", place)
            .with_source(error)
    }
}

/// The cycles that a file is known to hold.
pub(super) type Known = HashMap<DatasetId, CycleId>;

/// A file that cycles are appended to.
pub(super) struct Appended {
    path: PathBuf,
    file: File,
    identity: Identity,
    /// Where the last committed cycle ends.
    end: u64,
    /// How much was written since a sync began.
    unsynced: usize,
    /// Makes what was written durable while more is written, so that little is left to do for the
    /// commit.
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl Appended {
    /// Opens a file or makes it, and removes what stands behind its last whole cycle, which
    /// comes back too.
    pub(super) fn open(path: &Path) -> Result<(Self, Known)> {
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Sink, "can't open the file of events")
                .with("file", path.display())
                .with_source(error)
        };
        let mut file = open(path).map_err(failed)?;
        let (end, last) = last_cycle(&mut file).map_err(failed)?;
        let appended = Self::at(path.to_owned(), file, end).map_err(failed)?;
        Ok((appended, last.into_iter().collect()))
    }

    fn at(path: PathBuf, mut file: File, end: u64) -> io::Result<Self> {
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self {
            identity: Identity::of(&file.metadata()?),
            path,
            file,
            end,
            unsynced: 0,
            syncing: None,
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.unsynced += lines.len();
        if self.unsynced >= SYNC_EVERY && self.syncing.as_ref().is_none_or(JoinHandle::is_finished)
        {
            self.synced()?;
            self.unsynced = 0;
            let file = self.file.try_clone()?;
            let thread = thread::Builder::new().name("sync".to_owned());
            self.syncing = Some(thread.spawn(move || file.sync_data())?);
        }
        Ok(())
    }

    /// Waits for the sync on its way. A failure is told once, to whoever syncs next, so it must
    /// not get lost here.
    fn synced(&mut self) -> io::Result<()> {
        match self.syncing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(io::Error::other("a thread panicked")),
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        if self.file.stream_position()? != self.end {
            // Opened again: after a failed sync the old handle is not trusted.
            *self = Self::at(self.path.clone(), open(&self.path)?, self.end)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        self.synced()?;
        self.file.sync_data()?;
        self.unsynced = 0;
        if !self.identity.is_at(&self.path)? {
            return Err(io::Error::other(
                "the file was removed or replaced while it was written to; the cycle is sent again",
            ));
        }
        self.end = self.file.stream_position()?;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    keep(&mut options).open(path)
}

/// What the last line of a cycle tells.
#[derive(Deserialize)]
struct End {
    connector: String,
    dataset: String,
    cycle: CycleId,
    op: String,
}

/// Finds where the last whole cycle ends, and which one it is.
fn last_cycle(file: &mut File) -> io::Result<(u64, Option<(DatasetId, CycleId)>)> {
    // The lines are looked at from the last to the first; `line_end` is where the one at hand
    // ends, behind its line break.
    let mut line_end = None;
    let mut at = file.metadata()?.len();
    let mut step = Vec::new();
    while at > 0 {
        let start = at.saturating_sub(STEP);
        step.resize(usize::try_from(at - start).unwrap_or_default(), 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut step)?;
        for place in (0..step.len()).rev().filter(|place| step[*place] == b'\n') {
            let line_start = start + place as u64 + 1;
            if let Some(end) = line_end
                && let Some(last) = read_end(file, line_start, end)?
            {
                return Ok((end, Some(last)));
            }
            line_end = Some(line_start);
        }
        at = start;
    }
    if let Some(end) = line_end
        && let Some(last) = read_end(file, 0, end)?
    {
        return Ok((end, Some(last)));
    }
    Ok((0, None))
}

fn read_end(file: &mut File, start: u64, end: u64) -> io::Result<Option<(DatasetId, CycleId)>> {
    if end - start > LONGEST_END {
        return Ok(None);
    }
    let mut line = vec![0; usize::try_from(end - start).unwrap_or_default()];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut line)?;
    Ok(serde_json::from_slice::<End>(&line)
        .ok()
        .filter(|end| end.op == "snapshot_complete")
        .map(|end| (DatasetId::new(&end.connector, &end.dataset), end.cycle)))
}
