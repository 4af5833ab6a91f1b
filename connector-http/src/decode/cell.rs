//! What a reply says of a cell, into the cell.

use std::borrow::Cow;

use connector_core::{
    Date, Decimal, LocalTimestamp, ParseError, RowTarget, RowWriter, Timestamp, Type, Value,
};

use super::{
    reply::ReplyColumn,
    scan::{Cell, Kind, Scan, unescape},
};

/// Why a cell can't be written. Never shows the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The reply has no such member.
    Missing,
    /// It is null.
    Null,
    /// It is of another kind than the column.
    Kind(&'static str),
    /// Bytes of a key that are no text.
    Encoding,
    /// An array that is joined holds another array, or an object.
    Nested,
    /// The text or number is not what the column's type is.
    Parse(ParseError),
}

impl Misfit {
    /// Tells what is wrong with a cell of that type.
    pub(crate) fn message(self, ty: Type) -> String {
        match self {
            Self::Missing => "the column can't be null, the reply lacks it".to_owned(),
            Self::Null => "the column can't be null, the reply says null".to_owned(),
            Self::Kind(kind) => format!("the column is {ty}, the reply has {kind}"),
            Self::Encoding => "the column is part of the key, the value is not UTF-8".to_owned(),
            Self::Nested => "the column joins texts, the reply has more than texts".to_owned(),
            Self::Parse(error) => format!("the column is {ty}, the value is {error}"),
        }
    }
}

impl From<ParseError> for Misfit {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

/// Text that is built for a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    text: String,
    joined: String,
}

/// Writes the next cell of a row from a value of a page.
#[inline]
pub(crate) fn write<T: RowTarget>(
    row: &mut RowWriter<'_, T>,
    column: &ReplyColumn<'_>,
    cell: Cell,
    page: &str,
    scratch: &mut Scratch,
) -> Result<(), Misfit> {
    if column.ty == Type::Json && !matches!(cell.kind, Kind::Absent | Kind::Null) {
        row.value(&Value::Json(Cow::Borrowed(cell.json(page))));
        return Ok(());
    }
    match cell.kind {
        Kind::Absent => null(row, column, Misfit::Missing),
        Kind::Null => null(row, column, Misfit::Null),
        Kind::Text | Kind::Escaped => {
            let text = text_of(cell, page, &mut scratch.text);
            let is_text = !matches!(
                column.ty,
                Type::Int | Type::Float | Type::Decimal { .. } | Type::Bool
            );
            if is_text || column.from_text || text.is_empty() && column.unknown.empty {
                write_text(row, column, text)
            } else {
                Err(Misfit::Kind("text"))
            }
        }
        Kind::True | Kind::False if column.ty == Type::Bool => {
            row.bool(cell.kind == Kind::True);
            Ok(())
        }
        Kind::Number if matches!(column.ty, Type::Int | Type::Float | Type::Decimal { .. }) => {
            write_number(row, column, cell.text(page))
        }
        Kind::Number | Kind::True | Kind::False if column.to_text => {
            write_text(row, column, cell.text(page))
        }
        Kind::Object if let Some(name) = column.member => {
            let cell = member(cell, name, page);
            // No deeper: what would be looked for in there has no name.
            if cell.kind == Kind::Object {
                return Err(Misfit::Kind("an object"));
            }
            write(row, column, cell, page, scratch)
        }
        Kind::Array if column.joined.is_some() => {
            join(column, cell, page, scratch)?;
            write_text(row, column, &scratch.joined)
        }
        Kind::Number => Err(Misfit::Kind("a number")),
        Kind::True | Kind::False => Err(Misfit::Kind("a truth value")),
        Kind::Array => Err(Misfit::Kind("an array")),
        Kind::Object => Err(Misfit::Kind("an object")),
    }
}

/// Finds a member of an object, all of which was checked when the object was read.
fn member(object: Cell, name: &str, page: &str) -> Cell {
    let mut scan = Scan::new(page, object.start as usize + 1);
    let mut is_first = true;
    let mut unescaped = String::new();
    while let Ok(true) = scan.next_name(is_first) {
        is_first = false;
        let Ok(text) = scan.text() else { break };
        let is_it = text_of(text, page, &mut unescaped) == name;
        let Ok(value) = scan.colon().and_then(|()| scan.value(0)) else {
            break;
        };
        if is_it {
            return value;
        }
    }
    Cell::ABSENT
}

/// Returns what a text means; with escapes in it, by way of `scratch`.
#[inline]
pub(crate) fn text_of<'a>(cell: Cell, page: &'a str, scratch: &'a mut String) -> &'a str {
    if cell.kind == Kind::Escaped {
        scratch.clear();
        unescape(cell.text(page), scratch);
        scratch
    } else {
        cell.text(page)
    }
}

pub(crate) fn null<T: RowTarget>(
    row: &mut RowWriter<'_, T>,
    column: &ReplyColumn<'_>,
    misfit: Misfit,
) -> Result<(), Misfit> {
    if column.or_empty {
        row.text("");
        return Ok(());
    }
    if !column.nullable {
        return Err(misfit);
    }
    row.null();
    Ok(())
}

/// Writes the next cell of a row from a value that the walk gave.
pub(crate) fn write_given<T: RowTarget>(
    row: &mut RowWriter<'_, T>,
    column: &ReplyColumn<'_>,
    value: &Value<'static>,
) -> Result<(), Misfit> {
    if value.is_null() {
        return null(row, column, Misfit::Missing);
    }
    row.value(value);
    Ok(())
}

/// Writes the next cell of a row from its text.
#[inline]
pub(crate) fn write_text<T: RowTarget>(
    row: &mut RowWriter<'_, T>,
    column: &ReplyColumn<'_>,
    text: &str,
) -> Result<(), Misfit> {
    let unknown = &column.unknown;
    if text.is_empty() && unknown.empty || unknown.texts.contains(&text) {
        row.null();
        return Ok(());
    }
    // Before it is read: with an offset to the east it would be of no year that there is.
    if unknown.year_one && text.starts_with(YEAR_ONE) {
        row.null();
        return Ok(());
    }
    match column.ty {
        Type::Text => {
            row.text(text);
        }
        Type::Int | Type::Float | Type::Decimal { .. } => {
            return write_number(row, column, text);
        }
        Type::Timestamp => {
            let at = timestamp(text, column.utc)?;
            if unknown.year_one && is_year_one(at.ticks()) {
                row.null();
            } else {
                row.value(&Value::Timestamp(at));
            }
        }
        Type::LocalTimestamp => {
            let at = local_timestamp(text)?;
            if unknown.year_one && is_year_one(at.ticks()) {
                row.null();
            } else {
                row.value(&Value::LocalTimestamp(at));
            }
        }
        Type::Date => {
            let day: Date = text.parse()?;
            row.value(&Value::Date(day));
        }
        Type::Bool if text.eq_ignore_ascii_case("yes") => {
            row.bool(true);
        }
        Type::Bool if text.eq_ignore_ascii_case("no") => {
            row.bool(false);
        }
        Type::Bool | Type::Bytes | Type::Uuid | Type::Json => {
            row.value(&column.ty.parse(text)?);
        }
    }
    Ok(())
}

fn write_number<T: RowTarget>(
    row: &mut RowWriter<'_, T>,
    column: &ReplyColumn<'_>,
    text: &str,
) -> Result<(), Misfit> {
    let unknown = &column.unknown;
    let value = match column.ty {
        // The one that is everywhere, without a detour.
        Type::Int => text
            .parse()
            .map_or_else(|_| column.ty.parse(text), |v| Ok(Value::Int(v)))?,
        ty => ty.parse(text)?,
    };
    let is = |number: i16| match &value {
        Value::Int(v) => *v == i64::from(number),
        Value::Float(v) => v.to_bits() == f64::from(number).to_bits() || number == 0 && *v == 0.0,
        Value::Decimal(v) => Decimal::new(number.into(), 0).is_ok_and(|number| *v == number),
        _ => false,
    };
    if unknown.zero && is(0) || unknown.minus_one && is(-1) {
        row.null();
    } else {
        row.value(&value);
    }
    Ok(())
}

/// Joins the texts of an array.
fn join(
    column: &ReplyColumn<'_>,
    array: Cell,
    page: &str,
    scratch: &mut Scratch,
) -> Result<(), Misfit> {
    let separator = column.joined.unwrap_or_default();
    scratch.joined.clear();
    let mut scan = Scan::new(page, array.start as usize + 1);
    let (mut is_first, mut is_empty) = (true, true);
    while let Ok(true) = scan.next(is_first, b']') {
        is_first = false;
        // All of it was checked when the array was read.
        let Ok(cell) = scan.value(0) else { break };
        let text = match cell.kind {
            Kind::Null | Kind::Absent => continue,
            Kind::Array | Kind::Object => return Err(Misfit::Nested),
            _ => text_of(cell, page, &mut scratch.text),
        };
        if !is_empty {
            scratch.joined.push_str(separator);
        }
        is_empty = false;
        scratch.joined.push_str(text);
    }
    Ok(())
}

const TICKS_PER_SECOND: i64 = 10_000_000;
const TICKS_PER_DAY: i64 = 86_400 * TICKS_PER_SECOND;

const YEAR_ONE: &str = "0001-01-01";

/// Any moment of the first day: an offset may have moved it by hours.
fn is_year_one(ticks: i64) -> bool {
    ticks < Timestamp::MIN.ticks() + TICKS_PER_DAY
}

/// Reads a timestamp: as [`Timestamp`] itself does, and several times faster in the form that
/// services write.
fn timestamp(text: &str, utc: bool) -> Result<Timestamp, ParseError> {
    if let Some((ticks, offset)) = civil(text.as_bytes()) {
        let east = match offset {
            b"Z" => Some(0),
            b"" if utc => Some(0),
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let (hours, minutes) = (two(*h1, *h2), two(*m1, *m2));
                if hours < 24 && minutes < 60 {
                    let east = hours * 60 + minutes;
                    Some(if *sign == b'-' { -east } else { east })
                } else {
                    None
                }
            }
            _ => None,
        };
        if let Some(east) = east {
            return Timestamp::from_ticks(ticks - east * 60 * TICKS_PER_SECOND);
        }
    }
    if utc && let Ok(at) = text.parse::<LocalTimestamp>() {
        return Timestamp::from_ticks(at.ticks());
    }
    text.parse()
}

fn local_timestamp(text: &str) -> Result<LocalTimestamp, ParseError> {
    match civil(text.as_bytes()) {
        Some((ticks, b"")) => LocalTimestamp::from_ticks(ticks),
        _ => text.parse(),
    }
}

/// Reads `YYYY-MM-DDTHH:MM:SS` and decimal places, of which seven may be other than 0; returns the count of 100 ns since
/// 1970 and what follows. Nothing for what is another form or no time at all.
fn civil(text: &[u8]) -> Option<(i64, &[u8])> {
    let (head, mut rest) = text.split_first_chunk::<19>()?;
    let marks = [head[4], head[7], head[10], head[13], head[16]];
    if !matches!(marks, [b'-', b'-', b'T' | b' ', b':', b':']) {
        return None;
    }
    let number = |at: usize| two(head[at], head[at + 1]);
    let (year, month, day) = (number(0) * 100 + number(2), number(5), number(8));
    let (hour, minute, second) = (number(11), number(14), number(17));
    // What is no digit makes a number that is far too large.
    let is_time = (1..=9999).contains(&year) && hour < 24 && minute < 60 && second < 60;
    if !is_time || !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let mut fraction = 0;
    if let Some((b'.', digits)) = rest.split_first() {
        let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, behind) = digits.split_at(len);
        // Zeros beyond 100 ns are nothing that could be lost.
        if len == 0 || digits.iter().skip(7).any(|digit| *digit != b'0') {
            return None;
        }
        for place in 0..7 {
            let digit = digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
            fraction = fraction * 10 + digit;
        }
        rest = behind;
    }
    let seconds =
        (days_before(year, month) + day - 1) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds * TICKS_PER_SECOND + fraction, rest))
}

/// Returns the number that two digits are, and a huge one for what is no digit.
fn two(tens: u8, ones: u8) -> i64 {
    let digit = |b: u8| match b {
        b'0'..=b'9' => i64::from(b - b'0'),
        _ => 1_000_000,
    };
    digit(tens) * 10 + digit(ones)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to the first of the month.
fn days_before(year: i64, month: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let past = year - 1;
    let leap_day = i64::from(month > 2 && is_leap(year));
    let in_year = usize::try_from(month - 1).ok().and_then(|m| BEFORE.get(m));
    past * 365 + past / 4 - past / 100
        + past / 400
        + in_year.copied().unwrap_or_default()
        + leap_day
        - 719_162
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_beyond_100_ns_are_nothing_and_digits_are_refused() {
        let parse = |text| timestamp(text, false);
        assert_eq!(
            parse("2017-01-01T00:02:49.3205976000-08:00")
                .unwrap()
                .to_string(),
            "2017-01-01T08:02:49.3205976Z"
        );
        assert!(parse("2017-01-01T00:02:49.32059761Z").is_err());
        assert!(parse("2017-01-01T00:02:49").is_err(), "no offset");
        assert_eq!(
            timestamp("2017-01-01 00:02:49", true).unwrap().to_string(),
            "2017-01-01T00:02:49Z"
        );
        assert!(
            parse("0001-01-01T00:00:00+01:00").is_err(),
            "before the year 1"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn times_are_what_the_core_takes_them_for(
            year in prop_oneof![0_u32..=9999, Just(1), Just(9999), Just(2024)],
            month in 0_u32..=13, day in 0_u32..=32,
            hour in 0_u32..=24, minute in 0_u32..=60, second in 0_u32..=60,
            fraction in "(\\.[0-9]{0,9})?",
            rest in "(Z|z|[+-](0[0-9]|1[0-4]|23|24):(00|30|59|60)|)",
            mark in "[T ]",
        ) {
            let local = format!(
                "{year:04}-{month:02}-{day:02}{mark}{hour:02}:{minute:02}:{second:02}{fraction}"
            );
            let text = format!("{local}{rest}");
            prop_assert_eq!(timestamp(&text, false), text.parse::<Timestamp>());
            prop_assert_eq!(local_timestamp(&text), text.parse::<LocalTimestamp>());
        }

        #[test]
        fn any_text_is_what_the_core_takes_it_for(text in "[0-9T:. Z+-]{17,30}") {
            prop_assert_eq!(timestamp(&text, false), text.parse::<Timestamp>());
            prop_assert_eq!(local_timestamp(&text), text.parse::<LocalTimestamp>());
        }
    }
}
