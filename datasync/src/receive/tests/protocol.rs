//! What the receiver answers.

use connector_core::{ChangeEvent, CycleId, DatasetId, Sink};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Caller, Lab, body, refusal};
use crate::{
    sink::testing::{Cycle, Source, deliver},
    upload::{BatchWriter, NDJSON, dataset_path},
};

fn batch(events: &[ChangeEvent]) -> Vec<u8> {
    let mut batch = BatchWriter::new(&events[0]);
    for event in events {
        assert!(batch.push(event, usize::MAX));
    }
    batch.finish().unwrap()
}

fn path(id: &DatasetId, cycle: CycleId, rest: &str) -> String {
    format!("/{}/cycles/{cycle}/{rest}", dataset_path(id))
}

async fn send(caller: &Caller, events: &[ChangeEvent]) -> Result<u64, connector_core::Error> {
    let (id, cycle, seq) = (&events[0].dataset, events[0].cycle, events[0].seq);
    let path = path(id, cycle, &format!("events?seq={seq}"));
    let answer = body(caller.post(&path, NDJSON, batch(events)).await?).await;
    Ok(answer["next_seq"].as_u64().unwrap())
}

async fn commit(
    caller: &Caller,
    source: &Source,
    (cycle, events): &Cycle,
) -> Result<serde_json::Value, connector_core::Error> {
    let commit = json!({
        "events": events.len(),
        "rows": source.rows.len(),
        "digest": source.digest(),
    });
    let reply = caller
        .json(&path(&source.id, *cycle, "commit"), commit)
        .await?;
    assert_eq!(reply.status, 200);
    Ok(body(reply).await)
}

async fn position(caller: &Caller, id: &DatasetId) -> serde_json::Value {
    body(caller.get(&format!("/{}", dataset_path(id))).await.unwrap()).await
}

fn devices(count: i64) -> (Source, Cycle) {
    let mut source = Source::devices("lab");
    let rows = (0..count)
        .map(|n| source.device(&format!("PC-{n}"), n))
        .collect();
    let cycle = source.full(rows);
    (source, cycle)
}

#[tokio::test]
async fn events_come_in_order_once_and_whole() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let caller = lab.caller(&running, &lab.bearer("acme", &["lab"], 60));
    let (source, cycle) = devices(6);
    let events = &cycle.1;
    let nothing = json!({ "committed": null, "spooled": null, "largest_batch": 16 << 20 });
    assert_eq!(position(&caller, &source.id).await, nothing);

    assert_eq!(
        refusal(send(&caller, &events[2..4]).await),
        (409, "gap".into())
    );
    assert_eq!(send(&caller, &events[..2]).await.unwrap(), 3);
    assert_eq!(
        refusal(commit(&caller, &source, &cycle).await),
        (409, "gap".into())
    );
    assert_eq!(
        refusal(send(&caller, &events[3..4]).await),
        (409, "gap".into())
    );
    // What is repeated is taken again, and what overlaps from where it is new.
    assert_eq!(send(&caller, &events[..2]).await.unwrap(), 3);
    assert_eq!(send(&caller, &events[1..5]).await.unwrap(), 6);
    assert_eq!(send(&caller, &events[..1]).await.unwrap(), 6);
    let spooled = position(&caller, &source.id).await["spooled"].clone();
    assert_eq!(spooled, json!({ "cycle": cycle.0, "next_seq": 6 }));
    assert_eq!(send(&caller, &events[5..]).await.unwrap(), 9);

    let done = commit(&caller, &source, &cycle).await.unwrap();
    let expected = json!({ "cycle": cycle.0, "rows": 6, "digest": source.digest() });
    assert_eq!(done, expected);
    assert_eq!(commit(&caller, &source, &cycle).await.unwrap(), expected);
    assert_eq!(send(&caller, events).await.unwrap(), 9, "a repeat is taken");
    let after = position(&caller, &source.id).await;
    assert_eq!(
        (&after["committed"], &after["spooled"]),
        (&expected, &json!(null))
    );
    let held = lab
        .held("acme.db", &source.id, &source.schema)
        .await
        .unwrap();
    assert_eq!((held.rows, held.digest), (6, source.digest()));
    running.stop().await;
}

#[tokio::test]
async fn a_cycle_that_does_not_follow_is_refused_and_one_that_differs_too() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let caller = lab.caller(&running, &lab.bearer("acme", &["lab"], 60));
    let (mut source, first) = devices(3);
    let missing = source.change(vec![source.device("PC-1", 1)]);
    let second = source.change(vec![source.device("PC-1", 2)]);
    assert_eq!(
        refusal(send(&caller, &second.1).await),
        (409, "incomplete".into()),
        "of a data set that is not there"
    );
    send(&caller, &first.1).await.unwrap();
    let (whole, _) = devices(3);
    commit(&caller, &whole, &first).await.unwrap();
    assert_eq!(
        refusal(send(&caller, &second.1).await),
        (409, "incomplete".into())
    );
    // One whose changes do not lead to what it says.
    let mut wrong = missing.clone();
    wrong.1.remove(0);
    for (event, seq) in wrong.1.iter_mut().zip(1..) {
        event.seq = seq;
    }
    let (mut shrunk, _) = devices(3);
    shrunk.change(vec![shrunk.device("PC-1", 1)]);
    send(&caller, &wrong.1).await.unwrap();
    assert_eq!(
        refusal(commit(&caller, &shrunk, &wrong).await),
        (409, "incomplete".into())
    );
    let after = position(&caller, &source.id).await;
    assert_eq!(after["spooled"], json!(null), "it is not kept: {after}");
    assert_eq!(after["committed"]["cycle"], json!(first.0));
    // What its commit says is what its last event says.
    send(&caller, &missing.1).await.unwrap();
    assert_eq!(
        refusal(commit(&caller, &source, &missing).await),
        (400, "malformed".into())
    );
    commit(&caller, &shrunk, &missing).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_batch_is_refused_whole() {
    let lab = Lab::new("largest_batch = '64 KiB'");
    let running = lab.start().await;
    let caller = lab.caller(&running, &lab.bearer("acme", &["lab"], 60));
    let (source, (cycle, events)) = devices(3);
    let place = path(&source.id, cycle, "events?seq=1");
    let good = batch(&events);
    let mut swapped = events.clone();
    swapped.swap(1, 4);
    for (event, seq) in swapped.iter_mut().zip(1..) {
        event.seq = seq;
    }
    let bomb = zstd::encode_all(&vec![b' '; 1 << 24][..], 1).unwrap();
    let random: Vec<u8> = (0..80_000_u32)
        .map(|n| (n.wrapping_mul(n.wrapping_mul(2_654_435_761)) >> 13).to_le_bytes()[0])
        .collect();
    for (at, ty, sent, expected) in [
        (
            place.as_str(),
            NDJSON,
            good[..good.len() - 3].to_vec(),
            (400, "malformed"),
        ),
        (&place, NDJSON, b"{}".to_vec(), (400, "malformed")),
        (&place, NDJSON, batch(&swapped), (400, "malformed")),
        (&place, NDJSON, batch(&events[1..]), (400, "malformed")),
        (
            &place,
            "application/json",
            good.clone(),
            (415, "unsupported"),
        ),
        (&place, NDJSON, bomb, (413, "too_large")),
        (&place, NDJSON, random, (413, "too_large")),
        (
            &path(&source.id, cycle, "events"),
            NDJSON,
            good.clone(),
            (400, "malformed"),
        ),
        (
            "/v1/datasets/lab/devices/cycles/7/events?seq=1",
            NDJSON,
            good.clone(),
            (400, "malformed"),
        ),
        (
            "/v1/datasets/lab/devices/cycles",
            NDJSON,
            good.clone(),
            (404, "not_found"),
        ),
        (
            "/v1/datasets/lab/devices",
            NDJSON,
            good.clone(),
            (405, "method_not_allowed"),
        ),
    ] {
        let (status, code) = refusal(caller.post(at, ty, sent).await);
        assert_eq!((status, code.as_str()), expected, "{at} {ty}");
    }
    assert_eq!(position(&caller, &source.id).await["spooled"], json!(null));
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_is_cut_leaves_nothing() {
    let lab = Lab::new("");
    let mut settings = lab.settings();
    settings.tls = None;
    let running = lab.start_with(settings).await;
    let token = lab.bearer("acme", &["lab"], 60);
    let (source, (cycle, events)) = devices(3);
    let body = batch(&events);
    let mut connection = tokio::net::TcpStream::connect(running.address)
        .await
        .unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: {NDJSON}\r\n\
         content-encoding: zstd\r\ncontent-length: {}\r\n\r\n",
        path(&source.id, cycle, "events?seq=1"),
        token.expose(),
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&body[..body.len() / 2]).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    let mut connection = tokio::net::TcpStream::connect(running.address)
        .await
        .unwrap();
    let ask = format!(
        "GET /{} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        dataset_path(&source.id),
        token.expose()
    );
    connection.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(r#""spooled":null"#), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_receiver_that_was_killed_goes_on_where_it_was() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let token = lab.bearer("acme", &["lab"], 3600);
    let (source, cycle) = devices(40);
    {
        let caller = lab.caller(&running, &token);
        send(&caller, &cycle.1[..10]).await.unwrap();
        send(&caller, &cycle.1[10..20]).await.unwrap();
    }
    running.kill().await;
    // What a crash in the middle of writing leaves, and a file whose name is none.
    let spool = lab.path("receive").join("spool").join("acme");
    let dataset = std::fs::read_dir(spool).unwrap().next().unwrap().unwrap();
    let folder = std::fs::read_dir(dataset.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    std::fs::write(folder.path().join("incoming"), "half").unwrap();

    let running = lab.start().await;
    let caller = lab.caller(&running, &token);
    assert_eq!(
        position(&caller, &source.id).await["spooled"]["next_seq"],
        21
    );
    send(&caller, &cycle.1[20..]).await.unwrap();
    running.kill().await;
    // A file that the disk has damaged: its cycle is asked for again, whole.
    let running = lab.start().await;
    let caller = lab.caller(&running, &token);
    let files: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(files.len(), 3);
    let second = files.iter().find(|file| {
        let name = file.file_name();
        name.to_string_lossy().starts_with("00000000000000000011")
    });
    std::fs::write(second.unwrap().path(), "damaged").unwrap();
    assert_eq!(
        refusal(commit(&caller, &source, &cycle).await),
        (409, "gap".into())
    );
    assert_eq!(position(&caller, &source.id).await["spooled"], json!(null));
    send(&caller, &cycle.1).await.unwrap();
    commit(&caller, &source, &cycle).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn tenants_do_not_see_each_other_and_syncs_are_as_granted() {
    let lab = Lab::new("");
    let running = lab.start().await;
    let acme = lab.caller(&running, &lab.bearer("acme", &["lab"], 60));
    let globex = lab.caller(&running, &lab.bearer("globex", &["lab", "hr"], 60));
    let (source, cycle) = devices(2);
    send(&acme, &cycle.1).await.unwrap();
    commit(&acme, &source, &cycle).await.unwrap();
    let other = position(&globex, &source.id).await;
    assert_eq!(
        (&other["committed"], &other["spooled"]),
        (&json!(null), &json!(null))
    );
    assert!(
        lab.held("globex.db", &source.id, &source.schema)
            .await
            .is_none()
    );
    // Not granted to the one, and not the other tenant's to grant.
    for caller in [&acme, &globex] {
        let refused = refusal(caller.get("/v1/datasets/hr/devices").await);
        assert_eq!(refused, (403, "sync_not_allowed".into()));
    }
    let gone = lab.caller(&running, &lab.bearer("initech", &["lab"], 60));
    let refused = refusal(gone.get("/v1/datasets/lab/devices").await);
    assert_eq!(refused, (401, "unauthorized".into()));
    running.stop().await;
}

#[tokio::test]
async fn who_asks_too_often_or_sends_too_much_is_told_to_wait() {
    let (source, cycle) = devices(20);
    let mut other = Source::devices("lab");
    other.id = DatasetId::new("lab", "others");
    let rows = (0..30).map(|n| other.device(&format!("{n}"), n)).collect();
    let others = other.full(rows);
    // One of the two fits.
    let quota = batch(&cycle.1).len() + batch(&others.1).len() - 1;
    let lab = Lab::new(&format!("rate = 1\nspool = '{quota} B'"));
    let running = lab.start().await;
    let globex = lab.caller(&running, &lab.bearer("globex", &["lab"], 60));
    let mut refused = None;
    for _ in 0..11 {
        refused = globex.get("/v1/datasets/lab/devices").await.err();
    }
    let refused = refused.expect("eleven at once are one too many");
    assert!(
        matches!(refused.retry(), connector_core::Retry::Exhausted),
        "{refused:?}"
    );
    assert_eq!(refusal::<()>(Err(refused)), (429, "rate_limited".into()));

    let acme = lab.caller(&running, &lab.bearer("acme", &["lab"], 60));
    send(&acme, &cycle.1).await.unwrap();
    let full = refusal(send(&acme, &others.1).await);
    assert_eq!(full, (503, "spool_full".into()));
    let mut huge = Source::devices("lab");
    huge.id = DatasetId::new("lab", "huge");
    let mut random = 1_u64;
    let mut name = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{random:x}")
    };
    let rows = (0..400).map(|n| huge.device(&name(), n)).collect();
    let huge = huge.full(rows);
    assert_eq!(
        refusal(send(&acme, &huge.1).await),
        (413, "too_large".into())
    );
    commit(&acme, &source, &cycle).await.unwrap();
    assert_eq!(send(&acme, &others.1).await.unwrap(), 33);
    running.stop().await;
}

#[tokio::test]
async fn a_sender_delivers_cycles_and_repeats() {
    let lab = Lab::new("largest_batch = '64 KiB'");
    let running = lab.start().await;
    let mut sink = lab.enrolling(&running, "sender").await;
    let mut source = Source::devices("lab");
    let rows = |source: &Source, from: i64, to: i64| -> Vec<_> {
        (from..to)
            .map(|n| source.device(&format!("{n:0>60}"), n % 7))
            .collect()
    };
    let all = rows(&source, 0, 3000);
    let full = source.full(all);
    // Cut after some batches: what has arrived is not sent again.
    for piece in full.1[..2000].chunks(100) {
        sink.write(piece).await.unwrap();
    }
    let mut sink = lab
        .sender(&running, "sender", "auth_service_url = '$URL/auth'")
        .await;
    deliver(&mut sink, &full).await.unwrap();
    let some = rows(&source, 1500, 4000);
    let changes = source.change(some);
    for cycle in [&full, &changes, &changes] {
        deliver(&mut sink, cycle).await.unwrap();
    }
    let held = lab
        .held("acme.db", &source.id, &source.schema)
        .await
        .unwrap();
    assert_eq!((held.rows, held.digest), (2500, source.digest()));
    running.stop().await;
}
