//! What a scripted server answers.

use std::{fmt, sync::Arc};

use tokio::sync::{Semaphore, watch};

use super::{
    token::{Column, ServerError},
    types::Cell,
};

/// Makes the cells of the row of that number, counted from 0.
pub(super) type MakeRow = Arc<dyn Fn(u64) -> Vec<Cell> + Send + Sync>;

#[derive(Clone)]
pub(super) enum Step {
    Columns(Vec<Column>),
    Row {
        cells: Vec<Cell>,
        compressed: bool,
    },
    Rows {
        count: u64,
        make: MakeRow,
    },
    Done {
        with_count: bool,
    },
    Error(ServerError),
    Info(ServerError),
    Raw(Vec<u8>),
    /// A row of which so many bytes are sent.
    PartOfRow {
        cells: Vec<Cell>,
        bytes: usize,
    },
    Wait(Gate),
    /// The last step, instead of DONE and the end of the message.
    Break(Break),
}

/// How an answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    Cut,
    Reset,
    Hang,
    EndWithoutDone,
}

/// An answer, told step by step; DONE is added to what does not end otherwise.
///
/// ```
/// use connector_testkit::{cells, tds::{Column, Reply, ServerError, SqlType}};
///
/// let whole = Reply::columns([Column::new("id", SqlType::Int).not_null()])
///     .row(cells![1])
///     .rows(1_000_000, |number| cells![i64::try_from(number).unwrap_or(0)].to_vec());
/// let broken = Reply::columns([Column::new("id", SqlType::Int)])
///     .row(cells![1])
///     .then_error(ServerError::new(1205, 13, 51, "Deadlock."));
/// # drop((whole, broken));
/// ```
#[derive(Clone)]
pub struct Reply {
    pub(super) steps: Vec<Step>,
}

impl Reply {
    fn new(step: Step) -> Self {
        Self { steps: vec![step] }
    }

    /// Answers that the statement is done and has no result, as `SET` is answered.
    pub fn done() -> Self {
        Self::new(Step::Done { with_count: false })
    }

    /// Starts a result: [MS-TDS] 2.2.7.4 COLMETADATA.
    pub fn columns(columns: impl IntoIterator<Item = Column>) -> Self {
        Self::new(Step::Columns(columns.into_iter().collect()))
    }

    /// Answers with an error and nothing else.
    pub fn error(error: ServerError) -> Self {
        Self::new(Step::Error(error))
    }

    /// Never answers.
    pub fn hang() -> Self {
        Self::new(Step::Break(Break::Hang))
    }

    /// Closes the connection instead of answering.
    pub fn cut() -> Self {
        Self::new(Step::Break(Break::Cut))
    }

    /// Answers with bytes as they are, as the whole of a message.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(Step::Raw(bytes.into())).then(Step::Break(Break::EndWithoutDone))
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds a row: [MS-TDS] 2.2.7.20 ROW. [`cells!`](crate::cells) makes one.
    #[must_use]
    pub fn row(self, cells: impl IntoIterator<Item = Cell>) -> Self {
        let cells = cells.into_iter().collect();
        self.then(Step::Row {
            cells,
            compressed: false,
        })
    }

    /// Adds a row whose nulls are bits: [MS-TDS] 2.2.7.15 NBCROW.
    #[must_use]
    pub fn compressed_row(self, cells: impl IntoIterator<Item = Cell>) -> Self {
        let cells = cells.into_iter().collect();
        self.then(Step::Row {
            cells,
            compressed: true,
        })
    }

    /// Adds rows that are made while they are sent, from their number, counted from 0; memory
    /// does not grow with their count.
    #[must_use]
    pub fn rows(self, count: u64, make: impl Fn(u64) -> Vec<Cell> + Send + Sync + 'static) -> Self {
        let make = Arc::new(make);
        self.then(Step::Rows { count, make })
    }

    /// Ends the result so far and starts another.
    #[must_use]
    pub fn then_columns(self, columns: impl IntoIterator<Item = Column>) -> Self {
        self.then(Step::Done { with_count: true })
            .then(Step::Columns(columns.into_iter().collect()))
    }

    /// Fails here: ERROR, and a DONE with the error bit. Rows before it were sent.
    #[must_use]
    pub fn then_error(self, error: ServerError) -> Self {
        self.then(Step::Error(error))
    }

    /// Adds a message that is no error: INFO.
    #[must_use]
    pub fn then_info(self, info: ServerError) -> Self {
        self.then(Step::Info(info))
    }

    /// Ends with a DONE that does not say how many rows there were, as under `SET NOCOUNT ON`.
    #[must_use]
    pub fn without_count(self) -> Self {
        self.then(Step::Done { with_count: false })
    }

    /// Waits here until the test opens the gate; what was sent so far has arrived.
    #[must_use]
    pub fn wait(self, gate: &Gate) -> Self {
        self.then(Step::Wait(gate.clone()))
    }

    /// Adds bytes as they are: tokens that are not made here, or garbage.
    #[must_use]
    pub fn then_raw(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Raw(bytes.into()))
    }

    /// Closes the connection here, in the middle of the message.
    #[must_use]
    pub fn then_cut(self) -> Self {
        self.then(Step::Break(Break::Cut))
    }

    /// Sends so many bytes of a row and closes the connection.
    #[must_use]
    pub fn then_cut_in_row(self, cells: impl IntoIterator<Item = Cell>, bytes: usize) -> Self {
        let cells = cells.into_iter().collect();
        self.then(Step::PartOfRow { cells, bytes })
            .then(Step::Break(Break::Cut))
    }

    /// Resets the connection here: the client sees an error rather than an end.
    #[must_use]
    pub fn then_reset(self) -> Self {
        self.then(Step::Break(Break::Reset))
    }

    /// Sends nothing more and keeps the connection, until the client cancels or leaves.
    #[must_use]
    pub fn then_hang(self) -> Self {
        self.then(Step::Break(Break::Hang))
    }

    /// Ends the message here, without DONE.
    #[must_use]
    pub fn then_end_without_done(self) -> Self {
        self.then(Step::Break(Break::EndWithoutDone))
    }

    /// Whether the last statement is still without its DONE.
    pub(super) fn needs_done(&self) -> bool {
        !matches!(
            self.steps.last(),
            Some(Step::Done { .. } | Step::Error(_) | Step::Break(_))
        )
    }
}

/// A place in an answer at which the server waits for the test.
#[derive(Clone)]
pub struct Gate {
    permits: Arc<Semaphore>,
    reached: Arc<watch::Sender<u64>>,
}

impl Gate {
    /// Makes a closed gate.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(0)),
            reached: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Lets the next answer pass, or the one that waits.
    pub fn open(&self) {
        self.permits.add_permits(1);
    }

    /// Returns once so many answers have come to the gate since it was made.
    pub async fn reached(&self, times: u64) {
        // The sender lives as long as this gate.
        let _ = self
            .reached
            .subscribe()
            .wait_for(|count| *count >= times)
            .await;
    }

    pub(super) async fn pass(&self) {
        self.reached.send_modify(|count| *count += 1);
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({} open)", self.permits.available_permits())
    }
}
