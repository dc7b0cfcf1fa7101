//! `lint`: what could be better in the files, each with a place and a fix.

use clap::{Args, ValueEnum};
use orc_compose::lint;

use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::ui::{escape, out};

/// The exit code when there is something to say; errors have the same one, as they are no less.
const REMARKS: u8 = 1;

/// How remarks are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Say what could be better in the project's files
///
/// Each remark names its rule, file, line and column, and how to mend it. A file leaves rules out by
/// `x-orc-lint: {ignore: [rule, …]}`, at its top or in a service. Exits with 0 when there is nothing
/// to say, else with 1.
#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// How remarks are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Lint {
    /// Asks no daemon.
    pub(crate) fn run(&self, flags: &ProjectFlags) -> Outcome {
        let remarks = lint::lint(&flags.options(&[])?)?;
        match self.format {
            Format::Json => out::bytes(lint::to_json(&remarks).as_bytes()),
            Format::Text => {
                for remark in &remarks {
                    out::bytes(escape::text(&remark.to_string()).as_bytes());
                }
            }
        }
        Ok(match remarks.is_empty() {
            true => OK,
            false => REMARKS,
        })
    }
}
