//! What the connector sends, held against the contract of ServiceNow's Table API by a server that
//! others wrote.

use connector_core::{Connector, DatasetExt, Secret};
use connector_servicenow::{
    Authentication, Override, ServiceNow, ServiceNowConfig, TableConfig, datasets,
};
use connector_testkit::peer::{Prism, SERVICENOW_CONTRACT};

fn ways() -> [Authentication; 3] {
    let (client_id, user) = ("an-application".to_owned(), "datasync".to_owned());
    let secret = || Secret::new("s3cret");
    [
        Authentication::Basic {
            user: user.clone(),
            password: secret(),
        },
        Authentication::ClientCredentials {
            client_id: client_id.clone(),
            client_secret: secret(),
            scope: None,
        },
        Authentication::Password {
            client_id,
            client_secret: secret(),
            user,
            password: secret(),
        },
    ]
}

#[tokio::test]
async fn every_request_keeps_the_contract() {
    let prism = Prism::start(SERVICENOW_CONTRACT);
    for auth in ways() {
        let is_first = matches!(auth, Authentication::Basic { .. });
        let mut config = ServiceNowConfig::new(prism.url("/").parse().unwrap(), auth);
        config.http.retry.attempts = 1;
        let own = Override {
            filter: Some("install_status=1^nameSTARTSWITHpc^ORname=x".to_owned()),
            display: vec!["company".to_owned()],
            ..Override::default()
        };
        config.overrides.insert("computers".to_owned(), own);
        config.datasets = vec![TableConfig::new("everyone", "sys_user")];
        if !is_first {
            // Who signs in is no matter of the data set.
            config.categories = vec!["Organisation".to_owned()];
        }
        let connector = ServiceNow::new("cmdb", &config).unwrap();
        let mut read = 0;
        for dataset in connector.datasets().await.unwrap() {
            let rows = dataset.collect().await;
            let rows = rows.unwrap_or_else(|error| panic!("{}: {error:#}", dataset.name()));
            assert_eq!(rows.len(), 1, "{}", dataset.name());
            read += 1;
        }
        assert_eq!(read, if is_first { datasets().len() + 1 } else { 4 });
        let report = connector.check().await.unwrap();
        assert!(report.is_ok(), "{:?}", report.datasets);
        // All that is declared is in the dictionary of the contract.
        assert_eq!(report.facts.len(), 1, "{:?}", report.facts);
        assert_eq!(prism.violations(), [""; 0]);
    }
}
