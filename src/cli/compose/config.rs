//! `config`: the project as it is understood, or one of its lists.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use orc_base::{Context, Result};
use orc_compose::explain::explain;
use orc_compose::load::{self, LoadOptions};
use orc_compose::model::Project;
use orc_compose::pins;
use orc_compose::render::{self, render};
use orc_compose::variables::variables;

use crate::cli::compose::pin::pinned;
use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::out;
use crate::ui::table::Table;

/// The languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// For people
    Yaml,
    /// For programs
    Json,
}

/// Print the project as it is understood, or one of its lists
#[derive(Debug, Args)]
pub(crate) struct Config {
    /// The language; variables are a table without it
    #[arg(long, value_enum)]
    format: Option<Language>,
    /// Only check
    #[arg(short, long)]
    quiet: bool,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only the names of services
    #[arg(long = "services")]
    only_services: bool,
    /// Only the names of networks
    #[arg(long)]
    networks: bool,
    /// Only the names of volumes
    #[arg(long)]
    volumes: bool,
    /// Only the names of images
    #[arg(long)]
    images: bool,
    /// Only the names of models
    #[arg(long)]
    models: bool,
    /// Only the names of profiles
    #[arg(long)]
    profiles: bool,
    /// Only the variables the files are read with
    #[arg(long)]
    environment: bool,
    /// Only the variables the files ask for, and what stands there without them
    #[arg(long)]
    variables: bool,
    /// Only the digests of services: one or *
    #[arg(long, value_name = "SERVICE")]
    hash: Option<String>,
    /// Leave variables as they are
    #[arg(long)]
    no_interpolate: bool,
    /// Do not fill in defaults
    #[arg(long)]
    no_normalize: bool,
    /// Do not check references
    #[arg(long)]
    no_consistency: bool,
    /// Leave paths as they are
    #[arg(long)]
    no_path_resolution: bool,
    /// Leave `env_file` as it is
    #[arg(long)]
    no_env_resolution: bool,
    /// Say where each value comes from: the file, the line, and what stands there for variables
    #[arg(long, conflicts_with_all = ["format", "no_interpolate", "hash"])]
    explain: bool,
    /// Pin images to what their tags lead to at their registries now
    #[arg(long)]
    resolve_image_digests: bool,
    /// Only the pinned images, as a further file that pins them
    #[arg(long)]
    lock_image_digests: bool,
    /// Only these services and what they need
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Config {
    /// Asks the daemon only for what tags lead to.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let options = LoadOptions {
            no_interpolate: self.no_interpolate || self.variables,
            no_normalize: self.no_normalize || self.variables,
            no_consistency: self.no_consistency,
            no_path_resolution: self.no_path_resolution,
            no_env_resolution: self.no_env_resolution || self.variables,
            ..flags.options(&self.services)?
        };
        let mut loaded = load::load(&options)?;
        loaded
            .warnings
            .iter()
            .for_each(|warning| out::warning(warning));
        if self.resolve_image_digests || self.lock_image_digests {
            let host = session.host().await?;
            let pinned = pinned(&*host, &loaded.project, flags.at_once()).await?;
            pins::set_images(&mut loaded.project, &pinned);
        }
        if self.lock_image_digests {
            for name in pins::unpinned_steps(&loaded.project) {
                out::warning(&format!(
                    "service {name}: images of pre_start cannot be pinned by a further file: use what `--resolve-image-digests` prints"
                ));
            }
            pins::keep_images(&mut loaded.project);
        }
        let text = match self.explain {
            true => self.explained(&options, &loaded.project)?,
            false => self.text(&loaded.project, flags.all_resources)?,
        };
        match (&self.output, self.quiet) {
            (_, true) => {}
            (Some(path), false) => {
                std::fs::write(path, text).context(|| format!("write {}", path.display()))?;
            }
            (None, false) => out::bytes(text.as_bytes()),
        }
        Ok(OK)
    }

    /// The files are read once more, with their variables left as they are.
    fn explained(&self, options: &LoadOptions, project: &Project) -> Result<String> {
        let raw = load::load(&LoadOptions {
            no_interpolate: true,
            no_consistency: true,
            ..options.clone()
        })?;
        Ok(explain(project, &raw.project))
    }

    fn text(&self, project: &Project, all_resources: bool) -> Result<String> {
        if let Some(service) = &self.hash {
            return hashes(project, service);
        }
        Ok(match () {
            () if self.only_services => lines(project.services.keys().cloned()),
            () if self.networks => lines(project.networks.keys().cloned()),
            () if self.volumes => lines(project.volumes.keys().cloned()),
            () if self.images => lines(
                project
                    .services
                    .values()
                    .map(|service| service.image_name(&project.name)),
            ),
            () if self.models => lines(render::declared(project, "models").into_iter()),
            () if self.variables => self.variables(project)?,
            () if self.profiles => {
                let services = project.services.values().chain(project.disabled.values());
                lines(services.flat_map(|service| service.profiles.clone()))
            }
            () if self.environment => lines(
                project
                    .environment
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            ),
            () => {
                let language = match self.format {
                    None | Some(Language::Yaml) => render::Format::Yaml,
                    Some(Language::Json) => render::Format::Json,
                };
                render(project, language, &self.services, all_resources)?
            }
        })
    }

    fn variables(&self, project: &Project) -> Result<String> {
        let found = variables(project);
        if let Some(Language::Json) = self.format {
            return Ok(serde_json::to_string_pretty(&found)? + "\n");
        }
        if let Some(Language::Yaml) = self.format {
            return render::document(&serde_json::to_value(&found)?);
        }
        let mut table = Table::new(&["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"]);
        for variable in found.into_values() {
            table.row([
                variable.name,
                variable.required.to_string(),
                variable.default_value,
                variable.presence_value,
            ]);
        }
        Ok(table.render())
    }
}

/// Sorted, each once, a line feed after each.
fn lines(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    names.into_iter().map(|name| name + "\n").collect()
}

fn hashes(project: &Project, which: &str) -> Result<String> {
    if which == "*" {
        return Ok(lines(
            project
                .services
                .iter()
                .map(|(name, service)| format!("{name} {}", service.hash)),
        ));
    }
    let one = |name: &str| match project.service(name) {
        Some(service) => Ok(format!("{name} {}", service.hash)),
        None => Err(project.no_such_service(name)),
    };
    let found: Vec<String> = which.split(',').map(one).collect::<Result<_>>()?;
    Ok(lines(found.into_iter()))
}
