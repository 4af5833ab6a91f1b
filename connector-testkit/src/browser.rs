//! SQL Server Browser on the loopback: the UDP service that knows the ports of named instances.

use std::{
    fmt,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{net::UdpSocket, task::JoinSet};

/// `CLNT_UCAST_INST`: [MC-SQLR] 2.2.3.
const ONE_INSTANCE: u8 = 0x04;
/// `SVR_RESP`: [MC-SQLR] 2.2.5.
const RESPONSE: u8 = 0x05;

/// What a [`SqlBrowser`] answers to the question for one instance.
#[derive(Debug, Clone)]
pub enum BrowserAnswer {
    /// The port of the instance that was asked for.
    Port(u16),
    /// An instance without TCP.
    TcpDisabled,
    /// Another instance than the one that was asked for, with a port.
    OtherInstance(String, u16),
    /// These bytes.
    Raw(Vec<u8>),
    /// Nothing.
    Silence,
}

/// A SQL Server Browser on a free UDP port of 127.0.0.1.
///
/// It answers the question for one instance as [MC-SQLR] 2.2.3 and 2.2.5 describe, and no other.
/// Ends when it is dropped.
pub struct SqlBrowser {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl SqlBrowser {
    /// Starts it; it answers every question so.
    ///
    /// # Panics
    ///
    /// When there is no free port.
    pub async fn start(answer: BrowserAnswer) -> Self {
        Self::start_with(move |_| answer.clone()).await
    }

    /// Starts it with an answer by the number of the question, counted from 0: a first datagram may
    /// get lost.
    ///
    /// # Panics
    ///
    /// When there is no free port.
    pub async fn start_with(answer: impl Fn(usize) -> BrowserAnswer + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let socket = socket.expect("127.0.0.1 has a free port");
        let address = socket.local_addr().expect("a socket has an address");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let questions = Arc::clone(&asked);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut datagram = [0; 2048];
            while let Ok((length, client)) = socket.recv_from(&mut datagram).await {
                let [ONE_INSTANCE, name @ .., 0] = &datagram[..length] else {
                    continue;
                };
                let name = String::from_utf8_lossy(name).into_owned();
                let number = {
                    let mut asked = questions.lock().unwrap_or_else(PoisonError::into_inner);
                    asked.push(name.clone());
                    asked.len() - 1
                };
                if let Some(answer) = answer(number).datagram(&name) {
                    // A client that has gone asked for no answer.
                    let _ = socket.send_to(&answer, client).await;
                }
            }
        });
        Self {
            port: address.port(),
            asked,
            _task: task,
        }
    }

    /// Returns the UDP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the names of the instances that were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

impl BrowserAnswer {
    fn datagram(&self, asked: &str) -> Option<Vec<u8>> {
        let (instance, tcp) = match self {
            Self::Port(port) => (asked, format!("tcp;{port};")),
            Self::TcpDisabled => (asked, String::new()),
            Self::OtherInstance(name, port) => (name.as_str(), format!("tcp;{port};")),
            Self::Raw(bytes) => return Some(bytes.clone()),
            Self::Silence => return None,
        };
        // A server whose name holds the key that a careless reader searches for.
        let text = format!(
            "ServerName;TCP-TEST;InstanceName;{instance};IsClustered;No;Version;15.0.2000.5;\
             {tcp}np;\\\\TCP-TEST\\pipe\\MSSQL${instance}\\sql\\query;;"
        );
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        Some([&[RESPONSE], &length.to_le_bytes()[..], text.as_bytes()].concat())
    }
}

impl fmt::Debug for SqlBrowser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlBrowser(127.0.0.1:{})", self.port)
    }
}
