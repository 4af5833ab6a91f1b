//! Collections of objects, in pages.
//! <https://learn.microsoft.com/graph/paging>, <https://learn.microsoft.com/graph/query-parameters>

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::{
    fault::GraphFault,
    refusal::{bad_request, refused},
};
use crate::http::HttpReply;

/// A collection, and what it knows of queries.
#[derive(Debug, Clone)]
#[must_use]
pub struct GraphCollection {
    pub(super) path: String,
    pub(super) rows: Vec<Json>,
    properties: Option<BTreeSet<String>>,
    by_id_only: BTreeSet<String>,
    filters: BTreeSet<String>,
    default: usize,
    largest: usize,
    pub(super) beta_only: bool,
}

/// Selecting one of these on the collection of users is refused with 501.
/// <https://learn.microsoft.com/graph/api/user-list>
const ONLY_OF_ONE_USER: [&str; 11] = [
    "aboutMe",
    "birthday",
    "hireDate",
    "interests",
    "mySite",
    "pastProjects",
    "preferredName",
    "responsibilities",
    "schools",
    "skills",
    "mailboxSettings",
];

/// So many users at most where their sign-ins are asked for:
/// <https://github.com/microsoftgraph/msgraph-sdk-powershell/issues/1898>
const MOST_SIGN_INS: usize = 120;

impl GraphCollection {
    /// Takes the path behind the version, such as `deviceManagement/managedDevices`. A page has
    /// 100 objects unless more are asked for, and 999 at most, as for users.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.trim_matches('/').to_owned(),
            rows: Vec::new(),
            properties: None,
            by_id_only: BTreeSet::new(),
            filters: BTreeSet::new(),
            default: 100,
            largest: 999,
            beta_only: false,
        }
    }

    /// Sets how many objects a page has at most, and by default if that is less. More than that is
    /// not refused: the page is just smaller.
    pub fn largest(mut self, objects: usize) -> Self {
        self.largest = objects.max(1);
        self
    }

    /// Sets the properties that there are. Selecting another is refused with 400. Default: any.
    pub fn select_of<'a>(mut self, properties: impl IntoIterator<Item = &'a str>) -> Self {
        self.properties = Some(properties.into_iter().map(str::to_owned).collect());
        self
    }

    /// Sets properties that a list never fills, and a request for one object does when it selects
    /// them, as `hardwareInformation` of managed devices.
    /// <https://learn.microsoft.com/graph/api/intune-devices-manageddevice-get>
    pub fn by_id_only<'a>(mut self, properties: impl IntoIterator<Item = &'a str>) -> Self {
        self.by_id_only = properties.into_iter().map(str::to_owned).collect();
        self
    }

    /// Sets a `$filter` that is accepted, letter for letter; the objects are those that meet it.
    /// Others are refused.
    pub fn filter(mut self, filter: &str) -> Self {
        self.filters.insert(filter.to_owned());
        self
    }

    /// Lets it be in beta alone.
    pub fn beta_only(mut self) -> Self {
        self.beta_only = true;
        self
    }

    /// Checks a query, and returns what it asks for.
    pub(super) fn query(&self, asked: &[(String, String)]) -> Result<Query, HttpReply> {
        let mut query = Query {
            select: None,
            expand: BTreeSet::new(),
            top: self.default.min(self.largest),
            count: false,
            page: None,
        };
        for (name, value) in asked {
            match name.as_str() {
                "$select" => query.select = Some(self.selected(value)?),
                "$expand" => query.expand = names(value),
                "$top" => {
                    let top: Option<usize> = value.parse().ok().filter(|top| *top > 0);
                    let Some(top) = top else {
                        return Err(bad_request("Invalid page size specified."));
                    };
                    query.top = top.min(self.largest);
                    if self.path == "users" && top > MOST_SIGN_INS && signs_in(asked) {
                        let message = "Cannot query data for more than 120 users at a time.";
                        return Err(refused(400, "Request_BadRequest", message));
                    }
                }
                "$count" => query.count = value == "true",
                "$filter" if self.filters.contains(value) => {}
                "$skiptoken" => query.page = Some(value.clone()),
                "$filter" => return Err(bad_request("Invalid filter clause.")),
                "$skip" => {
                    let message = "'$skip' is not supported by the service.";
                    return Err(refused(400, "Request_BadRequest", message));
                }
                _ if name.starts_with('$') => {
                    let message = format!("The query parameter '{name}' is not supported.");
                    return Err(bad_request(&message));
                }
                _ => {}
            }
        }
        if signs_in(asked) {
            query.top = query.top.min(MOST_SIGN_INS);
        }
        Ok(query)
    }

    fn selected(&self, select: &str) -> Result<BTreeSet<String>, HttpReply> {
        let names = names(select);
        for name in &names {
            if self.path == "users" && ONLY_OF_ONE_USER.contains(&name.as_str()) {
                let message = format!("The property '{name}' is not supported on a collection.");
                return Err(refused(501, "NotImplemented", &message));
            }
            let known = self
                .properties
                .as_ref()
                .is_none_or(|all| all.contains(name));
            if !known {
                let message = format!("Could not find a property named '{name}'.");
                return Err(bad_request(&message));
            }
        }
        Ok(names)
    }

    /// Returns the objects of a page from that place on, as the query asks for them, and where the
    /// next page begins.
    pub(super) fn page(
        &self,
        from: usize,
        query: &Query,
        fault: Option<&GraphFault>,
    ) -> (Vec<Json>, Option<usize>) {
        if fault == Some(&GraphFault::EmptyPage) {
            return (Vec::new(), Some(from));
        }
        let end = (from + query.top).min(self.rows.len());
        let begin = if fault == Some(&GraphFault::Repeated) {
            from.saturating_sub(1)
        } else {
            from
        };
        let rows = self.rows.get(begin..end).unwrap_or_default();
        let rows = rows.iter().map(|row| self.shown(row, query, false));
        (rows.collect(), (end < self.rows.len()).then_some(end))
    }

    /// Returns the object with that id.
    pub(super) fn object(&self, id: &str, query: &Query) -> Option<Json> {
        let row = self.rows.iter().find(|row| row["id"] == id)?;
        Some(self.shown(row, query, true))
    }

    /// Cuts an object down to what was asked for. Annotations come by themselves.
    fn shown(&self, row: &Json, query: &Query, by_id: bool) -> Json {
        let Json::Object(all) = row else {
            return row.clone();
        };
        let wanted = |name: &str| {
            let select = query.select.as_ref();
            let asked = select.is_none_or(|names| names.contains(name));
            let hidden = self.by_id_only.contains(name) && !(by_id && select.is_some());
            name.contains('@') || query.expand.contains(name) || asked && !hidden
        };
        let shown = all.iter().filter(|(name, _)| wanted(name));
        let shown: Map<_, _> = shown.map(|(n, v)| (n.clone(), v.clone())).collect();
        Json::Object(shown)
    }
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Query {
    select: Option<BTreeSet<String>>,
    expand: BTreeSet<String>,
    top: usize,
    pub(super) count: bool,
    /// The token of a page.
    pub(super) page: Option<String>,
}

fn names(list: &str) -> BTreeSet<String> {
    let names = list.split(',');
    let names = names.map(|name| name.split('(').next().unwrap_or_default().trim());
    names.map(str::to_owned).collect()
}

fn signs_in(asked: &[(String, String)]) -> bool {
    asked
        .iter()
        .any(|(name, value)| name == "$select" && names(value).contains("signInActivity"))
}
