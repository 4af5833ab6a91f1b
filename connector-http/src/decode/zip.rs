//! One file out of a zip archive, as it arrives: forwards only, in little memory.
//!
//! After APPNOTE.TXT 6.3.10 of PKWARE: sections 4.3.7 (local header), 4.3.9 (data descriptor),
//! 4.3.12 to 4.3.16 (directory), 4.5.3 (sizes of 64 bits).

use std::fmt;

use connector_core::{Error, ErrorKind, Result};
use flate2::{Crc, Decompress, FlushDecompress, Status};

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const DIRECTORY: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";

/// What follows the file itself is no longer: descriptor, directory of one entry, comment.
const TAIL_BYTES: usize = 256 << 10;

const CUT: &str = "the archive was cut short";
const WRONG: &str = "the file's checksum or size is not what the archive says";

/// Unpacks an archive of one file, stored or deflated, in the order of its bytes.
///
/// ```no_run
/// # fn chunks() -> Vec<Vec<u8>> { Vec::new() }
/// use connector_http::decode::Unzip;
///
/// let mut zip = Unzip::new(64 << 30);
/// let mut buffer = vec![0; 64 << 10];
/// for chunk in chunks() {
///     let mut rest = &chunk[..];
///     loop {
///         let unpacked = zip.read(&mut rest, &mut buffer)?;
///         if unpacked == 0 {
///             break;
///         }
///         // What is unpacked may be used; that all of it is right is known at the end.
///     }
/// }
/// zip.finish()?;
/// # Ok::<(), connector_http::connector_core::Error>(())
/// ```
pub struct Unzip {
    limit: u64,
    state: State,
    /// What was read of a part that is not whole yet.
    part: Vec<u8>,
    entry: Entry,
    inflate: Decompress,
    checksum: Crc,
    packed: u64,
    unpacked: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Data,
    Tail,
}

/// What the header says of the file.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    is_deflated: bool,
    /// Sizes and checksum come behind the file.
    has_descriptor: bool,
    checksum: u32,
    packed: u64,
    unpacked: u64,
}

impl Unzip {
    /// Prepares for an archive whose file is `limit` bytes at most, unpacked.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            state: State::Header,
            part: Vec::new(),
            entry: Entry::default(),
            inflate: Decompress::new(false),
            checksum: Crc::new(),
            packed: 0,
            unpacked: 0,
        }
    }

    /// Takes bytes of the archive off `input` and writes what they unpack to; returns how many
    /// bytes that is, which is none once `input` is used up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] when it is no archive, is encrypted, is packed in another way, holds more
    /// than one file, is damaged, or unpacks to more than the limit.
    pub fn read(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize> {
        loop {
            if input.is_empty() && self.state != State::Data {
                return Ok(0);
            }
            match self.state {
                State::Header => self.header(input)?,
                State::Data => {
                    let before = self.unpacked;
                    let goes_on = self.data(input, output)?;
                    let unpacked = usize::try_from(self.unpacked - before).unwrap_or_default();
                    if unpacked > 0 || !goes_on {
                        return Ok(unpacked);
                    }
                }
                State::Tail => {
                    self.part.extend_from_slice(input);
                    *input = &[];
                    if self.part.len() > TAIL_BYTES {
                        return Err(data("the archive holds more than one file"));
                    }
                }
            }
        }
    }

    fn header(&mut self, input: &mut &[u8]) -> Result<()> {
        let mut need = 30;
        if self.part.len() >= need {
            need += usize::from(u16_at(&self.part, 26)) + usize::from(u16_at(&self.part, 28));
        }
        let taken = need.saturating_sub(self.part.len()).min(input.len());
        self.part.extend_from_slice(&input[..taken]);
        *input = &input[taken..];
        let seen = self.part.len().min(4);
        if self.part[..seen] != LOCAL[..seen] {
            return Err(data("the reply is no zip archive with a file in it"));
        }
        // With the first 30 bytes it is known how many there are.
        if self.part.len() < need || (need == 30 && taken > 0 && self.lengths() > 0) {
            return Ok(());
        }
        self.entry = entry(&self.part)?;
        self.part.clear();
        self.state = State::Data;
        Ok(())
    }

    fn lengths(&self) -> usize {
        usize::from(u16_at(&self.part, 26)) + usize::from(u16_at(&self.part, 28))
    }

    /// Unpacks; returns whether a next part has begun.
    fn data(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<bool> {
        let mut packed = *input;
        if !self.entry.has_descriptor {
            let left = self.entry.packed - self.packed;
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            packed = &packed[..packed.len().min(left)];
        }
        let (taken, written, is_end);
        if self.entry.is_deflated {
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(packed, output, FlushDecompress::None)
                .map_err(|error| data("the archive is damaged").with_source(error))?;
            let count = |now: u64, before: u64| usize::try_from(now - before).unwrap_or_default();
            taken = count(self.inflate.total_in(), before.0);
            written = count(self.inflate.total_out(), before.1);
            is_end = status == Status::StreamEnd;
        } else {
            taken = packed.len().min(output.len());
            written = taken;
            output[..taken].copy_from_slice(&packed[..taken]);
            is_end = self.packed + taken as u64 == self.entry.packed;
        }
        *input = &input[taken..];
        self.packed += taken as u64;
        self.unpacked += written as u64;
        self.checksum.update(&output[..written]);
        if self.unpacked > self.limit {
            return Err(
                data("the archive's file is larger than is allowed").with("bytes", self.limit)
            );
        }
        if is_end {
            self.state = State::Tail;
            let entry = &self.entry;
            if !entry.has_descriptor && !self.is(entry.checksum, entry.packed, entry.unpacked) {
                return Err(data(WRONG));
            }
            return Ok(true);
        }
        let is_used_up = !self.entry.has_descriptor && self.packed == self.entry.packed;
        if is_used_up && written == 0 {
            return Err(data("the archive is damaged"));
        }
        Ok(false)
    }

    /// Tells whether these are what was unpacked.
    fn is(&self, checksum: u32, packed: u64, unpacked: u64) -> bool {
        (checksum, packed, unpacked) == (self.checksum.sum(), self.packed, self.unpacked)
    }

    /// Makes sure that the archive was whole.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Incomplete`] when it ends too early; [`ErrorKind::Data`] when checksum or sizes
    /// are others than those of what was unpacked, or when it holds another file.
    pub fn finish(self) -> Result<()> {
        let cut = || Error::new(ErrorKind::Incomplete, CUT);
        if self.state != State::Tail {
            return Err(cut());
        }
        let mut at = self.descriptor()?;
        let tail = &self.part;
        let part = |at: usize, len: usize| tail.get(at..at.checked_add(len)?);
        let entry = part(at, 46).ok_or_else(cut)?;
        if entry[..4] == LOCAL {
            return Err(data("the archive holds more than one file"));
        }
        if entry[..4] != DIRECTORY {
            return Err(data("the archive is damaged"));
        }
        if u32_at(entry, 16) != self.checksum.sum() {
            return Err(data(WRONG));
        }
        at += 46
            + [28, 30, 32]
                .map(|place| usize::from(u16_at(entry, place)))
                .iter()
                .sum::<usize>();
        if part(at, 4) == Some(&END_64[..]) {
            let end = part(at, 12).ok_or_else(cut)?;
            let len = usize::try_from(u64_at(end, 4)).map_err(|_| cut())?;
            at = at.saturating_add(12).saturating_add(len);
        }
        if part(at, 4) == Some(&LOCATOR_64[..]) {
            at += 20;
        }
        let end = part(at, 22).ok_or_else(cut)?;
        if end[..4] == DIRECTORY {
            return Err(data("the archive holds more than one file"));
        }
        if end[..4] != END {
            return Err(data("the archive is damaged"));
        }
        part(at + 22, usize::from(u16_at(end, 20))).ok_or_else(cut)?;
        Ok(())
    }

    /// Reads the descriptor behind the file, of which there are four forms; returns its length.
    fn descriptor(&self) -> Result<usize> {
        if !self.entry.has_descriptor {
            return Ok(0);
        }
        let mut is_there = false;
        for (mark, len) in [(4, 16), (4, 24), (0, 12), (0, 20)] {
            let Some(form) = self.part.get(..len) else {
                continue;
            };
            let followed = self.part.get(len..len + 4);
            if mark == 4 && form[..4] != DESCRIPTOR
                || !followed.is_some_and(|next| next == DIRECTORY || next == LOCAL)
            {
                continue;
            }
            is_there = true;
            let (packed, unpacked) = if len - mark == 12 {
                (u32_at(form, mark + 4).into(), u32_at(form, mark + 8).into())
            } else {
                (u64_at(form, mark + 4), u64_at(form, mark + 12))
            };
            // Of more than 4 GiB, a form of 32 bits has what is left over.
            let is = |unpacked: u64, packed: u64| {
                self.is(u32_at(form, mark), packed, unpacked)
                    || len - mark == 12
                        && u32_at(form, mark) == self.checksum.sum()
                        && (packed, unpacked)
                            == (self.packed & 0xffff_ffff, self.unpacked & 0xffff_ffff)
            };
            if is(unpacked, packed) {
                return Ok(len);
            }
        }
        Err(if is_there {
            data(WRONG)
        } else {
            Error::new(ErrorKind::Incomplete, CUT)
        })
    }
}

impl fmt::Debug for Unzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unzip({} bytes of {})", self.unpacked, self.packed)
    }
}

fn data(message: &str) -> Error {
    Error::new(ErrorKind::Data, message)
}

/// Reads a local header, which is whole.
fn entry(header: &[u8]) -> Result<Entry> {
    let (flags, method) = (u16_at(header, 6), u16_at(header, 8));
    if flags & 1 != 0 {
        return Err(data("the archive is encrypted"));
    }
    if !matches!(method, 0 | 8) {
        return Err(
            data("the archive is packed in a way that can't be unpacked").with("method", method),
        );
    }
    let mut entry = Entry {
        is_deflated: method == 8,
        has_descriptor: flags & 8 != 0,
        checksum: u32_at(header, 14),
        packed: u32_at(header, 18).into(),
        unpacked: u32_at(header, 22).into(),
    };
    if !entry.is_deflated && entry.has_descriptor {
        return Err(data("the archive does not say where its file ends"));
    }
    let mut extra = &header[30 + usize::from(u16_at(header, 26))..];
    while let Some((head, rest)) = extra.split_at_checked(4) {
        let len = usize::from(u16_at(head, 2));
        let Some((field, rest)) = rest.split_at_checked(len) else {
            break;
        };
        // The sizes that do not fit, in this order.
        if u16_at(head, 0) == 1 {
            let mut sizes = field.chunks_exact(8).map(|size| u64_at(size, 0));
            for size in [&mut entry.unpacked, &mut entry.packed] {
                if *size == 0xffff_ffff {
                    *size = sizes.next().ok_or_else(|| data("the archive is damaged"))?;
                }
            }
        }
        extra = rest;
    }
    Ok(entry)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let two = bytes.get(at..at + 2).and_then(|two| two.try_into().ok());
    u16::from_le_bytes(two.unwrap_or_default())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    u32::from_le_bytes(four.unwrap_or_default())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes
        .get(at..at + 8)
        .and_then(|eight| eight.try_into().ok());
    u64::from_le_bytes(eight.unwrap_or_default())
}
