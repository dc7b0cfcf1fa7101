//! From changed files to what is done about them.
//!
//! A batch of changes becomes at most one operation of each kind a service, in the order in which they
//! make sense: images first, then files, then whoever reads files only at its start, then commands
//! that want the files there. Printing the operations tells the user what happens, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use orc_host::exec::ExecSpec;

use crate::model::develop::WatchAction;
use crate::watch::rule::Rule;

/// Something that a rule is about is another than before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Which rule, by its place in the list.
    pub rule: usize,
    /// Seen from the rule's path; empty for that itself, which is then a file.
    pub below: PathBuf,
    /// What is there now.
    pub now: Now,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Now {
    /// Something new or something else.
    There,
    /// Nothing any more.
    Gone,
}

/// What is done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What.
    pub action: Action,
    /// The changes that led to it.
    pub cause: String,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The images of these services are built, and containers of other images replaced.
    Rebuild(BTreeSet<String>),
    /// Files go into the containers of a service.
    Sync(Sync),
    /// The containers of these services start anew.
    Restart(BTreeSet<String>),
    /// A command runs in the containers of a service.
    Exec {
        /// Whose.
        service: String,
        /// The command.
        spec: Box<ExecSpec>,
    },
}

/// Files for the containers of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sync {
    /// Whose.
    pub service: String,
    /// What is sent: the path in the container, and the one here. Parents come before what is in them.
    pub files: BTreeMap<String, PathBuf>,
    /// What goes away in the container; nothing that lies below another of them.
    pub removed: BTreeSet<String>,
}

/// What a batch of changes leads to.
pub fn decide(rules: &[Rule], changes: &[Change]) -> Vec<Operation> {
    let mut batch = Batch::default();
    for change in changes {
        if let Some(rule) = rules.get(change.rule) {
            batch.take(rule, change);
        }
    }
    batch.operations(rules)
}

/// What is sent to containers of `service` that are new: all of `there` that `initial_sync` asks for,
/// and again what was sent before, so that a container that was replaced is no older than the one
/// before. `None` when that is nothing.
pub fn renew(rules: &[Rule], service: &str, there: &[Change], sent: &Sync) -> Option<Operation> {
    let mut files = BTreeMap::new();
    for change in there {
        let Some(rule) = rules.get(change.rule) else {
            continue;
        };
        let path = rule.source(&change.below);
        let wanted = rule.service == service && rule.initial_sync && !rule.plans.contains(&path);
        if let Some(place) = rule.place(&change.below).filter(|_| wanted) {
            files.insert(place, path);
        }
    }
    let first = files.len();
    for (place, path) in &sent.files {
        files.entry(place.clone()).or_insert_with(|| path.clone());
    }
    let sync = Sync {
        service: service.to_owned(),
        removed: sent.removed.clone(),
        files,
    };
    let cause = match first {
        0 => "its container is new, and was sent these before",
        _ => "initial_sync",
    };
    (!sync.is_empty()).then(|| Operation {
        action: Action::Sync(sync),
        cause: cause.into(),
    })
}

impl Sync {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.removed.is_empty()
    }

    /// Remembers what `later` does to the same containers.
    pub fn then(&mut self, later: &Self) {
        self.files
            .retain(|place, _| !later.removed.iter().any(|gone| is_at_or_below(place, gone)));
        self.removed.extend(later.removed.iter().cloned());
        for (place, path) in &later.files {
            self.removed.remove(place);
            self.files.insert(place.clone(), path.clone());
        }
        self.tidy();
    }

    /// Drops what goes with something above it.
    fn tidy(&mut self) {
        let all = self.removed.clone();
        self.removed.retain(|place| {
            let mut above = place.match_indices('/').map(|(at, _)| &place[..at]);
            !above.any(|above| all.contains(above))
        });
    }
}

fn is_at_or_below(place: &str, above: &str) -> bool {
    place
        .strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What the changes of a batch ask for.
#[derive(Default)]
struct Batch {
    rebuilds: BTreeMap<String, Cause>,
    syncs: BTreeMap<String, (Sync, Cause)>,
    restarts: BTreeMap<String, Cause>,
    /// By the rule's place, so that each command runs once.
    execs: BTreeMap<usize, Cause>,
}

impl Batch {
    fn take(&mut self, rule: &Rule, change: &Change) {
        let service = rule.service.clone();
        if let Some(place) = rule.place(&change.below) {
            let (sync, cause) = self.syncs.entry(service.clone()).or_default();
            sync.service.clone_from(&service);
            match change.now {
                Now::There => {
                    sync.removed.remove(&place);
                    sync.files.insert(place, rule.source(&change.below));
                }
                Now::Gone => {
                    sync.files.remove(&place);
                    sync.removed.insert(place);
                }
            }
            cause.add(rule, change);
        }
        match rule.action {
            WatchAction::Rebuild => self.rebuilds.entry(service).or_default().add(rule, change),
            WatchAction::Restart | WatchAction::SyncRestart => {
                self.restarts.entry(service).or_default().add(rule, change);
            }
            WatchAction::SyncExec => self.execs.entry(change.rule).or_default().add(rule, change),
            WatchAction::Sync => {}
        }
    }

    fn operations(mut self, rules: &[Rule]) -> Vec<Operation> {
        // Whoever is replaced starts anew by that, unless it has to see files that come after.
        self.restarts.retain(|service, _| {
            !self.rebuilds.contains_key(service) || self.syncs.contains_key(service)
        });
        let mut operations = Vec::new();
        if let Some((services, cause)) = together(self.rebuilds) {
            operations.push((Action::Rebuild(services), cause));
        }
        for (mut sync, cause) in self.syncs.into_values() {
            sync.tidy();
            operations.push((Action::Sync(sync), cause));
        }
        if let Some((services, cause)) = together(self.restarts) {
            operations.push((Action::Restart(services), cause));
        }
        for (rule, cause) in self.execs {
            let Rule { service, exec, .. } = &rules[rule];
            if let Some(spec) = exec {
                let (service, spec) = (service.clone(), Box::new(spec.clone()));
                operations.push((Action::Exec { service, spec }, cause));
            }
        }
        operations
            .into_iter()
            .map(|(action, cause)| Operation {
                action,
                cause: cause.to_string(),
            })
            .collect()
    }
}

/// All services of one kind of operation.
fn together(wanted: BTreeMap<String, Cause>) -> Option<(BTreeSet<String>, Cause)> {
    let mut all = Cause::default();
    for cause in wanted.values() {
        all.0.extend(cause.0.iter().cloned());
    }
    let services: BTreeSet<String> = wanted.into_keys().collect();
    (!services.is_empty()).then_some((services, all))
}

/// The changed files.
#[derive(Default)]
struct Cause(BTreeSet<(PathBuf, Now)>);

impl Cause {
    fn add(&mut self, rule: &Rule, change: &Change) {
        let name = match change.below.as_os_str().is_empty() {
            true => rule.path.file_name().map(PathBuf::from).unwrap_or_default(),
            false => change.below.clone(),
        };
        self.0.insert((name, change.now));
    }
}

/// `app.py changed`, `app.py and 2 more changed`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, now)) = self.0.first() else {
            return Ok(());
        };
        let first = first.display();
        match (self.0.len() - 1, now) {
            (0, Now::There) => write!(f, "{first} changed"),
            (0, Now::Gone) => write!(f, "{first} is gone"),
            (more, _) => write!(f, "{first} and {more} more changed"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ({})", self.action, self.cause)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |services: &BTreeSet<String>| {
            let names: Vec<&str> = services.iter().map(String::as_str).collect();
            names.join(", ")
        };
        match self {
            Self::Rebuild(services) => write!(f, "rebuild {}", names(services)),
            Self::Sync(sync) => write!(f, "sync {}: {sync}", sync.service),
            Self::Restart(services) => write!(f, "restart {}", names(services)),
            Self::Exec { service, spec } => write!(f, "exec {service}: {}", spec.command.join(" ")),
        }
    }
}

/// `3 files`, `2 files, 1 removed`.
impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = match self.files.len() {
            1 => "1 file".to_owned(),
            count => format!("{count} files"),
        };
        match (self.files.len(), self.removed.len()) {
            (_, 0) => f.write_str(&files),
            (0, removed) => write!(f, "{removed} removed"),
            (_, removed) => write!(f, "{files}, {removed} removed"),
        }
    }
}
