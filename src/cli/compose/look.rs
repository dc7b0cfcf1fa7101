//! Looking at a project that runs: `top`, `port`, `events`, `wait`, `version`.

use clap::Args;
use futures_util::StreamExt;
use futures_util::future::select_all;
use orc_base::Error;
use orc_compose::labels;
use orc_compose::plan::{Down, Goal};
use orc_host::container::{ContainerFilter, WaitFor};
use orc_host::event::{EventFilter, Subject};
use orc_host::network::Port;
use serde_json::json;

use crate::cli::compose::carry_out::Work;
use crate::cli::compose::exec::one;
use crate::cli::compose::names;
use crate::cli::failure::{OK, Outcome, exit_code};
use crate::cli::look;
use crate::cli::parse::time;
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::cli::stats::{self, StatsFlags};
use crate::cli::target;
use crate::ui::{escape, out, prefix};

/// Show the processes of the project's containers
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Top {
    /// One table a container.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&[])?;
        let host = session.host().await?;
        let filter = ContainerFilter {
            labels: vec![(labels::PROJECT.into(), Some(project.name.clone()))],
            ..ContainerFilter::default()
        };
        let mut containers = host.list_containers(&filter).await?;
        containers.retain(|container| {
            self.services.is_empty()
                || self
                    .services
                    .iter()
                    .any(|service| service == names::service(container))
        });
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        for container in &containers {
            out::line(&escape::line(&container.name));
            out::line(&look::table(&host.top(&container.id).await?));
        }
        Ok(OK)
    }
}

/// Show what the project's containers use
#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    flags: StatsFlags,
    /// Only this service
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
}

impl Stats {
    /// Goes on until it is interrupted.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&[])?;
        if let Some(service) = &self.service
            && !project.files.is_empty()
        {
            project.select(std::slice::from_ref(service))?;
        }
        let of_service = self
            .service
            .map(|name| (labels::SERVICE.into(), Some(name)));
        let of_project = (labels::PROJECT.into(), Some(project.name));
        let wanted = stats::Wanted {
            filter: ContainerFilter {
                all: self.flags.all,
                labels: std::iter::once(of_project).chain(of_service).collect(),
                ..ContainerFilter::default()
            },
            names: Vec::new(),
        };
        stats::show(&*session.host().await?, &self.flags, &wanted).await
    }
}

/// Show where a port of a service is reachable
#[derive(Debug, Args)]
pub(crate) struct PortOf {
    /// Which container of the service
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    index: u64,
    /// tcp or udp
    #[arg(long, default_value = "tcp")]
    protocol: String,
    /// The service
    service: String,
    /// Its port
    port: String,
}

impl PortOf {
    /// A port that is not published is an error.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let wanted: Port = match self.port.contains('/') {
            true => self.port.parse()?,
            false => format!("{}/{}", self.port, self.protocol).parse()?,
        };
        let container = one(&*session.host().await?, flags, &self.service, self.index).await?;
        let found = container.published.iter().find(|port| port.port == wanted);
        let found = found.ok_or_else(|| {
            Error::not_found(format!(
                "the port {wanted} of {} is not published",
                container.name
            ))
        })?;
        out::line(&std::net::SocketAddr::new(found.host_ip, found.host_port).to_string());
        Ok(OK)
    }
}

/// Show what happens to the project's containers, as it happens
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// A JSON object a line
    #[arg(long)]
    json: bool,
    /// Begin with what happened from then on: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Events {
    /// Goes on until it is interrupted or `--until` is reached.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&[])?;
        let now = session.now();
        let moment = |text: &Option<String>| {
            text.as_deref()
                .map(|text| time::moment(text, now))
                .transpose()
        };
        let filter = EventFilter {
            since: moment(&self.since)?,
            until: moment(&self.until)?,
            subjects: vec![Subject::Container],
            labels: vec![(labels::PROJECT.into(), Some(project.name.clone()))],
            ..EventFilter::default()
        };
        let mut events = session.host().await?.events(filter).await?;
        while let Some(event) = events.next().await {
            let event = event?;
            let service = event
                .attributes
                .get(labels::SERVICE)
                .cloned()
                .unwrap_or_default();
            if !self.services.is_empty() && !self.services.contains(&service) {
                continue;
            }
            let attributes: std::collections::BTreeMap<_, _> = event
                .attributes
                .iter()
                .filter(|(key, _)| !key.starts_with("com.docker.compose."))
                .collect();
            let time = prefix::timestamp(event.time);
            match self.json {
                true => out::line(
                    &json!({
                        "time": time, "type": "container", "action": event.action, "id": event.id,
                        "service": service, "attributes": attributes,
                    })
                    .to_string(),
                ),
                false => {
                    let attributes: Vec<String> = attributes
                        .iter()
                        .map(|(key, value)| format!("{key}={value}"))
                        .collect();
                    let line = format!(
                        "{time} container {} {} ({})",
                        event.action,
                        event.id,
                        attributes.join(", ")
                    );
                    out::line(&escape::line(&line));
                }
            }
        }
        Ok(OK)
    }
}

/// Wait until the first container of services ends
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Then remove the project
    #[arg(long)]
    down_project: bool,
    /// The services
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

impl Wait {
    /// Ends with that container's exit code.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&[])?;
        let host = session.host().await?;
        let mut waits = Vec::new();
        for service in &self.services {
            for container in target::service(&*host, &project.name, service).await? {
                let host = std::sync::Arc::clone(&host);
                waits.push(Box::pin(async move {
                    let exit = host
                        .wait_container(&container.id, WaitFor::NotRunning)
                        .await;
                    (container.name, exit)
                }));
            }
        }
        if waits.is_empty() {
            return Err(Error::not_found(format!(
                "no container of {} exists: start them with `orc up`",
                self.services.join(", ")
            ))
            .into());
        }
        let ((name, exit), ..) = select_all(waits).await;
        let exit = exit?;
        out::line(&format!(
            "container {} exited with status code {}",
            escape::line(&name),
            exit.code
        ));
        if self.down_project {
            let work = Work {
                flags,
                project: &project,
                host,
            };
            let goal = Goal::Down(Down { ..Down::default() });
            work.reach(&goal, "down").await?;
        }
        Ok(exit_code(exit.code))
    }
}

/// Show the version of orc
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// json, or pretty
    #[arg(short, long, value_name = "FORMAT", default_value = "pretty", value_parser = ["pretty", "json"])]
    format: String,
    /// Only the number
    #[arg(long)]
    short: bool,
}

impl Version {
    /// Asks nobody.
    pub(crate) fn run(&self) -> Outcome {
        let version = env!("CARGO_PKG_VERSION");
        out::line(&match (self.short, self.format.as_str()) {
            (true, _) => version.to_owned(),
            (false, "json") => json!({"version": version}).to_string(),
            (false, _) => format!("orc compose version {version}"),
        });
        Ok(OK)
    }
}
