//! What a connector's author implements to get the whole kit.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use connector_core::{
    Column, Connector, DatasetExt, Result, Row, Schema, Secret, Value,
    schema::{Declared, bool, bytes, date, decimal, float, int, json, text, time, uuid},
};

use crate::check::Check;

/// The values of one row in the schema's order.
pub type Values = Vec<Value<'static>>;

/// A connector over a source that the kit fills and breaks: a loopback fake, a folder, the real
/// product.
///
/// Each check starts its own, so that checks run side by side and leave nothing behind.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Starts a source that holds none of the subjects' rows, and the connector over it.
    ///
    /// `secret` is what the connector is to be configured with as password, token or key; the kit
    /// looks for it in everything that is printed. A connector without a secret ignores it.
    async fn start(secret: &Secret) -> Self
    where
        Self: Sized;

    /// Returns the connector; the same one each time.
    fn connector(&self) -> Arc<dyn Connector>;

    /// Returns the data sets that the kit drives, two at least unless
    /// [`Check::C4`] is declared as unsupported. Where the columns are up to the harness, one of
    /// them is [`Subject::of_every_type`].
    fn subjects(&self) -> Vec<Subject>;

    /// Makes the source hold exactly these rows of one data set, in this order, and ends its
    /// fault. Keys may repeat.
    async fn load(&self, subject: &Subject, rows: &[Values]);

    /// Breaks what one data set is read from, or the source as a whole where it can't be broken in
    /// part. Until the next [`load`](Self::load) of that data set. Returns false if this can't be
    /// done here; it is then declared in [`unsupported`](Self::unsupported).
    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool;

    /// Tells whether the source can hold this value in this column: a file that knows no null
    /// but the empty cell can't hold both, a date of SQL Server's `datetime` starts in 1753. What
    /// it can't hold is left out and printed.
    fn holds(&self, column: &Column, value: &Value<'static>) -> bool;

    /// Returns what can't be shown for this connector, each with the reason, which is printed.
    fn unsupported(&self) -> &[(Unsupported, &'static str)];
}

/// Something that can't be shown for a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsupported {
    /// A whole check.
    Check(Check),
    /// What checks show under faults of one kind.
    Fault(FaultKind),
}

/// A data set that the kit drives.
#[derive(Clone)]
pub struct Subject {
    /// Its name, as the connector spells it.
    pub name: String,
    /// The columns as the connector declares or finds them once rows are loaded.
    pub schema: Arc<Schema>,
}

impl Subject {
    /// Names a data set with columns of its own.
    pub fn new(name: impl Into<String>, schema: impl Into<Schema>) -> Self {
        Self {
            name: name.into(),
            schema: Arc::new(schema.into()),
        }
    }

    /// Names a data set with a text key, a column of each of the eleven types and each of them
    /// again as one that may be null.
    pub fn of_every_type(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            schema: Arc::new(every_type()),
        }
    }

    /// Returns rows of it, by key.
    ///
    /// # Panics
    ///
    /// When the values are none of its columns'.
    pub fn rows(&self, values: &[Values]) -> Vec<Row> {
        let rows = values.iter().map(|values| {
            Row::from_values(&self.schema, values).expect("values of the subject's columns")
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(Row::key);
        rows
    }
}

/// Reads a data set of a connector by its name; rows come by key.
///
/// # Errors
///
/// Those of [`Connector::datasets`] and of the read.
///
/// # Panics
///
/// When there is no such data set.
pub async fn read_by_key(connector: &dyn Connector, name: &str) -> Result<Vec<Row>> {
    let datasets = connector.datasets().await?;
    let mut datasets = datasets.iter();
    let dataset = datasets
        .find(|dataset| dataset.name() == name)
        .expect("a data set of the connector");
    let mut rows = dataset.collect().await?;
    rows.sort_by_key(Row::key);
    Ok(rows)
}

/// Names and columns, and nothing of rows.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({}, {:?})", self.name, self.schema)
    }
}

fn every_type() -> Schema {
    const EVERY_TYPE: Declared = Declared::new(&[
        text("name").key(),
        bool("bool"),
        int("int"),
        float("float"),
        decimal("decimal", 4),
        text("text"),
        bytes("bytes"),
        time("timestamp"),
        time("local").local(),
        date("date"),
        uuid("uuid"),
        json("json"),
        bool("bool_or_null").null(),
        int("int_or_null").null(),
        float("float_or_null").null(),
        decimal("decimal_or_null", 0).null(),
        text("text_or_null").null(),
        bytes("bytes_or_null").null(),
        time("timestamp_or_null").null(),
        time("local_or_null").local().null(),
        date("date_or_null").null(),
        uuid("uuid_or_null").null(),
        json("json_or_null").null(),
    ]);
    EVERY_TYPE.into()
}

/// A way in which a source breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The source breaks off: some rows arrive, and the rest never does. Only where a reader can
    /// tell: a file cut within a quoted cell, a reply shorter than announced.
    Cut,
    /// The source stops answering and keeps the connection open.
    Hang,
    /// The data set is gone: the view was dropped, the file deleted.
    Vanish,
    /// The source refuses: the credential lacks the right, the file may not be read.
    Deny,
    /// One of the loaded rows holds this text, which is no value of its column's type.
    Malformed {
        /// The text.
        text: String,
    },
    /// What the source holds changes while it is read.
    ChangeWhileRead,
}

/// A [`Fault`] without its particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// [`Fault::Cut`]
    Cut,
    /// [`Fault::Hang`]
    Hang,
    /// [`Fault::Vanish`]
    Vanish,
    /// [`Fault::Deny`]
    Deny,
    /// [`Fault::Malformed`]
    Malformed,
    /// [`Fault::ChangeWhileRead`]
    ChangeWhileRead,
}

impl Fault {
    /// Returns the fault without its particulars.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Cut => FaultKind::Cut,
            Self::Hang => FaultKind::Hang,
            Self::Vanish => FaultKind::Vanish,
            Self::Deny => FaultKind::Deny,
            Self::Malformed { .. } => FaultKind::Malformed,
            Self::ChangeWhileRead => FaultKind::ChangeWhileRead,
        }
    }
}

#[cfg(test)]
mod tests {
    use connector_core::Type;

    use super::*;

    #[test]
    fn every_type_is_there_twice() {
        let schema = Subject::of_every_type("all").schema;
        let count = |ty: fn(Type) -> bool| {
            let of_type = schema
                .columns()
                .iter()
                .filter(|c| ty(c.ty()) && !c.is_key());
            of_type.map(Column::is_nullable).collect::<Vec<_>>()
        };
        for ty in [
            (|t| t == Type::Bool) as fn(Type) -> bool,
            |t| t == Type::Int,
            |t| t == Type::Float,
            |t| matches!(t, Type::Decimal { .. }),
            |t| t == Type::Text,
            |t| t == Type::Bytes,
            |t| t == Type::Timestamp,
            |t| t == Type::LocalTimestamp,
            |t| t == Type::Date,
            |t| t == Type::Uuid,
            |t| t == Type::Json,
        ] {
            assert_eq!(count(ty), [false, true]);
        }
    }
}
