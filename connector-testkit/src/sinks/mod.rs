//! Conformance of sinks: what every receiver of change events must do.

mod check;
mod direct;
mod memory;
mod rig;

use std::{fmt, future::Future, sync::Arc};

use connector_core::{DatasetId, RangeDigest, Result, Schema, Sink};

/// What the kit needs of a sink and of what it writes to. Each check starts one of its own.
///
/// ```
/// use std::sync::Arc;
/// use connector_core::{
///     Copies, DatasetId, KeyRange, RangeDigest, Result, Schema, memory::MemorySink,
/// };
/// use connector_testkit::SinkHarness;
///
/// struct InMemory(MemorySink);
///
/// impl SinkHarness for InMemory {
///     type Sink = MemorySink;
///
///     async fn start() -> Self {
///         Self(MemorySink::default())
///     }
///
///     async fn open(&self) -> Result<MemorySink> {
///         Ok(self.0.clone())
///     }
///
///     async fn held(&self, id: &DatasetId, schema: &Arc<Schema>) -> Option<RangeDigest> {
///         let held = self.0.clone().digests(id, schema, &[KeyRange::ALL]).await;
///         held.unwrap().map(|whole| whole[0])
///     }
/// }
///
/// connector_testkit::sink_conformance!(InMemory);
/// # fn main() {}
/// ```
pub trait SinkHarness: Send + Sync + 'static {
    /// The sink.
    type Sink: Sink + Sync + 'static;

    /// Makes a receiver that holds nothing, for one check.
    fn start() -> impl Future<Output = Self> + Send;

    /// Opens the sink as a process does that starts; a process before may have been killed.
    ///
    /// # Errors
    ///
    /// As the sink has them. The check fails.
    fn open(&self) -> impl Future<Output = Result<Self::Sink>> + Send;

    /// Takes count and digest of the rows that a reader of the receiver finds now, read as rows of
    /// `schema`; none when there is no such data set. Read as a user reads, not through the sink.
    fn held(
        &self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
    ) -> impl Future<Output = Option<RangeDigest>> + Send;

    /// Removes the row of that `name` from the receiver's copy of a data set `devices`, as somebody
    /// does by hand, and tells whether it did. By default there is no such hand.
    fn remove(&self, _dataset: &DatasetId, _name: &str) -> impl Future<Output = bool> + Send {
        async { false }
    }

    /// Ends the process that had the sink, as far as the receiver can tell. By default the sink is
    /// dropped.
    fn crash(&self, sink: Self::Sink) -> impl Future<Output = ()> + Send {
        async { drop(sink) }
    }

    /// How many bytes a million rows may take, of the sink and of what else of the receiver is in the
    /// test's process. Default: 64 MiB.
    fn memory() -> u64 {
        64 << 20
    }

    /// The values of [`generate::edges`](crate::generate::edges), by name, that the receiver can't
    /// tell from others, each with the reason.
    fn unsupported_values() -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The checks that such a receiver can't pass, each with the reason.
    fn unsupported() -> &'static [(SinkCheck, &'static str)] {
        &[]
    }
}

macro_rules! checks {
    ($($name:ident => $variant:ident: $shows:literal;)*) => {
        /// One thing that the kit shows of a sink.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum SinkCheck {
            $(#[doc = $shows] $variant,)*
        }

        impl SinkCheck {
            /// Returns the name of the test.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)*
                }
            }
        }

        /// Makes a test of each [`SinkCheck`] for a [`SinkHarness`], in a module
        /// `sink_conformance`.
        #[macro_export]
        macro_rules! sink_conformance {
            ($harness:ty) => {
                type ConformingSink = $harness;

                mod sink_conformance {
                    $(
                        #[doc = $shows]
                        #[test]
                        fn $name() {
                            $crate::assert_sink_conforms::<super::ConformingSink>(
                                $crate::SinkCheck::$variant,
                                module_path!(),
                            );
                        }
                    )*
                }
            };
        }
    };
}

checks! {
    every_value_arrives => EveryValue: "Every value of every type is held as it was sent.";
    a_repeat_changes_nothing => Repeat: "A cycle whose confirmation was lost is sent again and changes nothing.";
    a_crash_before_the_commit_loses_nothing => CrashBeforeCommit: "A process that dies before it commits leaves nothing of the cycle to a reader, and the next one sends it whole.";
    a_crash_after_the_commit_repeats_nothing => CrashAfterCommit: "A process that dies after it committed left the whole cycle.";
    a_crash_anywhere_in_a_cycle_is_made_good => CrashWhileWriting: "A process may die between any two pieces of a cycle.";
    events_out_of_order_are_refused => Order: "Events that are lost, swapped or of another cycle are refused, and the next delivery is taken.";
    a_cycle_that_is_missing_is_asked_for => Missing: "A sink that lacks the cycle before says so.";
    columns_come_and_change => Columns: "A new column is taken as it comes, and another type with a full load.";
    a_clean_sync_replaces_the_data_set_and_no_other => Clean: "A clean sync replaces the data set and no other.";
    two_connectors_share_a_receiver => TwoConnectors: "Data sets of the same name of two connectors are kept apart.";
    what_somebody_changed_is_found_and_repaired => Repair: "A row that was removed by hand is found and sent again, and not everything.";
    chance_ends_with_what_the_source_holds => Chance: "Edits, failures, crashes and restarts by chance end with what the source holds.";
    a_million_rows_take_little_memory => Memory: "A million rows are taken in bounded memory.";
}

impl fmt::Display for SinkCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Runs one check. [`sink_conformance!`] calls it, with the path of the module that it made.
///
/// # Panics
///
/// When the check fails, or passes in spite of a harness that declares it unsupported.
pub fn assert_sink_conforms<H: SinkHarness>(check: SinkCheck, module: &str) {
    use std::io::Write;
    let declared = H::unsupported().iter().find(|(what, _)| *what == check);
    if let Some((_, reason)) = declared {
        // Past the capture of the test program, so that it is seen when everything passes.
        let _ = writeln!(std::io::stderr(), "{check}: not shown: {reason}");
        return;
    }
    if check == SinkCheck::Memory && memory::is_elsewhere(module, check) {
        return;
    }
    rig::block_on(check::run::<H>(check));
}
