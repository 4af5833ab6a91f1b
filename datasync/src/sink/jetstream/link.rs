//! The connection, and what a server is asked over it.

use std::{future::Future, io, time::Duration};

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError,
    connection::State,
    jetstream::{
        self, Context, ErrorCode,
        context::{
            ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind, PublishAckFuture,
            PublishError,
        },
        message::PublishMessage,
        stream::{Config, LastRawMessageErrorKind, RetentionPolicy, StorageType},
    },
    rustls,
};
use connector_core::{CycleId, Error, ErrorKind, Result};
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{config::JetStreamConfig, subject};
use crate::sink::blocking::blocking;

/// How long one answer is waited for before the same is sent again.
const ROUND: Duration = Duration::from_secs(5);

/// How long it waits before it asks a server again that can't answer now.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// A connection to a server of the cluster, which is made again by itself when it is cut.
pub(super) struct Link {
    client: Client,
    context: Context,
    signs: watch::Receiver<Signs>,
    patience: Duration,
    stream: String,
}

/// What the connection tells by itself.
#[derive(Default)]
struct Signs {
    /// How often it was made.
    connections: u64,
    /// How often the account had no right to something, and to what the last time.
    refusals: u64,
    refusal: String,
}

impl Signs {
    /// Takes notice of an event; tells whether it was worth it.
    fn note(&mut self, event: Event) -> bool {
        match event {
            Event::Connected => self.connections += 1,
            Event::ServerError(ServerError::Other(text))
                if text.to_lowercase().contains("permissions violation") =>
            {
                self.refusals += 1;
                self.refusal = text;
            }
            _ => return false,
        }
        true
    }
}

/// Why there is no answer.
enum Trouble {
    /// It may come to an end by itself.
    Passing(String),
    Lasting(Error),
}

/// The last message of a subject.
pub(super) struct Last {
    /// Its place in the stream.
    pub(super) place: u64,
    /// None when somebody else has written it.
    pub(super) event: Option<LastEvent>,
}

#[derive(Deserialize)]
pub(super) struct LastEvent {
    pub(super) cycle: CycleId,
    op: String,
}

impl LastEvent {
    /// Tells whether it is the end of its cycle.
    pub(super) fn completes(&self) -> bool {
        self.op == "snapshot_complete"
    }
}

impl Link {
    /// Connects and signs in.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when no server answers, [`ErrorKind::Auth`] when it does not take
    /// the credential, [`ErrorKind::Config`] when the settings of TLS do not do.
    pub(super) async fn open(config: &JetStreamConfig) -> Result<Self> {
        let wrong = |(setting, message): (&str, String)| {
            Error::new(ErrorKind::Config, format!("`{setting}`: {message}"))
        };
        let addresses = config.addresses().map_err(wrong)?;
        let tls = config.tls();
        let tls = blocking(move || tls.tls()).await?;
        let (sender, mut signs) = watch::channel(Signs::default());
        let options = ConnectOptions::new()
            .name("datasync")
            .tls_client_config(tls)
            .require_tls(config.require_tls)
            .event_callback(move |event| {
                sender.send_if_modified(|signs| signs.note(event));
                std::future::ready(())
            });
        let options = config.sign_in(options)?;
        let connected = options.connect(addresses).await;
        let client = connected.map_err(|error| refused_connection(&error, config))?;
        // Told by a task of its own, so perhaps later.
        let _ = signs.wait_for(|signs| signs.connections > 0).await;
        let context = ContextBuilder::new()
            .timeout(ROUND)
            // Acknowledgements that nobody waits for any more count until this is over.
            .ack_timeout(ROUND)
            .max_ack_inflight(4 * config.max_pending)
            .build(client.clone());
        Ok(Self {
            client,
            context,
            signs,
            patience: config.timeout,
            stream: config.stream.clone(),
        })
    }

    /// Tells whether it is connected at the moment.
    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// How long something may take to be answered.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// How large a message may be for the server, in bytes.
    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// How often it was connected.
    pub(super) fn connections(&self) -> u64 {
        self.signs.borrow().connections
    }

    /// How often the account lacked a right.
    pub(super) fn refusals(&self) -> u64 {
        self.signs.borrow().refusals
    }

    /// Waits until it is connected more often than so.
    pub(super) async fn connected_after(&self, connections: u64) {
        self.told(|signs| signs.connections > connections).await;
    }

    /// Waits until the account lacks a right more often than so, and says which.
    pub(super) async fn refused_after(&self, refusals: u64) -> Error {
        let refusal = self.told(|signs| signs.refusals > refusals).await;
        let message = "the account at the NATS server lacks a right: grant it";
        Error::new(ErrorKind::Permission, message).with_source(io::Error::other(refusal))
    }

    /// Waits for a sign, and returns what was refused last.
    async fn told(&self, sign: impl FnMut(&Signs) -> bool) -> String {
        let mut signs = self.signs.clone();
        let told = signs.wait_for(sign).await.ok();
        match told.map(|signs| signs.refusal.clone()) {
            Some(refusal) => refusal,
            // The connection is gone for good, and whoever asks it hears of that.
            None => std::future::pending().await,
        }
    }

    pub(super) async fn publish(
        &self,
        subject: &str,
        message: PublishMessage,
    ) -> Result<PublishAckFuture, PublishError> {
        self.context.send_publish(subject.to_owned(), message).await
    }

    /// Finds the stream, or makes it, and checks that a subject's events can be kept there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting that does not fit the stream.
    pub(super) async fn stream(&self, config: &JetStreamConfig, subject: &str) -> Result<()> {
        let found = self.ask(|context| find(context, config.stream.clone()));
        let stream = match found.await? {
            Some(stream) => stream,
            None => self.ask(|context| make(context, wanted(config))).await?,
        };
        check(config, &stream, subject).map_err(|error| error.with("stream", &config.stream))
    }

    /// Reads the last message of a subject.
    pub(super) async fn last(&self, subject: &str) -> Result<Option<Last>> {
        let (stream, subject) = (&self.stream, subject.to_owned());
        self.ask(|context| last(context, stream.clone(), subject.clone()))
            .await
    }

    /// Asks, again and again as long as the server can't answer and patience lasts.
    async fn ask<T, F>(&self, request: impl Fn(Context) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let refusals = self.refusals();
        let started = Instant::now();
        loop {
            let answer = tokio::select! {
                biased;
                answer = request(self.context.clone()) => answer,
                error = self.refused_after(refusals) => return Err(error),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(_)) if started.elapsed() < self.patience => {
                    sleep(PAUSE).await;
                }
                Err(Trouble::Passing(cause)) => {
                    let message = "JetStream does not answer: is it enabled on the NATS server, \
                                   and for the account?";
                    return Err(Error::new(ErrorKind::Unavailable, message)
                        .with("stream", &self.stream)
                        .with_source(io::Error::other(cause)));
                }
            }
        }
    }
}

async fn find(context: Context, name: String) -> Result<Option<Config>, Trouble> {
    match context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(cause)
                if cause.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            GetStreamErrorKind::JetStream(cause) => Err(trouble(&cause)),
            _ => Err(Trouble::Passing(error.to_string())),
        },
    }
}

async fn make(context: Context, wanted: Config) -> Result<Config, Trouble> {
    let name = wanted.name.clone();
    match context.create_stream(wanted).await {
        Ok(stream) => {
            tracing::info!("Made the stream {name}");
            Ok(stream.cached_info().config.clone())
        }
        Err(error) => Err(match error.kind() {
            CreateStreamErrorKind::JetStream(cause) if !passes(&cause) => Trouble::Lasting(
                Error::new(
                    ErrorKind::Config,
                    "the stream can't be made; check `stream`, `subject`, `replicas` and \
                     `duplicates`, or make it yourself",
                )
                .with("stream", name)
                .with_source(cause),
            ),
            _ => Trouble::Passing(error.to_string()),
        }),
    }
}

async fn last(context: Context, stream: String, subject: String) -> Result<Option<Last>, Trouble> {
    let found = match context.get_stream_no_info(stream).await {
        Ok(stream) => stream.get_last_raw_message_by_subject(&subject).await,
        Err(error) => return Err(Trouble::Passing(error.to_string())),
    };
    match found {
        Ok(message) => Ok(Some(Last {
            place: message.sequence,
            event: serde_json::from_slice(&message.payload).ok(),
        })),
        Err(error) => match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => Ok(None),
            LastRawMessageErrorKind::JetStream(cause) => Err(trouble(&cause)),
            _ => Err(Trouble::Passing(error.to_string())),
        },
    }
}

/// The stream that is made when there is none.
fn wanted(config: &JetStreamConfig) -> Config {
    Config {
        name: config.stream.clone(),
        description: Some("Change events of inventory data sets".to_owned()),
        subjects: vec![format!("{}.>", config.subject)],
        storage: StorageType::File,
        num_replicas: config.replicas,
        duplicate_window: config.duplicates,
        ..Config::default()
    }
}

fn check(config: &JetStreamConfig, stream: &Config, subject: &str) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
    if !stream.subjects.iter().any(|f| subject::takes(f, subject)) {
        return wrong(format!(
            "`subject`: the stream does not take the subject {subject}; add it to its subjects, or \
             name another stream in `stream`"
        ));
    }
    if stream.duplicate_window < config.duplicates {
        return wrong(format!(
            "`duplicates`: the stream knows what is sent again for {} and not for {}; lengthen its \
             duplicate window, or shorten the setting",
            humantime::format_duration(stream.duplicate_window),
            humantime::format_duration(config.duplicates),
        ));
    }
    if stream.num_replicas < config.replicas {
        return wrong(format!(
            "`replicas`: the stream has {} and not {}; give it more, or lower the setting",
            stream.num_replicas, config.replicas
        ));
    }
    // The last event of each data set tells what the stream holds, and every event counts.
    if stream.retention != RetentionPolicy::Limits {
        return wrong(
            "`stream`: it drops what was read (its retention is not `limits`), and nobody could \
             tell any more what it holds"
                .to_owned(),
        );
    }
    if stream.max_messages_per_subject > 0 {
        return wrong(
            "`stream`: it keeps only so many messages a subject, so it would drop events; lift \
             that limit"
                .to_owned(),
        );
    }
    if stream.no_ack || stream.sealed || stream.mirror.is_some() {
        return wrong("`stream`: it takes no messages, or does not acknowledge them".to_owned());
    }
    Ok(())
}

/// Tells whether JetStream can't do something just now: leaders are being elected, peers are down.
pub(super) fn passes(error: &jetstream::Error) -> bool {
    let off = [
        ErrorCode::JETSTREAM_NOT_ENABLED,
        ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
    ];
    error.code() == 503 && !off.contains(&error.error_code())
}

fn trouble(error: &jetstream::Error) -> Trouble {
    if passes(error) {
        return Trouble::Passing(error.to_string());
    }
    let message = "the NATS server refuses what the stream is asked";
    Trouble::Lasting(Error::new(ErrorKind::Sink, message).with_source(error.clone()))
}

fn refused_connection(error: &ConnectError, config: &JetStreamConfig) -> Error {
    let (kind, message) = match error.kind() {
        ConnectErrorKind::AuthorizationViolation => (
            ErrorKind::Auth,
            "the NATS server does not accept the credential: check `user` and `password`, `token`, \
             `credentials` or `nkey`, whichever it asks for",
        ),
        // The cause may show what can't sign.
        ConnectErrorKind::Authentication => {
            let message = "`nkey` or `credentials` does not hold a seed that can sign";
            return Error::new(ErrorKind::Auth, message);
        }
        ConnectErrorKind::Tls => (ErrorKind::Config, UNTRUSTED),
        _ if is_tls(error) => (ErrorKind::Config, UNTRUSTED),
        _ => (ErrorKind::Unavailable, "no NATS server can be reached"),
    };
    Error::new(kind, message)
        .with("servers", config.shown())
        .with_source(io::Error::other(error.to_string()))
}

const UNTRUSTED: &str = "there is no trusted connection to the NATS server: check `ca_file` or \
                         `thumbprint`, and the name in its address";

/// Tells whether TLS failed, which travels inside an error of input and output.
fn is_tls(error: &ConnectError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if error.is::<rustls::Error>()
            || inner
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                .is_some()
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "inventory.hr.devices";

    fn problem(change: impl FnOnce(&mut Config)) -> String {
        let config = JetStreamConfig::new("nats://a");
        let mut stream = wanted(&config);
        assert!(check(&config, &stream, SUBJECT).is_ok());
        change(&mut stream);
        let error = check(&config, &stream, SUBJECT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn a_stream_that_does_not_fit_names_the_setting() {
        let day = Duration::from_hours(24);
        assert!(problem(|s| s.subjects = vec!["inventory.vc.>".into()]).starts_with("`subject`"));
        let short = problem(|s| s.duplicate_window = Duration::from_mins(2));
        assert!(short.starts_with("`duplicates`: the stream knows what is sent again for 2m"));
        assert!(problem(|s| s.num_replicas = 0).starts_with("`replicas`"));
        for change in [
            (|s| s.retention = RetentionPolicy::WorkQueue) as fn(&mut Config),
            |s| s.max_messages_per_subject = 1,
            |s| s.no_ack = true,
            |s| s.sealed = true,
        ] {
            assert!(problem(change).starts_with("`stream`"));
        }
        let config = JetStreamConfig::new("nats://a");
        let mut stream = wanted(&config);
        (stream.duplicate_window, stream.num_replicas) = (day, 3);
        stream.subjects = vec!["other".into(), "inventory.hr.*".into()];
        assert!(check(&config, &stream, SUBJECT).is_ok());
    }

    #[test]
    fn a_lacking_right_is_taken_notice_of() {
        let mut signs = Signs::default();
        let text = "Permissions Violation for Publish to \"$JS.API.INFO\"";
        assert!(signs.note(Event::ServerError(ServerError::Other(text.to_owned()))));
        assert!(!signs.note(Event::ServerError(ServerError::Other("else".to_owned()))));
        assert!(!signs.note(Event::Disconnected));
        assert!(signs.note(Event::Connected));
        assert_eq!((signs.refusals, signs.connections), (1, 1));
        assert_eq!(signs.refusal, text);
    }
}
