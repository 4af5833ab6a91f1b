//! The clients that have enrolled, and their certificates.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64_URL};
use connector_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{
    Assertion, Setup,
    authority::{Authority, Issued},
};
use crate::upload::{jwt::Unverified, private};

const FOLDER: &str = "clients";

/// A client that has exchanged its setup token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::receive) struct Client {
    pub(in crate::receive) id: String,
    pub(in crate::receive) tenant: String,
    pub(in crate::receive) syncs: BTreeSet<String>,
    /// The setup token that was used up, and for which public key.
    jti: String,
    first_key: String,
    /// Those that have not expired, the newest last.
    certificates: Vec<Certificate>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    thumbprint: String,
    public_key: String,
    not_after: i64,
    pem: String,
}

impl From<Issued> for Certificate {
    fn from(issued: Issued) -> Self {
        Self {
            thumbprint: issued.thumbprint,
            public_key: issued.public_key,
            not_after: issued.not_after,
            pem: issued.pem,
        }
    }
}

/// All clients, in memory and on disk: a file each, which is replaced before anybody gets to know.
#[derive(Debug)]
pub(in crate::receive) struct Registry {
    folder: PathBuf,
    clients: HashMap<String, Client>,
    /// The assertions that were used, and until when they are known.
    used: HashMap<String, i64>,
}

/// Why a client did not get a certificate.
#[derive(Debug)]
pub(in crate::receive) enum Refused {
    /// What it sent is wrong: what it is told.
    Client(&'static str),
    /// Its file could not be written.
    Storage(Error),
}

impl Registry {
    /// Reads the clients. Blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] naming the file that can't be read.
    pub(in crate::receive) fn open(folder: &Path) -> Result<Self> {
        let mut registry = Self {
            folder: folder.join(FOLDER),
            clients: HashMap::new(),
            used: HashMap::new(),
        };
        let entries = match fs::read_dir(&registry.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(registry),
            entries => entries.map_err(|error| failed(&registry.folder, error))?,
        };
        for entry in entries {
            let path = entry
                .map_err(|error| failed(&registry.folder, error))?
                .path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let read = private::read(&path).map_err(|error| failed(&path, error))?;
            let client: Result<Client, _> = serde_json::from_slice(&read.unwrap_or_default());
            let client = client.map_err(|error| failed(&path, error.into()))?;
            registry.clients.insert(client.id.clone(), client);
        }
        Ok(registry)
    }

    fn save(&mut self, client: Client) -> Result<(), Refused> {
        let path = self.folder.join(format!("{}.json", client.id));
        let written = serde_json::to_vec(&client)
            .map_err(io::Error::from)
            .and_then(|json| private::replace(&path, &json));
        written.map_err(|error| Refused::Storage(failed(&path, error)))?;
        self.clients.insert(client.id.clone(), client);
        Ok(())
    }

    /// Exchanges a setup token for a certificate. Asked again with the same key, it answers the
    /// same: the answer may have been lost. Blocks.
    pub(in crate::receive) fn enrol(
        &mut self,
        setup: Setup,
        issued: Issued,
    ) -> Result<String, Refused> {
        if let Some(known) = self.clients.values().find(|known| known.jti == setup.jti) {
            let first = known.certificates.first();
            return match first {
                Some(first)
                    if known.first_key == issued.public_key
                        && first.public_key == known.first_key =>
                {
                    Ok(first.pem.clone())
                }
                _ => Err(Refused::Client(
                    "the setup token is used up: ask for a new one",
                )),
            };
        }
        let pem = issued.pem.clone();
        self.save(Client {
            id: setup.cert_id,
            tenant: setup.tenant_id,
            syncs: setup.syncs,
            jti: setup.jti,
            first_key: issued.public_key.clone(),
            certificates: vec![issued.into()],
        })?;
        Ok(pem)
    }

    /// Adds a certificate of a client, and forgets those that have expired. Blocks.
    pub(in crate::receive) fn renew(
        &mut self,
        id: &str,
        issued: Issued,
        now: i64,
    ) -> Result<String, Refused> {
        let Some(mut client) = self.clients.get(id).cloned() else {
            return Err(Refused::Client("the client is not known"));
        };
        let pem = issued.pem.clone();
        client.certificates.retain(|known| now < known.not_after);
        client.certificates.push(issued.into());
        self.save(client)?;
        Ok(pem)
    }

    /// Finds the client of a certificate that has not expired, by its thumbprint.
    pub(in crate::receive) fn by_certificate(&self, thumbprint: &str, now: i64) -> Option<&Client> {
        self.find(thumbprint, now).map(|(client, _)| client)
    }

    fn find(&self, thumbprint: &str, now: i64) -> Option<(&Client, &Certificate)> {
        self.clients.values().find_map(|client| {
            let mut own = client.certificates.iter();
            let own = own.find(|own| own.thumbprint == thumbprint && now < own.not_after)?;
            Some((client, own))
        })
    }

    /// Finds the client that has signed an assertion, which is then used up.
    pub(in crate::receive) fn by_assertion(
        &mut self,
        authority: &Authority,
        assertion: &str,
    ) -> Result<Client, &'static str> {
        const NONE: &str = "the client assertion is none";
        let now = authority.now();
        let token = Unverified::parse(assertion).ok_or(NONE)?;
        let thumbprint = token.header.thumbprint.as_deref().ok_or(NONE)?;
        let (client, certificate) = self.find(thumbprint, now).ok_or(
            "the certificate is not known here, or has expired: enrol with a new setup token",
        )?;
        let key = BASE64_URL.decode(&certificate.public_key);
        let claims: Assertion = key
            .ok()
            .and_then(|key| token.verify(&key))
            .ok_or("the signature of the client assertion is wrong")?;
        if !claims.is_valid(&client.id, authority.audience(), now) {
            return Err(
                "the client assertion is for somebody else, or not valid now: is the clock right?",
            );
        }
        let client = client.clone();
        self.used.retain(|_, until| now < *until);
        let id = format!("{} {}", client.id, claims.jti);
        if self.used.insert(id, claims.forgotten()).is_some() {
            return Err("the client assertion was used before");
        }
        Ok(client)
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Storage, "the file of a client can't be used")
        .with("path", path.display())
        .with_source(error)
}
