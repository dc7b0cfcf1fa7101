//! `alpha generate`: a Compose file of containers that exist.

use clap::{Args, ValueEnum};
use orc_base::Result;
use orc_compose::generate::generate;
use orc_compose::render::document;

use crate::cli::failure::{OK, Outcome};
use crate::cli::session::Session;
use crate::ui::out;

/// More containers are not put into one file.
const MAX_CONTAINERS: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    #[default]
    Yaml,
    Json,
}

/// Make a Compose file of containers
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// The language
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Name of the project in the file
    #[arg(long)]
    name: Option<String>,
    /// Directory of the project; the file has absolute paths alone
    #[arg(long, value_name = "DIR", hide = true)]
    project_dir: Option<String>,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Generate {
    /// Prints the file; what it cannot say is a warning.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        let mut found = Vec::new();
        for name in self.containers.iter().take(MAX_CONTAINERS) {
            let container = host.inspect_container(name).await?;
            let image = host.inspect_image(&container.image_id).await?.config;
            found.push((container, image));
        }
        let generated = generate(self.name.as_deref(), &found);
        for warning in &generated.warnings {
            out::warning(warning);
        }
        let text: Result<String> = match self.format {
            Format::Yaml => document(&generated.file),
            Format::Json => Ok(format!("{:#}\n", generated.file)),
        };
        out::bytes(text?.as_bytes());
        Ok(OK)
    }
}
