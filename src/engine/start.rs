//! Starts a container: the whole way, or nothing of it.
//!
//! The intent is on disk before the first side effect; every side effect has a name that follows
//! from the container's id, so whoever finds the intent after a crash can undo it all.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orc_base::fs::{self, Durability};
use orc_base::{Context, Error, Kind, Result};
use orc_host::container::{NamespaceMode, NetworkMode, RestartPolicy};
use orc_image::digest::Digest;
use orc_net::model::{AttachRequest, Sandbox};
use orc_runtime::capability;
use orc_runtime::spec::{Mount, Namespace, Namespaces, Propagation, Rootfs, Submounts};

use crate::actions::{perform, tear_down};
use crate::cell::{Cell, Run};
use crate::core::{Core, blocking};
use crate::files::{self, Subject};
use crate::lifecycle::Event;
use crate::records::{ContainerRecord, StateRecord};
use crate::supervise::supervise;
use crate::system::hostname;
use crate::translate::{self, Facts};
use crate::validate::capabilities;
use crate::{devices, mounts, wiring};

/// Where a container that may speak to the engine finds it.
const API_SOCKET: &str = "/var/run/docker.sock";
/// How long after its start it is synced that a container runs.
const SYNC_PAUSE: Duration = Duration::from_secs(1);
/// Where programs find POSIX shared memory (shm_overview(7)).
const SHM: &str = "/dev/shm";

/// Starts a container for someone.
pub(crate) async fn start(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<()> {
    let _turn = cell.turn.lock().await;
    launch(core, cell, Event::Start).await
}

/// Starts a container for its restart policy, unless someone was faster.
pub(crate) async fn retry(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<()> {
    let _turn = cell.turn.lock().await;
    match launch(core, cell, Event::Retry).await {
        Err(error) if error.kind() == Kind::Unchanged => Ok(()),
        other => other,
    }
}

/// Starts a container in the caller's turn. `why` is `Start` or `Retry`.
pub(crate) async fn launch(core: &Arc<Core>, cell: &Arc<Cell>, why: Event) -> Result<()> {
    let name = cell.record().name.clone();
    if !cell.phase().is_running() {
        cell.until_settled().await;
    }
    let by_someone = why == Event::Start;
    cell.step(why, core.now())
        .context(|| format!("container {name}"))?;
    cell.set_boot(&core.boot);
    let started = match cell.save(&core.store, Durability::Process) {
        Ok(()) => attempt(core, cell).await,
        Err(error) => Err(Failure::before(error)),
    };
    match started {
        Ok(run) => {
            let run = Arc::new(run);
            let started = Event::Started {
                pid: run.monitor.pid(),
            };
            cell.set_run(Some(run.clone()));
            let actions = cell.step(started, core.now())?;
            // A state that could not be written says `Starting`, which is adopted just as well.
            cell.save_or_warn(&core.store, Durability::Process);
            // Told before anyone looks for the end: `start` comes before `die`.
            perform(core, cell, actions).await;
            supervise(core, cell, run);
            if by_someone {
                sync_soon(core, cell);
            }
            Ok(())
        }
        Err(failure) => Err(give_up(core, cell, failure)
            .await
            .within(format!("start {name}"))),
    }
}

/// What starts again with the machine must be known to have run after a power loss, too. Nobody waits
/// for the disk, and those who start with it are not held up by it: thirty that were synced at once
/// took a quarter longer to start.
fn sync_soon(core: &Arc<Core>, cell: &Arc<Cell>) {
    if cell.record().spec.restart == RestartPolicy::No {
        return;
    }
    let (inner, cell) = (core.clone(), cell.clone());
    core.spawn("sync a state", async move {
        tokio::time::sleep(SYNC_PAUSE).await;
        let work = move || {
            cell.save_or_warn(&inner.store, Durability::Synced);
            Ok(())
        };
        // It says by itself what fails.
        let _ = blocking(work).await;
    });
}

/// Why a start failed, and the exit code that says so.
pub(crate) struct Failure {
    pub code: i32,
    pub error: Error,
}

impl Failure {
    /// Something was wrong before the program's turn came. That a thing is missing is then no
    /// statement about the program.
    fn before(error: Error) -> Self {
        let error = match error.kind() {
            Kind::NotFound => error.with_kind(Kind::Invalid),
            _ => error,
        };
        Self { code: 125, error }
    }

    /// The runtime could not execute the program.
    fn of_program(error: Error) -> Self {
        let code = match error.kind() {
            Kind::NotFound => 127,
            Kind::Denied => 126,
            _ => 125,
        };
        Self { code, error }
    }
}

/// Undoes a start and says that it failed.
pub(crate) async fn give_up(core: &Arc<Core>, cell: &Arc<Cell>, failure: Failure) -> Error {
    let cleaned = tear_down(core, cell.id(), &core.cgroup_of(cell.id())).await;
    if let Err(error) = cleaned {
        tracing::warn!("{}", error.within("clean up after a failed start"));
    }
    cell.forget_run();
    let failed = Event::StartFailed {
        code: failure.code,
        error: failure.error.to_string(),
    };
    let actions = cell.step(failed, core.now()).unwrap_or_default();
    cell.save_or_warn(&core.store, Durability::Process);
    cell.settle();
    perform(core, cell, actions).await;
    failure.error
}

async fn attempt(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<Run, Failure> {
    let record = refresh_places(core, cell)?;
    let hostname = hostname(&record);
    let prepared = prepare(core, &record).map_err(Failure::before)?;
    let namespaces = connect(core, cell, &record)
        .await
        .map_err(Failure::before)?;
    let state = cell.state();
    let facts = {
        let write = || -> Result<Facts> {
            let files = generate(core, &record, &state, &hostname)?;
            Ok(Facts {
                rootfs: prepared.rootfs,
                cgroup: core.cgroup_of(&record.id),
                state_dir: prepared.state_dir,
                log: core.store.log(&record.id),
                namespaces,
                hostname,
                mounts: order(files, prepared.mounts),
                devices: devices::found(&record.spec.devices)?,
                block_io: devices::block_io(&record.spec.resources.block_io)?,
                machine: core.machine.clone(),
            })
        };
        write().map_err(Failure::before)?
    };
    // The sandbox is on disk before the program that uses it runs.
    cell.save(&core.store, Durability::Process)
        .map_err(Failure::before)?;
    let spec = translate::container(&record, facts).map_err(Failure::before)?;
    let monitor = core
        .runtime
        .start(&spec)
        .await
        .map_err(Failure::of_program)?;
    Ok(Run { monitor })
}

/// A network that was removed and made again has a new id: the container joins that one.
fn refresh_places(core: &Core, cell: &Cell) -> Result<Arc<ContainerRecord>, Failure> {
    let mut record = (*cell.record()).clone();
    let mut changed = false;
    for place in &mut record.places {
        if core.networks.get(&place.network).is_none() {
            let network = core
                .networks
                .find(&place.spec.network)
                .map_err(Failure::before)?;
            place.network = network.network.id;
            changed = true;
        }
    }
    if changed {
        core.store
            .save_container(&record)
            .map_err(Failure::before)?;
        cell.set_record(record);
    }
    Ok(cell.record())
}

/// What is found and made on disk before anything is made in the kernel.
struct Prepared {
    rootfs: Rootfs,
    state_dir: PathBuf,
    mounts: Vec<Mount>,
}

fn prepare(core: &Core, record: &ContainerRecord) -> Result<Prepared> {
    let image = Digest::parse(&record.image_id)?;
    let snapshot = core
        .images
        .snapshot(&record.id, &image)
        .context(|| format!("image {}", record.spec.image))?;
    let mounts = mounts::found(core, record)?;
    let state_dir = core.store.dirs().run_container(&record.id);
    fs::remove_dir_all(&state_dir)?;
    fs::create_dir_all(&state_dir, 0o700)?;
    fs::create_dir_all(&core.store.log_dir(&record.id), 0o700)?;
    Ok(Prepared {
        rootfs: Rootfs {
            lowers: snapshot.lowers,
            upper: snapshot.upper,
            work: snapshot.work,
            readonly: record.spec.read_only,
        },
        state_dir,
        mounts,
    })
}

/// Gives the container its namespaces, and its places on networks when it has its own.
async fn connect(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    record: &ContainerRecord,
) -> Result<Namespaces> {
    let net = match &record.spec.network_mode {
        NetworkMode::Host => Namespace::Host,
        NetworkMode::Container(other) => of_other(core, other, "net")?,
        NetworkMode::None => Namespace::Path(core.net.create_namespace(&record.id).await?),
        NetworkMode::Networks => {
            let namespace = core.net.create_namespace(&record.id).await?;
            let request = request(record, namespace.clone())?;
            let sandbox = core.net.attach(request).await?;
            cell.set_sandbox(Some(sandbox));
            Namespace::Path(namespace)
        }
    };
    let of = |mode: &NamespaceMode, name| match mode {
        NamespaceMode::Private => Ok(Namespace::New),
        NamespaceMode::Host => Ok(Namespace::Host),
        NamespaceMode::Container(other) => of_other(core, other, name),
    };
    Ok(Namespaces {
        net,
        ipc: of(&record.spec.ipc, "ipc")?,
        uts: of(&record.spec.uts, "uts")?,
        pid: of(&record.spec.pid, "pid")?,
        cgroup: of(&record.spec.cgroup, "cgroup")?,
    })
}

/// A namespace of another container, which must run.
fn of_other(core: &Core, other: &str, name: &str) -> Result<Namespace> {
    file_of_other(core, other, name).map(Namespace::Path)
}

fn file_of_other(core: &Core, other: &str, name: &str) -> Result<PathBuf> {
    let run = core
        .find(other)
        .and_then(|cell| cell.running())
        .context(|| format!("join the {name} namespace of container {other}"))?;
    Ok(run.monitor.namespace_path(name))
}

fn request(record: &ContainerRecord, namespace: PathBuf) -> Result<AttachRequest> {
    let spec = &record.spec;
    let endpoints = wiring::by_priority(&record.places)
        .into_iter()
        .map(|place| wiring::endpoint(place, &record.effective.hostname))
        .collect::<Result<_>>()?;
    Ok(AttachRequest {
        container: record.id.clone(),
        name: record.name.clone(),
        namespace,
        endpoints,
        ports: wiring::ports(spec, &record.effective)?,
        dns: spec
            .dns
            .iter()
            .filter_map(|server| server.parse().ok())
            .collect(),
        forwards: spec.privileged || capabilities(spec)?.contains(capability::NET_ADMIN),
    })
}

/// Writes the generated files, and says how they are mounted. A container in the network of another
/// one has that one's files.
fn generate(
    core: &Core,
    record: &ContainerRecord,
    state: &StateRecord,
    hostname: &str,
) -> Result<Vec<Mount>> {
    let owner = match &record.spec.network_mode {
        NetworkMode::Container(other) => core.find(other)?.id().clone(),
        _ => {
            write_files(core, record, state.sandbox.as_ref(), hostname)?;
            record.id.clone()
        }
    };
    let mut mounts: Vec<Mount> = files::FILES
        .iter()
        .map(|(name, target)| {
            let readonly = record.spec.read_only;
            translate::generated(core.store.generated(&owner, name), target, readonly)
        })
        .collect();
    if record.spec.api_socket {
        mounts.push(Mount::Bind {
            source: core.store.dirs().socket(),
            target: API_SOCKET.into(),
            readonly: false,
            submounts: Submounts::Leave,
            propagation: Propagation::Private,
        });
    }
    mounts.extend(shared_memory(core, record)?);
    Ok(mounts)
}

/// POSIX shared memory goes with the IPC namespace; a container with one of its own has its own.
fn shared_memory(core: &Core, record: &ContainerRecord) -> Result<Option<Mount>> {
    Ok(match &record.spec.ipc {
        NamespaceMode::Private => None,
        NamespaceMode::Host => Some(Mount::Bind {
            source: SHM.into(),
            target: SHM.into(),
            readonly: false,
            submounts: Submounts::Leave,
            propagation: Propagation::Private,
        }),
        NamespaceMode::Container(other) => Some(Mount::Joined {
            namespace: file_of_other(core, other, "mnt")?,
            path: SHM.into(),
            target: SHM.into(),
        }),
    })
}

/// Writes the generated files of a container with its own network.
pub(crate) fn write_files(
    core: &Core,
    record: &ContainerRecord,
    sandbox: Option<&Sandbox>,
    hostname: &str,
) -> Result<()> {
    let subject = Subject {
        spec: &record.spec,
        hostname,
        sandbox,
        resolv_conf: &core.resolv_conf,
    };
    files::write(&core.store.dirs().container(&record.id), &subject)
}

/// The container's own mounts over the generated ones, parents first.
pub(crate) fn order(generated: Vec<Mount>, own: Vec<Mount>) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = generated
        .into_iter()
        .filter(|mount| !own.iter().any(|other| other.target() == mount.target()))
        .collect();
    mounts.extend(own);
    mounts.sort_by_key(|mount| mount.target().split('/').count());
    mounts
}

/// Finds the merged view of an image in the background of a creation.
pub(crate) async fn fill_volumes(core: &Arc<Core>, record: &ContainerRecord) -> Result<()> {
    use orc_host::container::Mount::Volume;
    let wanted: Vec<(String, String)> = record
        .mounts
        .iter()
        .filter_map(|mount| match mount {
            Volume {
                name,
                target,
                no_copy: false,
                subpath: None,
                ..
            } => Some((name.clone(), target.clone())),
            _ => None,
        })
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let image = Digest::parse(&record.image_id)?;
    let snapshot = core.images.snapshot(&record.id, &image)?;
    let core = core.clone();
    blocking(move || {
        let root = crate::layers::open(&snapshot.lowers)?;
        wanted
            .iter()
            .try_for_each(|(name, target)| core.volumes.fill(name, &root, target))
    })
    .await
}
