//! Which objects a list or watch wants: by labels (set-based) and by fields.
//!
//! Syntax: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api> and
//! `k8s.io/apimachinery/pkg/{labels,fields}`.

use std::collections::BTreeMap;
use std::fmt;

use orc_base::{Error, Result};
use serde_json::Value;

use crate::kind::ObjectKind;
use crate::names;
use crate::object::Object;

/// Bytes of a selector, at most.
const MAX_BYTES: usize = 64 << 10;
/// Requirements of a selector, at most.
const MAX_TERMS: usize = 1000;

/// What one label must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// One of these.
    In(Vec<String>),
    /// None of these; or not there.
    NotIn(Vec<String>),
    /// There.
    Exists,
    /// Not there.
    DoesNotExist,
    /// A greater number.
    Greater(i64),
    /// A lesser number.
    Less(i64),
}

impl Condition {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|v| values.iter().any(|one| one == v)),
            Self::NotIn(values) => value.is_none_or(|v| values.iter().all(|one| one != v)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::Greater(than) => number().is_some_and(|n| n > *than),
            Self::Less(than) => number().is_some_and(|n| n < *than),
        }
    }
}

/// What labels must be; all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector(Vec<(String, Condition)>);

impl LabelSelector {
    /// Reads `a=b,c in (d,e),!f`. `Invalid` when it is none.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return Err(Error::invalid(format!(
                "a selector of {} bytes: the limit is {MAX_BYTES}",
                text.len()
            )));
        }
        let mut terms = Vec::new();
        for term in split(text, true) {
            if terms.len() == MAX_TERMS {
                return Err(Error::invalid(format!(
                    "a selector has at most {MAX_TERMS} requirements"
                )));
            }
            if !term.trim().is_empty() {
                terms.push(requirement(term.trim())?);
            }
        }
        Ok(Self(terms))
    }

    /// From `matchLabels` and `matchExpressions`; an empty selector matches everything, a missing one
    /// nothing. `Invalid` when an expression makes no sense.
    pub fn from_json(selector: Option<&Value>) -> Result<Option<Self>> {
        let Some(Value::Object(selector)) = selector else {
            return Ok(None);
        };
        let mut terms = Vec::new();
        if let Some(Value::Object(labels)) = selector.get("matchLabels") {
            for (key, value) in labels {
                let value = value.as_str().unwrap_or_default().to_owned();
                terms.push((key.clone(), Condition::In(vec![value])));
            }
        }
        if let Some(Value::Array(expressions)) = selector.get("matchExpressions") {
            for expression in expressions {
                terms.push(expressed(expression)?);
            }
        }
        Ok(Some(Self(terms)))
    }

    /// From a map of labels that must be just so, as a service has.
    pub fn from_labels(labels: &BTreeMap<&str, &str>) -> Self {
        let term = |(key, value): (&&str, &&str)| {
            let value = Condition::In(vec![(*value).to_owned()]);
            ((*key).to_owned(), value)
        };
        Self(labels.iter().map(term).collect())
    }

    /// Whether it wants everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it wants an object with these labels.
    pub fn matches(&self, labels: &BTreeMap<&str, &str>) -> bool {
        self.0
            .iter()
            .all(|(key, condition)| condition.holds(labels.get(key.as_str()).copied()))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, condition)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match condition {
                Condition::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Condition::In(values) => write!(f, "{key} in ({})", values.join(","))?,
                Condition::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", values[0])?,
                Condition::NotIn(values) => write!(f, "{key} notin ({})", values.join(","))?,
                Condition::Exists => f.write_str(key)?,
                Condition::DoesNotExist => write!(f, "!{key}")?,
                Condition::Greater(than) => write!(f, "{key}>{than}")?,
                Condition::Less(than) => write!(f, "{key}<{than}")?,
            }
        }
        Ok(())
    }
}

/// Parts between commas; those inside parentheses do not part when `nested`.
fn split(text: &str, nested: bool) -> Vec<&str> {
    let (mut parts, mut start, mut inside, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if !nested => escaped = true,
            '(' if nested => inside = true,
            ')' if nested => inside = false,
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(term: &str) -> Result<(String, Condition)> {
    let wrong = |why: String| Error::invalid(format!("unable to parse requirement: {why}"));
    if let Some(key) = term.strip_prefix('!') {
        return Ok((checked_key(key.trim())?, Condition::DoesNotExist));
    }
    let end = term
        .find(|c: char| c.is_whitespace() || "=!<>(".contains(c))
        .unwrap_or(term.len());
    let (key, rest) = (checked_key(&term[..end])?, term[end..].trim());
    if rest.is_empty() {
        return Ok((key, Condition::Exists));
    }
    for (word, negated) in [("notin", true), ("in", false)] {
        let Some(values) = rest.strip_prefix(word) else {
            continue;
        };
        let values = values
            .trim()
            .strip_prefix('(')
            .and_then(|values| values.strip_suffix(')'))
            .ok_or_else(|| wrong(format!("found '{rest}', expected: {word} (a,b,c)")))?;
        let mut values = values
            .split(',')
            .map(|value| checked_value(value.trim()))
            .collect::<Result<Vec<_>>>()?;
        values.sort();
        values.dedup();
        return Ok((
            key,
            match negated {
                true => Condition::NotIn(values),
                false => Condition::In(values),
            },
        ));
    }
    let number = |text: &str| {
        let text = text.trim();
        text.parse::<i64>()
            .map_err(|_| wrong(format!("values[0]: Invalid value: {text:?}: for 'Gt', 'Lt' operators, the value must be an integer")))
    };
    let one = |text: &str| checked_value(text.trim()).map(|value| vec![value]);
    let condition = if let Some(value) = rest.strip_prefix("!=") {
        Condition::NotIn(one(value)?)
    } else if let Some(value) = rest.strip_prefix("==").or(rest.strip_prefix('=')) {
        Condition::In(one(value)?)
    } else if let Some(value) = rest.strip_prefix('>') {
        Condition::Greater(number(value)?)
    } else if let Some(value) = rest.strip_prefix('<') {
        Condition::Less(number(value)?)
    } else {
        return Err(wrong(format!(
            "found '{rest}', expected: in, notin, =, ==, !=, gt, lt"
        )));
    };
    Ok((key, condition))
}

fn expressed(expression: &Value) -> Result<(String, Condition)> {
    let text = |name: &str| expression[name].as_str().unwrap_or_default();
    let key = checked_key(text("key"))?;
    let values = || match &expression["values"] {
        Value::Array(values) => values
            .iter()
            .map(|value| checked_value(value.as_str().unwrap_or_default()))
            .collect::<Result<Vec<_>>>(),
        _ => Ok(Vec::new()),
    };
    let condition = match text("operator") {
        "In" => Condition::In(values()?),
        "NotIn" => Condition::NotIn(values()?),
        "Exists" => Condition::Exists,
        "DoesNotExist" => Condition::DoesNotExist,
        other => {
            return Err(Error::invalid(format!(
                "{other:?} is not a valid label selector operator"
            )));
        }
    };
    Ok((key, condition))
}

fn checked_key(key: &str) -> Result<String> {
    match names::qualified(key).first() {
        Some(why) => Err(Error::invalid(format!(
            "unable to parse requirement: key: Invalid value: {key:?}: {why}"
        ))),
        None => Ok(key.to_owned()),
    }
}

fn checked_value(value: &str) -> Result<String> {
    match names::label_value(value).first() {
        Some(why) => Err(Error::invalid(format!(
            "unable to parse requirement: values[0]: Invalid value: {value:?}: {why}"
        ))),
        None => Ok(value.to_owned()),
    }
}

/// What fields must be; all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector(Vec<FieldTerm>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTerm {
    field: String,
    value: String,
    negated: bool,
}

impl FieldSelector {
    /// Reads `metadata.name=a,spec.nodeName!=b`. `Invalid` when it is none.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return Err(Error::invalid(format!(
                "a selector of {} bytes: the limit is {MAX_BYTES}",
                text.len()
            )));
        }
        let parts = split(text, false);
        if parts.len() > MAX_TERMS {
            return Err(Error::invalid(format!(
                "a selector has at most {MAX_TERMS} requirements"
            )));
        }
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(field_term)
            .collect::<Result<_>>()
            .map(Self)
    }

    /// One field that must have a value.
    pub fn equal(field: &str, value: &str) -> Self {
        Self(vec![FieldTerm {
            field: field.to_owned(),
            value: value.to_owned(),
            negated: false,
        }])
    }

    /// Whether it wants everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all fields can be selected by. `Invalid` when one cannot.
    pub fn check(&self, kind: &ObjectKind) -> Result<()> {
        match self.0.iter().find(|term| !kind.can_select(&term.field)) {
            Some(term) => Err(Error::invalid(format!(
                "field label not supported: {}",
                term.field
            ))),
            None => Ok(()),
        }
    }

    /// The one name it wants, if it wants just one.
    pub fn name(&self) -> Option<&str> {
        let term = |term: &&FieldTerm| term.field == "metadata.name" && !term.negated;
        self.0.iter().find(term).map(|term| term.value.as_str())
    }

    /// The fields that must have one value, with it.
    pub fn equalities(&self) -> Vec<(String, String)> {
        let equal = self.0.iter().filter(|term| !term.negated);
        equal
            .map(|term| (term.field.clone(), term.value.clone()))
            .collect()
    }

    /// Whether it wants this object of a kind.
    pub fn matches(&self, kind: &ObjectKind, object: &Object) -> bool {
        self.0.iter().all(|term| {
            let value = kind.selectable(&term.field, object);
            (value == term.value) != term.negated
        })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.0.iter().enumerate() {
            let (comma, sign) = (
                if index > 0 { "," } else { "" },
                if term.negated { "!=" } else { "=" },
            );
            write!(f, "{comma}{}{sign}{}", term.field, term.value)?;
        }
        Ok(())
    }
}

fn field_term(part: &str) -> Result<FieldTerm> {
    let wrong = || {
        Error::invalid(format!(
            "invalid selector: '{part}'; can't understand '{part}'"
        ))
    };
    let at = part.find('=').ok_or_else(wrong)?;
    let negated = part[..at].ends_with('!');
    let field = part[..at].trim_end_matches('!').trim();
    let value = part[at + 1..].strip_prefix('=').unwrap_or(&part[at + 1..]);
    if field.is_empty() {
        return Err(wrong());
    }
    Ok(FieldTerm {
        field: field.to_owned(),
        value: unescaped(value).ok_or_else(wrong)?,
        negated,
    })
}

/// Without the backslashes before `\`, `,` and `=`.
fn unescaped(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next().filter(|c| "\\,=".contains(*c))?),
            '=' => return None,
            _ => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().copied().collect();
        LabelSelector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn selects_by_labels() {
        let web = [("app", "web"), ("tier", "front"), ("n", "5")];
        for (selector, wanted) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app = web , tier != front", false),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("release notin (canary)", true),
            ("release!=canary", true),
            ("app", true),
            ("!app", false),
            ("!release", true),
            ("n>4", true),
            ("n < 5", false),
            ("tier in (front),release!=canary", true),
        ] {
            assert_eq!(matches(selector, &web), wanted, "{selector}");
            let parsed = LabelSelector::parse(selector).unwrap();
            assert_eq!(LabelSelector::parse(&parsed.to_string()).unwrap(), parsed);
        }
        for bad in [
            "a b", "=x", "a in b", "a in (b", "a=b c", "a>x", "a!b", "-a=1", "a=_",
        ] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
        assert!(LabelSelector::parse(&"a,".repeat(2000)).is_err());
    }

    #[test]
    fn reads_selectors_of_objects() {
        let selector = json!({
            "matchLabels": { "app": "web" },
            "matchExpressions": [
                { "key": "tier", "operator": "In", "values": ["a", "b"] },
                { "key": "old", "operator": "DoesNotExist" },
            ],
        });
        let selector = LabelSelector::from_json(Some(&selector)).unwrap().unwrap();
        assert_eq!(selector.to_string(), "app=web,tier in (a,b),!old");
        assert_eq!(LabelSelector::from_json(None).unwrap(), None);
        let odd = json!({ "matchExpressions": [{ "key": "a", "operator": "Like" }] });
        assert!(LabelSelector::from_json(Some(&odd)).is_err());
    }

    #[test]
    fn reads_field_selectors() {
        let selector = FieldSelector::parse(r"a.b=c,d!=e,f==g\,h").unwrap();
        assert_eq!(selector.to_string(), "a.b=c,d!=e,f=g,h");
        for bad in ["a", "=b", "a=b=c", r"a=\x"] {
            assert!(FieldSelector::parse(bad).is_err(), "{bad}");
        }
        let named = FieldSelector::parse("metadata.name=x").unwrap();
        assert_eq!(named.name(), Some("x"));
    }
}
