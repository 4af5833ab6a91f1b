//! A session, and the rows of a reply.

use std::{borrow::Cow, fmt};

use super::{
    DriverError,
    channel::Channel,
    shape::{Kind, Shape, Span, join},
    text,
    token::{Column, Cursor, Done, Parsed, Stop, Token, token},
};
use crate::types::SqlType;

/// One connection. Dropping it closes it, and so stops whatever the server is doing for it.
pub(crate) struct Session {
    channel: Channel,
    lossy: bool,
    shapes: Vec<Shape>,
    kinds: Vec<Kind>,
    /// Where the cells of the row are that was read last.
    spans: Vec<Span>,
    done: Option<Done>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// A column of a result, as far as the reply tells: without length, precision and scale.
#[derive(Debug, Clone)]
pub(crate) struct ResultColumn {
    pub(crate) name: String,
    pub(crate) ty: SqlType,
}

/// What the next token brought.
enum Event {
    Columns(Vec<Column>),
    /// Of that many bytes.
    Row(usize),
    Other,
}

impl Session {
    pub(super) fn new(channel: Channel, lossy: bool) -> Self {
        Self {
            channel,
            lossy,
            shapes: Vec::new(),
            kinds: Vec::new(),
            spans: Vec::new(),
            done: None,
        }
    }

    /// Sends statements; the reply is read from what comes back.
    pub(crate) async fn start(&mut self, sql: &str) -> Result<Rows<'_>, DriverError> {
        // What a reply before still had to say, behind an error.
        while self.event().await?.is_some() {}
        self.shapes.clear();
        self.kinds.clear();
        self.done = None;
        self.channel.send(sql).await?;
        let mut columns = Vec::new();
        while let Some(event) = self.event().await? {
            if let Event::Columns(found) = event {
                self.shapes.extend(found.iter().map(|column| column.shape));
                self.kinds
                    .extend(found.iter().map(|column| column.shape.kind));
                columns = found;
                break;
            }
        }
        let columns = columns.into_iter().map(|column| ResultColumn {
            ty: column.shape.sql_type(),
            name: column.name,
        });
        Ok(Rows {
            columns: columns.collect(),
            session: self,
        })
    }

    /// Reads on to something; none when the reply is over.
    async fn event(&mut self) -> Result<Option<Event>, DriverError> {
        while !self.channel.is_over() {
            match self.arrived() {
                Ok(Event::Other) => {}
                Ok(event) => return Ok(Some(event)),
                Err(Broken::Stop(Stop::More)) => self.channel.more().await?,
                Err(Broken::Stop(stop)) => return Err(stop.into()),
                Err(Broken::Server(error)) => return Err(DriverError::Server(error)),
            }
        }
        Ok(None)
    }

    /// Reads a token of what has arrived.
    fn arrived(&mut self) -> Result<Event, Broken> {
        let Self {
            channel,
            shapes,
            spans,
            done,
            ..
        } = self;
        let bytes = channel.arrived();
        let mut cursor = Cursor::new(bytes);
        let next = token(&mut cursor)?;
        let mut taken = cursor.at();
        // Only as the last token of all it is an end.
        *done = None;
        let event = match next {
            Token::Row { bitmap } => {
                cells(&mut cursor, shapes, bitmap, spans)?;
                taken = cursor.at();
                for span in spans.iter_mut() {
                    join(bytes, span);
                }
                Event::Row(taken)
            }
            Token::Columns(Some(_)) if !shapes.is_empty() => {
                return Err(Stop::Bad("a second table follows the first one").into());
            }
            Token::Columns(Some(columns)) => Event::Columns(columns),
            Token::Done(last) => {
                *done = last.whole();
                Event::Other
            }
            Token::Error(error) => {
                channel.advance(taken);
                return Err(Broken::Server(error));
            }
            Token::Change(change) => {
                let (size, transaction) = (change.packet_size(), change.transaction());
                channel.change(size, transaction);
                Event::Other
            }
            Token::Columns(None) | Token::Other => Event::Other,
        };
        channel.advance(taken);
        Ok(event)
    }
}

/// Why no more can be read of a reply.
enum Broken {
    Stop(Stop),
    Server(super::ServerError),
}

impl From<Stop> for Broken {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Finds the cells of a row.
fn cells(
    cursor: &mut Cursor<'_>,
    shapes: &[Shape],
    bitmap: bool,
    spans: &mut Vec<Span>,
) -> Parsed<()> {
    if shapes.is_empty() {
        return Err(Stop::Bad("a row without columns"));
    }
    let nulls = if bitmap {
        cursor.take(shapes.len().div_ceil(8))?
    } else {
        &[]
    };
    spans.clear();
    for (place, shape) in shapes.iter().enumerate() {
        let null = nulls
            .get(place / 8)
            .is_some_and(|byte| byte >> (place % 8) & 1 == 1);
        spans.push(if null {
            Span::Null
        } else {
            shape.cell(cursor)?
        });
    }
    Ok(())
}

/// The reply to statements.
pub(crate) struct Rows<'a> {
    session: &'a mut Session,
    columns: Vec<ResultColumn>,
}

impl Rows<'_> {
    pub(crate) fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    /// Returns the next row, or none when the reply is over, however it ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Record<'_>>, DriverError> {
        while let Some(event) = self.session.event().await? {
            if let Event::Row(length) = event {
                let Session {
                    channel,
                    lossy,
                    kinds,
                    spans,
                    ..
                } = &mut *self.session;
                return Ok(Some(Record {
                    bytes: Cow::Borrowed(channel.taken(length)),
                    spans: Cow::Borrowed(spans),
                    kinds: Cow::Borrowed(kinds),
                    lossy: *lossy,
                }));
            }
        }
        Ok(None)
    }

    /// After the last row: how the reply ended, if it did and without an error.
    pub(crate) fn done(&self) -> Option<Done> {
        self.session.done.filter(|_| self.session.channel.is_over())
    }
}

/// One row of a reply.
#[derive(Debug, Clone)]
pub(crate) struct Record<'a> {
    bytes: Cow<'a, [u8]>,
    spans: Cow<'a, [Span]>,
    kinds: Cow<'a, [Kind]>,
    /// What is no text is replaced.
    pub(super) lossy: bool,
}

impl Record<'_> {
    /// Keeps the row beyond the next one.
    pub(crate) fn into_owned(self) -> Record<'static> {
        Record {
            bytes: Cow::Owned(self.bytes.into_owned()),
            spans: Cow::Owned(self.spans.into_owned()),
            kinds: Cow::Owned(self.kinds.into_owned()),
            lossy: self.lossy,
        }
    }

    /// What the cell is and its bytes, which a null has none of; nothing where there is no such
    /// cell.
    #[inline]
    pub(super) fn cell(&self, place: usize) -> Option<(Kind, Option<&[u8]>)> {
        let kind = *self.kinds.get(place)?;
        match *self.spans.get(place)? {
            Span::Here { start, end } => Some((kind, Some(self.bytes.get(start..end)?))),
            Span::Null => Some((kind, None)),
            // They were brought together as the row was read.
            Span::Apart { .. } => None,
        }
    }

    #[cfg(test)]
    pub(super) fn of(shapes: &[Shape], row: &[u8]) -> Parsed<Record<'static>> {
        let mut spans = Vec::new();
        let mut bytes = row.to_vec();
        cells(&mut Cursor::new(row), shapes, false, &mut spans)?;
        for span in &mut spans {
            join(&mut bytes, span);
        }
        Ok(Record {
            bytes: bytes.into(),
            spans: spans.into(),
            kinds: shapes.iter().map(|shape| shape.kind).collect(),
            lossy: false,
        })
    }

    /// The text of a cell, where it is text.
    pub(crate) fn text(&self, place: usize) -> Option<String> {
        match self.cell(place)? {
            (Kind::Wide { .. }, Some(bytes)) => Some(text::lossy(bytes)),
            (Kind::Narrow { encoding, .. }, Some(bytes)) => {
                Some(encoding?.decode_without_bom_handling(bytes).0.into_owned())
            }
            _ => None,
        }
    }

    /// The cell as a literal of the server's language, for bounds of ranges.
    pub(crate) fn literal(&self, place: usize) -> Option<String> {
        match self.cell(place)? {
            (Kind::Uuid, Some(bytes)) => Some(format!("'{}'", super::cell::uuid(bytes)?)),
            (Kind::Wide { .. } | Kind::Narrow { .. }, _) => self
                .text(place)
                .map(|text| crate::name::text_literal(&text)),
            _ => self.int(place).map(|v| v.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use super::*;

    /// An `int`, an `nvarchar` and an `nvarchar(max)` in parts.
    type Cells = (Option<i32>, Option<String>, Option<Vec<String>>);

    const COLUMNS: &[&[u8]] = &[
        &[0x81, 3, 0],
        &[0, 0, 0, 0, 0, 0, 0x26, 4, 1, b'a', 0],
        &[0, 0, 0, 0, 0, 0, 0xe7, 80, 0, 9, 4, 0, 0, 52, 1, b'b', 0],
        &[0, 0, 0, 0, 0, 0, 0xe7, 255, 255, 9, 4, 0, 0, 52, 1, b'c', 0],
    ];

    fn units(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    /// A row, with a bitmap of its nulls or with each null in its place.
    fn row((a, b, c): &Cells, bitmap: bool, out: &mut Vec<u8>) {
        let nulls = [a.is_none(), b.is_none(), c.is_none()];
        out.push(if bitmap { 0xd2 } else { 0xd1 });
        if bitmap {
            let bits = nulls
                .iter()
                .enumerate()
                .map(|(n, null)| u8::from(*null) << n);
            out.push(bits.sum());
        }
        match a {
            Some(a) => out.extend([&[4][..], &a.to_le_bytes()].concat()),
            None if bitmap => {}
            None => out.push(0),
        }
        match b.as_deref().map(units) {
            Some(b) => {
                out.extend(u16::try_from(b.len()).unwrap().to_le_bytes());
                out.extend(b);
            }
            None if bitmap => {}
            None => out.extend([0xff; 2]),
        }
        match c {
            Some(parts) => {
                out.extend(0xffff_ffff_ffff_fffe_u64.to_le_bytes());
                for part in parts.iter().map(|part| units(part)) {
                    out.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
                    out.extend(part);
                }
                out.extend([0; 4]);
            }
            None if bitmap => {}
            None => out.extend([0xff; 8]),
        }
    }

    fn packets(reply: &[u8], size: usize) -> Vec<u8> {
        let count = reply.len().div_ceil(size);
        let packets = reply.chunks(size).enumerate().map(|(number, body)| {
            let last = u8::from(number + 1 == count);
            let length = u16::try_from(body.len() + 8).unwrap().to_be_bytes();
            let head = [4, last, length[0], length[1], 0, 0, 1, 0];
            [&head, body].concat()
        });
        packets.flatten().collect()
    }

    /// Reads what arrives in pieces: its rows, and whether it came to an end.
    fn read(bytes: &[u8], piece: usize) -> Result<(Vec<Cells>, Option<Done>), DriverError> {
        let mut session = Session::new(Channel::alone(), false);
        let mut rows = Vec::new();
        for piece in bytes.chunks(piece) {
            session.channel.receives(piece)?;
            loop {
                match session.arrived() {
                    Ok(Event::Columns(columns)) => {
                        session.shapes = columns.iter().map(|column| column.shape).collect();
                        session.kinds = columns.iter().map(|column| column.shape.kind).collect();
                    }
                    Ok(Event::Row(length)) => {
                        let record = Record {
                            bytes: session.channel.taken(length).into(),
                            spans: (&session.spans).into(),
                            kinds: (&session.kinds).into(),
                            lossy: false,
                        };
                        let a = record.int(0).map(|a| i32::try_from(a).unwrap());
                        let c = record.text(2).map(|c| vec![c]);
                        rows.push((a, record.text(1), c));
                    }
                    Ok(Event::Other) => {}
                    Err(Broken::Stop(Stop::More)) => break,
                    Err(Broken::Stop(stop)) => return Err(stop.into()),
                    Err(Broken::Server(error)) => return Err(DriverError::Server(error)),
                }
            }
        }
        let whole = session.channel.is_over();
        Ok((rows, session.done.filter(|_| whole)))
    }

    #[test]
    fn an_end_that_is_not_the_last_token_is_none() {
        let mut reply = COLUMNS.concat();
        reply.extend([0xfd, 0x10, 0, 0xc1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let (_, end) = read(&packets(&reply, 50), 50).unwrap();
        assert_eq!(end, Some(Done { rows: Some(1) }));
        row(&(Some(1), None, None), true, &mut reply);
        let (rows, end) = read(&packets(&reply, 50), 50).unwrap();
        assert_eq!((rows.len(), end), (1, None));
    }

    proptest! {
        #[test]
        fn rows_arrive_whole_however_they_are_cut_up(
            rows in prop::collection::vec(
                (
                    (
                        any::<Option<i32>>(),
                        option::of("\\PC{0,9}"),
                        option::of(prop::collection::vec("[a-z\u{1f600}]{1,5}", 0..4)),
                    ),
                    any::<bool>(),
                ),
                0..12,
            ),
            size in 1usize..90,
            piece in 1usize..200,
            cut in 1usize..30,
        ) {
            let mut reply = COLUMNS.concat();
            for (cells, bitmap) in &rows {
                row(cells, *bitmap, &mut reply);
            }
            reply.extend([0xfd, 0x10, 0, 0xc1, 0]);
            reply.extend((rows.len() as u64).to_le_bytes());
            let bytes = packets(&reply, size);
            let expected: Vec<Cells> = rows
                .into_iter()
                .map(|((a, b, c), _)| (a, b, c.map(|parts| vec![parts.concat()])))
                .collect();
            let done = Done { rows: Some(expected.len() as u64) };
            prop_assert_eq!(read(&bytes, piece).unwrap(), (expected.clone(), Some(done)));
            let (some, end) = read(&bytes[..bytes.len() - cut], piece).unwrap();
            prop_assert_eq!(end, None);
            prop_assert!(expected.starts_with(&some));
        }

        #[test]
        fn any_bytes_do_no_harm(
            reply in prop::collection::vec(any::<u8>(), 1..200),
            described: bool,
            size in 1usize..90,
        ) {
            let mut bytes = if described { COLUMNS.concat() } else { Vec::new() };
            bytes.extend(reply);
            let _ = read(&packets(&bytes, size), 40);
            let _ = read(&bytes, 40);
        }
    }
}
