//! Which files a source of `COPY` means.
//!
//! ```text
//! src/app            the file, or what is in the directory; links to it are followed
//! src/*.c            each match, as if it were written; none is fine
//! src/./lib/**/*.h   (--parents) what matches, with the directories behind `/./`
//! ```
//!
//! `--exclude` takes away what it matches: below a directory seen from there, of files their names.

use std::path::{Path, PathBuf};

use orc_base::{Error, Kind, Result};

use crate::build::copy::Picked;
use crate::build::place::base;
use crate::build::stop::Stop;
use crate::build::view::{Found, Keep, View, left_by, relative};
use crate::dockerfile::glob::Glob;
use crate::dockerfile::ignore::Ignore;

/// How sources are looked for.
#[derive(Debug)]
pub(crate) struct Select<'a> {
    /// Where.
    pub(crate) view: &'a View,
    /// `--parents`.
    pub(crate) parents: bool,
    /// `--exclude`.
    pub(crate) exclude: Option<&'a Ignore>,
    /// Ends the search.
    pub(crate) stop: &'a Stop,
}

impl Select<'_> {
    /// The sources that `path` stands for.
    pub(crate) fn select(&self, path: &str) -> Result<Vec<Picked>> {
        if self.parents {
            return Ok(vec![self.with_parents(path)?]);
        }
        let (plain, pattern) = split(path);
        if pattern.is_empty() {
            return Ok(self.whole(path)?.into_iter().collect());
        }
        self.matches(&plain, &Glob::parse(&pattern)?)
    }

    /// The source at `path`, in which nothing is a pattern; none when `--exclude` takes it away.
    pub(crate) fn whole(&self, path: &str) -> Result<Option<Picked>> {
        let path = Path::new(path);
        let found = self.view.find(path)?;
        if self.hides(path, &found) {
            return Ok(None);
        }
        let picked = self.picked(base(path).to_owned(), found, &|_, _| Keep::Yes);
        Ok(Some(picked?))
    }

    fn matches(&self, plain: &str, glob: &Glob) -> Result<Vec<Picked>> {
        let found = match self.view.find(Path::new(plain)) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        if !found.entry.is_directory() {
            return Ok(Vec::new());
        }
        let matches = |path: &Path| glob.matches(&path.to_string_lossy());
        let keep = |path: &Path, is_directory: bool| match matches(path) {
            true => Keep::Yes,
            false if is_directory && glob.may_match_below(&path.to_string_lossy()) => Keep::Below,
            false => Keep::No,
        };
        let mut picked = Vec::new();
        for entry in self.view.walk(&found.at, &keep, self.stop)? {
            if !matches(&entry.path) {
                continue;
            }
            let path = found.at.join(&entry.path);
            let found = match self.view.find(&path) {
                // A link to nowhere that a pattern happens to match.
                Err(error) if error.kind() == Kind::NotFound && !entry.is_directory() => {
                    return Err(error);
                }
                other => other?,
            };
            if !self.hides(&path, &found) {
                picked.push(self.picked(base(&path).to_owned(), found, &|_, _| Keep::Yes)?);
            }
        }
        Ok(picked)
    }

    fn with_parents(&self, path: &str) -> Result<Picked> {
        let (pivot, pattern) = match path.split_once("/./") {
            Some((pivot, pattern)) => (pivot, pattern),
            None => ("/", path),
        };
        let pattern = pattern.trim_matches('/');
        let found = self.view.find(Path::new(pivot))?;
        if !found.entry.is_directory() {
            return Err(Error::invalid(format!("{pivot} is not a directory")));
        }
        let everything = pattern.is_empty() || pattern == ".";
        let glob = Glob::parse_deep(pattern)?;
        let keep = |path: &Path, is_directory: bool| {
            let path = path.to_string_lossy();
            if everything || glob.matches_or_parent(&path) {
                return Keep::Yes;
            }
            match is_directory && glob.may_match_below(&path) {
                true => Keep::Below,
                false => Keep::No,
            }
        };
        let picked = self.picked(base(Path::new(pivot)).to_owned(), found, &keep)?;
        if picked.below.is_empty() && !everything && split(pattern).1.is_empty() {
            return Err(Error::not_found(format!("/{pattern}: not found")));
        }
        Ok(picked)
    }

    fn picked(
        &self,
        name: std::ffi::OsString,
        found: Found,
        keep: &dyn Fn(&Path, bool) -> Keep,
    ) -> Result<Picked> {
        let below = match found.entry.is_directory() {
            false => Vec::new(),
            true => {
                let keep = |path: &Path, is_directory: bool| {
                    keep(path, is_directory).min(self.excluded(path, is_directory))
                };
                self.view.walk(&found.at, &keep, self.stop)?
            }
        };
        Ok(Picked {
            name,
            at: found.at,
            top: found.entry,
            below,
        })
    }

    fn excluded(&self, path: &Path, is_directory: bool) -> Keep {
        match self.exclude {
            Some(exclude) => left_by(exclude, path, is_directory),
            None => Keep::Yes,
        }
    }

    /// Whether `--exclude` takes away a whole source: by its name, or by its path.
    fn hides(&self, path: &Path, found: &Found) -> bool {
        let is_directory = found.entry.is_directory();
        let name = PathBuf::from(base(path));
        let excluded = |path: &Path| self.excluded(path, is_directory) == Keep::No;
        !is_directory && (excluded(&name) || excluded(relative(path)))
    }
}

/// The components before the first pattern, and the rest.
fn split(path: &str) -> (String, String) {
    let is_pattern = |component: &str| {
        let mut chars = component.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => {
                    chars.next();
                }
                '*' | '?' | '[' => return true,
                _ => {}
            }
        }
        false
    };
    let components: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let at = components.iter().position(|part| is_pattern(part));
    let (plain, pattern) = components.split_at(at.unwrap_or(components.len()));
    (format!("/{}", plain.join("/")), pattern.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_begin_where_the_first_sign_stands() {
        for (path, plain, pattern) in [
            ("/a/b", "/a/b", ""),
            ("/a/*.c", "/a", "*.c"),
            ("/*/b/c", "/", "*/b/c"),
            ("/a/[bc]/d?", "/a", "[bc]/d?"),
            (r"/a/\*b", r"/a/\*b", ""),
        ] {
            assert_eq!(split(path), (plain.into(), pattern.into()), "{path}");
        }
    }
}
