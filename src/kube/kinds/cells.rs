//! Cells that many kinds show: ages, names, containers, selectors
//! (`k8s.io/kubernetes/pkg/printers/internalversion`).

use orc_base::Time;
use serde_json::Value;

use crate::json;
use crate::kind::{Column, Format};
use crate::object::Object;
use crate::selector::LabelSelector;

/// The name.
pub(crate) const NAME: Column = Column {
    name: "Name",
    format: Format::Name,
    priority: 0,
    cell: |object, _| object.name().into(),
};

/// How long it has been there.
pub(crate) const AGE: Column = Column {
    name: "Age",
    format: Format::Text,
    priority: 0,
    cell: |object, now| since(object.creation_time(), now).into(),
};

/// A text that is always shown.
pub(crate) const fn text(name: &'static str, cell: fn(&Object, Time) -> Value) -> Column {
    Column {
        name,
        format: Format::Text,
        priority: 0,
        cell,
    }
}

/// A number that is always shown.
pub(crate) const fn number(name: &'static str, cell: fn(&Object, Time) -> Value) -> Column {
    Column {
        name,
        format: Format::Number,
        priority: 0,
        cell,
    }
}

/// A text that `-o wide` shows.
pub(crate) const fn wide(name: &'static str, cell: fn(&Object, Time) -> Value) -> Column {
    Column {
        name,
        format: Format::Text,
        priority: 1,
        cell,
    }
}

/// The containers of the template.
pub(crate) const CONTAINERS: Column = wide("Containers", |object, _| {
    of_containers(object, "name").into()
});
/// The images of the template.
pub(crate) const IMAGES: Column = wide("Images", |object, _| of_containers(object, "image").into());
/// The label selector.
pub(crate) const SELECTOR: Column = wide("Selector", |object, _| {
    let selector = LabelSelector::from_json(object.at(&["spec", "selector"]));
    let text = selector.ok().flatten().map(|selector| selector.to_string());
    none(text.unwrap_or_default()).into()
});

fn of_containers(object: &Object, field: &str) -> String {
    let containers = object.list(&["spec", "template", "spec", "containers"]);
    let texts: Vec<_> = containers
        .iter()
        .map(|container| json::text(container, field))
        .collect();
    texts.join(",")
}

/// `<none>` for nothing.
pub(crate) fn none(text: impl Into<String>) -> String {
    let text = text.into();
    match text.is_empty() {
        true => "<none>".to_owned(),
        false => text,
    }
}

/// How long ago a time was.
pub(crate) fn since(time: Option<Time>, now: Time) -> String {
    match time {
        Some(time) if time > now => "0s".to_owned(),
        Some(time) => duration(now.since(time).as_secs()),
        None => "<unknown>".to_owned(),
    }
}

/// Seconds as people read them: two units at most (`k8s.io/apimachinery/pkg/util/duration`).
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    let two = |large: u64, unit: &str, small: u64, under: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{under}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_durations_as_kubectl_does() {
        let day = 86_400;
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (700, "11m"),
            (3 * 3600 + 61, "3h1m"),
            (10 * 3600, "10h"),
            (2 * day + 3600, "2d1h"),
            (9 * day + 3600, "9d"),
            (800 * day, "2y70d"),
            (4000 * day, "10y"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
