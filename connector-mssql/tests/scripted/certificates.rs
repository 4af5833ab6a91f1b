//! Whose certificates are taken, and what is said of the others.

use connector_core::ErrorKind;
use connector_testkit::{Authority, Certificate, Listener};

use crate::lab::{FROM, ID, Lab, ids, script};

async fn lab(certificate: Certificate, trusted: &str) -> Lab {
    let script = script(&[ID]).certificate(certificate).on(FROM, ids(3));
    Lab::trusting(script.start().await, trusted)
}

/// What a person is told of a certificate that is not taken.
async fn refusal(lab: &Lab) -> String {
    let error = lab.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(lab.server.logins().is_empty(), "the password was sent");
    error.to_string()
}

#[tokio::test]
async fn a_wrong_name_is_told_with_the_right_ones() {
    let authority = Authority::new();
    let names = ["cm01.acme.local", "sql.acme.local"];
    let mut lab = lab(authority.issue(&names), &authority.pem()).await;
    let text = refusal(&lab).await;
    assert!(
        text.contains("not for 127.0.0.1 but for cm01.acme.local, sql.acme.local:"),
        "{text}"
    );
    assert!(text.contains("`host_name_in_certificate`"), "{text}");

    lab.config.host_name_in_certificate = Some("other.acme.local".to_owned());
    let text = refusal(&lab).await;
    assert!(text.contains("not for other.acme.local but for"), "{text}");
    lab.config.host_name_in_certificate = Some("SQL.acme.local".to_owned());
    assert_eq!(lab.read().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_self_signed_one_is_taken_once_it_is_pinned() {
    let own = Certificate::self_signed(&["127.0.0.1"]);
    let other = lab(own.clone(), &Authority::new().pem()).await;
    let text = refusal(&other).await;
    assert!(text.contains("nobody who is trusted vouches"), "{text}");
    assert!(text.contains("`ca_file`"), "{text}");

    let pinned = lab(own.clone(), own.pem()).await;
    assert_eq!(pinned.read().await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_expired_one_is_refused() {
    let authority = Authority::new();
    let lab = lab(authority.issue_expired(&["127.0.0.1"]), &authority.pem()).await;
    let text = refusal(&lab).await;
    assert!(text.contains("has expired"), "{text}");
}

#[tokio::test]
async fn a_common_name_alone_is_taken_only_pinned() {
    let authority = Authority::new();
    let certificate = authority.issue_common_name_only("127.0.0.1");
    let unpinned = lab(certificate.clone(), &authority.pem()).await;
    let text = refusal(&unpinned).await;
    assert!(text.contains("no alternative name at all"), "{text}");
    assert!(text.contains("`ca_file`"), "{text}");

    let pinned = lab(certificate.clone(), certificate.pem()).await;
    assert_eq!(pinned.read().await.unwrap().len(), 3);
}

#[tokio::test]
async fn any_is_taken_where_a_person_says_so_and_it_is_logged() {
    let listener = Listener::start().unwrap();
    let forged = Certificate::self_signed(&["elsewhere.example"]);
    let mut lab = lab(forged, &Authority::new().pem()).await;
    lab.config.trust_any_certificate_even_a_forged_one = true;
    assert_eq!(lab.read().await.unwrap().len(), 3);
    let port = lab.server.port();
    let logged = format!("127.0.0.1,{port}: any certificate is trusted");
    assert!(listener.heard().contains(&logged));
}
