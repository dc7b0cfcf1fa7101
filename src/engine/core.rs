//! What all operations of the engine share: the layers below, the records, and who listens.
//!
//! No lock here is held while something waits. Long work belongs to the engine, not to the caller
//! that asked for it: [`whole`] finishes it even when the caller goes away half-way.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use orc_base::task::Tasks;
use orc_base::{Clock, Error, Id, Result, Time};
use orc_host::event::Subject;
use orc_image::images::Images;
use orc_net::Net;
use orc_runtime::Runtime;
use tokio::sync::mpsc;

use crate::cell::Cell;
use crate::events::Events;
use crate::execs::Execs;
use crate::networks::Networks;
use crate::pulls::Pulls;
use crate::registry::Registry;
use crate::running_builds::RunningBuilds;
use crate::store::Store;
use crate::tails::Tails;
use crate::translate::Machine;
use crate::volumes::Volumes;

/// The shared part of an engine.
pub(crate) struct Core {
    /// Records on disk.
    pub store: Store,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// From a name to a directory.
    pub images: Images,
    /// From a directory to a process.
    pub runtime: Runtime,
    /// From a process to its peers.
    pub net: Net,
    /// What happened.
    pub events: Events,
    /// All containers.
    pub containers: Registry,
    /// All networks.
    pub networks: Networks,
    /// All volumes.
    pub volumes: Volumes,
    /// Further processes in containers.
    pub execs: Execs,
    /// Who waits for logs to grow.
    pub tails: Tails,
    /// The builds under way.
    pub builds: RunningBuilds,
    /// Which boot of the machine this is.
    pub boot: String,
    /// What this machine lets be set.
    pub machine: Machine,
    /// When images were last fetched.
    pub pulls: Pulls,
    /// Below which cgroup those of containers are.
    pub cgroup_parent: String,
    /// The machine's resolver configuration.
    pub resolv_conf: PathBuf,
    /// What is to be done later, by the engine's own loop.
    pub wishes: mpsc::UnboundedSender<Wish>,
    /// Work that ends with the engine.
    pub tasks: Mutex<Option<Arc<Tasks>>>,
}

/// Something that an ended container asks of the engine's loop. A container has at most one.
#[derive(Debug)]
pub(crate) enum Wish {
    /// The wait of its restart policy is over.
    Retry(Id),
    /// It ended and is removed when it ends.
    Remove(Id),
}

impl Core {
    /// The present.
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Starts work that ends with the engine.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let tasks = self
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(tasks) = tasks {
            tasks.spawn(name, work);
        }
    }

    /// Ends all work; containers run on. Called when the engine is dropped.
    pub(crate) fn close(&self) {
        let tasks = self
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(tasks);
        self.runtime.remove_empty_parent();
    }

    /// Tells that something happened to a container.
    pub(crate) fn say(&self, cell: &Cell, action: impl Into<String>, more: &[(&str, String)]) {
        let record = cell.record();
        let mut attributes = record.effective.labels.clone();
        attributes.insert("name".into(), record.name.to_string());
        attributes.insert("image".into(), record.spec.image.clone());
        attributes.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone())),
        );
        self.events
            .say(Subject::Container, action, cell.id().as_str(), attributes);
    }

    /// Tells that something happened to something else.
    pub(crate) fn say_of(&self, subject: Subject, action: &str, id: &str, more: &[(&str, &str)]) {
        let attributes: BTreeMap<String, String> = more
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        self.events.say(subject, action, id, attributes);
    }

    /// A container's cgroup below each hierarchy. A parent that its spec names is below orc's own.
    pub(crate) fn cgroup_of(&self, id: &Id) -> String {
        let record = self.containers.get(id).map(|cell| cell.record());
        let wanted = record
            .as_ref()
            .and_then(|record| record.spec.cgroup_parent.as_deref());
        match wanted.map(|wanted| below_parent(&self.cgroup_parent, wanted)) {
            Some(parent) if !parent.is_empty() => format!("{}/{parent}/{id}", self.cgroup_parent),
            _ => format!("{}/{id}", self.cgroup_parent),
        }
    }

    /// The container that someone means, or why there is none.
    pub(crate) fn find(&self, typed: &str) -> Result<Arc<Cell>> {
        self.containers.find(typed)
    }

    /// The name of a container that mounts the volume `name`.
    pub(crate) fn volume_user(&self, name: &str) -> Option<String> {
        self.volume_user_but(name, None)
    }

    /// The name of a container other than `own` that mounts the volume `name`.
    pub(crate) fn volume_user_but(&self, name: &str, own: Option<&Id>) -> Option<String> {
        self.containers.all().into_iter().find_map(|cell| {
            if own == Some(cell.id()) {
                return None;
            }
            let record = cell.record();
            let uses = record.mounts.iter().any(|mount| {
                matches!(mount, orc_host::container::Mount::Volume { name: used, .. } if used == name)
            });
            uses.then(|| record.name.to_string())
        })
    }
}

/// A wanted parent of a cgroup as a path below orc's own, without a slash before or after.
pub(crate) fn below_parent<'a>(own: &str, wanted: &'a str) -> &'a str {
    let inside = wanted
        .strip_prefix(own)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    inside.unwrap_or(wanted).trim_matches('/')
}

/// Carries work through even when whoever waits for it goes away: a client that hangs up must not
/// leave half a container.
pub(crate) async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|error| Err(Error::internal(format!("this is a bug in orc: {error}"))))
}

/// Runs work that blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::internal(format!("this is a bug in orc: {error}"))))
}
