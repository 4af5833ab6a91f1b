//! Text into records.
//!
//! Rows that are plain, which are nearly all rows of nearly all files, are taken apart here, 16
//! bytes at a time. All else (quotes within quotes, a row longer than the buffer, the end of the
//! text) is left to the parser of the `csv` crate, and what is a record is the same as there: that
//! is what the tests and the fuzzer hold it to.

use std::io::{self, Read};

use csv_core::ReadRecordResult;
use memchr::memchr;
use wide::u8x16;

use crate::record::{Record, Used};

const STEP: usize = 16;

/// How much is read at a time.
pub(crate) const BUFFER: usize = 128 << 10;

/// A mark that is not part of the text, should a second one follow the file's.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads records from text with a delimiter.
pub(crate) struct Records<R> {
    text: R,
    delimiter: u8,
    quote: Option<u8>,
    marks: Marks,
    /// What was read, and [`STEP`] bytes that mean nothing, so that a step never goes beyond.
    buffer: Box<[u8]>,
    /// What of the buffer is still to be taken apart.
    from: usize,
    upto: usize,
    /// Where the buffer begins in the text.
    offset: u64,
    parser: csv_core::Reader,
}

/// What came of taking a row apart.
enum Plain {
    /// A row, which ends before the place.
    Row(usize),
    /// Nothing but the line's end, before the place.
    Empty(usize),
    /// The buffer ends before the row.
    Cut,
    /// The parser must take it.
    Hard,
}

impl<R: Read> Records<R> {
    /// Reads `text` through a buffer of `capacity` bytes, at least 4. Without `quoted`, a quote is
    /// a character like any other.
    pub(crate) fn new(text: R, delimiter: u8, quoted: bool, capacity: usize) -> Self {
        let mut parser = csv_core::ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(quoted)
            .build();
        // It drops a mark at the start of the first bytes that it sees, which are not the text's.
        let _ = parser.read_record(b"\n", &mut [], &mut []);
        let quote = quoted.then_some(b'"');
        Self {
            text,
            delimiter,
            quote,
            marks: Marks::new(delimiter, quote),
            buffer: vec![0; capacity.max(4) + STEP].into_boxed_slice(),
            from: 0,
            upto: 0,
            offset: 0,
            parser,
        }
    }

    pub(crate) fn text(&self) -> &R {
        &self.text
    }

    pub(crate) fn text_mut(&mut self) -> &mut R {
        &mut self.text
    }

    /// Returns where the next record begins in the text, or line ends before it.
    pub(crate) fn position(&self) -> u64 {
        self.offset + self.from as u64
    }

    /// Reads the next record; returns whether there was one. Rows may be of any length, and lines
    /// may end in any way; empty ones are passed over.
    pub(crate) fn read(&mut self, record: &mut Record) -> io::Result<bool> {
        loop {
            record.begin(self.position());
            match self.take_apart(record) {
                Plain::Row(end) => {
                    self.from = end;
                    return Ok(true);
                }
                Plain::Empty(end) => self.from = end,
                Plain::Cut if self.fill()? => {}
                Plain::Cut | Plain::Hard => return self.parse(record),
            }
        }
    }

    #[inline]
    fn take_apart(&self, record: &mut Record) -> Plain {
        let (from, upto) = (self.from, self.upto);
        let (mut cell, mut at) = (from, from);
        'steps: while at < upto {
            let Some(step) = self.buffer[at..].first_chunk::<STEP>() else {
                return Plain::Hard;
            };
            let mut marks = self.marks.of(step);
            if upto - at < STEP {
                marks &= (1 << (upto - at)) - 1;
            }
            while marks != 0 {
                let place = at + marks.trailing_zeros() as usize;
                marks &= marks - 1;
                let byte = self.buffer[place];
                if byte == self.delimiter {
                    record.push(&self.buffer[cell..], place - cell);
                    cell = place + 1;
                } else if matches!(byte, b'\n' | b'\r') {
                    if place == from {
                        return Plain::Empty(place + 1);
                    }
                    record.push(&self.buffer[cell..], place - cell);
                    // What is left of a CRLF is an empty line.
                    return Plain::Row(place + 1);
                } else if Some(byte) == self.quote && place == cell {
                    let inner = place + 1;
                    let Some(len) = memchr(byte, &self.buffer[inner..upto]) else {
                        return Plain::Cut;
                    };
                    let end = inner + len + 1;
                    if end == upto {
                        return Plain::Cut;
                    }
                    record.push(&self.buffer[inner..], len);
                    record.may_have_nul();
                    match self.buffer[end] {
                        b'\n' | b'\r' => return Plain::Row(end + 1),
                        next if next == self.delimiter => {}
                        _ => return Plain::Hard,
                    }
                    cell = end + 1;
                    at = cell;
                    continue 'steps;
                } else if byte == 0 {
                    record.may_have_nul();
                }
            }
            at += STEP;
        }
        Plain::Cut
    }

    /// Reads more behind what is left; returns whether there was more and room for it.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.from..self.upto, 0);
        self.offset += self.from as u64;
        self.upto -= self.from;
        self.from = 0;
        let room = self.buffer.len() - STEP;
        let read = read(&mut self.text, &mut self.buffer[self.upto..room])?;
        let first = self.offset == 0 && self.upto == 0;
        self.upto += read;
        if first && self.buffer[..self.upto].starts_with(BYTE_ORDER_MARK) {
            self.from = BYTE_ORDER_MARK.len();
        }
        Ok(read > 0)
    }

    #[cold]
    fn parse(&mut self, record: &mut Record) -> io::Result<bool> {
        record.begin(self.position());
        let mut used = Used::default();
        loop {
            if self.from == self.upto {
                self.fill()?;
            }
            let input = &self.buffer[self.from..self.upto];
            let (parser, mut end, mut taken) = (&mut self.parser, ReadRecordResult::End, 0);
            record.fill_with(&mut used, |bytes, ends| {
                let (result, read, bytes, ends) = parser.read_record(input, bytes, ends);
                (end, taken) = (result, read);
                (bytes, ends)
            });
            self.from += taken;
            match end {
                ReadRecordResult::Record => {
                    record.keep(&used);
                    return Ok(true);
                }
                ReadRecordResult::End => {
                    record.begin(self.position());
                    return Ok(false);
                }
                ReadRecordResult::InputEmpty
                | ReadRecordResult::OutputFull
                | ReadRecordResult::OutputEndsFull => {}
            }
        }
    }
}

fn read(text: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match text.read(room) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// What may end a cell.
struct Marks {
    delimiter: u8x16,
    quote: u8x16,
}

impl Marks {
    fn new(delimiter: u8, quote: Option<u8>) -> Self {
        Self {
            delimiter: u8x16::splat(delimiter),
            quote: u8x16::splat(quote.unwrap_or(delimiter)),
        }
    }

    /// Returns the bytes that are a delimiter, a quote or a line's end, one bit each, the first
    /// byte's lowest; and those below a carriage return, since that is one question less.
    #[inline]
    fn of(&self, step: &[u8; STEP]) -> u32 {
        let bytes = u8x16::new(*step);
        let control = bytes.min(u8x16::splat(b'\r')).simd_eq(bytes);
        (bytes.simd_eq(self.delimiter) | bytes.simd_eq(self.quote) | control).to_bitmask()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The records as this module and as the `csv` crate has them.
    fn both(text: &[u8], quoted: bool, capacity: usize) -> [Vec<Vec<Vec<u8>>>; 2] {
        let mut records = Records::new(text, b',', quoted, capacity);
        let (mut record, mut ours) = (Record::default(), Vec::new());
        while records.read(&mut record).unwrap() {
            ours.push(record.iter().map(<[u8]>::to_vec).collect());
        }
        assert_eq!(records.position(), text.len() as u64);
        let theirs = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .quoting(quoted)
            .from_reader(text)
            .byte_records()
            .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
            .collect();
        [ours, theirs]
    }

    #[test]
    fn rows_longer_than_the_buffer_are_whole() {
        let text = format!(
            "a,{},b\n\"{}\",c\n",
            "x".repeat(100),
            "y,\n\"\"".repeat(100)
        );
        for capacity in [4, 16, 64, 4096] {
            let [ours, theirs] = both(text.as_bytes(), true, capacity);
            assert_eq!(ours, theirs, "{capacity}");
            assert_eq!(ours.len(), 2);
        }
    }

    #[test]
    fn a_second_byte_order_mark_is_no_text() {
        let [ours, theirs] = both("\u{feff}a,b\n".as_bytes(), true, 64);
        assert_eq!(ours, theirs);
        assert_eq!(ours[0][0], b"a");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn what_is_a_record_is_what_the_csv_crate_has(
            text in "(([a-f]{0,5}|[a-z]{10,40}|\"([a-c,\n]|\"\"){0,12}\"|[a\",\t\0é]{0,6})[,,,\n\r]|\r\n){0,40}[\",a]{0,3}",
            quoted in any::<bool>(),
            capacity in prop_oneof![4_usize..40, Just(BUFFER)],
        ) {
            let [ours, theirs] = both(text.as_bytes(), quoted, capacity);
            prop_assert_eq!(ours, theirs);
        }
    }
}
