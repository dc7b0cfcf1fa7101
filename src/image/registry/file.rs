//! The operator's file about registries, and Docker's directory of certificates.
//!
//! ```text
//! /etc/orc/registries.json                      see docs/registries.md
//! /etc/docker/certs.d/<host[:port]>/*.crt       authorities
//! /etc/docker/certs.d/<host[:port]>/*.cert,key  our certificate
//! ```
//!
//! JSON, as Docker's own `daemon.json` is: of orc's layers only `compose` knows YAML. Read when the
//! daemon starts. Whatever is not understood is an error with its line, for a mirror or an authority
//! that is silently left out is a hole.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use orc_base::{Context, Error, Kind, Result, fs};

use crate::registry::config::{ClientCertificate, Mirror, RegistryConfig, check_host};

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Docker's directory of certificates.
const CERTIFICATES: &str = "/etc/docker/certs.d";

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct File {
    registries: Registries,
    /// Authorities for all registries.
    certificates: Vec<Absolute>,
    /// Docker's `config.json`, for what the daemon fetches without being given an account.
    credentials_file: Option<Absolute>,
    /// Directories such as `/etc/docker/certs.d`.
    certificate_directories: Option<Vec<Absolute>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Registry {
    mirrors: Vec<MirrorText>,
    insecure: bool,
    certificates: Vec<Absolute>,
    client_certificate: Option<Absolute>,
    client_key: Option<Absolute>,
    credential_helper: Option<Absolute>,
    token_hosts: Vec<Host>,
}

/// A path that means the same wherever the daemon was started.
#[derive(Debug)]
struct Absolute(PathBuf);

struct MirrorText(Mirror);

struct Host(String);

/// Registries by name; none twice.
#[derive(Default)]
struct Registries(BTreeMap<String, Registry>);

impl RegistryConfig {
    /// Adds what stands in the file. A file that nobody named may be missing.
    pub fn load(mut self, named: Option<&Path>, usual: &Path) -> Result<Self> {
        let path = named.unwrap_or(usual);
        let file = match fs::read_limited(path, MAX_FILE_BYTES) {
            Ok(bytes) => parse(path, &bytes)?,
            Err(error) if named.is_none() && error.kind() == Kind::NotFound => File::default(),
            Err(error) => return Err(error.within("the registries' file")),
        };
        let directories = match file.certificate_directories {
            Some(directories) => directories.into_iter().map(|one| one.0).collect(),
            None => vec![PathBuf::from(CERTIFICATES)],
        };
        self.certificates
            .extend(file.certificates.into_iter().map(|one| one.0));
        if let Some(Absolute(credentials)) = file.credentials_file {
            self.credentials_file = Some(credentials);
        }
        for (name, registry) in file.registries.0 {
            self.add(name, registry)
                .context(|| path.display().to_string())?;
        }
        for directory in directories {
            self.scan(&directory)?;
        }
        for (name, host) in &self.hosts {
            let own_tls = !host.authorities.is_empty() || host.client.is_some();
            if own_tls && self.insecure.contains(name) {
                return Err(Error::invalid(format!(
                    "registry {name} has certificates and is insecure: drop one of the two"
                ))
                .within(path.display().to_string()));
            }
        }
        Ok(self)
    }

    fn add(&mut self, name: String, registry: Registry) -> Result<()> {
        let client = match (registry.client_certificate, registry.client_key) {
            (Some(Absolute(certificate)), Some(Absolute(key))) => {
                Some(ClientCertificate { certificate, key })
            }
            (None, None) => None,
            _ => {
                return Err(Error::invalid(format!(
                    "registry {name}: `clientCertificate` and `clientKey` need each other"
                )));
            }
        };
        if registry.insecure {
            self.insecure.push(name.clone());
        }
        for Host(host) in registry.token_hosts {
            self.token_hosts.push((name.clone(), host));
        }
        let host = self.hosts.entry(name).or_default();
        host.mirrors = registry.mirrors.into_iter().map(|one| one.0).collect();
        host.authorities = registry.certificates.into_iter().map(|one| one.0).collect();
        host.client = client;
        host.helper = registry.credential_helper.map(|one| one.0);
        Ok(())
    }

    /// Adds what a directory in the manner of Docker has. What the file says of a registry counts for
    /// more.
    fn scan(&mut self, directory: &Path) -> Result<()> {
        let hosts = match fs::list(directory) {
            Ok(hosts) => hosts,
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for path in hosts.into_iter().filter(|path| path.is_dir()) {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|name| check_host(name).is_ok()) else {
                continue;
            };
            let mut files = fs::list(&path)?;
            files.sort();
            let with = |extension: &'static str| {
                let is_one =
                    move |file: &&PathBuf| file.extension().is_some_and(|e| e == extension);
                files.iter().filter(is_one)
            };
            let authorities: Vec<_> = with("crt").cloned().collect();
            let client = client_of(with("cert"), with("key"))?;
            if authorities.is_empty() && client.is_none() {
                continue;
            }
            let host = self.hosts.entry(name.to_owned()).or_default();
            if host.authorities.is_empty() {
                host.authorities = authorities;
            }
            host.client = host.client.take().or(client);
        }
        Ok(())
    }
}

/// The first certificate with its key. Docker refuses one without the other, too.
fn client_of<'a>(
    mut certificates: impl Iterator<Item = &'a PathBuf>,
    mut keys: impl Iterator<Item = &'a PathBuf>,
) -> Result<Option<ClientCertificate>> {
    let missing = |file: &Path, other: &str| {
        Err(Error::invalid(format!(
            "{} has no {other} beside it",
            file.display()
        )))
    };
    let Some(certificate) = certificates.next() else {
        return match keys.next() {
            Some(key) => missing(key, "certificate (.cert)"),
            None => Ok(None),
        };
    };
    let key = certificate.with_extension("key");
    match keys.any(|one| *one == key) {
        true => Ok(Some(ClientCertificate {
            certificate: certificate.clone(),
            key,
        })),
        false => missing(certificate, "key (.key)"),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<File> {
    let wrong = |error: serde_json::Error| {
        let text = error.to_string();
        // serde_json ends with the place, which stands in front here.
        let what = text
            .rsplit_once(" at line ")
            .map_or(&*text, |(what, _)| what);
        Error::invalid(format!(
            "{}:{}:{}: {what}",
            path.display(),
            error.line(),
            error.column()
        ))
    };
    let file: File = serde_json::from_slice(bytes).map_err(wrong)?;
    // serde would take a list of values for an object, too.
    let whole: Value = serde_json::from_slice(bytes).map_err(wrong)?;
    let mut registries = whole["registries"].as_object().into_iter().flatten();
    match registries.find(|(_, registry)| !registry.is_object()) {
        _ if !whole.is_object() => Err(Error::invalid(format!(
            "{}:1:1: the file is an object with `registries` and so on",
            path.display()
        ))),
        Some((name, _)) => Err(Error::invalid(format!(
            "{}: registry {name} is no object",
            path.display()
        ))),
        None => Ok(file),
    }
}

impl<'de> Deserialize<'de> for Absolute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        match path.is_absolute() {
            true => Ok(Self(path)),
            false => Err(de::Error::custom(format!(
                "`{}` is not an absolute path",
                path.display()
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for MirrorText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Mirror::parse(&text).map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match check_host(&text) {
            Ok(()) => Ok(Self(text)),
            Err(error) => Err(de::Error::custom(error)),
        }
    }
}

impl<'de> Deserialize<'de> for Registries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Registries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("registries by host")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Registries, A::Error> {
                let mut registries = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    check_host(&name).map_err(de::Error::custom)?;
                    match registries.entry(name) {
                        Entry::Vacant(entry) => entry.insert(map.next_value()?),
                        Entry::Occupied(entry) => {
                            return Err(de::Error::custom(format!(
                                "registry {} stands here twice",
                                entry.key()
                            )));
                        }
                    };
                }
                Ok(Registries(registries))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<RegistryConfig> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registries.json");
        std::fs::write(&path, text).unwrap();
        RegistryConfig::default()
            .load(Some(&path), Path::new("/"))
            .map_err(|error| {
                let text = error.to_string();
                Error::invalid(text.replace(&path.display().to_string(), "FILE"))
            })
    }

    #[test]
    fn everything_that_can_be_said() {
        let config = load(
            r#"{
              "registries": {
                "docker.io": {"mirrors": ["https://mirror.example", "10.0.0.1:5000"]},
                "lab.example:5000": {"insecure": true, "credentialHelper": "/opt/bin/helper"},
                "strict.example": {
                  "certificates": ["/etc/strict/ca.pem"],
                  "clientCertificate": "/etc/strict/me.pem", "clientKey": "/etc/strict/me.key",
                  "tokenHosts": ["login.example"]
                }
              },
              "certificates": ["/etc/all.pem"],
              "credentialsFile": "/root/.docker/config.json",
              "certificateDirectories": []
            }"#,
        )
        .unwrap();
        assert_eq!(config.insecure, ["lab.example:5000"]);
        let mirrors: Vec<String> = config
            .mirrors("docker.io")
            .iter()
            .map(Mirror::to_string)
            .collect();
        assert_eq!(mirrors, ["https://mirror.example", "10.0.0.1:5000"]);
        assert_eq!(
            config.token_hosts,
            [("strict.example".into(), "login.example".into())]
        );
        let strict = config.host("strict.example").unwrap();
        assert_eq!(strict.authorities, [Path::new("/etc/strict/ca.pem")]);
        assert_eq!(
            strict.client.as_ref().unwrap().key,
            Path::new("/etc/strict/me.key")
        );
        let helper = config.host("lab.example:5000").unwrap().helper.as_deref();
        assert_eq!(helper, Some(Path::new("/opt/bin/helper")));
        assert_eq!(config.certificates, [Path::new("/etc/all.pem")]);
        assert!(config.credentials_file.is_some());
    }

    #[test]
    fn what_is_not_understood_has_its_line() {
        for (text, expected) in [
            (
                "{\n  \"registry\": {}\n}",
                "FILE:2:12: unknown field `registry`",
            ),
            (
                "{\"registries\": {\n\"a.example\": {\"mirors\": []}}}",
                "FILE:2:22: unknown field `mirors`, expected one of `mirrors`",
            ),
            (
                "{\"registries\": {\"a.example\": {\n\"mirrors\": [\"mirror.example/x\"]}}}",
                "FILE:2:31: `mirror.example/x` is not a mirror's address",
            ),
            ("{\"registries\": {\"lab\": {}}}", "`lab` is not a registry"),
            (
                "{\"registries\": {\"https://a.example\": {}}}",
                "is not a registry",
            ),
            (
                "{\"registries\": {\"a.example\": {}, \"a.example\": {}}}",
                "registry a.example stands here twice",
            ),
            (
                "{\"certificates\": [\"ca.pem\"]}",
                "`ca.pem` is not an absolute path",
            ),
            (
                "{\"registries\": {\"a.example\": {\"credentialHelper\": \"helper\"}}}",
                "`helper` is not an absolute path",
            ),
            (
                "{\"registries\": {\"a.example\": {\"clientKey\": \"/k\"}}}",
                "need each other",
            ),
            (
                "{\"registries\": {\"a.example\": {\"insecure\": true, \"certificates\": [\"/c\"]}}}",
                "drop one of the two",
            ),
            (
                "{\"registries\": {\"a.example\": {\"insecure\": \"yes\"}}}",
                "FILE:1:47: invalid type",
            ),
            ("[]", "FILE:1:1: the file is an object"),
            (
                "{\"registries\": {\"a.example\": [[\"m.example\"]]}}",
                "FILE: registry a.example is no object",
            ),
            ("", "FILE:1:0: EOF"),
            ("{", "FILE:1:1: EOF"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}\n{error}");
            assert!(error.contains("FILE"), "{error}");
        }
    }

    #[test]
    fn a_file_may_be_missing_unless_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none.json");
        let none = RegistryConfig::default().load(None, &path).unwrap();
        assert!(none.credentials_file.is_none());
        let error = RegistryConfig::default()
            .load(Some(&path), &path)
            .unwrap_err();
        assert!(error.to_string().contains("none.json"), "{error}");
    }

    #[test]
    fn dockers_directory_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let certs = dir.path().join("certs.d");
        for (host, files) in [
            (
                "a.example:5000",
                &["ca.crt", "client.cert", "client.key"][..],
            ),
            ("b.example", &["one.crt", "two.crt", "readme"]),
            ("c.example", &[]),
            ("not a host", &["ca.crt"]),
        ] {
            std::fs::create_dir_all(certs.join(host)).unwrap();
            for file in files {
                std::fs::write(certs.join(host).join(file), "").unwrap();
            }
        }
        let path = dir.path().join("registries.json");
        let text = format!(
            r#"{{"certificateDirectories": ["{}"], "registries": {{"b.example": {{"mirrors": ["m.example"]}}}}}}"#,
            certs.display()
        );
        std::fs::write(&path, text).unwrap();
        let load = || RegistryConfig::default().load(Some(&path), &path);
        let config = load().unwrap();
        let a = config.host("a.example:5000").unwrap();
        assert_eq!(a.authorities, [certs.join("a.example:5000/ca.crt")]);
        assert_eq!(
            a.client.as_ref().unwrap().key,
            certs.join("a.example:5000/client.key")
        );
        let b = config.host("b.example").unwrap();
        assert_eq!((b.authorities.len(), b.mirrors.len()), (2, 1));
        assert!(config.host("c.example").is_none());

        std::fs::remove_file(certs.join("a.example:5000/client.key")).unwrap();
        let error = load().unwrap_err().to_string();
        assert!(
            error.contains("client.cert has no key (.key) beside it"),
            "{error}"
        );
    }
}
