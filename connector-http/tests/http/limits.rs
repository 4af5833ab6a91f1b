use std::{sync::Arc, time::Duration};

use connector_core::ErrorKind;
use connector_http::{HttpConfig, Quota};
use connector_testkit::http::{HttpReply, Scripted};
use futures::future::join_all;

use crate::lab::{SERVICE, get, layers, stack};

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn no_window_holds_more_than_the_quota() {
    const QUOTAS: &[(&str, Quota)] = &[
        ("jobs", Quota::new(48, MINUTE)),
        ("three", Quota::new(3, MINUTE)),
        ("one", Quota::new(1, MINUTE)),
    ];
    for (group, quota, sent) in [("jobs", 48, 200), ("three", 3, 10), ("one", 1, 4)] {
        let script = Scripted::in_turn([HttpReply::status(200)]);
        let transport = layers(SERVICE.quotas(QUOTAS), HttpConfig::default())
            .over(script.clone())
            .unwrap();
        let all = (0..sent).map(|_| transport.send(get("/").group(group)));
        for reply in join_all(all).await {
            reply.unwrap();
        }
        let times = script.times();
        assert_eq!(times.len(), sent);
        // From any request on, the one that comes after a full quota is a minute later.
        for (first, after) in times.iter().zip(times.iter().skip(quota)) {
            assert!(
                *after + Duration::from_millis(2) >= *first + MINUTE,
                "{times:?}"
            );
        }
        // And it takes no longer than it has to.
        let least = u32::try_from(sent / quota).unwrap() * MINUTE;
        assert!(*times.last().unwrap() <= least * 3 / 2, "{times:?}");
        // Others are not held up.
        let before = tokio::time::Instant::now();
        transport.send(get("/").group("other")).await.unwrap();
        assert!(before.elapsed().is_zero());
    }
}

#[tokio::test(start_paused = true)]
async fn one_wait_holds_the_whole_group() {
    let script = Scripted::in_turn([
        HttpReply::status(429).header("retry-after", "30"),
        HttpReply::status(200),
    ]);
    let transport = stack(&script);
    let first = tokio::spawn({
        let transport = Arc::clone(&transport);
        async move { transport.send(get("/").group("a")).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (second, other) = tokio::join!(
        transport.send(get("/").group("a")),
        transport.send(get("/").group("b")),
    );
    second.unwrap();
    other.unwrap();
    first.await.unwrap().unwrap();
    let times: Vec<_> = script.times().iter().map(Duration::as_secs).collect();
    assert_eq!(times, [0, 1, 30, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_closed_for_too_long_says_so_at_once() {
    let script = Scripted::in_turn([
        HttpReply::status(429).header("retry-after", "7200"),
        HttpReply::status(200),
    ]);
    let transport = stack(&script);
    for _ in 0..2 {
        let error = transport.send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited, "{error}");
    }
    assert_eq!(script.requests().len(), 1);
    tokio::time::sleep(Duration::from_hours(2)).await;
    transport.send(get("/")).await.unwrap();
}
