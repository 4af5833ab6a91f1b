//! A proxy that keeps what a server sent, and slips packets in among the client's.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, UnboundedSender},
    task::JoinSet,
};

/// A proxy for one connection to a port of 127.0.0.1.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
    inject: UnboundedSender<Vec<u8>>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&sent);
        let (inject, mut injected) = mpsc::unbounded_channel::<Vec<u8>>();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
            loop {
                tokio::select! {
                    Some(packet) = injected.recv() => server.write_all(&packet).await.unwrap(),
                    Ok(count) = client.read(&mut from_client) => match count {
                        0 => return,
                        count => server.write_all(&from_client[..count]).await.unwrap(),
                    },
                    Ok(count) = server.read(&mut from_server) => match count {
                        0 => return,
                        count => {
                            kept.lock().unwrap().extend(&from_server[..count]);
                            client.write_all(&from_server[..count]).await.unwrap();
                        }
                    },
                    else => return,
                }
            }
        });
        Self {
            port,
            sent,
            inject,
            _task: task,
        }
    }

    /// Sends the server an ATTENTION: a packet of type 6 without a body.
    pub(crate) fn cancel(&self) {
        self.inject
            .send(vec![0x06, 0x01, 0, 8, 0, 0, 1, 0])
            .unwrap();
    }

    /// The server's messages so far: their tokens, without packet headers. Only those in clear
    /// text, so not under an encryption of everything; without the TLS handshake.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let sent = self.sent.lock().unwrap();
        let mut rest = &sent[..];
        let (mut messages, mut message) = (Vec::new(), Vec::new());
        while let Some(header) = rest.first_chunk::<8>() {
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let Some(packet) = rest.get(8..length) else {
                break;
            };
            message.extend(packet);
            if header[1] & 1 != 0 {
                let whole = std::mem::take(&mut message);
                // Type 4 is an answer, the others carry the handshake.
                if header[0] == 4 {
                    messages.push(whole);
                }
            }
            rest = &rest[length..];
        }
        messages
    }
}
