//! Immutable files of rows: a *base* holds a whole snapshot, a *changes* segment what one cycle
//! changed.
//!
//! ```text
//! segment = "DSYNCSEG" · version (u32) · header length (u32) · checksum (u64) · header (JSON)
//!           blocks of records, in the order of arrival
//!           blocks of index entries, in the order of key hashes
//!           blocks of places in the base that no longer count, sorted: in a base those of rows that
//!           lost to another of their key, in a changes segment those that it supersedes
//!           footer (JSON) · footer length (u32) · checksum (u64) · "DSYNCEND"
//! record  = row                               in a base
//!         | kind (u8) · row(s)                in a changes segment: after, then before (4 and 5: its
//!                                             digest)
//! row     = length (u32) · bytes
//! ```

use std::{marker::PhantomData, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    block::{
        BlockFile, BlockWriter, Blocks, ROW_BLOCK, STREAM_BLOCK, checksum, damaged, storage_error,
    },
    index::{Entry, Item},
    place::Place,
    retain::Retain,
    storage::Storage,
};
use crate::{
    error::{Error, ErrorKind, Result},
    row::Row,
    schema::Schema,
};

/// The format that this program writes. It reads no other, and says so by number.
pub(super) const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"DSYNCSEG";
const END: &[u8; 8] = b"DSYNCEND";
/// Magic, version, header length, checksum.
pub(super) const PREFIX: usize = 24;
/// Footer length, checksum, end mark.
pub(super) const TRAILER: usize = 20;

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SegmentKind {
    Base,
    /// A base that keeps keys and hashes; its schema has these columns.
    Digests,
    Changes,
}

#[derive(Serialize, Deserialize)]
struct Header {
    kind: SegmentKind,
    schema: Schema,
}

/// Where the parts end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Footer {
    records: u64,
    records_end: u64,
    index_end: u64,
    dead_end: u64,
    /// Of a base: its rows stand in the order of their keys.
    #[serde(default)]
    ordered: bool,
    /// Of a changes segment: its dead places are there. Segments of the first programs lack them.
    #[serde(default)]
    superseding: bool,
}

/// How a manifest names a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentRef {
    pub(crate) file: String,
    pub(crate) bytes: u64,
    /// Of the footer, so that a file of another time does not pass.
    checksum: String,
}

/// A change as it stands in a changes segment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Insert {
        after: Row,
    },
    /// With the row as it was, or its digest.
    Update {
        after: Row,
        before: Row,
    },
    /// The row as it was, or its digest.
    Delete {
        before: Row,
    },
}

const INSERT: u8 = 1;
const UPDATE: u8 = 2;
const DELETE: u8 = 3;
const UPDATE_OF_DIGEST: u8 = 4;
const DELETE_OF_DIGEST: u8 = 5;

fn length(row: &[u8]) -> Result<[u8; 4]> {
    match u32::try_from(row.len()) {
        Ok(length) => Ok(length.to_le_bytes()),
        Err(_) => Err(Error::new(ErrorKind::Data, "a row is over 4 GiB")),
    }
}

/// Writes a segment. What was never finished is nobody's, and is removed when the store is opened.
pub(crate) struct SegmentWriter {
    blocks: BlockWriter,
    file: String,
    records: u64,
}

impl SegmentWriter {
    pub(crate) fn create(
        storage: &dyn Storage,
        folder: &str,
        file: String,
        kind: SegmentKind,
        schema: &Schema,
    ) -> Result<Self> {
        let path = format!("{folder}/{file}");
        let located = storage.locate(&path);
        let out = storage
            .create(&path)
            .map_err(|error| storage_error(&located, "can't create a file", error))?;
        // Rows of a base are fetched one by one and are most of the bytes; prototypes lost more
        // time to packing them than the disk gained.
        let (target, compress) = match kind {
            SegmentKind::Base | SegmentKind::Digests => (ROW_BLOCK, false),
            SegmentKind::Changes => (STREAM_BLOCK, true),
        };
        let mut blocks = BlockWriter::new(out, located, target, compress);
        let header = json(&Header {
            kind,
            schema: schema.clone(),
        })?;
        let header_len = u32::try_from(header.len()).unwrap_or(u32::MAX);
        blocks.raw(MAGIC)?;
        blocks.raw(&VERSION.to_le_bytes())?;
        blocks.raw(&header_len.to_le_bytes())?;
        blocks.raw(&checksum(u64::from(VERSION), header_len, 0, &header).to_le_bytes())?;
        blocks.raw(&header)?;
        Ok(Self {
            blocks,
            file,
            records: 0,
        })
    }

    /// Appends a row of a base.
    pub(crate) fn row(&mut self, row: &[u8]) -> Result<Place> {
        self.records += 1;
        self.blocks.record(&[&length(row)?, row])
    }

    /// Appends a row of a spool, with its number before it.
    pub(crate) fn numbered_row(&mut self, number: [u8; 8], row: &[u8]) -> Result<Place> {
        let length = match u32::try_from(row.len() + number.len()) {
            Ok(length) => length.to_le_bytes(),
            Err(_) => return Err(Error::new(ErrorKind::Data, "a row is over 4 GiB")),
        };
        self.blocks.record(&[&length, &number, row])
    }

    pub(crate) fn insert(&mut self, after: &[u8]) -> Result<Place> {
        self.records += 1;
        self.blocks.record(&[&[INSERT], &length(after)?, after])
    }

    pub(crate) fn update(&mut self, after: &[u8], before: &[u8], retain: Retain) -> Result<Place> {
        let kind = match retain {
            Retain::Rows => UPDATE,
            Retain::Digests => UPDATE_OF_DIGEST,
        };
        self.records += 1;
        self.blocks
            .record(&[&[kind], &length(after)?, after, &length(before)?, before])
    }

    pub(crate) fn delete(&mut self, before: &[u8], retain: Retain) -> Result<()> {
        let kind = match retain {
            Retain::Rows => DELETE,
            Retain::Digests => DELETE_OF_DIGEST,
        };
        self.records += 1;
        let record = self.blocks.record(&[&[kind], &length(before)?, before]);
        record.map(drop)
    }

    /// Makes the rows written so far readable with [`RowFetcher`].
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.blocks.flush()
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Ends the records; the index follows.
    pub(crate) fn into_index(mut self) -> Result<IndexWriter> {
        self.blocks.stop_packing()?;
        let records_end = self.blocks.offset();
        Ok(IndexWriter {
            segment: self,
            records_end,
        })
    }
}

/// Writes a segment's second half: an entry a key, in the order of key hashes.
pub(crate) struct IndexWriter {
    segment: SegmentWriter,
    records_end: u64,
}

impl IndexWriter {
    /// Appends an item: an entry, but in the temporary segments that sorting takes.
    pub(crate) fn push<T: Item>(&mut self, item: T) -> Result<()> {
        let bytes = item.to_bytes();
        self.segment.blocks.record(&[bytes.as_ref()]).map(drop)
    }

    /// Ends a base and makes its content durable (its name is the caller's to sync). `dead` are the
    /// sorted places of rows that no entry points to; `ordered` tells whether the others stand in
    /// the order of their keys.
    pub(crate) fn finish_base(
        mut self,
        dead: impl Iterator<Item = Result<Place>>,
        ordered: bool,
    ) -> Result<SegmentRef> {
        let named = self.end(dead, ordered, false)?;
        self.segment.blocks.sync()?;
        Ok(named)
    }

    /// Ends a changes segment and makes its content durable. `superseded` are the sorted places of
    /// the base's rows that are changed or gone.
    pub(crate) fn finish_changes(
        mut self,
        superseded: impl Iterator<Item = Result<Place>>,
    ) -> Result<SegmentRef> {
        let named = self.end(superseded, false, true)?;
        self.segment.blocks.sync()?;
        Ok(named)
    }

    /// Ends a segment that no crash needs to find again.
    pub(crate) fn finish_temporary(mut self) -> Result<SegmentRef> {
        let named = self.end(std::iter::empty(), false, false)?;
        self.segment.blocks.flush()?;
        Ok(named)
    }

    fn end(
        &mut self,
        dead: impl Iterator<Item = Result<Place>>,
        ordered: bool,
        superseding: bool,
    ) -> Result<SegmentRef> {
        let (records, records_end) = (self.segment.records, self.records_end);
        let blocks = &mut self.segment.blocks;
        blocks.end_block()?;
        let index_end = blocks.offset();
        for place in dead {
            blocks.record(&[&place?.to_bytes()])?;
        }
        blocks.end_block()?;
        let dead_end = blocks.offset();
        let footer = json(&Footer {
            records,
            records_end,
            index_end,
            dead_end,
            ordered,
            superseding,
        })?;
        let footer_len = u32::try_from(footer.len()).unwrap_or(u32::MAX);
        let sum = checksum(dead_end, footer_len, 0, &footer);
        blocks.raw(&footer)?;
        blocks.raw(&footer_len.to_le_bytes())?;
        blocks.raw(&sum.to_le_bytes())?;
        blocks.raw(END)?;
        Ok(SegmentRef {
            file: self.segment.file.clone(),
            bytes: blocks.offset(),
            checksum: format!("{sum:016x}"),
        })
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Unexpected, "can't write JSON").with_source(error))
}

/// An open segment. Every byte that it returns has been checked.
pub(crate) struct Segment {
    blocks: BlockFile,
    kind: SegmentKind,
    schema: Arc<Schema>,
    /// The columns of its rows' digests.
    digests: Arc<Schema>,
    footer: Footer,
    records_start: u64,
}

impl Segment {
    pub(crate) fn open(storage: &dyn Storage, folder: &str, named: &SegmentRef) -> Result<Self> {
        let path = format!("{folder}/{}", named.file);
        let located = storage.locate(&path);
        let file = storage
            .open(&path)
            .map_err(|error| storage_error(&located, "can't open a file of the store", error))?;
        let blocks = BlockFile::new(file, located)?;
        let path = blocks.path();
        let u32_of = |b: &[u8]| b.try_into().map_or(0, u32::from_le_bytes);

        if blocks.size() != named.bytes {
            return Err(damaged(
                path,
                "it does not have the length that the manifest names",
            ));
        }
        let prefix = blocks.read_at(0, PREFIX)?;
        if !prefix.starts_with(MAGIC) {
            return Err(damaged(path, "it is not a segment"));
        }
        let version = u32_of(&prefix[8..12]);
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::Storage,
                format!("a file of the store has format {version}; this program knows {VERSION}"),
            )
            .with("path", path));
        }
        let header_len = u32_of(&prefix[12..16]);
        let header = blocks.read_at(PREFIX as u64, header_len as usize)?;
        if prefix[16..] != checksum(u64::from(VERSION), header_len, 0, &header).to_le_bytes() {
            return Err(damaged(path, "its header does not have its checksum"));
        }
        let header: Header = serde_json::from_slice(&header)
            .map_err(|_| damaged(path, "its header can't be read"))?;

        let trailer_at = blocks.size().saturating_sub(TRAILER as u64);
        let trailer = blocks.read_at(trailer_at, TRAILER)?;
        let footer_len = u32_of(&trailer[..4]);
        let footer_at = trailer_at.checked_sub(u64::from(footer_len));
        let footer_at = footer_at.ok_or_else(|| damaged(path, "its footer is cut off"))?;
        let footer = blocks.read_at(footer_at, footer_len as usize)?;
        let sum = checksum(footer_at, footer_len, 0, &footer);
        if trailer[4..12] != sum.to_le_bytes()
            || trailer[12..] != *END
            || named.checksum != format!("{sum:016x}")
        {
            return Err(damaged(path, "its footer does not have its checksum"));
        }
        let footer = serde_json::from_slice(&footer)
            .map_err(|_| damaged(path, "its footer can't be read"))?;
        let records_start = PREFIX as u64 + u64::from(header_len);
        let schema = Arc::new(header.schema);
        Ok(Self {
            blocks,
            kind: header.kind,
            digests: Arc::new(schema.digests_to_send()),
            schema,
            footer,
            records_start,
        })
    }

    /// The columns of its rows.
    pub(crate) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Tells whether this base keeps keys and hashes, and no rows.
    pub(crate) fn keeps_digests(&self) -> bool {
        self.kind == SegmentKind::Digests
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn kind(&self) -> SegmentKind {
        self.kind
    }

    /// Tells whether the rows of this base stand in the order of their keys.
    pub(crate) fn is_ordered(&self) -> bool {
        self.footer.ordered
    }

    /// Tells whether the dead places of this changes segment are there.
    pub(crate) fn is_superseding(&self) -> bool {
        self.footer.superseding
    }

    /// The places in the base that no longer count for what this segment says, sorted.
    pub(crate) fn dead(self: &Arc<Self>) -> Items<Place> {
        self.items_within(self.footer.index_end, self.footer.dead_end)
    }

    /// The entries in the order of key hashes.
    pub(crate) fn index(self: &Arc<Self>) -> Items<Entry> {
        self.items()
    }

    /// What was pushed after the records.
    pub(crate) fn items<T: Item>(self: &Arc<Self>) -> Items<T> {
        self.items_within(self.footer.records_end, self.footer.index_end)
    }

    fn items_within<T: Item>(self: &Arc<Self>, start: u64, end: u64) -> Items<T> {
        Items {
            segment: Arc::clone(self),
            blocks: Blocks::new(start, end),
            block: Bytes::new(),
            within: 0,
            item: PhantomData,
        }
    }

    /// The rows of a base, from the first.
    pub(crate) fn base_rows(self: &Arc<Self>) -> Result<BaseRows> {
        let blocks = Blocks::new(self.records_start, self.footer.records_end);
        let mut rows = BaseRows {
            segment: Arc::clone(self),
            blocks,
            at: 0,
            block: Bytes::new(),
            row: 0..0,
        };
        rows.advance()?;
        Ok(rows)
    }

    pub(crate) fn records(self: &Arc<Self>) -> RecordCursor {
        let blocks = Blocks::new(self.records_start, self.footer.records_end);
        RecordCursor {
            segment: Arc::clone(self),
            blocks,
            at: 0,
            block: Bytes::new(),
            within: 0,
        }
    }

    pub(crate) fn fetcher(self: &Arc<Self>) -> RowFetcher {
        let mark = match self.kind {
            SegmentKind::Base | SegmentKind::Digests => 0,
            SegmentKind::Changes => 1,
        };
        RowFetcher {
            blocks: Fetched::Segment(Arc::clone(self)),
            mark,
            at: u64::MAX,
            block: Bytes::new(),
        }
    }
}

/// The items of a segment in their order.
pub(crate) struct Items<T> {
    segment: Arc<Segment>,
    blocks: Blocks,
    block: Bytes,
    within: usize,
    item: PhantomData<T>,
}

impl<T: Item> Items<T> {
    /// Returns the next item, or none after the last.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<T>> {
        let item = self.peek()?;
        self.pass();
        Ok(item)
    }

    /// Returns the next item and stays at it. Blocks are asked for; what is between is a few loads
    /// an item.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<Option<T>> {
        let end = self.within + size_of::<T::Bytes>();
        if end > self.block.len() && !self.next_block()? {
            return Ok(None);
        }
        let bytes = self
            .block
            .get(self.within..self.within + size_of::<T::Bytes>());
        let bytes = bytes.and_then(|bytes| T::Bytes::try_from(bytes).ok());
        Ok(bytes.as_ref().map(T::from_bytes))
    }

    /// Goes on after the item that was peeked at.
    #[inline]
    pub(crate) fn pass(&mut self) {
        self.within = (self.within + size_of::<T::Bytes>()).min(self.block.len());
    }

    fn next_block(&mut self) -> Result<bool> {
        let cut = self.within != self.block.len();
        match self.blocks.next(&self.segment.blocks)? {
            None if !cut => Ok(false),
            Some((_, block)) if !cut && block.len() >= size_of::<T::Bytes>() => {
                (self.block, self.within) = (block, 0);
                Ok(true)
            }
            _ => Err(damaged(
                self.segment.blocks.path(),
                "its index has a wrong length",
            )),
        }
    }

    /// Returns a cursor over the same items from the first.
    pub(crate) fn again(&self) -> Self {
        self.segment.items()
    }
}

/// Cuts a row at `within` and moves past it.
fn cut_row(block: &Bytes, within: &mut usize) -> Option<Bytes> {
    let length = block.get(*within..*within + 4)?.try_into().ok()?;
    let start = *within + 4;
    let end = start + u32::from_le_bytes(length) as usize;
    (end <= block.len()).then(|| {
        *within = end;
        block.slice(start..end)
    })
}

/// Records in the order in which they were written.
pub(crate) struct RecordCursor {
    segment: Arc<Segment>,
    blocks: Blocks,
    at: u64,
    block: Bytes,
    within: usize,
}

impl RecordCursor {
    fn advance(&mut self) -> Result<Option<Place>> {
        if self.within >= self.block.len() {
            match self.blocks.next(&self.segment.blocks)? {
                None => return Ok(None),
                Some((at, block)) => (self.at, self.block, self.within) = (at, block, 0),
            }
        }
        Ok(Some(Place::new(self.at, self.within)))
    }

    fn row(&mut self) -> Result<Row> {
        let schema = Arc::clone(&self.segment.schema);
        self.row_of(schema)
    }

    fn row_of(&mut self, schema: Arc<Schema>) -> Result<Row> {
        match cut_row(&self.block, &mut self.within) {
            Some(bytes) => Ok(Row::new(schema, bytes)),
            None => Err(damaged(self.segment.blocks.path(), "a row is cut off")),
        }
    }

    /// Returns the next row of a base.
    pub(crate) fn next_row(&mut self) -> Result<Option<(Place, Row)>> {
        match self.advance()? {
            Some(place) => Ok(Some((place, self.row()?))),
            None => Ok(None),
        }
    }

    /// Returns the next record of a changes segment.
    pub(crate) fn next_record(&mut self) -> Result<Option<(Place, Record)>> {
        let Some(place) = self.advance()? else {
            return Ok(None);
        };
        let kind = self.block.get(self.within).copied();
        self.within += 1;
        let record = match kind {
            Some(INSERT) => Record::Insert { after: self.row()? },
            Some(UPDATE) => Record::Update {
                after: self.row()?,
                before: self.row()?,
            },
            Some(UPDATE_OF_DIGEST) => Record::Update {
                after: self.row()?,
                before: self.row_of(Arc::clone(&self.segment.digests))?,
            },
            Some(DELETE_OF_DIGEST) => Record::Delete {
                before: self.row_of(Arc::clone(&self.segment.digests))?,
            },
            Some(DELETE) => Record::Delete {
                before: self.row()?,
            },
            _ => {
                return Err(damaged(
                    self.segment.blocks.path(),
                    "a record is of no known kind",
                ));
            }
        };
        Ok(Some((place, record)))
    }
}

/// The rows of a base as they stand, without a copy: what a steady read is compared with.
pub(crate) struct BaseRows {
    segment: Arc<Segment>,
    blocks: Blocks,
    at: u64,
    block: Bytes,
    /// The current row in the block; empty before the first row and after the last.
    row: std::ops::Range<usize>,
}

impl BaseRows {
    /// Returns the current row's bytes, or none after the last.
    pub(crate) fn current(&self) -> Option<&[u8]> {
        // No row is empty, since a key has a column.
        self.block
            .get(self.row.clone())
            .filter(|row| !row.is_empty())
    }

    /// Returns where the current row is.
    pub(crate) fn place(&self) -> Place {
        Place::new(self.at, self.row.start.saturating_sub(4))
    }

    /// Returns the current row so that it outlives the block.
    pub(crate) fn keep(&self) -> Bytes {
        self.block.slice(self.row.clone())
    }

    /// Goes to the next row.
    pub(crate) fn advance(&mut self) -> Result<()> {
        let mut within = self.row.end;
        if within >= self.block.len() {
            match self.blocks.next(&self.segment.blocks)? {
                None => {
                    self.row = within..within;
                    return Ok(());
                }
                Some((at, block)) => (self.at, self.block, within) = (at, block, 0),
            }
        }
        let length = self.block.get(within..within + 4);
        let length = length
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_le_bytes);
        let start = within + 4;
        self.row = start..start + length as usize;
        if self.current().is_none() {
            return Err(damaged(self.segment.blocks.path(), "a row is cut off"));
        }
        Ok(())
    }
}

enum Fetched {
    Segment(Arc<Segment>),
    /// A segment that is still being written.
    Unfinished(BlockFile),
}

/// Fetches single rows by place; neighbours come from the block that was read last.
pub(crate) struct RowFetcher {
    blocks: Fetched,
    /// Bytes of a record before its first row.
    mark: usize,
    at: u64,
    block: Bytes,
}

impl RowFetcher {
    /// Reads rows of a base that is being written and was flushed.
    pub(crate) fn unfinished(storage: &dyn Storage, folder: &str, file: &str) -> Result<Self> {
        let path = format!("{folder}/{file}");
        let located = storage.locate(&path);
        let open = storage.open(&path);
        let open = open.map_err(|error| storage_error(&located, "can't open a file", error))?;
        let blocks = Fetched::Unfinished(BlockFile::new(open, located)?);
        Ok(Self {
            blocks,
            mark: 0,
            at: u64::MAX,
            block: Bytes::new(),
        })
    }

    /// Returns the (first) row of the record at that place.
    pub(crate) fn row(&mut self, place: Place) -> Result<Bytes> {
        let blocks = match &self.blocks {
            Fetched::Segment(segment) => &segment.blocks,
            Fetched::Unfinished(blocks) => blocks,
        };
        if self.at != place.block() {
            self.block = blocks.block(place.block())?;
            self.at = place.block();
        }
        let mut within = place.within() + self.mark;
        cut_row(&self.block, &mut within)
            .ok_or_else(|| damaged(blocks.path(), "its index points to no row"))
    }
}
