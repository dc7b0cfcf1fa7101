//! `cp`, `commit` and `export` of a project: as of a container, which is named by its service.

use std::path::PathBuf;

use clap::Args;
use orc_base::{Error, Result};
use orc_compose::labels;
use orc_host::Host;
use orc_host::container::{Container, ContainerFilter};

use crate::cli::commit::{self, CommitFlags};
use crate::cli::compose::exec::one;
use crate::cli::compose::names;
use crate::cli::cp::{self, CopyFlags};
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::copy::{self as word, End};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::cli::target;
use crate::ui::out;

/// Copy files between a service and this machine
#[derive(Debug, Args)]
#[command(
    override_usage = "orc compose cp [OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n       \
                            orc compose cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH"
)]
pub(crate) struct Cp {
    #[command(flatten)]
    copy: CopyFlags,
    /// Containers that `run` made, too
    #[arg(long)]
    all: bool,
    /// Only the container with this number of the service
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    index: u64,
    /// What is copied: DIRECTORY/. is what is in it, - a tar archive on standard input
    #[arg(value_name = "SRC_PATH")]
    source: String,
    /// Where it goes; - is standard output, as a tar archive
    #[arg(value_name = "DEST_PATH")]
    target: String,
}

impl Cp {
    /// From the first container of the service; into all of them.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let (from, to) = (word::end(&self.source), word::end(&self.target));
        cp::check(&from, &to)?;
        let host = session.host().await?;
        match (from, to) {
            (End::Container { name, path }, to) => {
                let found = self.containers(&*host, flags, &name).await?;
                if flags.dry_run {
                    return Ok(self.tell(&found[..1]));
                }
                self.copy.copy(&*host, inside(&found[0], path), to).await?;
            }
            (from, End::Container { name, path }) => {
                let found = self.containers(&*host, flags, &name).await?;
                if flags.dry_run {
                    return Ok(self.tell(&found));
                }
                if found.len() > 1 && from == End::Pipe {
                    return Err(Error::invalid(format!(
                        "the service `{name}` has {} containers, and standard input is there once: name one with `--index`",
                        found.len()
                    ))
                    .into());
                }
                for container in &found {
                    let end = inside(container, path.clone());
                    self.copy.copy(&*host, from.clone(), end).await?;
                }
            }
            _ => return Err(Error::internal("no container to copy from or to").into()),
        }
        Ok(OK)
    }

    /// Says what would be copied.
    fn tell(&self, containers: &[Container]) -> u8 {
        for container in containers {
            let (from, to) = (&self.source, &self.target);
            out::line(&format!("copy {from} to {to}  ({})", container.name));
        }
        OK
    }

    /// At least one.
    async fn containers(
        &self,
        host: &dyn Host,
        flags: &ProjectFlags,
        service: &str,
    ) -> Result<Vec<Container>> {
        let project = flags.load_or_name(&[])?;
        if !project.services.is_empty() {
            project
                .service(service)
                .ok_or_else(|| project.no_such_service(service))?;
        }
        let mut filter = ContainerFilter::labelled(labels::PROJECT, &project.name);
        filter
            .labels
            .push((labels::SERVICE.into(), Some(service.into())));
        let mut found = host.list_containers(&filter).await?;
        found.retain(|container| {
            let one_off = names::is_one_off(container);
            (self.all || !one_off)
                && (self.index == 0 || (!one_off && target::number(container) == self.index))
        });
        found.sort_by_key(|container| (names::is_one_off(container), target::number(container)));
        match found.is_empty() {
            false => Ok(found),
            true if self.index > 0 => Err(Error::not_found(format!(
                "the service `{service}` has no container with number {}",
                self.index
            ))),
            true => Err(Error::not_found(format!(
                "the service `{service}` of project {} has no container: make it with `orc compose create`",
                project.name
            ))),
        }
    }
}

fn inside(container: &Container, path: String) -> End {
    End::Container {
        name: container.name.clone(),
        path,
    }
}

/// Make an image of a service's container
#[derive(Debug, Args)]
pub(crate) struct Commit {
    #[command(flatten)]
    commit: CommitFlags,
    /// Which container of the service
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    index: u64,
    /// The service
    service: String,
    /// What to call the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

impl Commit {
    /// Prints the image's id.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let host = session.host().await?;
        let container = one(&*host, flags, &self.service, self.index).await?;
        if flags.dry_run {
            let name = self.name.as_deref().unwrap_or("an image without a name");
            out::line(&format!("commit {} as {name}", container.name));
            return Ok(OK);
        }
        self.commit.commit(&*host, &container.id, self.name).await
    }
}

/// Write the files of a service's container to a tar archive
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The archive; standard output when absent
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which container of the service
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    index: u64,
    /// The service
    service: String,
}

impl Export {
    /// A file is there whole or not at all.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        commit::check(self.output.as_deref())?;
        let host = session.host().await?;
        let container = one(&*host, flags, &self.service, self.index).await?;
        if flags.dry_run {
            out::line(&format!("export {}", container.name));
            return Ok(OK);
        }
        commit::export(&*host, &container.id, self.output.as_deref()).await
    }
}
