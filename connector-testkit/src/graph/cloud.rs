//! Where a cloud's services are.

/// One of the clouds that Graph runs in.
/// <https://learn.microsoft.com/graph/deployments>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphCloud {
    /// The one that nearly everybody has.
    Global,
    /// US Government L4.
    UsGovernment,
    /// US Government L5.
    UsGovernmentDod,
    /// China, operated by 21Vianet.
    China,
}

impl GraphCloud {
    /// Returns the hosts, over TLS.
    pub fn hosts(self) -> GraphHosts {
        let (login, graph) = match self {
            Self::Global => ("login.microsoftonline.com", "graph.microsoft.com"),
            Self::UsGovernment => ("login.microsoftonline.us", "graph.microsoft.us"),
            Self::UsGovernmentDod => ("login.microsoftonline.us", "dod-graph.microsoft.us"),
            Self::China => ("login.chinacloudapi.cn", "microsoftgraph.chinacloudapi.cn"),
        };
        GraphHosts {
            login: format!("https://{login}"),
            graph: format!("https://{graph}"),
            files: "https://exports.blob.core.windows.net".to_owned(),
        }
    }
}

/// Scheme, host and port of each service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphHosts {
    /// Where tokens are.
    pub login: String,
    /// Graph itself.
    pub graph: String,
    /// Where files of exports and reports are, for whoever has their address.
    pub files: String,
}
