//! Runs the consumer of a stream over one that the sink has written, and compares what it prints.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{path::Path, process::Command};

use async_nats::jetstream;
use connector_core::{Cycle, NamedSink, Store};
use connector_fileupload::{FileUpload, FileUploadConfig};
use connector_testkit::peer::NatsServer;
use datasync::{JetStreamConfig, JetStreamSink};

async fn sync(folder: &Path, server: &NatsServer) {
    let store = Store::open_folder(folder.join("state")).await.unwrap();
    let sink = JetStreamSink::new(JetStreamConfig::new(&server.url())).unwrap();
    let cycle = Cycle::new(&store).sink(NamedSink::new("stream", sink));
    let connector = FileUpload::new("hr", FileUploadConfig::new(folder)).unwrap();
    for report in cycle.run(&connector).await.unwrap() {
        assert!(report.is_ok(), "{report:?}");
    }
}

/// Stores events a second time, as when they are sent again after the server forgot them.
async fn repeat(server: &NatsServer, places: &[u64]) {
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let stream = context.get_stream("INVENTORY").await.unwrap();
    for place in places {
        let event = stream.get_raw_message(*place).await.unwrap();
        let stored = context.publish(event.subject, event.payload).await.unwrap();
        assert!(!stored.await.unwrap().duplicate);
    }
}

#[tokio::test]
async fn jetstream_consumer() {
    let server = NatsServer::start();
    let folder = tempfile::tempdir().unwrap();
    examples::write_devices(folder.path()).unwrap();
    sync(folder.path(), &server).await;
    repeat(&server, &[1, 2, 5]).await;
    examples::write_changed_devices(folder.path()).unwrap();
    sync(folder.path(), &server).await;
    repeat(&server, &[1, 9, 10]).await;

    let output = Command::new(env!("CARGO_BIN_EXE_jetstream_consumer"))
        .arg(server.url())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", output.status);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, include_str!("../expected/jetstream_consumer.txt"));
}
