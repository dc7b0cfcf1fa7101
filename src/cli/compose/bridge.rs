//! `bridge` and `alpha`: docker compose's ways out of Compose and its experiments.
//!
//! What is not built here is refused by name, with what to do instead.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orc_base::Error;

use crate::cli::compose::graph;
use crate::cli::failure::Outcome;
use crate::cli::project::ProjectFlags;

/// Turn the project into files for other systems
#[derive(Debug, Subcommand)]
pub(crate) enum Bridge {
    /// Turn the project into files for Kubernetes
    Convert(Convert),
    /// Ways to turn it into something
    #[command(subcommand)]
    Transformations(Transformations),
}

#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// Directory for the files
    #[arg(short, long, value_name = "DIR", default_value = "out")]
    output: PathBuf,
    /// Directory with templates of one's own
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
    /// How it is turned into something: an image
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

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Begin with this one
    #[arg(short, long, value_name = "IMAGE")]
    from: Option<String>,
    /// Directory for it
    path: PathBuf,
}

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
    /// Refuses.
    pub(crate) fn run(&self) -> Outcome {
        let what = match self {
            Self::Convert(convert) => format!(
                "`bridge convert` is not built yet, so nothing was written to {}: `orc compose config` prints the whole project for other converters",
                convert.output.display()
            ),
            Self::Transformations(_) => {
                "`bridge transformations` are images made for Docker Desktop, which orc does not run"
                    .to_owned()
            }
        };
        Err(Error::unsupported(what).into())
    }
}

/// Docker compose's experiments
#[derive(Debug, Subcommand)]
pub(crate) enum Alpha {
    /// Draw the project for Graphviz; see `orc compose graph`
    Viz,
    /// Print what a verb would do; see `--dry-run`
    DryRun(Words),
    /// Make a Compose file of containers
    Generate(Words),
}

/// Whatever stands there.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// What docker compose takes there
    #[arg(
        value_name = "WORD",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

impl Alpha {
    /// Draws, or refuses.
    pub(crate) fn run(&self, flags: &ProjectFlags) -> Outcome {
        let (verb, words, instead) = match self {
            Self::Viz => return graph::Graph::dot().run(flags),
            Self::DryRun(words) => (
                "dry-run",
                words,
                "say `--dry-run` before or after any verb, such as `orc compose up --dry-run`",
            ),
            Self::Generate(words) => (
                "generate",
                words,
                "`orc inspect` shows all that a Compose file has to say",
            ),
        };
        let words = words.words.join(" ");
        Err(Error::unsupported(format!(
            "`{}` is not built: {instead}",
            format!("alpha {verb} {words}").trim_end()
        ))
        .into())
    }
}
