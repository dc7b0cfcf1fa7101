//! `ps` of a project, and `ls` of all projects.

use std::collections::BTreeMap;

use clap::Args;
use orc_base::{Error, Result, Time};
use orc_compose::labels;
use orc_compose::model::Project;
use orc_host::container::{Container, ContainerFilter};
use orc_host::image::Image;
use serde_json::{Value, json};

use crate::cli::compose::names;
use crate::cli::describe;
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::filter;
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::format::{Column, Format, Row};
use crate::ui::out;

/// List the project's containers
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Only some: status=…
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// table, json, or a template such as '{{.Service}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Containers of services that the files do not know, too
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    orphans: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only the names of services
    #[arg(long = "services")]
    only_services: bool,
    /// Only those in a state: running, exited, paused, …
    #[arg(long, value_name = "STATE")]
    status: Vec<String>,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

const COLUMNS: &[Column] = &[
    ("NAME", "Name"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("SERVICE", "Service"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
];

impl Ps {
    /// See the flags.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&[])?;
        known(&project, &self.services)?;
        let statuses = self.status.iter().map(|status| format!("status={status}"));
        let filters: Vec<String> = self.filter.iter().cloned().chain(statuses).collect();
        let mut filter = filter::containers(&filters)?;
        filter.all = self.all;
        filter
            .labels
            .push((labels::PROJECT.into(), Some(project.name.clone())));
        let format = Format::parse(self.format.as_deref(), self.json)?;
        let mut containers = session.host().await?.list_containers(&filter).await?;
        containers.retain(|container| {
            let service = names::service(container);
            // Without files nothing is known, so nothing is an orphan.
            let orphan = !project.files.is_empty() && project.service(service).is_none();
            !names::is_one_off(container)
                && (self.orphans || !orphan)
                && (self.services.is_empty()
                    || self.services.iter().any(|wanted| wanted == service))
        });
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        if self.only_services {
            let mut services: Vec<&str> = containers.iter().map(names::service).collect();
            services.sort_unstable();
            services.dedup();
            services.into_iter().for_each(out::line);
            return Ok(OK);
        }
        if self.quiet {
            containers
                .iter()
                .for_each(|container| out::line(&container.id));
            return Ok(OK);
        }
        let now = session.now();
        let rows: Vec<Row> = containers
            .iter()
            .map(|container| row(container, &project.name, now, self.no_trunc))
            .collect();
        format.print(COLUMNS, &rows)?;
        Ok(OK)
    }
}

/// One container with docker compose's fields.
fn row(container: &Container, project: &str, now: Time, whole: bool) -> Row {
    let publishers: Vec<Value> = container
        .published
        .iter()
        .map(|port| {
            json!({
                "URL": port.host_ip.to_string(), "TargetPort": port.port.number,
                "PublishedPort": port.host_port, "Protocol": port.port.protocol.to_string(),
            })
        })
        .collect();
    let general = describe::container(container, now, whole);
    let exit = container.state.exit().map_or(0, |exit| exit.code);
    let health = container
        .health
        .as_ref()
        .map_or("", |health| health.status.as_str());
    let mut row = general
        .with("ExitCode", exit)
        .with("Health", health)
        .with("Name", container.name.clone())
        .with("Project", project)
        .with("Publishers", publishers)
        .with("Service", names::service(container));
    row.fields.sort_by_key(|(name, _)| *name);
    row
}

/// List projects
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Only some: name=…
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// table, json, or a template such as '{{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
}

const PROJECTS: &[Column] = &[
    ("NAME", "Name"),
    ("STATUS", "Status"),
    ("CONFIG FILES", "ConfigFiles"),
];

impl Ls {
    /// Knows projects by the labels of their containers.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let wanted = filter::named(&self.filter, &["name"])?;
        let filter = ContainerFilter {
            all: self.all,
            labels: vec![(labels::PROJECT.into(), None)],
            ..ContainerFilter::default()
        };
        let containers = session.host().await?.list_containers(&filter).await?;
        let mut projects: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
        for container in containers
            .iter()
            .filter(|container| !names::is_one_off(container))
        {
            projects
                .entry(&container.labels[labels::PROJECT])
                .or_default()
                .push(container);
        }
        projects.retain(|name, _| wanted.field_matches("name", |pattern| name.contains(pattern)));
        if self.quiet {
            projects.keys().for_each(|name| out::line(name));
            return Ok(OK);
        }
        let rows: Vec<Row> = projects
            .iter()
            .map(|(name, containers)| project(name, containers))
            .collect();
        // As docker compose: one array, not one object a line.
        if self.format.as_deref() == Some("json") {
            let text = Format::Json.render(PROJECTS, &rows)?;
            out::line(&format!("[{}]", text.lines().collect::<Vec<_>>().join(",")));
            return Ok(OK);
        }
        Format::parse(self.format.as_deref(), false)?.print(PROJECTS, &rows)?;
        Ok(OK)
    }
}

fn project(name: &str, containers: &[&Container]) -> Row {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for container in containers {
        *states.entry(container.state.as_str()).or_default() += 1;
    }
    let status: Vec<String> = states
        .iter()
        .map(|(state, count)| format!("{state}({count})"))
        .collect();
    let files = containers
        .iter()
        .find_map(|container| container.labels.get(labels::CONFIG_FILES));
    Row::default()
        .with("Name", name)
        .with("Status", status.join(", "))
        .with("ConfigFiles", files.cloned().unwrap_or_default())
}

/// List the volumes of the project
#[derive(Debug, Args)]
pub(crate) struct Volumes {
    /// table, json, or a template such as '{{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// Only those that containers of these services have
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Volumes {
    /// Knows volumes by their labels, and those of services by what their containers mount.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&[])?;
        known(&project, &self.services)?;
        let format = Format::parse(self.format.as_deref(), false)?;
        let host = session.host().await?;
        let mut volumes = host.list_volumes().await?;
        match self.services.is_empty() {
            true => {
                let own = Some(&project.name);
                volumes.retain(|volume| volume.labels.get(labels::PROJECT) == own);
            }
            false => {
                let filter = ContainerFilter::labelled(labels::PROJECT, &project.name);
                let containers = host.list_containers(&filter).await?;
                let mounted: Vec<&str> = containers
                    .iter()
                    .filter(|container| {
                        let service = names::service(container);
                        self.services.iter().any(|wanted| wanted == service)
                    })
                    .flat_map(|container| &container.mounts)
                    .filter_map(|mount| mount.name.as_deref())
                    .collect();
                volumes.retain(|volume| mounted.contains(&volume.name.as_str()));
            }
        }
        if self.quiet {
            volumes.iter().for_each(|volume| out::line(&volume.name));
            return Ok(OK);
        }
        let rows: Vec<Row> = volumes.iter().map(describe::volume).collect();
        format.print(describe::VOLUMES, &rows)?;
        Ok(OK)
    }
}

/// Refuses services that the files do not know; without files any may be.
fn known(project: &Project, services: &[String]) -> Result<()> {
    if project.files.is_empty() {
        return Ok(());
    }
    project.select(services).map(drop)
}

/// List the images of the project's containers
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// table, json, or a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

const IMAGES: &[Column] = &[
    ("CONTAINER", "ContainerName"),
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("PLATFORM", "Platform"),
    ("IMAGE ID", "ID"),
    ("SIZE", "Size"),
    ("CREATED", "CreatedSince"),
];

impl Images {
    /// The images of the project's containers.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&[])?;
        let format = Format::parse(self.format.as_deref(), false)?;
        let host = session.host().await?;
        let filter = ContainerFilter::labelled(labels::PROJECT, &project.name);
        let mut containers = host.list_containers(&filter).await?;
        containers.retain(|container| {
            self.services.is_empty()
                || self
                    .services
                    .iter()
                    .any(|service| service == names::service(container))
        });
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        let images = host.list_images().await?;
        let as_json = format == Format::Json;
        let now = session.now();
        let mut rows = Vec::new();
        for container in &containers {
            let image = images.iter().find(|image| image.id == container.image_id);
            let image = image.ok_or_else(|| {
                Error::not_found(format!(
                    "the image {} of {} is gone",
                    container.image_id, container.name
                ))
            })?;
            if self.quiet {
                out::line(describe::short_id(&image.id));
                continue;
            }
            rows.push(image_row(container, image, now, as_json));
        }
        match (self.quiet, as_json) {
            (true, _) => {}
            (false, false) => format.print(IMAGES, &rows)?,
            // As docker compose: one array, not one object a line.
            (false, true) => {
                let text = Format::Json.render(IMAGES, &rows)?;
                out::line(&format!("[{}]", text.lines().collect::<Vec<_>>().join(",")));
            }
        }
        Ok(OK)
    }
}

/// The image of one container: for programs ids are whole and sizes numbers, as docker compose has it.
fn image_row(container: &Container, image: &Image, now: Time, as_json: bool) -> Row {
    let (repository, tag) = describe::split_tag(&container.spec.image);
    let row = Row::default()
        .with("ContainerName", container.name.clone())
        .with("Repository", repository)
        .with("Tag", if tag == "<none>" { "latest" } else { tag })
        .with("Platform", format!("{}/{}", image.os, image.architecture));
    match as_json {
        true => row
            .with("ID", image.id.clone())
            .with("Size", image.size_bytes)
            .with("Created", image.created.map(|time| time.to_string())),
        false => row
            .with("ID", describe::short_id(&image.id))
            .with("Size", orc_base::units::format_bytes(image.size_bytes))
            .with(
                "CreatedSince",
                image
                    .created
                    .map_or("N/A".into(), |time| describe::ago(time, now)),
            ),
    }
}
