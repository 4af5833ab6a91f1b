//! How the characters of a file are cells.

use std::io::Read;

use crate::{
    config::{Delimiter, Encoding, Quoting},
    record::Record,
    records::Records,
};

/// How much of a file decides what its delimiter is, and how many of its rows.
const SAMPLE_BYTES: u64 = 64 << 10;
const SAMPLE_ROWS: usize = 50;

/// How the characters of a data set's files are cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Format {
    pub(crate) encoding: Encoding,
    pub(crate) delimiter: Option<Delimiter>,
    pub(crate) quoting: Quoting,
    /// The names of the columns when the file does not hold them.
    pub(crate) columns: Vec<String>,
}

impl Format {
    /// Reads the records of `text` through a buffer of `capacity` bytes. Rows of any length are
    /// taken here; what is wrong with a row is found where its line can be named.
    pub(crate) fn records<R: Read>(
        &self,
        text: R,
        delimiter: Delimiter,
        capacity: usize,
    ) -> Records<R> {
        let quoted = self.quoting == Quoting::Rfc4180;
        Records::new(text, delimiter.byte(), quoted, capacity)
    }

    /// Finds the delimiter of a text from its first rows.
    ///
    /// The best is the one by which all rows have as many fields as the first; of several, the
    /// one that makes the most fields. Without such a one, the delimiter by which most rows have.
    pub(crate) fn sniff(&self, text: impl Read) -> std::io::Result<Delimiter> {
        let mut sample = Vec::new();
        text.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        // A row that the sample cuts says nothing.
        let cut = sample.len() as u64 == SAMPLE_BYTES;
        let candidates = [
            Delimiter::COMMA,
            Delimiter::TAB,
            Delimiter::SEMICOLON,
            Delimiter::PIPE,
        ];
        let mut best = (Delimiter::COMMA, (false, 0, 0));
        for delimiter in candidates {
            let widths = self.widths(&sample, delimiter, cut);
            let fields = widths.first().copied().unwrap_or(0);
            if fields < 2 {
                continue;
            }
            let alike = widths.iter().filter(|width| **width == fields).count();
            let all = alike == widths.len();
            let score = (all, if all { 0 } else { alike }, fields);
            if score > best.1 {
                best = (delimiter, score);
            }
        }
        Ok(best.0)
    }

    fn widths(&self, sample: &[u8], delimiter: Delimiter, cut: bool) -> Vec<usize> {
        let mut records = self.records(sample, delimiter, sample.len());
        let mut record = Record::default();
        let mut widths = Vec::new();
        while widths.len() <= SAMPLE_ROWS && matches!(records.read(&mut record), Ok(true)) {
            widths.push(record.len());
        }
        if cut && widths.len() <= SAMPLE_ROWS && widths.len() > 1 {
            widths.pop();
        }
        widths.truncate(SAMPLE_ROWS);
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sniff(text: &str) -> char {
        char::from(Format::default().sniff(text.as_bytes()).unwrap().byte())
    }

    #[test]
    fn finds_the_delimiter_that_rows_agree_on() {
        for (text, delimiter) in [
            ("", ','),
            ("a", ','),
            ("a,b\n1,2\n", ','),
            ("a\tb\n1\t2\n", '\t'),
            ("a;b\n1,5;2,5\n", ';'),
            ("a|b|c\n1|2|3\n", '|'),
            // Commas in every row, the header included, and fewer of them.
            ("name;size, MB;x\na;1,5;y\n", ';'),
            // Only the quotes tell.
            ("a;b\n\"1;2\";3\n", ';'),
            ("\"a,b\";c\n\"1,2\n,3\";4\n", ';'),
            // One row that is wrong does not change what the others say.
            ("a;b;c\n1;2;3\n1;2\n1;2;3\n", ';'),
            ("a,b|c\n1|2\n3|4\n5,6|7,8\n", '|'),
        ] {
            assert_eq!(sniff(text), delimiter, "{text:?}");
        }
    }

    #[test]
    fn a_row_cut_by_the_sample_does_not_count() {
        // With what is left of its last row, the sample would have two fields by the comma in
        // every row, and three by the semicolon in all but that one.
        let long = "x".repeat(40_000);
        let text = format!("a;b;c,d\n{long};1;2,3\n,{long};2;3\n");
        assert_eq!(sniff(&text), ';');
    }

    #[test]
    fn in_raw_mode_quotes_hide_nothing() {
        let raw = Format {
            quoting: Quoting::Raw,
            ..Format::default()
        };
        let sniffed = raw.sniff(&b"a\t5\"\n,\tb\"\n"[..]).unwrap();
        assert_eq!(sniffed, Delimiter::TAB);
    }

    proptest! {
        #[test]
        fn finds_what_a_writer_used(
            delimiter in prop::sample::select(vec![',', '\t', ';', '|']),
            columns in 2_usize..6,
            cells in prop::collection::vec("[ -~]{0,12}|[a-z\n\"]{0,6}", 6..60),
        ) {
            let mut writer = csv::WriterBuilder::new()
                .delimiter(u8::try_from(delimiter).unwrap())
                .quote_style(csv::QuoteStyle::Always)
                .from_writer(Vec::new());
            for row in cells.chunks_exact(columns) {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(sniff(&text), delimiter);
        }
    }
}
