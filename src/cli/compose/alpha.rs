//! `alpha`: docker compose's experiments, of the time of each of its versions.
//!
//! Those that have become verbs are these verbs.

use clap::{Args, FromArgMatches, Subcommand};
use orc_base::Error;
use orc_compose::graph;

use crate::cli::compose::generate::Generate;
use crate::cli::compose::publish::Publish;
use crate::cli::compose::verbs::Scale;
use crate::cli::compose::watch::Watch;
use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::{escape, out};

/// Docker compose's experiments
#[derive(Debug, Subcommand)]
pub(crate) enum Alpha {
    /// Draw the project for Graphviz; see `orc compose graph`
    Viz(Viz),
    /// Print what a verb would do; see `--dry-run`
    DryRun(DryRun),
    /// Make a Compose file of containers
    Generate(Generate),
    /// Send the project to a registry; see `orc compose publish`
    Publish(Publish),
    /// Change how many containers services have; see `orc compose scale`
    Scale(Scale),
    /// Follow changes of files; see `orc compose watch`
    Watch(Watch),
}

/// Draw the project for Graphviz; see `orc compose graph`
#[derive(Debug, Args)]
pub(crate) struct Viz {
    /// Networks, too; the picture always has them
    #[arg(long)]
    networks: bool,
    /// Ports, too; the picture always has them
    #[arg(long)]
    ports: bool,
    /// Images, too; the picture always has them
    #[arg(long)]
    image: bool,
    /// How many tabs or spaces a line begins with
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    indentation_size: u8,
    /// Spaces instead of tabs
    #[arg(long)]
    spaces: bool,
}

impl Viz {
    fn run(&self, flags: &ProjectFlags) -> Outcome {
        let text = graph::draw(&flags.load(&[])?, graph::Picture::Dot);
        let one = if self.spaces { " " } else { "\t" };
        let indentation = one.repeat(self.indentation_size.into());
        for line in text.lines() {
            let depth = (line.len() - line.trim_start().len()) / 2;
            let line = format!("{}{}", indentation.repeat(depth), line.trim_start());
            out::bytes(escape::text(&format!("{line}\n")).as_bytes());
        }
        Ok(OK)
    }
}

/// Print what a verb would do; see `--dry-run`
#[derive(Debug, Args)]
pub(crate) struct DryRun {
    /// The verb and what it takes
    #[arg(
        required = true,
        value_name = "VERB",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

impl DryRun {
    /// The verb, read as if it stood after `orc compose`.
    pub(crate) fn verb<V: Subcommand + FromArgMatches>(&self) -> orc_base::Result<V> {
        let command =
            V::augment_subcommands(clap::Command::new("orc compose").no_binary_name(true));
        let read = command
            .try_get_matches_from(&self.words)
            .and_then(|mut matches| V::from_arg_matches_mut(&mut matches));
        read.map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Error::invalid(first.trim_start_matches("error: ").to_owned())
        })
    }
}

impl Alpha {
    /// See each. `DryRun` is led by whoever knows the verbs.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        match self {
            Self::Viz(viz) => viz.run(&flags),
            Self::Generate(generate) => generate.run(session).await,
            Self::Publish(publish) => publish.run(session, flags).await,
            Self::Scale(scale) => scale.run(session, flags).await,
            Self::Watch(watch) => watch.run(session, flags).await,
            Self::DryRun(_) => Err(Error::internal("a verb that nobody leads").into()),
        }
    }
}
