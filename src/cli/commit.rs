//! `commit`, `diff` and `export`: what a container has become.

use std::path::{Path, PathBuf};

use clap::Args;
use orc_base::{Error, Result};
use orc_host::Host;
use orc_host::archive::{ChangeKind, CommitSpec};

use crate::cli::failure::{OK, Outcome};
use crate::cli::session::Session;
use crate::cli::transfer::save;
use crate::ui::{escape, out, terminal};

/// Make an image of a container
#[derive(Debug, Args)]
pub(crate) struct Commit {
    #[command(flatten)]
    flags: CommitFlags,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// What to call the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

/// How an image is made of a container.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommitFlags {
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
}

impl CommitFlags {
    /// Makes the image and prints its id.
    pub(crate) async fn commit(
        self,
        host: &dyn Host,
        container: &str,
        name: Option<String>,
    ) -> Outcome {
        let spec = CommitSpec {
            reference: name,
            author: self.author.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            changes: self.change,
            pause: self.pause && !self.no_pause,
        };
        out::line(&host.commit_container(container, &spec).await?);
        Ok(OK)
    }
}

impl Commit {
    /// Prints the image's id.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        let flags = self.flags;
        flags.commit(&*host, &self.container, self.name).await
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
        check(self.output.as_deref())?;
        let host = session.host().await?;
        export(&*host, &self.container, self.output.as_deref()).await
    }
}

/// Nobody reads an archive on a terminal.
pub(crate) fn check(output: Option<&Path>) -> Result<()> {
    match output.is_none() && terminal::stdout_is_terminal() {
        true => Err(Error::invalid(
            "cowardly refusing to save to a terminal: use `-o FILE`, or redirect the output",
        )),
        false => Ok(()),
    }
}

/// Writes the files of a container to `output`, or to standard output.
pub(crate) async fn export(host: &dyn Host, container: &str, output: Option<&Path>) -> Outcome {
    save(host.export_container(container).await?, output).await?;
    Ok(OK)
}
