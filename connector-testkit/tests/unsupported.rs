//! A harness that leaves out what it can't do must say so.

mod memory;

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{Column, Connector, Secret, Value};
use connector_testkit::{
    Check, Fault, FaultKind, Harness, Subject, Unsupported, Values, Verdict, run,
};
use memory::MemoryHarness;

struct Unable<const DECLARED: bool>(MemoryHarness);

#[async_trait]
impl<const DECLARED: bool> Harness for Unable<DECLARED> {
    async fn start(secret: &Secret) -> Self {
        Self(MemoryHarness::start(secret).await)
    }

    fn connector(&self) -> Arc<dyn Connector> {
        self.0.connector()
    }

    fn subjects(&self) -> Vec<Subject> {
        self.0.subjects()
    }

    async fn load(&self, subject: &Subject, rows: &[Values]) {
        self.0.load(subject, rows).await;
    }

    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        *fault != Fault::Cut && self.0.fault(subject, fault).await
    }

    fn holds(&self, column: &Column, value: &Value<'static>) -> bool {
        column.name() != "note" || !value.is_null()
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        if DECLARED {
            &[
                (Unsupported::Fault(FaultKind::Cut), "it is never cut"),
                (Unsupported::Check(Check::Hang), "it never hangs"),
            ]
        } else {
            &[]
        }
    }
}

#[test]
fn a_fault_that_is_not_made_and_not_declared_fails() {
    for check in [Check::Broken, Check::S1, Check::C4] {
        let failure = run::<Unable<false>>(check, None).unwrap_err();
        let text = failure.to_string();
        assert!(
            text.contains("the harness can't make the fault Cut"),
            "{text}"
        );
    }
}

#[test]
fn what_is_declared_is_told() {
    for check in [Check::Broken, Check::S1, Check::C4] {
        let notes = vec!["without the fault Cut: it is never cut".to_owned()];
        let verdict = run::<Unable<true>>(check, None).unwrap();
        assert_eq!(verdict, Verdict::Passed { notes });
    }
    let reason = "it never hangs";
    let verdict = run::<Unable<true>>(Check::Hang, None).unwrap();
    assert_eq!(verdict, Verdict::Unsupported { reason });
}

#[test]
fn values_that_are_left_out_are_told() {
    let verdict = run::<Unable<true>>(Check::Types, None).unwrap();
    let note = "stamped: the source can't hold null in note (text)".to_owned();
    assert_eq!(verdict, Verdict::Passed { notes: vec![note] });
}
