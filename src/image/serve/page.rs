//! A page of a sorted list, and the address of the next one: pure (the specification's `n` and `last`).

use std::collections::BTreeSet;

/// The most names on one page, and how many there are when nobody says.
const MAX_NAMES: usize = 1_000;

/// One page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) names: Vec<String>,
    /// The value of the header `Link` when there is more.
    pub(super) link: Option<String>,
}

/// The names after `last`, at most `n` of them.
pub(super) fn page(path: &str, all: BTreeSet<String>, n: Option<&str>, last: Option<&str>) -> Page {
    let wanted = n.and_then(|n| n.parse::<usize>().ok());
    let count = wanted.unwrap_or(MAX_NAMES).min(MAX_NAMES);
    let mut rest = all
        .into_iter()
        .filter(|name| last.is_none_or(|last| name.as_str() > last));
    let names: Vec<String> = rest.by_ref().take(count).collect();
    let link = match (names.last(), rest.next()) {
        // Names and tags have no letter that a query would have to encode, except the slash.
        (Some(last), Some(_)) => Some(format!(
            "<{path}?n={count}&last={}>; rel=\"next\"",
            last.replace('/', "%2F")
        )),
        _ => None,
    };
    Page { names, link }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let all = || ["a", "b/c", "d"].map(str::to_owned).into();
        let get = |n, last| {
            let page = page("/v2/_catalog", all(), n, last);
            (page.names.join(" "), page.link.unwrap_or_default())
        };
        assert_eq!(get(None, None), ("a b/c d".into(), String::new()));
        assert_eq!(
            get(Some("2"), None),
            (
                "a b/c".into(),
                "</v2/_catalog?n=2&last=b%2Fc>; rel=\"next\"".into()
            )
        );
        assert_eq!(get(Some("2"), Some("b/c")), ("d".into(), String::new()));
        assert_eq!(get(Some("0"), None), (String::new(), String::new()));
        assert_eq!(get(Some("x"), Some("z")), (String::new(), String::new()));
        let many: BTreeSet<String> = (0..1_500).map(|n| format!("{n:04}")).collect();
        assert_eq!(page("/x", many, Some("9999"), None).names.len(), MAX_NAMES);
    }
}
