use std::{
    path::Path,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering::SeqCst},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, prelude::*};
use connector_core::{Error, ErrorKind, Result, Secret};
use connector_http::{
    Assertion, ClientCertificate, ClientCredentials, Fixed, ManagedIdentity, PasswordGrant, Proof,
    Request, SignIn, Signature, Token, Transport,
};
use connector_testkit::http::{HttpReply, HttpRequest, Scripted, TokioClock};
use futures::future::join_all;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey,
    VerificationAlgorithm,
};

use crate::lab::{get, signed_in, text, url};

const ENDPOINT: &str = "https://login.test/acme/oauth2/v2.0/token";

fn by_secret() -> ClientCredentials {
    ClientCredentials::new(url(ENDPOINT), "app", Proof::Secret(Secret::new("s3cr+t")))
        .scope("https://source.test/.default")
}

fn form(request: &HttpRequest) -> Vec<(String, String)> {
    url::form_urlencoded::parse(&request.body)
        .into_owned()
        .collect()
}

fn field(request: &HttpRequest, name: &str) -> Option<String> {
    form(request)
        .into_iter()
        .find(|(own, _)| own == name)
        .map(|(_, value)| value)
}

fn is_login(request: &HttpRequest) -> bool {
    request.target.starts_with("https://login.test/")
}

/// A source that takes `t1`, `t2` … as they are given, each once more than the one before.
fn source(lives: &'static str) -> Arc<Scripted> {
    let given = AtomicUsize::new(0);
    Scripted::new(move |request| {
        if is_login(request) {
            let number = given.fetch_add(1, SeqCst) + 1;
            let token = format!(
                r#"{{"token_type":"Bearer","expires_in":{lives},"access_token":"t{number}"}}"#
            );
            return HttpReply::json(token);
        }
        HttpReply::status(200).chunk(request.header("authorization").unwrap_or("none"))
    })
}

#[tokio::test(start_paused = true)]
async fn a_secret_gets_a_token_that_is_kept_until_shortly_before_its_end() {
    let script = source("3600");
    let transport = signed_in(&script, by_secret());
    let said = async || text(transport.send(get("/")).await.unwrap()).await;
    assert_eq!(said().await, "Bearer t1");
    tokio::time::sleep(Duration::from_mins(54)).await;
    assert_eq!(said().await, "Bearer t1");
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(said().await, "Bearer t2");
    let login = &script.requests()[0];
    assert_eq!(
        form(login),
        [
            ("grant_type", "client_credentials"),
            ("client_id", "app"),
            ("scope", "https://source.test/.default"),
            ("client_secret", "s3cr+t"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(login.header("authorization"), None);
}

#[tokio::test(start_paused = true)]
async fn many_requests_at_once_sign_in_once() {
    let script = source("\"3600\"");
    let transport = signed_in(&script, by_secret());
    let all = join_all((0..50).map(|_| transport.send(get("/")))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(script.requests().iter().filter(|r| is_login(r)).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_replaced_once() {
    let given = AtomicUsize::new(0);
    let script = Scripted::new(move |request| {
        if is_login(request) {
            let number = given.fetch_add(1, SeqCst) + 1;
            return HttpReply::json(format!(
                r#"{{"access_token":"t{number}","expires_in":3600}}"#
            ));
        }
        match request.header("authorization") {
            Some("Bearer t2") => HttpReply::status(200),
            _ => HttpReply::status(401).chunk("no t1 here"),
        }
    });
    let transport = signed_in(&script, by_secret());
    // Ten that were refused at once lead to one sign-in.
    let all = join_all((0..10).map(|_| transport.send(get("/")))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(script.requests().iter().filter(|r| is_login(r)).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_refuses_every_token_is_asked_twice() {
    let given = AtomicUsize::new(0);
    let script = Scripted::new(move |request| {
        if is_login(request) {
            let number = given.fetch_add(1, SeqCst);
            return HttpReply::json(format!(r#"{{"access_token":"tok{number}"}}"#));
        }
        let sent = request.header("authorization").unwrap();
        HttpReply::status(401).chunk(format!("{sent} is refused, {}", &sent[7..]))
    });
    let transport = signed_in(&script, by_secret());
    let error = transport.send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!format!("{error:#}").contains("tok1"), "{error:#}");
    assert_eq!(script.requests().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_refused_is_sent_once() {
    let script = Scripted::in_turn([HttpReply::status(401)]);
    let transport = signed_in(&script, Fixed::basic("me", &Secret::new("pässword")));
    let error = transport.send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let requests = script.requests();
    assert_eq!(requests.len(), 1);
    let sent = requests[0].header("authorization").unwrap();
    let pair = BASE64_STANDARD.decode(&sent["Basic ".len()..]).unwrap();
    assert_eq!(pair, "me:pässword".as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_was_refused_rests() {
    let script = Scripted::in_turn([HttpReply::json(
        r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret 's3cr+t' (s3cr%2Bt). Trace ID: 4711"}"#,
    )
    .with_status(401)]);
    let transport = signed_in(&script, by_secret());
    for _ in 0..20 {
        let error = transport.send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
        let shown = format!("{error:#} {error:?}");
        assert!(
            shown.contains("not its id") && shown.contains("Trace ID: 4711"),
            "{shown}"
        );
        assert!(!shown.contains("s3cr"), "{shown}");
    }
    assert_eq!(script.requests().len(), 1);
    tokio::time::sleep(Duration::from_mins(6)).await;
    transport.send(get("/")).await.unwrap_err();
    assert_eq!(script.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_say_what_to_do() {
    use ErrorKind as K;
    for (status, code, description, kind, advice) in [
        (
            401,
            "invalid_client",
            "AADSTS7000222: x",
            K::Auth,
            "expired",
        ),
        (
            400,
            "unauthorized_client",
            "AADSTS700016: x",
            K::Config,
            "client id",
        ),
        (
            400,
            "invalid_request",
            "AADSTS90002: x",
            K::Config,
            "tenant",
        ),
        (401, "invalid_client", "AADSTS700024: x", K::Auth, "clock"),
        (
            401,
            "invalid_client",
            "AADSTS700027: x",
            K::Auth,
            "certificate",
        ),
        (
            400,
            "invalid_grant",
            "AADSTS65001: x",
            K::Permission,
            "adminconsent",
        ),
        (
            400,
            "invalid_grant",
            "AADSTS53003: x",
            K::Permission,
            "Conditional Access",
        ),
        (401, "invalid_client", "", K::Auth, "secret is wrong"),
        (400, "unauthorized_client", "", K::Config, "grant type"),
        (400, "unsupported_grant_type", "", K::Config, "switched off"),
        (403, "", "", K::Auth, "refused"),
        (404, "", "", K::Config, "address"),
    ] {
        let body = format!(r#"{{"error":"{code}","error_description":"{description}"}}"#);
        let script = Scripted::in_turn([HttpReply::json(body).with_status(status)]);
        let error = signed_in(&script, by_secret())
            .send(get("/"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error:#}");
        assert!(error.message().contains(advice), "{error:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_is_busy_is_waited_for() {
    let script = Scripted::in_turn([
        HttpReply::status(429).header("retry-after", "4"),
        HttpReply::status(503),
        HttpReply::json(r#"{"access_token":"t"}"#),
        HttpReply::status(200),
    ]);
    let transport = signed_in(&script, by_secret());
    // Even for what may be sent only once: it was not sent yet.
    let post = Request::post(url("https://source.test/"), "text/plain", "x").unwrap();
    transport.send(post).await.unwrap();
    assert_eq!(script.times()[1].as_secs(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_lives_is_used_while_no_other_is_to_be_had() {
    let up = Arc::new(AtomicUsize::new(1));
    let script = Scripted::new({
        let up = Arc::clone(&up);
        move |request| match (is_login(request), up.load(SeqCst)) {
            (true, 0) => HttpReply::closed(),
            (true, _) => HttpReply::json(r#"{"access_token":"t","expires_in":3600}"#),
            (false, _) => HttpReply::status(200),
        }
    });
    let transport = signed_in(&script, by_secret());
    transport.send(get("/")).await.unwrap();
    up.store(0, SeqCst);
    tokio::time::sleep(Duration::from_mins(57)).await;
    transport.send(get("/")).await.unwrap();
    transport.send(get("/")).await.unwrap();
    assert_eq!(script.requests().iter().filter(|r| is_login(r)).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_claims_challenge_is_answered_where_that_was_declared() {
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    let challenge = format!(
        r#"Bearer realm="", error="insufficient_claims", claims="{}""#,
        BASE64_STANDARD.encode(claims)
    );
    for declared in [true, false] {
        let given = AtomicUsize::new(0);
        let challenge = challenge.clone();
        let script = Scripted::new(move |request| {
            if is_login(request) {
                let number = given.fetch_add(1, SeqCst) + 1;
                return HttpReply::json(format!(r#"{{"access_token":"t{number}"}}"#));
            }
            match request.header("authorization") {
                Some("Bearer t2") => HttpReply::status(200),
                _ => HttpReply::status(401).header("www-authenticate", &challenge),
            }
        });
        let sign_in = if declared {
            by_secret().claims_challenges()
        } else {
            by_secret()
        };
        signed_in(&script, sign_in).send(get("/")).await.unwrap();
        let requests = script.requests();
        let asked: Vec<_> = requests
            .iter()
            .filter(|r| is_login(r))
            .map(|r| field(r, "claims"))
            .collect();
        if declared {
            assert_eq!(
                asked[0].as_deref(),
                Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#)
            );
            assert_eq!(
                asked[1].as_deref(),
                Some(
                    r#"{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":{"values":["cp1"]}}}"#
                )
            );
        } else {
            assert_eq!(asked, [None, None]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_credential_goes_to_its_host_alone_and_never_in_clear_text() {
    let script = Scripted::in_turn([HttpReply::status(200)]);
    let transport = signed_in(&script, Fixed::bearer(&Secret::new("t")));
    for other in [
        "https://evil.test/",
        "http://source.test/",
        "https://source.test:444/",
    ] {
        let error = transport.send(Request::get(url(other))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{other}");
    }
    assert!(script.requests().is_empty());
    transport
        .send(Request::get(url("https://blob.test/")).without_credential())
        .await
        .unwrap();
    assert_eq!(script.requests()[0].header("authorization"), None);
    // Clear text: not even where it is the source.
    let clear = crate::lab::layers(crate::lab::SERVICE, connector_http::HttpConfig::default())
        .sign_in(
            &url("http://source.test"),
            Arc::new(Fixed::bearer(&Secret::new("t"))),
        )
        .over(script.clone())
        .unwrap();
    let error = clear
        .send(Request::get(url("http://source.test/")))
        .await
        .unwrap_err();
    assert!(error.message().contains("clear text"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_signs() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let certificate = ClientCertificate {
        certificate: data.join("rsa-certificate.pem"),
        key: Secret::new(std::fs::read_to_string(data.join("rsa-key.pem")).unwrap()),
    };
    let (_, der) = pem(&certificate.key);
    let public = RsaKeyPair::from_pkcs8(&der).unwrap().public().clone();
    let own = pem(&Secret::new(
        std::fs::read_to_string(&certificate.certificate).unwrap(),
    ))
    .1;
    let cases: [(_, _, &dyn VerificationAlgorithm); 2] = [
        (Signature::Ps256, "PS256", &RSA_PSS_2048_8192_SHA256),
        (Signature::Rs256, "RS256", &RSA_PKCS1_2048_8192_SHA256),
    ];
    for (signature, name, algorithm) in cases {
        let assertion =
            Assertion::new(&certificate, signature, Arc::new(TokioClock::new())).unwrap();
        let script = source("600");
        let sign_in = ClientCredentials::new(
            url(ENDPOINT),
            "app",
            Proof::Certificate(Box::new(assertion)),
        );
        let transport = signed_in(&script, sign_in);
        transport.send(get("/")).await.unwrap();
        tokio::time::sleep(Duration::from_mins(9)).await;
        transport.send(get("/")).await.unwrap();
        let requests = script.requests();
        let logins: Vec<_> = requests.iter().filter(|r| is_login(r)).collect();
        let mut ids = Vec::new();
        for (login, at) in logins.iter().zip([0, 540]) {
            assert_eq!(
                field(login, "client_assertion_type").unwrap(),
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            );
            assert_eq!(field(login, "client_secret"), None);
            let jwt = field(login, "client_assertion").unwrap();
            let (signed, proof) = jwt.rsplit_once('.').unwrap();
            let proof = BASE64_URL_SAFE_NO_PAD.decode(proof).unwrap();
            UnparsedPublicKey::new(algorithm, &public)
                .verify(signed.as_bytes(), &proof)
                .unwrap();
            let (header, claims) = signed.split_once('.').unwrap();
            let json = |part| -> serde_json::Value {
                serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
            };
            let (header, claims) = (json(header), json(claims));
            let hash =
                |algorithm| BASE64_URL_SAFE_NO_PAD.encode(ring::digest::digest(algorithm, &own));
            assert_eq!(header["alg"], name);
            assert_eq!(header["x5t#S256"], hash(&ring::digest::SHA256));
            assert_eq!(header["x5t"], hash(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY));
            assert_eq!(claims["aud"], ENDPOINT);
            assert_eq!(
                (&claims["iss"], &claims["sub"]),
                (&"app".into(), &"app".into())
            );
            // 2026-11-21T00:00:00Z, and nine minutes later.
            let now = 1_795_219_200 + at;
            assert_eq!(claims["iat"], now);
            assert_eq!(
                (&claims["nbf"], &claims["exp"]),
                (&(now - 60).into(), &(now + 540).into())
            );
            ids.push(claims["jti"].clone());
        }
        assert_ne!(ids[0], ids[1]);
    }
}

fn pem(text: &Secret) -> (String, Vec<u8>) {
    let mut lines = text.expose().lines();
    let label = lines.next().unwrap().to_owned();
    let body: String = lines
        .take_while(|line| !line.starts_with("-----"))
        .collect();
    (label, BASE64_STANDARD.decode(body).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_machine_has_an_identity() {
    let script = Scripted::new(|request| {
        if request.target.starts_with("http://169.254.169.254/") {
            assert_eq!(request.header("metadata"), Some("true"));
            assert_eq!(
                request.query(),
                "api-version=2018-02-01&resource=https%3A%2F%2Fsource.test%2F&client_id=two"
            );
            // Numbers as text, and no `expires_in`, as App Service has it.
            return HttpReply::json(
                r#"{"access_token":"t","expires_on":"1795222800","refresh_token":""}"#,
            );
        }
        assert_eq!(request.header("authorization"), Some("Bearer t"));
        HttpReply::status(200)
    });
    let clock = Arc::new(TokioClock::new());
    let identity =
        ManagedIdentity::new("https://source.test/", Some("two".to_owned()), clock).unwrap();
    let transport = signed_in(&script, identity);
    transport.send(get("/")).await.unwrap();
    tokio::time::sleep(Duration::from_mins(54)).await;
    transport.send(get("/")).await.unwrap();
    assert_eq!(script.requests().len(), 3);
    tokio::time::sleep(Duration::from_mins(2)).await;
    transport.send(get("/")).await.unwrap();
    assert_eq!(script.requests().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_is_not_there_is_told_from_one_that_is_not_ready() {
    let identity = || ManagedIdentity::new("r", None, Arc::new(TokioClock::new())).unwrap();
    let script = Scripted::in_turn([
        HttpReply::status(404),
        HttpReply::status(410),
        HttpReply::json(r#"{"access_token":"t","expires_in":"60"}"#),
        HttpReply::status(200),
    ]);
    signed_in(&script, identity()).send(get("/")).await.unwrap();
    let script = Scripted::in_turn([HttpReply::status(400)]);
    let error = signed_in(&script, identity())
        .send(get("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:#}");
    let script = Scripted::in_turn([HttpReply::closed()]);
    let error = signed_in(&script, identity())
        .send(get("/"))
        .await
        .unwrap_err();
    assert!(error.message().contains("no machine of Azure"), "{error:#}");
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_user_signs_in_again_by_refresh_token() {
    let refreshed = AtomicUsize::new(0);
    let script = Scripted::new(move |request| {
        if !is_login(request) {
            return HttpReply::status(200);
        }
        let grant = field(request, "grant_type").unwrap();
        match (grant.as_str(), field(request, "refresh_token").as_deref()) {
            ("password", None) => {
                assert_eq!(field(request, "username").as_deref(), Some("me"));
                assert_eq!(field(request, "client_secret").as_deref(), Some("x"));
                HttpReply::json(r#"{"access_token":"a","expires_in":1800,"refresh_token":"r1"}"#)
            }
            // No new one: the old one is still good.
            ("refresh_token", Some("r1")) if refreshed.fetch_add(1, SeqCst) == 0 => {
                HttpReply::json(r#"{"access_token":"b","expires_in":1800}"#)
            }
            ("refresh_token", Some("r1")) => {
                HttpReply::json(r#"{"access_token":"b","expires_in":1800,"refresh_token":"r2"}"#)
            }
            _ => HttpReply::json(r#"{"error":"invalid_grant"}"#).with_status(400),
        }
    });
    let grant = PasswordGrant::new(url(ENDPOINT), "me", Secret::new("p"))
        .client("app", Some(Secret::new("x")));
    let transport = signed_in(&script, grant);
    for _ in 0..4 {
        transport.send(get("/")).await.unwrap();
        tokio::time::sleep(Duration::from_mins(28)).await;
    }
    let requests = script.requests();
    let grants: Vec<_> = requests
        .iter()
        .filter_map(|r| field(r, "grant_type"))
        .collect();
    assert_eq!(
        grants,
        [
            "password",
            "refresh_token",
            "refresh_token",
            "refresh_token",
            "password"
        ]
    );
}

/// A source with sessions, as a connector writes it.
#[derive(Debug)]
struct Session;

#[async_trait]
impl SignIn for Session {
    async fn sign_in(&self, transport: &dyn Transport, _: Option<&str>) -> Result<Token> {
        let login = Request::form(url("https://login.test/session"), [("user", "me")]);
        let reply = transport.send(login.without_credential()).await?;
        Token::cookie(&reply, "SESSION")
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_a_cookie() {
    let given = AtomicUsize::new(0);
    let script = Scripted::new(move |request| {
        if is_login(request) {
            let number = given.fetch_add(1, SeqCst) + 1;
            return HttpReply::status(201)
                .header("set-cookie", "other=1")
                .header(
                    "set-cookie",
                    &format!("SESSION=s{number}; Path=/; HttpOnly"),
                );
        }
        match request.header("cookie") {
            // The first one was idle for too long.
            Some("SESSION=s2") => HttpReply::status(200),
            _ => HttpReply::status(401),
        }
    });
    signed_in(&script, Session).send(get("/")).await.unwrap();
    let script = Scripted::in_turn([HttpReply::status(200)]);
    let error: Error = signed_in(&script, Session)
        .send(get("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
}

#[test]
fn nothing_that_signs_in_prints_its_secret() {
    let secret = || Secret::new("canary");
    let shown = format!(
        "{:?} {:?} {:?} {:?}",
        Fixed::basic("u", &secret()),
        Fixed::header("x-api-key", secret()),
        ClientCredentials::new(url(ENDPOINT), "app", Proof::Secret(secret())),
        PasswordGrant::new(url(ENDPOINT), "u", secret()),
    );
    assert!(!shown.contains("canary"), "{shown}");
}
