//! A YAML value with its place in a file.
//!
//! Everything between parsing and the typed model works on these trees, so that every error can say
//! `compose.yaml:12:7: services.web.ports[0]: …`. Maps are in order of their keys, which makes all
//! later stages and their output deterministic.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use orc_base::Error;

use crate::remote::Origin;
use crate::source::Source;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// The file as people are shown it; `None` for what no file says (the command line, defaults).
    pub(crate) file: Option<Arc<Source>>,
    /// From 1.
    pub(crate) line: u32,
    /// From 1.
    pub(crate) column: u32,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}:{}:{}", file.name(), self.line, self.column),
            None => f.write_str("compose"),
        }
    }
}

impl Span {
    /// The file's name as people are shown it.
    pub(crate) fn file_name(&self) -> Option<&str> {
        self.file.as_deref().map(Source::name)
    }

    /// Where the file came from, when it is not this machine's own.
    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.file.as_deref().and_then(Source::origin)
    }

    /// The line with marks under what stands there, on lines of their own; nothing for what no file
    /// says.
    pub(crate) fn excerpt(&self) -> String {
        match &self.file {
            Some(file) => file.excerpt(self.line, self.column),
            None => String::new(),
        }
    }
}

/// What a tag asks a merge to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mark {
    /// Merge as the specification says.
    #[default]
    Merge,
    /// `!reset`: remove what is there.
    Reset,
    /// `!override`: replace what is there.
    Override,
    /// No tag: the value is wrong, which was noted, and later stages leave it alone.
    Wrong,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
    pub(crate) mark: Mark,
}

/// What YAML's core schema knows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// Keys, each with its own place, and their values.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Map(BTreeMap<String, Entry>);

/// One line of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Span,
    pub(crate) node: Node,
}

impl Node {
    /// A value that stands at `span`.
    pub(crate) fn new(value: impl Into<Value>, span: &Span) -> Self {
        Self {
            value: value.into(),
            span: span.clone(),
            mark: Mark::Merge,
        }
    }

    /// The same node with another value.
    pub(crate) fn with(self, value: impl Into<Value>) -> Self {
        Self {
            value: value.into(),
            ..self
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The child of a map, if this is one and has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.get(key)
    }

    /// The child at the end of a path of keys.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// A scalar as Go's `fmt.Sprint` prints it; `None` for null, lists and maps.
    pub(crate) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(float(*value)),
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What kind of value it is, in the words of error messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl Map {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.0.get(key).map(|entry| &entry.node)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.get_mut(key).map(|entry| &mut entry.node)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        self.0.remove(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets a key that has a place of its own.
    pub(crate) fn put(&mut self, key: impl Into<String>, entry: Entry) -> Option<Entry> {
        self.0.insert(key.into(), entry)
    }

    /// Sets a key that stands where its value stands.
    pub(crate) fn set(&mut self, key: impl Into<String>, node: Node) {
        let key_span = node.span.clone();
        self.0.insert(
            key.into(),
            Entry {
                key: key_span,
                node,
            },
        );
    }

    /// Sets a key unless it is there.
    pub(crate) fn set_default(&mut self, key: &str, node: impl FnOnce() -> Node) {
        if !self.contains(key) {
            self.set(key, node());
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Entry)> {
        self.0.iter_mut()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&String, &mut Entry) -> bool) {
        self.0.retain(keep);
    }
}

impl IntoIterator for Map {
    type Item = (String, Entry);
    type IntoIter = std::collections::btree_map::IntoIter<String, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i128> for Value {
    fn from(value: i128) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<Node>> for Value {
    fn from(value: Vec<Node>) -> Self {
        Self::List(value)
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Self {
        Self::Map(value)
    }
}

/// The way to a value, for error messages: a chain of borrowed steps, printed only when needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trail<'a> {
    parent: Option<&'a Trail<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Trail<'a> {
    /// The top of a document.
    pub(crate) const ROOT: Trail<'static> = Trail {
        parent: None,
        step: Step::Root,
    };

    pub(crate) fn key(&'a self, key: &'a str) -> Trail<'a> {
        Trail {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    pub(crate) fn index(&'a self, index: usize) -> Trail<'a> {
        Trail {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        matches!(self.step, Step::Root)
    }

    /// `file:line:column: path: text`, and the line itself.
    pub(crate) fn error(&self, span: &Span, text: impl fmt::Display) -> Error {
        Error::invalid(self.shown(span, text))
    }

    /// The text of [`Trail::error`].
    pub(crate) fn shown(&self, span: &Span, text: impl fmt::Display) -> String {
        self.sentence(span, text) + &span.excerpt()
    }

    /// The error of something that is named there: `file:line:column: path: what: error`. The line is
    /// shown unless the error shows one of its own.
    pub(crate) fn around(&self, span: &Span, what: &str, error: &Error) -> Error {
        let text = self.sentence(span, format!("{what}: {error}"));
        match text.contains('\n') {
            true => Error::new(error.kind(), text),
            false => Error::new(error.kind(), text + &span.excerpt()),
        }
    }

    /// `file:line:column: path: text`, for what is said in passing.
    pub(crate) fn sentence(&self, span: &Span, text: impl fmt::Display) -> String {
        if self.is_root() {
            return format!("{span}: {text}");
        }
        format!("{span}: {self}: {text}")
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Key(key) if self.parent.is_none_or(Trail::is_root) => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A float in the shortest form that reads back, with Go's switch to exponents.
fn float(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e21 {
        return format!("{value:.0}");
    }
    if value.is_finite() && (value.abs() < 1e-4 || value.abs() >= 1e21) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trails_read_like_paths() {
        let services = Trail::ROOT.key("services");
        let web = services.key("web");
        let ports = web.key("ports");
        let first = ports.index(0);
        let span = Span {
            file: Some(Arc::new(Source::new("compose.yaml", ""))),
            line: 12,
            column: 7,
        };
        assert_eq!(
            first.error(&span, "no").to_string(),
            "compose.yaml:12:7: services.web.ports[0]: no"
        );
        assert_eq!(
            Trail::ROOT.error(&span, "no").to_string(),
            "compose.yaml:12:7: no"
        );
    }

    #[test]
    fn floats_as_go_prints_them() {
        for (value, text) in [
            (2.5, "2.5"),
            (1.0, "1"),
            (0.00001, "1e-05"),
            (1e21, "1e+21"),
            (0.1, "0.1"),
        ] {
            assert_eq!(float(value), text);
        }
    }
}
