//! The baseline as one: a base with the changes since laid over it.

use std::{ops::Range, sync::Arc, vec};

use super::{
    index::Entry,
    merged::Merged,
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
    pub(crate) fn overlay(&self) -> Result<Overlay> {
        let changes = self.0[1..].iter().map(Segment::index);
        let mut entries = Merged::new(changes.collect())?;
        Ok(Overlay {
            next: entries.next()?,
            entries,
        })
    }

    /// The base.
    pub(crate) fn base(&self) -> &Arc<Segment> {
        &self.0[0]
    }

    /// The places in the base of rows that no longer count, sorted.
    pub(crate) fn superseded(&self) -> Result<Superseded> {
        let mut touched = Vec::new();
        let segments = if self.0[1..].iter().all(|changes| changes.is_superseding()) {
            &self.0[..]
        } else {
            touched = self.touched()?;
            &self.0[..1]
        };
        let mut listed = Merged::new(segments.iter().map(Segment::dead).collect())?;
        let mut touched = touched.into_iter();
        Ok(Superseded {
            next_listed: listed.next()?.map(|(place, _)| place),
            next_touched: touched.next(),
            listed,
            touched,
        })
    }

    /// The places in the base of the keys that changes touch. Changes of today list them.
    fn touched(&self) -> Result<Vec<Place>> {
        let (mut overlay, mut base) = (self.overlay()?, self.0[0].index());
        let (mut places, mut newer) = (Vec::new(), overlay.next()?);
        while let Some(entry) = base.next()? {
            while newer.is_some_and(|(newer, _)| newer.key < entry.key) {
                newer = overlay.next()?;
            }
            if newer.is_some_and(|(newer, _)| newer.key == entry.key) {
                places.push(entry.place);
            }
        }
        places.sort_unstable();
        Ok(places)
    }

    /// Every row's entry in the order of key hashes.
    pub(crate) fn index(&self) -> Result<MergedIndex> {
        let mut overlay = self.overlay()?;
        Ok(MergedIndex {
            base: self.0[0].index(),
            newer: overlay.next()?,
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
        let mut overlay = self.overlay()?;
        while let Some((entry, layer)) = overlay.next()? {
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
            superseded: self.superseded()?,
            places: Vec::new(),
            at: 0,
            keep,
        };
        rows.next_layer();
        Ok(rows)
    }
}

/// See [`Layers::overlay`].
pub(crate) struct Overlay {
    /// The first run is that of layer 1.
    entries: Merged<Entry, Items<Entry>>,
    next: Option<(Entry, usize)>,
}

impl Overlay {
    pub(crate) fn next(&mut self) -> Result<Option<(Entry, Layer)>> {
        let Some(mut newest) = self.next else {
            return Ok(None);
        };
        loop {
            self.next = self.entries.next()?;
            match self.next {
                Some(next) if next.0.key == newest.0.key => {
                    if next.1 > newest.1 {
                        newest = next;
                    }
                }
                _ => return Ok(Some((newest.0, newest.1 + 1))),
            }
        }
    }
}

/// See [`Layers::superseded`].
pub(crate) struct Superseded {
    listed: Merged<Place, Items<Place>>,
    next_listed: Option<Place>,
    /// Of changes that do not list them.
    touched: vec::IntoIter<Place>,
    next_touched: Option<Place>,
}

impl Superseded {
    /// Tells whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.next_listed.is_none() && self.next_touched.is_none()
    }

    /// Tells whether the place is one. No place is asked for after one that comes after it.
    pub(crate) fn has(&mut self, place: Place) -> Result<bool> {
        while self.next_listed.is_some_and(|listed| listed < place) {
            self.next_listed = self.listed.next()?.map(|(listed, _)| listed);
        }
        while self.next_touched.is_some_and(|touched| touched < place) {
            self.next_touched = self.touched.next();
        }
        Ok(self.next_listed == Some(place) || self.next_touched == Some(place))
    }
}

/// See [`Layers::index`].
pub(crate) struct MergedIndex {
    base: Items<Entry>,
    overlay: Overlay,
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
                    self.newer = self.overlay.next()?;
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
    superseded: Superseded,
    /// Of the current layer of changes, sorted: the places to keep.
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
            let counts = if self.in_base {
                !self.superseded.has(place)?
            } else {
                let listed = self.places.get(self.at) == Some(&place);
                self.at += usize::from(listed);
                listed
            };
            if let (Some(row), true) = (row, counts) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}
