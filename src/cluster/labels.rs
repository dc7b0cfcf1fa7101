//! Which labels a selector picks.
//!
//! The rules of Kubernetes' label selectors: all requirements hold, `NotIn` and `DoesNotExist` hold for
//! what lacks the key, and an empty selector picks everything. An operator that does not exist picks
//! nothing; the API server refuses it earlier.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels, or annotations, of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether `selector` picks what has these labels.
pub(crate) fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.iter().flatten();
    let set = selector.match_expressions.iter().flatten();
    equal
        .into_iter()
        .all(|(key, value)| labels.get(key) == Some(value))
        && set.into_iter().all(|requirement| {
            let values = requirement.values.as_deref().unwrap_or_default();
            let value = labels.get(&requirement.key);
            holds(&requirement.operator, value.map(String::as_str), values)
        })
}

/// Whether one requirement of a label selector or of a node's affinity holds for a value.
pub(crate) fn holds(operator: &str, value: Option<&str>, values: &[String]) -> bool {
    let among = |value: &str| values.iter().any(|other| other == value);
    let compared = |by: fn(&i64, &i64) -> bool| {
        let have = value.and_then(|value| value.parse().ok());
        let limit = values.first().and_then(|value| value.parse().ok());
        matches!((have, limit), (Some(have), Some(limit)) if by(&have, &limit))
    };
    match operator {
        "In" => value.is_some_and(among),
        "NotIn" => !value.is_some_and(among),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(i64::gt),
        "Lt" => compared(i64::lt),
        _ => false,
    }
}

/// Whether a selector asks for nothing, and so picks everything.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_lacks() {
        let values = ["a".to_owned(), "b".to_owned()];
        for (operator, value, expected) in [
            ("In", Some("a"), true),
            ("In", Some("c"), false),
            ("In", None, false),
            ("NotIn", Some("a"), false),
            ("NotIn", Some("c"), true),
            ("NotIn", None, true),
            ("Exists", Some("c"), true),
            ("Exists", None, false),
            ("DoesNotExist", None, true),
            ("DoesNotExist", Some("a"), false),
            ("Like", Some("a"), false),
        ] {
            assert_eq!(
                holds(operator, value, &values),
                expected,
                "{operator} {value:?}"
            );
        }
        let five = ["5".to_owned()];
        assert!(holds("Gt", Some("6"), &five) && !holds("Gt", Some("5"), &five));
        assert!(holds("Lt", Some("-1"), &five) && !holds("Lt", Some("many"), &five));
        assert!(is_empty(&LabelSelector::default()));
        assert!(matches(&LabelSelector::default(), &Labels::new()));
    }
}
