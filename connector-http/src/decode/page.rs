//! A page of JSON into rows.

use std::sync::Arc;

use connector_core::{Batch, Error, ErrorKind, Result, Schema, Value};

use futures::{Stream, StreamExt};

use super::{
    cell::{self, Scratch},
    reply::Reply,
    scan::{Cell, Fault, Kind, Scan, What},
    tree::{Member, ROOT, Tree, Wrong},
};

const CUT: &str = "the reply was cut short";

/// What a page said beside its rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageFacts {
    /// The link or token of the next page, if there is one. An empty one is none.
    pub next: Option<String>,
    /// The number of all records, if the page says it.
    pub count: Option<u64>,
    /// How many records the page held.
    pub records: usize,
    /// How many rows were written; not the number of records where each element of an array is a
    /// row.
    pub rows: usize,
    /// The key of the last row, in the order of the key's columns; empty where there is no row.
    pub last_key: Vec<Value<'static>>,
}

/// Turns pages of JSON into rows, as a [`Reply`] declares them.
///
/// It goes along the text once and builds no value of it. It is made once for a walk: what it has
/// learned of the order of members makes the next page faster.
///
/// ```
/// use std::sync::Arc;
/// use connector_http::connector_core::{Batch, Value};
/// use connector_http::decode::{PageDecoder, Reply, int, text};
///
/// const APPS: Reply = Reply {
///     name: "detected_apps",
///     columns: &[text("id", "id").key(), int("bytes", "sizeInByte").zero_is_null()],
///     ..Reply::ODATA
/// }
/// .checked();
///
/// let mut decoder = PageDecoder::new(&APPS)?;
/// let mut rows = Batch::new(Arc::clone(decoder.schema()));
/// let page = br#"{"@odata.nextLink": "https://example.com/2",
///     "value": [{"id": "a", "sizeInByte": 10}, {"sizeInByte": 0, "id": "b"}]}"#;
/// let facts = decoder.decode(page, &mut rows)?;
/// assert_eq!((rows.len(), facts.next.as_deref()), (2, Some("https://example.com/2")));
/// assert_eq!(facts.last_key, [Value::Text("b".into())]);
/// # Ok::<(), connector_http::connector_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PageDecoder<'a> {
    reply: &'a Reply<'a>,
    schema: Arc<Schema>,
    /// What stands around the records.
    envelope: Tree,
    list: usize,
    next: Option<usize>,
    count: Option<usize>,
    error: Option<usize>,
    around: Vec<Cell>,
    record: Rows<'a>,
    /// The last page that came in chunks.
    page: Vec<u8>,
}

/// What makes rows of a record.
#[derive(Debug, Clone)]
struct Rows<'a> {
    reply: &'a Reply<'a>,
    record: Tree,
    cells: Vec<Cell>,
    /// The cell of the array whose elements are rows, and what is looked for in them.
    each: Option<(usize, Tree)>,
    elements: Vec<Cell>,
    sources: Vec<Source>,
    given: Vec<Value<'static>>,
    scratch: Scratch,
    records: usize,
}

/// Where a column's value is.
#[derive(Debug, Clone, Copy)]
enum Source {
    Record(usize),
    Element(usize),
    Given(usize),
}

/// What went wrong, and where: a column's place, and a byte of the page.
enum Failure {
    Wrong(Wrong, Part),
    Misfit(cell::Misfit, usize, usize),
    /// The array of which each element is a row is none.
    NoArray(usize),
    /// The row as a whole.
    Row(Error, usize),
}

/// The tree that a node is of.
#[derive(Debug, Clone, Copy)]
enum Part {
    Envelope,
    Record,
    Element,
}

impl<'a> PageDecoder<'a> {
    /// Prepares for pages of that declaration.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] when the declaration is wrong, which one that was
    /// [checked](Reply::checked) is not.
    pub fn new(reply: &'a Reply<'a>) -> Result<Self> {
        let mut envelope = Tree::new();
        let list = envelope.node(reply.list);
        let mut cell = |path: &str| (!path.is_empty()).then(|| envelope.cell(path));
        let (next, count, error) = (cell(reply.next), cell(reply.count), cell(reply.error));
        Ok(Self {
            reply,
            schema: Arc::new(reply.schema()?),
            list,
            next,
            count,
            error,
            around: vec![Cell::ABSENT; envelope.cells()],
            envelope,
            record: Rows::new(reply),
            page: Vec::new(),
        })
    }

    /// Returns the columns of the rows.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Returns the declaration.
    pub fn reply(&self) -> &'a Reply<'a> {
        self.reply
    }

    /// Sets the value of a column that is [given](super::given), for the pages that follow.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when there is no such column.
    pub fn give(&mut self, column: &str, value: Value<'static>) -> Result<()> {
        *self.reply.given_place(column, &mut self.record.given)? = value;
        Ok(())
    }

    /// Writes the rows of a page, each once its record has ended. After an error, rows of the
    /// page's first records may have been written: the read has failed.
    ///
    /// # Errors
    ///
    /// All name the data set, and where there is one, the column, the record's number in the page
    /// (from 1) and the byte of the page. [`ErrorKind::Incomplete`] when the page ends too early;
    /// [`ErrorKind::Source`] when it is an error in place of records; [`ErrorKind::Data`] when it
    /// is no JSON, has no records, names a member twice, or when a value is missing or does not fit
    /// its column; [`ErrorKind::Unexpected`] when `rows` has other columns.
    pub fn decode(&mut self, page: &[u8], rows: &mut Batch) -> Result<PageFacts> {
        if rows.schema() != &self.schema {
            return Err(self.error(ErrorKind::Unexpected, "a batch of other columns was given"));
        }
        // Places are kept in 32 bits.
        if u32::try_from(page.len()).is_err() {
            return Err(self.error(ErrorKind::Data, "the reply is over 4 GiB"));
        }
        let page = std::str::from_utf8(page).map_err(|error| {
            let (kind, what) = match error.error_len() {
                Some(_) => (ErrorKind::Data, "the reply is not UTF-8"),
                None => (ErrorKind::Incomplete, CUT),
            };
            self.error(kind, what).with("byte", error.valid_up_to())
        })?;
        let before = rows.len();
        self.envelope.begin();
        self.around.fill(Cell::ABSENT);
        self.record.records = 0;
        // A mark that RFC 8259 lets a reader pass over.
        let start = if page.starts_with('\u{feff}') { 3 } else { 0 };
        let mut scan = Scan::new(page, start);
        let listed = self
            .around(&mut scan, ROOT, 0, rows)
            .and_then(|listed| {
                let end = scan
                    .end()
                    .map_err(|fault| Failure::Wrong(fault.into(), Part::Envelope));
                end.map(|()| listed)
            })
            .map_err(|failure| self.explain(failure))?;
        if let Some(error) = self.error
            && !matches!(self.around[error].kind, Kind::Absent | Kind::Null)
        {
            return Err(self.error(ErrorKind::Source, "the reply is an error, not records"));
        }
        if !listed {
            let error = self.error(
                ErrorKind::Data,
                "the reply has no records where they should be",
            );
            return Err(error.with("path", self.reply.list));
        }
        let count = self.fact(self.count, page).map(|count| count.parse());
        let count = count.transpose().map_err(|_| {
            let error = self.error(ErrorKind::Data, "the number of all records is no number");
            error.with("path", self.reply.count)
        })?;
        let written = rows.len() - before;
        Ok(PageFacts {
            next: self.fact(self.next, page).filter(|next| !next.is_empty()),
            count,
            records: self.record.records,
            rows: written,
            last_key: if written == 0 {
                Vec::new()
            } else {
                self.key_of_last(rows)
            },
        })
    }

    /// Writes the rows of a page that arrives in chunks; see [`decode`](Self::decode). The chunks
    /// are put together first, in memory that is used again for the next page.
    ///
    /// # Errors
    ///
    /// Those of the chunks and of [`decode`](Self::decode); [`ErrorKind::Data`] when the page is
    /// larger than `max_bytes`.
    pub async fn decode_chunks<B>(
        &mut self,
        chunks: impl Stream<Item = Result<B>> + Send,
        max_bytes: usize,
        rows: &mut Batch,
    ) -> Result<PageFacts>
    where
        B: AsRef<[u8]> + Send,
    {
        let mut chunks = std::pin::pin!(chunks);
        let mut page = std::mem::take(&mut self.page);
        page.clear();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            if chunk.as_ref().len() > max_bytes - page.len() {
                let error = self.error(ErrorKind::Data, "the reply is larger than is allowed");
                return Err(error.with("bytes", max_bytes));
            }
            page.extend_from_slice(chunk.as_ref());
        }
        let facts = self.decode(&page, rows);
        self.page = page;
        facts
    }

    fn key_of_last(&self, rows: &Batch) -> Vec<Value<'static>> {
        let columns = self.schema.columns().iter().enumerate();
        let key = columns.filter(|(_, column)| column.is_key());
        rows.rows().last().map_or_else(Vec::new, |row| {
            key.map(|(place, _)| row.at(place).into_owned()).collect()
        })
    }

    /// Reads what a page says beside its records.
    fn fact(&self, cell: Option<usize>, page: &str) -> Option<String> {
        let cell = self.around[cell?];
        match cell.kind {
            Kind::Absent | Kind::Null => None,
            _ => Some(cell::text_of(cell, page, &mut String::new()).to_owned()),
        }
    }

    /// Reads what stands around the records, and them; returns whether they were there.
    fn around(
        &mut self,
        scan: &mut Scan<'_>,
        node: usize,
        depth: u32,
        rows: &mut Batch,
    ) -> Result<bool, Failure> {
        if node == self.list {
            return self.list(scan, depth, rows);
        }
        let wrong = |wrong: Wrong| Failure::Wrong(wrong, Part::Envelope);
        let is_object = scan.peek().map_err(|fault| wrong(fault.into()))? == b'{';
        if !is_object || !self.envelope.leads_to(node, self.list) {
            let filled = self.envelope.fill(scan, node, &mut self.around, depth);
            return filled.map(|()| false).map_err(wrong);
        }
        scan.enter(depth + 1).map_err(|fault| wrong(fault.into()))?;
        let (mut place, mut is_first, mut listed) = (0, true, false);
        loop {
            let member = self.envelope.next_member(scan, node, &mut place, is_first);
            match member.map_err(wrong)? {
                Some(Member::Wanted(member)) => {
                    listed |= self.around(scan, member, depth + 1, rows)?;
                }
                Some(Member::Other) => {
                    scan.value(depth + 1).map_err(|fault| wrong(fault.into()))?;
                }
                None => return Ok(listed),
            }
            is_first = false;
        }
    }

    fn list(&mut self, scan: &mut Scan<'_>, depth: u32, rows: &mut Batch) -> Result<bool, Failure> {
        let wrong = |fault: Fault| Failure::Wrong(fault.into(), Part::Envelope);
        match scan.peek().map_err(wrong)? {
            b'{' => self.record.read(scan, depth, rows)?,
            b'[' => {
                scan.enter(depth + 1).map_err(wrong)?;
                let mut is_first = true;
                while scan.next(is_first, b']').map_err(wrong)? {
                    self.record.read(scan, depth + 1, rows)?;
                    is_first = false;
                }
            }
            _ => {
                scan.value(depth).map_err(wrong)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, message).with("data set", self.reply.name)
    }

    #[cold]
    fn explain(&self, failure: Failure) -> Error {
        let row = self.record.records;
        let located = |error: Error, at: usize| {
            let error = if row == 0 {
                error
            } else {
                error.with("row", row)
            };
            error.with("byte", at)
        };
        match failure {
            Failure::Wrong(Wrong::Text(Fault { at, what }), _) => {
                let (kind, message) = match what {
                    What::Cut => (ErrorKind::Incomplete, CUT.to_owned()),
                    What::Json(what) => (ErrorKind::Data, format!("the reply is not JSON: {what}")),
                    What::Deep => (
                        ErrorKind::Data,
                        "the reply nests over 127 levels deep".to_owned(),
                    ),
                };
                located(self.error(kind, message), at)
            }
            Failure::Wrong(Wrong::Twice(node, at), part) => {
                let error = self.error(ErrorKind::Data, "the reply has a member twice");
                located(self.at_node(error, node, part), at)
            }
            Failure::Wrong(Wrong::NoObject(node, at), part) => {
                let error = self.error(
                    ErrorKind::Data,
                    "the reply has no object where one should be",
                );
                located(self.at_node(error, node, part), at)
            }
            Failure::Misfit(misfit, column, at) => {
                let column = &self.reply.columns[column];
                let error = self.error(ErrorKind::Data, misfit.message(column.ty));
                located(error.with("column", column.name), at)
            }
            Failure::NoArray(at) => {
                let error = self.error(
                    ErrorKind::Data,
                    "the reply has no array where one should be",
                );
                located(error.with("path", self.reply.each), at)
            }
            // It names the column and a row of its own counting.
            Failure::Row(error, at) => {
                let column = error.context().find(|(name, _)| *name == "column");
                let mut named = self.error(error.kind(), error.message());
                if let Some((name, column)) = column {
                    named = named.with(name, column);
                }
                located(named, at)
            }
        }
    }

    /// Names the column that a node is of, or its path.
    fn at_node(&self, error: Error, node: usize, part: Part) -> Error {
        let (path, prefix) = match part {
            Part::Envelope => (self.envelope.path(node), ""),
            Part::Record => (self.record.record.path(node), ""),
            Part::Element => {
                let tree = self.record.each.as_ref().map(|(_, tree)| tree);
                (tree.map_or("", |tree| tree.path(node)), self.reply.each)
            }
        };
        let path = match (prefix, path) {
            ("", path) => path.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        };
        let of_record = !matches!(part, Part::Envelope);
        let mut columns = self.reply.columns.iter();
        match columns.find(|column| of_record && !column.given && column.path == path) {
            Some(column) => error.with("column", column.name),
            None if path.is_empty() => error,
            None => error.with("path", path),
        }
    }
}

impl<'a> Rows<'a> {
    fn new(reply: &'a Reply<'a>) -> Self {
        let (mut record, mut element) = (Tree::new(), Tree::new());
        let mut given = 0;
        let sources = reply
            .columns
            .iter()
            .map(|column| {
                if column.given {
                    given += 1;
                    return Source::Given(given - 1);
                }
                match reply.within_element(column.path) {
                    Some(path) => Source::Element(element.cell(path)),
                    None => Source::Record(record.cell(column.path)),
                }
            })
            .collect();
        let each = (!reply.each.is_empty()).then(|| record.cell(reply.each));
        Self {
            reply,
            cells: vec![Cell::ABSENT; record.cells()],
            record,
            elements: vec![Cell::ABSENT; element.cells()],
            each: each.map(|cell| (cell, element)),
            sources,
            given: vec![Value::Null; given],
            scratch: Scratch::default(),
            records: 0,
        }
    }

    /// Reads the record that comes next and writes its row, or its rows.
    fn read(&mut self, scan: &mut Scan<'_>, depth: u32, rows: &mut Batch) -> Result<(), Failure> {
        self.records += 1;
        let wrong = |wrong: Wrong| Failure::Wrong(wrong, Part::Record);
        let is_object = scan.peek().map_err(|fault| wrong(fault.into()))? == b'{';
        let start = scan.at();
        if !is_object {
            return Err(wrong(Wrong::NoObject(ROOT, start)));
        }
        self.cells.fill(Cell::ABSENT);
        self.record.begin();
        self.record
            .fill(scan, ROOT, &mut self.cells, depth)
            .map_err(wrong)?;
        let Some((array, _)) = &self.each else {
            return self.write(scan.page(), start, rows);
        };
        let array = self.cells[*array];
        match array.kind {
            Kind::Absent | Kind::Null => return Ok(()),
            Kind::Array => {}
            _ => return Err(Failure::NoArray(array.start as usize)),
        }
        let wrong = |wrong: Wrong| Failure::Wrong(wrong, Part::Element);
        // Once more along what is known to be whole: columns of the record may have come later.
        let mut scan = Scan::new(scan.page(), array.start as usize + 1);
        let mut is_first = true;
        while scan
            .next(is_first, b']')
            .map_err(|fault| wrong(fault.into()))?
        {
            let start = scan.at();
            self.elements.fill(Cell::ABSENT);
            if let Some((_, element)) = &mut self.each {
                element.begin();
                element
                    .fill(&mut scan, ROOT, &mut self.elements, 0)
                    .map_err(wrong)?;
            }
            self.write(scan.page(), start, rows)?;
            is_first = false;
        }
        Ok(())
    }

    fn write(&mut self, page: &str, start: usize, rows: &mut Batch) -> Result<(), Failure> {
        let mut row = rows.row();
        for (place, source) in self.sources.iter().enumerate() {
            let column = &self.reply.columns[place];
            let cell = match *source {
                Source::Record(cell) => self.cells[cell],
                Source::Element(cell) => self.elements[cell],
                Source::Given(value) => {
                    cell::write_given(&mut row, column, &self.given[value])
                        .map_err(|misfit| Failure::Misfit(misfit, place, start))?;
                    continue;
                }
            };
            cell::write(&mut row, column, cell, page, &mut self.scratch).map_err(|misfit| {
                let at = match cell.kind {
                    Kind::Absent => start,
                    _ => cell.start as usize,
                };
                Failure::Misfit(misfit, place, at)
            })?;
        }
        row.end().map_err(|error| Failure::Row(error, start))
    }
}
