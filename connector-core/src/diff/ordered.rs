//! Meeting a read in the order of keys with a base in the order of keys, row by row.

use std::{cmp::Ordering, sync::Arc, vec};

use bytes::Bytes;

use super::{
    known::{Is, Passed},
    merge::{Old, Source},
    spool::Spool,
};
use crate::{
    baseline::{BaseRows, Baseline, Digester, Entry, Layer, Layers, Place},
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
    /// Places of rows of the base that no longer count, sorted.
    superseded: std::iter::Peekable<vec::IntoIter<Place>>,
    /// The keys that changed since the base, in the order of their hashes, and which were read.
    overlay: Vec<(Entry, Layer)>,
    overlay_seen: Vec<bool>,
    /// Rows of the base that did not arrive at their place.
    missed: Vec<Old>,
    most_missed: usize,
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
    Through(Vec<Old>),
    /// Some rows came out of order, so the index has to be asked again.
    Partly(Passed),
}

impl Ordered {
    /// Starts at the first row of the base. `most_missed` bounds the memory that is taken.
    pub(super) fn new(layers: &Layers, schema: &Schema, most_missed: usize) -> Result<Self> {
        let overlay = layers.overlay()?;
        let mut ordered = Self {
            base: layers.base().base_rows()?,
            columns: Arc::clone(layers.base().schema()),
            digester: (layers.base().keeps_digests()).then(|| Digester::new(schema)),
            superseded: layers.superseded(&overlay)?.into_iter().peekable(),
            overlay_seen: vec![false; overlay.len()],
            overlay,
            missed: Vec::new(),
            most_missed,
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
        self.missed.len() > self.most_missed || self.strays > 64 + self.rows / STRAYS
    }

    fn pass_superseded(&mut self) -> Result<()> {
        while self.base.current().is_some() {
            let place = self.base.place();
            while self.superseded.next_if(|dead| *dead < place).is_some() {}
            if self.superseded.next_if_eq(&place).is_none() {
                break;
            }
            self.base.advance()?;
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<()> {
        self.base.advance()?;
        if self.superseded.peek().is_some() {
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
            self.missed.push(Old {
                entry,
                source,
                base: Some(base),
                seen: false,
            });
        }
        self.advance()
    }

    /// Asks for a row that has no place in the base.
    fn ask_overlay(&mut self, row: RowRef<'_>) -> Is {
        if self.overlay.is_empty() {
            return Is::New;
        }
        let key = KeyHash::of(&self.key);
        let found = self
            .overlay
            .binary_search_by_key(&key, |(entry, _)| entry.key);
        match found {
            Ok(at) => {
                let entry = self.overlay[at].0;
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
                return Ok(Walked::Through(self.into_old()));
            };
            self.base_key.clear();
            encode_key(RowRef::new(&self.columns, base), &mut self.base_key);
            self.miss(spool, baseline)?;
        }
        Ok(Walked::Partly(self.into_passed()))
    }

    /// Tells what was read so far, for another way to go on.
    pub(super) fn into_passed(self) -> Passed {
        let until = match self.base.current() {
            Some(_) => self.base.place(),
            None => Place::NONE,
        };
        let changed = self.overlay.iter().zip(&self.overlay_seen);
        Passed {
            until,
            missed: self.missed.iter().filter_map(|old| old.base).collect(),
            changed: changed
                .filter(|(_, seen)| **seen)
                .map(|((entry, _), _)| entry.key)
                .collect(),
        }
    }

    fn into_old(self) -> Vec<Old> {
        let mut old = self.missed;
        let overlay = self.overlay.into_iter().zip(self.overlay_seen);
        let unread = overlay
            .filter(|((entry, _), seen)| !seen && entry.place != Place::NONE)
            .map(|((entry, layer), _)| Old::stored(entry, layer, false));
        old.extend(unread);
        old.sort_unstable_by_key(|old| old.entry.key);
        old
    }
}
