//! The conformance kit over a server that speaks SQL Server's protocol and that we did not write,
//! with tables made from the declarations.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::{Column, Connector, Secret, Value};
use connector_testkit::{Fault, Harness, Subject, Unsupported, Values, peer::SqlSubjects};
use connector_wsus::{Wsus, WsusConfig, WsusSettings, connector_mssql::Authentication, datasets};

const USER: &str = "reader";

/// A key of two types; a view of which further columns are read; one that is read in ranges of
/// computers. `tests/datasets.rs` reads all twelve.
const SUBJECTS: [&str; 3] = [
    "vComputerGroupMembership",
    "vUpdateApproval",
    "vUpdateInstallationInfoBasic",
];

/// The list that bounds of ranges come from.
const COMPUTERS: &str = "vComputerTarget";

/// With what the filter of installation states leaves out, so that the kit may load any state.
const SETTINGS: WsusSettings = WsusSettings {
    not_applicable: true,
};

struct WsusHarness {
    source: SqlSubjects,
    connector: Arc<Wsus>,
}

fn subjects() -> Vec<Subject> {
    let mut declared = datasets(&SETTINGS);
    declared.retain(|dataset| SUBJECTS.contains(&dataset.name) || dataset.name == COMPUTERS);
    let subjects = declared
        .iter()
        .map(|dataset| Subject::new(dataset.name, dataset.schema().unwrap()));
    subjects.collect()
}

#[async_trait]
impl Harness for WsusHarness {
    async fn start(secret: &Secret) -> Self {
        let source = SqlSubjects::start(USER, secret.expose(), subjects());
        let mut config = WsusConfig::new(source.server().parse().unwrap(), "SUSDB");
        config.auth = Authentication::Sql {
            user: USER.to_owned(),
            password: secret.clone(),
        };
        config.ca_file = Some(source.ca_file().to_owned());
        let others = datasets(&SETTINGS).into_iter().map(|dataset| dataset.name);
        config.skip = others
            .filter(|name| !SUBJECTS.contains(name))
            .map(str::to_owned)
            .collect();
        config.product = SETTINGS;
        let connector = Arc::new(Wsus::new("wsus", config).unwrap());
        Self { source, connector }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector) as Arc<dyn Connector>
    }

    fn subjects(&self) -> Vec<Subject> {
        let mut subjects = self.source.subjects();
        subjects.retain(|subject| SUBJECTS.contains(&subject.name.as_str()));
        subjects
    }

    async fn load(&self, subject: &Subject, rows: &[Values]) {
        self.source.load(subject, rows);
    }

    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        self.source.fault(subject, fault)
    }

    fn holds(&self, _: &Column, value: &Value<'static>) -> bool {
        SqlSubjects::holds(value)
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        SqlSubjects::unsupported()
    }
}

connector_testkit::conformance!(WsusHarness);
