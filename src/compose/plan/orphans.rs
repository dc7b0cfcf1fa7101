//! Containers of a project that its files do not account for.
//!
//! Several sets of files may share a project's name, each with services of its own. Containers know the
//! files they were made from; what another set made is nobody's orphan here.

use std::collections::BTreeSet;

use orc_host::container::Container;

use crate::labels;
use crate::model::Project;
use crate::observe::{Observed, is_one_off, label};
use crate::plan::Plan;
use crate::plan::compare::is_up;

/// The project's containers whose service the files do not know, and one-offs that have ended.
pub(super) fn orphans<'o>(project: &Project, observed: &'o Observed) -> Vec<&'o Container> {
    observed
        .containers
        .iter()
        .filter(|container| match is_one_off(container) {
            true => !is_up(container) && container.state.pid().is_none(),
            false => {
                let service = label(container, labels::SERVICE);
                let unknown = service.is_none_or(|name| project.service(name).is_none());
                unknown && is_of_these_files(project, container)
            }
        })
        .collect()
}

/// Whether a container was made from the project's files, from more than them, or from some of them:
/// an override may have come or gone. One that does not say counts as theirs.
fn is_of_these_files(project: &Project, container: &Container) -> bool {
    let made_from = label(container, labels::CONFIG_FILES).unwrap_or_default();
    let made_from: BTreeSet<&str> = made_from.split(',').filter(|one| !one.is_empty()).collect();
    let files: Vec<String> = project
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let files: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    made_from.is_subset(&files) || files.is_subset(&made_from)
}

/// `COMPOSE_IGNORE_ORPHANS`, from the environment or the project's `.env`.
fn are_ignored(project: &Project) -> bool {
    let set = project.environment.get("COMPOSE_IGNORE_ORPHANS");
    let set = set.map(|value| value.trim().to_ascii_lowercase());
    set.is_some_and(|value| matches!(value.as_str(), "1" | "t" | "true" | "y" | "yes" | "on"))
}

/// Says that there are orphans, ended one-offs not counted.
pub(super) fn warn_of(orphans: &[&Container], project: &Project, plan: &mut Plan) {
    let names: Vec<&str> = orphans
        .iter()
        .filter(|container| !is_one_off(container))
        .map(|container| container.name.as_str())
        .collect();
    if !names.is_empty() && !are_ignored(project) {
        plan.warn(format!(
            "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up. (project {})",
            names.join(" "),
            project.name
        ));
    }
}
