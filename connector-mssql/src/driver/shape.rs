//! How the cells of a column stand on the wire: [MS-TDS] 2.2.5.4 to 2.2.5.6.
//!
//! [MS-TDS]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-tds/d81d6c74-3f23-4bce-8a49-e1e4ab1d1e8d

use encoding_rs::Encoding;

use super::{
    text,
    token::{Cursor, Parsed, Stop},
};
use crate::types::SqlType;

/// Where a cell ends, and what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    length: Length,
    pub(super) kind: Kind,
}

/// How long a cell is.
#[derive(Debug, Clone, Copy)]
enum Length {
    Fixed(usize),
    /// In a byte before it; none is null.
    Byte,
    /// In two bytes before it; all ones is null.
    Short,
    /// In four bytes before it; none is null.
    Long,
    /// In parts, each with its length: `PLP_BODY`.
    Parts,
    /// Behind a pointer and a time, which are of no use: `text`, `ntext`, `image`.
    Pointed,
}

/// What a cell's bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Null,
    Bit,
    /// Of one byte, which has no sign, to eight.
    Int,
    /// Of four or eight bytes.
    Float,
    /// Of four or eight bytes, in ten-thousandths.
    Money,
    /// A sign, and the number without its point.
    Decimal {
        scale: u8,
    },
    /// Of eight bytes, or of four: days since 1900, and steps of 1/300 s or minutes.
    DateTime,
    Date,
    Time {
        scale: u8,
    },
    DateTime2 {
        scale: u8,
    },
    DateTimeOffset {
        scale: u8,
    },
    Uuid,
    /// UTF-16.
    Wide {
        padded: bool,
    },
    /// In the code page of a collation, where it is one that can be read.
    Narrow {
        padded: bool,
        encoding: Option<&'static Encoding>,
    },
    Xml,
    Binary,
    /// What is not read, by name.
    Refused(&'static str),
}

/// Where a cell is within its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Null,
    Here {
        start: usize,
        end: usize,
    },
    /// In parts that are still apart, from the length of the first one to the end of the last.
    Apart {
        start: usize,
        end: usize,
    },
}

const PLP_NULL: u64 = u64::MAX;
const SHORT_NULL: u16 = u16::MAX;

impl Shape {
    /// Reads `TYPE_INFO`, and for the types of old the name of the table that follows.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let ty = cursor.u8()?;
        if let Some((bytes, kind)) = fixed(ty) {
            let length = Length::Fixed(bytes);
            return Ok(Self { length, kind });
        }
        let (length, kind) = match ty {
            0x24 => (sized(cursor)?, Kind::Uuid),
            0x26 => (sized(cursor)?, Kind::Int),
            0x68 => (sized(cursor)?, Kind::Bit),
            0x6d => (sized(cursor)?, Kind::Float),
            0x6e => (sized(cursor)?, Kind::Money),
            0x6f => (sized(cursor)?, Kind::DateTime),
            0x6a | 0x6c => {
                let length = sized(cursor)?;
                let _precision = cursor.u8()?;
                let scale = cursor.u8()?;
                (length, Kind::Decimal { scale })
            }
            0x28 => (Length::Byte, Kind::Date),
            0x29 => (
                Length::Byte,
                Kind::Time {
                    scale: scale(cursor)?,
                },
            ),
            0x2a => (
                Length::Byte,
                Kind::DateTime2 {
                    scale: scale(cursor)?,
                },
            ),
            0x2b => (
                Length::Byte,
                Kind::DateTimeOffset {
                    scale: scale(cursor)?,
                },
            ),
            0xa5 | 0xad => (long_or_parts(cursor)?, Kind::Binary),
            0xa7 | 0xaf => {
                let length = long_or_parts(cursor)?;
                (length, narrow(cursor, ty == 0xaf)?)
            }
            0xe7 | 0xef => {
                let length = long_or_parts(cursor)?;
                collation(cursor)?;
                (length, Kind::Wide { padded: ty == 0xef })
            }
            0x22 => {
                cursor.u32()?;
                table(cursor)?;
                (Length::Pointed, Kind::Binary)
            }
            0x23 => {
                cursor.u32()?;
                let kind = narrow(cursor, false)?;
                table(cursor)?;
                (Length::Pointed, kind)
            }
            0x63 => {
                cursor.u32()?;
                collation(cursor)?;
                table(cursor)?;
                (Length::Pointed, Kind::Wide { padded: false })
            }
            0xf1 => {
                // Database, owner and collection of its schema.
                if cursor.u8()? != 0 {
                    cursor.name()?;
                    cursor.name()?;
                    cursor.long_name()?;
                }
                (Length::Parts, Kind::Xml)
            }
            0xf0 => {
                cursor.u16()?;
                // Database, schema, type; the assembly.
                for _ in 0..3 {
                    cursor.name()?;
                }
                cursor.long_name()?;
                (Length::Parts, Kind::Refused("a CLR type"))
            }
            0x62 => {
                cursor.u32()?;
                (Length::Long, Kind::Refused("sql_variant"))
            }
            _ => return Err(Stop::Bad("a column of a type that is not known")),
        };
        Ok(Self { length, kind })
    }

    /// Passes over a cell.
    #[inline]
    pub(super) fn cell(self, cursor: &mut Cursor<'_>) -> Parsed<Span> {
        let length = match self.length {
            Length::Fixed(0) => return Ok(Span::Null),
            Length::Fixed(length) => length,
            Length::Byte => match cursor.u8()? {
                0 => return Ok(Span::Null),
                length => length.into(),
            },
            Length::Short => match cursor.u16()? {
                SHORT_NULL => return Ok(Span::Null),
                length => length.into(),
            },
            Length::Long => match cursor.u32()? {
                0 => return Ok(Span::Null),
                length => many(length)?,
            },
            Length::Parts => return parts(cursor),
            Length::Pointed => match cursor.u8()? {
                0 => return Ok(Span::Null),
                pointer => {
                    cursor.take(usize::from(pointer) + 8)?;
                    let length = cursor.u32()?;
                    many(length)?
                }
            },
        };
        let start = cursor.at();
        cursor.take(length)?;
        Ok(Span::Here {
            start,
            end: start + length,
        })
    }

    /// As far as the reply tells: without length, precision and scale.
    pub(super) fn sql_type(self) -> SqlType {
        match self.kind {
            Kind::Bit => SqlType::Bit,
            // A null that nobody gave a type is sent as an integer.
            Kind::Null => SqlType::Int { bits: 32 },
            Kind::Int => match self.length {
                Length::Fixed(8) | Length::Byte => SqlType::Int { bits: 64 },
                _ => SqlType::Int { bits: 32 },
            },
            Kind::Float => SqlType::Float,
            Kind::Money => SqlType::Money,
            Kind::Decimal { .. } => SqlType::Decimal { digits: None },
            Kind::DateTime | Kind::DateTime2 { .. } => SqlType::DateTime,
            Kind::Date => SqlType::Date,
            Kind::Time { .. } => SqlType::Time,
            Kind::DateTimeOffset { .. } => SqlType::DateTimeOffset,
            Kind::Uuid => SqlType::Uuid,
            Kind::Binary => SqlType::Binary { length: None },
            Kind::Wide { padded } => SqlType::Text {
                wide: true,
                padded,
                length: None,
            },
            Kind::Narrow { padded, .. } => SqlType::Text {
                wide: false,
                padded,
                length: None,
            },
            Kind::Xml => SqlType::Xml,
            Kind::Refused(name) => SqlType::Other(name),
        }
    }
}

/// Types whose cells are all of that many bytes, and never null.
fn fixed(ty: u8) -> Option<(usize, Kind)> {
    Some(match ty {
        0x1f => (0, Kind::Null),
        0x30 => (1, Kind::Int),
        0x32 => (1, Kind::Bit),
        0x34 => (2, Kind::Int),
        0x38 => (4, Kind::Int),
        0x7f => (8, Kind::Int),
        0x3a => (4, Kind::DateTime),
        0x3d => (8, Kind::DateTime),
        0x3b => (4, Kind::Float),
        0x3e => (8, Kind::Float),
        0x7a => (4, Kind::Money),
        0x3c => (8, Kind::Money),
        _ => return None,
    })
}

/// The greatest length, which each cell says anew.
fn sized(cursor: &mut Cursor<'_>) -> Parsed<Length> {
    cursor.u8()?;
    Ok(Length::Byte)
}

fn scale(cursor: &mut Cursor<'_>) -> Parsed<u8> {
    match cursor.u8()? {
        scale @ 0..=7 => Ok(scale),
        _ => Err(Stop::Bad("a time of more than seven places")),
    }
}

/// `(max)` comes in parts.
fn long_or_parts(cursor: &mut Cursor<'_>) -> Parsed<Length> {
    const MAX: u16 = 0xffff;
    Ok(match cursor.u16()? {
        MAX => Length::Parts,
        _ => Length::Short,
    })
}

fn collation(cursor: &mut Cursor<'_>) -> Parsed<(u32, u8)> {
    Ok((cursor.u32()?, cursor.u8()?))
}

fn narrow(cursor: &mut Cursor<'_>, padded: bool) -> Parsed<Kind> {
    let (info, sort_id) = collation(cursor)?;
    Ok(Kind::Narrow {
        padded,
        encoding: text::encoding(info, sort_id),
    })
}

/// The parts of the name of the table that a value of old comes from.
fn table(cursor: &mut Cursor<'_>) -> Parsed<()> {
    for _ in 0..cursor.u8()? {
        cursor.long_name()?;
    }
    Ok(())
}

fn parts(cursor: &mut Cursor<'_>) -> Parsed<Span> {
    if cursor.u64()? == PLP_NULL {
        return Ok(Span::Null);
    }
    let start = cursor.at();
    let mut end = start;
    let mut count = 0;
    loop {
        let length = many(cursor.u32()?)?;
        if length == 0 {
            break;
        }
        cursor.take(length)?;
        end = cursor.at();
        count += 1;
    }
    Ok(match count {
        0 => Span::Here { start, end },
        1 => Span::Here {
            start: start + PART_HEAD,
            end,
        },
        _ => Span::Apart { start, end },
    })
}

/// The length of a part stands before it.
const PART_HEAD: usize = 4;

/// Brings the parts of a cell together, over their lengths; what is behind the span's end is then
/// of no meaning.
pub(super) fn join(row: &mut [u8], span: &mut Span) {
    let Span::Apart { start, end } = *span else {
        return;
    };
    let (mut from, mut to) = (start, start);
    while from < end
        && let Some(head) = row.get(from..).and_then(<[u8]>::first_chunk)
    {
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or_default();
        from += PART_HEAD;
        row.copy_within(from..from + length, to);
        from += length;
        to += length;
    }
    *span = Span::Here { start, end: to };
}

fn many(length: u32) -> Parsed<usize> {
    usize::try_from(length).map_err(|_| Stop::Bad("a value's length"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(info: &[u8]) -> Shape {
        Shape::read(&mut Cursor::new(info)).unwrap()
    }

    /// A value of a `(max)` type in parts.
    fn in_parts(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = 0xffff_ffff_ffff_fffe_u64.to_le_bytes().to_vec();
        for part in parts {
            bytes.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
            bytes.extend(part);
        }
        bytes.extend([0; 4]);
        bytes
    }

    proptest! {
        #[test]
        fn parts_come_together(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9), 0..6),
            cut in 1usize..20,
        ) {
            let mut bytes = in_parts(&parts);
            let max = shape(&[0xa5, 0xff, 0xff]);
            let cut = bytes.len().saturating_sub(cut);
            prop_assert_eq!(max.cell(&mut Cursor::new(&bytes[..cut])), Err(Stop::More));
            let mut cursor = Cursor::new(&bytes);
            let mut span = max.cell(&mut cursor).unwrap();
            prop_assert_eq!(cursor.at(), bytes.len());
            join(&mut bytes, &mut span);
            let Span::Here { start, end } = span else { panic!("{span:?}") };
            prop_assert_eq!(&bytes[start..end], parts.concat());
        }

        #[test]
        fn any_bytes_do_no_harm(info: Vec<u8>, row: Vec<u8>) {
            let mut cursor = Cursor::new(&row);
            if let Ok(shape) = Shape::read(&mut Cursor::new(&info)) {
                let _ = shape.cell(&mut cursor).map(|mut span| join(&mut row.clone(), &mut span));
            }
        }
    }

    #[test]
    fn null_is_told_from_empty() {
        let cell = |info: &[u8], row: &[u8]| shape(info).cell(&mut Cursor::new(row)).unwrap();
        let empty = |at| Span::Here { start: at, end: at };
        assert_eq!(
            cell(&[0xe7, 2, 0, 0, 0, 0, 0, 0], &[0xff, 0xff]),
            Span::Null
        );
        assert_eq!(cell(&[0xe7, 2, 0, 0, 0, 0, 0, 0], &[0, 0]), empty(2));
        assert_eq!(cell(&[0xa5, 0xff, 0xff], &[0xff; 8]), Span::Null);
        assert_eq!(cell(&[0xa5, 0xff, 0xff], &[0; 12]), empty(8));
        assert_eq!(cell(&[0x26, 4], &[0]), Span::Null);
        // An image: of no pointer, and of no bytes behind one.
        assert_eq!(cell(&[0x22, 0, 0, 0, 0, 0], &[0]), Span::Null);
        let mut pointed = vec![16];
        pointed.extend([0; 28]);
        assert_eq!(cell(&[0x22, 0, 0, 0, 0, 0], &pointed), empty(29));
    }
}
