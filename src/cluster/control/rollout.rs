//! The arithmetic of rolling updates: how far a number of replicas may go up and down.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The bounds of an update of `replicas`: (more than wanted, fewer than wanted). Percentages round up for
/// the first and down for the second; both zero would never move, so then one may be missing.
pub(crate) fn bounds(
    replicas: i32,
    surge: Option<&IntOrString>,
    unavailable: Option<&IntOrString>,
    default: &str,
) -> (i32, i32) {
    let default = IntOrString::String(default.to_owned());
    let surge = resolve(surge.unwrap_or(&default), replicas, true);
    let unavailable = resolve(unavailable.unwrap_or(&default), replicas, false);
    match (surge, unavailable) {
        (0, 0) => (0, 1),
        (surge, unavailable) => (surge, unavailable.min(replicas)),
    }
}

/// A number, or a percentage of `all`. What cannot be read is nothing: the API server refuses it.
pub(crate) fn resolve(value: &IntOrString, all: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent = text
                .strip_suffix('%')
                .and_then(|text| text.parse::<i64>().ok());
            let share = percent.unwrap_or(0).clamp(0, 10_000) * i64::from(all.max(0));
            let share = if up { (share + 99) / 100 } else { share / 100 };
            i32::try_from(share).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_kubernetes_does() {
        let text = |text: &str| IntOrString::String(text.to_owned());
        assert_eq!(bounds(10, None, None, "25%"), (3, 2));
        assert_eq!(bounds(1, None, None, "25%"), (1, 0));
        let zero = IntOrString::Int(0);
        assert_eq!(bounds(3, Some(&zero), Some(&zero), "25%"), (0, 1));
        assert_eq!(
            bounds(3, Some(&text("100%")), Some(&IntOrString::Int(9)), "25%"),
            (3, 3)
        );
        assert_eq!(resolve(&text("x%"), 10, true), 0);
    }
}
