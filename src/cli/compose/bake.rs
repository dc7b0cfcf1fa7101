//! The builds of a project in the language of `docker buildx bake`: `build --print`. Pure.

use orc_base::Result;
use orc_compose::image_build::Overrides;
use orc_compose::model::Project;
use orc_compose::model::service::{Build, Service};
use serde_json::{Map, Value, json};

/// The builds of these services (all when none is named), and of what they need when that is asked
/// for.
pub(crate) fn bake(
    project: &Project,
    services: &[String],
    with_dependencies: bool,
    over: &Overrides,
) -> Result<Value> {
    let mut selected = project.select(services)?;
    if with_dependencies {
        selected = project.with_dependencies(&selected);
    }
    let targets: Map<String, Value> = selected
        .iter()
        .filter_map(|name| project.service(name))
        .filter_map(|service| {
            let build = service.build.as_ref()?;
            Some((service.name.clone(), target(project, service, build, over)))
        })
        .collect();
    let names: Vec<&String> = targets.keys().collect();
    Ok(json!({"group": {"default": {"targets": names}}, "target": targets}))
}

fn target(project: &Project, service: &Service, build: &Build, over: &Overrides) -> Value {
    let mut args = build.args.clone();
    args.extend(over.args.clone());
    let tags: Vec<String> = std::iter::once(service.image_name(&project.name))
        .chain(build.tags.iter().cloned())
        .collect();
    let fields = [
        ("context", json!(build.context)),
        ("dockerfile", json!(build.dockerfile)),
        ("dockerfile-inline", json!(build.dockerfile_inline)),
        ("args", json!(args)),
        ("target", json!(build.target)),
        ("contexts", json!(build.additional_contexts)),
        ("cache-from", json!(build.cache_from)),
        ("cache-to", json!(build.cache_to)),
        ("tags", json!(tags)),
        ("pull", json!(build.pull || over.pull)),
        ("no-cache", json!(build.no_cache || over.no_cache)),
        ("output", json!(["type=docker"])),
    ];
    let said = fields.into_iter().filter(|(_, value)| is_said(value));
    let said = said.map(|(key, value)| (key.to_owned(), value));
    Value::Object(said.collect())
}

/// What is nothing is left out.
fn is_said(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    }
}
