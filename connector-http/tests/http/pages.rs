use std::time::Duration;

use connector_core::{Error, ErrorKind, Result, Retry};
use connector_http::{Most, Page, Pages, Refusal, Request, Seen};
use connector_testkit::http::{HttpReply, HttpRequest, Scripted};

use crate::lab::{get, stack, text};

/// Pages whose text is the address of the next one.
async fn walk(mut pages: Pages) -> Result<u64> {
    let mut read = 0;
    while let Some(page) = pages.next().await? {
        let next = Some(text(page).await).filter(|next| !next.is_empty());
        read += 1;
        pages.seen(&Seen {
            rows: 1,
            last_key: next.clone(),
            next,
            ..Seen::default()
        })?;
    }
    Ok(read)
}

fn to(next: &str) -> HttpReply {
    HttpReply::status(200).chunk(next)
}

#[tokio::test(start_paused = true)]
async fn follows_links_as_they_are_and_repeats_headers() {
    let script = Scripted::new(|request| match request.query() {
        "$top=2" => to("https://source.test/users?$skiptoken=a%2Bb=="),
        "$skiptoken=a%2Bb==" => to("/users?last"),
        _ => to(""),
    });
    let first = get("/users?$top=2")
        .header("consistencylevel", "eventual")
        .unwrap();
    assert_eq!(
        walk(Pages::new(stack(&script), first, Page::Link))
            .await
            .unwrap(),
        3
    );
    for request in script.requests() {
        assert_eq!(request.header("consistencylevel"), Some("eventual"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_walk_that_goes_round_ends_with_an_error() {
    let loops: [fn(&HttpRequest) -> HttpReply; 3] = [
        |_| to("/a"),
        |request| {
            to(if request.path().ends_with("/b") {
                "/c"
            } else {
                "/b"
            })
        },
        |_| to("/b#x"),
    ];
    for next in loops {
        let script = Scripted::new(next);
        let pages = Pages::new(stack(&script), get("/a"), Page::Link);
        let error = walk(pages).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source, "{error}");
        assert!(error.message().contains("forever"), "{error}");
        assert!(script.requests().len() < 5);
    }
    // One that is new each time.
    let count = std::sync::atomic::AtomicU64::new(0);
    let script = Scripted::new(move |_| {
        to(&format!(
            "/{}",
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
        ))
    });
    for most in [
        Most {
            pages: 100,
            ..Most::default()
        },
        Most {
            bytes: 300,
            ..Most::default()
        },
    ] {
        let pages = Pages::new(stack(&script), get("/a"), Page::Link).most(most);
        let error = walk(pages).await.unwrap_err();
        assert!(error.message().contains("not read to the end"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_elsewhere_is_not_followed() {
    for link in [
        "https://evil.test/users",
        "http://source.test/users",
        "https://source.test:8443/users",
        "//evil.test/users",
        "https://source.test.evil.test/users",
        "https://user@source.test/users",
        "https://source.test@evil.test/users",
        "javascript:x",
        "https://",
    ] {
        let script = Scripted::in_turn([to(link)]);
        let pages = Pages::new(stack(&script), get("/users?secret=1"), Page::Link);
        let error = walk(pages).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source, "{link}: {error}");
        assert_eq!(script.requests().len(), 1, "{link}");
        assert!(!format!("{error:#}").contains("secret"), "{error:#}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_a_link_is_nothing_leaves_the_host(link in "(https?:)?(//)?[a-z.@:/?#\\\\%0-9 ]{0,40}") {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let script = Scripted::in_turn([to(&link), to("")]);
            let pages = Pages::new(stack(&script), get("/users"), Page::Link);
            let _ = walk(pages).await;
            for request in script.requests() {
                let asked: url::Url = request.target.parse().unwrap();
                assert_eq!(asked.origin().ascii_serialization(), "https://source.test");
                assert!(asked.username().is_empty());
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_go_into_the_query() {
    let script = Scripted::new(|request| match request.query() {
        "a=1" => to("t/1"),
        "a=1&token=t%2F1" => to("t2"),
        "a=1&token=t2" => to(""),
        other => panic!("{other}"),
    });
    let pages = Pages::new(stack(&script), get("/?a=1"), Page::Token("token"));
    assert_eq!(walk(pages).await.unwrap(), 3);
}

const OFFSET: Page = Page::Offset {
    offset: "skip",
    limit: "limit",
    size: 10,
};

/// Walks pages of so many rows each, and returns the queries.
async fn counted(page: Page, rows: &[u64], total: Option<u64>) -> Result<Vec<String>> {
    let script = Scripted::in_turn([HttpReply::status(200)]);
    let mut pages = Pages::new(stack(&script), get("/"), page);
    let mut rows = rows.iter();
    while pages.next().await?.is_some() {
        let rows = *rows.next().unwrap();
        let last_key = (rows > 0).then(|| format!("k{}", script.requests().len()));
        pages.seen(&Seen {
            rows,
            last_key,
            total,
            ..Seen::default()
        })?;
    }
    let requests = script.requests();
    Ok(requests
        .iter()
        .map(|request| request.query().to_owned())
        .collect())
}

#[tokio::test(start_paused = true)]
async fn offsets_count_what_was_asked_for() {
    let queries = counted(OFFSET, &[10, 10, 4], None).await.unwrap();
    assert_eq!(
        queries,
        ["skip=0&limit=10", "skip=10&limit=10", "skip=20&limit=10"]
    );
    assert_eq!(counted(OFFSET, &[0], None).await.unwrap().len(), 1);
    assert_eq!(counted(OFFSET, &[10, 0], None).await.unwrap().len(), 2);
    // Rows that the credential may not see are counted by the source, and not sent.
    assert_eq!(
        counted(OFFSET, &[3, 0, 7], Some(30)).await.unwrap().len(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn keys_go_on_from_the_last_one() {
    fn after(request: &mut Request, key: Option<&str>) {
        request.url.set_query(Some(key.unwrap_or("start")));
    }
    let keyset = Page::Keyset { after, size: 2 };
    let queries = counted(keyset, &[2, 2, 1], None).await.unwrap();
    assert_eq!(queries, ["start", "k1", "k2"]);
    let error = counted(keyset, &[2, 0], Some(9)).await.unwrap_err();
    assert!(error.message().contains("no key to go on from"), "{error}");
}

fn expired(refusal: &Refusal) -> bool {
    refusal.has_code("Directory_ExpiredPageToken")
}

fn forgotten() -> HttpReply {
    HttpReply::json(r#"{"error":{"code":"Directory_ExpiredPageToken","message":"x"}}"#)
        .with_status(400)
}

#[tokio::test(start_paused = true)]
async fn a_walk_that_was_forgotten_is_to_start_again() {
    let script = Scripted::in_turn([to("/b"), forgotten()]);
    let pages = Pages::new(stack(&script), get("/a"), Page::Link);
    let error = walk(pages.expired(expired)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Incomplete, Retry::Restart)
    );
    assert!(Refusal::of(&error).is_some());
    assert_eq!(script.requests().len(), 2);
    // On the first page it is something else, and would be for ever.
    let script = Scripted::in_turn([forgotten()]);
    let pages = Pages::new(stack(&script), get("/a"), Page::Link).expired(expired);
    let error = walk(pages).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never);
}

#[tokio::test(start_paused = true)]
async fn a_walk_never_ends_well_after_an_error() {
    let script = Scripted::in_turn([to("/b"), HttpReply::status(400), to("")]);
    let mut pages = Pages::new(stack(&script), get("/a"), Page::Link);
    pages.next().await.unwrap();
    let unsaid: Error = pages.next().await.unwrap_err();
    assert_eq!(unsaid.kind(), ErrorKind::Unexpected);
    let mut pages = Pages::new(stack(&script), get("/a"), Page::Link);
    assert!(pages.next().await.is_err());
    assert!(pages.next().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_page_in_the_middle_is_waited_for() {
    let script = Scripted::in_turn([
        to("/b"),
        HttpReply::status(504)
            .header("retry-after", "7")
            .chunk("<html>"),
        HttpReply::status(200).chunk("/c").cut(),
        to("/c"),
        to(""),
    ]);
    let pages = Pages::new(stack(&script), get("/a"), Page::Link);
    assert_eq!(walk(pages).await.unwrap(), 3);
    assert!(script.times()[2] >= Duration::from_secs(7));
}
