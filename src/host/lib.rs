//! The one door to a machine: plain data and `trait Host`.
//!
//! Compose and the cluster's node agent speak to a machine only through [`Host`]. The engine
//! implements it in process, the Docker API client over a socket, and the fake in memory; one
//! contract suite ([`contract`]) runs against all three. Wire formats and system calls stay behind
//! the implementers.

pub mod archive;
pub mod block_io;
pub mod container;
#[cfg(feature = "fake")]
pub mod contract;
pub mod event;
pub mod exec;
#[cfg(feature = "fake")]
pub mod fake;
pub mod image;
pub mod image_build;
pub mod network;
pub mod prune;
pub mod registry;
pub mod stats;
pub mod stop;
pub mod storage;
pub mod stream;
pub mod system;
pub mod unused;
pub mod update;
pub mod volume;

use async_trait::async_trait;
use orc_base::{Error, Result};

use crate::archive::{CommitSpec, PathArchive, PathChange, PathStat, WriteOptions};
use crate::container::{
    Container, ContainerFilter, ContainerSpec, Created, Exit, RemoveOptions, Top, WaitFor,
};
use crate::event::{Event, EventFilter};
use crate::exec::{Exec, ExecSpec};
use crate::image::{Credentials, Image, ImportSource, Progress, Removal};
use crate::image_build::{BuildEvent, BuildRequest};
use crate::network::{EndpointSpec, Network, NetworkSpec};
use crate::registry::{Artifact, Found, Login, PulledArtifact, ServeEvent, ServeSpec};
use crate::stats::Stats;
use crate::stop::StopOptions;
use crate::storage::{CachePrune, CheckOptions, CheckReport, DiskUsage, UsageOf};
use crate::stream::{Attached, Bytes, LogLine, LogOptions, Stream, TerminalSize};
use crate::system::Info;
use crate::unused::{Prune, Pruned};
use crate::update::ContainerUpdate;
use crate::volume::{Volume, VolumeSpec};

/// A machine that runs containers.
///
/// `container`, `network`, `volume` and `image` arguments named `name` take what people type: a full
/// name, a full id, or an unambiguous prefix of an id. Every method is safe to call again after a
/// failure. Errors carry the [`orc_base::Kind`] that the caller acts on: `NotFound`, `Conflict`,
/// `Invalid`, `Unsupported`, `Unchanged` (start of a running, stop of a stopped container).
#[async_trait]
pub trait Host: Send + Sync {
    /// What machine and which orc this is.
    async fn info(&self) -> Result<Info>;

    /// Everything that happens from now on (or from `filter.since`), until the stream is dropped or
    /// `filter.until` is reached.
    async fn events(&self, filter: EventFilter) -> Result<Stream<Event>>;

    // --- containers

    /// Makes a container of a local image, its anonymous volumes and its layer for writing, and
    /// starts nothing. `NotFound` when the image is not there: pulling is the caller's decision.
    async fn create_container(&self, name: Option<&str>, spec: &ContainerSpec) -> Result<Created>;

    /// Runs the container's program. Returns when it has been executed, or with the reason why not
    /// (`NotFound`: no such program in the image; `Denied`: not executable) and nothing left running.
    async fn start_container(&self, name: &str) -> Result<()>;

    /// Sends the stop signal, waits, kills. `Invalid` when there is no such signal.
    async fn stop_container(&self, name: &str, how: &StopOptions) -> Result<()>;

    /// Sends `signal` (`TERM`, `SIGTERM` or `15`; default `SIGKILL`) to the container's first process.
    async fn kill_container(&self, name: &str, signal: Option<&str>) -> Result<()>;

    /// Stops when running, then starts.
    async fn restart_container(&self, name: &str, how: &StopOptions) -> Result<()>;

    /// Freezes all processes of the container.
    async fn pause_container(&self, name: &str) -> Result<()>;

    /// Thaws what [`Host::pause_container`] froze.
    async fn unpause_container(&self, name: &str) -> Result<()>;

    /// Gives the container another name.
    async fn rename_container(&self, name: &str, new_name: &str) -> Result<()>;

    /// Changes limits and the restart policy, of a running container at once. Returns what was asked
    /// for and is not done, one sentence each. What fails changes nothing.
    async fn update_container(&self, name: &str, update: &ContainerUpdate) -> Result<Vec<String>>;

    /// Removes a stopped container (a running one with `force`), with its anonymous volumes if asked.
    async fn remove_container(&self, name: &str, options: RemoveOptions) -> Result<()>;

    /// All that is known of one container.
    async fn inspect_container(&self, name: &str) -> Result<Container>;

    /// The containers that match, newest first.
    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>>;

    /// Waits for an exit; answers at once for [`WaitFor::NotRunning`] when it is not running.
    async fn wait_container(&self, name: &str, until: WaitFor) -> Result<Exit>;

    /// What the container's program wrote.
    async fn logs(&self, name: &str, options: &LogOptions) -> Result<Stream<LogLine>>;

    /// Connects to the container's stdio: output from now on (call it before
    /// [`Host::start_container`] to miss nothing), and input when the container has `open_stdin`.
    /// The output ends when the container stops; a created container may be waited for.
    async fn attach_container(&self, name: &str) -> Result<Attached>;

    /// Tells the container's terminal its size.
    async fn resize_container(&self, name: &str, size: TerminalSize) -> Result<()>;

    /// The processes of a running container.
    async fn top(&self, name: &str) -> Result<Top>;

    /// What a running container uses at this moment. `Conflict` when it does not run.
    async fn stats(&self, name: &str) -> Result<Stats>;

    // --- files of containers

    /// What is at a path of a container, running or not. `NotFound` when nothing is.
    async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat>;

    /// The archive of what is at a path of a container, volumes and bind mounts included, the
    /// kernel's file systems (`/proc`, `/sys`, `/dev`) not. Until the stream ends or is dropped a
    /// container that does not run cannot be started.
    async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive>;

    /// Writes the files of a tar archive, compressed or not, into the directory `path` of a
    /// container. What was written before an error stays. `Invalid` when `path` is no directory,
    /// `Denied` when it is read-only.
    async fn write_path(
        &self,
        name: &str,
        path: &str,
        tar: Stream<Bytes>,
        options: WriteOptions,
    ) -> Result<()>;

    /// Removes what is at these paths of a container, running or not: files, links, and directories
    /// with all below them. What is not there is no failure. `Invalid` for the root directory and for
    /// what something is mounted on or below of, `Denied` when it is read-only.
    async fn remove_paths(&self, name: &str, paths: &[String]) -> Result<()> {
        let _ = (name, paths);
        Err(Error::unsupported(
            "this machine removes no files of containers",
        ))
    }

    /// The root file system of a container as a tar archive, without what is mounted into it.
    async fn export_container(&self, name: &str) -> Result<Stream<Bytes>>;

    /// How a container differs from its image, in the order of paths.
    async fn container_changes(&self, name: &str) -> Result<Vec<PathChange>>;

    /// Makes an image of a container: its image with one more layer, and what it runs as config.
    /// Returns the image's id.
    async fn commit_container(&self, name: &str, spec: &CommitSpec) -> Result<String>;

    // --- further processes in containers

    /// Prepares a process in a running container and returns its id.
    async fn create_exec(&self, name: &str, spec: &ExecSpec) -> Result<String>;

    /// Runs the process; its output ends when it does. Detached: both directions are empty.
    async fn start_exec(&self, exec: &str, detach: bool) -> Result<Attached>;

    /// State and exit code of an exec.
    async fn inspect_exec(&self, exec: &str) -> Result<Exec>;

    /// Tells the terminal of an exec its size.
    async fn resize_exec(&self, exec: &str, size: TerminalSize) -> Result<()>;

    // --- images

    /// Fetches `reference` from its registry. The stream ends after success; an error item is final.
    async fn pull_image(
        &self,
        reference: &str,
        platform: Option<&str>,
        credentials: Option<Credentials>,
    ) -> Result<Stream<Progress>>;

    /// Sends a local image to its registry.
    async fn push_image(
        &self,
        reference: &str,
        credentials: Option<Credentials>,
    ) -> Result<Stream<Progress>>;

    /// Gives an image one more reference.
    async fn tag_image(&self, name: &str, reference: &str) -> Result<()>;

    /// All images, newest first.
    async fn list_images(&self) -> Result<Vec<Image>>;

    /// All that is known of one image.
    async fn inspect_image(&self, name: &str) -> Result<Image>;

    /// Removes a reference, and the image with it when it was the last one.
    async fn remove_image(&self, name: &str, force: bool) -> Result<Vec<Removal>>;

    /// Makes an image of a root file system's tar; the stream's last item names its id.
    async fn import_image(&self, source: ImportSource) -> Result<Stream<Progress>>;

    /// The images as one tar archive: Docker's format and the OCI layout in one.
    async fn save_images(&self, names: &[String]) -> Result<Stream<Bytes>>;

    /// Takes images from a tar archive that `save` wrote, here or elsewhere.
    async fn load_images(&self, tar: Stream<Bytes>) -> Result<Stream<Progress>>;

    /// Builds an image from a Dockerfile. What is wrong with the request is an error of the call, what
    /// goes wrong later the last item of the stream; dropping the stream ends the build, and nothing
    /// of the steps that were under way is left. The stream ends after success.
    async fn build_image(&self, request: BuildRequest) -> Result<Stream<BuildEvent>>;

    // --- registries

    /// Asks a registry whether it knows the account. `Denied` when it does not.
    async fn log_in(&self, registry: &str, credentials: &Credentials) -> Result<Login> {
        let _ = (registry, credentials);
        Err(Error::unsupported("this machine speaks to no registries"))
    }

    /// The tags of a repository on its registry.
    async fn list_tags(
        &self,
        repository: &str,
        credentials: Option<Credentials>,
    ) -> Result<Vec<String>> {
        let _ = (repository, credentials);
        Err(Error::unsupported("this machine speaks to no registries"))
    }

    /// What a name leads to on its registry; nothing is fetched.
    async fn look_up_image(
        &self,
        reference: &str,
        credentials: Option<Credentials>,
    ) -> Result<Found> {
        let _ = (reference, credentials);
        Err(Error::unsupported("this machine speaks to no registries"))
    }

    /// Sends an artefact to a registry and returns the digest of its manifest.
    async fn push_artifact(
        &self,
        reference: &str,
        artifact: &Artifact,
        credentials: Option<Credentials>,
    ) -> Result<String> {
        let _ = (reference, artifact, credentials);
        Err(Error::unsupported("this machine speaks to no registries"))
    }

    /// Fetches an artefact, all of it, from a registry; of an index, the one of that media type.
    async fn pull_artifact(
        &self,
        reference: &str,
        media_type: &str,
        credentials: Option<Credentials>,
    ) -> Result<PulledArtifact> {
        let _ = (reference, media_type, credentials);
        Err(Error::unsupported("this machine speaks to no registries"))
    }

    /// Serves the images of this machine to others, until the stream is dropped.
    async fn serve_registry(&self, spec: &ServeSpec) -> Result<Stream<ServeEvent>> {
        let _ = spec;
        Err(Error::unsupported("this machine can be no registry"))
    }

    // --- networks

    /// Makes a network and returns its id. `Conflict` when the name is taken.
    async fn create_network(&self, spec: &NetworkSpec) -> Result<String>;

    /// Removes a network that no container uses.
    async fn remove_network(&self, name: &str) -> Result<()>;

    /// One network with the endpoints on it.
    async fn inspect_network(&self, name: &str) -> Result<Network>;

    /// All networks, in order of name.
    async fn list_networks(&self) -> Result<Vec<Network>>;

    /// Joins a container to one more network, at once when it runs.
    async fn connect_network(&self, container: &str, endpoint: &EndpointSpec) -> Result<()>;

    /// Takes a container off a network.
    async fn disconnect_network(&self, network: &str, container: &str, force: bool) -> Result<()>;

    // --- volumes

    /// Makes a volume, or returns the one that has the name.
    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume>;

    /// Removes a volume that no container uses.
    async fn remove_volume(&self, name: &str, force: bool) -> Result<()>;

    /// One volume.
    async fn inspect_volume(&self, name: &str) -> Result<Volume>;

    /// All volumes, in order of name.
    async fn list_volumes(&self) -> Result<Vec<Volume>>;

    // --- disk

    /// How much space things take.
    async fn disk_usage(&self, of: &UsageOf) -> Result<DiskUsage> {
        let _ = of;
        Err(Error::unsupported("this machine does not count its space"))
    }

    /// Removes what nobody uses ([`prune::prune`]).
    async fn prune(&self, prune: &Prune) -> Result<Pruned>;

    /// Removes what builds may use again, as far as no running build has asked for it.
    async fn prune_build_cache(&self, prune: &CachePrune) -> Result<Pruned> {
        let _ = prune;
        Ok(Pruned::default())
    }

    /// Compares what is kept on disk with what it should be, and mends it if that is wanted.
    async fn check_storage(&self, options: CheckOptions) -> Result<CheckReport> {
        let _ = options;
        Err(Error::unsupported(
            "this machine does not check what it keeps",
        ))
    }
}
