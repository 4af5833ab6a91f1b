//! Line numbers, counted only once somebody needs one.
//!
//! The parser's own count is off after CRLF, empty lines and lone carriage returns, and counting
//! every line costs time on each good row. So a message's line is found by reading the file again
//! up to the byte it is about.

use std::io::{self, BufRead, BufReader};

use crate::text::Text;

/// Counts lines of a text from its start. CRLF, LF and CR each end one.
pub(crate) struct Lines {
    text: BufReader<Text>,
    offset: u64,
    line: u64,
    after_cr: bool,
}

impl Lines {
    pub(crate) fn new(text: Text) -> Self {
        Self {
            text: BufReader::with_capacity(64 << 10, text),
            offset: 0,
            line: 1,
            after_cr: false,
        }
    }

    /// Returns the line of the row that begins at or after the byte, empty lines passed over.
    /// `offset` never goes back from call to call.
    pub(crate) fn of_row(&mut self, offset: u64) -> io::Result<u64> {
        while let Some(byte) = self.peek()? {
            if self.offset >= offset && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.pass(byte);
        }
        Ok(self.line)
    }

    /// Returns the line on which a quote was opened and not closed, in a row that begins at or
    /// after `offset` and within the `limit` bytes that follow.
    pub(crate) fn of_open_quote(
        &mut self,
        offset: u64,
        delimiter: u8,
        limit: u64,
    ) -> io::Result<Option<u64>> {
        enum State {
            FieldStart,
            Field,
            Quoted,
            QuoteInQuoted,
        }
        self.of_row(offset)?;
        let end = self.offset.saturating_add(limit);
        let (mut state, mut opened) = (State::FieldStart, self.line);
        while self.offset < end
            && let Some(byte) = self.peek()?
        {
            state = match (state, byte) {
                (State::FieldStart, b'"') => {
                    opened = self.line;
                    State::Quoted
                }
                (State::Quoted, b'"') => State::QuoteInQuoted,
                (State::Quoted, _) | (State::QuoteInQuoted, b'"') => State::Quoted,
                (_, b'\r' | b'\n') => State::FieldStart,
                (_, byte) if byte == delimiter => State::FieldStart,
                _ => State::Field,
            };
            self.pass(byte);
        }
        Ok(matches!(state, State::Quoted).then_some(opened))
    }

    /// Returns the line of the first byte that can't be decoded, or of the end.
    pub(crate) fn of_malformed(&mut self) -> u64 {
        while let Ok(Some(byte)) = self.peek() {
            self.pass(byte);
        }
        self.line
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.text.fill_buf()?.first().copied())
    }

    fn pass(&mut self, byte: u8) {
        self.text.consume(1);
        self.offset += 1;
        if byte == b'\r' || (byte == b'\n' && !self.after_cr) {
            self.line += 1;
        }
        self.after_cr = byte == b'\r';
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Encoding;

    fn lines(content: &str) -> (tempfile::TempDir, Lines) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, content).unwrap();
        let text = Text::open(&path, Encoding::Utf8).unwrap();
        (folder, Lines::new(text))
    }

    #[test]
    fn each_line_end_counts_once() {
        for content in ["a\nb\n\nd\n", "a\rb\r\rd\r", "a\r\nb\r\n\r\nd\r\n"] {
            for (row, line) in [('a', 1), ('b', 2), ('d', 4)] {
                let offset = content.find(row).unwrap() as u64;
                // As the parser has it: the end of the row before.
                for offset in offset.saturating_sub(1)..=offset {
                    let (_folder, mut lines) = lines(content);
                    assert_eq!(lines.of_row(offset).unwrap(), line, "{content:?} {row}");
                }
            }
        }
    }

    #[test]
    fn an_open_quote_is_found_where_it_opened() {
        for (content, line) in [
            ("a,b\n1,\"x\ny", Some(2)),
            ("a,b\n\"1\n2\",\"x\ny", Some(3)),
            ("a,b\n\"1\n\"\"2\"\",x", Some(2)),
            ("a,b\n1\",\"\"\"x\"\" \n", Some(2)),
            ("a,b\n\"1\n2\",\"x\"\n", None),
        ] {
            let (_folder, mut lines) = lines(content);
            assert_eq!(
                lines.of_open_quote(4, b',', u64::MAX).unwrap(),
                line,
                "{content:?}"
            );
        }
    }
}
