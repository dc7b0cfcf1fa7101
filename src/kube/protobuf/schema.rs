//! The table of messages, read once from `messages.txt`.
//!
//! One line a message: its name, then `number:name:type` for each field. Types are `s` text, `i` whole
//! number, `b` true or false, `f` fraction, `bytes`, `@name` another message, and those of `scalar`;
//! `[t]` is a list, `{t}` a map from text. `t?` is a pointer in Kubernetes' own types: a zero that was
//! sent is a zero that was meant. The name `+` stands for a message whose fields JSON has in its parent.

use std::collections::HashMap;
use std::sync::OnceLock;

/// A message by its name, such as `core.v1.Pod`.
pub(super) fn message(name: &str) -> Option<&'static Message> {
    static TABLE: OnceLock<HashMap<&'static str, Message>> = OnceLock::new();
    TABLE.get_or_init(read).get(name)
}

/// The fields of a message, by their number.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) fields: HashMap<u32, Field>,
}

#[derive(Debug)]
pub(super) struct Field {
    /// Its name in JSON; nothing when its own fields stand in its place.
    pub(super) name: Option<&'static str>,
    pub(super) shape: Shape,
    pub(super) value: Type,
    /// Whether a zero is kept.
    pub(super) pointer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    List,
    Map,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Integer,
    Boolean,
    Fraction,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// JSON inside the protobuf.
    Raw,
    Duration,
    /// A message that is nothing but a list of texts.
    Texts,
    Message(&'static str),
}

fn read() -> HashMap<&'static str, Message> {
    let lines = include_str!("messages.txt").lines();
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().expect("a line has a name");
            let fields = words.map(field).collect();
            (name, Message { fields })
        })
        .collect()
}

fn field(text: &'static str) -> (u32, Field) {
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().expect("number:name:type");
    let number = part().parse().expect("a field has a number");
    let name = Some(part()).filter(|name| *name != "+");
    let typ = part();
    let pointer = typ.ends_with('?');
    let typ = typ.trim_end_matches('?');
    let inside = |open, close| typ.strip_prefix(open)?.strip_suffix(close);
    let (shape, typ) = match (inside('[', ']'), inside('{', '}')) {
        (Some(inner), _) => (Shape::List, inner),
        (_, Some(inner)) => (Shape::Map, inner),
        _ => (Shape::One, typ),
    };
    let value = value_type(typ);
    let field = Field {
        name,
        shape,
        value,
        pointer,
    };
    (number, field)
}

fn value_type(text: &'static str) -> Type {
    match text {
        "s" => Type::Text,
        "i" => Type::Integer,
        "b" => Type::Boolean,
        "f" => Type::Fraction,
        "bytes" => Type::Bytes,
        "time" => Type::Time,
        "micro" => Type::MicroTime,
        "quantity" => Type::Quantity,
        "intstr" => Type::IntOrString,
        "raw" => Type::Raw,
        "duration" => Type::Duration,
        "items" => Type::Texts,
        _ => Type::Message(text.strip_prefix('@').expect("a known type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_that_is_named_is_there() {
        for (name, found) in read() {
            for field in found.fields.values() {
                if let Type::Message(inner) = field.value {
                    assert!(message(inner).is_some(), "{name} needs {inner}");
                }
                assert!(field.name.is_some() || matches!(field.value, Type::Message(_)));
            }
        }
    }

    #[test]
    fn no_name_is_twice_in_a_message() {
        for (name, found) in read() {
            let mut names: Vec<_> = found.fields.values().filter_map(|f| f.name).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{name}");
        }
    }

    #[test]
    fn reads_lists_maps_and_pointers() {
        let spec = &message("core.v1.PodSpec").unwrap().fields;
        assert_eq!(spec[&2].name, Some("containers"));
        assert_eq!(spec[&2].shape, Shape::List);
        assert_eq!(spec[&2].value, Type::Message("core.v1.Container"));
        assert_eq!(spec[&7].shape, Shape::Map);
        assert!(spec[&4].pointer && !spec[&11].pointer);
        assert_eq!(message("core.v1.Volume").unwrap().fields[&2].name, None);
    }
}
