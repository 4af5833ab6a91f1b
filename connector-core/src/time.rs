//! Points in time as inventory sources know them: exact to 100 ns, never shifted by guess.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, civil};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A value that does not fit its type. Never shows the value itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError(pub(crate) &'static str);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ParseError {}

const TICKS_PER_SECOND: i64 = 10_000_000;
const TICKS_PER_DAY: i64 = 86_400 * TICKS_PER_SECOND;
const EPOCH: civil::Date = civil::date(1970, 1, 1);
/// 0001-01-01T00:00:00
const MIN_TICKS: i64 = -719_162 * TICKS_PER_DAY;
/// 9999-12-31T23:59:59.9999999
const MAX_TICKS: i64 = 2_932_897 * TICKS_PER_DAY - 1;

const NOT_LOCAL: ParseError = ParseError("not a local time such as 2024-05-31T17:30:00");
const RANGE: ParseError = ParseError("outside the years 1 to 9999");

/// Splits ticks into a civil date and time. `ticks` is within `MIN_TICKS..=MAX_TICKS`.
fn civil_from_ticks(ticks: i64) -> civil::DateTime {
    let seconds = ticks.div_euclid(TICKS_PER_SECOND);
    let nanos = ticks.rem_euclid(TICKS_PER_SECOND) * 100;
    let since = SignedDuration::new(seconds, i32::try_from(nanos).unwrap_or_default());
    EPOCH.at(0, 0, 0, 0).saturating_add(since)
}

fn ticks_from_civil(at: civil::DateTime) -> Result<i64, ParseError> {
    let since = at.duration_since(EPOCH.at(0, 0, 0, 0));
    let nanos = i64::from(since.subsec_nanos());
    if nanos % 100 != 0 {
        return Err(ParseError("finer than 100 ns"));
    }
    let ticks = since.as_secs() * TICKS_PER_SECOND + nanos / 100;
    if (MIN_TICKS..=MAX_TICKS).contains(&ticks) {
        Ok(ticks)
    } else {
        Err(RANGE)
    }
}

/// jiff takes `:60` as `:59`, which would lose a second.
fn refuse_leap_second(text: &str) -> Result<(), ParseError> {
    match text.as_bytes().get(17..19) {
        Some(b"60") => Err(ParseError("a leap second")),
        _ => Ok(()),
    }
}

macro_rules! text_forms {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("the text of a ", stringify!($name)))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

macro_rules! ticks {
    ($name:ident) => {
        impl $name {
            /// Midnight of 1 January of the year 1.
            pub const MIN: Self = Self(MIN_TICKS);
            /// The last 100 ns of the year 9999.
            pub const MAX: Self = Self(MAX_TICKS);

            /// Takes a count of 100 ns since the start of 1970.
            ///
            /// # Errors
            ///
            /// When it lies outside the years 1 to 9999.
            pub fn from_ticks(ticks: i64) -> Result<Self, ParseError> {
                if (MIN_TICKS..=MAX_TICKS).contains(&ticks) {
                    Ok(Self(ticks))
                } else {
                    Err(RANGE)
                }
            }

            /// Returns the count of 100 ns since the start of 1970.
            pub fn ticks(self) -> i64 {
                self.0
            }
        }
        text_forms!($name);
    };
}

/// A moment in UTC, in 100 ns units: exact for every value of SQL Server and .NET.
///
/// ```
/// use connector_core::Timestamp;
///
/// let at: Timestamp = "2026-11-21T03:08:00.1234567+01:00".parse()?;
/// assert_eq!(at.to_string(), "2026-11-21T02:08:00.1234567Z");
/// # Ok::<(), connector_core::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);
ticks!(Timestamp);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", civil_from_ticks(self.0))
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;

    /// Takes RFC 3339: date, time and offset or `Z`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError =
            ParseError("not a time with an offset such as 2024-05-31T17:30:00Z");
        // jiff's own moments end a day before the year 9999 does, so the offset is ours to take.
        let at = text
            .bytes()
            .skip(10)
            .position(|b| matches!(b, b'Z' | b'z' | b'+' | b'-'));
        let (local, offset) = at
            .and_then(|at| text.split_at_checked(at + 10))
            .ok_or(WRONG)?;
        let minutes = match offset.as_bytes() {
            b"Z" | b"z" => 0,
            [sign, h1, h2, b':', m1, m2] => {
                let (hours, minutes) = (digits(&[*h1, *h2]), digits(&[*m1, *m2]));
                let (hours, minutes) = (hours.ok_or(WRONG)?, minutes.ok_or(WRONG)?);
                if hours > 23 || minutes > 59 {
                    return Err(WRONG);
                }
                let east = i64::from(hours) * 60 + i64::from(minutes);
                if *sign == b'-' { -east } else { east }
            }
            _ => return Err(WRONG),
        };
        let LocalTimestamp(ticks) = local.parse().map_err(|error| match error {
            NOT_LOCAL => WRONG,
            other => other,
        })?;
        Self::from_ticks(ticks - minutes * 60 * TICKS_PER_SECOND)
    }
}

/// A time whose zone the source does not know, such as `ConfigMgr`'s inventory dates; never shifted.
///
/// ```
/// use connector_core::LocalTimestamp;
///
/// let at: LocalTimestamp = "2024-05-31 17:30:00".parse()?;
/// assert_eq!(at.to_string(), "2024-05-31T17:30:00");
/// assert!("2024-05-31T17:30:00Z".parse::<LocalTimestamp>().is_err());
/// # Ok::<(), connector_core::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTimestamp(i64);
ticks!(LocalTimestamp);

impl fmt::Display for LocalTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", civil_from_ticks(self.0))
    }
}

impl FromStr for LocalTimestamp {
    type Err = ParseError;

    /// Takes `YYYY-MM-DDTHH:MM[:SS[.fffffff]]`, with `T` or a space. An offset is an error, since
    /// dropping it would lose it.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        refuse_leap_second(text)?;
        // A date alone, an offset or a zone would all be taken and quietly changed.
        let plain = text.len() > 10
            && text
                .bytes()
                .skip(10)
                .all(|b| b.is_ascii_digit() || matches!(b, b'T' | b' ' | b':' | b'.'));
        if !plain {
            return Err(NOT_LOCAL);
        }
        let at: civil::DateTime = text.parse().map_err(|_| NOT_LOCAL)?;
        ticks_from_civil(at).map(Self)
    }
}

/// A day of the calendar.
///
/// ```
/// use connector_core::Date;
///
/// let day: Date = "2024/05/31".parse()?;
/// assert_eq!(day.to_string(), "2024-05-31");
/// assert_eq!(day.days(), 19_874);
/// # Ok::<(), connector_core::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);
text_forms!(Date);

impl Date {
    /// 0001-01-01.
    pub const MIN: Self = Self(-719_162);
    /// 9999-12-31.
    pub const MAX: Self = Self(2_932_896);

    /// Takes a count of days since 1970-01-01.
    ///
    /// # Errors
    ///
    /// When it lies outside the years 1 to 9999.
    pub fn from_days(days: i32) -> Result<Self, ParseError> {
        let day = Self(days);
        if (Self::MIN..=Self::MAX).contains(&day) {
            Ok(day)
        } else {
            Err(RANGE)
        }
    }

    /// Returns the count of days since 1970-01-01.
    pub fn days(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}",
            civil_from_ticks(i64::from(self.0) * TICKS_PER_DAY).date()
        )
    }
}

impl FromStr for Date {
    type Err = ParseError;

    /// Takes `YYYY-MM-DD` or `YYYY/MM/DD`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError = ParseError("not a date such as 2024-05-31");
        let (year, month, day) = match text.as_bytes() {
            [y @ .., b'-', m1, m2, b'-', d1, d2] | [y @ .., b'/', m1, m2, b'/', d1, d2]
                if y.len() == 4 =>
            {
                (digits(y), digits(&[*m1, *m2]), digits(&[*d1, *d2]))
            }
            _ => return Err(WRONG),
        };
        let (Some(year), Some(month), Some(day)) = (year, month, day) else {
            return Err(WRONG);
        };
        let day = civil::Date::new(
            year,
            i8::try_from(month).map_err(|_| WRONG)?,
            i8::try_from(day).map_err(|_| WRONG)?,
        )
        .map_err(|_| WRONG)?;
        let days = day.duration_since(EPOCH).as_hours() / 24;
        Self::from_days(i32::try_from(days).map_err(|_| RANGE)?)
    }
}

fn digits(text: &[u8]) -> Option<i16> {
    text.iter().try_fold(0_i16, |sum, b| {
        b.is_ascii_digit().then(|| sum * 10 + i16::from(b - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_render_and_parse() {
        for (at, text) in [
            (Timestamp::MIN, "0001-01-01T00:00:00Z"),
            (Timestamp::MAX, "9999-12-31T23:59:59.9999999Z"),
        ] {
            assert_eq!(at.to_string(), text);
            assert_eq!(text.parse::<Timestamp>(), Ok(at));
            let local = text.trim_end_matches('Z');
            assert_eq!(local.parse::<LocalTimestamp>().unwrap().to_string(), local);
        }
        for day in [Date::MIN, Date::MAX, Date(0), Date(-1)] {
            assert_eq!(day.to_string().parse::<Date>(), Ok(day));
        }
    }

    #[test]
    fn refuses_what_would_be_lost() {
        assert!(
            "2024-05-31T17:30:00.12345678Z"
                .parse::<Timestamp>()
                .is_err(),
            "finer than 100 ns"
        );
        assert!(
            "2024-05-31T17:30:00".parse::<Timestamp>().is_err(),
            "no offset"
        );
        assert!(
            "2016-12-31T23:59:60Z".parse::<Timestamp>().is_err(),
            "leap second"
        );
        assert!("2024-05-31".parse::<LocalTimestamp>().is_err(), "no time");
        assert!(
            "2024-05-31T17:30:00+02:00"
                .parse::<LocalTimestamp>()
                .is_err(),
            "an offset"
        );
        for text in [
            "2024-02-30",
            "24-02-03",
            "2024-2-3",
            "31.05.2024",
            "",
            "0000-01-01",
            "２024-01-01",
        ] {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
    }
}
