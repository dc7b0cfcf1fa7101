//! Containers of a project that its files do not account for.

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
                label(container, labels::SERVICE).is_none_or(|name| project.service(name).is_none())
            }
        })
        .collect()
}

/// Says that there are orphans, ended one-offs not counted.
pub(super) fn warn_of(orphans: &[&Container], project: &Project, plan: &mut Plan) {
    let names: Vec<&str> = orphans
        .iter()
        .filter(|container| !is_one_off(container))
        .map(|container| container.name.as_str())
        .collect();
    if !names.is_empty() {
        plan.warn(format!(
            "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up. (project {})",
            names.join(" "),
            project.name
        ));
    }
}
