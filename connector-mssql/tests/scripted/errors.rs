//! Errors by number: what a person is told, and how often a statement is tried.

use connector_core::{Availability, Connector, ErrorKind, Retry};
use connector_testkit::tds::{Reply, ServerError};

use crate::lab::{FROM, ID, Lab, hurried, script};

#[tokio::test]
async fn each_error_says_what_to_do_and_is_tried_as_often_as_it_helps() {
    use ErrorKind as K;
    for (number, kind, tries, advice) in [
        (229, K::Permission, 1, "GRANT SELECT ON [dbo].[t] TO"),
        (208, K::NotFound, 1, "lacks an object"),
        (207, K::Source, 1, "lacks a column"),
        (468, K::Source, 1, "COLLATE"),
        (978, K::Config, 1, "`read_only_intent = true`"),
        (1205, K::Source, 3, "somebody else's work"),
        (1222, K::Source, 3, "`lock_timeout`"),
        (601, K::Source, 3, "somebody else's work"),
        (3961, K::Source, 3, "somebody else's work"),
        (701, K::Source, 3, "memory"),
        (976, K::Unavailable, 3, "replica"),
        (40_501, K::RateLimited, 3, "patience"),
        (40_613, K::Unavailable, 3, "takes a minute to start"),
    ] {
        let refused = Reply::error(ServerError::new(number, 16, 1, "The server's words."));
        let lab = Lab::start(script(&[ID]).on(FROM, refused)).await;
        let error = hurried(lab.read()).await.unwrap_err();
        let retry = if tries == 1 {
            Retry::Never
        } else {
            Retry::Exhausted
        };
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{number}");
        assert_eq!(lab.reads().len(), tries, "{number}");
        let text = error.to_string();
        for part in [advice, "The server's words.", "SELECT [t].[id]", FROM] {
            assert!(text.contains(part), "{number}: {text}");
        }
    }
}

#[tokio::test]
async fn check_tells_what_can_be_read_and_why_not() {
    let denied = Reply::error(ServerError::new(229, 14, 5, "Denied."));
    let lab = Lab::start(script(&[ID]).on(FROM, denied)).await;
    let report = lab.connector().check().await.unwrap();
    let Availability::MissingPermission { reason } = &report.datasets[0].availability else {
        panic!("{report:?}");
    };
    assert!(reason.contains("GRANT SELECT ON [dbo].[t]"), "{reason}");
}

#[tokio::test]
async fn what_is_not_there_is_missing_unless_it_need_not_be() {
    let none = crate::lab::catalogue(&[]);
    let gone = Reply::error(ServerError::new(208, 16, 1, "Invalid object name."));
    let script = script(&[ID])
        .on("OBJECT_ID(N'[dbo].[t]')", none)
        .on(FROM, gone);
    let mut lab = Lab::start(script).await;
    let error = lab.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no [dbo].[t]"), "{error}");
    lab.config.datasets[0].optional = true;
    let error = lab.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotCollected);
}
