//! Standard error: logs, and progress when a person looks.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, OnceLock},
    time::Duration,
};

use clap::ValueEnum;
use connector_core::{DatasetId, Error, ErrorKind, Progress, Result};
use indicatif::{
    HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState,
    ProgressStyle,
};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_appender::rolling::{RollingFileAppender, RollingWriter, Rotation};
use tracing_subscriber::{
    Layer,
    field::RecordFields,
    filter::{Targets, dynamic_filter_fn},
    fmt::{
        self, FormatFields,
        format::{DefaultFields, Writer},
        writer::{MakeWriter, OptionalWriter},
    },
    layer::{Filter, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::config::LogFiles;

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
pub(crate) struct Console {
    bars: MultiProgress,
    files: Files,
}

/// Fields of spans as the files show them. Formatted fields are kept by type, and the terminal's
/// have colours.
struct FileFields(DefaultFields);

impl<'writer> FormatFields<'writer> for FileFields {
    fn format_fields<R: RecordFields>(
        &self,
        writer: Writer<'writer>,
        fields: R,
    ) -> std::fmt::Result {
        self.0.format_fields(writer, fields)
    }
}

/// The log's files, once a configuration has named them.
#[derive(Debug, Clone, Default)]
struct Files(Arc<OnceLock<RollingFileAppender>>);

impl Files {
    fn when_open<S: Subscriber>(&self) -> impl Filter<S> + use<S> {
        let files = self.clone();
        dynamic_filter_fn(move |_, _| files.0.get().is_some())
    }
}

impl<'a> MakeWriter<'a> for Files {
    type Writer = OptionalWriter<RollingWriter<'a>>;

    fn make_writer(&'a self) -> Self::Writer {
        let files = self.0.get();
        files.map(MakeWriter::make_writer).into()
    }
}

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
        let files = Files::default();
        let written = files.clone();
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
                .with(
                    fmt::layer()
                        // Its own type, so that spans are not shown in the terminal's colours.
                        .fmt_fields(FileFields(DefaultFields::new()))
                        .with_target(false)
                        .with_ansi(false)
                        .with_writer(written)
                        .with_filter(files.when_open()),
                )
                .try_init(),
            LogFormat::Json => registry
                .with(fmt::layer().json().with_writer(out))
                .with(
                    fmt::layer()
                        .json()
                        .with_writer(written)
                        .with_filter(files.when_open()),
                )
                .try_init(),
        };
        Self { bars, files }
    }

    /// Writes the log to files too, from now on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the folder can't be made or written to.
    pub(crate) fn log_to(&self, log: &LogFiles) -> Result<()> {
        let appender = RollingFileAppender::builder()
            .rotation(Rotation::DAILY)
            .filename_prefix("datasync")
            .filename_suffix("log")
            .max_log_files(log.keep.get())
            .build(&log.folder);
        let appender = appender.map_err(|error| {
            Error::new(ErrorKind::Config, "log.folder: can't write a log there")
                .with("folder", log.folder.display())
                .with_source(error)
        })?;
        // A program that runs several commands keeps the first.
        let _ = self.files.0.set(appender);
        // Whoever was not interested before is asked again.
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Shows how far the read of a data set is, until the returned value is dropped.
    pub(crate) fn watch(&self, dataset: &DatasetId) -> Watch {
        let progress = Progress::default();
        let bar = self.bars.add(ProgressBar::new_spinner());
        if !self.bars.is_hidden() {
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
