//! Files that are elsewhere: how they are named, and the seam through which they come here.
//!
//! `oci://registry/name:tag` is a project that `publish` sent to a registry; a repository is named as
//! `docker compose` and `docker build` name it, `https://host/x.git#ref:path`. Whoever fetches
//! ([`Remotes`]) gives a directory of its own for each version; what its files may name is decided by
//! `foreign.rs`. Pure: nothing is fetched here.

use std::fmt;
use std::path::{Path, PathBuf};

use orc_base::{Error, Result};

/// Longer addresses are refused.
const MAX_ADDRESS_BYTES: usize = 2_048;
const ARTIFACT: &str = "oci://";
/// Named without a scheme, as docker compose takes it.
const GITHUB: &str = "github.com/";

/// Where something is that is not on this disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// A published project: the name that a registry has for it, `localhost:5000/x/y:1`.
    Artifact(String),
    /// A file or directory in a git repository.
    Repository(Repository),
}

/// A git repository and what of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    /// What git is given: `https://…`, `http://…`, `ssh://…`, `git://…` or `user@host:path`.
    pub url: String,
    /// A branch, a tag, a full name such as `refs/pull/1/head`, or a commit; the default branch when
    /// absent.
    pub reference: Option<String>,
    /// A file or directory in it, relative and without `..`; the whole when absent.
    pub path: Option<String>,
}

/// What was fetched: a copy of one version of what an [`Address`] names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The directory that has only what was fetched, without links in its own path.
    pub root: PathBuf,
    /// The Compose file in it.
    pub file: PathBuf,
    /// Which version it is: `sha256:…` or a commit.
    pub version: String,
}

/// Whoever fetches what is elsewhere.
pub trait Remotes: fmt::Debug + Send + Sync {
    /// Makes a copy, or finds the one of that version that is here already.
    fn fetch(&self, address: &Address) -> Result<Fetched>;
}

/// Where a file came from that is not this machine's own, and what it may name.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The address as people are shown it.
    pub(crate) shown: String,
    /// The directories whose files it may name.
    pub(crate) roots: Vec<PathBuf>,
}

impl Origin {
    /// Whether it may name this path, which has no links.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path.starts_with(root))
    }
}

impl Address {
    /// What `text` names; nothing when that is a path on this disk.
    ///
    /// # Errors
    ///
    /// When it is an address that nothing can be fetched from.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let wrong = |why: &str| Err(Error::invalid(format!("`{}` {why}", shown(text))));
        let is_address = text.contains("://") || is_short(text) || text.starts_with(GITHUB);
        if !is_address {
            return Ok(None);
        }
        if text.len() > MAX_ADDRESS_BYTES {
            return wrong("is too long for an address");
        }
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return wrong("has characters that no address has");
        }
        if let Some(name) = text.strip_prefix(ARTIFACT) {
            return match name.is_empty() || name.starts_with('-') {
                true => wrong("names no artefact: use oci://REGISTRY/NAME:TAG"),
                false => Ok(Some(Self::Artifact(name.to_owned()))),
            };
        }
        Repository::parse(text).map(|found| Some(Self::Repository(found)))
    }

    /// The address as people are shown it: no password.
    pub fn shown(&self) -> String {
        match self {
            Self::Artifact(name) => format!("{ARTIFACT}{name}"),
            Self::Repository(repository) => {
                let Repository {
                    reference, path, ..
                } = repository;
                let fragment = match (reference, path) {
                    (None, None) => String::new(),
                    (reference, None) => format!("#{}", reference.as_deref().unwrap_or_default()),
                    (reference, Some(path)) => {
                        format!("#{}:{path}", reference.as_deref().unwrap_or_default())
                    }
                };
                shown(&repository.url) + &fragment
            }
        }
    }

    /// A file of a copy as people are shown it.
    pub(crate) fn shown_file(&self, inside: &Path) -> String {
        let whole = match self {
            Self::Artifact(_) => self.shown(),
            Self::Repository(repository) => shown(&repository.url),
        };
        format!("{whole}/{}", inside.display())
    }
}

impl Repository {
    fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::invalid(format!("`{}` {why}", shown(text)));
        let (plain, fragment) = text.split_once('#').unwrap_or((text, ""));
        let url = match plain.starts_with(GITHUB) {
            true => format!("https://{plain}"),
            false => plain.to_owned(),
        };
        if let Some((scheme, rest)) = url.split_once("://") {
            match scheme {
                "git" | "ssh" => {}
                "http" | "https" if plain.starts_with(GITHUB) || rest.ends_with(".git") => {}
                "http" | "https" => {
                    return Err(wrong(
                        "is no repository, whose address would end in `.git`: fetch the file, and name that",
                    ));
                }
                _ => {
                    return Err(wrong(
                        "is none of the addresses that files are fetched from: oci://, https://, http://, ssh:// and git://",
                    ));
                }
            }
            let authority = rest.split('/').next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            // ssh(1) would take them for options.
            if host.is_empty() || host.starts_with('-') || authority.starts_with('-') {
                return Err(wrong("has no host"));
            }
        }
        let (reference, path) = match fragment.split_once(':') {
            Some((reference, path)) => (reference, path.trim_end_matches('/')),
            None => (fragment, ""),
        };
        if !is_reference(reference) {
            return Err(wrong("names no branch, tag or commit after `#`"));
        }
        let is_inside = !path.starts_with('/') && path.split('/').all(|part| part != "..");
        if !is_inside {
            return Err(wrong(
                "names a path that is not in the repository: use one without `..` after `#ref:`",
            ));
        }
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self {
            url,
            reference: some(reference),
            path: some(path),
        })
    }
}

/// The same without a password, and short enough for a message.
fn shown(text: &str) -> String {
    let clean = |text: &str| -> String {
        let short: String = text.chars().take(200).collect();
        short.chars().flat_map(printable).collect()
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return clean(text);
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let hidden = match authority.rsplit_once('@') {
        Some((who, host)) => match who.split_once(':') {
            Some((user, _)) => format!("{user}@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    clean(&format!("{scheme}://{hidden}{path}"))
}

fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = (!c.is_control()).then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

/// `user@host:path`.
fn is_short(text: &str) -> bool {
    let plain = |text: &str| {
        let mut chars = text.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
            && chars.all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let Some((who, path)) = text.split_once(':') else {
        return false;
    };
    let Some((user, host)) = who.split_once('@') else {
        return false;
    };
    plain(user) && plain(host) && !path.is_empty() && !path.starts_with(['-', ':'])
}

/// What git would not take for an option, nor for an expression (git-check-ref-format(1)).
fn is_reference(text: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "._/-+@".contains(c);
    !text.starts_with(['-', '/']) && !text.contains("..") && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        match Address::parse(text) {
            Ok(Some(Address::Repository(found))) => found,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn paths_are_no_addresses() {
        for text in [
            "compose.yaml",
            "./a:b",
            "../x",
            "/a/b",
            "-",
            "C:\\x",
            "a@b",
            "dir/github.com/x",
        ] {
            assert_eq!(Address::parse(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn artefacts_and_repositories() {
        let artefact = Address::parse("oci://localhost:5000/a/b:1").unwrap();
        assert_eq!(
            artefact,
            Some(Address::Artifact("localhost:5000/a/b:1".into()))
        );
        let whole = repository("https://example.com/a/b.git");
        assert_eq!((whole.reference, whole.path), (None, None));
        let part = repository("https://example.com/a/b.git#v1:deploy/compose.yaml");
        assert_eq!(part.url, "https://example.com/a/b.git");
        assert_eq!(part.reference.as_deref(), Some("v1"));
        assert_eq!(part.path.as_deref(), Some("deploy/compose.yaml"));
        assert_eq!(
            repository("git://h/x#:sub/").path.as_deref(),
            Some("sub"),
            "the default branch"
        );
        for text in ["git@example.com:a/b.git", "ssh://git@example.com/x"] {
            assert_eq!(repository(text).url, text);
        }
        let github = repository("github.com/docker/awesome-compose#:nginx");
        assert_eq!(github.url, "https://github.com/docker/awesome-compose");
    }

    #[test]
    fn nothing_becomes_an_option_a_program_or_another_directory() {
        for text in [
            "oci://",
            "oci://-x/y",
            "oci://a b",
            "ext::sh://x.git",
            "file:///etc/x.git",
            "https://example.com/compose.yaml",
            "https:///x.git",
            "ssh://-oProxyCommand=x/path",
            "ssh://-o@host/path",
            "https://example.com/x.git#--upload-pack=x",
            "https://example.com/x.git#a..b",
            "https://example.com/x.git#$(x)",
            "https://example.com/x.git#main:../x",
            "https://example.com/x.git#main:a/../../x",
            "https://example.com/x.git#main:/etc",
            "https://example.com/ x.git",
            &format!("https://example.com/{}.git", "x".repeat(3_000)),
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let address = Address::parse("https://me:secret@example.com/x.git#main:sub")
            .unwrap()
            .unwrap();
        assert_eq!(address.shown(), "https://me@example.com/x.git#main:sub");
        assert_eq!(
            address.shown_file(Path::new("sub/compose.yaml")),
            "https://me@example.com/x.git/sub/compose.yaml"
        );
        let error = Address::parse("https://me:secret@example.com/x").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
