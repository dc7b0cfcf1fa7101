//! Reads one file: parse, put variables in, rewrite to the long form.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orc_base::{Error, Kind, Result};

use crate::canonical::Rules;
use crate::copies::Copies;
use crate::dotenv::{self, Grammar};
use crate::files::{self, Files, real};
use crate::foreign;
use crate::interpolate::Interpolation;
use crate::ledger::Ledger;
use crate::node::{Mark, Node, Span, Trail, Value};
use crate::remote::{Address, Remotes};
use crate::source::Source;
use crate::spec::Paths;
use crate::spec::root::ROOT;
use crate::yaml;

/// How many files one project may be made of, each time one is read counted.
const MAX_FILES: usize = 1_000;

/// Reads files for one project and remembers what has to be said about them.
pub(crate) struct Reader<'a> {
    pub(crate) files: &'a dyn Files,
    /// Whoever fetches what is elsewhere, and what was fetched.
    pub(crate) remotes: Option<&'a dyn Remotes>,
    pub(crate) copies: Copies,
    /// What came on standard input.
    pub(crate) stdin: Option<&'a str>,
    /// The process's working directory, which file names are shown relative to.
    pub(crate) working_dir: &'a Path,
    /// What `~` is.
    pub(crate) home: Option<&'a str>,
    pub(crate) interpolate: bool,
    pub(crate) resolve_paths: bool,
    pub(crate) warnings: BTreeSet<String>,
    /// What the files come to, and what is wrong in them.
    pub(crate) ledger: Ledger,
    read: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(files: &'a dyn Files, working_dir: &'a Path) -> Self {
        Self {
            files,
            remotes: None,
            copies: Copies::default(),
            stdin: None,
            working_dir,
            home: None,
            interpolate: true,
            resolve_paths: true,
            warnings: BTreeSet::new(),
            ledger: Ledger::default(),
            read: 0,
        }
    }

    /// The name of a file as people are shown it.
    pub(crate) fn display(&self, path: &Path) -> String {
        if let Some(name) = self.copies.display(path) {
            return name;
        }
        let shown = path.strip_prefix(self.working_dir).unwrap_or(path);
        shown.display().to_string()
    }

    /// Refuses the project when something is wrong in the files read so far.
    pub(crate) fn refuse(&mut self) -> Result<()> {
        std::mem::take(&mut self.ledger.mistakes).refuse()
    }

    /// The file that `text` names, fetched when it is elsewhere. Relative paths start at `base`; `by` is
    /// where it is named.
    pub(crate) fn locate(&mut self, base: &Path, text: &str, by: &Span) -> Result<PathBuf> {
        if let Some(address) = Address::parse(text)? {
            return self.fetch(&address);
        }
        self.inside(base, text, by)
    }

    /// The Compose file at an address.
    pub(crate) fn fetch(&mut self, address: &Address) -> Result<PathBuf> {
        self.copies.fetch(address, self.remotes, self.files)
    }

    /// The path that `text` names; files from elsewhere may name their own only.
    pub(crate) fn inside(&self, base: &Path, text: &str, by: &Span) -> Result<PathBuf> {
        let path = files::join(base, text);
        if let Some(origin) = by.origin() {
            let real = real(self.files, &path);
            if !origin.holds(&real) {
                return Err(Error::denied(foreign::outside(&real, &origin.shown)));
            }
        }
        Ok(path)
    }

    /// The text of a file.
    fn text(&self, path: &Path) -> Result<String> {
        self.copies.check(path, self.files)?;
        self.files.read(path)
    }

    /// The documents of a file as they stand.
    pub(crate) fn parse(&mut self, path: &Path) -> Result<Vec<Node>> {
        self.read += 1;
        if self.read > MAX_FILES {
            return Err(Error::exhausted(format!(
                "more than {MAX_FILES} Compose files"
            )));
        }
        let (text, name) = match (path.as_os_str() == "-", self.stdin) {
            (true, Some(text)) => (text.to_owned(), "(stdin)".to_owned()),
            (true, None) => return Err(Error::invalid("nothing came on standard input")),
            _ => (self.text(path)?, self.display(path)),
        };
        let source = Arc::new(Source::new(name, text).of(self.copies.origin(path)));
        let documents = yaml::parse(&source, &mut self.ledger)?;
        if documents.iter().all(Node::is_null) {
            return Err(Error::invalid(format!(
                "{}: empty compose file",
                source.name()
            )));
        }
        Ok(documents
            .into_iter()
            .filter(|document| !document.is_null())
            .collect())
    }

    /// A document with variables put in, in the long form; relative paths start at `base`.
    pub(crate) fn canonical(
        &mut self,
        mut document: Node,
        base: &Path,
        variables: &BTreeMap<String, String>,
    ) -> Result<Node> {
        if !matches!(document.value, Value::Map(_)) {
            return Err(Trail::ROOT.error(&document.span, "top-level object must be a mapping"));
        }
        self.copies.note_asked(&document);
        if self.interpolate {
            let mut interpolation = Interpolation::new(variables);
            interpolation.apply(&mut document, &Trail::ROOT, &mut self.ledger)?;
            self.warnings.extend(interpolation.warnings);
        }
        let mut rules = Rules {
            paths: Paths {
                base: self.resolve_paths.then_some(base),
                home: self.home,
            },
            lenient: !self.interpolate,
            ledger: &mut self.ledger,
        };
        let mut document = rules.apply(document, &ROOT, &Trail::ROOT)?;
        self.copies.note_passed(&document);
        if let Some(map) = document.map_mut()
            && let Some(version) = map.remove("version")
        {
            let place = version.key.file_name().unwrap_or_default();
            self.warnings.insert(format!(
                "{place}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion"
            ));
        }
        Ok(document)
    }

    /// Reads variables from a file in the grammar of `.env`.
    pub(crate) fn variables(
        &mut self,
        path: &Path,
        outer: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>> {
        let source = Source::new(self.display(path), self.text(path)?);
        dotenv::parse(&source, Grammar::Compose, outer, &mut self.ledger.budget)
    }
}

/// Keeps an error's kind from sounding like the caller's own thing is missing.
pub(crate) fn refuse_missing(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => error.with_kind(Kind::Invalid),
        _ => error,
    }
}

/// Whether later stages leave a node alone: it asks to be removed, or it is wrong.
pub(crate) fn is_void(node: &Node) -> bool {
    matches!(node.mark, Mark::Reset | Mark::Wrong)
}
