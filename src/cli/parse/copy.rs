//! What `cp` means: whose files its two words name, and what is called how where it goes. Pure; the
//! rules are those of `docker cp`, which are those of `cp -a`.

use std::path::{Component, Path, PathBuf};

use orc_base::{Error, Result};

/// One of the two words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// A path on this machine.
    Local(String),
    /// A path in a container.
    Container { name: String, path: String },
    /// `-`: an archive from standard input or to standard output.
    Pipe,
}

/// Reads a word: `CONTAINER:PATH`, `PATH` or `-`. What begins with `/` or `.` is a path here.
pub(crate) fn end(word: &str) -> End {
    if word == "-" {
        return End::Pipe;
    }
    match word.split_once(':') {
        Some((name, path)) if !word.starts_with('/') && !name.starts_with('.') => End::Container {
            name: name.into(),
            path: path.into(),
        },
        _ => End::Local(word.into()),
    }
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The first component of the names in its archive.
    pub(crate) base: String,
    pub(crate) is_directory: bool,
}

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Absolute; a slash or `/.` at its end says that it is to be a directory.
    pub(crate) path: String,
    pub(crate) is: Is,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    Nothing,
    Directory,
    Other,
}

/// The directory to unpack in, and another first component for the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Landing {
    pub(crate) directory: String,
    pub(crate) called: Option<String>,
}

/// Decides where `source` is unpacked and under what name.
pub(crate) fn landing(source: &Source, target: &Target) -> Result<Landing> {
    let beside = || {
        let (directory, base) = split(&target.path);
        Landing {
            directory,
            called: Some(base),
        }
    };
    match (target.is, source.is_directory) {
        (Is::Directory, _) => Ok(Landing {
            directory: target.path.clone(),
            called: None,
        }),
        (Is::Other, true) => Err(Error::invalid("cannot copy directory")),
        (Is::Nothing, false) if wants_directory(&target.path) => {
            Err(Error::not_found("no such directory"))
        }
        (Is::Other | Is::Nothing, _) => Ok(beside()),
    }
}

/// Whether a path says that it names a directory.
pub(crate) fn wants_directory(path: &str) -> bool {
    path.ends_with('/') || is_current(path)
}

/// Whether a path ends in `.`: the contents of a directory are meant.
fn is_current(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

/// The directory that holds what `path` names, and its name there; `.` for the contents.
pub(crate) fn split(path: &str) -> (String, String) {
    let cleaned = clean(path);
    if is_current(path) {
        return (cleaned, ".".into());
    }
    let path = Path::new(&cleaned);
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = match parent.as_os_str().is_empty() {
                true => ".".into(),
                false => parent.to_string_lossy().into_owned(),
            };
            (parent, name.to_string_lossy().into_owned())
        }
        _ => (cleaned.clone(), cleaned),
    }
}

/// The path without `.`, `..` and doubled slashes, as text.
pub(crate) fn clean(path: &str) -> String {
    let mut cleaned = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if cleaned.file_name().is_some_and(|name| name != "..") => {
                cleaned.pop();
            }
            Component::ParentDir if cleaned.has_root() => {}
            other => cleaned.push(other),
        }
    }
    match cleaned.as_os_str().is_empty() {
        true => ".".into(),
        false => cleaned.to_string_lossy().into_owned(),
    }
}

/// A path seen from `directory`, with its end kept: `x/` stays a directory.
pub(crate) fn absolute(directory: &Path, path: &str) -> String {
    let cleaned = clean(&directory.join(path).to_string_lossy());
    with_end_of(&cleaned, path)
}

/// `resolved` with the ornament that `path` had at its end.
pub(crate) fn with_end_of(resolved: &str, path: &str) -> String {
    let trimmed = resolved.trim_end_matches('/');
    match path {
        _ if is_current(path) => format!("{trimmed}/."),
        _ if path.ends_with('/') => format!("{trimmed}/"),
        _ => resolved.into(),
    }
}

/// The last component of a path as it was given: what the names in an archive of it begin with.
pub(crate) fn base(path: &str) -> String {
    if is_current(path) {
        return ".".into();
    }
    match path.trim_end_matches('/').rsplit('/').next() {
        Some("") | None => "/".into(),
        Some(name) => name.into(),
    }
}

/// Where a link in the directory of `path` leads.
pub(crate) fn leads_to(path: &str, link: &str) -> String {
    match link.starts_with('/') {
        true => link.into(),
        false => clean(&format!("{}/{link}", split(path).0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_containers_or_paths() {
        let container = |name: &str, path: &str| End::Container {
            name: name.into(),
            path: path.into(),
        };
        for (word, expected) in [
            ("web:/etc", container("web", "/etc")),
            ("web:", container("web", "")),
            ("web:a:b", container("web", "a:b")),
            ("/a:b", End::Local("/a:b".into())),
            ("./a:b", End::Local("./a:b".into())),
            ("../a:b", End::Local("../a:b".into())),
            ("a/b", End::Local("a/b".into())),
            ("-", End::Pipe),
        ] {
            assert_eq!(end(word), expected, "{word}");
        }
    }

    #[test]
    fn paths_are_cut_like_docker_cuts_them() {
        for (path, directory, name) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a/b", "."),
            ("/a/./b/../c", "/a", "c"),
            ("/a", "/", "a"),
            ("/", "/", "/"),
            ("/../x", "/", "x"),
            ("a", ".", "a"),
        ] {
            assert_eq!(split(path), (directory.into(), name.into()), "{path}");
        }
        assert_eq!(absolute(Path::new("/w"), "x/"), "/w/x/");
        assert_eq!(absolute(Path::new("/w"), "."), "/w/.");
        assert_eq!(absolute(Path::new("/w"), "../x/./"), "/x/");
        assert_eq!(absolute(Path::new("/w"), "/"), "/");
        for (path, name) in [("/a/b/", "b"), ("/a/.", "."), ("/", "/"), ("b", "b")] {
            assert_eq!(base(path), name);
        }
        assert_eq!(leads_to("/a/link", "b/../c"), "/a/c");
        assert_eq!(leads_to("/a/link", "/x"), "/x");
    }

    fn landed(base: &str, is_directory: bool, path: &str, is: Is) -> String {
        let source = Source {
            base: base.into(),
            is_directory,
        };
        let target = Target {
            path: path.into(),
            is,
        };
        match landing(&source, &target) {
            Ok(Landing { directory, called }) => match called {
                Some(name) => format!("{name} in {directory}"),
                None => format!("in {directory}"),
            },
            Err(error) => error.to_string(),
        }
    }

    /// The table of `docker cp --help`'s manual page.
    #[test]
    fn files_and_directories_land_where_docker_puts_them() {
        assert_eq!(landed("f", false, "/x/new", Is::Nothing), "new in /x");
        assert_eq!(
            landed("f", false, "/x/new/", Is::Nothing),
            "no such directory"
        );
        assert_eq!(landed("f", false, "/x/file", Is::Other), "file in /x");
        assert_eq!(landed("f", false, "/x/dir", Is::Directory), "in /x/dir");
        assert_eq!(landed("d", true, "/x/new", Is::Nothing), "new in /x");
        assert_eq!(landed("d", true, "/x/new/", Is::Nothing), "new in /x");
        assert_eq!(
            landed("d", true, "/x/file", Is::Other),
            "cannot copy directory"
        );
        assert_eq!(landed("d", true, "/x/dir", Is::Directory), "in /x/dir");
        assert_eq!(landed(".", true, "/x/new", Is::Nothing), "new in /x");
        assert_eq!(landed(".", true, "/x/dir/", Is::Directory), "in /x/dir/");
    }
}
