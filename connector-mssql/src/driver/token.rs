//! The tokens of a reply: [MS-TDS] 2.2.7, of which a reader of rows meets those here.
//!
//! [MS-TDS]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-tds/67b6113c-d722-42d1-902c-3f6e8de09173

use super::{ServerError, shape::Shape, text};

/// What keeps a token from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its end has not arrived.
    More,
    /// It is not what the protocol says.
    Bad(&'static str),
}

pub(super) type Parsed<T> = Result<T, Stop>;

/// Takes one thing after the other off bytes.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were taken.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Parsed<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or(Stop::More)?;
        self.at += count;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.first_chunk().ok_or(Stop::More)?;
        self.at += N;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Parsed<u8> {
        self.array().map(u8::from_le_bytes)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Parsed<u16> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Parsed<u32> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Parsed<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes whose count stands before them in two bytes.
    fn short(&mut self) -> Parsed<&'a [u8]> {
        let count = self.u16()?;
        self.take(count.into())
    }

    /// Bytes whose count stands before them in four bytes.
    fn long(&mut self) -> Parsed<&'a [u8]> {
        let count = self.u32()?;
        self.take(usize::try_from(count).map_err(|_| Stop::Bad("a token's length"))?)
    }

    /// `B_VARBYTE`.
    fn bytes(&mut self) -> Parsed<&'a [u8]> {
        let count = self.u8()?;
        self.take(count.into())
    }

    /// `B_VARCHAR`: its length is in characters.
    pub(super) fn name(&mut self) -> Parsed<String> {
        let count = self.u8()?;
        Ok(text::lossy(self.take(usize::from(count) * 2)?))
    }

    /// `US_VARCHAR`.
    pub(super) fn long_name(&mut self) -> Parsed<String> {
        let count = self.u16()?;
        Ok(text::lossy(self.take(usize::from(count) * 2)?))
    }
}

/// One token of a reply.
#[derive(Debug)]
pub(super) enum Token<'a> {
    /// COLMETADATA; none where the same columns go on.
    Columns(Option<Vec<Column>>),
    /// ROW or NBCROW: its cells come next, the latter's behind a bitmap of nulls.
    Row {
        bitmap: bool,
    },
    /// DONE, DONEPROC or DONEINPROC.
    Done(DoneToken),
    Error(ServerError),
    Change(Change<'a>),
    /// What is of no use to a reader.
    Other,
}

/// A column of a result.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) shape: Shape,
}

/// The end of one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DoneToken {
    status: u16,
    rows: u64,
}

/// The end of a whole reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    /// How many rows the last statement had, where the server counted.
    pub(crate) rows: Option<u64>,
}

const DONE_MORE: u16 = 0x1;
const DONE_ERROR: u16 = 0x2;
const DONE_COUNT: u16 = 0x10;
const DONE_ATTENTION: u16 = 0x20;
const DONE_SERVER_ERROR: u16 = 0x100;

impl DoneToken {
    /// What it is as the last token of a reply, unless it says that more was to come or that
    /// something went wrong.
    pub(super) fn whole(self) -> Option<Done> {
        let Self { status, rows } = self;
        let broken = DONE_MORE | DONE_ERROR | DONE_ATTENTION | DONE_SERVER_ERROR;
        (status & broken == 0).then(|| Done {
            rows: (status & DONE_COUNT != 0).then_some(rows),
        })
    }
}

/// ENVCHANGE, as far as it changes what is sent from then on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    PacketSize(u16),
    /// The descriptor of the transaction, eight bytes; none when it ended.
    Transaction(&'a [u8]),
    Other,
}

/// Reads the token at the cursor; of a row only what comes before its cells.
pub(super) fn token<'a>(cursor: &mut Cursor<'a>) -> Parsed<Token<'a>> {
    Ok(match cursor.u8()? {
        0xd1 => Token::Row { bitmap: false },
        0xd2 => Token::Row { bitmap: true },
        0x81 => Token::Columns(columns(cursor)?),
        0xfd..=0xff => {
            let status = cursor.u16()?;
            let _command = cursor.u16()?;
            let rows = cursor.u64()?;
            Token::Done(DoneToken { status, rows })
        }
        0xaa => Token::Error(error(cursor)?),
        0xe3 => Token::Change(change(cursor.short()?)?),
        // TABNAME, COLINFO, ORDER, INFO, LOGINACK, SSPI.
        0xa4 | 0xa5 | 0xa9 | 0xab | 0xad | 0xed => {
            cursor.short()?;
            Token::Other
        }
        // SESSIONSTATE, FEDAUTHINFO.
        0xe4 | 0xee => {
            cursor.long()?;
            Token::Other
        }
        // RETURNSTATUS, OFFSET.
        0x79 | 0x78 => {
            cursor.take(4)?;
            Token::Other
        }
        // FEATUREEXTACK: features up to the terminator.
        0xae => {
            while cursor.u8()? != 0xff {
                cursor.long()?;
            }
            Token::Other
        }
        _ => return Err(Stop::Bad("a token that does not belong there")),
    })
}

/// COLMETADATA: [MS-TDS] 2.2.7.4.
fn columns(cursor: &mut Cursor<'_>) -> Parsed<Option<Vec<Column>>> {
    const NO_METADATA: u16 = 0xffff;
    let count = cursor.u16()?;
    if count == NO_METADATA {
        return Ok(None);
    }
    let columns = (0..count).map(|_| {
        let _user_type = cursor.u32()?;
        let _flags = cursor.u16()?;
        let shape = Shape::read(cursor)?;
        let name = cursor.name()?;
        Ok(Column { name, shape })
    });
    columns.collect::<Parsed<_>>().map(Some)
}

/// ERROR: [MS-TDS] 2.2.7.10.
fn error(cursor: &mut Cursor<'_>) -> Parsed<ServerError> {
    let mut inner = Cursor::new(cursor.short()?);
    let mut read = || {
        let number = inner.u32()?;
        let state = inner.u8()?;
        let class = inner.u8()?;
        let message = inner.long_name()?;
        Ok(ServerError {
            number,
            class,
            state,
            message,
        })
    };
    // The token is there as a whole: nothing of it is still to come.
    read().map_err(|_: Stop| Stop::Bad("an error that is cut"))
}

/// ENVCHANGE: [MS-TDS] 2.2.7.9.
fn change(bytes: &[u8]) -> Parsed<Change<'_>> {
    let mut cursor = Cursor::new(bytes);
    let mut read = || {
        Ok(match cursor.u8()? {
            4 => {
                let size = cursor.name()?.parse();
                size.map_or(Change::Other, Change::PacketSize)
            }
            // Begun; committed, rolled back, ended.
            8 => Change::Transaction(cursor.bytes()?),
            9 | 10 | 17 => Change::Transaction(&[]),
            _ => Change::Other,
        })
    };
    read().map_err(|_: Stop| Stop::Bad("a change of the session that is cut"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn done(status: u16, rows: u64) -> Vec<u8> {
        let mut token = vec![0xfd];
        token.extend_from_slice(&status.to_le_bytes());
        token.extend_from_slice(&0xc1u16.to_le_bytes());
        token.extend_from_slice(&rows.to_le_bytes());
        token
    }

    fn read(bytes: &[u8]) -> Parsed<Token<'_>> {
        token(&mut Cursor::new(bytes))
    }

    #[test]
    fn an_error_or_more_to_come_is_no_end() {
        let end = |status| match read(&done(status, 3)) {
            Ok(Token::Done(done)) => done.whole(),
            other => panic!("{other:?}"),
        };
        for status in [DONE_MORE, DONE_ERROR, DONE_ATTENTION, DONE_SERVER_ERROR] {
            assert_eq!(end(status), None);
            assert_eq!(end(status | DONE_COUNT), None);
        }
        assert_eq!(end(0), Some(Done { rows: None }));
        assert_eq!(end(DONE_COUNT), Some(Done { rows: Some(3) }));
    }

    #[test]
    fn a_change_of_the_session_is_told() {
        let size = [
            0xe3, 15, 0, 4, 4, b'8', 0, b'1', 0, b'9', 0, b'2', 0, 1, b'0', 0, 0, 0,
        ];
        assert!(matches!(
            read(&size),
            Ok(Token::Change(Change::PacketSize(8192)))
        ));
        let begun = [0xe3, 11, 0, 8, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0];
        let Ok(Token::Change(Change::Transaction(descriptor))) = read(&begun) else {
            panic!("{:?}", read(&begun));
        };
        assert_eq!(descriptor, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(matches!(read(&[0xe3, 2, 0, 8, 8]), Err(Stop::Bad(_)),));
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        /// Whatever is cut asks for more, and takes nothing for a shorter token.
        #[test]
        fn what_is_cut_asks_for_more(length in 0usize..12) {
            let whole = done(DONE_COUNT, 7);
            prop_assert!(matches!(read(&whole[..length]), Err(Stop::More)));
        }
    }
}
