//! Runs that take turns.

use std::{collections::BTreeMap, io::Write, io::stderr};

use crate::{Result, Usage};

/// Something to run again and again. What it prepares is not measured.
pub struct Run<'a> {
    name: String,
    execute: Box<dyn FnMut() -> Result<Usage> + 'a>,
}

impl<'a> Run<'a> {
    /// Names it.
    pub fn new(name: impl Into<String>, execute: impl FnMut() -> Result<Usage> + 'a) -> Self {
        Self {
            name: name.into(),
            execute: Box::new(execute),
        }
    }
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({})", self.name)
    }
}

/// Runs each once a round, so that a slow moment of the machine meets them all, and returns their
/// medians in the order of the runs.
///
/// # Errors
///
/// Those of the runs.
pub fn interleaved<const N: usize>(rounds: usize, mut runs: [Run<'_>; N]) -> Result<[Usage; N]> {
    let mut used = [(); N].map(|()| Vec::with_capacity(rounds));
    for round in 1..=rounds.max(1) {
        for (run, used) in runs.iter_mut().zip(&mut used) {
            let usage =
                (run.execute)().map_err(|error| format!("{}, round {round}: {error}", run.name))?;
            // Nobody needs to see how far it is.
            let _ = writeln!(
                stderr(),
                "round {round} of {rounds}: {:<30} {:>8.3} s CPU {:>8.3} s {:>6} MiB",
                run.name,
                usage.cpu.as_secs_f64(),
                usage.wall.as_secs_f64(),
                usage.peak >> 20,
            );
            used.push(usage);
        }
    }
    Ok(used.map(|used| medians(&used)))
}

fn medians(used: &[Usage]) -> Usage {
    let names = used.iter().flat_map(|usage| usage.report.keys());
    let report: BTreeMap<_, _> = names
        .map(|name| {
            let counts = used.iter().filter_map(|usage| usage.report.get(name));
            (name.clone(), median(counts.copied()))
        })
        .collect();
    Usage {
        cpu: median(used.iter().map(|usage| usage.cpu)),
        peak: median(used.iter().map(|usage| usage.peak)),
        wall: median(used.iter().map(|usage| usage.wall)),
        report,
    }
}

fn median<T: Ord + Default>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    let middle = values.len() / 2;
    values.into_iter().nth(middle).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn takes_turns_and_the_median_of_each_figure() {
        let order = std::cell::RefCell::new(String::new());
        let mut peaks = [30, 10, 20].into_iter();
        let runs = [
            Run::new("a", || {
                order.borrow_mut().push('a');
                let peak = peaks.next().unwrap();
                Ok(Usage {
                    peak,
                    cpu: Duration::from_secs(100 - peak),
                    ..Usage::default()
                })
            }),
            Run::new("b", || {
                order.borrow_mut().push('b');
                Ok(Usage::default())
            }),
        ];
        let [a, _] = interleaved(3, runs).unwrap();
        assert_eq!((a.peak, a.cpu), (20, Duration::from_secs(80)));
        assert_eq!(*order.borrow(), "ababab");
    }
}
