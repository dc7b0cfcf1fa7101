//! `commit`, `diff` and `export`: what a container has become.

use std::path::PathBuf;

use clap::Args;
use orc_base::Error;
use orc_host::archive::{ChangeKind, CommitSpec};

use crate::cli::failure::{OK, Outcome};
use crate::cli::session::Session;
use crate::cli::transfer::save;
use crate::ui::{escape, out, terminal};

/// Make an image of a container
#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// Who made it
    #[arg(short, long)]
    author: Option<String>,
    /// An instruction of a Dockerfile: 'CMD ["sh"]', 'ENV A=b'
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A word about it for its history
    #[arg(short, long)]
    message: Option<String>,
    /// Freeze the container meanwhile
    #[arg(
        short,
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pause: bool,
    /// Let the container go on meanwhile
    #[arg(long, conflicts_with = "pause")]
    no_pause: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// What to call the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

impl Commit {
    /// Prints the image's id.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let spec = CommitSpec {
            reference: self.name,
            author: self.author.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            changes: self.change,
            pause: self.pause && !self.no_pause,
        };
        let host = session.host().await?;
        out::line(&host.commit_container(&self.container, &spec).await?);
        Ok(OK)
    }
}

/// Show what a container has changed in its files
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Diff {
    /// One line for each path: A for added, C for changed, D for deleted.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        for change in host.container_changes(&self.container).await? {
            let letter = match change.kind {
                ChangeKind::Added => 'A',
                ChangeKind::Modified => 'C',
                ChangeKind::Deleted => 'D',
            };
            out::line(&format!("{letter} {}", escape::line(&change.path)));
        }
        Ok(OK)
    }
}

/// Write the files of a container to a tar archive
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The archive; standard output when absent
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Export {
    /// A file is there whole or not at all.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        if self.output.is_none() && terminal::stdout_is_terminal() {
            return Err(Error::invalid(
                "cowardly refusing to save to a terminal: use `-o FILE`, or redirect the output",
            )
            .into());
        }
        let host = session.host().await?;
        let pieces = host.export_container(&self.container).await?;
        save(pieces, self.output.as_deref()).await?;
        Ok(OK)
    }
}
