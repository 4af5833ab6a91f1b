//! Figures beside their bars.

use std::{
    io::{Write, stdout},
    time::Duration,
};

use crate::{Result, Usage};

const MIB: f64 = 1_048_576.0;

/// What a figure is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// It is no more than this.
    AtMost(f64),
    /// It is no less than this.
    AtLeast(f64),
}

/// The bars of a work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bars {
    /// Processor seconds, as a ratio.
    pub cpu: Option<Bar>,
    /// Peak memory in MiB.
    pub peak: Option<Bar>,
    /// Time, as a ratio; in seconds for what is set against nothing.
    pub wall: Option<Bar>,
    /// Bytes written to the state folder, at most.
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
        let (peak, floor) = (mib(used.peak), mib(floor.peak));
        let times = peak / floor.max(0.1);
        Self {
            work: work.to_owned(),
            against: against.to_owned(),
            cpu: ratio(|usage| usage.cpu, bars.cpu),
            peak: format!(
                "{times:.1} ({peak:.1} MiB){}",
                verdict(peak, bars.peak, " MiB")
            ),
            wall: ratio(|usage| usage.wall, bars.wall),
            written: written(used, bars),
        }
    }

    /// Sets a work against nothing but its bars.
    pub fn absolute(work: &str, used: &Usage, bars: Bars) -> Self {
        let (cpu, peak, wall) = (
            used.cpu.as_secs_f64(),
            mib(used.peak),
            used.wall.as_secs_f64(),
        );
        Self {
            work: work.to_owned(),
            against: String::new(),
            cpu: format!("{cpu:.3} s{}", verdict(cpu, bars.cpu, " s")),
            peak: format!("{peak:.1} MiB{}", verdict(peak, bars.peak, " MiB")),
            wall: format!("{wall:.3} s{}", verdict(wall, bars.wall, " s")),
            written: written(used, bars),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

fn written(used: &Usage, bars: Bars) -> String {
    let Some(&written) = used.report.get("written") else {
        return String::new();
    };
    let kib = |bytes| mib(bytes) * 1024.0;
    let bar = bars.written.map(|bar| Bar::AtMost(kib(bar)));
    let written = kib(written);
    format!("{written:.1} KiB{}", verdict(written, bar, " KiB"))
}

fn verdict(value: f64, bar: Option<Bar>, unit: &str) -> String {
    let (is_met, bar) = match bar {
        None => return String::new(),
        Some(Bar::AtMost(bar)) => (value <= bar, format!("at most {}", short(bar))),
        Some(Bar::AtLeast(bar)) => (value >= bar, format!("at least {}", short(bar))),
    };
    let verdict = if is_met { "met" } else { "**missed**" };
    format!("; {bar}{unit}: {verdict}")
}

/// Without zeros at the end.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_or_missed() {
        let verdict = |value, bar| verdict(value, Some(bar), " s");
        assert_eq!(verdict(1.9, Bar::AtMost(1.9)), "; at most 1.9 s: met");
        assert_eq!(
            verdict(2.0, Bar::AtMost(1.9)),
            "; at most 1.9 s: **missed**"
        );
        assert_eq!(verdict(8.0, Bar::AtLeast(8.0)), "; at least 8 s: met");
        assert_eq!(
            verdict(7.0, Bar::AtLeast(8.0)),
            "; at least 8 s: **missed**"
        );
    }
}
