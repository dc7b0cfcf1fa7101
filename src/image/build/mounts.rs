//! What is mounted while a `RUN` step runs, made ready as paths of ours.
//!
//! A part of an image is a mount of its layers below the place of the build, a part of a context a copy
//! of what its ignore file leaves: a program never sees a directory of somebody else, and what it
//! writes there is gone with the build. Secrets are files on a tmpfs of their own. Sources are resolved inside their roots before anything is mounted, and
//! nobody but us can change them afterwards.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Gid, Uid};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use orc_base::root::Root;
use orc_base::{Context, Error, Result, fs};

use crate::archive::pipe::blocking;
use crate::build::copy::{Copier, Picked};
use crate::build::files::Files;
use crate::build::graph::{InlineFile, Mount, Sharing};
use crate::build::key::KeyHasher;
use crate::build::runner::StepMount;
use crate::build::select::Select;
use crate::build::shared::{Shared, lock};
use crate::build::stack::{Writable, stack};
use crate::build::step_copy::Tree;
use crate::build::view::View;
use crate::cache_mount::{self, CacheMount};
use crate::digest::Digest;

/// The most bytes of all secrets of a step.
const SECRETS_BYTES: &str = "16777216";
/// Overlay mounts and tmpfs are for root only.
const PRIVATE_MODE: &str = "0700";

/// What a step sees besides its root file system.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    /// Parents first.
    pub(crate) mounts: Vec<StepMount>,
    /// Further variables.
    pub(crate) env: Vec<String>,
    /// Held while it runs.
    caches: Vec<CacheMount>,
}

type Trees<'a> = &'a (dyn Fn(usize) -> Result<Tree> + Sync);

/// Adds what the mounts of a step are to its key. What a secret, an agent or a cache holds does not
/// count: a step must make the same whatever it is.
pub(crate) async fn add_to_key(
    shared: &Arc<Shared>,
    hasher: &mut KeyHasher,
    mounts: &[Mount],
    trees: Trees<'_>,
) -> Result<()> {
    hasher.number(mounts.len() as u64);
    for mount in mounts {
        match mount {
            Mount::Bind {
                from,
                source,
                target,
                writable,
            } => {
                hasher.list(&["bind", target]);
                hasher.number(u64::from(*writable));
                add_source(shared, hasher, *from, source, trees).await?;
            }
            Mount::Cache {
                id,
                from,
                source,
                target,
                readonly,
                sharing,
                mode,
                owner,
            } => {
                hasher.list(&["cache", id, target, &format!("{sharing:?}")]);
                hasher.number(u64::from(*readonly));
                hasher.number(u64::from(*mode));
                hasher.number(u64::from(owner.0) << 32 | u64::from(owner.1));
                add_source(shared, hasher, *from, source, trees).await?;
            }
            Mount::Tmpfs { target, size_bytes } => {
                hasher.list(&["tmpfs", target]);
                hasher.number(size_bytes.unwrap_or(0));
            }
            Mount::Secret {
                id,
                target,
                env,
                required,
                mode,
                owner,
            } => {
                hasher.list(&["secret", id]);
                hasher.option(target.as_deref());
                hasher.option(env.as_deref());
                hasher.number(u64::from(*required) << 32 | u64::from(*mode));
                hasher.number(u64::from(owner.0) << 32 | u64::from(owner.1));
            }
            Mount::Ssh {
                id,
                target,
                required,
                mode,
                owner,
            } => {
                hasher.list(&["ssh", id, target]);
                hasher.number(u64::from(*required) << 32 | u64::from(*mode));
                hasher.number(u64::from(owner.0) << 32 | u64::from(owner.1));
            }
        }
    }
    Ok(())
}

async fn add_source(
    shared: &Arc<Shared>,
    hasher: &mut KeyHasher,
    from: Option<usize>,
    source: &str,
    trees: Trees<'_>,
) -> Result<()> {
    let Some(from) = from else {
        hasher.text("empty");
        return Ok(());
    };
    hasher.text(source);
    match trees(from)? {
        Tree::Files(files) => hasher.text(files.identity().as_str()),
        Tree::Context(view) => {
            let (work, source) = (shared.clone(), source.to_owned());
            let digest = blocking(move || Ok(pick(&work, &view, &source)?.1)).await?;
            hasher.text(digest.as_str());
        }
    }
    Ok(())
}

/// A part of a context, and the digest of what is in it. Blocks.
fn pick(shared: &Shared, view: &View, source: &str) -> Result<(Picked, Digest)> {
    let select = Select {
        view,
        parents: false,
        exclude: None,
        stop: &shared.stop,
    };
    let picked = select.whole(source)?;
    let picked = picked.ok_or_else(|| Error::internal("excluded without a pattern"))?;
    let mut hasher = KeyHasher::new("part of a context");
    for entries in [std::slice::from_ref(&picked.top), &picked.below] {
        let known = &shared.fingerprints;
        known.add(&mut hasher, view, &picked.at, entries, &shared.stop)?;
    }
    Ok((picked, hasher.finish()))
}

/// Makes all mounts of a step ready.
pub(crate) async fn prepare(
    shared: &Arc<Shared>,
    mounts: &[Mount],
    files: &[InlineFile],
    description: &str,
    trees: Trees<'_>,
) -> Result<Mounts> {
    let mut ready = Mounts::default();
    for mount in mounts {
        let prepared = ready.add(shared, mount, description, trees).await;
        prepared.context(|| format!("prepare {}", shown(mount)))?;
    }
    ready.add_files(shared, files)?;
    ready.mounts.sort_by_key(|mount| depth(target(mount)));
    Ok(ready)
}

fn shown(mount: &Mount) -> String {
    match mount {
        Mount::Bind { target, .. } => format!("the mount on {target}"),
        Mount::Cache { target, .. } => format!("the cache on {target}"),
        Mount::Tmpfs { target, .. } => format!("the tmpfs on {target}"),
        Mount::Secret { id, .. } => format!("the secret `{id}`"),
        Mount::Ssh { id, .. } => format!("the ssh agent `{id}`"),
    }
}

fn target(mount: &StepMount) -> &str {
    match mount {
        StepMount::Bind { target, .. }
        | StepMount::Tmpfs { target, .. }
        | StepMount::Agent { target, .. } => target,
    }
}

fn depth(target: &str) -> usize {
    Path::new(target).components().count()
}

impl Mounts {
    async fn add(
        &mut self,
        shared: &Arc<Shared>,
        mount: &Mount,
        description: &str,
        trees: Trees<'_>,
    ) -> Result<()> {
        match mount {
            Mount::Bind {
                from,
                source,
                target,
                writable,
            } => {
                let source = part(shared, *from, source, *writable, trees).await?;
                self.bind(source, target, !writable);
            }
            Mount::Cache {
                id,
                sharing,
                target,
                readonly,
                ..
            } => {
                let sharing = match sharing {
                    Sharing::Shared => cache_mount::Sharing::Shared,
                    Sharing::Private => cache_mount::Sharing::Private,
                    Sharing::Locked => cache_mount::Sharing::Locked,
                };
                let store = shared.store();
                let taken = store
                    .cache_mount(&shared.ingest, id, sharing, description)
                    .await?;
                if taken.is_fresh() {
                    fill(shared, &taken.path(), mount, trees).await?;
                }
                self.bind(taken.path(), target, *readonly);
                self.caches.push(taken);
            }
            Mount::Tmpfs { target, size_bytes } => self.mounts.push(StepMount::Tmpfs {
                target: target.clone(),
                size_bytes: *size_bytes,
            }),
            Mount::Secret { .. } => self.secret(shared, mount)?,
            Mount::Ssh { .. } => self.agent(shared, mount)?,
        }
        Ok(())
    }

    fn bind(&mut self, source: PathBuf, target: &str, readonly: bool) {
        self.mounts.push(StepMount::Bind {
            source,
            target: target.to_owned(),
            readonly,
        });
    }

    fn secret(&mut self, shared: &Shared, mount: &Mount) -> Result<()> {
        let Mount::Secret {
            id,
            target,
            env,
            required,
            mode,
            owner,
        } = mount
        else {
            return Ok(());
        };
        let Some(secret) = shared.secrets.iter().find(|secret| secret.id == *id) else {
            return match required {
                true => Err(Error::not_found(format!(
                    "it is required and was not given: add --secret id={id},src=…"
                ))),
                false => Ok(()),
            };
        };
        if let Some(name) = env {
            let value = std::str::from_utf8(&secret.value).ok();
            let value = value.filter(|value| !value.contains('\0')).ok_or_else(|| {
                Error::invalid("it is no text, which a variable has to be; mount it as a file")
            })?;
            self.env.push(format!("{name}={value}"));
        }
        if let Some(target) = target {
            let path =
                secret_place(shared)?.join(orc_base::id::hex(&orc_base::id::random_bytes::<8>()));
            write(&path, &secret.value, *mode, *owner)?;
            self.bind(path, target, true);
        }
        Ok(())
    }

    fn agent(&mut self, shared: &Shared, mount: &Mount) -> Result<()> {
        let Mount::Ssh {
            id,
            target,
            required,
            mode,
            owner,
        } = mount
        else {
            return Ok(());
        };
        let Some(given) = shared.ssh.iter().find(|agent| agent.id == *id) else {
            return match required {
                true => Err(Error::not_found(format!(
                    "it is required and was not given: add --ssh {id}"
                ))),
                false => Ok(()),
            };
        };
        self.mounts.push(StepMount::Agent {
            socket: given.socket.clone(),
            target: target.clone(),
            mode: *mode,
            owner: *owner,
        });
        self.env.push(format!("SSH_AUTH_SOCK={target}"));
        Ok(())
    }

    /// Here-documents that are scripts.
    fn add_files(&mut self, shared: &Shared, files: &[InlineFile]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let directory = shared.place.directory("scripts")?;
        for (index, file) in files.iter().enumerate() {
            let path = directory.join(index.to_string());
            write(&path, &file.bytes, 0o755, (0, 0))?;
            self.bind(path, &file.path, true);
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32, owner: (u32, u32)) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.context(|| format!("make {}", path.display()))?;
    file.write_all(bytes)?;
    let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    rustix::fs::fchown(&file, Some(user), Some(group))?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode))?;
    Ok(())
}

/// Where the secrets of the build are: in memory.
fn secret_place(shared: &Shared) -> Result<PathBuf> {
    let key = Digest::of(b"secrets");
    let mut paths = lock(&shared.paths);
    if let Some(path) = paths.get(&key) {
        return Ok(path.clone());
    }
    let memory = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).context(|| "open tmpfs")?;
    for (name, value) in [("size", SECRETS_BYTES), ("mode", PRIVATE_MODE)] {
        fsconfig_set_string(&memory, name, value).context(|| format!("set {name} of tmpfs"))?;
    }
    fsconfig_create(&memory).context(|| "make a tmpfs")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount =
        fsmount(&memory, FsMountFlags::FSMOUNT_CLOEXEC, attributes).context(|| "mount a tmpfs")?;
    let path = shared.place.mount(&mount, "secrets")?;
    paths.insert(key, path.clone());
    Ok(path)
}

/// The path of a part of a file system, which a program may see.
async fn part(
    shared: &Arc<Shared>,
    from: Option<usize>,
    source: &str,
    writable: bool,
    trees: Trees<'_>,
) -> Result<PathBuf> {
    let Some(from) = from else {
        return shared.place.directory("empty");
    };
    let (work, tree, source) = (shared.clone(), trees(from)?, source.to_owned());
    blocking(move || match tree {
        Tree::Files(files) => part_of_files(&work, &files, &source, writable),
        Tree::Context(view) => part_of_context(&work, &view, &source, writable),
    })
    .await
}

fn part_of_files(shared: &Shared, files: &Files, source: &str, writable: bool) -> Result<PathBuf> {
    let found = shared.view(files)?.find(Path::new(source))?;
    let lowers = files.lowers(shared.layers());
    if writable {
        let directory = shared.place.directory("written")?;
        let (upper, work) = (directory.join("upper"), directory.join("work"));
        fs::create_dir_all(&upper, 0o755)?;
        fs::create_dir_all(&work, 0o700)?;
        let writable = Writable {
            upper: &upper,
            work: &work,
        };
        let mount = stack(&lowers, Some(writable), &shared.empty)?;
        return Ok(shared.place.mount(&mount, "image")?.join(found.at));
    }
    let key = files.identity();
    let mut paths = lock(&shared.paths);
    if let Some(path) = paths.get(&key) {
        return Ok(path.join(found.at));
    }
    let mount = stack(&lowers, None, &shared.empty)?;
    let path = shared.place.mount(&mount, "image")?;
    paths.insert(key, path.clone());
    Ok(path.join(found.at))
}

fn part_of_context(shared: &Shared, view: &View, source: &str, writable: bool) -> Result<PathBuf> {
    let (picked, digest) = pick(shared, view, source)?;
    if !writable && let Some(path) = lock(&shared.paths).get(&digest) {
        return Ok(path.clone());
    }
    let directory = shared.place.directory("context")?;
    let path = copy_out(shared, view, &picked, &directory)?;
    if !writable {
        lock(&shared.paths).insert(digest, path.clone());
    }
    Ok(path)
}

/// Copies a source into a directory of ours, and says where it is.
fn copy_out(shared: &Shared, view: &View, picked: &Picked, directory: &Path) -> Result<PathBuf> {
    let root = Root::open(directory)?;
    let mut copier = Copier::new(&root, None, None, &shared.stop);
    copier.put(view, picked, Path::new("/it"))?;
    Ok(directory.join("it"))
}

/// Gives a new cache directory its looks and its first content.
async fn fill(shared: &Arc<Shared>, path: &Path, mount: &Mount, trees: Trees<'_>) -> Result<()> {
    let Mount::Cache {
        from,
        source,
        mode,
        owner,
        ..
    } = mount
    else {
        return Ok(());
    };
    let tree = from.map(trees).transpose()?;
    let (work, source, path) = (shared.clone(), source.clone(), path.to_owned());
    let (mode, owner) = (*mode, *owner);
    blocking(move || {
        if let Some(tree) = tree {
            let view = tree.view(&work)?;
            let (picked, _) = pick(&work, &view, &source)?;
            let root = Root::open(&path)?;
            Copier::new(&root, None, None, &work.stop).put(&view, &picked, Path::new("/"))?;
        }
        let directory = std::fs::File::open(&path)?;
        let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        rustix::fs::fchown(&directory, Some(user), Some(group))?;
        rustix::fs::fchmod(&directory, rustix::fs::Mode::from_raw_mode(mode))?;
        Ok(())
    })
    .await
}
