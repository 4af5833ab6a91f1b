//! The connector over a Graph that answers as scripted, with a place for each declared data set.

use std::sync::Arc;

use connector_core::Secret;
use connector_graph::{
    Authentication, Call, GraphDataset, connector_http::Transport, decode::ReplyColumn,
};
use connector_office365::{DATASETS, Office365, Office365Config};
use connector_testkit::graph::{Graph, GraphApp, GraphCollection, GraphReport};

pub(crate) struct Lab {
    pub(crate) graph: Graph,
    pub(crate) connector: Arc<Office365>,
}

impl Lab {
    /// Starts a source that holds nothing, and its connector over a transport to it. `set` changes
    /// the settings.
    pub(crate) fn start(
        graph: Graph,
        transport: Arc<dyn Transport>,
        secret: &Secret,
        set: impl FnOnce(&mut Office365Config),
    ) -> Self {
        let app = GraphApp {
            secret: Some(secret.expose().to_owned()),
            roles: permissions(),
            ..GraphApp::default()
        };
        let mut config = Office365Config::new(
            app.tenant.clone(),
            Authentication::Secret {
                client_id: app.client_id.clone(),
                client_secret: secret.clone(),
            },
        );
        set(&mut config);
        graph.app(app);
        for declared in &DATASETS {
            serve(&graph, declared);
        }
        let connector = Office365::over("m365", config, transport, graph.clock());
        Self {
            graph,
            connector: Arc::new(connector.unwrap()),
        }
    }
}

pub(crate) fn declared(name: &str) -> &'static GraphDataset {
    let mut all = DATASETS.iter();
    all.find(|declared| declared.name() == name).unwrap()
}

/// Where the rows of a data set are, as the source calls it.
pub(crate) fn place(declared: &GraphDataset) -> String {
    let call = declared.call_text();
    let place = call.strip_prefix("GET /v1.0/");
    let place = place.or_else(|| call.strip_prefix("report "));
    place.unwrap().to_owned()
}

pub(crate) fn is_report(declared: &GraphDataset) -> bool {
    matches!(declared.call, Call::Report(_))
}

fn serve(graph: &Graph, declared: &GraphDataset) {
    let place = place(declared);
    if is_report(declared) {
        let headers = declared.reply.columns.iter().map(ReplyColumn::path);
        let report = GraphReport::new(&place, headers);
        graph.report(if declared.name() == "activations" {
            report.without_period()
        } else {
            report
        });
    } else {
        // Few rows are several pages.
        graph.collection(GraphCollection::new(&place).largest(7));
    }
}

fn permissions() -> Vec<String> {
    let all = DATASETS.iter().flat_map(|declared| declared.permissions);
    let mut all: Vec<_> = all.map(|name| (*name).to_owned()).collect();
    all.sort();
    all.dedup();
    all
}
