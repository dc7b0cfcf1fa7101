//! What is at and below the path of a rule, as it was seen last.
//!
//! The truth is what the disk says when somebody looks: whoever hears that something happened in a
//! directory has it looked at again ([`Tree::look_at`]), and whoever may have missed something looks at
//! all ([`Tree::look`]). What differs from the last time is told once. Links are not followed, but for
//! the path of the rule itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use orc_base::{Context, Error, Result};
use orc_compose::watch::decide::{Change, Now};

use crate::cli::compose::watching::patterns::Patterns;

/// The most files and directories that one rule is about.
const MAX_FILES: usize = 500_000;
/// The most directories inside each other.
const MAX_DEPTH: usize = 256;

/// Who wants to know which directories are looked at. Called before a directory is read, so that what
/// happens in it from then on can be heard of.
pub(crate) trait Ears {
    /// This directory is one of them.
    fn enter(&mut self, directory: &Path);
    /// It is gone.
    fn leave(&mut self, directory: &Path);
}

/// The files of one rule.
pub(crate) struct Tree {
    rule: usize,
    root: PathBuf,
    patterns: Patterns,
    seen: Seen,
    files: usize,
}

/// What was at the root.
enum Seen {
    Nothing,
    File(Stamp),
    /// What is in each directory, by its path below the root.
    Directory(BTreeMap<PathBuf, BTreeMap<OsString, Stamp>>),
}

/// What tells a file from the one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    mode: u32,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
    inode: (u64, u64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            mode: meta.mode(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            inode: (meta.dev(), meta.ino()),
        }
    }

    fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Whether somebody who has a copy of `self` needs another. What is in a directory is told by
    /// itself.
    fn differs(&self, other: &Self) -> bool {
        match self.is_directory() && other.is_directory() {
            true => self.mode != other.mode,
            false => self != other,
        }
    }
}

/// One look.
struct Look<'l> {
    ears: &'l mut dyn Ears,
    /// Go into directories that were there before.
    deep: bool,
    changes: Vec<Change>,
}

impl Tree {
    /// Nothing was seen yet.
    pub(crate) fn new(rule: usize, root: PathBuf, patterns: Patterns) -> Self {
        Self {
            rule,
            root,
            patterns,
            seen: Seen::Nothing,
            files: 0,
        }
    }

    /// The path of the rule.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether anything is there.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self.seen, Seen::Nothing)
    }

    /// Looks at everything.
    pub(crate) fn look(&mut self, ears: &mut dyn Ears) -> Result<Vec<Change>> {
        let mut look = Look {
            ears,
            deep: true,
            changes: Vec::new(),
        };
        self.look_at_root(&mut look)?;
        Ok(look.changes)
    }

    /// Looks at one directory, and at all that is new in it. Directories that the rule is not about are
    /// none of its business, but for the one that holds the root.
    pub(crate) fn look_at(&mut self, directory: &Path, ears: &mut dyn Ears) -> Result<Vec<Change>> {
        let mut look = Look {
            ears,
            deep: false,
            changes: Vec::new(),
        };
        match directory.strip_prefix(&self.root) {
            Ok(below) => {
                let known = match &self.seen {
                    Seen::Directory(all) => all.contains_key(below),
                    Seen::Nothing | Seen::File(_) => false,
                };
                if known {
                    self.directory(below, 0, &mut look)?;
                }
            }
            Err(_) if self.root.starts_with(directory) => self.look_at_root(&mut look)?,
            Err(_) => {}
        }
        Ok(look.changes)
    }

    /// Everything that is there, but for directories.
    pub(crate) fn all(&self) -> Vec<Change> {
        let there = |below: PathBuf| Change {
            rule: self.rule,
            below,
            now: Now::There,
        };
        match &self.seen {
            Seen::Nothing => Vec::new(),
            Seen::File(_) => vec![there(PathBuf::new())],
            Seen::Directory(all) => all
                .iter()
                .flat_map(|(directory, entries)| {
                    entries
                        .iter()
                        .filter(|(_, stamp)| !stamp.is_directory())
                        .map(move |(name, _)| directory.join(name))
                })
                .filter(|below| self.patterns.counts(below))
                .map(there)
                .collect(),
        }
    }

    fn look_at_root(&mut self, look: &mut Look<'_>) -> Result<()> {
        let stamp = match std::fs::metadata(&self.root) {
            Ok(meta) => Some(Stamp::of(&meta)),
            Err(error) if is_gone(&error) => None,
            Err(error) => return Err(error).context(|| format!("look at {}", self.root.display())),
        };
        let was_directory = matches!(self.seen, Seen::Directory(_));
        match stamp {
            Some(stamp) if stamp.is_directory() => {
                if !was_directory {
                    self.forget(look);
                    self.seen = Seen::Directory(BTreeMap::new());
                    look.deep = true;
                }
                if look.deep {
                    self.directory(Path::new(""), 0, look)?;
                }
            }
            Some(stamp) => {
                let same = matches!(&self.seen, Seen::File(old) if !old.differs(&stamp));
                if was_directory {
                    self.forget(look);
                }
                self.seen = Seen::File(stamp);
                if !same {
                    self.tell(Path::new(""), Now::There, look);
                }
            }
            None => self.forget(look),
        }
        Ok(())
    }

    /// All that was there is gone.
    fn forget(&mut self, look: &mut Look<'_>) {
        match self.seen {
            Seen::Nothing => {}
            Seen::File(_) => self.tell(Path::new(""), Now::Gone, look),
            Seen::Directory(_) => self.gone_below(Path::new(""), look),
        }
        self.seen = Seen::Nothing;
        self.files = 0;
    }

    fn directory(&mut self, below: &Path, depth: usize, look: &mut Look<'_>) -> Result<()> {
        let path = self.root.join(below);
        if depth > MAX_DEPTH {
            return Err(Error::exhausted(format!(
                "{} lies deeper than {MAX_DEPTH} directories: leave it out with `ignore`",
                path.display()
            )));
        }
        look.ears.enter(&path);
        let now = self.read(below, &path)?;
        let before = match &mut self.seen {
            Seen::Directory(all) => all
                .insert(below.to_owned(), now.clone())
                .unwrap_or_default(),
            Seen::Nothing | Seen::File(_) => return Ok(()),
        };
        self.files = (self.files + now.len()).saturating_sub(before.len());
        if self.files > MAX_FILES {
            return Err(Error::exhausted(format!(
                "there are more than {MAX_FILES} files at {}: leave some out with `ignore`",
                self.root.display()
            )));
        }
        for (name, old) in &before {
            let is_directory = now.get(name).is_some_and(Stamp::is_directory);
            let child = below.join(name);
            if old.is_directory() && !is_directory {
                self.gone_below(&child, look);
            }
            if !now.contains_key(name) {
                self.tell(&child, Now::Gone, look);
            }
        }
        for (name, stamp) in &now {
            let (old, child) = (before.get(name), below.join(name));
            if old.is_none_or(|old| old.differs(stamp)) {
                self.tell(&child, Now::There, look);
            }
            let known = old.is_some_and(|old| old.is_directory() && old.inode == stamp.inode);
            if stamp.is_directory() && (look.deep || !known) && self.patterns.may_enter(&child) {
                self.directory(&child, depth + 1, look)?;
            }
        }
        Ok(())
    }

    /// What is in a directory now, as far as it matters. Nothing when that is gone by now: whoever
    /// looks at the directory above will see it.
    fn read(&self, below: &Path, path: &Path) -> Result<BTreeMap<OsString, Stamp>> {
        let mut now = BTreeMap::new();
        let before = match &self.seen {
            Seen::Directory(all) => all.get(below),
            Seen::Nothing | Seen::File(_) => None,
        };
        let entries = match std::fs::read_dir(path) {
            Err(error) if is_gone(&error) => return Ok(now),
            other => other.context(|| format!("read the directory {}", path.display()))?,
        };
        for entry in entries {
            let entry = entry.context(|| format!("read the directory {}", path.display()))?;
            let meta = match entry.metadata() {
                Err(error) if is_gone(&error) => continue,
                other => other.context(|| format!("look at {}", entry.path().display()))?,
            };
            let (name, stamp) = (entry.file_name(), Stamp::of(&meta));
            // Patterns take longer than looking; what mattered last time does.
            let known = before.is_some_and(|before| {
                let old = before.get(&name);
                old.is_some_and(|old| old.is_directory() == stamp.is_directory())
            });
            if known || self.matters(&below.join(&name), &stamp) {
                now.insert(name, stamp);
            }
        }
        Ok(now)
    }

    /// Whether something counts, or something in it may.
    fn matters(&self, below: &Path, stamp: &Stamp) -> bool {
        self.patterns.counts(below) || (stamp.is_directory() && self.patterns.may_enter(below))
    }

    /// Tells of all that was in a directory, and forgets it.
    fn gone_below(&mut self, below: &Path, look: &mut Look<'_>) {
        let entries = match &mut self.seen {
            Seen::Directory(all) => all.remove(below),
            Seen::Nothing | Seen::File(_) => None,
        };
        let Some(entries) = entries else {
            return;
        };
        look.ears.leave(&self.root.join(below));
        self.files = self.files.saturating_sub(entries.len());
        for (name, stamp) in &entries {
            let child = below.join(name);
            if stamp.is_directory() {
                self.gone_below(&child, look);
            }
            self.tell(&child, Now::Gone, look);
        }
    }

    fn tell(&self, below: &Path, now: Now, look: &mut Look<'_>) {
        if self.patterns.counts(below) {
            look.changes.push(Change {
                rule: self.rule,
                below: below.to_owned(),
                now,
            });
        }
    }
}

/// Not there, or no directory on the way any more.
fn is_gone(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

#[cfg(test)]
mod tests {
    use orc_compose::model::develop::WatchAction;
    use orc_compose::watch::rule::Rule;

    use super::*;

    #[derive(Default)]
    struct Heard(Vec<String>);

    impl Ears for Heard {
        fn enter(&mut self, directory: &Path) {
            self.0.push(format!("+{}", name(directory)));
        }

        fn leave(&mut self, directory: &Path) {
            self.0.push(format!("-{}", name(directory)));
        }
    }

    fn name(path: &Path) -> String {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    struct Place {
        dir: tempfile::TempDir,
        tree: Tree,
        heard: Heard,
    }

    fn place(path: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join(path);
        let rule = Rule {
            service: "web".into(),
            path: root.clone(),
            action: WatchAction::Sync,
            target: Some("/app".into()),
            exec: None,
            initial_sync: false,
            ignore: vec!["cache".into()],
            include: Vec::new(),
            context: None,
            plans: Vec::new(),
        };
        let patterns = Patterns::of(&rule).unwrap();
        Place {
            dir,
            tree: Tree::new(0, root, patterns),
            heard: Heard::default(),
        }
    }

    fn told(changes: Vec<Change>) -> Vec<String> {
        let one = |change: Change| {
            let sign = match change.now {
                Now::There => '+',
                Now::Gone => '-',
            };
            format!("{sign}{}", change.below.display())
        };
        changes.into_iter().map(one).collect()
    }

    impl Place {
        fn write(&self, path: &str, text: &str) {
            let path = self.dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn look(&mut self) -> Vec<String> {
            told(self.tree.look(&mut self.heard).unwrap())
        }

        fn look_at(&mut self, directory: &str) -> Vec<String> {
            let directory = self.dir.path().join(directory);
            told(self.tree.look_at(&directory, &mut self.heard).unwrap())
        }
    }

    #[test]
    fn a_second_look_tells_what_differs() {
        let mut place = place("src");
        place.write("src/a", "1");
        place.write("src/d/b", "1");
        place.write("src/cache/c", "1");
        assert_eq!(place.look(), ["+a", "+d", "+d/b"]);
        assert_eq!(place.look(), [""; 0]);
        assert_eq!(place.heard.0[..2], ["+src", "+d"]);
        place.write("src/a", "22");
        place.write("src/cache/c", "22");
        place.write("src/d/e/f", "1");
        assert_eq!(place.look(), ["+a", "+d/e", "+d/e/f"]);
        std::fs::remove_dir_all(place.dir.path().join("src/d")).unwrap();
        assert_eq!(place.look(), ["-d/b", "-d/e/f", "-d/e", "-d"]);
        assert_eq!(place.tree.all().len(), 1);
    }

    #[test]
    fn one_directory_is_looked_at_by_itself() {
        let mut place = place("src");
        place.write("src/a", "1");
        place.write("src/d/b", "1");
        place.look();
        place.write("src/a", "22");
        place.write("src/d/b", "22");
        assert_eq!(place.look_at("src/d"), ["+d/b"]);
        assert_eq!(place.look_at("src"), ["+a"]);
        for strange in ["", "elsewhere", "src/cache", "src/nope"] {
            assert_eq!(place.look_at(strange), [""; 0], "{strange}");
        }
        // A directory that comes with things in it.
        place.write("new/x/y", "1");
        std::fs::rename(
            place.dir.path().join("new"),
            place.dir.path().join("src/new"),
        )
        .unwrap();
        assert_eq!(place.look_at("src"), ["+new", "+new/x", "+new/x/y"]);
    }

    #[test]
    fn directories_become_files_and_back() {
        let mut place = place("src");
        place.write("src/x/y", "1");
        place.look();
        std::fs::remove_dir_all(place.dir.path().join("src/x")).unwrap();
        place.write("src/x", "file");
        assert_eq!(place.look_at("src"), ["-x/y", "+x"]);
        std::fs::remove_file(place.dir.path().join("src/x")).unwrap();
        place.write("src/x/y", "1");
        assert_eq!(place.look_at("src"), ["+x", "+x/y"]);
        // Another directory of the same name.
        std::fs::rename(place.dir.path().join("src/x"), place.dir.path().join("old")).unwrap();
        place.write("src/x/z", "1");
        assert_eq!(place.look_at("src"), ["-x/y", "+x/z"]);
    }

    #[test]
    fn the_root_comes_and_goes() {
        let mut place = place("src");
        assert_eq!(place.look(), [""; 0]);
        assert!(!place.tree.is_there());
        place.write("src/a", "1");
        assert_eq!(place.look_at(""), ["+a"]);
        std::fs::remove_dir_all(place.dir.path().join("src")).unwrap();
        assert_eq!(place.look_at(""), ["-a"]);
        place.write("src", "now a file");
        assert_eq!(place.look_at(""), ["+"]);
        assert_eq!(place.look_at(""), [""; 0]);
        assert_eq!(place.tree.all().len(), 1);
        place.write("src", "and another");
        assert_eq!(place.look_at(""), ["+"]);
        std::fs::remove_file(place.dir.path().join("src")).unwrap();
        assert_eq!(place.look_at(""), ["-"]);
    }

    #[test]
    fn links_are_links() {
        let mut place = place("src");
        place.write("src/a", "1");
        place.write("outside/b", "1");
        let link = place.dir.path().join("src/link");
        std::os::unix::fs::symlink("../outside", &link).unwrap();
        std::os::unix::fs::symlink(".", place.dir.path().join("src/loop")).unwrap();
        assert_eq!(place.look(), ["+a", "+link", "+loop"]);
        place.write("outside/b", "22");
        assert_eq!(place.look(), [""; 0]);
    }
}
