//! From the driver's cells straight into rows.

use connector_core::{
    Batch, Date, Decimal, Error, ErrorKind, LocalTimestamp, Result, RowWriter, Timestamp, Type,
    Uuid, Value,
};
use tiberius::{
    ColumnData,
    numeric::Numeric,
    time::{DateTime, DateTime2, DateTimeOffset, SmallDateTime, Time},
};

use super::Record;

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

impl Record {
    /// Writes a row.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] naming the column and the row, never the value.
    pub(crate) fn write(&self, readings: &[Reading], out: &mut Batch) -> Result<()> {
        let mut row = out.row();
        for (column, reading) in readings.iter().enumerate() {
            match *reading {
                Reading::Absent => {
                    row.null();
                }
                Reading::Cell { place, ty, trim } => {
                    let written = self
                        .0
                        .get_column_data(place)
                        .map_err(|_| Misfit("missing from the row"))
                        .and_then(|cell| write(cell, ty, trim, &mut row));
                    if let Err(Misfit(what)) = written {
                        let schema = out.schema();
                        let name = schema.columns().get(column).map_or("", |c| c.name());
                        let message = format!("the column is {ty}, the value is {what}");
                        return Err(Error::new(ErrorKind::Data, message).with("column", name));
                    }
                }
            }
        }
        row.end()
    }
}

/// What keeps a value from being of its column's type. Never the value.
struct Misfit(&'static str);

type Written = std::result::Result<(), Misfit>;

fn write(
    cell: &ColumnData<'static>,
    ty: Type,
    trim: bool,
    out: &mut RowWriter<'_, Batch>,
) -> Written {
    match cell {
        ColumnData::String(Some(text)) => {
            let text = if trim {
                text.trim_end_matches(' ')
            } else {
                text
            };
            match ty {
                Type::Text => out.text(text),
                Type::Json => out.value(&Value::Json(text.into())),
                _ => return Err(Misfit("text")),
            };
        }
        ColumnData::I32(Some(v)) => return int(i64::from(*v), ty, out),
        ColumnData::I64(Some(v)) => return int(*v, ty, out),
        ColumnData::I16(Some(v)) => return int(i64::from(*v), ty, out),
        ColumnData::U8(Some(v)) => return int(i64::from(*v), ty, out),
        ColumnData::Bit(Some(v)) => match ty {
            Type::Bool => {
                out.bool(*v);
            }
            _ => return int(i64::from(*v), ty, out),
        },
        ColumnData::DateTime(Some(v)) => return moment(datetime(*v), ty, out),
        ColumnData::SmallDateTime(Some(v)) => return moment(smalldatetime(*v), ty, out),
        ColumnData::DateTime2(Some(v)) => return moment(datetime2(*v), ty, out),
        ColumnData::DateTimeOffset(Some(v)) => return offset(*v, ty, out),
        ColumnData::Date(Some(v)) => {
            return date(i64::from(v.days()) - DAYS_FROM_1, ty, out);
        }
        ColumnData::Time(Some(v)) => match ty {
            Type::Text => {
                out.text(&time_text(*v));
            }
            _ => return Err(Misfit("a time of day")),
        },
        ColumnData::F64(Some(v)) => return float(*v, ty, out),
        ColumnData::F32(Some(v)) => return float(f64::from(*v), ty, out),
        ColumnData::Numeric(Some(v)) => return numeric(*v, ty, out),
        ColumnData::Guid(Some(v)) => {
            match ty {
                Type::Uuid => out.value(&Value::Uuid(*v)),
                Type::Text => out.text(v.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
                _ => return Err(Misfit("a uniqueidentifier")),
            };
        }
        ColumnData::Binary(Some(bytes)) => {
            match ty {
                Type::Bytes => out.bytes(bytes),
                // Active Directory and SQL Server keep the first three groups low byte first.
                Type::Uuid => {
                    let bytes: [u8; 16] = bytes[..]
                        .try_into()
                        .map_err(|_| Misfit("not of 16 bytes"))?;
                    out.value(&Value::Uuid(Uuid::from_bytes_le(bytes)))
                }
                _ => return Err(Misfit("bytes")),
            };
        }
        ColumnData::Xml(Some(xml)) => match ty {
            Type::Text => {
                out.text(&xml.to_string());
            }
            _ => return Err(Misfit("XML")),
        },
        ColumnData::U8(None)
        | ColumnData::I16(None)
        | ColumnData::I32(None)
        | ColumnData::I64(None)
        | ColumnData::F32(None)
        | ColumnData::F64(None)
        | ColumnData::Bit(None)
        | ColumnData::String(None)
        | ColumnData::Guid(None)
        | ColumnData::Binary(None)
        | ColumnData::Numeric(None)
        | ColumnData::Xml(None)
        | ColumnData::DateTime(None)
        | ColumnData::SmallDateTime(None)
        | ColumnData::Time(None)
        | ColumnData::Date(None)
        | ColumnData::DateTime2(None)
        | ColumnData::DateTimeOffset(None) => {
            out.null();
        }
    }
    Ok(())
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

fn numeric(v: Numeric, ty: Type, out: &mut RowWriter<'_, Batch>) -> Written {
    let number = Decimal::new(v.value(), v.scale()).map_err(|_| Misfit("out of range"))?;
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
        // Money comes here too, when nobody cast it.
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

/// Steps of 1/300 s, as 100 ns: the nearest, which `datetime2(7)` shows too.
fn datetime(v: DateTime) -> i64 {
    let days = i64::from(v.days()) - DAYS_FROM_1900;
    let steps = i64::from(v.seconds_fragments());
    days * TICKS_PER_DAY + (steps * TICKS_PER_SECOND + 150) / 300
}

/// Steps of a minute.
fn smalldatetime(v: SmallDateTime) -> i64 {
    let days = i64::from(v.days()) - DAYS_FROM_1900;
    days * TICKS_PER_DAY + i64::from(v.seconds_fragments()) * 60 * TICKS_PER_SECOND
}

fn datetime2(v: DateTime2) -> i64 {
    let days = i64::from(v.date().days()) - DAYS_FROM_1;
    days * TICKS_PER_DAY + time_ticks(v.time())
}

/// Increments of 10^-scale seconds, as 100 ns. A day of them fits in any scale.
fn time_ticks(v: Time) -> i64 {
    let finer = u32::from(7u8.saturating_sub(v.scale()));
    i64::try_from(v.increments()).unwrap_or_default() * 10i64.pow(finer)
}

fn offset(v: DateTimeOffset, ty: Type, out: &mut RowWriter<'_, Batch>) -> Written {
    let utc = datetime2(v.datetime2());
    if ty != Type::Text {
        return match ty {
            Type::Timestamp => moment(utc, ty, out),
            _ => Err(Misfit("a date and time with an offset")),
        };
    }
    let minutes = i64::from(v.offset());
    let local = LocalTimestamp::from_ticks(utc + minutes * 60 * TICKS_PER_SECOND)
        .map_err(|_| Misfit("out of range"))?;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    out.text(&format!("{local}{sign}{hours:02}:{minutes:02}"));
    Ok(())
}

/// `HH:MM:SS` and as many places as the column has.
fn time_text(v: Time) -> String {
    let ticks = time_ticks(v);
    let seconds = ticks / TICKS_PER_SECOND;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{hours:02}:{minutes:02}:{seconds:02}");
    let places = usize::from(v.scale().min(7));
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
    use tiberius::{Row, time::Date as SqlDate};

    use super::*;

    /// The value as text once it was written into a column of the type.
    fn read(data: ColumnData<'static>, ty: Type, trim: bool) -> Result<String> {
        let key = Column::new("key", Type::Int).key();
        let schema = Schema::new([key, Column::new("cell", ty).null()]).unwrap();
        let mut batch = Batch::new(Arc::new(schema));
        let null = tiberius::ColumnType::Null;
        let row = Row::builder()
            .column("key", null, ColumnData::I32(Some(1)))
            .column("cell", null, data)
            .build();
        let readings = [
            Reading::Cell {
                place: 0,
                ty: Type::Int,
                trim: false,
            },
            Reading::Cell { place: 1, ty, trim },
        ];
        Record(row).write(&readings, &mut batch)?;
        let value = batch.rows().next().unwrap().at(1).to_string();
        Ok(value)
    }

    fn shown(data: ColumnData<'static>, ty: Type) -> String {
        read(data, ty, false).unwrap()
    }

    #[test]
    fn every_type_is_read_without_loss() {
        let money = Numeric::new_with_scale(-123_456_789_012_345_678, 4);
        let decimal = Type::Decimal { scale: 4 };
        for (data, ty, text) in [
            (ColumnData::U8(Some(255)), Type::Int, "255"),
            (ColumnData::I16(Some(i16::MIN)), Type::Int, "-32768"),
            (ColumnData::I32(Some(i32::MIN)), Type::Int, "-2147483648"),
            (
                ColumnData::I64(Some(i64::MIN)),
                Type::Int,
                "-9223372036854775808",
            ),
            (ColumnData::I32(Some(1)), Type::Bool, "true"),
            (ColumnData::Bit(Some(true)), Type::Bool, "true"),
            (ColumnData::Bit(Some(true)), Type::Int, "1"),
            (ColumnData::I32(Some(-7)), Type::Text, "-7"),
            (ColumnData::I32(Some(7)), decimal, "7.0000"),
            (
                ColumnData::Numeric(Some(money)),
                decimal,
                "-12345678901234.5678",
            ),
            (
                ColumnData::Numeric(Some(Numeric::new_with_scale(15, 1))),
                decimal,
                "1.5000",
            ),
            (
                ColumnData::Numeric(Some(Numeric::new_with_scale(42, 0))),
                Type::Int,
                "42",
            ),
            (ColumnData::F32(Some(0.5)), Type::Float, "0.5"),
            (ColumnData::F64(Some(1e300)), Type::Float, "1e300"),
            (ColumnData::String(Some("a ".into())), Type::Text, "a "),
            (
                ColumnData::String(Some("{\"b\":1, \"a\":2}".into())),
                Type::Json,
                "{\"a\":2,\"b\":1}",
            ),
            (
                ColumnData::Binary(Some(vec![0, 255].into())),
                Type::Bytes,
                "AP8=",
            ),
            (ColumnData::I32(None), Type::Text, ""),
        ] {
            let name = format!("{data:?}");
            assert_eq!(shown(data, ty), text, "{name}");
        }
        let padded = ColumnData::String(Some("P01  ".into()));
        assert_eq!(read(padded, Type::Text, true).unwrap(), "P01");
    }

    #[test]
    fn a_uuid_is_the_same_from_either_form() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let uuid = Uuid::parse_str(text).unwrap();
        assert_eq!(shown(ColumnData::Guid(Some(uuid)), Type::Uuid), text);
        assert_eq!(shown(ColumnData::Guid(Some(uuid)), Type::Text), text);
        let bytes = uuid.to_bytes_le().to_vec();
        assert_eq!(
            shown(ColumnData::Binary(Some(bytes.into())), Type::Uuid),
            text
        );
    }

    #[test]
    fn times_are_exact() {
        let noon = 12 * 3600 * 300;
        let datetime = |days, steps| ColumnData::DateTime(Some(DateTime::new(days, steps)));
        let local = Type::LocalTimestamp;
        assert_eq!(shown(datetime(0, noon), local), "1900-01-01T12:00:00");
        assert_eq!(
            shown(datetime(45_442, 1), local),
            "2024-06-01T00:00:00.0033333"
        );
        assert_eq!(
            shown(datetime(-53_690, 86_400 * 300 - 1), local),
            "1753-01-01T23:59:59.9966667"
        );
        let small = SmallDateTime::new(45_442, 90);
        assert_eq!(
            shown(ColumnData::SmallDateTime(Some(small)), local),
            "2024-06-01T01:30:00"
        );
        let last = DateTime2::new(SqlDate::new(3_652_058), Time::new(863_999_999_999, 7));
        assert_eq!(
            shown(ColumnData::DateTime2(Some(last)), Type::Timestamp),
            "9999-12-31T23:59:59.9999999Z"
        );
        assert_eq!(
            shown(ColumnData::Date(Some(SqlDate::new(0))), Type::Date),
            "0001-01-01"
        );
        let utc = DateTime2::new(SqlDate::new(738_945), Time::new(3_600_000, 3));
        let offset = || ColumnData::DateTimeOffset(Some(DateTimeOffset::new(utc, -90)));
        assert_eq!(shown(offset(), Type::Timestamp), "2024-03-01T01:00:00Z");
        assert_eq!(shown(offset(), Type::Text), "2024-02-29T23:30:00-01:30");
        let time = |increments, scale| ColumnData::Time(Some(Time::new(increments, scale)));
        assert_eq!(
            shown(time(863_999_999_999, 7), Type::Text),
            "23:59:59.9999999"
        );
        assert_eq!(shown(time(61, 0), Type::Text), "00:01:01");
        assert_eq!(shown(time(1, 2), Type::Text), "00:00:00.01");
    }

    #[test]
    fn what_does_not_fit_names_the_column_and_not_the_value() {
        for (data, ty) in [
            (ColumnData::I32(Some(4711)), Type::Bool),
            (ColumnData::F64(Some(4711.0)), Type::Decimal { scale: 4 }),
            (ColumnData::F64(Some(4711.0)), Type::Int),
            (ColumnData::String(Some("4711".into())), Type::Int),
            (
                ColumnData::Numeric(Some(Numeric::new_with_scale(47_115, 1))),
                Type::Int,
            ),
            (
                ColumnData::Numeric(Some(Numeric::new_with_scale(47_115, 4))),
                Type::Decimal { scale: 2 },
            ),
            (ColumnData::Binary(Some(vec![4, 7].into())), Type::Uuid),
            (ColumnData::String(Some("{4711".into())), Type::Json),
        ] {
            let name = format!("{data:?}");
            let error = read(data, ty, false).expect_err(&name);
            assert_eq!(error.kind(), ErrorKind::Data);
            let text = error.to_string();
            assert!(text.contains("cell") && !text.contains("4711"), "{text}");
        }
    }
}
