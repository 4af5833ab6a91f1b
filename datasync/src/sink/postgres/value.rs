//! One cell on its way into PostgreSQL and back, without loss, in the binary form of `COPY`.
//!
//! PostgreSQL's text can't have U+0000. It stands there as `␀` (U+2400), the sign for it; `␀` itself
//! as `␛␀`, with the sign for *escape* (U+241B) before it, and `␛` as `␛␛`.

use std::borrow::Cow;

use connector_core::{Date, Decimal, LocalTimestamp, Timestamp, Type, Uuid, Value};

use super::field::Part;

/// PostgreSQL counts from 2000-01-01: microseconds and days after 1970-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;

const NULL_SIGN: char = '\u{2400}';
const ESCAPE_SIGN: char = '\u{241b}';

/// Appends a cell: its length and its bytes.
pub(super) fn write(value: &Value<'_>, part: Part, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        Value::Bool(v) => fixed([u8::from(*v)], out),
        Value::Int(v) => fixed(v.to_be_bytes(), out),
        Value::Float(v) => fixed(v.to_be_bytes(), out),
        Value::Decimal(v) => sized(out, |out| numeric(*v, out)),
        Value::Text(v) => sized(out, |out| out.extend_from_slice(escaped(v).as_bytes())),
        Value::Json(v) => sized(out, |out| out.extend_from_slice(v.as_bytes())),
        Value::Bytes(v) => sized(out, |out| out.extend_from_slice(v)),
        Value::Timestamp(v) => time(v.ticks(), part, out),
        Value::LocalTimestamp(v) => time(v.ticks(), part, out),
        Value::Date(v) => fixed((v.days() - EPOCH_DAYS).to_be_bytes(), out),
        Value::Uuid(v) => fixed(*v.as_bytes(), out),
    }
}

fn fixed<const N: usize>(bytes: [u8; N], out: &mut Vec<u8>) {
    sized(out, |out| out.extend_from_slice(&bytes));
}

/// Appends what `write` does, with its length in front.
fn sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    // The server refuses a length below null's, and one that is more than it says.
    let length = i32::try_from(out.len() - start - 4).unwrap_or(i32::MIN);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn time(ticks: i64, part: Part, out: &mut Vec<u8>) {
    match part {
        Part::Main => fixed((ticks.div_euclid(10) - EPOCH_MICROS).to_be_bytes(), out),
        // One digit.
        Part::Rest => {
            let rest = i16::try_from(ticks.rem_euclid(10)).unwrap_or_default();
            fixed(rest.to_be_bytes(), out);
        }
    }
}

/// Reads a cell back; none when it can't be one that [`write`] wrote. `rest` is the cell of the
/// 100 ns, where there is one.
pub(super) fn read<'a>(ty: Type, cell: Option<&'a [u8]>, rest: Option<&[u8]>) -> Option<Value<'a>> {
    let Some(cell) = cell else {
        return rest.is_none().then_some(Value::Null);
    };
    Some(match ty {
        Type::Bool => match cell {
            [v @ (0 | 1)] => Value::Bool(*v == 1),
            _ => return None,
        },
        Type::Int => Value::Int(i64::from_be_bytes(cell.try_into().ok()?)),
        Type::Float => Value::Float(f64::from_be_bytes(cell.try_into().ok()?)),
        Type::Decimal { scale } => Value::Decimal(decimal(cell, scale)?),
        Type::Text => Value::Text(plain(std::str::from_utf8(cell).ok()?)?),
        Type::Json => Value::Json(std::str::from_utf8(cell).ok()?.into()),
        Type::Bytes => Value::Bytes(cell.into()),
        Type::Timestamp => Value::Timestamp(Timestamp::from_ticks(ticks(cell, rest?)?).ok()?),
        Type::LocalTimestamp => {
            Value::LocalTimestamp(LocalTimestamp::from_ticks(ticks(cell, rest?)?).ok()?)
        }
        Type::Date => {
            let days = i32::from_be_bytes(cell.try_into().ok()?).checked_add(EPOCH_DAYS)?;
            Value::Date(Date::from_days(days).ok()?)
        }
        Type::Uuid => Value::Uuid(Uuid::from_bytes(cell.try_into().ok()?)),
    })
}

fn ticks(micros: &[u8], rest: &[u8]) -> Option<i64> {
    let micros = i64::from_be_bytes(micros.try_into().ok()?).checked_add(EPOCH_MICROS)?;
    let rest = i64::from(i16::from_be_bytes(rest.try_into().ok()?));
    if !(0..10).contains(&rest) {
        return None;
    }
    micros.checked_mul(10)?.checked_add(rest)
}

/// Returns text as PostgreSQL can store it.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    let special = |c| matches!(c, '\0' | NULL_SIGN | ESCAPE_SIGN);
    // Both signs begin with these bytes, and little else does.
    let may_be = text.as_bytes().iter().any(|b| matches!(b, 0 | 0xe2));
    if !may_be || !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => escaped.push(NULL_SIGN),
            c => {
                if special(c) {
                    escaped.push(ESCAPE_SIGN);
                }
                escaped.push(c);
            }
        }
    }
    Cow::Owned(escaped)
}

/// Returns the text that was escaped; none when that is none.
fn plain(text: &str) -> Option<Cow<'_, str>> {
    let signs = |c| matches!(c, NULL_SIGN | ESCAPE_SIGN);
    let may_be = text.as_bytes().contains(&0xe2);
    if !may_be || !text.contains(signs) {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            NULL_SIGN => '\0',
            ESCAPE_SIGN => chars.next().filter(|&c| signs(c))?,
            c => c,
        });
    }
    Some(Cow::Owned(plain))
}

/// How many decimal digits stand in one of PostgreSQL's.
const GROUP: usize = 4;
const NEGATIVE: u16 = 0x4000;
/// 39 digits and a zero, and room to fill up the first group and the last.
const MOST_DIGITS: usize = 48;

/// Writes PostgreSQL's own form: groups of four digits around the point, without zeros at either end.
fn numeric(value: Decimal, out: &mut Vec<u8>) {
    let scale = usize::from(value.scale());
    let mut digits = [0_u8; MOST_DIGITS];
    // The point stands between two groups.
    let end = MOST_DIGITS - (GROUP - scale % GROUP) % GROUP;
    let point = end - scale;
    let mut units = value.units().unsigned_abs();
    let mut start = end;
    while units > 0 && start > 0 {
        start -= 1;
        digits[start] = u8::try_from(units % 10).unwrap_or_default();
        units /= 10;
    }
    let group = |at: usize| {
        digits[at..at + GROUP]
            .iter()
            .fold(0_i16, |sum, &digit| sum * 10 + i16::from(digit))
    };
    let groups = (0..MOST_DIGITS).step_by(GROUP);
    let first = groups.clone().find(|&at| group(at) != 0);
    let last = groups.rev().find(|&at| group(at) != 0);
    let (Some(first), Some(last)) = (first, last) else {
        let zero = [0, 0, 0, i16::from(value.scale())];
        for word in zero {
            out.extend_from_slice(&word.to_be_bytes());
        }
        return;
    };
    let small = |count: usize| i16::try_from(count).unwrap_or(i16::MAX);
    let count = (last - first) / GROUP + 1;
    let weight = small(point / GROUP) - small(first / GROUP) - 1;
    out.extend_from_slice(&small(count).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    let sign = if value.units() < 0 { NEGATIVE } else { 0 };
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&small(scale).to_be_bytes());
    for at in (first..=last).step_by(GROUP) {
        out.extend_from_slice(&group(at).to_be_bytes());
    }
}

fn decimal(cell: &[u8], scale: u8) -> Option<Decimal> {
    let mut words = cell
        .chunks(2)
        .map(|word| word.try_into().map(u16::from_be_bytes));
    let mut next = || words.next()?.ok();
    let count = next()?;
    let weight = i32::from(next()?.cast_signed());
    let sign = next()?;
    next()?; // How many places are shown, which the column's type says.
    let mut units = 0_i128;
    for place in 0..i32::from(count) {
        let group = i128::from(next()?);
        // The group counts so many powers of ten, in units of the last place.
        let power = 4 * (weight - place) + i32::from(scale);
        let ten = 10_i128.checked_pow(power.unsigned_abs());
        let part = if power < 0 {
            let ten = ten?;
            (group % ten == 0).then_some(group / ten)?
        } else if group == 0 {
            0
        } else {
            group.checked_mul(ten?)?
        };
        // Below zero there is one number more.
        units = units.checked_sub(part)?;
    }
    let units = match sign {
        0 => units.checked_neg()?,
        NEGATIVE => units,
        _ => return None,
    };
    Decimal::new(units, scale).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sink::{postgres::field::is_time, testing};

    fn types() -> impl Strategy<Value = Type> {
        let columns = testing::all_types();
        let types: Vec<_> = columns.iter().map(connector_core::Column::ty).collect();
        let scales = (0..=connector_core::MAX_SCALE).prop_map(|scale| Type::Decimal { scale });
        prop_oneof![prop::sample::select(types), scales]
    }

    fn round(ty: Type, value: &Value<'_>) -> Option<Value<'static>> {
        let cell = |part| {
            let mut out = Vec::new();
            write(value, part, &mut out);
            let length = i32::from_be_bytes(out[..4].try_into().unwrap());
            assert_eq!(i32::try_from(out.len() - 4).unwrap(), length.max(0));
            (length >= 0).then(|| out[4..].to_vec())
        };
        let (main, rest) = (cell(Part::Main), cell(Part::Rest));
        let rest = rest.filter(|_| is_time(ty));
        Some(read(ty, main.as_deref(), rest.as_deref())?.into_owned())
    }

    proptest! {
        #[test]
        fn cells_survive((ty, value) in types().prop_flat_map(|ty| (Just(ty), testing::value(ty)))) {
            prop_assert_eq!(round(ty, &value), Some(value));
            prop_assert_eq!(round(ty, &Value::Null), Some(Value::Null));
        }

        #[test]
        fn text_with_signs_survives(text in "[\0␀␛a]{0,8}") {
            let stored = escaped(&text);
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(plain(&stored), Some(text.as_str().into()));
        }

        #[test]
        fn no_bytes_are_too_strange(ty in types(), cell in prop::collection::vec(any::<u8>(), 0..24)) {
            let _ = read(ty, Some(&cell), Some(&[0, 1]));
        }
    }

    #[test]
    fn numbers_have_the_servers_own_form() {
        let of = |units, scale| {
            let mut out = Vec::new();
            numeric(Decimal::new(units, scale).unwrap(), &mut out);
            let words = out
                .chunks(2)
                .map(|word| i16::from_be_bytes([word[0], word[1]]));
            words.collect::<Vec<_>>()
        };
        assert_eq!(of(0, 2), [0, 0, 0, 2]);
        assert_eq!(of(1, 0), [1, 0, 0, 0, 1]);
        assert_eq!(of(-123_450_000, 4), [2, 1, 0x4000, 4, 1, 2345]);
        assert_eq!(of(5, 6), [1, -2, 0, 6, 500]);
        assert_eq!(of(100_000_000, 0), [1, 2, 0, 0, 1]);
    }

    #[test]
    fn what_was_written_by_hand_is_seen() {
        assert!(plain("a␛").is_none() && plain("␛a").is_none());
        let at = 0_i64.to_be_bytes();
        let read = |rest: i16| read(Type::Timestamp, Some(&at), Some(&rest.to_be_bytes()));
        assert!(read(9).is_some() && read(10).is_none() && read(-1).is_none());
    }
}
