//! `rollback`: what ran before runs again, and so does a service whose update failed.

use std::time::Duration;

use clap::Args;
use orc_base::{Error, Result};
use orc_compose::history::Revision;
use orc_compose::model::Project;
use orc_compose::observe::observe;
use orc_compose::plan::{Goal, Up as Wanted};

use crate::cli::compose::book::Book;
use crate::cli::compose::carry_out::Work;
use crate::cli::compose::provide::provided;
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::time;
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::out;

/// Run again what ran before, by file and by the digests of its images
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    orc compose rollback             back to what ran before\n  \
    orc compose rollback 3           back to the third revision of `orc compose history`\n  \
    orc compose --dry-run rollback   show what that would do\n\n\
    The files of the project stay as they are: the next `up` goes forward again. Services follow\n\
    `deploy.rollback_config`. Data in volumes stays as it is.")]
pub(crate) struct Rollback {
    /// Be done when everything runs or is healthy
    #[arg(long)]
    wait: bool,
    /// Seconds that may take
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    /// Seconds a container may take to stop
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Remove containers of services that the revision did not have
    #[arg(long, env = "COMPOSE_REMOVE_ORPHANS", hide_env = true)]
    remove_orphans: bool,
    /// The number of the revision; the one before the last when absent
    #[arg(value_name = "REVISION")]
    revision: Option<u64>,
}

impl Rollback {
    /// See the flags.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        let name = flags.load_or_name(&[])?.name;
        let book = Book::of(session, &name)?;
        let history = book.read()?;
        let revision = history.find(self.revision)?;
        let host = session.host().await?;
        let project = as_it_was(&*host, &name, revision).await?;
        let wanted = Wanted {
            back: true,
            wait: self.wait,
            wait_timeout: self.wait_timeout.map(Duration::from_secs),
            timeout: time::timeout(self.timeout),
            remove_orphans: flags.removes_orphans(self.remove_orphans),
            ..Wanted::default()
        };
        let project = provided(session, &flags, project, &wanted, "rollback").await?;
        let work = Work {
            flags: &flags,
            project: &project,
            host,
        };
        work.reach(&Goal::Up(wanted), "rollback").await?;
        if !flags.dry_run {
            let by = format!("rollback to {}", revision.number);
            book.write(session, &*work.host, &project, &by).await;
            out::note(&format!("Back at revision {}", revision.number));
        }
        Ok(OK)
    }
}

async fn as_it_was(host: &dyn orc_host::Host, name: &str, revision: &Revision) -> Result<Project> {
    let observed = observe(host, name).await?;
    revision.project(name, &crate::cli::project::environment(), &observed)
}

/// Takes the failed update of single services back: each becomes what it was, as `rollback_config`
/// says. The answer is the failure of the update, and what came of going back.
pub(crate) async fn take_back(
    work: &Work<'_>,
    session: &Session,
    services: &[(String, Option<String>)],
    failure: Error,
) -> Error {
    let mut failure = failure;
    for (service, was) in services {
        failure = match one_back(work, session, service, was.as_deref()).await {
            Ok(number) => failure.within(format!("{service} is back at revision {number}")),
            Err(error) => {
                let text = format!("{service} could not be taken back: {error}");
                Error::new(failure.kind(), format!("{failure}\n{text}"))
            }
        };
    }
    failure
}

async fn one_back(
    work: &Work<'_>,
    session: &Session,
    service: &str,
    was: Option<&str>,
) -> Result<u64> {
    let unknown = || Error::not_found("what ran before is not known (`orc compose history`)");
    let history = Book::of(session, &work.project.name)?.read()?;
    let hash = was.ok_or_else(unknown)?;
    let revision = history.with_service(service, hash).ok_or_else(unknown)?;
    let mut project = as_it_was(&*work.host, &work.project.name, revision).await?;
    project.provided.clone_from(&work.project.provided);
    let before = Work {
        flags: work.flags,
        project: &project,
        host: work.host.clone(),
    };
    let wanted = Wanted {
        services: vec![service.to_owned()],
        no_deps: true,
        back: true,
        ..Wanted::default()
    };
    out::note(&format!(
        "Taking the update of {service} back to revision {}",
        revision.number
    ));
    before.reach(&Goal::Up(wanted), "rollback").await?;
    Ok(revision.number)
}
