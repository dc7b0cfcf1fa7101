//! What layers become: the layer rules of the OCI image specification, applied in memory.
//!
//! Written from the text (image-spec, layer.md) and from what overlayfs does with the result, not from
//! any reader: where a reader and this model disagree, one of them is wrong. Links are followed inside
//! the layer only, and an entry that would need more is refused. Nothing here touches a disk.

use std::collections::BTreeMap;

use crate::entry::{Entry, Kind};
use crate::view::{self, Seen, View};

/// How whiteouts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As in the layers of an image.
    Layer,
    /// As in any other archive: `.wh.x` is a name like others.
    Plain,
    /// As in archives that become files of an image: `.wh.x` is refused, for it could not be in one.
    Build,
}

/// The entry that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which layer, lowest first.
    pub layer: usize,
    /// Its name as written.
    pub name: Vec<u8>,
    /// A word that the message should have; empty when any will do.
    pub says: &'static str,
}

/// What a stack of layers looks like through overlayfs, lowest layer first; what plain archives make
/// of one tree that gets them one after the other.
pub fn stack(layers: &[Vec<Entry>], style: Style) -> Result<View, Refusal> {
    let mut view = View::default();
    match style {
        Style::Layer => {
            for (index, entries) in layers.iter().enumerate() {
                let layer = Layer::of(entries, style).map_err(|why| refusal(index, why))?;
                layer.cover(&mut view);
            }
        }
        Style::Plain | Style::Build => {
            let entries = layers.concat();
            let layer = Layer::of(&entries, style).map_err(|why| refusal(0, why))?;
            layer.cover(&mut view);
            if layers.len() > 1 {
                forget_times(&mut view);
            }
        }
    }
    Ok(view)
}

/// What a later archive writes into a directory of an earlier one changes its time.
fn forget_times(view: &mut View) {
    let directories = view.0.values_mut().filter(|seen| seen.what == "directory");
    directories.for_each(|seen| seen.mtime = None);
}

fn refusal(layer: usize, (entry, says): (&Entry, Why)) -> Refusal {
    Refusal {
        layer,
        name: entry.name.clone(),
        says,
    }
}

type Id = usize;
const ROOT: Id = 0;

/// A layer in memory. Names lead to nodes; several names of one node are hard links.
struct Layer {
    nodes: Vec<Node>,
    style: Style,
}

struct Node {
    what: What,
    mode: u32,
    owner: (u32, u32),
    mtime: Option<i64>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

enum What {
    Directory {
        children: BTreeMap<Vec<u8>, Id>,
        opaque: bool,
    },
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Device(&'static str, u32, u32),
    Fifo,
    Whiteout,
}

/// Why an entry cannot be applied: a word for the message.
type Why = &'static str;
type Path = Vec<Vec<u8>>;

enum Walk {
    Found(Id),
    Missing,
    Wrong(Why),
}

impl Layer {
    fn of(entries: &[Entry], style: Style) -> Result<Self, (&Entry, Why)> {
        let mut layer = Self {
            nodes: vec![Node::implied()],
            style,
        };
        for entry in entries {
            layer.put(entry).map_err(|why| (entry, why))?;
        }
        Ok(layer)
    }

    fn put(&mut self, entry: &Entry) -> Result<(), Why> {
        let path = parse(&entry.name)?;
        if let Kind::HardLink(target) | Kind::Symlink(target) = &entry.kind
            && target.contains(&0)
        {
            return Err("");
        }
        if matches!(entry.kind, Kind::File(_)) && entry.name.ends_with(b"/") {
            return Err("a file with the name of a directory");
        }
        let Some((last, above)) = path.split_last() else {
            return match entry.kind {
                Kind::Directory => self.describe(ROOT, entry),
                _ => Err("would replace the root directory"),
            };
        };
        if self.style == Style::Build && path.iter().any(|name| name.starts_with(b".wh.")) {
            return Err("");
        }
        if self.style == Style::Layer {
            if above.iter().any(|name| name.starts_with(b".wh.")) {
                return Err("whiteout in the middle");
            }
            match last.strip_prefix(b".wh.") {
                Some(b".wh..opq") => return self.opaque(above),
                Some(rest) if rest.starts_with(b".wh.") => return Ok(()),
                Some(b"" | b"." | b"..") => return Err("whiteout of nothing"),
                Some(rest) => return self.whiteout(above, rest),
                None => {}
            }
        }
        let parent = self.make(above)?;
        match &entry.kind {
            Kind::Directory => self.directory(parent, last, entry),
            Kind::HardLink(target) => self.hard_link(parent, last, target),
            // symlink(2) refuses both.
            Kind::Symlink(target) if target.is_empty() || target.len() > 4095 => Err(""),
            _ => {
                let node = Node::of(entry);
                let id = self.add(node);
                self.children(parent).insert(last.clone(), id);
                Ok(())
            }
        }
    }

    fn directory(&mut self, parent: Id, name: &[u8], entry: &Entry) -> Result<(), Why> {
        let id = match self.child(parent, name) {
            Some(id) if self.is_directory(id) => id,
            old => {
                let hides = old.is_some_and(|id| matches!(self.nodes[id].what, What::Whiteout));
                let id = self.add(Node::implied());
                self.children(parent).insert(name.to_owned(), id);
                if hides {
                    self.set_opaque(id);
                }
                id
            }
        };
        self.describe(id, entry)
    }

    fn describe(&mut self, id: Id, entry: &Entry) -> Result<(), Why> {
        let node = &mut self.nodes[id];
        node.mode = entry.mode;
        node.owner = (entry.uid, entry.gid);
        node.mtime = Some(entry.mtime);
        node.xattrs.extend(kept(entry));
        Ok(())
    }

    fn hard_link(&mut self, parent: Id, name: &[u8], target: &[u8]) -> Result<(), Why> {
        let target = parse(target)?;
        let Some((last, above)) = target.split_last() else {
            return Err("");
        };
        let missing = "no file of this layer";
        let Walk::Found(holder) = self.walk(above, false) else {
            return Err(missing);
        };
        let found = self.is_directory(holder).then(|| self.child(holder, last));
        let id = found.flatten().ok_or(missing)?;
        match self.nodes[id].what {
            What::Directory { .. } | What::Whiteout => return Err(missing),
            _ => {}
        }
        if let Some(old) = self.child(parent, name)
            && old != id
            && self.holds(old, holder)
        {
            // What makes room for the link takes its target away.
            return Err(missing);
        }
        self.children(parent).insert(name.to_owned(), id);
        Ok(())
    }

    fn whiteout(&mut self, above: &[Vec<u8>], name: &[u8]) -> Result<(), Why> {
        let parent = self.make(above)?;
        match self.child(parent, name) {
            Some(id) if self.is_directory(id) => self.set_opaque(id),
            Some(_) => {}
            None => {
                let id = self.add(Node {
                    what: What::Whiteout,
                    ..Node::implied()
                });
                self.children(parent).insert(name.to_owned(), id);
            }
        }
        Ok(())
    }

    fn opaque(&mut self, path: &[Vec<u8>]) -> Result<(), Why> {
        let id = self.make(path)?;
        self.set_opaque(id);
        Ok(())
    }

    /// The directory at `path`; what is missing of it is made, a whiteout on the way becomes an empty
    /// directory that hides what was below.
    fn make(&mut self, path: &[Vec<u8>]) -> Result<Id, Why> {
        // In a layer nobody means to climb out; links of a tree in use may be as they like.
        match self.walk(path, self.style != Style::Plain) {
            Walk::Found(id) if self.is_directory(id) => return Ok(id),
            Walk::Wrong(why) => return Err(why),
            Walk::Found(_) | Walk::Missing => {}
        }
        let Some((last, above)) = path.split_last() else {
            return Err("");
        };
        let parent = self.make(above)?;
        match self.child(parent, last) {
            None => {
                let id = self.add(Node::implied());
                self.children(parent).insert(last.clone(), id);
                Ok(id)
            }
            Some(id) if matches!(self.nodes[id].what, What::Whiteout) => {
                let id = self.add(Node::implied());
                self.children(parent).insert(last.clone(), id);
                self.set_opaque(id);
                Ok(id)
            }
            // A file, or a link that leads nowhere.
            Some(_) => Err(""),
        }
    }

    /// Where a path leads, links followed. `..` above the root ends there, or refuses when `strict`.
    fn walk(&self, path: &[Vec<u8>], strict: bool) -> Walk {
        let mut pending: Path = path.iter().rev().cloned().collect();
        let mut at = vec![ROOT];
        let mut links = 0;
        while let Some(name) = pending.pop() {
            let here = *at.last().expect("the root stays");
            if matches!(self.nodes[here].what, What::Whiteout) {
                return Walk::Missing;
            }
            if !self.is_directory(here) {
                return Walk::Wrong("");
            }
            if name == b".." {
                if at.len() > 1 {
                    at.pop();
                } else if strict {
                    return Walk::Wrong("leads out of the layer");
                }
                continue;
            }
            let Some(next) = self.child(here, &name) else {
                return Walk::Missing;
            };
            let What::Symlink(target) = &self.nodes[next].what else {
                at.push(next);
                continue;
            };
            links += 1;
            if links > 40 {
                return Walk::Wrong("");
            }
            if target.starts_with(b"/") {
                at.truncate(1);
            }
            let parts = target.split(|byte| *byte == b'/');
            let parts: Vec<_> = parts.filter(|part| !matches!(*part, b"" | b".")).collect();
            pending.extend(parts.into_iter().rev().map(<[u8]>::to_vec));
        }
        Walk::Found(*at.last().expect("the root stays"))
    }

    fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn child(&self, parent: Id, name: &[u8]) -> Option<Id> {
        match &self.nodes[parent].what {
            What::Directory { children, .. } => children.get(name).copied(),
            _ => None,
        }
    }

    fn children(&mut self, parent: Id) -> &mut BTreeMap<Vec<u8>, Id> {
        match &mut self.nodes[parent].what {
            What::Directory { children, .. } => children,
            _ => unreachable!("only directories are parents"),
        }
    }

    fn is_directory(&self, id: Id) -> bool {
        matches!(self.nodes[id].what, What::Directory { .. })
    }

    fn set_opaque(&mut self, id: Id) {
        if let What::Directory { opaque, .. } = &mut self.nodes[id].what {
            *opaque = true;
        }
    }

    /// Whether `inner` is `outer` or below it.
    fn holds(&self, outer: Id, inner: Id) -> bool {
        let What::Directory { children, .. } = &self.nodes[outer].what else {
            return false;
        };
        outer == inner || children.values().any(|child| self.holds(*child, inner))
    }

    /// Lays this layer over what the ones below look like.
    fn cover(&self, view: &mut View) {
        let mut names = BTreeMap::new();
        self.count(ROOT, &mut names);
        self.cover_directory(ROOT, b"", view, &names);
    }

    fn count(&self, id: Id, names: &mut BTreeMap<Id, u64>) {
        *names.entry(id).or_default() += 1;
        if let What::Directory { children, .. } = &self.nodes[id].what {
            children
                .values()
                .for_each(|child| self.count(*child, names));
        }
    }

    fn cover_directory(&self, id: Id, path: &[u8], view: &mut View, names: &BTreeMap<Id, u64>) {
        let What::Directory { children, opaque } = &self.nodes[id].what else {
            return;
        };
        if *opaque {
            remove_below(view, path);
        }
        for (name, child) in children {
            let path = match path {
                b"" => name.clone(),
                _ => [path, b"/", name].concat(),
            };
            let node = &self.nodes[*child];
            let was_directory = view
                .0
                .get(&path)
                .is_some_and(|seen| seen.what == "directory");
            if !was_directory || !self.is_directory(*child) {
                view.0.remove(&path);
                remove_below(view, &path);
            }
            if !matches!(node.what, What::Whiteout) {
                view.0.insert(path.clone(), node.seen(names[child]));
            }
            self.cover_directory(*child, &path, view, names);
        }
    }
}

fn remove_below(view: &mut View, path: &[u8]) {
    let prefix = match path {
        b"" => Vec::new(),
        _ => [path, b"/"].concat(),
    };
    view.0.retain(|path, _| !path.starts_with(&prefix));
}

impl Node {
    /// A directory that no entry describes.
    fn implied() -> Self {
        Self {
            what: What::Directory {
                children: BTreeMap::new(),
                opaque: false,
            },
            mode: 0o755,
            owner: (0, 0),
            mtime: None,
            xattrs: BTreeMap::new(),
        }
    }

    fn of(entry: &Entry) -> Self {
        let what = match &entry.kind {
            Kind::File(data) => What::File(data.clone()),
            Kind::Symlink(target) => What::Symlink(target.clone()),
            // What overlayfs takes for a whiteout is one.
            Kind::Char(0, 0) => What::Whiteout,
            Kind::Char(major, minor) => What::Device("char", *major, *minor),
            Kind::Block(major, minor) => What::Device("block", *major, *minor),
            Kind::Fifo => What::Fifo,
            Kind::Directory | Kind::HardLink(_) => unreachable!("handled before"),
        };
        let xattrs = match entry.kind {
            Kind::File(_) => kept(entry).collect(),
            _ => BTreeMap::new(),
        };
        Self {
            what,
            mode: entry.mode,
            owner: (entry.uid, entry.gid),
            mtime: Some(entry.mtime),
            xattrs,
        }
    }

    fn seen(&self, names: u64) -> Seen {
        let what = match &self.what {
            What::Directory { .. } => "directory".into(),
            What::File(data) => view::file(data.len() as u64, data),
            What::Symlink(target) => view::symlink(target),
            What::Device(kind, major, minor) => format!("{kind} {major}:{minor}"),
            What::Fifo => "fifo".into(),
            What::Whiteout => unreachable!("nobody sees one"),
        };
        let is_directory = matches!(self.what, What::Directory { .. });
        Seen {
            what,
            mode: (!matches!(self.what, What::Symlink(_))).then_some(self.mode),
            owner: self.owner,
            mtime: self.mtime,
            names: (!is_directory).then_some(names),
            xattrs: self.xattrs.clone(),
        }
    }
}

fn kept(entry: &Entry) -> impl Iterator<Item = (String, Vec<u8>)> {
    let kept = entry.xattrs.iter().filter(|one| view::is_kept(&one.0));
    kept.cloned()
}

/// The components of a name, or why it is none.
fn parse(name: &[u8]) -> Result<Path, Why> {
    if name.is_empty() || name.contains(&0) {
        return Err("");
    }
    let parts: Path = name
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect();
    if parts.iter().any(|part| part == b"..") {
        return Err("`..`");
    }
    if parts.iter().any(|part| part.len() > 255) {
        return Err("255 bytes");
    }
    if parts.join(&b'/').len() > 4095 {
        return Err("4095 bytes");
    }
    Ok(parts)
}
