use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use async_nats::jetstream::{
    self, Context,
    consumer::{DeliverPolicy, pull::OrderedConfig},
    message::PublishMessage,
    stream,
};
use connector_core::{Digest, Row, Secret, Value};
use connector_testkit::{
    Authority,
    peer::{NatsCluster, NatsServer},
};
use futures::StreamExt;

use super::*;
use crate::{
    EventLine,
    sink::testing::{Cycle, Source, deliver},
};

/// A message as a consumer receives it.
#[derive(Debug)]
struct Message {
    subject: String,
    id: Option<String>,
    schema: Option<String>,
    line: String,
}

async fn context(urls: &[String]) -> Context {
    let servers: Vec<async_nats::ServerAddr> = urls.iter().map(|u| u.parse().unwrap()).collect();
    jetstream::new(async_nats::connect(servers).await.unwrap())
}

/// Reads a stream from its beginning.
async fn read(context: &Context) -> Vec<Message> {
    let stream = context.get_stream("INVENTORY").await.unwrap();
    let count = stream.cached_info().state.messages;
    let ordered = OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        ..OrderedConfig::default()
    };
    let consumer = stream.create_consumer(ordered).await.unwrap();
    let messages = consumer.messages().await.unwrap();
    let header = |message: &jetstream::Message, name: &str| {
        let headers = message.headers.as_ref()?;
        Some(headers.get(name)?.as_str().to_owned())
    };
    messages
        .take(usize::try_from(count).unwrap())
        .map(|message| {
            let message = message.unwrap();
            Message {
                subject: message.subject.to_string(),
                id: header(&message, "Nats-Msg-Id"),
                schema: header(&message, "Inventory-Schema"),
                line: String::from_utf8(message.payload.to_vec()).unwrap(),
            }
        })
        .collect()
        .await
}

/// What a consumer makes of the messages of a data set, which it takes cycle by cycle, each event
/// once.
fn fold(messages: &[Message], source: &Source) {
    let mut staged = BTreeMap::<String, BTreeMap<u64, serde_json::Value>>::new();
    let mut rows = BTreeMap::new();
    for message in messages {
        let event: serde_json::Value = serde_json::from_str(&message.line).unwrap();
        if event["connector"] != source.id.connector() || event["dataset"] != source.id.dataset() {
            continue;
        }
        let (cycle, seq) = (
            event["cycle"].as_str().unwrap(),
            event["seq"].as_u64().unwrap(),
        );
        let cycle_events = staged.entry(cycle.to_owned()).or_default();
        cycle_events.entry(seq).or_insert_with(|| event.clone());
        if event["op"] != "snapshot_complete" {
            continue;
        }
        assert_eq!(cycle_events.len() as u64, seq, "an event was lost");
        for event in staged.remove(cycle).unwrap().values() {
            let row = |image: &str| row(source, &event[image]);
            match event["op"].as_str().unwrap() {
                "truncate" => rows.clear(),
                "insert" | "update" => {
                    let after = row("after");
                    rows.insert(after.key(), after);
                }
                "delete" => assert!(rows.remove(&row("before").key()).is_some()),
                _ => {
                    let mut digest = Digest::default();
                    for row in rows.values() {
                        digest.add(row);
                    }
                    assert_eq!(event["digest"], digest.to_string());
                    assert_eq!(event["rows"], rows.len());
                }
            }
        }
    }
    assert!(staged.is_empty(), "a cycle without an end");
    assert_eq!(rows, source.rows);
}

fn row(source: &Source, image: &serde_json::Value) -> Row {
    let columns = source.schema.columns().iter();
    let cells: Vec<_> = columns
        .map(|column| match &image[column.name()] {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::String(text) => column.ty().parse(text).unwrap(),
            other => column.ty().parse(&other.to_string()).unwrap().into_owned(),
        })
        .collect();
    source.row(&cells)
}

fn nothing_is_doubled(messages: &[Message]) {
    let mut ids = HashSet::new();
    for message in messages {
        assert!(ids.insert(&message.id), "{message:?} is there twice");
    }
}

fn sink(config: &JetStreamConfig) -> JetStreamSink {
    JetStreamSink::new(config.clone()).unwrap()
}

fn many(source: &Source, count: i64, cores: i64) -> Vec<Row> {
    (0..count)
        .map(|i| source.device(&format!("PC-{i}"), cores + i % 7))
        .collect()
}

#[tokio::test]
async fn events_arrive_as_lines_with_subjects_ids_and_columns() {
    let server = NatsServer::start();
    let config = JetStreamConfig::new(&server.url());
    let mut sink = sink(&config);
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4), source.device("PC-2", 8)];
    let full = source.full(rows);
    deliver(&mut sink, &full).await.unwrap();
    let mut other = Source::new("hr", "Geräte.alle", source.schema.columns().to_vec());
    let rows = vec![other.device("PC-3", 4)];
    let of_other = other.full(rows);
    deliver(&mut sink, &of_other).await.unwrap();
    let rows = vec![source.device("PC-2", 9)];
    let change = source.change(rows);
    deliver(&mut sink, &change).await.unwrap();

    let context = context(&[server.url()]).await;
    let messages = read(&context).await;
    let events = [&full.1[..], &of_other.1, &change.1].concat();
    assert_eq!(messages.len(), events.len());
    for (message, event) in messages.iter().zip(&events) {
        assert_eq!(
            message.line,
            serde_json::to_string(&EventLine::from(event)).unwrap()
        );
        let name = match event.dataset.dataset() {
            "devices" => "devices",
            _ => "Ger%C3%A4te%2Ealle",
        };
        let subject = format!("inventory.hr.{name}");
        let id = format!("{subject}.{}.{}", event.cycle, event.seq);
        assert_eq!((&message.subject, &message.id), (&subject, &Some(id)));
        let schema = message.schema.as_deref();
        let schema = schema.map(|s| serde_json::from_str::<Schema>(s).unwrap());
        let expected = (event.seq == 1).then(|| (*source.schema).clone());
        assert_eq!(schema, expected);
    }
    fold(&messages, &source);
    fold(&messages, &other);

    let stream = context.get_stream("INVENTORY").await.unwrap();
    let made = &stream.cached_info().config;
    assert_eq!(made.subjects, ["inventory.>"]);
    assert_eq!(made.duplicate_window, config.duplicates);
}

#[tokio::test]
async fn what_is_sent_again_is_there_once() {
    let server = NatsServer::start();
    let config = JetStreamConfig::new(&server.url());
    let mut source = Source::devices("hr");
    let rows = many(&source, 1500, 0);
    let (cycle, events) = source.full(rows);

    // The process dies within a cycle, and after each piece of the next try.
    for end in [1, 2, 700, 1501] {
        sink(&config).write(&events[..end]).await.unwrap();
    }
    // It is begun anew within one process too.
    let mut again = sink(&config);
    again.write(&events[..900]).await.unwrap();
    assert!(again.commit(&cycle).await.is_err(), "not complete");
    let full = (cycle, events);
    deliver(&mut again, &full).await.unwrap();
    // Only the confirmation was lost.
    deliver(&mut again, &full).await.unwrap();
    deliver(&mut sink(&config), &full).await.unwrap();
    let rows = many(&source, 1000, 1);
    let change = source.change(rows);
    deliver(&mut again, &change).await.unwrap();
    deliver(&mut sink(&config), &change).await.unwrap();

    let messages = read(&context(&[server.url()]).await).await;
    assert_eq!(messages.len(), full.1.len() + change.1.len());
    nothing_is_doubled(&messages);
    fold(&messages, &source);
}

#[tokio::test]
async fn the_first_event_comes_before_all_others_and_the_last_behind_them() {
    let server = NatsServer::start();
    let mut sink = sink(&JetStreamConfig::new(&server.url()));
    let context = context(&[server.url()]).await;
    let stored = async || {
        let stream = context.get_stream("INVENTORY").await.unwrap();
        stream.cached_info().state.messages
    };
    let mut source = Source::devices("hr");
    let rows = many(&source, 500, 0);
    let (cycle, events) = source.full(rows);
    sink.write(&events[..1]).await.unwrap();
    assert_eq!(stored().await, 1);
    let before_the_last = events.len() as u64 - 1;
    sink.write(&events[1..]).await.unwrap();
    assert!(stored().await >= before_the_last);
    sink.commit(&cycle).await.unwrap();
    assert_eq!(stored().await, before_the_last + 1);
}

/// Waits until the server has forgotten the ids of everything that was published before.
async fn forget_ids(context: &Context, probe: &str) {
    let probe = || async {
        let probe = PublishMessage::build().message_id(probe);
        let sent = context
            .send_publish("inventory.probe", probe)
            .await
            .unwrap();
        sent.await.unwrap().duplicate
    };
    assert!(!probe().await);
    while probe().await {}
}

#[tokio::test]
async fn beyond_the_window_a_consumer_tells_by_the_number() {
    let server = NatsServer::start();
    let mut config = JetStreamConfig::new(&server.url());
    config.timeout = Duration::from_millis(50);
    config.duplicates = Duration::from_millis(100);
    let mut source = Source::devices("hr");
    let rows = many(&source, 20, 0);
    let (cycle, events) = source.full(rows);
    let full = (cycle, events);
    sink(&config).write(&full.1[..10]).await.unwrap();
    let context = context(&[server.url()]).await;
    forget_ids(&context, "one").await;
    deliver(&mut sink(&config), &full).await.unwrap();
    forget_ids(&context, "two").await;
    let messages = async || {
        let mut messages = read(&context).await;
        messages.retain(|message| message.subject != "inventory.probe");
        messages
    };
    let once = messages().await;
    assert!(
        once.len() > full.1.len(),
        "the first events are there twice"
    );
    fold(&once, &source);
    // A cycle that is there whole is not sent again at all.
    deliver(&mut sink(&config), &full).await.unwrap();
    assert_eq!(messages().await.len(), once.len());
}

#[tokio::test]
async fn a_stream_that_lacks_the_cycle_before_asks_for_everything() {
    let server = NatsServer::start();
    let config = JetStreamConfig::new(&server.url());
    let mut sink = sink(&config);
    let mut source = Source::devices("hr");
    let rows = many(&source, 3, 0);
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    let rows = many(&source, 3, 1);
    source.change(rows);
    let rows = many(&source, 3, 2);
    let skipped = deliver(&mut sink, &source.change(rows)).await.unwrap_err();
    assert_eq!(skipped.kind(), ErrorKind::Incomplete);

    // The server lost everything, under a sink that is connected and under a new one.
    server.stop();
    server.erase();
    server.restart();
    let rows = many(&source, 3, 3);
    let lost = deliver(&mut sink, &source.change(rows)).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Incomplete, "{lost:#}");
    let rows = many(&source, 4, 3);
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    fold(&read(&context(&[server.url()]).await).await, &source);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_anew_within_a_cycle_gets_the_rest() {
    let server = NatsServer::start();
    let config = JetStreamConfig::new(&server.url());
    let mut sink = sink(&config);
    let mut source = Source::devices("hr");
    let rows = many(&source, 5000, 0);
    let (cycle, events) = source.full(rows);
    for (i, piece) in events.chunks(1000).enumerate() {
        let restart = async {
            if i % 2 == 1 {
                tokio::task::block_in_place(|| {
                    server.stop();
                    server.restart();
                });
            }
        };
        let (written, ()) = tokio::join!(sink.write(piece), restart);
        written.unwrap();
    }
    sink.commit(&cycle).await.unwrap();
    let messages = read(&context(&[server.url()]).await).await;
    assert_eq!(messages.len(), events.len());
    nothing_is_doubled(&messages);
    fold(&messages, &source);
}

#[tokio::test]
async fn a_server_that_stays_away_fails_the_cycle_only() {
    let server = NatsServer::start();
    let mut config = JetStreamConfig::new(&server.url());
    config.timeout = Duration::from_millis(300);
    let mut sink = sink(&config);
    let mut source = Source::devices("hr");
    let rows = many(&source, 10, 0);
    let full = source.full(rows);
    sink.write(&full.1[..5]).await.unwrap();
    server.stop();
    let error = match sink.write(&full.1[5..]).await {
        Ok(()) => sink.commit(&full.0).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:#}");
    assert!(error.to_string().contains("hr/devices"), "{error}");
    let error = deliver(&mut sink, &full).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:#}");
    assert!(error.to_string().contains(&server.url()), "{error}");
    server.restart();
    deliver(&mut sink, &full).await.unwrap();
    fold(&read(&context(&[server.url()]).await).await, &source);
}

#[tokio::test]
async fn events_that_the_server_lost_after_it_had_acknowledged_them_fail_the_cycle() {
    let server = NatsServer::start();
    let config = JetStreamConfig::new(&server.url());
    let mut sink = sink(&config);
    let mut source = Source::devices("hr");
    let rows = many(&source, 10, 0);
    let full = source.full(rows);
    sink.write(&full.1[..6]).await.unwrap();
    let context = context(&[server.url()]).await;
    let mut stream = context.get_stream("INVENTORY").await.unwrap();
    while stream.info().await.unwrap().state.messages < 6 {}
    // As with a machine that lost its power.
    let settings = stream.cached_info().config.clone();
    context.delete_stream("INVENTORY").await.unwrap();
    context.create_stream(settings).await.unwrap();
    let error = match sink.write(&full.1[6..]).await {
        Ok(()) => sink.commit(&full.0).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("has lost events"), "{error}");
    deliver(&mut sink, &full).await.unwrap();
    let messages: Vec<_> = read(&context).await;
    fold(&messages, &source);
}

/// The leader of the stream, to which all events go, dies while they do.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_its_leader_within_a_cycle_loses_nothing() {
    let cluster = NatsCluster::start();
    let urls = cluster.urls();
    let mut config = JetStreamConfig::new("");
    config.servers.clone_from(&urls);
    config.replicas = 3;
    let mut sink = sink(&config);
    let mut source = Source::devices("hr");
    let rows = many(&source, 20_000, 0);
    let full = source.full(rows);
    let change = source.change(many(&source, 15_000, 1));
    let reader = context(&urls).await;
    let mut killed = None;
    for (cycle, events) in [&full, &change] {
        for (i, piece) in events.chunks(2000).enumerate() {
            let kill = async {
                if i != 4 || killed.is_some() {
                    return;
                }
                let mut stream = reader.get_stream("INVENTORY").await.unwrap();
                let info = stream.info().await.unwrap();
                assert_eq!(info.config.num_replicas, 3);
                let leader = info.cluster.as_ref().unwrap().leader.clone().unwrap();
                tokio::task::block_in_place(|| cluster.server(&leader).kill());
                killed = Some(leader);
            };
            let (written, ()) = tokio::join!(sink.write(piece), kill);
            written.unwrap();
        }
        sink.commit(cycle).await.unwrap();
    }
    let killed = killed.expect("a leader was killed");
    let left: Vec<_> = urls
        .iter()
        .filter(|url| **url != cluster.server(&killed).url())
        .cloned()
        .collect();
    let messages = read(&context(&left).await).await;
    assert_eq!(messages.len(), full.1.len() + change.1.len());
    nothing_is_doubled(&messages);
    fold(&messages, &source);

    // The one that died catches up, and takes over.
    cluster.server(&killed).restart();
    deliver(&mut sink, &source.change(vec![])).await.unwrap();
}

async fn failure(config: &JetStreamConfig) -> Error {
    let mut source = Source::devices("hr");
    let rows = many(&source, 3, 0);
    deliver(&mut sink(config), &source.full(rows))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_credential_that_is_wrong_is_told_and_not_shown() {
    let server = NatsServer::with("authorization { user: datasync, password: right }");
    let mut config = JetStreamConfig::new(&server.url());
    for (user, password, kind) in [
        (None, None, ErrorKind::Auth),
        (Some("datasync"), Some("canary-7f"), ErrorKind::Auth),
    ] {
        config.user = user.map(str::to_owned);
        config.password = password.map(Secret::new);
        let error = failure(&config).await;
        assert_eq!(error.kind(), kind, "{error:#}");
        let shown = format!("{error:#} {error:?}");
        assert!(
            shown.contains("`password`") && !shown.contains("canary-7f"),
            "{shown}"
        );
    }
    config.password = Some(Secret::new("right"));
    let mut source = Source::devices("hr");
    deliver(&mut sink(&config), &source.full(vec![]))
        .await
        .unwrap();
}

#[tokio::test]
async fn nkeys_and_tokens_sign_in() {
    // The pair of keys of the documentation of NATS.
    let public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let server = NatsServer::with(&format!(
        "authorization {{ users: [ {{ nkey: {public} }} ] }}"
    ));
    let mut config = JetStreamConfig::new(&server.url());
    config.nkey = Some(Secret::new(seed));
    let mut source = Source::devices("hr");
    let full = source.full(vec![]);
    deliver(&mut sink(&config), &full).await.unwrap();
    config.nkey = Some(Secret::new("SUACANARY"));
    let error = failure(&config).await;
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!format!("{error:#}").contains("CANARY"), "{error:#}");

    let server = NatsServer::with("authorization { token: s3cret }");
    let mut config = JetStreamConfig::new(&server.url());
    config.token = Some(Secret::new("s3cret"));
    deliver(&mut sink(&config), &full).await.unwrap();
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    for (allowed, missing) in [
        ("\"inventory.>\"", "$JS.API.STREAM.INFO.INVENTORY"),
        ("\"$JS.API.>\"", "inventory.hr.devices"),
    ] {
        let server = NatsServer::with(&format!(
            "authorization {{ users: [ {{ user: datasync, password: right, permissions: {{ \
             publish: [{allowed}], subscribe: [\"_INBOX.>\"] }} }} ] }}"
        ));
        let mut config = JetStreamConfig::new(&server.url());
        config.user = Some("datasync".to_owned());
        config.password = Some(Secret::new("right"));
        let error = failure(&config).await;
        assert_eq!(error.kind(), ErrorKind::Permission, "{error:#}");
        assert!(format!("{error:#}").contains(missing), "{error:#}");
    }
}

#[tokio::test]
async fn a_server_without_jetstream_is_told() {
    let server = NatsServer::with("accounts { A { users: [ { user: a, password: b } ] } }");
    let mut config = JetStreamConfig::new(&server.url());
    config.user = Some("a".to_owned());
    config.password = Some(Secret::new("b"));
    config.timeout = Duration::from_millis(300);
    let error = failure(&config).await;
    assert!(
        format!("{error:#}").to_lowercase().contains("jetstream"),
        "{error:#}"
    );
}

#[tokio::test]
async fn an_event_that_is_too_large_names_the_limit() {
    let server = NatsServer::with("max_payload: 4096");
    let config = JetStreamConfig::new(&server.url());
    let mut source = Source::devices("hr");
    let rows = vec![source.device(&"x".repeat(5000), 1)];
    let full = source.full(rows);
    let error = deliver(&mut sink(&config), &full).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Sink);
    let text = format!("{error:#}");
    for part in [
        "`max_payload`",
        "max_payload: 4096",
        "bytes: 5",
        "hr/devices",
        "seq: 2",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("xxx"));

    let context = context(&[server.url()]).await;
    let mut stream = context.get_stream("INVENTORY").await.unwrap();
    let mut limited = stream.info().await.unwrap().config.clone();
    limited.max_message_size = 1000;
    context.update_stream(&limited).await.unwrap();
    let rows = vec![source.device(&"x".repeat(2000), 1)];
    let error = deliver(&mut sink(&config), &source.full(rows))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`max_msg_size`"), "{error}");
}

#[tokio::test]
async fn a_stream_of_somebody_else_is_checked() {
    let server = NatsServer::start();
    let context = context(&[server.url()]).await;
    let own = stream::Config {
        name: "INVENTORY".to_owned(),
        subjects: vec!["inventory.>".to_owned()],
        duplicate_window: Duration::from_mins(2),
        ..stream::Config::default()
    };
    context.create_stream(own).await.unwrap();
    let config = JetStreamConfig::new(&server.url());
    let error = failure(&config).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`duplicates`"), "{error}");
    // Another stream would have the same subjects.
    let mut config = config;
    config.stream = "OTHER".to_owned();
    let error = failure(&config).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(format!("{error:#}").contains("overlap"), "{error:#}");
    // One server can't have three replicas.
    config.subject = "else".to_owned();
    config.replicas = 3;
    let error = failure(&config).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`replicas`"), "{error}");
}

#[tokio::test]
async fn tls_knows_a_private_authority_or_nobody() {
    let authority = Authority::new();
    let certificate = authority.issue(&["127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let own = write("own.pem", certificate.pem());
    let key = write("key.pem", certificate.key_pem());
    let ca = write("ca.pem", &authority.pem());
    let tls = serde_json::json!({ "cert_file": own, "key_file": key });
    let server = NatsServer::with(&format!("tls {tls}"));
    let mut config = JetStreamConfig::new(&server.url());
    let error = failure(&config).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
    assert!(error.to_string().contains("`ca_file`"), "{error}");
    config.ca_file = Some(ca);
    let mut source = Source::devices("hr");
    deliver(&mut sink(&config), &source.full(vec![]))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_event_out_of_order_is_refused() {
    let server = NatsServer::start();
    let mut sink = sink(&JetStreamConfig::new(&server.url()));
    let mut source = Source::devices("hr");
    let rows = many(&source, 3, 0);
    let full: Cycle = source.full(rows);
    assert!(sink.write(&full.1[1..]).await.is_err());
    sink.write(&full.1[..1]).await.unwrap();
    assert!(sink.write(&full.1[2..]).await.is_err());
    assert!(sink.commit(&full.0).await.is_err());
    deliver(&mut sink, &full).await.unwrap();
    let messages = read(&context(&[server.url()]).await).await;
    assert_eq!(messages.len(), full.1.len());
}
