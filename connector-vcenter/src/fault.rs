//! What vCenter says when it can't do something.
//!
//! The status of every fault is 500; what it means is in its type ("vSphere Web Services SDK
//! Programming Guide", Error Handling).

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use connector_core::{Error, ErrorKind, Result, Retry};
use connector_http::{Body, Request, Response, Transport};
use http::StatusCode;
use serde_json::json;

use crate::{
    decode::lost,
    xml::{Element, Xml},
};

pub(crate) const NO_PERMISSION: &str = "NoPermission";
pub(crate) const NOT_AUTHENTICATED: &str = "NotAuthenticated";
pub(crate) const NOT_FOUND: &str = "ManagedObjectNotFound";
pub(crate) const INVALID_PROPERTY: &str = "InvalidProperty";
pub(crate) const INVALID_ARGUMENT: &str = "InvalidArgument";

/// No fault is larger; what is, comes from something else.
const LARGEST: u64 = 1 << 20;

/// A fault: its type, and what it says of itself.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    /// The type, such as `NoPermission`.
    pub(crate) kind: String,
    /// For people.
    pub(crate) message: String,
    /// The right that is missing.
    privilege: Option<String>,
    /// The type of the object that it is missing on.
    object: Option<String>,
    /// The property or parameter that is wrong.
    name: Option<String>,
}

impl Fault {
    /// Reads a fault's element, and leaves it.
    pub(crate) fn read(&mut self, xml: &mut Xml<'_>, element: &Element<'_>) -> Result<()> {
        // Without a type, the element is named for it.
        self.kind = match element.schema_type()? {
            Some(kind) => kind,
            None => element.name().trim_end_matches("Fault").to_owned(),
        };
        while let Some(element) = xml.child()? {
            match element.name() {
                "privilegeId" => self.privilege = Some(xml.text()?),
                "object" | "obj" => {
                    self.object = element.object_type()?;
                    xml.skip()?;
                }
                "name" | "invalidProperty" => self.name = Some(xml.text()?),
                _ => xml.skip()?,
            }
        }
        Ok(())
    }

    /// Reads the body of a reply; none when it is not that of a fault.
    pub(crate) fn of_body(body: &str) -> Option<Self> {
        let mut xml = Xml::new(body);
        if xml.soap_body().ok()?.name() != "Fault" {
            return None;
        }
        let mut fault = Self::default();
        while let Some(element) = xml.child().ok()? {
            match element.name() {
                "faultstring" => fault.message = xml.text().ok()?,
                "detail" => {
                    while let Some(element) = xml.child().ok()? {
                        fault.read(&mut xml, &element).ok()?;
                    }
                }
                _ => xml.skip().ok()?,
            }
        }
        Some(fault)
    }

    /// Returns the status that means the same to HTTP, by which the layers above decide whether to
    /// sign in again, to try again or to give up.
    fn status(&self) -> StatusCode {
        match self.kind.as_str() {
            NOT_AUTHENTICATED | "InvalidLogin" | "NoClientCertificate" | "PasswordExpired" => {
                StatusCode::UNAUTHORIZED
            }
            NO_PERMISSION | "RestrictedByAdministrator" | "NoSubjectName" | "InvalidPrivilege" => {
                StatusCode::FORBIDDEN
            }
            NOT_FOUND => StatusCode::NOT_FOUND,
            "RequestCanceled" | "HostCommunication" | "HostNotConnected" | "HostNotReachable"
            | "Timedout" | "TaskInProgress" | "ConcurrentAccess" | "VimFaultOverload" => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            // An unexpected one of the server's own: it may pass.
            "" | "SystemError" | "RuntimeFault" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the error that a property leads to which can't be had.
    pub(crate) fn of_property(&self, path: &str) -> Error {
        let (kind, message) = match self.kind.as_str() {
            NOT_AUTHENTICATED => {
                return lost(Error::new(ErrorKind::Auth, self.to_string()));
            }
            NO_PERMISSION => (
                ErrorKind::Permission,
                "the account may not read a property: give it the role Read-only on the root \
                 folder, with propagation to children",
            ),
            INVALID_PROPERTY => (
                ErrorKind::Source,
                "vCenter does not know a property in this version of its API; set `api_version` to a \
                 newer one",
            ),
            _ => (ErrorKind::Source, "vCenter can't tell a property"),
        };
        let mut error = Error::new(kind, message).with("property", path);
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            error = error.with_retry(Retry::Restart);
        }
        if let Some(privilege) = &self.privilege {
            error = error.with("privilege", privilege);
        }
        error.with("fault", &self.kind)
    }
}

/// What it says, and of the rest what a person needs to correct it.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(privilege) = &self.privilege {
            write!(f, " (the privilege {privilege} is missing")?;
            if let Some(object) = &self.object {
                write!(f, " on a {object}")?;
            }
            f.write_str(")")?;
        }
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        Ok(())
    }
}

/// A layer that gives replies with a fault the status that means the same.
#[derive(Debug)]
pub(crate) struct Faults(pub(crate) Arc<dyn Transport>);

#[async_trait]
impl Transport for Faults {
    async fn send(&self, request: Request) -> Result<Response> {
        let idempotent = request.idempotent;
        let mut response = self.0.send(request).await?;
        if response.status != StatusCode::INTERNAL_SERVER_ERROR {
            return Ok(response);
        }
        let body = std::mem::replace(&mut response.body, Body::from(""));
        let body = body.capped(LARGEST).bytes().await.map_err(|error| {
            if idempotent {
                error
            } else {
                error.with_retry(Retry::Never)
            }
        })?;
        let fault = std::str::from_utf8(&body).ok().and_then(Fault::of_body);
        response.body = match fault {
            Some(fault) => {
                response.status = fault.status();
                let error = json!({ "code": fault.kind, "message": fault.to_string() });
                Body::from(json!({ "error": error }).to_string())
            }
            None => Body::from(body),
        };
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_a_type_whatever_the_prefixes() {
        let body = |detail: &str| {
            format!(
                "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">\
                 <s:Body><s:Fault><faultcode>ServerFaultCode</faultcode><faultstring>No.</faultstring>\
                 <detail>{detail}</detail></s:Fault></s:Body></s:Envelope>"
            )
        };
        let detail = "<NoPermissionFault xmlns=\"urn:vim25\" xsi:type=\"vim:NoPermission\">\
            <object type=\"Folder\">group-d1</object><privilegeId>System.View</privilegeId>\
            </NoPermissionFault>";
        let fault = Fault::of_body(&body(detail)).unwrap();
        assert_eq!(
            (fault.kind.as_str(), fault.status().as_u16()),
            (NO_PERMISSION, 403)
        );
        assert_eq!(
            fault.to_string(),
            "No. (the privilege System.View is missing on a Folder)"
        );
        let fault = Fault::of_body(&body("<vim:NotAuthenticatedFault/>")).unwrap();
        assert_eq!(
            (fault.kind.as_str(), fault.status().as_u16()),
            (NOT_AUTHENTICATED, 401)
        );
        let fault = Fault::of_body(&body("")).unwrap();
        assert_eq!(fault.status().as_u16(), 500);
        for other in ["", "<html>Bad gateway", "<a/>", &body("<cut")] {
            assert!(Fault::of_body(other).is_none(), "{other}");
        }
    }
}
