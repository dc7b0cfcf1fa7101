//! Anchors that nothing uses, and keys that hide what `<<` brings.
//!
//! The trees of `yaml.rs` have their aliases expanded, so this reads the events of the parser once
//! more. The text was loaded before, and is within the bounds that `yaml.rs` sets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, StrInput};

use crate::lint::remark::{Report, Rule};
use crate::node::Span;
use crate::source::Source;

/// Says what there is to say about one file.
pub(crate) fn check(report: &mut Report, name: &str, text: &str) {
    let mut options = granit_parser::options! {};
    options.emit_anchor_events = true;
    options.set_emit_comments(false);
    let mut scan = Scan {
        parser: Parser::new_from_str_with_options(text, options),
        file: Arc::new(Source::new(name, "")),
        anchors: BTreeMap::new(),
        used: BTreeSet::new(),
    };
    let mut documents = Vec::new();
    while let Some(event) = scan.next() {
        match event {
            (Event::StreamEnd, _) => break,
            (Event::DocumentStart(..), _) => match scan.next() {
                Some((event, _)) => documents.extend(scan.value(event)),
                None => break,
            },
            _ => {}
        }
    }
    for (id, (name, span)) in &scan.anchors {
        if !scan.used.contains(id) {
            report.add(
                Rule::UnusedAnchor,
                span,
                format!("&{name}"),
                "no alias names this anchor",
                format!("take `&{name}` away, or use it with `*{name}`"),
            );
        }
    }
    for document in &documents {
        let mut bodies = HashMap::new();
        collect(document, &mut bodies);
        merges(report, document, &mut Vec::new(), &bodies);
    }
}

/// A value with its aliases as they stand.
struct Raw {
    anchor: usize,
    value: RawValue,
}

enum RawValue {
    Leaf(String),
    List(Vec<Raw>),
    Map(Vec<(String, Span, Raw)>),
    Alias(usize),
}

struct Scan<'a> {
    parser: Parser<'a, StrInput<'a>>,
    file: Arc<Source>,
    anchors: BTreeMap<usize, (String, Span)>,
    used: BTreeSet<usize>,
}

impl<'a> Scan<'a> {
    /// The next event that is data; anchors are noted on the way. `None` at the end, and where the
    /// text is no YAML, which the loader has said before.
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        loop {
            let (event, place) = self.parser.next_event()?.ok()?;
            let span = self.span(&place.start);
            match event {
                Event::Anchor(id, name) => {
                    self.anchors.insert(id, (name.into_owned(), span));
                }
                event => return Some((event, span)),
            }
        }
    }

    fn span(&self, marker: &Marker) -> Span {
        Span {
            file: Some(Arc::clone(&self.file)),
            line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
            column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
        }
    }

    fn value(&mut self, event: Event<'a>) -> Option<Raw> {
        let (anchor, value) = match event {
            Event::Alias(id) => {
                self.used.insert(id);
                (0, RawValue::Alias(id))
            }
            Event::Scalar(text, _, anchor, _) => (anchor, RawValue::Leaf(text.into_owned())),
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, _) => items.push(self.value(event)?),
                    }
                }
                (anchor, RawValue::List(items))
            }
            Event::MappingStart(_, anchor, _) => {
                let mut entries = Vec::new();
                loop {
                    let (event, place) = match self.next()? {
                        (Event::MappingEnd, _) => break,
                        event => event,
                    };
                    let key = match self.value(event)?.value {
                        RawValue::Leaf(key) => key,
                        _ => String::new(),
                    };
                    let (event, _) = self.next()?;
                    entries.push((key, place, self.value(event)?));
                }
                (anchor, RawValue::Map(entries))
            }
            _ => return None,
        };
        Some(Raw { anchor, value })
    }
}

/// The value of each anchor.
fn collect<'r>(raw: &'r Raw, bodies: &mut HashMap<usize, &'r Raw>) {
    if raw.anchor != 0 {
        bodies.insert(raw.anchor, raw);
    }
    match &raw.value {
        RawValue::List(items) => items.iter().for_each(|item| collect(item, bodies)),
        RawValue::Map(entries) => entries.iter().for_each(|(_, _, raw)| collect(raw, bodies)),
        RawValue::Leaf(_) | RawValue::Alias(_) => {}
    }
}

/// What an alias stands for; an alias is never an alias' own value.
fn body<'r>(raw: &'r Raw, bodies: &HashMap<usize, &'r Raw>) -> &'r Raw {
    match raw.value {
        RawValue::Alias(id) => bodies.get(&id).copied().unwrap_or(raw),
        _ => raw,
    }
}

/// The value of a key of a mapping.
fn child<'r>(raw: &'r Raw, key: &str) -> Option<&'r Raw> {
    match &raw.value {
        RawValue::Map(entries) => entries
            .iter()
            .find(|(name, _, _)| name == key)
            .map(|(_, _, raw)| raw),
        _ => None,
    }
}

fn merges<'r>(
    report: &mut Report,
    raw: &'r Raw,
    path: &mut Vec<String>,
    bodies: &HashMap<usize, &'r Raw>,
) {
    match &raw.value {
        RawValue::List(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(format!("[{index}]"));
                merges(report, item, path, bodies);
                path.pop();
            }
        }
        RawValue::Map(entries) => {
            one_map(report, raw, entries, path, bodies);
            for (key, _, raw) in entries {
                path.push(key.clone());
                merges(report, raw, path, bodies);
                path.pop();
            }
        }
        RawValue::Leaf(_) | RawValue::Alias(_) => {}
    }
}

fn one_map<'r>(
    report: &mut Report,
    raw: &'r Raw,
    entries: &'r [(String, Span, Raw)],
    path: &[String],
    bodies: &HashMap<usize, &'r Raw>,
) {
    let Some((_, place, merged)) = entries.iter().find(|(key, _, _)| key == "<<") else {
        return;
    };
    let merged = body(merged, bodies);
    let sources: Vec<&Raw> = match &merged.value {
        RawValue::List(items) => items.iter().map(|item| body(item, bodies)).collect(),
        _ => vec![merged],
    };
    report.service = match path {
        [section, name, ..] if section == "services" => Some(name.clone()),
        _ => None,
    };
    for (key, span, own) in entries.iter().filter(|(key, _, _)| key != "<<") {
        let Some(hidden) = sources.iter().find_map(|source| child(source, key)) else {
            continue;
        };
        let (own, hidden) = (body(own, bodies), body(hidden, bodies));
        let count = size(hidden);
        if count == 0 || size(own) == 0 || child(own, "<<").is_some() {
            continue;
        }
        let how = match own.value {
            RawValue::Map(_) => "merge inside it, too (`<<: *…`)",
            _ => "repeat what is wanted of it",
        };
        report.add(
            Rule::ShadowedMerge,
            span,
            dotted(path, key),
            format!(
                "this hides the {count} {} of the `{key}` that `<<` brings",
                if count == 1 { "entry" } else { "entries" }
            ),
            format!("{how}, or take `{key}` out of what is merged"),
        );
    }
    let mut seen: BTreeMap<&str, &Raw> = BTreeMap::new();
    for source in &sources {
        let RawValue::Map(entries) = &source.value else {
            continue;
        };
        for (key, _, value) in entries.iter().filter(|(key, _, _)| key != "<<") {
            match seen.get(key.as_str()) {
                Some(first) if child(raw, key).is_none() && !same(first, value) => report.add(
                    Rule::ShadowedMerge,
                    place,
                    dotted(path, key),
                    format!("two of the merged mappings have `{key}`: the first one counts"),
                    format!("say `{key}` here, or take it out of one of them"),
                ),
                Some(_) => {}
                None => {
                    seen.insert(key, value);
                }
            }
        }
    }
    report.service = None;
}

/// How many entries a collection has; 0 for anything else.
fn size(raw: &Raw) -> usize {
    match &raw.value {
        RawValue::List(items) => items.len(),
        RawValue::Map(entries) => entries.len(),
        RawValue::Leaf(_) | RawValue::Alias(_) => 0,
    }
}

/// Whether two values are plainly the same; collections count as different.
fn same(a: &Raw, b: &Raw) -> bool {
    match (&a.value, &b.value) {
        (RawValue::Leaf(a), RawValue::Leaf(b)) => a == b,
        (RawValue::Alias(a), RawValue::Alias(b)) => a == b,
        _ => false,
    }
}

fn dotted(path: &[String], key: &str) -> String {
    let mut text = String::new();
    for step in path.iter().map(String::as_str).chain([key]) {
        if !text.is_empty() && !step.starts_with('[') {
            text.push('.');
        }
        text.push_str(step);
    }
    text
}
