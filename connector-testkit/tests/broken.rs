//! Connectors with one defect each: the kit must catch every one, by the check of that name.

mod defect;
mod memory;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use connector_core::{
    Availability, CheckReport, Column, Dataset, DatasetExt, DatasetInfo, Error, ErrorKind, Result,
    Schema, Secret, SnapshotWriter, Type, Value,
};
use connector_testkit::{Check, Fault, Values, run};

use defect::{BrokenHarness, Defect, caught, defect, map_cells, values, write};
use memory::BreakingDataset;

#[test]
fn says_that_a_cut_read_is_complete() {
    #[derive(Default)]
    struct Cut;
    defect!(Cut, |_this, dataset, out| {
        match dataset.read(out).await {
            Err(error) if dataset.fault() == Some(Fault::Cut) => {
                drop(error);
                Ok(())
            }
            outcome => outcome,
        }
    });
    caught::<Cut>(
        &[Check::S1, Check::Broken, Check::C4],
        "everything under Cut sent",
    );
}

#[test]
fn swallows_errors() {
    #[derive(Default)]
    struct Swallow;
    defect!(Swallow, |_this, dataset, out| {
        let rows = values(dataset).await.unwrap_or_default();
        write(out, &rows).await
    });
    caught::<Swallow>(
        &[Check::Broken, Check::S1],
        "read as complete with 0 of 100",
    );
}

#[test]
fn loses_the_last_row() {
    #[derive(Default)]
    struct LoseLast;
    defect!(LoseLast, |_this, dataset, out| {
        let mut rows = values(dataset).await?;
        rows.pop();
        write(out, &rows).await
    });
    caught::<LoseLast>(
        &[Check::Counts, Check::D1],
        "everything, 1 rows: a row is missing",
    );
    let failure = run::<BrokenHarness<LoseLast>>(Check::D1, None).unwrap_err();
    let smallest = failure.message().matches("Put([").count();
    assert_eq!(smallest, 1, "one row is enough to see it: {failure}");
}

#[test]
fn repeats_a_row_differently() {
    #[derive(Default)]
    struct Repeat;
    defect!(Repeat, |_this, dataset, out| {
        let mut rows = values(dataset).await?;
        if let [first, .., last] = &rows[..] {
            let mut twin = first.clone();
            let place = out.schema().columns().iter().position(|c| !c.is_key());
            twin[place.unwrap()] = last[place.unwrap()].clone();
            rows.push(twin);
        }
        write(out, &rows).await
    });
    caught::<Repeat>(&[Check::Counts, Check::D2], "a row too many");
}

#[test]
fn truncates_long_text() {
    #[derive(Default)]
    struct Truncate;
    defect!(Truncate, |_this, dataset, out| {
        map_cells(dataset, out, |value| match value {
            Value::Text(text) => Value::Text(text.chars().take(255).collect::<String>().into()),
            other => other,
        })
        .await
    });
    caught::<Truncate>(&[Check::Types], "with long text in text (text)");
}

#[test]
fn turns_null_into_empty_text() {
    #[derive(Default)]
    struct NullIsEmpty;
    defect!(NullIsEmpty, |_this, dataset, out| {
        let rows = values(dataset).await?;
        let schema = Arc::clone(out.schema());
        for values in &rows {
            let mut row = out.row();
            for (column, value) in schema.columns().iter().zip(values) {
                match value {
                    Value::Null if column.ty() == Type::Text => row.text(""),
                    value => row.value(value),
                };
            }
            row.end().await?;
        }
        Ok(())
    });
    caught::<NullIsEmpty>(&[Check::Types, Check::D1], "with null in text_or_null");
}

#[test]
fn changes_the_case_of_text() {
    #[derive(Default)]
    struct LowerCase;
    defect!(LowerCase, |_this, dataset, out| {
        map_cells(dataset, out, |value| match value {
            Value::Text(text) => Value::Text(text.to_lowercase().into()),
            other => other,
        })
        .await
    });
    caught::<LowerCase>(&[Check::Types], "in text (text)");
}

#[test]
fn loses_digits_of_whole_numbers() {
    #[derive(Default)]
    struct ThroughFloat;
    defect!(ThroughFloat, |_this, dataset, out| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "the defect"
        )]
        map_cells(dataset, out, |value| match value {
            Value::Int(number) => Value::Int((number as f64) as i64),
            other => other,
        })
        .await
    });
    caught::<ThroughFloat>(&[Check::Types], "beyond a float in int");
}

#[test]
fn shifts_local_times() {
    #[derive(Default)]
    struct Shift;
    defect!(Shift, |_this, dataset, out| {
        map_cells(dataset, out, |value| match value {
            Value::LocalTimestamp(at) => {
                let shifted =
                    connector_core::LocalTimestamp::from_ticks(at.ticks() - 36_000_000_000);
                Value::LocalTimestamp(shifted.unwrap_or(at))
            }
            other => other,
        })
        .await
    });
    caught::<Shift>(&[Check::Types, Check::Counts], "column local is");
}

#[test]
fn keeps_rows_between_reads() {
    #[derive(Default)]
    struct Cache(Mutex<Option<Vec<Values>>>);
    defect!(Cache, |this, dataset, out| {
        let read = values(dataset).await?;
        let rows = this.0.lock().unwrap().get_or_insert(read).clone();
        write(out, &rows).await
    });
    caught::<Cache>(
        &[Check::Fresh, Check::D1, Check::C2, Check::C3],
        "other rows",
    );
}

#[test]
fn gives_only_what_is_new_since_its_last_read() {
    #[derive(Default)]
    struct Incremental(Mutex<Vec<Values>>);
    defect!(Incremental, |this, dataset, out| {
        let read = values(dataset).await?;
        let seen = std::mem::replace(&mut *this.0.lock().unwrap(), read.clone());
        let fresh: Vec<_> = read.into_iter().filter(|row| !seen.contains(row)).collect();
        write(out, &fresh).await
    });
    caught::<Incremental>(
        &[Check::Fresh, Check::D2, Check::C1, Check::C2, Check::C3],
        "same again: a row is missing",
    );
}

#[test]
fn relies_on_the_order_of_rows() {
    /// Pages by key over a source that does not sort.
    #[derive(Default)]
    struct Keyset;
    defect!(Keyset, |_this, dataset, out| {
        let mut rows = dataset.collect().await?;
        let mut last = None;
        rows.retain(|row| {
            let ascends = last.as_ref() <= Some(&row.key());
            if ascends {
                last = Some(row.key());
            }
            ascends
        });
        let rows: Vec<_> = rows
            .iter()
            .map(|row| row.values().map(Value::into_owned).collect())
            .collect();
        write(out, &rows).await
    });
    caught::<Keyset>(
        &[Check::Order, Check::D1],
        "in reverse order: a row is missing",
    );
}

#[test]
fn stamps_rows_with_each_read() {
    #[derive(Default)]
    struct Stamp(AtomicUsize);
    defect!(Stamp, |this, dataset, out| {
        let read = this.0.fetch_add(1, SeqCst);
        map_cells(dataset, out, |value| match value {
            Value::Text(_) => Value::Text(format!("read {read}").into()),
            other => other,
        })
        .await
    });
    caught::<Stamp>(&[Check::D2], "everything, the same source: sent");
}

#[test]
fn keeps_one_of_several_rows_of_a_key_by_their_order() {
    #[derive(Default)]
    struct LastWins;
    defect!(LastWins, |_this, dataset, out| {
        let rows = dataset.collect().await?;
        let by_key: std::collections::BTreeMap<_, _> =
            rows.into_iter().map(|row| (row.key(), row)).collect();
        let rows: Vec<_> = by_key
            .values()
            .map(|row| row.values().map(Value::into_owned).collect())
            .collect();
        write(out, &rows).await
    });
    caught::<LastWins>(&[Check::S2], "differing rows under one key: Synced");
}

#[test]
fn refuses_a_source_that_became_empty() {
    #[derive(Default)]
    struct NeverEmpty;
    defect!(NeverEmpty, |_this, dataset, out| {
        let rows = values(dataset).await?;
        if rows.is_empty() {
            return Err(Error::new(ErrorKind::Source, "no rows"));
        }
        write(out, &rows).await
    });
    caught::<NeverEmpty>(
        &[Check::Empty, Check::S3, Check::D1],
        "reading everything failed: no rows",
    );
}

#[test]
fn panics() {
    #[derive(Default)]
    struct Panic;
    defect!(Panic, |_this, _dataset, _out| {
        panic!("as it was told to")
    });
    caught::<Panic>(
        &[Check::Counts, Check::Cancel, Check::D1],
        "it panicked: as it was told to",
    );
}

#[test]
fn blocks_its_thread() {
    #[derive(Default)]
    struct Block;
    defect!(Block, |_this, _dataset, _out| {
        loop {
            std::thread::park();
        }
    });
    caught::<Block>(&[Check::Blocking], "did not give its thread back");
}

#[test]
fn blocks_its_thread_while_the_source_is_silent() {
    #[derive(Default)]
    struct Block;
    defect!(Block, |_this, dataset, out| {
        while dataset.fault() == Some(Fault::Hang) {
            std::thread::park();
        }
        dataset.read(out).await
    });
    let short = Some(Duration::from_secs(2));
    let failure = run::<BrokenHarness<Block>>(Check::Hang, short).unwrap_err();
    assert!(
        failure.message().contains("not finished after 2s"),
        "{failure}"
    );
}

#[test]
fn takes_silence_for_the_end() {
    #[derive(Default)]
    struct GiveUp;
    defect!(GiveUp, |_this, dataset, out| {
        tokio::select! {
            biased;
            outcome = dataset.read(out) => outcome,
            () = tokio::task::yield_now() => Ok(()),
        }
    });
    caught::<GiveUp>(
        &[Check::Hang],
        "was read (100 rows) from a source that stopped",
    );
}

#[test]
fn is_not_safe_to_drop() {
    #[derive(Default)]
    struct Busy(AtomicBool);
    defect!(Busy, |this, dataset, out| {
        if this.0.swap(true, SeqCst) {
            return Err(Error::new(ErrorKind::Source, "a read is under way"));
        }
        let outcome = dataset.read(out).await;
        this.0.store(false, SeqCst);
        outcome
    });
    caught::<Busy>(
        &[Check::Cancel, Check::Concurrent, Check::Hang],
        "dropped at await 1",
    );
}

#[test]
fn reads_disturb_each_other() {
    /// Keeps its place in the source where all reads share it.
    #[derive(Default)]
    struct SharedCursor(AtomicUsize);
    defect!(SharedCursor, |this, dataset, out| {
        let rows = values(dataset).await?;
        this.0.store(0, SeqCst);
        while let Some(row) = rows.get(this.0.fetch_add(1, SeqCst)) {
            write(out, std::slice::from_ref(row)).await?;
        }
        Ok(())
    });
    caught::<SharedCursor>(&[Check::Concurrent], "of three reads at once: a row");
}

#[test]
fn shows_a_rows_value_in_an_error() {
    #[derive(Default)]
    struct Tell;
    defect!(Tell, |_this, dataset, out| {
        match dataset.fault() {
            Some(Fault::Malformed { text }) => {
                let cause = std::io::Error::other(format!("can't parse {text}"));
                Err(Error::new(ErrorKind::Data, "a row is wrong").with_source(cause))
            }
            _ => dataset.read(out).await,
        }
    });
    caught::<Tell>(
        &[Check::Canary],
        "a row's value is in an error under Malformed",
    );
}

#[test]
fn shows_a_rows_value_in_a_trace_event() {
    #[derive(Default)]
    struct Trace;
    defect!(Trace, |_this, dataset, out| {
        for row in dataset.collect().await? {
            tracing::trace!(first = ?row.at(0), "a row");
        }
        dataset.read(out).await
    });
    caught::<Trace>(&[Check::Canary], "a row's value is in a trace event");
}

#[test]
fn shows_the_secret_in_debug() {
    #[derive(Default)]
    struct Show;
    #[async_trait]
    impl Defect for Show {
        fn debug(&self, secret: &Secret, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "password: {}", secret.expose())
        }
    }
    caught::<Show>(&[Check::Canary], "the secret is in the connector's `Debug`");
}

#[test]
fn declares_another_key() {
    #[derive(Default)]
    struct WrongKey;
    #[async_trait]
    impl Defect for WrongKey {
        async fn schema(&self, dataset: &BreakingDataset) -> Result<Arc<Schema>> {
            let schema = dataset.schema(None).await?;
            let columns = schema.columns().iter().enumerate().map(|(i, column)| {
                let turned = Column::new(column.name(), column.ty());
                match i {
                    1 => turned.key(),
                    _ if column.is_nullable() => turned.null(),
                    _ => turned,
                }
            });
            Ok(Arc::new(Schema::new(columns)?))
        }
    }
    caught::<WrongKey>(&[Check::Declarations], "everything has columns");
}

#[test]
fn calls_two_data_sets_alike() {
    #[derive(Default)]
    struct Alike;
    #[async_trait]
    impl Defect for Alike {
        async fn datasets(&self, sound: Vec<Arc<dyn Dataset>>) -> Result<Vec<Arc<dyn Dataset>>> {
            #[derive(Debug)]
            struct Twin(DatasetInfo);
            #[async_trait]
            impl Dataset for Twin {
                fn info(&self) -> &DatasetInfo {
                    &self.0
                }
                async fn schema(&self, _: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
                    Err(Error::new(ErrorKind::NotFound, "a twin"))
                }
                async fn read(&self, _: &mut SnapshotWriter) -> Result<()> {
                    Err(Error::new(ErrorKind::NotFound, "a twin"))
                }
            }
            let twin = Twin(DatasetInfo::named("EVERYTHING", "General"));
            Ok(sound.into_iter().chain([Arc::new(twin) as _]).collect())
        }
    }
    caught::<Alike>(
        &[Check::Declarations],
        "two data sets are called EVERYTHING but for case",
    );
}

#[test]
fn has_no_category() {
    #[derive(Default)]
    struct NoCategory;
    #[async_trait]
    impl Defect for NoCategory {
        fn info(&self, dataset: &BreakingDataset) -> DatasetInfo {
            DatasetInfo::named(dataset.name(), "")
        }
    }
    caught::<NoCategory>(&[Check::Declarations], "everything has no category");
}

#[test]
fn lets_one_data_set_stop_all() {
    #[derive(Default)]
    struct AllOrNone;
    #[async_trait]
    impl Defect for AllOrNone {
        async fn datasets(&self, sound: Vec<Arc<dyn Dataset>>) -> Result<Vec<Arc<dyn Dataset>>> {
            for dataset in &sound {
                dataset.schema(None).await?;
            }
            Ok(sound)
        }
    }
    caught::<AllOrNone>(&[Check::C4], "a cycle over all data sets failed");
}

#[test]
fn says_that_all_is_well_when_it_is_refused() {
    #[derive(Default)]
    struct AllIsWell;
    #[async_trait]
    impl Defect for AllIsWell {
        async fn check(&self, mut sound: CheckReport) -> Result<CheckReport> {
            for dataset in &mut sound.datasets {
                dataset.availability = Availability::Available;
            }
            Ok(sound)
        }
    }
    caught::<AllIsWell>(
        &[Check::Report],
        "under Deny the check says of everything: available",
    );
}

#[test]
fn takes_every_failure_for_a_defect_of_its_own() {
    #[derive(Default)]
    struct Unexpected;
    defect!(Unexpected, |_this, dataset, out| {
        let wrap = |error| Error::new(ErrorKind::Unexpected, "it failed").with_source(error);
        dataset.read(out).await.map_err(wrap)
    });
    caught::<Unexpected>(&[Check::Broken], "fails with kind unexpected");
}
