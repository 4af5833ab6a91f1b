//! The source as a whole: what it holds, and how a request finds its answer.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use connector_core::Clock;
use serde_json::{Value as Json, json};

use super::{
    cloud::{GraphCloud, GraphHosts},
    collection::GraphCollection,
    export::{GraphExport, Job, JobEnd},
    fault::{GraphFault, Scheduled, Times},
    refusal::{
        bad_request, half, instead, no_segment, refused, storage_refused, unauthorized, with_ids,
    },
    report::GraphReport,
    token::{self, GraphApp, Issued, Moment},
};
use crate::http::{HttpReply, HttpRequest, HttpServer, Scripted, TokioClock};

/// A Microsoft Graph that answers as scripted. All clones are the same one.
///
/// What a fault or rows belong to is its *place*: the path of a collection (`users`), the name of a
/// report that is exported (`AppInvRawData`), of a usage report's function
/// (`getMailboxUsageDetail`), or `token`. Behind the name of an export, `/job` is where it is asked
/// after; `/file` is where a file of either kind is got.
#[derive(Clone)]
pub struct Graph {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

struct State {
    cloud: GraphCloud,
    hosts: GraphHosts,
    app: GraphApp,
    collections: BTreeMap<String, GraphCollection>,
    singles: BTreeMap<String, Json>,
    exports: BTreeMap<String, GraphExport>,
    reports: BTreeMap<String, GraphReport>,
    faults: BTreeMap<String, Vec<Scheduled<GraphFault>>>,
    jobs: BTreeMap<String, Job>,
    /// By path: the place that a file belongs to, and the file.
    files: BTreeMap<String, (String, Vec<u8>)>,
    /// Where the page of a token begins, and the whole query that goes with it.
    pages: BTreeMap<String, (usize, String)>,
    tokens: Vec<Issued>,
    /// The last number that was given to a token, a page, a job or a file.
    last: u64,
}

/// A [`Graph`] that listens on two ports: itself with its token endpoint, and the files.
#[derive(Debug)]
pub struct GraphServer {
    /// Graph and the token endpoint.
    pub graph: HttpServer,
    /// The files, on another port.
    pub files: HttpServer,
}

impl Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}

impl Graph {
    /// Makes an empty one in the global cloud.
    pub fn new() -> Self {
        Self::in_cloud(GraphCloud::Global)
    }

    /// Makes an empty one. Its clock is tokio's.
    pub fn in_cloud(cloud: GraphCloud) -> Self {
        let state = State {
            cloud,
            hosts: cloud.hosts(),
            app: GraphApp::default(),
            collections: BTreeMap::new(),
            singles: BTreeMap::new(),
            exports: BTreeMap::new(),
            reports: BTreeMap::new(),
            faults: BTreeMap::new(),
            jobs: BTreeMap::new(),
            files: BTreeMap::new(),
            pages: BTreeMap::new(),
            tokens: Vec::new(),
            last: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            clock: Arc::new(TokioClock::new()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a transport to it that needs no socket.
    pub fn transport(&self) -> Arc<Scripted> {
        let graph = self.clone();
        Scripted::new(move |request| graph.answer(request))
    }

    /// Returns the clock that it goes by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Listens on 127.0.0.1 in clear text. Its hosts are these from now on.
    ///
    /// # Panics
    ///
    /// As [`HttpServer::start`].
    pub async fn serve(&self) -> GraphServer {
        let of = |graph: Self| move |request: &HttpRequest| graph.answer(request);
        let graph = HttpServer::start(of(self.clone())).await;
        let files = HttpServer::start(of(self.clone())).await;
        self.state().hosts = GraphHosts {
            login: graph.url(""),
            graph: graph.url(""),
            files: files.url(""),
        };
        GraphServer { graph, files }
    }

    /// Returns where it is.
    pub fn hosts(&self) -> GraphHosts {
        self.state().hosts.clone()
    }

    /// Sets the app registration. Default: that of [`GraphApp`].
    pub fn app(&self, app: GraphApp) {
        self.state().app = app;
    }

    /// Adds a collection, or takes the place of the one with that path.
    pub fn collection(&self, collection: GraphCollection) {
        let path = collection.path.clone();
        self.state().collections.insert(path, collection);
    }

    /// Adds an object that is no member of a collection, such as `admin/reportSettings`.
    pub fn single(&self, path: &str, object: Json) {
        self.state().singles.insert(path.to_owned(), object);
    }

    /// Adds a report that can be exported.
    pub fn export(&self, export: GraphExport) {
        let name = export.name.clone();
        self.state().exports.insert(name, export);
    }

    /// Adds a usage report.
    pub fn report(&self, report: GraphReport) {
        let name = report.function.clone();
        self.state().reports.insert(name, report);
    }

    /// Lets a place hold these rows: objects of a collection, or cells of a file by the name of the
    /// column.
    ///
    /// # Panics
    ///
    /// When there is no such place.
    pub fn load(&self, place: &str, rows: impl IntoIterator<Item = Json>) {
        let mut state = self.state();
        let State {
            collections,
            exports,
            reports,
            ..
        } = &mut *state;
        let held = collections
            .get_mut(place)
            .map(|collection| &mut collection.rows)
            .or_else(|| exports.get_mut(place).map(|export| &mut export.rows))
            .or_else(|| reports.get_mut(place).map(|report| &mut report.rows))
            .expect("a place that was added");
        *held = rows.into_iter().collect();
    }

    /// Breaks a place. Of several faults that come to one request, the first that was set counts.
    pub fn fault(&self, place: &str, fault: GraphFault, times: Times) {
        let mut state = self.state();
        let faults = state.faults.entry(place.to_owned()).or_default();
        faults.push(Scheduled::new(fault, times));
    }

    /// Ends all faults of a place, and of what is behind it.
    pub fn heal(&self, place: &str) {
        let within = |other: &str| {
            let rest = other.strip_prefix(place);
            rest.is_some_and(|rest| rest.is_empty() || rest == "/job" || rest == "/file")
        };
        self.state().faults.retain(|other, _| !within(other));
    }

    /// Makes all tokens useless that were issued.
    pub fn revoke_tokens(&self) {
        for token in &mut self.state().tokens {
            token.is_revoked = true;
        }
    }

    /// Answers a request, whose target is a path or a whole address.
    pub fn answer(&self, request: &HttpRequest) -> HttpReply {
        let elapsed = self.clock.elapsed();
        let seconds = self.clock.now().ticks().div_euclid(10_000_000);
        let now = Moment { elapsed, seconds };
        self.state().answer(request, now)
    }
}

impl State {
    fn answer(&mut self, request: &HttpRequest, now: Moment) -> HttpReply {
        let target = request.target.as_str();
        let (host, target) = if target.starts_with('/') {
            (request.header("host").unwrap_or_default(), target)
        } else {
            let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
            rest.split_at(rest.find('/').unwrap_or(rest.len()))
        };
        let path = target.split('?').next().unwrap_or_default();
        let is = |origin: &str| origin.split_once("://").is_some_and(|(_, own)| own == host);
        if is(&self.hosts.files) {
            return self.file(path, request);
        }
        if is(&self.hosts.login) && path.ends_with("/oauth2/v2.0/token") {
            return self.token(path, request, now);
        }
        if !is(&self.hosts.graph) {
            // No such host.
            return HttpReply::closed();
        }
        with_ids(self.graph(path, request, now))
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Counts a request of a place; returns the fault that comes to it.
    fn faulty(&mut self, place: &str) -> Option<GraphFault> {
        let faults = self.faults.get_mut(place)?;
        let come: Vec<_> = faults.iter_mut().filter_map(Scheduled::next).collect();
        come.into_iter().next()
    }

    fn token(&mut self, path: &str, request: &HttpRequest, mut now: Moment) -> HttpReply {
        let fault = self.faulty("token");
        if let Some(reply) = fault.as_ref().and_then(instead) {
            return reply;
        }
        if fault == Some(GraphFault::ClockSkew) {
            now.seconds += 3600;
        }
        if path != format!("/{}/oauth2/v2.0/token", self.app.tenant) {
            return token::refused(400, "invalid_request", "AADSTS90002: Tenant was not found.");
        }
        let number = self.next();
        // The resource is the cloud's, wherever it is served.
        let scope = format!("{}/.default", self.cloud.hosts().graph);
        let endpoint = format!("{}{path}", self.hosts.login);
        match token::answer(&self.app, &scope, &endpoint, number, now, request) {
            Ok((reply, issued)) => {
                self.tokens.push(issued);
                reply
            }
            Err(refused) => refused,
        }
    }

    fn graph(&mut self, path: &str, request: &HttpRequest, now: Moment) -> HttpReply {
        let bearer = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        let Some(bearer) = bearer else {
            return unauthorized("Access token is empty.");
        };
        let known = self.tokens.iter().position(|token| token.text == bearer);
        let Some(token) = known else {
            return unauthorized("IDX14100: JWT is not well formed.");
        };
        if !self.tokens[token].is_good(now.elapsed) {
            return unauthorized("Lifetime validation failed, the token is expired.");
        }
        let (version, path) = path.trim_matches('/').split_once('/').unwrap_or_default();
        if !matches!(version, "v1.0" | "beta") {
            return bad_request("Invalid version.");
        }
        let Some(target) = self.target(version, path, request) else {
            return no_segment(path.split('/').next_back().unwrap_or_default());
        };
        let fault = self.faulty(target.place());
        // Nothing but a token of a page can expire so.
        let is_first = !request.query().contains("$skiptoken=");
        let fault = fault.filter(|fault| *fault != GraphFault::ExpiredPageToken || !is_first);
        if let Some(reply) = fault.as_ref().and_then(instead) {
            return reply;
        }
        match &fault {
            Some(GraphFault::TokenExpired) => {
                self.tokens[token].is_revoked = true;
                return unauthorized("Lifetime validation failed, the token is expired.");
            }
            Some(GraphFault::ClaimsChallenge) if !self.tokens[token].has_claims => {
                let claims = json!({"access_token": {"nbf": {
                    "essential": true, "value": "1604106651"
                }}});
                let claims = BASE64_STANDARD.encode(claims.to_string());
                let challenge = format!(
                    "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/\
                     common/oauth2/authorize\", error=\"insufficient_claims\", \
                     claims=\"{claims}\""
                );
                return refused(
                    401,
                    "InvalidAuthenticationToken",
                    "Continuous access evaluation resulted in challenge",
                )
                .header("www-authenticate", &challenge);
            }
            _ => {}
        }
        let reply = match target {
            Target::Page(place) => self.page(version, &place, request, fault.as_ref()),
            Target::Object(place, id) => self.object(&place, &id, request, fault.as_ref()),
            Target::Single(place) => object(self.singles[&place].clone(), fault.as_ref()),
            Target::NewJob(place, body) => self.new_job(&place, &body, fault.as_ref()),
            Target::Job(place, id) => self.job(&place, &id, fault.as_ref()),
            Target::Report(name, arguments) => self.usage(&name, &arguments, fault.as_ref()),
        };
        match fault {
            Some(GraphFault::Cut) => half(&reply, false),
            Some(GraphFault::Hang) => half(&reply, true),
            _ => reply,
        }
    }

    /// Finds what a path means.
    fn target(&self, version: &str, path: &str, request: &HttpRequest) -> Option<Target> {
        let path = percent_decoded(path);
        if let Some(call) = path.strip_prefix("reports/") {
            // https://learn.microsoft.com/graph/api/resources/report: the global cloud alone has
            // them in v1.0.
            if self.cloud != GraphCloud::Global && version == "v1.0" {
                return None;
            }
            let (name, arguments) = call.split_once('(').unwrap_or((call, ")"));
            let arguments = arguments.strip_suffix(')')?;
            let known = self.reports.contains_key(name);
            return known.then(|| Target::Report(name.to_owned(), arguments.to_owned()));
        }
        if let Some(job) = path.strip_prefix("deviceManagement/reports/exportJobs") {
            if job.is_empty() && request.method == "POST" {
                let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
                let name = body["reportName"].as_str().unwrap_or_default().to_owned();
                return Some(Target::NewJob(name, body));
            }
            let id = job.strip_prefix("('").and_then(|id| id.strip_suffix("')"));
            let id = id.or_else(|| job.strip_prefix('/'))?;
            let place = format!("{}/job", self.jobs.get(id)?.report);
            return Some(Target::Job(place, id.to_owned()));
        }
        if self.singles.contains_key(&path) {
            return Some(Target::Single(path));
        }
        let offered = |path: &str| {
            let collection = self.collections.get(path)?;
            (!collection.beta_only || version == "beta").then(|| path.to_owned())
        };
        if let Some(place) = offered(&path) {
            return Some(Target::Page(place));
        }
        let (place, id) = match path.strip_suffix("')") {
            Some(rest) => rest.split_once("('")?,
            None => path.rsplit_once('/')?,
        };
        Some(Target::Object(offered(place)?, id.to_owned()))
    }

    fn page(
        &mut self,
        version: &str,
        place: &str,
        request: &HttpRequest,
        fault: Option<&GraphFault>,
    ) -> HttpReply {
        let Some(collection) = self.collections.get(place) else {
            return no_segment(place);
        };
        let query = match collection.query(&parameters(request)) {
            Ok(query) => query,
            Err(refused) => return refused,
        };
        // https://learn.microsoft.com/graph/aad-advanced-queries: on each page, since a link does
        // not hold the header.
        let is_directory = matches!(place, "users" | "groups" | "devices");
        if query.count && is_directory && request.header("consistencylevel") != Some("eventual") {
            let message = "$count is not currently supported without ConsistencyLevel: eventual.";
            return refused(400, "Request_UnsupportedQuery", message);
        }
        let from = match &query.page {
            None => 0,
            Some(token) => match self.pages.get(token) {
                // The link is to be sent as it is, and belongs to what was asked first.
                Some((from, whole)) if whole == request.query() => *from,
                _ => return bad_request("Skip token is null or not valid."),
            },
        };
        let (rows, next) = collection.page(from, &query, fault);
        let all = collection.rows.len();
        let mut body = json!({
            "@odata.context": format!("{}/{version}/$metadata#{place}", self.hosts.graph),
        });
        if query.count && query.page.is_none() {
            body["@odata.count"] = all.into();
        }
        let link = match fault {
            Some(GraphFault::EndlessLink) => {
                let whole = request.query().to_owned();
                Some(format!("{}/{version}/{place}?{whole}", self.hosts.graph))
            }
            _ => next.map(|next| {
                let whole = self.link(request.query(), query.page.as_deref(), next);
                let host = match fault {
                    Some(GraphFault::ForeignLink(host)) => host,
                    _ => &self.hosts.graph,
                };
                format!("{host}/{version}/{place}?{whole}")
            }),
        };
        if let Some(link) = link {
            body["@odata.nextLink"] = link.into();
        }
        body["value"] = rows.into();
        HttpReply::json(body.to_string())
    }

    /// Makes the query of a page that begins there.
    fn link(&mut self, query: &str, page: Option<&str>, next: usize) -> String {
        let token = format!("RFNwdAIAAQAAAB{:06}", self.next());
        let kept = query.split('&').filter(|pair| {
            let is_page = page.is_some_and(|page| pair.ends_with(page));
            !pair.is_empty() && !is_page
        });
        let own = format!("$skiptoken={token}");
        let whole: Vec<_> = kept.chain([own.as_str()]).collect();
        let whole = whole.join("&");
        self.pages.insert(token, (next, whole.clone()));
        whole
    }

    fn object(
        &self,
        place: &str,
        id: &str,
        request: &HttpRequest,
        fault: Option<&GraphFault>,
    ) -> HttpReply {
        let Some(collection) = self.collections.get(place) else {
            return no_segment(place);
        };
        let query = match collection.query(&parameters(request)) {
            Ok(query) => query,
            Err(refused) => return refused,
        };
        match collection.object(id, &query) {
            Some(row) => object(row, fault),
            None => refused(404, "ResourceNotFound", "The object does not exist."),
        }
    }

    fn new_job(&mut self, name: &str, body: &Json, fault: Option<&GraphFault>) -> HttpReply {
        let Some(export) = self.exports.get(name) else {
            return bad_request("Report name is not valid.");
        };
        let end = match fault {
            Some(GraphFault::StuckJob) => JobEnd::Stuck,
            Some(GraphFault::FailedJob) => JobEnd::Failed,
            _ => JobEnd::Completed,
        };
        let job = match export.job(body, end) {
            Ok(job) => job,
            Err(refused) => return refused,
        };
        let id = format!("{name}_00000000-0000-4000-8000-{:012}", self.next());
        let shown = job.shown(&id, None, "notStarted");
        self.jobs.insert(id, job);
        HttpReply::json(shown.to_string()).with_status(201)
    }

    fn job(&mut self, place: &str, id: &str, fault: Option<&GraphFault>) -> HttpReply {
        let file = format!("/{}", self.next());
        let Some(job) = self.jobs.get_mut(id) else {
            return refused(404, "ResourceNotFound", "The job does not exist.");
        };
        let Some(export) = self.exports.get(&job.report) else {
            return refused(404, "ResourceNotFound", "The report does not exist.");
        };
        job.polls += 1;
        let is_done = job.polls >= export.polls && job.end != JobEnd::Stuck;
        let shown = match job.end {
            _ if !is_done => job.shown(id, None, "inProgress"),
            JobEnd::Failed => job.shown(id, None, "failed"),
            _ => {
                // Each time another address, of the same file.
                let archive = match &job.file {
                    Some(file) => self.files.get(file).map(|(_, archive)| archive.clone()),
                    None => None,
                };
                let archive = archive.unwrap_or_else(|| export.archive(id, &job.select));
                let path = format!("/{id}{file}.zip");
                let own = place.replace("/job", "/file");
                self.files.insert(path.clone(), (own, archive));
                let url = format!("{}{path}?sv=2024-11-04&sr=b&sig=c2lnbmVk", self.hosts.files);
                job.file = Some(path);
                job.shown(id, Some(&url), "completed")
            }
        };
        object(shown, fault)
    }

    fn usage(&mut self, name: &str, arguments: &str, fault: Option<&GraphFault>) -> HttpReply {
        let number = self.next();
        let Some(report) = self.reports.get(name).filter(|r| r.takes(arguments)) else {
            return bad_request("Invalid period value specified.");
        };
        let file = report.file();
        if fault == Some(&GraphFault::Direct) {
            return whole_file(&file);
        }
        let path = format!("/data/download/JDFKdf2_eJXKS034dbc7e0t__{number}");
        let to = format!("{}{path}", self.hosts.files);
        self.files.insert(path, (format!("{name}/file"), file));
        HttpReply::redirect(&to).header("content-type", "text/plain")
    }

    /// Answers for the storage, where an address is all the right that there is; with a credential
    /// besides, it checks that, and does not know it.
    fn file(&mut self, path: &str, request: &HttpRequest) -> HttpReply {
        if request.header("authorization").is_some() {
            let message = "Authentication information is not given in the correct format. Check \
                           the value of Authorization header.";
            return storage_refused(400, "InvalidAuthenticationInfo", message);
        }
        let Some((place, file)) = self.files.get(path).cloned() else {
            return storage_refused(404, "BlobNotFound", "The specified blob does not exist.");
        };
        let fault = self.faulty(&place);
        if let Some(reply) = fault.as_ref().and_then(instead) {
            return reply;
        }
        let reply = whole_file(&file);
        match fault {
            Some(GraphFault::Cut) => half(&reply, false),
            Some(GraphFault::Hang) => half(&reply, true),
            _ => reply,
        }
    }
}

/// What a request is for.
enum Target {
    Page(String),
    Object(String, String),
    Single(String),
    NewJob(String, Json),
    Job(String, String),
    Report(String, String),
}

impl Target {
    fn place(&self) -> &str {
        match self {
            Self::Page(place)
            | Self::Object(place, _)
            | Self::Single(place)
            | Self::NewJob(place, _)
            | Self::Job(place, _)
            | Self::Report(place, _) => place,
        }
    }
}

fn object(object: Json, fault: Option<&GraphFault>) -> HttpReply {
    let body = match fault {
        Some(GraphFault::Wrapped) => json!({ "value": object }),
        _ => object,
    };
    HttpReply::json(body.to_string())
}

fn whole_file(file: &[u8]) -> HttpReply {
    let reply = HttpReply::status(200).header("content-type", "application/octet-stream");
    file.chunks(64 << 10).fold(reply, HttpReply::chunk)
}

fn parameters(request: &HttpRequest) -> Vec<(String, String)> {
    url::form_urlencoded::parse(request.query().as_bytes())
        .into_owned()
        .collect()
}

/// A path as it was meant: keys of objects are encoded in it.
fn percent_decoded(path: &str) -> String {
    // The form's decoder would take a plus for a space.
    let path = path.replace('+', "%2B");
    url::form_urlencoded::parse(path.as_bytes())
        .map(|(name, value)| {
            if value.is_empty() {
                name.into_owned()
            } else {
                format!("{name}={value}")
            }
        })
        .collect()
}

/// Without what it holds.
impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("cloud", &self.state().cloud)
            .finish_non_exhaustive()
    }
}
