//! What a template of `template.rs` says about a piece of data.
//!
//! Fields that do not exist are errors that name the nearest one, as Docker's are; `index` of a
//! missing key is empty, as Go's is.

use std::collections::BTreeMap;
use std::fmt::Write;

use orc_base::{Error, Result};
use serde_json::Value;

use crate::ui::template::{Block, Call, Node, Pipe, Term};

/// The most output of one template on one piece of data.
const MAX_BYTES: usize = 16 << 20;

/// Renders `nodes` on `data`. `{{.Label "key"}}` looks `key` up in `labels`.
pub(crate) fn render(
    nodes: &[Node],
    data: &Value,
    labels: &BTreeMap<String, String>,
) -> Result<String> {
    let mut scope = Scope {
        root: data,
        labels,
        variables: Vec::new(),
        text: String::new(),
    };
    scope.nodes(nodes, data)?;
    Ok(scope.text)
}

struct Scope<'a> {
    root: &'a Value,
    labels: &'a BTreeMap<String, String>,
    variables: Vec<(String, Value)>,
    text: String,
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<()> {
        let outer = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
            if self.text.len() > MAX_BYTES {
                return Err(Error::exhausted(format!(
                    "the template makes more than {MAX_BYTES} bytes"
                )));
            }
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<()> {
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Print(pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.text.push_str(&shown(&value));
            }
            Node::Set(name, pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.variables.push((name.clone(), value));
            }
            Node::Block {
                kind,
                names,
                pipe,
                body,
                otherwise,
            } => {
                let value = self.pipe(pipe, dot)?;
                match kind {
                    _ if !truth(&value) => self.nodes(otherwise, dot)?,
                    Block::If => self.nodes(body, dot)?,
                    Block::With => {
                        self.define(names, &Value::Null, &value);
                        self.nodes(body, &value)?;
                    }
                    Block::Range => self.range(names, &value, body)?,
                }
            }
        }
        Ok(())
    }

    fn range(&mut self, names: &[String], value: &Value, body: &[Node]) -> Result<()> {
        let items: Vec<(Value, &Value)> = match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (index.into(), item))
                .collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, item)| (key.clone().into(), item))
                .collect(),
            _ => {
                return Err(Error::invalid(format!(
                    "cannot range over {}",
                    shown(value)
                )));
            }
        };
        for (key, item) in items {
            let outer = self.variables.len();
            self.define(names, &key, item);
            self.nodes(body, item)?;
            self.variables.truncate(outer);
        }
        Ok(())
    }

    fn define(&mut self, names: &[String], key: &Value, value: &Value) {
        match names {
            [name] => self.variables.push((name.clone(), value.clone())),
            [first, second] => {
                self.variables.push((first.clone(), key.clone()));
                self.variables.push((second.clone(), value.clone()));
            }
            _ => {}
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value> {
        let mut last = None;
        for call in pipe {
            last = Some(self.call(call, dot, last)?);
        }
        Ok(last.unwrap_or(Value::Null))
    }

    fn call(&mut self, call: &Call, dot: &Value, piped: Option<Value>) -> Result<Value> {
        let (first, rest) = call.split_first().expect("the parser makes no empty call");
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for term in rest {
            arguments.push(self.term(term, dot)?);
        }
        arguments.extend(piped);
        match first {
            Term::Function(name) => function(name, &arguments),
            Term::Field(path) if path.len() == 1 && path[0] == "Label" && arguments.len() == 1 => {
                let label = arguments[0].as_str().and_then(|key| self.labels.get(key));
                Ok(Value::String(label.cloned().unwrap_or_default()))
            }
            _ if arguments.is_empty() => self.term(first, dot),
            _ => Err(Error::invalid(
                "the template gives arguments to something that is not a function",
            )),
        }
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Result<Value> {
        match term {
            Term::Literal(value) => Ok(value.clone()),
            Term::Field(path) => walk(dot, path).cloned(),
            Term::Function(name) => function(name, &[]),
            Term::Sub(pipe, path) => {
                let value = self.pipe(pipe, dot)?;
                walk(&value, path).cloned()
            }
            Term::Variable(name, path) if name.is_empty() => walk(self.root, path).cloned(),
            Term::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = found.ok_or_else(|| {
                    Error::invalid(format!("the template has no variable `${name}`"))
                })?;
                walk(value, path).cloned()
            }
        }
    }
}

fn walk<'a>(value: &'a Value, path: &[String]) -> Result<&'a Value> {
    path.iter().try_fold(value, |value, name| match value {
        Value::Object(map) => map.get(name).ok_or_else(|| no_field(name, map.keys())),
        _ => Err(Error::invalid(format!(
            "the template asks for `.{name}` of {}, which has no fields",
            match value {
                Value::Null => "nothing".to_owned(),
                other => format!("`{}`", shown(other)),
            }
        ))),
    })
}

fn no_field<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Error {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let nearest = known.iter().find(|known| known.eq_ignore_ascii_case(name));
    match nearest {
        Some(nearest) => Error::invalid(format!("no field `.{name}`: did you mean `.{nearest}`?")),
        None => Error::invalid(format!(
            "no field `.{name}`: there are {}",
            known.join(", ")
        )),
    }
}

fn function(name: &str, arguments: &[Value]) -> Result<Value> {
    let text = |index: usize| arguments.get(index).map(shown).unwrap_or_default();
    let needs = |count: usize| match arguments.len() == count {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "`{name}` in the template takes {count} arguments"
        ))),
    };
    Ok(match name {
        "json" => {
            needs(1)?;
            Value::String(arguments[0].to_string())
        }
        "index" => index(arguments)?,
        "len" => {
            needs(1)?;
            length(&arguments[0])?.into()
        }
        "upper" => text(0).to_uppercase().into(),
        "lower" => text(0).to_lowercase().into(),
        "title" => title(&text(0)).into(),
        "join" => {
            needs(2)?;
            let items = arguments[0]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            items
                .iter()
                .map(shown)
                .collect::<Vec<_>>()
                .join(&text(1))
                .into()
        }
        "split" => {
            needs(2)?;
            text(0).split(&text(1)).map(Value::from).collect()
        }
        "truncate" => {
            needs(2)?;
            let length = arguments[1].as_u64().unwrap_or(0);
            text(0)
                .chars()
                .take(usize::try_from(length).unwrap_or(usize::MAX))
                .collect::<String>()
                .into()
        }
        "print" => arguments.iter().map(shown).collect::<String>().into(),
        "println" => (arguments.iter().map(shown).collect::<Vec<_>>().join(" ") + "\n").into(),
        "printf" => printf(arguments).into(),
        "not" => {
            needs(1)?;
            (!truth(&arguments[0])).into()
        }
        "and" => arguments
            .iter()
            .find(|value| !truth(value))
            .or(arguments.last())
            .cloned()
            .unwrap_or(Value::Null),
        "or" => arguments
            .iter()
            .find(|value| truth(value))
            .or(arguments.last())
            .cloned()
            .unwrap_or(Value::Null),
        "eq" => arguments
            .get(1..)
            .is_some_and(|rest| rest.contains(&arguments[0]))
            .into(),
        "ne" => {
            needs(2)?;
            (arguments[0] != arguments[1]).into()
        }
        _ => {
            return Err(Error::invalid(format!(
                "no function `{name}` in templates: there are json, index, len, upper, lower, title, join, split, \
                 truncate, print, println, printf, not, and, or, eq, ne"
            )));
        }
    })
}

fn index(arguments: &[Value]) -> Result<Value> {
    let (value, keys) = arguments
        .split_first()
        .ok_or_else(|| Error::invalid("`index` in the template takes a value and keys"))?;
    let mut value = value;
    for key in keys {
        value = match (value, key) {
            (Value::Object(map), Value::String(key)) => map.get(key).unwrap_or(&Value::Null),
            (Value::Array(items), Value::Number(number)) => number
                .as_u64()
                .and_then(|index| items.get(usize::try_from(index).ok()?))
                .ok_or_else(|| {
                    Error::invalid(format!(
                        "index {number} is out of range: there are {} items",
                        items.len()
                    ))
                })?,
            _ => {
                return Err(Error::invalid(format!(
                    "cannot index {} with {}",
                    shown(value),
                    shown(key)
                )));
            }
        };
    }
    // The zero value of Docker's maps of texts; of others nothing is printed either.
    Ok(match value {
        Value::Null if !keys.is_empty() => Value::String(String::new()),
        value => value.clone(),
    })
}

fn length(value: &Value) -> Result<usize> {
    match value {
        Value::Array(items) => Ok(items.len()),
        Value::Object(map) => Ok(map.len()),
        Value::String(text) => Ok(text.len()),
        Value::Null => Ok(0),
        _ => Err(Error::invalid(format!("`{value}` has no length"))),
    }
}

fn title(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

/// `%s`, `%v`, `%d`, `%q` and `%%`; other verbs stay as they are.
fn printf(arguments: &[Value]) -> String {
    let format = arguments.first().map(shown).unwrap_or_default();
    let mut values = arguments.iter().skip(1);
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('%', Some(verb @ ('s' | 'v' | 'd'))) => {
                chars.next();
                match values.next() {
                    Some(value) => text.push_str(&shown(value)),
                    None => drop(write!(text, "%!{verb}(MISSING)")),
                }
            }
            ('%', Some('q')) => {
                chars.next();
                text.push_str(
                    &values
                        .next()
                        .map(|value| format!("{:?}", shown(value)))
                        .unwrap_or_default(),
                );
            }
            ('%', Some('%')) => {
                chars.next();
                text.push('%');
            }
            _ => text.push(c),
        }
    }
    text
}

/// Go's idea of true: not empty, not zero, not nothing.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Go's way of printing a value.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(shown).collect::<Vec<_>>().join(" ")
        ),
        Value::Object(map) => {
            let items = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", shown(value)));
            format!("map[{}]", items.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &str) {
        let data = serde_json::json!({
            "Name": "/web", "State": {"Status": "running", "Pid": 7, "Health": null},
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
            "Networks": {"a": {"IPAddress": "10.0.0.2"}, "b": {"IPAddress": "10.0.1.2"}},
            "Env": ["A=1", "B=2"], "Empty": []
        });
        let labels = BTreeMap::from([("role".to_owned(), "db".to_owned())]);
        let rendered =
            crate::ui::template::parse(template).and_then(|nodes| render(&nodes, &data, &labels));
        match rendered {
            Ok(text) => assert_eq!(text, expected, "{template}"),
            Err(error) => assert_eq!(format!("error: {error}"), expected, "{template}"),
        }
    }

    #[test]
    fn what_people_write() {
        check(
            "{{.Name}} {{.State.Status}} {{.State.Pid}}",
            "/web running 7",
        );
        check(
            "{{json .State}}",
            r#"{"Health":null,"Pid":7,"Status":"running"}"#,
        );
        check(
            "{{range .Networks}}{{.IPAddress}} {{end}}",
            "10.0.0.2 10.0.1.2 ",
        );
        check(
            "{{range $name, $n := .Networks}}{{$name}}={{$n.IPAddress}},{{end}}",
            "a=10.0.0.2,b=10.0.1.2,",
        );
        check(r#"{{(index (index .Ports "80/tcp") 0).HostPort}}"#, "8080");
        check(r#"{{index .Networks "nope"}}"#, "");
        check(
            "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}",
            "none",
        );
        check(
            r#"{{if eq .State.Status "exited"}}a{{else if .Env}}b{{else}}c{{end}}"#,
            "b",
        );
        check("{{range .Empty}}x{{else}}empty{{end}}", "empty");
        check(
            r#"{{join .Env ", "}} {{len .Env}} {{upper .Name}}"#,
            "A=1, B=2 2 /WEB",
        );
        check("{{range .Env}}\n{{- println . -}}\n{{end}}", "A=1\nB=2\n");
        check(r#"{{.Label "role"}}{{.Label "none"}}"#, "db");
        check(
            r#"{{printf "%s:%d %q" .Name .State.Pid "x"}}"#,
            "/web:7 \"x\"",
        );
        check(
            r#"{{with .State}}{{.Pid}} {{$.Name}}{{end}}{{/* note */}}"#,
            "7 /web",
        );
        check(r#"{{$x := .Name}}{{$x}}{{.Env}}"#, "/web[A=1 B=2]");
        check(r#"{{.Name | printf "%s!"}}"#, "/web!");
    }

    #[test]
    fn what_is_refused() {
        check(
            "{{.name}}",
            "error: no field `.name`: did you mean `.Name`?",
        );
        check(
            "{{.State.Health.Status}}",
            "error: the template asks for `.Status` of nothing, which has no fields",
        );
        check(
            "{{index .Env 9}}",
            "error: index 9 is out of range: there are 2 items",
        );
        check("{{$x}}", "error: the template has no variable `$x`");
        check(
            "{{.Name 1}}",
            "error: the template gives arguments to something that is not a function",
        );
        check("{{range .Name}}{{end}}", "error: cannot range over /web");
    }
}
