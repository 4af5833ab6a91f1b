//! Asking SQL Server Browser for the port of a named instance, as [MC-SQLR] describes it.
//!
//! The answer is not authenticated, so that it supplies nothing but the port: the certificate is
//! still checked against the name that was typed.
//!
//! [MC-SQLR]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/mc-sqlr/1ea6e25f-bff9-4364-ba21-5dc449a601b7

use std::{io, net::SocketAddr, time::Duration};

use tokio::{net::UdpSocket, time::timeout};

/// Where the Browser listens.
pub(crate) const PORT: u16 = 1434;

const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(1);
/// What an answer to a question for one instance has at most.
const LONGEST: usize = 1024;

const ONE_INSTANCE: u8 = 0x04;
const ANSWER: u8 = 0x05;

/// Why no port is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrowserError {
    #[error("SQL Server Browser did not answer on UDP port {PORT}")]
    Silent(#[source] Option<io::Error>),
    #[error("SQL Server Browser says that the instance has TCP/IP switched off")]
    NoTcp,
}

/// Asks each address in turn for the TCP port of an instance.
pub(crate) async fn lookup(addresses: &[SocketAddr], instance: &str) -> Result<u16, BrowserError> {
    let mut failed = BrowserError::Silent(None);
    for _ in 0..TRIES {
        for address in addresses {
            match ask(*address, instance).await {
                Ok(port) => return Ok(port),
                Err(BrowserError::Silent(cause)) => failed = BrowserError::Silent(cause),
                Err(error) => return Err(error),
            }
        }
    }
    Err(failed)
}

async fn ask(address: SocketAddr, instance: &str) -> Result<u16, BrowserError> {
    let silent = |cause| BrowserError::Silent(Some(cause));
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(silent)?;
    // A connected socket takes datagrams of this address alone.
    socket.connect(address).await.map_err(silent)?;
    let mut question = vec![ONE_INSTANCE];
    question.extend_from_slice(instance.as_bytes());
    question.push(0);
    socket.send(&question).await.map_err(silent)?;
    let mut answer = [0; LONGEST + 3];
    let wait = async {
        loop {
            let length = socket.recv(&mut answer).await.map_err(silent)?;
            if let Some(text) = answer_text(&answer[..length]) {
                // One that is about another instance is not ours to take.
                if let Some(port) = tcp_port(&text, instance) {
                    return port.ok_or(BrowserError::NoTcp);
                }
            }
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or(Err(BrowserError::Silent(None)))
}

/// The text of an answer, if it is one.
fn answer_text(datagram: &[u8]) -> Option<String> {
    let [ANSWER, low, high, text @ ..] = datagram else {
        return None;
    };
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    // Names may hold any code page; what is looked for is ASCII.
    let text = text.get(..length.min(text.len()))?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// The port of the instance, or that it has none; nothing when the text is of other instances.
///
/// The text is a list of names and values, `ServerName;X;InstanceName;Y;…;tcp;51433;;`. A value may
/// itself be `tcp`, so that only every other part is a name.
#[expect(
    clippy::option_option,
    reason = "not of this instance, and without a port, are two things"
)]
fn tcp_port(text: &str, instance: &str) -> Option<Option<u16>> {
    for entry in text.split(";;") {
        let mut parts = entry.split(';');
        let (mut ours, mut port) = (false, None);
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if name.eq_ignore_ascii_case("InstanceName") {
                ours = value.eq_ignore_ascii_case(instance);
            } else if name.eq_ignore_ascii_case("tcp") {
                port = value.trim().parse().ok().filter(|port| *port != 0);
            }
        }
        if ours {
            return Some(port);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datagram(text: &str) -> Vec<u8> {
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        [&[ANSWER], &length[..], text.as_bytes()].concat()
    }

    const ANSWERED: &str = "ServerName;TCP;InstanceName;INV;IsClustered;No;Version;15.0.2000.5;\
                            tcp;51433;np;\\\\TCP\\pipe\\MSSQL$INV\\sql\\query;;";

    #[test]
    fn takes_the_port_and_no_name_that_looks_like_one() {
        assert_eq!(tcp_port(ANSWERED, "inv"), Some(Some(51433)));
        assert_eq!(tcp_port(ANSWERED, "other"), None);
        let off = "ServerName;tcp;InstanceName;INV;IsClustered;No;Version;15.0;np;pipe;;";
        assert_eq!(tcp_port(off, "INV"), Some(None));
        let two = format!("ServerName;TCP;InstanceName;A;tcp;1;;{ANSWERED}");
        assert_eq!(tcp_port(&two, "INV"), Some(Some(51433)));
    }

    proptest! {
        #[test]
        fn reads_any_datagram(bytes: Vec<u8>) {
            if let Some(text) = answer_text(&bytes) {
                let _ = tcp_port(&text, "INV");
            }
        }
    }

    /// A Browser that answers the nth question it gets.
    async fn browser(answers: Vec<Option<Vec<u8>>>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut question = [0; 64];
            for answer in answers {
                let (length, from) = socket.recv_from(&mut question).await.unwrap();
                assert_eq!(&question[..length], b"\x04INV\0");
                if let Some(answer) = answer {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
            std::future::pending::<()>().await;
        });
        address
    }

    #[tokio::test]
    async fn asks_for_the_instance() {
        let address = browser(vec![Some(datagram(ANSWERED))]).await;
        assert_eq!(lookup(&[address], "INV").await.unwrap(), 51433);
        let off = "ServerName;X;InstanceName;INV;np;pipe;;";
        let address = browser(vec![Some(datagram(off))]).await;
        assert!(matches!(
            lookup(&[address], "INV").await,
            Err(BrowserError::NoTcp)
        ));
    }

    #[tokio::test]
    async fn asks_again_and_gives_up() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::time::pause();
        assert!(matches!(
            lookup(&[address], "INV").await,
            Err(BrowserError::Silent(None))
        ));
        for _ in 0..TRIES {
            let mut question = [0; 64];
            assert_eq!(socket.try_recv(&mut question).unwrap(), 5);
        }
    }
}
