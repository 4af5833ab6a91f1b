//! The baseline as one: a base with the changes since laid over it.

use std::{ops::Range, sync::Arc, vec};

use super::{
    index::Entry,
    place::Place,
    segment::{Items, Record, RecordCursor, RowFetcher, Segment},
};
use crate::{error::Result, row::Row};

/// Which segment of a baseline: 0 is the base, the others are changes in the order of cycles.
pub(crate) type Layer = usize;

/// The base and the live changes of one data set, open.
#[derive(Clone)]
pub(crate) struct Layers(Arc<Vec<Arc<Segment>>>);

impl Layers {
    /// Takes the base first.
    pub(super) fn new(segments: Vec<Arc<Segment>>) -> Self {
        Self(Arc::new(segments))
    }

    /// What the changes say of the keys that they touch, newest only, in the order of key hashes.
    pub(crate) fn overlay(&self) -> Result<Vec<(Entry, Layer)>> {
        let mut overlay = Vec::new();
        for (layer, segment) in self.0.iter().enumerate().skip(1) {
            let mut index = segment.index();
            while let Some(entry) = index.next()? {
                overlay.push((entry, layer));
            }
        }
        overlay.sort_unstable_by_key(|(entry, layer)| (entry.key, std::cmp::Reverse(*layer)));
        overlay.dedup_by_key(|(entry, _)| entry.key);
        Ok(overlay)
    }

    /// The base.
    pub(crate) fn base(&self) -> &Arc<Segment> {
        &self.0[0]
    }

    /// The places in the base of rows that no longer count, sorted.
    pub(crate) fn superseded(&self, overlay: &[(Entry, Layer)]) -> Result<Vec<Place>> {
        let mut places = self.0[0].dead()?;
        if self.0[1..].iter().all(|changes| changes.is_superseding()) {
            for changes in &self.0[1..] {
                places.extend(changes.dead()?);
            }
        } else {
            let mut touched = overlay.iter().map(|(entry, _)| entry.key).peekable();
            let mut base = self.0[0].index();
            while let Some(entry) = base.next()? {
                while touched.next_if(|key| *key < entry.key).is_some() {}
                if touched.peek() == Some(&entry.key) {
                    places.push(entry.place);
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// Every row's entry in the order of key hashes.
    pub(crate) fn index(&self) -> Result<MergedIndex> {
        let mut overlay = self.overlay()?.into_iter();
        Ok(MergedIndex {
            base: self.0[0].index(),
            newer: overlay.next(),
            overlay,
        })
    }

    /// Fetches single rows.
    pub(crate) fn fetchers(&self) -> Vec<RowFetcher> {
        self.0.iter().map(Segment::fetcher).collect()
    }

    /// Every row: those of the base in their order, then those that came or changed since.
    pub(crate) fn rows(&self) -> Result<LiveRows> {
        self.rows_of(0..self.0.len())
    }

    /// The rows of the base that still count.
    pub(crate) fn base_rows(&self) -> Result<LiveRows> {
        self.rows_of(0..1)
    }

    /// The rows that came or changed since the base.
    pub(crate) fn changed_rows(&self) -> Result<LiveRows> {
        self.rows_of(1..self.0.len())
    }

    fn rows_of(&self, layers: Range<Layer>) -> Result<LiveRows> {
        let mut keep: Vec<Vec<Place>> = vec![Vec::new(); self.0.len()];
        let overlay = self.overlay()?;
        let skip = self.superseded(&overlay)?;
        for (entry, layer) in overlay {
            if entry.place != Place::NONE {
                keep[layer].push(entry.place);
            }
        }
        for places in &mut keep {
            places.sort_unstable();
        }
        let mut rows = LiveRows {
            layers: self.clone(),
            left: layers,
            records: None,
            in_base: true,
            places: skip,
            at: 0,
            keep,
        };
        rows.next_layer();
        Ok(rows)
    }
}

/// See [`Layers::index`].
pub(crate) struct MergedIndex {
    base: Items<Entry>,
    overlay: vec::IntoIter<(Entry, Layer)>,
    /// The first of the overlay.
    newer: Option<(Entry, Layer)>,
}

impl MergedIndex {
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(Entry, Layer)>> {
        let base = self.base.peek()?;
        // Most keys have not changed since the base.
        if let Some(entry) = base
            && self.newer.is_none_or(|(newer, _)| entry.key < newer.key)
        {
            self.base.pass();
            return Ok(Some((entry, 0)));
        }
        self.next_changed()
    }

    fn next_changed(&mut self) -> Result<Option<(Entry, Layer)>> {
        loop {
            let base = self.base.peek()?;
            match (base, self.newer) {
                (None, None) => return Ok(None),
                (Some(base), newer) if newer.is_none_or(|(newer, _)| base.key < newer.key) => {
                    self.base.pass();
                    return Ok(Some((base, 0)));
                }
                (base, newer) => {
                    if base.map(|base| base.key) == newer.map(|(newer, _)| newer.key) {
                        self.base.pass();
                    }
                    self.newer = self.overlay.next();
                    if newer.is_some_and(|(newer, _)| newer.place != Place::NONE) {
                        return Ok(newer);
                    }
                }
            }
        }
    }
}

/// See [`Layers::rows`].
pub(crate) struct LiveRows {
    layers: Layers,
    left: Range<Layer>,
    records: Option<RecordCursor>,
    in_base: bool,
    /// Of the current layer, sorted: the places to pass over in the base, to keep in the others.
    places: Vec<Place>,
    at: usize,
    keep: Vec<Vec<Place>>,
}

impl LiveRows {
    fn next_layer(&mut self) {
        let layer = self.left.next();
        self.records = layer.map(|layer| self.layers.0[layer].records());
        if let Some(layer) = layer.filter(|layer| *layer > 0) {
            self.in_base = false;
            self.places = std::mem::take(&mut self.keep[layer]);
            self.at = 0;
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Row>> {
        while let Some(records) = &mut self.records {
            let found = if self.in_base {
                records.next_row()?.map(|(place, row)| (place, Some(row)))
            } else {
                records.next_record()?.map(|(place, record)| match record {
                    Record::Insert { after } | Record::Update { after, .. } => (place, Some(after)),
                    Record::Delete { .. } => (place, None),
                })
            };
            let Some((place, row)) = found else {
                self.next_layer();
                continue;
            };
            let listed = self.places.get(self.at) == Some(&place);
            self.at += usize::from(listed);
            if let (Some(row), true) = (row, listed != self.in_base) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}
