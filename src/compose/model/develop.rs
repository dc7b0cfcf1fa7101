//! `develop`: what is done while somebody works on a service.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// `develop`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Develop {
    /// The rules of `watch`.
    pub watch: Vec<WatchRule>,
}

/// One rule: when something at `path` changes, `action` is done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct WatchRule {
    /// A file or a directory with all below it, absolute.
    pub path: PathBuf,
    /// What is done.
    pub action: WatchAction,
    /// Where files go in the container.
    pub target: Option<String>,
    /// What `sync+exec` runs there.
    pub exec: Option<WatchExec>,
    /// What is left out, in the language of ignore files, seen from `path`.
    pub ignore: Vec<String>,
    /// When there are any, only what these match counts.
    pub include: Vec<String>,
    /// Send everything before the first change.
    pub initial_sync: bool,
}

/// What a change leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum WatchAction {
    /// Build the image and replace the containers.
    #[default]
    #[serde(rename = "rebuild")]
    Rebuild,
    /// Send the files.
    #[serde(rename = "sync")]
    Sync,
    /// Restart the containers.
    #[serde(rename = "restart")]
    Restart,
    /// Send the files, then restart.
    #[serde(rename = "sync+restart")]
    SyncRestart,
    /// Send the files, then run a command in the containers.
    #[serde(rename = "sync+exec")]
    SyncExec,
}

impl WatchAction {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild",
            Self::Sync => "sync",
            Self::Restart => "restart",
            Self::SyncRestart => "sync+restart",
            Self::SyncExec => "sync+exec",
        }
    }

    /// Whether it sends files.
    pub fn syncs(self) -> bool {
        matches!(self, Self::Sync | Self::SyncRestart | Self::SyncExec)
    }
}

/// A command that is run in running containers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct WatchExec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The container's own when absent.
    pub user: Option<String>,
    /// All capabilities.
    pub privileged: bool,
    /// The container's own when absent.
    pub working_dir: Option<String>,
    /// Over the container's own; `None` takes the value from whoever watches.
    pub environment: BTreeMap<String, Option<String>>,
}
