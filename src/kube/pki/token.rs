//! Join tokens: `ORCJOIN-1-<digest>-<id>-<secret>`.
//!
//! The digest is that of the authority's public key, so the joining machine knows whom it talks to
//! before it says anything; the secret proves that it was invited. The cluster keeps only a keyed hash of
//! the secret, compares it in constant time, and names a token by its id, never by its secret.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use orc_base::id::{hex, random_bytes};
use orc_base::{Error, Result, Time};
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

use crate::pki::identity::Role;

const PREFIX: &str = "ORCJOIN-1-";
/// RFC 4648's alphabet in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// How long a worker's token is good for when nobody says otherwise.
pub const WORKER_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a manager's token is good for when nobody says otherwise; it is good for one use.
pub const MANAGER_LIFE: Duration = Duration::from_secs(3600);

/// SHA-256 of the public key (`SubjectPublicKeyInfo`) of an authority.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a public key.
    pub fn of(public_key_info: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, public_key_info);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Of the public key of a certificate. `Invalid` when it is no certificate.
    pub fn of_certificate(certificate: &[u8]) -> Result<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| Error::invalid("the certificate cannot be read"))?;
        Ok(Self::of(parsed.public_key().raw))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a joining machine was given. Prints without its secret; [`JoinToken::reveal`] is the whole.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Whom to believe.
    pub digest: Digest,
    /// Which token it is: eight hexadecimal digits.
    pub id: String,
    secret: [u8; 16],
}

impl JoinToken {
    /// The text to be handed over.
    pub fn reveal(&self) -> String {
        format!(
            "{PREFIX}{}-{}-{}",
            self.digest,
            self.id,
            base32(&self.secret)
        )
    }

    /// The secret, for the one message that carries it.
    pub fn secret(&self) -> String {
        base32(&self.secret)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-{}-…", self.digest, self.id)
    }
}

impl FromStr for JoinToken {
    type Err = Error;

    /// `Invalid` when it is no token; the text of the error has nothing of the token in it.
    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let mut parts = text.trim().strip_prefix(PREFIX)?.split('-');
            let digest = Digest(unbase32(parts.next()?)?);
            let id = parts.next()?.to_owned();
            let secret = unbase32(parts.next()?)?;
            let whole = parts.next().is_none() && is_id(&id);
            whole.then_some(Self { digest, id, secret })
        };
        read().ok_or_else(|| {
            Error::invalid(
                "that is no join token: it begins with ORCJOIN-1- and is three words more; `orc swarm join-token worker` prints one",
            )
        })
    }
}

/// What the cluster keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Which token it is.
    pub id: String,
    /// What the machine becomes that shows it.
    pub role: Role,
    /// Keyed hash of the secret, as hexadecimal digits.
    hash: String,
    /// When it ceases to be good.
    pub expires: Time,
    /// How often it may still be used; without limit when nothing.
    pub uses_left: Option<u32>,
}

/// Makes a token for an authority. `uses` bounds how many machines may join by it.
pub fn create(
    digest: Digest,
    role: Role,
    now: Time,
    life: Duration,
    uses: Option<u32>,
) -> (JoinToken, TokenRecord) {
    let id = hex(&random_bytes::<4>());
    let secret = random_bytes::<16>();
    let record = TokenRecord {
        hash: hex(hmac::sign(&key(&id), base32(&secret).as_bytes()).as_ref()),
        id: id.clone(),
        role,
        expires: now.plus(life),
        uses_left: uses,
    };
    (JoinToken { digest, id, secret }, record)
}

/// Whether the secret that came with token `id` opens the cluster now: the record, with one use less.
/// `Denied` with words for the one who tries. An unknown id and a wrong secret look alike.
pub fn admit(records: &[TokenRecord], id: &str, secret: &str, now: Time) -> Result<TokenRecord> {
    let record = records.iter().find(|record| record.id == id);
    // Somebody unknown is compared as well, so that time does not tell which ids there are.
    let hash = record.map_or_else(|| vec![0; 32], |record| unhex(&record.hash));
    let same = hmac::verify(&key(id), secret.as_bytes(), &hash).is_ok();
    let Some(record) = record.filter(|_| same) else {
        return Err(Error::denied(
            "the join token is not one of this cluster's: it is wrong or was rotated; `orc swarm join-token` on a manager prints the current one",
        ));
    };
    if now >= record.expires {
        let (expires, id) = (record.expires, &record.id);
        return Err(Error::denied(format!(
            "the join token {id} expired at {expires}; `orc swarm join-token` on a manager makes a new one"
        )));
    }
    let mut used = record.clone();
    match &mut used.uses_left {
        Some(0) => Err(Error::denied(format!(
            "the join token {id} has been used up; `orc swarm join-token` on a manager makes a new one"
        ))),
        Some(left) => {
            *left -= 1;
            Ok(used)
        }
        None => Ok(used),
    }
}

/// The hash is keyed by the id, so equal secrets would not show.
fn key(id: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, format!("orc join token {id}").as_bytes())
}

fn is_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// RFC 4648, section 6, in lower case and without padding.
fn base32(bytes: &[u8]) -> String {
    let bits = bytes.len() * 8;
    (0..bits.div_ceil(5))
        .map(|group| {
            let value = (group * 5..group * 5 + 5).fold(0, |value, bit| {
                let byte = bytes.get(bit / 8).copied().unwrap_or_default();
                value << 1 | usize::from(byte >> (7 - bit % 8) & 1)
            });
            char::from(ALPHABET[value])
        })
        .collect()
}

fn unbase32<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(5) {
        return None;
    }
    let mut bytes = [0; N];
    for (group, letter) in text.bytes().enumerate() {
        let letter = letter.to_ascii_lowercase();
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        for bit in 0..5 {
            let at = group * 5 + bit;
            let set = value >> (4 - bit) & 1;
            match bytes.get_mut(at / 8) {
                Some(byte) => *byte |= (set as u8) << (7 - at % 8),
                // Bits behind the last byte are zero, or two texts would be one token.
                None if set == 1 => return None,
                None => {}
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Time {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn token(uses: Option<u32>) -> (JoinToken, TokenRecord) {
        create(Digest::of(b"key"), Role::Worker, noon(), WORKER_LIFE, uses)
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        assert_eq!(base32(b"foobar"), "mzxw6ytboi");
        assert_eq!(unbase32::<6>("mzxw6ytboi").unwrap(), *b"foobar");
        assert_eq!(unbase32::<1>("mz"), None); // bits that are not there
        assert_eq!(unbase32::<1>("m1"), None);
    }

    #[test]
    fn is_its_text_and_shows_no_secret() {
        let (token, record) = token(None);
        let text = token.reveal();
        assert_eq!(text.parse::<JoinToken>().unwrap(), token);
        assert_eq!(format!("{text}\n").parse::<JoinToken>().unwrap(), token);
        let shown = format!("{token:?} {record:?}");
        assert!(!shown.contains(&token.secret()), "{shown}");
        assert!(serde_json::to_string(&record).unwrap().contains("hash"));
    }

    #[test]
    fn broken_texts_are_refused_without_repeating_them() {
        let text = token(None).0.reveal();
        for bad in [
            "",
            "ORCJOIN-1-",
            &text[..text.len() - 1],
            &format!("{text}-x"),
            &format!("{text}a"),
        ] {
            let error = bad.parse::<JoinToken>().unwrap_err().to_string();
            assert!(error.starts_with("that is no join token"), "{error}");
            assert!(bad.is_empty() || !error.contains(&text[70..]));
        }
    }

    #[test]
    fn admits_until_it_is_used_up_or_expired() {
        let (token, record) = token(Some(1));
        let records = [record];
        let used = admit(&records, &token.id, &token.secret(), noon()).unwrap();
        assert_eq!(used.uses_left, Some(0));
        let refusal = |records: &[TokenRecord], id: &str, secret: &str, now| {
            let error = admit(records, id, secret, now).unwrap_err();
            assert_eq!(error.kind(), orc_base::Kind::Denied);
            error.to_string()
        };
        let again = refusal(&[used], &token.id, &token.secret(), noon());
        assert!(again.contains("has been used up"), "{again}");
        let late = noon().plus(WORKER_LIFE);
        let late = refusal(&records, &token.id, &token.secret(), late);
        assert!(late.contains("expired at 2026-11-22T12:00:00Z"), "{late}");
        let wrong = refusal(&records, &token.id, "wrong", noon());
        let unknown = refusal(&records, "00000000", &token.secret(), noon());
        assert_eq!(wrong, unknown);
        assert!(!wrong.contains(&token.secret()));
    }
}
