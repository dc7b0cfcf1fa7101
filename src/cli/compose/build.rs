//! `compose build`: the images of services that have a `build` section.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use orc_base::{Context, Result, units};
use orc_compose::image_build::Overrides;
use orc_compose::plan::{Action, Build as Wanted, Goal};

use crate::cli::compose::bake;
use crate::cli::compose::carry_out::Work;
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::{build as parse, env};
use crate::cli::project::ProjectFlags;
use crate::cli::pull::{credentials, follow};
use crate::cli::session::Session;
use crate::ui::out;
use crate::ui::progress::Mode;

/// Build the images of the project
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Value of an ARG, over the file's
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Use no results of earlier builds
    #[arg(long)]
    no_cache: bool,
    /// Ask for base images anew
    #[arg(long)]
    pull: bool,
    /// Send the images to their registries
    #[arg(long)]
    push: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// Memory of a step
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// An ssh agent for the builds: default or ID=SOCKET
    #[arg(long, value_name = "AGENT", num_args = 0..=1, default_missing_value = "default")]
    ssh: Vec<String>,
    /// And what the services depend on
    #[arg(long)]
    with_dependencies: bool,
    /// Only look for what is wrong or will surprise
    #[arg(long)]
    check: bool,
    /// Only print the builds, as `docker buildx bake` takes them
    #[arg(long)]
    print: bool,
    // What Docker's flags promise and is not made here.
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    provenance: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    sbom: Option<String>,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Build {
    /// See the flags.
    pub(crate) async fn run(self, session: &Session, mut flags: ProjectFlags) -> Outcome {
        if self.quiet {
            flags.progress = Mode::Quiet;
        }
        self.unmade();
        let project = match self.print {
            true => flags.load(&self.services)?,
            false => flags.load_to_make(session, &self.services, false).await?,
        };
        if self.print {
            let (services, over) = (&self.services, self.overrides()?);
            let file = bake::bake(&project, services, self.with_dependencies, &over)?;
            out::line(&serde_json::to_string_pretty(&file).context(|| "print the builds")?);
            return Ok(OK);
        }
        let goal = Goal::Build(Wanted {
            services: self.services.clone(),
            with_dependencies: self.with_dependencies,
            over: self.overrides()?,
        });
        let work = Work {
            flags: &flags,
            project: &project,
            host: session.host().await?,
        };
        let plan = work.reach(&goal, "build").await?;
        if !self.push || flags.dry_run {
            return Ok(OK);
        }
        for operation in plan.operations() {
            let Action::BuildImage { image, .. } = &operation.action else {
                continue;
            };
            let named = operation
                .service
                .as_ref()
                .and_then(|name| project.service(name))
                .is_some_and(|service| service.image.is_some());
            if !named {
                out::warning(&format!("{image} has no name of its own and is not pushed"));
                continue;
            }
            let steps = work
                .host
                .push_image(image, credentials(image).await?)
                .await?;
            follow(steps, flags.progress, "push", &format!("Image {image}")).await?;
        }
        Ok(OK)
    }

    /// Says which flags ask for what is not made here.
    fn unmade(&self) {
        if let Some(builder) = &self.builder {
            out::warning(&format!(
                "`--builder {builder}` is ignored: the daemon builds, and there is one"
            ));
        }
        for (flag, value) in [("provenance", &self.provenance), ("sbom", &self.sbom)] {
            let off = |value: &String| matches!(value.as_str(), "false" | "0" | "disabled=true");
            if value.as_ref().is_some_and(|value| !off(value)) {
                out::warning(&format!("`--{flag}` is ignored: attestations are not made"));
            }
        }
    }

    fn overrides(&self) -> Result<Overrides> {
        let here = |name: &str| std::env::var(name).ok();
        let directory = std::env::current_dir().context(|| "find the working directory")?;
        let mut args = BTreeMap::new();
        for text in &self.build_arg {
            if let Some((name, value)) = env::variable(text, &here)?.split_once('=') {
                args.insert(name.into(), value.into());
            }
        }
        let ssh = self.ssh.iter().map(|text| parse::ssh(text, &directory));
        Ok(Overrides {
            args,
            no_cache: self.no_cache,
            pull: self.pull,
            memory_bytes: self.memory.as_deref().map(units::parse_bytes).transpose()?,
            ssh: ssh.collect::<Result<Vec<(String, Option<PathBuf>)>>>()?,
            check: self.check,
        })
    }
}
