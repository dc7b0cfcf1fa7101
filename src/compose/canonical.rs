//! Checks a tree against the tables of `spec.rs` and rewrites it to the long form.
//!
//! Every value afterwards has exactly the type its row says, so that nothing later checks types.
//! Unknown keys are refused with the nearest known one. What a `!reset` removes is left alone, and so
//! is what is wrong: it is noted and marked, and what stands beside it is rewritten all the same.

use orc_base::{Kind, Result, spelling, units};

use crate::ledger::Ledger;
use crate::node::{Entry, Map, Mark, Node, Span, Trail, Value};
use crate::short;
use crate::spec::{Bare, Field, Paths, Shape, find, is_extension};
use crate::words;

/// How a tree is to be rewritten.
pub(crate) struct Rules<'a> {
    pub(crate) paths: Paths<'a>,
    /// Strings with a `$` pass where something else is wanted: nothing was interpolated.
    pub(crate) lenient: bool,
    pub(crate) ledger: &'a mut Ledger,
}

impl Rules<'_> {
    /// The long form of `node`.
    ///
    /// # Errors
    ///
    /// What is wrong with the value itself; what is wrong below it is noted.
    pub(crate) fn apply(
        &mut self,
        node: Node,
        shape: &'static Shape,
        trail: &Trail<'_>,
    ) -> Result<Node> {
        if matches!(node.mark, Mark::Reset | Mark::Wrong) {
            return Ok(node);
        }
        if self.lenient && node.text().is_some_and(|text| text.contains('$')) {
            return Ok(self.shape(node.clone(), shape, trail).unwrap_or(node));
        }
        self.shape(node, shape, trail)
    }

    /// As [`Rules::apply`] for what is inside something: what is wrong is noted, and marked.
    fn inside(&mut self, node: Node, shape: &'static Shape, trail: &Trail<'_>) -> Result<Node> {
        let span = node.span.clone();
        match self.apply(node, shape, trail) {
            Err(error) => {
                self.ledger.mistakes.add(&span, error)?;
                Ok(wrong(span))
            }
            done => done,
        }
    }

    fn shape(&mut self, node: Node, shape: &'static Shape, trail: &Trail<'_>) -> Result<Node> {
        match shape {
            Shape::Any => Ok(node),
            Shape::Text => expect_text(node, trail),
            Shape::Scalar => match node.scalar() {
                Some(text) => Ok(node.with(text)),
                None => Err(mismatch(&node, "a string, number or boolean", trail)),
            },
            Shape::Bool => short::boolean(&node, trail).map(|value| node.with(value)),
            Shape::Int => short::int(&node, trail).map(|value| node.with(value)),
            Shape::Float => float(node, trail),
            Shape::Bytes => bytes(node, 0, trail),
            Shape::BytesOrUnlimited => bytes(node, -1, trail),
            Shape::Duration => duration(node, trail),
            Shape::Word(words) => word(node, words, trail),
            Shape::Mode => mode(node, trail),
            Shape::Path => {
                let node = expect_text(node, trail)?;
                let path = self.paths.resolve(node.text().unwrap_or_default());
                Ok(node.with(path))
            }
            Shape::PathOrUrl => {
                let node = expect_text(node, trail)?;
                let text = node.text().unwrap_or_default();
                match short::is_url(text) {
                    true => Ok(node),
                    false => {
                        let path = self.paths.resolve(text);
                        Ok(node.with(path))
                    }
                }
            }
            Shape::Command => command(node, trail),
            Shape::Texts => {
                let node = short::one_or_many(node, trail)?;
                self.list(node, &Shape::Text, trail)
            }
            Shape::Pairs(bare) => self.pairs(node, *bare, trail),
            Shape::List(item) => self.list(node, item, trail),
            Shape::Spread(spread, item) => self.spread(node, *spread, item, trail),
            Shape::Dict(value) => self.dict(node, value, trail, false),
            Shape::Named(value) => self.dict(node, value, trail, true),
            Shape::Object(fields) => self.object(node, fields, trail),
            Shape::NullOr(shape) => match node.is_null() {
                true => Ok(node),
                false => self.shape(node, shape, trail),
            },
            Shape::Short(rewrite, shape) => self.shape(rewrite(node, trail)?, shape, trail),
            Shape::Then(shape, finish) => {
                let before = self.ledger.mistakes.count();
                let mut node = self.shape(node, shape, trail)?;
                if self.ledger.mistakes.count() == before {
                    finish(&mut node, &self.paths, trail)?;
                }
                Ok(node)
            }
        }
    }

    fn list(&mut self, node: Node, item: &'static Shape, trail: &Trail<'_>) -> Result<Node> {
        let Value::List(items) = node.value else {
            return Err(mismatch(&node, "a list", trail));
        };
        let items = items
            .into_iter()
            .enumerate()
            .map(|(index, node)| self.inside(node, item, &trail.index(index)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Node {
            value: items.into(),
            span: node.span,
            mark: node.mark,
        })
    }

    fn spread(
        &mut self,
        node: Node,
        spread: crate::spec::Spread,
        item: &'static Shape,
        trail: &Trail<'_>,
    ) -> Result<Node> {
        let Value::List(items) = node.value else {
            return Err(mismatch(&node, "a list", trail));
        };
        let mut all = Vec::with_capacity(items.len());
        for (index, node) in items.into_iter().enumerate() {
            let trail = trail.index(index);
            let raw = self.lenient && node.text().is_some_and(|text| text.contains('$'));
            if node.mark == Mark::Wrong {
                continue;
            }
            let span = node.span.clone();
            let spread = match spread(node.clone(), &trail) {
                Err(_) if raw => {
                    all.push(node);
                    continue;
                }
                Err(error) => {
                    self.ledger.mistakes.add(&span, error)?;
                    continue;
                }
                Ok(spread) => spread,
            };
            for node in spread {
                self.count(&node, &trail)?;
                all.push(self.inside(node, item, &trail)?);
            }
        }
        Ok(Node {
            value: all.into(),
            span: node.span,
            mark: node.mark,
        })
    }

    /// Counts what one item of several becomes.
    fn count(&mut self, node: &Node, trail: &Trail<'_>) -> Result<()> {
        let counted = self.ledger.budget.copy(node);
        counted.map_err(|error| trail.error(&node.span, error).with_kind(Kind::Exhausted))
    }

    fn dict(
        &mut self,
        node: Node,
        shape: &'static Shape,
        trail: &Trail<'_>,
        named: bool,
    ) -> Result<Node> {
        let Value::Map(map) = node.value else {
            return Err(mismatch(&node, "a mapping", trail));
        };
        let mut out = Map::default();
        for (key, mut entry) in map {
            let trail = trail.key(&key);
            if let (true, Err(error)) = (named, check_name(&key, &entry, &trail)) {
                self.ledger.mistakes.add(&entry.key, error)?;
            }
            if entry.node.is_null() && entry.node.mark != Mark::Reset && is_object(shape) {
                entry.node.value = Map::default().into();
            }
            entry.node = self.inside(entry.node, shape, &trail)?;
            out.put(key, entry);
        }
        Ok(Node {
            value: out.into(),
            span: node.span,
            mark: node.mark,
        })
    }

    fn object(&mut self, node: Node, fields: &'static [Field], trail: &Trail<'_>) -> Result<Node> {
        let Value::Map(map) = node.value else {
            return Err(mismatch(&node, "a mapping", trail));
        };
        let mut out = Map::default();
        for (key, mut entry) in map {
            match find(fields, &key) {
                Some(field) => {
                    entry.node = self.inside(entry.node, &field.shape, &trail.key(&key))?;
                }
                None if is_extension(&key) => {}
                None => {
                    let error = unknown(&key, &entry, fields, trail);
                    self.ledger.mistakes.add(&entry.key, error)?;
                }
            }
            out.put(key, entry);
        }
        Ok(Node {
            value: out.into(),
            span: node.span,
            mark: node.mark,
        })
    }

    /// `name=value` items or a mapping become a mapping of strings.
    fn pairs(&mut self, node: Node, bare: Bare, trail: &Trail<'_>) -> Result<Node> {
        let mut out = Map::default();
        let (span, mark) = (node.span.clone(), node.mark);
        match node.value {
            Value::Map(map) => {
                for (key, mut entry) in map {
                    match pair_value(&entry.node, bare, &trail.key(&key)) {
                        Ok(value) => entry.node.value = value,
                        Err(error) => self.ledger.mistakes.add(&entry.node.span, error)?,
                    }
                    out.put(key, entry);
                }
            }
            Value::List(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    match pair(&item, bare, &trail.index(index)) {
                        Ok((name, value)) => out.set(name, item.with(value)),
                        Err(error) => self.ledger.mistakes.add(&item.span, error)?,
                    }
                }
            }
            value => {
                let node = Node { value, span, mark };
                return Err(mismatch(
                    &node,
                    "a mapping or a list of `name=value`",
                    trail,
                ));
            }
        }
        Ok(Node {
            value: out.into(),
            span,
            mark,
        })
    }
}

/// What stands for a value that is wrong.
fn wrong(span: Span) -> Node {
    Node {
        value: Value::Null,
        span,
        mark: Mark::Wrong,
    }
}

/// Whether nothing means an empty mapping there.
fn is_object(shape: &Shape) -> bool {
    match shape {
        Shape::Object(_) => true,
        Shape::Then(shape, _) | Shape::Short(_, shape) => is_object(shape),
        _ => false,
    }
}

fn unknown(
    key: &str,
    entry: &Entry,
    fields: &'static [Field],
    trail: &Trail<'_>,
) -> orc_base::Error {
    let known = fields.iter().map(|field| field.key);
    let is_service = entry
        .node
        .get("image")
        .or(entry.node.get("build"))
        .is_some();
    let hint = match (spelling::nearest(key, known), belongs(key, fields)) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(field)) => format!("it belongs in `{field}`"),
        (None, None) if trail.is_root() && is_service => {
            "services stand below `services:`".to_owned()
        }
        (None, None) => "keys of your own begin with `x-`".to_owned(),
    };
    trail.error(
        &entry.key,
        format!("additional properties '{key}' not allowed: {hint}"),
    )
}

/// The mapping among these keys that has the key.
fn belongs(key: &str, fields: &'static [Field]) -> Option<&'static str> {
    fields
        .iter()
        .find(|field| keys(&field.shape).is_some_and(|keys| find(keys, key).is_some()))
        .map(|field| field.key)
}

fn keys(shape: &'static Shape) -> Option<&'static [Field]> {
    match shape {
        Shape::Object(fields) => Some(fields),
        Shape::NullOr(shape) | Shape::Short(_, shape) | Shape::Then(shape, _) => keys(shape),
        _ => None,
    }
}

/// What is declared becomes part of names, so its key is letters, digits, `.`, `_` and `-`.
fn check_name(key: &str, entry: &Entry, trail: &Trail<'_>) -> Result<()> {
    let valid = key
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let safe = !key.is_empty() && key.len() <= 200 && key != "." && key != "..";
    if valid && safe {
        return Ok(());
    }
    let shown: String = key
        .chars()
        .take(80)
        .flat_map(char::escape_default)
        .collect();
    Err(trail.error(
        &entry.key,
        format!(
            "`{shown}` is not a valid name: use letters, digits, `.`, `_` and `-`, at most 200"
        ),
    ))
}

fn mismatch(node: &Node, wanted: &str, trail: &Trail<'_>) -> orc_base::Error {
    let found = match node.is_null() {
        true => "nothing: give it a value or take the key away",
        false => node.kind(),
    };
    if trail.is_root() {
        return trail.error(&node.span, "top-level object must be a mapping");
    }
    let hint = match (wanted, &node.value) {
        ("a string", Value::Int(_) | Value::Float(_) | Value::Bool(_)) => ": put it in quotes",
        ("a list", Value::Text(_)) => ": write `- ` before each item",
        _ => "",
    };
    trail.error(&node.span, format!("must be {wanted}, not {found}{hint}"))
}

fn expect_text(node: Node, trail: &Trail<'_>) -> Result<Node> {
    match node.value {
        Value::Text(_) => Ok(node),
        _ => Err(mismatch(&node, "a string", trail)),
    }
}

fn float(node: Node, trail: &Trail<'_>) -> Result<Node> {
    let value = match &node.value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    match value.filter(|value| value.is_finite()) {
        Some(value) => Ok(node.with(Value::Float(value))),
        None => Err(mismatch(&node, "a number", trail)),
    }
}

fn bytes(node: Node, least: i128, trail: &Trail<'_>) -> Result<Node> {
    let bytes = match &node.value {
        Value::Text(text) if text.trim() == "-1" => -1,
        Value::Text(text) => {
            let bytes = units::parse_bytes(text).map_err(|error| trail.error(&node.span, error))?;
            i128::from(bytes)
        }
        _ => short::int(&node, trail)?,
    };
    match (least..=i128::from(i64::MAX)).contains(&bytes) {
        true => Ok(node.with(bytes.to_string())),
        false => Err(trail.error(
            &node.span,
            format!("must be greater than or equal to {least}, and a size that exists"),
        )),
    }
}

fn duration(node: Node, trail: &Trail<'_>) -> Result<Node> {
    if node.text().is_none() {
        return Err(mismatch(&node, "a duration such as 10s or 1m30s", trail));
    }
    let duration = units::parse_duration(node.text().unwrap_or_default())
        .map_err(|error| trail.error(&node.span, error))?;
    Ok(node.with(units::format_duration(duration)))
}

fn word(node: Node, words: &'static [&'static str], trail: &Trail<'_>) -> Result<Node> {
    let node = expect_text(node, trail)?;
    let found = node.text().unwrap_or_default();
    if words.contains(&found) {
        return Ok(node);
    }
    let hint = match spelling::nearest(found, words.iter().copied()) {
        Some(near) => format!(": did you mean `{near}`?"),
        None => String::new(),
    };
    let words = words.join(", ");
    Err(trail.error(
        &node.span,
        format!("must be one of {words}, not `{found}`{hint}"),
    ))
}

/// Octal permissions: a number is one already, a string is read as octal.
fn mode(node: Node, trail: &Trail<'_>) -> Result<Node> {
    let mode = match &node.value {
        Value::Int(value) => u32::try_from(*value).ok(),
        Value::Text(text) => u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).ok(),
        _ => None,
    };
    match mode {
        Some(mode) => Ok(node.with(format!("0{mode:o}"))),
        None => Err(mismatch(&node, "octal permissions such as 0440", trail)),
    }
}

fn command(node: Node, trail: &Trail<'_>) -> Result<Node> {
    match &node.value {
        Value::Null => Ok(node),
        Value::Text(line) => {
            let words = words::split(line).map_err(|error| trail.error(&node.span, error))?;
            let words: Vec<Node> = words
                .into_iter()
                .map(|word| Node::new(word, &node.span))
                .collect();
            Ok(node.with(words))
        }
        Value::List(items) => {
            let words = items
                .iter()
                .enumerate()
                .map(|(index, item)| match item.scalar() {
                    Some(text) => Ok(Node::new(text, &item.span)),
                    None => Err(mismatch(item, "a string", &trail.index(index))),
                })
                .collect::<Result<Vec<_>>>()?;
            Ok(node.with(words))
        }
        _ => Err(mismatch(&node, "a string or a list", trail)),
    }
}

/// The value of a name, as a string.
fn pair_value(node: &Node, bare: Bare, trail: &Trail<'_>) -> Result<Value> {
    match (&node.value, node.scalar()) {
        _ if matches!(node.mark, Mark::Reset | Mark::Wrong) => Ok(Value::Null),
        (_, Some(text)) => Ok(Value::Text(text)),
        (Value::Null, None) => Ok(nothing(bare)),
        _ => Err(mismatch(node, "a boolean, null, number or string", trail)),
    }
}

/// `name=value`, or a name alone.
fn pair(item: &Node, bare: Bare, trail: &Trail<'_>) -> Result<(String, Value)> {
    let Some(text) = item.text() else {
        let hint = match &item.value {
            Value::Map(_) => ": write `name=value`, or all of them without the hyphens",
            _ => "",
        };
        let text = format!("must be a string, not {}{hint}", item.kind());
        return Err(trail.error(&item.span, text));
    };
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Value::Text(value.into())),
        None => (text, nothing(bare)),
    };
    if name.ends_with(char::is_whitespace) {
        let text = format!("`{}` is declared with a trailing space", name.trim_end());
        return Err(trail.error(&item.span, text));
    }
    Ok((name.to_owned(), value))
}

fn nothing(bare: Bare) -> Value {
    match bare {
        Bare::Null => Value::Null,
        Bare::Empty => Value::Text(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::root::ROOT;

    fn run(text: &str) -> Result<Node> {
        let mut ledger = Ledger::default();
        let source = std::sync::Arc::new(crate::source::Source::new("compose.yaml", text));
        let node = crate::yaml::parse(&source, &mut ledger)?.remove(0);
        let mut rules = Rules {
            paths: Paths {
                base: Some(std::path::Path::new("/p")),
                home: Some("/home/u"),
            },
            lenient: false,
            ledger: &mut ledger,
        };
        let node = rules.apply(node, &ROOT, &Trail::ROOT)?;
        ledger.mistakes.refuse()?;
        Ok(node)
    }

    fn refusal(text: &str) -> String {
        run(text).unwrap_err().to_string()
    }

    #[test]
    fn long_forms() {
        let node = run(concat!(
            "services:\n  a:\n    build: ./b\n    command: x 'y z'\n    environment: [A=1, B]\n",
            "    labels: {n: 1}\n    mem_limit: 64m\n    stop_grace_period: 90s\n    init: yes\n",
            "    volumes: [~/x:/y]\n    depends_on: [b]\n    secrets: [{source: s, mode: 0440}]\n",
        ))
        .unwrap();
        let a = node.at(&["services", "a"]).unwrap();
        let text = |path: &[&str]| a.at(path).and_then(Node::scalar).unwrap();
        assert_eq!(text(&["build", "context"]), "/p/b");
        assert_eq!(text(&["labels", "n"]), "1");
        assert_eq!(text(&["mem_limit"]), "67108864");
        assert_eq!(text(&["stop_grace_period"]), "1m30s");
        assert_eq!(text(&["init"]), "true");
        assert_eq!(text(&["depends_on", "b", "condition"]), "service_started");
        assert!(a.at(&["environment", "B"]).unwrap().is_null());
        let mount = &a.get("volumes").unwrap().list().unwrap()[0];
        assert_eq!(mount.get("source").unwrap().text(), Some("/home/u/x"));
        let secret = &a.get("secrets").unwrap().list().unwrap()[0];
        assert_eq!(secret.get("mode").unwrap().text(), Some("0440"));
    }

    #[test]
    fn refusals_name_place_and_path() {
        for (text, expected) in [
            (
                "services:\n  web:\n    iamge: x\n",
                "compose.yaml:3:5: services.web: additional properties 'iamge' not allowed: did you mean `image`?",
            ),
            (
                "services:\n  web:\n    image: 3\n",
                "compose.yaml:3:12: services.web.image: must be a string, not a number: put it in quotes\n",
            ),
            (
                "services:\n  web:\n    ports:\n      - a:80\n",
                "compose.yaml:4:9: services.web.ports[0]: invalid containerPort or hostPort: a",
            ),
            (
                "services: [a]\n",
                "compose.yaml:1:11: services: must be a mapping, not a list",
            ),
            (
                "- a\n",
                "compose.yaml:1:1: top-level object must be a mapping",
            ),
            (
                "services:\n  web:\n    ports:\n",
                "compose.yaml:3:5: services.web.ports: must be a list, not nothing",
            ),
            (
                "services: {../x: {}}\n",
                "compose.yaml:1:12: services.../x: `../x` is not a valid name",
            ),
            (
                "services:\n  web:\n    volumes: ['/a:/b:ro:x']\n",
                "compose.yaml:3:15: services.web.volumes[0]: invalid spec: /a:/b:ro:x: too many colons",
            ),
        ] {
            let found = refusal(text);
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
