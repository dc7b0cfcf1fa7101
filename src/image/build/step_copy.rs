//! Carries out `COPY`, `ADD` and the directory of `WORKDIR`.
//!
//! What is copied decides the key, not where it was copied from: names, kinds, modes, owners and
//! contents. When all of it is from images a second key says which images and which paths, so that
//! nothing has to be looked at when neither has changed.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use orc_base::root::Root;
use orc_base::{Context, Error, Result};

use crate::archive::pipe::blocking;
use crate::build::archive;
use crate::build::chmod::Chmod;
use crate::build::copy::{Copier, Picked};
use crate::build::files::Files;
use crate::build::graph::{Copy, CopyFrom};
use crate::build::key::KeyHasher;
use crate::build::layering::{Changes, Made, Wanted};
use crate::build::material::{Chosen, Material};
use crate::build::owner::{Ids, Owner};
use crate::build::request::{BuildEvent, StepState};
use crate::build::shared::Shared;
use crate::build::stack::{Writable, stack};
use crate::build::target;
use crate::build::view::{View, open_plain};
use crate::digest::Digest;
use crate::dockerfile::ignore::Ignore;

/// Where the files of a tree are.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    /// In an image.
    Files(Files),
    /// In a context.
    Context(Arc<View>),
}

impl Tree {
    pub(crate) fn view(&self, shared: &Shared) -> Result<Arc<View>> {
        match self {
            Self::Files(files) => shared.view(files),
            Self::Context(view) => Ok(view.clone()),
        }
    }
}

/// Copies. `tree` says what a step has made.
pub(crate) async fn copy(
    shared: &Arc<Shared>,
    step: usize,
    wanted: Wanted,
    copy: &Copy,
    tree: &(dyn Fn(usize) -> Result<Tree> + Sync),
) -> Result<Made> {
    let announce = || shared.state(step, StepState::Running);
    carry_out(shared, wanted, copy, tree, &announce).await
}

/// Makes a layer of all that is in a context.
pub(crate) async fn whole(shared: &Arc<Shared>, wanted: Wanted, view: &Arc<View>) -> Result<Made> {
    let copy = Copy {
        parent: None,
        from: vec![CopyFrom::Tree {
            step: 0,
            paths: vec!["/".into()],
        }],
        target: "/".into(),
        owner: None,
        mode: None,
        link: false,
        parents: false,
        exclude: Vec::new(),
        unpack: false,
        add: false,
    };
    let tree = |_| Ok(Tree::Context(view.clone()));
    carry_out(shared, wanted, &copy, &tree, &|| ()).await
}

/// Copies, and calls `announce` when there is something to do.
async fn carry_out(
    shared: &Arc<Shared>,
    wanted: Wanted,
    copy: &Copy,
    tree: &(dyn Fn(usize) -> Result<Tree> + Sync),
    announce: &(dyn Fn() + Sync),
) -> Result<Made> {
    let job = Job::prepare(shared, &wanted, copy).await?;
    let by_name = job.key_by_name(shared, &wanted, tree)?;
    let mut keys: Vec<Digest> = by_name.into_iter().collect();
    if let Some(made) = wanted.find(shared, &keys).await? {
        return Ok(made);
    }
    announce();
    let chosen = job.choose(shared, tree).await?;
    let (key, chosen) = job.key(shared, &wanted, chosen).await?;
    keys.push(key);
    let _flight = wanted.lock(shared, &keys).await;
    if let Some(made) = wanted.find(shared, &keys).await? {
        return Ok(made);
    }
    let (work, parent) = (shared.clone(), wanted.parent.clone());
    let _lane = shared.lanes.acquire().await;
    let done = blocking(move || job.perform(&work, &parent, &chosen)).await?;
    if let Some(path) = &done.changed {
        shared.events.report(BuildEvent::Warning(format!(
            "{} was changed while it was copied: the step will be done again the next time",
            path.display()
        )));
        keys.clear();
    }
    wanted.keep(shared, done.changes, keys).await
}

/// Makes the directory of `WORKDIR`.
pub(crate) async fn make_directory(
    shared: &Arc<Shared>,
    step: usize,
    wanted: Wanted,
    path: &str,
    user: &str,
) -> Result<Made> {
    let mut hasher = begin(shared, "directory", Some(&wanted.parent));
    hasher.text(path);
    hasher.text(user);
    let keys = vec![hasher.finish()];
    let _flight = wanted.lock(shared, &keys).await;
    if let Some(made) = wanted.find(shared, &keys).await? {
        return Ok(made);
    }
    shared.state(step, StepState::Running);
    let (work, parent) = (shared.clone(), wanted.parent.clone());
    let (path, user) = (path.to_owned(), user.to_owned());
    let changes = blocking(move || {
        let changes = Changes::begin(&work, Some(&parent))?;
        let root = open(&work, &parent, &changes)?;
        let owner = match user.is_empty() {
            true => None,
            false => Some(Owner::parse(&user)?.ids(Some(&root))?),
        };
        let at = target::settle(&root, Path::new(&path))?;
        target::make_directories(&root, &at, owner)?;
        Ok(changes)
    })
    .await
    .context(|| "make the directory")?;
    wanted.keep(shared, changes, keys).await
}

/// The parent with a place for changes on top.
fn open(shared: &Shared, parent: &Files, changes: &Changes) -> Result<Root> {
    let writable = Writable {
        upper: &changes.upper,
        work: &changes.work,
    };
    let lowers = parent.lowers(shared.layers());
    Ok(Root::from_fd(stack(
        &lowers,
        Some(writable),
        &shared.empty,
    )?))
}

/// A key with what counts for all steps that make layers.
pub(crate) fn begin(shared: &Shared, kind: &str, parent: Option<&Files>) -> KeyHasher {
    let mut hasher = KeyHasher::new(kind);
    hasher.option(shared.platform.get().map(|one| one.to_string()).as_deref());
    hasher.option(shared.packing.clamp.map(|time| time.to_string()).as_deref());
    hasher.option(
        parent
            .map(|parent| parent.identity())
            .as_ref()
            .map(Digest::as_str),
    );
    hasher
}

/// One instruction, read.
struct Job {
    copy: Copy,
    owner: Option<Owner>,
    ids: Option<Ids>,
    chmod: Option<Chmod>,
    exclude: Option<Ignore>,
}

/// What was done.
struct Done {
    changes: Changes,
    /// A file that changed meanwhile.
    changed: Option<std::path::PathBuf>,
}

impl Job {
    async fn prepare(shared: &Arc<Shared>, wanted: &Wanted, copy: &Copy) -> Result<Self> {
        let owner = copy.owner.as_deref().map(Owner::parse).transpose()?;
        let chmod = copy.mode.as_deref().map(Chmod::parse).transpose()?;
        let exclude = match copy.exclude.is_empty() {
            true => None,
            false => Some(Ignore::from_patterns(&copy.exclude)?),
        };
        // A layer that stands alone still says whose its files are in this image.
        let ids = match (&owner, copy.link) {
            (Some(owner), true) => Some(ids_in(shared, &wanted.parent, owner).await?),
            _ => None,
        };
        Ok(Self {
            copy: copy.clone(),
            owner,
            ids,
            chmod,
            exclude,
        })
    }

    /// What all keys of it begin with.
    fn hasher(&self, shared: &Shared, wanted: &Wanted, kind: &str) -> KeyHasher {
        let copy = &self.copy;
        let parent = (!copy.link).then_some(&wanted.parent);
        let mut hasher = begin(shared, kind, parent);
        hasher.text(&copy.target);
        match self.ids {
            Some((user, group)) => hasher.text(&format!("{user}:{group}")),
            None => hasher.option(copy.owner.as_deref()),
        }
        hasher.option(copy.mode.as_deref());
        hasher.number(u64::from(copy.parents));
        hasher
    }

    /// The key that says where the files are from, when that decides what they are.
    fn key_by_name(
        &self,
        shared: &Shared,
        wanted: &Wanted,
        tree: &(dyn Fn(usize) -> Result<Tree> + Sync),
    ) -> Result<Option<Digest>> {
        let mut hasher = self.hasher(shared, wanted, "copy by name");
        for from in &self.copy.from {
            let CopyFrom::Tree { step, paths } = from else {
                return Ok(None);
            };
            let Tree::Files(files) = tree(*step)? else {
                return Ok(None);
            };
            hasher.text(files.identity().as_str());
            hasher.list(paths);
        }
        hasher.list(&self.copy.exclude);
        hasher.number(u64::from(self.copy.unpack));
        Ok(Some(hasher.finish()))
    }

    async fn choose(
        &self,
        shared: &Arc<Shared>,
        tree: &(dyn Fn(usize) -> Result<Tree> + Sync),
    ) -> Result<Vec<Chosen>> {
        let mut materials = Vec::new();
        for from in &self.copy.from {
            materials.push(match from {
                CopyFrom::Tree { step, paths } => {
                    let (work, tree) = (shared.clone(), tree(*step)?);
                    let view = blocking(move || tree.view(&work)).await?;
                    Material::tree(view, paths.clone(), &self.copy)
                }
                other => Material::bring(shared, other).await?,
            });
        }
        let (work, exclude) = (shared.clone(), self.exclude.clone());
        blocking(move || {
            let choose = |one: Material| one.choose(&work, exclude.as_ref());
            materials.into_iter().map(choose).collect()
        })
        .await
    }

    async fn key(
        &self,
        shared: &Arc<Shared>,
        wanted: &Wanted,
        chosen: Vec<Chosen>,
    ) -> Result<(Digest, Vec<Chosen>)> {
        let mut hasher = self.hasher(shared, wanted, "copy");
        let work = shared.clone();
        blocking(move || {
            for one in &chosen {
                one.add(&work, &mut hasher)?;
            }
            Ok((hasher.finish(), chosen))
        })
        .await
    }

    /// Copies all. Blocks.
    fn perform(&self, shared: &Shared, parent: &Files, chosen: &[Chosen]) -> Result<Done> {
        let parent = (!self.copy.link).then_some(parent);
        let changes = Changes::begin(shared, parent)?;
        let root = match parent {
            Some(parent) => open(shared, parent, &changes)?,
            None => Root::open(&changes.upper)?,
        };
        let owner = match (&self.ids, &self.owner) {
            (Some(ids), _) => Some(*ids),
            (None, Some(owner)) => Some(owner.ids(Some(&root))?),
            (None, None) => None,
        };
        let mut copier = Copier::new(&root, owner, self.chmod.as_ref(), &shared.stop);
        let to = Path::new(&self.copy.target);
        for one in chosen {
            for picked in &one.picked {
                match one.is_archive(picked)? {
                    true => unpack(shared, &root, one, picked, to, owner)?,
                    false => copier.put(&one.view, picked, to)?,
                }
            }
        }
        let changed = copier.changed();
        Ok(Done { changes, changed })
    }
}

fn unpack(
    shared: &Shared,
    root: &Root,
    chosen: &Chosen,
    picked: &Picked,
    to: &Path,
    owner: Option<Ids>,
) -> Result<()> {
    let at = target::settle(root, to)?;
    target::make_directories(root, &at, owner)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let directory = open_plain(std::os::fd::AsFd::as_fd(root), &at, flags)?;
    let source = chosen.view.open_file(&picked.at)?;
    archive::unpack(source, &directory, owner, &shared.stop)
        .context(|| format!("unpack /{}", picked.at.display()))
}

async fn ids_in(shared: &Arc<Shared>, files: &Files, owner: &Owner) -> Result<Ids> {
    if let Some(ids) = owner.numbers()? {
        return Ok(ids);
    }
    let (work, files, owner) = (shared.clone(), files.clone(), owner.clone());
    blocking(move || {
        if files.layers.is_empty() {
            return Err(Error::not_found(
                "an image without files knows no users by name; use numbers",
            ));
        }
        owner.ids(Some(work.view(&files)?.root()))
    })
    .await
}
