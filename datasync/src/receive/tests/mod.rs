//! The receiver over real connections, with its sender and without.

mod conformance;
mod openapi;
mod protocol;
mod sign_in;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use connector_core::{DatasetId, Error, RangeDigest, Schema, Secret};
use connector_http::{Fixed, HttpConfig, Refusal, Request, Response, Service, Stack, Transport};
use connector_testkit::{Authority as TestAuthority, Certificate, ManualClock};
use tokio::{sync::watch, task::JoinHandle};

use super::{Authority, ReceiveSettings, Server};
use crate::{
    config::Section,
    sink::{Repository, UploadSettings, UploadSink},
    stop::Stop,
};

/// A receiver's configuration, state and certificates; the receiver itself comes and goes.
pub(super) struct Lab {
    folder: tempfile::TempDir,
    authority: TestAuthority,
    clock: ManualClock,
    more: String,
}

/// A receiver that runs.
pub(super) struct Running {
    address: SocketAddr,
    requests: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.requests.send_replace(1);
        self.task.await.unwrap();
    }

    /// As if the process was killed.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

impl Lab {
    /// Two tenants; `more` are further lines of `[receive]`.
    pub(super) fn new(more: &str) -> Self {
        let lab = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: TestAuthority::new(),
            clock: ManualClock::new("2026-11-21T03:00:00Z".parse().unwrap()),
            more: more.to_owned(),
        };
        lab.write("ca.pem", &lab.authority.pem());
        let own = lab.authority.issue(&["localhost", "127.0.0.1"]);
        lab.write("own.pem", own.pem());
        lab.write("own.key", own.key_pem());
        lab
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn client_certificate(&self, name: &str) -> Certificate {
        self.authority.issue_client(name)
    }

    fn settings(&self) -> ReceiveSettings {
        let key = self.path("own.key");
        let text = format!(
            r#"
            listen = "127.0.0.1:0"
            tls = {{ certificate = "own.pem", key = {{ file = '{}' }} }}
            client_ca = "ca.pem"
            {}
            [[tenant]]
            name = "acme"
            syncs = ["lab", "hr"]
            clients = {{ "agent.acme.test" = ["lab"] }}
            sink = {{ kind = "sqlite", path = "acme.db" }}
            [[tenant]]
            name = "globex"
            syncs = ["lab"]
            sink = {{ kind = "sqlite", path = "globex.db" }}
            "#,
            key.display(),
            self.more,
        );
        let table = toml::from_str(&text).unwrap();
        let section = Section::new("receive".to_owned(), table);
        ReceiveSettings::read(section, self.folder.path()).unwrap()
    }

    pub(super) async fn start(&self) -> Running {
        self.start_with(self.settings()).await
    }

    async fn start_with(&self, settings: ReceiveSettings) -> Running {
        let server = Server::open(settings, Arc::new(self.clock.clone()))
            .await
            .unwrap();
        let address = server.address().unwrap();
        let (requests, stop) = Stop::new();
        let task = tokio::spawn(async move { server.run(&stop).await });
        Running {
            address,
            requests,
            task,
        }
    }

    fn tokens(&self) -> Authority {
        let folder = self.path("receive").join("auth");
        Authority::open(&folder, Arc::new(self.clock.clone())).unwrap()
    }

    fn setup_token(&self, tenant: &str, syncs: &[&str]) -> Secret {
        let syncs = syncs.iter().map(|sync| (*sync).to_owned()).collect();
        self.tokens().setup_token(tenant, syncs).unwrap()
    }

    fn bearer(&self, tenant: &str, syncs: &[&str], life: u64) -> Secret {
        let syncs = syncs.iter().map(|sync| (*sync).to_owned()).collect();
        self.tokens()
            .access_token("a client", (tenant, &syncs), Duration::from_secs(life))
            .unwrap()
    }

    fn http(&self, attempts: u32) -> HttpConfig {
        let mut config = HttpConfig::default();
        config.ca_file = Some(self.path("ca.pem"));
        config.retry.attempts = attempts;
        config.retry.pause = Duration::from_millis(10);
        config
    }

    /// Whoever sends one request and no other for it.
    fn caller(&self, running: &Running, token: &Secret) -> Caller {
        let url = running.url().parse().unwrap();
        let transport = Stack::new(Service::new("the receiver"), self.http(1))
            .sign_in(&url, Arc::new(Fixed::bearer(token)))
            .build()
            .unwrap();
        Caller {
            transport,
            url: running.url(),
        }
    }

    /// A sender that keeps what it must know in the folder of that name.
    pub(super) async fn sender(&self, running: &Running, name: &str, proof: &str) -> UploadSink {
        let text = format!(
            "data_sync_api_url = '{url}'\n{proof}\n[http]\nca_file = 'ca.pem'\n\
             retry = {{ attempts = 5, pause = '10ms' }}\n",
            url = running.url(),
        )
        .replace("$URL", &running.url());
        let section = Section::new("sink.test".to_owned(), toml::from_str(&text).unwrap());
        let mut settings = UploadSettings::read(section, self.folder.path()).unwrap();
        settings.identity = self.path(name);
        UploadSink::open(settings, Arc::new(self.clock.clone()))
            .await
            .unwrap()
    }

    /// A sender of the tenant acme that enrols.
    pub(super) async fn enrolling(&self, running: &Running, name: &str) -> UploadSink {
        let token = self.setup_token("acme", &["lab", "hr"]);
        self.sender(running, name, &enrolment(&token)).await
    }

    pub(super) async fn held(
        &self,
        file: &str,
        id: &DatasetId,
        schema: &Arc<Schema>,
    ) -> Option<RangeDigest> {
        let mut repository = Repository::sqlite(&self.path(file)).await.unwrap();
        let state = repository.verify(id, schema).await.unwrap()?;
        Some(RangeDigest {
            rows: state.rows,
            digest: state.digest,
        })
    }
}

fn enrolment(token: &Secret) -> String {
    format!(
        "auth_service_url = '$URL/auth'\nclient_cert_token = '{}'",
        token.expose()
    )
}

struct Caller {
    transport: Arc<dyn Transport>,
    url: String,
}

impl Caller {
    async fn get(&self, path: &str) -> Result<Response, Error> {
        let url = format!("{}{path}", self.url).parse().unwrap();
        self.transport.send(Request::get(url)).await
    }

    async fn post(&self, path: &str, ty: &str, body: Vec<u8>) -> Result<Response, Error> {
        let url = format!("{}{path}", self.url).parse().unwrap();
        let mut request = Request::post(url, ty, body).unwrap();
        if ty == crate::upload::NDJSON {
            request = request.header("content-encoding", "zstd").unwrap();
        }
        self.transport.send(request).await
    }

    async fn json(&self, path: &str, body: serde_json::Value) -> Result<Response, Error> {
        self.post(path, "application/json", body.to_string().into())
            .await
    }
}

/// Status and code of a refusal.
fn refusal<T>(outcome: Result<T, Error>) -> (u16, String) {
    let error = outcome.err().expect("it is refused");
    let refusal = Refusal::of(&error).unwrap_or_else(|| panic!("no reply: {error:#}"));
    (
        refusal.status.as_u16(),
        refusal.code.clone().unwrap_or_default(),
    )
}

async fn body(response: Response) -> serde_json::Value {
    let bytes = response.bytes(1 << 20).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// A certificate request for a key that nobody keeps.
fn csr() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::default();
    params.serialize_request(&key).unwrap().pem().unwrap()
}
