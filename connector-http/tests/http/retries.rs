use std::time::Duration;

use connector_core::{ErrorKind, Retry};
use connector_http::{HttpConfig, Request};
use connector_testkit::http::{HttpReply, Scripted};

use crate::lab::{SERVICE, get, layers, stack, text, url};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_it_is_told_in_each_of_the_forms() {
    for (told, waited) in [
        ("3", 3),
        ("0", 0),
        ("2.128", 3),
        ("0.249", 1),
        // With the reply's own date, whatever this machine's clock says.
        ("Thu, 01 Jan 2015 00:00:20 GMT", 20),
    ] {
        let busy = HttpReply::status(429)
            .header("retry-after", told)
            .header("date", "Thu, 01 Jan 2015 00:00:00 GMT");
        let script = Scripted::in_turn([busy, HttpReply::json("1")]);
        let reply = stack(&script).send(get("/")).await.unwrap();
        assert_eq!(text(reply).await, "1");
        assert_eq!(script.times()[1].as_secs(), waited, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_date_without_a_date_to_compare_with_is_compared_with_the_clock() {
    let busy = HttpReply::status(503).header("retry-after", "Sat, 21 Nov 2026 00:00:09 GMT");
    let script = Scripted::in_turn([busy, HttpReply::json("1")]);
    stack(&script).send(get("/")).await.unwrap();
    assert_eq!(script.times()[1].as_secs(), 9);
}

#[tokio::test(start_paused = true)]
async fn waits_a_growing_random_time_when_it_is_not_told() {
    let script = Scripted::in_turn([HttpReply::status(503).chunk("<html>busy")]);
    let error = stack(&script).send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.retry(), Retry::Exhausted);
    let times = script.times();
    // The 20 attempts, or as many as 15 minutes hold.
    assert!((8..=20).contains(&times.len()), "{}", times.len());
    assert!(times.last().unwrap() <= &(900 * SECOND));
    for (i, pair) in times.windows(2).enumerate() {
        let most = (3 * SECOND * 2_u32.pow(u32::try_from(i).unwrap())).min(180 * SECOND);
        assert!(pair[1] <= pair[0] + most + SECOND, "{times:?}");
    }
    // Random, so not two the same; and from a seed, so the same each time.
    let again = Scripted::in_turn([HttpReply::status(503)]);
    stack(&again).send(get("/")).await.unwrap_err();
    assert_eq!(times, again.times());
    let other = Scripted::in_turn([HttpReply::status(503)]);
    let seeded = layers(SERVICE, HttpConfig::default()).seed(8);
    let transport = seeded.over(other.clone()).unwrap();
    transport.send(get("/")).await.unwrap_err();
    assert_ne!(times[1], other.times()[1]);
}

#[tokio::test(start_paused = true)]
async fn a_defect_is_tried_a_few_times() {
    for status in [500, 502] {
        let script = Scripted::in_turn([HttpReply::status(status)]);
        let error = stack(&script).send(get("/")).await.unwrap_err();
        assert_eq!(script.requests().len(), 4, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_wait_helps_is_not_repeated() {
    for status in [302, 400, 401, 403, 404, 410, 501] {
        let script = Scripted::in_turn([HttpReply::status(status)]);
        let error = stack(&script).send(get("/")).await.unwrap_err();
        assert_eq!(script.requests().len(), 1, "{error}");
        assert_eq!(error.retry(), Retry::Never);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_budget_is_not_begun() {
    let busy = HttpReply::status(429).header("retry-after", "3600");
    let script = Scripted::in_turn([busy]);
    let error = stack(&script).send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(error.retry(), Retry::Exhausted);
    assert!(
        error.to_string().contains("asked to wait: 3600s"),
        "{error}"
    );
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_idempotent_is_sent_again_only_when_it_was_refused() {
    let post = || Request::post(url("https://source.test/jobs"), "text/plain", "x").unwrap();
    for reply in [
        HttpReply::closed(),
        HttpReply::status(503).header("retry-after", "1"),
        HttpReply::status(201).chunk("{").cut(),
    ] {
        let script = Scripted::in_turn([reply, HttpReply::status(201)]);
        let sent = stack(&script).send(post()).await;
        assert_eq!(sent.unwrap_err().retry(), Retry::Never);
        assert_eq!(script.requests().len(), 1);
        // The same, said to be idempotent: with its body each time.
        stack(&script).send(post().idempotent()).await.unwrap();
    }
    let script = Scripted::in_turn([HttpReply::status(429), HttpReply::status(201)]);
    stack(&script).send(post()).await.unwrap();
    let requests = script.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.body == b"x"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_cut_is_asked_for_again() {
    let script = Scripted::in_turn([
        HttpReply::status(200).chunk("ha").cut(),
        HttpReply::status(200).chunk("ha").chunk("lf"),
    ]);
    let reply = stack(&script).send(get("/")).await.unwrap();
    assert_eq!(text(reply).await, "half");
    // What is streamed is with its reader already.
    let script = Scripted::in_turn([HttpReply::status(200).chunk("ha").cut()]);
    let mut reply = stack(&script).send(get("/").streamed()).await.unwrap();
    assert_eq!(reply.body.chunk().await.unwrap().unwrap(), "ha");
    let error = reply.body.chunk().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_refused_once() {
    let mut config = HttpConfig::default();
    config.largest_page = bytesize::ByteSize(3);
    let script = Scripted::in_turn([HttpReply::json("1234")]);
    let transport = layers(SERVICE, config).over(script.clone()).unwrap();
    let error = transport.send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    assert_eq!(script.requests().len(), 1);
}
