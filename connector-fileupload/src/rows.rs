//! Records of files into rows of a data set.

use std::{collections::HashSet, sync::Arc};

use connector_core::{
    BlockingWriter, Error, ErrorKind, Result, Retry, RowTarget, RowWriter, Schema, Type,
};

use crate::{
    bad::{BadRow, BadRows},
    config::{Empty, Encoding},
    datasets::{Files, Settings},
    file::while_unchanged,
    key::{self, Copies},
    record::Record,
    stop::Stop,
    table::Table,
};

/// Writes every row of the files.
///
/// # Errors
///
/// [`ErrorKind::Incomplete`] when a file changed meanwhile, [`ErrorKind::Data`] for bad rows.
pub(crate) fn read(files: &Files, out: &mut BlockingWriter, stop: &Stop) -> Result<()> {
    while_unchanged(&files.list, || write_all(files, out, stop))?.finish()
}

fn write_all<'a>(files: &'a Files, out: &mut BlockingWriter, stop: &Stop) -> Result<BadRows<'a>> {
    let schema = Arc::clone(out.schema());
    let counted = key::is_counted(&schema);
    let mut copies = if counted {
        Some(Copies::count(files, &schema, stop)?)
    } else {
        None
    };
    let mut bad = BadRows::new(files);
    let mut seen = HashSet::new();
    for file in &files.list {
        let mut table = Table::open(file, &files.settings.format)?;
        check_shape(&table, &schema, &file.name)?;
        seen.extend(table.columns().iter().cloned());
        let layout = Layout::new(&table, &schema, &files.settings);
        if let Some(copies) = &mut copies {
            copies.begin(&table, &files.settings);
        }
        while table.advance()? {
            let count = match &mut copies {
                None => 1,
                // A bad row has no count; what is wrong with it is found below.
                Some(copies) => copies.take(table.record()).unwrap_or(1),
            };
            if count == 0 {
                continue;
            }
            match write(&layout, table.record(), count, out)? {
                None => bad.pass(),
                Some(reason) => bad.add(&mut table, file, &reason)?,
            }
        }
    }
    let there = |name: &str| seen.contains(name) || (counted && name == key::COUNT);
    match &files.list[..] {
        [first, ..] if !schema.columns().iter().all(|column| there(column.name())) => {
            Err(shape_changed(&first.name))
        }
        _ => Ok(bad),
    }
}

/// The schema was made from these files a moment ago, so what differs has changed since.
fn check_shape(table: &Table<'_>, schema: &Schema, file: &str) -> Result<()> {
    let columns = table.columns();
    let new = columns.iter().any(|name| schema.column(name).is_none());
    let keyless = !key::is_counted(schema)
        && schema
            .key()
            .any(|column| !columns.iter().any(|name| name == column.name()));
    if new || keyless {
        return Err(shape_changed(file));
    }
    Ok(())
}

fn shape_changed(file: &str) -> Error {
    Error::new(
        ErrorKind::Incomplete,
        "the file's columns changed while the data set was read; the next cycle takes the new ones",
    )
    .with("file", file)
    .with_retry(Retry::Backoff)
}

/// Writes one row; returns what is wrong with it, if it is dropped for that.
fn write(
    layout: &Layout<'_>,
    record: &Record,
    count: i64,
    out: &mut BlockingWriter,
) -> Result<Option<BadRow>> {
    let mut row = out.row();
    if let Err(bad) = layout.fill(record, count, &mut row) {
        return Ok(Some(bad));
    }
    match row.end() {
        Ok(()) => Ok(None),
        // Cells that are no text by themselves may still be one text together.
        Err(error) if error.kind() == ErrorKind::Data && layout.as_it_stands.is_some() => {
            Ok(Some(layout.not_text(record)))
        }
        Err(error) if error.kind() == ErrorKind::Data => Ok(Some(BadRow::from(&error))),
        Err(error) => Err(error),
    }
}

/// Where the cells of a data set's rows stand in the records of one file.
pub(crate) struct Layout<'a> {
    cells: Vec<Cell>,
    /// The record is the row as it stands: the same columns in the same order, all of them text.
    /// Tells whether an empty cell is null.
    as_it_stands: Option<bool>,
    columns: Vec<String>,
    null: Option<&'a str>,
    encoding: Encoding,
}

enum Cell {
    Field {
        place: usize,
        /// An empty cell is a value, which its type reads.
        empty_is_value: bool,
        null: Null,
    },
    /// The file does not have the column.
    Missing { null: Null },
    /// How many rows are alike.
    Count,
}

/// What null becomes.
#[derive(Clone, Copy)]
enum Null {
    Kept,
    /// Nothing, in a text or bytes column of the key: what stands there is text, and a column
    /// that the file lacks is empty.
    Empty,
    /// A bad row, in another column of the key.
    Bad,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(table: &Table<'_>, schema: &Schema, settings: &'a Settings) -> Self {
        let columns = table.columns().to_vec();
        let counted = key::is_counted(schema);
        let empty_is_null = settings.empty != Empty::Text;
        let alike = columns.len() == schema.columns().len()
            && columns.iter().zip(schema.columns()).all(|(name, column)| {
                let null = column.is_key() || column.is_nullable() || !empty_is_null;
                name == column.name() && column.ty() == Type::Text && null
            });
        let as_it_stands = (alike && settings.null.is_none()).then_some(empty_is_null);
        let cells = schema.columns().iter().map(|column| {
            let textual = is_textual(column.ty());
            let null = match (column.is_key(), textual) {
                (false, _) => Null::Kept,
                (true, true) => Null::Empty,
                (true, false) => Null::Bad,
            };
            match columns.iter().position(|name| name == column.name()) {
                Some(place) => Cell::Field {
                    place,
                    empty_is_value: textual && !empty_is_null,
                    null,
                },
                None if counted && column.name() == key::COUNT => Cell::Count,
                None => Cell::Missing { null },
            }
        });
        Self {
            cells: cells.collect(),
            as_it_stands,
            columns,
            null: settings.null.as_deref(),
            encoding: table.encoding(),
        }
    }

    /// Writes the record's cells, without the row's end.
    ///
    /// # Errors
    ///
    /// What is wrong with the record as a whole. What is wrong with a cell, the row's end tells.
    pub(crate) fn fill<T: RowTarget>(
        &self,
        record: &Record,
        count: i64,
        row: &mut RowWriter<'_, T>,
    ) -> Result<(), BadRow> {
        if record.len() != self.columns.len() {
            let fields = match record.len() {
                1 => "1 field".to_owned(),
                many => format!("{many} fields"),
            };
            let columns = self.columns.len();
            return Err(BadRow::whole(format!("{fields} for {columns} columns")));
        }
        // One check of all cells together, which costs less than one of each.
        let Ok(text) = std::str::from_utf8(record.as_slice()) else {
            return Err(self.not_text(record));
        };
        if record.has_nul() {
            return Err(self.nul(record));
        }
        if let Some(empty_is_null) = self.as_it_stands {
            row.texts(text, record.ends().iter().copied(), empty_is_null);
            return Ok(());
        }
        for (column, cell) in self.cells.iter().enumerate() {
            let null = match *cell {
                Cell::Field {
                    place,
                    empty_is_value,
                    null,
                } => {
                    let range = record.range(place).unwrap_or_default();
                    // Cells that are no text by themselves may still be one text together.
                    let Some(text) = text.get(range) else {
                        return Err(self.not_text(record));
                    };
                    let means_null =
                        (text.is_empty() && !empty_is_value) || self.null == Some(text);
                    // Text of the key is never null, so it is what stands there.
                    if !means_null || matches!(null, Null::Empty) {
                        row.parse(text);
                        continue;
                    }
                    null
                }
                Cell::Missing { null } => null,
                Cell::Count => {
                    row.int(count);
                    continue;
                }
            };
            match null {
                Null::Kept => row.null(),
                Null::Empty => row.parse(""),
                Null::Bad => return Err(self.no_key(column)),
            };
        }
        Ok(())
    }

    #[cold]
    fn no_key(&self, cell: usize) -> BadRow {
        let column = match self.cells[cell] {
            Cell::Field { place, .. } => self.columns.get(place).cloned(),
            _ => None,
        };
        BadRow {
            column,
            reason:
                "an empty cell in a column of the key, which only text can have; declare a `key` \
                     without it"
                    .to_owned(),
        }
    }

    #[cold]
    fn not_text(&self, record: &Record) -> BadRow {
        let wrong = |cell: &[u8]| std::str::from_utf8(cell).is_err();
        BadRow {
            column: self.find(record, wrong),
            reason: format!(
                "not {}; a file in another encoding needs the setting `encoding`",
                self.encoding
            ),
        }
    }

    #[cold]
    fn nul(&self, record: &Record) -> BadRow {
        BadRow {
            column: self.find(record, |cell| cell.contains(&0)),
            reason: "a NUL character, as in a damaged file or one in UTF-16".to_owned(),
        }
    }

    fn find(&self, record: &Record, wrong: impl Fn(&[u8]) -> bool) -> Option<String> {
        let place = record.iter().position(wrong)?;
        self.columns.get(place).cloned()
    }
}

/// Tells whether an empty cell can be a value of the type.
pub(crate) fn is_textual(ty: Type) -> bool {
    matches!(ty, Type::Text | Type::Bytes)
}
