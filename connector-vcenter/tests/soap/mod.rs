//! A vCenter that answers as scripted: what the simulator of govmomi lacks.
//!
//! It follows the "vSphere Web Services API" reference: chunks by token (`RetrieveOptions`,
//! `RetrieveResult.token`), `ObjectContent.missingSet`, faults with status 500 and their type in
//! the detail, sessions by cookie.

mod replies;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use connector_testkit::http::{HttpReply, HttpRequest, Scripted};
use connector_vcenter::connector_http::Transport;
use quick_xml::escape::escape;

pub(crate) const INSTANCE: &str = "dbed6e0c-bd88-4ef6-b594-21283e1c677f";
pub(crate) const USER: &str = "reader@vsphere.local";

/// An object: its id, and its `propSet` and `missingSet` as XML.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    id: String,
    xml: String,
}

impl Object {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            xml: String::new(),
        }
    }

    /// Gives a property a value of one text.
    pub(crate) fn with(self, path: &str, text: &str) -> Self {
        let text = escaped(text);
        self.xml(&format!(
            "<propSet><name>{path}</name><val xsi:type=\"xsd:string\">{text}</val></propSet>"
        ))
    }

    /// Gives a property a value that is a reference.
    pub(crate) fn refers(self, path: &str, kind: &str, id: &str) -> Self {
        self.xml(&format!(
            "<propSet><name>{path}</name>\
             <val type=\"{kind}\" xsi:type=\"ManagedObjectReference\">{id}</val></propSet>"
        ))
    }

    /// Says that a property can't be had.
    pub(crate) fn misses(self, path: &str, fault: &str) -> Self {
        self.xml(&format!(
            "<missingSet><path>{path}</path><fault><fault xsi:type=\"{fault}\">\
             <object type=\"VirtualMachine\">x</object><privilegeId>System.Read</privilegeId></fault>\
             <localizedMessage>No.</localizedMessage></fault></missingSet>"
        ))
    }

    pub(crate) fn xml(mut self, xml: &str) -> Self {
        self.xml.push_str(xml);
        self
    }

    fn written(&self, kind: &str) -> String {
        let id = escaped(&self.id);
        format!(
            "<objects><obj type=\"{kind}\">{id}</obj>{}</objects>",
            self.xml
        )
    }
}

/// A line end of one character alone would be read as another.
fn escaped(text: &str) -> String {
    escape(text).replace('\r', "&#13;")
}

/// Answers a call in the place of the server, or lets it.
pub(crate) type Override = Box<dyn FnMut(&str, &mut State) -> Option<HttpReply> + Send>;

#[derive(Default)]
pub(crate) struct State {
    password: String,
    pub(crate) sessions: BTreeSet<String>,
    pub(crate) views: BTreeMap<String, String>,
    pub(crate) tokens: BTreeMap<String, String>,
    opened: usize,
    objects: BTreeMap<String, Vec<String>>,
    pub(crate) calls: Vec<String>,
    instead: Option<Override>,
    /// By type: replies are changed by this.
    faults: BTreeMap<String, fn(HttpReply) -> HttpReply>,
}

/// The server.
#[derive(Clone)]
pub(crate) struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub(crate) fn new(password: &str) -> Self {
        let state = State {
            password: password.to_owned(),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        let fake = self.clone();
        Scripted::new(move |request| fake.answer(request))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds these objects of a type.
    pub(crate) fn load(&self, kind: &str, objects: impl IntoIterator<Item = Object>) {
        let objects = objects.into_iter().map(|object| object.written(kind));
        let objects = objects.collect();
        let mut state = self.state();
        state.objects.insert(kind.to_owned(), objects);
        state.faults.remove(kind);
    }

    /// Changes replies that hold objects of a type.
    pub(crate) fn spoil(&self, kind: &str, change: fn(HttpReply) -> HttpReply) {
        self.state().faults.insert(kind.to_owned(), change);
    }

    /// Asks a function first.
    pub(crate) fn instead(
        &self,
        answer: impl FnMut(&str, &mut State) -> Option<HttpReply> + Send + 'static,
    ) {
        self.state().instead = Some(Box::new(answer));
    }

    fn answer(&self, request: &HttpRequest) -> HttpReply {
        let mut state = self.state();
        if request.path().ends_with("/vimServiceVersions.xml") {
            return HttpReply::status(200).chunk(VERSIONS);
        }
        assert_eq!(request.header("soapaction"), Some("urn:vim25/8.0.3.0"));
        let body = request.text();
        let method = between(&body, "<soapenv:Body><", " ").unwrap();
        state.calls.push(method.clone());
        if let Some(mut instead) = state.instead.take() {
            let answer = instead(&method, &mut state);
            state.instead = Some(instead);
            if let Some(answer) = answer {
                return answer;
            }
        }
        let cookie = request.header("cookie").unwrap_or_default();
        let signed_in = state.sessions.contains(cookie);
        match method.as_str() {
            "RetrieveServiceContent" => return content(),
            "Login" => return state.login(&body),
            // What is no view's can be asked for without a session, and is then said to be missing.
            "RetrievePropertiesEx" if !signed_in && !body.contains("ContainerView") => {
                let kind = between(&body, "<propSet><type>", "<").unwrap();
                let path = between(&body, "<pathSet>", "<").unwrap();
                let object = Object::new("x").misses(&path, "NotAuthenticated");
                let object = format!("<returnval>{}</returnval>", object.written(&kind));
                return reply(&method, &object);
            }
            _ if !signed_in => return fault("NotAuthenticated", ""),
            _ => {}
        }
        match method.as_str() {
            "CurrentTime" => reply(&method, "<returnval>2026-11-21T00:00:00Z</returnval>"),
            "Logout" => {
                state.sessions.remove(cookie);
                reply(&method, "")
            }
            "CreateContainerView" => {
                state.opened += 1;
                let view = format!("session[1]view-{}", state.opened);
                let kind = between(&body, "<type>", "</type>").unwrap();
                state.views.insert(view.clone(), kind);
                let view = format!("<returnval type=\"ContainerView\">{view}</returnval>");
                reply(&method, &view)
            }
            "DestroyView" => {
                let view = between(&body, "type=\"ContainerView\">", "<").unwrap();
                match state.views.remove(&view) {
                    Some(_) => reply(&method, ""),
                    None => fault("ManagedObjectNotFound", ""),
                }
            }
            "RetrievePropertiesEx" => state.retrieve(&body),
            "ContinueRetrievePropertiesEx" | "CancelRetrievePropertiesEx" => {
                let token = between(&body, "<token>", "</token>").unwrap();
                match state.tokens.remove(&token) {
                    None => fault(
                        "InvalidArgument",
                        "<invalidProperty>token</invalidProperty>",
                    ),
                    Some(_) if method.starts_with("Cancel") => reply(&method, ""),
                    Some(walk) => state.page(&method, &walk),
                }
            }
            _ => fault("MethodNotFound", ""),
        }
    }
}

impl State {
    fn login(&mut self, body: &str) -> HttpReply {
        let user = between(body, "<userName>", "</userName>").unwrap();
        let password = between(body, "<password>", "</password>").unwrap();
        if user != USER || password != escape(self.password.as_str()) {
            return fault("InvalidLogin", "");
        }
        self.opened += 1;
        // As vCenter has it, with quotes.
        let cookie = format!("vmware_soap_session=\"session-{}\"", self.opened);
        self.sessions.insert(cookie.clone());
        reply("Login", "<returnval><key>x</key></returnval>").header(
            "set-cookie",
            &format!("{cookie}; Path=/; HttpOnly; Secure;"),
        )
    }

    fn retrieve(&mut self, body: &str) -> HttpReply {
        let kind = match between(body, "<obj type=\"ContainerView\">", "<") {
            Some(view) => match self.views.get(&view) {
                Some(kind) => kind.clone(),
                None => return fault("ManagedObjectNotFound", ""),
            },
            None => between(body, "<propSet><type>", "<").unwrap(),
        };
        let most = between(body, "<maxObjects>", "<").unwrap();
        self.page("RetrievePropertiesEx", &format!("{kind} 0 {most}"))
    }

    /// A walk is its type, where it stands and how far a step goes.
    fn page(&mut self, method: &str, walk: &str) -> HttpReply {
        let [kind, from, most] = walk.split(' ').collect::<Vec<_>>()[..] else {
            panic!("no walk: {walk}");
        };
        let (from, most): (usize, usize) = (from.parse().unwrap(), most.parse().unwrap());
        let all = self.objects.get(kind).cloned().unwrap_or_default();
        let to = all.len().min(from + most);
        let mut result = String::new();
        if to < all.len() {
            self.opened += 1;
            let token = format!("token-{}", self.opened);
            write!(result, "<token>{token}</token>").unwrap();
            self.tokens.insert(token, format!("{kind} {to} {most}"));
        }
        result.push_str(&all[from..to].concat());
        // Without any object there is no `returnval` at all.
        if !result.is_empty() {
            result = format!("<returnval>{result}</returnval>");
        }
        let page = reply(method, &result);
        match self.faults.get(kind) {
            Some(change) => change(page),
            None => page,
        }
    }
}

/// A reply of a method.
pub(crate) fn reply(method: &str, result: &str) -> HttpReply {
    HttpReply::status(200).chunk(envelope(&format!(
        "<{method}Response xmlns=\"urn:vim25\">{result}</{method}Response>"
    )))
}

/// A fault, of which the status says nothing.
pub(crate) fn fault(kind: &str, detail: &str) -> HttpReply {
    HttpReply::status(500).chunk(envelope(&format!(
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>It failed.</faultstring>\
         <detail><{kind}Fault xmlns=\"urn:vim25\" xsi:type=\"{kind}\">{detail}</{kind}Fault></detail>\
         </soapenv:Fault>"
    )))
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>\n{body}\n\
         </soapenv:Body>\n</soapenv:Envelope>"
    )
}

fn content() -> HttpReply {
    let mut managers = String::from("<rootFolder type=\"Folder\">group-d1</rootFolder>");
    for (field, kind) in [
        ("propertyCollector", "PropertyCollector"),
        ("viewManager", "ViewManager"),
        ("sessionManager", "SessionManager"),
        ("licenseManager", "LicenseManager"),
        ("customFieldsManager", "CustomFieldsManager"),
    ] {
        write!(managers, "<{field} type=\"{kind}\">{kind}</{field}>").unwrap();
    }
    let about = format!(
        "<about><name>VMware vCenter Server</name><fullName>VMware vCenter Server 8.0.3 \
         build-24322831</fullName><apiType>VirtualCenter</apiType><apiVersion>8.0.3.0</apiVersion>\
         <instanceUuid>{INSTANCE}</instanceUuid></about>"
    );
    let result = format!("<returnval>{managers}{about}</returnval>");
    reply("RetrieveServiceContent", &result)
}

const VERSIONS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><namespaces version=\"1.0\">\
    <namespace><name>urn:vim25</name><version>9.0.0.0</version><priorVersions>\
    <version>8.0.3.0</version><version>7.0.3.2</version><version>6.5</version></priorVersions>\
    </namespace></namespaces>";

fn between(text: &str, from: &str, to: &str) -> Option<String> {
    let (_, rest) = text.split_once(from)?;
    let (found, _) = rest.split_once(to)?;
    Some(found.to_owned())
}
