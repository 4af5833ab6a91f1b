//! Generated inventories to measure with: installed software, a record for each device, product
//! and version, as software inventories really look.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// The columns of the generated file; the first three are the key.
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

/// A generated inventory of any size, the same for the same parameters.
#[derive(Debug, Clone, Copy)]
pub struct Inventory {
    /// How many records.
    pub rows: u64,
    /// In which order they stand in the file.
    pub order: Order,
    /// Which state: the first, or one with 1 % updates, 0.3 % inserts and 0.3 % deletes.
    pub edited: bool,
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
    /// Its size is another.
    Update,
    /// It is there only in the first state.
    Delete,
    /// It is there only in the edited state.
    Insert,
}

impl Inventory {
    fn edit_of(self, record: u64) -> Edit {
        match Numbers(record ^ 0xED17).below(1000) {
            _ if record >= self.rows => Edit::Insert,
            0..10 => Edit::Update,
            10..13 => Edit::Delete,
            _ => Edit::Keep,
        }
    }

    /// How many records there are in both states together.
    fn all(self) -> u64 {
        self.rows + self.rows * 3 / 1000
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
        writeln!(out, "{}", COLUMNS.join(","))?;
        for record in records {
            let edited = self.edited && self.edit_of(record) == Edit::Update;
            write_record(&mut out, record, edited)?;
        }
        out.flush()?;
        Ok(out.get_ref().metadata()?.len())
    }
}

fn names(record: u64) -> (String, String) {
    let (device, product) = (record / PRODUCTS, record % PRODUCTS);
    (
        format!("PC-{device:07}"),
        format!("Product {product:03} Professional"),
    )
}

fn write_record(out: &mut impl Write, record: u64, edited: bool) -> io::Result<()> {
    let (device, product_name) = names(record);
    let product = record % PRODUCTS;
    let mut numbers = Numbers(record);
    let version = (numbers.below(20), numbers.below(100), numbers.below(10_000));
    let day = numbers.below(28) + 1;
    let month = numbers.below(12) + 1;
    let size = numbers.below(1 << 32) + u64::from(edited);
    writeln!(
        out,
        "{device},{product_name},{}.{}.{},\"Publisher {}, Inc.\",20{:02}-\
         {month:02}-{day:02},C:\\Program Files\\P{product}\\app.exe,{size},ACME\\user{:06},\
         inventory",
        version.0,
        version.1,
        version.2,
        product % 40,
        numbers.below(25),
        numbers.below(200_000),
    )
}
