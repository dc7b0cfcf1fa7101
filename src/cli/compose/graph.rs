//! `graph`: the project as a picture.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use orc_base::Context;
use orc_compose::graph::{self, Picture};

use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::ui::{escape, out};

/// The languages of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// A tree for the terminal
    #[default]
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown pages
    Mermaid,
    /// For a browser
    Svg,
}

/// Draw the project: services, what they wait for, networks and volumes
#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// The language
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Graph {
    /// Asks no daemon.
    pub(crate) fn run(&self, flags: &ProjectFlags) -> Outcome {
        let picture = match self.format {
            Format::Text => Picture::Text,
            Format::Dot => Picture::Dot,
            Format::Mermaid => Picture::Mermaid,
            Format::Svg => Picture::Svg,
        };
        let text = graph::draw(&flags.load(&[])?, picture);
        match &self.output {
            Some(path) => {
                std::fs::write(path, text).context(|| format!("write {}", path.display()))?;
            }
            None => out::bytes(escape::text(&text).as_bytes()),
        }
        Ok(OK)
    }
}
