//! tiberius as the client of the kit's SQL Servers.

use tiberius::{AuthMethod, Client, Config, EncryptionLevel, error::Error};
use tokio::{io::DuplexStream, net::TcpStream};
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::tunnel::{self, Encryption};

pub(crate) type Connection = Client<Compat<DuplexStream>>;

/// Where to connect, and as whom.
pub(crate) struct Target {
    pub(crate) port: u16,
    authority: String,
    pub(crate) password: &'static str,
    pub(crate) database: &'static str,
    pub(crate) encryption: Encryption,
}

impl Target {
    pub(crate) fn new(port: u16, authority_pem: &str) -> Self {
        Self {
            port,
            authority: authority_pem.to_owned(),
            password: "Passw0rd!",
            database: "",
            encryption: Encryption::Required,
        }
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        let mut config = Config::new();
        config.host("localhost");
        config.port(self.port);
        config.authentication(AuthMethod::sql_server("reader", self.password));
        // The tunnel encrypts.
        config.encryption(EncryptionLevel::NotSupported);
        config.application_name("a test");
        config.readonly(true);
        config.packet_size(8192);
        if !self.database.is_empty() {
            config.database(self.database);
        }
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let stream = tunnel::open(tcp, self.encryption, &self.authority).await?;
        Box::pin(Client::connect(config, stream.compat_write())).await
    }
}

/// The number of the server's error.
pub(crate) fn code(result: Result<Connection, Error>) -> Option<u32> {
    result.err().and_then(|error| error.code())
}
