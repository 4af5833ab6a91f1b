//! The program with a stream of NATS JetStream for a sink, beside a file of the same events: what is
//! in the one is in the other.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Output},
};

use async_nats::{
    ConnectOptions,
    jetstream::{self, consumer::pull::OrderedConfig},
};
use connector_testkit::peer::NatsServer;
use futures::StreamExt;

const PASSWORD: &str = "Correct-Horse-1";

fn sync(folder: &Path, password: &str) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_datasync"))
        .args(["sync", "--config"])
        .arg(folder.join("datasync.toml"))
        .env("NATS_PASSWORD", password)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!log.contains(password), "{log}");
    output
}

fn succeeds(output: &Output) {
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
}

/// The lines of the stream, in its order.
async fn stream(server: &NatsServer) -> Vec<String> {
    let options = ConnectOptions::new().user_and_password("datasync".into(), PASSWORD.into());
    let context = jetstream::new(options.connect(server.url()).await.unwrap());
    let stream = context.get_stream("CHANGES").await.unwrap();
    let count = stream.cached_info().state.messages;
    let consumer = stream
        .create_consumer(OrderedConfig::default())
        .await
        .unwrap();
    let messages = consumer.messages().await.unwrap();
    messages
        .take(usize::try_from(count).unwrap())
        .map(|message| String::from_utf8(message.unwrap().payload.to_vec()).unwrap())
        .collect()
        .await
}

fn file(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("events.ndjson")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn write(folder: &Path, version: u32) {
    let mut text = "device,product,version\n".to_owned();
    for i in 0..3000 {
        let changed = if i % 50 == 0 { version } else { 0 };
        writeln!(text, "PC-{},Product {},{changed}", i / 20, i % 20).unwrap();
    }
    fs::write(folder.join("inbox/software.csv"), text).unwrap();
    fs::write(
        folder.join("inbox/few.csv"),
        format!("name,count\nrows,{version}\n"),
    )
    .unwrap();
}

#[tokio::test]
async fn a_stream_holds_what_a_file_of_events_holds() {
    let server = NatsServer::with(&format!(
        "authorization {{ user: datasync, password: {PASSWORD} }}"
    ));
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("inbox")).unwrap();
    let config = format!(
        r#"
        [sink.stream]
        kind = "jetstream"
        servers = "{}"
        stream = "CHANGES"
        user = "datasync"
        password = {{ env = "NATS_PASSWORD" }}
        timeout = "2s"

        [sink.events]
        kind = "ndjson"
        path = "events.ndjson"

        [connector.hr]
        kind = "fileupload"
        folder = "inbox"
        # So that both sinks receive data sets in the same order.
        concurrency = 1

        [[connector.hr.dataset]]
        name = "software"
        files = "software.csv"
        key = ["device", "product"]
        "#,
        server.url()
    );
    fs::write(folder.join("datasync.toml"), config).unwrap();

    write(folder, 1);
    succeeds(&sync(folder, PASSWORD));
    let first = stream(&server).await;
    assert_eq!(first.len(), 3002 + 3);
    assert_eq!(first, file(folder));
    succeeds(&sync(folder, PASSWORD));
    assert_eq!(stream(&server).await, first, "nothing changed");

    // What the stream does not get for now is in the file, and reaches it later.
    write(folder, 2);
    let refused = sync(folder, "canary-7f");
    let log = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && log.contains("does not accept the credential"),
        "{log}"
    );
    server.stop();
    write(folder, 3);
    let away = sync(folder, PASSWORD);
    let log = String::from_utf8_lossy(&away.stderr);
    assert!(
        !away.status.success() && log.contains("no NATS server can be reached"),
        "{log}"
    );
    server.restart();
    write(folder, 4);
    succeeds(&sync(folder, PASSWORD));
    let (mut streamed, mut filed) = (stream(&server).await, file(folder));
    assert_eq!(filed.len(), first.len() + 3 * (60 + 1 + 1 + 1));
    streamed.sort();
    filed.sort();
    assert_eq!(streamed, filed);
}
