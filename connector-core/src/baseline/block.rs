//! Checksummed blocks in a file: the unit in which segments are written, read and found damaged.
//!
//! ```text
//! block = stored length (u32) · raw length (u32) · checksum (u64) · stored bytes
//! ```
//!
//! The stored bytes are LZ4 when the lengths differ. The checksum is XXH3 over the stored bytes,
//! seeded with the block's place in the file and both lengths, so that a block that was moved,
//! cut or relabelled does not pass either.

use std::io;

use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::{
    place::Place,
    storage::{ReadFile, WriteFile},
};
use crate::error::{Error, ErrorKind, Result};

/// Bytes before a block's content.
pub(super) const HEADER: usize = 16;

/// Rows of a base stand in small blocks, since scattered changes fetch one row from each.
pub(super) const ROW_BLOCK: usize = 8 << 10;

/// What is only read from start to end stands in larger ones.
pub(super) const STREAM_BLOCK: usize = 64 << 10;

/// What is written at a time.
const CHUNK: usize = 1 << 20;

/// What is read at a time: what is compared next is then still in the processor's cache.
const AHEAD: usize = 256 << 10;

pub(super) fn checksum(offset: u64, stored: u32, raw: u32, bytes: &[u8]) -> u64 {
    let lengths = u64::from(stored) << 32 | u64::from(raw);
    let seed = offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ lengths;
    XxHash3_64::oneshot_with_seed(seed, bytes)
}

/// Says which file failed, and how to go on when what it holds is wrong.
pub(crate) fn storage_error(path: &str, what: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Storage, what)
        .with("path", path)
        .with_source(error)
}

pub(super) fn damaged(path: &str, what: &'static str) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!("a file of the store is damaged: {what}; a clean sync of the data set heals it"),
    )
    .with("path", path)
}

/// Appends blocks to a new file.
pub(super) struct BlockWriter {
    file: Box<dyn WriteFile>,
    path: String,
    /// Blocks that are complete and not written yet.
    pending: Vec<u8>,
    /// How much of the file is written; `pending` comes after it.
    written: u64,
    /// The block being filled.
    block: Vec<u8>,
    target: usize,
    compress: bool,
}

impl BlockWriter {
    /// `path` is for messages. Blocks end with the record that fills them to `target` bytes.
    pub(super) fn new(
        file: Box<dyn WriteFile>,
        path: String,
        target: usize,
        compress: bool,
    ) -> Self {
        let block = Vec::with_capacity(target);
        Self {
            file,
            path,
            pending: Vec::new(),
            written: 0,
            block,
            target,
            compress,
        }
    }

    /// Ends the current block. What follows is not worth packing: hashes and places.
    pub(super) fn stop_packing(&mut self) -> Result<()> {
        self.end_block()?;
        self.compress = false;
        self.target = STREAM_BLOCK;
        Ok(())
    }

    /// Appends bytes outside of blocks.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.end_block()?;
        self.pending.extend_from_slice(bytes);
        self.write_pending(CHUNK)
    }

    /// Where the next block begins, once the current one has ended.
    pub(super) fn offset(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Appends a record and returns where its first byte is.
    pub(super) fn record(&mut self, parts: &[&[u8]]) -> Result<Place> {
        let place = Place::new(self.offset(), self.block.len());
        for part in parts {
            self.block.extend_from_slice(part);
        }
        if self.block.len() >= self.target {
            self.end_block()?;
        }
        Ok(place)
    }

    pub(super) fn end_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let packed = self
            .compress
            .then(|| lz4_flex::block::compress(&self.block));
        // Unpacking costs more than reading an eighth more.
        let stored = match &packed {
            Some(packed) if packed.len() < self.block.len() / 8 * 7 => packed,
            _ => &self.block,
        };
        let too_large =
            |_| Error::new(ErrorKind::Data, "a row is over 4 GiB").with("path", &self.path);
        let raw_len = u32::try_from(self.block.len()).map_err(too_large)?;
        let stored_len = u32::try_from(stored.len()).map_err(too_large)?;
        let sum = checksum(self.offset(), stored_len, raw_len, stored);
        self.pending.extend_from_slice(&stored_len.to_le_bytes());
        self.pending.extend_from_slice(&raw_len.to_le_bytes());
        self.pending.extend_from_slice(&sum.to_le_bytes());
        self.pending.extend_from_slice(stored);
        self.block.clear();
        self.write_pending(CHUNK)
    }

    fn write_pending(&mut self, at_least: usize) -> Result<()> {
        if self.pending.len() < at_least {
            return Ok(());
        }
        self.file
            .write(&self.pending)
            .map_err(|error| storage_error(&self.path, "can't write", error))?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Hands everything to the file, so that it can be read.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.end_block()?;
        self.write_pending(1)
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file
            .sync()
            .map_err(|error| storage_error(&self.path, "can't sync", error))
    }
}

/// Reads blocks from anywhere in a file.
pub(super) struct BlockFile {
    file: Box<dyn ReadFile>,
    path: String,
    size: u64,
}

impl BlockFile {
    pub(super) fn new(file: Box<dyn ReadFile>, path: String) -> Result<Self> {
        let size = file
            .size()
            .map_err(|error| storage_error(&path, "can't read", error))?;
        Ok(Self { file, path, size })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        if self
            .size
            .checked_sub(offset)
            .is_none_or(|rest| rest < len as u64)
        {
            return Err(damaged(&self.path, "it is too short"));
        }
        let mut bytes = vec![0; len];
        self.file
            .read_at(offset, &mut bytes)
            .map_err(|error| storage_error(&self.path, "can't read", error))?;
        Ok(bytes)
    }

    /// Reads the block that begins at `offset`.
    pub(super) fn block(&self, offset: u64) -> Result<Bytes> {
        // Most blocks come whole with the first read: the record that fills one is rarely longer.
        let guess = (HEADER + ROW_BLOCK + ROW_BLOCK / 16) as u64;
        let len = guess.min(self.size.saturating_sub(offset));
        let chunk = self.read_at(offset, usize::try_from(len).unwrap_or(HEADER))?;
        let whole = HEADER + self.lengths(&chunk)?.0 as usize;
        let chunk = if chunk.len() < whole {
            self.read_at(offset, whole)?
        } else {
            chunk
        };
        self.open(offset, &Bytes::from(chunk))
    }

    fn lengths(&self, block: &[u8]) -> Result<(u32, u32)> {
        let word = |at: usize| {
            block
                .get(at..at + 4)?
                .try_into()
                .ok()
                .map(u32::from_le_bytes)
        };
        match (word(0), word(4)) {
            (Some(stored), Some(raw)) => Ok((stored, raw)),
            _ => Err(damaged(&self.path, "a block is cut off")),
        }
    }

    /// Checks and unpacks the block at the start of `chunk`, which was read from `offset`.
    fn open(&self, offset: u64, chunk: &Bytes) -> Result<Bytes> {
        let wrong = || damaged(&self.path, "a block does not have its checksum");
        let (stored_len, raw_len) = self.lengths(chunk)?;
        let end = HEADER + stored_len as usize;
        let (Some(sum), true) = (chunk.get(8..HEADER), chunk.len() >= end) else {
            return Err(damaged(&self.path, "a block is cut off"));
        };
        let stored = chunk.slice(HEADER..end);
        if sum != checksum(offset, stored_len, raw_len, &stored).to_le_bytes() {
            return Err(wrong());
        }
        if stored_len == raw_len {
            return Ok(stored);
        }
        // The checksum vouches for the length, so it is no reason to fear the allocation.
        let unpacked = lz4_flex::block::decompress(&stored, raw_len as usize).ok();
        unpacked.map(Bytes::from).ok_or_else(wrong)
    }
}

/// A place in a run of blocks; asks the file for large pieces.
pub(super) struct Blocks {
    next: u64,
    end: u64,
    chunk: Bytes,
    chunk_at: u64,
}

impl Blocks {
    /// Reads the blocks from `start` to `end`.
    pub(super) fn new(start: u64, end: u64) -> Self {
        Self {
            next: start,
            end,
            chunk: Bytes::new(),
            chunk_at: start,
        }
    }

    /// Returns the next block and where it begins.
    pub(super) fn next(&mut self, file: &BlockFile) -> Result<Option<(u64, Bytes)>> {
        if self.next >= self.end {
            return Ok(None);
        }
        let mut ahead = self.ahead();
        let needed = match ahead.len() {
            0..HEADER => HEADER,
            _ => HEADER + file.lengths(&ahead)?.0 as usize,
        };
        if ahead.len() < needed {
            self.fill(file, HEADER)?;
            ahead = self.ahead();
            let needed = HEADER + file.lengths(&ahead)?.0 as usize;
            if ahead.len() < needed {
                self.fill(file, needed)?;
                ahead = self.ahead();
            }
        }
        let block = file.open(self.next, &ahead)?;
        let at = self.next;
        self.next += (HEADER + file.lengths(&ahead)?.0 as usize) as u64;
        Ok(Some((at, block)))
    }

    fn ahead(&self) -> Bytes {
        let skip = usize::try_from(self.next - self.chunk_at).unwrap_or(usize::MAX);
        if skip <= self.chunk.len() {
            self.chunk.slice(skip..)
        } else {
            Bytes::new()
        }
    }

    fn fill(&mut self, file: &BlockFile, at_least: usize) -> Result<()> {
        let rest = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let len = rest.min(AHEAD).max(at_least.min(rest));
        if len < at_least {
            return Err(damaged(&file.path, "a block is cut off"));
        }
        self.chunk = Bytes::from(file.read_at(self.next, len)?);
        self.chunk_at = self.next;
        Ok(())
    }
}
