//! A declared data set of one vCenter.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;
use connector_core::{Batch, Dataset, DatasetInfo, Error, Result, Schema, SnapshotWriter};

use crate::{
    client::{Client, Server},
    declare::VcenterDataset,
    decode::Plan,
    walk::{self, Amount, Rows},
};

#[derive(Debug)]
pub(crate) struct DeclaredDataset {
    info: DatasetInfo,
    schema: Arc<Schema>,
    declared: &'static VcenterDataset,
    client: Arc<Client>,
}

impl DeclaredDataset {
    pub(crate) fn new(declared: &'static VcenterDataset, client: &Arc<Client>) -> Result<Self> {
        Ok(Self {
            info: DatasetInfo {
                name: Cow::Borrowed(declared.name),
                category: Cow::Borrowed(declared.category),
            },
            schema: Arc::new(declared.schema()?),
            declared,
            client: Arc::clone(client),
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.declared.name
    }

    /// Reads one object of it, and returns how many rows that has.
    pub(crate) async fn try_one(&self, server: &Server) -> Result<usize> {
        let mut batches = Vec::new();
        let rows = Rows::Kept(&mut batches);
        self.walk(server, Amount::One, rows).await?;
        Ok(batches.iter().map(Batch::len).sum())
    }

    async fn walk(&self, server: &Server, amount: Amount, rows: Rows<'_>) -> Result<()> {
        let plan = Arc::new(Plan::new(self.declared, &self.schema, server.version));
        let outcome = walk::read(&self.client, server, &plan, amount, rows).await;
        outcome.map_err(|error| self.named(error))
    }

    fn named(&self, error: Error) -> Error {
        error.with("data set", self.declared.name)
    }
}

#[async_trait]
impl Dataset for DeclaredDataset {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    async fn schema(&self, _: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        Ok(Arc::clone(&self.schema))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let server = self.client.server().await;
        let server = server.map_err(|error| self.named(error))?;
        self.walk(&server, Amount::All, Rows::Written(out)).await
    }
}
