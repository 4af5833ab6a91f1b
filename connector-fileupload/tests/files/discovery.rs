//! Which files make which data set, and what is said when they can't.

use crate::support::Inbox;
use connector_core::{Availability, Connector, DatasetExt, ErrorKind};

async fn names(inbox: &Inbox, settings: &str) -> Vec<String> {
    let datasets = inbox.datasets(settings).await;
    datasets.iter().map(|d| d.name().to_owned()).collect()
}

const ROWS: &str = "a,b\n1,2\n";

#[tokio::test]
async fn every_file_below_the_folder_is_a_data_set_of_its_own() {
    let inbox = Inbox::new(&[
        ("users.csv", ROWS),
        ("Devices.v2.TSV", "a\tb\n1\t2\n"),
        ("north/users.Csv", ROWS),
        ("north/deep/patches.tsv", "a\n1\n"),
        ("notes.txt", "hello"),
        ("noextension", "hello"),
        (".hidden.csv", ROWS),
        (".quarantine/users.csv", ROWS),
        ("north/.git/x.csv", ROWS),
    ]);
    assert_eq!(
        names(&inbox, "").await,
        ["Devices.v2", "north/deep/patches", "north/users", "users"]
    );
    for dataset in inbox.datasets("").await {
        assert_eq!(dataset.collect().await.unwrap().len(), 1, "{dataset:?}");
        assert_eq!(dataset.info().category, "General");
    }
}

#[tokio::test]
async fn declared_data_sets_take_their_files_and_leave_the_others() {
    let inbox = Inbox::new(&[
        ("software-1.tsv", "a\n1\n"),
        ("Software-2.TSV", "a\n2\n"),
        ("north/software-3.tsv", "a\n3\n"),
        ("export.txt", "a|b\n1|2\n"),
        ("users.csv", ROWS),
    ]);
    let settings = r#"
        category = "Files"
        [[dataset]]
        name = "software"
        files = "software*.tsv"
        category = "Software"
        [[dataset]]
        name = "export"
        files = "*.txt"
    "#;
    let datasets = inbox.datasets(settings).await;
    let read: Vec<_> = datasets
        .iter()
        .map(|d| (d.name(), &*d.info().category))
        .collect();
    assert_eq!(
        read,
        [
            ("software", "Software"),
            ("export", "Files"),
            ("north/software-3", "Files"),
            ("users", "Files"),
        ]
    );
    assert_eq!(datasets[0].collect().await.unwrap().len(), 2);
    assert_eq!(datasets[1].collect().await.unwrap().len(), 1);

    let all = settings.replace("software*.tsv", "**/software*.tsv");
    assert_eq!(
        inbox.datasets(&all).await[0].collect().await.unwrap().len(),
        3
    );
}

#[tokio::test]
async fn the_folder_is_listed_anew_each_time() {
    let inbox = Inbox::new(&[("a.csv", ROWS)]);
    let connector = inbox.connector("");
    assert_eq!(connector.datasets().await.unwrap().len(), 1);
    inbox.put("b.csv", ROWS);
    assert_eq!(connector.datasets().await.unwrap().len(), 2);
}

#[tokio::test]
async fn files_of_one_name_fail_as_one_data_set_and_the_others_go_on() {
    let inbox = Inbox::new(&[
        ("users.csv", ROWS),
        ("Users.tsv", "a\n1\n"),
        ("b.csv", ROWS),
    ]);
    let datasets = inbox.datasets("").await;
    assert_eq!(datasets.len(), 2);
    let shared = datasets.iter().find(|d| d.name() != "b").unwrap();
    let error = shared.schema(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error
            .to_string()
            .contains("(files: Users.tsv, users.csv, data set: Users)"),
        "{error}"
    );
    let good = datasets.iter().find(|d| d.name() == "b").unwrap();
    assert_eq!(good.collect().await.unwrap().len(), 1);

    let declared = inbox
        .datasets("[[dataset]]\nname = 'B'\nfiles = 'users.csv'")
        .await;
    assert_eq!(declared[0].name(), "B");
    let error = declared[0].schema(None).await.unwrap_err();
    assert!(error.to_string().contains("users.csv, b.csv"), "{error}");
}

#[tokio::test]
async fn a_declared_data_set_without_files_is_an_error_not_empty() {
    let inbox = Inbox::new(&[("a.csv", ROWS)]);
    let datasets = inbox
        .datasets("[[dataset]]\nname = 'x'\nfiles = 'x*.tsv'")
        .await;
    let error = datasets[0].schema(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(
        text.contains("files: x*.tsv") && text.contains("data set: x"),
        "{text}"
    );
    assert!(text.contains(&inbox.path().display().to_string()), "{text}");
}

#[tokio::test]
async fn wrong_configuration_names_the_data_set() {
    let inbox = Inbox::new(&[]);
    for (settings, message) in [
        (
            "[[dataset]]\nname = 'x'\nfiles = 'a[.csv'",
            "the pattern in `files` is wrong (data set: x, files: a[.csv)",
        ),
        (
            "[[dataset]]\nname = 'x'\nfiles = 'a'\n[[dataset]]\nname = 'X'\nfiles = 'b'",
            "two data sets have this name; letters in either case are the same (data set: X)",
        ),
    ] {
        let error = inbox.try_connector(settings).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.to_string(), message);
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_fails_as_a_whole() {
    let inbox = Inbox::new(&[("file.csv", ROWS)]);
    for folder in ["missing", "file.csv"] {
        let config = connector_fileupload::FileUploadConfig::new(inbox.path().join(folder));
        let connector = connector_fileupload::FileUpload::new("hr", config).unwrap();
        let error = connector.datasets().await.unwrap_err();
        assert!(error.to_string().contains(folder), "{error}");
        assert_eq!(connector.check().await.unwrap_err().kind(), error.kind());
    }
}

#[tokio::test]
async fn a_check_tells_of_each_data_set() {
    let inbox = Inbox::new(&[("good.csv", ROWS), ("empty.csv", ""), ("keyed.csv", ROWS)]);
    let connector = inbox.connector(
        "[[dataset]]\nname = 'keyed'\nfiles = 'keyed.csv'\nkey = ['a', 'c']\n\
         [[dataset]]\nname = 'none'\nfiles = 'none.csv'",
    );
    let report = connector.check().await.unwrap();
    assert_eq!(report.facts[1], ("files".to_owned(), "3".to_owned()));
    let found: Vec<_> = report
        .datasets
        .iter()
        .map(|d| (d.name.as_str(), d.availability.to_string()))
        .collect();
    assert_eq!(found[0], ("keyed", "missing columns: c".to_owned()));
    assert!(
        found[1].1.starts_with("failed: no file matches"),
        "{found:?}"
    );
    assert!(
        found[2].1.starts_with("failed: the file has no header row"),
        "{found:?}"
    );
    assert!(matches!(
        report.datasets[3].availability,
        Availability::Available
    ));

    let error = Inbox::new(&[("a.txt", "")])
        .connector("")
        .check()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_cannot_be_looked_into_fails_only_what_may_be_in_it() {
    let inbox = Inbox::new(&[("a.csv", ROWS), ("b/b.csv", ROWS)]);
    // A link to itself, which not even the superuser can look into.
    let knot = inbox.path().join("knot");
    std::os::unix::fs::symlink(&knot, &knot).unwrap();
    let datasets = inbox
        .datasets(
            "[[dataset]]\nname = 'flat'\nfiles = 'a*'\n\
             [[dataset]]\nname = 'deep'\nfiles = '**/b.csv'",
        )
        .await;
    assert_eq!(datasets[0].collect().await.unwrap().len(), 1);
    let error = datasets[1].schema(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("folder: knot"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_followed_and_never_in_circles() {
    use std::os::unix::fs::symlink;
    let inbox = Inbox::new(&[("a/x.csv", ROWS)]);
    symlink(inbox.path(), inbox.path().join("a/up")).unwrap();
    symlink(
        inbox.path().join("a/x.csv"),
        inbox.path().join("linked.csv"),
    )
    .unwrap();
    symlink(inbox.path().join("gone"), inbox.path().join("dangling.csv")).unwrap();
    let datasets = inbox.datasets("").await;
    let read: Vec<_> = datasets.iter().map(|d| d.name()).collect();
    assert_eq!(read, ["a/x", "dangling", "linked"]);
    assert_eq!(datasets[2].collect().await.unwrap().len(), 1);
    let error = datasets[1].schema(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete, "{error}");
}
