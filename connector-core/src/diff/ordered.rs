//! Meeting a read in the order of keys with a base in the order of keys, row by row.

use std::{cmp::Ordering, sync::Arc};

use bytes::Bytes;

use super::{
    known::{Is, Passed},
    merge::{Old, Source},
    runs::{Runs, Sorted},
    spool::Spool,
};
use crate::{
    baseline::{BaseRows, Baseline, Digester, Entry, Layer, Layers, Place, Superseded},
    error::Result,
    row::{KeyHash, RowHash, RowRef, encode_key},
    schema::Schema,
};

/// A read whose rows come out of order more often than one in so many is not in order.
const STRAYS: u64 = 16;

/// Walks along the base while rows arrive.
///
/// Most rows are the base's next row byte for byte, and cost one comparison: no key is looked at
/// and nothing is hashed. Where they differ, the keys tell which side goes on. Any order is
/// correct: rows that come out of order are kept and met later by their hashes, and too many of
/// them only mean that another way is cheaper.
pub(super) struct Ordered {
    base: BaseRows,
    /// The columns of the base's rows.
    columns: Arc<Schema>,
    /// Makes of a row what the base keeps of it, when that is not the row.
    digester: Option<Digester>,
    layers: Layers,
    /// Places of rows of the base that no longer count.
    superseded: Superseded,
    /// The keys that changed since the base, in the order of their hashes, and which were read. None
    /// if they are too many: rows that are not the base's are then kept, and met in the end.
    overlay: Option<Vec<(Entry, Layer)>>,
    overlay_seen: Vec<bool>,
    /// Rows of the base that did not arrive at their place.
    missed: Runs<Old>,
    last: Last,
    key: Vec<u8>,
    base_key: Vec<u8>,
    rows: u64,
    strays: u64,
}

/// The last row that arrived in order.
enum Last {
    Nothing,
    Key(Vec<u8>),
    /// It is this row of the base; its key is made when it is needed.
    Row(Bytes),
}

/// How the walk ended.
pub(super) enum Walked {
    /// All is known of both sides: what the baseline has beyond the read.
    Through(Sorted<Old>),
    /// Some rows came out of order, so the index has to be asked again.
    Partly(Passed),
}

impl Ordered {
    /// Starts at the first row of the base. Keeps up to `memory` bytes of what changed in memory.
    pub(super) fn new(layers: &Layers, schema: &Schema, memory: u64) -> Result<Self> {
        let overlay = overlay(layers, memory / 2)?;
        let mut ordered = Self {
            base: layers.base().base_rows()?,
            columns: Arc::clone(layers.base().schema()),
            digester: (layers.base().keeps_digests()).then(|| Digester::new(schema)),
            layers: layers.clone(),
            superseded: layers.superseded()?,
            overlay_seen: vec![false; overlay.as_ref().map_or(0, Vec::len)],
            overlay,
            missed: Runs::new("missed", memory / 2),
            last: Last::Nothing,
            key: Vec::new(),
            base_key: Vec::new(),
            rows: 0,
            strays: 0,
        };
        ordered.pass_superseded()?;
        Ok(ordered)
    }

    /// Tells whether another way is cheaper from here.
    pub(super) fn is_lost(&self) -> bool {
        self.strays > 64 + self.rows / STRAYS
    }

    fn pass_superseded(&mut self) -> Result<()> {
        while self.base.current().is_some() && self.superseded.has(self.base.place())? {
            self.base.advance()?;
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<()> {
        self.base.advance()?;
        if !self.superseded.is_empty() {
            self.pass_superseded()?;
        }
        Ok(())
    }

    /// Takes a row that arrives.
    pub(super) fn meet(
        &mut self,
        row: RowRef<'_>,
        spool: &mut Spool,
        baseline: &Baseline,
    ) -> Result<Is> {
        self.rows += 1;
        if self.is_next(row) {
            self.last = Last::Row(self.base.keep());
            self.advance()?;
            return Ok(Is::Known);
        }
        self.key.clear();
        encode_key(row, &mut self.key);
        if !self.comes_after_last() {
            self.strays += 1;
            return Ok(Is::New);
        }
        self.last = Last::Key(self.key.clone());
        while let Some(base) = self.base.current() {
            self.base_key.clear();
            encode_key(RowRef::new(&self.columns, base), &mut self.base_key);
            match self.base_key.cmp(&self.key) {
                Ordering::Less => self.miss(spool, baseline)?,
                Ordering::Equal if self.is_next(row) => {
                    self.advance()?;
                    return Ok(Is::Known);
                }
                Ordering::Equal => {
                    self.miss(spool, baseline)?;
                    return Ok(Is::New);
                }
                Ordering::Greater => break,
            }
        }
        Ok(self.ask_overlay(row))
    }

    fn is_next(&mut self, row: RowRef<'_>) -> bool {
        let Some(base) = self.base.current() else {
            return false;
        };
        match &mut self.digester {
            None => RowRef::new(&self.columns, base).compared() == row.compared(),
            Some(digester) => digester.digest(row, RowHash::of(row)).bytes() == base,
        }
    }

    fn comes_after_last(&mut self) -> bool {
        match &self.last {
            Last::Nothing => true,
            Last::Key(last) => *last < self.key,
            Last::Row(last) => {
                self.base_key.clear();
                encode_key(RowRef::new(&self.columns, last), &mut self.base_key);
                self.base_key < self.key
            }
        }
    }

    /// Passes over the current row of the base, which did not arrive; its key is in `base_key`.
    fn miss(&mut self, spool: &mut Spool, baseline: &Baseline) -> Result<()> {
        if let Some(row) = self.base.current() {
            let base = self.base.place();
            // The row as it was is wanted for all of these, and here it is.
            let place = if self.digester.is_none() && spool.has_room() {
                Some(spool.push(0, row, baseline)?)
            } else {
                None
            };
            let entry = Entry {
                key: KeyHash::of(&self.base_key),
                row: RowHash::of(RowRef::new(&self.columns, row)),
                place: place.unwrap_or(base),
            };
            let source = place.map_or(Source::Layer(0), |_| Source::Spool);
            let old = Old {
                entry,
                source,
                base: Some(base),
                seen: false,
            };
            self.missed.push(old, baseline, &self.columns)?;
        }
        self.advance()
    }

    /// Asks for a row that has no place in the base.
    fn ask_overlay(&mut self, row: RowRef<'_>) -> Is {
        let Some(overlay) = self.overlay.as_ref().filter(|held| !held.is_empty()) else {
            return Is::New;
        };
        let key = KeyHash::of(&self.key);
        match overlay.binary_search_by_key(&key, |(entry, _)| entry.key) {
            Ok(at) => {
                let entry = overlay[at].0;
                if entry.place == Place::NONE || entry.row != RowHash::of(row) {
                    return Is::New;
                }
                self.overlay_seen[at] = true;
                Is::Known
            }
            Err(_) => Is::New,
        }
    }

    /// Ends the walk, since the read is complete.
    pub(super) fn finish(mut self, spool: &mut Spool, baseline: &Baseline) -> Result<Walked> {
        while self.strays == 0 && !self.is_lost() {
            let Some(base) = self.base.current() else {
                return Ok(Walked::Through(self.into_old(baseline)?));
            };
            self.base_key.clear();
            encode_key(RowRef::new(&self.columns, base), &mut self.base_key);
            self.miss(spool, baseline)?;
        }
        Ok(Walked::Partly(self.into_passed()?))
    }

    /// Tells what was read so far, for another way to go on.
    pub(super) fn into_passed(self) -> Result<Passed> {
        let until = match self.base.current() {
            Some(_) => self.base.place(),
            None => Place::NONE,
        };
        let overlay = self.overlay.unwrap_or_default().into_iter();
        let changed = overlay.zip(self.overlay_seen).filter(|(_, seen)| *seen);
        let changed = changed.map(|((entry, _), _)| entry.key).collect();
        Passed::new(until, self.missed.finish()?, changed)
    }

    fn into_old(mut self, baseline: &Baseline) -> Result<Sorted<Old>> {
        let mut push = |(entry, layer): (Entry, Layer)| {
            let old = Old::stored(entry, layer, false);
            match entry.place {
                Place::NONE => Ok(()),
                _ => self.missed.push(old, baseline, &self.columns),
            }
        };
        if let Some(overlay) = self.overlay {
            let unread = overlay.into_iter().zip(self.overlay_seen);
            for (changed, _) in unread.filter(|(_, seen)| !seen) {
                push(changed)?;
            }
        } else {
            let mut overlay = self.layers.overlay()?;
            while let Some(changed) = overlay.next()? {
                push(changed)?;
            }
        }
        self.missed.finish()
    }
}

/// Returns what changed since the base, if it is no more than `memory` bytes.
fn overlay(layers: &Layers, memory: u64) -> Result<Option<Vec<(Entry, Layer)>>> {
    let most = usize::try_from(memory).unwrap_or(usize::MAX) / size_of::<(Entry, Layer)>();
    let (mut held, mut overlay) = (Vec::new(), layers.overlay()?);
    while let Some(changed) = overlay.next()? {
        if held.len() == most {
            return Ok(None);
        }
        held.push(changed);
    }
    Ok(Some(held))
}
