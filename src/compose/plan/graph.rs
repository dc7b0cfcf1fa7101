//! Which service comes before which.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Error, Result};

use crate::model::Project;

/// The services of `scope`, each after those it depends on.
pub(crate) fn order(project: &Project, scope: &BTreeSet<String>) -> Result<Vec<String>> {
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in scope {
        let below = needs(project, name).filter(|other| scope.contains(*other));
        let mut count = 0;
        for other in below {
            dependents.entry(other).or_default().push(name);
            count += 1;
        }
        missing.insert(name, count);
    }
    let mut ready: BTreeSet<&str> = missing
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(name, _)| *name)
        .collect();
    let mut order = Vec::with_capacity(scope.len());
    while let Some(name) = ready.pop_first() {
        order.push(name.to_owned());
        for dependent in dependents.remove(name).unwrap_or_default() {
            if let Some(count) = missing.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(dependent);
                }
            }
        }
    }
    match order.len() == scope.len() {
        true => Ok(order),
        false => {
            let stuck: Vec<_> = scope
                .iter()
                .filter(|name| !order.contains(name))
                .cloned()
                .collect();
            Err(Error::invalid(format!(
                "dependency cycle detected among {}",
                stuck.join(", ")
            )))
        }
    }
}

/// The services that a service names in `depends_on`.
pub(crate) fn needs<'a>(project: &'a Project, name: &str) -> impl Iterator<Item = &'a str> {
    let service = project.service(name);
    service
        .into_iter()
        .flat_map(|service| service.depends_on.keys())
        .map(String::as_str)
}

/// The services of `scope` that name `name` in `depends_on`.
pub(crate) fn dependents<'a>(
    project: &'a Project,
    scope: &'a BTreeSet<String>,
    name: &'a str,
) -> impl Iterator<Item = &'a str> {
    scope
        .iter()
        .map(String::as_str)
        .filter(move |other| needs(project, other).any(|needed| needed == name))
}
