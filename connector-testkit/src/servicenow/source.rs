//! The instance as a whole: what it holds, and how a request finds its answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use connector_core::Clock;
use serde_json::{Map, Value as Json, json};

use super::{
    fault::{ServiceNowFault, changed, instead, refused, unauthorized},
    query::Query,
    sign_in::{ServiceNowApp, Tokens},
    table::{Cell, Record, ServiceNowTable},
};
use crate::{
    graph::{Scheduled, Times},
    http::{HttpReply, HttpRequest, HttpServer, Scripted, ServerTls, TokioClock},
};

/// A ServiceNow instance that answers as scripted. All clones are the same one.
///
/// What a fault belongs to is a table by its name, `sys_dictionary` and `sys_db_object` among them,
/// or `oauth_token.do`.
#[derive(Clone)]
pub struct ServiceNow {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    app: ServiceNowApp,
    tables: BTreeMap<String, ServiceNowTable>,
    faults: BTreeMap<String, Vec<Scheduled<ServiceNowFault>>>,
    tokens: Tokens,
}

/// Where it is when there is no socket.
const HOST: &str = "https://acme.service-now.com";

/// The tables of the dictionary.
const TABLES: &str = "sys_db_object";
const FIELDS: &str = "sys_dictionary";

impl Default for ServiceNow {
    fn default() -> Self {
        Self::new()
    }
}

impl ServiceNow {
    /// Makes one without tables but those of the dictionary. Its clock is tokio's.
    pub fn new() -> Self {
        let instance = Self {
            state: Arc::default(),
            clock: Arc::new(TokioClock::new()),
        };
        instance.table(
            ServiceNowTable::new(TABLES)
                .field("name", "string")
                .field("super_class.name", "string")
                .reference("super_class", TABLES),
        );
        instance.table(
            ServiceNowTable::new(FIELDS)
                .field("name", "string")
                .field("element", "string")
                .field("active", "boolean")
                .reference("internal_type", "sys_glide_object")
                .reference("reference", TABLES),
        );
        instance
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a transport to it that needs no socket.
    pub fn transport(&self) -> Arc<Scripted> {
        let instance = self.clone();
        Scripted::new(move |request| instance.answer(request))
    }

    /// Returns the clock that it goes by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Returns its address for those who ask it without a socket.
    pub fn url(&self) -> &'static str {
        HOST
    }

    /// Listens on 127.0.0.1 in clear text.
    ///
    /// # Panics
    ///
    /// As [`HttpServer::start`].
    pub async fn serve(&self) -> HttpServer {
        let instance = self.clone();
        HttpServer::start(move |request| instance.answer(request)).await
    }

    /// Listens on 127.0.0.1 with TLS.
    ///
    /// # Panics
    ///
    /// As [`HttpServer::start_tls`].
    pub async fn serve_tls(&self, tls: &ServerTls) -> HttpServer {
        let instance = self.clone();
        HttpServer::start_tls(tls, move |request| instance.answer(request)).await
    }

    /// Sets who is known. Default: that of [`ServiceNowApp`].
    pub fn app(&self, app: ServiceNowApp) {
        self.state().app = app;
    }

    /// Adds a table, or takes the place of the one with that name, and says so in the dictionary.
    pub fn table(&self, table: ServiceNowTable) {
        let mut state = self.state();
        state.tables.insert(table.name.clone(), table);
        state.describe();
    }

    /// Takes a table away.
    pub fn drop_table(&self, name: &str) {
        let mut state = self.state();
        state.tables.remove(name);
        state.describe();
    }

    /// Lets a table hold these records: texts as the database has them, or objects of `value` and
    /// `display_value`. A field that is left out is empty.
    ///
    /// # Panics
    ///
    /// When there is no such table.
    pub fn load(&self, table: &str, records: impl IntoIterator<Item = Json>) {
        let mut state = self.state();
        let table = state.tables.get_mut(table).expect("a table that was added");
        table.load(records);
    }

    /// Hides records by their ids, as an access control of rows does: they are counted, and not
    /// there.
    /// <https://support.servicenow.com/kb?id=kb_article_view&sysparm_article=KB3047115>
    ///
    /// # Panics
    ///
    /// When there is no such table.
    pub fn hide<'a>(&self, table: &str, ids: impl IntoIterator<Item = &'a str>) {
        let mut state = self.state();
        let table = state.tables.get_mut(table).expect("a table that was added");
        table.hidden = ids.into_iter().map(str::to_owned).collect();
    }

    /// Hides fields, as an access control of fields does: their members are not there.
    /// <https://support.servicenow.com/kb?id=kb_article_view&sysparm_article=KB3047115>
    ///
    /// # Panics
    ///
    /// When there is no such table.
    pub fn hide_fields<'a>(&self, table: &str, fields: impl IntoIterator<Item = &'a str>) {
        let mut state = self.state();
        let table = state.tables.get_mut(table).expect("a table that was added");
        table.hidden_fields = fields.into_iter().map(str::to_owned).collect();
    }

    /// Returns the ids of a table's records, of those of tables that extend it too.
    pub fn ids(&self, table: &str) -> Vec<String> {
        let state = self.state();
        let records = state.within(table).flat_map(|owner| &owner.records);
        records.map(|record| record.id.clone()).collect()
    }

    /// Breaks a table. Of several faults that come to one request, the first that was set counts.
    pub fn fault(&self, place: &str, fault: ServiceNowFault, times: Times) {
        let mut state = self.state();
        let faults = state.faults.entry(place.to_owned()).or_default();
        faults.push(Scheduled::new(fault, times));
    }

    /// Ends all faults of a table.
    pub fn heal(&self, place: &str) {
        self.state().faults.remove(place);
    }

    /// Makes all access tokens useless that were issued.
    pub fn revoke_tokens(&self) {
        self.state().tokens.revoke();
    }

    /// Makes all refresh tokens useless that were issued.
    pub fn revoke_refresh_tokens(&self) {
        self.state().tokens.revoke_refresh();
    }

    /// Answers a request, whose target is a path or a whole address.
    pub fn answer(&self, request: &HttpRequest) -> HttpReply {
        let now = self.clock.elapsed();
        self.state().answer(request, now)
    }
}

/// What is asked of a table.
struct Asked {
    query: String,
    fields: Vec<String>,
    limit: u64,
    offset: u64,
    display: String,
    with_links: bool,
    counted: bool,
    with_header: bool,
}

impl Asked {
    fn read(query: &str) -> Result<Self, HttpReply> {
        let parameters: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let text = |name: &str| parameters.get(name).cloned().unwrap_or_default();
        let is = |name: &str| text(name) == "true";
        let number = |name: &str, default: u64| match text(name).as_str() {
            "" => Ok(default),
            text => text
                .parse()
                .map_err(|_| refused(400, "Invalid parameter", name)),
        };
        let fields = text("sysparm_fields");
        let fields = fields.split(',').filter(|field| !field.is_empty());
        Ok(Self {
            query: text("sysparm_query"),
            fields: fields.map(str::to_owned).collect(),
            limit: number("sysparm_limit", 10_000)?,
            offset: number("sysparm_offset", 0)?,
            display: text("sysparm_display_value"),
            with_links: !is("sysparm_exclude_reference_link"),
            counted: !is("sysparm_no_count"),
            with_header: !is("sysparm_suppress_pagination_header"),
        })
    }
}

impl State {
    fn answer(&mut self, request: &HttpRequest, now: Duration) -> HttpReply {
        let target = request.target.strip_prefix(HOST);
        let target = target.unwrap_or(&request.target);
        let path = target.split('?').next().unwrap_or_default();
        if path == "/oauth_token.do" {
            let fault = self.faulty("oauth_token.do");
            let reply = fault.as_ref().and_then(instead);
            return reply.unwrap_or_else(|| self.tokens.answer(&self.app, now, request));
        }
        let Some(table) = path.strip_prefix("/api/now/v2/table/") else {
            return refused(400, "Requested URI does not represent any resource", path);
        };
        if !self.tokens.allow(&self.app, now, request) {
            return unauthorized();
        }
        if request.header("accept") != Some("application/json") {
            return refused(400, "Invalid Accept header", "");
        }
        let asked = match Asked::read(request.query()) {
            Ok(asked) => asked,
            Err(reply) => return reply,
        };
        let fault = self.faulty(table);
        if fault == Some(ServiceNowFault::Unauthorized) {
            self.tokens.revoke();
        }
        if let Some(reply) = fault.as_ref().and_then(instead) {
            return reply;
        }
        if !self.tables.contains_key(table) {
            return refused(400, &format!("Invalid table {table}"), "");
        }
        let (page, total) = self.page(table, &asked);
        let mut reply = fault
            .as_ref()
            .and_then(|fault| changed(fault, &page, asked.limit))
            .unwrap_or_else(|| HttpReply::json(page));
        if asked.counted && fault != Some(ServiceNowFault::NoCount) {
            reply = reply.header("x-total-count", &total.to_string());
        }
        let next = asked.offset + asked.limit;
        if asked.with_header && next < total {
            let link = format!("<{HOST}{path}?sysparm_offset={next}>;rel=\"next\"");
            reply = reply.header("link", &link);
        }
        reply
    }

    /// Counts a request of a place; returns the fault that comes to it.
    fn faulty(&mut self, place: &str) -> Option<ServiceNowFault> {
        let faults = self.faults.get_mut(place)?;
        let come: Vec<_> = faults.iter_mut().filter_map(Scheduled::next).collect();
        come.into_iter().next()
    }

    /// Makes the text of a page, and returns how many rows there are on all of them. The limit
    /// counts rows before those are left out that the user may not read.
    /// <https://support.servicenow.com/kb?id=kb_article_view&sysparm_article=KB3047115>
    fn page(&self, table: &str, asked: &Asked) -> (String, u64) {
        let fields = self.fields(table);
        let query = Query::parse(&asked.query, |field| fields.contains_key(field));
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        // Who counts has to look at all of them.
        let most = if asked.counted || !query.by_id {
            usize::MAX
        } else {
            count(asked.offset + asked.limit)
        };
        let mut found: Vec<(&ServiceNowTable, &Record)> = Vec::new();
        for owner in self.within(table) {
            let start = query.after().filter(|_| query.by_id).map_or(0, |after| {
                owner.records.partition_point(|record| *record.id <= *after)
            });
            let records = owner.records[start..].iter();
            let records = records.filter(|record| query.holds(record)).take(most);
            found.extend(records.map(|record| (owner, record)));
        }
        if query.by_id {
            found.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
        } else {
            found.reverse();
        }
        let total = found.len() as u64;
        let page = found
            .into_iter()
            .skip(count(asked.offset))
            .take(count(asked.limit))
            .filter(|(owner, record)| !owner.hidden.contains(&record.id));
        let hidden: BTreeSet<&String> = self
            .family(table)
            .flat_map(|owner| &owner.hidden_fields)
            .collect();
        // Names that are none are left out without a word.
        let asked_for: Vec<&String> = if asked.fields.is_empty() {
            fields.keys().collect()
        } else {
            let known = |field: &&String| fields.contains_key(*field);
            asked.fields.iter().filter(known).collect()
        };
        let rows: Vec<Json> = page
            .map(|(_, record)| {
                let mut row = Map::new();
                for name in &asked_for {
                    if hidden.contains(name) {
                        continue;
                    }
                    let reference = &fields[*name].1;
                    let value = value(record.cell(name), reference, asked);
                    row.insert((*name).clone(), value);
                }
                Json::Object(row)
            })
            .collect();
        (json!({ "result": rows }).to_string(), total)
    }

    /// Returns a table and those that it extends.
    fn family<'a>(&'a self, table: &str) -> impl Iterator<Item = &'a ServiceNowTable> {
        let first = self.tables.get(table);
        std::iter::successors(first, |table| self.tables.get(table.parent.as_ref()?))
    }

    /// Returns the fields of a table, with those of the tables that it extends.
    fn fields(&self, table: &str) -> BTreeMap<String, (String, String)> {
        let own = self.family(table).flat_map(|table| &table.fields);
        let mut fields = BTreeMap::new();
        for (name, ty) in own {
            fields.entry(name.clone()).or_insert_with(|| ty.clone());
        }
        fields
    }

    /// Returns a table and those that extend it.
    fn within<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a ServiceNowTable> {
        let tables = self.tables.values();
        tables.filter(move |other| self.family(&other.name).any(|one| one.name == table))
    }

    /// Writes the dictionary anew.
    fn describe(&mut self) {
        let id = |kind: u8, text: &str| {
            // Of the form that ids have, and the same for the same thing.
            let mut bytes: [u8; 16] = [kind; 16];
            for (place, byte) in text.bytes().enumerate() {
                let at = &mut bytes[place % 16];
                *at = at.wrapping_mul(31).wrapping_add(byte);
            }
            format!("{:032x}", u128::from_be_bytes(bytes))
        };
        let tables: Vec<Json> = self
            .tables
            .values()
            .map(|table| {
                json!({
                    "sys_id": id(1, &table.name),
                    "name": table.name,
                    "super_class": table.parent.as_deref().map(|p| id(1, p)).unwrap_or_default(),
                    "super_class.name": table.parent.clone().unwrap_or_default(),
                })
            })
            .collect();
        let fields = self.tables.values().flat_map(|table| {
            let fields = table.fields.iter().map(|(name, (ty, reference))| {
                json!({
                    "sys_id": id(2, &format!("{}.{name}", table.name)),
                    "name": table.name,
                    "element": name,
                    "internal_type": ty,
                    "reference": reference,
                    "active": "true",
                })
            });
            // The table itself has an entry, without a field.
            fields.chain([json!({
                "sys_id": id(3, &table.name),
                "name": table.name,
                "element": "",
                "internal_type": "collection",
                "reference": "",
                "active": "true",
            })])
        });
        let fields: Vec<Json> = fields.collect();
        for (name, records) in [(TABLES, tables), (FIELDS, fields)] {
            if let Some(table) = self.tables.get_mut(name) {
                table.load(records);
            }
        }
    }
}

/// Makes a value as it is asked for. An empty reference is empty text and no object.
/// <https://www.servicenow.com/docs/r/api-reference/rest-apis/c_TableAPI.html>
fn value(cell: Option<&Cell>, reference: &str, asked: &Asked) -> Json {
    let (value, display) = cell.map_or(("", ""), |cell| (&*cell.value, &*cell.display));
    let is_reference = !reference.is_empty() && !value.is_empty();
    let link = (is_reference && asked.with_links)
        .then(|| format!("{HOST}/api/now/v2/table/{reference}/{value}"));
    match (asked.display.as_str(), link) {
        ("all", None) => json!({ "display_value": display, "value": value }),
        ("all", Some(link)) => json!({ "display_value": display, "value": value, "link": link }),
        ("true", None) => display.into(),
        ("true", Some(link)) => json!({ "display_value": display, "link": link }),
        (_, None) => value.into(),
        (_, Some(link)) => json!({ "link": link, "value": value }),
    }
}

impl fmt::Debug for ServiceNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceNow")
    }
}
