//! Sorted items of several runs as one.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use super::{index::Item, segment::Items};
use crate::error::Result;

/// Items in their order, one after the other.
pub(crate) trait Run<T> {
    /// Returns the next item, or none after the last.
    fn next(&mut self) -> Result<Option<T>>;
}

impl<T: Item> Run<T> for Items<T> {
    #[inline]
    fn next(&mut self) -> Result<Option<T>> {
        Self::next(self)
    }
}

/// The items of all runs in order; those that are alike, by run.
pub(crate) struct Merged<T, R> {
    runs: Vec<R>,
    /// The next item of each run, when there is more than one.
    heads: BinaryHeap<Reverse<Head<T>>>,
}

impl<T: Item, R: Run<T>> Merged<T, R> {
    pub(crate) fn new(runs: Vec<R>) -> Result<Self> {
        let mut merged = Self {
            heads: BinaryHeap::with_capacity(runs.len()),
            runs,
        };
        if merged.runs.len() > 1 {
            for run in 0..merged.runs.len() {
                merged.refill(run)?;
            }
        }
        Ok(merged)
    }

    pub(crate) fn runs(&self) -> &[R] {
        &self.runs
    }

    /// Returns the next item and its run.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(T, usize)>> {
        if let [run] = &mut self.runs[..] {
            return Ok(run.next()?.map(|item| (item, 0)));
        }
        let Some(Reverse(head)) = self.heads.pop() else {
            return Ok(None);
        };
        self.refill(head.run)?;
        Ok(Some((head.item, head.run)))
    }

    fn refill(&mut self, run: usize) -> Result<()> {
        if let Some(item) = self.runs[run].next()? {
            self.heads.push(Reverse(Head { item, run }));
        }
        Ok(())
    }
}

/// The next item of a run.
struct Head<T> {
    item: T,
    run: usize,
}

impl<T: Item> PartialEq for Head<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Item> Eq for Head<T> {}

impl<T: Item> PartialOrd for Head<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Item> Ord for Head<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let runs = || self.run.cmp(&other.run);
        self.item.order().cmp(&other.item.order()).then_with(runs)
    }
}
