//! The clouds that Graph is offered in, each with its own hosts.

use serde::Deserialize;

/// One of the national clouds. An app registration, a token and a tenant belong to one of them.
///
/// <https://learn.microsoft.com/graph/deployments>
///
/// ```
/// use connector_graph::Cloud;
///
/// assert_eq!(Cloud::China.graph_host(), "microsoftgraph.chinacloudapi.cn");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// `global`: everywhere else, the US government's "GCC" too.
    #[default]
    Global,
    /// `us_government`: the US government's L4, "GCC High".
    UsGovernment,
    /// `us_government_dod`: the US government's L5, for the Department of Defense.
    UsGovernmentDod,
    /// `china`: operated by 21Vianet.
    China,
}

impl Cloud {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Global,
        Self::UsGovernment,
        Self::UsGovernmentDod,
        Self::China,
    ];

    /// Returns the host that gives tokens.
    pub const fn login_host(self) -> &'static str {
        match self {
            Self::Global => "login.microsoftonline.com",
            Self::UsGovernment | Self::UsGovernmentDod => "login.microsoftonline.us",
            Self::China => "login.chinacloudapi.cn",
        }
    }

    /// Returns Graph's host.
    pub const fn graph_host(self) -> &'static str {
        match self {
            Self::Global => "graph.microsoft.com",
            Self::UsGovernment => "graph.microsoft.us",
            Self::UsGovernmentDod => "dod-graph.microsoft.us",
            Self::China => "microsoftgraph.chinacloudapi.cn",
        }
    }

    /// Returns its name, as configuration has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::UsGovernment => "us_government",
            Self::UsGovernmentDod => "us_government_dod",
            Self::China => "china",
        }
    }
}
