//! tiberius as the client of the kit's SQL Servers.

use std::sync::Once;

use tiberius::{AuthMethod, Client, Config, EncryptionLevel, error::Error};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

pub(crate) type Connection = Client<Compat<TcpStream>>;

/// Where to connect, and as whom.
pub(crate) struct Target {
    pub(crate) port: u16,
    authority: tempfile::NamedTempFile,
    pub(crate) password: &'static str,
    pub(crate) database: &'static str,
    pub(crate) encryption: EncryptionLevel,
}

impl Target {
    pub(crate) fn new(port: u16, authority_pem: &str) -> Self {
        // The process's default, so that tiberius takes no other.
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let authority = tempfile::Builder::new().suffix(".pem").tempfile().unwrap();
        std::fs::write(authority.path(), authority_pem).unwrap();
        Self {
            port,
            authority,
            password: "Passw0rd!",
            database: "",
            encryption: EncryptionLevel::Required,
        }
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        let mut config = Config::new();
        config.host("localhost");
        config.port(self.port);
        config.authentication(AuthMethod::sql_server("reader", self.password));
        config.encryption(self.encryption);
        config.application_name("a test");
        config.readonly(true);
        config.packet_size(8192);
        config.trust_cert_ca(self.authority.path().to_str().unwrap());
        if !self.database.is_empty() {
            config.database(self.database);
        }
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        Box::pin(Client::connect(config, tcp.compat_write())).await
    }
}

/// The number of the server's error.
pub(crate) fn code(result: Result<Connection, Error>) -> Option<u32> {
    result.err().and_then(|error| error.code())
}
