//! A machine in memory: every call of [`Host`] answered as a real one would, without any effect.
//!
//! Containers run the programs of [`program`]; tests set health with [`FakeHost::set_health`] and
//! let containers end with [`FakeHost::exit`]. Everything it did is kept as text in
//! [`FakeHost::calls`], in order. One lock holds all; whoever waits is woken by every change.

mod program;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;
use orc_base::{Clock, Error, Id, Name, Result, Time};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::Host;
use crate::container::{
    Container, ContainerFilter, ContainerSpec, Created, Exit, Health, HealthStatus, Mount,
    MountKind, MountPoint, NetworkMode, RemoveOptions, RestartPolicy, State, Top, WaitFor,
};
use crate::event::{Event, EventFilter, Subject};
use crate::exec::{Exec, ExecSpec};
use crate::fake::program::{Ends, Program};
use crate::image::{Credentials, Image, ImageConfig, ImportSource, Progress, Removal};
use crate::network::{
    AddressPool, Endpoint, EndpointSpec, Network, NetworkEndpoint, NetworkSpec, PublishedPort,
};
use crate::stream::{Attached, Bytes, Chunk, LogLine, LogOptions, Output, Stream, TerminalSize};
use crate::system::Info;
use crate::volume::{Volume, VolumeSpec};

/// A machine in memory. Clones share it.
#[derive(Clone)]
pub struct FakeHost {
    world: Arc<Mutex<World>>,
    changed: Arc<watch::Sender<u64>>,
    clock: Arc<dyn Clock>,
}

struct World {
    containers: BTreeMap<String, Entry>,
    execs: BTreeMap<String, Exec>,
    images: Vec<Image>,
    /// What registries hold: a pull copies from here.
    remote: Vec<Image>,
    networks: Vec<Network>,
    volumes: BTreeMap<String, Volume>,
    /// How containers that are gone had ended, for those who wait for the removal.
    ends: BTreeMap<String, Exit>,
    events: Vec<Event>,
    calls: Vec<String>,
    order: u64,
    next_address: u32,
}

struct Entry {
    container: Container,
    order: u64,
    log: Vec<LogLine>,
    input: VecDeque<u8>,
    input_ended: bool,
    exits: u64,
}

impl FakeHost {
    /// A machine with a network named `bridge` and nothing else.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let host = Self {
            world: Arc::new(Mutex::new(World {
                containers: BTreeMap::new(),
                execs: BTreeMap::new(),
                images: Vec::new(),
                remote: Vec::new(),
                networks: Vec::new(),
                volumes: BTreeMap::new(),
                ends: BTreeMap::new(),
                events: Vec::new(),
                calls: Vec::new(),
                order: 0,
                next_address: u32::from(Ipv4Addr::new(172, 30, 0, 2)),
            })),
            changed: Arc::new(watch::channel(0).0),
            clock,
        };
        let bridge = NetworkSpec {
            name: "bridge".into(),
            ..NetworkSpec::default()
        };
        host.lock().add_network(&bridge, host.clock.now());
        host
    }

    /// Puts an image on the machine.
    pub fn add_image(&self, reference: &str, config: ImageConfig) {
        let image = self.image(reference, config);
        self.lock().images.push(image);
    }

    /// Puts an image where a pull finds it.
    pub fn add_remote_image(&self, reference: &str, config: ImageConfig) {
        let image = self.image(reference, config);
        self.lock().remote.push(image);
    }

    fn image(&self, reference: &str, config: ImageConfig) -> Image {
        Image {
            id: format!("sha256:{}", Id::random()),
            tags: vec![with_tag(reference)],
            digests: Vec::new(),
            created: Some(self.clock.now()),
            size_bytes: 1_000_000,
            architecture: "amd64".into(),
            variant: String::new(),
            os: "linux".into(),
            config,
            layers: vec![format!("sha256:{}", Id::random())],
            author: String::new(),
            history: Vec::new(),
        }
    }

    /// What was done to this machine, in order: `create web`, `start web`, `remove web`, …
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Forgets [`FakeHost::calls`].
    pub fn clear_calls(&self) {
        self.lock().calls.clear();
    }

    /// Lets a container's program end.
    pub fn exit(&self, name: &str, code: i32) -> Result<()> {
        let id = self.lock().find(name)?;
        self.finish(&id, code, false);
        Ok(())
    }

    /// Sets what the health checks of a running container find.
    pub fn set_health(&self, name: &str, status: HealthStatus) -> Result<()> {
        let mut world = self.lock();
        let id = world.find(name)?;
        let entry = world.entry(&id)?;
        entry.container.health = Some(Health {
            status,
            failing_streak: u32::from(status == HealthStatus::Unhealthy),
            log: Vec::new(),
        });
        let action = format!("health_status: {}", status.as_str());
        world.emit_container(self.clock.now(), &id, &action, &[]);
        drop(world);
        self.wake();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Waits until `look` sees something.
    async fn until<T>(&self, mut look: impl FnMut(&mut World) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(found) = look(&mut self.lock()) {
                return found;
            }
            // The sender lives in `self`, so the channel is open.
            let _ = changes.changed().await;
        }
    }

    fn run(&self, id: &str) -> Result<()> {
        let now = self.clock.now();
        let mut world = self.lock();
        let entry = world.entry(id)?;
        if entry.container.state.is_running() {
            return Err(Error::new(
                orc_base::Kind::Unchanged,
                format!("container {} is running already", entry.container.name),
            ));
        }
        let name = entry.container.name.clone();
        let args = entry.container.args.clone();
        let Some(program) = program::parse(&args) else {
            let message = format!(
                "exec `{}`: no such file or directory in the image",
                args.first().map_or("", String::as_str)
            );
            entry.container.state = State::Created {
                exit: Some(Exit {
                    code: 127,
                    error: Some(message.clone()),
                    oom_killed: false,
                    started_at: None,
                    finished_at: now,
                }),
            };
            return Err(Error::not_found(message).within(format!("start {name}")));
        };
        entry.container.state = State::Running {
            pid: 4_000 + i32::try_from(entry.order).unwrap_or(0),
            started_at: now,
        };
        entry.container.health = entry.container.healthcheck.as_ref().map(|_| Health {
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: Vec::new(),
        });
        entry.print(&program, now);
        world.connect_all(id);
        world.calls.push(format!("start {name}"));
        world.emit_container(now, id, "start", &[]);
        drop(world);
        self.wake();
        match program.ends {
            Ends::With(code) => self.finish(id, code, false),
            Ends::Never => self.probe(id),
            Ends::WithInput => self.echo(id),
        }
        Ok(())
    }

    /// Runs the health check of a container whose program goes on.
    fn probe(&self, id: &str) {
        let check = self
            .lock()
            .entry(id)
            .ok()
            .and_then(|entry| entry.container.healthcheck.clone());
        let Some((check, (_, command))) = check
            .as_ref()
            .and_then(|check| Some((check, check.test.split_first()?)))
        else {
            return;
        };
        // Tests that set health by hand give a check without a command.
        let Some(program) = program::parse(command) else {
            return;
        };
        let status = match program.ends {
            Ends::With(0) => HealthStatus::Healthy,
            _ => HealthStatus::Unhealthy,
        };
        let (host, id) = (self.clone(), id.to_owned());
        let interval = check.interval.unwrap_or(Duration::from_secs(30));
        tokio::spawn(async move {
            tokio::time::sleep(interval).await;
            let _ = host.set_health(&id, status);
        });
    }

    /// Prints what the container reads until its input ends.
    fn echo(&self, id: &str) {
        let (host, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            let ended = |world: &mut World| {
                let entry = world.entry(&id).ok()?;
                (entry.input_ended || !entry.container.spec.open_stdin)
                    .then(|| std::mem::take(&mut entry.input))
            };
            let input = Vec::from(host.until(ended).await);
            let now = host.clock.now();
            if let Ok(entry) = host.lock().entry(&id)
                && !input.is_empty()
            {
                let bytes = input.into();
                entry.log.push(LogLine {
                    output: Output::Stdout,
                    time: now,
                    bytes,
                });
            }
            host.finish(&id, 0, false);
        });
    }

    fn finish(&self, id: &str, code: i32, stopped: bool) {
        let now = self.clock.now();
        let mut world = self.lock();
        let Ok(entry) = world.entry(id) else { return };
        let (State::Running { started_at, .. } | State::Paused { started_at, .. }) =
            entry.container.state
        else {
            return;
        };
        let exit = Exit {
            code,
            error: None,
            oom_killed: false,
            started_at: Some(started_at),
            finished_at: now,
        };
        entry.exits += 1;
        entry.container.health = None;
        let again = !stopped
            && match entry.container.spec.restart {
                RestartPolicy::No => false,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
                RestartPolicy::OnFailure { max_retries } => {
                    code != 0 && max_retries.is_none_or(|most| entry.container.restart_count < most)
                }
            };
        entry.container.state = match again {
            true => State::Restarting { exit },
            false => State::Exited { exit },
        };
        entry.container.restart_count += u32::from(again);
        let remove = entry.container.spec.auto_remove && !again;
        world.disconnect_all(id);
        let code = code.to_string();
        world.emit_container(now, id, "die", &[("exitCode", &code)]);
        if remove {
            world.remove(id, true, now);
        }
        drop(world);
        self.wake();
        if again {
            let (host, id) = (self.clone(), id.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let _ = host.run(&id);
            });
        }
    }

    fn container(&self, name: &str) -> Result<Container> {
        let mut world = self.lock();
        let id = world.find(name)?;
        Ok(world.entry(&id)?.container.clone())
    }

    /// What a container printed from its `from`th chunk on, until it stops running.
    fn output(&self, id: String, from: usize) -> Stream<LogLine> {
        let host = self.clone();
        Box::pin(stream::unfold(
            (host, id, from),
            |(host, id, from)| async move {
                let next = host
                    .until(|world| match world.containers.get(&id) {
                        None => Some(None),
                        Some(entry) => match entry.log.get(from) {
                            Some(line) => Some(Some(line.clone())),
                            None if entry.container.state.exit().is_some() => Some(None),
                            None => None,
                        },
                    })
                    .await?;
                Some((Ok(next), (host, id, from + 1)))
            },
        ))
    }

    /// The input of a container: what is written is kept, the end is remembered.
    fn input(&self, id: String) -> tokio::io::DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let host = self.clone();
        tokio::spawn(async move {
            let mut ours = ours;
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = ours.read(&mut buffer).await {
                if let Ok(entry) = host.lock().entry(&id) {
                    entry.input.extend(&buffer[..count]);
                }
            }
            if let Ok(entry) = host.lock().entry(&id) {
                entry.input_ended = true;
            }
            host.wake();
        });
        theirs
    }
}

impl Entry {
    fn print(&mut self, program: &Program, now: Time) {
        for (output, text) in &program.prints {
            self.log.push(LogLine {
                output: *output,
                time: now,
                bytes: Bytes::from(text.clone()),
            });
        }
    }
}

impl World {
    fn find(&self, name: &str) -> Result<String> {
        let name = name.trim_start_matches('/');
        let named = self
            .containers
            .values()
            .find(|entry| entry.container.name == name);
        if let Some(entry) = named {
            return Ok(entry.container.id.clone());
        }
        let mut ids = self
            .containers
            .keys()
            .filter(|id| !name.is_empty() && id.starts_with(name));
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(id.clone()),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "several containers have an id that begins with {name}"
            ))),
            (None, _) => Err(Error::not_found(format!("No such container: {name}"))),
        }
    }

    fn entry(&mut self, id: &str) -> Result<&mut Entry> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| Error::not_found(format!("No such container: {id}")))
    }

    fn find_image(&self, name: &str) -> Result<&Image> {
        let tag = with_tag(name);
        let hex = name.trim_start_matches("sha256:");
        self.images
            .iter()
            .find(|image| {
                image.tags.contains(&tag) || (hex.len() >= 4 && image.id[7..].starts_with(hex))
            })
            .ok_or_else(|| Error::not_found(format!("No such image: {tag}")))
    }

    fn find_network(&mut self, name: &str) -> Result<&mut Network> {
        self.networks
            .iter_mut()
            .find(|network| network.spec.name == name || network.id == name)
            .ok_or_else(|| Error::not_found(format!("network {name} not found")))
    }

    fn add_network(&mut self, spec: &NetworkSpec, now: Time) -> String {
        let mut spec = spec.clone();
        let third = self.networks.len() as u8;
        if spec.driver.is_empty() {
            spec.driver = "bridge".into();
        }
        if spec.ipam.is_empty() {
            spec.ipam.push(AddressPool {
                subnet: Some(format!("172.30.{third}.0/24")),
                gateway: Some(IpAddr::V4(Ipv4Addr::new(172, 30, third, 1))),
                ..AddressPool::default()
            });
        }
        let id = Id::random().to_string();
        self.networks.push(Network {
            id: id.clone(),
            spec,
            created: now,
            endpoints: Vec::new(),
        });
        id
    }

    fn add_volume(&mut self, spec: &VolumeSpec, now: Time) -> Volume {
        let anonymous = spec.name.is_empty();
        let name = match anonymous {
            true => Id::random().to_string(),
            false => spec.name.clone(),
        };
        let volume = Volume {
            mountpoint: format!("/fake/volumes/{name}/_data"),
            name: name.clone(),
            driver: "local".into(),
            options: spec.options.clone(),
            labels: spec.labels.clone(),
            created: now,
            anonymous,
        };
        self.volumes.entry(name).or_insert(volume).clone()
    }

    /// Gives a container that begins to run its addresses.
    fn connect_all(&mut self, id: &str) {
        let Some(entry) = self.containers.get_mut(id) else {
            return;
        };
        let container = &mut entry.container;
        for endpoint in &mut container.endpoints {
            let address = endpoint.spec.ipv4.unwrap_or_else(|| {
                self.next_address += 1;
                Ipv4Addr::from(self.next_address)
            });
            endpoint.address = Some(address);
            endpoint.prefix = 24;
            endpoint.gateway = Some(Ipv4Addr::new(172, 30, 0, 1));
            endpoint.mac = Some("02:42:ac:1e:00:02".into());
            let network = self
                .networks
                .iter_mut()
                .find(|network| network.id == endpoint.network_id);
            if let Some(network) = network {
                network.endpoints.push(NetworkEndpoint {
                    container: container.id.clone(),
                    name: container.name.clone(),
                    address,
                    prefix: 24,
                    mac: "02:42:ac:1e:00:02".into(),
                });
            }
        }
        container.published = container
            .spec
            .ports
            .iter()
            .map(|binding| PublishedPort {
                port: binding.port,
                host_ip: binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                host_port: binding.host_ports.map_or(40_000, |(first, _)| first),
            })
            .collect();
    }

    fn disconnect_all(&mut self, id: &str) {
        for network in &mut self.networks {
            network
                .endpoints
                .retain(|endpoint| endpoint.container != id);
        }
        if let Some(entry) = self.containers.get_mut(id) {
            entry.container.published.clear();
            for endpoint in &mut entry.container.endpoints {
                endpoint.address = None;
                endpoint.gateway = None;
                endpoint.mac = None;
                endpoint.prefix = 0;
            }
        }
    }

    fn remove(&mut self, id: &str, volumes: bool, now: Time) {
        self.emit_container(now, id, "destroy", &[]);
        let Some(entry) = self.containers.remove(id) else {
            return;
        };
        if let Some(exit) = entry.container.state.exit() {
            self.ends.insert(id.into(), exit.clone());
        }
        for mount in entry.container.mounts {
            if let Some(name) = mount.name
                && volumes
                && self
                    .volumes
                    .get(&name)
                    .is_some_and(|volume| volume.anonymous)
            {
                self.volumes.remove(&name);
            }
        }
    }

    fn emit(&mut self, time: Time, subject: Subject, action: &str, id: &str, name: &str) {
        self.events.push(Event {
            time,
            subject,
            action: action.into(),
            id: id.into(),
            attributes: BTreeMap::from([("name".into(), name.into())]),
        });
    }

    fn emit_container(&mut self, time: Time, id: &str, action: &str, more: &[(&str, &str)]) {
        let Some(entry) = self.containers.get(id) else {
            return;
        };
        let mut attributes = entry.container.labels.clone();
        attributes.insert("name".into(), entry.container.name.clone());
        attributes.insert("image".into(), entry.container.spec.image.clone());
        attributes.extend(
            more.iter()
                .map(|(key, value)| ((*key).into(), (*value).into())),
        );
        self.events.push(Event {
            time,
            subject: Subject::Container,
            action: action.into(),
            id: id.into(),
            attributes,
        });
    }

    fn endpoints(&mut self, spec: &ContainerSpec, name: &str, id: &str) -> Result<Vec<Endpoint>> {
        if spec.network_mode != NetworkMode::Networks {
            return Ok(Vec::new());
        }
        let bridge = [EndpointSpec {
            network: "bridge".into(),
            ..EndpointSpec::default()
        }];
        let wanted = match spec.networks.is_empty() {
            true => &bridge[..],
            false => &spec.networks,
        };
        wanted
            .iter()
            .map(|endpoint| self.endpoint(endpoint, name, id))
            .collect()
    }

    fn endpoint(&mut self, spec: &EndpointSpec, name: &str, id: &str) -> Result<Endpoint> {
        let network = self.find_network(&spec.network)?;
        let names = [name.to_owned(), id[..Id::SHORT].to_owned()];
        Ok(Endpoint {
            spec: spec.clone(),
            network_name: network.spec.name.clone(),
            network_id: network.id.clone(),
            address: None,
            prefix: 0,
            gateway: None,
            mac: None,
            dns_names: names
                .into_iter()
                .chain(spec.aliases.iter().cloned())
                .collect(),
        })
    }

    fn mounts(&mut self, spec: &ContainerSpec, image: &ImageConfig, now: Time) -> Vec<MountPoint> {
        let mut mounts: Vec<MountPoint> = Vec::new();
        for mount in &spec.mounts {
            mounts.push(match mount {
                Mount::Bind {
                    source,
                    target,
                    read_only,
                    ..
                } => MountPoint {
                    kind: MountKind::Bind,
                    name: None,
                    source: source.display().to_string(),
                    target: target.clone(),
                    read_only: *read_only,
                },
                Mount::Tmpfs { target, .. } => MountPoint {
                    kind: MountKind::Tmpfs,
                    name: None,
                    source: String::new(),
                    target: target.clone(),
                    read_only: false,
                },
                Mount::Volume {
                    name,
                    target,
                    read_only,
                    ..
                } => self.volume_mount(name, target, *read_only, now),
            });
        }
        for target in spec.anonymous_volumes.iter().chain(&image.volumes) {
            if !mounts.iter().any(|mount| mount.target == *target) {
                let mount = self.volume_mount("", target, false, now);
                mounts.push(mount);
            }
        }
        mounts
    }

    fn volume_mount(&mut self, name: &str, target: &str, read_only: bool, now: Time) -> MountPoint {
        let spec = VolumeSpec {
            name: name.into(),
            ..VolumeSpec::default()
        };
        let volume = self.add_volume(&spec, now);
        MountPoint {
            kind: MountKind::Volume,
            name: Some(volume.name),
            source: volume.mountpoint,
            target: target.into(),
            read_only,
        }
    }
}

fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    match last.contains([':', '@']) {
        true => reference.into(),
        false => format!("{reference}:latest"),
    }
}

/// The image's environment with the container's over it.
fn merge_env(image: &[String], container: &[String]) -> Vec<String> {
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut merged: Vec<String> = image
        .iter()
        .filter(|entry| !container.iter().any(|over| key(over) == key(entry)))
        .cloned()
        .collect();
    merged.extend(
        container
            .iter()
            .filter(|entry| entry.contains('='))
            .cloned(),
    );
    merged
}

fn done<T: Send + 'static>(items: Vec<T>) -> Stream<T> {
    Box::pin(stream::iter(items.into_iter().map(Ok)))
}

/// How a program ends on a signal, when it handles none.
fn killed_by(signal: Option<&str>) -> Result<Option<i32>> {
    let signal = signal.unwrap_or("KILL").trim_start_matches("SIG");
    match signal {
        "KILL" | "9" => Ok(Some(137)),
        // A first process does not die of a signal that it has no handler for (pid_namespaces(7)).
        "TERM" | "15" | "INT" | "2" | "HUP" | "1" | "USR1" | "10" | "WINCH" | "28" => Ok(None),
        _ => Err(Error::invalid(format!("`{signal}` is not a signal"))),
    }
}

#[async_trait]
impl Host for FakeHost {
    async fn info(&self) -> Result<Info> {
        let world = self.lock();
        let running = world
            .containers
            .values()
            .filter(|entry| entry.container.state.is_running())
            .count();
        Ok(Info {
            name: "fake".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            operating_system: "memory".into(),
            architecture: "x86_64".into(),
            kernel: "6.18.0".into(),
            cpus: 2,
            memory_bytes: 1 << 30,
            cgroup_version: 2,
            data_root: "/fake".into(),
            running,
            stopped: world.containers.len() - running,
            images: world.images.len(),
            ..Info::default()
        })
    }

    async fn events(&self, filter: EventFilter) -> Result<Stream<Event>> {
        let from = match filter.since {
            Some(_) => 0,
            None => self.lock().events.len(),
        };
        if filter.until.is_some() {
            let past = self
                .lock()
                .events
                .iter()
                .filter(|event| filter.matches(event))
                .cloned()
                .collect();
            return Ok(done(past));
        }
        let state = (self.clone(), filter, from);
        Ok(Box::pin(stream::unfold(
            state,
            |(host, filter, mut from)| async move {
                let event = host
                    .until(|world| {
                        let at = world.events[from..]
                            .iter()
                            .position(|event| filter.matches(event))?;
                        from += at + 1;
                        Some(world.events[from - 1].clone())
                    })
                    .await;
                Some((Ok(event), (host, filter, from)))
            },
        )))
    }

    async fn create_container(&self, name: Option<&str>, spec: &ContainerSpec) -> Result<Created> {
        let now = self.clock.now();
        let id = Id::random().to_string();
        let name = match name {
            Some(name) => name.parse::<Name>()?.to_string(),
            None => format!("fake_{}", &id[..8]),
        };
        let mut world = self.lock();
        if world
            .containers
            .values()
            .any(|entry| entry.container.name == name)
        {
            return Err(Error::conflict(format!(
                "The container name \"/{name}\" is already in use"
            )));
        }
        let image = world.find_image(&spec.image)?.clone();
        let endpoints = world.endpoints(spec, &name, &id)?;
        let mounts = world.mounts(spec, &image.config, now);
        let entrypoint = spec.entrypoint.clone().or(image.config.entrypoint.clone());
        let command = match (&spec.command, &spec.entrypoint) {
            (Some(command), _) => command.clone(),
            (None, Some(_)) => Vec::new(),
            (None, None) => image.config.command.clone().unwrap_or_default(),
        };
        let mut labels = image.config.labels.clone();
        labels.extend(spec.labels.clone());
        let check = spec
            .healthcheck
            .clone()
            .or(image.config.healthcheck.clone());
        let container = Container {
            id: id.clone(),
            name: name.clone(),
            spec: spec.clone(),
            created: now,
            image_id: image.id.clone(),
            args: entrypoint
                .unwrap_or_default()
                .into_iter()
                .chain(command)
                .collect(),
            env: merge_env(&image.config.env, &spec.env),
            working_dir: spec.working_dir.clone().unwrap_or_else(|| "/".into()),
            labels,
            healthcheck: check
                .filter(|check| check.test.first().is_some_and(|kind| kind != "NONE")),
            stop_signal: spec.stop_signal.clone().unwrap_or_else(|| "SIGTERM".into()),
            hostname: spec
                .hostname
                .clone()
                .unwrap_or_else(|| id[..Id::SHORT].into()),
            state: State::Created { exit: None },
            health: None,
            restart_count: 0,
            mounts,
            endpoints,
            published: Vec::new(),
            log_path: format!("/fake/containers/{id}/log"),
            cgroup: format!("/fake/{id}"),
        };
        if container.args.is_empty() {
            return Err(Error::invalid("no command specified"));
        }
        world.order += 1;
        let entry = Entry {
            container,
            order: world.order,
            log: Vec::new(),
            input: VecDeque::new(),
            input_ended: false,
            exits: 0,
        };
        world.containers.insert(id.clone(), entry);
        world.calls.push(format!("create {name}"));
        world.emit_container(now, &id, "create", &[]);
        drop(world);
        self.wake();
        Ok(Created {
            id,
            warnings: Vec::new(),
        })
    }

    async fn start_container(&self, name: &str) -> Result<()> {
        let id = self.lock().find(name)?;
        self.run(&id)
    }

    async fn stop_container(&self, name: &str, _timeout: Option<Duration>) -> Result<()> {
        let container = self.container(name)?;
        if !container.state.is_running() && !matches!(container.state, State::Restarting { .. }) {
            return Err(Error::new(
                orc_base::Kind::Unchanged,
                format!("container {} is not running", container.name),
            ));
        }
        self.lock().calls.push(format!("stop {}", container.name));
        self.finish(&container.id, 137, true);
        let now = self.clock.now();
        self.lock().emit_container(now, &container.id, "stop", &[]);
        self.wake();
        Ok(())
    }

    async fn kill_container(&self, name: &str, signal: Option<&str>) -> Result<()> {
        let container = self.container(name)?;
        let code = killed_by(signal)?;
        if !container.state.is_running() {
            return Err(Error::conflict(format!(
                "container {} is not running",
                container.name
            )));
        }
        self.lock().calls.push(format!("kill {}", container.name));
        if let Some(code) = code {
            self.finish(&container.id, code, true);
        }
        Ok(())
    }

    async fn restart_container(&self, name: &str, timeout: Option<Duration>) -> Result<()> {
        match self.stop_container(name, timeout).await {
            Err(error) if error.kind() != orc_base::Kind::Unchanged => return Err(error),
            _ => {}
        }
        self.start_container(name).await
    }

    async fn pause_container(&self, name: &str) -> Result<()> {
        let mut world = self.lock();
        let id = world.find(name)?;
        let entry = world.entry(&id)?;
        let State::Running { pid, started_at } = entry.container.state else {
            return Err(Error::conflict(format!("container {name} is not running")));
        };
        entry.container.state = State::Paused { pid, started_at };
        world.emit_container(self.clock.now(), &id, "pause", &[]);
        drop(world);
        self.wake();
        Ok(())
    }

    async fn unpause_container(&self, name: &str) -> Result<()> {
        let mut world = self.lock();
        let id = world.find(name)?;
        let entry = world.entry(&id)?;
        let State::Paused { pid, started_at } = entry.container.state else {
            return Err(Error::conflict(format!("container {name} is not paused")));
        };
        entry.container.state = State::Running { pid, started_at };
        world.emit_container(self.clock.now(), &id, "unpause", &[]);
        drop(world);
        self.wake();
        Ok(())
    }

    async fn rename_container(&self, name: &str, new_name: &str) -> Result<()> {
        let new_name = new_name.parse::<Name>()?.to_string();
        let mut world = self.lock();
        let id = world.find(name)?;
        if world
            .containers
            .values()
            .any(|entry| entry.container.name == new_name)
        {
            return Err(Error::conflict(format!(
                "The container name \"/{new_name}\" is already in use"
            )));
        }
        let old = std::mem::replace(&mut world.entry(&id)?.container.name, new_name.clone());
        world.calls.push(format!("rename {old} {new_name}"));
        world.emit_container(
            self.clock.now(),
            &id,
            "rename",
            &[("oldName", &format!("/{old}"))],
        );
        drop(world);
        self.wake();
        Ok(())
    }

    async fn remove_container(&self, name: &str, options: RemoveOptions) -> Result<()> {
        let container = self.container(name)?;
        if container.state.is_running() {
            if !options.force {
                return Err(Error::conflict(format!(
                    "container {} is running: stop it first, or remove it by force",
                    container.name
                )));
            }
            self.finish(&container.id, 137, true);
        }
        let now = self.clock.now();
        let mut world = self.lock();
        world.calls.push(format!("remove {}", container.name));
        world.remove(&container.id, options.volumes, now);
        drop(world);
        self.wake();
        Ok(())
    }

    async fn inspect_container(&self, name: &str) -> Result<Container> {
        self.container(name)
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        let world = self.lock();
        let mut entries: Vec<&Entry> = world
            .containers
            .values()
            .filter(|entry| filter.matches(&entry.container))
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.order));
        entries.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(entries
            .into_iter()
            .map(|entry| entry.container.clone())
            .collect())
    }

    async fn wait_container(&self, name: &str, until: WaitFor) -> Result<Exit> {
        let id = self.lock().find(name)?;
        let mut exits = None;
        let look = |world: &mut World| {
            let Some(entry) = world.containers.get(&id) else {
                return Some(world.ends.get(&id).cloned());
            };
            let before = *exits.get_or_insert(entry.exits);
            let state = &entry.container.state;
            let ended = match until {
                WaitFor::NotRunning => {
                    !state.is_running() && !matches!(state, State::Restarting { .. })
                }
                WaitFor::NextExit => entry.exits > before,
                WaitFor::Removed => false,
            };
            ended.then(|| state.exit().cloned())
        };
        let exit = self.until(look).await;
        let now = self.clock.now();
        Ok(exit.unwrap_or(Exit {
            code: 0,
            error: None,
            oom_killed: false,
            started_at: None,
            finished_at: now,
        }))
    }

    async fn logs(&self, name: &str, options: &LogOptions) -> Result<Stream<LogLine>> {
        let container = self.container(name)?;
        let options = options.clone();
        let wanted = {
            let options = options.clone();
            move |line: &LogLine| {
                options.only.is_none_or(|only| only == line.output)
                    && options.since.is_none_or(|since| line.time >= since)
                    && options.until.is_none_or(|until| line.time <= until)
            }
        };
        let mut past = self.lock().entry(&container.id)?.log.clone();
        let from = past.len();
        past.retain(&wanted);
        let skip = past
            .len()
            .saturating_sub(options.tail.unwrap_or(usize::MAX));
        let past = done(past.split_off(skip));
        if !options.follow {
            return Ok(past);
        }
        let rest = self.output(container.id, from).filter(move |line| {
            let wanted = line.as_ref().is_ok_and(&wanted);
            async move { wanted }
        });
        Ok(Box::pin(past.chain(rest)))
    }

    async fn attach_container(&self, name: &str) -> Result<Attached> {
        let container = self.container(name)?;
        let from = self.lock().entry(&container.id)?.log.len();
        let output = self.output(container.id.clone(), from).map(|line| {
            line.map(|line| Chunk {
                output: line.output,
                bytes: line.bytes,
            })
        });
        let input = container
            .spec
            .open_stdin
            .then(|| self.input(container.id.clone()));
        Ok(Attached {
            input: input.map(|input| Box::pin(input) as _),
            output: Box::pin(output),
            terminal: container.spec.tty,
        })
    }

    async fn resize_container(&self, name: &str, _size: TerminalSize) -> Result<()> {
        self.container(name).map(drop)
    }

    async fn top(&self, name: &str) -> Result<Top> {
        let container = self.container(name)?;
        let Some(pid) = container.state.pid() else {
            return Err(Error::conflict(format!("container {name} is not running")));
        };
        Ok(Top {
            titles: vec!["PID".into(), "CMD".into()],
            processes: vec![vec![pid.to_string(), container.args.join(" ")]],
        })
    }

    async fn create_exec(&self, name: &str, spec: &ExecSpec) -> Result<String> {
        let container = self.container(name)?;
        if !container.state.is_running() {
            return Err(Error::conflict(format!(
                "container {} is not running",
                container.name
            )));
        }
        if spec.command.is_empty() {
            return Err(Error::invalid("no command to execute"));
        }
        let id = Id::random().to_string();
        let exec = Exec {
            id: id.clone(),
            container: container.id,
            spec: spec.clone(),
            running: false,
            pid: None,
            exit_code: None,
        };
        self.lock().execs.insert(id.clone(), exec);
        Ok(id)
    }

    async fn start_exec(&self, exec: &str, _detach: bool) -> Result<Attached> {
        let mut world = self.lock();
        let exec = world
            .execs
            .get_mut(exec)
            .ok_or_else(|| Error::not_found(format!("No such exec instance: {exec}")))?;
        let (code, output) = match program::parse(&exec.spec.command) {
            Some(program) => (
                match program.ends {
                    Ends::With(code) => code,
                    _ => 0,
                },
                program.prints,
            ),
            None => {
                let text = format!(
                    "exec `{}`: no such file or directory in the image\n",
                    exec.spec.command[0]
                );
                (127, vec![(Output::Stdout, text)])
            }
        };
        exec.exit_code = Some(code);
        let chunks = output
            .into_iter()
            .map(|(output, text)| Chunk {
                output,
                bytes: text.into(),
            })
            .collect();
        Ok(Attached {
            input: exec.spec.stdin.then(|| Box::pin(tokio::io::sink()) as _),
            output: done(chunks),
            terminal: exec.spec.tty,
        })
    }

    async fn inspect_exec(&self, exec: &str) -> Result<Exec> {
        self.lock()
            .execs
            .get(exec)
            .cloned()
            .ok_or_else(|| Error::not_found(format!("No such exec instance: {exec}")))
    }

    async fn resize_exec(&self, exec: &str, _size: TerminalSize) -> Result<()> {
        self.inspect_exec(exec).await.map(drop)
    }

    async fn pull_image(
        &self,
        reference: &str,
        _platform: Option<&str>,
        _credentials: Option<Credentials>,
    ) -> Result<Stream<Progress>> {
        let tag = with_tag(reference);
        let mut world = self.lock();
        world.calls.push(format!("pull {tag}"));
        let Some(image) = world
            .remote
            .iter()
            .find(|image| image.tags.contains(&tag))
            .cloned()
        else {
            return Err(Error::not_found(format!(
                "pull {tag}: manifest unknown: check the name and the tag"
            )));
        };
        world.images.retain(|local| local.id != image.id);
        let id = image.id.clone();
        world.images.push(image);
        Ok(done(vec![Progress {
            image: Some(id),
            ..Progress::message(format!("Status: Downloaded newer image for {tag}"))
        }]))
    }

    async fn push_image(
        &self,
        reference: &str,
        _credentials: Option<Credentials>,
    ) -> Result<Stream<Progress>> {
        let mut world = self.lock();
        let image = world.find_image(reference)?.clone();
        world.remote.push(image);
        Ok(done(vec![Progress::message("pushed")]))
    }

    async fn tag_image(&self, name: &str, reference: &str) -> Result<()> {
        let mut world = self.lock();
        let id = world.find_image(name)?.id.clone();
        let tag = with_tag(reference);
        for image in &mut world.images {
            image.tags.retain(|other| *other != tag);
            if image.id == id {
                image.tags.push(tag.clone());
            }
        }
        Ok(())
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        Ok(self.lock().images.iter().rev().cloned().collect())
    }

    async fn inspect_image(&self, name: &str) -> Result<Image> {
        self.lock().find_image(name).cloned()
    }

    async fn remove_image(&self, name: &str, force: bool) -> Result<Vec<Removal>> {
        let mut world = self.lock();
        let image = world.find_image(name)?.clone();
        let tag = with_tag(name);
        if image.tags.len() > 1 && image.tags.contains(&tag) {
            for local in &mut world.images {
                local.tags.retain(|other| *other != tag);
            }
            return Ok(vec![Removal::Untagged(tag)]);
        }
        let user = world
            .containers
            .values()
            .find(|entry| entry.container.image_id == image.id);
        if let Some(entry) = user
            && !force
        {
            let user = &entry.container.name;
            return Err(Error::conflict(format!(
                "image {name} is used by container {user}"
            )));
        }
        world.images.retain(|local| local.id != image.id);
        world.calls.push(format!("remove image {name}"));
        Ok(image
            .tags
            .into_iter()
            .map(Removal::Untagged)
            .chain([Removal::Deleted(image.id)])
            .collect())
    }

    async fn import_image(&self, source: ImportSource) -> Result<Stream<Progress>> {
        let mut tar = source.tar;
        while let Some(bytes) = tar.next().await {
            bytes?;
        }
        let image = self.image(
            source.reference.as_deref().unwrap_or("none"),
            ImageConfig::default(),
        );
        let id = image.id.clone();
        self.lock().images.push(image);
        Ok(done(vec![Progress {
            image: Some(id.clone()),
            ..Progress::message(id)
        }]))
    }

    async fn save_images(&self, names: &[String]) -> Result<Stream<Bytes>> {
        let world = self.lock();
        let mut tags = String::new();
        for name in names {
            tags += &format!("{}\n", world.find_image(name)?.tags.join(" "));
        }
        Ok(done(vec![Bytes::from(tags)]))
    }

    async fn load_images(&self, mut tar: Stream<Bytes>) -> Result<Stream<Progress>> {
        let mut saved = Vec::new();
        while let Some(bytes) = tar.next().await {
            saved.extend_from_slice(&bytes?);
        }
        let saved = String::from_utf8_lossy(&saved).into_owned();
        let mut loaded = Vec::new();
        for tag in saved.split_whitespace() {
            self.add_image(tag, ImageConfig::default());
            loaded.push(Progress::message(format!("Loaded image: {tag}")));
        }
        Ok(done(loaded))
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        spec.name.parse::<Name>()?;
        let now = self.clock.now();
        let mut world = self.lock();
        if world.find_network(&spec.name).is_ok() {
            return Err(Error::conflict(format!(
                "network with name {} already exists",
                spec.name
            )));
        }
        let id = world.add_network(spec, now);
        world.calls.push(format!("create network {}", spec.name));
        world.emit(now, Subject::Network, "create", &id, &spec.name);
        drop(world);
        self.wake();
        Ok(id)
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        let now = self.clock.now();
        let mut world = self.lock();
        let network = world.find_network(name)?.clone();
        if let Some(endpoint) = network.endpoints.first() {
            return Err(Error::conflict(format!(
                "network {} is used by container {}",
                network.spec.name, endpoint.name
            )));
        }
        world.networks.retain(|other| other.id != network.id);
        world
            .calls
            .push(format!("remove network {}", network.spec.name));
        world.emit(
            now,
            Subject::Network,
            "destroy",
            &network.id,
            &network.spec.name,
        );
        drop(world);
        self.wake();
        Ok(())
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        self.lock().find_network(name).cloned()
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        let mut networks = self.lock().networks.clone();
        networks.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        Ok(networks)
    }

    async fn connect_network(&self, container: &str, endpoint: &EndpointSpec) -> Result<()> {
        let mut world = self.lock();
        let id = world.find(container)?;
        let name = world.entry(&id)?.container.name.clone();
        let endpoint = world.endpoint(endpoint, &name, &id)?;
        let container = &mut world.entry(&id)?.container;
        if container
            .endpoints
            .iter()
            .any(|other| other.network_id == endpoint.network_id)
        {
            return Err(Error::conflict(format!(
                "container {name} is on network {} already",
                endpoint.network_name
            )));
        }
        container.endpoints.push(endpoint);
        if container.state.is_running() {
            world.disconnect_all(&id);
            world.connect_all(&id);
        }
        Ok(())
    }

    async fn disconnect_network(&self, network: &str, container: &str, _force: bool) -> Result<()> {
        let mut world = self.lock();
        let network = world.find_network(network)?.id.clone();
        let id = world.find(container)?;
        let endpoints = &mut world.entry(&id)?.container.endpoints;
        let before = endpoints.len();
        endpoints.retain(|endpoint| endpoint.network_id != network);
        if endpoints.len() == before {
            return Err(Error::not_found(format!(
                "container {container} is not on that network"
            )));
        }
        if let Ok(network) = world.find_network(&network) {
            network
                .endpoints
                .retain(|endpoint| endpoint.container != id);
        }
        Ok(())
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        if !spec.name.is_empty() {
            spec.name.parse::<Name>()?;
        }
        let mut world = self.lock();
        if !world.volumes.contains_key(&spec.name) {
            world.calls.push(format!("create volume {}", spec.name));
        }
        Ok(world.add_volume(spec, self.clock.now()))
    }

    async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let mut world = self.lock();
        if !world.volumes.contains_key(name) {
            return match force {
                true => Ok(()),
                false => Err(Error::not_found(format!("get {name}: no such volume"))),
            };
        }
        let user = world.containers.values().find(|entry| {
            entry
                .container
                .mounts
                .iter()
                .any(|mount| mount.name.as_deref() == Some(name))
        });
        if let Some(entry) = user {
            let user = &entry.container.name;
            return Err(Error::conflict(format!(
                "volume {name} is used by container {user}"
            )));
        }
        world.volumes.remove(name);
        world.calls.push(format!("remove volume {name}"));
        Ok(())
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        self.lock()
            .volumes
            .get(name)
            .cloned()
            .ok_or_else(|| Error::not_found(format!("get {name}: no such volume")))
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        Ok(self.lock().volumes.values().cloned().collect())
    }
}
