//! Who asks a registry, and where that is written down: Docker's `config.json`.
//!
//! Secrets are never printed: `Debug` shows the account at most. A credential helper that the file names
//! is only run from a directory of the system and when nobody but root can change it; a helper that is
//! merely somewhere in `$PATH` is named in the error instead. Which host may see a secret is decided in
//! `registry/token.rs` and `registry/hops.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use orc_base::{Context, Error, Kind, Result, fs};

use crate::reference::DEFAULT_REGISTRY;

const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_HELPER_BYTES: u64 = 64 << 10;
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// Where a credential helper may be run from.
const HELPER_DIRECTORIES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/libexec/docker"];
/// The key Docker Hub's account has in `config.json` since the days of its first API.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// An account at a registry.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// The account.
    pub username: String,
    /// Its secret.
    pub password: String,
    /// An OAuth2 refresh token instead of both; empty when there is none.
    pub identity_token: String,
}

impl Credentials {
    /// A name and a password.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
            identity_token: String::new(),
        }
    }

    /// Whether there is nothing to show a registry.
    pub fn is_empty(&self) -> bool {
        self.username.is_empty() && self.password.is_empty() && self.identity_token.is_empty()
    }

    /// The value of an `Authorization: Basic` header.
    pub(crate) fn basic_value(&self) -> String {
        let pair = format!("{}:{}", self.username, self.password);
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// Every text that must not appear in an error or a log.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let basic = self.basic_value();
        let encoded = basic.trim_start_matches("Basic ").to_owned();
        [self.password.clone(), self.identity_token.clone(), encoded]
            .into_iter()
            .filter(|secret| !secret.is_empty())
            .collect()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.username)
    }
}

/// Where Docker keeps its client's configuration: `$DOCKER_CONFIG`, else `~/.docker`.
pub fn default_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".docker")))
        .map(|directory| directory.join("config.json"))
}

/// What the file has for a registry (`docker.io`, `localhost:5000`); none when there is no such file or
/// it does not know the registry.
pub async fn find(file: &Path, registry: &str) -> Result<Option<Credentials>> {
    find_with(file, registry, &HELPER_DIRECTORIES.map(Path::new)).await
}

async fn find_with(
    file: &Path,
    registry: &str,
    helper_directories: &[&Path],
) -> Result<Option<Credentials>> {
    let bytes = match fs::read_limited(file, MAX_FILE_BYTES) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        other => other?,
    };
    // serde's own words could quote what stands in the file.
    let config: File = serde_json::from_slice(&bytes).map_err(|error| {
        Error::invalid(format!(
            "read {}: line {}, column {}: not the JSON of Docker's config.json",
            file.display(),
            error.line(),
            error.column()
        ))
    })?;
    let context = || format!("credentials for {registry} in {}", file.display());
    if let Some(helper) = config.helper(registry) {
        return ask_helper(helper, registry, helper_directories)
            .await
            .context(context);
    }
    config.entry(registry).context(context)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
}

impl File {
    fn helper(&self, registry: &str) -> Option<&str> {
        let own = self.cred_helpers.iter().flatten();
        own.filter(|(key, _)| same_registry(key, registry))
            .map(|(_, helper)| helper.as_str())
            .next()
            .or(self.creds_store.as_deref())
            .filter(|helper| !helper.is_empty())
    }

    fn entry(&self, registry: &str) -> Result<Option<Credentials>> {
        let entries = || self.auths.iter().flatten();
        let exact = entries().find(|(key, _)| key.as_str() == registry);
        let found = exact.or_else(|| entries().find(|(key, _)| same_registry(key, registry)));
        let credentials = found.map(|(_, entry)| entry.credentials()).transpose()?;
        Ok(credentials.filter(|credentials| !credentials.is_empty()))
    }
}

impl Entry {
    fn credentials(&self) -> Result<Credentials> {
        let mut credentials = Credentials {
            username: self.username.clone().unwrap_or_default(),
            password: self.password.clone().unwrap_or_default(),
            identity_token: self.identitytoken.clone().unwrap_or_default(),
        };
        if let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) {
            let (username, password) = decode(auth).ok_or_else(|| {
                Error::invalid("`auth` is not the base64 text of `name:password`: log in again")
            })?;
            credentials.username = username;
            credentials.password = password;
        }
        Ok(credentials)
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Old Dockers padded with NULs.
    Some((username.into(), password.trim_matches('\0').into()))
}

/// Whether a key of the file is about this registry: keys are hosts or URLs, and the Hub has many.
fn same_registry(key: &str, registry: &str) -> bool {
    let host = |text: &str| {
        let text = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .unwrap_or(text);
        let host = text.split('/').next().unwrap_or(text).to_ascii_lowercase();
        match host.as_str() {
            "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY.to_owned(),
            _ => host,
        }
    };
    host(key) == host(registry)
}

/// What a helper is asked for.
fn server_of(registry: &str) -> &str {
    match registry {
        DEFAULT_REGISTRY => HUB_KEY,
        other => other,
    }
}

async fn ask_helper(
    name: &str,
    registry: &str,
    directories: &[&Path],
) -> Result<Option<Credentials>> {
    let program = trusted_helper(name, directories)?;
    let work = run_helper(&program, server_of(registry));
    let run = tokio::time::timeout(HELPER_TIMEOUT, work).await;
    let output = run.unwrap_or_else(|_| {
        Err(Error::timeout(format!(
            "did not answer within {} s",
            HELPER_TIMEOUT.as_secs()
        )))
    });
    output.context(|| format!("ask {}", program.display()))
}

fn trusted_helper(name: &str, directories: &[&Path]) -> Result<PathBuf> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.bytes().all(plain) || name.len() > 64 {
        return Err(Error::invalid(
            "the credential helper's name has other characters than letters, digits, `-`, `_` and `.`",
        ));
    }
    let file = format!("docker-credential-{name}");
    let found = directories
        .iter()
        .map(|directory| directory.join(&file))
        .find(|path| path.exists());
    let places = directories
        .iter()
        .map(|directory| directory.display().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let Some(path) = found else {
        return Err(Error::unsupported(format!(
            "the credential helper `{file}` is not in {places}, and orc runs it from nowhere else: install it there, or log in without a helper"
        )));
    };
    let metadata = std::fs::metadata(&path).context(|| format!("look at {}", path.display()))?;
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err(Error::denied(format!(
            "{} is not run: someone else than root can change it",
            path.display()
        )));
    }
    Ok(path)
}

async fn run_helper(program: &Path, server: &str) -> Result<Option<Credentials>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Reply {
        username: String,
        secret: String,
    }

    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its question answers with an error below.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(MAX_HELPER_BYTES)
            .read_to_end(&mut output)
            .await?;
    }
    let status = child.wait().await?;
    if !status.success() {
        let said = String::from_utf8_lossy(&output);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(Error::denied(format!("it failed with {status}")));
    }
    let reply: Reply = serde_json::from_slice(&output)
        .map_err(|_| Error::invalid("its answer is not the JSON of a credential helper"))?;
    Ok(Some(match reply.username.as_str() {
        "<token>" => Credentials {
            identity_token: reply.secret,
            ..Credentials::default()
        },
        _ => Credentials::basic(reply.username, reply.secret),
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    async fn look_up(text: &str, registry: &str) -> Result<Option<Credentials>> {
        let (_dir, path) = file(text);
        find_with(&path, registry, &[]).await
    }

    #[tokio::test]
    async fn finds_what_docker_login_wrote() {
        let auth = STANDARD.encode("ann:pass:word");
        let text = format!(
            r#"{{"auths": {{
                "localhost:5000": {{"auth": "{auth}"}},
                "https://index.docker.io/v1/": {{"auth": "{auth}", "identitytoken": "refresh"}},
                "https://old.example/v2/": {{"username": "bob", "password": "p"}},
                "empty.example": {{}}
            }}}}"#
        );
        for (registry, expected) in [
            ("localhost:5000", Some(("ann", "pass:word", ""))),
            ("docker.io", Some(("ann", "pass:word", "refresh"))),
            ("old.example", Some(("bob", "p", ""))),
            ("OLD.example", Some(("bob", "p", ""))),
            ("empty.example", None),
            ("localhost:5001", None),
            ("localhost", None),
            ("example", None),
        ] {
            let found = look_up(&text, registry).await.unwrap();
            let found = found.as_ref().map(|found| {
                (
                    found.username.as_str(),
                    found.password.as_str(),
                    found.identity_token.as_str(),
                )
            });
            assert_eq!(found, expected, "{registry}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_knows_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let found = find(&dir.path().join("config.json"), "docker.io").await;
        assert_eq!(found.unwrap(), None);
    }

    #[tokio::test]
    async fn a_damaged_file_is_named_and_not_quoted() {
        for text in [
            r#"{"auths": {"x": {"auth": "s3cr3t"}}"#,
            r#"{"auths": {"x": {"auth": "s3cr3t!"}}}"#,
            r#"{"auths": {"x": "s3cr3t"}}"#,
            r#"{"auths": {"x": {"password": {"s3cr3t": 1}}}}"#,
        ] {
            let error = look_up(text, "x").await.unwrap_err().to_string();
            assert!(error.contains("config.json"), "{error}");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }

    #[tokio::test]
    async fn helpers_run_only_from_places_root_alone_changes() {
        let (dir, path) = file(r#"{"credHelpers": {"x.example": "fake"}, "auths": {}}"#);
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let ask = async |registry: &str| find_with(&path, registry, &[&bin]).await;

        let error = ask("x.example").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("docker-credential-fake"));

        let helper = bin.join("docker-credential-fake");
        let script = "#!/bin/sh\nread server\necho \"{\\\"Username\\\":\\\"$1\\\",\\\"Secret\\\":\\\"$server\\\"}\"\n";
        std::fs::write(&helper, script).unwrap();
        std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(ask("x.example").await.unwrap_err().kind(), Kind::Denied);

        std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
        let found = ask("x.example").await.unwrap().unwrap();
        assert_eq!(found, Credentials::basic("get", "x.example"));
        assert_eq!(ask("y.example").await.unwrap(), None);

        let nothing =
            "#!/bin/sh\ncat >/dev/null\necho credentials not found in native keychain\nexit 1\n";
        std::fs::write(&helper, nothing).unwrap();
        assert_eq!(ask("x.example").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_helper_is_a_name_and_not_a_path() {
        for name in ["../../tmp/x", "a b", "a;b", "/x"] {
            let text = format!(r#"{{"credsStore": "{name}"}}"#);
            let error = look_up(&text, "x.example").await.unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{error}");
        }
    }

    #[test]
    fn is_not_printed() {
        let mut credentials = Credentials::basic("ann", "s3cr3t");
        credentials.identity_token = "t0ken".into();
        assert_eq!(format!("{credentials:?}"), "Credentials(ann)");
        assert_eq!(credentials.secrets().len(), 3);
    }
}
