//! All that `up` will do, in one plan.
//!
//! `up` itself is two: images that somebody wants new each time come first, then the machine is
//! looked at again. Here there is one look, so what depends on those images is told, not planned.

use std::collections::BTreeMap;

use orc_base::Result;

use crate::model::Project;
use crate::observe::Observed;
use crate::plan::{Action, Operation, Plan, Up, images, up};

/// See [`crate::plan::preview`].
pub(super) fn preview(project: &Project, observed: &Observed, options: &Up) -> Result<Plan> {
    let first = images::refresh(project, observed, options)?;
    let rest = up::plan(
        project,
        observed,
        &Up {
            refreshed: true,
            ..options.clone()
        },
    )?;
    let mut whole = then(first.clone(), rest);
    for image in first.operations.iter().filter_map(provided) {
        if observed.image(image).is_some() {
            whole.warn(format!(
                "image {image} is renewed: containers of it are replaced when it has changed"
            ));
        }
    }
    Ok(whole)
}

/// One plan after another: nothing of `next` begins before all of `first` is done. An image that
/// `first` provides is not provided again.
fn then(first: Plan, next: Plan) -> Plan {
    let mut whole = first;
    let before: Vec<usize> = whole.operations.iter().map(|step| step.id).collect();
    let provided_by: BTreeMap<String, usize> = whole
        .operations
        .iter()
        .filter_map(|step| Some((provided(step)?.to_owned(), step.id)))
        .collect();
    let mut numbers: Vec<usize> = Vec::new();
    for step in next.operations {
        let earlier = provided(&step).and_then(|image| provided_by.get(image));
        numbers.push(match earlier {
            Some(number) => *number,
            None => {
                let mut after: Vec<usize> = step.after.iter().map(|id| numbers[*id]).collect();
                if after.iter().all(|id| *id < before.len()) {
                    after.extend(&before);
                }
                whole.add(step.service.as_deref(), step.action, step.cause, after)
            }
        });
    }
    for warning in next.warnings {
        whole.warn(warning);
    }
    whole
}

/// The image that a step fetches or builds.
fn provided(step: &Operation) -> Option<&str> {
    match &step.action {
        Action::PullImage { image, .. } | Action::BuildImage { image, .. } => Some(image),
        _ => None,
    }
}
