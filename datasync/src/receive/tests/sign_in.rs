//! Who may send.

use std::time::Duration;

use connector_core::{ErrorKind, Secret, Sink};
use serde_json::json;

use super::{Lab, body, csr, enrolment, refusal};
use crate::sink::{
    UploadSink,
    testing::{Source, deliver},
};

/// Sends one more cycle.
async fn works(
    sink: &mut UploadSink,
    source: &mut Source,
    cores: i64,
) -> connector_core::Result<()> {
    let rows = vec![source.device("PC-1", cores)];
    let cycle = if source.rows.is_empty() {
        source.full(rows)
    } else {
        source.change(rows)
    };
    deliver(sink, &cycle).await
}

#[tokio::test]
async fn a_setup_token_is_used_once_and_its_answer_may_be_lost() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let token = lab.setup_token("acme", &["lab"]);
    let nobody = lab.caller(&running, &Secret::new("none"));
    let (own, other) = (csr(), csr());
    let ask = |csr: &str| json!({ "token": token.expose(), "csr": csr });
    let first = body(nobody.json("/auth/v1/enrol", ask(&own)).await.unwrap()).await;
    let again = body(nobody.json("/auth/v1/enrol", ask(&own)).await.unwrap()).await;
    assert_eq!(first, again);
    let used = refusal(nobody.json("/auth/v1/enrol", ask(&other)).await);
    assert_eq!(used, (401, "unauthorized".into()));
    // Remembered by the next process too.
    running.kill().await;
    let running = lab.start().await;
    let nobody = lab.caller(&running, &Secret::new("none"));
    let again = body(nobody.json("/auth/v1/enrol", ask(&own)).await.unwrap()).await;
    assert_eq!(first, again);
    let used = refusal(nobody.json("/auth/v1/enrol", ask(&other)).await);
    assert_eq!(used, (401, "unauthorized".into()));
    for (wrong, expected) in [
        (
            json!({ "token": "a.b.c", "csr": own }),
            (401, "unauthorized"),
        ),
        (
            json!({ "token": lab.bearer("acme", &["lab"], 60).expose(), "csr": own }),
            (401, "unauthorized"),
        ),
        (
            json!({ "token": lab.setup_token("acme", &["lab"]).expose(), "csr": "x" }),
            (400, "malformed"),
        ),
        (
            json!({ "token": lab.setup_token("initech", &["lab"]).expose(), "csr": own }),
            (403, "sync_not_allowed"),
        ),
        (json!({ "csr": own }), (400, "malformed")),
    ] {
        let (status, code) = refusal(nobody.json("/auth/v1/enrol", wrong).await);
        assert_eq!((status, code.as_str()), expected);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_sender_enrols_once_and_needs_no_token_afterwards() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let mut source = Source::devices("lab");
    let mut sink = lab.enrolling(&running, "sender").await;
    works(&mut sink, &mut source, 1).await.unwrap();
    let proof = "auth_service_url = '$URL/auth'";
    let mut sink = lab.sender(&running, "sender", proof).await;
    works(&mut sink, &mut source, 2).await.unwrap();
    let error = works(
        &mut lab.sender(&running, "another", proof).await,
        &mut source,
        3,
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
    assert!(error.to_string().contains("client_cert_token"), "{error:#}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let file = lab.path("sender").join("identity.json");
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!lab.path("sender").join("candidate.pem").exists());
    }
    running.stop().await;
}

#[tokio::test]
async fn a_setup_token_ends_after_six_days_on_both_sides() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let token = lab.setup_token("acme", &["lab"]);
    lab.clock.advance(Duration::from_hours(24 * 6));
    let nobody = lab.caller(&running, &Secret::new("none"));
    let asked = json!({ "token": token.expose(), "csr": csr() });
    let refused = refusal(nobody.json("/auth/v1/enrol", asked).await);
    assert_eq!(refused, (401, "unauthorized".into()));
    let mut sink = lab.sender(&running, "sender", &enrolment(&token)).await;
    let error = works(&mut sink, &mut Source::devices("lab"), 1)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let text = format!("{error:#}");
    assert!(
        text.contains("has expired") && text.contains("2026-11-27"),
        "{text}"
    );
    assert!(!text.contains(token.expose()), "{text}");
    running.stop().await;
}

#[tokio::test]
async fn a_crash_between_key_and_certificate_is_made_good() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let token = lab.setup_token("acme", &["lab"]);
    let mut source = Source::devices("lab");
    let mut sink = lab.sender(&running, "sender", &enrolment(&token)).await;
    works(&mut sink, &mut source, 1).await.unwrap();
    // The answer was lost: the key is there, the certificate is not.
    let kept = std::fs::read(lab.path("sender").join("identity.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    lab.write("sender/candidate.pem", kept["key"].as_str().unwrap());
    std::fs::remove_file(lab.path("sender").join("identity.json")).unwrap();
    let mut sink = lab.sender(&running, "sender", &enrolment(&token)).await;
    works(&mut sink, &mut source, 2).await.unwrap();
    // With the key lost too, the token is of no use any more.
    std::fs::remove_file(lab.path("sender").join("identity.json")).unwrap();
    let mut sink = lab.sender(&running, "sender", &enrolment(&token)).await;
    let error = works(&mut sink, &mut source, 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(format!("{error:#}").contains("used up"), "{error:#}");
    running.stop().await;
}

#[tokio::test]
async fn bearer_tokens_end_and_certificates_are_renewed_before_they_do() {
    let lab = Lab::new("certificate_life = '90d'\ntoken_life = '60s'");
    let running = lab.start().await;
    let mut source = Source::devices("lab");
    let mut sink = lab.enrolling(&running, "sender").await;
    works(&mut sink, &mut source, 1).await.unwrap();
    let identity = || std::fs::read(lab.path("sender").join("identity.json")).unwrap();
    let first = identity();

    let token = lab.bearer("acme", &["lab"], 60);
    lab.clock.advance(Duration::from_secs(61));
    let late = lab.caller(&running, &token);
    let refused = refusal(late.get("/v1/datasets/lab/devices").await);
    assert_eq!(refused, (401, "unauthorized".into()));
    works(&mut sink, &mut source, 2).await.unwrap();
    assert_eq!(
        identity(),
        first,
        "signed in again with the same certificate"
    );

    lab.clock.advance(Duration::from_hours(24 * 61));
    works(&mut sink, &mut source, 3).await.unwrap();
    let second = identity();
    assert_ne!(second, first, "in the last third of its life it is renewed");
    // Longer than the first one lived.
    lab.clock.advance(Duration::from_hours(24 * 45));
    works(&mut sink, &mut source, 4).await.unwrap();
    assert_eq!(identity(), second);
    // Left alone for too long.
    lab.clock.advance(Duration::from_hours(24 * 100));
    let error = works(&mut sink, &mut source, 5).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:#}");
    running.stop().await;
}

#[tokio::test]
async fn a_new_setup_token_enrols_anew() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let mut lab_rows = Source::devices("lab");
    let mut hr_rows = Source::devices("hr");
    let token = lab.setup_token("acme", &["lab"]);
    let mut sink = lab.sender(&running, "sender", &enrolment(&token)).await;
    works(&mut sink, &mut lab_rows, 1).await.unwrap();
    let error = works(&mut sink, &mut hr_rows, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission, "{error:#}");
    let token = lab.setup_token("acme", &["hr"]);
    let mut sink = lab.sender(&running, "sender", &enrolment(&token)).await;
    works(&mut sink, &mut Source::devices("hr"), 1)
        .await
        .unwrap();
    running.stop().await;
}

#[tokio::test]
async fn an_assertion_is_used_once_and_by_its_own_client() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let nobody = lab.caller(&running, &Secret::new("none"));
    let form = |pairs: &[(&str, &str)]| {
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish()
            .into_bytes()
    };
    for (pairs, expected) in [
        (
            vec![("grant_type", "password")],
            (400, "unsupported_grant_type"),
        ),
        (
            vec![("grant_type", "client_credentials")],
            (400, "invalid_request"),
        ),
        (
            vec![
                ("grant_type", "client_credentials"),
                ("client_assertion_type", crate::upload::ASSERTION_TYPE),
                ("client_assertion", "a.b.c"),
            ],
            (401, "invalid_client"),
        ),
    ] {
        let ty = "application/x-www-form-urlencoded";
        let (status, code) = refusal(nobody.post("/auth/v1/token", ty, form(&pairs)).await);
        assert_eq!((status, code.as_str()), expected);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_as_good_as_a_token() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let proof = |name: &str| {
        let own = lab.client_certificate(name);
        lab.write("client.pem", own.pem());
        lab.write("client.key", own.key_pem());
        let key = lab.path("client.key");
        format!(
            "client_cert = 'client.pem'\nclient_key = {{ file = '{}' }}",
            key.display()
        )
    };
    let mut sink = lab
        .sender(&running, "sender", &proof("agent.acme.test"))
        .await;
    works(&mut sink, &mut Source::devices("lab"), 1)
        .await
        .unwrap();
    let error = works(&mut sink, &mut Source::devices("hr"), 1)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission, "{error:#}");
    let mut other = lab
        .sender(&running, "other", &proof("agent.globex.test"))
        .await;
    let error = works(&mut other, &mut Source::devices("lab"), 1)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:#}");
    // Of an authority that the receiver does not know: no connection at all.
    let strange = connector_testkit::Authority::new().issue_client("agent.acme.test");
    lab.write("client.pem", strange.pem());
    lab.write("client.key", strange.key_pem());
    let key = lab.path("client.key");
    let proof = format!(
        "client_cert = 'client.pem'\nclient_key = {{ file = '{}' }}",
        key.display()
    );
    let mut strange = lab.sender(&running, "strange", &proof).await;
    let mut rows = Source::devices("lab");
    let refused = strange.write(&rows.full(Vec::new()).1).await;
    assert!(refused.is_err());
    running.stop().await;
}
