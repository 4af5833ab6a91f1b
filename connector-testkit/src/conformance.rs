//! One test for each check.

use std::io::Write;

use crate::{
    check::{Check, Verdict, run},
    harness::Harness,
};

/// Makes a test of each check for a [`Harness`], in a module `conformance`.
///
/// It stands in a connector's `tests/conformance.rs`, after the harness:
/// `connector_testkit::conformance!(FileUploadHarness);`. The crate's README shows all of it.
#[macro_export]
macro_rules! conformance {
    ($harness:ty) => {
        type ConformingHarness = $harness;

        mod conformance {
            $crate::__checks!($crate::__tests);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($($name:ident => $variant:ident: $shows:literal;)*) => {
        $(
            #[doc = $shows]
            #[test]
            fn $name() {
                $crate::assert_conforms::<super::ConformingHarness>($crate::Check::$variant);
            }
        )*
    };
}

/// Runs one check and panics with what it saw if it fails. [`conformance!`] calls it.
///
/// What a harness declares as unsupported is written to standard error past the test program's
/// capture, so that it is seen when everything passes.
///
/// # Panics
///
/// When the check fails.
pub fn assert_conforms<H: Harness>(check: Check) {
    let mut out = std::io::stderr();
    match run::<H>(check, None) {
        Ok(Verdict::Passed { notes }) => {
            for note in notes {
                let _ = writeln!(out, "{check}: {note}");
            }
        }
        Ok(Verdict::Unsupported { reason }) => {
            let _ = writeln!(out, "{check}: not shown ({}): {reason}", check.shows());
        }
        Err(failure) => panic!("{failure}"),
    }
}
