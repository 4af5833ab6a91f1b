//! A table as a data set.

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{Dataset, DatasetInfo, Error, ErrorKind, Result, Schema, SnapshotWriter};
use connector_http::{
    Refusal,
    decode::{PageDecoder, Reply},
};
use tracing::warn;

use crate::{
    definition::Definition,
    dictionary::{Dictionary, Met},
    link::{Ask, Link},
    pass::Pass,
    walk::Walk,
};

/// How many rows a trial asks for: the first ones may be such that the user may not read them.
const TRIAL: u64 = 100;

#[derive(Debug)]
pub(crate) struct TableDataset {
    pub(crate) definition: Arc<Definition>,
    pub(crate) link: Arc<Link>,
}

impl TableDataset {
    /// Reads the dictionary and some rows; returns the declared fields that there are not.
    pub(crate) async fn try_some(&self) -> Result<Vec<&'static str>> {
        let Met { schema, absent } = self.meet().await?;
        let columns = self.definition.reply(&schema);
        let reply = self.reply(&columns);
        let mut decoder = PageDecoder::new(&reply)?;
        let ask = self.ask(&schema, self.definition.filter.text());
        let mut walk = Walk::new(&self.link, ask, TRIAL.min(self.link.page()));
        let tried = walk.first(&mut decoder).await;
        tried.map_err(|error| self.explain(error))?;
        Ok(absent)
    }

    async fn meet(&self) -> Result<Met> {
        let met = Dictionary::new(&self.link).meet(&self.definition).await;
        met.map_err(|error| self.explain(error))
    }

    fn reply<'a>(&'a self, columns: &'a [connector_http::decode::ReplyColumn<'a>]) -> Reply<'a> {
        Reply {
            name: self.definition.name(),
            list: "result",
            error: "error",
            columns,
            ..Reply::NEW
        }
    }

    fn ask<'a>(&'a self, schema: &'a Schema, filter: &'a str) -> Ask<'a> {
        let mut fields: Vec<&str> = Vec::new();
        for column in schema.columns() {
            let field = self.definition.field(column.name());
            if fields.last() != Some(&field) {
                fields.push(field);
            }
        }
        Ask {
            table: &self.definition.table,
            filter,
            fields,
            display: !self.definition.display.is_empty(),
        }
    }

    async fn walk(&self, out: &mut SnapshotWriter) -> Result<()> {
        let schema = Arc::clone(out.schema());
        let columns = self.definition.reply(&schema);
        let reply = self.reply(&columns);
        let mut decoder = PageDecoder::new(&reply)?;
        let (link, now) = (&self.link, self.link.now());
        let pass = Pass::begin(out.bookmark(), &self.definition, link.full_every(), now);
        if !pass.is_full() {
            out.keep_rest()?;
        }
        let filter = pass.filter(&self.definition);
        let walk = Walk::new(link, self.ask(&schema, &filter), link.page());
        let mut walk = walk.of_some(!pass.is_full());
        while let Some(rows) = walk.next(&mut decoder).await? {
            out.batch(rows).await?;
        }
        let (read, hidden) = walk.counts();
        let name = self.definition.name();
        if pass.is_full() && hidden > 0 && self.link.is_new(name, "hidden") {
            warn!(
                "data set {name}: {read} rows were read; about {hidden} others of the table {} may \
                 not be read by the user, and are not there",
                self.definition.table
            );
        }
        pass.end(out);
        Ok(())
    }

    /// Names the data set, and says what a person can do.
    fn explain(&self, error: Error) -> Error {
        let definition = &self.definition;
        let status = Refusal::of(&error).map(|refusal| refusal.status.as_u16());
        let message = match (error.kind(), status) {
            (ErrorKind::Permission, Some(403)) if !has_message(&error) => {
                let role = definition.role.map_or_else(String::new, |role| {
                    format!(", for example by the role `{role}`")
                });
                format!(
                    "the user may not read the table `{}`: grant that{role}",
                    definition.table
                )
            }
            (ErrorKind::Source, Some(300..=399)) => {
                "the instance sends to another address: it hibernates, was moved, or `url` is not \
                 its address"
                    .to_owned()
            }
            _ => return error.with("data set", definition.name()),
        };
        Error::new(error.kind(), message)
            .with_retry(error.retry())
            .with("data set", definition.name())
            .with_source(error)
    }
}

/// Tells whether the error says already what to do: that of the dictionary.
fn has_message(error: &Error) -> bool {
    error.message().starts_with("the user")
}

#[async_trait]
impl Dataset for TableDataset {
    fn info(&self) -> &DatasetInfo {
        &self.definition.info
    }

    async fn schema(&self, _: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        let Met { schema, absent } = self.meet().await?;
        if !absent.is_empty() {
            let (name, absent) = (self.definition.name(), absent.join(", "));
            if self.link.is_new(&format!("{name}/absent"), &absent) {
                warn!("data set {name}: the instance does not have the fields {absent}");
            }
        }
        Ok(Arc::new(schema))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let read = self.walk(out).await;
        read.map_err(|error| self.explain(error))
    }
}
