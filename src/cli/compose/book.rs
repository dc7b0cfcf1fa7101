//! The book of a project: what ran before, kept beside the daemon's data (`orc_compose::history`).
//!
//! Written when `up` has reached its goal, read by `history` and `rollback`, and by an update that
//! failed and is to be taken back. Without a daemon of this machine there is none, nor for a user who
//! may not write there: nothing else depends on it.

use std::path::PathBuf;

use orc_base::Result;
use orc_compose::history::{History, Revision};
use orc_compose::model::Project;
use orc_compose::observe::observe;
use orc_host::Host;

use crate::cli::session::Session;

/// Where the history of one project is.
pub(crate) struct Book {
    /// `None` when the daemon is another one than that of these places.
    path: Option<PathBuf>,
}

impl Book {
    /// The book of a project of that name.
    pub(crate) fn of(session: &Session, project: &str) -> Result<Self> {
        let dirs = session.place.dirs()?;
        let own = session.place.socket()? == dirs.socket();
        let file = format!("{project}.json");
        Ok(Self {
            path: own.then(|| dirs.data().join("compose").join("history").join(file)),
        })
    }

    /// Whether something stands in it.
    pub(crate) fn is_begun(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.exists())
    }

    /// What it says.
    pub(crate) fn read(&self) -> Result<History> {
        match &self.path {
            Some(path) => History::load(path),
            None => Ok(History::default()),
        }
    }

    /// Writes down what runs now, unless that is what it says last.
    pub(crate) async fn write(
        &self,
        session: &Session,
        host: &dyn Host,
        project: &Project,
        by: &str,
    ) {
        let Some(path) = &self.path else {
            return;
        };
        let work = async {
            let mut history = History::load(path)?;
            let observed = observe(host, &project.name).await?;
            let now = Revision::now(project, &observed, session.now(), by)?;
            if history.add(now).is_some() {
                history.save(path)?;
            }
            Ok::<(), orc_base::Error>(())
        };
        // What was asked for is done; going back to it later is all that is lost.
        if let Err(error) = work.await {
            tracing::debug!(%error, "the history of the project is not written");
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) -> Result<()> {
        match &self.path {
            Some(path) => orc_base::fs::remove_file(path),
            None => Ok(()),
        }
    }
}
