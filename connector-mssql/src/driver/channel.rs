//! Statements to the server, and the tokens of its replies, once somebody is signed in.

use std::{future::poll_fn, pin::Pin, task::ready};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use super::{
    DriverError,
    token::{Change, Cursor, Stop, Token, token},
    wire::{END_OF_MESSAGE, HEADER, Packet, Transport},
};

/// Packets of this type hold a statement.
const SQL_BATCH: u8 = 0x01;
/// Until the server names another size: [MS-TDS] 2.2.6.4, `PacketSize`.
const PACKET_SIZE: u16 = 4096;
/// How many bytes are taken from the connection at once: a few records of TLS.
const READ: usize = 64 << 10;
/// A row that does not fit here is none of an inventory, and must not fill the memory.
const LONGEST: usize = 256 << 20;

/// A connection with nobody between.
pub(super) struct Channel {
    transport: Transport,
    packet_size: u16,
    /// The descriptor of the transaction that statements belong to; zeros without one.
    transaction: [u8; 8],
    raw: Box<[u8]>,
    incoming: Packet,
    /// Tokens that arrived, of which those before `at` were taken.
    body: Vec<u8>,
    at: usize,
    /// No more of the reply comes.
    over: bool,
}

impl Channel {
    /// Takes over after a login to which the server said this.
    pub(super) fn new(transport: Transport, reply: &[u8]) -> Self {
        let mut channel = Self {
            transport,
            packet_size: PACKET_SIZE,
            transaction: [0; 8],
            raw: vec![0; READ].into(),
            incoming: Packet::default(),
            body: Vec::new(),
            at: 0,
            over: true,
        };
        let mut cursor = Cursor::new(reply);
        // The driver read it as well, and would have complained.
        while let Ok(token) = token(&mut cursor) {
            if let Token::Change(change) = token {
                channel.packet_size = change.packet_size().unwrap_or(channel.packet_size);
            }
        }
        channel
    }

    /// Sends a statement, in packets of just the size that was agreed on: the protocol has only
    /// the last one be shorter.
    pub(super) async fn send(&mut self, sql: &str) -> Result<(), DriverError> {
        let size = usize::from(self.packet_size).max(512);
        let mut message = Vec::with_capacity(HEADERS + sql.len() * 2);
        headers(self.transaction, &mut message);
        message.extend(sql.encode_utf16().flat_map(u16::to_le_bytes));
        let mut bodies = message.chunks(size - HEADER).peekable();
        let mut packets = Vec::with_capacity(message.len() + message.len() / size * HEADER + 64);
        let mut number = 1_u8;
        while let Some(body) = bodies.next() {
            let status = if bodies.peek().is_none() {
                END_OF_MESSAGE
            } else {
                0
            };
            let length = u16::try_from(HEADER + body.len()).unwrap_or(self.packet_size);
            let [high, low] = length.to_be_bytes();
            packets.extend_from_slice(&[SQL_BATCH, status, high, low, 0, 0, number, 0]);
            packets.extend_from_slice(body);
            number = number.wrapping_add(1);
        }
        self.over = false;
        self.body.clear();
        self.at = 0;
        let sent = async {
            self.transport.write_all(&packets).await?;
            self.transport.flush().await
        };
        sent.await
            .map_err(|error| DriverError::Ended(error.to_string()))
    }

    /// Whether the reply is over and every token of it was taken.
    pub(super) fn is_over(&self) -> bool {
        self.over && self.at == self.body.len()
    }

    /// What arrived and was not taken.
    pub(super) fn arrived(&mut self) -> &mut [u8] {
        self.body.get_mut(self.at..).unwrap_or_default()
    }

    /// Takes tokens of that many bytes.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The tokens of that many bytes that were taken last.
    pub(super) fn taken(&self, bytes: usize) -> &[u8] {
        let start = self.at.saturating_sub(bytes);
        self.body.get(start..self.at).unwrap_or_default()
    }

    /// Notes what the server changed.
    pub(super) fn change(&mut self, size: Option<u16>, transaction: Option<[u8; 8]>) {
        self.packet_size = size.unwrap_or(self.packet_size);
        self.transaction = transaction.unwrap_or(self.transaction);
    }

    /// Waits for more of the reply, because what is there ends within a token.
    pub(super) async fn more(&mut self) -> Result<(), DriverError> {
        if self.over {
            return Err(DriverError::Protocol("it ends within a token".to_owned()));
        }
        self.body.drain(..self.at);
        self.at = 0;
        if self.body.len() > LONGEST {
            return Err(DriverError::Protocol(format!(
                "a row is longer than {} MiB",
                LONGEST >> 20
            )));
        }
        let Self { transport, raw, .. } = self;
        let read = poll_fn(|cx| {
            let mut buffer = ReadBuf::new(raw);
            ready!(Pin::new(&mut *transport).poll_read(cx, &mut buffer))?;
            std::task::Poll::Ready(Ok(buffer.filled().len()))
        });
        let read = read
            .await
            .map_err(|error: std::io::Error| DriverError::Ended(error.to_string()))?;
        if read == 0 {
            let ended = "it was closed within a reply".to_owned();
            return Err(DriverError::Ended(ended));
        }
        self.receive(read)
    }

    /// Takes the bodies out of what was read.
    fn receive(&mut self, read: usize) -> Result<(), DriverError> {
        let mut rest = self.raw.get(..read).unwrap_or_default();
        while !rest.is_empty() {
            if self.over {
                let more = "something comes after its end".to_owned();
                return Err(DriverError::Protocol(more));
            }
            let (body, taken) = self.incoming.split(rest);
            if !self.incoming.is_reply() {
                let other = "a packet is not one of a reply".to_owned();
                return Err(DriverError::Protocol(other));
            }
            self.body.extend_from_slice(body);
            rest = &rest[taken..];
            self.over = self.incoming.is_whole() && self.incoming.is_last();
        }
        Ok(())
    }
}

impl Change<'_> {
    pub(super) fn packet_size(&self) -> Option<u16> {
        match self {
            Self::PacketSize(size) => Some(*size),
            _ => None,
        }
    }

    /// The descriptor that statements carry from now on.
    pub(super) fn transaction(&self) -> Option<[u8; 8]> {
        match self {
            Self::Transaction(descriptor) => {
                Some(descriptor.first_chunk().copied().unwrap_or_default())
            }
            _ => None,
        }
    }
}

impl From<Stop> for DriverError {
    fn from(stop: Stop) -> Self {
        Self::Protocol(match stop {
            Stop::More => "it ends within a token".to_owned(),
            Stop::Bad(what) => what.to_owned(),
        })
    }
}

/// How long [`headers`] are.
const HEADERS: usize = 22;

/// `ALL_HEADERS` with the transaction, and that one request is on its way.
///
/// [MS-TDS] 2.2.5.3.2.
fn headers(transaction: [u8; 8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[22, 0, 0, 0, 18, 0, 0, 0, 2, 0]);
    out.extend_from_slice(&transaction);
    out.extend_from_slice(&1_u32.to_le_bytes());
}

#[cfg(test)]
impl Channel {
    /// A channel without a server, which waits for a reply.
    pub(super) fn alone() -> Self {
        let mut channel = Self::new(Transport::Gone, &[]);
        channel.over = false;
        channel
    }

    /// Receives bytes as if the server had sent them.
    pub(super) fn receives(&mut self, bytes: &[u8]) -> Result<(), DriverError> {
        self.body.drain(..self.at);
        self.at = 0;
        self.raw = bytes.into();
        self.receive(bytes.len())
    }
}
