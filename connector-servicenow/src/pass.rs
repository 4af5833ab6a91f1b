//! Passes over what changed, between walks through everything.

use connector_core::{SnapshotWriter, Timestamp};

use crate::{definition::Definition, query};

/// The last change of a record, in every table.
const CHANGED: &str = "sys_updated_on";

/// A time in a query is one in the time zone of the user, which is not known here: up to 14 hours from
/// UTC. The rest is for clocks that differ.
const MARGIN: i64 = 26 * 60 * 60 * TICKS;

/// A second as timestamps count.
const TICKS: i64 = 10_000_000;

/// One read of a table: of everything, or of what changed since another read began.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    since: Option<Timestamp>,
    /// What the next read finds.
    mark: String,
}

impl Pass {
    /// Begins one at `now`. Every so many reads is of everything, and so is one after another question
    /// was asked of the table.
    pub(crate) fn begin(
        bookmark: Option<&str>,
        definition: &Definition,
        full_every: u32,
        now: Timestamp,
    ) -> Self {
        let asked = format!("{}?{}", definition.table, definition.filter.text());
        let before = bookmark
            .and_then(|mark| Mark::parse(mark, &asked))
            .filter(|mark| mark.reads < full_every);
        let (since, reads) = match before {
            Some(mark) => (Some(mark.began), mark.reads + 1),
            None => (None, 1),
        };
        Self {
            since,
            mark: format!("{reads} {now} {asked}"),
        }
    }

    /// Tells whether all rows are asked for.
    pub(crate) fn is_full(&self) -> bool {
        self.since.is_none()
    }

    /// Returns the condition on rows.
    pub(crate) fn filter(&self, definition: &Definition) -> String {
        let filter = definition.filter.text();
        let since = self.since.map(|since| since.ticks() - MARGIN);
        match since.and_then(|since| Timestamp::from_ticks(since).ok()) {
            Some(since) => {
                // Without the fraction, which queries do not have.
                let since: String = since.to_string().chars().take(19).collect();
                let since = since.replace('T', " ");
                query::and(filter, &format!("{CHANGED}>={since}"))
            }
            None => filter.to_owned(),
        }
    }

    /// Says what was read, for the next read.
    pub(crate) fn end(self, out: &mut SnapshotWriter) {
        out.leave_bookmark(self.mark);
    }
}

/// What a read left.
struct Mark {
    /// How many there were since the last one of everything, with it.
    reads: u32,
    began: Timestamp,
}

impl Mark {
    fn parse(text: &str, asked: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let (reads, began) = (parts.next()?, parts.next()?);
        (parts.next()? == asked).then_some(Self {
            reads: reads.parse().ok()?,
            began: began.parse().ok()?,
        })
    }
}
