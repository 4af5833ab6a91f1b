//! From the cells of a reply straight into rows.

use connector_core::{
    Batch, Date, Decimal, Error, ErrorKind, LocalTimestamp, Result, RowWriter, Timestamp, Type,
    Uuid, Value,
};

use super::{
    session::Record,
    shape::Kind,
    text::{self, NotText},
};

/// How one column of a data set comes from a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Null in every row.
    Absent,
    /// From the cell at this place.
    Cell {
        place: usize,
        ty: Type,
        /// Without the spaces that a fixed length was filled up with.
        trim: bool,
    },
}

const TICKS_PER_SECOND: i64 = 10_000_000;
const TICKS_PER_DAY: i64 = 86_400 * TICKS_PER_SECOND;
/// From 1 January 1900 to 1 January 1970.
const DAYS_FROM_1900: i64 = 25_567;
/// From 1 January of the year 1 to 1 January 1970.
const DAYS_FROM_1: i64 = 719_162;

impl Record<'_> {
    /// Writes a row; `scratch` is room for one text at a time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] naming the column and the row, never the value.
    pub(crate) fn write(
        &self,
        readings: &[Reading],
        scratch: &mut Vec<u8>,
        out: &mut Batch,
    ) -> Result<()> {
        let mut row = out.row();
        for (column, reading) in readings.iter().enumerate() {
            let Reading::Cell { place, ty, trim } = *reading else {
                row.null();
                continue;
            };
            let written = match self.cell(place) {
                Some((_, None)) => {
                    row.null();
                    Ok(())
                }
                Some((kind, Some(bytes))) => {
                    let cell = Cell {
                        bytes,
                        ty,
                        trim,
                        lossy: self.lossy,
                    };
                    cell.write(kind, scratch, &mut row)
                }
                None => Err(Misfit("missing from the row")),
            };
            if let Err(Misfit(what)) = written {
                let schema = out.schema();
                let name = schema.columns().get(column).map_or("", |c| c.name());
                let message = format!("the column is {ty}, the value is {what}");
                return Err(Error::new(ErrorKind::Data, message).with("column", name));
            }
        }
        row.end()
    }

    /// A whole number, of whatever type it is.
    pub(crate) fn int(&self, place: usize) -> Option<i64> {
        let (kind, bytes) = self.cell(place)?;
        let bytes = bytes?;
        match kind {
            Kind::Bit | Kind::Int => whole(bytes),
            Kind::Decimal { scale: 0 } => i64::try_from(units(bytes)?).ok(),
            _ => None,
        }
    }
}

/// What keeps a value from being of its column's type. Never the value.
struct Misfit(&'static str);

type Written = std::result::Result<(), Misfit>;

const CUT: Misfit = Misfit("of another length than its type");

/// A cell that is not null, and what it is to become.
#[derive(Clone, Copy)]
struct Cell<'a> {
    bytes: &'a [u8],
    ty: Type,
    trim: bool,
    lossy: bool,
}

impl Cell<'_> {
    #[inline]
    fn write(self, kind: Kind, scratch: &mut Vec<u8>, out: &mut RowWriter<'_, Batch>) -> Written {
        let Self { bytes, ty, .. } = self;
        match kind {
            Kind::Wide { .. } => self.wide(scratch, out),
            Kind::Int => int(whole(bytes).ok_or(CUT)?, ty, out),
            Kind::DateTime => moment(datetime(bytes).ok_or(CUT)?, ty, out),
            Kind::Bit => match (ty, bytes) {
                (Type::Bool, [bit]) => {
                    out.bool(*bit != 0);
                    Ok(())
                }
                _ => int(whole(bytes).ok_or(CUT)?, ty, out),
            },
            Kind::Narrow { encoding, .. } => {
                let unknown = Misfit(
                    "in a code page that can't be read here: cast it to nvarchar in the query",
                );
                let encoding = encoding.ok_or(unknown)?;
                let (text, broken) = encoding.decode_without_bom_handling(bytes);
                if broken && !self.lossy {
                    return Err(Misfit(
                        "text that its code page does not have: correct the row, or set \
                         `replace_half_surrogates = true`, and U+FFFD is read instead",
                    ));
                }
                self.text(&text, out)
            }
            Kind::Money => numeric(money(bytes).ok_or(CUT)?, 4, ty, out),
            Kind::Decimal { scale } => numeric(units(bytes).ok_or(CUT)?, scale, ty, out),
            Kind::Float => float(number(bytes).ok_or(CUT)?, ty, out),
            Kind::Date => date(days(bytes).ok_or(CUT)?, ty, out),
            Kind::Time { scale } => {
                let ticks = ticks(bytes, scale).ok_or(CUT)?;
                match ty {
                    Type::Text => out.text(&time_text(ticks, scale)),
                    _ => return Err(Misfit("a time of day")),
                };
                Ok(())
            }
            Kind::DateTime2 { scale } => moment(datetime2(bytes, scale).ok_or(CUT)?, ty, out),
            Kind::DateTimeOffset { scale } => offset(bytes, scale, ty, out),
            Kind::Uuid => {
                let uuid = uuid(bytes).ok_or(CUT)?;
                match ty {
                    Type::Uuid => out.value(&Value::Uuid(uuid)),
                    Type::Text => {
                        out.text(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
                    }
                    _ => return Err(Misfit("a uniqueidentifier")),
                };
                Ok(())
            }
            Kind::Binary => {
                match ty {
                    Type::Bytes => out.bytes(bytes),
                    // Active Directory and SQL Server keep the first three groups low byte first.
                    Type::Uuid => {
                        out.value(&Value::Uuid(uuid(bytes).ok_or(Misfit("not of 16 bytes"))?))
                    }
                    _ => return Err(Misfit("bytes")),
                };
                Ok(())
            }
            Kind::Xml => {
                // Behind a mark of its order of bytes.
                let bytes = bytes.strip_prefix(&[0xff, 0xfe]).unwrap_or(bytes);
                match ty {
                    Type::Text => Self { bytes, ..self }.wide(scratch, out),
                    _ => Err(Misfit("XML")),
                }
            }
            Kind::Refused(what) => Err(Misfit(what)),
            Kind::Null => {
                out.null();
                Ok(())
            }
        }
    }

    fn wide(self, scratch: &mut Vec<u8>, out: &mut RowWriter<'_, Batch>) -> Written {
        scratch.clear();
        text::utf16(self.bytes, self.lossy, scratch).map_err(|NotText| {
            Misfit(
                "half of a surrogate pair, which is no character: correct the row, or set \
                 `replace_half_surrogates = true`, and U+FFFD is read instead",
            )
        })?;
        // What was written is text; to see so costs less than to trust it would save.
        let text = std::str::from_utf8(scratch).map_err(|_| Misfit("no text"))?;
        self.text(text, out)
    }

    fn text(self, text: &str, out: &mut RowWriter<'_, Batch>) -> Written {
        let text = if self.trim {
            text.trim_end_matches(' ')
        } else {
            text
        };
        match self.ty {
            Type::Text => out.text(text),
            Type::Json => out.value(&Value::Json(text.into())),
            _ => return Err(Misfit("text")),
        };
        Ok(())
    }
}

/// A number of one byte has no sign.
fn whole(bytes: &[u8]) -> Option<i64> {
    Some(match *bytes {
        [byte] => byte.into(),
        [a, b] => i16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        _ => i64::from_le_bytes(bytes.try_into().ok()?),
    })
}

fn number(bytes: &[u8]) -> Option<f64> {
    Some(match *bytes {
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).into(),
        _ => f64::from_le_bytes(bytes.try_into().ok()?),
    })
}

/// Up to eight bytes, the low one first.
fn unsigned(bytes: &[u8]) -> Option<i64> {
    let mut whole = [0; 8];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    i64::try_from(u64::from_le_bytes(whole)).ok()
}

/// Of eight bytes the high half comes first.
fn money(bytes: &[u8]) -> Option<i128> {
    let (high, low) = bytes.split_first_chunk::<4>()?;
    if low.is_empty() {
        return Some(i32::from_le_bytes(*high).into());
    }
    let low = u32::from_le_bytes(low.try_into().ok()?);
    let high = i32::from_le_bytes(*high);
    Some((i128::from(high) << 32) | i128::from(low))
}

/// One is the sign of what is not negative.
fn units(bytes: &[u8]) -> Option<i128> {
    let (sign, magnitude) = bytes.split_first()?;
    let mut whole = [0; 16];
    whole.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
    let units = i128::try_from(u128::from_le_bytes(whole)).ok()?;
    Some(if *sign == 1 { units } else { -units })
}

pub(super) fn uuid(bytes: &[u8]) -> Option<Uuid> {
    Some(Uuid::from_bytes_le(bytes.try_into().ok()?))
}

/// `days` are those since 1970.
fn date(days: i64, ty: Type, out: &mut RowWriter<'_, Batch>) -> Written {
    if ty != Type::Date {
        return moment(days * TICKS_PER_DAY, ty, out);
    }
    let date = i32::try_from(days).ok();
    let date = date.and_then(|days| Date::from_days(days).ok());
    out.value(&Value::Date(date.ok_or(Misfit("out of range"))?));
    Ok(())
}

fn numeric(units: i128, scale: u8, ty: Type, out: &mut RowWriter<'_, Batch>) -> Written {
    let number = Decimal::new(units, scale).map_err(|_| Misfit("out of range"))?;
    match ty {
        Type::Decimal { .. } => out.value(&Value::Decimal(number)),
        Type::Int => {
            let whole = number.rescale(0).ok();
            let whole = whole.and_then(|whole| i64::try_from(whole.units()).ok());
            out.int(whole.ok_or(Misfit("a number that 64 bits can't hold"))?)
        }
        Type::Text => out.text(&number.to_string()),
        _ => return Err(Misfit("a decimal")),
    };
    Ok(())
}

fn int(v: i64, ty: Type, out: &mut RowWriter<'_, Batch>) -> Written {
    match (ty, v) {
        (Type::Int, _) => out.int(v),
        (Type::Bool, 0 | 1) => out.bool(v == 1),
        (Type::Bool, _) => return Err(Misfit("a number other than 0 and 1")),
        (Type::Text, _) => out.text(&v.to_string()),
        (Type::Decimal { .. }, _) => {
            let number = Decimal::new(v.into(), 0).map_err(|_| Misfit("out of range"))?;
            out.value(&Value::Decimal(number))
        }
        _ => return Err(Misfit("a whole number")),
    };
    Ok(())
}

fn float(v: f64, ty: Type, out: &mut RowWriter<'_, Batch>) -> Written {
    match ty {
        Type::Float => out.float(v),
        _ => return Err(Misfit("a floating-point number")),
    };
    Ok(())
}

/// `ticks` are 100 ns since 1970 on the clock that the value was written by.
fn moment(ticks: i64, ty: Type, out: &mut RowWriter<'_, Batch>) -> Written {
    let range = |_| Misfit("out of range");
    match ty {
        Type::LocalTimestamp => out.value(&Value::LocalTimestamp(
            LocalTimestamp::from_ticks(ticks).map_err(range)?,
        )),
        Type::Timestamp => out.value(&Value::Timestamp(
            Timestamp::from_ticks(ticks).map_err(range)?,
        )),
        _ => return Err(Misfit("a date and time")),
    };
    Ok(())
}

/// Of eight bytes: steps of 1/300 s, as the nearest 100 ns, which `datetime2(7)` shows too. Of
/// four: minutes.
fn datetime(bytes: &[u8]) -> Option<i64> {
    let (days, ticks) = if let [days @ .., _, _, _, _] = bytes
        && let (Ok(days), Some(steps)) = (days.try_into(), bytes.last_chunk())
    {
        let steps = i64::from(u32::from_le_bytes(*steps));
        let ticks = (steps * TICKS_PER_SECOND + 150) / 300;
        (i64::from(i32::from_le_bytes(days)), ticks)
    } else {
        let [d1, d2, m1, m2] = bytes.try_into().ok()?;
        let minutes = i64::from(u16::from_le_bytes([m1, m2]));
        let days = i64::from(u16::from_le_bytes([d1, d2]));
        (days, minutes * 60 * TICKS_PER_SECOND)
    };
    Some((days - DAYS_FROM_1900) * TICKS_PER_DAY + ticks)
}

/// Days since 1970.
fn days(bytes: &[u8]) -> Option<i64> {
    let days = (bytes.len() == 3).then(|| unsigned(bytes))?;
    Some(days? - DAYS_FROM_1)
}

/// Increments of 10^-scale seconds, as 100 ns.
fn ticks(bytes: &[u8], scale: u8) -> Option<i64> {
    let length = match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    };
    let increments = (bytes.len() == length).then(|| unsigned(bytes))?;
    // Five bytes of them fit.
    let finer = 10_i64.pow(u32::from(7_u8.saturating_sub(scale)));
    increments?.checked_mul(finer)
}

fn datetime2(bytes: &[u8], scale: u8) -> Option<i64> {
    let (time, date) = bytes.split_at_checked(bytes.len().checked_sub(3)?)?;
    days(date)?
        .checked_mul(TICKS_PER_DAY)?
        .checked_add(ticks(time, scale)?)
}

fn offset(bytes: &[u8], scale: u8, ty: Type, out: &mut RowWriter<'_, Batch>) -> Written {
    let (utc, minutes) = bytes.split_last_chunk().ok_or(CUT)?;
    let utc = datetime2(utc, scale).ok_or(CUT)?;
    if ty != Type::Text {
        return match ty {
            Type::Timestamp => moment(utc, ty, out),
            _ => Err(Misfit("a date and time with an offset")),
        };
    }
    let minutes = i64::from(i16::from_le_bytes(*minutes));
    let local = LocalTimestamp::from_ticks(utc + minutes * 60 * TICKS_PER_SECOND)
        .map_err(|_| Misfit("out of range"))?;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    out.text(&format!("{local}{sign}{hours:02}:{minutes:02}"));
    Ok(())
}

/// `HH:MM:SS` and as many places as the column has.
fn time_text(ticks: i64, scale: u8) -> String {
    let seconds = ticks / TICKS_PER_SECOND;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{hours:02}:{minutes:02}:{seconds:02}");
    let places = usize::from(scale.min(7));
    if places > 0 {
        let fraction = format!("{:07}", ticks % TICKS_PER_SECOND);
        text.push('.');
        text.push_str(&fraction[..places]);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use connector_core::{Column, Schema};

    use super::*;
    use crate::driver::{shape::Shape, token::Cursor};

    /// A type as COLMETADATA has it, and a cell as a row has it.
    type Wire<'a> = (&'a [u8], &'a [u8]);

    const INT1: &[u8] = &[0x30];
    const INT2: &[u8] = &[0x34];
    const INT4: &[u8] = &[0x38];
    const INT8: &[u8] = &[0x7f];
    const BIT: &[u8] = &[0x32];
    const FLT4: &[u8] = &[0x3b];
    const FLT8: &[u8] = &[0x3e];
    const MONEY: &[u8] = &[0x3c];
    const MONEY4: &[u8] = &[0x7a];
    const DATETIME: &[u8] = &[0x3d];
    const DATETIME4: &[u8] = &[0x3a];
    const GUID: &[u8] = &[0x24, 16];
    const BINARY: &[u8] = &[0xa5, 16, 0];
    const NVARCHAR: &[u8] = &[0xe7, 80, 0, 9, 4, 0xd0, 0, 52];
    const XML: &[u8] = &[0xf1, 0];

    /// The value as text once it was written into a column of the type.
    fn read((info, row): Wire<'_>, ty: Type, trim: bool) -> Result<String> {
        let key = Column::new("key", Type::Int).key();
        let schema = Schema::new([key, Column::new("cell", ty).null()]).unwrap();
        let mut batch = Batch::new(Arc::new(schema));
        let shapes = [INT1, info].map(|info| Shape::read(&mut Cursor::new(info)).unwrap());
        let record = Record::of(&shapes, &[&[1], row].concat()).unwrap();
        let readings = [
            Reading::Cell {
                place: 0,
                ty: Type::Int,
                trim: false,
            },
            Reading::Cell { place: 1, ty, trim },
        ];
        record.write(&readings, &mut Vec::new(), &mut batch)?;
        let value = batch.rows().next().unwrap().at(1).to_string();
        Ok(value)
    }

    fn shown(wire: Wire<'_>, ty: Type) -> String {
        read(wire, ty, false).unwrap()
    }

    /// Behind its length in two bytes.
    fn wide(text: &str) -> Vec<u8> {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        short(&units)
    }

    fn short(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        [&length, bytes].concat()
    }

    /// Behind its length in a byte: sign and magnitude.
    fn decimal(units: i128) -> Vec<u8> {
        let magnitude = units.unsigned_abs().to_le_bytes();
        [&[17, u8::from(units >= 0)][..], &magnitude].concat()
    }

    #[test]
    fn every_type_is_read_without_loss() {
        let four = Type::Decimal { scale: 4 };
        let bytes = short(&[0, 255]);
        for (wire, ty, text) in [
            ((INT1, &[255][..]), Type::Int, "255"),
            ((INT2, &i16::MIN.to_le_bytes()), Type::Int, "-32768"),
            ((INT4, &i32::MIN.to_le_bytes()), Type::Int, "-2147483648"),
            (
                (INT8, &i64::MIN.to_le_bytes()),
                Type::Int,
                "-9223372036854775808",
            ),
            ((&[0x26, 8], &[2, 1, 1]), Type::Int, "257"),
            ((INT4, &[1, 0, 0, 0]), Type::Bool, "true"),
            ((BIT, &[1]), Type::Bool, "true"),
            ((BIT, &[1]), Type::Int, "1"),
            ((INT4, &(-7_i32).to_le_bytes()), Type::Text, "-7"),
            ((INT4, &[7, 0, 0, 0]), four, "7.0000"),
            (
                (&[0x6a, 17, 38, 4], &decimal(-123_456_789_012_345_678)),
                four,
                "-12345678901234.5678",
            ),
            ((&[0x6c, 17, 38, 1], &decimal(15)), four, "1.5000"),
            ((&[0x6a, 17, 38, 0], &decimal(42)), Type::Int, "42"),
            ((&[0x6a, 5, 9, 0], &[5, 0, 42, 0, 0, 0]), Type::Int, "-42"),
            (
                (MONEY, &[0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff]),
                four,
                "-0.0002",
            ),
            (
                (MONEY, &[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff]),
                Type::Text,
                "922337203685477.5807",
            ),
            ((MONEY4, &15_000_i32.to_le_bytes()), four, "1.5000"),
            ((FLT4, &0.5_f32.to_le_bytes()), Type::Float, "0.5"),
            ((FLT8, &1e300_f64.to_le_bytes()), Type::Float, "1e300"),
            ((NVARCHAR, &wide("a ")), Type::Text, "a "),
            ((NVARCHAR, &wide("")), Type::Text, ""),
            (
                (NVARCHAR, &wide("{\"b\":1, \"a\":2}")),
                Type::Json,
                "{\"a\":2,\"b\":1}",
            ),
            ((BINARY, &bytes), Type::Bytes, "AP8="),
            (
                (
                    XML,
                    &[
                        4, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0xff, 0xfe, b'x', 0, 0, 0, 0, 0,
                    ],
                ),
                Type::Text,
                "x",
            ),
            ((&[0x26, 4], &[0]), Type::Text, ""),
        ] {
            assert_eq!(shown(wire, ty), text, "{wire:?}");
        }
        let padded = wide("P01  ");
        assert_eq!(read((NVARCHAR, &padded), Type::Text, true).unwrap(), "P01");
    }

    #[test]
    fn a_uuid_is_the_same_from_either_form() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let bytes = Uuid::parse_str(text).unwrap().to_bytes_le();
        let guid = [&[16], &bytes[..]].concat();
        assert_eq!(shown((GUID, &guid), Type::Uuid), text);
        assert_eq!(shown((GUID, &guid), Type::Text), text);
        assert_eq!(shown((BINARY, &short(&bytes)), Type::Uuid), text);
    }

    /// Days since 1900 and steps of 1/300 s.
    fn datetime(days: i32, steps: u32) -> Vec<u8> {
        [days.to_le_bytes(), steps.to_le_bytes()].concat()
    }

    /// The low bytes of a number.
    fn low(number: u64, bytes: usize) -> Vec<u8> {
        number.to_le_bytes()[..bytes].to_vec()
    }

    #[test]
    fn times_are_exact() {
        let noon = 12 * 3600 * 300;
        let local = Type::LocalTimestamp;
        for (days, steps, text) in [
            (0, noon, "1900-01-01T12:00:00"),
            (45_442, 1, "2024-06-01T00:00:00.0033333"),
            (-53_690, 86_400 * 300 - 1, "1753-01-01T23:59:59.9966667"),
        ] {
            assert_eq!(shown((DATETIME, &datetime(days, steps)), local), text);
        }
        let minutes = [45_442_u16.to_le_bytes(), 90_u16.to_le_bytes()].concat();
        assert_eq!(shown((DATETIME4, &minutes), local), "2024-06-01T01:30:00");
        let last = [&[8][..], &low(863_999_999_999, 5), &low(3_652_058, 3)].concat();
        assert_eq!(
            shown((&[0x2a, 7], &last), Type::Timestamp),
            "9999-12-31T23:59:59.9999999Z"
        );
        assert_eq!(shown((&[0x28], &[3, 0, 0, 0]), Type::Date), "0001-01-01");
        let offset = [
            &[9][..],
            &low(3_600_000, 4),
            &low(738_945, 3),
            &(-90_i16).to_le_bytes(),
        ];
        let offset = offset.concat();
        let info: &[u8] = &[0x2b, 3];
        assert_eq!(
            shown((info, &offset), Type::Timestamp),
            "2024-03-01T01:00:00Z"
        );
        assert_eq!(
            shown((info, &offset), Type::Text),
            "2024-02-29T23:30:00-01:30"
        );
        for (scale, cell, text) in [
            (7, low(863_999_999_999, 5), "23:59:59.9999999"),
            (0, low(61, 3), "00:01:01"),
            (2, low(1, 3), "00:00:00.01"),
        ] {
            let length = u8::try_from(cell.len()).unwrap();
            let cell = [&[length][..], &cell].concat();
            assert_eq!(shown((&[0x29, scale], &cell), Type::Text), text);
        }
    }

    #[test]
    fn what_does_not_fit_names_the_column_and_not_the_value() {
        let float = 4711.0_f64.to_le_bytes();
        for (wire, ty) in [
            ((INT4, &4711_i32.to_le_bytes()[..]), Type::Bool),
            ((FLT8, &float), Type::Decimal { scale: 4 }),
            ((FLT8, &float), Type::Int),
            ((NVARCHAR, &wide("4711")), Type::Int),
            ((&[0x6a, 17, 38, 1], &decimal(47_115)), Type::Int),
            (
                (&[0x6a, 17, 38, 4], &decimal(47_115)),
                Type::Decimal { scale: 2 },
            ),
            ((BINARY, &short(&[4, 7])), Type::Uuid),
            ((NVARCHAR, &wide("{4711")), Type::Json),
            // Of a wrong length, which nobody but a broken server sends.
            ((&[0x26, 8], &[3, 4, 7, 1]), Type::Int),
            ((&[0x28], &[2, 4, 7]), Type::Date),
            ((&[0x2a, 7], &[2, 4, 7]), Type::Timestamp),
        ] {
            let error = read(wire, ty, false).expect_err(&format!("{wire:?}"));
            assert_eq!(error.kind(), ErrorKind::Data);
            let text = error.to_string();
            assert!(text.contains("cell") && !text.contains("4711"), "{text}");
        }
    }
}
