//! Content digests: a checked name for bytes, and the hasher that makes one while bytes stream by.
//!
//! A [`Digest`] can only be made from a known algorithm and exactly as many lower-case hexadecimal
//! digits as it has, so it can stand in a path or a URL. Whoever reads foreign bytes compares; nothing
//! here reads or stores any.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use orc_base::{Error, Result};

/// The hash functions of the OCI image specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// What every registry and every image uses.
    Sha256,
    /// Registered by the specification, seldom seen.
    Sha512,
}

impl Algorithm {
    /// The word before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits follow the colon.
    pub fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// A hasher that has seen nothing yet.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher(State::Sha256(Sha256::new())),
            Self::Sha512 => Hasher(State::Sha512(Sha512::new())),
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// The digest of some bytes, such as `sha256:e3b0…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Box<str>);

impl Digest {
    /// How many digits people are shown.
    pub const SHORT: usize = 12;

    /// Reads `sha256:<64 digits>` or `sha512:<128 digits>`, lower case only.
    pub fn parse(text: &str) -> Result<Self> {
        match algorithm_of(text) {
            Ok(_) => Ok(Self(text.into())),
            Err(why) => Err(Error::invalid(format!(
                "`{}` is not a digest: {why}",
                shown(text)
            ))),
        }
    }

    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::sha256();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The hash function it was made with.
    pub fn algorithm(&self) -> Algorithm {
        algorithm_of(&self.0).expect("only checked text is kept")
    }

    /// The hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> &str {
        &self.0[self.algorithm().name().len() + 1..]
    }

    /// The first twelve digits, as Docker shows an image or a layer.
    pub fn short(&self) -> &str {
        &self.hex()[..Self::SHORT]
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fresh hasher of the same algorithm: what it finishes with can be compared with this.
    pub fn hasher(&self) -> Hasher {
        self.algorithm().hasher()
    }

    /// Whether `bytes` are the ones this names.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish() == *self
    }
}

fn algorithm_of(text: &str) -> std::result::Result<Algorithm, String> {
    let (name, hex) = text
        .split_once(':')
        .ok_or("write it as sha256:<64 hexadecimal digits>")?;
    let algorithm =
        Algorithm::from_name(name).ok_or("the algorithm is not known; sha256 and sha512 are")?;
    let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if hex.len() != algorithm.digits() || !hex.bytes().all(lower_hex) {
        return Err(format!(
            "{name} needs {} lower-case hexadecimal digits",
            algorithm.digits()
        ));
    }
    Ok(algorithm)
}

/// The start of foreign text, safe to print on one line.
fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(80)
        .flat_map(char::escape_default)
        .collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.into()
    }
}

impl AsRef<str> for Digest {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().name(), self.short())
    }
}

/// Hashes bytes as they pass; cheap to clone half-way.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// The algorithm everything of ours is named with.
    pub fn sha256() -> Self {
        Algorithm::Sha256.hasher()
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Digest {
        let (name, hex) = match self.0 {
            State::Sha256(hash) => ("sha256", orc_base::id::hex(&hash.finalize())),
            State::Sha512(hash) => ("sha512", orc_base::id::hex(&hash.finalize())),
        };
        Digest(format!("{name}:{hex}").into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Sha256(_) => "Hasher(sha256)",
            State::Sha512(_) => "Hasher(sha512)",
        })
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_bytes() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let digest = Digest::parse(EMPTY).unwrap();
        assert_eq!(digest.short(), "e3b0c44298fc");
        assert_eq!(digest.hex().len(), 64);
        assert!(digest.matches(b"") && !digest.matches(b"x"));
    }

    #[test]
    fn hashes_in_pieces_with_either_algorithm() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let (mut whole, mut pieces) = (algorithm.hasher(), algorithm.hasher());
            whole.update(b"abcdef");
            pieces.update(b"abc");
            pieces.update(b"def");
            let digest = whole.finish();
            assert_eq!(digest, pieces.finish());
            assert_eq!(digest.algorithm(), algorithm);
            assert_eq!(Digest::parse(digest.as_str()).unwrap(), digest);
        }
    }

    #[test]
    fn refuses_what_is_not_one() {
        for bad in [
            "",
            "sha256:",
            "sha256:../../../etc/passwd",
            "sha256:e3b0",
            &EMPTY.to_uppercase(),
            &EMPTY.replace("e3b0", "E3B0"),
            &EMPTY.replace("sha256", "sha512"),
            &EMPTY.replace("sha256", "md5"),
            &EMPTY.replace(':', "-"),
            &format!("{EMPTY}0"),
            &format!(" {EMPTY}"),
            &format!("{EMPTY}\n"),
            &"sha256:".repeat(150_000),
        ] {
            let error = Digest::parse(bad).unwrap_err();
            assert_eq!(error.kind(), orc_base::Kind::Invalid);
            let text = error.to_string();
            assert!(text.len() < 400 && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn is_a_string_in_json_and_checked_on_the_way_in() {
        let digest: Digest = serde_json::from_str(&format!("{EMPTY:?}")).unwrap();
        assert_eq!(
            serde_json::to_string(&digest).unwrap(),
            format!("{EMPTY:?}")
        );
        assert!(serde_json::from_str::<Digest>("\"sha256:..\"").is_err());
    }
}
