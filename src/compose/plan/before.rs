//! What has to be there before a one-off container: `run` is `up` for all that its service needs, and
//! then one container more (`one_off.rs`).

use std::collections::{BTreeMap, BTreeSet};

use orc_base::Result;

use crate::model::Project;
use crate::model::service::Service;
use crate::observe::Observed;
use crate::plan::planner::Planner;
use crate::plan::refuse::{self, Refusals};
use crate::plan::{Plan, Up};

/// Plans what has to be there before a one-off container of `service`: its networks, volumes, image,
/// and what it depends on, unless `options.no_deps`. The second is the first container of each
/// service.
pub(crate) fn before_one_off(
    project: &Project,
    observed: &Observed,
    service: &Service,
    options: &Up,
) -> Result<(Plan, BTreeMap<String, String>)> {
    let own: BTreeSet<String> = [service.name.clone()].into();
    let mut scope = match options.no_deps {
        true => BTreeSet::new(),
        false => project.with_dependencies(&own),
    };
    scope.remove(&service.name);
    let mut planner = Planner::new(project, observed, options, scope)?;
    let mut refusals = Refusals::default();
    refuse::findings(project, &own, &mut planner.plan, &mut refusals);
    refusals.end()?;
    planner.fetch()?;
    planner.image(service)?;
    planner.provide(Some(service))?;
    planner.services()?;
    if !options.no_deps {
        planner.dependencies_of(service);
    }
    Ok((planner.plan, planner.first_container))
}
