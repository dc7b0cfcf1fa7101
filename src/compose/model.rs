//! The canonical project, typed.
//!
//! Built once from the canonical tree (`canonical.rs`, `normalize.rs`), which has already checked
//! every key and value; nothing here knows short syntaxes, files or defaults that depend on the
//! machine. `render.rs` prints the tree itself, so that keys which no builder needs are kept too.

pub mod develop;
pub mod provider;
mod read;
pub mod resources;
pub mod service;
pub mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use orc_base::{Error, Result, spelling};

use crate::model::provider::{Model, Provided};
use crate::model::resources::{FileSource, Network, Volume};
use crate::model::service::Service;
use crate::node::Node;

/// A project: what the files say, for one machine.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// Its name, which prefixes all that it makes.
    pub name: String,
    /// The directory that relative paths start at.
    pub working_dir: PathBuf,
    /// The files it was loaded from; empty for a project known by its labels only.
    pub files: Vec<PathBuf>,
    /// The services that are on.
    pub services: BTreeMap<String, Service>,
    /// The services that no active profile turns on.
    pub disabled: BTreeMap<String, Service>,
    /// All networks, used or not, by their key in the file.
    pub networks: BTreeMap<String, Network>,
    /// All volumes.
    pub volumes: BTreeMap<String, Volume>,
    /// All secrets.
    pub secrets: BTreeMap<String, FileSource>,
    /// All configs.
    pub configs: BTreeMap<String, FileSource>,
    /// All models.
    pub models: BTreeMap<String, Model>,
    /// What programs that stand for services and models have given so far.
    pub provided: Provided,
    /// What the files ask for and orc does not do (yet), and what the disk lacks. `plan` refuses or
    /// warns when it has to do with the service.
    pub findings: Vec<Finding>,
    /// What came from elsewhere.
    pub foreign: Foreign,
    /// The variables that interpolation saw.
    pub environment: BTreeMap<String, String>,
    pub(crate) tree: Node,
    /// Whether a `$` in the tree is a dollar and no variable.
    pub(crate) interpolated: bool,
}

/// What of a project came from elsewhere: all is empty when nothing did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Where from, and in which version: `oci://registry/name:tag (sha256:…)`.
    pub sources: Vec<String>,
    /// What those files would get of this machine that is not theirs: one sentence each. Somebody has to
    /// agree before anything is made.
    pub wishes: Vec<String>,
    /// The programs of this machine that those files name (`provider`): even a question to one runs it.
    pub programs: Vec<String>,
}

/// Something that has to be said before something is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// One sentence with the place in the file.
    pub text: String,
    /// Whether the service cannot be made at all.
    pub severity: Severity,
}

/// What a [`Finding`] is about, by its key in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A service.
    Service(String),
    /// A network, for the services that join it.
    Network(String),
    /// A volume, for the services that mount it.
    Volume(String),
    /// The project as a whole.
    Project,
}

/// What a [`Finding`] leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It is said.
    Warning,
    /// The service is refused: the file asks for what orc does not do.
    Unsupported,
    /// The service is refused: the file asks for what is not there.
    Missing,
}

impl Project {
    /// A service, on or off.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name).or_else(|| self.disabled.get(name))
    }

    /// The services that are meant by `names` (all that are on when empty), without what they need.
    pub fn select(&self, names: &[String]) -> Result<BTreeSet<String>> {
        if names.is_empty() {
            return Ok(self.services.keys().cloned().collect());
        }
        names
            .iter()
            .map(|name| match self.service(name) {
                Some(_) => Ok(name.clone()),
                None => Err(self.no_such_service(name)),
            })
            .collect()
    }

    /// `names` and all that they need, directly or not.
    pub fn with_dependencies(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        let mut wanted = names.clone();
        let mut queue: Vec<String> = names.iter().cloned().collect();
        while let Some(name) = queue.pop() {
            let Some(service) = self.service(&name) else {
                continue;
            };
            for (other, dependency) in &service.depends_on {
                let there = self.services.contains_key(other)
                    || (dependency.required && self.disabled.contains_key(other));
                if there && wanted.insert(other.clone()) {
                    queue.push(other.clone());
                }
            }
        }
        wanted
    }

    /// The refusal of a name that is no service's, with the nearest one.
    pub fn no_such_service(&self, name: &str) -> Error {
        let known = self.services.keys().chain(self.disabled.keys());
        let hint = match spelling::nearest(name, known.map(String::as_str)) {
            Some(near) => format!(": did you mean `{near}`?"),
            None => String::new(),
        };
        Error::not_found(format!("no such service: {name}{hint}"))
    }
}
