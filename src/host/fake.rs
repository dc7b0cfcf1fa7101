//! A machine in memory: every call of [`Host`] answered as a real one would, without any effect.
//!
//! Containers run the programs of [`program`]; tests set health with [`FakeHost::set_health`] and
//! let containers end with [`FakeHost::exit`]. Everything it did is kept as text in
//! [`FakeHost::calls`], in order. One lock holds all; whoever waits is woken by every change.

mod build;
mod containers;
mod files;
mod host;
mod images;
mod networks;
mod program;
mod streams;
mod volumes;
mod world;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream;
use orc_base::{Clock, Error, Id, Result};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::container::{Container, Exit, Health, HealthStatus, Probe, RestartPolicy, State};
use crate::fake::program::Ends;
use crate::fake::world::{World, with_tag};
use crate::image::{Image, ImageConfig};
use crate::network::NetworkSpec;
use crate::stream::{LogLine, Output, Stream};

/// A machine in memory. Clones share it.
#[derive(Clone)]
pub struct FakeHost {
    world: Arc<Mutex<World>>,
    changed: Arc<watch::Sender<u64>>,
    pub(crate) clock: Arc<dyn Clock>,
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

    pub(crate) fn image(&self, reference: &str, config: ImageConfig) -> Image {
        Image {
            id: format!("sha256:{}", Id::random()),
            tags: vec![with_tag(reference)],
            digests: Vec::new(),
            created: Some(self.clock.now()),
            pulled: None,
            size_bytes: 1_000_000,
            architecture: "amd64".into(),
            variant: String::new(),
            os: "linux".into(),
            config,
            layers: vec![format!("sha256:{}", Id::random())],
            layer_sizes: vec![0],
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

    /// Lets a health check of a running container fail and write `output`.
    pub fn fail_probe(&self, name: &str, output: &str) -> Result<()> {
        let now = self.clock.now();
        let mut world = self.lock();
        let id = world.find(name)?;
        let entry = world.entry(&id)?;
        let mut health = entry.container.health.clone().unwrap_or(Health {
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: Vec::new(),
        });
        health.failing_streak += 1;
        health.log.push(Probe {
            start: now,
            end: now,
            exit_code: 1,
            output: output.to_owned(),
        });
        entry.container.health = Some(health);
        world.emit_container(now, &id, "exec_die", &[]);
        drop(world);
        self.wake();
        Ok(())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Waits until `look` sees something.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&mut World) -> Option<T>) -> T {
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

    pub(crate) fn run(&self, id: &str) -> Result<()> {
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
    pub(crate) fn probe(&self, id: &str) {
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
    pub(crate) fn echo(&self, id: &str) {
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

    pub(crate) fn finish(&self, id: &str, code: i32, stopped: bool) {
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

    pub(crate) fn container(&self, name: &str) -> Result<Container> {
        let mut world = self.lock();
        let id = world.find(name)?;
        Ok(world.entry(&id)?.container.clone())
    }

    /// What a container printed from its `from`th chunk on, until it stops running.
    pub(crate) fn output(&self, id: String, from: usize) -> Stream<LogLine> {
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
    pub(crate) fn input(&self, id: String) -> tokio::io::DuplexStream {
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
