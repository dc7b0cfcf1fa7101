//! Which field of an object is wrong and why, in the words of `k8s.io/apimachinery/pkg/util/validation/field`.

use std::fmt;

use serde_json::{Value, json};

/// Mistakes that are told at once, at most.
const MAX_CAUSES: usize = 100;
/// Characters of a wrong value that are shown, at most.
const MAX_SHOWN: usize = 1000;

/// The way to a field: `spec.containers[0].image`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// A field of the object itself.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// A field of this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        match self.0.as_str() {
            "" => Self(name.to_owned()),
            parent => Self(format!("{parent}.{name}")),
        }
    }

    /// An item of this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// A value of this map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// In one word: `FieldValueRequired`.
    pub reason: &'static str,
    /// Where.
    pub field: String,
    /// In words: `Required value`.
    pub message: String,
}

/// What [`Cause::reason`] can be.
const REASONS: [&str; 8] = [
    "FieldValueInvalid",
    "FieldValueRequired",
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueNotFound",
    "FieldValueNotSupported",
    "FieldValueTooLong",
    "FieldValueTooMany",
];

impl Cause {
    /// From an entry of `details.causes`.
    pub fn from_json(cause: &Value) -> Self {
        let text = |key: &str| cause[key].as_str().unwrap_or_default().to_owned();
        let known = REASONS
            .into_iter()
            .find(|reason| cause["reason"] == *reason);
        Self {
            reason: known.unwrap_or(REASONS[0]),
            field: text("field"),
            message: text("message"),
        }
    }

    /// As it stands in `details.causes`.
    pub fn to_json(&self) -> Value {
        let mut cause = json!({ "reason": self.reason, "message": self.message });
        if !self.field.is_empty() {
            cause["field"] = self.field.as_str().into();
        }
        cause
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// All mistakes of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Causes(Vec<Cause>);

impl Causes {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes, in the order they were found.
    pub fn into_list(self) -> Vec<Cause> {
        self.0
    }

    fn push(&mut self, reason: &'static str, path: &Path, message: String) {
        if self.0.len() < MAX_CAUSES {
            self.0.push(Cause {
                reason,
                field: path.to_string(),
                message,
            });
        }
    }

    /// The field must be there. `why` may be empty.
    pub fn required(&mut self, path: &Path, why: &str) {
        let why = detail(why);
        self.push("FieldValueRequired", path, format!("Required value{why}"));
    }

    /// The value is wrong.
    pub fn invalid(&mut self, path: &Path, value: impl Into<Value>, why: &str) {
        let (value, why) = (shown(&value.into()), detail(why));
        self.push(
            "FieldValueInvalid",
            path,
            format!("Invalid value: {value}{why}"),
        );
    }

    /// The value is none of those that there are.
    pub fn unsupported(&mut self, path: &Path, value: &str, supported: &[&str]) {
        let supported: Vec<_> = supported.iter().map(|one| format!("{one:?}")).collect();
        let (value, supported) = (shown(&value.into()), supported.join(", "));
        self.push(
            "FieldValueNotSupported",
            path,
            format!("Unsupported value: {value}: supported values: {supported}"),
        );
    }

    /// The field may not be set, or not be changed.
    pub fn forbidden(&mut self, path: &Path, why: &str) {
        let why = detail(why);
        self.push("FieldValueForbidden", path, format!("Forbidden{why}"));
    }

    /// The value is there already.
    pub fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        let value = shown(&value.into());
        self.push(
            "FieldValueDuplicate",
            path,
            format!("Duplicate value: {value}"),
        );
    }

    /// The value names nothing that exists.
    pub fn not_found(&mut self, path: &Path, value: impl Into<Value>) {
        let value = shown(&value.into());
        self.push("FieldValueNotFound", path, format!("Not found: {value}"));
    }

    /// The text has too many bytes.
    pub fn too_long(&mut self, path: &Path, most: usize) {
        self.push(
            "FieldValueTooLong",
            path,
            format!("Too long: may not be more than {most} bytes"),
        );
    }

    /// The list has too many items.
    pub fn too_many(&mut self, path: &Path, count: usize, most: usize) {
        self.push(
            "FieldValueTooMany",
            path,
            format!("Too many: {count}: must have at most {most} items"),
        );
    }
}

fn detail(why: &str) -> String {
    match why {
        "" => String::new(),
        _ => format!(": {why}"),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_it_as_kubernetes_does() {
        let mut causes = Causes::default();
        let containers = Path::new("spec").child("containers");
        causes.required(&containers.index(0).child("image"), "");
        causes.invalid(&Path::new("metadata").child("name"), "A", "must be small");
        causes.unsupported(
            &Path::new("spec").child("restartPolicy"),
            "No",
            &["Always", "Never"],
        );
        causes.invalid(&Path::new("spec").child("replicas"), -1, "must be positive");
        causes.duplicate(&containers.key("a b"), "x");
        let text: Vec<_> = causes.into_list().iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "spec.containers[0].image: Required value",
                "metadata.name: Invalid value: \"A\": must be small",
                "spec.restartPolicy: Unsupported value: \"No\": supported values: \"Always\", \"Never\"",
                "spec.replicas: Invalid value: -1: must be positive",
                "spec.containers[a b]: Duplicate value: \"x\"",
            ]
        );
    }
}
