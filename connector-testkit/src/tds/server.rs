//! The scripted server: what it is told to answer, and what it saw.

use std::{
    fmt, io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    connection,
    reply::Reply,
    request::{Login, Request},
    token::ServerError,
};
use crate::certificate::{Authority, Certificate};

/// What a server does about encryption: [MS-TDS] 2.2.6.5 PRELOGIN, option ENCRYPTION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Does as the client asks: everything, the login alone, or nothing.
    Offered,
    /// Forces encryption of everything; a client that can't is sent away.
    Required,
    /// Has none, as an old server without a certificate.
    NotSupported,
    /// TDS 8.0: TLS before the first packet, with the protocol `tds/8.0`. Others are hung up on.
    Strict,
}

/// What a [`TdsServer`] is, before it starts.
///
/// ```no_run
/// # async fn test() {
/// use connector_testkit::{cells, tds::{Column, Reply, Script, ServerError, SqlType}};
///
/// let server = Script::new()
///     .login("reader", "Passw0rd!")
///     .on("FROM dbo.v_Device", Reply::columns([
///         Column::new("ResourceID", SqlType::Int).not_null(),
///         Column::new("Name", SqlType::NVarChar(256)),
///     ]).row(cells![1, "PC-1"]).row(cells![2, ()]))
///     .on("FROM dbo.v_Secret", Reply::error(ServerError::new(229, 14, 5, "Denied.")))
///     .start()
///     .await;
/// # drop(server);
/// # }
/// ```
#[must_use]
pub struct Script {
    pub(super) logins: Vec<(String, String)>,
    pub(super) refusal: Option<ServerError>,
    pub(super) databases: Vec<String>,
    pub(super) encryption: Encryption,
    pub(super) certificate: Option<Certificate>,
    pub(super) route: Option<(String, u16)>,
    pub(super) ignores_attention: bool,
    pub(super) packet_size: usize,
    pub(super) server_name: String,
    rules: Vec<Rule>,
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

type MakeReply = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// The answer to statements that contain a text.
struct Rule {
    /// In lower case, spaces single.
    text: String,
    reply: MakeReply,
    /// How often it still answers; `None` is always.
    times: Option<usize>,
}

impl Script {
    /// Starts a script: any login, any database, encryption as the client likes it, `SET` and
    /// transactions are done, every other statement is error 50000.
    pub fn new() -> Self {
        Self {
            logins: Vec::new(),
            refusal: None,
            databases: Vec::new(),
            encryption: Encryption::Offered,
            certificate: None,
            route: None,
            ignores_attention: false,
            packet_size: 32767,
            server_name: "TEST".to_owned(),
            rules: Vec::new(),
        }
    }

    /// Admits this user with this password, and no others but those named so; they get 18456.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.logins.push((user.to_owned(), password.to_owned()));
        self
    }

    /// Refuses every login with an error, such as 18456 or 18452.
    pub fn refuse(mut self, error: ServerError) -> Self {
        self.refusal = Some(error);
        self
    }

    /// Has this database, and no others but those named so; they get 4060.
    pub fn database(mut self, name: &str) -> Self {
        self.databases.push(name.to_owned());
        self
    }

    /// Sets what it does about encryption; [`Encryption::Offered`] by default.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// Presents this certificate; by default one for `localhost` and `127.0.0.1` that the server's
    /// own authority issued ([`TdsServer::authority_pem`]).
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Sends every client elsewhere after its login: [MS-TDS] 2.2.7.9 ENVCHANGE, type 20 Routing.
    pub fn route(mut self, host: &str, port: u16) -> Self {
        self.route = Some((host.to_owned(), port));
        self
    }

    /// Never acknowledges an ATTENTION.
    pub fn ignore_attention(mut self) -> Self {
        self.ignores_attention = true;
        self
    }

    /// Grants no larger packets than these bytes, 512 at least; 32767 by default.
    pub fn packet_size(mut self, bytes: usize) -> Self {
        self.packet_size = bytes.clamp(512, 32767);
        self
    }

    /// Sets the name that messages carry; `TEST` by default.
    pub fn server_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.server_name);
        self
    }

    /// Answers statements that contain this text, whatever its case and spaces. What is said later
    /// is asked first.
    pub fn on(mut self, text: &str, reply: Reply) -> Self {
        self.rules.push(Rule::always(text, reply));
        self
    }

    /// Answers the next statement that contains this text; see [`on`](Self::on).
    pub fn once(mut self, text: &str, reply: Reply) -> Self {
        self.rules.push(Rule::once(text, reply));
        self
    }

    /// Answers statements that contain this text by what they say, such as their parameters; see
    /// [`on`](Self::on).
    pub fn on_each(
        mut self,
        text: &str,
        reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.rules.push(Rule::new(text, Arc::new(reply), None));
        self
    }

    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn start(mut self) -> TdsServer {
        let authority = Authority::new();
        let issued = || authority.issue(&["localhost", "127.0.0.1"]);
        let certificate = self.certificate.take().unwrap_or_else(issued);
        let rules = Mutex::new(std::mem::take(&mut self.rules));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("127.0.0.1 has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            script: self,
            certificate,
            rules,
            seen: watch::Sender::new(Seen::default()),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        TdsServer {
            port: address.port(),
            authority,
            shared,
            _tasks: tasks,
        }
    }
}

impl Rule {
    fn new(text: &str, reply: MakeReply, times: Option<usize>) -> Self {
        let text = normalized(text);
        Self { text, reply, times }
    }

    fn always(text: &str, reply: Reply) -> Self {
        Self::new(text, Arc::new(move |_| reply.clone()), None)
    }

    fn once(text: &str, reply: Reply) -> Self {
        Self::new(text, Arc::new(move |_| reply.clone()), Some(1))
    }
}

fn normalized(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// What a server saw.
#[derive(Clone, Default)]
struct Seen {
    logins: Vec<Login>,
    requests: Vec<Request>,
    attentions: usize,
    /// Connections that were opened, and those of them that are over.
    opened: usize,
    closed: usize,
}

pub(super) struct Shared {
    pub(super) script: Script,
    pub(super) certificate: Certificate,
    rules: Mutex<Vec<Rule>>,
    seen: watch::Sender<Seen>,
}

impl Shared {
    pub(super) fn saw_login(&self, login: Login) {
        self.seen.send_modify(|seen| seen.logins.push(login));
    }

    pub(super) fn saw_attention(&self) {
        self.seen.send_modify(|seen| seen.attentions += 1);
    }

    /// Records a statement and returns what answers it.
    pub(super) fn answer(&self, request: Request) -> Reply {
        let reply = self.reply(&request);
        self.seen.send_modify(|seen| seen.requests.push(request));
        reply
    }

    fn reply(&self, request: &Request) -> Reply {
        let text = normalized(&request.text);
        let mut rules = self.rules();
        let rule = rules
            .iter_mut()
            .rev()
            .find(|rule| rule.times != Some(0) && text.contains(&rule.text));
        if let Some(rule) = rule {
            rule.times = rule.times.map(|times| times - 1);
            return (rule.reply)(request);
        }
        let setup = ["set ", "begin tran", "commit", "rollback", "if @@trancount"];
        if setup.iter().any(|start| text.starts_with(start)) && !text.contains("select") {
            return Reply::done();
        }
        let message = format!("no reply is scripted for: {text}");
        Reply::error(ServerError::new(50000, 16, 1, message))
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let mut number = 0;
        shared.seen.send_modify(|seen| {
            seen.opened += 1;
            number = seen.opened;
        });
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A client that leaves is the test's business, which sees it in the counts.
            let _: io::Result<()> = serve(tcp, number, &shared).await;
            shared.seen.send_modify(|seen| seen.closed += 1);
        });
    }
}

async fn serve(tcp: TcpStream, number: usize, shared: &Shared) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    connection::serve(tcp, number, shared).await
}

/// A server that speaks SQL Server's protocol on a port of 127.0.0.1, and answers as scripted.
///
/// It follows the published protocol document, [MS-TDS]; what the real peer
/// ([`SqlServerPeer`](crate::peer::SqlServerPeer)) can do too is compared byte for byte by the
/// kit's own tests. The server and its connections end when this is dropped.
pub struct TdsServer {
    port: u16,
    authority: Authority,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl TdsServer {
    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the certificate of the authority to trust, as PEM, unless the script set a
    /// certificate of its own.
    pub fn authority_pem(&self) -> String {
        self.authority.pem()
    }

    /// Answers statements that contain this text from now on; see [`Script::on`].
    pub fn on(&self, text: &str, reply: Reply) {
        self.shared.rules().push(Rule::always(text, reply));
    }

    /// Answers the next statement that contains this text; see [`Script::on`].
    pub fn once(&self, text: &str, reply: Reply) {
        self.shared.rules().push(Rule::once(text, reply));
    }

    /// Returns the logins that arrived, refused ones too.
    pub fn logins(&self) -> Vec<Login> {
        self.shared.seen.borrow().logins.clone()
    }

    /// Returns the statements that arrived, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen.borrow().requests.clone()
    }

    /// Returns how many connections were opened since the start.
    pub fn connections(&self) -> usize {
        self.shared.seen.borrow().opened
    }

    /// Returns how many ATTENTIONs arrived: [MS-TDS] 2.2.1.7.
    pub fn attentions(&self) -> usize {
        self.shared.seen.borrow().attentions
    }

    /// Returns once so many statements that contain this text have arrived.
    pub async fn requested(&self, text: &str, times: usize) {
        let text = normalized(text);
        let matches = |request: &&Request| normalized(&request.text).contains(&text);
        self.until(|seen| seen.requests.iter().filter(matches).count() >= times)
            .await;
    }

    /// Returns once so many ATTENTIONs have arrived.
    pub async fn cancelled(&self, times: usize) {
        self.until(|seen| seen.attentions >= times).await;
    }

    /// Returns once every connection that was opened is closed.
    pub async fn all_closed(&self) {
        self.until(|seen| seen.opened == seen.closed).await;
    }

    async fn until(&self, reached: impl FnMut(&Seen) -> bool) {
        // The sender lives as long as this server.
        let _ = self.shared.seen.subscribe().wait_for(reached).await;
    }
}

impl fmt::Debug for TdsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TdsServer(127.0.0.1:{})", self.port)
    }
}
