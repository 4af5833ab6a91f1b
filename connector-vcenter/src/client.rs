//! Calling the server: which version, signed in as whom.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use connector_core::{Error, ErrorKind, Result, Secret, Uuid};
use connector_http::{Refusal, Request, Service, SignIn, Stack, Token, Transport};
use tokio::runtime::Handle;
use url::Url;

use crate::{
    api::{ApiVersion, Call, Object},
    config::VcenterConfig,
    fault::{self, Faults},
    xml::Xml,
};

const SERVICE: Service = Service::new("vCenter");

/// The session is a cookie (vSphere Web Services SDK Programming Guide, "Client Applications").
const COOKIE: &str = "vmware_soap_session";

/// The newest major version whose properties are known.
const NEWEST: u16 = 8;

/// For how long a goodbye is tried: what is not closed, ends with its session.
const GOODBYE: Duration = Duration::from_secs(10);

/// What a server says of itself before anybody signs in.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) version: ApiVersion,
    pub(crate) instance: Uuid,
    pub(crate) product: String,
    pub(crate) root: Object,
    pub(crate) views: Object,
    pub(crate) collector: Object,
    sessions: Object,
    /// Ids of all managers by their names in `ServiceContent`.
    managers: Vec<(String, String)>,
}

/// The way to one server; data sets share it, with its session.
#[derive(Debug)]
pub(crate) struct Client {
    transport: Arc<dyn Transport>,
    address: Address,
    /// How many objects a reply has at most.
    pub(crate) page: u32,
    session: Arc<Session>,
}

/// Where the session is closed that was opened last, if there is one.
type Session = Mutex<Option<(ApiVersion, Object)>>;

#[derive(Debug, Clone)]
struct Address {
    sdk: Url,
    version: Option<ApiVersion>,
}

impl Client {
    /// Reads files of certificates, so it blocks.
    pub(crate) fn new(config: &VcenterConfig) -> Result<Self> {
        Self::with(config, Stack::build)
    }

    /// Puts the layers over another transport, which returns every reply as `Ok`.
    pub(crate) fn over(config: &VcenterConfig, transport: Arc<dyn Transport>) -> Result<Self> {
        Self::with(config, |stack| stack.over(transport))
    }

    fn with(
        config: &VcenterConfig,
        build: impl FnOnce(Stack) -> Result<Arc<dyn Transport>>,
    ) -> Result<Self> {
        config.check()?;
        let address = Address {
            sdk: config.sdk()?,
            version: config.api_version,
        };
        let session = Arc::<Session>::default();
        let sign_in = Login {
            address: address.clone(),
            user: config.user.clone(),
            password: config.password.clone(),
            session: Arc::clone(&session),
        };
        let stack = Stack::new(SERVICE, config.http.clone())
            .sign_in(&address.sdk, Arc::new(sign_in))
            .over_client(|client| Arc::new(Faults(client)));
        Ok(Self {
            transport: build(stack)?,
            address,
            page: config.page,
            session,
        })
    }

    /// Asks who answers.
    pub(crate) async fn server(&self) -> Result<Server> {
        self.address.server(&*self.transport).await
    }

    /// Calls a method as the account, and returns the whole reply.
    pub(crate) async fn call(&self, server: &Server, call: Call) -> Result<Reply> {
        let request = self.address.request(server.version, call)?;
        fetch(&*self.transport, request).await
    }

    /// Makes sure that there is a session, and opens one where there is none any more.
    ///
    /// Properties are read without one, too: each of them is then said to be missing.
    pub(crate) async fn wake(&self, server: &Server) -> Result<()> {
        self.call(server, Call::current_time()).await.map(drop)
    }

    /// Calls methods that end something, for a short time and whatever comes of it.
    pub(crate) async fn dismiss(&self, server: &Server, calls: Vec<Call>) {
        let all = async {
            for call in calls {
                if let Err(error) = self.call(server, call).await {
                    tracing::debug!(%error, "what was opened at vCenter stays until its session ends");
                }
            }
        };
        // What hangs is given up.
        let _ = tokio::time::timeout(GOODBYE, all).await;
    }
}

/// Sessions are limited, so it is closed where that can still be done; the server closes what is
/// idle after half an hour.
impl Drop for Client {
    fn drop(&mut self) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some((version, sessions)), Ok(runtime)) = (session.take(), Handle::try_current())
        else {
            return;
        };
        let (transport, address) = (Arc::clone(&self.transport), self.address.clone());
        let logout = async move {
            let request = address.request(version, Call::logout(&sessions))?;
            fetch(&*transport, request).await
        };
        runtime.spawn(tokio::time::timeout(GOODBYE, logout));
    }
}

/// Opens a session.
#[derive(Debug)]
struct Login {
    address: Address,
    user: String,
    password: Secret,
    session: Arc<Session>,
}

#[async_trait]
impl SignIn for Login {
    async fn sign_in(&self, transport: &dyn Transport, _: Option<&str>) -> Result<Token> {
        let server = self.address.server(transport).await?;
        let call = Call::login(&server.sessions, &self.user, self.password.expose());
        let request = self.address.request(server.version, call)?;
        let request = request.hide(self.password.clone()).without_credential();
        let reply = transport.send(request).await?;
        let token = Token::cookie(&reply, COOKIE)?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        *session = Some((server.version, server.sessions));
        Ok(token)
    }
}

impl Address {
    fn request(&self, version: ApiVersion, call: Call) -> Result<Request> {
        let request = Request::post(self.sdk.clone(), "text/xml; charset=utf-8", call.body)?
            .header("soapaction", &format!("urn:vim25/{version}"))?;
        Ok(if call.idempotent {
            request.idempotent()
        } else {
            request
        })
    }

    /// Finds version and managers, which takes no session.
    async fn server(&self, transport: &dyn Transport) -> Result<Server> {
        let version = match self.version {
            Some(version) => version,
            None => self.newest(transport).await?,
        };
        let call = Call::retrieve_service_content();
        let request = self.request(version, call)?.without_credential();
        Server::read(fetch(transport, request).await?.text()?, version)
    }

    /// Chooses the version to speak: the newest one that is known here too.
    async fn newest(&self, transport: &dyn Transport) -> Result<ApiVersion> {
        let mut url = self.sdk.clone();
        url.set_path(&format!(
            "{}/vimServiceVersions.xml",
            url.path().trim_end_matches('/')
        ));
        let request = Request::get(url).without_credential();
        let offered = offered(fetch(transport, request).await?.text()?)?;
        let known = offered.iter().filter(|version| version.major() <= NEWEST);
        known.max().copied().ok_or_else(|| {
            Error::new(
                ErrorKind::Source,
                "vCenter offers no version of its API that is known here; one can be chosen with \
                 `api_version`",
            )
        })
    }
}

async fn fetch(transport: &dyn Transport, request: Request) -> Result<Reply> {
    let body = transport.send(request).await?.bytes(u64::MAX).await?;
    Ok(Reply(body))
}

/// A reply, whole.
pub(crate) struct Reply(Bytes);

impl Reply {
    /// Returns the document that it is.
    pub(crate) fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.0).map_err(|error| {
            Error::new(ErrorKind::Source, "the reply is not in UTF-8").with_source(error)
        })
    }
}

/// Reads `vimServiceVersions.xml`: of each namespace the name, its version and those before it.
pub(crate) fn offered(reply: &str) -> Result<Vec<ApiVersion>> {
    let mut xml = Xml::new(reply);
    let mut found = Vec::new();
    let root = xml.child()?;
    if root.is_none_or(|root| root.name() != "namespaces") {
        return Err(Error::new(
            ErrorKind::Source,
            "what answered is no vCenter: it tells no versions of an API. Is the address right, or \
             did a proxy answer?",
        ));
    }
    while xml.child()?.is_some() {
        let (mut own, mut versions) = (false, Vec::new());
        while let Some(element) = xml.child()? {
            match element.name() {
                "name" => own = xml.text()? == "urn:vim25",
                "version" => versions.push(xml.text()?),
                "priorVersions" => {
                    while xml.child()?.is_some() {
                        versions.push(xml.text()?);
                    }
                }
                _ => xml.skip()?,
            }
        }
        if own {
            // Those of development are no numbers.
            let numbers = |text: &String| text.trim().parse::<ApiVersion>().ok();
            found.extend(versions.iter().filter_map(numbers));
        }
    }
    xml.end()?;
    Ok(found)
}

impl Server {
    /// Reads `ServiceContent`.
    pub(crate) fn read(reply: &str, version: ApiVersion) -> Result<Self> {
        let mut xml = Xml::new(reply);
        xml.soap_body()?;
        let (mut managers, mut about) = (Vec::new(), Vec::new());
        while xml.child()?.is_some() {
            while let Some(element) = xml.child()? {
                if element.name() == "about" {
                    while let Some(fact) = xml.child()? {
                        let name = fact.name().to_owned();
                        about.push((name, xml.text()?));
                    }
                } else {
                    let name = element.name().to_owned();
                    managers.push((name, xml.text()?));
                }
            }
        }
        xml.end()?;
        let find = |list: &[(String, String)], name: &str| {
            let mut list = list.iter();
            let (_, found) = list.find(|(known, _)| known == name)?;
            Some(found.clone())
        };
        let manager = |kind, name| {
            let id = find(&managers, name).ok_or_else(|| {
                Error::new(ErrorKind::Source, "vCenter lacks a manager").with("manager", name)
            })?;
            Ok::<_, Error>(Object::new(kind, id))
        };
        let instance = find(&about, "instanceUuid").and_then(|id| Uuid::parse_str(&id).ok());
        let instance = instance.ok_or_else(|| {
            let product = find(&about, "fullName").unwrap_or_default();
            let message = "what answered has no instance uuid, so it is no vCenter";
            Error::new(ErrorKind::Config, message).with("product", product)
        })?;
        Ok(Self {
            version,
            instance,
            product: find(&about, "fullName").unwrap_or_default(),
            root: manager("Folder", "rootFolder")?,
            views: manager("ViewManager", "viewManager")?,
            collector: manager("PropertyCollector", "propertyCollector")?,
            sessions: manager("SessionManager", "sessionManager")?,
            managers,
        })
    }

    /// Returns the manager that a field of `ServiceContent` names.
    pub(crate) fn manager(&self, field: &'static str, kind: &'static str) -> Result<Object> {
        let mut managers = self.managers.iter();
        let found = managers.find(|(known, _)| known == field);
        let (_, id) = found.ok_or_else(|| {
            Error::new(ErrorKind::NotCollected, "vCenter has no such manager")
                .with("manager", field)
        })?;
        Ok(Object::new(kind, id))
    }
}

/// Tells whether the source's own code of a refusal is one of these.
pub(crate) fn refused_with(error: &Error, faults: &[&str]) -> bool {
    Refusal::of(error).is_some_and(|refusal| faults.iter().any(|fault| refusal.has_code(fault)))
}

/// What a server says that does not know the session's view or token any more.
pub(crate) const FORGOTTEN: &[&str] = &[
    fault::NOT_FOUND,
    fault::NOT_AUTHENTICATED,
    fault::INVALID_ARGUMENT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_api_are_found() {
        let found = offered(
            "<?xml version=\"1.0\"?><namespaces version=\"1.0\"><namespace><name>urn:vim25</name>\
             <version>9.0.0.0</version><priorVersions><version>8.0.3.0</version><version>dev</version>\
             <version>6.5</version></priorVersions></namespace><namespace><name>urn:vim2</name>\
             <version>2.0</version></namespace></namespaces>",
        );
        let found: Vec<_> = found.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["9.0.0.0", "8.0.3.0", "6.5"]);
        let error = offered("<html></html>").unwrap_err();
        assert!(error.message().contains("no vCenter"), "{error}");
    }
}
