//! Standard output: what a command was asked for.

use std::{
    error::Error as _,
    fmt::Write as _,
    io::{self, BufWriter, StdoutLock, Write},
};

use connector_core::{Error, ErrorKind, Result};

/// Opens standard output for a command's result.
pub(crate) fn open() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Wraps a failure to write there.
pub(crate) fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "can't write to standard output").with_source(error)
}

/// Tells whether whoever read standard output has seen enough, which is no failure.
pub(crate) fn is_closed(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Writes lines whose cells stand below each other; the first line holds the headings.
pub(crate) fn table<const N: usize>(out: &mut impl Write, lines: &[[String; N]]) -> Result<()> {
    let mut widths = [0; N];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    for line in lines {
        let mut text = String::new();
        for (width, cell) in widths.iter().zip(line) {
            let _ = write!(text, "{cell:<width$}  "); // A `String` takes everything.
        }
        writeln!(out, "{}", text.trim_end()).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let lines = [["A", "B", "C"], ["long", "é", ""]].map(|line| line.map(str::to_owned));
        let mut out = Vec::new();
        table(&mut out, &lines).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A     B  C\nlong  é\n");
    }

    #[test]
    fn a_closed_pipe_is_told_from_a_full_disk() {
        assert!(is_closed(&failed(io::ErrorKind::BrokenPipe.into())));
        assert!(!is_closed(&failed(io::ErrorKind::StorageFull.into())));
    }
}
