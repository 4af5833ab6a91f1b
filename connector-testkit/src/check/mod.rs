//! The checks, each a function that says what it saw.

mod contract;
mod cycle;
mod delivery;
mod fault;
mod print;
mod read;
mod rig;
mod runner;

use std::{cell::RefCell, fmt, sync::Arc};

use connector_core::{Column, Dataset, DatasetExt, Error, Row};

use crate::{
    generate::{Edit, Script, Source, numbered_value},
    harness::{Fault, FaultKind, Harness, Subject, Unsupported, Values},
    model,
};

pub use runner::run;

/// Hands `[name => Variant: "what it shows";]` of every check to another macro.
///
/// Names become test names, so they name the invariant where there is one.
#[doc(hidden)]
#[macro_export]
macro_rules! __checks {
    ($($callback:tt)*) => {
        $($callback)*! {
            declarations => Declarations: "names are unique, categories and keys are there, columns are as declared";
            an_empty_source_has_no_rows => Empty: "no rows are no error";
            every_type_at_its_edges => Types: "each value arrives as it was";
            one_row_and_many => Counts: "no row is lost or repeated";
            nothing_is_kept_between_reads => Fresh: "each read shows what the source holds now";
            rows_come_in_any_order => Order: "another order is the same data";
            two_reads_at_once => Concurrent: "reads do not disturb each other";
            never_blocks_the_runtime => Blocking: "a read gives the thread back while it waits";
            dropped_at_every_await => Cancel: "a read that was dropped leaves nothing behind";
            a_hanging_source_can_be_dropped => Hang: "a read of a silent source can be given up";
            a_broken_source_is_an_error => Broken: "a read of a broken source is an error of the right kind";
            check_tells_the_truth => Report: "`Connector::check` sees what a read would see";
            nothing_secret_is_printed => Canary: "no secret and no value of a row is in a `Debug`, an error or a trace event";
            s1_only_a_complete_snapshot_is_diffed => S1: "a broken source changes no record";
            s2_duplicate_keys_never_corrupt => S2: "equal rows collapse, differing ones follow the policy";
            s3_mass_deletion_is_held => S3: "the delete guard holds the cycle for a person";
            d1_events_make_the_new_snapshot_of_the_old => D1: "a receiver that applies the events holds what the source holds";
            d2_no_change_no_events => D2: "a source that did not change sends nothing";
            c1_a_restart_opens_one_whole_state => C1: "a crash at any call leaves one committed state";
            c2_events_are_sent_until_confirmed => C2: "what a failing sink saw is sent again";
            c3_a_redelivery_repeats_the_same_ids => C3: "the same events come under the same ids";
            c4_one_failure_stops_no_other => C4: "other data sets of the connector go on";
        }
    };
}

macro_rules! define {
    ($($name:ident => $variant:ident: $shows:literal;)*) => {
        /// What the kit shows about a connector, one by one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Check {
            $(#[doc = $shows] $variant,)*
        }

        impl Check {
            /// Every check.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the name, which is also the test's name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name),)* }
            }

            /// Returns what passing it shows.
            pub fn shows(self) -> &'static str {
                match self { $(Self::$variant => $shows,)* }
            }
        }
    };
}
__checks!(define);

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a check saw that must not be.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    check: Check,
    message: String,
}

impl Failure {
    pub(crate) fn new(check: Check, message: impl Into<String>) -> Self {
        Self {
            check,
            message: message.into(),
        }
    }

    /// Returns the check that failed.
    pub fn check(&self) -> Check {
        self.check
    }

    /// Returns what it saw.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}): {}",
            self.check,
            self.check.shows(),
            self.message
        )
    }
}

/// The same as `Display`: it is what a failing test prints.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Failure {}

/// How a check ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was shown, but for what the notes say.
    Passed {
        /// What was left out and why; printed, so that nothing is skipped silently.
        notes: Vec<String>,
    },
    /// The harness declares that it can't be shown.
    Unsupported {
        /// Why.
        reason: &'static str,
    },
}

type Shown<T = ()> = Result<T, Failure>;

/// One check at work on one harness.
struct Probe<'h> {
    check: Check,
    harness: &'h dyn Harness,
    notes: RefCell<Vec<String>>,
}

impl Probe<'_> {
    fn fail(&self, message: impl Into<String>) -> Failure {
        Failure::new(self.check, message)
    }

    fn ensure(&self, condition: bool, message: impl FnOnce() -> String) -> Shown {
        if condition {
            Ok(())
        } else {
            Err(self.fail(message()))
        }
    }

    fn note(&self, note: String) {
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// For what must not fail here.
    fn unexpected<'a>(&self, what: &'a str) -> impl FnOnce(Error) -> Failure + use<'a> {
        let check = self.check;
        move |error| Failure::new(check, format!("{what} failed: {error:#}"))
    }

    /// The data set under its name, if the connector offers it now.
    async fn find(&self, subject: &Subject) -> Shown<Option<Arc<dyn Dataset>>> {
        let datasets = self
            .harness
            .connector()
            .datasets()
            .await
            .map_err(self.unexpected("listing the data sets"))?;
        let found = datasets
            .into_iter()
            .find(|dataset| dataset.name() == subject.name);
        Ok(found)
    }

    async fn dataset(&self, subject: &Subject) -> Shown<Arc<dyn Dataset>> {
        let found = self.find(subject).await?;
        found.ok_or_else(|| self.fail(format!("the connector offers no data set {}", subject.name)))
    }

    async fn read(&self, subject: &Subject) -> Shown<Vec<Row>> {
        let dataset = self.dataset(subject).await?;
        dataset
            .collect()
            .await
            .map_err(self.unexpected(&format!("reading {}", subject.name)))
    }

    fn rows(&self, subject: &Subject, rows: &[Values]) -> Shown<Vec<Row>> {
        rows.iter()
            .map(|values| Row::from_values(&subject.schema, values))
            .collect::<connector_core::Result<_>>()
            .map_err(self.unexpected("making rows that the subject's schema allows"))
    }

    fn source(&self, subject: &Subject, rows: &[Values]) -> Shown<Source> {
        Source::new(&subject.schema, rows)
            .map_err(self.unexpected("making rows that the subject's schema allows"))
    }

    fn same(&self, what: &str, subject: &Subject, expected: &[Row], seen: &[Row]) -> Shown {
        match model::difference(expected, seen) {
            None => Ok(()),
            Some(difference) => Err(self.fail(format!("{}, {what}: {difference}", subject.name))),
        }
    }

    /// Loads rows and sees that just they are read.
    async fn expect(&self, what: &str, subject: &Subject, rows: &[Values]) -> Shown {
        self.harness.load(subject, rows).await;
        let expected = self.rows(subject, rows)?;
        let seen = self.read(subject).await?;
        self.same(what, subject, &expected, &seen)
    }

    /// Replaces what the source can't hold, so that generated rows can be loaded.
    fn fit_script(&self, subject: &Subject, script: &mut Script) {
        for row in &mut script.start {
            self.fit(subject, row);
        }
        for edit in script.steps.iter_mut().flat_map(|step| &mut step.edits) {
            match edit {
                Edit::Put(row) | Edit::Change { value: row, .. } => self.fit(subject, row),
                Edit::Remove(_) | Edit::RemoveAll => {}
            }
        }
    }

    fn fit(&self, subject: &Subject, row: &mut Values) {
        for (number, (column, value)) in (0_u32..).zip(subject.schema.columns().iter().zip(row)) {
            if !self.harness.holds(column, value) {
                *value = numbered_value(column, number);
            }
        }
    }

    /// Breaks the source. Returns false when the harness declares that it can't.
    async fn fault(&self, subject: &Subject, fault: &Fault) -> Shown<bool> {
        if let Some(reason) = self.without_fault(fault.kind()) {
            self.note(format!("without the fault {:?}: {reason}", fault.kind()));
            return Ok(false);
        }
        if self.harness.fault(subject, fault).await {
            return Ok(true);
        }
        Err(self.fail(format!(
            "the harness can't make the fault {:?} on {}; if the source can't break so, declare it \
             in `unsupported` with the reason",
            fault.kind(),
            subject.name,
        )))
    }

    fn without_fault(&self, kind: FaultKind) -> Option<&'static str> {
        let declared = self.harness.unsupported().iter();
        declared
            .filter(|(what, _)| *what == Unsupported::Fault(kind))
            .map(|(_, reason)| *reason)
            .next()
    }
}

/// Another row under the key of the first, with values of the second; none when every column is
/// part of the key.
fn twin(subject: &Subject, row: &Values, other: &Values) -> Option<Values> {
    let columns = subject.schema.columns().iter();
    let mut twin = row.clone();
    let place = columns
        .enumerate()
        .position(|(i, column)| !column.is_key() && !column.is_volatile() && row[i] != other[i])?;
    twin[place].clone_from(&other[place]);
    Some(twin)
}

/// The row with the values of another number in some columns.
fn changed_row(
    subject: &Subject,
    row: &Values,
    number: u32,
    changes: impl Fn(&Column) -> bool,
) -> Values {
    let columns = subject.schema.columns().iter();
    columns
        .zip(row)
        .map(|(column, value)| {
            if changes(column) {
                numbered_value(column, number)
            } else {
                value.clone()
            }
        })
        .collect()
}
