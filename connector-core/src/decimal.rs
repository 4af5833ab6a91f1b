//! Exact decimals.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::time::ParseError;

/// The greatest scale a decimal may have: 38 digits are what SQL Server knows and `i128` holds.
pub const MAX_SCALE: u8 = 38;

/// A number as `units` × 10^−`scale`, exact.
///
/// ```
/// use connector_core::Decimal;
///
/// let price: Decimal = "-12.50".parse()?;
/// assert_eq!((price.units(), price.scale()), (-1250, 2));
/// assert_eq!(price.rescale(4)?.to_string(), "-12.5000");
/// assert!(price.rescale(0).is_err(), "a digit would be lost");
/// # Ok::<(), connector_core::ParseError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Decimal {
    units: i128,
    scale: u8,
}

impl Decimal {
    /// Takes a count of 10^−`scale` units.
    ///
    /// # Errors
    ///
    /// When `scale` is over [`MAX_SCALE`].
    pub fn new(units: i128, scale: u8) -> Result<Self, ParseError> {
        if scale > MAX_SCALE {
            return Err(ParseError("more than 38 decimal places"));
        }
        Ok(Self { units, scale })
    }

    /// Returns the count of 10^−scale units.
    pub fn units(self) -> i128 {
        self.units
    }

    /// Returns the number of decimal places.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// Returns the same number with `scale` decimal places.
    ///
    /// # Errors
    ///
    /// When a digit would be lost on either end.
    pub fn rescale(self, scale: u8) -> Result<Self, ParseError> {
        const FIT: ParseError = ParseError("does not fit the decimal's scale");
        let units = if scale >= self.scale {
            10_i128
                .checked_pow(u32::from(scale - self.scale))
                .and_then(|factor| self.units.checked_mul(factor))
                .ok_or(FIT)?
        } else {
            let divisor = 10_i128
                .checked_pow(u32::from(self.scale - scale))
                .ok_or(FIT)?;
            if self.units % divisor != 0 {
                return Err(FIT);
            }
            self.units / divisor
        };
        Self::new(units, scale)
    }

    /// Drops zeros at the end, which do not change the number.
    fn normalized(self) -> (i128, u8) {
        let (mut units, mut scale) = (self.units, self.scale);
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
        }
        (units, scale)
    }
}

/// Equal as numbers: 1.5 is 1.50.
impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.normalized() == other.normalized()
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        // Both at one scale when that fits; else the one with the larger whole part.
        let scale = self.scale.max(other.scale);
        if let (Ok(a), Ok(b)) = (self.rescale(scale), other.rescale(scale)) {
            return Some(a.units.cmp(&b.units));
        }
        let whole = |d: &Self| d.units / 10_i128.pow(u32::from(d.scale.min(MAX_SCALE)));
        Some(whole(self).cmp(&whole(other)))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.units.unsigned_abs().to_string();
        let scale = usize::from(self.scale);
        if self.units < 0 {
            f.write_str("-")?;
        }
        if scale == 0 {
            return f.write_str(&digits);
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{whole}.{fraction}")
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decimal({self})")
    }
}

impl FromStr for Decimal {
    type Err = ParseError;

    /// Takes digits with an optional sign and an optional point; no exponent, no separators.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError = ParseError("not a decimal number such as -12.50");
        const RANGE: ParseError = ParseError("more digits than a decimal holds");
        let (negative, digits) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] | rest => (false, rest),
        };
        let (whole, fraction) = match digits.iter().position(|b| *b == b'.') {
            Some(point) => (&digits[..point], &digits[point + 1..]),
            None => (digits, &[][..]),
        };
        if whole.is_empty() || (fraction.is_empty() && whole.len() != digits.len()) {
            return Err(WRONG);
        }
        let mut units = 0_i128;
        for b in whole.iter().chain(fraction) {
            if !b.is_ascii_digit() {
                return Err(WRONG);
            }
            let digit = i128::from(b - b'0');
            let digit = if negative { -digit } else { digit };
            units = units
                .checked_mul(10)
                .and_then(|u| u.checked_add(digit))
                .ok_or(RANGE)?;
        }
        Self::new(units, u8::try_from(fraction.len()).map_err(|_| RANGE)?)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the text of a decimal number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Decimal, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_and_parses_edges() {
        for (units, scale) in [
            (0, 0),
            (-1, 4),
            (i128::MAX, 0),
            (i128::MIN, 38),
            (5, 38),
            (-50, 2),
        ] {
            let decimal = Decimal::new(units, scale).unwrap();
            let back: Decimal = decimal.to_string().parse().unwrap();
            assert_eq!((back.units, back.scale), (units, scale), "{decimal}");
        }
        for text in ["", ".", "1.", ".5", "1e3", "1,5", "--1", "1 ", "0x1"] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    #[test]
    fn compares_as_numbers() {
        let d = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(d("1.5"), d("1.500"));
        assert!(d("1.5") < d("1.51"));
        assert!(
            Decimal::new(i128::MAX, 0).unwrap() > d("0.00000000000000000000000000000000000001")
        );
    }
}
