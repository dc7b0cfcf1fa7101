//! `--filter KEY=VALUE` of `ps`, `events` and the other lists. An unknown key is refused.

use orc_base::{Error, Result, Time};
use orc_host::container::ContainerFilter;
use orc_host::event::{EventFilter, Subject};

/// A pair of `--filter`.
fn pair(text: &str) -> Result<(&str, &str)> {
    text.split_once('=').ok_or_else(|| {
        Error::invalid(format!(
            "`--filter {text}`: use KEY=VALUE, such as name=web"
        ))
    })
}

fn label(value: &str) -> (String, Option<String>) {
    match value.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (value.to_owned(), None),
    }
}

fn unknown(key: &str, known: &str) -> Error {
    Error::invalid(format!(
        "`--filter {key}=…` is not supported here: use {known}"
    ))
}

/// The filters of `ps`.
pub(crate) fn containers(filters: &[String]) -> Result<ContainerFilter> {
    const STATUSES: [&str; 7] = [
        "created",
        "running",
        "paused",
        "restarting",
        "exited",
        "removing",
        "dead",
    ];
    let mut filter = ContainerFilter::default();
    for text in filters {
        let (key, value) = pair(text)?;
        let owned = value.to_owned();
        match key {
            "name" => filter.names.push(owned),
            "id" => filter.ids.push(owned),
            "label" => filter.labels.push(label(value)),
            "status" if STATUSES.contains(&value) => filter.statuses.push(owned),
            "status" => {
                return Err(Error::invalid(format!(
                    "`--filter {text}`: use one of {}",
                    STATUSES.join(", ")
                )));
            }
            "exited" => filter.exit_codes.push(value.parse().map_err(|_| {
                Error::invalid(format!("`--filter {text}`: an exit code is a number"))
            })?),
            "ancestor" => filter.images.push(owned),
            "network" => filter.networks.push(owned),
            "volume" => filter.volumes.push(owned),
            "health" => filter.health.push(owned),
            _ => {
                return Err(unknown(
                    key,
                    "name, id, label, status, exited, ancestor, network, volume or health",
                ));
            }
        }
    }
    Ok(filter)
}

/// The filters of `events`.
pub(crate) fn events(
    filters: &[String],
    since: Option<Time>,
    until: Option<Time>,
) -> Result<EventFilter> {
    let mut filter = EventFilter {
        since,
        until,
        ..EventFilter::default()
    };
    for text in filters {
        let (key, value) = pair(text)?;
        match key {
            "event" => filter.actions.push(value.to_owned()),
            "container" | "image" | "network" | "volume" => filter.names.push(value.to_owned()),
            "label" => filter.labels.push(label(value)),
            "type" => filter.subjects.push(subject(value)?),
            _ => {
                return Err(unknown(
                    key,
                    "event, type, container, image, network, volume or label",
                ));
            }
        }
    }
    Ok(filter)
}

fn subject(text: &str) -> Result<Subject> {
    let all = [
        Subject::Container,
        Subject::Image,
        Subject::Network,
        Subject::Volume,
    ];
    let found = all.into_iter().find(|subject| subject.as_str() == text);
    found.ok_or_else(|| {
        Error::invalid(format!(
            "`--filter type={text}`: use container, image, network or volume"
        ))
    })
}

/// The filters of lists of things with a name and labels (networks, volumes, images), as a question.
pub(crate) fn named(filters: &[String], names: &'static [&'static str]) -> Result<Named> {
    let mut filter = Named::default();
    for text in filters {
        let (key, value) = pair(text)?;
        match key {
            "label" => filter.labels.push(label(value)),
            "dangling" if names.contains(&"dangling") => {
                filter.dangling = Some(value.parse().map_err(|_| {
                    Error::invalid(format!("`--filter {text}`: use true or false"))
                })?);
            }
            _ if names.contains(&key) => filter.fields.push((key.to_owned(), value.to_owned())),
            _ => return Err(unknown(key, &format!("label, {}", names.join(", ")))),
        }
    }
    Ok(filter)
}

/// What someone wants to see of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Labels it must have.
    pub(crate) labels: Vec<(String, Option<String>)>,
    /// Fields and what they must be; one of those with the same key is enough.
    pub(crate) fields: Vec<(String, String)>,
    /// Whether it is used by nothing.
    pub(crate) dangling: Option<bool>,
}

impl Named {
    /// Whether all labels are there.
    pub(crate) fn labels_match(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| {
            let found = labels.get(key);
            found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        })
    }

    /// Whether `matches` holds for one of the values given for `key`, or there are none.
    pub(crate) fn field_matches(&self, key: &str, matches: impl Fn(&str) -> bool) -> bool {
        let mut values = self
            .fields
            .iter()
            .filter(|(name, _)| name == key)
            .peekable();
        values.peek().is_none() || values.any(|(_, value)| matches(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn of_containers() {
        let filter = containers(&texts(&[
            "name=web",
            "label=a",
            "label=b=c",
            "status=exited",
            "exited=3",
        ]))
        .unwrap();
        assert_eq!(
            filter.labels,
            [("a".into(), None), ("b".into(), Some("c".into()))]
        );
        assert_eq!(
            (filter.statuses, filter.exit_codes),
            (vec!["exited".into()], vec![3])
        );
        for bad in ["name", "what=x", "status=gone", "exited=x"] {
            assert!(containers(&texts(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_events_and_names() {
        assert_eq!(
            events(&texts(&["type=volume"]), None, None)
                .unwrap()
                .subjects,
            [Subject::Volume]
        );
        assert!(events(&texts(&["type=node"]), None, None).is_err());
        let filter = named(
            &texts(&["name=a", "name=b", "dangling=true"]),
            &["name", "dangling"],
        )
        .unwrap();
        assert!(filter.field_matches("name", |value| value == "b"));
        assert!(!filter.field_matches("name", |value| value == "c"));
        assert!(filter.field_matches("driver", |_| false));
        assert_eq!(filter.dangling, Some(true));
        assert!(named(&texts(&["driver=x"]), &["name"]).is_err());
    }
}
