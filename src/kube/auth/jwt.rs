//! Tokens of service accounts: JSON Web Tokens (RFC 7519) signed with ES256 (RFC 7518), with the claims
//! that Kubernetes gives them.
//!
//! Pure but for the signature's randomness. A token names the objects it is bound to by their uid; whether
//! those still exist is asked by `authenticator`. Keys are a ring: the first signs, all verify.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orc_base::id::{hex, random_bytes};
use orc_base::{Error, Result, Time};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};

/// Who says so.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The shortest life of a token, as in Kubernetes.
pub const MIN_LIFE: Duration = Duration::from_secs(600);
/// The life of a token for which nobody asked a life, and the longest there is.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(3600);
/// Bytes of a token, at most.
const MAX_TOKEN: usize = 8 << 10;
/// How far clocks of two managers may be apart.
const LEEWAY_S: i64 = 60;

/// An object by name and identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
}

/// What Kubernetes says about a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The namespace of all of them.
    pub namespace: String,
    /// Whose token it is.
    pub serviceaccount: Bound,
    /// The pod with which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Bound>,
    /// The secret with which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Bound>,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who says so.
    pub iss: String,
    /// The user's name.
    pub sub: String,
    /// For whom.
    pub aud: Vec<String>,
    /// Until when, in seconds since 1970.
    pub exp: i64,
    /// Since when.
    pub nbf: i64,
    /// Made when.
    pub iat: i64,
    /// Which token.
    pub jti: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub binding: Binding,
}

impl Claims {
    /// For a service account, from now on. No audience means the API server itself.
    pub fn new(binding: Binding, audiences: &[String], now: Time, life: Duration) -> Self {
        let (namespace, account) = (&binding.namespace, &binding.serviceaccount.name);
        let aud = match audiences {
            [] => vec![ISSUER.to_owned()],
            some => some.to_vec(),
        };
        Self {
            iss: ISSUER.to_owned(),
            sub: format!("system:serviceaccount:{namespace}:{account}"),
            aud,
            exp: now.plus(life.clamp(MIN_LIFE, DEFAULT_LIFE)).secs(),
            nbf: now.secs(),
            iat: now.secs(),
            jti: hex(&random_bytes::<16>()),
            binding,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// The keys that sign and verify.
pub struct Keys(Vec<Key>);

struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

impl Keys {
    /// A new private key, PKCS #8. Kept where secrets are.
    pub fn generate() -> Result<Vec<u8>> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
            .map_err(|_| Error::internal("no key for tokens could be made"))?;
        Ok(key.as_ref().to_vec())
    }

    /// From what [`Keys::generate`] made; the first one signs. `Invalid` when one is no key, or there is
    /// none.
    pub fn load<'k>(keys: impl IntoIterator<Item = &'k [u8]>) -> Result<Self> {
        let random = SystemRandom::new();
        let keys = keys
            .into_iter()
            .map(|bytes| {
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, bytes, &random)
                    .map_err(|_| Error::invalid("a key for tokens cannot be read"))?;
                let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, pair.public_key().as_ref()));
                Ok(Key { id, pair })
            })
            .collect::<Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Err(Error::invalid("there is no key for tokens"));
        }
        Ok(Self(keys))
    }

    /// A token.
    pub fn sign(&self, claims: &Claims) -> Result<String> {
        let key = &self.0[0];
        let header = Header {
            alg: "ES256".to_owned(),
            kid: key.id.clone(),
        };
        let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
        let (header, body) = (serde_json::to_vec(&header)?, serde_json::to_vec(claims)?);
        let signed = format!("{}.{}", part(header), part(body));
        let signature = key
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| Error::internal("a token could not be signed"))?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(format!("{signed}.{signature}"))
    }

    /// What a token says, when it is one of ours, good now, and for one of `audiences`. `Denied`
    /// otherwise; the text has nothing of the token in it.
    pub fn verify(&self, token: &str, audiences: &[String], now: Time) -> Result<Claims> {
        let claims = self
            .claims(token)
            .ok_or_else(|| Error::denied("the token is not one of this cluster's"))?;
        let now = now.secs();
        if now >= claims.exp {
            return Err(Error::denied("the token has expired"));
        }
        if now + LEEWAY_S < claims.nbf {
            return Err(Error::denied("the token is not good yet"));
        }
        let is_ours = |audience: &String| match audiences {
            [] => audience == ISSUER,
            wanted => wanted.contains(audience),
        };
        if claims.iss != ISSUER || !claims.aud.iter().any(is_ours) {
            return Err(Error::denied("the token is for somebody else"));
        }
        Ok(claims)
    }

    fn claims(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, body) = signed.split_once('.')?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        // The algorithm is ours to choose, never the token's.
        if header.alg != "ES256" {
            return None;
        }
        let key = self.0.iter().find(|key| key.id == header.kid)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &decode(signature)?)
            .ok()?;
        serde_json::from_slice(&decode(body)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Time {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn binding() -> Binding {
        let bound = |name: &str| Bound {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
        };
        Binding {
            namespace: "default".to_owned(),
            serviceaccount: bound("robot"),
            pod: Some(bound("web")),
            secret: None,
        }
    }

    fn keys() -> Keys {
        Keys::load([Keys::generate().unwrap().as_slice()]).unwrap()
    }

    #[test]
    fn says_what_was_signed_for_an_hour() {
        let keys = keys();
        let claims = Claims::new(binding(), &[], noon(), DEFAULT_LIFE * 9);
        let token = keys.sign(&claims).unwrap();
        assert_eq!(keys.verify(&token, &[], noon()).unwrap(), claims);
        assert_eq!(claims.sub, "system:serviceaccount:default:robot");
        let late = noon().plus(DEFAULT_LIFE);
        let error = keys.verify(&token, &[], late).unwrap_err();
        assert_eq!(error.to_string(), "the token has expired");
    }

    #[test]
    fn is_good_for_its_audience_only() {
        let keys = keys();
        let vault = ["vault".to_owned()];
        let token = keys
            .sign(&Claims::new(binding(), &vault, noon(), DEFAULT_LIFE))
            .unwrap();
        assert!(keys.verify(&token, &vault, noon()).is_ok());
        let error = keys.verify(&token, &[], noon()).unwrap_err();
        assert_eq!(error.to_string(), "the token is for somebody else");
    }

    #[test]
    fn refuses_what_it_did_not_sign() {
        let ours = keys();
        let claims = Claims::new(binding(), &[], noon(), DEFAULT_LIFE);
        let token = ours.sign(&claims).unwrap();
        let foreign = keys().sign(&claims).unwrap();
        let (head, rest) = token.split_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(br#"{"alg":"none","kid":""}"#);
        let mut bent = token.clone().into_bytes();
        let middle = head.len() + 20;
        bent[middle] = if bent[middle] == b'A' { b'B' } else { b'A' };
        for bad in [
            "",
            "a.b.c",
            &foreign,
            &format!("{none}.{rest}"),
            &token[..token.len() - 4],
            std::str::from_utf8(&bent).unwrap(),
            &"x".repeat(10_000),
        ] {
            let error = ours.verify(bad, &[], noon()).unwrap_err();
            assert_eq!(error.kind(), orc_base::Kind::Denied);
        }
    }

    #[test]
    fn old_keys_verify_on() {
        let (old, new) = (Keys::generate().unwrap(), Keys::generate().unwrap());
        let claims = Claims::new(binding(), &[], noon(), DEFAULT_LIFE);
        let token = Keys::load([&old[..]]).unwrap().sign(&claims).unwrap();
        let ring = Keys::load([&new[..], &old[..]]).unwrap();
        assert!(ring.verify(&token, &[], noon()).is_ok());
        assert!(Keys::load([]).is_err());
    }
}
