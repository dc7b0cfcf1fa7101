//! Runs the programs that stand for services and models, until all that they give is known.
//!
//! Round after round: what one needs runs before it. Containers are made from what they give, so this
//! comes before anybody looks which containers differ.

use std::sync::Arc;

use orc_base::{Error, Result};
use orc_compose::model::Project;
use orc_compose::plan::{Goal, Up};
use orc_compose::provider::given::give;
use orc_host::Host;

use crate::cli::compose::carry_out::Work;
use crate::cli::failure::{Failure, OK, or_interrupted};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::out;

/// The project with all that its providers and models give. A dry run asks none.
pub(crate) async fn provided(
    session: &Session,
    flags: &ProjectFlags,
    mut project: Project,
    wanted: &Up,
    verb: &str,
) -> std::result::Result<Project, Failure> {
    let mut all = project.services.values().chain(project.disabled.values());
    if flags.dry_run || !all.any(|one| one.provider.is_some() || !one.models.is_empty()) {
        return Ok(project);
    }
    let host = session.host().await?;
    or_interrupted(async {
        rounds(&host, flags, &mut project, wanted, verb).await?;
        Ok(OK)
    })
    .await?;
    Ok(project)
}

async fn rounds(
    host: &Arc<dyn Host>,
    flags: &ProjectFlags,
    project: &mut Project,
    wanted: &Up,
    verb: &str,
) -> Result<()> {
    // Each round runs at least one program that no earlier one has run.
    let most = project.services.len() + project.disabled.len() + project.models.len();
    for _ in 0..=most {
        let work = Work {
            flags,
            project,
            host: Arc::clone(host),
        };
        let plan = work.plan(&Goal::Provide(wanted.clone())).await?;
        if plan.is_empty() {
            return Ok(());
        }
        let outcome = work.outcome(&plan, verb).await;
        outcome.done?;
        for warning in give(project, outcome.given) {
            out::warning(&warning);
        }
    }
    Err(Error::internal("the providers of the project find no end"))
}
