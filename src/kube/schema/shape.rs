//! Shapes: what JSON may stand where, read from JSON schemas.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::kind::ObjectKind;
use crate::schema::lists;

/// Where a named shape stands among all of them.
pub type Name = usize;

/// What may stand somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// What a definition says.
    Named(Name),
    /// One value.
    Leaf(Leaf),
    /// Values by name.
    Map(Box<Shape>, Merging),
    /// Values in order.
    List(Box<Shape>, Merging),
}

/// A single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// A text.
    Text,
    /// Base64.
    Bytes,
    /// RFC 3339.
    Time,
    /// A whole number of this many bits.
    Whole(u8),
    /// A number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A text or a whole number.
    TextOrWhole,
    /// An amount such as `100m`.
    Amount,
    /// Any JSON; replaced as a whole.
    Any,
}

/// How values are merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merging {
    /// Replaced as a whole.
    Atomic,
    /// A list of values, each there once.
    Set,
    /// A list whose items are found by these fields, or a map whose keys are merged.
    Keys(Vec<String>),
}

/// A field of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// What it holds.
    pub shape: Shape,
    /// The key of its items in a strategic merge patch; empty for a list that is a set. Without one the
    /// list is replaced.
    pub patch_key: Option<String>,
    /// Whether a strategic merge patch may say which keys stay.
    pub retain_keys: bool,
}

/// A named shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definition {
    /// An object with these fields.
    Object {
        /// By name.
        fields: BTreeMap<String, Field>,
        /// Whether it is replaced as a whole.
        atomic: bool,
    },
    /// Another name for a shape.
    Alias(Shape),
}

/// All shapes.
#[derive(Debug)]
pub struct Shapes {
    names: Vec<String>,
    definitions: Vec<Definition>,
    kinds: HashMap<(&'static str, &'static str, &'static str), Name>,
}

impl Shapes {
    /// Reads JSON schemas; `kinds` says which of them are those of kinds.
    pub(crate) fn read(
        schemas: &Map<String, Value>,
        kinds: impl Iterator<Item = ((&'static str, &'static str, &'static str), String)>,
    ) -> Self {
        let names: Vec<String> = schemas.keys().cloned().collect();
        let index: HashMap<&str, Name> = names
            .iter()
            .enumerate()
            .map(|(index, name)| (name.as_str(), index))
            .collect();
        let definitions = schemas
            .iter()
            .map(|(name, schema)| definition(name, schema, &index))
            .collect();
        let kinds = kinds
            .filter_map(|(kind, name)| Some((kind, *index.get(name.as_str())?)))
            .collect();
        Self {
            definitions,
            kinds,
            names,
        }
    }

    /// The definition of a kind.
    pub fn of(&self, kind: &ObjectKind) -> Name {
        let place = (kind.group, kind.version, kind.kind);
        *self.kinds.get(&place).expect("every row has a schema")
    }

    /// The shape of a kind.
    pub fn kind(&self, kind: &ObjectKind) -> Shape {
        Shape::Named(self.of(kind))
    }

    /// A definition.
    pub fn definition(&self, name: Name) -> &Definition {
        &self.definitions[name]
    }

    /// The name of a definition: `io.k8s.api.core.v1.PodSpec`.
    pub fn name(&self, name: Name) -> &str {
        &self.names[name]
    }

    /// What a definition is called: `PodSpec`.
    pub fn short_name(&self, name: Name) -> &str {
        let whole = &self.names[name];
        whole.rsplit('.').next().unwrap_or(whole)
    }

    /// A shape without the names that only stand for another.
    pub fn resolve<'s>(&'s self, shape: &'s Shape) -> &'s Shape {
        match shape {
            Shape::Named(name) => match self.definition(*name) {
                Definition::Alias(shape) => shape,
                Definition::Object { .. } => shape,
            },
            shape => shape,
        }
    }

    /// A field of an object; nothing when it has no such field.
    pub fn field<'s>(&'s self, shape: &'s Shape, field: &str) -> Option<&'s Field> {
        match self.resolve(shape) {
            Shape::Named(name) => match self.definition(*name) {
                Definition::Object { fields, .. } => fields.get(field),
                Definition::Alias(_) => None,
            },
            _ => None,
        }
    }

    /// What stands below a name in an object or a map.
    pub fn below<'s>(&'s self, shape: &'s Shape, name: &str) -> Option<&'s Shape> {
        match self.resolve(shape) {
            Shape::Map(value, _) => Some(value),
            shape => self.field(shape, name).map(|field| &field.shape),
        }
    }
}

const LEAVES: [(&str, Leaf); 4] = [
    ("resource.Quantity", Leaf::Amount),
    ("intstr.IntOrString", Leaf::TextOrWhole),
    ("v1.FieldsV1", Leaf::Any),
    ("runtime.RawExtension", Leaf::Any),
];

fn definition(name: &str, schema: &Value, index: &HashMap<&str, Name>) -> Definition {
    if let Some((_, leaf)) = LEAVES.iter().find(|(end, _)| name.ends_with(end)) {
        return Definition::Alias(Shape::Leaf(*leaf));
    }
    let Some(properties) = schema["properties"].as_object() else {
        return match schema["type"] == "object" && schema.get("additionalProperties").is_none() {
            // An object without a field, as `emptyDir: {}` would be.
            true => Definition::Object {
                fields: BTreeMap::new(),
                atomic: false,
            },
            false => Definition::Alias(shape(schema, index, None)),
        };
    };
    let fields = properties
        .iter()
        .map(|(field, schema)| {
            let rule = lists::rule(name, field);
            let patch = rule
                .map(|rule| rule.patch)
                .filter(|patch| !patch.is_empty());
            let field_shape = shape(schema, index, rule.map(|rule| rule.apply));
            let known = Field {
                shape: field_shape,
                patch_key: patch.map(|patch| match patch {
                    "set" => String::new(),
                    key => key.to_owned(),
                }),
                retain_keys: rule.is_some_and(|rule| rule.retain_keys),
            };
            (field.clone(), known)
        })
        .collect();
    let atomic = lists::rule(name, "").is_some_and(|rule| rule.apply == "atomic");
    Definition::Object { fields, atomic }
}

fn shape(schema: &Value, index: &HashMap<&str, Name>, apply: Option<&str>) -> Shape {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return index
            .get(name)
            .map_or(Shape::Leaf(Leaf::Any), |name| Shape::Named(*name));
    }
    match schema["type"].as_str() {
        Some("array") => {
            let item = shape(&schema["items"], index, None);
            let merging = match apply {
                None | Some("" | "atomic") => Merging::Atomic,
                Some("set") => Merging::Set,
                Some(keys) => Merging::Keys(keys.split(',').map(str::to_owned).collect()),
            };
            Shape::List(Box::new(item), merging)
        }
        Some("object") => match schema.get("additionalProperties") {
            Some(value) => {
                let merging = match apply {
                    Some("atomic") => Merging::Atomic,
                    _ => Merging::Keys(Vec::new()),
                };
                Shape::Map(Box::new(shape(value, index, None)), merging)
            }
            None => Shape::Leaf(Leaf::Any),
        },
        Some("string") => Shape::Leaf(match schema["format"].as_str() {
            Some("date-time") => Leaf::Time,
            Some("byte") => Leaf::Bytes,
            _ => Leaf::Text,
        }),
        Some("integer") => Shape::Leaf(match schema["format"].as_str() {
            Some("int32") => Leaf::Whole(32),
            _ => Leaf::Whole(64),
        }),
        Some("number") => Shape::Leaf(Leaf::Number),
        Some("boolean") => Shape::Leaf(Leaf::Flag),
        _ => Shape::Leaf(Leaf::Any),
    }
}
