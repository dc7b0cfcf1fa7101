//! Hooks of services: what runs after a start, before a stop, and to its end before the first start.
//!
//! Only a project that is known by its files has hooks; a container of `run` has none.

use orc_host::container::Container;

use crate::labels;
use crate::lower::hooks::process;
use crate::model::Project;
use crate::model::service::{Hook, Service};
use crate::observe::{is_one_off, label};
use crate::plan::{Action, Plan, When};

/// Adds the hooks of a container that was started by the step `started`, one after the other. The
/// answer is the last step.
pub(crate) fn after_start(
    plan: &mut Plan,
    project: &Project,
    service: &Service,
    container: &str,
    started: usize,
) -> usize {
    let hooks = &service.post_start;
    let steps = add(
        plan,
        project,
        service,
        container,
        When::PostStart,
        hooks,
        vec![started],
    );
    steps.last().copied().unwrap_or(started)
}

/// Adds the hooks of a container that is going to be stopped, after some steps. The answer is what the
/// stop comes after.
pub(crate) fn before_stop(
    plan: &mut Plan,
    project: &Project,
    container: &Container,
    after: &[usize],
) -> Vec<usize> {
    let service = label(container, labels::SERVICE).and_then(|name| project.service(name));
    let runs = container.state.is_running() && !is_one_off(container);
    match service.filter(|service| runs && !service.pre_stop.is_empty()) {
        Some(service) => add(
            plan,
            project,
            service,
            &container.name,
            When::PreStop,
            &service.pre_stop,
            after.to_vec(),
        ),
        None => after.to_vec(),
    }
}

/// Adds hooks one after the other; what comes after the last of them comes after the answer.
fn add(
    plan: &mut Plan,
    project: &Project,
    service: &Service,
    container: &str,
    when: When,
    hooks: &[Hook],
    mut after: Vec<usize>,
) -> Vec<usize> {
    for (index, hook) in hooks.iter().enumerate() {
        let action = Action::RunHook {
            container: container.to_owned(),
            when,
            number: index + 1,
            process: Box::new(process(project, hook)),
        };
        let cause = match when {
            When::PostStart => "after its start",
            When::PreStop => "before its stop",
        };
        after = vec![plan.add(Some(&service.name), action, cause, after)];
    }
    after
}
