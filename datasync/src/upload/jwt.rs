//! JSON Web Tokens (RFC 7519) signed with ES256 (RFC 7518, 3.4), and nothing else of JOSE.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64_URL};
use connector_core::{Error, ErrorKind, Result, Secret};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
        UnparsedPublicKey,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// No token of ours is longer.
const LONGEST: usize = 16 << 10;

/// What a token says of how it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    alg: String,
    typ: String,
    /// Which key signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kid: Option<String>,
    /// Which certificate's key signed it: its SHA-256, RFC 7515, 4.1.8.
    #[serde(default, rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    pub(crate) thumbprint: Option<String>,
}

impl Header {
    pub(crate) fn of_key(kid: &str) -> Self {
        Self {
            kid: Some(kid.to_owned()),
            ..Self::new()
        }
    }

    pub(crate) fn of_certificate(thumbprint: &str) -> Self {
        Self {
            thumbprint: Some(thumbprint.to_owned()),
            ..Self::new()
        }
    }

    fn new() -> Self {
        Self {
            alg: "ES256".to_owned(),
            typ: "JWT".to_owned(),
            kid: None,
            thumbprint: None,
        }
    }
}

/// A private key that signs tokens.
pub(crate) struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    /// Takes a key of the curve P-256, PKCS #8 as DER.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when it is none.
    pub(crate) fn new(pkcs8: &[u8]) -> Result<Self> {
        let random = SystemRandom::new();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map(|key| Self { key, random })
            .map_err(|error| {
                Error::new(
                    ErrorKind::Config,
                    "the private key is not one of the curve P-256",
                )
                .with("reason", error)
            })
    }

    /// The public key as a point of the curve.
    pub(crate) fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when the system has no random numbers.
    pub(crate) fn sign(&self, header: &Header, claims: &impl Serialize) -> Result<Secret> {
        let part = |json: serde_json::Result<String>| json.map(|json| BASE64_URL.encode(json));
        let (Ok(header), Ok(claims)) = (
            part(serde_json::to_string(header)),
            part(serde_json::to_string(claims)),
        ) else {
            return Err(Error::new(ErrorKind::Unexpected, "claims that are no JSON"));
        };
        let statement = format!("{header}.{claims}");
        let signed = self
            .key
            .sign(&self.random, statement.as_bytes())
            .map_err(|_| no_random())?;
        Ok(Secret::new(format!(
            "{statement}.{}",
            BASE64_URL.encode(signed)
        )))
    }
}

/// A token whose signature nobody has looked at.
pub(crate) struct Unverified<'a> {
    pub(crate) header: Header,
    statement: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart; none when it is not one that this program signs.
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let (statement, signature) = token.rsplit_once('.')?;
        let (header, claims) = statement.split_once('.')?;
        let header: Header = serde_json::from_slice(&BASE64_URL.decode(header).ok()?).ok()?;
        (header.alg == "ES256").then_some(())?;
        Some(Self {
            header,
            statement,
            claims,
            signature: BASE64_URL.decode(signature).ok()?,
        })
    }

    /// Returns the claims if that public key's private one has signed them.
    pub(crate) fn verify<T: DeserializeOwned>(&self, public_key: &[u8]) -> Option<T> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key)
            .verify(self.statement.as_bytes(), &self.signature)
            .ok()?;
        self.unverified_claims()
    }

    /// Returns the claims, whoever has signed them: for messages to the token's owner.
    pub(crate) fn unverified_claims<T: DeserializeOwned>(&self) -> Option<T> {
        claims(self.claims)
    }
}

/// Reads the claims of a token of any algorithm, without looking at its signature: for messages to
/// its owner.
pub(crate) fn peek<T: DeserializeOwned>(token: &str) -> Option<T> {
    claims(token.split('.').nth(1)?)
}

fn claims<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL.decode(part).ok()?).ok()
}

/// Returns an id that is nobody else's: 128 random bits as hexadecimal digits.
pub(crate) fn new_id() -> Result<String> {
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| no_random())?;
    Ok(format!("{:032x}", u128::from_be_bytes(id)))
}

/// Names a certificate: its SHA-256 as RFC 7515, 4.1.8 writes it.
pub(crate) fn thumbprint(certificate: &[u8]) -> String {
    BASE64_URL.encode(ring::digest::digest(&ring::digest::SHA256, certificate))
}

fn no_random() -> Error {
    Error::new(ErrorKind::Unexpected, "the system has no random numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        let key = rcgen::KeyPair::generate().unwrap();
        Signer::new(&key.serialize_der()).unwrap()
    }

    #[test]
    fn only_the_key_that_signed_verifies_and_nothing_can_be_changed() {
        let (own, other) = (signer(), signer());
        let token = own
            .sign(&Header::of_key("k1"), &serde_json::json!({ "sub": "a" }))
            .unwrap();
        let parsed = Unverified::parse(token.expose()).unwrap();
        assert_eq!(parsed.header, Header::of_key("k1"));
        let claims: serde_json::Value = parsed.verify(own.public_key()).unwrap();
        assert_eq!(claims["sub"], "a");
        assert!(
            parsed
                .verify::<serde_json::Value>(other.public_key())
                .is_none()
        );
        let changed = token.expose().replacen(
            &BASE64_URL.encode(r#"{"sub":"a"}"#),
            &BASE64_URL.encode(r#"{"sub":"b"}"#),
            1,
        );
        let changed = Unverified::parse(&changed).unwrap();
        assert!(
            changed
                .verify::<serde_json::Value>(own.public_key())
                .is_none()
        );
    }

    #[test]
    fn an_algorithm_of_the_sender_s_choice_is_none() {
        for header in [
            r#"{"alg":"none","typ":"JWT"}"#,
            r#"{"alg":"HS256","typ":"JWT"}"#,
            "{}",
        ] {
            let token = format!("{}.e30.AAAA", BASE64_URL.encode(header));
            assert!(Unverified::parse(&token).is_none(), "{header}");
        }
        for text in ["", "a.b", "a.b.c", ".."] {
            assert!(Unverified::parse(text).is_none(), "{text}");
        }
    }
}
