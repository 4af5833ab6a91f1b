//! Packets over a connection, plain and within TLS.
//!
//! [MS-TDS] 2.2.3 Packets; 2.2.6.5 PRELOGIN for the TLS handshake inside of packets.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::certificate::Certificate;

const HEADER: usize = 8;
const END_OF_MESSAGE: u8 = 0x01;
/// The type of packets that carry a TLS handshake.
const PRELOGIN: u8 = 0x12;
/// The type of the server's packets.
const RESPONSE: u8 = 0x04;

/// A message of a client: the type of its packets, and what they carry.
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

/// TCP under a TLS handshake whose records travel in packets; once it is over, plain TCP.
struct Tunnel {
    tcp: TcpStream,
    handshaking: bool,
    header: [u8; HEADER],
    header_read: usize,
    /// What is left of the packet that is being read.
    left: usize,
    /// Records that are not in packets yet.
    records: Vec<u8>,
    packets: Vec<u8>,
    written: usize,
}

impl Tunnel {
    fn new(tcp: TcpStream, handshaking: bool) -> Self {
        Self {
            tcp,
            handshaking,
            header: [0; HEADER],
            header_read: 0,
            left: 0,
            records: Vec::new(),
            packets: Vec::new(),
            written: 0,
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.handshaking {
            return Pin::new(&mut this.tcp).poll_read(cx, buffer);
        }
        while this.left == 0 {
            let mut header = ReadBuf::new(&mut this.header[this.header_read..]);
            ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut header))?;
            let read = header.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            this.header_read += read;
            if this.header_read == HEADER {
                this.header_read = 0;
                this.left = body_length(this.header)?;
            }
        }
        let room = buffer.remaining().min(this.left);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        this.left -= read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.handshaking {
            return Pin::new(&mut self.tcp).poll_write(cx, bytes);
        }
        self.records.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.records.is_empty() {
            push_packets(PRELOGIN, &this.records, 4096, &mut this.packets);
            this.records.clear();
        }
        while this.written < this.packets.len() {
            let rest = &this.packets[this.written..];
            match ready!(Pin::new(&mut this.tcp).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => this.written += written,
            }
        }
        this.packets.clear();
        this.written = 0;
        Pin::new(&mut this.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

fn body_length(header: [u8; HEADER]) -> io::Result<usize> {
    usize::from(u16::from_be_bytes([header[2], header[3]]))
        .checked_sub(HEADER)
        .ok_or_else(|| io::Error::other("a packet shorter than its header"))
}

fn push_packets(kind: u8, payload: &[u8], packet_size: usize, out: &mut Vec<u8>) {
    let mut bodies = payload.chunks(packet_size - HEADER).peekable();
    while let Some(body) = bodies.next() {
        let status = if bodies.peek().is_none() {
            END_OF_MESSAGE
        } else {
            0
        };
        push_packet(kind, status, body, out);
    }
}

fn push_packet(kind: u8, status: u8, body: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    // Session and packet number: no client reads them.
    out.extend([kind, status, high, low, 0, 51, 1, 0]);
    out.extend(body);
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<Tunnel>>),
    /// For the moment between two others.
    None,
}

/// A connection that reads whole messages and writes an answer packet by packet.
pub(super) struct Wire {
    transport: Transport,
    /// What was read and is no whole packet yet.
    input: Vec<u8>,
    /// The packets so far of a message that goes on.
    message: Vec<u8>,
    /// The body of the packet that is being filled.
    output: Vec<u8>,
    packet_size: usize,
    /// The login is over, in which the packets' size was agreed on.
    agreed: bool,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self {
            transport: Transport::Plain(tcp),
            input: Vec::new(),
            message: Vec::new(),
            output: Vec::new(),
            packet_size: 4096,
            agreed: false,
        }
    }

    pub(super) fn set_packet_size(&mut self, packet_size: usize) {
        self.packet_size = packet_size;
        self.agreed = true;
    }

    /// Whether the client begins with TLS rather than with a packet; `None` if it left.
    pub(super) async fn begins_with_tls(&self) -> io::Result<Option<bool>> {
        let Transport::Plain(tcp) = &self.transport else {
            return Ok(Some(false));
        };
        let mut first = [0];
        let count = tcp.peek(&mut first).await?;
        // The content type of a handshake record.
        Ok((count > 0).then_some(first[0] == 0x16))
    }

    /// Does the TLS handshake: inside of packets ([MS-TDS] 2.2.6.5), or bare and before any packet
    /// (TDS 8.0).
    pub(super) async fn accept_tls(
        &mut self,
        certificate: &Certificate,
        strict: bool,
    ) -> io::Result<()> {
        let Transport::Plain(tcp) = std::mem::replace(&mut self.transport, Transport::None) else {
            return Err(io::Error::other("TLS within TLS"));
        };
        let acceptor = TlsAcceptor::from(Arc::new(tls_config(certificate, strict)?));
        let mut stream = acceptor.accept(Tunnel::new(tcp, !strict)).await?;
        stream.get_mut().0.handshaking = false;
        self.transport = Transport::Tls(Box::new(stream));
        Ok(())
    }

    /// Goes back to clear text, as after a login that alone was encrypted.
    pub(super) fn leave_tls(&mut self) {
        let transport = std::mem::replace(&mut self.transport, Transport::None);
        self.transport = match transport {
            Transport::Tls(stream) => Transport::Plain(stream.into_inner().0.tcp),
            other => other,
        };
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match &self.transport {
            Transport::Plain(tcp) => Some(tcp),
            Transport::Tls(stream) => Some(&stream.get_ref().0.tcp),
            Transport::None => None,
        }
    }

    /// Reads the next message; `None` when the client has left. Can be dropped and called again.
    pub(super) async fn read(&mut self) -> io::Result<Option<Message>> {
        loop {
            while let Some(header) = self.input.first_chunk::<HEADER>().copied() {
                let end = HEADER + body_length(header)?;
                let Some(packet) = self.input.get(HEADER..end) else {
                    break;
                };
                // [MS-TDS] 2.2.3.1.3: after the login every packet but the last is of that size.
                if self.agreed && header[1] & END_OF_MESSAGE == 0 && end != self.packet_size {
                    let wrong = format!("a packet of {end} bytes, not of {}", self.packet_size);
                    return Err(io::Error::other(wrong));
                }
                self.message.extend(packet);
                self.input.drain(..end);
                if header[1] & END_OF_MESSAGE != 0 {
                    let payload = std::mem::take(&mut self.message);
                    return Ok(Some(Message {
                        kind: header[0],
                        payload,
                    }));
                }
            }
            let read = match &mut self.transport {
                Transport::Plain(tcp) => tcp.read_buf(&mut self.input).await?,
                Transport::Tls(stream) => stream.read_buf(&mut self.input).await?,
                Transport::None => 0,
            };
            if read == 0 {
                return Ok(None);
            }
        }
    }

    /// Adds to the answer; full packets leave at once. Tells whether one did.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        self.output.extend(bytes);
        let body = self.packet_size - HEADER;
        // The last packet is kept, since it may be the message's last.
        if self.output.len() <= body {
            return Ok(false);
        }
        let mut packets = Vec::new();
        let mut sent = 0;
        while self.output.len() - sent > body {
            push_packet(RESPONSE, 0, &self.output[sent..sent + body], &mut packets);
            sent += body;
        }
        self.output.drain(..sent);
        self.send(&packets).await?;
        Ok(true)
    }

    /// Sends what there is of the answer.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let mut packet = Vec::new();
        push_packet(RESPONSE, 0, &self.output, &mut packet);
        self.output.clear();
        self.send(&packet).await
    }

    /// Ends the answer.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        let mut packet = Vec::new();
        push_packet(RESPONSE, END_OF_MESSAGE, &self.output, &mut packet);
        self.output.clear();
        self.send(&packet).await
    }

    async fn send(&mut self, packets: &[u8]) -> io::Result<()> {
        match &mut self.transport {
            Transport::Plain(tcp) => tcp.write_all(packets).await,
            Transport::Tls(stream) => {
                stream.write_all(packets).await?;
                stream.flush().await
            }
            Transport::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Closes the connection below TLS, without the farewell of TLS.
    pub(super) async fn cut(mut self) -> io::Result<()> {
        match &mut self.transport {
            Transport::Plain(tcp) => tcp.shutdown().await,
            Transport::Tls(stream) => stream.get_mut().0.tcp.shutdown().await,
            Transport::None => Ok(()),
        }
    }

    /// Resets the connection.
    pub(super) fn reset(self) -> io::Result<()> {
        self.tcp().map_or(Ok(()), TcpStream::set_zero_linger)
    }
}

fn tls_config(certificate: &Certificate, strict: bool) -> io::Result<ServerConfig> {
    // Inside of packets only what SQL Server does there: TLS 1.2 without tickets, since packets end
    // with the handshake and a ticket would come after it.
    let versions = if strict {
        &[&TLS13, &TLS12][..]
    } else {
        &[&TLS12]
    };
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivatePkcs8KeyDer::from(certificate.key_der().to_vec());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .map_err(io::Error::other)?;
    config.send_tls13_tickets = 0;
    if strict {
        config.alpn_protocols = vec![b"tds/8.0".to_vec()];
    }
    Ok(config)
}
