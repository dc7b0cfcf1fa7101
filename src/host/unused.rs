//! What nobody uses: which of it is to go, and what went.

use std::collections::BTreeMap;

use orc_base::Time;
use serde::{Deserialize, Serialize};

use crate::image::Removal;

/// Networks that are always there.
pub const PREDEFINED_NETWORKS: [&str; 3] = ["bridge", "host", "none"];

/// What to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// Of which kind.
    pub what: Prunable,
    /// Only what fits.
    pub filter: PruneFilter,
}

/// Kinds of things that may be used by nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prunable {
    /// Containers that do not run.
    Containers,
    /// Networks that no container, running or not, is to be on.
    Networks,
    /// Volumes that no container, running or not, has.
    Volumes {
        /// Those with a name of their own, too.
        named: bool,
    },
    /// Images that no container, running or not, is of.
    Images {
        /// Those with a name, too.
        named: bool,
    },
}

/// Which of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneFilter {
    /// Made before.
    pub until: Option<Time>,
    /// Labels it must have; no value matches any.
    pub labels: Vec<(String, Option<String>)>,
    /// Labels it must not have.
    pub without: Vec<(String, Option<String>)>,
}

/// What went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pruned {
    /// Ids of containers, names of networks and volumes.
    pub removed: Vec<String>,
    /// Names, images and layers.
    pub images: Vec<Removal>,
    /// Bytes on disk that are free now.
    pub bytes: u64,
}

impl PruneFilter {
    /// Whether a thing that was made then and has these labels is meant.
    pub fn matches(&self, created: Option<Time>, labels: &BTreeMap<String, String>) -> bool {
        let has = |(key, value): &(String, Option<String>)| {
            let found = labels.get(key);
            found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        self.until.is_none_or(|until| created < Some(until))
            && self.labels.iter().all(has)
            && !self.without.iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn filters_are_all_to_hold() {
        let label = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        let filter = PruneFilter {
            until: Some(Time::from_secs(100)),
            labels: vec![label("a", None)],
            without: vec![label("keep", Some("yes"))],
        };
        for (secs, pairs, expected) in [
            (99, &[("a", "1")][..], true),
            (100, &[("a", "1")], false),
            (1, &[("b", "1")], false),
            (1, &[("a", "1"), ("keep", "yes")], false),
            (1, &[("a", "1"), ("keep", "no")], true),
        ] {
            let created = Some(Time::from_secs(secs));
            assert_eq!(
                filter.matches(created, &labels(pairs)),
                expected,
                "{secs} {pairs:?}"
            );
        }
        // An image that does not say when it was made is old.
        assert!(filter.matches(None, &labels(&[("a", "")])));
        assert!(PruneFilter::default().matches(None, &labels(&[])));
    }
}
