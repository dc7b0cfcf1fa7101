//! What there is once in a cluster and an object holds: addresses and ports of services.
//!
//! Rows say what an object holds and what it wants; `local/claims.rs` gives and frees it in the
//! transaction that writes the object.

/// Where the things come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// Addresses of services.
    Addresses,
    /// Ports on nodes.
    NodePorts,
}

impl Pool {
    /// As in a key of the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::NodePorts => "ports",
        }
    }
}

/// Something that an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Of what.
    pub pool: Pool,
    /// Which: `10.96.0.1`, `30080`.
    pub value: String,
    /// The field that says so.
    pub field: String,
}

/// Something that an object wants, whichever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Of what.
    pub pool: Pool,
    /// Where it is put: JSON pointers.
    pub pointers: Vec<String>,
}
