//! Encryption around tiberius: PRELOGIN and TLS, as [MS-TDS] 2.2.6.5 describes them.
//!
//! tiberius' own TLS is bound to a provider of cryptography that takes minutes to build, so that
//! here it speaks in clear text to a task which does that part.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::TLS12,
};
use tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, copy_bidirectional,
        duplex,
    },
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// TLS before the first packet.
    Strict,
    Required,
    On,
    /// Of the login alone.
    Off,
    NotSupported,
}

const PRELOGIN: u8 = 0x12;
const HEADER: usize = 8;
const END_OF_MESSAGE: u8 = 1;

/// The option of PRELOGIN, and its values.
const ENCRYPTION: u8 = 1;
const OFF: u8 = 0;
const ON: u8 = 1;
const NOT_SUPPORTED: u8 = 2;
const REQUIRED: u8 = 3;

/// The first byte of a TLS record once the handshake of TLS 1.2 is over.
const APPLICATION_DATA: u8 = 23;
const ROOM: usize = 1 << 16;

/// Returns what tiberius is given for a connection; what ends on one side ends on the other.
pub(crate) async fn open(
    mut tcp: TcpStream,
    asked: Encryption,
    trusted: &str,
) -> io::Result<DuplexStream> {
    let tls = TlsConnector::from(Arc::new(config(asked, trusted)));
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let (driver, mut ours) = duplex(ROOM);
    if asked == Encryption::Strict {
        let mut server = tls.connect(name, tcp).await?;
        tokio::spawn(async move { copy_bidirectional(&mut ours, &mut server).await });
        return Ok(driver);
    }
    tokio::spawn(async move {
        match negotiate(&mut ours, &mut tcp, asked).await? {
            NOT_SUPPORTED => copy_bidirectional(&mut ours, &mut tcp).await,
            answer => {
                let (plain, records) = duplex(ROOM);
                tokio::spawn(frame(records, tcp));
                let mut server = tls.connect(name, plain).await?;
                if answer == OFF {
                    let mut server = login(&mut ours, server).await?;
                    copy_bidirectional(&mut ours, &mut server).await
                } else {
                    copy_bidirectional(&mut ours, &mut server).await
                }
            }
        }
    });
    Ok(driver)
}

fn config(asked: Encryption, trusted: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        CertificateDer::pem_slice_iter(trusted.as_bytes()).map(|found| found.unwrap()),
    );
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    if asked == Encryption::Strict {
        config.alpn_protocols = vec![b"tds/8.0".to_vec()];
    }
    config
}

/// Asks in tiberius' stead, which then believes that there is no encryption. Returns what both
/// agreed on.
async fn negotiate(
    driver: &mut DuplexStream,
    server: &mut TcpStream,
    asked: Encryption,
) -> io::Result<u8> {
    let mut question = packet(driver).await?;
    *encryption(&mut question)? = match asked {
        Encryption::Off => OFF,
        Encryption::NotSupported => NOT_SUPPORTED,
        Encryption::Required => REQUIRED,
        Encryption::On | Encryption::Strict => ON,
    };
    server.write_all(&question).await?;
    let mut answer = packet(server).await?;
    let agreed = std::mem::replace(encryption(&mut answer)?, NOT_SUPPORTED);
    let wanted = asked != Encryption::NotSupported;
    let offered = agreed != NOT_SUPPORTED;
    if wanted != offered {
        return Err(io::Error::other("one of the two can't encrypt"));
    }
    driver.write_all(&answer).await?;
    Ok(agreed)
}

/// Reads a packet, with its header.
async fn packet(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; HEADER];
    from.read_exact(&mut packet).await?;
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    packet.resize(length.max(HEADER), 0);
    from.read_exact(&mut packet[HEADER..]).await?;
    Ok(packet)
}

/// The value of the option within a PRELOGIN.
fn encryption(packet: &mut [u8]) -> io::Result<&mut u8> {
    let options = packet[HEADER..].chunks_exact(5);
    let mut options = options.take_while(|option| option[0] != 0xFF);
    let option = options.find(|option| option[0] == ENCRYPTION);
    let at = option.map(|option| HEADER + usize::from(u16::from_be_bytes([option[1], option[2]])));
    at.and_then(|at| packet.get_mut(at))
        .ok_or_else(|| io::Error::other("a PRELOGIN that does not speak of encryption"))
}

/// Sends the login within TLS, and leaves it.
async fn login(
    driver: &mut DuplexStream,
    mut server: TlsStream<DuplexStream>,
) -> io::Result<DuplexStream> {
    loop {
        let packet = packet(driver).await?;
        server.write_all(&packet).await?;
        if packet[1] & END_OF_MESSAGE != 0 {
            server.flush().await?;
            return Ok(server.into_inner().0);
        }
    }
}

/// Carries the records of a handshake in packets of PRELOGIN, and all that comes after as it is.
async fn frame(mut records: DuplexStream, server: TcpStream) -> io::Result<()> {
    let (mut from_server, mut to_server) = server.into_split();
    let mut handshake = true;
    let mut bytes = vec![0; ROOM];
    let mut answered = vec![0; ROOM];
    loop {
        tokio::select! {
            count = records.read(&mut bytes) => {
                let sent = &bytes[..count?];
                // The handshake is flushed to its end before anything else is written.
                handshake &= sent.first().is_some_and(|first| *first != APPLICATION_DATA);
                match sent.len() {
                    0 => return to_server.shutdown().await,
                    _ if handshake => write_packet(&mut to_server, sent).await?,
                    _ => to_server.write_all(sent).await?,
                }
            }
            count = from_server.read(&mut answered[..if handshake { 1 } else { ROOM }]) => {
                let count = count?;
                if count == 0 {
                    return Ok(());
                }
                if handshake {
                    // The rest of the packet is on its way.
                    let mut rest = [0; HEADER - 1];
                    from_server.read_exact(&mut rest).await?;
                    let length = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
                    let body = &mut answered[..length.saturating_sub(HEADER)];
                    from_server.read_exact(body).await?;
                    records.write_all(body).await?;
                } else {
                    records.write_all(&answered[..count]).await?;
                }
            }
        }
    }
}

async fn write_packet(to: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> io::Result<()> {
    let length = u16::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let [high, low] = length.to_be_bytes();
    let header = [PRELOGIN, END_OF_MESSAGE, high, low, 0, 0, 1, 0];
    to.write_all(&[&header[..], body].concat()).await
}
