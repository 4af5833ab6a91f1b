//! The conformance kit over a server that speaks SQL Server's protocol and that we did not write,
//! with tables made from the declarations.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::sync::Arc;

use async_trait::async_trait;
use connector_citrix::{
    Citrix, CitrixConfig, CitrixSettings, connector_mssql::Authentication, datasets,
};
use connector_core::{Column, Connector, Secret, Value};
use connector_testkit::{Fault, Harness, Subject, Unsupported, Values, peer::SqlSubjects};

const USER: &str = "reader";

/// Read in ranges of ids; with a key that is no number; with text.
/// `tests/datasets.rs` reads all nine.
const SUBJECTS: [&str; 3] = ["ApplicationInstance", "DesktopGroup", "User"];

/// Without the rows that were groomed away: the kit wants to see deletions. `tests/datasets.rs` keeps
/// them.
const SETTINGS: CitrixSettings = CitrixSettings {
    keep_groomed: false,
};

struct CitrixHarness {
    source: SqlSubjects,
    connector: Arc<Citrix>,
}

fn subjects() -> Vec<Subject> {
    let mut declared = datasets(&SETTINGS);
    declared.retain(|dataset| SUBJECTS.contains(&dataset.name));
    let subjects = declared
        .iter()
        .map(|dataset| Subject::new(dataset.name, dataset.schema().unwrap()));
    subjects.collect()
}

#[async_trait]
impl Harness for CitrixHarness {
    async fn start(secret: &Secret) -> Self {
        let source = SqlSubjects::start(USER, secret.expose(), subjects());
        let mut config = CitrixConfig::new(source.server().parse().unwrap(), "CitrixLabMonitoring");
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
        let connector = Arc::new(Citrix::new("vdx", config).unwrap());
        Self { source, connector }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector) as Arc<dyn Connector>
    }

    fn subjects(&self) -> Vec<Subject> {
        self.source.subjects()
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

connector_testkit::conformance!(CitrixHarness);
