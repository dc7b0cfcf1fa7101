//! Files of containers: what `cp` and `export` do.
//!
//! A container's files are looked at through a view that has no process in it (`orc_runtime::view`):
//! of a running container its own mounts, of one that does not run its layers put together anew. In
//! the second case the container's turn is held until the view is gone, so that it is not started on
//! the same layers. What comes in and goes out is foreign on both sides and never resolved by a path
//! of the host's.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use orc_base::root::Root;
use orc_base::{Context, Error, Kind, Result, Time};
use orc_host::archive::{PathArchive, PathStat, WriteOptions};
use orc_host::stream::{Bytes, Stream};
use orc_image::archive::files::{self, Source};
use orc_image::digest::Digest;
use orc_runtime::spec::{Mount, Rootfs};
use orc_runtime::view::View;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, StatVfsMountFlags, StatxFlags};
use tokio::sync::OwnedMutexGuard;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::cell::Cell;
use crate::core::{Core, blocking};
use crate::files::FILES;
use crate::records::ContainerRecord;
use crate::start::order;
use crate::{mounts, translate};

/// Where the kernel's own file systems are.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// The files of a container, for as long as this lives.
struct Files {
    view: View,
    /// Held when the container does not run.
    _turn: Option<OwnedMutexGuard<()>>,
}

/// Which mounts are in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mounts {
    /// Volumes, binds and generated files.
    Own,
    None,
}

/// What is at a path.
pub(crate) async fn stat(core: &Arc<Core>, cell: &Arc<Cell>, path: &str) -> Result<PathStat> {
    let files = open(core, cell, Mounts::Own).await?;
    let (path, name) = (path.to_owned(), cell.record().name.to_string());
    blocking(move || {
        let root = files.view.root();
        let found = find(root, &path).and_then(|place| place.stat(root));
        found.map_err(|error| missing(error, &path, &name))
    })
    .await
}

/// What is at a path, and its archive.
pub(crate) async fn read(core: &Arc<Core>, cell: &Arc<Cell>, path: &str) -> Result<PathArchive> {
    let files = open(core, cell, Mounts::Own).await?;
    let (path, name) = (path.to_owned(), cell.record().name.to_string());
    let (files, stat, source) = blocking(move || {
        let root = files.view.root();
        let found = find(root, &path).and_then(|place| Ok((place.stat(root)?, place)));
        let (stat, place) = found.map_err(|error| missing(error, &path, &name))?;
        let source = Source {
            called: PathBuf::from(&stat.name),
            parent: place.parent,
            name: place.name.into(),
        };
        Ok((files, stat, source))
    })
    .await?;
    core.say(cell, "archive-path", &[]);
    let tar = archive(move |out| async move {
        let sent = files::send(source, out).await;
        drop(files);
        sent
    });
    Ok(PathArchive { stat, tar })
}

/// Writes the files of an archive into a directory.
pub(crate) async fn write(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    path: &str,
    tar: Stream<Bytes>,
    options: WriteOptions,
) -> Result<()> {
    let files = open(core, cell, Mounts::Own).await?;
    let record = cell.record();
    let path = path.to_owned();
    let (files, root, into) = blocking(move || {
        let root = files.view.root();
        let directory = destination(root, &path)
            .map_err(|error| missing(error, &path, record.name.as_str()))?;
        let owner = match options.as_user && !record.effective.user.is_empty() {
            true => Some(orc_runtime::user::owner(root, &record.effective.user)?),
            false => None,
        };
        let root = Root::from_fd(root.as_fd().try_clone_to_owned()?);
        let into = files::Files {
            directory,
            keeps_kinds: options.keeps_kinds,
            owner,
            rename: None,
        };
        Ok((files, root, into))
    })
    .await?;
    let tar = StreamReader::new(tar.map_err(|error| std::io::Error::other(error.to_string())));
    let received = files::receive(root, into, tar).await;
    drop(files);
    received?;
    core.say(cell, "extract-to-dir", &[]);
    Ok(())
}

/// Removes files and trees.
pub(crate) async fn remove(core: &Arc<Core>, cell: &Arc<Cell>, paths: &[String]) -> Result<()> {
    let files = open(core, cell, Mounts::Own).await?;
    let mut mounted = targets(&cell.record());
    mounted.extend(KERNEL.map(String::from));
    let paths = paths.to_vec();
    blocking(move || {
        let root = files.view.root();
        paths
            .iter()
            .try_for_each(|path| remove_one(root, path, &mounted))
    })
    .await?;
    core.say(cell, "remove-paths", &[]);
    Ok(())
}

/// Removes what is at `path`, links on the way followed and a link at its end not. What something is
/// `mounted` on stays: outside of the container's mount namespace the kernel would let it go and take
/// the mount away (`detach_mounts`, Linux 3.18).
fn remove_one(root: &Root, path: &str, mounted: &[String]) -> Result<()> {
    let cleaned = clean(path);
    let (Some(above), Some(name)) = (cleaned.parent(), cleaned.file_name()) else {
        return Err(Error::invalid("the root directory cannot be removed"));
    };
    let above = match root.canonical(above) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        other => other?,
    };
    let real = above.join(name);
    let below = mounted.iter().map(|target| {
        root.canonical(clean(target))
            .unwrap_or_else(|_| clean(target))
    });
    if let Some(target) = below.into_iter().find(|target| target.starts_with(&real)) {
        return Err(Error::invalid(format!(
            "{path} cannot be removed: something is mounted at {}",
            target.display()
        )));
    }
    root.remove_all(&real)
}

/// The root file system as an archive.
pub(crate) async fn export(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<Stream<Bytes>> {
    let files = open(core, cell, Mounts::None).await?;
    core.say(cell, "export", &[]);
    let root = files.view.root().as_fd().try_clone_to_owned()?;
    Ok(archive(move |out| async move {
        let sent = files::send_all(root, out).await;
        drop(files);
        sent
    }))
}

/// The stream of what `send` writes. An error is its last item.
fn archive<F>(send: impl FnOnce(tokio::io::DuplexStream) -> F) -> Stream<Bytes>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (theirs, ours) = tokio::io::duplex(256 << 10);
    let (failure, failed) = tokio::sync::oneshot::channel();
    let sending = send(ours);
    tokio::spawn(async move {
        if let Err(error) = sending.await {
            let _ = failure.send(error);
        }
    });
    // The archive ends when its writer is gone; why it went is asked then.
    let bytes = ReaderStream::with_capacity(theirs, 64 << 10).map_err(Error::from);
    let end = stream::once(failed).filter_map(|failed| std::future::ready(failed.ok().map(Err)));
    Box::pin(bytes.chain(end))
}

async fn open(core: &Arc<Core>, cell: &Arc<Cell>, wanted: Mounts) -> Result<Files> {
    let turn = cell.turn.clone().lock_owned().await;
    let record = cell.record();
    let Some(run) = cell.run() else {
        cell.until_settled().await;
        let core = core.clone();
        return blocking(move || {
            let view = stopped(&core, &record, wanted)?;
            let _turn = Some(turn);
            Ok(Files { view, _turn })
        })
        .await;
    };
    blocking(move || {
        let targets = match wanted {
            Mounts::Own => targets(&record),
            Mounts::None => Vec::new(),
        };
        let view = View::of_running(&run.monitor, &targets)?;
        drop(turn);
        Ok(Files { view, _turn: None })
    })
    .await
}

/// Where something is mounted into a container, besides the kernel's file systems.
fn targets(record: &ContainerRecord) -> Vec<String> {
    let own = record.mounts.iter().map(|mount| mount.target().to_owned());
    let generated = FILES.iter().map(|(_, target)| (*target).to_owned());
    own.chain(generated).collect()
}

fn stopped(core: &Core, record: &ContainerRecord, wanted: Mounts) -> Result<View> {
    let image = Digest::parse(&record.image_id)?;
    let snapshot = core.images.snapshot(&record.id, &image)?;
    let rootfs = Rootfs {
        lowers: snapshot.lowers,
        upper: snapshot.upper,
        work: snapshot.work,
        readonly: record.spec.read_only,
    };
    if wanted == Mounts::None {
        return View::of_stopped(&rootfs, &[]);
    }
    let own = mounts::found(core, record)?;
    let generated: Vec<Mount> = FILES
        .iter()
        .map(|(name, target)| (core.store.generated(&record.id, name), target))
        .filter(|(source, _)| source.exists())
        .map(|(source, target)| translate::generated(source, target, record.spec.read_only))
        .collect();
    let view = View::of_stopped(&rootfs, &order(generated, own));
    // The view has its own mounts of what was mounted for it.
    core.volumes.let_go(&record.id)?;
    view
}

/// Docker's words for what is not there.
fn missing(error: Error, path: &str, container: &str) -> Error {
    match error.kind() {
        Kind::NotFound => Error::not_found(format!(
            "Could not find the file {path} in container {container}"
        )),
        _ => error,
    }
}

/// Something at a path: an open directory and a name in it.
#[derive(Debug)]
struct Place {
    parent: OwnedFd,
    /// `.` for the directory itself.
    name: OsString,
    /// The last component of the path as it was given.
    shown: String,
    /// The path without ornaments.
    path: PathBuf,
}

/// Finds what `path` means: see `orc_host::archive`.
fn find(root: &Root, path: &str) -> Result<Place> {
    let cleaned = clean(path);
    let through = path.is_empty() || path.ends_with('/') || path.ends_with("/.") || path == ".";
    let name = cleaned.file_name().map(ToOwned::to_owned);
    match name {
        Some(name) if !through => {
            let above = cleaned.parent().unwrap_or(Path::new("/"));
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            Ok(Place {
                parent: root.open_at(above, flags, Mode::empty())?,
                shown: name.to_string_lossy().into_owned(),
                name,
                path: cleaned,
            })
        }
        name => {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let shown = match name {
                _ if path.ends_with("/.") => ".".into(),
                Some(name) => name.to_string_lossy().into_owned(),
                None => "/".into(),
            };
            Ok(Place {
                parent: root.open_at(&cleaned, flags, Mode::empty())?,
                name: ".".into(),
                shown,
                path: cleaned,
            })
        }
    }
}

impl Place {
    fn stat(&self, root: &Root) -> Result<PathStat> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&self.parent, self.name.as_os_str(), flags)
            .context(|| self.path.display().to_string())?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        Ok(PathStat {
            name: self.shown.clone(),
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode,
            mtime: mtime(&stat),
            link_target: match is_link {
                true => self.leads_to(root)?,
                false => String::new(),
            },
        })
    }

    /// Where a link leads. What it names need not be there.
    fn leads_to(&self, root: &Root) -> Result<String> {
        if let Ok(path) = root.canonical(&self.path) {
            return Ok(path.to_string_lossy().into_owned());
        }
        let target = rustix::fs::readlinkat(&self.parent, self.name.as_os_str(), Vec::new())?;
        let above = self.path.parent().unwrap_or(Path::new("/"));
        let above = root.canonical(above)?;
        let text = above.join(&*target.to_string_lossy());
        Ok(clean(&text.to_string_lossy())
            .to_string_lossy()
            .into_owned())
    }
}

fn mtime(stat: &Stat) -> Time {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let seconds = stat.st_mtime.checked_mul(1_000_000_000);
    Time::from_nanos(seconds.unwrap_or(0).saturating_add(nanos))
}

/// The directory that an archive is written into, every link on the way followed.
fn destination(root: &Root, path: &str) -> Result<PathBuf> {
    let file = root.open_at(clean(path), OFlags::PATH, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Error::invalid("extraction point is not a directory"));
    }
    let readonly = StatVfsMountFlags::RDONLY;
    if rustix::fs::fstatvfs(&file)?.f_flag.contains(readonly) {
        return Err(Error::denied(match mount_of(root)? == mount_of(&file)? {
            true => "container rootfs is marked read-only",
            false => "mounted volume is marked read-only",
        }));
    }
    root.canonical(clean(path))
}

/// The mount that something is on.
fn mount_of(file: impl AsFd) -> Result<u64> {
    let (flags, wanted) = (AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    Ok(rustix::fs::statx(file, c"", flags, wanted)?.stx_mnt_id)
}

/// The absolute path without `.`, `..` and doubled slashes, as text: links play no part yet.
fn clean(path: &str) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => drop(cleaned.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/file"), b"12345").unwrap();
        symlink("/a/b", dir.path().join("link")).unwrap();
        symlink("../../../nowhere/./x", dir.path().join("a/dangling")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn name_of(root: &Root, path: &str) -> Result<(String, String)> {
        let place = find(root, path)?;
        let stat = place.stat(root)?;
        let kind = match FileType::from_raw_mode(stat.mode) {
            FileType::Directory => "directory".into(),
            FileType::Symlink => format!("link to {}", stat.link_target),
            _ => format!("{} bytes", stat.size_bytes),
        };
        Ok((stat.name, kind))
    }

    #[test]
    fn paths_mean_what_docker_says() {
        let (_dir, root) = tree();
        for (path, name, kind) in [
            ("/a/file", "file", "5 bytes"),
            ("a/file", "file", "5 bytes"),
            ("/link", "link", "link to /a/b"),
            ("/link/", "link", "directory"),
            ("/link/.", ".", "directory"),
            ("/a/./b/..//file", "file", "5 bytes"),
            ("/", "/", "directory"),
            ("/.", ".", "directory"),
            ("", "/", "directory"),
            ("/../..", "/", "directory"),
            ("/a/dangling", "dangling", "link to /nowhere/x"),
        ] {
            let found = name_of(&root, path).unwrap();
            assert_eq!(found, (name.into(), kind.into()), "{path}");
        }
        for bad in ["/nope", "/nope/x", "/a/dangling/"] {
            assert_eq!(
                name_of(&root, bad).unwrap_err().kind(),
                Kind::NotFound,
                "{bad}"
            );
        }
        assert!(name_of(&root, "/a/file/").is_err());
    }

    #[test]
    fn only_what_nothing_is_mounted_on_is_removed() {
        let (dir, root) = tree();
        let mounted = ["/a/b".to_owned()];
        for kept in ["/", "/a", "/a/b", "link/../a", "/a/../.."] {
            assert!(remove_one(&root, kept, &mounted).is_err(), "{kept}");
        }
        for gone in ["/a/b/nope", "/nope/x", "/a/file", "/a/dangling", "link"] {
            remove_one(&root, gone, &mounted).unwrap();
        }
        assert!(dir.path().join("a/b").exists());
        for gone in ["a/file", "a/dangling", "link"] {
            assert!(dir.path().join(gone).symlink_metadata().is_err(), "{gone}");
        }
        remove_one(&root, "/a", &[]).unwrap();
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn archives_go_into_directories_only() {
        let (_dir, root) = tree();
        assert_eq!(destination(&root, "/link").unwrap(), Path::new("/a/b"));
        assert_eq!(destination(&root, "/").unwrap(), Path::new("/"));
        let error = destination(&root, "/a/file").unwrap_err();
        assert_eq!(error.to_string(), "extraction point is not a directory");
        assert_eq!(destination(&root, "/x").unwrap_err().kind(), Kind::NotFound);
    }
}
