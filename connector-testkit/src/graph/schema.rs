//! What Graph's own schema knows, for tests of declarations.

use std::collections::HashMap;

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

const V1: &str = include_str!("../../data/graph/graph-v1.0-slice.csdl.xml");
const BETA: &str = include_str!("../../data/graph/graph-beta-slice.csdl.xml");

/// A slice of Graph's schema: types, their properties and where they are.
///
/// ```
/// use connector_testkit::graph::GraphSchema;
///
/// let schema = GraphSchema::v1();
/// let device = schema.of_path("deviceManagement/managedDevices").unwrap();
/// assert_eq!(device, "managedDevice");
/// assert_eq!(schema.property(&device, "serialNumber"), Some("Edm.String"));
/// assert_eq!(schema.property(&device, "hardwareInformation/imei"), None);
/// ```
#[derive(Debug, Default)]
pub struct GraphSchema {
    types: HashMap<String, Type>,
    /// Collections and singletons at the root, with their types.
    roots: HashMap<String, String>,
}

#[derive(Debug, Default)]
struct Type {
    base: Option<String>,
    /// Structural properties, and navigation.
    properties: HashMap<String, String>,
    navigation: HashMap<String, String>,
}

impl GraphSchema {
    /// Reads that of version 1.0.
    ///
    /// # Panics
    ///
    /// When the file of this crate is none.
    pub fn v1() -> Self {
        let mut schema = Self::default();
        schema.add(V1);
        schema
    }

    /// Reads that of beta: types that have more there take the places of those of version 1.0.
    ///
    /// # Panics
    ///
    /// When the file of this crate is none.
    pub fn beta() -> Self {
        let mut schema = Self::v1();
        schema.add(BETA);
        schema
    }

    fn add(&mut self, csdl: &str) {
        let mut reader = Reader::from_str(csdl);
        let mut current: Option<(String, Type)> = None;
        loop {
            let event = reader.read_event().expect("a schema is XML");
            let is_empty = matches!(event, Event::Empty(_));
            match event {
                Event::Start(element) | Event::Empty(element) => {
                    let named = attribute(&element, "Name").unwrap_or_default();
                    let ty = attribute(&element, "Type").map(|ty| local(&ty));
                    match (element.local_name().as_ref(), ty) {
                        ("EntityType" | "ComplexType", _) => {
                            let base = attribute(&element, "BaseType").map(|base| local(&base));
                            let of = Type {
                                base,
                                ..Type::default()
                            };
                            if is_empty {
                                self.types.insert(named, of);
                            } else {
                                current = Some((named, of));
                            }
                        }
                        ("Property", Some(ty)) => {
                            if let Some((_, of)) = &mut current {
                                of.properties.insert(named, ty);
                            }
                        }
                        ("NavigationProperty", Some(ty)) => {
                            if let Some((_, of)) = &mut current {
                                of.navigation.insert(named, ty);
                            }
                        }
                        ("Singleton", Some(ty)) => {
                            self.roots.insert(named, ty);
                        }
                        ("EntitySet", _) => {
                            let ty = attribute(&element, "EntityType").unwrap_or_default();
                            self.roots.insert(named, local(&ty));
                        }
                        _ => {}
                    }
                }
                Event::End(element) => {
                    if matches!(element.local_name().as_ref(), "EntityType" | "ComplexType")
                        && let Some((name, of)) = current.take()
                    {
                        self.types.insert(name, of);
                    }
                }
                Event::Eof => return,
                _ => {}
            }
        }
    }

    /// Returns the type of what is at a path below the version; `{id}` is one object of a
    /// collection, and a qualified name a cast.
    pub fn of_path(&self, path: &str) -> Option<String> {
        let mut parts = path.split('/');
        let mut ty = self.roots.get(parts.next()?)?.clone();
        for part in parts {
            ty = match part {
                "{id}" => element(&ty).to_owned(),
                cast if cast.starts_with("microsoft.graph.") => {
                    let cast = local(cast);
                    self.is_a(&cast, element(&ty)).then_some(cast)?
                }
                name => self
                    .find(element(&ty), |of| of.navigation.get(name))?
                    .clone(),
            };
        }
        Some(element(&ty).to_owned())
    }

    /// Returns the type of a property by its path within a type; of an array, of its elements. The
    /// first name is one of the type itself, since another can't be selected; those behind it may
    /// be of types that are derived.
    pub fn property(&self, ty: &str, path: &str) -> Option<&str> {
        let mut parts = path.split('/');
        let first = parts.next()?;
        let mut ty = element(self.find(ty, |of| of.properties.get(first))?);
        for part in parts {
            let own = self.find(ty, |of| of.properties.get(part));
            let of_derived = || {
                let mut derived = self.derived(ty);
                derived.find_map(|name| self.find(name, |of| of.properties.get(part)))
            };
            ty = element(own.or_else(of_derived)?);
        }
        Some(ty)
    }

    /// Returns the types that are derived from one.
    pub fn derived<'a>(&'a self, base: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.types.keys().map(String::as_str);
        names.filter(move |name| *name != base && self.is_a(name, base))
    }

    fn is_a(&self, ty: &str, base: &str) -> bool {
        self.ancestry(ty).any(|(name, _)| name == base)
    }

    fn find<'a>(
        &'a self,
        ty: &str,
        what: impl Fn(&'a Type) -> Option<&'a String>,
    ) -> Option<&'a String> {
        self.ancestry(ty).find_map(|(_, of)| what(of))
    }

    /// Goes through a type and its bases.
    fn ancestry(&self, ty: &str) -> impl Iterator<Item = (&str, &Type)> {
        let first = self.types.get_key_value(ty);
        let next = |(_, of): &(&String, &Type)| self.types.get_key_value(of.base.as_ref()?);
        let all = std::iter::successors(first, next);
        all.map(|(name, of)| (name.as_str(), of))
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element.try_get_attribute(name).ok()??;
    Some(attribute.value.into_owned())
}

/// Takes the namespace off.
fn local(ty: &str) -> String {
    if ty.contains("Edm.") {
        return ty.to_owned();
    }
    ty.replace("microsoft.graph.", "").replace("graph.", "")
}

/// Returns the type of a collection's elements.
fn element(ty: &str) -> &str {
    let inner = ty.strip_prefix("Collection(");
    inner.and_then(|ty| ty.strip_suffix(')')).unwrap_or(ty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_types() {
        let schema = GraphSchema::v1();
        for (path, ty) in [
            ("users", Some("user")),
            (
                "deviceManagement/managedDevices/{id}",
                Some("managedDevice"),
            ),
            (
                "deviceAppManagement/mobileApps/microsoft.graph.iosVppApp",
                Some("iosVppApp"),
            ),
            (
                "deviceAppManagement/mobileApps/{id}/assignments",
                Some("mobileAppAssignment"),
            ),
            ("deviceAppManagement/mobileApps/microsoft.graph.user", None),
            ("nowhere", None),
        ] {
            assert_eq!(schema.of_path(path).as_deref(), ty, "{path}");
        }
    }

    #[test]
    fn properties_are_found_in_bases_and_within_others() {
        let (v1, beta) = (GraphSchema::v1(), GraphSchema::beta());
        assert_eq!(
            v1.property("win32LobApp", "displayName"),
            Some("Edm.String")
        );
        assert_eq!(
            v1.property("user", "assignedPlans/servicePlanId"),
            Some("Edm.Guid")
        );
        assert_eq!(v1.property("managedDevice", "chassisType"), None);
        assert_eq!(
            beta.property("managedDevice", "hardwareInformation/tpmVersion"),
            Some("Edm.String")
        );
        assert!(v1.derived("mobileApp").any(|name| name == "iosVppApp"));
    }
}
