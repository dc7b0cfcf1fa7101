//! From YAML text to [`Node`]s, one for each document.
//!
//! Scalars resolve as Go's yaml.v3 resolves them, because that is what Compose files are written
//! against: YAML 1.2 booleans (`yes` and `on` are strings), `0644` is octal, `22:22` is a string.
//! Anchors and aliases are expanded and `<<` is merged here, and only here. Depth is bounded, values
//! and text are counted, those that aliases add too; duplicate keys are noted, and the first one
//! counts until the project is refused.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Tag};
use orc_base::{Error, Kind, Result};

use crate::budget::Budget;
use crate::ledger::Ledger;
use crate::node::{Entry, Map, Mark, Node, Span, Trail, Value};
use crate::source::Source;

/// How many documents a file may have.
const MAX_DOCUMENTS: usize = 1_000;
/// How deep values may be nested.
const MAX_DEPTH: usize = 200;

/// Parses all documents of a file. What is wrong and lets the rest be read is noted.
pub(crate) fn parse(source: &Arc<Source>, ledger: &mut Ledger) -> Result<Vec<Node>> {
    let mut composer = Composer {
        parser: Parser::new_from_str_with_options(source.text(), options()),
        file: source,
        anchors: HashMap::new(),
        ledger,
    };
    composer.documents()
}

fn options() -> Options {
    let mut options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    options
}

struct Composer<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    file: &'a Arc<Source>,
    /// What each anchor names, and what was counted before and after it; `None` while it is read.
    anchors: HashMap<usize, Option<(Node, Budget, Budget)>>,
    ledger: &'a mut Ledger,
}

impl<'a> Composer<'a> {
    fn documents(&mut self) -> Result<Vec<Node>> {
        let mut documents = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::DocumentStart(..) => {
                    if documents.len() == MAX_DOCUMENTS {
                        let text = format!("more than {MAX_DOCUMENTS} documents in one file");
                        let error = Trail::ROOT.error(&span, text);
                        return Err(error.with_kind(Kind::Exhausted));
                    }
                    self.anchors.clear();
                    let (event, span) = self.next()?;
                    documents.push(self.node(event, span, &Trail::ROOT)?);
                }
                Event::StreamStart | Event::DocumentEnd => {}
                other => return Err(self.odd(&span, &other)),
            }
        }
    }

    /// The next event that is data, and where it begins.
    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.span(&span.start))),
            Some(Err(error)) => {
                let span = self.span(error.marker());
                let (info, hint) = (error.info(), hint(&error.info()));
                Err(Trail::ROOT.error(&span, format!("not valid YAML: {info}{hint}")))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn span(&self, marker: &Marker) -> Span {
        Span {
            file: Some(Arc::clone(self.file)),
            line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
            column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
        }
    }

    fn odd(&self, span: &Span, event: &Event<'_>) -> Error {
        Trail::ROOT
            .error(span, format!("the YAML parser said {event:?} here"))
            .with_kind(Kind::Internal)
    }

    /// The value that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: Span, trail: &Trail<'_>) -> Result<Node> {
        let before = self.ledger.budget;
        self.count(1, 0, &span, trail)?;
        let (anchor, tag, value) = match event {
            Event::Alias(id) => return self.alias(id, &span, trail),
            Event::Scalar(text, style, anchor, tag) => {
                self.count(0, text.len(), &span, trail)?;
                let value = scalar(text.into_owned(), style, tag.as_deref(), &span, trail)?;
                (anchor, tag, value)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(anchor);
                (anchor, tag, self.sequence(trail)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.begin(anchor);
                (anchor, tag, self.mapping(trail)?)
            }
            other => return Err(self.odd(&span, &other)),
        };
        let node = Node {
            value,
            span,
            mark: mark(tag.as_deref()),
        };
        if anchor != 0 {
            let after = self.ledger.budget;
            self.anchors
                .insert(anchor, Some((node.clone(), before, after)));
        }
        Ok(node)
    }

    fn count(&mut self, values: usize, bytes: usize, span: &Span, trail: &Trail<'_>) -> Result<()> {
        let budget = &mut self.ledger.budget;
        budget
            .values(values)
            .and_then(|()| budget.bytes(bytes))
            .map_err(|error| trail.error(span, error).with_kind(Kind::Exhausted))
    }

    fn begin(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
    }

    /// A copy of what the anchor names, as long as the copies stay few.
    fn alias(&mut self, id: usize, span: &Span, trail: &Trail<'_>) -> Result<Node> {
        match self.anchors.get(&id) {
            Some(Some((node, before, after))) => {
                let counted = self.ledger.budget.again(*before, *after);
                counted.map_err(|error| {
                    trail
                        .error(span, format!("excessive aliasing: {error}"))
                        .with_kind(Kind::Exhausted)
                })?;
                Ok(node.clone())
            }
            Some(None) => Err(trail.error(span, "cycle: this alias is inside its own anchor")),
            None => Err(trail.error(span, "this alias has no anchor")),
        }
    }

    fn sequence(&mut self, trail: &Trail<'_>) -> Result<Value> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            let item = self.node(event, span, &trail.index(items.len()))?;
            items.push(item);
        }
    }

    fn mapping(&mut self, trail: &Trail<'_>) -> Result<Value> {
        let mut map = Map::default();
        let mut merged = None;
        loop {
            let (event, key_span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let is_merge = is_merge_key(&event);
            let key = self.key(event, &key_span, trail)?;
            let (event, span) = self.next()?;
            let name = key.as_deref().unwrap_or_default();
            let mut node = self.node(event, span, &trail.key(name))?;
            if node.is_null() {
                // Where nothing is, the key is what people look for.
                node.span = key_span.clone();
            }
            let Some(key) = key else {
                continue;
            };
            if is_merge {
                if merged.replace(node).is_some() {
                    let text =
                        "mapping key \"<<\" is already defined: give it a list, `<<: [*a, *b]`";
                    self.ledger.mistakes.note(trail, &key_span, text)?;
                }
                continue;
            }
            if let Some(first) = map.entry(&key) {
                let line = first.key.line;
                let text = format!("mapping key \"{key}\" is already defined at line {line}");
                self.ledger.mistakes.note(trail, &key_span, text)?;
                continue;
            }
            let key_span = key_span.clone();
            map.put(
                key,
                Entry {
                    key: key_span,
                    node,
                },
            );
        }
        if let Some(merged) = merged {
            merge_into(&mut map, merged, trail)?;
        }
        Ok(Value::Map(map))
    }

    /// A key; `None` when it was noted that it is none.
    fn key(&mut self, event: Event<'a>, span: &Span, trail: &Trail<'_>) -> Result<Option<String>> {
        // What most keys are needs no value of its own.
        if let Event::Scalar(text, style, 0, None) = &event
            && (*style != ScalarStyle::Plain || resolve(text).is_none())
        {
            self.count(0, text.len(), span, trail)?;
            return Ok(Some(text.to_string()));
        }
        let node = self.node(event, span.clone(), trail)?;
        if let Value::Text(key) = node.value {
            return Ok(Some(key));
        }
        let shown = node.scalar().unwrap_or_else(|| node.kind().into());
        let place = match trail.is_root() {
            true => "at top level".to_owned(),
            false => format!("in {trail}"),
        };
        let hint = match node.scalar() {
            Some(text) => format!(": write it in quotes, \"{text}\""),
            None if node.is_null() => ": write it in quotes".to_owned(),
            None => String::new(),
        };
        let text = format!("non-string key {place}: {shown}{hint}");
        self.ledger.mistakes.note(&Trail::ROOT, span, text)?;
        Ok(None)
    }
}

/// What people mostly did when the parser says that, as the end of a sentence.
fn hint(info: &str) -> &'static str {
    const HINTS: [(&str, &str); 9] = [
        (
            "recursion limit",
            ": more than 200 values are nested in one another",
        ),
        ("tab", ": indent with spaces"),
        (
            "mapping values are not allowed",
            ": check the indentation and for a missing blank behind a colon, or put a value with `: ` in quotes",
        ),
        (
            "did not find expected key",
            ": keys of one mapping begin in the same column",
        ),
        (
            "unknown anchor",
            ": `*` begins an alias: say `&name` before it, or put the value in quotes",
        ),
        ("unexpected character", ": put the value in quotes"),
        ("illegal placement of ':'", ": is a bracket open above?"),
        ("multiline quoted scalar", ": is a quote open above?"),
        ("block scalar", ": put the value in quotes"),
    ];
    let found = HINTS.iter().find(|(part, _)| info.contains(part));
    found.map_or("", |(_, hint)| hint)
}

fn is_merge_key(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

/// Puts the keys of a `<<` value under those that are there: a map, or a list of maps of which the
/// first one wins.
fn merge_into(map: &mut Map, merged: Node, trail: &Trail<'_>) -> Result<()> {
    let span = merged.span.clone();
    match merged.value {
        Value::Map(other) => {
            for (key, entry) in other {
                if !map.contains(&key) {
                    map.put(key, entry);
                }
            }
            Ok(())
        }
        Value::List(items) if items.iter().all(|item| item.map().is_some()) => items
            .into_iter()
            .try_for_each(|item| merge_into(map, item, trail)),
        Value::Null => Ok(()),
        _ => Err(trail.error(&span, "`<<` must be a mapping or a list of mappings")),
    }
}

fn mark(tag: Option<&Tag>) -> Mark {
    match tag.map(|tag| (tag.handle(), tag.suffix())) {
        Some(("!", "reset")) => Mark::Reset,
        Some(("!", "override")) => Mark::Override,
        _ => Mark::Merge,
    }
}

fn scalar(
    text: String,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
    trail: &Trail<'_>,
) -> Result<Value> {
    match tag.and_then(Tag::core_suffix) {
        Some("str" | "binary" | "timestamp") => Ok(Value::Text(text)),
        Some(suffix @ ("int" | "float" | "bool" | "null")) => {
            let fits = |value: &Value| match suffix {
                "int" => matches!(value, Value::Int(_)),
                "float" => matches!(value, Value::Int(_) | Value::Float(_)),
                "bool" => matches!(value, Value::Bool(_)),
                _ => matches!(value, Value::Null),
            };
            match resolve(&text).filter(fits) {
                Some(value) => Ok(value),
                None => Err(trail.error(span, format!("`{text}` is not a YAML !!{suffix}"))),
            }
        }
        _ if style == ScalarStyle::Plain => Ok(resolve(&text).unwrap_or(Value::Text(text))),
        _ => Ok(Value::Text(text)),
    }
}

/// What a plain scalar means to yaml.v3; `None` when it is a string.
fn resolve(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Some(Value::Float(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Some(Value::Float(f64::NEG_INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.') || text.len() > 40 {
        return None;
    }
    let digits = text.replace('_', "");
    match integer(&digits) {
        Some(value) => Some(Value::Int(value)),
        None if looks_like_float(&digits) => digits.parse().ok().map(Value::Float),
        None => None,
    }
}

/// Decimal, `0x`, `0b`, `0o` and the older `017`.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    Some(sign * i128::from(value))
}

/// yaml.v3's own expression: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn looks_like_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_fits && exponent_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Node>> {
        let mut ledger = Ledger::default();
        let documents = parse(&Arc::new(Source::new("t.yaml", text)), &mut ledger);
        match documents {
            Err(error) => Err(ledger.mistakes.with(error)),
            Ok(documents) => ledger.mistakes.refuse().map(|()| documents),
        }
    }

    fn one(text: &str) -> Node {
        all(text).unwrap().remove(0)
    }

    fn refusal(text: &str) -> String {
        all(text).unwrap_err().to_string()
    }

    #[test]
    fn scalars_as_yaml_v3() {
        let map = one(
            "a: yes\nb: 0644\nc: 22:22\nd: 1_000\ne: 0x1f\nf: 1.5\ng: ~\nh: True\ni: '1'\nj: 08\nk: 0o17\nl: !!str 5\nm: -3\nn: 1e3\no: .5\np: 2020-01-01\n",
        );
        let value = |key: &str| map.get(key).unwrap().value.clone();
        assert_eq!(value("a"), Value::Text("yes".into()));
        assert_eq!(value("b"), Value::Int(0o644));
        assert_eq!(value("c"), Value::Text("22:22".into()));
        assert_eq!(value("d"), Value::Int(1000));
        assert_eq!(value("e"), Value::Int(31));
        assert_eq!(value("f"), Value::Float(1.5));
        assert_eq!(value("g"), Value::Null);
        assert_eq!(value("h"), Value::Bool(true));
        assert_eq!(value("i"), Value::Text("1".into()));
        assert_eq!(value("j"), Value::Float(8.0));
        assert_eq!(value("k"), Value::Int(15));
        assert_eq!(value("l"), Value::Text("5".into()));
        assert_eq!(value("m"), Value::Int(-3));
        assert_eq!(value("n"), Value::Float(1000.0));
        assert_eq!(value("o"), Value::Float(0.5));
        assert_eq!(value("p"), Value::Text("2020-01-01".into()));
    }

    #[test]
    fn spans_point_at_values_and_keys() {
        let map = one("a:\n  - x\n  - b: y\n");
        let list = map.get("a").unwrap().list().unwrap();
        assert_eq!((list[0].span.line, list[0].span.column), (2, 5));
        let inner = list[1].map().unwrap().entry("b").unwrap();
        assert_eq!((inner.key.line, inner.key.column), (3, 5));
        assert_eq!(inner.node.span.column, 8);
    }

    #[test]
    fn anchors_and_merge_keys() {
        let map =
            one("x: &a {k: 1, l: 2}\ny: &b {l: 3, m: 4}\nz: {<<: [*a, *b], k: 9}\nw: {<<: *a}\n");
        let z = map.get("z").unwrap();
        for (key, value) in [("k", 9), ("l", 2), ("m", 4)] {
            assert_eq!(z.get(key).unwrap().value, Value::Int(value));
        }
        assert_eq!(map.at(&["w", "l"]).unwrap().value, Value::Int(2));
    }

    #[test]
    fn tags_mark_nodes_even_through_anchors() {
        let map = one("a: !reset []\nb: &x {c: !override [1]}\nd: *x\n");
        assert_eq!(map.get("a").unwrap().mark, Mark::Reset);
        assert_eq!(map.at(&["d", "c"]).unwrap().mark, Mark::Override);
    }

    #[test]
    fn refusals_name_the_place() {
        for (text, expected) in [
            (
                "a: 1\na: 2\n",
                "t.yaml:2:1: mapping key \"a\" is already defined at line 1",
            ),
            ("1: x\n", "t.yaml:1:1: non-string key at top level: 1"),
            ("a: {2: x}\n", "t.yaml:1:5: non-string key in a: 2"),
            ("a: &x [*x]\n", "t.yaml:1:8: a[0]: cycle"),
            ("a: *x\n", "t.yaml:1:4: not valid YAML"),
            ("a: [\n", "t.yaml:1:4: not valid YAML: unclosed bracket"),
            ("a: {<<: 3}\n", "t.yaml:1:9: a: `<<` must be a mapping"),
        ] {
            let text = refusal(text);
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn bombs_are_refused_quickly() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for level in 1..10 {
            let previous = format!("*a{}", level - 1);
            let items = [previous.as_str(); 9].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(refusal(&bomb).contains("excessive aliasing"));
        assert!(refusal(&"[".repeat(100_000)).contains("not valid YAML"));
        assert_eq!(
            all(&"a: 1\n---\n".repeat(3)).unwrap().len(),
            4,
            "an empty last document is one too"
        );
    }
}
