//! What was fetched for one project: which file belongs to which copy, and what such files ask for.
//!
//! A copy is kept apart from all else on the disk: a file in it is only read when it really lies there,
//! links followed, and it may only name files of the same copy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orc_base::{Error, Result};

use crate::files::{Files, real};
use crate::node::{Map, Node};
use crate::remote::{Address, Fetched, Origin, Remotes};
use crate::variables;

/// How many addresses one project may name.
const MAX_COPIES: usize = 32;

/// All copies of one project.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    copies: Vec<Held>,
    /// The directory that somebody typed as the project's: files from elsewhere may name what is there.
    pub(crate) project_directory: Option<PathBuf>,
    /// The variables that files from elsewhere ask for.
    asked: BTreeSet<String>,
}

#[derive(Debug)]
struct Held {
    address: Address,
    fetched: Fetched,
    origin: Arc<Origin>,
}

impl Copies {
    /// Whether the project has files from elsewhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// The Compose file that an address leads to; it is fetched once.
    pub(crate) fn fetch(
        &mut self,
        address: &Address,
        remotes: Option<&dyn Remotes>,
        files: &dyn Files,
    ) -> Result<PathBuf> {
        if let Some(held) = self.copies.iter().find(|held| held.address == *address) {
            return Ok(held.fetched.file.clone());
        }
        if self.copies.len() == MAX_COPIES {
            return Err(Error::exhausted(format!(
                "more than {MAX_COPIES} files from elsewhere"
            )));
        }
        let Some(remotes) = remotes else {
            return Err(Error::unsupported(format!(
                "{}: files from elsewhere are not read here",
                address.shown()
            )));
        };
        let fetched = remotes.fetch(address)?;
        let root = fetched.root.clone();
        let origin = Origin {
            shown: address.shown(),
            roots: [root]
                .into_iter()
                .chain(self.project_directory.clone())
                .collect(),
        };
        let file = fetched.file.clone();
        self.copies.push(Held {
            address: address.clone(),
            fetched,
            origin: Arc::new(origin),
        });
        self.check(&file, files)?;
        Ok(file)
    }

    fn held(&self, path: &Path) -> Option<&Held> {
        let mut copies = self.copies.iter();
        copies.find(|held| path.starts_with(&held.fetched.root))
    }

    /// Where a file came from; nothing when it is this machine's own.
    pub(crate) fn origin(&self, path: &Path) -> Option<Arc<Origin>> {
        self.held(path).map(|held| Arc::clone(&held.origin))
    }

    /// Refuses a file of a copy that really lies elsewhere.
    pub(crate) fn check(&self, path: &Path, files: &dyn Files) -> Result<()> {
        match self.held(path) {
            Some(held) if !real(files, path).starts_with(&held.fetched.root) => Err(Error::denied(
                format!("{} leads out of what was fetched", held.shown(path)),
            )),
            _ => Ok(()),
        }
    }

    /// The name of a file of a copy as people are shown it.
    pub(crate) fn display(&self, path: &Path) -> Option<String> {
        self.held(path).map(|held| held.shown(path))
    }

    /// Notes the variables that a document from elsewhere asks for: by `$`, and by names without a
    /// value. Nothing was put in yet.
    pub(crate) fn note_asked(&mut self, document: &Node) {
        if document.span.origin().is_none() {
            return;
        }
        self.asked.extend(variables::asked(document).into_keys());
    }

    /// Notes names without a value in a document from elsewhere, which is in its long form.
    pub(crate) fn note_passed(&mut self, document: &Node) {
        if document.span.origin().is_none() {
            return;
        }
        let services = document.get("services").and_then(Node::map);
        for (_, entry) in services.into_iter().flat_map(Map::iter) {
            for path in [&["environment"][..], &["build", "args"]] {
                let pairs = entry.node.at(path).and_then(Node::map);
                let bare = pairs.into_iter().flat_map(Map::iter);
                let bare = bare.filter(|(_, entry)| entry.node.is_null());
                self.asked.extend(bare.map(|(name, _)| name.clone()));
            }
        }
    }

    /// The variables that were asked for and that somebody here has set.
    pub(crate) fn given(&self, set: &BTreeMap<String, String>) -> Vec<String> {
        // It is the project's own.
        let own = "COMPOSE_PROJECT_NAME";
        let asked = self.asked.iter().filter(|name| *name != own);
        asked
            .filter(|name| set.contains_key(*name))
            .cloned()
            .collect()
    }

    /// Each copy and its version, in the order in which they were fetched.
    pub(crate) fn sources(&self) -> Vec<String> {
        let sources = self.copies.iter();
        sources
            .map(|held| format!("{} ({})", held.address.shown(), held.fetched.version))
            .collect()
    }
}

impl Held {
    fn shown(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.fetched.root).unwrap_or(path);
        self.address.shown_file(inside)
    }
}
