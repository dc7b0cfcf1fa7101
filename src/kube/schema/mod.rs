//! The shape of every kind: its fields, their types, and how lists and maps are merged.
//!
//! Types, fields and texts come from `k8s_openapi`'s schemas, the merge rules from `lists`. Read once, at
//! first use. [`definitions`] is what the server's OpenAPI documents are made of.

mod check;
mod lists;
mod shape;

use std::sync::OnceLock;

use k8s_openapi::schemars::SchemaGenerator;
use serde_json::{Map, Value};

use crate::kind::ObjectKind;
use crate::kinds::KINDS;

pub use check::check;
pub(crate) use lists::key_default;
pub use lists::{ListRule, list_rules};
pub use shape::{Definition, Field, Leaf, Merging, Name, Shape, Shapes};

/// The JSON schemas of all kinds and of what they are made of, by name (`io.k8s.api.core.v1.Pod`), texts
/// included. Made anew at each call: it is large and seldom wanted.
pub fn definitions() -> Map<String, Value> {
    generated().0
}

/// The name of a kind's definition.
pub fn definition_name(kind: &ObjectKind) -> String {
    let shapes = shapes();
    shapes.name(shapes.of(kind)).to_owned()
}

/// The shapes of all kinds.
pub fn shapes() -> &'static Shapes {
    static SHAPES: OnceLock<Shapes> = OnceLock::new();
    SHAPES.get_or_init(|| {
        let (definitions, names) = generated();
        let places = KINDS
            .iter()
            .map(|kind| (kind.group, kind.version, kind.kind));
        Shapes::read(&definitions, places.zip(names))
    })
}

/// All definitions, and the name of each kind's own.
fn generated() -> (Map<String, Value>, Vec<String>) {
    let mut generator = SchemaGenerator::default();
    let names = KINDS
        .iter()
        .map(|kind| {
            let schema = (kind.schema)(&mut generator);
            let reference = schema.as_value()["$ref"].as_str().unwrap_or_default();
            reference.rsplit('/').next().unwrap_or_default().to_owned()
        })
        .collect();
    (generator.take_definitions(false), names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{DEPLOYMENT, POD};

    #[test]
    fn knows_fields_and_how_they_merge() {
        let shapes = shapes();
        let pod = Shape::Named(shapes.of(&POD));
        let spec = shapes.field(&pod, "spec").unwrap();
        let containers = shapes.field(&spec.shape, "containers").unwrap();
        let Shape::List(item, Merging::Keys(keys)) = &containers.shape else {
            panic!("{containers:?}")
        };
        assert_eq!(keys, &["name"]);
        assert_eq!(containers.patch_key.as_deref(), Some("name"));
        let ports = shapes.field(item, "ports").unwrap();
        assert_eq!(ports.patch_key.as_deref(), Some("containerPort"));
        assert!(shapes.field(item, "nonsense").is_none());
        let deployment = Shape::Named(shapes.of(&DEPLOYMENT));
        let spec = shapes.field(&deployment, "spec").unwrap();
        let strategy = shapes.field(&spec.shape, "strategy").unwrap();
        assert!(strategy.retain_keys);
    }

    #[test]
    fn every_rule_is_of_a_field_that_exists() {
        let known = definitions();
        for rule in list_rules() {
            let Some(definition) = known.get(rule.definition) else {
                panic!("{} is no definition", rule.definition);
            };
            assert!(
                rule.field.is_empty() || definition["properties"].get(rule.field).is_some(),
                "{} has no {}",
                rule.definition,
                rule.field
            );
        }
    }
}
