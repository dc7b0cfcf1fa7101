//! Every call of the door, answered by the fake.

use std::collections::VecDeque;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;
use orc_base::{Error, Id, Name, Result};

use crate::Host;
use crate::archive::{CommitSpec, PathArchive, PathChange, PathStat, WriteOptions};
use crate::container::{
    Container, ContainerFilter, ContainerSpec, Created, Exit, RemoveOptions, State, Top, WaitFor,
};
use crate::event::{Event, EventFilter, Subject};
use crate::exec::{Exec, ExecSpec};
use crate::fake::FakeHost;
use crate::fake::build;
use crate::fake::files::Files;
use crate::fake::program;
use crate::fake::program::Ends;
use crate::fake::world::{Entry, World, merge_env, with_tag};
use crate::image::{
    Credentials, History, Image, ImageConfig, ImportSource, ImportTar, Progress, Removal,
};
use crate::image_build::{BuildEvent, BuildRequest};
use crate::network::{EndpointSpec, Network, NetworkSpec};
use crate::stats::{NetworkUse, Stats};
use crate::stop::StopOptions;
use crate::storage::{
    CheckOptions, CheckReport, ContainerUsage, DiskUsage, ImageUsage, UsageOf, VolumeUsage,
};
use crate::stream::{Attached, Bytes, Chunk, LogLine, LogOptions, Output, Stream, TerminalSize};
use crate::system::Info;
use crate::unused::{Prune, Pruned};
use crate::update::ContainerUpdate;
use crate::volume::{Volume, VolumeSpec};

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

/// Two instructions are enough for the contract.
fn apply(config: &mut ImageConfig, change: &str) -> Result<()> {
    match change.split_once(' ') {
        Some(("ENV", pair)) => config.env.push(pair.into()),
        Some(("CMD", words)) => {
            let words = words.trim_matches(['[', ']']).split(',');
            let word = |word: &str| word.trim().trim_matches('"').to_owned();
            config.command = Some(words.map(word).collect());
        }
        _ => {
            return Err(Error::invalid(format!(
                "`{change}` is not a change command"
            )));
        }
    }
    Ok(())
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
        let mounts = world.mounts(spec, &image.config, now)?;
        let entrypoint = spec.entrypoint.clone().or(image.config.entrypoint.clone());
        let command = match (&spec.command, &spec.entrypoint) {
            (Some(command), _) => command.clone(),
            (None, Some(_)) => Vec::new(),
            (None, None) => image.config.command.clone().unwrap_or_default(),
        };
        let inherited = image.config.inherited_labels();
        let labels = inherited.chain(&spec.labels);
        let labels = labels
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
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
            files: Files::default(),
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

    async fn stop_container(&self, name: &str, how: &StopOptions) -> Result<()> {
        let container = self.container(name)?;
        killed_by(how.signal.as_deref())?;
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

    async fn restart_container(&self, name: &str, how: &StopOptions) -> Result<()> {
        match self.stop_container(name, how).await {
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

    async fn update_container(&self, name: &str, update: &ContainerUpdate) -> Result<Vec<String>> {
        let mut world = self.lock();
        let id = world.find(name)?;
        let container = &mut world.entry(&id)?.container;
        container.spec = update.over(&container.spec);
        let name = container.name.clone();
        world.calls.push(format!("update {name}"));
        world.emit_container(self.clock.now(), &id, "update", &[]);
        drop(world);
        self.wake();
        Ok(Vec::new())
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

    async fn stats(&self, name: &str) -> Result<Stats> {
        let container = self.container(name)?;
        if container.state.pid().is_none() {
            return Err(Error::conflict(format!("container {name} is not running")));
        }
        let read = self.clock.now();
        let lived = u64::try_from(read.nanos()).unwrap_or(0);
        Ok(Stats {
            read,
            // Half a processor, ever since.
            cpu_ns: Some(lived / 2),
            cpu_user_ns: Some(lived / 4),
            cpu_system_ns: Some(lived / 4),
            machine_cpu_ns: lived.saturating_mul(2),
            cpus: 2,
            memory_bytes: Some(3 << 20),
            memory_inactive_file_bytes: Some(1 << 20),
            memory_limit_bytes: 1 << 30,
            pids: Some(1),
            pids_max: None,
            read_bytes: Some(4096),
            written_bytes: Some(8192),
            networks: [("eth0".to_owned(), NetworkUse::default())].into(),
        })
    }

    async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat> {
        let mut world = self.lock();
        let id = world.find(name)?;
        world.entry(&id)?.files.stat(path, self.clock.now())
    }

    async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive> {
        let mut world = self.lock();
        let id = world.find(name)?;
        let files = &world.entry(&id)?.files;
        let stat = files.stat(path, self.clock.now())?;
        let tar = done(vec![files.pack(path, &stat.name)?]);
        Ok(PathArchive { stat, tar })
    }

    async fn write_path(
        &self,
        name: &str,
        path: &str,
        mut tar: Stream<Bytes>,
        options: WriteOptions,
    ) -> Result<()> {
        let id = self.lock().find(name)?;
        let mut bytes = Vec::new();
        while let Some(piece) = tar.next().await {
            bytes.extend_from_slice(&piece?);
        }
        let mut world = self.lock();
        world.entry(&id)?.files.unpack(path, &bytes, options)
    }

    async fn remove_paths(&self, name: &str, paths: &[String]) -> Result<()> {
        let mut world = self.lock();
        let id = world.find(name)?;
        let files = &mut world.entry(&id)?.files;
        paths.iter().try_for_each(|path| files.remove(path))
    }

    async fn export_container(&self, name: &str) -> Result<Stream<Bytes>> {
        let mut world = self.lock();
        let id = world.find(name)?;
        Ok(done(vec![world.entry(&id)?.files.pack("/", "")?]))
    }

    async fn container_changes(&self, name: &str) -> Result<Vec<PathChange>> {
        let mut world = self.lock();
        let id = world.find(name)?;
        Ok(world.entry(&id)?.files.changes())
    }

    async fn commit_container(&self, name: &str, spec: &CommitSpec) -> Result<String> {
        let parent = self.container(name)?.image_id;
        let parent = self.lock().find_image(&parent)?.clone();
        let mut config = parent.config;
        for change in &spec.changes {
            apply(&mut config, change)?;
        }
        let made = self.image(spec.reference.as_deref().unwrap_or("none"), config);
        let mut layers = parent.layers;
        layers.push(format!("sha256:{}", Id::random()));
        let mut history = parent.history;
        history.push(History {
            created: made.created,
            comment: spec.message.clone(),
            ..History::default()
        });
        let image = Image {
            layers,
            history,
            author: spec.author.clone(),
            ..made
        };
        let id = image.id.clone();
        self.lock().images.push(image);
        Ok(id)
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
        let now = self.clock.now();
        let mut world = self.lock();
        world.calls.push(format!("pull {tag}"));
        let Some(mut image) = world
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
        image.pulled = Some(now);
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
        if let ImportTar::Sent(mut tar) = source.tar {
            while let Some(bytes) = tar.next().await {
                bytes?;
            }
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

    async fn build_image(&self, request: BuildRequest) -> Result<Stream<BuildEvent>> {
        build::build(self, request).await
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

    async fn disk_usage(&self, of: &UsageOf) -> Result<DiskUsage> {
        let images = self.list_images().await?;
        let containers = self.list_containers(&ContainerFilter::everything()).await?;
        let wanted = |id: &str| of.only.is_empty() || of.only.iter().any(|one| one == id);
        let mut usage = DiskUsage::default();
        if of.images {
            usage.images_bytes = images.iter().map(|image| image.size_bytes).sum();
            let space = |image: &Image| ImageUsage {
                id: image.id.clone(),
                bytes: image.size_bytes,
                shared_bytes: 0,
            };
            usage.images = images.iter().map(space).collect();
        }
        if of.containers {
            let ids = containers.into_iter().map(|one| one.id);
            let space = |id| ContainerUsage { id, bytes: 0 };
            usage.containers = ids.filter(|id| wanted(id)).map(space).collect();
        }
        if of.volumes {
            let names = self.lock().volumes.keys().cloned().collect::<Vec<_>>();
            let space = |name| VolumeUsage {
                name,
                bytes: Some(0),
            };
            usage.volumes = names.into_iter().map(space).collect();
        }
        Ok(usage)
    }

    async fn prune(&self, prune: &Prune) -> Result<Pruned> {
        crate::prune::prune(self, prune).await
    }

    async fn check_storage(&self, _options: CheckOptions) -> Result<CheckReport> {
        let images = self.list_images().await?.len() as u64;
        Ok(CheckReport {
            images,
            ..CheckReport::default()
        })
    }
}
