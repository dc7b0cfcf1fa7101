//! The texts that a project was read from, kept while it is loaded, and places in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use orc_base::Result;

use crate::files::{Files, Found};
use crate::node::{Map, Node, Span, Value};

/// Files that remember what was read from them.
pub(crate) struct Recorded<'a> {
    files: &'a dyn Files,
    texts: Mutex<BTreeMap<PathBuf, String>>,
}

impl<'a> Recorded<'a> {
    pub(crate) fn new(files: &'a dyn Files) -> Self {
        Self {
            files,
            texts: Mutex::default(),
        }
    }

    /// What was read.
    pub(crate) fn into_texts(self) -> BTreeMap<PathBuf, String> {
        self.texts
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for Recorded<'_> {
    fn read(&self, path: &Path) -> Result<String> {
        let text = self.files.read(path)?;
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.insert(path.to_path_buf(), text.clone());
        Ok(text)
    }

    fn look(&self, path: &Path) -> Found {
        self.files.look(path)
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        self.files.canonical(path)
    }
}

/// Texts by the names that places call them.
pub(crate) struct Sources {
    texts: BTreeMap<String, String>,
    /// Where the lines of each text begin.
    lines: BTreeMap<String, Vec<usize>>,
    working_dir: PathBuf,
}

impl Sources {
    pub(crate) fn new(
        texts: BTreeMap<PathBuf, String>,
        stdin: Option<&str>,
        working_dir: &Path,
    ) -> Self {
        let mut named: BTreeMap<String, String> = texts
            .into_iter()
            .map(|(path, text)| (display(&path, working_dir), text))
            .collect();
        if let Some(text) = stdin {
            named.insert("(stdin)".to_owned(), text.to_owned());
        }
        let lines = named
            .iter()
            .map(|(name, text)| (name.clone(), line_starts(text)))
            .collect();
        Self {
            texts: named,
            lines,
            working_dir: working_dir.to_path_buf(),
        }
    }

    /// The name of a file as people are shown it.
    pub(crate) fn display(&self, path: &Path) -> String {
        display(path, &self.working_dir)
    }

    /// The text of the file that places call so, if the loader read it.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// A line of such a file, from 1.
    fn line(&self, name: &str, line: u32) -> Option<&str> {
        let index = (line as usize).checked_sub(1)?;
        let start = *self.lines.get(name)?.get(index)?;
        self.text(name)?.get(start..)?.lines().next()
    }

    /// The Compose files: those of `tree`'s places and those the project names.
    pub(crate) fn compose_files(&self, tree: &Node, named: &[PathBuf]) -> Vec<(&str, &str)> {
        let mut names: BTreeSet<String> = named
            .iter()
            .map(|path| match path.as_os_str() == "-" {
                true => "(stdin)".to_owned(),
                false => self.display(path),
            })
            .collect();
        files_of(tree, &mut names);
        names
            .iter()
            .filter_map(|name| self.texts.get_key_value(name))
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect()
    }

    /// Whether the value of `key` stands in the file as it is, and does not come from a variable.
    pub(crate) fn is_literal(&self, span: &Span, key: &str, value: &str) -> bool {
        let line = span.file_name().and_then(|file| self.line(file, span.line));
        let Some(line) = line else {
            return false;
        };
        let rest: String = line
            .chars()
            .skip((span.column as usize).saturating_sub(1))
            .collect();
        if rest.replace("$$", "").contains('$') {
            return false;
        }
        if rest.starts_with(['|', '>']) {
            return true;
        }
        let rest = rest.trim_start_matches(['"', '\'']);
        let rest = match rest.strip_prefix(key) {
            Some(item) if item.starts_with('=') => &item[1..],
            _ => rest,
        };
        let start: String = value
            .chars()
            .take_while(|c| !c.is_control())
            .take(3)
            .collect();
        !start.is_empty() && rest.starts_with(&start)
    }
}

/// The line that sets each name in a file of variables, from 1; the last one counts. Values that
/// stand in quotes over several lines are taken for lines, too, which does no harm.
pub(crate) fn lines_of(text: &str) -> HashMap<&str, u32> {
    let mut lines = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let name = line.split(['=', ':']).next().unwrap_or_default().trim();
        lines.insert(name, u32::try_from(index + 1).unwrap_or(u32::MAX));
    }
    lines
}

fn line_starts(text: &str) -> Vec<usize> {
    let after = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after).collect()
}

fn display(path: &Path, working_dir: &Path) -> String {
    let shown = path.strip_prefix(working_dir).unwrap_or(path);
    shown.display().to_string()
}

fn files_of(node: &Node, names: &mut BTreeSet<String>) {
    let mut add = |span: &Span| {
        if let Some(file) = span.file_name()
            && !names.contains(file)
        {
            names.insert(file.to_owned());
        }
    };
    add(&node.span);
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| files_of(item, names)),
        Value::Map(map) => map.iter().for_each(|(_, entry)| {
            if let Some(file) = entry.key.file_name()
                && !names.contains(file)
            {
                names.insert(file.to_owned());
            }
            files_of(&entry.node, names);
        }),
        _ => {}
    }
}

/// The services of a tree with their trees.
pub(crate) fn services(tree: &Node) -> impl Iterator<Item = (&String, &Node)> {
    let services = tree.get("services").and_then(Node::map);
    services
        .into_iter()
        .flat_map(Map::iter)
        .map(|(name, entry)| (name, &entry.node))
}
