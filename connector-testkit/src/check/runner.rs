//! Runs one check on a harness of its own, on a thread that may hang or panic.

use std::{
    any::Any,
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{Check, Failure, Probe, Shown, Verdict, contract, cycle, delivery, fault, print, read};
use crate::{
    canary::Canary,
    harness::{Harness, Unsupported},
};

/// Far longer than any check takes; what takes longer blocks the thread or waits for ever.
const LIMIT: Duration = Duration::from_mins(2);

/// Runs one check on a fresh harness.
///
/// The check has a thread and a runtime of its own, so a data set that panics or never gives the
/// thread back is a failure of that check and of nothing else. `None` takes a limit that no sound
/// connector comes near.
///
/// # Errors
///
/// What the check saw that must not be.
pub fn run<H: Harness>(check: Check, limit: Option<Duration>) -> Result<Verdict, Failure> {
    let (answer, verdict) = mpsc::channel();
    let limit = limit.unwrap_or(LIMIT);
    let thread = thread::Builder::new().name(check.name().to_owned());
    let spawned = thread.spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| run_here::<H>(check)));
        let outcome = outcome.unwrap_or_else(|panic| {
            Err(Failure::new(
                check,
                format!("it panicked: {}", told(&*panic)),
            ))
        });
        // Nobody listens any more when the limit is over.
        let _ = answer.send(outcome);
    });
    if let Err(error) = spawned {
        return Err(Failure::new(check, format!("no thread for it: {error}")));
    }
    verdict.recv_timeout(limit).unwrap_or_else(|_| {
        Err(Failure::new(
            check,
            format!("not finished after {limit:?}: the read blocks its thread or waits for ever"),
        ))
    })
}

fn told(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
}

fn run_here<H: Harness>(check: Check) -> Result<Verdict, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(check, format!("no runtime for it: {error}")))?;
    let canary = Canary::new();
    let outcome = runtime.block_on(async {
        let harness = H::start(&canary.secret()).await;
        let declared = harness.unsupported().iter();
        let reason = declared
            .filter(|(what, _)| *what == Unsupported::Check(check))
            .map(|(_, reason)| *reason)
            .next();
        if let Some(reason) = reason {
            return Ok(Verdict::Unsupported { reason });
        }
        let probe = Probe {
            check,
            harness: &harness,
            notes: RefCell::default(),
        };
        dispatch(&probe, &canary).await?;
        let notes = probe.notes.into_inner();
        Ok(Verdict::Passed { notes })
    });
    // A read that was given up may still hold a blocking thread; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(probe: &Probe<'_>, canary: &Canary) -> Shown {
    match probe.check {
        Check::Declarations => contract::declarations(probe).await,
        Check::Empty => read::empty(probe).await,
        Check::Types => read::types(probe).await,
        Check::Counts => read::counts(probe).await,
        Check::Fresh => read::fresh(probe).await,
        Check::Order => read::order(probe).await,
        Check::Concurrent => read::concurrent(probe).await,
        Check::Blocking => contract::blocking(probe).await,
        Check::Cancel => contract::cancel(probe).await,
        Check::Hang => fault::hang(probe).await,
        Check::Broken => fault::broken(probe).await,
        Check::Report => fault::report(probe).await,
        Check::Canary => print::canary(probe, canary).await,
        Check::S1 => cycle::s1(probe).await,
        Check::S2 => cycle::s2(probe).await,
        Check::S3 => cycle::s3(probe).await,
        Check::D1 => cycle::d1(probe).await,
        Check::D2 => cycle::d2(probe).await,
        Check::C1 => delivery::c1(probe).await,
        Check::C2 => delivery::c2(probe).await,
        Check::C3 => delivery::c3(probe).await,
        Check::C4 => delivery::c4(probe).await,
    }
}
