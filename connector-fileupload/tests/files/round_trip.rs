//! What a file says is what is read, for every type, encoding, delimiter and way of quoting.

use connector_core::{DatasetExt, Date, Decimal, LocalTimestamp, Timestamp, Type, Uuid, Value};
use proptest::prelude::*;

use crate::support::Inbox;

const TYPES: [(&str, Type); 11] = [
    ("bool", Type::Bool),
    ("int", Type::Int),
    ("float", Type::Float),
    ("decimal", Type::Decimal { scale: 4 }),
    ("text", Type::Text),
    ("bytes", Type::Bytes),
    ("timestamp", Type::Timestamp),
    ("local", Type::LocalTimestamp),
    ("date", Type::Date),
    ("uuid", Type::Uuid),
    ("json", Type::Json),
];

/// What the cells of null values hold, so that empty text is not null.
const NULL: &str = r"\N";

/// Text that an encoding has, without NUL and without what raw mode can't hold.
fn text(encoding: &str, raw: bool) -> BoxedStrategy<String> {
    let characters = match (encoding, raw) {
        ("windows-1252", false) => "[ -~\n\r\té€ÿ]{0,12}",
        ("windows-1252", true) => "[ -~é€ÿ&&[^,;|]]{0,12}",
        (_, false) => "[ -~\n\r\té漢🦀\u{feff}]{0,12}|\\PC{0,12}",
        (_, true) => "[ -~é漢🦀&&[^,;|]]{0,12}",
    };
    let text = proptest::string::string_regex(characters).unwrap();
    text.prop_filter("is the mark of null", |text| text != NULL)
        .boxed()
}

fn value(ty: Type, encoding: &str, raw: bool) -> BoxedStrategy<Value<'static>> {
    let ticks = Timestamp::MIN.ticks()..=Timestamp::MAX.ticks();
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int => any::<i64>().prop_map(Value::Int).boxed(),
        Type::Float => any::<f64>().prop_map(Value::Float).boxed(),
        Type::Decimal { scale } => any::<i128>()
            .prop_map(move |units| Value::Decimal(Decimal::new(units, scale).unwrap()))
            .boxed(),
        Type::Text => text(encoding, raw)
            .prop_map(|text| Value::Text(text.into()))
            .boxed(),
        Type::Bytes => any::<Vec<u8>>()
            .prop_map(|bytes| Value::Bytes(bytes.into()))
            .boxed(),
        Type::Timestamp => ticks
            .prop_map(|ticks| Value::Timestamp(Timestamp::from_ticks(ticks).unwrap()))
            .boxed(),
        Type::LocalTimestamp => ticks
            .prop_map(|ticks| Value::LocalTimestamp(LocalTimestamp::from_ticks(ticks).unwrap()))
            .boxed(),
        Type::Date => (Date::MIN.days()..=Date::MAX.days())
            .prop_map(|days| Value::Date(Date::from_days(days).unwrap()))
            .boxed(),
        Type::Uuid => any::<u128>()
            .prop_map(|bits| Value::Uuid(Uuid::from_u128(bits)))
            .boxed(),
        Type::Json => text(encoding, true)
            .prop_map(|text| Value::Json(serde_json::to_string(&text).unwrap().into()))
            .boxed(),
    }
}

fn rows(encoding: &'static str, raw: bool) -> BoxedStrategy<Vec<Vec<Value<'static>>>> {
    let cells: Vec<_> = TYPES
        .iter()
        .map(|(_, ty)| prop_oneof![1 => Just(Value::Null), 4 => value(*ty, encoding, raw)])
        .collect();
    prop::collection::vec(cells, 0..12).boxed()
}

#[derive(Debug, Clone)]
struct Case {
    /// As configuration has it, or `auto` for a byte order mark and no setting.
    encoding: &'static str,
    marked: bool,
    delimiter: char,
    raw: bool,
    always_quoted: bool,
    line_end: &'static str,
    rows: Vec<Vec<Value<'static>>>,
}

fn case() -> impl Strategy<Value = Case> {
    let format = (
        prop::sample::select(vec!["utf-8", "utf-16le", "utf-16be", "windows-1252"]),
        any::<bool>(),
        prop::sample::select(vec![',', '\t', ';', '|', '^']),
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(vec!["\n", "\r\n", "\r"]),
    );
    format.prop_flat_map(
        |(encoding, marked, delimiter, raw, always_quoted, line_end)| {
            // JSON and decimals hold commas, quotes and the like; raw mode is for the tab.
            let delimiter = if raw { '\t' } else { delimiter };
            rows(encoding, raw).prop_map(move |rows| Case {
                encoding,
                marked: marked && encoding != "windows-1252",
                delimiter,
                raw,
                always_quoted: always_quoted && !raw,
                line_end,
                rows,
            })
        },
    )
}

impl Case {
    fn content(&self) -> Vec<u8> {
        let header = std::iter::once("id".to_owned())
            .chain(TYPES.iter().map(|(name, _)| (*name).to_owned()));
        let lines = std::iter::once(header.collect()).chain(self.rows.iter().enumerate().map(
            |(id, row)| -> Vec<String> {
                let cells = row.iter().map(|value| match value {
                    Value::Null => NULL.to_owned(),
                    value => value.to_string(),
                });
                std::iter::once(id.to_string()).chain(cells).collect()
            },
        ));
        let mut text = String::from(if self.marked { "\u{feff}" } else { "" });
        if self.raw {
            for line in lines {
                text += &line.join("\t");
                text += self.line_end;
            }
        } else {
            let style = if self.always_quoted {
                csv::QuoteStyle::Always
            } else {
                csv::QuoteStyle::Necessary
            };
            let terminator = match self.line_end {
                "\r\n" => csv::Terminator::CRLF,
                end => csv::Terminator::Any(end.as_bytes()[0]),
            };
            let mut writer = csv::WriterBuilder::new()
                .delimiter(u8::try_from(self.delimiter).unwrap())
                .quote_style(style)
                .terminator(terminator)
                .from_writer(Vec::new());
            for line in lines {
                writer.write_record(line).unwrap();
            }
            text += std::str::from_utf8(&writer.into_inner().unwrap()).unwrap();
        }
        match self.encoding {
            "utf-8" => text.into_bytes(),
            "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            _ => encoding_rs::WINDOWS_1252.encode(&text).0.into_owned(),
        }
    }

    fn settings(&self) -> String {
        let types = TYPES.map(|(name, ty)| format!("{name} = '{ty}'"));
        let encoding = format!("encoding = '{}'", self.encoding);
        let columns = types.join(", ");
        let settings = [
            if self.marked { "" } else { &encoding },
            // The other delimiters are found.
            if self.delimiter == '^' {
                "delimiter = '^'"
            } else {
                ""
            },
            if self.raw { "quoting = 'raw'" } else { "" },
            "empty = 'text'",
            &format!("null = {NULL:?}"),
            "[[dataset]]\nname = 'x'\nfiles = 'x.*'\nkey = ['id']",
            &format!("types = {{ id = 'int', {columns} }}"),
        ];
        settings.join("\n")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_was_written_is_read(case in case()) {
        let inbox = Inbox::new(&[]);
        inbox.put(if case.raw { "x.tsv" } else { "x.csv" }, case.content());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let settings = case.settings();
        let rows = runtime.block_on(async {
            let dataset = inbox.dataset(&settings).await;
            dataset.collect().await.unwrap()
        });
        let read: Vec<Vec<Value<'static>>> = rows
            .iter()
            .map(|row| row.values().skip(1).map(Value::into_owned).collect())
            .collect();
        prop_assert_eq!(read, case.rows);
    }
}
