//! Nothing secret is printed.

use std::fmt::{Debug, Write};

use connector_core::{Column, DatasetExt, Error, Type, Value};

use super::{Probe, Shown, fault::faults, rig::Rig};
use crate::{
    canary::{self, Canary, Listener},
    generate::numbered_row,
    harness::{Fault, Subject, Values},
};

/// What was printed, piece by piece.
struct Printed<'a> {
    canary: &'a Canary,
    pieces: Vec<(String, String)>,
}

impl Printed<'_> {
    fn debug(&mut self, what: impl Into<String>, value: &dyn Debug) {
        self.text(what, format!("{value:?}\n{value:#?}"));
    }

    fn error(&mut self, what: impl Into<String>, error: &Error) {
        self.text(what, canary::printed(error));
    }

    fn text(&mut self, what: impl Into<String>, text: String) {
        self.pieces.push((what.into(), text));
    }

    fn is_clean(&self, probe: &Probe<'_>) -> Shown {
        for (what, text) in &self.pieces {
            if let Some(leak) = self.canary.leak_in(text) {
                return Err(probe.fail(format!("{leak} is in {what}")));
            }
        }
        Ok(())
    }
}

pub(super) async fn canary(probe: &Probe<'_>, canary: &Canary) -> Shown {
    let listener = Listener::start().map_err(|why| probe.fail(why))?;
    let mut printed = Printed {
        canary,
        pieces: Vec::new(),
    };
    for subject in probe.harness.subjects() {
        let rows = canary_rows(probe, &subject, canary);
        let rig = Rig::new(probe).await?;
        probe.harness.load(&subject, &rows).await;
        print_all(probe, &subject, &mut printed).await?;
        printed.debug("a cycle's report", &rig.run(probe, &subject).await?);
        printed.debug("the state", &rig.status(probe, &subject).await?);

        // What people see of a cycle that is held, and of keys that are not unique.
        probe.harness.load(&subject, &[]).await;
        printed.debug(
            "a held cycle's report",
            &rig.run_guarded(probe, &subject).await?,
        );
        probe.harness.load(&subject, &twins(&subject, &rows)).await;
        printed.debug(
            "the report of repeated keys",
            &rig.run(probe, &subject).await?,
        );

        let text = canary.row().to_owned();
        for fault in faults().into_iter().chain([Fault::Malformed { text }]) {
            probe.harness.load(&subject, &rows).await;
            let dataset = probe.dataset(&subject).await?;
            if !probe.fault(&subject, &fault).await? {
                continue;
            }
            let under = format!("under {:?}", fault.kind());
            if let Err(error) = dataset.collect().await {
                printed.error(format!("an error {under}"), &error);
            }
            let report = rig.run_dataset(&*dataset).await;
            printed.debug(format!("a cycle's report {under}"), &report);
            print_check(probe, &mut printed).await;
        }
        probe.harness.load(&subject, &[]).await;
    }
    printed.text("a trace event", listener.heard());
    printed.is_clean(probe)
}

async fn print_all(probe: &Probe<'_>, subject: &Subject, printed: &mut Printed<'_>) -> Shown {
    let connector = probe.harness.connector();
    printed.debug("the connector's `Debug`", &connector);
    printed.debug("the connector's info", connector.info());
    print_check(probe, printed).await;
    let dataset = probe.dataset(subject).await?;
    printed.debug("the data set's `Debug`", &dataset);
    printed.debug("the data set's info", dataset.info());
    let schema = dataset.schema(None).await;
    printed.debug(
        "the schema",
        &schema.map_err(probe.unexpected("asking for the schema"))?,
    );
    probe.read(subject).await?;
    printed.debug("the data set's `Debug` after a read", &dataset);
    printed.debug("the connector's `Debug` after a read", &connector);
    Ok(())
}

async fn print_check(probe: &Probe<'_>, printed: &mut Printed<'_>) {
    match probe.harness.connector().check().await {
        Err(error) => printed.error("an error of the check", &error),
        Ok(report) => {
            let mut text = format!("{report:?}\n{report:#?}\n");
            for dataset in &report.datasets {
                let _ = writeln!(text, "{}", dataset.availability);
            }
            printed.text("the check's report", text);
        }
    }
}

/// Rows whose texts, keys among them, are the canary's.
fn canary_rows(probe: &Probe<'_>, subject: &Subject, canary: &Canary) -> Vec<Values> {
    let row = |number| {
        let mut row = numbered_row(&subject.schema, number);
        for (column, value) in subject.schema.columns().iter().zip(&mut row) {
            let text = canary_value(column, &format!("{} {number}", canary.row()));
            if let Some(text) = text.filter(|text| probe.harness.holds(column, text)) {
                *value = text;
            }
        }
        row
    };
    (0..20).map(row).collect()
}

fn canary_value(column: &Column, text: &str) -> Option<Value<'static>> {
    match column.ty() {
        Type::Text => Some(Value::Text(text.to_owned().into())),
        Type::Bytes => Some(Value::Bytes(text.as_bytes().to_vec().into())),
        Type::Json => Some(Value::Json(format!("\"{text}\"").into())),
        _ => None,
    }
}

/// The rows, and the first of them again with other values under its key.
fn twins(subject: &Subject, rows: &[Values]) -> Vec<Values> {
    let mut rows = rows.to_vec();
    let twin = super::twin(subject, &rows[0], &rows[1]);
    rows.extend(twin);
    rows
}
