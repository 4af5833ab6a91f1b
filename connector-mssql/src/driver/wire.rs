//! The bytes until somebody is signed in.
//!
//! The driver is compiled without TLS of its own. So this does what [MS-TDS] asks for before the
//! login, PRELOGIN and TLS, and then gives the driver a connection whose encryption is nobody's
//! business: the driver's own PRELOGIN is taken off the wire and answered with what the server
//! said. Bytes of the login pass through, and then the connection is taken from the driver.
//!
//! [MS-TDS]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-tds/b46a581a-39de-4745-b076-ec4dbb7d13ec

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::config::Encryption;

/// Type, status, length (2, big-endian), SPID (2), number, window.
pub(super) const HEADER: usize = 8;
const PRELOGIN: u8 = 0x12;
const REPLY: u8 = 0x04;
const LOGIN7: u8 = 0x10;
pub(super) const END_OF_MESSAGE: u8 = 0x01;

/// Options of PRELOGIN.
const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
const INSTANCE: u8 = 2;
const THREAD: u8 = 3;
const MARS: u8 = 4;
const FED_AUTH: u8 = 6;
const TERMINATOR: u8 = 0xff;

/// Values of [`ENCRYPTION`].
const OFF: u8 = 0;
const ON: u8 = 1;
const NOT_SUPPORTED: u8 = 2;

/// A PRELOGIN reply is a few dozen bytes.
const LONGEST_PRELOGIN: usize = 4096;
/// What a server says to a login is a few hundred bytes, and with tickets some thousands.
const LONGEST_LOGIN: usize = 1 << 20;

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the connection ended before the login")]
    Io(#[source] io::Error),
    #[error("the answer is not one of SQL Server")]
    NotTds,
    #[error("the server does not encrypt")]
    NoEncryption,
    #[error("TLS failed")]
    Tls(#[source] io::Error),
}

/// Does everything before the login.
pub(super) async fn open(
    tcp: TcpStream,
    encryption: Encryption,
    fed_auth: bool,
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Wire, OpenError> {
    let tls = TlsConnector::from(client);
    let (transport, reply, login_only) = if encryption == Encryption::Strict {
        let framed = Framed::new(tcp, false);
        let mut stream = tls.connect(name, framed).await.map_err(OpenError::Tls)?;
        let reply = prelogin(&mut stream, ON, fed_auth).await?;
        (Transport::Tls(Box::new(stream)), reply, false)
    } else {
        let mut tcp = tcp;
        let asked = if encryption == Encryption::LoginOnly {
            OFF
        } else {
            ON
        };
        let reply = prelogin(&mut tcp, asked, fed_auth).await?;
        let answered = reply.encryption().ok_or(OpenError::NotTds)?;
        // Whoever asked for encryption and is refused stops: nothing ever goes in clear text.
        if answered == NOT_SUPPORTED || (answered == OFF && asked == ON) {
            return Err(OpenError::NoEncryption);
        }
        let framed = Framed::new(tcp, true);
        let mut stream = tls.connect(name, framed).await.map_err(OpenError::Tls)?;
        stream.get_mut().0.framing = false;
        (Transport::Tls(Box::new(stream)), reply, answered == OFF)
    };
    Ok(Wire(Arc::new(Mutex::new(Login {
        transport,
        opening: Opening::Asked(Packet::default()),
        answer: reply.for_driver(),
        asked: login_only.then(Packet::default),
        clear_next: false,
        replied: Packet::default(),
        reply: Vec::new(),
    }))))
}

/// What the server said to PRELOGIN: the whole packet.
struct Reply(Vec<u8>);

impl Reply {
    /// The offset of the option's value within the packet.
    fn option(&self, wanted: u8) -> Option<usize> {
        let body = self.0.get(HEADER..)?;
        let mut table = body.chunks(5);
        while let Some([token, o1, o2, l1, l2]) = table.next() {
            if *token == TERMINATOR {
                return None;
            }
            let length = u16::from_be_bytes([*l1, *l2]);
            if *token == wanted && length > 0 {
                return Some(HEADER + usize::from(u16::from_be_bytes([*o1, *o2])));
            }
        }
        None
    }

    fn encryption(&self) -> Option<u8> {
        self.0.get(self.option(ENCRYPTION)?).copied()
    }

    /// The same as if nobody had spoken of encryption.
    fn for_driver(mut self) -> Vec<u8> {
        if let Some(at) = self.option(ENCRYPTION)
            && let Some(value) = self.0.get_mut(at)
        {
            *value = NOT_SUPPORTED;
        }
        self.0
    }
}

/// Sends PRELOGIN and takes the reply.
async fn prelogin<S>(stream: &mut S, encryption: u8, fed_auth: bool) -> Result<Reply, OpenError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream
        .write_all(&prelogin_packet(encryption, fed_auth))
        .await
        .map_err(OpenError::Io)?;
    stream.flush().await.map_err(OpenError::Io)?;
    let mut whole = vec![REPLY, END_OF_MESSAGE, 0, 0, 0, 0, 1, 0];
    loop {
        let mut header = [0; HEADER];
        stream
            .read_exact(&mut header)
            .await
            .map_err(OpenError::Io)?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] != REPLY || !(HEADER..=LONGEST_PRELOGIN).contains(&length) {
            return Err(OpenError::NotTds);
        }
        let start = whole.len();
        whole.resize(start + length - HEADER, 0);
        stream
            .read_exact(&mut whole[start..])
            .await
            .map_err(OpenError::Io)?;
        if whole.len() > LONGEST_PRELOGIN {
            return Err(OpenError::NotTds);
        }
        if header[1] & END_OF_MESSAGE != 0 {
            break;
        }
    }
    let length = u16::try_from(whole.len()).map_err(|_| OpenError::NotTds)?;
    whole[2..4].copy_from_slice(&length.to_be_bytes());
    Ok(Reply(whole))
}

fn prelogin_packet(encryption: u8, fed_auth: bool) -> Vec<u8> {
    let mut options: Vec<(u8, &[u8])> = vec![
        // The version of the client is for the server's traces only.
        (VERSION, &[0, 13, 0, 0, 0, 0]),
        (ENCRYPTION, std::slice::from_ref(&encryption)),
        (INSTANCE, &[0]),
        (THREAD, &[0; 4]),
        (MARS, &[0]),
    ];
    if fed_auth {
        options.push((FED_AUTH, &[1]));
    }
    let mut at = options.len() * 5 + 1;
    let mut packet = vec![PRELOGIN, END_OF_MESSAGE, 0, 0, 0, 0, 1, 0];
    for (token, value) in &options {
        packet.push(*token);
        packet.extend_from_slice(&short(at));
        packet.extend_from_slice(&short(value.len()));
        at += value.len();
    }
    packet.push(TERMINATOR);
    for (_, value) in &options {
        packet.extend_from_slice(value);
    }
    let length = short(packet.len());
    packet[2..4].copy_from_slice(&length);
    packet
}

/// The lengths of a packet of a few dozen bytes.
fn short(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or_default().to_be_bytes()
}

/// A stream that puts what is written into packets of PRELOGIN, and takes what is read out of
/// them, as long as `framing` says so: that is how TLS is agreed on before TDS 8.0.
pub(super) struct Framed {
    stream: TcpStream,
    framing: bool,
    incoming: Packet,
    outgoing: Vec<u8>,
    sent: usize,
}

impl Framed {
    fn new(stream: TcpStream, framing: bool) -> Self {
        Self {
            stream,
            framing,
            incoming: Packet::default(),
            outgoing: Vec::new(),
            sent: 0,
        }
    }
}

impl AsyncRead for Framed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.framing {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        }
        let this = &mut *self;
        while this.incoming.missing() == 0 {
            let mut byte = [0];
            let mut one = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut one))?;
            if one.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.incoming.take_header(byte[0]);
            if let Some(header) = this.incoming.complete()
                && ![PRELOGIN, REPLY].contains(&header[0])
            {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        let room = out.remaining().min(this.incoming.missing());
        let mut part = ReadBuf::new(out.initialize_unfilled_to(room));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        out.advance(read);
        this.incoming.take_body(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Framed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.framing {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        if self.outgoing.is_empty() {
            self.outgoing = vec![PRELOGIN, END_OF_MESSAGE, 0, 0, 0, 0, 1, 0];
        }
        self.outgoing.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.outgoing.is_empty() {
            let length = short(this.outgoing.len());
            this.outgoing[2..4].copy_from_slice(&length);
        }
        while this.sent < this.outgoing.len() {
            let rest = &this.outgoing[this.sent..];
            let written = ready!(Pin::new(&mut this.stream).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.sent += written;
        }
        this.outgoing.clear();
        this.sent = 0;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The connection itself.
pub(super) enum Transport {
    Tls(Box<TlsStream<Framed>>),
    /// After a login that alone was encrypted.
    Clear(TcpStream),
    /// Taken away.
    Gone,
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

enum Opening {
    /// The driver's PRELOGIN is being swallowed.
    Asked(Packet),
    /// The answer is being given, from this byte on.
    Answered(usize),
    Open,
}

/// What the driver reads from and writes to while it signs in; clones are the same connection.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Login>>);

struct Login {
    transport: Transport,
    opening: Opening,
    answer: Vec<u8>,
    /// Where only the login is encrypted: the packet of the login that is being written.
    asked: Option<Packet>,
    clear_next: bool,
    /// How far into a packet the server's replies are.
    replied: Packet,
    /// The tokens of its replies.
    reply: Vec<u8>,
}

impl Wire {
    fn login(&self) -> MutexGuard<'_, Login> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection from the driver, and with it what the server said to the login.
    pub(super) fn take(&self) -> (Transport, Vec<u8>) {
        let mut login = self.login();
        let transport = std::mem::replace(&mut login.transport, Transport::Gone);
        (transport, std::mem::take(&mut login.reply))
    }
}

impl futures::io::AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut login = self.login();
        let this = &mut *login;
        if let Opening::Answered(at) = this.opening {
            let rest = this.answer.get(at..).unwrap_or_default();
            let length = rest.len().min(out.len());
            out[..length].copy_from_slice(&rest[..length]);
            this.opening = if length == rest.len() {
                Opening::Open
            } else {
                Opening::Answered(at + length)
            };
            return Poll::Ready(Ok(length));
        }
        let mut buffer = ReadBuf::new(out);
        ready!(Pin::new(&mut this.transport).poll_read(cx, &mut buffer))?;
        let mut rest = buffer.filled();
        while !rest.is_empty() && this.reply.len() < LONGEST_LOGIN {
            let (body, taken) = this.replied.split(rest);
            this.reply.extend_from_slice(body);
            rest = &rest[taken..];
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl futures::io::AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut login = self.login();
        let this = &mut *login;
        if let Opening::Asked(packet) = &mut this.opening {
            let taken = packet.take(bytes);
            if packet.is_whole() {
                this.opening = Opening::Answered(0);
            }
            return Poll::Ready(Ok(taken));
        }
        let written = ready!(Pin::new(&mut this.transport).poll_write(cx, bytes))?;
        if let Some(packet) = &mut this.asked {
            let mut rest = &bytes[..written];
            while !rest.is_empty() {
                rest = &rest[packet.take(rest)..];
                if packet.is_whole() {
                    let [kind, ..] = packet.header;
                    this.clear_next |= kind == LOGIN7 && packet.is_last();
                    *packet = Packet::default();
                }
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut login = self.login();
        let this = &mut *login;
        ready!(Pin::new(&mut this.transport).poll_flush(cx))?;
        if this.clear_next {
            this.clear_next = false;
            this.asked = None;
            this.transport = match std::mem::replace(&mut this.transport, Transport::Gone) {
                Transport::Tls(stream) => Transport::Clear(stream.into_inner().0.stream),
                other => other,
            };
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.login().transport).poll_shutdown(cx)
    }
}

/// How far into a packet a stream of bytes is.
#[derive(Debug, Default)]
pub(super) struct Packet {
    header: [u8; HEADER],
    /// How many bytes of the header are there.
    have: usize,
    /// How many bytes of the body were taken.
    body: usize,
}

impl Packet {
    fn declared(&self) -> usize {
        usize::from(u16::from_be_bytes([self.header[2], self.header[3]]))
    }

    fn length(&self) -> usize {
        self.declared().saturating_sub(HEADER)
    }

    fn complete(&self) -> Option<[u8; HEADER]> {
        (self.have == HEADER).then_some(self.header)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.have == HEADER && self.body == self.length()
    }

    /// Whether it ends its message.
    pub(super) fn is_last(&self) -> bool {
        self.header[1] & END_OF_MESSAGE != 0
    }

    /// Whether it is one of a reply, as far as its header is there.
    pub(super) fn is_reply(&self) -> bool {
        self.have < HEADER || (self.header[0] == REPLY && self.declared() >= HEADER)
    }

    /// How many bytes of the body are still to come; none before the header is there.
    fn missing(&self) -> usize {
        if self.have < HEADER {
            return 0;
        }
        self.length() - self.body
    }

    fn take_header(&mut self, byte: u8) {
        if self.is_whole() {
            *self = Self::default();
        }
        self.header[self.have] = byte;
        self.have += 1;
    }

    fn take_body(&mut self, count: usize) {
        self.body += count;
    }

    /// Takes bytes up to the packet's end; returns how many.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let head = (HEADER - self.have).min(bytes.len());
        self.header[self.have..self.have + head].copy_from_slice(&bytes[..head]);
        self.have += head;
        let body = self.missing().min(bytes.len() - head);
        self.body += body;
        head + body
    }

    /// Takes bytes of this packet, or of the next one where this one is whole; returns those of
    /// the body, and how many were taken.
    pub(super) fn split<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], usize) {
        if self.is_whole() {
            *self = Self::default();
        }
        let before = self.have;
        let taken = self.take(bytes);
        (&bytes[self.have - before..taken], taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_reply_of_any_bytes_does_no_harm(bytes: Vec<u8>) {
            let _ = Reply(bytes).encryption();
        }
    }

    #[test]
    fn the_answer_speaks_of_no_encryption() {
        let packet = prelogin_packet(ON, true);
        let mut reply = Reply(packet);
        assert_eq!(reply.encryption(), Some(ON));
        reply = Reply(reply.for_driver());
        assert_eq!(reply.encryption(), Some(NOT_SUPPORTED));
        assert_eq!(
            reply.option(FED_AUTH).and_then(|at| reply.0.get(at)),
            Some(&1)
        );
    }
}
