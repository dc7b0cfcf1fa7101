//! The files that a `COPY` or `ADD` takes: where they are, which they are, and what they contain.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use orc_base::root::Root;
use orc_base::{Context, Error, Result};

use crate::archive::pipe::blocking;
use crate::build::archive;
use crate::build::copy::Picked;
use crate::build::entry::Kind;
use crate::build::fetch;
use crate::build::git;
use crate::build::graph::{Copy, CopyFrom, InlineFile};
use crate::build::key::KeyHasher;
use crate::build::select::Select;
use crate::build::shared::Shared;
use crate::build::times::set_time;
use crate::build::view::View;
use crate::dockerfile::ignore::Ignore;

/// Where one source of an instruction is.
#[derive(Debug, Clone)]
pub(crate) struct Material {
    view: Arc<View>,
    paths: Vec<String>,
    parents: bool,
    unpack: bool,
}

/// Which files it means.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Where they are.
    pub(crate) view: Arc<View>,
    /// The files.
    pub(crate) picked: Vec<Picked>,
    /// Whether archives among them are unpacked.
    pub(crate) unpack: bool,
}

impl Material {
    /// Files of a tree.
    pub(crate) fn tree(view: Arc<View>, paths: Vec<String>, copy: &Copy) -> Self {
        Self {
            view,
            paths,
            parents: copy.parents,
            unpack: copy.unpack,
        }
    }

    /// Files that are not in any tree yet: brought here, below the place of the build.
    pub(crate) async fn bring(shared: &Arc<Shared>, from: &CopyFrom) -> Result<Self> {
        match from {
            CopyFrom::Tree { .. } => Err(Error::internal("a tree is here already")),
            CopyFrom::Inline(files) => inline(shared.clone(), files.clone()).await,
            CopyFrom::Url {
                url,
                unpack,
                checksum,
            } => {
                let directory = shared.place.directory("download")?;
                let http = &shared.http;
                let name = fetch::fetch(http, url, checksum.as_deref(), &directory).await?;
                Ok(Self {
                    view: context(&directory)?,
                    paths: vec![format!("/{name}")],
                    parents: false,
                    unpack: *unpack,
                })
            }
            CopyFrom::Git {
                url,
                checksum,
                keep_git_dir,
            } => {
                let directory = shared.place.directory("repository")?;
                let tree = git::check_out(url, checksum.as_deref(), *keep_git_dir, &directory)
                    .await
                    .context(|| format!("fetch {}", git::shown(url)))?;
                Ok(Self {
                    view: context(&tree)?,
                    paths: vec!["/".into()],
                    parents: false,
                    unpack: false,
                })
            }
        }
    }

    /// Finds the files. Blocks.
    pub(crate) fn choose(self, shared: &Shared, exclude: Option<&Ignore>) -> Result<Chosen> {
        let select = Select {
            view: &self.view,
            parents: self.parents,
            exclude,
            stop: &shared.stop,
        };
        let mut picked = Vec::new();
        for path in &self.paths {
            picked.extend(select.select(path)?);
        }
        Ok(Chosen {
            picked,
            view: self.view,
            unpack: self.unpack,
        })
    }
}

impl Chosen {
    /// Adds what the files are to a key. Blocks.
    pub(crate) fn add(&self, shared: &Shared, hasher: &mut KeyHasher) -> Result<()> {
        hasher.number(self.picked.len() as u64);
        hasher.number(u64::from(self.unpack));
        for picked in &self.picked {
            let mut top = picked.top.clone();
            if top.is_directory() {
                // Its own looks are not copied, and neither is its name.
                (top.meta.mode, top.meta.uid, top.meta.gid) = (0, 0, 0);
            } else {
                hasher.bytes(picked.name.as_encoded_bytes());
            }
            for entries in [std::slice::from_ref(&top), &picked.below] {
                hasher.number(entries.len() as u64);
                let known = &shared.fingerprints;
                known.add(hasher, &self.view, &picked.at, entries, &shared.stop)?;
            }
        }
        Ok(())
    }

    /// Whether a file is to be unpacked.
    pub(crate) fn is_archive(&self, picked: &Picked) -> Result<bool> {
        if !self.unpack || picked.top.kind != Kind::File {
            return Ok(false);
        }
        let file = self.view.open_file(&picked.at)?;
        archive::is_archive(&file).context(|| format!("look into /{}", picked.at.display()))
    }
}

/// All of a directory that we made, as root's.
fn context(directory: &Path) -> Result<Arc<View>> {
    let root = Root::open(directory)?;
    Ok(Arc::new(View::of_context(root, None)))
}

async fn inline(shared: Arc<Shared>, files: Vec<InlineFile>) -> Result<Material> {
    let clamp = shared.packing.clamp;
    blocking(move || {
        let directory = shared.place.directory("inline")?;
        let mut paths = Vec::new();
        for file in &files {
            let name = Path::new(&file.path).file_name();
            let name = name.ok_or_else(|| Error::invalid("a here-document without a name"))?;
            let path = directory.join(name);
            std::fs::write(&path, &file.bytes)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
            if let Some(clamp) = clamp {
                set_time(&path, clamp)?;
            }
            paths.push(format!("/{}", name.to_string_lossy()));
        }
        Ok(Material {
            view: context(&directory)?,
            paths,
            parents: false,
            unpack: false,
        })
    })
    .await
}
