//! What a person sets.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_nats::{ConnectOptions, ServerAddr};
use connector_core::{Error, ErrorKind, Result, Secret};
use connector_http::{ClientCertificate, HttpConfig, Thumbprint};
use serde::{Deserialize, Deserializer, de};

use super::subject;

/// Says which NATS servers and which stream change events go to. In configuration files the table
/// `[sink.NAME]` with `kind = "jetstream"`.
///
/// ```
/// use datasync::JetStreamConfig;
///
/// let mut config = JetStreamConfig::new("nats://nats.acme.local:4222");
/// config.replicas = 3;
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct JetStreamConfig {
    /// Addresses of servers of one cluster, `"nats://host:4222"` each, or `"tls://host:4222"` where
    /// TLS is a must. In configuration one address, or a list. No default.
    #[serde(deserialize_with = "one_or_more")]
    pub servers: Vec<String>,

    /// The stream. It is made when there is none of that name. Default: `INVENTORY`.
    pub stream: String,

    /// What subjects begin with: one word, or several with points between. Default: `inventory`, so
    /// that the events of the data set `devices` of connector `hr` have the subject
    /// `inventory.hr.devices`.
    pub subject: String,

    /// Who it signs in as, with `password`. Default: nobody.
    pub user: Option<String>,

    /// The password of `user`.
    pub password: Option<Secret>,

    /// A token to sign in with. Default: none.
    pub token: Option<Secret>,

    /// The text of a credentials file (`.creds`), best as `{ file = "datasync.creds" }`. Default:
    /// none.
    pub credentials: Option<Secret>,

    /// The seed of an nkey of a user (`SU…`). Default: none.
    pub nkey: Option<Secret>,

    /// Whether TLS is used even if neither address nor server asks for it. Default: false.
    pub require_tls: bool,

    /// A file of certificates (PEM) that are trusted besides those of the system. Default: none.
    pub ca_file: Option<PathBuf>,

    /// The SHA-256 thumbprint of the servers' certificate, which is then known by nothing else.
    /// Default: none.
    pub thumbprint: Option<Thumbprint>,

    /// The certificate that the servers know this program by, for mutual TLS. Default: none.
    pub client_certificate: Option<ClientCertificate>,

    /// How many servers of the cluster keep the stream, 1 to 5. A stream that exists has so many at
    /// least. Default: 1.
    pub replicas: usize,

    /// How long the server knows an event again that is sent again, and drops it. A stream that
    /// exists has a window as long at least. Longer than `timeout`. Default: 2 hours, which is twice
    /// the default of `every`: what one cycle could not deliver, the next one sends again.
    #[serde(deserialize_with = "duration")]
    pub duplicates: Duration,

    /// How many events may be on their way, sent and not acknowledged. Default: 512.
    pub max_pending: usize,

    /// How long the server may take to acknowledge an event, which is sent again meanwhile, or to
    /// answer a question. Default: 30 seconds.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

/// A setting, and what is wrong with it.
pub(in crate::sink) type Wrong = (&'static str, String);

impl JetStreamConfig {
    /// Names a server and leaves the rest at its default.
    pub fn new(server: &str) -> Self {
        Self {
            servers: vec![server.to_owned()],
            ..Self::default()
        }
    }

    /// Makes paths that are relative begin at a folder.
    pub fn relative_to(&mut self, folder: &Path) {
        if let Some(file) = &mut self.ca_file {
            *file = folder.join(&file);
        }
        if let Some(own) = &mut self.client_certificate {
            own.certificate = folder.join(&own.certificate);
        }
    }

    /// Finds what is wrong, whatever the server says.
    pub(in crate::sink) fn check(&self) -> Result<(), Wrong> {
        let wrong = |setting, message: &str| Err((setting, message.to_owned()));
        self.addresses()?;
        let unfit = |c: char| !c.is_ascii_graphic() || ".*>/\\".contains(c);
        if self.stream.is_empty() || self.stream.contains(unfit) {
            let message = "a stream's name is made of ASCII letters, digits, `_` and `-`";
            return wrong("stream", message);
        }
        if !self.subject.split('.').all(subject::is_plain) {
            let message = "what subjects begin with is made of ASCII letters, digits, `_` and `-`, \
                           with points between the words";
            return wrong("subject", message);
        }
        if self.user.is_some() != self.password.is_some() {
            return wrong("user", "`user` and `password` belong together");
        }
        let ways = [
            self.user.is_some(),
            self.token.is_some(),
            self.credentials.is_some(),
            self.nkey.is_some(),
        ];
        if ways.iter().filter(|way| **way).count() > 1 {
            let message =
                "only one of `user`, `token`, `credentials` and `nkey` is used to sign in";
            return wrong("user", message);
        }
        if self.ca_file.is_some() && self.thumbprint.is_some() {
            let message = "a server is known either by its `thumbprint` or by an authority in \
                           `ca_file`";
            return wrong("thumbprint", message);
        }
        if !(1..=5).contains(&self.replicas) {
            return wrong("replicas", "a stream has 1 to 5");
        }
        if self.duplicates <= self.timeout {
            let message = "must be longer than `timeout`, within which events are sent again";
            return wrong("duplicates", message);
        }
        if self.timeout.is_zero() {
            return wrong("timeout", "at least \"1s\" makes sense");
        }
        if self.max_pending == 0 {
            return wrong("max_pending", "at least 1 is needed");
        }
        Ok(())
    }

    /// Reads the addresses. What is wrong with one is told without it: a password may stand there.
    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>, Wrong> {
        let wrong = |message: &str| Err(("servers", message.to_owned()));
        if self.servers.is_empty() {
            return wrong("the setting is missing");
        }
        let mut addresses = Vec::new();
        for server in &self.servers {
            match server.parse::<ServerAddr>() {
                Ok(address) if address.is_websocket() || address.host().is_empty() => {}
                Ok(address) if address.has_user_pass() || address.password().is_some() => {
                    return wrong("who signs in is said by `user` and `password`, or by `token`");
                }
                Ok(address) => {
                    addresses.push(address);
                    continue;
                }
                Err(_) => {}
            }
            return wrong("the address of a server begins with `nats://` or `tls://`");
        }
        Ok(addresses)
    }

    /// The addresses as text.
    pub(super) fn shown(&self) -> String {
        self.servers.join(", ")
    }

    /// Where events go: two sinks that have the same would be in each other's way.
    pub(in crate::sink) fn place(&self) -> String {
        format!("{} {} {}", self.shown(), self.stream, self.subject)
    }

    /// The part of the settings that TLS is made of.
    pub(super) fn tls(&self) -> HttpConfig {
        let mut tls = HttpConfig::default();
        tls.ca_file.clone_from(&self.ca_file);
        tls.thumbprint.clone_from(&self.thumbprint);
        tls.client_certificate.clone_from(&self.client_certificate);
        tls
    }

    /// Adds what it signs in with.
    pub(super) fn sign_in(&self, mut options: ConnectOptions) -> Result<ConnectOptions> {
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            options = options.user_and_password(user.clone(), password.expose().to_owned());
        }
        if let Some(token) = &self.token {
            options = options.token(token.expose().to_owned());
        }
        if let Some(seed) = &self.nkey {
            options = options.nkey(seed.expose().to_owned());
        }
        if let Some(credentials) = &self.credentials {
            // The cause might show what stands there.
            options = options.credentials(credentials.expose()).map_err(|_| {
                Error::new(
                    ErrorKind::Config,
                    "`credentials` is not the text of a credentials file, with a JWT and the seed \
                     of an nkey",
                )
            })?;
        }
        Ok(options)
    }
}

impl Default for JetStreamConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            stream: "INVENTORY".to_owned(),
            subject: "inventory".to_owned(),
            user: None,
            password: None,
            token: None,
            credentials: None,
            nkey: None,
            require_tls: false,
            ca_file: None,
            thumbprint: None,
            client_certificate: None,
            replicas: 1,
            duplicates: Duration::from_hours(2),
            max_pending: 512,
            timeout: Duration::from_secs(30),
        }
    }
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "not an address such as \"nats://host:4222\", nor a list of them"
    )]
    enum Servers {
        One(String),
        More(Vec<String>),
    }
    Ok(match Servers::deserialize(deserializer)? {
        Servers::One(server) => vec![server],
        Servers::More(servers) => servers,
    })
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|_| de::Error::custom("not a duration such as \"30s\" or \"2h\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> JetStreamConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn defaults_are_good() {
        let config = read("servers = \"nats://127.0.0.1\"");
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.addresses().unwrap()[0].port(), 4222);
        assert_eq!((config.stream.as_str(), config.replicas), ("INVENTORY", 1));
        let config = read("servers = [\"nats://a\", \"tls://b:4443\"]\nduplicates = \"1d\"");
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.duplicates, Duration::from_hours(24));
    }

    #[test]
    fn what_is_wrong_names_the_setting_and_shows_no_secret() {
        for (text, setting, part) in [
            ("", "servers", "missing"),
            ("servers = []", "servers", "missing"),
            ("servers = \"http://a\"", "servers", "nats://"),
            ("servers = \"ws://a\"", "servers", "nats://"),
            ("servers = \"nats://u:hunter2@a\"", "servers", "`password`"),
            ("servers = \"nats://hunter2@a\"", "servers", "`token`"),
            ("servers = \"nats://[hunter2\"", "servers", "nats://"),
            ("servers = \"a\"\nstream = \"a.b\"", "stream", "letters"),
            ("servers = \"a\"\nstream = \"\"", "stream", "letters"),
            ("servers = \"a\"\nsubject = \"a..b\"", "subject", "points"),
            ("servers = \"a\"\nsubject = \"a.*\"", "subject", "points"),
            ("servers = \"a\"\nsubject = \"\"", "subject", "points"),
            ("servers = \"a\"\nuser = \"u\"", "user", "`password`"),
            (
                "servers = \"a\"\ntoken = \"hunter2\"\nnkey = \"hunter2\"",
                "user",
                "only one",
            ),
            ("servers = \"a\"\nreplicas = 6", "replicas", "1 to 5"),
            (
                "servers = \"a\"\nduplicates = \"30s\"",
                "duplicates",
                "`timeout`",
            ),
            (
                "servers = \"a\"\nmax_pending = 0",
                "max_pending",
                "at least",
            ),
            ("servers = \"a\"\ntimeout = \"0s\"", "timeout", "at least"),
        ] {
            let config = read(text);
            let (found, message) = config.check().unwrap_err();
            assert_eq!(found, setting, "{text}");
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
        let config = read("servers = \"a\"\npassword = \"hunter2\"\nuser = \"u\"");
        assert!(!format!("{config:?}").contains("hunter2"));
        let mut config = JetStreamConfig::new("a");
        config.credentials = Some(Secret::new("hunter2"));
        let error = config.sign_in(ConnectOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error:#?}").contains("hunter2"));
    }
}
