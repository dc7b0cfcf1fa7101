//! Published projects: an artefact of a registry becomes a directory of files.
//!
//! The daemon fetches it, with its mirrors, certificates and the user's login. The types and annotations
//! are docker compose's (`internal/oci`, `pkg/remote/oci.go`): the documents are the files of one
//! project, later ones over earlier ones, but for those that others extend, which have names of their
//! own, as `env_file`s have. Such a name is a plain file name, or the whole artefact is refused
//! (CVE-2025-62725).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use orc_base::{Context, Error, Result};
use orc_compose::remote::Fetched;
use orc_host::Host;
use orc_host::registry::Artifact;
use orc_image::digest::Digest;
use orc_image::reference::Reference;

use crate::cli::compose::remote::cache::Cache;
use crate::cli::pull::credentials;

/// The type of the whole.
pub(crate) const PROJECT: &str = "application/vnd.docker.compose.project";
/// The config's type where artefacts have no type of their own.
pub(crate) const OLD_CONFIG: &str = "application/vnd.docker.compose.config.empty.v1+json";
/// A Compose file.
pub(crate) const FILE: &str = "application/vnd.docker.compose.file+yaml";
/// An `env_file`.
pub(crate) const ENV_FILE: &str = "application/vnd.docker.compose.envfile";
/// What a Compose file is called.
pub(crate) const FILE_NAME: &str = "com.docker.compose.file";
/// What an `env_file` is called.
pub(crate) const ENV_FILE_NAME: &str = "com.docker.compose.envfile";
/// Who wrote it.
pub(crate) const VERSION: &str = "com.docker.compose.version";
/// Stands at a file that others extend.
const EXTENDED: &str = "com.docker.compose.extends";

/// What all files that are not extended become, one after the other.
const MAIN: &str = "compose.yaml";
const MAX_NAME_BYTES: usize = 255;

/// The copy of what `name` leads to now. One that is named by its digest and is here needs no registry.
pub(crate) async fn fetch(host: &dyn Host, cache: &Cache, name: &str) -> Result<Fetched> {
    let reference = Reference::parse(name)?;
    let account = credentials(name).await?;
    let digest = match reference.digest() {
        Some(digest) => digest.clone(),
        None => Digest::parse(&host.look_up_image(name, account.clone()).await?.digest)?,
    };
    let version = digest.to_string();
    let root = match cache.find(&version) {
        Some(root) => root,
        None => {
            let pinned = reference.with_digest(digest).to_string();
            let pulled = host.pull_artifact(&pinned, PROJECT, account).await?;
            let files = files(&pulled.artifact).context(|| format!("oci://{name}"))?;
            let draft = cache.draft()?;
            for (name, text) in &files {
                write(draft.path(), name, text)?;
            }
            cache.keep(&draft, &version)?
        }
    };
    Ok(Fetched {
        file: root.join(MAIN),
        root,
        version,
    })
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path: PathBuf = directory.join(name);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.context(|| format!("write {}", path.display()))
}

/// The files of an artefact, by name.
fn files(artifact: &Artifact) -> Result<BTreeMap<String, String>> {
    let config = artifact.config_type.as_deref().unwrap_or_default();
    let is_project = match artifact.media_type.as_str() {
        "" => config == OLD_CONFIG,
        own => own == PROJECT,
    };
    if !is_project {
        let what = [artifact.media_type.as_str(), config]
            .into_iter()
            .find(|text| !text.is_empty());
        return Err(Error::invalid(format!(
            "it is no Compose project but `{}`",
            what.unwrap_or("nothing that has a name")
        )));
    }
    let mut main = String::new();
    let mut files = BTreeMap::new();
    for layer in &artifact.layers {
        let named = |annotation: &str| {
            let name = layer.annotations.get(annotation).map(String::as_str);
            plain(name.unwrap_or_default(), annotation).map(str::to_owned)
        };
        let name = match layer.media_type.as_str() {
            FILE if layer.annotations.contains_key(EXTENDED) => named(FILE_NAME)?,
            FILE => {
                if !main.is_empty() {
                    main.push_str("\n---\n");
                }
                main.push_str(&layer.text);
                continue;
            }
            ENV_FILE => named(ENV_FILE_NAME)?,
            _ => continue,
        };
        if let Some(other) = files.insert(name.clone(), layer.text.clone())
            && other != layer.text
        {
            return Err(Error::invalid(format!("it has `{name}` twice")));
        }
    }
    if main.is_empty() {
        return Err(Error::invalid("it has no Compose file"));
    }
    match files.insert(MAIN.to_owned(), main) {
        None => Ok(files),
        Some(_) => Err(Error::invalid(format!("it has `{MAIN}` twice"))),
    }
}

/// A name that means a file of the directory it is in, whatever it is joined to.
fn plain<'a>(name: &'a str, annotation: &str) -> Result<&'a str> {
    let strange = |c: char| c.is_control() || matches!(c, '/' | '\\');
    let wrong = name.is_empty()
        || name.len() > MAX_NAME_BYTES
        || matches!(name, "." | "..")
        || name.contains(strange);
    match wrong {
        false => Ok(name),
        true => {
            let shown: String = name
                .chars()
                .take(80)
                .flat_map(char::escape_default)
                .collect();
            Err(Error::denied(format!(
                "its annotation `{annotation}` says `{shown}`, which is not the plain name of a file: it may be an attack"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use orc_host::registry::ArtifactLayer;

    use super::*;

    fn layer(media_type: &str, text: &str, annotations: &[(&str, &str)]) -> ArtifactLayer {
        ArtifactLayer {
            media_type: media_type.into(),
            text: text.into(),
            annotations: annotations
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn project(layers: Vec<ArtifactLayer>) -> Artifact {
        Artifact {
            media_type: PROJECT.into(),
            config_type: None,
            layers,
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn files_are_put_together_as_docker_compose_does() {
        let artifact = project(vec![
            layer(
                FILE,
                "services: {a: {image: x}}",
                &[(FILE_NAME, "compose.yaml")],
            ),
            layer(FILE, "base", &[(FILE_NAME, "12.yaml"), (EXTENDED, "true")]),
            layer("application/vnd.oci.empty.v1+json", "{}", &[]),
            layer(ENV_FILE, "A=1", &[(ENV_FILE_NAME, "34.env")]),
            layer(FILE, "services: {}", &[(FILE_NAME, "image-digests.yaml")]),
            layer(ENV_FILE, "A=1", &[(ENV_FILE_NAME, "34.env")]),
        ]);
        let found: Vec<_> = files(&artifact).unwrap().into_iter().collect();
        let expected = [
            ("12.yaml", "base"),
            ("34.env", "A=1"),
            (
                "compose.yaml",
                "services: {a: {image: x}}\n---\nservices: {}",
            ),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn both_versions_and_nothing_else() {
        let file = || vec![layer(FILE, "services: {}", &[])];
        let old = Artifact {
            media_type: String::new(),
            config_type: Some(OLD_CONFIG.into()),
            ..project(file())
        };
        assert!(files(&old).is_ok());
        let image = Artifact {
            media_type: String::new(),
            config_type: Some("application/vnd.oci.image.config.v1+json".into()),
            ..project(file())
        };
        let error = files(&image).unwrap_err().to_string();
        assert!(error.contains("no Compose project but `application/vnd.oci.image"));
        assert!(files(&project(Vec::new())).is_err(), "no file");
    }

    #[test]
    fn names_lead_nowhere_else() {
        let long = "x".repeat(256);
        for name in [
            "../x",
            "/etc/cron.d/x",
            "a/b",
            "..",
            ".",
            "",
            "a\\b",
            "a\0b",
            "\u{1b}[2J",
            &long,
        ] {
            for (media_type, annotation) in [(FILE, FILE_NAME), (ENV_FILE, ENV_FILE_NAME)] {
                let artifact = project(vec![
                    layer(FILE, "services: {}", &[]),
                    layer(media_type, "x", &[(annotation, name), (EXTENDED, "true")]),
                ]);
                assert!(files(&artifact).is_err(), "{name:?}");
            }
        }
        for (name, text) in [("compose.yaml", "x"), ("a.env", "y")] {
            let artifact = project(vec![
                layer(FILE, "services: {}", &[]),
                layer(ENV_FILE, "x", &[(ENV_FILE_NAME, "a.env")]),
                layer(ENV_FILE, text, &[(ENV_FILE_NAME, name)]),
            ]);
            assert!(files(&artifact).is_err(), "{name} twice");
        }
        let unnamed = project(vec![layer(FILE, "a", &[]), layer(ENV_FILE, "x", &[])]);
        assert!(files(&unnamed).is_err());
    }
}
