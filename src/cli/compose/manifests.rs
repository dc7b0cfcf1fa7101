//! Writes the objects of a project for Kubernetes into a directory: one file an object, and a
//! `kustomization.yaml` that lists them, for `kubectl apply -k`.
//!
//! The directory is this command's own. One with anything else in it is refused, so that no file of
//! somebody else is lost; files of an earlier time are taken away.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use orc_base::{Context, Error, Result};
use orc_compose::model::Project;
use orc_compose::model::resources::FileSource;
use orc_compose::render::document;
use serde_json::{Value, json};

use crate::cli::stack::bundle::Bundle;
use crate::cli::stack::sources::Contents;

/// The first line of each file.
const HEADER: &str = "# Made by `orc compose bridge convert`; the next time takes it away.\n";
/// The list of the files.
const LIST: &str = "kustomization.yaml";
/// Kubernetes takes no larger ConfigMap or Secret.
const MAX_CONTENT_BYTES: u64 = 1 << 20;

/// What is in the configs and secrets that are not kept elsewhere.
pub(crate) fn contents(project: &Project) -> Result<Contents> {
    let all = |kind: &str, sources: &BTreeMap<String, FileSource>| {
        let there = sources.iter().filter(|(_, source)| !source.external);
        there
            .map(|(key, source)| {
                let content = content(project, source);
                let content = content.map_err(|error| error.within(format!("{kind} {key}")))?;
                Ok((key.clone(), content))
            })
            .collect::<Result<_>>()
    };
    Ok(Contents {
        configs: all("config", &project.configs)?,
        secrets: all("secret", &project.secrets)?,
    })
}

fn content(project: &Project, source: &FileSource) -> Result<Vec<u8>> {
    if let Some(content) = &source.content {
        return Ok(content.clone().into_bytes());
    }
    if let Some(name) = &source.environment {
        let value = project.environment.get(name).cloned();
        return value
            .map(String::into_bytes)
            .ok_or_else(|| Error::not_found(format!("the variable {name} is not set: set it")));
    }
    let path = source.file.as_deref().unwrap_or(Path::new(""));
    let mut content = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_CONTENT_BYTES + 1).read_to_end(&mut content))
        .context(|| format!("read {}", path.display()))?;
    match content.len() as u64 > MAX_CONTENT_BYTES {
        true => Err(Error::exhausted(format!(
            "{} has more than 1 MiB, which Kubernetes does not take: put it on a volume",
            path.display()
        ))),
        false => Ok(content),
    }
}

/// Writes all files. The answer is how many objects there are.
pub(crate) fn write(bundle: &Bundle, directory: &Path) -> Result<usize> {
    clear(directory)?;
    fs::create_dir_all(directory).context(|| format!("make {}", directory.display()))?;
    let names: Vec<String> = bundle
        .objects
        .iter()
        .map(|object| format!("{}.yaml", object.stem))
        .collect();
    let list = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": names,
    });
    // The list comes first: what is listed is known to be of this command.
    put(directory, LIST, &list)?;
    for (name, object) in names.iter().zip(&bundle.objects) {
        put(directory, name, &object.json)?;
    }
    Ok(bundle.objects.len())
}

fn put(directory: &Path, name: &str, json: &Value) -> Result<()> {
    let path = directory.join(name);
    let text = format!("{HEADER}{}", document(json)?);
    fs::write(&path, text).context(|| format!("write {}", path.display()))
}

/// Takes away what was made earlier.
fn clear(directory: &Path) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.context(|| format!("read {}", directory.display()))?,
    };
    let mut own = Vec::new();
    for entry in entries {
        let path = entry
            .context(|| format!("read {}", directory.display()))?
            .path();
        if !is_own(&path) {
            return Err(Error::conflict(format!(
                "{} has {}, which is not of this command: name another directory by `-o`",
                directory.display(),
                path.file_name().unwrap_or_default().to_string_lossy()
            )));
        }
        own.push(path);
    }
    for path in own {
        fs::remove_file(&path).context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// Whether a file begins as all files of this command do.
fn is_own(path: &Path) -> bool {
    let mut begin = vec![0; HEADER.len()];
    let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let read = || fs::File::open(path)?.read_exact(&mut begin);
    is_file && { read }().is_ok() && begin == HEADER.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::stack::bundle::Object;

    fn bundle(stems: &[&str]) -> Bundle {
        let object = |stem: &&str| Object {
            stem: (*stem).to_owned(),
            json: json!({"kind": "Namespace"}),
        };
        Bundle {
            objects: stems.iter().map(object).collect(),
            warnings: Vec::new(),
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_own_files_are_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("deep/out");
        write(&bundle(&["a", "b"]), &out).unwrap();
        assert_eq!(names(&out), ["a.yaml", "b.yaml", LIST]);
        write(&bundle(&["b"]), &out).unwrap();
        assert_eq!(names(&out), ["b.yaml", LIST]);
        fs::write(out.join("mine.yaml"), "kind: Mine\n").unwrap();
        let error = write(&bundle(&["c"]), &out).unwrap_err().to_string();
        assert!(
            error.contains("has mine.yaml, which is not of this"),
            "{error}"
        );
        assert_eq!(names(&out), ["b.yaml", LIST, "mine.yaml"]);
    }
}
