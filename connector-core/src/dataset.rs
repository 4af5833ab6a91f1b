//! What a connector author implements.

use std::{borrow::Cow, fmt::Debug, sync::Arc};

use async_trait::async_trait;

use crate::{error::Result, row::Row, schema::Schema, snapshot::SnapshotWriter};

/// A named, keyed table of records that a connector offers.
///
/// Contract of [`read`](Dataset::read); the conformance kit has a test for each line:
///
/// - Rows come in any order.
/// - `Ok(())` only when every row of one point in time, or the documented nearest thing, has been
///   written. It means *complete*: what is missing then becomes deletions.
/// - Any failure is `Err`, and whatever was written is discarded.
/// - Safe to drop at any await.
/// - Two reads may run at once.
/// - Never blocks the runtime; [`SnapshotWriter::blocking`] runs what blocks.
/// - Nothing is kept between calls but connections and tokens.
///
/// ```
/// use std::sync::Arc;
/// use async_trait::async_trait;
/// use connector_core::{
///     Dataset, DatasetInfo, Result, SnapshotWriter,
///     schema::{Declared, Schema, int, text},
/// };
///
/// static INFO: DatasetInfo = DatasetInfo::new("disks", "Devices");
/// const DISKS: Declared = Declared::new(&[text("device").key(), int("index").key(), int("bytes")]);
///
/// #[derive(Debug)]
/// struct Disks;
///
/// #[async_trait]
/// impl Dataset for Disks {
///     fn info(&self) -> &DatasetInfo {
///         &INFO
///     }
///
///     async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
///         Ok(Arc::new(DISKS.into()))
///     }
///
///     async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
///         for index in 0..2 {
///             out.row().text("PC-1").int(index).int(512_110_190_592).end().await?;
///         }
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Dataset: Debug + Send + Sync + 'static {
    /// Returns its name and category.
    fn info(&self) -> &DatasetInfo;

    /// Returns the columns that [`read`](Dataset::read) will write.
    ///
    /// `known` are the columns of the last committed snapshot. A data set whose shape is found at
    /// the source and not declared keeps to what was found before wherever the source still
    /// allows it: the same key, the same types. A clean sync gives none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when the source does not have the data
    /// set; [`ErrorKind::NotCollected`](crate::ErrorKind::NotCollected) when that is no mistake,
    /// which a cycle reports as [`Outcome::NotCollected`](crate::Outcome::NotCollected) as long as
    /// there is no baseline; the other kinds as for `read`.
    async fn schema(&self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>>;

    /// Writes every row, with the columns of [`SnapshotWriter::schema`].
    ///
    /// A data set whose source tells what changed may write only that, between reads of everything:
    /// see [`SnapshotWriter::keep_rest`].
    ///
    /// # Errors
    ///
    /// Any kind; the data set's baseline then stays as it was.
    async fn read(&self, out: &mut SnapshotWriter) -> Result<()>;
}

/// What a data set is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetInfo {
    /// The name, unique within its connector; letters in either case are the same.
    pub name: Cow<'static, str>,
    /// The group of data sets it belongs to, for people who choose what to sync.
    pub category: Cow<'static, str>,
}

impl DatasetInfo {
    /// Names a data set that is declared.
    pub const fn new(name: &'static str, category: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            category: Cow::Borrowed(category),
        }
    }

    /// Names a data set that is found at run time.
    pub fn named(name: impl Into<String>, category: impl Into<String>) -> Self {
        Self {
            name: Cow::Owned(name.into()),
            category: Cow::Owned(category.into()),
        }
    }
}

/// Conveniences over any [`Dataset`]. Nobody implements it.
#[async_trait]
pub trait DatasetExt: Dataset {
    /// Returns the name.
    fn name(&self) -> &str {
        &self.info().name
    }

    /// Reads everything into memory. For tests and small data sets.
    ///
    /// # Errors
    ///
    /// Those of [`Dataset::schema`] and [`Dataset::read`].
    async fn collect(&self) -> Result<Vec<Row>> {
        let schema = self.schema(None).await?;
        let (mut out, mut batches) = SnapshotWriter::channel(Arc::clone(&schema));
        let read = async {
            self.read(&mut out).await?;
            out.finish().await.map(drop)
        };
        let gather = async {
            let mut rows = Vec::new();
            while let Some(batch) = batches.next().await {
                rows.extend(batch.rows().map(|row| row.to_row(&schema)));
            }
            rows
        };
        let (outcome, rows) = futures::join!(read, gather);
        outcome.map(|()| rows)
    }
}

impl<D: Dataset + ?Sized> DatasetExt for D {}
