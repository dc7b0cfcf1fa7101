//! The containers of the fake: what is made of a wish, and what happens to it.

use std::collections::VecDeque;

use orc_base::{Error, Id, Name, Result};

use crate::archive::CommitSpec;
use crate::container::{
    Container, ContainerFilter, ContainerSpec, Created, Exit, RemoveOptions, State, WaitFor,
};
use crate::fake::FakeHost;
use crate::fake::files::Files;
use crate::fake::world::{Entry, World, merge_env};
use crate::image::{History, Image, ImageConfig};
use crate::stats::{NetworkUse, Stats};
use crate::stop::StopOptions;
use crate::update::ContainerUpdate;

pub(crate) fn create(host: &FakeHost, name: Option<&str>, spec: &ContainerSpec) -> Result<Created> {
    let now = host.clock.now();
    let id = Id::random().to_string();
    let name = match name {
        Some(name) => name.parse::<Name>()?.to_string(),
        None => format!("fake_{}", &id[..8]),
    };
    let mut world = host.lock();
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
        healthcheck: check.filter(|check| check.test.first().is_some_and(|kind| kind != "NONE")),
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
    host.wake();
    Ok(Created {
        id,
        warnings: Vec::new(),
    })
}

pub(crate) fn stop(host: &FakeHost, name: &str, how: &StopOptions) -> Result<()> {
    let container = host.container(name)?;
    killed_by(how.signal.as_deref())?;
    if !container.state.is_running() && !matches!(container.state, State::Restarting { .. }) {
        return Err(Error::new(
            orc_base::Kind::Unchanged,
            format!("container {} is not running", container.name),
        ));
    }
    host.lock().calls.push(format!("stop {}", container.name));
    host.finish(&container.id, 137, true);
    let now = host.clock.now();
    host.lock().emit_container(now, &container.id, "stop", &[]);
    host.wake();
    Ok(())
}

pub(crate) fn kill(host: &FakeHost, name: &str, signal: Option<&str>) -> Result<()> {
    let container = host.container(name)?;
    let code = killed_by(signal)?;
    if !container.state.is_running() {
        return Err(Error::conflict(format!(
            "container {} is not running",
            container.name
        )));
    }
    host.lock().calls.push(format!("kill {}", container.name));
    if let Some(code) = code {
        host.finish(&container.id, code, true);
    }
    Ok(())
}

pub(crate) fn pause(host: &FakeHost, name: &str) -> Result<()> {
    let mut world = host.lock();
    let id = world.find(name)?;
    let entry = world.entry(&id)?;
    let State::Running { pid, started_at } = entry.container.state else {
        return Err(Error::conflict(format!("container {name} is not running")));
    };
    entry.container.state = State::Paused { pid, started_at };
    world.emit_container(host.clock.now(), &id, "pause", &[]);
    drop(world);
    host.wake();
    Ok(())
}

pub(crate) fn unpause(host: &FakeHost, name: &str) -> Result<()> {
    let mut world = host.lock();
    let id = world.find(name)?;
    let entry = world.entry(&id)?;
    let State::Paused { pid, started_at } = entry.container.state else {
        return Err(Error::conflict(format!("container {name} is not paused")));
    };
    entry.container.state = State::Running { pid, started_at };
    world.emit_container(host.clock.now(), &id, "unpause", &[]);
    drop(world);
    host.wake();
    Ok(())
}

pub(crate) fn rename(host: &FakeHost, name: &str, new_name: &str) -> Result<()> {
    let new_name = new_name.parse::<Name>()?.to_string();
    let mut world = host.lock();
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
        host.clock.now(),
        &id,
        "rename",
        &[("oldName", &format!("/{old}"))],
    );
    drop(world);
    host.wake();
    Ok(())
}

pub(crate) fn update(host: &FakeHost, name: &str, update: &ContainerUpdate) -> Result<Vec<String>> {
    let mut world = host.lock();
    let id = world.find(name)?;
    let container = &mut world.entry(&id)?.container;
    container.spec = update.over(&container.spec);
    let name = container.name.clone();
    world.calls.push(format!("update {name}"));
    world.emit_container(host.clock.now(), &id, "update", &[]);
    drop(world);
    host.wake();
    Ok(Vec::new())
}

pub(crate) fn remove(host: &FakeHost, name: &str, options: RemoveOptions) -> Result<()> {
    let container = host.container(name)?;
    if container.state.is_running() {
        if !options.force {
            return Err(Error::conflict(format!(
                "container {} is running: stop it first, or remove it by force",
                container.name
            )));
        }
        host.finish(&container.id, 137, true);
    }
    let now = host.clock.now();
    let mut world = host.lock();
    world.calls.push(format!("remove {}", container.name));
    world.remove(&container.id, options.volumes, now);
    drop(world);
    host.wake();
    Ok(())
}

pub(crate) fn list(host: &FakeHost, filter: &ContainerFilter) -> Result<Vec<Container>> {
    let world = host.lock();
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

pub(crate) async fn wait(host: &FakeHost, name: &str, until: WaitFor) -> Result<Exit> {
    let id = host.lock().find(name)?;
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
    let exit = host.until(look).await;
    let now = host.clock.now();
    Ok(exit.unwrap_or(Exit {
        code: 0,
        error: None,
        oom_killed: false,
        started_at: None,
        finished_at: now,
    }))
}

pub(crate) fn stats(host: &FakeHost, name: &str) -> Result<Stats> {
    let container = host.container(name)?;
    if container.state.pid().is_none() {
        return Err(Error::conflict(format!("container {name} is not running")));
    }
    let read = host.clock.now();
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

pub(crate) fn commit(host: &FakeHost, name: &str, spec: &CommitSpec) -> Result<String> {
    let parent = host.container(name)?.image_id;
    let parent = host.lock().find_image(&parent)?.clone();
    let mut config = parent.config;
    for change in &spec.changes {
        apply(&mut config, change)?;
    }
    let made = host.image(spec.reference.as_deref().unwrap_or("none"), config);
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
    host.lock().images.push(image);
    Ok(id)
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
