//! The `filters` of a query.
//!
//! `{"label": ["a=b"]}`, or as clients before 1.22 wrote it, `{"label": {"a=b": true}}`. Every name
//! that a reader does not take is refused, so no filter is ever ignored.

use std::collections::BTreeMap;

use orc_base::{Error, Result, Time};
use orc_host::container::{Container, ContainerFilter};
use orc_host::event::{Event, EventFilter};
use orc_host::network::Port;
use serde::Deserialize;

use crate::convert::{event, pattern, time};

/// A label that must be there, or must not be; no value matches any.
pub(crate) type Label = (String, Option<String>);

/// What a query filters by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Set(BTreeMap<String, bool>),
}

impl Filters {
    /// Reads the query's text; empty is no filter.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let filters: Option<BTreeMap<String, Values>> =
            serde_json::from_str(text).map_err(|error| {
                Error::invalid(format!("`filters` is not an object of lists: {error}"))
            })?;
        let values = |values| match values {
            Values::List(list) => list,
            Values::Set(set) => set
                .into_iter()
                .filter_map(|(key, on)| on.then_some(key))
                .collect(),
        };
        Ok(Self(
            filters
                .unwrap_or_default()
                .into_iter()
                .map(|(key, found)| (key, values(found)))
                .collect(),
        ))
    }

    /// The text of the query; `None` when there is no filter.
    pub(crate) fn text(&self) -> Option<String> {
        let filled: BTreeMap<_, _> = self
            .0
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .collect();
        (!filled.is_empty())
            .then(|| serde_json::to_string(&filled).expect("strings are always JSON"))
    }

    /// Adds values under `key`.
    pub(crate) fn put(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        self.0.entry(key.into()).or_default().extend(values);
    }

    /// Takes the values of `key` out.
    pub(crate) fn take(&mut self, key: &str) -> Vec<String> {
        self.0.remove(key).unwrap_or_default()
    }

    /// Takes a yes or no out.
    pub(crate) fn take_flag(&mut self, key: &str) -> Result<Option<bool>> {
        let values = self.take(key);
        let Some(value) = values.first() else {
            return Ok(None);
        };
        match value.to_ascii_lowercase().as_str() {
            "1" | "true" => Ok(Some(true)),
            "0" | "false" => Ok(Some(false)),
            _ => Err(Error::invalid(format!(
                "invalid filter '{key}={value}': use true or false"
            ))),
        }
    }

    /// Takes `key` and `key=value` out.
    pub(crate) fn take_labels(&mut self, key: &str) -> Vec<Label> {
        self.take(key).into_iter().map(label).collect()
    }

    /// Takes the moment of `until` out.
    pub(crate) fn take_until(&mut self, now: Time) -> Result<Option<Time>> {
        match self.take("until").first() {
            Some(text) => time::moment("until", text, now),
            None => Ok(None),
        }
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(key) => Err(Error::invalid(format!(
                "invalid filter '{}'",
                key.chars()
                    .take(80)
                    .flat_map(char::escape_debug)
                    .collect::<String>()
            ))),
        }
    }
}

fn label(text: String) -> Label {
    match text.split_once('=') {
        Some((key, value)) => (key.into(), Some(value.into())),
        None => (text, None),
    }
}

fn label_text((key, value): &Label) -> String {
    match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    }
}

/// Whether `labels` have `wanted`.
pub(crate) fn labelled(labels: &BTreeMap<String, String>, wanted: &Label) -> bool {
    labels
        .get(&wanted.0)
        .is_some_and(|found| wanted.1.as_ref().is_none_or(|value| value == found))
}

/// What the host's own filter cannot say about containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Further {
    /// Patterns with anchors; one must fit.
    pub(crate) names: Vec<String>,
    /// Made before this container.
    pub(crate) before: Option<String>,
    /// Made after this container.
    pub(crate) since: Option<String>,
    /// One of these must be published.
    pub(crate) published: Vec<Port>,
    /// One of these must be exposed.
    pub(crate) exposed: Vec<Port>,
    /// The newest so many of what is left.
    pub(crate) limit: Option<usize>,
}

impl Further {
    /// Whether the host's filter says all.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `container` fits, but for `before` and `since`, which need the host.
    pub(crate) fn matches(&self, container: &Container) -> bool {
        let any = |wanted: &[Port], have: &dyn Fn(&Port) -> bool| {
            wanted.is_empty() || wanted.iter().any(have)
        };
        (self.names.is_empty()
            || self
                .names
                .iter()
                .any(|name| pattern::names(name, &container.name)))
            && any(&self.published, &|port| {
                container.published.iter().any(|found| found.port == *port)
            })
            && any(&self.exposed, &|port| {
                container.spec.exposed_ports.contains(port)
            })
    }
}

/// Which containers a list wants.
pub(crate) fn containers(
    mut filters: Filters,
    all: bool,
    limit: Option<usize>,
) -> Result<(ContainerFilter, Further)> {
    let names = filters.take("name");
    if let Some(name) = names.iter().find(|name| pattern::is_beyond_anchors(name)) {
        return Err(Error::unsupported(format!(
            "invalid filter 'name={name}': of regular expressions only ^ and $ are supported"
        )));
    }
    let (anchored, plain) = names
        .into_iter()
        .partition::<Vec<_>, _>(|name| name.starts_with(['^', '/']) || name.ends_with('$'));
    // Alternatives: when one has an anchor, the host cannot decide between them.
    let (mut further_names, mut host_names) = (anchored, plain);
    if !further_names.is_empty() {
        further_names.append(&mut host_names);
    }
    let exit_codes = filters
        .take("exited")
        .iter()
        .map(|code| {
            code.parse().map_err(|_| {
                Error::invalid(format!("invalid filter 'exited={code}': use a number"))
            })
        })
        .collect::<Result<_>>()?;
    let statuses = filters.take("status");
    for status in &statuses {
        known_status(status)?;
    }
    let mut further = Further {
        names: further_names,
        before: filters.take("before").into_iter().next(),
        since: filters.take("since").into_iter().next(),
        published: ports(&filters.take("publish"))?,
        exposed: ports(&filters.take("expose"))?,
        limit: None,
    };
    // No container here is a task of a cluster.
    if filters.take_flag("is-task")? == Some(true) {
        further.names = vec!["^$".into()];
    }
    let filter = ContainerFilter {
        all: all || further.before.is_some() || further.since.is_some(),
        names: host_names,
        ids: filters.take("id"),
        labels: filters.take_labels("label"),
        statuses,
        exit_codes,
        images: filters.take("ancestor"),
        networks: filters.take("network"),
        volumes: filters.take("volume"),
        health: filters.take("health"),
        limit,
    };
    filters.finish()?;
    Ok(match further.is_empty() {
        true => (filter, further),
        // The limit counts what is left in the end.
        false => {
            further.limit = limit;
            let all = filter.all || limit.is_some();
            (
                ContainerFilter {
                    all,
                    limit: None,
                    ..filter
                },
                further,
            )
        }
    })
}

fn known_status(status: &str) -> Result<()> {
    match status {
        "created" | "running" | "paused" | "restarting" | "removing" | "exited" | "dead" => Ok(()),
        _ => Err(Error::invalid(format!("invalid filter 'status={status}'"))),
    }
}

fn ports(texts: &[String]) -> Result<Vec<Port>> {
    texts.iter().map(|text| text.parse()).collect()
}

/// The filters that ask for `filter`, without `all` and `limit`.
pub(crate) fn of_containers(filter: &ContainerFilter) -> Filters {
    let mut filters = Filters::default();
    filters.put("name", filter.names.iter().cloned());
    filters.put("id", filter.ids.iter().cloned());
    filters.put("label", filter.labels.iter().map(label_text));
    filters.put("status", filter.statuses.iter().cloned());
    filters.put("exited", filter.exit_codes.iter().map(i32::to_string));
    filters.put("ancestor", filter.images.iter().cloned());
    filters.put("network", filter.networks.iter().cloned());
    filters.put("volume", filter.volumes.iter().cloned());
    filters.put("health", filter.health.iter().cloned());
    filters
}

/// What the host's own filter cannot say about events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FurtherEvents {
    /// For each of these lists, the event must have one of the names or ids.
    pub(crate) named: Vec<Vec<String>>,
    /// Of one of these images, or of a container of one.
    pub(crate) images: Vec<String>,
    /// Kinds of things that never have events here were asked for, and no others.
    pub(crate) none: bool,
}

impl FurtherEvents {
    /// Whether `event` fits.
    pub(crate) fn matches(&self, event: &Event) -> bool {
        let named = |names: &Vec<String>| {
            let names = names.clone();
            EventFilter {
                names,
                ..EventFilter::default()
            }
            .matches(event)
        };
        let image = event
            .attributes
            .get("image")
            .or(event.attributes.get("name"));
        let of_image = |wanted: &String| {
            event.id == *wanted
                || image
                    .is_some_and(|image| image == wanted || image.split(':').next() == Some(wanted))
        };
        !self.none
            && self.named.iter().all(named)
            && (self.images.is_empty() || self.images.iter().any(of_image))
    }
}

/// Which events are wanted.
pub(crate) fn events(
    mut filters: Filters,
    since: Option<Time>,
    until: Option<Time>,
) -> Result<(EventFilter, FurtherEvents)> {
    let mut further = FurtherEvents::default();
    for key in ["container", "network", "volume"] {
        let names = filters.take(key);
        if !names.is_empty() {
            further.named.push(names);
        }
    }
    further.images = filters.take("image");
    let types = filters.take("type");
    let subjects: Vec<_> = types
        .iter()
        .filter_map(|word| event::subject(word).ok())
        .collect();
    let scopes = filters.take("scope");
    let elsewhere = !scopes.is_empty() && !scopes.iter().any(|scope| scope == "local");
    further.none = (!types.is_empty() && subjects.is_empty()) || elsewhere;
    for key in ["daemon", "plugin", "node", "service", "secret", "config"] {
        further.none |= !filters.take(key).is_empty();
    }
    let names = match further.named.len() {
        1 => further.named.remove(0),
        _ => Vec::new(),
    };
    let filter = EventFilter {
        since,
        until,
        subjects,
        actions: filters.take("event"),
        names,
        labels: filters.take_labels("label"),
    };
    filters.finish()?;
    Ok((filter, further))
}

/// The filters that ask for `filter`, without its times.
pub(crate) fn of_events(filter: &EventFilter) -> Filters {
    let mut filters = Filters::default();
    filters.put(
        "type",
        filter
            .subjects
            .iter()
            .map(|subject| subject.as_str().into()),
    );
    filters.put("event", filter.actions.iter().cloned());
    filters.put("container", filter.names.iter().cloned());
    filters.put("label", filter.labels.iter().map(label_text));
    filters
}

#[cfg(test)]
mod tests {
    use orc_host::event::Subject;

    use super::*;

    #[test]
    fn both_ways_to_write_a_filter() {
        let list = Filters::parse(r#"{"label":["a=b","c"]}"#).unwrap();
        let set = Filters::parse(r#"{"label":{"a=b":true,"c":true,"d":false}}"#).unwrap();
        assert_eq!(list, set);
        assert_eq!(Filters::parse("null").unwrap(), Filters::default());
        for bad in ["[]", "x", r#"{"label":"a"}"#, r#"{"label":[1]}"#] {
            assert!(
                Filters::parse(bad)
                    .unwrap_err()
                    .to_string()
                    .contains("filters"),
                "{bad}"
            );
        }
    }

    #[test]
    fn no_filter_is_ignored() {
        for (text, named) in [
            (r#"{"labell":["a"]}"#, "labell"),
            (r#"{"status":["up"]}"#, "status=up"),
            (r#"{"exited":["x"]}"#, "exited=x"),
            (r#"{"name":["a|b"]}"#, "name=a|b"),
            (r#"{"is-task":["maybe"]}"#, "is-task"),
        ] {
            let filters = Filters::parse(text).unwrap();
            let error = containers(filters, false, None).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(events(Filters::parse(r#"{"x":["y"]}"#).unwrap(), None, None).is_err());
    }

    #[test]
    fn a_host_filter_comes_back() {
        let filter = ContainerFilter {
            all: true,
            names: vec!["web".into()],
            ids: vec!["ab".into()],
            labels: vec![("a".into(), Some("b=c".into())), ("d".into(), None)],
            statuses: vec!["exited".into()],
            exit_codes: vec![137, -1],
            images: vec!["busybox".into()],
            networks: vec!["front".into()],
            volumes: vec!["/data".into()],
            health: vec!["none".into()],
            limit: Some(3),
        };
        let text = of_containers(&filter).text().unwrap();
        let (back, further) = containers(Filters::parse(&text).unwrap(), true, Some(3)).unwrap();
        assert_eq!((back, further), (filter, Further::default()));
        assert_eq!(of_containers(&ContainerFilter::everything()).text(), None);

        let filter = EventFilter {
            subjects: vec![Subject::Network],
            actions: vec!["create".into()],
            names: vec!["front".into()],
            labels: vec![("a".into(), None)],
            ..EventFilter::default()
        };
        let text = of_events(&filter).text().unwrap();
        let (back, further) = events(Filters::parse(&text).unwrap(), None, None).unwrap();
        assert_eq!((back, further), (filter, FurtherEvents::default()));
    }

    #[test]
    fn a_limit_counts_what_is_left() {
        let filters = Filters::parse(r#"{"name":["^/web$","db"]}"#).unwrap();
        let (filter, further) = containers(filters, false, Some(1)).unwrap();
        assert_eq!(
            (filter.limit, filter.all, filter.names.len()),
            (None, true, 0)
        );
        assert_eq!((further.limit, further.names.len()), (Some(1), 2));
    }
}
