//! One connection: negotiation, login, statements.

use std::io;

use tokio::net::TcpStream;

use super::{
    reply::{Break, MakeRow, Reply, Step},
    request::{self, Login, Request},
    server::{Encryption, Shared},
    stream::{Message, Wire},
    token::{self, Column, Done, LoginAnswer, ServerError, VERSION, status},
};

/// Types of packets: [MS-TDS] 2.2.3.1.1.
const BATCH: u8 = 0x01;
const CALL: u8 = 0x03;
const ATTENTION: u8 = 0x06;
const TRANSACTION: u8 = 0x0E;
const LOGIN: u8 = 0x10;
const PRELOGIN: u8 = 0x12;

/// Options of PRELOGIN: [MS-TDS] 2.2.6.5.
mod option {
    /// Major, minor, build and sub-build of the server.
    pub(super) const VERSION: u8 = 0;
    pub(super) const ENCRYPTION: u8 = 1;
    /// Whether the server is the instance that the client named: 0 is yes.
    pub(super) const INSTANCE: u8 = 2;
    pub(super) const MARS: u8 = 4;
    pub(super) const FEDERATED: u8 = 6;
}

/// Values of PRELOGIN's option ENCRYPTION: [MS-TDS] 2.2.6.5.
mod encrypt {
    pub(super) const OFF: u8 = 0;
    pub(super) const ON: u8 = 1;
    pub(super) const NOT_SUPPORTED: u8 = 2;
    pub(super) const REQUIRED: u8 = 3;
}

/// The largest packets within TLS.
const MOST_WITH_TLS: usize = 16383;
const SELECT: u16 = 0xC1;

pub(super) async fn serve(tcp: TcpStream, number: usize, shared: &Shared) -> io::Result<()> {
    let mut wire = Wire::new(tcp);
    let strict = shared.script.encryption == Encryption::Strict;
    if wire.begins_with_tls().await? != Some(strict) {
        return Ok(());
    }
    if strict {
        wire.accept_tls(&shared.certificate, true).await?;
    }
    let Some(negotiated) = negotiate(&mut wire, shared).await? else {
        return Ok(());
    };
    if negotiated.tunnel {
        wire.accept_tls(&shared.certificate, false).await?;
    }
    let Some(Message {
        kind: LOGIN,
        payload,
    }) = wire.read().await?
    else {
        return Ok(());
    };
    let login = request::login(&payload).map_err(io::Error::other)?;
    shared.saw_login(login.clone());
    if negotiated.login_only {
        wire.leave_tls();
    }
    let encrypted = strict || (negotiated.tunnel && !negotiated.login_only);
    if !admit(&mut wire, shared, &login, encrypted).await? {
        return Ok(());
    }
    statements(wire, number, shared).await
}

struct Negotiated {
    tunnel: bool,
    login_only: bool,
}

/// Answers PRELOGIN; `None` when there is no going on.
async fn negotiate(wire: &mut Wire, shared: &Shared) -> io::Result<Option<Negotiated>> {
    let Some(Message {
        kind: PRELOGIN,
        payload,
    }) = wire.read().await?
    else {
        return Ok(None);
    };
    let asked = request::prelogin(&payload);
    let encryption = asked.iter().find(|(token, _)| *token == option::ENCRYPTION);
    let encryption = encryption.and_then(|(_, data)| data.first().copied());
    let encryption = encryption.unwrap_or(encrypt::NOT_SUPPORTED);
    let wants_all = matches!(encryption, encrypt::ON | encrypt::REQUIRED);
    let answer = match shared.script.encryption {
        Encryption::NotSupported => encrypt::NOT_SUPPORTED,
        Encryption::Offered | Encryption::Required if wants_all => encrypt::ON,
        Encryption::Required => encrypt::REQUIRED,
        Encryption::Offered | Encryption::Strict => encryption,
    };
    let version = [&VERSION[..], &[0, 0]].concat();
    let mut options = vec![
        (option::VERSION, version),
        (option::ENCRYPTION, vec![answer]),
    ];
    // The instance is right, if one was named; the rest is off.
    let others = [option::INSTANCE, option::MARS, option::FEDERATED];
    let others = others
        .into_iter()
        .filter(|token| asked.iter().any(|(o, _)| o == token));
    options.extend(others.map(|token| (token, vec![0])));
    let message = prelogin(&options);
    wire.write(&message).await?;
    wire.finish().await?;
    // One must encrypt what the other can't: that is said, and the end.
    let client_cannot = answer == encrypt::REQUIRED && encryption == encrypt::NOT_SUPPORTED;
    let server_cannot = answer == encrypt::NOT_SUPPORTED && wants_all;
    if client_cannot || server_cannot {
        return Ok(None);
    }
    let strict = shared.script.encryption == Encryption::Strict;
    Ok(Some(Negotiated {
        tunnel: !strict && answer != encrypt::NOT_SUPPORTED,
        login_only: !strict && answer == encrypt::OFF,
    }))
}

/// A PRELOGIN message of options: each a token, a place and a length, and then the end.
fn prelogin(options: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut message = Vec::new();
    let mut place = u16::try_from(5 * options.len() + 1).unwrap_or(u16::MAX);
    for (token, data) in options {
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        message.push(*token);
        message.extend(place.to_be_bytes());
        message.extend(length.to_be_bytes());
        place += length;
    }
    message.push(request::TERMINATOR);
    message.extend(options.iter().flat_map(|(_, data)| data));
    message
}

/// Answers LOGIN7; false when the client has to go.
async fn admit(
    wire: &mut Wire,
    shared: &Shared,
    login: &Login,
    encrypted: bool,
) -> io::Result<bool> {
    let script = &shared.script;
    let mut out = Vec::new();
    let refusals = refusals(shared, login);
    if !refusals.is_empty() {
        for refusal in &refusals {
            token::error(refusal, &script.server_name, &mut out);
        }
        token::done(Done::Statement, status::ERROR, 0, 0, &mut out);
        wire.write(&out).await?;
        wire.finish().await?;
        return Ok(false);
    }
    let asked = usize::try_from(login.packet_size).unwrap_or(usize::MAX);
    let asked = if asked == 0 { 4096 } else { asked.max(512) };
    let most = if encrypted {
        MOST_WITH_TLS
    } else {
        script.packet_size
    };
    let packet_size = asked.min(script.packet_size).min(most);
    let database = if login.database.is_empty() {
        "master"
    } else {
        &login.database
    };
    let answer = LoginAnswer {
        server: &script.server_name,
        database,
        packet_size,
        route: script.route.as_ref(),
        token: login.token.is_some(),
    };
    answer.write(&mut out);
    wire.write(&out).await?;
    wire.finish().await?;
    wire.set_packet_size(packet_size);
    Ok(true)
}

fn refusals(shared: &Shared, login: &Login) -> Vec<ServerError> {
    let script = &shared.script;
    if let Some(refusal) = &script.refusal {
        return vec![refusal.clone()];
    }
    let Login {
        user,
        password,
        database,
        ..
    } = login;
    let failed = ServerError::new(18456, 14, 1, format!("Login failed for user '{user}'."));
    let known =
        |(name, secret): &(String, String)| name.eq_ignore_ascii_case(user) && secret == password;
    if !script.logins.is_empty() && !script.logins.iter().any(known) {
        return vec![failed];
    }
    let has = |name: &String| name.eq_ignore_ascii_case(database);
    if !script.databases.is_empty() && !database.is_empty() && !script.databases.iter().any(has) {
        let message = format!(
            "Cannot open database \"{database}\" requested by the login. The login failed."
        );
        let closed = ServerError::new(4060, 11, 1, message);
        return vec![closed, failed];
    }
    Vec::new()
}

async fn statements(mut wire: Wire, number: usize, shared: &Shared) -> io::Result<()> {
    let mut transaction = [0; 8];
    while let Some(message) = wire.read().await? {
        let request = match message.kind {
            BATCH => request::batch(&message.payload, number).map_err(io::Error::other)?,
            CALL => request::call(&message.payload, number).map_err(io::Error::other)?,
            ATTENTION => {
                // Came after the answer's end.
                shared.saw_attention();
                if !shared.script.ignores_attention {
                    let mut out = Vec::new();
                    token::done(Done::Statement, status::ATTENTION, 0, 0, &mut out);
                    wire.write(&out).await?;
                    wire.finish().await?;
                }
                continue;
            }
            TRANSACTION => {
                let mut out = Vec::new();
                token::done(Done::Statement, status::FINAL, 0, 0, &mut out);
                wire.write(&out).await?;
                wire.finish().await?;
                continue;
            }
            kind => return Err(io::Error::other(format!("a message of type {kind}"))),
        };
        let in_it = request.transaction == transaction;
        let begins = request.text.contains("BEGIN TRAN");
        let mut answer = Answer::new(&request, &mut wire, shared);
        let mut reply = shared.answer(request);
        if !in_it {
            reply = Reply::error(stranger());
        } else if begins {
            transaction = [1; 8];
            token::begun(transaction, &mut answer.out);
        }
        match answer.send(&reply).await? {
            End::Complete => {}
            End::Left => return Ok(()),
            End::Cut => return wire.cut().await,
            End::Reset => return wire.reset(),
        }
    }
    Ok(())
}

/// What a statement is answered that does not name the transaction of its session.
fn stranger() -> ServerError {
    let message = "New request is not allowed to start because it should come with valid \
                   transaction descriptor.";
    ServerError::new(3989, 16, 1, message)
}

/// What becomes of the connection after an answer.
enum End {
    Complete,
    Left,
    Cut,
    Reset,
}

/// What stops an answer that goes on.
enum Stop {
    Cancelled,
    Left,
}

struct Answer<'a> {
    wire: &'a mut Wire,
    shared: &'a Shared,
    /// What a statement's end is written as.
    done: Done,
    columns: Vec<Column>,
    /// Rows of the result so far; `None` outside of one.
    rows: Option<u64>,
    out: Vec<u8>,
}

impl<'a> Answer<'a> {
    fn new(request: &Request, wire: &'a mut Wire, shared: &'a Shared) -> Self {
        let done = if request.procedure.is_some() {
            Done::InProcedure
        } else {
            Done::Statement
        };
        Self {
            wire,
            shared,
            done,
            columns: Vec::new(),
            rows: None,
            out: Vec::new(),
        }
    }

    async fn send(&mut self, reply: &Reply) -> io::Result<End> {
        let implied = Step::Done { with_count: true };
        let mut steps: Vec<_> = reply.steps.iter().collect();
        if reply.needs_done() {
            steps.push(&implied);
        }
        for (number, step) in steps.iter().enumerate() {
            let is_last = number + 1 == steps.len();
            let stopped = match step {
                Step::Break(how) => return self.break_off(*how).await,
                Step::Wait(gate) => {
                    self.flush().await?;
                    self.unless_stopped(gate.pass()).await?
                }
                Step::Rows { count, make } => self.rows(*count, make).await?,
                step => {
                    self.write_step(step, is_last);
                    self.write().await?
                }
            };
            match stopped {
                None => {}
                Some(Stop::Left) => return Ok(End::Left),
                Some(Stop::Cancelled) => return self.acknowledge().await,
            }
        }
        if matches!(self.done, Done::InProcedure) {
            token::return_status(&mut self.out);
            token::done(Done::Procedure, status::FINAL, 0, 0, &mut self.out);
        }
        self.finish().await
    }

    fn write_step(&mut self, step: &Step, is_last: bool) {
        let more = match self.done {
            Done::Statement if is_last => status::FINAL,
            _ => status::MORE,
        };
        match step {
            Step::Columns(columns) => {
                self.columns.clone_from(columns);
                self.rows = Some(0);
                token::columns(columns, &mut self.out);
            }
            Step::Row { cells, compressed } => {
                let write = if *compressed {
                    token::compressed_row
                } else {
                    token::row
                };
                write(&self.columns, cells, &mut self.out);
                self.rows = self.rows.map(|rows| rows + 1);
            }
            Step::Done { with_count } => {
                let rows = self.rows.take();
                let (status, rows, command) = match rows {
                    Some(rows) if *with_count => (more | status::COUNT, rows, SELECT),
                    Some(_) => (more, 0, SELECT),
                    None => (more, 0, 0),
                };
                token::done(self.done, status, command, rows, &mut self.out);
            }
            Step::Error(error) => {
                self.rows = None;
                token::error(error, &self.shared.script.server_name, &mut self.out);
                token::done(self.done, more | status::ERROR, 0, 0, &mut self.out);
            }
            Step::Info(info) => token::info(info, &self.shared.script.server_name, &mut self.out),
            Step::Raw(bytes) => self.out.extend(bytes),
            Step::PartOfRow { cells, bytes } => {
                let mut row = Vec::new();
                token::row(&self.columns, cells, &mut row);
                row.truncate(*bytes);
                self.out.extend(row);
            }
            Step::Rows { .. } | Step::Wait(_) | Step::Break(_) => {}
        }
    }

    async fn rows(&mut self, count: u64, make: &MakeRow) -> io::Result<Option<Stop>> {
        for number in 0..count {
            token::row(&self.columns, &make(number), &mut self.out);
            self.rows = self.rows.map(|rows| rows + 1);
            if let Some(stop) = self.write().await? {
                return Ok(Some(stop));
            }
        }
        Ok(None)
    }

    /// Hands on what was written; after each packet, sees whether the client has cancelled.
    async fn write(&mut self) -> io::Result<Option<Stop>> {
        let sent = self.wire.write(&self.out).await?;
        self.out.clear();
        if !sent {
            return Ok(None);
        }
        self.unless_stopped(std::future::ready(())).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.wire.write(&self.out).await?;
        self.out.clear();
        self.wire.flush().await
    }

    /// Waits for something, or for the client to cancel or leave, which it can do at any time.
    async fn unless_stopped(
        &mut self,
        until: impl Future<Output = ()>,
    ) -> io::Result<Option<Stop>> {
        tokio::pin!(until);
        loop {
            let message = tokio::select! {
                biased;
                message = self.wire.read() => message?,
                () = &mut until => return Ok(None),
            };
            match message {
                None => return Ok(Some(Stop::Left)),
                Some(Message {
                    kind: ATTENTION, ..
                }) => {
                    self.shared.saw_attention();
                    if !self.shared.script.ignores_attention {
                        return Ok(Some(Stop::Cancelled));
                    }
                }
                Some(Message { kind, .. }) => {
                    let error = format!("a message of type {kind} within an answer");
                    return Err(io::Error::other(error));
                }
            }
        }
    }

    /// Ends the answer with the acknowledgement of ATTENTION: [MS-TDS] 2.2.7.6, `DONE_ATTN`.
    async fn acknowledge(&mut self) -> io::Result<End> {
        token::done(Done::Statement, status::ATTENTION, 0, 0, &mut self.out);
        self.finish().await
    }

    async fn finish(&mut self) -> io::Result<End> {
        self.wire.write(&self.out).await?;
        self.out.clear();
        self.wire.finish().await?;
        Ok(End::Complete)
    }

    async fn break_off(&mut self, how: Break) -> io::Result<End> {
        match how {
            Break::EndWithoutDone => return self.finish().await,
            Break::Cut => {
                self.flush().await?;
                Ok(End::Cut)
            }
            Break::Reset => {
                self.flush().await?;
                Ok(End::Reset)
            }
            Break::Hang => {
                self.flush().await?;
                match self.unless_stopped(std::future::pending()).await? {
                    Some(Stop::Cancelled) => self.acknowledge().await,
                    _ => Ok(End::Left),
                }
            }
        }
    }
}
