//! `bridge`: ways out of Compose.
//!
//! To Kubernetes orc leads itself (`cli/stack/`); to other places lead images that docker compose's
//! users make, which are run as they expect it (`transform.rs`).

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orc_base::Error;
use orc_compose::render::document;

use crate::cli::compose::{manifests, transform};
use crate::cli::describe;
use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::cli::stack::bundle;
use crate::ui::format::{Column, Format, Row};
use crate::ui::{escape, out};

/// Turn the project into files for other systems
#[derive(Debug, Subcommand)]
pub(crate) enum Bridge {
    /// Turn the project into files for Kubernetes
    Convert(Convert),
    /// Ways to turn it into something
    #[command(subcommand)]
    Transformations(Transformations),
}

/// Turn the project into files for Kubernetes
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    orc compose bridge convert && kubectl apply -k out\n  \
    orc compose bridge convert -t example/to-helm -o chart   an image does it\n\n\
    What has no meaning in Kubernetes is a warning with the key's name.")]
pub(crate) struct Convert {
    /// Directory for the files; what is in it from an earlier time is taken away
    #[arg(short, long, value_name = "DIR", default_value = "out")]
    output: PathBuf,
    /// Directory with templates of one's own, for the image of -t
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
    /// An image that turns it into something, instead of orc; may be repeated
    #[arg(short, long, value_name = "IMAGE")]
    transformation: Vec<String>,
}

/// Ways to turn a project into something
#[derive(Debug, Subcommand)]
pub(crate) enum Transformations {
    /// Begin a way of one's own
    Create(Create),
    /// List the ways there are
    #[command(visible_alias = "ls")]
    List(List),
}

/// Begin a way of one's own, with the templates of an image
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Begin with this image
    #[arg(short, long, value_name = "IMAGE")]
    from: Option<String>,
    /// Directory for it
    path: PathBuf,
}

/// List the images that turn projects into something
#[derive(Debug, Args)]
pub(crate) struct List {
    /// table, json or a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
}

impl Bridge {
    /// Asks no daemon, unless an image does it.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        match self {
            Self::Convert(convert) => convert.run(session, flags).await,
            Self::Transformations(Transformations::Create(create)) => {
                transform::create(session, create.from.as_deref(), &create.path).await
            }
            Self::Transformations(Transformations::List(list)) => list.run(session).await,
        }
    }
}

impl Convert {
    async fn run(&self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let project = flags.load(&[])?;
        let contents = manifests::contents(&project)?;
        if flags.dry_run && !self.transformation.is_empty() {
            for image in &self.transformation {
                out::line(&escape::line(&format!("run {image}")));
            }
            return Ok(OK);
        }
        if !self.transformation.is_empty() {
            let places = transform::Places {
                output: &self.output,
                templates: self.templates.as_deref(),
            };
            return transform::all(session, &project, &contents, &self.transformation, &places)
                .await;
        }
        if self.templates.is_some() {
            return Err(Error::invalid(
                "`--templates` are for an image that turns the project into something: name it by `-t`",
            )
            .into());
        }
        let bundle = bundle::lower(&project, &contents)?;
        for warning in &bundle.warnings {
            out::warning(warning);
        }
        if flags.dry_run {
            for object in &bundle.objects {
                out::bytes(document(&object.json)?.as_bytes());
                out::line("---");
            }
            return Ok(OK);
        }
        let count = manifests::write(&bundle, &self.output)?;
        out::note(&format!(
            "{count} objects in {0}: `kubectl apply -k {0}` makes them",
            self.output.display()
        ));
        Ok(OK)
    }
}

impl List {
    async fn run(&self, session: &Session) -> Outcome {
        let images = transform::list(session).await?;
        if self.quiet {
            for image in &images {
                out::line(image.tags.first().unwrap_or(&image.id));
            }
            return Ok(OK);
        }
        let now = session.now();
        let rows: Vec<Row> = images
            .iter()
            .flat_map(|image| describe::image(image, now, false))
            .collect();
        Format::parse(self.format.as_deref(), false)?.print(COLUMNS, &rows)?;
        Ok(OK)
    }
}

const COLUMNS: &[Column] = &[
    ("IMAGE ID", "ID"),
    ("REPO", "Repository"),
    ("TAGS", "Tag"),
    ("SIZE", "Size"),
];
