//! Walking through a table by the ids of its records.
//!
//! An instance counts a page's rows before it leaves out those that the user may not read, so a page
//! that is short, or empty, says nothing of the end. Only a count does: the walk is over when a page
//! was asked for that has room for all rows that there are behind the last id.

use std::{collections::BTreeMap, sync::Arc};

use connector_core::{Batch, Error, ErrorKind, Result, Value};
use connector_http::decode::PageDecoder;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    link::{Ask, Link},
    query::between,
};

/// No page is asked for with fewer rows, however often it came damaged. With one alone, a range of
/// ids could not be passed whose only row the user may not read.
pub(crate) const LEAST: u64 = 10;

/// By how much a page becomes smaller that came damaged.
const SMALLER: u64 = 4;

/// More pages than any table has.
const MOST_PAGES: u64 = 10_000_000;

/// A walk through the rows of one table.
pub(crate) struct Walk<'a> {
    link: &'a Link,
    ask: Ask<'a>,
    steps: Steps,
    /// Whether it was seen that the user may read what is asked for.
    has_fields: bool,
    pages: u64,
    rows: u64,
    /// How many rows there were at first, those that the user may not read among them.
    counted: Option<u64>,
    /// Whether it is a mistake that the user may read none of them.
    is_full: bool,
}

impl<'a> Walk<'a> {
    /// Starts at the first row. Of pages of `limit` rows at most.
    pub(crate) fn new(link: &'a Link, ask: Ask<'a>, limit: u64) -> Self {
        Self {
            link,
            ask,
            steps: Steps::new(limit),
            has_fields: false,
            pages: 0,
            rows: 0,
            counted: None,
            is_full: true,
        }
    }

    /// Tells that these are some rows of the table, of which the user may read none.
    pub(crate) fn of_some(mut self, is_some: bool) -> Self {
        self.is_full = !is_some;
        self
    }

    /// Returns the rows of the next page that has any, or none at the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Permission`] when the user may not read a field, or none of the rows that there
    /// are; others as they come.
    pub(crate) async fn next(&mut self, decoder: &mut PageDecoder<'_>) -> Result<Option<Batch>> {
        while !self.steps.is_over {
            let rows = self.page(decoder).await?;
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        if self.is_full && self.rows == 0 && self.counted > Some(0) {
            return Err(self.hidden());
        }
        Ok(None)
    }

    /// Asks for one page.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next), and that of no rows already when this page has none but others are
    /// there.
    pub(crate) async fn first(&mut self, decoder: &mut PageDecoder<'_>) -> Result<()> {
        let rows = self.page(decoder).await?;
        if rows.is_empty() && self.counted > Some(0) {
            return Err(self.hidden());
        }
        Ok(())
    }

    /// Returns how many rows were read, and how many there were besides that the user may not read.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let counted = self.counted.unwrap_or_default();
        (self.rows, counted.saturating_sub(self.rows))
    }

    fn hidden(&self) -> Error {
        let message = "the user may read none of the table's rows, although there are some";
        self.located(Error::new(ErrorKind::Permission, message))
            .with("rows", self.counted.unwrap_or_default())
    }

    fn located(&self, error: Error) -> Error {
        error.with("table", self.ask.table)
    }

    async fn page(&mut self, decoder: &mut PageDecoder<'_>) -> Result<Batch> {
        self.pages += 1;
        if self.pages > MOST_PAGES {
            let message = "the table has more pages than were thought possible";
            return Err(self.located(Error::new(ErrorKind::Source, message)));
        }
        loop {
            let tried = self.try_page(decoder).await;
            let tried = tried.map_err(|error| self.located(error).with("page", self.pages))?;
            match tried {
                Some(rows) => return Ok(rows),
                None => self.steps.limit = (self.steps.limit / SMALLER).max(LEAST),
            }
        }
    }

    /// Returns nothing for a page that is to be asked for with fewer rows.
    async fn try_page(&mut self, decoder: &mut PageDecoder<'_>) -> Result<Option<Batch>> {
        let steps = &self.steps;
        let query = between(
            self.ask.filter,
            steps.after.as_deref(),
            steps.until.last().map(String::as_str),
        );
        let reply = self
            .link
            .get(&self.ask, &query, steps.limit, steps.counts)
            .await?;
        let count = steps.counts.then(|| {
            let count = reply.header("x-total-count");
            count.and_then(|count| count.parse().ok())
        });
        let bytes = reply.bytes(u64::MAX).await?;
        if !self.has_fields {
            self.has_fields = self.check_fields(&bytes)?;
        }
        let mut rows = Batch::new(Arc::clone(decoder.schema()));
        let facts = match decoder.decode(&bytes, &mut rows) {
            Ok(facts) => facts,
            Err(error) if self.steps.limit > LEAST && is_damaged(&error, &bytes) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let count = match count {
            Some(None) => {
                return Err(Error::new(
                    ErrorKind::Data,
                    "the reply does not say how many rows there are, so nobody knows where they \
                     end: the header `X-Total-Count` is missing",
                ));
            }
            count => count.flatten(),
        };
        let first = rows.rows().next().map(|row| row.at(0).into_owned());
        let ids = first.as_ref().zip(facts.last_key.first()).map(|ids| {
            let (first, last) = ids;
            (first.to_string(), last.to_string())
        });
        let ids = ids.as_ref().map(|(first, last)| (&**first, &**last));
        self.steps.go(facts.rows as u64, ids, count)?;
        if self.counted.is_none() {
            self.counted = count;
        }
        self.rows += facts.rows as u64;
        Ok(Some(rows))
    }

    /// Looks for the fields that are asked for in a page, if it has rows. A field that the user may
    /// not read is left out of all of them.
    fn check_fields(&self, page: &[u8]) -> Result<bool> {
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(borrow)]
            result: Vec<BTreeMap<String, &'a RawValue>>,
        }
        // What else is wrong with it, the decoder says.
        let Ok(Page { result }) = serde_json::from_slice(page) else {
            return Ok(false);
        };
        if result.is_empty() {
            return Ok(false);
        }
        let is_missing = |field: &&&str| !result.iter().any(|row| row.contains_key(**field));
        let missing: Vec<_> = self.ask.fields.iter().filter(is_missing).copied().collect();
        if missing.is_empty() {
            return Ok(true);
        }
        let message = "the user may not read these fields of the table: grant that, or leave them \
                       out of the data set with `without`";
        Err(Error::new(ErrorKind::Permission, message).with("fields", missing.join(", ")))
    }
}

/// Tells whether a page came in part, or with an error in it: so an instance answers, with status 200,
/// when it has cancelled a query that took too long.
fn is_damaged(error: &Error, page: &[u8]) -> bool {
    matches!(error.kind(), ErrorKind::Incomplete | ErrorKind::Source)
        || serde_json::from_slice::<IgnoredAny>(page).is_err()
}

/// Where a walk is, and where it goes from there.
#[derive(Debug)]
struct Steps {
    /// Rows behind this id are asked for, up to the last of these.
    after: Option<String>,
    until: Vec<String>,
    limit: u64,
    /// Whether the next page is asked for with a count, which costs the instance more.
    counts: bool,
    is_over: bool,
}

impl Steps {
    fn new(limit: u64) -> Self {
        Self {
            after: None,
            until: Vec::new(),
            limit,
            counts: true,
            is_over: false,
        }
    }

    /// Goes on from a page: how many rows it had, its first and last id, and how many rows there
    /// are in the range that was asked for.
    fn go(&mut self, rows: u64, ids: Option<(&str, &str)>, count: Option<u64>) -> Result<()> {
        if let Some((first, last)) = ids {
            self.check_order(first, last)?;
            self.after = Some(last.to_owned());
        }
        match count {
            // With room for one that comes in between count and rows.
            Some(count) if count < self.limit => match self.until.pop() {
                Some(reached) => self.after = Some(reached),
                None => self.is_over = true,
            },
            Some(_) if rows == 0 => self.divide()?,
            _ => {}
        }
        self.counts = rows < self.limit;
        Ok(())
    }

    /// An instance that leaves out the condition on ids sends the first page for ever.
    fn check_order(&self, first: &str, last: &str) -> Result<()> {
        let is_behind = match &self.after {
            // How ids of another form are ordered is up to its database.
            Some(after) => match (number(after), number(first)) {
                (Some(after), Some(first)) => after < first,
                _ => after != first && after != last,
            },
            None => true,
        };
        if is_behind {
            return Ok(());
        }
        let message = "the instance answers with rows that were not asked for: they are not behind \
                       the last id";
        Err(Error::new(ErrorKind::Source, message))
    }

    /// Asks for half of the range of ids next, since this one is longer than a page and nothing in
    /// its first page can be read. An offset would lose rows when others are deleted meanwhile.
    fn divide(&mut self) -> Result<()> {
        let low = match &self.after {
            Some(after) => number(after),
            None => Some(0),
        };
        let high = match self.until.last() {
            Some(until) => number(until),
            None => Some(u128::MAX),
        };
        let middle = low
            .zip(high)
            .map(|(low, high)| (low, low + (high - low) / 2));
        let Some((_, middle)) = middle.filter(|(low, middle)| low < middle) else {
            let message = "the user may not read a stretch of the table's rows that is longer than \
                           a page, and whose ids are of no form that it could be passed by";
            return Err(Error::new(ErrorKind::Permission, message));
        };
        self.until.push(format!("{middle:032x}"));
        Ok(())
    }
}

/// Reads an id of the usual form: 32 hexadecimal digits.
fn number(id: &str) -> Option<u128> {
    let is_usual = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_usual.then(|| u128::from_str_radix(id, 16).ok())?
}

/// Returns the text of a cell; empty for null.
pub(crate) fn text_of(value: &Value<'_>) -> String {
    match value {
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> String {
        format!("{:032x}", u128::from(number) << 96 | 7)
    }

    /// What becomes of a table between two pages.
    #[derive(Debug, Clone)]
    enum Change {
        Insert(u64),
        Delete(usize),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0..500_u64).prop_map(Change::Insert),
            any::<usize>().prop_map(Change::Delete),
        ]
    }

    proptest! {
        /// Each row that was there from first to last and may be read comes once, and so does each
        /// that comes at all.
        #[test]
        fn no_row_is_lost_or_repeated(
            rows in prop::collection::btree_set(0..500_u64, 0..120),
            hidden in prop::collection::btree_set(0..500_u64, 0..400),
            limit in 2..20_u64,
            changes in prop::collection::vec(change(), 0..60),
        ) {
            let mut table: BTreeSet<String> = rows.iter().map(|row| id(*row)).collect();
            let hidden: BTreeSet<String> = hidden.iter().map(|row| id(*row)).collect();
            let mut stayed: BTreeSet<String> = table.difference(&hidden).cloned().collect();
            let mut changes = changes.into_iter();
            let mut steps = Steps::new(limit);
            let (mut read, mut asked) = (Vec::new(), 0);
            while !steps.is_over {
                asked += 1;
                prop_assert!(asked < 10_000, "it does not end");
                let is_in_range = |id: &&String| {
                    steps.after.as_ref().is_none_or(|after| *id > after)
                        && steps.until.last().is_none_or(|until| *id <= until)
                };
                let range: Vec<_> = table.iter().filter(is_in_range).cloned().collect();
                let count = steps.counts.then_some(range.len() as u64);
                let page = range.into_iter().take(usize::try_from(limit).unwrap());
                let page: Vec<_> = page.filter(|id| !hidden.contains(id)).collect();
                let ids = page.first().zip(page.last());
                steps
                    .go(page.len() as u64, ids.map(|(a, b)| (&**a, &**b)), count)
                    .unwrap();
                read.extend(page);
                match changes.next() {
                    Some(Change::Insert(row)) => {
                        table.insert(id(row));
                    }
                    Some(Change::Delete(place)) => {
                        let gone = table.iter().nth(place % (table.len() + 1)).cloned();
                        if let Some(gone) = gone {
                            table.remove(&gone);
                            stayed.remove(&gone);
                        }
                    }
                    None => {}
                }
            }
            let once: BTreeSet<String> = read.iter().cloned().collect();
            prop_assert_eq!(once.len(), read.len(), "a row comes twice");
            prop_assert!(stayed.is_subset(&once), "a row is lost");
        }
    }

    #[test]
    fn a_source_that_ignores_the_range_is_found_out() {
        let mut steps = Steps::new(2);
        steps.go(2, Some((&id(1), &id(2))), Some(9)).unwrap();
        let error = steps.go(2, Some((&id(1), &id(2))), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        // Ids of another form.
        let mut steps = Steps::new(2);
        steps.go(2, Some(("global", "maint")), Some(9)).unwrap();
        steps.go(1, Some(("other", "other")), None).unwrap();
        assert!(steps.go(1, Some(("other", "other")), None).is_err());
        assert!(steps.go(0, None, Some(9)).is_err(), "can't be divided");
    }
}
