//! `push` of a project: the images that it builds and that have a name.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use orc_base::Result;
use orc_compose::model::Project;
use orc_host::Host;

use crate::cli::compose::deeds::{self, Deed};
use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::cli::pull::credentials;
use crate::cli::session::Session;
use crate::ui::out;
use crate::ui::progress::{Mode, Progress};

/// Send the images that the project builds to their registries
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Go on when one cannot be sent
    #[arg(long)]
    ignore_push_failures: bool,
    /// And those of what the services need
    #[arg(long)]
    include_deps: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Push {
    /// Images that are not built here are not ours to send.
    pub(crate) async fn run(self, session: &Session, mut flags: ProjectFlags) -> Outcome {
        if self.quiet {
            flags.progress = Mode::Quiet;
        }
        let project = flags.load(&self.services)?;
        let images = images(&project, &self.services, self.include_deps)?;
        if flags.dry_run {
            for (image, service) in &images {
                out::line(&format!("push {image}  ({service})"));
            }
            return Ok(OK);
        }
        let names: Vec<String> = images.into_keys().collect();
        let done = push(&session.host().await?, &flags, &names).await;
        for result in done {
            match result {
                Err(error) if self.ignore_push_failures => out::warning(&error.to_string()),
                other => other?,
            }
        }
        Ok(OK)
    }
}

/// The images to push, each with a service it is of.
pub(crate) fn images(
    project: &Project,
    services: &[String],
    with_dependencies: bool,
) -> Result<BTreeMap<String, String>> {
    let mut selected = project.select(services)?;
    if with_dependencies {
        selected = project.with_dependencies(&selected);
    }
    let mut images = BTreeMap::new();
    for service in selected.iter().filter_map(|name| project.service(name)) {
        let (Some(build), Some(image)) = (&service.build, &service.image) else {
            continue;
        };
        for image in std::iter::once(image).chain(&build.tags) {
            images
                .entry(image.clone())
                .or_insert_with(|| service.name.clone());
        }
    }
    Ok(images)
}

/// Pushes images with their progress; the results are in their order.
pub(crate) async fn push(
    host: &Arc<dyn Host>,
    flags: &ProjectFlags,
    images: &[String],
) -> Vec<Result<()>> {
    let display = &Progress::new(flags.progress, flags.ansi, "push");
    let deeds = images.iter().enumerate().map(|(id, image)| {
        let subject = format!("Image {image}");
        let (host, told) = (Arc::clone(host), subject.clone());
        let work = async move {
            let steps = host.push_image(image, credentials(image).await?).await?;
            deeds::follow(display, id, &told, steps).await
        };
        Deed {
            subject,
            words: ("Pushing", "Pushed"),
            work: Box::pin(work),
        }
    });
    deeds::carry_out(display, flags.at_once(), deeds.collect()).await
}
