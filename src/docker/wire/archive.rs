//! Files of containers, and images made of containers.

use serde::{Deserialize, Serialize};

/// What the header `X-Docker-Container-Path-Stat` says, as JSON in base64.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct PathStat {
    pub(crate) name: String,
    pub(crate) size: i64,
    /// Go's `os.FileMode`.
    pub(crate) mode: u32,
    pub(crate) mtime: String,
    #[serde(rename = "linkTarget", default)]
    pub(crate) link_target: String,
}

wire! {
    Change {
        path: String,
        kind: u8,
    }
}

wire! {
    RemovePaths {
        paths: Vec<String>,
    }
}

wire! {
    CommitReply {
        id: String,
    }
}
