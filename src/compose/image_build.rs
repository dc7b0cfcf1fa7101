//! An image that a plan builds: what is asked of the machine, and what is read here just before.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use orc_base::{Context, Kind, Result};
use orc_host::image_build::{BuildSpec, ContextSource, DockerfileSource, MAX_SECRET, Secret};

use crate::files::{self, Disk, Files};

/// An image to build, and what is read just before.
#[derive(Clone, Default, PartialEq)]
pub struct ImageBuild {
    /// What to build, but for what follows.
    pub spec: BuildSpec,
    /// Secrets that stand in files: id and file.
    pub secret_files: Vec<(String, PathBuf)>,
    /// A Dockerfile that is not in the context.
    pub dockerfile: Option<PathBuf>,
}

impl fmt::Debug for ImageBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageBuild({})", self.spec.tags.join(", "))
    }
}

/// What somebody who asks for a build says beside the files.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    /// Values of `ARG`s, over those of the files.
    pub args: BTreeMap<String, String>,
    /// Use no results of earlier builds.
    pub no_cache: bool,
    /// Ask for base images anew.
    pub pull: bool,
    /// Most memory of a `RUN` step.
    pub memory_bytes: Option<u64>,
    /// Further agents: id, and the socket when it is not the usual one.
    pub ssh: Vec<(String, Option<PathBuf>)>,
    /// Only look for what is wrong.
    pub check: bool,
}

impl ImageBuild {
    /// Reads what a build needs of files here, and says which directories are meant.
    pub(crate) fn whole(&self) -> Result<BuildSpec> {
        let mut spec = self.spec.clone();
        for context in std::iter::once(&mut spec.context).chain(spec.contexts.values_mut()) {
            if let ContextSource::Directory { path, identity } = context {
                *identity = Some(files::identity(path)?);
            }
        }
        for (id, path) in &self.secret_files {
            spec.secrets.push(Secret {
                id: id.clone(),
                value: files::read_bytes(path, MAX_SECRET).context(|| format!("secret {id}"))?,
            });
        }
        if let Some(path) = &self.dockerfile {
            let mut ignore = path.as_os_str().to_owned();
            ignore.push(".dockerignore");
            let ignore = match Disk.read(Path::new(&ignore)) {
                Err(error) if error.kind() == Kind::NotFound => None,
                other => Some(other?),
            };
            spec.dockerfile = DockerfileSource::Text {
                name: path.display().to_string(),
                text: Disk.read(path)?,
                ignore,
            };
        }
        Ok(spec)
    }
}
