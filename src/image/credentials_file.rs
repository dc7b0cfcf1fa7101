//! Where accounts are written down: Docker's `config.json` (docs.docker.com, "docker login", "Credential
//! stores").
//!
//! Shared with Docker's own command line: what it wrote is read, what is written here it reads, and
//! members of the file that orc does not know are kept. The file belongs to its owner alone.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use orc_base::fs::Durability;
use orc_base::{Context, Error, Kind, Result, fs};

use crate::credential_helper::{self as helper, Program};
use crate::credentials::Credentials;
use crate::reference::DEFAULT_REGISTRY;

const MAX_FILE_BYTES: u64 = 1 << 20;
/// The key Docker Hub's account has in `config.json` since the days of its first API.
const HUB_KEY: &str = "https://index.docker.io/v1/";

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
    find_with(file, registry, &Program::named).await
}

async fn find_with(
    file: &Path,
    registry: &str,
    program: &(dyn Fn(&str) -> Program + Sync),
) -> Result<Option<Credentials>> {
    let Some(bytes) = read(file)? else {
        return Ok(None);
    };
    let config = parse::<File>(file, &bytes)?;
    let context = || format!("credentials for {registry} in {}", file.display());
    if let Some(name) = config.helper(registry) {
        return helper::get(&program(name), server_of(registry))
            .await
            .context(context);
    }
    config.entry(registry).context(context)
}

/// Where a login is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In the file itself, where whoever reads it can read the password.
    InFile,
    /// By the credential helper of this name.
    ByHelper(String),
}

/// Writes a login down: with the credential helper that the file names, else in the file.
pub async fn save(file: &Path, registry: &str, credentials: &Credentials) -> Result<Kept> {
    save_with(file, registry, credentials, &Program::named).await
}

async fn save_with(
    file: &Path,
    registry: &str,
    credentials: &Credentials,
    program: &(dyn Fn(&str) -> Program + Sync),
) -> Result<Kept> {
    let bytes = read(file)?.unwrap_or_else(|| b"{}".to_vec());
    let config = parse::<File>(file, &bytes)?;
    let mut whole = parse::<Map<String, Value>>(file, &bytes)?;
    let helper = config.helper(registry).map(str::to_owned);
    if let Some(name) = &helper {
        helper::store(&program(name), server_of(registry), credentials)
            .await
            .context(|| format!("keep the login to {registry}"))?;
    }
    let auths = auths(&mut whole);
    auths.retain(|key, _| !same_registry(key, registry));
    let entry = match &helper {
        Some(_) => json!({}),
        None => entry_of(credentials),
    };
    auths.insert(server_of(registry).to_owned(), entry);
    write(file, &whole)?;
    Ok(helper.map_or(Kept::InFile, Kept::ByHelper))
}

/// Forgets a login. False when there was none.
pub async fn remove(file: &Path, registry: &str) -> Result<bool> {
    remove_with(file, registry, &Program::named).await
}

async fn remove_with(
    file: &Path,
    registry: &str,
    program: &(dyn Fn(&str) -> Program + Sync),
) -> Result<bool> {
    let Some(bytes) = read(file)? else {
        return Ok(false);
    };
    let config = parse::<File>(file, &bytes)?;
    let mut whole = parse::<Map<String, Value>>(file, &bytes)?;
    let auths = auths(&mut whole);
    let before = auths.len();
    auths.retain(|key, _| !same_registry(key, registry));
    let known = auths.len() < before;
    if known {
        write(file, &whole)?;
    }
    if let Some(name) = config.helper(registry) {
        helper::erase(&program(name), server_of(registry))
            .await
            .context(|| format!("forget the login to {registry}"))?;
    }
    Ok(known)
}

fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read_limited(file, MAX_FILE_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse<T: serde::de::DeserializeOwned>(file: &Path, bytes: &[u8]) -> Result<T> {
    // serde's own words could quote what stands in the file.
    serde_json::from_slice(bytes).map_err(|error| {
        Error::invalid(format!(
            "read {}: line {}, column {}: not the JSON of Docker's config.json",
            file.display(),
            error.line(),
            error.column()
        ))
    })
}

/// Replaces the file as a whole. A link is followed: people keep their settings elsewhere.
fn write(file: &Path, whole: &Map<String, Value>) -> Result<()> {
    let what = || format!("write {}", file.display());
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory, 0o700).context(what)?;
    }
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mut bytes = serde_json::to_vec_pretty(whole).context(what)?;
    bytes.push(b'\n');
    fs::write_atomic(&real, &bytes, Durability::Synced).context(what)?;
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o600)).context(what)
}

fn auths(whole: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let auths = whole.entry("auths").or_insert_with(|| json!({}));
    if !auths.is_object() {
        *auths = json!({});
    }
    auths.as_object_mut().expect("it was just made an object")
}

fn entry_of(credentials: &Credentials) -> Value {
    let pair = format!("{}:{}", credentials.username, credentials.password);
    match credentials.identity_token.as_str() {
        "" => json!({"auth": STANDARD.encode(pair)}),
        // As Docker writes it: the name stays, the password does not.
        token => json!({
            "auth": STANDARD.encode(format!("{}:", credentials.username)),
            "identitytoken": token,
        }),
    }
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

/// What a helper is asked for, and the key of a new entry.
fn server_of(registry: &str) -> &str {
    match registry {
        DEFAULT_REGISTRY => HUB_KEY,
        other => other,
    }
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
        find_with(&path, registry, &|name| Program::Named(name.into(), vec![])).await
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
        let program = |name: &str| Program::Named(name.into(), vec![bin.clone()]);
        let ask = async |registry: &str| find_with(&path, registry, &program).await;

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

    fn nowhere(name: &str) -> Program {
        Program::Named(name.into(), vec![])
    }

    #[tokio::test]
    async fn logins_are_kept_beside_what_else_is_there() {
        let (_dir, path) =
            file(r#"{"psFormat": "table", "auths": {"https://x.example/v1/": {"auth": "YTpi"}}}"#);
        let ann = Credentials::basic("ann", "s3cr3t");
        for registry in ["x.example", "docker.io"] {
            let kept = save_with(&path, registry, &ann, &nowhere).await.unwrap();
            assert_eq!(kept, Kept::InFile);
            let found = find_with(&path, registry, &nowhere).await.unwrap();
            assert_eq!(found.as_ref(), Some(&ann));
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let whole: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(whole["psFormat"], "table");
        let keys: Vec<_> = whole["auths"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(keys, [HUB_KEY, "x.example"]);
        assert!(remove_with(&path, "x.example", &nowhere).await.unwrap());
        assert!(!remove_with(&path, "x.example", &nowhere).await.unwrap());
        assert_eq!(find_with(&path, "x.example", &nowhere).await.unwrap(), None);
        assert!(
            find_with(&path, "docker.io", &nowhere)
                .await
                .unwrap()
                .is_some()
        );
    }

    #[tokio::test]
    async fn a_login_makes_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.json");
        let token = Credentials {
            username: "ann".into(),
            password: "s3cr3t".into(),
            identity_token: "refresh".into(),
        };
        save_with(&path, "x.example", &token, &nowhere)
            .await
            .unwrap();
        let found = find_with(&path, "x.example", &nowhere)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.identity_token, "refresh");
        assert!(
            !std::fs::read_to_string(&path)
                .unwrap()
                .contains(&STANDARD.encode("ann:s3cr3t"))
        );
        let none = remove_with(&dir.path().join("none"), "x.example", &nowhere).await;
        assert!(!none.unwrap());
    }

    #[tokio::test]
    async fn helpers_keep_what_the_file_does_not() {
        let (dir, path) = file(r#"{"credsStore": "fake"}"#);
        let bin = dir.path().join("docker-credential-fake");
        std::fs::write(
            &bin,
            "#!/bin/sh\n[ $1 = get ] || { echo $1 >> ${0%/*}/log; cat >> ${0%/*}/log; }\n",
        )
        .unwrap();
        std::fs::set_permissions(&bin, PermissionsExt::from_mode(0o755)).unwrap();
        let program = |name: &str| Program::Named(name.into(), vec![dir.path().to_owned()]);
        let ann = Credentials::basic("ann", "s3cr3t");
        let kept = save_with(&path, "x.example", &ann, &program).await.unwrap();
        assert_eq!(kept, Kept::ByHelper("fake".into()));
        assert!(!std::fs::read_to_string(&path).unwrap().contains("auth\""));
        assert!(remove_with(&path, "x.example", &program).await.unwrap());
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(
            log.starts_with("store\n{") && log.ends_with("erase\nx.example"),
            "{log}"
        );
    }
}
