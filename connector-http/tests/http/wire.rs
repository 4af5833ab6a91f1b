//! Over sockets: what a transport without a network can't show.

use std::{path::PathBuf, sync::Arc, time::Duration};

use connector_core::{ErrorKind, Result, Secret};
use connector_http::{
    ClientCertificate, Fixed, HttpConfig, Proxy, Request, Stack, Transport, download,
};
use connector_testkit::{
    Authority,
    http::{HttpReply, HttpRequest, HttpServer, ServerTls},
};

use crate::lab::{SERVICE, text, url};

fn open(config: HttpConfig) -> Arc<dyn Transport> {
    let mut config = config;
    config.retry.pause = Duration::from_millis(1);
    config.retry.attempts = config.retry.attempts.min(3);
    Stack::new(SERVICE.request_id("client-request-id"), config)
        .build()
        .unwrap()
}

async fn get(transport: &Arc<dyn Transport>, address: &str) -> Result<String> {
    Ok(text(transport.send(Request::get(url(address))).await?).await)
}

fn trusting(authority: &Authority, folder: &tempfile::TempDir) -> HttpConfig {
    let mut config = HttpConfig::default();
    config.ca_file = Some(written(folder, "authority.pem", &authority.pem()));
    config
}

fn written(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn says_who_asks_and_takes_compressed_replies() {
    let server = HttpServer::start(|request| {
        assert_eq!(request.header("accept-encoding"), Some("gzip"));
        assert_eq!(request.header("cookie"), None);
        // "hello", as gzip has it.
        let packed = [
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 7, 0, 0x86, 0xa6,
            0x10, 0x36, 5, 0, 0, 0,
        ];
        HttpReply::status(200)
            .header("content-encoding", "gzip")
            .header("set-cookie", "a=b")
            .chunk(packed)
    })
    .await;
    let transport = open(HttpConfig::default());
    for _ in 0..2 {
        assert_eq!(
            get(&transport, &server.url("/a?b=c%20d")).await.unwrap(),
            "hello"
        );
    }
    let requests = server.requests();
    assert_eq!(requests[0].target, "/a?b=c%20d");
    assert!(
        requests[0]
            .header("user-agent")
            .unwrap()
            .starts_with("DataSync/")
    );
    let ids: Vec<_> = requests
        .iter()
        .map(|r| r.header("client-request-id").unwrap())
        .collect();
    assert_eq!(ids[0].len(), 36);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_cut_body_is_asked_for_again_and_a_hung_one_is_given_up() {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let server = HttpServer::start(move |request| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match (request.path(), number) {
            ("/cut", 0) => HttpReply::status(200)
                .header("content-length", "10")
                .chunk("half")
                .cut(),
            ("/cut", 1) => HttpReply::status(200).chunk("ha").chunk("lf").cut(),
            ("/cut", _) => HttpReply::status(200).chunk("whole"),
            ("/closed", _) => HttpReply::closed(),
            ("/never", _) => HttpReply::never(),
            _ => HttpReply::status(200).chunk("half").hang(),
        }
    })
    .await;
    let transport = open(HttpConfig::default());
    assert_eq!(get(&transport, &server.url("/cut")).await.unwrap(), "whole");
    let mut config = HttpConfig::default();
    config.retry.attempts = 1;
    config.timeouts.idle = Duration::from_millis(500);
    let transport = open(config);
    for (path, kind) in [
        ("/closed", ErrorKind::Unavailable),
        ("/never", ErrorKind::Unavailable),
        ("/hang", ErrorKind::Incomplete),
    ] {
        let error = get(&transport, &server.url(path)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:#}");
    }
    assert_eq!(server.requests().len(), 3 + 3);
}

#[tokio::test]
async fn a_redirect_gets_no_credential() {
    let blob = HttpServer::start(|request| match request.path() {
        "/again" => HttpReply::redirect("/blob?sig=canary"),
        _ => HttpReply::status(200).chunk("report"),
    })
    .await;
    let to = blob.url("/again").replace("localhost", "127.0.0.1");
    let source = HttpServer::start(move |request| match request.path() {
        "/report" => HttpReply::redirect("/other"),
        "/other" => HttpReply::redirect(&to),
        "/round" => HttpReply::redirect("/round?sig=canary"),
        _ => HttpReply::status(404),
    })
    .await;
    let transport = Stack::new(SERVICE, HttpConfig::default())
        .sign_in(
            &url(&source.url("/")),
            Arc::new(Fixed::bearer(&Secret::new("t"))),
        )
        .build()
        .unwrap();
    let request = || {
        let request = Request::get(url(&source.url("/report")));
        request
            .header("x-own", "1")
            .unwrap()
            .header("cookie", "c")
            .unwrap()
    };
    // Followed when asked for, and only then.
    let error = transport.send(request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source, "{error:#}");
    assert!(blob.requests().is_empty());
    let reply = download(&*transport, request()).await.unwrap();
    assert_eq!(text(reply).await, "report");
    for asked in source.requests() {
        assert_eq!(asked.header("authorization"), Some("Bearer t"));
        assert_eq!(asked.header("x-own"), Some("1"));
    }
    let asked = blob.requests();
    assert_eq!(asked.len(), 2);
    for asked in asked {
        for name in ["authorization", "x-own", "cookie"] {
            assert_eq!(asked.header(name), None);
        }
    }
    let round = Request::get(url(&source.url("/round")));
    let error = download(&*transport, round).await.unwrap_err();
    assert!(error.message().contains("without an end"), "{error}");
    assert!(
        !format!("{error:#} {error:?}").contains("canary"),
        "{error:#}"
    );
}

#[tokio::test]
async fn a_thumbprint_stands_for_the_certificate() {
    let authority = Authority::new();
    // Neither authority, name nor dates would be accepted.
    let certificate = authority.issue_expired(&["other.example"]);
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate.der());
    let hex: Vec<_> = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let pinned = |thumbprint: &str| {
        let mut config = HttpConfig::default();
        config.thumbprint = Some(thumbprint.parse().unwrap());
        open(config)
    };
    let server =
        HttpServer::start_tls(&ServerTls::new(certificate), |_| HttpReply::json("1")).await;
    for form in [hex.join(":"), hex.concat().to_lowercase()] {
        let reply = get(&pinned(&form), &server.url("/")).await;
        assert_eq!(reply.unwrap(), "1");
    }
    let other = ServerTls::new(authority.issue(&["localhost"]));
    let other = HttpServer::start_tls(&other, |_| HttpReply::json("1")).await;
    let error = get(&pinned(&hex.concat()), &other.url("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("`http.thumbprint`"), "{error:#}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_that_is_set() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = ServerTls::new(authority.issue(&["localhost"]));
    let server = HttpServer::start_tls(&tls, |_| HttpReply::json("1")).await;
    let transport = open(trusting(&authority, &folder));
    assert_eq!(get(&transport, &server.url("/")).await.unwrap(), "1");

    let error = get(&open(HttpConfig::default()), &server.url("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("http.ca_file"), "{error:#}");
    let other = server.url("/").replace("localhost", "127.0.0.1");
    let error = get(&transport, &other).await.unwrap_err();
    assert!(error.message().contains("another name"), "{error:#}");
    let expired = ServerTls::new(authority.issue_expired(&["localhost"]));
    let expired = HttpServer::start_tls(&expired, |_| HttpReply::json("1")).await;
    let error = get(&transport, &expired.url("/")).await.unwrap_err();
    assert!(error.message().contains("expired"), "{error:#}");
    assert!(expired.requests().is_empty());
    // TLS meets a server that has none.
    let clear = HttpServer::start(|_| HttpReply::json("1")).await;
    let address = clear.url("/").replace("http:", "https:");
    let error = get(&transport, &address).await.unwrap_err();
    assert!(error.message().contains("does not speak TLS"), "{error:#}");
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = ServerTls::new(authority.issue(&["localhost"])).clients_of(&authority.pem());
    let server = HttpServer::start_tls(&tls, |_| HttpReply::json("1")).await;
    let own = authority.issue_client("datasync");
    let mut config = trusting(&authority, &folder);
    config.client_certificate = Some(ClientCertificate {
        certificate: written(&folder, "own.pem", own.pem()),
        key: Secret::new(own.key_pem()),
    });
    assert_eq!(
        get(&open(config.clone()), &server.url("/")).await.unwrap(),
        "1"
    );
    let presented = server.requests()[0].client_certificate.clone();
    assert_eq!(presented.as_deref(), Some(own.der()));

    let error = get(&open(trusting(&authority, &folder)), &server.url("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
    assert!(
        error.message().contains("http.client_certificate"),
        "{error:#}"
    );
    // The key of another one.
    let stranger = authority.issue_client("stranger");
    config.client_certificate.as_mut().unwrap().key = Secret::new(stranger.key_pem());
    let error = Stack::new(SERVICE, config).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("own.pem"), "{error:#}");
}

#[tokio::test]
async fn a_proxy_is_used_as_set() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let tls = ServerTls::new(authority.issue(&["source.test"]));
    let source = HttpServer::start_tls(&tls, |_| HttpReply::json("secure")).await;
    let admits = |request: &HttpRequest| {
        if request.header("proxy-authorization") != Some("Basic dTpw") {
            return HttpReply::status(407);
        }
        HttpReply::status(200).chunk("clear")
    };
    let proxy = HttpServer::start_proxy(&source, admits).await;
    let mut config = trusting(&authority, &folder);
    let set = |proxy: &str| {
        toml::from_str::<HttpConfig>(&format!("proxy = {proxy}"))
            .unwrap()
            .proxy
    };
    let address = proxy.url("");
    config.proxy = set(&format!(
        "{{ url = '{address}', user = 'u', password = 'p', except = ['127.0.0.2'] }}"
    ));
    let transport = open(config.clone());
    // Nobody knows these names but the proxy.
    assert_eq!(
        get(&transport, "https://source.test/a").await.unwrap(),
        "secure"
    );
    assert_eq!(
        get(&transport, "http://clear.test/b?c").await.unwrap(),
        "clear"
    );
    let requests = proxy.requests();
    assert_eq!(
        (requests[0].method.as_str(), requests[0].target.as_str()),
        ("CONNECT", "source.test:443")
    );
    assert_eq!(requests[1].target, "http://clear.test/b?c");
    // This machine is never behind one.
    let near = HttpServer::start(|_| HttpReply::json("near")).await;
    assert_eq!(get(&transport, &near.url("/")).await.unwrap(), "near");
    assert_eq!(proxy.requests().len(), 2);

    config.proxy = set(&format!("'{address}'"));
    let error = get(&open(config.clone()), "http://clear.test/")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("proxy"), "{error:#}");
    let error = get(&open(config.clone()), "https://source.test/")
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("proxy"), "{error:#}");
    config.proxy = Proxy::Direct;
    let error = get(&open(config), "https://source.test/")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("name of the host"), "{error:#}");
}

#[tokio::test]
async fn a_host_that_is_down_is_tried_again() {
    let gone = HttpServer::start(|_| HttpReply::status(200))
        .await
        .url("/?secret=canary");
    let error = get(&open(HttpConfig::default()), &gone).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let shown = format!("{error:#} {error:?}");
    assert!(
        shown.contains("attempts: 3") && !shown.contains("canary"),
        "{shown}"
    );
}
