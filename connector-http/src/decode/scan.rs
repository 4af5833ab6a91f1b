//! JSON text, taken apart where it stands: no value is built, and text is borrowed.
//!
//! What is JSON here is what `serde_json` takes, in what is skipped too: the tests and the fuzzer
//! hold it to that.

use wide::u8x16;

const STEP: usize = 16;

/// How deep arrays and objects may stand in each other, which keeps the stack small.
pub(crate) const MAX_DEPTH: u32 = 127;

/// Why text is not what it should be, and the byte where that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: What,
}

/// What is wrong with text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// It ends too early.
    Cut,
    /// It is no JSON.
    Json(&'static str),
    /// It nests too deep.
    Deep,
}

impl What {
    fn at(self, at: usize) -> Fault {
        Fault { at, what: self }
    }
}

/// A place in a page. Pages are shorter than 4 GiB.
pub(crate) type Offset = u32;

/// One value: what kind it is, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) kind: Kind,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
}

impl Cell {
    /// No value at all.
    pub(crate) const ABSENT: Self = Self {
        kind: Kind::Absent,
        start: 0,
        end: 0,
    };

    /// Returns its text; that of a text without its quotes.
    pub(crate) fn text(self, page: &str) -> &str {
        &page[self.start as usize..self.end as usize]
    }

    /// Returns its text as JSON has it.
    pub(crate) fn json(self, page: &str) -> &str {
        let quote = usize::from(matches!(self.kind, Kind::Text | Kind::Escaped));
        &page[self.start as usize - quote..self.end as usize + quote]
    }
}

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The record lacks the member.
    Absent,
    Null,
    True,
    False,
    Number,
    /// Text that means what stands between its quotes.
    Text,
    /// Text with escapes in it.
    Escaped,
    Array,
    Object,
}

/// Walks along a text that is known to be UTF-8.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'a> {
    page: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// Starts at a byte of the page; whoever calls has made sure that it is shorter than 4 GiB.
    pub(crate) fn new(page: &'a str, at: usize) -> Self {
        Self {
            page,
            bytes: page.as_bytes(),
            at,
        }
    }

    pub(crate) fn page(&self) -> &'a str {
        self.page
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    #[expect(clippy::cast_possible_truncation, reason = "pages are under 4 GiB")]
    pub(crate) fn offset(&self) -> Offset {
        self.at as Offset
    }

    /// Returns the next byte that is no white space, and stays before it.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<u8, Fault> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(What::Cut.at(self.at))
    }

    /// Steps over the byte that was just seen.
    #[inline]
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    /// Steps over text that is expected here; returns whether it was there.
    #[inline]
    pub(crate) fn take(&mut self, expected: &[u8]) -> bool {
        let is_there = self
            .bytes
            .get(self.at..self.at + expected.len())
            .is_some_and(|bytes| bytes == expected);
        if is_there {
            self.at += expected.len();
        }
        is_there
    }

    pub(crate) fn fault(&self, what: &'static str) -> Fault {
        // What stands at the end is not wrong but missing.
        if self.at >= self.bytes.len() {
            return What::Cut.at(self.at);
        }
        What::Json(what).at(self.at)
    }

    /// Steps over the colon behind a member's name.
    #[inline]
    pub(crate) fn colon(&mut self) -> Result<(), Fault> {
        if self.peek()? != b':' {
            return Err(self.fault("a colon is missing"));
        }
        self.step();
        Ok(())
    }

    /// Goes to the next element or member: over a comma, unless it is the first. Returns whether
    /// there is one, and else has gone over `close`.
    #[inline]
    pub(crate) fn next(&mut self, is_first: bool, close: u8) -> Result<bool, Fault> {
        let byte = self.peek()?;
        if byte == close {
            self.step();
            return Ok(false);
        }
        if !is_first {
            if byte != b',' {
                return Err(self.fault("a comma is missing"));
            }
            self.step();
            self.peek()?;
        }
        Ok(true)
    }

    /// Goes to the next member as [`Self::next`] does, and over the quote that opens its name.
    #[inline]
    pub(crate) fn next_name(&mut self, is_first: bool) -> Result<bool, Fault> {
        if !self.next(is_first, b'}')? {
            return Ok(false);
        }
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(self.fault("a member has no name in quotes"));
        }
        self.step();
        Ok(true)
    }

    /// Reads the rest of a text whose first quote is behind.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Cell, Fault> {
        let start = self.offset();
        let mut kind = Kind::Text;
        loop {
            self.find_special();
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let end = self.offset();
                    self.step();
                    return Ok(Cell { kind, start, end });
                }
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault("a control character stands in text")),
                None => return Err(What::Cut.at(self.at)),
            }
        }
    }

    /// Goes to the next quote, backslash or control character, or to the end.
    #[inline]
    fn find_special(&mut self) {
        while let Some(step) = self.bytes[self.at..].first_chunk::<STEP>() {
            let bytes = u8x16::new(*step);
            let special = bytes.simd_eq(u8x16::splat(b'"'))
                | bytes.simd_eq(u8x16::splat(b'\\'))
                | bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
            let special = special.to_bitmask();
            if special != 0 {
                self.at += special.trailing_zeros() as usize;
                return;
            }
            self.at += STEP;
        }
        while let Some(byte) = self.bytes.get(self.at) {
            if matches!(byte, 0..0x20 | b'"' | b'\\') {
                return;
            }
            self.at += 1;
        }
    }

    /// Steps over an escape, which it checks.
    fn escape(&mut self) -> Result<(), Fault> {
        self.step();
        match self.bytes.get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.step();
                Ok(())
            }
            Some(b'u') => {
                let half = self.unit()?;
                match half {
                    0xd800..0xdc00 => {
                        if !self.take(b"\\") || self.bytes.get(self.at) != Some(&b'u') {
                            return Err(self.fault("half a character is escaped"));
                        }
                        match self.unit()? {
                            0xdc00..0xe000 => Ok(()),
                            _ => Err(self.fault("half a character is escaped")),
                        }
                    }
                    0xdc00..0xe000 => Err(self.fault("half a character is escaped")),
                    _ => Ok(()),
                }
            }
            _ => Err(self.fault("an escape that JSON lacks")),
        }
    }

    /// Reads `u` and four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, Fault> {
        self.step();
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self
                .bytes
                .get(self.at)
                .and_then(|b| char::from(*b).to_digit(16));
            unit = unit * 16 + digit.ok_or_else(|| self.fault("an escape that JSON lacks"))?;
            self.step();
        }
        Ok(unit)
    }

    /// Reads a number as JSON spells it.
    #[inline]
    fn number(&mut self) -> Result<Cell, Fault> {
        const WRONG: &str = "a number that JSON lacks";
        let start = self.offset();
        if self.bytes.get(self.at) == Some(&b'-') {
            self.step();
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.step(),
            Some(b'1'..=b'9') => {
                self.digits();
            }
            _ => return Err(self.fault(WRONG)),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.step();
            if self.digits() == 0 {
                return Err(self.fault(WRONG));
            }
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.step();
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.step();
            }
            if self.digits() == 0 {
                return Err(self.fault(WRONG));
            }
        }
        Ok(self.cell(Kind::Number, start))
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    pub(crate) fn cell(&self, kind: Kind, start: Offset) -> Cell {
        let end = self.offset();
        Cell { kind, start, end }
    }

    /// Reads a value of any kind that stands in `depth` arrays and objects, and checks all of it.
    #[inline]
    pub(crate) fn value(&mut self, depth: u32) -> Result<Cell, Fault> {
        let first = self.peek()?;
        let start = self.offset();
        match first {
            b'"' => {
                self.step();
                self.text()
            }
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true", Kind::True),
            b'f' => self.word(b"false", Kind::False),
            b'n' => self.word(b"null", Kind::Null),
            b'[' => {
                self.skip_array(depth + 1)?;
                Ok(self.cell(Kind::Array, start))
            }
            b'{' => {
                self.skip_object(depth + 1)?;
                Ok(self.cell(Kind::Object, start))
            }
            _ => Err(self.fault("a value is missing")),
        }
    }

    #[inline]
    fn word(&mut self, word: &'static [u8], kind: Kind) -> Result<Cell, Fault> {
        let start = self.offset();
        if self.take(word) {
            return Ok(self.cell(kind, start));
        }
        let rest = &self.bytes[self.at..];
        if word.starts_with(rest) {
            return Err(What::Cut.at(self.bytes.len()));
        }
        Err(self.fault("a value is missing"))
    }

    fn skip_array(&mut self, depth: u32) -> Result<(), Fault> {
        self.enter(depth)?;
        let mut is_first = true;
        while self.next(is_first, b']')? {
            self.value(depth)?;
            is_first = false;
        }
        Ok(())
    }

    fn skip_object(&mut self, depth: u32) -> Result<(), Fault> {
        self.enter(depth)?;
        let mut is_first = true;
        while self.next_name(is_first)? {
            self.text()?;
            self.colon()?;
            self.value(depth)?;
            is_first = false;
        }
        Ok(())
    }

    /// Steps over a bracket or brace into `depth`.
    pub(crate) fn enter(&mut self, depth: u32) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(What::Deep.at(self.at));
        }
        self.step();
        Ok(())
    }

    /// Makes sure that nothing follows.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Ok(_) => Err(self.fault("something follows the end")),
            Err(_) => Ok(()),
        }
    }
}

/// Appends what a checked text with escapes means.
pub(crate) fn unescape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        let mut used = at + 2;
        out.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut unit = unit(rest, at);
                used += 4;
                if let 0xd800..0xdc00 = unit {
                    let low = self::unit(rest, at + 6);
                    unit = 0x10000 + ((unit - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                    used += 6;
                }
                char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => char::from(other),
        });
        rest = rest.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// The number of `\uXXXX` at a place.
fn unit(text: &str, at: usize) -> u32 {
    let digits = text.get(at + 2..at + 6).unwrap_or_default();
    u32::from_str_radix(digits, 16).unwrap_or_default()
}
