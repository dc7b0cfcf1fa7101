//! `plan`: what `up` would do, each step with its cause, and nothing is done.
//!
//! For scripts: the exit code says whether there is anything to do, and `--format json` is one object.

use clap::{Args, ValueEnum};
use orc_compose::model::Project;
use orc_compose::observe::observe;
use orc_compose::plan::{self, Up as Wanted};
use serde_json::json;

use crate::cli::compose::programs;
use crate::cli::compose::up::MakeFlags;
use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::{escape, out};

/// The exit code when there is something to do.
const TO_DO: u8 = 2;

/// How the plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// A line a step
    #[default]
    Text,
    /// One object
    Json,
}

/// Show what `up` would do, and why; ends with 2 when there is something to do
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:\n  \
    orc plan                    each step with its number, its cause, and what it comes after\n  \
    orc plan --json | jq .      the same for programs\n  \
    orc plan -q || orc up -d    only when something changed\n\n\
    Exit codes: 0 nothing to do, 2 something to do, 1 it cannot be done.")]
pub(crate) struct Plan {
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Print nothing; the exit code says it
    #[arg(short, long)]
    quiet: bool,
    /// Leave alone what the services need
    #[arg(long)]
    no_deps: bool,
    /// Make the containers and start none
    #[arg(long)]
    no_start: bool,
    /// As if `up` should wait until everything runs or is healthy
    #[arg(long)]
    wait: bool,
    /// Fresh anonymous volumes for containers that are replaced
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    #[command(flatten)]
    make: MakeFlags,
    /// Only these services and what they need
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Plan {
    /// See the flags.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        let project = flags.load(&self.services)?;
        let wanted = Wanted {
            no_deps: self.no_deps,
            start: !self.no_start,
            wait: self.wait,
            renew_anonymous_volumes: self.renew_anon_volumes,
            ..self.make.wanted(&flags, &self.services)?
        };
        let host = session.host().await?;
        let mut observed = observe(&*host, &project.name).await?;
        programs::look(&project, &mut observed).await;
        let plan = plan::preview(&project, &observed, &wanted)?;
        plan.warnings
            .iter()
            .for_each(|warning| out::warning(warning));
        match (self.quiet, self.json || self.format == Format::Json) {
            (true, _) => {}
            (false, true) => out::line(&object(&project, &plan).to_string()),
            (false, false) if plan.is_empty() => out::note("Nothing to do"),
            (false, false) => out::bytes(escape::text(&plan.to_string()).as_bytes()),
        }
        Ok(match plan.is_empty() {
            true => OK,
            false => TO_DO,
        })
    }
}

/// The plan for programs.
fn object(project: &Project, plan: &plan::Plan) -> serde_json::Value {
    let operations: Vec<_> = plan
        .operations()
        .iter()
        .map(|operation| {
            json!({
                "id": operation.id,
                "verb": operation.action.verb(),
                "subject": operation.action.subject(),
                "text": operation.action.to_string(),
                "cause": operation.cause,
                "service": operation.service,
                "after": operation.after,
            })
        })
        .collect();
    json!({
        "project": project.name,
        "operations": operations,
        "warnings": plan.warnings,
    })
}
