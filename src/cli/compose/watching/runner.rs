//! Carries out what changes of files lead to, for as long as somebody watches.
//!
//! Decides nothing: `orc_compose::watch` does. What fails is said, and watching goes on: the next change
//! may be the one that mends it. A container that is new is sent what the ones before it were, whoever
//! replaced them.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::StreamExt;
use orc_base::{Error, Kind, Result};
use orc_compose::labels;
use orc_compose::model::Project;
use orc_compose::observe::observe;
use orc_compose::plan::{
    self, Build, BuildPolicy, Goal, PullPolicy, Recreate, Restart, Up as Wanted,
};
use orc_compose::watch::decide::{Action, Change, Now, Operation, Sync, decide, renew};
use orc_compose::watch::rule::Rule;
use orc_compose::watch::rules::rules;
use orc_host::Host;
use orc_host::container::{Container, ContainerFilter, State};
use orc_host::event::{Event, EventFilter, Subject};
use orc_host::exec::ExecSpec;
use orc_host::stream::{Output, Stream};

use crate::cli::compose::carry_out::Work;
use crate::cli::compose::names;
use crate::cli::compose::watching::notify::{Heard, Listener, listen};
use crate::cli::compose::watching::patterns::remark;
use crate::cli::compose::watching::send::send;
use crate::cli::project::ProjectFlags;
use crate::ui::prefix::Prefixes;
use crate::ui::progress::Mode;
use crate::ui::{escape, out};

/// What is watched. Changes are heard from the moment this is made.
pub(crate) struct Watch {
    rules: Vec<Rule>,
    listener: Listener,
}

impl Watch {
    /// Begins to watch for `services` and what they need, or for all; says which rules do nothing.
    pub(crate) fn begin(project: &Project, services: &[String]) -> Result<Self> {
        let rules = rules_of(project, services)?;
        Ok(Self {
            listener: listen(&rules)?,
            rules,
        })
    }
}

/// The rules; says about each that does nothing why.
pub(crate) fn rules_of(project: &Project, services: &[String]) -> Result<Vec<Rule>> {
    let watched = rules(project, services)?;
    watched.notes.iter().for_each(|note| out::warning(note));
    for rule in &watched.rules {
        if let Some(text) = remark(rule)? {
            out::warning(&text);
        }
    }
    Ok(watched.rules)
}

/// How things are done.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// How containers are made.
    pub(crate) up: Wanted,
    /// Remove images that a rebuild took the name of.
    pub(crate) prune: bool,
    /// No progress of builds.
    pub(crate) quiet: bool,
}

/// Somebody watches.
pub(crate) struct Runner<'a> {
    project: &'a Project,
    host: Arc<dyn Host>,
    flags: ProjectFlags,
    options: Options,
    watch: Watch,
    /// What is there for rules with an initial sync.
    there: BTreeSet<Change>,
    /// What each service was sent.
    sent: BTreeMap<String, Sync>,
    /// The ids of containers that were sent all of that.
    known: BTreeSet<String>,
    prefixes: Prefixes,
}

impl<'a> Runner<'a> {
    /// Nothing is done yet.
    pub(crate) fn new(work: &Work<'a>, watch: Watch, options: Options) -> Self {
        // Live lines would be drawn over by those of containers.
        let progress = match options.quiet {
            true => Mode::Quiet,
            false => Mode::Plain,
        };
        Self {
            project: work.project,
            host: Arc::clone(&work.host),
            flags: ProjectFlags {
                progress,
                ..work.flags.clone()
            },
            options,
            watch,
            there: BTreeSet::new(),
            sent: BTreeMap::new(),
            known: BTreeSet::new(),
            prefixes: Prefixes::new(work.flags.ansi.stdout(), false, false),
        }
    }

    /// Goes on until files cannot be watched any more or the daemon is gone, which is the error.
    pub(crate) async fn run(&mut self) -> Result<Infallible> {
        let mut events = self.starts().await?;
        loop {
            tokio::select! {
                heard = self.watch.listener.heard.recv() => match heard {
                    Some(heard) => self.hear(heard).await?,
                    None => return Err(Error::internal("nobody watches the files any more")),
                },
                event = events.next() => match event {
                    Some(event) => self.started(&event?.id).await?,
                    None => {
                        return Err(Error::unavailable("the daemon closed the stream of events"));
                    }
                },
            }
        }
    }

    /// Starts of the project's containers from now on.
    async fn starts(&self) -> Result<Stream<Event>> {
        let filter = EventFilter {
            subjects: vec![Subject::Container],
            actions: vec!["start".into()],
            labels: vec![(labels::PROJECT.into(), Some(self.project.name.clone()))],
            ..EventFilter::default()
        };
        self.host.events(filter).await
    }

    async fn hear(&mut self, heard: Heard) -> Result<()> {
        match heard {
            Heard::Beginning(all) => {
                self.remember(&all);
                say("Watch enabled");
                for container in self.containers().await? {
                    self.welcome(&container).await;
                }
            }
            Heard::Changes(changes) => {
                self.remember(&changes);
                for operation in decide(&self.watch.rules, &changes) {
                    say(&operation.to_string());
                    self.carry_out(&operation).await;
                }
            }
            Heard::Note(text) => out::warning(&text),
            Heard::Broken(error) => return Err(error.within("watch files")),
        }
        Ok(())
    }

    /// Keeps what new containers will be sent.
    fn remember(&mut self, changes: &[Change]) {
        let asked = |change: &&Change| {
            let rule = self.watch.rules.get(change.rule);
            rule.is_some_and(|rule| rule.initial_sync)
        };
        for change in changes.iter().filter(asked) {
            let there = Change {
                now: Now::There,
                ..change.clone()
            };
            match change.now {
                Now::There => self.there.insert(there),
                Now::Gone => self.there.remove(&there),
            };
        }
    }

    /// All containers of the project that may be sent something.
    async fn containers(&self) -> Result<Vec<Container>> {
        let filter = ContainerFilter::labelled(labels::PROJECT, &self.project.name);
        let mut containers = self.host.list_containers(&filter).await?;
        containers.retain(|container| {
            !names::is_one_off(container) && !matches!(container.state, State::Removing)
        });
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    async fn of_service(&self, service: &str) -> Result<Vec<Container>> {
        let mut containers = self.containers().await?;
        containers.retain(|container| names::service(container) == service);
        Ok(containers)
    }

    /// A container was started: it may be one that nobody has seen before.
    async fn started(&mut self, id: &str) -> Result<()> {
        if self.known.contains(id) {
            return Ok(());
        }
        match self.host.inspect_container(id).await {
            Ok(container) if !names::is_one_off(&container) => self.welcome(&container).await,
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }

    /// Sends a container what it missed.
    async fn welcome(&mut self, container: &Container) {
        if !self.known.insert(container.id.clone()) {
            return;
        }
        let service = names::service(container);
        let there: Vec<Change> = self.there.iter().cloned().collect();
        let sent = self.sent.get(service).cloned().unwrap_or_default();
        let Some(operation) = renew(&self.watch.rules, service, &there, &sent) else {
            return;
        };
        say(&operation.to_string());
        if let Action::Sync(sync) = &operation.action {
            self.deliver(container, sync).await;
        }
    }

    async fn carry_out(&mut self, operation: &Operation) {
        let done = match &operation.action {
            Action::Rebuild(services) => self.rebuild(services).await,
            Action::Sync(sync) => self.sync(sync).await,
            Action::Restart(services) => self.restart(services).await,
            Action::Exec { service, spec } => self.exec(service, spec).await,
        };
        if let Err(error) = done {
            say(&format!("{} failed: {error}", operation.action));
        }
    }

    async fn sync(&mut self, sync: &Sync) -> Result<()> {
        let containers = self.of_service(&sync.service).await?;
        if containers.is_empty() {
            say(&format!("{} has no container yet", sync.service));
        }
        for container in containers {
            self.deliver(&container, sync).await;
        }
        let sent = self.sent.entry(sync.service.clone()).or_default();
        sent.service.clone_from(&sync.service);
        sent.then(sync);
        Ok(())
    }

    async fn deliver(&self, container: &Container, sync: &Sync) {
        match send(&*self.host, &container.id, sync).await {
            // Another one will come.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => say(&format!("sync of {} failed: {error}", container.name)),
            Ok(()) => {}
        }
    }

    /// Builds, then replaces the containers whose image is another one now.
    async fn rebuild(&mut self, services: &BTreeSet<String>) -> Result<()> {
        let before = self.images(services).await?;
        let build = Goal::Build(Build {
            services: services.iter().cloned().collect(),
            ..Build::default()
        });
        self.reach(&build, "build").await?;
        let up = Goal::Up(Wanted {
            services: self.with_those_that_follow(services),
            no_deps: true,
            recreate: Recreate::Diverged,
            pull: Some(PullPolicy::Never),
            build: BuildPolicy::Never,
            refreshed: true,
            remove_orphans: false,
            start: true,
            wait: false,
            ..self.options.up.clone()
        });
        let changed = self.reach(&up, "up").await?;
        if !changed {
            say("the image is the same as before");
        }
        if self.options.prune {
            self.prune(&before, &self.images(services).await?).await;
        }
        Ok(())
    }

    /// Services that want to start anew with one of these.
    fn with_those_that_follow(&self, services: &BTreeSet<String>) -> Vec<String> {
        let follows = |name: &&String| {
            let service = self.project.services.get(*name);
            let mut needed = service.iter().flat_map(|service| &service.depends_on);
            needed.any(|(other, dependency)| dependency.restart && services.contains(other))
        };
        let followers = self.project.services.keys().filter(follows);
        let all: BTreeSet<&String> = services.iter().chain(followers).collect();
        all.into_iter().cloned().collect()
    }

    /// The ids of the services' images.
    async fn images(&self, services: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        for service in services
            .iter()
            .filter_map(|name| self.project.service(name))
        {
            let image = service.image_name(&self.project.name);
            match self.host.inspect_image(&image).await {
                Ok(image) => drop(ids.insert(image.id)),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ids)
    }

    /// Removes images that lost their last name. Those that are used stay.
    async fn prune(&self, before: &BTreeSet<String>, after: &BTreeSet<String>) {
        for id in before.difference(after) {
            let nameless = self.host.inspect_image(id).await;
            if nameless.is_ok_and(|image| image.tags.is_empty()) {
                let _ = self.host.remove_image(id, false).await;
            }
        }
    }

    async fn restart(&self, services: &BTreeSet<String>) -> Result<()> {
        let goal = Goal::Restart(Restart {
            services: services.iter().cloned().collect(),
            timeout: self.options.up.timeout,
            no_deps: false,
        });
        self.reach(&goal, "restart").await.map(drop)
    }

    /// Whether anything had to be done.
    async fn reach(&self, goal: &Goal, verb: &str) -> Result<bool> {
        let work = Work {
            flags: &self.flags,
            project: self.project,
            host: Arc::clone(&self.host),
        };
        // Its warnings were said when the project came up.
        let observed = observe(&*self.host, &self.project.name).await?;
        let plan = plan::plan(self.project, &observed, goal)?;
        work.carry_out(&plan, verb).await?;
        Ok(!plan.is_empty())
    }

    /// Runs a command in all running containers of a service, one after the other.
    async fn exec(&mut self, service: &str, spec: &ExecSpec) -> Result<()> {
        for container in self.of_service(service).await? {
            if !container.state.is_running() {
                continue;
            }
            let name = names::display(&container, &self.project.name);
            let code = self.exec_in(&container, &name, spec).await?;
            if code != 0 {
                say(&format!("exec in {name} ended with {code}"));
            }
        }
        Ok(())
    }

    async fn exec_in(&mut self, container: &Container, name: &str, spec: &ExecSpec) -> Result<i32> {
        let exec = self.host.create_exec(&container.id, spec).await?;
        let mut output = self.host.start_exec(&exec, false).await?.output;
        let mut lines: BTreeMap<bool, Vec<u8>> = BTreeMap::new();
        while let Some(chunk) = output.next().await {
            let chunk = chunk?;
            let is_error = chunk.output == Output::Stderr;
            let pending = lines.entry(is_error).or_default();
            pending.extend_from_slice(&chunk.bytes);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                show(&mut self.prefixes, name, &line, is_error);
            }
            if pending.len() > MAX_LINE {
                show(&mut self.prefixes, name, &std::mem::take(pending), is_error);
            }
        }
        for (is_error, rest) in lines.into_iter().filter(|(_, rest)| !rest.is_empty()) {
            show(&mut self.prefixes, name, &rest, is_error);
        }
        let ended = self.host.inspect_exec(&exec).await?;
        Ok(ended.exit_code.unwrap_or(0))
    }
}

/// Longer lines are shown in pieces.
const MAX_LINE: usize = 16 << 10;

fn show(prefixes: &mut Prefixes, name: &str, line: &[u8], is_error: bool) {
    let bytes = prefixes.line(name, orc_base::Time::EPOCH, line);
    match is_error {
        true => out::error_bytes(&bytes),
        false => out::bytes(&bytes),
    }
}

/// One line about watching.
pub(crate) fn say(text: &str) {
    out::note(&format!("\u{29bf} {}", escape::line(text)));
}
