//! Walking through what a data set is read from, reply by reply.

use std::{collections::HashMap, mem, sync::Arc};

use connector_core::{Batch, Error, ErrorKind, Result, Retry, SnapshotWriter};
use tokio::runtime::Handle;

use crate::{
    api::{Call, Object, VIEW},
    client::{Client, FORGOTTEN, Reply, Server, refused_with},
    datasets::{ASSIGNMENT_MANAGER, TREE},
    declare::Origin,
    decode::{Decoder, Page, Place, Plan, Surroundings, lost},
    xml::Xml,
};

/// How much of a data set is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    All,
    /// One object, to see whether it can be.
    One,
}

/// Where rows go.
pub(crate) enum Rows<'w> {
    Written(&'w mut SnapshotWriter),
    Kept(&'w mut Vec<Batch>),
}

impl Rows<'_> {
    async fn take(&mut self, rows: Batch) -> Result<()> {
        match self {
            Self::Written(out) => out.batch(rows).await,
            Self::Kept(batches) => {
                batches.push(rows);
                Ok(())
            }
        }
    }
}

/// Reads a data set.
pub(crate) async fn read(
    client: &Arc<Client>,
    server: &Server,
    plan: &Arc<Plan>,
    amount: Amount,
    mut rows: Rows<'_>,
) -> Result<()> {
    let mut around = Surroundings {
        vcenter: server.instance,
        places: HashMap::new(),
    };
    if plan.needs_places() && amount == Amount::All {
        around.places = places(client, server).await?;
    }
    let around = Arc::new(around);
    match plan.from() {
        Origin::Objects(kind) => {
            let call = Call::create_container_view(&server.views, &server.root, kind);
            let reply = client.call(server, call).await?;
            let mut open = Open::new(client, server);
            let view = Object::new(VIEW, returned(reply.text()?)?);
            open.view = Some(view.clone());
            let outcome = pages(plan, &around, &mut open, &view, kind, amount, &mut rows).await;
            open.close().await;
            outcome
        }
        Origin::Manager { field, kind } => {
            let manager = server.manager(field, kind)?;
            client.wake(server).await?;
            let mut open = Open::new(client, server);
            let outcome = pages(plan, &around, &mut open, &manager, kind, amount, &mut rows).await;
            open.close().await;
            outcome
        }
        Origin::AssignedLicenses => {
            let manager = assignment_manager(client, server).await?;
            let reply = client
                .call(server, Call::query_assigned_licenses(&manager))
                .await?;
            rows.take(plan.decoder(&around).list(reply.text()?)?).await
        }
    }
}

/// Walks until the server says that there is no more.
async fn pages(
    plan: &Arc<Plan>,
    around: &Arc<Surroundings>,
    open: &mut Open,
    from: &Object,
    kind: &str,
    amount: Amount,
    rows: &mut Rows<'_>,
) -> Result<()> {
    let (client, server) = (Arc::clone(&open.client), open.server.clone());
    let most = match amount {
        Amount::All => client.page,
        Amount::One => 1,
    };
    let mut decoder = plan.decoder(around);
    let mut call =
        Call::retrieve_properties(&server.collector, from, kind, &plan.paths, Some(most));
    loop {
        let first = call.idempotent;
        let reply = client.call(&server, call).await;
        // A token is good for one reply, whatever became of it.
        open.token = None;
        let reply = reply.map_err(|error| forgotten(error, first, from))?;
        let (page, again) = decoded(decoder, reply).await?;
        decoder = again;
        let Page {
            rows: read,
            objects,
            token,
        } = page;
        open.token.clone_from(&token);
        if let Some(read) = read {
            rows.take(read).await?;
        }
        let Some(token) = token.filter(|_| amount == Amount::All) else {
            return Ok(());
        };
        if objects == 0 {
            return Err(Error::new(
                ErrorKind::Source,
                "vCenter says that there is more and sends nothing",
            ));
        }
        call = Call::continue_retrieve(&server.collector, &token);
    }
}

/// Reads a reply aside: it takes some milliseconds, in which other tasks go on.
async fn decoded(mut decoder: Decoder, reply: Reply) -> Result<(Page, Decoder)> {
    let read = tokio::task::spawn_blocking(move || {
        let page = reply.text().and_then(|text| decoder.page(text));
        (page, decoder)
    });
    let (page, decoder) = read.await.map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the reading of a reply ended").with_source(error)
    })?;
    Ok((page?, decoder))
}

/// Views and tokens live no longer than their session. A token that may have been used up can't be
/// asked for again either.
fn forgotten(error: Error, first: bool, from: &Object) -> Error {
    let forgotten = if first {
        from.kind == VIEW && refused_with(&error, &FORGOTTEN[..1])
    } else {
        refused_with(&error, FORGOTTEN)
            || matches!(error.kind(), ErrorKind::Incomplete | ErrorKind::Unavailable)
                && error.retry() == Retry::Never
    };
    if forgotten { lost(error) } else { error }
}

/// What a walk has opened at the server, and closes whatever becomes of it.
struct Open {
    client: Arc<Client>,
    server: Server,
    view: Option<Object>,
    token: Option<String>,
}

impl Open {
    fn new(client: &Arc<Client>, server: &Server) -> Self {
        Self {
            client: Arc::clone(client),
            server: server.clone(),
            view: None,
            token: None,
        }
    }

    fn calls(&mut self) -> Vec<Call> {
        let token = self.token.take();
        let cancel = token.map(|token| Call::cancel_retrieve(&self.server.collector, &token));
        let destroy = self.view.take().map(|view| Call::destroy_view(&view));
        cancel.into_iter().chain(destroy).collect()
    }

    async fn close(mut self) {
        let (client, server) = (Arc::clone(&self.client), self.server.clone());
        let calls = self.calls();
        client.dismiss(&server, calls).await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let calls = self.calls();
        if calls.is_empty() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let (client, server) = (Arc::clone(&self.client), self.server.clone());
            runtime.spawn(async move { client.dismiss(&server, calls).await });
        }
    }
}

/// Finds the place of each folder and datacenter.
async fn places(client: &Arc<Client>, server: &Server) -> Result<HashMap<String, Place>> {
    let mut nodes = HashMap::new();
    for dataset in &TREE {
        let schema = Arc::new(dataset.schema()?);
        let plan = Arc::new(Plan::new(dataset, &schema, server.version));
        let mut batches = Vec::new();
        // Not the reading of a data set that needs places: it goes one step deep.
        let rows = Rows::Kept(&mut batches);
        Box::pin(read(client, server, &plan, Amount::All, rows)).await?;
        let is_datacenter = dataset.from == Origin::Objects("Datacenter");
        for row in batches.iter().flat_map(Batch::rows) {
            let text = |column| row.at(column).as_text().map(str::to_owned);
            let node = Node {
                name: text(1).unwrap_or_default(),
                parent: text(2),
                is_datacenter,
            };
            nodes.insert(text(0).unwrap_or_default(), node);
        }
    }
    Ok(nodes
        .keys()
        .map(|id| (id.clone(), place(id, &nodes)))
        .collect())
}

/// Finds who knows which licence is assigned to what.
async fn assignment_manager(client: &Arc<Client>, server: &Server) -> Result<Object> {
    let schema = Arc::new(ASSIGNMENT_MANAGER.schema()?);
    let plan = Arc::new(Plan::new(&ASSIGNMENT_MANAGER, &schema, server.version));
    let mut batches = Vec::new();
    let rows = Rows::Kept(&mut batches);
    Box::pin(read(client, server, &plan, Amount::All, rows)).await?;
    let mut rows = batches.iter().flat_map(Batch::rows);
    let id = rows.find_map(|row| row.at(0).as_text().map(str::to_owned));
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| {
        Error::new(
            ErrorKind::NotCollected,
            "vCenter has no manager of assignments of licences",
        )
    })?;
    Ok(Object::new("LicenseAssignmentManager", id))
}

struct Node {
    name: String,
    parent: Option<String>,
    is_datacenter: bool,
}

/// Follows parents up to the root folder, which is in no view.
fn place(id: &str, nodes: &HashMap<String, Node>) -> Place {
    let mut names = Vec::new();
    let mut datacenter = None;
    let mut next = Some(id);
    while let Some((id, node)) = next.and_then(|id| nodes.get_key_value(id)) {
        // Folders that were moved while they were read may seem to be below themselves.
        if names.len() == nodes.len() {
            break;
        }
        names.push(node.name.as_str());
        if node.is_datacenter && datacenter.is_none() {
            datacenter = Some(id.clone());
        }
        next = node.parent.as_deref();
    }
    let mut path = String::new();
    for name in names.iter().rev() {
        path.push('/');
        path.push_str(name);
    }
    Place { path, datacenter }
}

/// Returns the id that a method returned.
pub(crate) fn returned(reply: &str) -> Result<String> {
    let mut xml = Xml::new(reply);
    xml.soap_body()?;
    let mut id = String::new();
    while let Some(element) = xml.child()? {
        if element.name() == "returnval" {
            id = xml.text()?;
        } else {
            xml.skip()?;
        }
    }
    xml.end()?;
    if id.is_empty() {
        return Err(Error::new(ErrorKind::Source, "vCenter made no view"));
    }
    Ok(mem::take(&mut id))
}
