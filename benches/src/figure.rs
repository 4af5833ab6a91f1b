//! Figures beside their bars.

use std::{
    io::{Write, stdout},
    time::Duration,
};

use crate::{Result, Usage};

const MIB: f64 = 1_048_576.0;

/// What a figure must not be more than.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bars {
    /// Processor seconds, as a ratio.
    pub cpu: Option<f64>,
    /// Peak memory in MiB.
    pub peak: Option<f64>,
    /// Time, as a ratio; in seconds for what is set against nothing.
    pub wall: Option<f64>,
    /// Bytes written to the state folder.
    pub written: Option<u64>,
}

/// A line of the table: what a work used, against another of the same run.
#[derive(Debug, Clone)]
pub struct Figure {
    work: String,
    against: String,
    cpu: String,
    peak: String,
    wall: String,
    written: String,
}

impl Figure {
    /// Sets a work against another and against its bars.
    pub fn ratio(work: &str, used: &Usage, against: &str, floor: &Usage, bars: Bars) -> Self {
        let ratio = |part: fn(&Usage) -> Duration, bar| {
            let (used, floor) = (part(used).as_secs_f64(), part(floor).as_secs_f64());
            // No clock is finer than this.
            let ratio = used / floor.max(1e-6);
            format!("{ratio:.2} ({used:.3} s){}", verdict(ratio, bar, ""))
        };
        Self {
            work: work.to_owned(),
            against: against.to_owned(),
            cpu: ratio(|usage| usage.cpu, bars.cpu),
            peak: peak(used, bars),
            wall: ratio(|usage| usage.wall, bars.wall),
            written: written(used, bars),
        }
    }

    /// Sets a work against nothing but its bars.
    pub fn absolute(work: &str, used: &Usage, bars: Bars) -> Self {
        let (cpu, wall) = (used.cpu.as_secs_f64(), used.wall.as_secs_f64());
        Self {
            work: work.to_owned(),
            against: String::new(),
            cpu: format!("{cpu:.3} s{}", verdict(cpu, bars.cpu, " s")),
            peak: peak(used, bars),
            wall: format!("{wall:.3} s{}", verdict(wall, bars.wall, " s")),
            written: written(used, bars),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
fn peak(used: &Usage, bars: Bars) -> String {
    let peak = used.peak as f64 / MIB;
    format!("{peak:.1} MiB{}", verdict(peak, bars.peak, " MiB"))
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
fn written(used: &Usage, bars: Bars) -> String {
    let Some(&written) = used.report.get("written") else {
        return String::new();
    };
    let bar = bars.written.map(|bar| bar as f64 / 1024.0);
    let written = written as f64 / 1024.0;
    format!("{written:.0} KiB{}", verdict(written, bar, " KiB"))
}

fn verdict(value: f64, bar: Option<f64>, unit: &str) -> String {
    match bar {
        None => String::new(),
        // A bar of bytes has no digits behind the point.
        Some(bar) if value <= bar => format!("; bar {}{unit}: met", short(bar)),
        Some(bar) => format!("; bar {}{unit}: **missed**", short(bar)),
    }
}

fn short(bar: f64) -> String {
    let text = format!("{bar:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

/// Prints figures as a table in Markdown.
///
/// # Errors
///
/// When standard output takes nothing.
pub fn print_table(figures: &[Figure]) -> Result<()> {
    let heads = ["work", "against", "CPU", "peak", "wall", "written"];
    let rows: Vec<[&str; 6]> = figures
        .iter()
        .map(|f| [&f.work, &f.against, &f.cpu, &f.peak, &f.wall, &f.written].map(String::as_str))
        .collect();
    let all = || std::iter::once(&heads).chain(&rows);
    let widths: [usize; 6] =
        std::array::from_fn(|i| all().map(|row| row[i].len()).max().unwrap_or_default());
    // A column that nobody fills is left out.
    let shown = |i: &usize| rows.iter().any(|row| !row[*i].is_empty());
    let mut out = stdout().lock();
    let mut line = |cell: &dyn Fn(usize) -> String| {
        let cells: Vec<String> = (0..6).filter(shown).map(cell).collect();
        writeln!(out, "| {} |", cells.join(" | "))
    };
    line(&|i| format!("{:1$}", heads[i], widths[i]))?;
    line(&|i| "-".repeat(widths[i]))?;
    for row in &rows {
        line(&|i| format!("{:1$}", row[i], widths[i]))?;
    }
    Ok(())
}
