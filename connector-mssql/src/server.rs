//! How people write the name of a SQL Server.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// The port of a default instance.
pub(crate) const DEFAULT_PORT: u16 = 1433;

/// Which server and instance to connect to, as it is written everywhere for SQL Server.
///
/// | text | means |
/// | --- | --- |
/// | `host` | the default instance, port 1433 |
/// | `host,port` | that port |
/// | `host\INSTANCE` | the port that SQL Server Browser names |
/// | `host\INSTANCE,port` | that port; nobody is asked |
/// | `tcp:…` | the same |
/// | `(local)`, `.` | this machine |
///
/// A host may be an IPv6 address, in brackets or not. Named pipes (`np:`), shared memory (`lpc:`)
/// and the administrator's connection (`admin:`) are refused: they don't go over TCP, or are not
/// for reading.
///
/// ```
/// use connector_mssql::ServerName;
///
/// let server: ServerName = "ACME-CM01.acme.local\\INV,51433".parse()?;
/// assert_eq!(server.host(), "ACME-CM01.acme.local");
/// assert_eq!(server.port(), Some(51433));
/// assert!("np:\\\\host\\pipe\\sql\\query".parse::<ServerName>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName {
    host: String,
    instance: Option<String>,
    port: Option<u16>,
}

impl ServerName {
    /// Returns the host as it was typed, which is also the name that the certificate must have.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the named instance; the default one has no name.
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// Returns the port that was typed.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The instance whose port has to be asked for.
    pub(crate) fn unknown_port(&self) -> Option<&str> {
        self.instance.as_deref().filter(|_| self.port.is_none())
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if let Some(instance) = &self.instance {
            write!(f, "\\{instance}")?;
        }
        if let Some(port) = self.port {
            write!(f, ",{port}")?;
        }
        Ok(())
    }
}

/// The prefixes that name a protocol.
const PREFIXES: [(&str, Option<&str>); 4] = [
    ("tcp:", None),
    (
        "np:",
        Some(
            "named pipes are not supported: enable TCP/IP for the instance and write host\\INSTANCE or host,port",
        ),
    ),
    (
        "lpc:",
        Some(
            "shared memory is not supported: enable TCP/IP for the instance and write host\\INSTANCE or host,port",
        ),
    ),
    (
        "admin:",
        Some("the administrator's connection is not for reading: leave `admin:` out"),
    ),
];

impl FromStr for ServerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        for (prefix, refused) in PREFIXES {
            let Some(head) = rest.get(..prefix.len()) else {
                continue;
            };
            if head.eq_ignore_ascii_case(prefix) {
                if let Some(why) = refused {
                    return Err(why.to_owned());
                }
                rest = rest[prefix.len()..].trim_start();
                break;
            }
        }
        if rest.starts_with("\\\\") {
            return Err(
                "a path of a named pipe: write the server as host\\INSTANCE or host,port; the \
                 Windows Internal Database has nothing but its pipe and can't be read from here"
                    .to_owned(),
            );
        }
        let (name, port) = match rest.rsplit_once(',') {
            None => (rest, None),
            Some((name, port)) => {
                let port = port.trim().parse().ok().filter(|port| *port != 0);
                let Some(port) = port else {
                    return Err("what follows the comma is not a port from 1 to 65535".to_owned());
                };
                (name.trim_end(), Some(port))
            }
        };
        let (host, instance) = match name.split_once('\\') {
            None => (name, None),
            Some((host, instance)) => (host.trim_end(), Some(instance.trim())),
        };
        let instance = match instance {
            None => None,
            Some(default) if default.eq_ignore_ascii_case("MSSQLSERVER") => None,
            Some(instance) if is_instance(instance) => Some(instance.to_owned()),
            Some(_) => {
                return Err(
                    "the instance after the backslash is a name of 1 to 16 characters without spaces, \
                     backslashes, commas and semicolons"
                        .to_owned(),
                );
            }
        };
        if host.eq_ignore_ascii_case("(localdb)") {
            return Err("LocalDB has only named pipes and can't be read from here".to_owned());
        }
        let host = match host {
            "." => "localhost",
            local if local.eq_ignore_ascii_case("(local)") => "localhost",
            host => host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host),
        };
        if host.is_empty() {
            return Err("the server's name is missing".to_owned());
        }
        if host
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || "\\,;|/[]()".contains(c))
        {
            return Err(
                "not a server name: write host, host,port, host\\INSTANCE or host\\INSTANCE,port"
                    .to_owned(),
            );
        }
        Ok(Self {
            host: host.to_owned(),
            instance,
            port,
        })
    }
}

/// Instance names have up to 16 characters; the Browser's answer separates by semicolons.
fn is_instance(name: &str) -> bool {
    (1..=16).contains(&name.chars().count())
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || "\\,;".contains(c))
}

impl<'de> Deserialize<'de> for ServerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// One entry of the DataSync Agent's `SQL_SERVER_DATA_SOURCES`: `CMSync|ACME-CM01.acme.local|CM_CAS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name of the sync.
    pub sync: String,
    /// The server.
    pub server: ServerName,
    /// The database.
    pub database: String,
}

/// One [`Source`] or several, separated by `;`.
///
/// ```
/// use connector_mssql::Sources;
///
/// let sources: Sources = "CMSync|ACME-CM01.acme.local|CM_CAS; SLA|ACME-CM01\\INV|CM_CAS".parse()?;
/// assert_eq!(sources.find(Some("SLA"))?.server.to_string(), "ACME-CM01\\INV");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Returns all of them in the order in which they are written; one at least.
    pub fn all(&self) -> &[Source] {
        &self.0
    }

    /// Returns the one of that name, or the only one.
    ///
    /// # Errors
    ///
    /// When there is none of that name, or none is named and there are several.
    pub fn find(&self, sync: Option<&str>) -> Result<&Source, String> {
        let names = || {
            let names: Vec<_> = self.0.iter().map(|source| source.sync.as_str()).collect();
            names.join(", ")
        };
        match (sync, &self.0[..]) {
            (None, [only]) => Ok(only),
            (None, _) => Err(format!(
                "`sources` has several entries ({}): say which with `sync`",
                names()
            )),
            (Some(sync), all) => all
                .iter()
                .find(|source| source.sync.eq_ignore_ascii_case(sync))
                .ok_or_else(|| format!("`sources` has no entry {sync}; there are: {}", names())),
        }
    }
}

impl FromStr for Sources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut sources: Vec<Source> = Vec::new();
        for entry in text.split(';').map(str::trim).filter(|e| !e.is_empty()) {
            let fields: Vec<_> = entry.split('|').map(str::trim).collect();
            let [sync, server, database] = fields[..] else {
                return Err(format!(
                    "an entry has {} fields instead of the three of SyncName|Server|Database",
                    fields.len()
                ));
            };
            if sync.is_empty() || database.is_empty() {
                return Err("an entry of SyncName|Server|Database has an empty field".to_owned());
            }
            if sources.iter().any(|s| s.sync.eq_ignore_ascii_case(sync)) {
                return Err(format!("the sync {sync} has two entries"));
            }
            sources.push(Source {
                sync: sync.to_owned(),
                server: server.parse()?,
                database: database.to_owned(),
            });
        }
        if sources.is_empty() {
            return Err("no entry of SyncName|Server|Database".to_owned());
        }
        Ok(Self(sources))
    }
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> (String, Option<String>, Option<u16>) {
        let ServerName {
            host,
            instance,
            port,
        } = text.parse().unwrap();
        (host, instance, port)
    }

    #[test]
    fn reads_every_form() {
        let inv = || Some("INV".to_owned());
        for (text, host, instance, port) in [
            ("cm01", "cm01", None, None),
            ("cm01,51433", "cm01", None, Some(51433)),
            (" cm01 , 51433 ", "cm01", None, Some(51433)),
            ("cm01\\INV", "cm01", inv(), None),
            ("cm01\\INV,51433", "cm01", inv(), Some(51433)),
            ("tcp:cm01\\INV,51433", "cm01", inv(), Some(51433)),
            ("TCP:cm01", "cm01", None, None),
            ("cm01\\MSSQLServer", "cm01", None, None),
            ("(local)", "localhost", None, None),
            (".\\INV", "localhost", inv(), None),
            ("fe80::1", "fe80::1", None, None),
            ("[fe80::1],1433", "fe80::1", None, Some(1433)),
            ("fe80::1\\INV,1433", "fe80::1", inv(), Some(1433)),
        ] {
            assert_eq!(parts(text), (host.to_owned(), instance, port), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_can_not_reach_and_says_why() {
        for (text, why) in [
            ("np:\\\\cm01\\pipe\\sql\\query", "named pipes"),
            (
                "\\\\.\\pipe\\MICROSOFT##WID\\tsql\\query",
                "Internal Database",
            ),
            ("lpc:cm01", "shared memory"),
            ("admin:cm01", "administrator"),
            ("(localdb)\\v11", "LocalDB"),
            ("cm01,0", "port"),
            ("cm01,65536", "port"),
            ("cm01,", "port"),
            ("cm01\\", "instance"),
            ("cm01\\seventeen-letters", "instance"),
            ("", "missing"),
            (",1433", "missing"),
            ("cm01:1433\\a b", "instance"),
            ("cm 01", "not a server name"),
        ] {
            let error = text.parse::<ServerName>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn sources_are_those_of_the_agent() {
        let one: Sources = "CMSync|ACME-CM01.acme.local|CM_CAS".parse().unwrap();
        assert_eq!(one.find(None).unwrap().database, "CM_CAS");
        let two: Sources = "CMSync|cm01\\INV,51433|CM_CAS;SLA|cm01|CM_P01;"
            .parse()
            .unwrap();
        assert_eq!(two.all().len(), 2);
        assert!(two.find(None).unwrap_err().contains("CMSync, SLA"));
        assert_eq!(two.find(Some("sla")).unwrap().database, "CM_P01");
        assert!(two.find(Some("VDX")).is_err());
        for (text, why) in [
            ("CMSync|cm01", "2 fields"),
            ("CMSync|cm01|", "empty field"),
            ("", "no entry"),
            ("a|cm01|b;A|cm02|c", "two entries"),
            ("a|cm01,x|b", "port"),
        ] {
            let error = text.parse::<Sources>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(
            host in "[a-zA-Z0-9][a-zA-Z0-9.:-]{0,20}",
            instance in proptest::option::of("[A-Z][A-Z0-9_$]{0,15}"),
            port in proptest::option::of(1u16..),
        ) {
            prop_assume!(instance.as_deref() != Some("MSSQLSERVER"));
            prop_assume!(!["tcp:", "np:", "lpc:", "admin:"].iter().any(|p| host.to_ascii_lowercase().starts_with(p)));
            let server = ServerName { host, instance, port };
            prop_assert_eq!(server.to_string().parse::<ServerName>(), Ok(server));
        }

        #[test]
        fn never_panics_and_never_makes_an_empty_host(text in "\\PC{0,40}") {
            if let Ok(server) = text.parse::<ServerName>() {
                prop_assert!(!server.host.is_empty());
                prop_assert!(!server.host.contains(['\\', ',', ';']));
            }
        }

        #[test]
        fn a_port_that_was_typed_is_never_asked_for(instance in "[A-Z]{1,16}", port in 1u16..) {
            let server: ServerName = format!("cm01\\{instance},{port}").parse().unwrap();
            prop_assert_eq!(server.unknown_port(), None);
        }
    }
}
