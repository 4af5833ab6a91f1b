//! Generated inventories to measure with: installed software, a record for each device, product
//! and version, as software inventories really look.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use crate::{Result, Usage};

/// The columns that every generated file begins with; the first three are the key.
pub const COLUMNS: [&str; 9] = [
    "device",
    "product",
    "version",
    "publisher",
    "installed_on",
    "path",
    "size",
    "user",
    "source",
];

/// How many of the columns are the key.
pub const KEY_COLUMNS: usize = 3;

/// A generated inventory of any size, the same for the same parameters.
#[derive(Debug, Clone, Copy)]
pub struct Inventory {
    /// How many records.
    pub rows: u64,
    /// How many columns: at least 4. The first are [`COLUMNS`], the others are short.
    pub columns: usize,
    /// How many records in a thousand are edited: 5 in 8 of them are updates, the others inserts
    /// and deletes, as many of each.
    pub changed: u64,
    /// In which order they stand in the file.
    pub order: Order,
    /// Which state: the first, or the edited one.
    pub edited: bool,
}

/// What lies between the two states of an inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Edits {
    /// Records that only the edited state has.
    pub inserts: u64,
    /// Records that differ.
    pub updates: u64,
    /// Records that only the first state has.
    pub deletes: u64,
    /// The bytes of all their lines; of an update both count.
    pub bytes: u64,
}

impl Edits {
    /// Compares with what a child reports to have found.
    ///
    /// # Errors
    ///
    /// When it found anything else.
    pub fn check(&self, used: &Usage) -> Result<()> {
        let found = ["inserts", "updates", "deletes"]
            .map(|name| used.report.get(name).copied().unwrap_or_default());
        if found != [self.inserts, self.updates, self.deletes] {
            return Err(format!("found {found:?} of {self:?}").into());
        }
        Ok(())
    }
}

/// The order of the records in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By device, product and version.
    Key,
    /// None: every file in another order.
    Shuffled(u64),
}

/// A small generator of numbers that is the same everywhere: `SplitMix64`.
#[derive(Debug, Clone, Copy)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

const PRODUCTS: u64 = 250;

/// What the edit does to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// Nothing.
    Keep,
    /// Its publisher is another.
    Update,
    /// It is there only in the first state.
    Delete,
    /// It is there only in the edited state.
    Insert,
}

impl Inventory {
    /// Takes what differs mostly. The other parameters: nine columns, 1 % updates, 0.3 % inserts
    /// and 0.3 % deletes, the first state.
    pub fn new(rows: u64, order: Order) -> Self {
        Self {
            rows,
            columns: COLUMNS.len(),
            changed: 16,
            order,
            edited: false,
        }
    }

    fn edit_of(self, record: u64) -> Edit {
        if record >= self.rows {
            return Edit::Insert;
        }
        // In 160,000, so that 5 in 8 and 3 in 16 of a thousandth are whole numbers.
        let (updates, deletes) = (self.changed * 100, self.changed * 30);
        match Numbers(record ^ 0xED17).below(160_000) {
            number if number < updates => Edit::Update,
            number if number < updates + deletes => Edit::Delete,
            _ => Edit::Keep,
        }
    }

    /// How many records there are in both states together.
    fn all(self) -> u64 {
        self.rows + self.rows * self.changed * 3 / 16_000
    }

    /// Returns what lies between its two states.
    pub fn edits(self) -> Edits {
        let mut edits = Edits::default();
        let mut line = Vec::new();
        for record in 0..self.all() {
            let (count, lines): (_, &[bool]) = match self.edit_of(record) {
                Edit::Keep => continue,
                Edit::Insert => (&mut edits.inserts, &[true]),
                Edit::Update => (&mut edits.updates, &[false, true]),
                Edit::Delete => (&mut edits.deletes, &[false]),
            };
            *count += 1;
            for edited in lines {
                line.clear();
                // Writing to memory can't fail.
                let _ = self.write_record(&mut line, record, *edited);
                edits.bytes += line.len() as u64;
            }
        }
        edits
    }

    /// Returns the records of one edit, as `device|product`.
    pub fn edited(self, edit: Edit) -> impl Iterator<Item = String> {
        (0..self.all())
            .filter(move |record| self.edit_of(*record) == edit)
            .map(|record| {
                let (device, product) = names(record);
                format!("{device}|{product}")
            })
    }

    /// Writes the file and returns its size in bytes.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(self, path: &Path) -> io::Result<u64> {
        let absent = if self.edited {
            Edit::Delete
        } else {
            Edit::Insert
        };
        let mut records: Vec<u64> = (0..self.all())
            .filter(|record| self.edit_of(*record) != absent)
            .collect();
        if let Order::Shuffled(seed) = self.order {
            let mut numbers = Numbers(seed);
            for i in (1..records.len()).rev() {
                let bound = u64::try_from(i).unwrap_or(u64::MAX) + 1;
                records.swap(i, usize::try_from(numbers.below(bound)).unwrap_or(0));
            }
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a generated file, not the store's"
        )]
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        self.write_header(&mut out)?;
        for record in records {
            let edited = self.edited && self.edit_of(record) == Edit::Update;
            self.write_record(&mut out, record, edited)?;
        }
        out.flush()?;
        Ok(out.get_ref().metadata()?.len())
    }

    fn write_header(self, out: &mut impl Write) -> io::Result<()> {
        let named = self.columns.min(COLUMNS.len());
        write!(out, "{}", COLUMNS[..named].join(","))?;
        for column in named..self.columns {
            write!(out, ",column_{}", column + 1)?;
        }
        writeln!(out)
    }

    fn write_record(self, out: &mut impl Write, record: u64, edited: bool) -> io::Result<()> {
        let (device, product_name) = names(record);
        let product = record % PRODUCTS;
        let mut numbers = Numbers(record);
        let version = (numbers.below(20), numbers.below(100), numbers.below(10_000));
        let (day, month) = (numbers.below(28) + 1, numbers.below(12) + 1);
        let (size, year) = (numbers.below(1 << 32), numbers.below(25));
        let user = numbers.below(200_000);
        let publisher = product % 40;
        let form = if edited { "Ltd." } else { "Inc." };
        write!(
            out,
            "{device},{product_name},{}.{}.{},\"Publisher {publisher}, {form}\"",
            version.0, version.1, version.2,
        )?;
        for column in 4..self.columns {
            match column {
                4 => write!(out, ",20{year:02}-{month:02}-{day:02}"),
                5 => write!(out, ",C:\\Program Files\\P{product}\\app.exe"),
                6 => write!(out, ",{size}"),
                7 => write!(out, ",ACME\\user{user:06}"),
                8 => write!(out, ",inventory"),
                _ => write!(out, ",{}", Cell(column, numbers.next())),
            }?;
        }
        writeln!(out)
    }
}

/// A short cell of a column beyond [`COLUMNS`]: in turn a number, one of few words, an identifier,
/// and text that is mostly empty.
struct Cell(usize, u64);

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WORDS: [&str; 5] = ["Installed", "Pending", "Failed", "Not required", "Unknown"];
        let Self(column, number) = *self;
        match column % 4 {
            0 => write!(f, "{}", number % 1_000_000_000),
            1 => f.write_str(WORDS[usize::try_from(number % 5).unwrap_or(0)]),
            2 => write!(f, "{:012X}", number >> 16),
            _ if number % 4 == 0 => write!(f, "note {}", number % 100_000),
            _ => Ok(()),
        }
    }
}

fn names(record: u64) -> (String, String) {
    let (device, product) = (record / PRODUCTS, record % PRODUCTS);
    (
        format!("PC-{device:07}"),
        format!("Product {product:03} Professional"),
    )
}
