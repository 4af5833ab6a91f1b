//! Named instances: the port comes from SQL Server Browser, and nothing else does.

use connector_core::Secret;
use connector_testkit::{
    BrowserAnswer, SqlBrowser,
    tds::{Script, TdsServer},
};

use super::*;
use crate::{error::explain, link::Link};

/// A server on this machine whose instance `INV` only the Browser knows the port of.
struct Lab {
    server: TdsServer,
    browser: SqlBrowser,
    target: Arc<Target>,
    _authority: tempfile::NamedTempFile,
}

async fn lab(answer: impl FnOnce(u16) -> BrowserAnswer) -> Lab {
    let server = Script::new().login("reader", "Passw0rd!").start().await;
    let browser = SqlBrowser::start(answer(server.port())).await;
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), server.authority_pem()).unwrap();
    let mut config = SqlServerConfig::<()>::new("127.0.0.1\\INV".parse().unwrap(), "db");
    config.auth = Authentication::Sql {
        user: "reader".to_owned(),
        password: Secret::new("Passw0rd!"),
    };
    config.ca_file = Some(authority.path().to_owned());
    let mut target = Target::new(config).unwrap();
    target.browser_port = browser.port();
    Lab {
        server,
        browser,
        target: Arc::new(target),
        _authority: authority,
    }
}

#[tokio::test]
async fn the_browser_tells_the_port() {
    let lab = lab(BrowserAnswer::Port).await;
    Link::open(&lab.target).await.unwrap();
    assert_eq!(lab.browser.asked(), ["INV"]);
    assert_eq!(lab.server.logins().len(), 1);
}

#[tokio::test]
async fn nobody_is_asked_where_the_port_is_known() {
    let lab = lab(|_| BrowserAnswer::Silence).await;
    let mut config = lab.target.config.clone();
    let name = format!("127.0.0.1\\INV,{}", lab.server.port());
    config.server = name.parse().unwrap();
    let mut target = Target::new(config).unwrap();
    target.browser_port = lab.browser.port();
    Link::open(&Arc::new(target)).await.unwrap();
    assert!(lab.browser.asked().is_empty());
}

#[tokio::test]
async fn a_silent_browser_is_asked_three_times_and_the_way_around_it_told() {
    for answer in [
        BrowserAnswer::Silence,
        // Of no use either.
        BrowserAnswer::Raw(vec![5, 0, 0]),
        BrowserAnswer::OtherInstance("OTHER".to_owned(), 1433),
    ] {
        let lab = lab(|_| answer).await;
        // Nothing else is waited for, so the clock leaps to the end of each wait.
        tokio::time::pause();
        let error = Link::open(&lab.target).await.unwrap_err();
        tokio::time::resume();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.contains("INSTANCE,port"), "{text}");
        assert_eq!(lab.browser.asked(), ["INV"; 3]);
        assert!(lab.server.logins().is_empty());
    }
}

#[tokio::test]
async fn an_instance_without_tcp_is_told() {
    let lab = lab(|_| BrowserAnswer::TcpDisabled).await;
    let error = Link::open(&lab.target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("TCP/IP switched off"), "{text}");
    assert_eq!(lab.browser.asked().len(), 1);
}

#[tokio::test]
async fn a_browser_that_lies_gets_no_password() {
    // Whoever answers in the server's name sends here, where another authority's certificate is.
    let elsewhere = Script::new().start().await;
    let port = elsewhere.port();
    let lab = lab(|_| BrowserAnswer::Port(port)).await;
    let error = lab.target.connect().await.map(drop).unwrap_err();
    let error = explain(error, lab.target.config(), None, None);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(elsewhere.logins().is_empty());
}
