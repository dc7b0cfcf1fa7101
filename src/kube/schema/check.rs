//! Whether an object has the fields and types of its kind.
//!
//! What the real server's decoder does: `null` is nothing, unknown fields are dropped with a word about
//! it, wrong types are an error without the value, amounts are brought into their canonical form.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use orc_base::Time;
use serde_json::{Map, Value};

use crate::kind::ObjectKind;
use crate::object::Object;
use crate::objects::FieldValidation;
use crate::quantity::Quantity;
use crate::schema::shape::{Definition, Leaf, Shape, Shapes};
use crate::schema::shapes;
use crate::status::{Result, Status};

/// Unknown fields that are told, at most.
const MAX_TOLD: usize = 50;

/// Checks an object and takes away what its kind does not know. Returns warnings. 400 for wrong types,
/// and for unknown fields when they are to be refused.
pub fn check(
    kind: &ObjectKind,
    object: &mut Object,
    validation: FieldValidation,
) -> Result<Vec<String>> {
    let shapes = shapes();
    let mut decoder = Decoder {
        shapes,
        unknown: Vec::new(),
    };
    let mut value = Value::Object(std::mem::take(object.as_map_mut()));
    let outcome = decoder.value(&shapes.kind(kind), &mut value, &Place::root(kind.kind));
    if let Value::Object(map) = value {
        *object.as_map_mut() = map;
    }
    let cannot = |why: &str| {
        Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {why}",
            kind.kind, kind.version, kind.kind
        ))
    };
    outcome.map_err(|why| cannot(&why))?;
    let unknown: Vec<String> = decoder
        .unknown
        .iter()
        .map(|field| format!("unknown field {field:?}"))
        .collect();
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(unknown),
        FieldValidation::Strict if unknown.is_empty() => Ok(unknown),
        FieldValidation::Strict => Err(cannot(&format!(
            "strict decoding error: {}",
            unknown.join(", ")
        ))),
    }
}

/// Where the decoder is, for texts.
struct Place {
    /// The Go type whose field this is.
    owner: String,
    path: String,
}

impl Place {
    fn root(kind: &str) -> Self {
        Self {
            owner: kind.to_owned(),
            path: String::new(),
        }
    }

    fn field(&self, owner: &str, name: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            path: match self.path.as_str() {
                "" => name.to_owned(),
                path => format!("{path}.{name}"),
            },
        }
    }

    fn item(&self, index: usize) -> Self {
        Self {
            owner: self.owner.clone(),
            path: format!("{}[{index}]", self.path),
        }
    }

    fn mismatch(&self, value: &Value, wanted: &str) -> String {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {wanted}",
            self.owner, self.path
        )
    }
}

struct Decoder {
    shapes: &'static Shapes,
    unknown: Vec<String>,
}

impl Decoder {
    fn value(&mut self, shape: &Shape, value: &mut Value, place: &Place) -> Result<(), String> {
        match self.shapes.resolve(shape) {
            Shape::Named(name) => {
                let shapes = self.shapes;
                let Definition::Object { fields, .. } = shapes.definition(*name) else {
                    return Ok(());
                };
                let owner = shapes.short_name(*name);
                let Value::Object(map) = value else {
                    return Err(place.mismatch(value, &format!("v1.{owner}")));
                };
                map.retain(|_, value| !value.is_null());
                let all = std::mem::take(map);
                for (name, mut value) in all {
                    let below = place.field(owner, &name);
                    match fields.get(&name) {
                        Some(field) => {
                            self.value(&field.shape, &mut value, &below)?;
                            map.insert(name, value);
                        }
                        None if self.unknown.len() < MAX_TOLD => self.unknown.push(below.path),
                        None => {}
                    }
                }
                Ok(())
            }
            Shape::Map(item, _) => {
                let Value::Object(map) = value else {
                    return Err(place.mismatch(value, "map[string]string"));
                };
                self.map(item, map, place)
            }
            Shape::List(item, _) => {
                let Value::Array(items) = value else {
                    return Err(place.mismatch(value, "[]"));
                };
                for (index, value) in items.iter_mut().enumerate() {
                    self.value(item, value, &place.item(index))?;
                }
                Ok(())
            }
            Shape::Leaf(leaf) => self::leaf(*leaf, value, place),
        }
    }

    fn map(
        &mut self,
        item: &Shape,
        map: &mut Map<String, Value>,
        place: &Place,
    ) -> Result<(), String> {
        for (name, value) in map {
            // Go reads `null` as the type's empty value.
            if value.is_null()
                && matches!(
                    self.shapes.resolve(item),
                    Shape::Leaf(Leaf::Text | Leaf::Bytes)
                )
            {
                *value = "".into();
            }
            self.value(item, value, &place.field(&place.owner, name))?;
        }
        Ok(())
    }
}

fn leaf(leaf: Leaf, value: &mut Value, place: &Place) -> Result<(), String> {
    match leaf {
        Leaf::Any => Ok(()),
        Leaf::Text if value.is_string() => Ok(()),
        Leaf::Text => Err(place.mismatch(value, "string")),
        Leaf::Flag if value.is_boolean() => Ok(()),
        Leaf::Flag => Err(place.mismatch(value, "bool")),
        Leaf::Number if value.is_number() => Ok(()),
        Leaf::Number => Err(place.mismatch(value, "float64")),
        Leaf::Whole(bits) => whole(bits, value, place),
        Leaf::TextOrWhole => match value {
            Value::String(_) => Ok(()),
            Value::Number(_) => whole(32, value, place),
            _ => Err(place.mismatch(value, "intstr.IntOrString")),
        },
        Leaf::Bytes => match value {
            Value::String(text) => match BASE64_STANDARD.decode(text.replace(['\n', '\r'], "")) {
                Ok(_) => Ok(()),
                Err(_) => Err(format!("illegal base64 data at {}", place.path)),
            },
            _ => Err(place.mismatch(value, "[]uint8")),
        },
        Leaf::Time => match value {
            Value::String(text) => match text.parse::<Time>() {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("parsing time at {}: {error}", place.path)),
            },
            _ => Err(place.mismatch(value, "v1.Time")),
        },
        Leaf::Amount => amount(value, place),
    }
}

fn whole(bits: u8, value: &mut Value, place: &Place) -> Result<(), String> {
    let wanted = if bits == 32 { "int32" } else { "int64" };
    let number = match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            // `1.0` and `1e3` are whole, as Go's decoder has it.
            let float = number.as_f64()?;
            (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
        }),
        _ => return Err(place.mismatch(value, wanted)),
    };
    match number {
        Some(number) if bits == 64 || i32::try_from(number).is_ok() => {
            *value = number.into();
            Ok(())
        }
        _ => Err(place.mismatch(value, wanted).replacen(
            "unmarshal number",
            &format!("unmarshal number {value}"),
            1,
        )),
    }
}

fn amount(value: &mut Value, place: &Place) -> Result<(), String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(place.mismatch(value, "resource.Quantity")),
    };
    match text.parse::<Quantity>() {
        Ok(quantity) => {
            *value = quantity.to_string().into();
            Ok(())
        }
        Err(error) => Err(format!("{}: {error}", place.path)),
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::needless_pass_by_value,
        reason = "values are written where they are used"
    )]

    use super::*;
    use crate::kinds::{POD, SECRET};
    use serde_json::json;

    fn pod(container: Value) -> Object {
        Object::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "creationTimestamp": null },
            "spec": { "containers": [container], "nope": 1 }, "status": null,
        }))
        .unwrap()
    }

    #[test]
    fn drops_what_is_unknown_and_says_so() {
        let good = json!({ "name": "c", "imag": "x", "resources": { "limits": { "cpu": 1, "memory": "1024Mi" } } });
        let mut object = pod(good);
        let warnings = check(&POD, &mut object, FieldValidation::Warn).unwrap();
        assert_eq!(
            warnings,
            [
                "unknown field \"spec.containers[0].imag\"",
                "unknown field \"spec.nope\""
            ]
        );
        assert_eq!(
            object.into_value(),
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" },
                "spec": { "containers": [{ "name": "c", "resources": { "limits": { "cpu": "1", "memory": "1Gi" } } }] },
            })
        );
        let error = check(
            &POD,
            &mut pod(json!({ "name": "c" })),
            FieldValidation::Strict,
        );
        assert_eq!(
            error.unwrap_err().message(),
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.nope\""
        );
    }

    #[test]
    fn refuses_wrong_types() {
        for (container, wanted) in [
            (
                json!({ "name": 5 }),
                "cannot unmarshal number into Go struct field Container.spec.containers[0].name of type string",
            ),
            (
                json!({ "name": "c", "ports": [{ "containerPort": 5_000_000_000_i64 }] }),
                "cannot unmarshal number 5000000000 into Go struct field ContainerPort.spec.containers[0].ports[0].containerPort of type int32",
            ),
            (
                json!({ "name": "c", "resources": { "limits": { "cpu": "lots" } } }),
                "quantities must match",
            ),
            (json!([]), "cannot unmarshal array into"),
        ] {
            let error = check(&POD, &mut pod(container), FieldValidation::Ignore).unwrap_err();
            assert!(error.message().contains(wanted), "{error}");
        }
    }

    #[test]
    fn says_nothing_of_a_secret() {
        let mut secret = Object::new("v1", "Secret", "a", "b");
        secret.set(&["data", "key"], "hunter2!");
        let error = check(&SECRET, &mut secret, FieldValidation::Strict).unwrap_err();
        assert!(!error.message().contains("hunter2"), "{error}");
    }
}
