//! One rule of `develop.watch`, ready to be followed.

use std::fmt;
use std::path::{Path, PathBuf};

use orc_host::exec::ExecSpec;

use crate::model::develop::WatchAction;

/// When something at `path` changes, `action` is done to the containers of `service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whose rule it is.
    pub service: String,
    /// A file or a directory with all below it, absolute.
    pub path: PathBuf,
    /// What is done.
    pub action: WatchAction,
    /// Where files go in the container; a slash at its end makes it the directory they go into.
    pub target: Option<String>,
    /// What is run in the containers after files were sent.
    pub exec: Option<ExecSpec>,
    /// Whether everything is sent to containers that are new.
    pub initial_sync: bool,
    /// Patterns of what is left out, seen from `path`.
    pub ignore: Vec<String>,
    /// When there are any: patterns of the only things that count, seen from `path`.
    pub include: Vec<String>,
    /// Whose ignore file counts as well.
    pub context: Option<Context>,
    /// What is never sent unless it changes: the files that say how the project is made.
    pub plans: Vec<PathBuf>,
}

/// A build context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Its directory, absolute.
    pub directory: PathBuf,
    /// The Dockerfile's path in it, which an ignore file may be named after.
    pub dockerfile: String,
}

impl Rule {
    /// Where something is here: `below` is its path seen from [`Rule::path`], empty for that itself.
    pub fn source(&self, below: &Path) -> PathBuf {
        match below.as_os_str().is_empty() {
            true => self.path.clone(),
            false => self.path.join(below),
        }
    }

    /// Where something goes in the container: `below` as in [`Rule::source`]. `None` when the rule
    /// sends nothing.
    pub fn place(&self, below: &Path) -> Option<String> {
        let target = self.target.as_deref()?;
        let into = target.trim_end_matches('/');
        let name = match below.as_os_str().is_empty() {
            false => below.to_str()?,
            // A file into a directory keeps its name.
            true if target.ends_with('/') => self.path.file_name()?.to_str()?,
            true => return Some(target.to_owned()),
        };
        Some(format!("{into}/{name}"))
    }
}

/// What is watched for whom: `sync web: /src to /app`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (action, path) = (self.action.as_str(), self.path.display());
        write!(f, "{action} {}: {path}", self.service)?;
        match &self.target {
            Some(target) => write!(f, " to {target}"),
            None => Ok(()),
        }
    }
}
