//! Signing in: once, as whom, and where one is sent.

use connector_core::{Connector, ErrorKind, Retry, Secret};
use connector_mssql::Authentication;
use connector_testkit::{
    Authority,
    tds::{Script, ServerError},
};

use crate::lab::{FROM, ID, Lab, PASSWORD, hurried, ids, script};

#[tokio::test]
async fn a_refused_login_is_tried_exactly_once() {
    let refused = |number| Script::new().refuse(ServerError::new(number, 14, 1, "Login failed."));
    for (script, kind, advice) in [
        (refused(18_456), ErrorKind::Auth, "password is wrong"),
        (refused(18_452), ErrorKind::Auth, "setspn"),
        (refused(18_486), ErrorKind::Auth, "18486"),
        (refused(4060), ErrorKind::Config, "no database db"),
        (
            Script::new().database("other"),
            ErrorKind::Config,
            "no database db",
        ),
        (
            Script::new().login("reader", "another"),
            ErrorKind::Auth,
            "password is wrong",
        ),
    ] {
        let lab = Lab::start(script).await;
        let error = hurried(lab.read()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, Retry::Never));
        let text = error.to_string();
        assert!(text.contains(advice), "{text}");
        assert_eq!(lab.server.connections(), 1, "{text}");

        let error = hurried(lab.connector().check()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(lab.server.connections(), 2, "{text}");
    }
}

/// Servers for one certificate, each of which sends on to the one before.
async fn gateways(count: usize) -> (Vec<Lab>, Authority) {
    let authority = Authority::new();
    let mut labs: Vec<Lab> = Vec::new();
    for _ in 0..count {
        let certificate = authority.issue(&["127.0.0.1"]);
        let mut script = script(&[ID]).certificate(certificate).on(FROM, ids(3));
        if let Some(lab) = labs.last() {
            script = script.route("127.0.0.1", lab.server.port());
        }
        labs.push(Lab::trusting(script.start().await, &authority.pem()));
    }
    (labs, authority)
}

#[tokio::test]
async fn a_gateway_may_send_to_another_server_once() {
    let (labs, _authority) = gateways(2).await;
    let [behind, gateway] = <[Lab; 2]>::try_from(labs).ok().unwrap();
    assert_eq!(gateway.read().await.unwrap().len(), 3);
    assert_eq!(gateway.server.requests().len(), 0);
    assert_eq!(behind.server.logins()[0].password, PASSWORD);
}

#[tokio::test]
async fn a_second_redirect_is_refused() {
    let (labs, _authority) = gateways(3).await;
    let [last, second, first] = <[Lab; 3]>::try_from(labs).ok().unwrap();
    let error = hurried(first.read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains("sent to yet another"), "{text}");
    assert_eq!(second.server.connections(), 1);
    assert_eq!(last.server.connections(), 0);
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name_that_was_typed() {
    let elsewhere = Lab::start(script(&[ID]).on(FROM, ids(3))).await;
    let sends = Script::new().route("127.0.0.1", elsewhere.server.port());
    let gateway = Lab::start(sends).await;
    let error = gateway.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        elsewhere.server.logins().is_empty(),
        "the password was sent"
    );
}

#[tokio::test]
async fn a_token_signs_in() {
    let mut lab = Lab::start(
        Script::new()
            .on("sys.databases", crate::lab::database(true, true))
            .on("OBJECT_ID(N'[dbo].[t]')", crate::lab::catalogue(&[ID]))
            .on(FROM, ids(3)),
    )
    .await;
    lab.config.auth = Authentication::Entra {
        token: Secret::new("eyJ0.token"),
    };
    assert_eq!(lab.read().await.unwrap().len(), 3);
    let [login] = <[_; 1]>::try_from(lab.server.logins()).unwrap();
    assert_eq!(login.token.as_deref(), Some("eyJ0.token"));
    assert_eq!((&*login.user, &*login.password), ("", ""));
}

#[tokio::test]
async fn what_is_set_is_what_the_server_sees() {
    let mut lab = Lab::start(script(&[ID]).on(FROM, ids(3))).await;
    lab.config.read_only_intent = true;
    lab.config.application_name = "inventory".to_owned();
    lab.config.packet_size = 4096;
    lab.config.lock_timeout = std::time::Duration::from_secs(7);
    lab.config.max_dop = 1;
    assert_eq!(lab.read().await.unwrap().len(), 3);
    let [login] = <[_; 1]>::try_from(lab.server.logins()).unwrap();
    assert!(login.read_only);
    assert_eq!(
        (&*login.app_name, &*login.database, login.packet_size),
        ("inventory", "db", 4096)
    );
    let first = &lab.server.requests()[0].text;
    for setting in [
        "SET ANSI_NULLS ON",
        "SET ANSI_WARNINGS ON",
        "SET CONCAT_NULL_YIELDS_NULL ON",
        "SET QUOTED_IDENTIFIER ON",
        "SET ARITHABORT ON",
        "SET DEADLOCK_PRIORITY LOW",
        "SET LOCK_TIMEOUT 7000",
    ] {
        assert!(first.contains(setting), "{first}");
    }
    assert!(lab.reads()[0].ends_with(" OPTION (MAXDOP 1)"));
}

#[tokio::test]
async fn a_long_statement_goes_in_packets_of_the_size_agreed_on() {
    // The server closes the connection over a packet of another size.
    for (server, client) in [(512, 4096), (32767, 4096), (32767, 16383)] {
        let script = script(&[ID]).on(FROM, ids(3)).packet_size(server);
        let mut lab = Lab::start(script).await;
        lab.config.packet_size = client;
        let filter = format!("'{}' <> ''", "é".repeat(40_000));
        lab.config.datasets[0].filter = Some(filter.clone());
        assert_eq!(lab.read().await.unwrap().len(), 3);
        assert!(lab.reads()[0].contains(&filter));
    }
}
