//! Which variables of providers and models a service gets.
//!
//! They are no part of a service's hash, which is docker compose's; a container's label has the digest
//! of what it was made with, so that other variables are seen.

use std::collections::BTreeMap;

use crate::digest;
use crate::model::Project;
use crate::model::provider::Provided;
use crate::model::service::Service;

/// Adds what programs have given to what is known. The answer is what is to be said about it.
pub fn give(project: &mut Project, given: Provided) -> Vec<String> {
    project.provided.extend(given);
    let services = project.services.values();
    services
        .flat_map(|service| overridden(project, service))
        .collect()
}

/// The variables for a service, by what is known so far. Providers come in the order of their names.
pub(crate) fn given_to(project: &Project, service: &Service) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for name in providers_of(project, service) {
        let Some(given) = project.provided.services.get(name) else {
            continue;
        };
        // docker compose's prefix, which keeps hyphens.
        let prefix = name.to_uppercase();
        let prefixed = given.prefixed.iter();
        all.extend(prefixed.map(|(key, value)| (format!("{prefix}_{key}"), value.clone())));
        let raw = given.raw.iter();
        all.extend(raw.map(|(key, value)| (key.clone(), value.clone())));
    }
    for (key, how) in &service.models {
        let known = project.models.get(key);
        let (Some(model), Some(endpoint)) = (known, project.provided.endpoints.get(key)) else {
            continue;
        };
        let how = how.clone().unwrap_or_default();
        let prefix = key.to_uppercase().replace('-', "_");
        let named = |name: Option<String>, end: &str| name.unwrap_or(format!("{prefix}_{end}"));
        all.insert(named(how.model_var, "MODEL"), model.model.clone());
        all.insert(named(how.endpoint_var, "URL"), endpoint.clone());
    }
    all
}

/// Whether all that gives variables to the service has given them.
pub(crate) fn knows_all(project: &Project, service: &Service) -> bool {
    let provided = &project.provided;
    providers_of(project, service).all(|name| provided.services.contains_key(name))
        && service
            .models
            .keys()
            .all(|key| provided.endpoints.contains_key(key))
}

/// Digest of what a container of the service is made from and its hash does not say: files it is
/// given, and variables of providers. Empty when there is nothing of the kind.
pub(crate) fn inputs(project: &Project, service: &Service) -> String {
    let given = given_to(project, service);
    match given.is_empty() {
        true => service.inputs.clone(),
        false => digest::of(&format!("{} {given:?}", service.inputs)),
    }
}

/// The services that the service depends on and that a provider stands for.
pub(crate) fn providers_of<'a>(
    project: &'a Project,
    service: &'a Service,
) -> impl Iterator<Item = &'a str> {
    let depends_on = service.depends_on.keys().map(String::as_str);
    depends_on.filter(|name| {
        let other = project.service(name);
        other.is_some_and(|other| other.provider.is_some())
    })
}

/// What is to be said about variables that take the place of the file's own: only raw names can.
fn overridden(project: &Project, service: &Service) -> Vec<String> {
    let mut told = Vec::new();
    for name in providers_of(project, service) {
        let given = project.provided.services.get(name);
        for (key, value) in given.iter().flat_map(|given| &given.raw) {
            let own = service.environment.get(key);
            if own.is_some_and(|own| own.as_ref() != Some(value)) {
                told.push(format!(
                    "provider {name} gives {key} another value than service {} has in its file",
                    service.name
                ));
            }
        }
    }
    told
}
