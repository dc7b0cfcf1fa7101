//! Programs that keep accounts: Docker's credential helpers (`docker-credential-…`), asked for one,
//! given one, or told to forget one.
//!
//! Only a program that nobody but root can change is run, and only from a directory of the system or by
//! the absolute path that the operator wrote down; one that is merely somewhere in `$PATH` is named in
//! the error instead (CVE-2025-15558). What it says is bounded in bytes and time.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use orc_base::{Context, Error, Result};

use crate::credentials::Credentials;

const MAX_HELPER_BYTES: u64 = 64 << 10;
/// The name of whoever has a token instead of a password.
const TOKEN: &str = "<token>";
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// Where a credential helper may be run from.
const HELPER_DIRECTORIES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/libexec/docker"];

/// Which program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// `docker-credential-<name>` in one of these directories.
    Named(String, Vec<PathBuf>),
    /// At this absolute path.
    At(PathBuf),
}

impl Program {
    /// As Docker's `config.json` names it.
    pub(crate) fn named(name: &str) -> Self {
        let directories = HELPER_DIRECTORIES.map(PathBuf::from);
        Self::Named(name.to_owned(), directories.into())
    }
}

/// The account that the helper has for `server`; none when it does not know it.
pub(crate) async fn get(program: &Program, server: &str) -> Result<Option<Credentials>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Reply {
        username: String,
        secret: String,
    }

    let Some(output) = run(program, "get", server.as_bytes()).await? else {
        return Ok(None);
    };
    let reply: Reply = serde_json::from_slice(&output)
        .map_err(|_| Error::invalid("the answer is not the JSON of a credential helper"))?;
    Ok(Some(match reply.username.as_str() {
        TOKEN => Credentials {
            identity_token: reply.secret,
            ..Credentials::default()
        },
        _ => Credentials::basic(reply.username, reply.secret),
    }))
}

/// Gives the helper an account to keep.
pub(crate) async fn store(
    program: &Program,
    server: &str,
    credentials: &Credentials,
) -> Result<()> {
    let (username, secret) = match credentials.identity_token.as_str() {
        "" => (credentials.username.as_str(), &credentials.password),
        _ => (TOKEN, &credentials.identity_token),
    };
    let question = json!({"ServerURL": server, "Username": username, "Secret": secret});
    run(program, "store", question.to_string().as_bytes())
        .await
        .map(drop)
}

/// Lets the helper forget an account; fine when it does not know it.
pub(crate) async fn erase(program: &Program, server: &str) -> Result<()> {
    run(program, "erase", server.as_bytes()).await.map(drop)
}

/// What the helper answers; none when it says that there is no such account.
async fn run(program: &Program, verb: &str, question: &[u8]) -> Result<Option<Vec<u8>>> {
    let path = match program {
        Program::Named(name, directories) => find(name, directories)?,
        Program::At(path) => path.clone(),
    };
    check_trust(&path)?;
    let work = converse(&path, verb, question);
    let answer = tokio::time::timeout(HELPER_TIMEOUT, work).await;
    let answer = answer.unwrap_or_else(|_| {
        Err(Error::timeout(format!(
            "did not answer within {} s",
            HELPER_TIMEOUT.as_secs()
        )))
    });
    answer.context(|| format!("ask {}", path.display()))
}

fn find(name: &str, directories: &[PathBuf]) -> Result<PathBuf> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.bytes().all(plain) || name.len() > 64 {
        return Err(Error::invalid(
            "the credential helper's name has other characters than letters, digits, `-`, `_` and `.`",
        ));
    }
    let file = format!("docker-credential-{name}");
    let mut paths = directories.iter().map(|directory| directory.join(&file));
    paths.find(|path| path.exists()).ok_or_else(|| {
        let places: Vec<_> = directories.iter().map(|one| one.display().to_string()).collect();
        Error::unsupported(format!(
            "the credential helper `{file}` is not in {}, and orc runs it from nowhere else: install it there, or log in without a helper",
            places.join(", ")
        ))
    })
}

/// Refuses a program that someone else than root can change, or put another in the place of.
fn check_trust(path: &Path) -> Result<()> {
    if !path.is_absolute() {
        return Err(Error::denied(format!(
            "{} is not run: a credential helper is named by an absolute path",
            path.display()
        )));
    }
    let real = path
        .canonicalize()
        .context(|| format!("look for the credential helper {}", path.display()))?;
    let look = |path: &Path| -> Result<(u32, u32)> {
        let metadata = std::fs::metadata(path).context(|| format!("look at {}", path.display()))?;
        Ok((metadata.uid(), metadata.mode()))
    };
    let (owner, mode) = look(&real)?;
    if owner != 0 || mode & 0o022 != 0 {
        return Err(Error::denied(format!(
            "{} is not run: someone else than root can change it",
            path.display()
        )));
    }
    for directory in real.ancestors().skip(1) {
        let (owner, mode) = look(directory)?;
        // Debian's /usr/local belongs to a group of administrators. What lies in a directory with the
        // sticky bit, such as /tmp, only its owner can replace.
        if owner != 0 || (mode & 0o002 != 0 && mode & 0o1000 == 0) {
            return Err(Error::denied(format!(
                "{} is not run: someone else than root can change the directory {}",
                path.display(),
                directory.display()
            )));
        }
    }
    Ok(())
}

async fn converse(program: &Path, verb: &str, question: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut child = tokio::process::Command::new(program)
        .arg(verb)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its question answers with an error below.
        let _ = stdin.write_all(question).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut limited = stdout.take(MAX_HELPER_BYTES + 1);
        limited.read_to_end(&mut output).await?;
    }
    if output.len() as u64 > MAX_HELPER_BYTES {
        return Err(Error::exhausted(format!(
            "it answers with more than {MAX_HELPER_BYTES} bytes"
        )));
    }
    let status = child.wait().await?;
    match status.success() {
        true => Ok(Some(output)),
        false if String::from_utf8_lossy(&output).contains("credentials not found") => Ok(None),
        false => Err(Error::denied(format!("it failed with {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use orc_base::Kind;

    use super::*;

    /// A helper that is this shell script.
    fn helper(script: &str, mode: u32) -> (tempfile::TempDir, Program) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker-credential-fake");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (dir, Program::At(path))
    }

    #[tokio::test]
    async fn keeps_gives_and_forgets() {
        let script = "d=${0%/*}; case $1 in
            store) cat > $d/kept;;
            get) read s; [ -e $d/kept ] || { echo credentials not found in native keychain; exit 1; }; cat $d/kept;;
            erase) rm $d/kept;; esac";
        let (_dir, program) = helper(script, 0o755);
        assert_eq!(get(&program, "x.example").await.unwrap(), None);
        let ann = Credentials::basic("ann", "s3cr3t");
        store(&program, "x.example", &ann).await.unwrap();
        assert_eq!(get(&program, "x.example").await.unwrap(), Some(ann));
        let token = Credentials {
            identity_token: "refresh".into(),
            ..Credentials::default()
        };
        store(&program, "x.example", &token).await.unwrap();
        assert_eq!(get(&program, "x.example").await.unwrap(), Some(token));
        erase(&program, "x.example").await.unwrap();
        assert_eq!(get(&program, "x.example").await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_others_can_change_is_not_run() {
        let (dir, program) = helper("touch ${0%/*}/ran", 0o777);
        assert_eq!(get(&program, "x").await.unwrap_err().kind(), Kind::Denied);
        let Program::At(path) = &program else {
            unreachable!()
        };
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(get(&program, "x").await.unwrap_err().kind(), Kind::Denied);
        rustix::fs::chown(dir.path(), Some(rustix::fs::Uid::from_raw(1000)), None).unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(get(&program, "x").await.unwrap_err().kind(), Kind::Denied);
        rustix::fs::chown(dir.path(), Some(rustix::fs::Uid::ROOT), None).unwrap();
        let relative = Program::At("docker-credential-fake".into());
        assert_eq!(get(&relative, "x").await.unwrap_err().kind(), Kind::Denied);
        assert!(!dir.path().join("ran").exists());
    }

    #[tokio::test]
    async fn nonsense_is_refused_and_not_quoted() {
        for (script, kind) in [
            ("echo s3cr3t", Kind::Invalid),
            ("echo '{\"Username\": 1}'", Kind::Invalid),
            ("echo s3cr3t; exit 3", Kind::Denied),
            ("cat /dev/zero", Kind::Exhausted),
        ] {
            let (_dir, program) = helper(script, 0o755);
            let error = get(&program, "x").await.unwrap_err();
            assert_eq!(error.kind(), kind, "{script}: {error}");
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
        }
    }
}
