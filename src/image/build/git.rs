//! Sources in git repositories, fetched by the `git` of this machine.
//!
//! Only a `git` at a trusted place is run, with an environment of ours: no configuration of users, no
//! hooks, no prompts, no protocol but the four that repositories are fetched by, and no word that could
//! be an option. Submodules are not fetched. What was checked out is foreign: it is read like any other
//! context, and a subdirectory is looked up inside of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use orc_base::root::Root;
use orc_base::{Error, Kind, Result, fs};

/// Where a `git` may be.
const PROGRAMS: [&str; 3] = ["/usr/bin/git", "/usr/local/bin/git", "/bin/git"];
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How much of what git says is shown.
const MAX_WORDS: usize = 500;

/// A repository and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Repository {
    url: String,
    reference: Option<String>,
    directory: Option<String>,
}

/// Whether a context that someone names is a repository: what ends in `.git`, and what only git knows.
pub(crate) fn is_repository(text: &str) -> bool {
    let plain = text.split('#').next().unwrap_or_default();
    match scheme(plain) {
        Some("git" | "ssh") => true,
        Some("http" | "https") => plain.trim_end_matches('/').ends_with(".git"),
        Some(_) => false,
        None => is_short(plain),
    }
}

/// The same without a password, and short enough for a message.
pub(crate) fn shown(url: &str) -> String {
    crate::build::fetch::shown(url)
}

/// Checks out what `url` (`https://…/x.git#ref:directory`) names below `directory`, which is ours and
/// empty, and says where it is.
pub(crate) async fn check_out(
    url: &str,
    commit: Option<&str>,
    keep_git_dir: bool,
    directory: &Path,
) -> Result<PathBuf> {
    let repository = Repository::parse(url)?;
    let git = Git::new(directory)?;
    git.run(&["init", "--quiet"]).await?;
    let wanted = repository.reference.as_deref().unwrap_or("HEAD");
    let head = git.fetch(&repository.url, wanted).await?;
    if let Some(commit) = commit
        && !(commit.len() >= 7 && head.starts_with(commit))
    {
        return Err(Error::invalid(format!(
            "expected checksum to match {commit}, got {head}"
        )));
    }
    git.run(&["checkout", "--quiet", "--detach", &head]).await?;
    let root = Root::open(&git.tree)?;
    if !keep_git_dir {
        root.remove_all(".git")?;
    }
    let Some(inside) = &repository.directory else {
        return Ok(git.tree);
    };
    let found = root.canonical(inside).map_err(|error| match error.kind() {
        Kind::NotFound => Error::not_found(format!("the repository has no directory `{inside}`")),
        _ => error,
    })?;
    let tree = git.tree.join(crate::build::view::relative(&found));
    match tree.is_dir() {
        true => Ok(tree),
        false => Err(Error::invalid(format!("`{inside}` is not a directory"))),
    }
}

impl Repository {
    fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::invalid(format!("`{}` {why}", shown(text)));
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        match scheme(url) {
            Some("git" | "ssh" | "http" | "https") => {
                let parsed = reqwest::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
                let host = parsed.host_str().unwrap_or_default();
                if host.is_empty() || host.starts_with('-') || parsed.username().starts_with('-') {
                    return Err(wrong("has no host"));
                }
            }
            Some(_) => return Err(wrong("is fetched by none of https, http, ssh and git")),
            None if is_short(url) => {}
            None => return Err(wrong("is no repository")),
        }
        let strange = |c: char| c.is_control() || c.is_whitespace();
        if url.contains(strange) {
            return Err(wrong("has characters that no address has"));
        }
        let (reference, directory) = match fragment.split_once(':') {
            Some((reference, directory)) => (reference, Some(directory)),
            None => (fragment, None),
        };
        if !is_reference(reference) {
            return Err(wrong("names no branch, tag or commit"));
        }
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self {
            url: url.to_owned(),
            reference: some(reference),
            directory: directory.and_then(some),
        })
    }
}

fn scheme(text: &str) -> Option<&str> {
    text.split_once("://").map(|(scheme, _)| scheme)
}

/// `user@host:path`.
fn is_short(text: &str) -> bool {
    let Some((who, path)) = text.split_once(':') else {
        return false;
    };
    let Some((user, host)) = who.split_once('@') else {
        return false;
    };
    let plain = |text: &str| {
        let mut chars = text.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
            && chars.all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    plain(user) && plain(host) && !path.is_empty() && !path.starts_with(['-', ':'])
}

/// What git would not take for an option, nor for an expression (git-check-ref-format(1)).
fn is_reference(text: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "._/-+@".contains(c);
    !text.starts_with(['-', '/']) && !text.contains("..") && text.chars().all(allowed)
}

struct Git {
    program: &'static Path,
    /// Where the files go.
    tree: PathBuf,
    /// An empty home.
    home: PathBuf,
}

impl Git {
    fn new(directory: &Path) -> Result<Self> {
        let mut programs = PROGRAMS.iter().map(Path::new);
        let program = programs.find(|path| path.is_file()).ok_or_else(|| {
            Error::unsupported(format!(
                "there is no git at {}: install it, or use an archive",
                PROGRAMS.join(", ")
            ))
        })?;
        let (tree, home) = (directory.join("tree"), directory.join("home"));
        fs::create_dir_all(&tree, 0o755)?;
        fs::create_dir_all(&home, 0o700)?;
        Ok(Self {
            program,
            tree,
            home,
        })
    }

    /// Fetches only what is asked for, and all when the server does not give a commit alone. Returns
    /// the commit.
    async fn fetch(&self, url: &str, reference: &str) -> Result<String> {
        let quiet = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
        let alone = [&quiet[..], &["--depth=1", "--", url, reference]].concat();
        let Err(error) = self.run(&alone).await else {
            return self.commit("FETCH_HEAD").await;
        };
        let is_commit = reference.len() >= 7 && reference.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_commit {
            return Err(error);
        }
        let all = "+refs/*:refs/remotes/all/*";
        self.run(&[&quiet[..], &["--", url, all]].concat()).await?;
        self.commit(reference).await
    }

    async fn commit(&self, name: &str) -> Result<String> {
        let name = format!("{name}^{{commit}}");
        let commit = self
            .run(&["rev-parse", "--verify", "--quiet", &name])
            .await?;
        Ok(commit.trim().to_owned())
    }

    async fn run(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(self.program);
        command
            .args(["-c", "core.hooksPath=/dev/null"])
            .args(["-c", "core.fsmonitor=false"])
            .args(["-c", "protocol.allow=never"])
            .args(words)
            .current_dir(&self.tree)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "https:http:ssh:git")
            .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for proxy in ["http_proxy", "https_proxy", "no_proxy", "SSH_AUTH_SOCK"] {
            if let Some(value) = std::env::var_os(proxy) {
                command.env(proxy, value);
            }
        }
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.map_err(|_| {
            Error::timeout(format!("git took longer than {} s", PATIENCE.as_secs()))
        })??;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.trim().replace('\n', "; ");
        let words: String = words.chars().take(MAX_WORDS).collect();
        Err(Error::unavailable(format!("git: {words}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_repositories_from_other_addresses() {
        for text in [
            "https://example.com/a/b.git",
            "https://example.com/a/b.git#main:sub",
            "git://example.com/x",
            "ssh://git@example.com/x",
            "git@example.com:a/b.git",
        ] {
            assert!(is_repository(text), "{text}");
            Repository::parse(text).unwrap();
        }
        for text in ["https://example.com/a.tar.gz", "file:///x.git", ".", "a:b"] {
            assert!(!is_repository(text), "{text}");
        }
    }

    #[test]
    fn nothing_becomes_an_option_or_a_program() {
        for text in [
            "ext::sh -c touch% /tmp/x.git",
            "--upload-pack=touch /tmp/x",
            "-oProxyCommand=x@host:path",
            "ssh://-oProxyCommand=x/path",
            "git@-oProxyCommand=x:path",
            "git@host:-x",
            "git@host::ext",
            "https://example.com/x.git#--upload-pack=x",
            "https://example.com/x.git#a..b",
            "https://example.com/x.git#a b",
            "https://example.com/x.git#$(x)",
            "https://example.com/ x.git",
            "file:///etc/x.git",
        ] {
            assert!(Repository::parse(text).is_err(), "{text}");
        }
        let parsed = Repository::parse("https://h/x.git#v1:../../etc").unwrap();
        assert_eq!(parsed.directory.as_deref(), Some("../../etc"));
    }
}
