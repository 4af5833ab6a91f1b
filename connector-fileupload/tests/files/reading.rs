//! Columns, keys and rows of data sets.

use std::{fs, sync::Arc};

use crate::support::{Inbox, Known, json, log};
use async_trait::async_trait;
use connector_core::{
    Column, Dataset, DatasetExt, DatasetInfo, Duplicates, ErrorKind, Result, Schema, SnapshotWriter,
};

fn keys(schema: &Schema) -> Vec<&str> {
    schema.key().map(Column::name).collect()
}

fn columns(schema: &Schema) -> Vec<&str> {
    schema.columns().iter().map(Column::name).collect()
}

async fn known(inbox: &Inbox, settings: &str) -> Arc<Schema> {
    inbox.dataset(settings).await.schema(None).await.unwrap()
}

#[tokio::test]
async fn the_smallest_unique_set_of_leading_columns_is_the_key() {
    for (content, key) in [
        ("a,b,c\n1,1,1\n2,1,1\n", vec!["a"]),
        ("a,b,c\n1,1,1\n1,2,1\n", vec!["a", "b"]),
        ("a,b,c\n1,1,1\n1,1,2\n2,1,1\n", vec!["a", "b", "c"]),
        ("a,b,c\n1,1,1\n1,1,1\n", vec!["a", "b", "c"]),
    ] {
        let inbox = Inbox::new(&[("x.csv", content)]);
        let schema = known(&inbox, "").await;
        assert_eq!(keys(&schema), key, "{content:?}");
    }
}

#[tokio::test]
async fn rows_without_a_key_are_counted() {
    let inbox = Inbox::new(&[("x.csv", "a,b\n1,\n2,y\n1,\n1,\n")]);
    assert_eq!(
        inbox.rows("").await.unwrap(),
        [
            r#"{"a":"1","b":"","_count":3}"#,
            r#"{"a":"2","b":"y","_count":1}"#,
        ]
    );
    let before = known(&inbox, "").await;

    // So it stays when rows become unique, and when a column comes.
    inbox.put("x.csv", "b,new,a\n,z,1\n");
    let dataset = inbox.dataset("").await;
    let schema = dataset.schema(Some(&before)).await.unwrap();
    assert_eq!(columns(&schema), ["a", "b", "new", "_count"]);
    assert_eq!(keys(&schema), ["a", "b", "new"]);
    let rows = Known(dataset, before.clone()).collect().await.unwrap();
    assert_eq!(json(&rows), [r#"{"a":"1","b":"","new":"z","_count":1}"#]);

    inbox.put("x.csv", "a\n1\n");
    let error = inbox
        .dataset("")
        .await
        .schema(Some(&before))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("column: b"), "{error}");

    inbox.put("x.csv", "a,b,_count\n1,2,3\n");
    let error = inbox
        .dataset("")
        .await
        .schema(Some(&before))
        .await
        .unwrap_err();
    assert!(error.message().contains("rename it"), "{error}");
}

#[tokio::test]
async fn a_column_that_is_called_like_the_count_is_data_where_there_is_a_key() {
    let inbox = Inbox::new(&[("x.csv", "a,_count\n1,7\n")]);
    assert_eq!(inbox.rows("").await.unwrap(), [r#"{"a":"1","_count":"7"}"#]);
    let schema = known(&inbox, "").await;
    let rows = Known(inbox.dataset("").await, schema)
        .collect()
        .await
        .unwrap();
    assert_eq!(json(&rows), [r#"{"a":"1","_count":"7"}"#]);
    inbox.put("x.csv", "a,_count\n1,7\n1,7\n");
    let error = inbox.rows("").await.unwrap_err();
    assert!(error.message().contains("rename it"), "{error}");
}

#[tokio::test]
async fn volatile_columns_are_no_key_and_do_not_tell_rows_apart() {
    let inbox = Inbox::new(&[("x.csv", "seen,a,b\n1,1,1\n2,1,2\n3,1,2\n")]);
    let settings = "[[dataset]]\nname = 'x'\nfiles = '*'\nvolatile = ['seen']";
    let schema = known(&inbox, settings).await;
    assert_eq!(keys(&schema), ["a", "b"]);
    assert!(schema.column("seen").unwrap().is_volatile());
    let rows = inbox.rows(settings).await.unwrap();
    assert_eq!(rows[1], r#"{"seen":"2","a":"1","b":"2","_count":2}"#);
    let all = "[[dataset]]\nname = 'x'\nfiles = '*'\nvolatile = ['seen', 'a', 'b']";
    let error = inbox.rows(all).await.unwrap_err();
    assert!(
        error.message().contains("every column is volatile"),
        "{error}"
    );
}

#[tokio::test]
async fn a_found_key_is_kept() {
    let inbox = Inbox::new(&[("x.csv", "a,b\n1,1\n2,2\n")]);
    let before = known(&inbox, "").await;
    inbox.put("x.csv", "new,b,a\n9,1,1\n8,2,1\n");
    let schema = inbox.dataset("").await.schema(Some(&before)).await.unwrap();
    assert_eq!(columns(&schema), ["a", "b", "new"]);
    assert_eq!(keys(&schema), ["a"]);
    assert!(schema.column("new").unwrap().is_nullable());
    let rows = Known(inbox.dataset("").await, before.clone())
        .collect()
        .await
        .unwrap();
    assert_eq!(json(&rows)[1], r#"{"a":"1","b":"2","new":"8"}"#);

    // No row is no reason to forget it.
    inbox.put("x.csv", "a,b\n");
    let schema = inbox.dataset("").await.schema(Some(&before)).await.unwrap();
    assert_eq!(keys(&schema), ["a"]);
    let error = inbox.dataset("").await.schema(None).await.unwrap_err();
    assert!(error.message().contains("no row yet"), "{error}");

    inbox.put("x.csv", "A,b\n1,1\n");
    let error = inbox
        .dataset("")
        .await
        .schema(Some(&before))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error
            .to_string()
            .contains("column: a, file: x.csv, data set: x"),
        "{error}"
    );

    let settings =
        "duplicates = 'keep_greatest'\n[[dataset]]\nname = 'x'\nfiles = '*'\nkey = ['b']";
    let schema = inbox
        .dataset(settings)
        .await
        .schema(Some(&before))
        .await
        .unwrap();
    assert_eq!(keys(&schema), ["b"]);
    assert_eq!(schema.duplicates(), Duplicates::KeepGreatest);
}

#[tokio::test]
async fn several_files_make_one_data_set() {
    let inbox = Inbox::new(&[
        ("x1.csv", "id;name\n1;a\n"),
        ("x2.tsv", "extra\tname\tid\ne\tb\t2\n"),
    ]);
    let settings = "[[dataset]]\nname = 'x'\nfiles = 'x*'\nkey = ['id']\ntypes = { id = 'int' }";
    assert_eq!(
        inbox.rows(settings).await.unwrap(),
        [
            r#"{"id":1,"name":"a","extra":null}"#,
            r#"{"id":2,"name":"b","extra":"e"}"#,
        ]
    );
    inbox.put("x3.csv", "name,other\na,b\n");
    let error = inbox.rows(settings).await.unwrap_err();
    assert!(
        error.to_string().contains("column: id, file: x3.csv"),
        "{error}"
    );
    // A key is looked for only among the columns that all of them have.
    let found = "[[dataset]]\nname = 'x'\nfiles = 'x*'";
    let schema = known(&inbox, found).await;
    assert!(schema.column("_count").is_some());
}

#[tokio::test]
async fn empty_cells_mean_what_is_set() {
    let content = "id,text,bytes,int\n,,,\n1,NULL,NULL,NULL\n2,x,AP8=,7\n";
    let inbox = Inbox::new(&[("x.csv", content)]);
    let dataset = "[[dataset]]\nname = 'x'\nfiles = '*'\nkey = ['id']\n\
                   types = { bytes = 'bytes', int = 'int' }";
    for (settings, first) in [
        (
            "null = 'NULL'\n",
            r#"{"id":"","text":null,"bytes":null,"int":null}"#,
        ),
        (
            "null = 'NULL'\nempty = 'text'\n",
            r#"{"id":"","text":"","bytes":"","int":null}"#,
        ),
    ] {
        let rows = inbox.rows(&format!("{settings}{dataset}")).await.unwrap();
        assert_eq!(
            rows,
            [
                first,
                r#"{"id":"1","text":null,"bytes":null,"int":null}"#,
                r#"{"id":"2","text":"x","bytes":"AP8=","int":7}"#,
            ]
        );
    }
}

#[tokio::test]
async fn files_without_a_header_have_named_columns() {
    let inbox = Inbox::new(&[("x.tsv", "1\t5\" disk\n2\t\"\n")]);
    let settings =
        "quoting = 'raw'\n[[dataset]]\nname = 'x'\nfiles = '*'\ncolumns = ['id', 'what']";
    assert_eq!(
        inbox.rows(settings).await.unwrap(),
        [
            r#"{"id":"1","what":"5\" disk"}"#,
            r#"{"id":"2","what":"\""}"#
        ]
    );
}

const DEVICES: &str = "[[dataset]]\nname = 'devices'\nfiles = 'd.csv'\nkey = ['id']\n\
                       types = { id = 'int', day = 'date' }\n";

/// Eleven bad rows, one of each kind first, under a header that takes two lines.
fn bad_rows(ends: &str) -> String {
    let mut rows = vec!["id,\"na", "me\",day", "1,\"x", "y\",2024-05-31"];
    rows.extend([
        "2,y,31.05.2024",
        "3,y",
        "4,y,2024-05-31,z",
        ",y,2024-05-31",
        "5,\0,",
    ]);
    rows.extend(["x,y,"; 6]);
    rows.push("6,ok,");
    rows.join(ends)
}

#[tokio::test]
async fn bad_rows_fail_the_data_set_with_the_first_ten_named() {
    for ends in ["\n", "\r\n", "\r"] {
        let inbox = Inbox::new(&[("d.csv", &bad_rows(ends))]);
        let error = inbox.rows(DEVICES).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        let text = error.to_string();
        for part in [
            "11 rows can't be read, of which the first ten are: ",
            ": d.csv:5: column day: the column is date, the value is not a date such as 2024-05-31; ",
            "; d.csv:6: 2 fields for 3 columns; ",
            "; d.csv:7: 4 fields for 3 columns; ",
            "; d.csv:8: column id: an empty cell in a column of the key",
            "me: a NUL character",
            "; d.csv:10: column id: the column is int, the value is not a whole number of 64 bits; ",
            "; d.csv:14: column id: ",
            "set `bad_rows = \"quarantine\"`",
            "data set: devices",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("d.csv:15"), "{text}");
        assert!(!text.contains("31.05.2024"), "{text}");
    }
}

#[tokio::test]
async fn bytes_of_another_encoding_are_bad_rows() {
    let inbox = Inbox::new(&[]);
    // The second row's cells are UTF-8 together and not one by one.
    inbox.put("d.csv", b"id,name,day\n1,caf\xe9,\n2,caf\xc3,\xa9\n3,ok,\n");
    let error = inbox.rows(DEVICES).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("2 rows can't be read: d.csv:2: column name: not utf-8"),
        "{text}"
    );
    assert!(text.contains("; d.csv:3: column name: not utf-8"), "{text}");
}

#[tokio::test]
async fn quarantined_rows_are_kept_aside() {
    let inbox = Inbox::new(&[("d.csv", &bad_rows("\n"))]);
    let settings = format!("bad_rows = 'quarantine'\n{DEVICES}");
    let rows = inbox.rows(&settings).await.unwrap();
    assert_eq!(rows.len(), 2);
    let path = inbox.path().join(".quarantine/devices.csv");
    let mut kept = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(&path)
        .unwrap();
    assert_eq!(
        kept.headers().unwrap(),
        vec!["reason", "file", "line", "id", "na\nme", "day"]
    );
    let kept: Vec<csv::StringRecord> = kept.records().map(|row| row.unwrap()).collect();
    assert_eq!(kept.len(), 11);
    assert_eq!(
        &kept[1],
        vec!["2 fields for 3 columns", "d.csv", "6", "3", "y"].as_slice()
    );
    assert_eq!(&kept[10][2], "15");
    assert_eq!(
        inbox.datasets(&settings).await.len(),
        1,
        "a side file is no data"
    );

    // A read that fails leaves it; one without bad rows removes it.
    inbox.put("d.csv", "id,day\nx,\n");
    let error = inbox.rows(&settings).await.unwrap_err();
    assert!(error.message().starts_with("no row can be read"), "{error}");
    inbox.put("d.csv", "id,day\nx,\n1,\n\"");
    assert_eq!(
        inbox.rows(&settings).await.unwrap_err().kind(),
        ErrorKind::Incomplete
    );
    assert_eq!(
        fs::read_dir(inbox.path().join(".quarantine"))
            .unwrap()
            .count(),
        1
    );
    assert!(path.exists());
    inbox.put("d.csv", "id,day\n1,\n");
    assert_eq!(inbox.rows(&settings).await.unwrap().len(), 1);
    assert!(!path.exists());
}

/// Does something to the source once rows have been read and while more are to come.
struct Meanwhile<F>(Arc<dyn Dataset>, F);

impl<F> std::fmt::Debug for Meanwhile<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl<F: Fn() + Send + Sync + 'static> Dataset for Meanwhile<F> {
    fn info(&self) -> &DatasetInfo {
        self.0.info()
    }

    async fn schema(&self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        self.0.schema(known).await
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let progress = out.progress();
        let change = async {
            // Nobody takes rows until this returns, so the reader can't come to the file's end.
            while progress.rows() == 0 {
                std::thread::yield_now();
            }
            (self.1)();
        };
        tokio::join!(self.0.read(out), change).0
    }
}

#[derive(Clone, Copy, Debug)]
enum Edit {
    None,
    Append,
    Touch,
    Remove,
    Replace,
}

async fn read_during(edit: Edit, tail: &str) -> Result<usize> {
    let rows: Vec<String> = (0..400_000)
        .map(|id| {
            format!(
                "{id},some text
"
            )
        })
        .collect();
    let rows = rows.concat();
    let inbox = Inbox::new(&[
        ("b.csv", &format!("id,t\n{rows}{tail}")),
        ("a.csv", "id,t\n-1,\n"),
    ]);
    let settings = "[[dataset]]\nname = 'x'\nfiles = '*.csv'\nkey = ['id']\ntypes = { id = 'int' }";
    let dataset = inbox.dataset(settings).await;
    // The smaller file is read first, and has been read when it changes.
    let path = inbox.path().join("a.csv");
    let change = move || match edit {
        Edit::None => {}
        Edit::Append => fs::write(&path, "id,t\n-1,\n-2,\n").unwrap(),
        Edit::Touch => {
            let file = fs::File::options().write(true).open(&path).unwrap();
            let later =
                file.metadata().unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
            file.set_modified(later).unwrap();
        }
        Edit::Remove => fs::remove_file(&path).unwrap(),
        Edit::Replace => {
            let new = path.with_file_name(".new");
            fs::write(&new, "id,t\n").unwrap();
            fs::remove_file(&path).unwrap();
            fs::hard_link(&new, &path).unwrap();
        }
    };
    Ok(Meanwhile(dataset, change).collect().await?.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_while_it_is_read_fails_the_data_set() {
    assert_eq!(read_during(Edit::None, "").await.unwrap(), 400_001);
    for edit in [Edit::Append, Edit::Touch, Edit::Remove, Edit::Replace] {
        // Even when something else is wrong, too, which the change may have caused.
        for tail in ["", "\""] {
            let error = read_during(edit, tail).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Incomplete, "{edit:?}");
            assert!(
                error.to_string().contains("file: a.csv"),
                "{edit:?}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn what_changes_between_columns_and_rows_is_seen() {
    let inbox = Inbox::new(&[("x.csv", "a,b\n1,2\n")]);
    for content in ["a\n1\n", "b\n1\n", "a,b,c\n1,2,3\n"] {
        inbox.put("x.csv", "a,b\n1,2\n");
        let dataset = inbox.dataset("").await;
        let schema = dataset.schema(None).await.unwrap();
        inbox.put("x.csv", content);
        let error = Fixed(dataset, schema).collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete, "{content:?}");
        assert!(error.to_string().contains("x.csv"), "{error}");
    }
    // One of several files that loses the key's column.
    inbox.put("y.csv", "a,b\n2,2\n");
    let dataset = inbox
        .dataset("[[dataset]]\nname = 'x'\nfiles = '*'\nkey = ['a']")
        .await;
    let schema = dataset.schema(None).await.unwrap();
    inbox.put("y.csv", "b\n2\n");
    let error = Fixed(dataset, schema).collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    assert!(error.to_string().contains("y.csv"), "{error}");
    fs::remove_file(inbox.path().join("y.csv")).unwrap();

    let dataset = inbox.dataset("").await;
    let schema = dataset.schema(None).await.unwrap();
    fs::remove_file(inbox.path().join("x.csv")).unwrap();
    let error = Fixed(dataset.clone(), schema).collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("vanished"), "{error}");
    assert_eq!(
        dataset.schema(None).await.unwrap_err().kind(),
        ErrorKind::Incomplete
    );
}

/// A data set whose columns were asked for earlier.
#[derive(Debug)]
struct Fixed(Arc<dyn Dataset>, Arc<Schema>);

#[async_trait]
impl Dataset for Fixed {
    fn info(&self) -> &DatasetInfo {
        self.0.info()
    }

    async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        Ok(Arc::clone(&self.1))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        self.0.read(out).await
    }
}

#[tokio::test]
async fn the_log_names_columns_and_never_values() {
    let log = log();
    let inbox = Inbox::new(&[
        ("keyed.csv", "a,b,c\nCANARY,1,\nCANARY,2,\n"),
        ("counted.csv", "a\nCANARY\nCANARY\n"),
        ("bad.csv", "a,b\nCANARY,2\nCANARY\n"),
    ]);
    let settings = "bad_rows = 'quarantine'\n\
                    [[dataset]]\nname = 'keyed'\nfiles = 'k*'\ntypes = { gone = 'int' }";
    for dataset in inbox.datasets(settings).await {
        dataset.collect().await.unwrap();
    }
    inbox.put("bad.csv", "a,b\nCANARY,2\nCANARY\n\"CANARY");
    let datasets = inbox.datasets("").await;
    let bad = datasets
        .iter()
        .find(|dataset| dataset.name() == "bad")
        .unwrap();
    let error = bad.collect().await.unwrap_err();
    let log = log.text();
    for part in [
        "found a key, which is kept from now on; to have another declare `key` dataset=\"keyed\" key=\"a, b\"",
        "found no key: every column together is the key",
        "names a column that no file has dataset=\"keyed\" column=\"gone\"",
        "1 row can't be read: bad.csv:3: 1 field for 2 columns dataset=\"bad\" rows=1 quarantine=",
    ] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
    assert!(!log.contains("CANARY"), "{log}");
    assert!(!format!("{error:#} {error:?} {bad:?}").contains("CANARY"));
}
