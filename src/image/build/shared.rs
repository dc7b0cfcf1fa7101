//! What all steps of one build share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Semaphore;

use orc_base::Result;
use orc_base::root::Root;

use crate::build::blobs::{Blobs, Packing};
use crate::build::files::Files;
use crate::build::fingerprint::Fingerprints;
use crate::build::graph::StepId;
use crate::build::place::Place;
use crate::build::remote_cache::RemoteCache;
use crate::build::request::{BuildEvent, Events, Secret, SshAgent, StepState};
use crate::build::runner::StepRunner;
use crate::build::stack;
use crate::build::stop::Stop;
use crate::build::view::View;
use crate::digest::Digest;
use crate::flight::Flights;
use crate::layers::Layers;
use crate::platform::Platform;
use crate::registry::http::Http;
use crate::store::{Ingest, Store};

/// One build.
pub(crate) struct Shared {
    /// Nothing that is found or made goes away while it is held.
    pub(crate) ingest: Ingest,
    /// Where directories are made.
    pub(crate) place: Place,
    /// An empty directory.
    pub(crate) empty: PathBuf,
    /// Runs programs.
    pub(crate) runner: Arc<dyn StepRunner>,
    /// Hears what happens.
    pub(crate) events: Arc<dyn Events>,
    /// Knows contents of files.
    pub(crate) fingerprints: Fingerprints,
    /// Which keys are being worked on, by all builds.
    pub(crate) flights: Arc<Flights<Digest>>,
    /// Ends the work.
    pub(crate) stop: Stop,
    /// The blobs of layers.
    pub(crate) blobs: Blobs,
    /// How layers are packed.
    pub(crate) packing: Packing,
    /// What is built for, once that is known.
    pub(crate) platform: OnceLock<Platform>,
    /// The number of the plan's first step for people: others may have come before.
    pub(crate) first: OnceLock<usize>,
    /// What the Dockerfile is called.
    pub(crate) dockerfile: OnceLock<String>,
    /// Fetches from the network.
    pub(crate) http: Arc<Http>,
    /// Results from elsewhere.
    pub(crate) remote: Vec<RemoteCache>,
    /// Use no earlier result: for all stages, or for some.
    pub(crate) no_cache: bool,
    /// These.
    pub(crate) no_cache_filter: Vec<String>,
    /// What steps may read.
    pub(crate) secrets: Vec<Secret>,
    /// Whom steps may ask.
    pub(crate) ssh: Vec<SshAgent>,
    /// How many steps may work at once.
    pub(crate) lanes: Semaphore,
    /// What images look like, by the identity of their files.
    pub(crate) views: Mutex<HashMap<Digest, Arc<View>>>,
    /// Where files that steps see are, by what they are.
    pub(crate) paths: Mutex<HashMap<Digest, PathBuf>>,
}

impl Shared {
    /// The store.
    pub(crate) fn store(&self) -> &Store {
        self.ingest.store()
    }

    /// The unpacked layers.
    pub(crate) fn layers(&self) -> &Layers {
        self.store().layers()
    }

    /// What an image looks like.
    pub(crate) fn view(&self, files: &Files) -> Result<Arc<View>> {
        let identity = files.identity();
        if let Some(view) = lock(&self.views).get(&identity) {
            return Ok(view.clone());
        }
        let lowers = files.lowers(self.layers());
        let root = Root::from_fd(stack::stack(&lowers, None, &self.empty)?);
        let view = Arc::new(View::of_image(root));
        lock(&self.views).insert(identity, view.clone());
        Ok(view)
    }

    /// Whether earlier results count for a stage.
    pub(crate) fn uses_cache(&self, stage: &str) -> bool {
        let same = |name: &String| name.eq_ignore_ascii_case(stage);
        !self.no_cache && !self.no_cache_filter.iter().any(same)
    }

    /// Says how far a step is, by its number for people.
    pub(crate) fn state(&self, step: usize, state: StepState) {
        self.events.report(BuildEvent::Step { step, state });
    }

    /// The number for people of a step of the plan.
    pub(crate) fn number(&self, step: StepId) -> usize {
        self.first.get().copied().unwrap_or(0) + step
    }
}

/// Locks what no panic leaves half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
