//! How the connection is encrypted, and that it always is.

use connector_core::ErrorKind;
use connector_mssql::Encryption as Wanted;
use connector_testkit::tds::Encryption as Offered;

use crate::lab::{FROM, ID, Lab, ids, script};

async fn lab(offered: Offered, wanted: Wanted) -> Lab {
    let script = script(&[ID]).encryption(offered).on(FROM, ids(3));
    let mut lab = Lab::start(script).await;
    lab.config.encrypt = wanted;
    lab
}

#[tokio::test]
async fn every_encryption_that_both_know_works() {
    for (offered, wanted) in [
        (Offered::Offered, Wanted::Required),
        (Offered::Required, Wanted::Required),
        (Offered::Strict, Wanted::Strict),
        // Of the login alone, and of everything because the server insists.
        (Offered::Offered, Wanted::LoginOnly),
        (Offered::Required, Wanted::LoginOnly),
    ] {
        let lab = lab(offered, wanted).await;
        let rows = lab.read().await;
        assert_eq!(rows.unwrap().len(), 3, "{offered:?} {wanted:?}");
        assert_eq!(lab.server.logins()[0].user, "reader");
    }
}

#[tokio::test]
async fn nothing_goes_in_clear_text() {
    for wanted in [Wanted::Required, Wanted::LoginOnly] {
        let lab = lab(Offered::NotSupported, wanted).await;
        let error = lab.read().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("nothing is sent in clear text"), "{text}");
        assert!(lab.server.logins().is_empty());
    }
}

#[tokio::test]
async fn a_server_of_the_other_kind_is_explained() {
    for (offered, wanted, advice) in [
        (Offered::Offered, Wanted::Strict, "older than 2022"),
        (Offered::Strict, Wanted::Required, "`encrypt = \"strict\"`"),
    ] {
        let lab = lab(offered, wanted).await;
        let text = lab.read().await.unwrap_err().to_string();
        assert!(text.contains(advice), "{offered:?} {wanted:?}: {text}");
        assert!(lab.server.logins().is_empty());
    }
}
