//! `logs` of a project: the lines of several containers, each with its name before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use futures_util::StreamExt;
use orc_base::{Error, Result, Time};
use orc_compose::labels;
use orc_host::container::{Container, ContainerFilter};
use orc_host::stream::{LogLine, Output, Stream};

use crate::cli::compose::follow::{Follower, Services};
use crate::cli::compose::names;
use crate::cli::failure::{OK, Outcome};
use crate::cli::log_flags::LogFlags;
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::cli::target;
use crate::ui::color::Ansi;
use crate::ui::out;
use crate::ui::prefix::Prefixes;

/// Show what the project's containers wrote
#[derive(Debug, Default, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    logs: LogFlags,
    /// Only the container with this number of the service
    #[arg(long, value_name = "NUMBER")]
    index: Option<u64>,
    /// No colours
    #[arg(long)]
    no_color: bool,
    /// No names before lines
    #[arg(long)]
    no_log_prefix: bool,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Logs {
    /// Those of one service.
    pub(crate) fn of_service(logs: LogFlags, service: String) -> Self {
        Self {
            logs,
            services: vec![service],
            ..Self::default()
        }
    }

    /// With `-f` it ends when all containers have.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&[])?;
        if !project.services.is_empty() {
            for service in &self.services {
                project
                    .service(service)
                    .ok_or_else(|| project.no_such_service(service))?;
            }
        }
        if self.index.is_some() && self.services.len() != 1 {
            return Err(Error::invalid("`--index` needs one service").into());
        }
        let host = session.host().await?;
        let filter = ContainerFilter::labelled(labels::PROJECT, &project.name);
        let mut containers = host.list_containers(&filter).await?;
        containers.retain(|container| self.wants(container));
        containers.sort_by(|a, b| {
            let key = |container: &Container| {
                (
                    names::service(container).to_owned(),
                    target::number(container),
                )
            };
            key(a).cmp(&key(b))
        });
        let ansi = if self.no_color {
            Ansi::Never
        } else {
            flags.ansi
        };
        let mut prefixes = Prefixes::new(ansi.stdout(), self.no_log_prefix, self.logs.timestamps);
        let options = self.logs.options(session.now())?;
        if !self.logs.follow || self.index.is_some() {
            let names: Vec<String> = containers
                .iter()
                .map(|container| names::display(container, &project.name))
                .collect();
            names.iter().for_each(|name| prefixes.add(name));
            let mut logs = Vec::new();
            for (container, name) in containers.iter().zip(names) {
                let lines = host.logs(&container.id, &options).await?;
                logs.push(Log { name, lines });
            }
            show(logs, &mut prefixes).await?;
            return Ok(OK);
        }
        let services = Services {
            followed: (!self.services.is_empty()).then(|| self.services.iter().cloned().collect()),
            shown: None,
        };
        let mut follower =
            Follower::new(Arc::clone(&host), &project.name, prefixes, services, false).await?;
        // All names first, so that all lines are padded alike.
        for container in &containers {
            follower.expect(container);
        }
        for container in &containers {
            follower.add(container, options.clone());
        }
        while !follower.is_over() {
            follower.next().await?;
        }
        Ok(OK)
    }

    fn wants(&self, container: &Container) -> bool {
        let service = names::service(container);
        !names::is_one_off(container)
            && (self.services.is_empty() || self.services.iter().any(|wanted| wanted == service))
            && self
                .index
                .is_none_or(|index| target::number(container) == index)
    }
}

/// What one container wrote.
struct Log {
    name: String,
    lines: Stream<LogLine>,
}

/// Shows the lines of several containers in the order they were written.
async fn show(mut logs: Vec<Log>, prefixes: &mut Prefixes) -> Result<()> {
    let mut next: BTreeMap<(Time, usize), LogLine> = BTreeMap::new();
    for (index, log) in logs.iter_mut().enumerate() {
        if let Some(line) = log.lines.next().await {
            let line = line?;
            next.insert((line.time, index), line);
        }
    }
    while let Some(((_, index), line)) = next.pop_first() {
        let log = &mut logs[index];
        let bytes = prefixes.line(&log.name, line.time, &line.bytes);
        match line.output {
            Output::Stdout => out::bytes(&bytes),
            Output::Stderr => out::error_bytes(&bytes),
        }
        if let Some(line) = log.lines.next().await {
            let line = line?;
            next.insert((line.time, index), line);
        }
    }
    Ok(())
}
