//! Finding a key, and counting rows that have none.
//!
//! Rows are told apart by 128-bit hashes of their canonical bytes, so that `1` and `01` of a
//! whole-number column are one value here as they are in the store. Two of 10⁹ differing rows have
//! the same hash with a probability below 10⁻²⁰.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use connector_core::{Batch, Column, Result, Schema, Type};
use twox_hash::XxHash3_128;

use crate::{
    datasets::{Files, Settings},
    record::Record,
    rows::{Layout, is_textual},
    stop::Stop,
    table::Table,
};

/// The column that tells how many rows are alike, in a data set without a key.
pub(crate) const COUNT: &str = "_count";

/// How many hashes are held at a time: 72 MB of them. More rows take more passes.
const HELD: usize = 3_500_000;

/// Tells whether the rows are counted, for want of a key. No other column of a file is neither
/// nullable nor part of the key.
pub(crate) fn is_counted(schema: &Schema) -> bool {
    schema
        .column(COUNT)
        .is_some_and(|column| column.ty() == Type::Int && !column.is_key() && !column.is_nullable())
}

/// What rows can be told apart by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// That many leading columns.
    Leading(usize),
    /// No leading columns, not even all.
    Nothing,
    /// There is no row to tell.
    NoRows,
}

/// Finds the smallest number of leading columns that no two rows have in common, reading the
/// files several times. Bad rows do not count.
///
/// # Errors
///
/// Those of reading a file.
pub(crate) fn find(files: &Files, columns: &[Column], stop: &Stop) -> Result<Found> {
    find_within(files, columns, stop, HELD)
}

fn find_within(files: &Files, columns: &[Column], stop: &Stop, held: usize) -> Result<Found> {
    let usable = usable(files, columns, stop)?;
    let leading = |count: usize| {
        let columns = columns.iter().take(count).cloned().map(Column::key);
        Schema::new(columns).map(Arc::new)
    };
    if usable == 0 {
        return Ok(Found::Nothing);
    }
    let first_repeat =
        |count| Repeats::find(files, &leading(count)?, stop, held, Until::FirstRepeat);
    let whole = first_repeat(usable)?;
    if !whole.copies.is_empty() {
        return Ok(Found::Nothing);
    }
    if whole.rows == 0 {
        return Ok(Found::NoRows);
    }
    // What is unique stays so with another column, so the smallest is found by halving. But keys
    // are short as a rule, and a pass that meets a repetition ends there: short ones go first.
    let (mut low, mut high) = (1, usable);
    while low < high {
        let middle = if low <= 3 { low } else { low.midpoint(high) };
        if first_repeat(middle)?.copies.is_empty() {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(Found::Leading(high))
}

/// How many of the leading columns can be in a key: those that every file has, up to the first
/// that has an empty cell and is not text.
fn usable(files: &Files, columns: &[Column], stop: &Stop) -> Result<usize> {
    let mut usable = columns.len();
    for file in &files.list {
        let mut table = Table::open(file, &files.settings.format)?;
        let places: Vec<Option<usize>> = columns
            .iter()
            .map(|column| {
                table
                    .columns()
                    .iter()
                    .position(|name| name == column.name())
            })
            .collect();
        usable = usable.min(places.iter().take_while(|place| place.is_some()).count());
        let typed = |column: &Column| !is_textual(column.ty());
        if !columns.iter().take(usable).any(typed) {
            continue;
        }
        let null = files.settings.null.as_deref().map(str::as_bytes);
        while table.advance()? {
            stop.check()?;
            let record = table.record();
            if record.len() != table.columns().len() {
                continue;
            }
            let is_null = |place: usize| {
                let cell = record.cell(place).unwrap_or_default();
                cell.is_empty() || Some(cell) == null
            };
            let found = columns
                .iter()
                .zip(&places)
                .take(usable)
                .position(|(column, place)| typed(column) && place.is_some_and(is_null));
            usable = found.unwrap_or(usable);
        }
    }
    Ok(usable)
}

type Hashes = HashSet<u128, BuildHasherDefault<AsIs>>;

/// The rows that occur more than once.
#[derive(Default)]
struct Repeats {
    /// How many rows there are, bad ones left out.
    rows: u64,
    /// How often each row occurs that does so more than once.
    copies: HashMap<u128, i64, BuildHasherDefault<AsIs>>,
}

/// How far [`Repeats::find`] goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    FirstRepeat,
    End,
}

impl Repeats {
    /// Compares rows by the columns of `schema`.
    ///
    /// Never holds more than `held` hashes, those of repeats not counted: when they are too many,
    /// the upper half of the range of hashes is left to a later pass.
    fn find(
        files: &Files,
        schema: &Arc<Schema>,
        stop: &Stop,
        held: usize,
        until: Until,
    ) -> Result<Self> {
        let mut repeats = Self::default();
        let mut seen = Hashes::default();
        let mut from = 0;
        loop {
            let mut upto = u128::MAX;
            seen.clear();
            for file in &files.list {
                let mut table = Table::open(file, &files.settings.format)?;
                let layout = Layout::new(&table, schema, &files.settings);
                while table.advance()? {
                    stop.check()?;
                    let Some(hash) = hash(&layout, schema, table.record()) else {
                        continue;
                    };
                    repeats.rows += u64::from(from == 0);
                    if !(from..=upto).contains(&hash) {
                        continue;
                    }
                    if !seen.insert(hash) {
                        *repeats.copies.entry(hash).or_insert(1) += 1;
                        if until == Until::FirstRepeat {
                            return Ok(repeats);
                        }
                    }
                    while seen.len() > held && from < upto {
                        upto = from + (upto - from) / 2;
                        seen.retain(|hash| *hash <= upto);
                        repeats.copies.retain(|hash, _| *hash <= upto);
                    }
                }
            }
            if upto == u128::MAX {
                return Ok(repeats);
            }
            from = upto + 1;
        }
    }
}

/// Returns the hash of the record's cells in the columns of `schema`, or none of a bad row.
fn hash(layout: &Layout<'_>, schema: &Arc<Schema>, record: &Record) -> Option<u128> {
    let mut batch = Batch::new(Arc::clone(schema));
    let mut row = batch.row();
    layout.fill(record, 1, &mut row).ok()?;
    row.end().ok()?;
    let row = batch.rows().next()?;
    Some(XxHash3_128::oneshot(row.bytes()))
}

/// How often each row occurs, in a data set without a key.
pub(crate) struct Copies<'a> {
    /// The columns that are compared: all but the volatile ones and the count.
    schema: Arc<Schema>,
    /// How often the rows occur that do so more than once; 0 once that was told.
    counts: HashMap<u128, i64, BuildHasherDefault<AsIs>>,
    layout: Option<Layout<'a>>,
}

impl<'a> Copies<'a> {
    /// Reads the files through once.
    ///
    /// # Errors
    ///
    /// Those of reading a file.
    pub(crate) fn count(files: &Files, schema: &Schema, stop: &Stop) -> Result<Self> {
        Self::count_within(files, schema, stop, HELD)
    }

    fn count_within(files: &Files, schema: &Schema, stop: &Stop, held: usize) -> Result<Self> {
        let schema = Arc::new(Schema::new(schema.key().cloned())?);
        let counts = Repeats::find(files, &schema, stop, held, Until::End)?.copies;
        Ok(Self {
            schema,
            counts,
            layout: None,
        })
    }

    /// Goes on with another file.
    pub(crate) fn begin(&mut self, table: &Table<'_>, settings: &'a Settings) {
        self.layout = Some(Layout::new(table, &self.schema, settings));
    }

    /// Returns how often the row occurs, 0 when that was told before, and none for a bad row.
    pub(crate) fn take(&mut self, record: &Record) -> Option<i64> {
        let hash = hash(self.layout.as_ref()?, &self.schema, record)?;
        Some(self.counts.get_mut(&hash).map_or(1, std::mem::take))
    }
}

/// A hasher for what is a hash already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "any half of a hash is a hash"
    )]
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{datasets::Settings, file::SourceFile};
    use proptest::prelude::*;

    /// Few values, so that rows are alike often. `1` and `01` are one whole number.
    const CELLS: [&str; 5] = ["", "1", "01", "2", "x"];

    fn files(folder: &std::path::Path, parts: &[&[Vec<&str>]], columns: usize) -> Files {
        let header: Vec<String> = (0..columns).map(|place| format!("c{place}")).collect();
        let list = parts.iter().enumerate().map(|(number, rows)| {
            let path = folder.join(format!("{number}.csv"));
            let mut writer = csv::WriterBuilder::new().from_path(&path).unwrap();
            writer.write_record(&header).unwrap();
            for row in *rows {
                writer.write_record(row).unwrap();
            }
            writer.flush().unwrap();
            SourceFile::new(folder, path)
        });
        Files {
            list: list.collect(),
            settings: Settings {
                format: crate::format::Format {
                    delimiter: Some(crate::config::Delimiter::COMMA),
                    ..Default::default()
                },
                ..Settings::default()
            },
            ..Files::default()
        }
    }

    /// What a cell is as a value of the type; none when it can't be one in a key.
    fn value(ty: Type, cell: &str) -> Option<String> {
        match ty {
            Type::Int => cell.parse::<i64>().ok().map(|number| number.to_string()),
            _ => Some(cell.to_owned()),
        }
    }

    fn brute_force(rows: &[Vec<&str>], types: &[Type]) -> Found {
        let null = |place: usize| {
            types[place] == Type::Int && rows.iter().any(|row| row[place].is_empty())
        };
        let usable = (0..types.len()).take_while(|place| !null(*place)).count();
        let keys = |count: usize| -> Vec<Vec<String>> {
            let key = |row: &Vec<&str>| -> Option<Vec<String>> {
                (0..count)
                    .map(|place| value(types[place], row[place]))
                    .collect()
            };
            rows.iter().filter_map(key).collect()
        };
        let unique = |count: &usize| {
            let mut keys = keys(*count);
            let all = keys.len();
            keys.sort();
            keys.dedup();
            keys.len() == all
        };
        if usable == 0 || !unique(&usable) {
            return Found::Nothing;
        }
        if keys(usable).is_empty() {
            return Found::NoRows;
        }
        Found::Leading((1..=usable).find(unique).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn finds_what_comparing_all_rows_finds(
            columns in 1_usize..9,
            ints in prop::collection::vec(prop::bool::weighted(0.3), 8),
            cells in prop::collection::vec(0_usize..5, 0..80),
            cut in 0_usize..20,
            held in 1_usize..12,
        ) {
            let types: Vec<Type> = ints[..columns]
                .iter()
                .map(|int| if *int { Type::Int } else { Type::Text })
                .collect();
            // A value that is no number, or a blank line, makes a row bad; such rows are left out.
            let rows: Vec<Vec<&str>> = cells
                .chunks_exact(columns)
                .map(|row| row.iter().map(|cell| CELLS[*cell]).collect::<Vec<&str>>())
                .filter(|row| row.iter().zip(&types).all(|(cell, ty)| *ty == Type::Text || *cell != "x"))
                .collect();
            let (first, second) = rows.split_at(cut.min(rows.len()));
            let folder = tempfile::tempdir().unwrap();
            let files = files(folder.path(), &[first, second], columns);
            let declared: Vec<Column> = types
                .iter()
                .enumerate()
                .map(|(place, ty)| Column::new(format!("c{place}"), *ty))
                .collect();

            let found = find_within(&files, &declared, &Stop::default(), held).unwrap();
            prop_assert_eq!(found, brute_force(&rows, &types));

            // Counting, with as few hashes held.
            let texts: Vec<Column> = (0..columns)
                .map(|place| Column::new(format!("c{place}"), Type::Text).key())
                .chain([Column::new(COUNT, Type::Int)])
                .collect();
            let schema = Schema::new(texts).unwrap();
            let stop = Stop::default();
            let mut copies = Copies::count_within(&files, &schema, &stop, held).unwrap();
            let mut counted: HashMap<Vec<String>, i64> = HashMap::new();
            for file in &files.list {
                let mut table = Table::open(file, &files.settings.format).unwrap();
                copies.begin(&table, &files.settings);
                while table.advance().unwrap() {
                    let count = copies.take(table.record()).unwrap();
                    if count > 0 {
                        let row = table.record().iter().map(|cell| String::from_utf8_lossy(cell).into()).collect();
                        prop_assert!(counted.insert(row, count).is_none(), "told twice");
                    }
                }
            }
            let mut expected: HashMap<Vec<String>, i64> = HashMap::new();
            for row in &rows {
                *expected.entry(row.iter().map(|cell| (*cell).to_owned()).collect()).or_default() += 1;
            }
            prop_assert_eq!(counted, expected);
        }
    }

    #[test]
    fn work_that_was_given_up_ends() {
        let folder = tempfile::tempdir().unwrap();
        let rows: &[Vec<&str>] = &[vec!["1"]];
        let files = files(folder.path(), &[rows], 1);
        let stop = Stop::default();
        drop(stop.on_drop());
        let columns = [Column::new("c0", Type::Text)];
        let error = find(&files, &columns, &stop).unwrap_err();
        assert_eq!(error.kind(), connector_core::ErrorKind::Cancelled);
    }
}
