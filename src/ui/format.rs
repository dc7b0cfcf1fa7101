//! Rows of a list in the shape that `--format`, `-q` and `--json` ask for.
//!
//! A row is a list of named fields in Docker's spelling. `table` prints titles and columns, `json`
//! one object a line, and anything else is a template (`template.rs`).

use std::collections::BTreeMap;

use orc_base::{Error, Result};
use serde_json::{Map, Value};

use crate::ui::table::Table;
use crate::ui::template::{self, Node, Term};
use crate::ui::{escape, out, render, terminal};

/// One thing of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    /// What it shows, in the order of JSON output.
    pub(crate) fields: Vec<(&'static str, Value)>,
    /// What `{{.Label "key"}}` finds.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Row {
    /// One more field.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Gives a field another value.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        let mut fields = self.fields.iter_mut();
        if let Some((_, field)) = fields.find(|(field, _)| *field == name) {
            *field = value.into();
        }
    }

    /// The fields as JSON.
    pub(crate) fn object(&self) -> Value {
        let fields = self
            .fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

/// A column of the usual table: its title and its field.
pub(crate) type Column = (&'static str, &'static str);

/// The shape of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Format {
    /// Titles and the usual columns.
    Table,
    /// Titles made of the fields that the template names.
    TableOf(Vec<Node>),
    /// One JSON object a line.
    Json,
    /// A template for each row.
    Template(Vec<Node>),
}

impl Format {
    /// What `--format` means; nothing means the table.
    pub(crate) fn parse(text: Option<&str>, json: bool) -> Result<Self> {
        let text = text.unwrap_or(if json { "json" } else { "table" });
        match text.trim() {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "" => Err(Error::invalid(
                "`--format` is empty: use table, json or a template such as '{{.ID}}'",
            )),
            trimmed => match trimmed.strip_prefix("table ") {
                Some(columns) => Ok(Self::TableOf(template::parse(&unescape(columns.trim()))?)),
                None if !trimmed.contains("{{") => Err(Error::invalid(format!(
                    "`--format {trimmed}` is not table, json or a template such as '{{{{.ID}}}}'"
                ))),
                None => Ok(Self::Template(template::parse(&unescape(text))?)),
            },
        }
    }

    /// The text of all rows.
    pub(crate) fn render(&self, columns: &[Column], rows: &[Row]) -> Result<String> {
        let none = BTreeMap::new();
        let lines = |nodes: &[Node]| -> Result<Vec<String>> {
            let line = |row: &Row| render::render(nodes, &row.object(), &row.labels);
            rows.iter().map(line).collect()
        };
        Ok(match self {
            Self::Json => rows
                .iter()
                .map(|row| format!("{}\n", json_line(row)))
                .collect(),
            Self::Template(nodes) => lines(nodes)?.into_iter().map(|line| line + "\n").collect(),
            Self::Table => usual(columns, rows),
            Self::TableOf(nodes) => {
                let titles = render::render(nodes, &titles(nodes, columns), &none)?;
                let titles: Vec<&str> = titles.split('\t').collect();
                let mut table = Table::new(&titles);
                for line in lines(nodes)? {
                    table.row(line.split('\t').map(str::to_owned));
                }
                table.render()
            }
        })
    }

    /// Prints all rows; on a terminal nothing in them is acted upon.
    pub(crate) fn print(&self, columns: &[Column], rows: &[Row]) -> Result<()> {
        let text = self.render(columns, rows)?;
        match terminal::stdout_is_terminal() {
            true => out::bytes(escape::text(&text).as_bytes()),
            false => out::bytes(text.as_bytes()),
        }
        Ok(())
    }
}

/// The fields in their own order, which `serde_json`'s maps do not keep.
fn json_line(row: &Row) -> String {
    let field = |(name, value): &(&str, Value)| format!("{}:{value}", Value::from(*name));
    let fields: Vec<String> = row.fields.iter().map(field).collect();
    format!("{{{}}}", fields.join(","))
}

fn usual(columns: &[Column], rows: &[Row]) -> String {
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let mut table = Table::new(&titles);
    for row in rows {
        let cell = |(_, field): &Column| {
            let found = row.fields.iter().find(|(name, _)| name == field);
            found.map(|(_, value)| cell(value)).unwrap_or_default()
        };
        table.row(columns.iter().map(cell));
    }
    table.render()
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The title of each field the template names: the usual one, or its name in capitals.
fn titles(nodes: &[Node], columns: &[Column]) -> Value {
    let mut titles = Map::new();
    for node in nodes {
        if let Node::Print(pipe) = node {
            for term in pipe.iter().flatten() {
                if let Term::Field(path) = term
                    && let [name] = path.as_slice()
                {
                    let usual = columns.iter().find(|(_, field)| field == name);
                    let title =
                        usual.map_or_else(|| name.to_uppercase(), |(title, _)| (*title).to_owned());
                    titles.insert(name.clone(), Value::String(title));
                }
            }
        }
    }
    Value::Object(titles)
}

/// `\t` and `\n` as shells pass them on.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[("CONTAINER ID", "ID"), ("NAMES", "Names")];

    fn rows() -> Vec<Row> {
        let row = |id: &str, name: &str| {
            Row::default()
                .with("ID", id)
                .with("Names", name)
                .with("Size", 3)
        };
        vec![row("abc", "web"), row("def", "db")]
    }

    fn check(format: Option<&str>, expected: &str) {
        let rendered =
            Format::parse(format, false).and_then(|format| format.render(COLUMNS, &rows()));
        assert_eq!(rendered.unwrap(), expected, "{format:?}");
    }

    #[test]
    fn shapes() {
        check(
            None,
            "CONTAINER ID   NAMES\nabc            web\ndef            db\n",
        );
        check(Some("{{.ID}}:{{.Names}}"), "abc:web\ndef:db\n");
        check(
            Some("json"),
            "{\"ID\":\"abc\",\"Names\":\"web\",\"Size\":3}\n{\"ID\":\"def\",\"Names\":\"db\",\"Size\":3}\n",
        );
        check(
            Some(r"table {{.Names}}\t{{.Size}}"),
            "NAMES     SIZE\nweb       3\ndb        3\n",
        );
    }

    #[test]
    fn refusals() {
        for bad in ["", "yaml", "{{.ID", "{{.Nope}}"] {
            let rendered =
                Format::parse(Some(bad), false).and_then(|format| format.render(COLUMNS, &rows()));
            assert!(rendered.is_err(), "{bad}");
        }
    }
}
