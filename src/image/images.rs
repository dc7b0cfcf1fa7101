//! The images of this machine: the face of this crate.
//!
//! Ties together what each module does alone: the store, the snapshots, transfers and archives. Calls
//! that are not `async` block, mostly shortly; [`Images::remove`] and [`Images::remove_snapshot`] may
//! remove many files. Everything holds again after a crash at any instant.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use orc_base::clock::SystemClock;
use orc_base::fs::Durability;
use orc_base::{Clock, Context, Error, Id, Kind, Result};

use crate::archive::commit::{self, CommitOptions};
use crate::archive::import::{self, ImportOptions};
use crate::archive::load::{self, Loaded};
use crate::archive::pipe;
use crate::archive::save::Saving;
use crate::build::builder::{Builder, Call};
use crate::build::contexts::ContextArchive;
use crate::build::fetch;
use crate::build::request::{BuildOptions, Events};
use crate::build::runner::StepRunner;
use crate::cache::{CacheEntry, CachePrune, CachePruned};
use crate::check::{self, CheckOptions, Report};
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::image::{Image, Removal};
use crate::pack::leftovers::Leftovers;
use crate::progress::{Progress, ProgressEvent, Silent};
use crate::reference::Reference;
use crate::registry::config::{RegistryConfig, check_host};
use crate::registry::http::Http;
use crate::registry::session::{Access, Session};
use crate::serve::options::ServeOptions;
use crate::serve::server::Server;
use crate::snapshot::{self, Snapshot, Snapshots};
use crate::store::footprint::Footprint;
use crate::store::{Ingest, Store};
use crate::transfer::artifact::{self, Artifact, Found};
use crate::transfer::documents::{self, Pulled};
use crate::transfer::pull::{self, PullOptions};
use crate::transfer::push::{self, Push, Pushed};
use crate::usage::Usage;

/// The images below one directory. Clones share everything.
#[derive(Clone)]
pub struct Images(Arc<Inner>);

struct Inner {
    store: Store,
    snapshots: Snapshots,
    http: Arc<Http>,
    builder: Builder,
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Images").field(&self.0.store).finish()
    }
}

impl Images {
    /// Opens the images below `directory`, which nobody else may have open, and puts right what a
    /// crash left.
    pub fn open(directory: &Path, registries: RegistryConfig) -> Result<Self> {
        Self::open_with(directory, registries, Durability::Synced)
    }

    /// [`Images::open`] with a say in whether an image must survive a power loss as soon as it is here.
    pub fn open_with(
        directory: &Path,
        registries: RegistryConfig,
        durability: Durability,
    ) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            store: Store::open(directory, durability)?,
            snapshots: Snapshots::open(&directory.join("snapshots"))?,
            http: Arc::new(Http::new(registries)),
            builder: Builder::open(&directory.join("builds"))?,
        })))
    }

    /// Brings an image here from its registry and gives it the name.
    pub async fn pull(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<Image> {
        let store = &self.0.store;
        let before = store.tagged(reference);
        let image = pull::pull(&self.0.http, store, reference, options, progress).await?;
        let state = match before.as_ref() == Some(&image.id) {
            true => "Image is up to date for",
            false => "Downloaded newer image for",
        };
        let name = reference.familiar();
        progress.report(ProgressEvent::message(format!("Status: {state} {name}")));
        Ok(image)
    }

    /// Sends a local image to the registry that its name says. Returns what its manifest is there.
    pub async fn push(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
        progress: &dyn Progress,
    ) -> Result<Pushed> {
        let store = &self.0.store;
        // While it is on its way its blobs stay.
        let ingest = store.begin();
        let (image, manifest) = store
            .find_manifest(&reference.to_string())
            .map_err(|error| unknown_here(error, reference))?;
        let known: Vec<Reference> = image
            .repo_digests
            .iter()
            .filter_map(|name| Reference::parse(name).ok())
            .collect();
        let push = Push {
            reference,
            manifest: &manifest,
            known: &known,
            credentials,
        };
        let pushed = push::push(&self.0.http, store.content(), push, progress).await?;
        let (store, id, reference) = (store.clone(), image.id, reference.clone());
        ingest.settle();
        ingest.end().await;
        pipe::blocking(move || {
            store.add_repo_digest(id.as_str(), &reference, &pushed.digest)?;
            Ok(pushed)
        })
        .await
    }

    /// Asks a registry whether it knows the account; `Denied` when it does not.
    pub async fn log_in(&self, registry: &str, credentials: Credentials) -> Result<()> {
        check_host(registry)?;
        Session::with_registry(&self.0.http, registry, credentials)
            .await?
            .check_login()
            .await
            .context(|| format!("log in to {registry}"))
    }

    /// The tags of a repository on its registry.
    pub async fn list_tags(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Vec<String>> {
        let list = async {
            Session::open(&self.0.http, reference, Access::Pull, &[], credentials)
                .await?
                .tags(reference)
                .await
        };
        list.await
            .context(|| format!("list the tags of {}", reference.familiar_name()))
    }

    /// What a name leads to on its registry.
    pub async fn look_up(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Found> {
        artifact::look(&self.0.http, reference, credentials).await
    }

    /// Sends something that is no image to a registry.
    pub async fn push_artifact(
        &self,
        reference: &Reference,
        artifact: &Artifact,
        credentials: Option<Credentials>,
    ) -> Result<Pushed> {
        artifact::push(&self.0.http, reference, artifact, credentials).await
    }

    /// Fetches something that is no image, whole; of an index, what has that media type.
    pub async fn pull_artifact(
        &self,
        reference: &Reference,
        media_type: &str,
        credentials: Option<Credentials>,
    ) -> Result<Pulled> {
        documents::pull(&self.0.http, reference, media_type, credentials).await
    }

    /// Lets others pull the images of this machine, and push to it if the options say so, until the
    /// server is dropped.
    pub async fn serve_registry(&self, options: ServeOptions) -> Result<Server> {
        Server::start(&self.0.store, options).await
    }

    /// Compares all that is kept with what it should be, and mends it if that is wanted. Reads all
    /// bytes of all images unless told not to.
    pub async fn check(&self, options: CheckOptions) -> Result<Report> {
        check::check(&self.0.http, &self.0.store, options).await
    }

    /// How much space images and the build cache take, in blocks on disk. `used` are the ids of images
    /// that containers have.
    pub fn footprint(&self, used: &HashSet<String>) -> Result<Footprint> {
        self.0.store.footprint(used)
    }

    /// How much space the files take that a container wrote, in blocks on disk.
    pub fn snapshot_usage(&self, container: &Id) -> Result<Usage> {
        self.0.snapshots.usage(container)
    }

    /// What builds may use again.
    pub fn cache_list(&self) -> Result<Vec<CacheEntry>> {
        self.0.store.cache_list()
    }

    /// Removes what builds may use again, no running build has asked for, and fits.
    pub fn cache_prune(&self, prune: &CachePrune) -> Result<CachePruned> {
        self.0.store.cache_prune(prune)
    }

    /// How many bytes may be kept for builds when none runs; zero is no limit.
    pub fn cache_limit(&self, bytes: u64) {
        self.0.store.cache_limit(bytes);
    }

    /// Builds an image from a Dockerfile. `archive` is the one of [`ContextSource::Archive`]. A check
    /// makes no image. Dropping the future ends the build, and nothing of its steps is left.
    ///
    /// [`ContextSource::Archive`]: crate::build::request::ContextSource::Archive
    pub async fn build(
        &self,
        options: BuildOptions,
        archive: Option<ContextArchive>,
        runner: Arc<dyn StepRunner>,
        events: Arc<dyn Events>,
    ) -> Result<Option<Image>> {
        let call = Call {
            options,
            archive,
            runner,
            events,
        };
        self.0
            .builder
            .build(&self.0.http, &self.0.store, call)
            .await
    }

    /// All images, newest first.
    pub fn list(&self) -> Result<Vec<Image>> {
        let mut images = self.0.store.list()?;
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(images)
    }

    /// Finds an image by name, `name@digest`, id or the start of an id.
    pub fn find(&self, name: &str) -> Result<Image> {
        self.0.store.find(name)
    }

    /// Gives an image one more name, taking it from the image that has it.
    pub fn tag(&self, name: &str, target: &Reference) -> Result<()> {
        self.0.store.tag(name, target)
    }

    /// Takes a name from an image, and removes the image with its last name. `in_use` names a container
    /// that needs the image of this id, if there is one: then the image stays, and without `force` its
    /// last name does too.
    pub fn remove(
        &self,
        name: &str,
        force: bool,
        in_use: &dyn Fn(&Digest) -> Option<String>,
    ) -> Result<Vec<Removal>> {
        self.0.store.remove(name, force, in_use)
    }

    /// Makes an image of one layer from the tar archive of a root file system, plain or compressed.
    pub async fn import(
        &self,
        tar: impl AsyncRead + Send + Unpin,
        options: ImportOptions,
    ) -> Result<Image> {
        let ingest = self.0.store.begin();
        let now = SystemClock.now();
        let inner = ingest.clone();
        let work = move |tar, _| import::import(&inner, tar, &options, now);
        settle(ingest, pipe::feed(tar, &Silent, work).await).await
    }

    /// [`Images::import`] of an archive that is downloaded from `url` while it is unpacked.
    pub async fn import_url(
        &self,
        url: &str,
        mut options: ImportOptions,
        progress: &dyn Progress,
    ) -> Result<Image> {
        let shown = fetch::shown(url);
        progress.report(ProgressEvent::message(format!("Downloading from {shown}")));
        let opened = async { fetch::open(&self.0.http, fetch::parse(url)?).await };
        let response = opened.await.context(|| format!("download {shown}"))?;
        let from = || format!("Imported from {shown}");
        options.message.get_or_insert_with(from);
        self.import(fetch::reader(response, progress), options)
            .await
            .context(|| format!("import {shown}"))
    }

    /// Writes images as one archive that Docker, Podman and others load: Docker's own format and the
    /// OCI layout in one. The same images give the same bytes.
    pub async fn save(&self, names: &[String], out: impl AsyncWrite + Send + Unpin) -> Result<()> {
        self.prepare_save(names).await?.write(out).await
    }

    /// The first half of [`Images::save`]: finds the images, and that nothing of them is missing.
    pub async fn prepare_save(&self, names: &[String]) -> Result<Saving> {
        let (ingest, names) = (self.0.store.begin(), names.to_vec());
        pipe::blocking(move || Saving::prepare(ingest, &names)).await
    }

    /// Takes in all images of an archive that `save` wrote, here, in Docker or elsewhere.
    pub async fn load(
        &self,
        tar: impl AsyncRead + Send + Unpin,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>> {
        let ingest = self.0.store.begin();
        let inner = ingest.clone();
        let work = move |tar, reports| load::load(&inner, tar, &reports);
        settle(ingest, pipe::feed(tar, progress, work).await).await
    }

    /// Makes an image of what `container` wrote on top of the image `parent`, without `leftovers`.
    /// Nobody may write there meanwhile.
    pub async fn commit(
        &self,
        container: &Id,
        parent: &Digest,
        leftovers: Leftovers,
        options: CommitOptions,
    ) -> Result<Image> {
        let upper = self.snapshot(container, parent)?.upper;
        let ingest = self.0.store.begin();
        let now = SystemClock.now();
        let (inner, parent) = (ingest.clone(), parent.clone());
        let work = move || commit::commit(&inner, &parent, &upper, &leftovers, &options, now);
        settle(ingest, pipe::blocking(work).await).await
    }

    /// Makes the directories that the container writes to, on top of the layers of an image.
    pub fn create_snapshot(&self, container: &Id, image: &Digest) -> Result<Snapshot> {
        let layers = self.0.store.layers_of(image)?;
        let store = self.0.store.layers();
        self.0.snapshots.create(container, store, &layers)
    }

    /// The directories of a container that were made before.
    pub fn snapshot(&self, container: &Id, image: &Digest) -> Result<Snapshot> {
        if !self.0.snapshots.contains(container) {
            return Err(Error::not_found(format!(
                "container {} has no root file system",
                container.short()
            )));
        }
        let layers = self.0.store.layers_of(image)?;
        self.0
            .snapshots
            .get(container, self.0.store.layers(), &layers)
    }

    /// The directories of an image's layers, topmost first, to be read and never written. Whoever
    /// uses them sees to it that the image is not removed meanwhile.
    pub fn layers(&self, image: &Digest) -> Result<Vec<PathBuf>> {
        let layers = self.0.store.layers_of(image)?;
        snapshot::lowers(self.0.store.layers(), &layers)
    }

    /// Removes what a container wrote; fine when it is gone already.
    pub fn remove_snapshot(&self, container: &Id) -> Result<()> {
        self.0.snapshots.remove(container)
    }

    /// The containers that have directories to write to.
    pub fn snapshots(&self) -> Result<Vec<Id>> {
        self.0.snapshots.list()
    }
}

/// Ends an ingest whose leftovers nobody can go on with, whatever came of it.
async fn settle<T>(ingest: Ingest, result: Result<T>) -> Result<T> {
    ingest.sweep_after();
    ingest.end().await;
    result
}

fn unknown_here(error: Error, reference: &Reference) -> Error {
    match error.kind() {
        Kind::NotFound => Error::not_found(format!(
            "An image does not exist locally with the tag: {}",
            reference.familiar()
        )),
        _ => error,
    }
}
