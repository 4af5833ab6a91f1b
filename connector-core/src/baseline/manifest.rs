//! The one file that says what a data set's state is.
//!
//! ```text
//! datasync-manifest 1 <XXH3 of the rest, as 16 hex digits>
//! { … }
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::{
    block::{damaged, storage_error},
    retain::Retain,
    segment::SegmentRef,
    storage::Storage,
};
use crate::{
    error::{Error, ErrorKind, Result},
    event::{Counts, CycleId, Digest},
    schema::Schema,
    time::Timestamp,
};

const VERSION: u32 = 1;
const NAME: &str = "datasync-manifest";
pub(super) const FILE: &str = "manifest";
const NEW: &str = "manifest.new";

/// The whole committed state of a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Counts the commits; names the files of the next one.
    pub(crate) generation: u64,
    pub(crate) connector: String,
    pub(crate) dataset: String,
    pub(crate) schema: Schema,
    pub(crate) rows: u64,
    pub(crate) digest: Digest,
    /// The last cycle that changed something.
    pub(crate) cycle: CycleId,
    /// When the source was last read to the end.
    pub(crate) synced: Timestamp,
    pub(crate) base: SegmentRef,
    /// What the base keeps.
    #[serde(default, skip_serializing_if = "Retain::is_rows")]
    pub(crate) retained: Retain,
    /// The base holds everything up to this cycle.
    pub(crate) base_cycle: u64,
    /// The base's data set was loaded in full in this cycle.
    pub(crate) full_cycle: u64,
    /// In the order of their cycles. Those up to `base_cycle` are history.
    pub(crate) changes: Vec<Changes>,
    /// The last cycle that each sink has confirmed.
    pub(crate) sinks: BTreeMap<String, u64>,
    /// What the last read left for the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bookmark: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<HeldCycle>,
}

/// One cycle's changes segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Changes {
    pub(crate) segment: SegmentRef,
    pub(crate) cycle: CycleId,
    pub(crate) counts: Counts,
    /// After the cycle.
    pub(crate) rows: u64,
    pub(crate) digest: Digest,
}

/// A cycle that the delete guard stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeldCycle {
    pub(crate) segment: SegmentRef,
    /// The segment is a base and not changes.
    pub(crate) full: bool,
    pub(crate) schema: Schema,
    pub(crate) counts: Counts,
    pub(crate) rows: u64,
    pub(crate) digest: Digest,
    pub(crate) since: Timestamp,
}

impl Manifest {
    /// The changes that the base does not hold yet.
    pub(crate) fn live_changes(&self) -> &[Changes] {
        let folded = self
            .changes
            .partition_point(|c| c.cycle.number() <= self.base_cycle);
        &self.changes[folded..]
    }

    /// Every segment that it names.
    pub(super) fn segments(&self) -> impl Iterator<Item = &SegmentRef> {
        std::iter::once(&self.base)
            .chain(self.changes.iter().map(|changes| &changes.segment))
            .chain(self.held.iter().map(|held| &held.segment))
    }

    /// Every file that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.segments().map(|segment| segment.file.as_str())
    }

    /// Reads a data set's manifest, if there is one.
    pub(super) fn read(storage: &dyn Storage, folder: &str) -> Result<Option<Self>> {
        let path = format!("{folder}/{FILE}");
        let located = storage.locate(&path);
        let cannot = |error| storage_error(&located, "can't read the manifest", error);
        let file = match storage.open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(cannot)?,
        };
        let len = usize::try_from(file.size().map_err(cannot)?).unwrap_or(0);
        let mut text = vec![0; len];
        file.read_at(0, &mut text).map_err(cannot)?;
        Self::parse(&text, &located).map(Some)
    }

    pub(super) fn parse(text: &[u8], located: &str) -> Result<Self> {
        let wrong = |what| damaged(located, what);
        let text = std::str::from_utf8(text).map_err(|_| wrong("it is not text"))?;
        let (first, body) = text
            .split_once('\n')
            .ok_or_else(|| wrong("it has one line only"))?;
        let mut words = first.split(' ');
        let (name, version, sum) = (words.next(), words.next(), words.next());
        if name != Some(NAME) || words.next().is_some() {
            return Err(wrong("it is not a manifest"));
        }
        match version.map(str::parse) {
            Some(Ok(VERSION)) => {}
            Some(Ok(other)) => {
                return Err(Error::new(
                    ErrorKind::Storage,
                    format!("the manifest has format {other}; this program knows {VERSION}"),
                )
                .with("path", located));
            }
            _ => return Err(wrong("it names no format")),
        }
        if sum != Some(&checksum(body.as_bytes())) {
            return Err(wrong("it does not have its checksum"));
        }
        serde_json::from_str(body).map_err(|error| wrong("it can't be read").with_source(error))
    }

    pub(super) fn render(&self) -> Result<String> {
        let body = serde_json::to_string_pretty(self).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "can't write the manifest").with_source(error)
        })?;
        Ok(format!(
            "{NAME} {VERSION} {}\n{body}",
            checksum(body.as_bytes())
        ))
    }

    /// Puts it in the place of the one before, in one step that a crash can't split.
    pub(super) fn write(&self, storage: &dyn Storage, folder: &str) -> Result<()> {
        let text = self.render()?;
        let new = format!("{folder}/{NEW}");
        let commit = || {
            let mut file = storage.create(&new)?;
            file.write(text.as_bytes())?;
            file.sync()?;
            drop(file);
            // The segments' names are durable with the same call as the new manifest's.
            storage.rename(&new, &format!("{folder}/{FILE}"))?;
            storage.sync_folder(folder)
        };
        let located = storage.locate(&format!("{folder}/{FILE}"));
        commit().map_err(|error| storage_error(&located, "can't commit the manifest", error))
    }
}

pub(super) fn checksum(body: &[u8]) -> String {
    format!("{:016x}", XxHash3_64::oneshot(body))
}
