//! `extends`: a service is put over another one of the same file or of another file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use orc_base::{Error, Kind, Result, spelling};

use crate::merge::merge;
use crate::node::{Entry, Map, Node, Span, Trail};
use crate::reader::{Reader, is_void, refuse_missing};
use crate::spec::root::ROOT;
use crate::spec::service::SERVICE;

/// How many services may extend one another in a row.
const MAX_CHAIN: usize = 100;

/// A file in which services extend others.
struct Place<'a> {
    /// The file itself, for finding cycles.
    file: &'a Path,
    /// Where its relative paths start.
    base: &'a Path,
    document: &'a Node,
}

/// Puts every service of `document` over what it extends.
///
/// # Errors
///
/// When there is no use in looking on; what is wrong with one service is noted.
pub(crate) fn apply(
    reader: &mut Reader<'_>,
    mut document: Node,
    file: &Path,
    base: &Path,
    variables: &BTreeMap<String, String>,
) -> Result<Node> {
    let uses_extends = |service: &Node| service.get("extends").is_some();
    let names: Vec<(String, Span)> = match document.get("services").and_then(Node::map) {
        Some(services) => services
            .iter()
            .filter(|(_, entry)| uses_extends(&entry.node))
            .map(|(name, entry)| (name.clone(), entry.key.clone()))
            .collect(),
        None => return Ok(document),
    };
    let mut extended = Vec::with_capacity(names.len());
    let mut search = Search {
        reader,
        variables,
        others: HashMap::new(),
        chain: Vec::new(),
    };
    // Whoever is on the way to a mistake has been told of it.
    let mut told = BTreeSet::new();
    for (name, span) in names {
        if told.contains(&name) {
            continue;
        }
        let place = Place {
            file,
            base,
            document: &document,
        };
        match search.service(&place, &name) {
            Ok(service) => extended.push((name, service)),
            Err(error) => {
                let chain = search.chain.drain(..);
                told.extend(chain.filter(|(at, _)| at == file).map(|(_, name)| name));
                search.reader.ledger.is_torn = true;
                search.reader.ledger.mistakes.add(&span, error)?;
            }
        }
    }
    if let Some(services) = document
        .map_mut()
        .and_then(|map| map.get_mut("services")?.map_mut())
    {
        for (name, service) in extended {
            if let Some(node) = services.get_mut(&name) {
                *node = service;
            }
        }
    }
    Ok(document)
}

/// The way along services that extend others.
struct Search<'a, 'r> {
    reader: &'a mut Reader<'r>,
    variables: &'a BTreeMap<String, String>,
    /// Other files in the long form; many services extend those of one.
    others: HashMap<PathBuf, Rc<Node>>,
    /// Files and services from the first one to the one at hand.
    chain: Vec<(PathBuf, String)>,
}

impl Search<'_, '_> {
    /// One service with what it extends below it.
    fn service(&mut self, place: &Place<'_>, name: &str) -> Result<Node> {
        let services = Trail::ROOT.key("services");
        let trail = services.key(name);
        let Some(node) = place.document.at(&["services", name]) else {
            return Err(self.not_found(place, name));
        };
        let counted = self.reader.ledger.budget.copy(node);
        counted.map_err(|error| trail.error(&node.span, error).with_kind(Kind::Exhausted))?;
        let mut node = node.clone();
        let Some(extends) = node.map_mut().and_then(|map| map.remove("extends")) else {
            return Ok(node);
        };
        if is_void(&extends.node) {
            return Ok(node);
        }
        self.enter(place, name, &extends, &trail)?;
        let lower = self
            .extended(place, &extends, &trail)
            .map_err(|error| match error.kind() {
                Kind::Exhausted => error,
                _ => trail.around(&extends.key, "extends", &refuse_missing(error)),
            })?;
        self.chain.pop();
        Ok(merge(lower, node, &SERVICE))
    }

    /// Notes that a service extends another one, which must not lead back to it.
    fn enter(
        &mut self,
        place: &Place<'_>,
        name: &str,
        extends: &Entry,
        trail: &Trail<'_>,
    ) -> Result<()> {
        let here = (place.file.to_path_buf(), name.to_owned());
        if self.chain.contains(&here) {
            let names: Vec<_> = self.chain.iter().map(|(_, name)| name.as_str()).collect();
            let names = names.join(" -> ");
            let text = format!("circular reference in extends: {names} -> {name}");
            return Err(trail.error(&extends.key, text));
        }
        if self.chain.len() == MAX_CHAIN {
            let text = format!("more than {MAX_CHAIN} services extend one another");
            let error = trail.error(&extends.key, text);
            return Err(error.with_kind(Kind::Exhausted));
        }
        self.chain.push(here);
        Ok(())
    }

    /// What `extends` names, with what that extends.
    fn extended(&mut self, place: &Place<'_>, extends: &Entry, trail: &Trail<'_>) -> Result<Node> {
        let text = |key: &str| extends.node.get(key).and_then(Node::text);
        let Some(name) = text("service") else {
            return Err(trail.error(&extends.node.span, "extends.service is required"));
        };
        let Some(file) = text("file") else {
            return self.service(place, name);
        };
        let file = self.reader.locate(place.base, file, &extends.node.span)?;
        let document = self.document(&file)?;
        let place = Place {
            base: file.parent().unwrap_or(Path::new("/")),
            file: &file,
            document: &document,
        };
        self.service(&place, name)
    }

    /// Another file in the long form; its paths are relative to itself.
    fn document(&mut self, file: &Path) -> Result<Rc<Node>> {
        if let Some(document) = self.others.get(file) {
            return Ok(Rc::clone(document));
        }
        let base = file.parent().unwrap_or(Path::new("/"));
        let mut document = Node::new(Map::default(), &Span::default());
        for part in self.reader.parse(file)? {
            let part = self.reader.canonical(part, base, self.variables)?;
            document = merge(document, part, &ROOT);
        }
        let document = Rc::new(document);
        self.others.insert(file.to_path_buf(), Rc::clone(&document));
        Ok(document)
    }

    fn not_found(&self, place: &Place<'_>, name: &str) -> Error {
        let services = place.document.get("services").and_then(Node::map);
        let known = services.into_iter().flat_map(Map::keys);
        let hint = match spelling::nearest(name, known.map(String::as_str)) {
            Some(near) => format!(": did you mean `{near}`?"),
            None => String::new(),
        };
        let file = self.reader.display(place.file);
        Error::invalid(format!("service \"{name}\" not found in {file}{hint}"))
    }
}
