//! Repositories: a commit becomes a directory of files, by the `git` of this machine.
//!
//! As docker compose does it: the user's own git, with the user's settings and keys, asks which commit
//! is meant, and fetches that alone unless it is here. No prompts, no hooks, no large files (LFS), no
//! submodules, and no protocol but the four that repositories are fetched by. What a commit holds is
//! looked at before it is checked out: small archives can have large contents.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use orc_base::{Context, Error, Kind, Result, units};
use orc_compose::files::COMPOSE_FILES;
use orc_compose::remote::{Address, Fetched, Repository};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::cli::compose::remote::cache::Cache;

/// How long one git may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How often the size of what is fetched is looked at.
const TICK: Duration = Duration::from_millis(200);
/// The most bytes that are fetched, and that a commit's files have.
const MAX_BYTES: u64 = 1 << 30;
/// The most files of a commit.
const MAX_FILES: usize = 100_000;
/// How much of what git says is read, and how much is shown.
const MAX_OUTPUT: u64 = 32 << 20;
const MAX_WORDS: usize = 500;
/// What would lead git to another repository, when this process was started by git itself.
const OTHER_REPOSITORIES: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
];

/// The copy of what `repository` names now. A commit that is named in full and is here needs no network.
pub(crate) async fn fetch(cache: &Cache, repository: &Repository) -> Result<Fetched> {
    let shown = Address::Repository(repository.clone()).shown();
    let fetch = async {
        let meant = resolve(repository).await?;
        let version = format!("git-{}", meant.object);
        let root = match cache.find(&version) {
            Some(root) => root,
            None => {
                let draft = cache.draft()?;
                check_out(draft.path(), &repository.url, &meant).await?;
                cache.keep(&draft, &version)?
            }
        };
        let file = compose_file(&root, repository.path.as_deref())?;
        Ok::<_, Error>(Fetched {
            root,
            file,
            version: meant.object,
        })
    };
    fetch.await.context(|| shown)
}

/// What a name of a repository stands for.
struct Meant {
    /// The name to fetch.
    name: String,
    /// The object that it leads to.
    object: String,
}

/// Asks the repository, unless a commit is named in full.
async fn resolve(repository: &Repository) -> Result<Meant> {
    let wanted = repository.reference.as_deref().unwrap_or("HEAD");
    if is_object(wanted) {
        return Ok(Meant {
            name: wanted.to_owned(),
            object: wanted.to_owned(),
        });
    }
    let words = ["ls-remote", "--exit-code", "--", &repository.url, wanted];
    let listed = git(Path::new("/"), &words, None).await;
    let listed = listed.map_err(|error| match error.kind() {
        Kind::NotFound => Error::not_found(format!(
            "the repository has no branch or tag `{wanted}`; a commit is named by all its digits"
        )),
        _ => error,
    })?;
    choose(&listed, wanted)
}

/// Of all names that end as wanted, the one that git itself would take (gitrevisions(7)).
fn choose(listed: &str, wanted: &str) -> Result<Meant> {
    let names = || {
        listed
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(object, _)| is_object(object))
    };
    let places = [
        wanted.to_owned(),
        format!("refs/{wanted}"),
        format!("refs/tags/{wanted}"),
        format!("refs/heads/{wanted}"),
    ];
    let found = places
        .iter()
        .find_map(|place| names().find(|(_, name)| name == place));
    match found {
        Some((object, name)) => Ok(Meant {
            name: name.to_owned(),
            object: object.to_owned(),
        }),
        None => Err(Error::not_found(format!(
            "the repository has no branch or tag `{wanted}`"
        ))),
    }
}

/// All digits of a SHA-1 or SHA-256.
fn is_object(text: &str) -> bool {
    let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    matches!(text.len(), 40 | 64) && digits
}

async fn check_out(tree: &Path, url: &str, meant: &Meant) -> Result<()> {
    git(tree, &["init", "--quiet", "--template="], None).await?;
    let fetch = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--no-recurse-submodules",
    ];
    let fetch = [&fetch[..], &["--", url, &meant.name]].concat();
    git(tree, &fetch, Some(tree)).await?;
    let verify = ["rev-parse", "--verify", "--quiet", "FETCH_HEAD"];
    let fetched = git(tree, &verify, None).await?;
    if fetched.trim() != meant.object {
        return Err(Error::unavailable(format!(
            "`{}` was {} and is {} now: it was changed meanwhile, try again",
            meant.name,
            meant.object,
            fetched.trim()
        )));
    }
    let listing = ["ls-tree", "-r", "-l", "--full-tree", "-z", "FETCH_HEAD"];
    measure(&git(tree, &listing, None).await?)?;
    let words = ["checkout", "--quiet", "--detach", "FETCH_HEAD"];
    git(tree, &words, None).await.map(drop)
}

/// Refuses a commit by what `git ls-tree -r -l -z` lists: `mode type object size<TAB>path`.
fn measure(listing: &str) -> Result<()> {
    let mut bytes = 0_u64;
    let mut files = 0;
    for entry in listing.split('\0').filter(|entry| !entry.is_empty()) {
        let size = entry
            .split('\t')
            .next()
            .and_then(|fact| fact.split(' ').next_back());
        // Submodules have none.
        bytes = bytes.saturating_add(size.and_then(|size| size.parse().ok()).unwrap_or(0));
        files += 1;
    }
    if bytes > MAX_BYTES || files > MAX_FILES {
        return Err(Error::exhausted(format!(
            "the repository has {files} files of {}, more than {MAX_FILES} files or {}",
            units::format_bytes_binary(bytes),
            units::format_bytes_binary(MAX_BYTES)
        )));
    }
    Ok(())
}

/// The file that is meant: `path` itself, or the Compose file in that directory.
fn compose_file(root: &Path, path: Option<&str>) -> Result<PathBuf> {
    let meant = root.join(path.unwrap_or_default());
    if !meant.is_dir() {
        return match meant.exists() {
            true => Ok(meant),
            false => Err(Error::not_found(format!(
                "the repository has no `{}`",
                path.unwrap_or_default()
            ))),
        };
    }
    let names = COMPOSE_FILES.iter().map(|name| meant.join(name));
    names
        .into_iter()
        .find(|file| file.is_file())
        .ok_or_else(|| {
            Error::not_found(format!(
                "there is no {} in `{}` of the repository",
                COMPOSE_FILES.join(", no "),
                path.unwrap_or("/")
            ))
        })
}

/// Runs git and gives what it prints. `growing` is a directory that may not become too large meanwhile.
async fn git(directory: &Path, words: &[&str], growing: Option<&Path>) -> Result<String> {
    let mut command = Command::new("git");
    command
        .args(["-c", "core.hooksPath=/dev/null"])
        .args(["-c", "core.fsmonitor=false"])
        .args(words)
        .current_dir(directory)
        .env("GIT_ALLOW_PROTOCOL", "https:http:ssh:git")
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for name in OTHER_REPOSITORIES {
        command.env_remove(name);
    }
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !set("GIT_TERMINAL_PROMPT") {
        command.env("GIT_TERMINAL_PROMPT", "0");
    }
    if !set("GIT_SSH") && !set("GIT_SSH_COMMAND") {
        command.env(
            "GIT_SSH_COMMAND",
            "ssh -o ControlMaster=no -o BatchMode=yes",
        );
    }
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::unsupported(
            "there is no program `git` here, which fetches repositories: install it",
        ),
        _ => Error::from(error).within("start git"),
    })?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (out, err) = tokio::join!(read(out, MAX_OUTPUT), read(err, MAX_OUTPUT));
        Ok::<_, Error>((out?, err?, child.wait().await?))
    };
    let (out, err, status) = tokio::select! {
        done = work => done?,
        error = too_large(growing) => return Err(error),
        () = tokio::time::sleep(PATIENCE) => {
            return Err(Error::timeout(format!("git took longer than {} s", PATIENCE.as_secs())));
        }
    };
    if status.success() {
        return Ok(out);
    }
    let words: String = err
        .trim()
        .replace('\n', "; ")
        .chars()
        .take(MAX_WORDS)
        .collect();
    let kind = match (status.code(), words.is_empty()) {
        // What `ls-remote --exit-code` says.
        (Some(2), true) => Kind::NotFound,
        _ => Kind::Unavailable,
    };
    Err(Error::new(kind, format!("git: {words}")))
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> Result<String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit + 1).read_to_end(&mut bytes).await?;
    }
    match bytes.len() as u64 > limit {
        true => Err(Error::exhausted(format!(
            "git says more than {limit} bytes"
        ))),
        false => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Ends when more than is allowed was fetched; never when nothing grows.
async fn too_large(growing: Option<&Path>) -> Error {
    let Some(tree) = growing else {
        return std::future::pending().await;
    };
    let packs = tree.join(".git/objects/pack");
    loop {
        tokio::time::sleep(TICK).await;
        let entries = std::fs::read_dir(&packs).into_iter().flatten().flatten();
        let sizes = entries.filter_map(|entry| Some(entry.metadata().ok()?.len()));
        if sizes.fold(0, u64::saturating_add) > MAX_BYTES {
            return Error::exhausted(format!(
                "the repository is larger than {}",
                units::format_bytes_binary(MAX_BYTES)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_git_would_take() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let listed = format!(
            "{a}\trefs/heads/feature/main\n{b}\trefs/heads/main\nwarning\n{c}\trefs/remotes/x/main\n"
        );
        let meant = choose(&listed, "main").unwrap();
        assert_eq!(
            (meant.name.as_str(), &meant.object),
            ("refs/heads/main", &b)
        );
        let tagged = format!("{listed}{c}\trefs/tags/main\n");
        assert_eq!(choose(&tagged, "main").unwrap().object, c);
        assert_eq!(choose(&listed, "heads/main").unwrap().object, b);
        assert_eq!(choose(&format!("{a}\tHEAD\n"), "HEAD").unwrap().object, a);
        assert!(choose(&listed, "feature").is_err());
        assert!(choose("zz\trefs/heads/x\n", "x").is_err());
    }

    #[test]
    fn large_commits_are_refused_before_they_are_there() {
        let entry =
            |size: &str| format!("100644 blob {} {size}\tpath with blanks\0", "a".repeat(40));
        assert!(measure(&(entry("    12") + &entry("     -"))).is_ok());
        assert!(measure(&entry(&(MAX_BYTES + 1).to_string())).is_err());
        assert!(measure(&entry("0").repeat(MAX_FILES + 1)).is_err());
    }

    #[test]
    fn directories_have_a_file() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sub/dir")).unwrap();
        std::fs::write(root.path().join("sub/compose.yml"), "").unwrap();
        let found = |path: &str| compose_file(root.path(), Some(path));
        let file = root.path().join("sub/compose.yml");
        assert_eq!(found("sub").unwrap(), file);
        assert_eq!(found("sub/compose.yml").unwrap(), file);
        for missing in ["sub/dir", "nope"] {
            assert_eq!(found(missing).unwrap_err().kind(), Kind::NotFound);
        }
    }
}
