//! Identifiers: 256 random bits as 64 hexadecimal digits, as Docker's are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The identifier of a container, network, exec or image layer directory.
///
/// Always 64 lower-case hexadecimal digits, so it can stand in paths and kernel names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(Box<str>);

impl Id {
    /// How many digits an identifier has.
    pub const DIGITS: usize = 64;
    /// How many digits people are shown.
    pub const SHORT: usize = 12;

    /// A new identifier from the kernel's random source.
    ///
    /// Its first twelve digits always contain a letter, so that a short id is never taken for a
    /// number (a host name of digits only breaks some programs).
    pub fn random() -> Self {
        loop {
            let id = Self(hex(&random_bytes::<32>()).into());
            if id.short().bytes().any(|digit| digit.is_ascii_alphabetic()) {
                return id;
            }
        }
    }

    /// The first twelve digits.
    pub fn short(&self) -> &str {
        &self.0[..Self::SHORT]
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Bytes from the kernel's random source, `getrandom(2)`.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("getrandom cannot fail on Linux 3.17 or newer: {errno}"),
        }
    }
    bytes
}

impl FromStr for Id {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let valid = text.len() == Self::DIGITS
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !valid {
            return Err(Error::invalid(format!(
                "`{}` is not an id of {} hexadecimal digits",
                text.chars().take(80).collect::<String>(),
                Self::DIGITS
            )));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Id {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0.into()
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_valid_and_differ() {
        let (a, b) = (Id::random(), Id::random());
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse::<Id>().unwrap(), a);
        for bad in ["", "abc", &"A".repeat(64), &"../".repeat(22)] {
            assert!(bad.parse::<Id>().is_err());
        }
    }
}
