//! The layers over a Graph that answers as scripted: each of its behaviours, by a walk, a download
//! or a sign-in.

use std::{path::Path, sync::Arc, time::Duration};

use connector_core::{ErrorKind, Result, Retry, Secret};
use connector_http::{
    Assertion, ClientCertificate, ClientCredentials, HttpConfig, Page, Pages, Proof, Refusal,
    Request, Service, Signature, Stack, Transport,
    decode::{CsvDecoder, PageDecoder, Reply, Unzip, text as text_column},
    download,
};
use connector_testkit::{
    graph::{
        Graph, GraphApp, GraphCloud, GraphCollection, GraphExport, GraphFault, GraphReport, Times,
    },
    http::Scripted,
};
use serde_json::{Value as Json, json};

use crate::lab::{layers, text, url};

const GRAPH: Service = Service::new("Microsoft Graph")
    .request_id("client-request-id")
    .reply_ids(&["request-id"]);

const USERS: Reply = Reply {
    name: "users",
    columns: &[
        text_column("id", "id").key(),
        text_column("mail", "mail").null(),
    ],
    ..Reply::ODATA
}
.checked();

struct Lab {
    graph: Graph,
    script: Arc<Scripted>,
    transport: Arc<dyn Transport>,
}

impl Lab {
    fn new() -> Self {
        Self::of(Graph::new())
    }

    fn of(graph: Graph) -> Self {
        graph.collection(GraphCollection::new("users").select_of(["id", "mail"]));
        let hosts = graph.hosts();
        let app = GraphApp::default();
        let endpoint = format!("{}/{}/oauth2/v2.0/token", hosts.login, app.tenant);
        let sign_in = ClientCredentials::new(
            url(&endpoint),
            app.client_id,
            Proof::Secret(Secret::new("s3cret")),
        )
        .scope(format!("{}/.default", hosts.graph))
        .claims_challenges();
        let script = graph.transport();
        let transport = layers(GRAPH, HttpConfig::default())
            .sign_in(&url(&hosts.graph), Arc::new(sign_in))
            .over(script.clone())
            .unwrap();
        Self {
            graph,
            script,
            transport,
        }
    }

    fn load(&self, users: usize) {
        let users = (0..users).map(|id| json!({"id": id.to_string(), "mail": null, "other": 1}));
        self.graph.load("users", users);
    }

    fn get(&self, path: &str) -> Request {
        Request::get(url(&format!("{}/v1.0/{path}", self.graph.hosts().graph)))
    }

    /// Walks through the users, and returns their ids.
    async fn walk(&self) -> Result<Vec<String>> {
        let first = self.get("users?$select=id,mail&$top=3");
        let mut pages = Pages::new(Arc::clone(&self.transport), first, Page::Link)
            .expired(|refusal| refusal.has_code("Directory_ExpiredPageToken"));
        let mut decoder = PageDecoder::new(&USERS)?;
        let mut rows = connector_core::Batch::new(Arc::clone(decoder.schema()));
        while let Some(page) = pages.next().await? {
            let facts = decoder.decode(&page.bytes(1 << 20).await?, &mut rows)?;
            pages.seen(&(&facts).into())?;
        }
        let ids = rows
            .rows()
            .map(|row| row.at(0).as_text().unwrap().to_owned());
        Ok(ids.collect())
    }

    async fn code(&self, path: &str) -> (u16, String) {
        let error = self.transport.send(self.get(path)).await.unwrap_err();
        let refusal = Refusal::of(&error).unwrap();
        let code = refusal.code.clone().unwrap_or_default();
        (refusal.status.as_u16(), code)
    }

    /// When each request for users came, since the first.
    fn waits(&self) -> Vec<f32> {
        let requests = self.script.requests().into_iter();
        let mut at = requests
            .zip(self.script.times())
            .filter(|(request, _)| request.target.contains("/users"))
            .map(|(_, at)| at.as_secs_f32());
        let first = at.next().unwrap();
        at.map(|at| at - first).collect()
    }
}

fn ids(ids: std::ops::Range<usize>) -> Vec<String> {
    ids.map(|id| id.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_walk_reads_every_page() {
    let lab = Lab::new();
    for users in [0, 1, 2, 3, 4, 9, 10] {
        lab.load(users);
        assert_eq!(lab.walk().await.unwrap(), ids(0..users), "{users}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_page_is_not_the_last() {
    let lab = Lab::new();
    lab.load(7);
    lab.graph
        .fault("users", GraphFault::EmptyPage, Times::at(2));
    assert_eq!(lab.walk().await.unwrap(), ids(0..7));
    assert_eq!(lab.waits().len(), 3, "three pages, and one that is empty");
}

#[tokio::test(start_paused = true)]
async fn an_object_may_come_on_two_pages() {
    let lab = Lab::new();
    lab.load(5);
    lab.graph.fault("users", GraphFault::Repeated, Times::at(2));
    assert_eq!(lab.walk().await.unwrap(), ["0", "1", "2", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_walk_starts_again() {
    let lab = Lab::new();
    lab.load(9);
    lab.graph
        .fault("users", GraphFault::ExpiredPageToken, Times::at(2));
    let error = lab.walk().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    assert_eq!(error.retry(), Retry::Restart);
    assert_eq!(lab.walk().await.unwrap(), ids(0..9));
}

#[tokio::test(start_paused = true)]
async fn patience_is_as_long_as_asked_for() {
    // The clock stands at midnight where the test begins. Parts of a second are rounded up.
    for (after, least, most) in [
        ("17", 17.0, 17.2),
        ("2.128", 3.0, 3.2),
        ("Sat, 21 Nov 2026 00:01:00 GMT", 60.0, 60.2),
    ] {
        let lab = Lab::new();
        lab.load(2);
        lab.graph
            .fault("users", GraphFault::throttled(after), Times::ONCE);
        lab.walk().await.unwrap();
        let waits = lab.waits();
        assert!((least..most).contains(&waits[0]), "{after}: {waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again() {
    for fault in [
        GraphFault::Throttled(None),
        GraphFault::Html(503),
        GraphFault::Html(504),
        GraphFault::Nested(504),
        GraphFault::Cut,
        GraphFault::Closed,
    ] {
        let lab = Lab::new();
        lab.load(5);
        lab.graph.fault("users", fault.clone(), Times::at(2));
        assert_eq!(lab.walk().await.unwrap(), ids(0..5), "{fault:?}");
        assert_eq!(lab.waits().len(), 2, "{fault:?}: the page alone, again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_is_told() {
    let lab = Lab::new();
    lab.load(5);
    lab.graph
        .fault("users", GraphFault::Nested(504), Times::ALWAYS);
    let error = lab.walk().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let told = format!("{error:#}");
    for part in [
        "An internal server error has occurred",
        "UnknownError",
        "94fb3b52-452a-4535-a601-69e0a90e3aa2",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("_version"), "{told}");
    lab.graph.heal("users");
    lab.graph
        .fault("users", GraphFault::Html(503), Times::ALWAYS);
    let told = format!("{:#}", lab.walk().await.unwrap_err());
    assert!(told.contains("Service Unavailable"), "{told}");
    assert!(!told.contains('<'), "{told}");
}

#[tokio::test(start_paused = true)]
async fn links_are_not_followed_out_or_round() {
    let lab = Lab::new();
    lab.load(9);
    let foreign = GraphFault::ForeignLink("https://graph.example".to_owned());
    for (fault, asked) in [(foreign, 1), (GraphFault::EndlessLink, 2)] {
        let before = lab.script.requests().len();
        // Both come with the second page, of which the sign-in is none.
        lab.graph.fault("users", fault, Times::from(2));
        assert_eq!(lab.walk().await.unwrap_err().kind(), ErrorKind::Source);
        let requests = lab.script.requests();
        let users = requests[before..]
            .iter()
            .filter(|request| request.target.contains("/users"));
        assert_eq!(users.count(), 2, "{asked}");
        assert!(!requests.iter().any(|r| r.target.contains("graph.example")));
        lab.graph.heal("users");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_may_end_in_the_middle() {
    for fault in [GraphFault::TokenExpired, GraphFault::ClaimsChallenge] {
        let lab = Lab::new();
        lab.load(9);
        lab.graph.fault("users", fault.clone(), Times::at(2));
        assert_eq!(lab.walk().await.unwrap(), ids(0..9), "{fault:?}");
        let tokens = lab.script.requests();
        let tokens = tokens.iter().filter(|r| r.target.ends_with("/token"));
        assert_eq!(tokens.count(), 2, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends() {
    let lab = Lab::new();
    lab.load(2);
    for _ in 0..3 {
        lab.walk().await.unwrap();
        tokio::time::advance(Duration::from_secs(3590)).await;
    }
    let refused = lab.script.requests().len();
    assert_eq!(refused, 6, "three tokens, three pages, and nothing refused");
}

#[tokio::test(start_paused = true)]
async fn queries_are_held_to_the_documents() {
    let lab = Lab::new();
    lab.load(2);
    let bad = |code: &str| (400, code.to_owned());
    assert_eq!(lab.code("users?$select=nome").await, bad("BadRequest"));
    assert_eq!(lab.code("users?$skip=2").await, bad("Request_BadRequest"));
    assert_eq!(
        lab.code("users?$count=true").await,
        bad("Request_UnsupportedQuery")
    );
    assert_eq!(
        lab.code("users?$select=skills").await,
        (501, "NotImplemented".to_owned())
    );
    assert_eq!(
        lab.code("users?$top=121&$select=id,signInActivity").await,
        bad("Request_BadRequest")
    );
    assert_eq!(lab.code("users?$skiptoken=x").await, bad("BadRequest"));
    assert_eq!(lab.code("nothing").await, bad("BadRequest"));
    lab.graph.fault("users", GraphFault::Denied, Times::ALWAYS);
    assert_eq!(
        lab.code("users").await,
        (403, "Authorization_RequestDenied".to_owned())
    );
    lab.graph.heal("users");
    let count = lab.get("users?$count=true&$top=1");
    let count = count.header("consistencylevel", "eventual").unwrap();
    let page: Json =
        serde_json::from_str(&text(lab.transport.send(count).await.unwrap()).await).unwrap();
    assert_eq!(page["@odata.count"], 2);
}

#[tokio::test(start_paused = true)]
async fn one_object_has_what_lists_lack() {
    let lab = Lab::new();
    lab.graph
        .collection(GraphCollection::new("devices").by_id_only(["hardware"]));
    lab.graph.load(
        "devices",
        [json!({"id": "a b", "hardware": 7, "name": "n"})],
    );
    let page = lab.get("devices?$select=id,hardware");
    let page = text(lab.transport.send(page).await.unwrap()).await;
    assert!(!page.contains("hardware\""), "{page}");
    for one in ["devices/a%20b", "devices('a%20b')"] {
        let one = lab.get(&format!("{one}?$select=hardware"));
        let one = text(lab.transport.send(one).await.unwrap()).await;
        assert_eq!(one, r#"{"hardware":7}"#);
    }
    assert_eq!(lab.code("devices/c").await.0, 404);
    lab.graph
        .fault("devices", GraphFault::Wrapped, Times::ALWAYS);
    let one = lab.get("devices/a%20b?$select=id");
    let one = text(lab.transport.send(one).await.unwrap()).await;
    assert_eq!(one, r#"{"value":{"id":"a b"}}"#);
}

#[tokio::test(start_paused = true)]
async fn each_cloud_has_its_hosts_and_not_all_data() {
    for cloud in [
        GraphCloud::Global,
        GraphCloud::UsGovernment,
        GraphCloud::UsGovernmentDod,
        GraphCloud::China,
    ] {
        let lab = Lab::of(Graph::in_cloud(cloud));
        lab.load(2);
        assert_eq!(lab.walk().await.unwrap().len(), 2);
        lab.graph.report(GraphReport::new("getUse", ["A"]));
        let get = lab.get("reports/getUse(period='D7')");
        let report = download(&*lab.transport, get).await;
        assert_eq!(report.is_ok(), cloud == GraphCloud::Global, "{cloud:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_is_elsewhere_and_wants_no_credential() {
    let lab = Lab::new();
    lab.graph
        .report(GraphReport::new("getUse", ["User", "Used, where"]));
    lab.graph
        .load("getUse", [json!({"User": "a", "Used, where": "\"here\""})]);
    for fault in [None, Some(GraphFault::Direct)] {
        if let Some(fault) = fault {
            lab.graph.fault("getUse", fault, Times::ALWAYS);
        }
        let get = lab.get("reports/getUse(period='D180')");
        let file = text(download(&*lab.transport, get).await.unwrap()).await;
        assert_eq!(
            file,
            "\u{feff}User,\"Used, where\"\r\na,\"\"\"here\"\"\"\r\n"
        );
    }
    lab.graph.heal("getUse");
    let files = lab.graph.hosts().files;
    let requests = lab.script.requests();
    let mut of_file = requests.iter().filter(|r| r.target.starts_with(&files));
    let file = of_file.next().unwrap();
    assert_eq!(file.header("authorization"), None);
    // With one, the storage refuses.
    let with = Request::get(url(&file.target));
    let with = with.header("authorization", "Bearer x").unwrap();
    let reply = lab.graph.transport().send(with).await.unwrap();
    assert_eq!(reply.status.as_u16(), 400);
    assert_eq!(lab.code("reports/getUse(period='D8')").await.0, 400);
    lab.graph
        .fault("getUse/file", GraphFault::ExpiredFile, Times::ALWAYS);
    let get = lab.get("reports/getUse(period='D7')");
    let error = download(&*lab.transport, get).await.unwrap_err();
    assert_eq!(Refusal::of(&error).unwrap().status.as_u16(), 403);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_done_after_a_while() {
    const INSTALLS: Reply = Reply {
        name: "installs",
        columns: &[
            text_column("key", "Key").key(),
            text_column("os", "OS").null(),
        ],
        ..Reply::NEW
    }
    .checked();
    let lab = Lab::new();
    let export = GraphExport::new("AppInvRawData", ["Key", "Platform", "Unused"]);
    lab.graph.export(
        export
            .header("Platform", "OS")
            .localized("Platform")
            .polls(3),
    );
    lab.graph.load(
        "AppInvRawData",
        [json!({"Key": "k", "Platform": "Windows"})],
    );
    let create = |body: Json| {
        let path = lab.get("deviceManagement/reports/exportJobs").url;
        let create = Request::post(path, "application/json", body.to_string()).unwrap();
        let transport = Arc::clone(&lab.transport);
        async move { transport.send(create).await }
    };
    let wrong = json!({"reportName": "AppInvRawData", "select": ["Nothing"]});
    assert_eq!(create(wrong).await.unwrap_err().kind(), ErrorKind::Source);
    let body = json!({"reportName": "AppInvRawData", "select": ["Platform", "Key"]});
    let ask = async || {
        let job: Json =
            serde_json::from_str(&text(create(body.clone()).await.unwrap()).await).unwrap();
        let path = format!(
            "deviceManagement/reports/exportJobs('{}')",
            job["id"].as_str().unwrap()
        );
        let mut states = Vec::new();
        for _ in 0..3 {
            let job = lab.transport.send(lab.get(&path)).await.unwrap();
            let job: Json = serde_json::from_str(&text(job).await).unwrap();
            states.push(job["status"].as_str().unwrap().to_owned());
            if let Some(file) = job["url"].as_str() {
                let file = Request::get(url(file)).without_credential();
                let file = download(&*lab.transport, file).await.unwrap();
                return (states, Some(file.bytes(1 << 20).await.unwrap()));
            }
        }
        (states, None)
    };
    let (states, file) = ask().await;
    assert_eq!(states, ["inProgress", "inProgress", "completed"]);
    let (mut zip, mut plain) = (Unzip::new(1 << 20), vec![0; 1 << 10]);
    let packed = file.unwrap();
    let mut rest = packed.as_ref();
    let mut decoder = CsvDecoder::new(&INSTALLS).unwrap();
    let mut rows = connector_core::Batch::new(Arc::clone(decoder.schema()));
    loop {
        let len = zip.read(&mut rest, &mut plain).unwrap();
        if len == 0 {
            break;
        }
        decoder.push(&plain[..len], &mut rows).unwrap();
    }
    zip.finish().unwrap();
    let facts = decoder.finish(&mut rows).unwrap();
    assert_eq!((rows.len(), facts.ignored), (1, vec!["OS_loc".to_owned()]));
    for (fault, last) in [
        (GraphFault::StuckJob, "inProgress"),
        (GraphFault::FailedJob, "failed"),
    ] {
        lab.graph.fault("AppInvRawData", fault, Times::ONCE);
        let (states, file) = ask().await;
        assert_eq!((states.last().unwrap().as_str(), file), (last, None));
        lab.graph.heal("AppInvRawData");
    }
}

#[tokio::test(start_paused = true)]
async fn an_assertion_is_taken_while_the_clocks_agree() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let certificate = ClientCertificate {
        certificate: data.join("rsa-certificate.pem"),
        key: Secret::new(std::fs::read_to_string(data.join("rsa-key.pem")).unwrap()),
    };
    let graph = Graph::new();
    graph.collection(GraphCollection::new("users"));
    let (hosts, app) = (graph.hosts(), GraphApp::default());
    let of_certificate = |clock| Assertion::new(&certificate, Signature::Ps256, clock).unwrap();
    let get = |endpoint: String, clock| {
        let proof = Proof::Certificate(Box::new(of_certificate(clock)));
        let sign_in = ClientCredentials::new(url(&endpoint), app.client_id.as_str(), proof)
            .scope("https://graph.microsoft.com/.default");
        let transport = layers(GRAPH, HttpConfig::default())
            .sign_in(&url(&hosts.graph), Arc::new(sign_in))
            .over(graph.transport())
            .unwrap();
        async move {
            let users = Request::get(url("https://graph.microsoft.com/v1.0/users"));
            transport.send(users).await.map(drop)
        }
    };
    let endpoint = format!("{}/{}/oauth2/v2.0/token", hosts.login, app.tenant);
    get(endpoint.clone(), graph.clock()).await.unwrap();
    let other = endpoint.replace(&app.tenant, "other.example");
    let error = get(other, graph.clock()).await.unwrap_err();
    assert!(format!("{error:#}").contains("AADSTS90002"), "{error:#}");
    graph.fault("token", GraphFault::ClockSkew, Times::ALWAYS);
    let error = get(endpoint, graph.clock()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(format!("{error:#}").contains("AADSTS700024"), "{error:#}");
}

#[tokio::test]
async fn it_listens_with_its_files_at_another_port() {
    let graph = Graph::new();
    graph.collection(GraphCollection::new("users").largest(2));
    graph.load("users", (0..3).map(|id| json!({"id": id.to_string()})));
    graph.report(GraphReport::new("getUse", ["A"]));
    let server = graph.serve().await;
    let (hosts, app) = (graph.hosts(), GraphApp::default());
    assert_ne!(hosts.graph, hosts.files);
    let endpoint = format!("{}/{}/oauth2/v2.0/token", hosts.login, app.tenant);
    let proof = Proof::Secret(Secret::new("s3cret"));
    let sign_in = ClientCredentials::new(url(&endpoint), app.client_id, proof)
        .scope("https://graph.microsoft.com/.default");
    let transport = Stack::new(GRAPH, HttpConfig::default())
        .sign_in(&url(&hosts.graph), Arc::new(sign_in))
        .build()
        .unwrap();
    let first = Request::get(url(&server.graph.url("/v1.0/users?$select=id")));
    let mut pages = Pages::new(Arc::clone(&transport), first, Page::Link);
    let mut decoder = PageDecoder::new(&USERS).unwrap();
    let mut rows = connector_core::Batch::new(Arc::clone(decoder.schema()));
    while let Some(page) = pages.next().await.unwrap() {
        let page = page.bytes(1 << 20).await.unwrap();
        let facts = decoder.decode(&page, &mut rows).unwrap();
        pages.seen(&(&facts).into()).unwrap();
    }
    assert_eq!(rows.len(), 3);
    let report = Request::get(url(&server.graph.url("/v1.0/reports/getUse(period='D7')")));
    let file = text(download(&*transport, report).await.unwrap()).await;
    assert_eq!(file, "\u{feff}A\r\n");
    let files = server.files.requests();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].header("authorization"), None);
}
