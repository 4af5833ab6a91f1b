//! One record: its cells' bytes, without what separated them.

use std::ops::Range;

/// How many bytes are copied at once. Most cells are shorter, and a copy whose length is known
/// when compiled takes a fraction of one whose length is not.
const STEP: usize = 16;

/// The cells of one record, one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// The cells, and room behind them.
    text: Vec<u8>,
    ends: Vec<usize>,
    start: u64,
    /// No byte of the record is NUL, as far as is known.
    no_nul: bool,
}

impl Record {
    /// Returns how many cells there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the bytes of all cells.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.text[..self.end()]
    }

    /// Returns where each cell ends in [`Self::as_slice`].
    pub(crate) fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// Returns where a cell stands in [`Self::as_slice`].
    pub(crate) fn range(&self, place: usize) -> Option<Range<usize>> {
        let end = *self.ends.get(place)?;
        let start = match place {
            0 => 0,
            _ => self.ends[place - 1],
        };
        Some(start..end)
    }

    /// Returns a cell.
    pub(crate) fn cell(&self, place: usize) -> Option<&[u8]> {
        self.text.get(self.range(place)?)
    }

    /// Returns the cells.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let cell = &self.text[start..*end];
            start = *end;
            cell
        })
    }

    /// Returns the byte of the text at or after which the record begins, line ends aside.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Tells whether a byte is NUL.
    pub(crate) fn has_nul(&self) -> bool {
        !self.no_nul && memchr::memchr(0, self.as_slice()).is_some()
    }

    /// Notes that the record may hold a NUL.
    pub(crate) fn may_have_nul(&mut self) {
        self.no_nul = false;
    }

    /// Forgets the cells and begins at the byte of the text.
    pub(crate) fn begin(&mut self, start: u64) {
        self.ends.clear();
        self.no_nul = true;
        self.start = start;
    }

    /// Adds the cell of `len` bytes that `bytes` begins with. The quicker, the more follow it.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8], len: usize) {
        let start = self.end();
        let end = start + len;
        let room = self.text.get_mut(start..).and_then(<[u8]>::first_chunk_mut);
        match (room, bytes.first_chunk::<STEP>()) {
            (Some(room), Some(cell)) if len <= STEP => *room = *cell,
            _ => self.copy(start, &bytes[..len]),
        }
        self.ends.push(end);
    }

    fn copy(&mut self, start: usize, cell: &[u8]) {
        self.make_room(start + cell.len() + STEP);
        self.text[start..start + cell.len()].copy_from_slice(cell);
    }

    /// Lets a parser write on behind what is there: takes its room for bytes and for ends, and how
    /// much of each is used already.
    pub(crate) fn fill_with(
        &mut self,
        used: &mut Used,
        parse: impl FnOnce(&mut [u8], &mut [usize]) -> (usize, usize),
    ) {
        self.may_have_nul();
        self.make_room(used.bytes + STEP);
        if self.ends.len() == used.ends {
            self.ends.resize(2 * used.ends + 8, 0);
        }
        let (bytes, ends) = parse(&mut self.text[used.bytes..], &mut self.ends[used.ends..]);
        used.bytes += bytes;
        used.ends += ends;
    }

    /// Ends what [`Self::fill_with`] has filled.
    pub(crate) fn keep(&mut self, used: &Used) {
        self.ends.truncate(used.ends);
    }

    fn end(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn make_room(&mut self, len: usize) {
        if self.text.len() < len {
            self.text.resize(2 * len, 0);
        }
    }
}

/// How much of a record a parser has filled.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) bytes: usize,
    pub(crate) ends: usize,
}
