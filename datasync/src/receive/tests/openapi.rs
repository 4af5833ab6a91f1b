//! `docs/upload-protocol.yaml`, held against what both ends really say.

use connector_core::{Copies, KeyRange, Secret};
use serde_json::{Value, json};

use super::{Caller, Lab, body, csr};
use crate::{
    sink::testing::{Source, deliver},
    upload::{BatchWriter, Commit, Enrol, NDJSON, Ranges, Renew, dataset_path},
};

struct Contract(Value);

impl Contract {
    fn read() -> Self {
        let text = include_str!("../../../../docs/upload-protocol.yaml");
        Self(serde_yaml_ng::from_str(text).unwrap())
    }

    /// Checks a value against one of the schemas.
    fn holds(&self, schema: &str, value: &Value) {
        let whole = json!({
            "$ref": format!("#/components/schemas/{schema}"),
            "components": self.0["components"],
        });
        let validator = jsonschema::validator_for(&whole).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(value)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{schema}: {errors:?} in {value}");
    }
}

/// The body of an answer that is an error.
async fn problem(caller: &Caller, method: &str, path: &str) -> Value {
    let http = plainly(caller, method, path).await;
    serde_json::from_slice(&http).unwrap()
}

/// Sends a request without anything that makes errors of answers, and returns the body.
async fn plainly(caller: &Caller, method: &str, path: &str) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let address = caller.url.trim_start_matches("http://");
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("application/problem+json"), "{head}");
    body.as_bytes().to_vec()
}

#[tokio::test]
async fn answers_and_requests_are_as_the_document_says() {
    let contract = Contract::read();
    let lab = Lab::new("");
    let running = lab.start().await;
    let caller = lab.caller(&running, &lab.bearer("acme", &["lab"], 60));
    let mut source = Source::devices("lab");
    let rows = (0..9).map(|n| source.device(&format!("{n}"), n)).collect();
    let (cycle, events) = source.full(rows);
    let at = format!("/{}", dataset_path(&source.id));
    let ask = async || body(caller.get(&at).await.unwrap()).await;
    contract.holds("Position", &ask().await);
    let mut batch = BatchWriter::new(&events[0]);
    for event in &events {
        batch.push(event, usize::MAX);
    }
    let batch = batch.finish().unwrap();
    let path = format!("{at}/cycles/{cycle}/events?seq=1");
    let taken = caller.post(&path, NDJSON, batch).await.unwrap();
    contract.holds("Taken", &body(taken).await);
    contract.holds("Position", &ask().await);
    let commit = json!(Commit {
        events: events.len() as u64,
        rows: 9,
        digest: source.digest(),
    });
    contract.holds("Commit", &commit);
    let path = format!("{at}/cycles/{cycle}/commit");
    let done = caller.json(&path, commit).await.unwrap();
    contract.holds("Committed", &body(done).await);
    contract.holds("Position", &ask().await);

    let ranges = json!(Ranges {
        schema: source.schema.clone(),
        ranges: vec![KeyRange::ALL],
    });
    contract.holds("Ranges", &ranges);
    let counted = caller.json(&format!("{at}/digests"), ranges.clone()).await;
    contract.holds("RangesCounted", &body(counted.unwrap()).await);
    let none = caller
        .json("/v1/datasets/lab/none/digests", ranges.clone())
        .await;
    contract.holds("RangesCounted", &body(none.unwrap()).await);
    let found = caller.json(&format!("{at}/rows"), ranges).await;
    contract.holds("RowsFound", &body(found.unwrap()).await);

    let setup = lab.setup_token("acme", &["lab"]);
    let nobody = lab.caller(&running, &Secret::new("none"));
    let enrol = json!(Enrol {
        token: setup.expose().to_owned(),
        csr: csr(),
    });
    contract.holds("Enrol", &enrol);
    let enrolled = nobody.json("/auth/v1/enrol", enrol).await.unwrap();
    contract.holds("Enrolled", &body(enrolled).await);
    let renew = json!(Renew {
        client_assertion: "a.b.c".to_owned(),
        csr: csr(),
    });
    contract.holds("Renew", &renew);
    running.stop().await;

    let mut settings = lab.settings();
    settings.tls = None;
    let running = lab.start_with(settings).await;
    let mut caller = caller;
    caller.url = format!("http://{}", running.address);
    for (method, path) in [
        ("GET", "/v1/datasets/lab/devices"),
        ("GET", "/v1/nothing"),
        ("DELETE", "/v1/datasets/lab/devices"),
        ("POST", "/auth/v1/enrol"),
    ] {
        contract.holds("Problem", &problem(&caller, method, path).await);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_sender_asks_for_copies_and_gets_them() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let mut sink = lab.enrolling(&running, "sender").await;
    let mut source = Source::devices("lab");
    let rows = (0..50).map(|n| source.device(&format!("{n}"), n)).collect();
    let full = source.full(rows);
    deliver(&mut sink, &full).await.unwrap();
    let whole = sink
        .digests(&source.id, &source.schema, &[KeyRange::ALL])
        .await;
    let whole = whole.unwrap().unwrap()[0];
    assert_eq!((whole.rows, whole.digest), (50, source.digest()));
    let found = sink
        .rows(&source.id, &source.schema, &[KeyRange::ALL])
        .await;
    let mut digest = connector_core::Digest::default();
    for row in found.unwrap() {
        assert!(row.is_digest());
        digest.add(&row);
    }
    assert_eq!(digest, source.digest());
    running.stop().await;
}
