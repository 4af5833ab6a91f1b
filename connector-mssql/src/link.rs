//! A connection with time-outs, and replies that are whole or an error.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use connector_core::{Error, ErrorKind, Result, Retry};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::{
    driver::{Done, DriverError, Record, ResultColumn, Rows, Session, Target},
    error::{NO_SNAPSHOT, explain},
};

/// One connection, ready to read.
#[derive(Debug)]
pub(crate) struct Link {
    target: Arc<Target>,
    session: Session,
}

/// How patient one statement is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) first_row: Duration,
    pub(crate) between_rows: Duration,
    pub(crate) statement: Duration,
}

/// What a statement is, for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) sql: &'a str,
    pub(crate) object: Option<&'a str>,
}

impl<'a> From<&'a str> for Asked<'a> {
    fn from(sql: &'a str) -> Self {
        Self { sql, object: None }
    }
}

impl Link {
    /// Connects, signs in and sets what every session here has.
    pub(crate) async fn open(target: &Arc<Target>) -> Result<Self> {
        let config = target.config();
        let connect = timeout(config.timeouts.connect, target.connect());
        let session = match connect.await {
            Ok(session) => session.map_err(|error| explain(error, config, None, None))?,
            Err(_) => {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "no connection within {:?} (`timeouts.connect`): the server is slow or a \
                         firewall swallows what is sent",
                        config.timeouts.connect
                    ),
                )
                .with("server", &config.server));
            }
        };
        let mut link = Self {
            target: Arc::clone(target),
            session,
        };
        // Not NOCOUNT: with the row count in the final DONE each read is checked once more.
        let settings = format!(
            "SET ANSI_NULLS ON; SET ANSI_WARNINGS ON; SET CONCAT_NULL_YIELDS_NULL ON; \
             SET QUOTED_IDENTIFIER ON; SET ARITHABORT ON; SET DEADLOCK_PRIORITY LOW; \
             SET LOCK_TIMEOUT {};",
            i32::try_from(config.lock_timeout.as_millis()).unwrap_or(i32::MAX)
        );
        link.run(&settings).await?;
        Ok(link)
    }

    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Takes another connection instead of this one.
    pub(crate) async fn reopen(&mut self) -> Result<()> {
        let target = Arc::clone(&self.target);
        *self = Self::open(&target).await?;
        Ok(())
    }

    pub(crate) fn patience(&self) -> Patience {
        let timeouts = self.target.config().timeouts;
        Patience {
            first_row: timeouts.first_row,
            between_rows: timeouts.between_rows,
            statement: timeouts.statement,
        }
    }

    /// Runs statements that return nothing.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<()> {
        self.all(sql.into()).await.map(drop)
    }

    /// Reads a small reply whole.
    pub(crate) async fn all(
        &mut self,
        asked: Asked<'_>,
    ) -> Result<(Vec<ResultColumn>, Vec<Record<'static>>)> {
        let patience = self.patience();
        let mut reply = self.ask(asked, patience).await?;
        let columns = reply.columns().to_vec();
        let mut records = Vec::new();
        while let Some(record) = reply.next().await? {
            records.push(record.into_owned());
        }
        reply.finish(None)?;
        Ok((columns, records))
    }

    /// Sends a statement. Once this was called and the reply was not read to its end, the link is
    /// of no more use.
    pub(crate) async fn ask<'a>(
        &'a mut self,
        asked: Asked<'a>,
        patience: Patience,
    ) -> Result<Reply<'a>> {
        let target = &*self.target;
        let pace = Pace::new(patience);
        let mut start = pin!(self.session.start(asked.sql));
        let mut pace = pace;
        let rows = poll_fn(|cx| match start.as_mut().poll(cx) {
            Poll::Ready(rows) => Poll::Ready(Ok(rows)),
            Poll::Pending => pace.poll(cx).map(Err),
        });
        let rows = rows.await.map_err(|late| late.error(target, asked))?;
        let rows = rows.map_err(|error| explained(error, target, asked))?;
        Ok(Reply {
            rows,
            pace,
            target,
            asked,
        })
    }
}

fn explained(error: DriverError, target: &Target, asked: Asked<'_>) -> Error {
    if matches!(&error, DriverError::Server(error) if error.number == NO_SNAPSHOT) {
        target.refuse_snapshots();
    }
    explain(error, target.config(), Some(asked.sql), asked.object)
}

/// The reply to a statement.
pub(crate) struct Reply<'a> {
    rows: Rows<'a>,
    pace: Pace,
    target: &'a Target,
    asked: Asked<'a>,
}

impl Reply<'_> {
    pub(crate) fn columns(&self) -> &[ResultColumn] {
        self.rows.columns()
    }

    /// Returns the next row, or none when no more come, whether that is all of them or not.
    pub(crate) async fn next(&mut self) -> Result<Option<Record<'_>>> {
        let pace = &mut self.pace;
        let mut next = pin!(self.rows.next());
        let record = poll_fn(|cx| match next.as_mut().poll(cx) {
            Poll::Ready(record) => Poll::Ready(Ok(record)),
            Poll::Pending => pace.poll(cx).map(Err),
        });
        let record = record.await;
        pace.row();
        record
            .map_err(|late| late.error(self.target, self.asked))?
            .map_err(|error| explained(error, self.target, self.asked))
    }

    /// Sees that the reply came to its end, with as many rows as the server counted.
    pub(crate) fn finish(self, read: Option<u64>) -> Result<()> {
        let incomplete = |message: String| {
            Err(Error::new(ErrorKind::Incomplete, message)
                .with_retry(Retry::Backoff)
                .with("server", &self.target.config().server)
                .with("query", self.asked.sql))
        };
        match (self.rows.done(), read) {
            (None, _) => incomplete(
                "the reply broke off: the server did not say that it was complete".to_owned(),
            ),
            (Some(Done { rows: Some(sent) }), Some(read)) if sent != read => incomplete(format!(
                "the server says that it sent {sent} rows, and {read} arrived"
            )),
            (Some(_), _) => Ok(()),
        }
    }
}

/// Measures the time that the server takes, not the time that rows take to be worked on.
struct Pace {
    patience: Patience,
    rows: u64,
    /// When the server has to have sent something; armed when it is first waited for.
    idle: Pin<Box<Sleep>>,
    armed: bool,
    whole: Pin<Box<Sleep>>,
}

/// What took too long.
struct Late {
    setting: &'static str,
    span: Duration,
}

impl Late {
    fn error(&self, target: &Target, asked: Asked<'_>) -> Error {
        let Self { setting, span } = self;
        Error::new(
            ErrorKind::Unavailable,
            format!("the server took longer than {span:?} (`{setting}`)"),
        )
        .with("server", &target.config().server)
        .with("query", asked.sql)
    }
}

impl Pace {
    fn new(patience: Patience) -> Self {
        let now = Instant::now();
        Self {
            patience,
            rows: 0,
            idle: Box::pin(sleep_until(now + patience.first_row)),
            armed: true,
            whole: Box::pin(sleep_until(now + patience.statement)),
        }
    }

    fn row(&mut self) {
        self.rows += 1;
        self.armed = false;
    }

    /// Called while nothing comes.
    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Late> {
        if !self.armed {
            self.armed = true;
            let at = Instant::now() + self.patience.between_rows;
            self.idle.as_mut().reset(at);
        }
        if self.whole.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Late {
                setting: "timeouts.statement",
                span: self.patience.statement,
            });
        }
        if self.idle.as_mut().poll(cx).is_ready() {
            let (setting, span) = if self.rows == 0 {
                ("timeouts.first_row", self.patience.first_row)
            } else {
                ("timeouts.between_rows", self.patience.between_rows)
            };
            return Poll::Ready(Late { setting, span });
        }
        Poll::Pending
    }
}
