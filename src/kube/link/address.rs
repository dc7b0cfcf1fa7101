//! Where a member is, and who must be there.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use orc_base::{Error, Result};

/// `node@address:port`, which is what the store keeps of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAddress {
    /// The name of its node, as in its certificate.
    pub node: String,
    /// Where it listens.
    pub place: SocketAddr,
}

impl fmt::Display for MemberAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.place)
    }
}

impl FromStr for MemberAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (node, place) = text.rsplit_once('@')?;
            Some(Self {
                node: node.to_owned(),
                place: place.parse().ok()?,
            })
        };
        read().ok_or_else(|| {
            Error::invalid(format!(
                "{text:?} is not where a member is: node@address:port"
            ))
        })
    }
}
