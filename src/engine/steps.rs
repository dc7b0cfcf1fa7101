//! Runs the programs of build steps: as confined as containers, and in no list of them.
//!
//! A step is a container that has no record: what a start makes for it has names that follow from the
//! step's id and lies in its run directory, so the next daemon finds and removes it like that of any
//! container it does not know (`recover`). The layer shows nothing of it: `stubs` takes away what was
//! made for mounts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use orc_base::fs;
use orc_base::{Error, Kind, Result};
use orc_host::container::{ContainerSpec, NetworkMode, Resources, Ulimit};
use orc_host::image::ImageConfig;
use orc_image::build::graph::Network;
use orc_image::build::runner::{RunStep, StepMount, StepOutput, StepRunner};
use orc_net::model::{AttachRequest, Sandbox};
use orc_runtime::Monitor;
use orc_runtime::log::{LogReader, Stream};
use orc_runtime::spec::{LogSpec, Mount, Namespace, Namespaces, Propagation, Rootfs, Submounts};
use tokio::sync::{mpsc, oneshot, watch};

use crate::actions::tear_down;
use crate::agents::AgentSocket;
use crate::core::Core;
use crate::effective::effective;
use crate::files::{self, Subject};
use crate::logs;
use crate::records::{ContainerRecord, FORMAT};
use crate::start::order;
use crate::stubs::Stubs;
use crate::translate::{self, Facts};
use crate::validate::validate;
use crate::wiring;

/// What a step's program is told its machine is called: always the same, or no two builds would have
/// the same result.
const HOSTNAME: &str = "build";
/// How much of the output waits on disk for whoever reads it; what is older is lost when they are
/// slower than the program.
const LOG_BYTES: u64 = 8 << 20;
const LOG_FILES: u32 = 3;
/// How many pieces of output wait in memory.
const PIECES: usize = 64;
/// Where the kernel's file systems are mounted in every root.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// In which way the programs of one build run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Further lines of `/etc/hosts`.
    pub extra_hosts: Vec<(String, String)>,
    /// Size of `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// Limits of setrlimit(2).
    pub ulimits: Vec<Ulimit>,
    /// Limits of each program with its children.
    pub resources: Resources,
}

impl Settings {
    /// Refuses what no program could run in.
    pub(crate) fn check(&self) -> Result<()> {
        validate(&self.over(ContainerSpec::default())).map(drop)
    }

    fn over(&self, spec: ContainerSpec) -> ContainerSpec {
        ContainerSpec {
            extra_hosts: self.extra_hosts.clone(),
            shm_bytes: self.shm_bytes,
            ulimits: self.ulimits.clone(),
            resources: self.resources.clone(),
            ..spec
        }
    }
}

/// Runs the programs of one build.
pub(crate) struct Steps {
    core: Arc<Core>,
    settings: Settings,
    /// How many steps are not cleaned up yet.
    under_way: Arc<watch::Sender<usize>>,
    cancelled: watch::Sender<bool>,
}

impl Steps {
    /// For one build.
    pub(crate) fn new(core: Arc<Core>, settings: Settings) -> Self {
        Self {
            core,
            settings,
            under_way: Arc::new(watch::channel(0).0),
            cancelled: watch::channel(false).0,
        }
    }

    /// Ends the programs that run and lets no other begin; returns when nothing of them is left.
    pub(crate) async fn cancel(&self) {
        self.cancelled.send_replace(true);
        self.settled().await;
    }

    /// Waits until nothing is left of programs that have ended.
    pub(crate) async fn settled(&self) {
        let mut under_way = self.under_way.subscribe();
        // The sender is ours: it cannot be gone.
        let _ = under_way.wait_for(|count| *count == 0).await;
    }
}

/// Counts a step as long as it lives.
struct UnderWay(Arc<watch::Sender<usize>>);

impl UnderWay {
    fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[async_trait]
impl StepRunner for Steps {
    async fn run(&self, step: &RunStep, output: &StepOutput<'_>) -> Result<i32> {
        let (pieces, mut read) = mpsc::channel(PIECES);
        // Nothing is sent: it is closed when whoever waits has gone away.
        let (waiting, gone) = oneshot::channel::<()>();
        let run = Run {
            core: self.core.clone(),
            record: record(step, &self.settings, &self.core)?,
            step: step.clone(),
            pieces,
        };
        let count = UnderWay::new(&self.under_way);
        let mut cancelled = self.cancelled.subscribe();
        let work = tokio::spawn(async move {
            let cancelled = async move {
                tokio::select! {
                    _ = gone => {}
                    _ = cancelled.wait_for(|cancelled| *cancelled) => {}
                }
            };
            run.whole(cancelled, count).await
        });
        while let Some((stderr, bytes)) = read.recv().await {
            output(stderr, &bytes);
        }
        let ended = work.await;
        drop(waiting);
        ended.unwrap_or_else(|error| Err(Error::internal(format!("this is a bug in orc: {error}"))))
    }

    fn settings(&self) -> String {
        format!("{:?}", self.settings)
    }
}

/// A step as the record of a container, which is never written: one way to confine programs.
fn record(step: &RunStep, settings: &Settings, core: &Core) -> Result<ContainerRecord> {
    let mut env: BTreeMap<&str, &String> = BTreeMap::new();
    let mut names = Vec::with_capacity(step.env.len());
    for entry in &step.env {
        let name = entry.split('=').next().unwrap_or_default();
        if env.insert(name, entry).is_none() {
            names.push(name);
        }
    }
    let spec = settings.over(ContainerSpec {
        image: "a build step".into(),
        entrypoint: Some(Vec::new()),
        command: Some(step.argv.clone()),
        env: names.iter().map(|name| env[name].clone()).collect(),
        working_dir: Some(step.working_dir.clone()).filter(|dir| !dir.is_empty()),
        user: Some(step.user.clone()).filter(|user| !user.is_empty()),
        hostname: Some(HOSTNAME.into()),
        privileged: step.insecure,
        network_mode: match step.network {
            Network::Default => NetworkMode::Networks,
            Network::None => NetworkMode::None,
            Network::Host => NetworkMode::Host,
        },
        ..ContainerSpec::default()
    });
    Ok(ContainerRecord {
        format: FORMAT,
        name: format!("build-{}", step.id.short()).parse()?,
        created: core.now(),
        image_id: String::new(),
        effective: effective(&step.id, &spec, &ImageConfig::default())?,
        places: wiring::places(&spec, |network| core.networks.find(network))?,
        mounts: Vec::new(),
        anonymous: Vec::new(),
        files: Vec::new(),
        id: step.id.clone(),
        spec,
    })
}

/// One program from its start to its end.
struct Run {
    core: Arc<Core>,
    record: ContainerRecord,
    step: RunStep,
    pieces: mpsc::Sender<(bool, Vec<u8>)>,
}

impl Run {
    /// Runs it, and leaves nothing behind whatever happens. `count` ends with the last of it.
    async fn whole(self, cancel: impl Future<Output = ()> + Send, count: UnderWay) -> Result<i32> {
        let stubs = self.stubs()?;
        let ended = self.start_to_end(cancel).await;
        // Output is over as soon as whoever reads it has seen the end of the channel.
        let Self {
            core, step, record, ..
        } = self;
        // No process is left, so the layer can be looked at while the rest goes. What is left when
        // the daemon is killed here is found by the next one.
        tokio::spawn(async move {
            let _count = count;
            let id = &record.id;
            if let Err(error) = tear_down(&core, id, &core.cgroup_of(id)).await {
                tracing::warn!("{}", error.within("clean up after a build step"));
            }
        });
        let code = ended?;
        stubs.remove(&step.rootfs.upper)?;
        Ok(code)
    }

    /// All places where something is mounted and that the root does not have.
    fn stubs(&self) -> Result<Stubs> {
        let own = self.step.mounts.iter().map(|mount| match mount {
            StepMount::Bind { target, .. }
            | StepMount::Tmpfs { target, .. }
            | StepMount::Agent { target, .. } => target.as_str(),
        });
        let generated = files::FILES.iter().map(|(_, target)| *target);
        Stubs::find(
            &self.step.rootfs.lowers,
            KERNEL.into_iter().chain(generated).chain(own),
        )
    }

    async fn start_to_end(&self, cancel: impl Future<Output = ()> + Send) -> Result<i32> {
        let mut cancel = std::pin::pin!(cancel);
        let directory = self.core.store.dirs().run_container(&self.record.id);
        let log = directory.join("log");
        // Before the first thing that the next daemon may have to remove.
        fs::create_dir_all(&log, 0o700)?;
        let tail = self.core.tails.watch(&log);
        let log = log.join("log");
        let (monitor, _agents) = tokio::select! {
            biased;
            () = &mut cancel => return Err(cancelled()),
            started = self.start(&directory, &log) => started?,
        };
        let mut reader = LogReader::from_start(&log);
        let mut over = None;
        loop {
            while let Some(record) = logs::read(&mut reader)? {
                let piece = (record.stream == Stream::Stderr, record.bytes);
                if self.pieces.send(piece).await.is_err() {
                    break;
                }
            }
            // The monitor has written everything before it tells of the end.
            if let Some(code) = over {
                return Ok(code);
            }
            tokio::select! {
                exit = monitor.wait() => over = Some(exit.code),
                found = tail.grown(|| logs::read(&mut reader).transpose()) => {
                    if let Some(record) = found.transpose()? {
                        let piece = (record.stream == Stream::Stderr, record.bytes);
                        // Nobody reads: `cancel` says so, too.
                        let _ = self.pieces.send(piece).await;
                    }
                }
                () = &mut cancel => {
                    let _ = monitor.signal(orc_runtime::signal::KILL);
                    monitor.wait().await;
                    return Err(cancelled());
                }
            }
        }
    }

    async fn start(&self, directory: &Path, log: &Path) -> Result<(Monitor, Vec<AgentSocket>)> {
        let (net, sandbox) = self.connect().await?;
        let generated = directory.join("files");
        fs::create_dir_all(&generated, 0o700)?;
        let hostname = crate::system::hostname(&self.record);
        let subject = Subject {
            spec: &self.record.spec,
            hostname: &hostname,
            sandbox: sandbox.as_ref(),
            resolv_conf: &self.core.resolv_conf,
        };
        files::write(&generated, &subject)?;
        let mut mounts: Vec<Mount> = files::FILES
            .iter()
            .map(|(name, target)| translate::generated(generated.join(name), target, false))
            .collect();
        let (own, agents) = self.mounts(directory)?;
        mounts = order(mounts, own);
        let facts = Facts {
            rootfs: Rootfs {
                lowers: self.step.rootfs.lowers.clone(),
                upper: self.step.rootfs.upper.clone(),
                work: self.step.rootfs.work.clone(),
                readonly: false,
            },
            cgroup: self.core.cgroup_of(&self.record.id),
            state_dir: directory.to_owned(),
            log: log.to_owned(),
            namespaces: Namespaces {
                net,
                ..Namespaces::default()
            },
            hostname,
            mounts,
            devices: Vec::new(),
            block_io: Default::default(),
            machine: self.core.machine.clone(),
        };
        let mut spec = translate::container(&self.record, facts)?;
        spec.log = Some(LogSpec {
            path: log.to_owned(),
            max_bytes: LOG_BYTES,
            max_files: LOG_FILES,
        });
        let monitor = self.core.runtime.start(&spec).await?;
        Ok((monitor, agents))
    }

    /// Its network namespace, with the default network in it when it has one.
    async fn connect(&self) -> Result<(Namespace, Option<Sandbox>)> {
        let (core, record) = (&self.core, &self.record);
        let prepared = async {
            if self.step.network == Network::Host {
                return Ok((Namespace::Host, None));
            }
            let namespace = core.net.create_namespace(&record.id).await?;
            if self.step.network == Network::None {
                return Ok((Namespace::Path(namespace), None));
            }
            let endpoints = record
                .places
                .iter()
                .map(|place| wiring::endpoint(place, &record.effective.hostname))
                .collect::<Result<_>>()?;
            let request = AttachRequest {
                container: record.id.clone(),
                name: record.name.clone(),
                namespace: namespace.clone(),
                endpoints,
                ports: Vec::new(),
                dns: Vec::new(),
                forwards: record.spec.privileged,
            };
            let sandbox = core.net.attach(request).await?;
            Ok((Namespace::Path(namespace), Some(sandbox)))
        };
        // That a network is missing is no statement about the program.
        prepared.await.map_err(|error: Error| match error.kind() {
            Kind::NotFound => error.with_kind(Kind::Unavailable),
            _ => error,
        })
    }

    fn mounts(&self, directory: &Path) -> Result<(Vec<Mount>, Vec<AgentSocket>)> {
        let (mut mounts, mut agents) = (Vec::new(), Vec::new());
        let bind = |source: std::path::PathBuf, target: &String, readonly| Mount::Bind {
            source,
            target: target.clone(),
            readonly,
            submounts: Submounts::Leave,
            propagation: Propagation::Private,
        };
        for mount in &self.step.mounts {
            mounts.push(match mount {
                StepMount::Bind {
                    source,
                    target,
                    readonly,
                } => bind(source.clone(), target, *readonly),
                StepMount::Tmpfs { target, size_bytes } => Mount::Tmpfs {
                    target: target.clone(),
                    size_bytes: *size_bytes,
                    mode: None,
                    uid: None,
                    gid: None,
                    readonly: false,
                    exec: true,
                },
                StepMount::Agent {
                    socket,
                    target,
                    mode,
                    owner,
                } => {
                    let at = directory.join(format!("agent-{}", agents.len()));
                    agents.push(AgentSocket::open(&at, socket.clone(), *mode, *owner)?);
                    bind(at, target, false)
                }
            });
        }
        Ok((mounts, agents))
    }
}

fn cancelled() -> Error {
    Error::unavailable("the build was cancelled")
}
