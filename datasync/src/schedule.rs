//! When cycles begin.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::stop::Stop;

/// Runs each job's cycle at once and then at its own interval, whatever the other jobs do, until
/// a stop is asked for. A cycle that takes longer than its interval makes the next one wait for
/// the next beat.
pub(crate) async fn run<J, F>(
    jobs: impl IntoIterator<Item = (Duration, J)>,
    stop: &Stop,
    cycle: impl Fn(J) -> F,
) where
    J: Copy,
    F: Future<Output = ()>,
{
    let cycle = &cycle;
    let jobs = jobs.into_iter().map(|(every, job)| async move {
        let mut beat = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.asked() => break,
                () = sleep_until(beat) => {}
            }
            cycle(job).await;
            while beat <= Instant::now() {
                beat += every;
            }
        }
    });
    futures::future::join_all(jobs).await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::{sleep, timeout};

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// Runs jobs of (name, interval, length) for ten minutes and returns when each cycle began.
    async fn begins(jobs: &[(&'static str, Duration, Duration)]) -> Vec<(&'static str, u64)> {
        let (_requests, stop) = Stop::new();
        let (start, seen) = (Instant::now(), RefCell::new(Vec::new()));
        let jobs = jobs
            .iter()
            .map(|(name, every, length)| (*every, (*name, *length)));
        let cycles = run(jobs, &stop, |(name, length)| {
            let seen = &seen;
            async move {
                seen.borrow_mut()
                    .push((name, start.elapsed().as_secs() / 60));
                sleep(length).await;
            }
        });
        assert!(timeout(10 * MINUTE, cycles).await.is_err());
        seen.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn each_job_begins_at_once_and_keeps_its_own_interval() {
        let seen = begins(&[("a", 4 * MINUTE, MINUTE), ("b", 6 * MINUTE, MINUTE)]).await;
        assert_eq!(seen, [("a", 0), ("b", 0), ("a", 4), ("b", 6), ("a", 8)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_job_skips_beats_and_holds_up_nobody() {
        let seen = begins(&[("slow", 2 * MINUTE, 5 * MINUTE), ("b", 6 * MINUTE, MINUTE)]).await;
        assert_eq!(seen, [("slow", 0), ("b", 0), ("slow", 6), ("b", 6)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_the_cycle_in_hand_end_and_begins_no_other() {
        let (requests, stop) = Stop::new();
        let done = RefCell::new(0);
        run([(MINUTE, ())], &stop, |()| {
            let (done, requests) = (&done, &requests);
            async move {
                requests.send_replace(1);
                sleep(MINUTE * 3).await;
                *done.borrow_mut() += 1;
            }
        })
        .await;
        assert_eq!(done.into_inner(), 1);
    }
}
