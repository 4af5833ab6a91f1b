//! The kit over the memory connector: every check passes, and none is left out.

mod memory;

use connector_testkit::{Check, Verdict, run};
use memory::MemoryHarness;

connector_testkit::conformance!(MemoryHarness);

#[test]
fn nothing_is_left_out() {
    let verdict = run::<MemoryHarness>(Check::Types, None).unwrap();
    assert_eq!(verdict, Verdict::Passed { notes: Vec::new() });
}
