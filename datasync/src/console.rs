//! Standard error: logs, and progress when a person looks.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use clap::ValueEnum;
use connector_core::{DatasetId, Progress};
use indicatif::{
    HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState,
    ProgressStyle,
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Keeps log lines and progress bars from writing over each other. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Console(MultiProgress);

impl Console {
    /// Starts logging; `verbosity` is how many levels more than usual are shown.
    pub(crate) fn start(format: LogFormat, verbosity: i16) -> Self {
        let bars = MultiProgress::new();
        if format == LogFormat::Json || verbosity < 0 {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        let (ours, others) = levels(verbosity);
        // The connectors' crates all begin alike.
        let filter = Targets::new()
            .with_default(others)
            .with_target("datasync", ours)
            .with_target("connector_", ours);
        let out = Stderr(bars.clone());
        let out = move || out.clone();
        let registry = tracing_subscriber::registry().with(filter);
        // Only a program that embeds this one can have set a subscriber before: it keeps its own.
        let _ = match format {
            LogFormat::Text => registry
                .with(
                    fmt::layer()
                        .with_target(false)
                        .with_ansi(io::stderr().is_terminal())
                        .with_writer(out),
                )
                .try_init(),
            LogFormat::Json => registry
                .with(fmt::layer().json().with_writer(out))
                .try_init(),
        };
        Self(bars)
    }

    /// Shows how far the read of a data set is, until the returned value is dropped.
    pub(crate) fn watch(&self, dataset: &DatasetId) -> Watch {
        let progress = Progress::default();
        let bar = self.0.add(ProgressBar::new_spinner());
        if !self.0.is_hidden() {
            let seen = progress.clone();
            let show = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}", Read(&seen, state.elapsed()));
            };
            // The template is a constant, so a mistake in it shows in the first trial.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {read}") {
                bar.set_style(style.with_key("read", show));
            }
            bar.set_prefix(dataset.to_string());
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Watch { progress, bar }
    }
}

/// A read that is watched.
pub(crate) struct Watch {
    pub(crate) progress: Progress,
    bar: ProgressBar,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How far a read is after so long.
struct Read<'a>(&'a Progress, Duration);

impl std::fmt::Display for Read<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(progress, elapsed) = self;
        let rows = progress.rows();
        let millis = u64::try_from(elapsed.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        write!(
            f,
            "{} rows, {} rows/s, {}",
            HumanCount(rows),
            HumanCount(rows.saturating_mul(1000) / millis),
            HumanBytes(progress.bytes()),
        )
    }
}

/// The levels of this workspace's crates and of all others.
fn levels(verbosity: i16) -> (LevelFilter, LevelFilter) {
    match verbosity {
        ..=-2 => (LevelFilter::ERROR, LevelFilter::ERROR),
        -1 => (LevelFilter::WARN, LevelFilter::WARN),
        0 => (LevelFilter::INFO, LevelFilter::WARN),
        1 => (LevelFilter::DEBUG, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    }
}

/// Standard error with the bars out of the way. A log line arrives in one piece.
#[derive(Clone)]
struct Stderr(MultiProgress);

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_rows_speed_and_bytes() {
        let shown = Read(&Progress::default(), Duration::from_secs(2)).to_string();
        assert_eq!(shown, "0 rows, 0 rows/s, 0 B");
    }

    #[test]
    fn other_crates_are_heard_one_level_later() {
        assert_eq!(levels(0), (LevelFilter::INFO, LevelFilter::WARN));
        assert_eq!(levels(9), (LevelFilter::TRACE, LevelFilter::DEBUG));
        assert_eq!(levels(-9), (LevelFilter::ERROR, LevelFilter::ERROR));
    }
}
