//! What is sent, and the versions of the API.
//!
//! Names of methods, parameters and properties: "vSphere Web Services API", reference of each
//! version from 6.5 on (<https://developer.broadcom.com/xapis/vsphere-web-services-api/latest/>).

use std::{fmt, str::FromStr};

use quick_xml::escape::escape;
use serde::{Deserialize, Deserializer, de};

/// A version of the API: `6.5`, `6.7.3`, `8.0.2.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    numbers: [u16; 4],
    /// How many numbers it is written with: the server knows it by that spelling alone.
    written: usize,
}

impl ApiVersion {
    /// Names a version by its first two numbers.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self {
            numbers: [major, minor, 0, 0],
            written: 2,
        }
    }

    /// Returns the first number.
    pub fn major(self) -> u16 {
        self.numbers[0]
    }

    /// Tells whether what came with the other version is there.
    pub(crate) fn has(self, since: Self) -> bool {
        self.numbers >= since.numbers
    }
}

impl FromStr for ApiVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "not a version such as \"6.7.3\"";
        let mut version = Self::new(0, 0);
        version.written = 0;
        for number in text.split('.') {
            let place = version.numbers.get_mut(version.written).ok_or(wrong)?;
            *place = number.parse().map_err(|_| wrong)?;
            version.written += 1;
        }
        Ok(version)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, number) in self.numbers.iter().take(self.written).enumerate() {
            let dot = if i == 0 { "" } else { "." };
            write!(f, "{dot}{number}")?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A managed object of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its type.
    pub(crate) kind: &'static str,
    /// Its id, which only this server knows.
    pub(crate) id: String,
}

impl Object {
    pub(crate) fn new(kind: &'static str, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }

    fn element(&self, name: &str) -> String {
        let id = escape(self.id.as_str());
        format!("<{name} type=\"{}\">{id}</{name}>", self.kind)
    }
}

/// A call of a method, ready to be sent.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) body: String,
    /// Whether a second call does no more than the first one.
    pub(crate) idempotent: bool,
}

impl Call {
    fn new(method: &str, this: &Object, parameters: &str) -> Self {
        let this = this.element("_this");
        Self {
            body: format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
                 <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
                 xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                 xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"><soapenv:Body>\
                 <{method} xmlns=\"urn:vim25\">{this}{parameters}</{method}>\
                 </soapenv:Body></soapenv:Envelope>"
            ),
            idempotent: false,
        }
    }

    fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    pub(crate) fn retrieve_service_content() -> Self {
        let this = Object::new("ServiceInstance", "ServiceInstance");
        Self::new("RetrieveServiceContent", &this, "").idempotent()
    }

    /// The least of what takes a session.
    pub(crate) fn current_time() -> Self {
        let this = Object::new("ServiceInstance", "ServiceInstance");
        Self::new("CurrentTime", &this, "").idempotent()
    }

    pub(crate) fn login(sessions: &Object, user: &str, password: &str) -> Self {
        let (user, password) = (escape(user), escape(password));
        let parameters = format!("<userName>{user}</userName><password>{password}</password>");
        Self::new("Login", sessions, &parameters)
    }

    pub(crate) fn logout(sessions: &Object) -> Self {
        Self::new("Logout", sessions, "")
    }

    /// A view that is made twice is one too many, and ends with its session.
    pub(crate) fn create_container_view(views: &Object, container: &Object, of: &str) -> Self {
        let container = container.element("container");
        let parameters = format!("{container}<type>{of}</type><recursive>true</recursive>");
        Self::new("CreateContainerView", views, &parameters).idempotent()
    }

    pub(crate) fn destroy_view(view: &Object) -> Self {
        Self::new("DestroyView", view, "")
    }

    /// Asks for properties of what a view holds, or of one object.
    pub(crate) fn retrieve_properties(
        collector: &Object,
        from: &Object,
        of: &str,
        paths: &[&str],
        most: Option<u32>,
    ) -> Self {
        let mut spec = format!("<specSet><propSet><type>{of}</type>");
        for path in paths {
            spec.push_str("<pathSet>");
            spec.push_str(path);
            spec.push_str("</pathSet>");
        }
        spec.push_str("</propSet><objectSet>");
        spec.push_str(&from.element("obj"));
        if from.kind == VIEW {
            spec.push_str(
                "<skip>true</skip><selectSet xsi:type=\"TraversalSpec\"><type>ContainerView</type>\
                 <path>view</path><skip>false</skip></selectSet>",
            );
        }
        spec.push_str("</objectSet></specSet><options>");
        if let Some(most) = most {
            spec.push_str("<maxObjects>");
            spec.push_str(&most.to_string());
            spec.push_str("</maxObjects>");
        }
        spec.push_str("</options>");
        Self::new("RetrievePropertiesEx", collector, &spec).idempotent()
    }

    /// The server forgets the token, so this is never sent twice.
    pub(crate) fn continue_retrieve(collector: &Object, token: &str) -> Self {
        let parameters = format!("<token>{}</token>", escape(token));
        Self::new("ContinueRetrievePropertiesEx", collector, &parameters)
    }

    pub(crate) fn cancel_retrieve(collector: &Object, token: &str) -> Self {
        let parameters = format!("<token>{}</token>", escape(token));
        Self::new("CancelRetrievePropertiesEx", collector, &parameters)
    }

    pub(crate) fn query_assigned_licenses(assignments: &Object) -> Self {
        Self::new("QueryAssignedLicenses", assignments, "").idempotent()
    }
}

/// The type of a view over a part of the inventory.
pub(crate) const VIEW: &str = "ContainerView";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number_and_keep_their_spelling() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("6.7.3").has(ApiVersion::new(6, 7)) && !version("6.5").has(version("6.7")));
        assert!(version("10.0") > version("8.0.3.0") && version("8.0.3.0") > version("8.0.1.0"));
        for text in ["6.5", "6.7.3", "8.0.2.0"] {
            assert_eq!(version(text).to_string(), text);
        }
        for text in ["", "dev", "6.", "1.2.3.4.5", "70000.0"] {
            assert!(text.parse::<ApiVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_sent_is_escaped() {
        let call = Call::login(&Object::new("SessionManager", "a<b"), "a&b", "</password>");
        assert!(
            call.body.contains("type=\"SessionManager\">a&lt;b<"),
            "{}",
            call.body
        );
        assert!(
            call.body
                .contains("<userName>a&amp;b</userName><password>&lt;/password&gt;<")
        );
        assert!(!call.idempotent);
    }
}
