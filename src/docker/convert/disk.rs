//! What things take on disk: Docker's JSON of it, and how one asks for it.

use orc_base::{Error, Result};
use orc_host::storage::{CachePrune, CacheUsage, UsageOf};
use orc_host::unused::{Prunable, Prune, PruneFilter};

use crate::convert::filter::{Filters, Label};
use crate::convert::time;
use crate::wire::disk as wire;

/// A row of the build cache.
pub(crate) fn cache(usage: &CacheUsage) -> wire::BuildCache {
    wire::BuildCache {
        id: usage.id.clone(),
        parents: usage.parents.clone(),
        r#type: usage.kind.clone(),
        description: usage.description.clone(),
        in_use: usage.in_use,
        shared: usage.shared,
        size: usage.bytes,
        created_at: usage.created.to_string(),
        last_used_at: Some(usage.last_used.to_string()),
        usage_count: usage.uses,
    }
}

/// What Docker's `type` parameters ask for: all when there are none.
pub(crate) fn usage_of<'a>(types: impl Iterator<Item = &'a str>) -> Result<UsageOf> {
    let mut of = UsageOf::default();
    for kind in types {
        match kind {
            "image" => of.images = true,
            "container" => of.containers = true,
            "volume" => of.volumes = true,
            "build-cache" => of.build_cache = true,
            "other" => of.other = true,
            _ => {
                return Err(Error::invalid(format!(
                    "unknown object type: `{kind}`: use image, container, volume or build-cache"
                )));
            }
        }
    }
    match of == UsageOf::default() {
        true => Ok(UsageOf::everything()),
        false => Ok(of),
    }
}

/// The inverse of [`usage_of`].
pub(crate) fn types(of: &UsageOf) -> Vec<&'static str> {
    let types = [
        ("image", of.images),
        ("container", of.containers),
        ("volume", of.volumes),
        ("build-cache", of.build_cache),
        ("other", of.other),
    ];
    types
        .into_iter()
        .filter_map(|(name, wanted)| wanted.then_some(name))
        .collect()
}

/// The filters that all kinds of pruning have.
pub(crate) fn prune_filter(filters: &mut Filters, now: orc_base::Time) -> Result<PruneFilter> {
    Ok(PruneFilter {
        until: filters.take_until(now)?,
        labels: filters.take_labels("label"),
        without: filters.take_labels("label!"),
    })
}

/// Where one asks for pruning, and with which filters.
pub(crate) fn of_prune(prune: &Prune) -> (&'static str, Filters) {
    let mut filters = Filters::default();
    let text = |(key, value): &Label| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    };
    filters.put("until", prune.filter.until.map(time::seconds));
    filters.put("label", prune.filter.labels.iter().map(text));
    filters.put("label!", prune.filter.without.iter().map(text));
    let path = match prune.what {
        Prunable::Containers => "/containers/prune",
        Prunable::Networks => "/networks/prune",
        Prunable::Volumes { named } => {
            filters.put("all", named.then(|| "true".to_owned()));
            "/volumes/prune"
        }
        Prunable::Images { named } => {
            filters.put("dangling", [(!named).to_string()]);
            "/images/prune"
        }
    };
    (path, filters)
}

/// The keys of filters of the build cache.
const CACHE_KEYS: [&str; 12] = [
    "id",
    "parent",
    "parents",
    "description",
    "type",
    "until",
    "unused-for",
    "inuse",
    "shared",
    "private",
    "mutable",
    "immutable",
];

/// The filters of `POST /build/prune`.
pub(crate) fn cache_filters(mut filters: Filters) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for key in CACHE_KEYS {
        let values = filters.take(key).into_iter();
        pairs.extend(values.map(|value| (key.to_owned(), value)));
    }
    filters.finish()?;
    Ok(pairs)
}

/// The inverse of [`cache_filters`].
pub(crate) fn of_cache_prune(prune: &CachePrune) -> Filters {
    let mut filters = Filters::default();
    for (key, value) in &prune.filters {
        filters.put(key, [value.clone()]);
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_back() {
        let of = usage_of(["image", "build-cache"].into_iter()).unwrap();
        assert_eq!(types(&of), ["image", "build-cache"]);
        assert_eq!(usage_of(std::iter::empty()).unwrap(), UsageOf::everything());
        assert!(usage_of(["nodes"].into_iter()).is_err());
    }

    #[test]
    fn filters_of_prunes_come_back() {
        let prune = Prune {
            what: Prunable::Images { named: true },
            filter: PruneFilter {
                until: Some(orc_base::Time::from_secs(1_700_000_000)),
                labels: vec![("a".into(), None)],
                without: vec![("b".into(), Some("c".into()))],
            },
        };
        let (path, mut filters) = of_prune(&prune);
        assert_eq!(path, "/images/prune");
        assert_eq!(filters.take_flag("dangling").unwrap(), Some(false));
        let filter = prune_filter(&mut filters, orc_base::Time::EPOCH).unwrap();
        assert_eq!(filter, prune.filter);
        filters.finish().unwrap();
        let cache = CachePrune {
            filters: vec![("type".into(), "regular".into())],
            ..CachePrune::default()
        };
        let pairs = cache_filters(of_cache_prune(&cache)).unwrap();
        assert_eq!(pairs, cache.filters);
        let mut unknown = Filters::default();
        unknown.put("color", ["red".to_owned()]);
        assert!(cache_filters(unknown).is_err());
    }
}
