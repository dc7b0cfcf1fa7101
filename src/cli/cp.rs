//! `cp`: files between this machine and a container.
//!
//! What a container sends is foreign: it is unpacked here by the same reader as layers, below the
//! directory that was named and nowhere else.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use orc_base::root::Root;
use orc_base::{Context, Error, Result, units};
use orc_host::Host;
use orc_host::archive::{PathStat, WriteOptions};
use orc_host::stream::{Bytes, Stream};
use orc_image::archive::files::{self, Files};
use rustix::fs::{Mode, OFlags};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::copy::{self, End, Is, Source, Target};
use crate::cli::session::Session;
use crate::cli::transfer::pieces;
use crate::ui::out;

/// `S_IFMT` and two of its values (inode(7)).
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// How many links to a target are followed.
const MAX_LINKS: usize = 10;

/// Copy files between a container and this machine
#[derive(Debug, Args)]
#[command(
    override_usage = "orc cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n       \
                            orc cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"
)]
pub(crate) struct Cp {
    #[command(flatten)]
    flags: CopyFlags,
    /// What is copied: DIRECTORY/. is what is in it, - a tar archive on standard input
    #[arg(value_name = "SRC_PATH")]
    source: String,
    /// Where it goes; - is standard output, as a tar archive
    #[arg(value_name = "DEST_PATH")]
    target: String,
}

/// How something is copied.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CopyFlags {
    /// Keep who owns the files
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link in SRC_PATH leads to, not the link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
}

impl CopyFlags {
    /// A copy that says nothing and belongs to whoever asked.
    pub(crate) fn quiet() -> Self {
        Self {
            quiet: true,
            ..Self::default()
        }
    }
}

impl Cp {
    /// Says on standard error how much was copied, as Docker does.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let (from, to) = (copy::end(&self.source), copy::end(&self.target));
        check(&from, &to)?;
        let host = session.host().await?;
        self.flags.copy(&*host, from, to).await?;
        Ok(OK)
    }
}

/// One end is in a container.
pub(crate) fn check(from: &End, to: &End) -> Result<()> {
    match (from, to) {
        (End::Container { .. }, End::Container { .. }) => Err(Error::unsupported(
            "copying between containers is not supported",
        )),
        (End::Container { .. }, _) | (_, End::Container { .. }) => Ok(()),
        _ => Err(Error::invalid("must specify at least one container source")),
    }
}

impl CopyFlags {
    /// Copies, between ends of which [`check`] has seen that one is in a container.
    pub(crate) async fn copy(&self, host: &dyn Host, from: End, to: End) -> Result<()> {
        let copied = match (from, to) {
            (End::Container { name, path }, to) => self.fetch(host, &name, path, to).await?,
            (from, End::Container { name, path }) => self.send(host, from, &name, &path).await?,
            _ => return Err(Error::internal("no container to copy from or to")),
        };
        if let (Some((bytes, place)), false) = (copied, self.quiet) {
            let size = units::format_bytes(bytes);
            out::note(&format!("Successfully copied {size} to {place}"));
        }
        Ok(())
    }

    /// From a container.
    async fn fetch(
        &self,
        host: &dyn Host,
        container: &str,
        mut path: String,
        to: End,
    ) -> Result<Option<(u64, String)>> {
        let wanted = copy::base(&path);
        if self.follow_link
            && let Ok(stat) = host.stat_path(container, &path).await
            && stat.mode & KIND == LINK
        {
            let target = copy::leads_to(&path, &stat.link_target);
            path = copy::with_end_of(&target, &path);
        }
        if to == End::Pipe {
            let mut tar = host.read_path(container, &path).await?.tar;
            while let Some(piece) = tar.next().await {
                out::bytes(&piece?);
            }
            return Ok(None);
        }
        let target = match to {
            End::Local(path) => local_target(&path)?,
            End::Container { .. } | End::Pipe => return Err(Error::internal("two containers")),
        };
        let found = host.read_path(container, &path).await?;
        let source = Source {
            base: wanted,
            is_directory: found.stat.mode & KIND == DIRECTORY,
        };
        let landing = copy::landing(&source, &target)?;
        let called = landing.called.unwrap_or(source.base);
        let (tar, count) = counted(found.tar);
        let into = Files {
            directory: "".into(),
            keeps_kinds: true,
            owner: match self.archive && rustix::process::geteuid().is_root() {
                true => None,
                false => Some(ourselves()),
            },
            rename: renaming(&found.stat, &called),
        };
        let root = Root::open(Path::new(&landing.directory))?;
        let tar = StreamReader::new(tar.map_err(std::io::Error::other));
        files::receive(root, into, tar).await?;
        Ok(Some((count.load(Ordering::Relaxed), target.path)))
    }

    /// Into a container.
    async fn send(
        &self,
        host: &dyn Host,
        from: End,
        container: &str,
        path: &str,
    ) -> Result<Option<(u64, String)>> {
        let target = container_target(host, container, path).await?;
        let options = WriteOptions {
            keeps_kinds: true,
            as_user: self.archive,
        };
        let (tar, directory) = match from {
            End::Pipe if target.is != Is::Directory => {
                return Err(Error::invalid(format!(
                    "destination \"{container}:{path}\" must be a directory"
                )));
            }
            End::Pipe => {
                let tar = pieces(tokio::io::stdin(), "standard input".into());
                (tar, target.path.clone())
            }
            End::Local(path) => {
                let local = local_source(&path, self.follow_link)?;
                let landing = copy::landing(&local.source, &target)?;
                let called = landing.called.unwrap_or(local.source.base);
                (
                    packed(local.parent, &local.name, &called),
                    landing.directory,
                )
            }
            End::Container { .. } => return Err(Error::internal("two containers")),
        };
        let (tar, count) = counted(tar);
        let written = host.write_path(container, &directory, tar, options);
        written.await?;
        let place = format!("{container}:{}", target.path);
        Ok(Some((count.load(Ordering::Relaxed), place)))
    }
}

/// Names of the archive begin with what the daemon says they do.
fn renaming(stat: &PathStat, called: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let from = match stat.name.as_str() {
        // Names of the root begin with the slash that must stay.
        "/" => "",
        name => name,
    };
    let to = if called == "/" { "" } else { called };
    (from != to).then(|| (from.into(), to.into()))
}

fn ourselves() -> (u32, u32) {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    (uid.as_raw(), gid.as_raw())
}

/// A stream, and how many bytes have passed.
fn counted(tar: Stream<Bytes>) -> (Stream<Bytes>, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    let tar = tar.inspect_ok(move |bytes| {
        counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    });
    (Box::pin(tar), count)
}

/// The archive of something here.
fn packed(parent: OwnedFd, name: &str, called: &str) -> Stream<Bytes> {
    let (theirs, ours) = tokio::io::duplex(256 << 10);
    let source = files::Source {
        parent,
        name: name.into(),
        called: called.into(),
    };
    let sent = tokio::spawn(files::send(source, ours));
    let bytes = ReaderStream::with_capacity(theirs, 64 << 10).map_err(Error::from);
    // The archive ends when its writer is gone; why it went is asked then.
    let end = futures_util::stream::once(sent).filter_map(|sent| {
        let failed = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(error) => Some(Err(Error::internal(error.to_string()))),
        };
        std::future::ready(failed)
    });
    Box::pin(bytes.chain(end))
}

/// What is to be copied from here.
struct Local {
    parent: OwnedFd,
    name: String,
    source: Source,
}

fn local_source(path: &str, follow: bool) -> Result<Local> {
    let here = std::env::current_dir().context(|| "find the current directory")?;
    let absolute = copy::absolute(&here, path);
    let (directory, name) = match follow || copy::wants_directory(path) {
        true => {
            let real = std::fs::canonicalize(&absolute).context(|| format!("lstat {absolute}"))?;
            copy::split(&copy::with_end_of(&real.to_string_lossy(), path))
        }
        false => copy::split(&absolute),
    };
    let at = Path::new(&directory).join(&name);
    let meta = at
        .symlink_metadata()
        .context(|| format!("lstat {}", at.display()))?;
    if copy::wants_directory(path) && !meta.is_dir() {
        return Err(Error::invalid(format!("{absolute} is not a directory")));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Local {
        parent: rustix::fs::open(&directory, flags, Mode::empty())
            .context(|| format!("open {directory}"))?,
        name,
        source: Source {
            base: copy::base(&absolute),
            is_directory: meta.is_dir(),
        },
    })
}

/// Where something is to go here. A link stands for what it leads to, which need not be there.
fn local_target(path: &str) -> Result<Target> {
    let here = std::env::current_dir().context(|| "find the current directory")?;
    let mut path = copy::absolute(&here, path);
    for _ in 0..=MAX_LINKS {
        // A slash at the end would follow a link.
        let meta = Path::new(path.trim_end_matches('/')).symlink_metadata();
        let is = match meta {
            _ if copy::clean(&path) == "/" => Is::Directory,
            Ok(meta) if meta.is_symlink() => {
                let link = std::fs::read_link(path.trim_end_matches('/'))?;
                path = copy::leads_to(&path, &link.to_string_lossy());
                continue;
            }
            Ok(meta) if meta.is_dir() => Is::Directory,
            Ok(_) if copy::wants_directory(&path) => {
                return Err(Error::invalid(format!("{path}: not a directory")));
            }
            Ok(meta) if meta.is_file() => Is::Other,
            Ok(_) => {
                return Err(Error::invalid(format!(
                    "invalid output path: \"{path}\" must be a directory or a regular file"
                )));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Is::Nothing,
            Err(error) => return Err(error).context(|| format!("lstat {path}")),
        };
        let (parent, _) = copy::split(&path);
        if is == Is::Nothing && !Path::new(&parent).is_dir() {
            return Err(Error::not_found(format!(
                "invalid output path: directory \"{parent}\" does not exist"
            )));
        }
        return Ok(Target { path, is });
    }
    Err(Error::invalid(format!(
        "{path} is a link to too many links"
    )))
}

/// Where something is to go in a container. When nothing can be learned about it the daemon will say
/// what is wrong.
async fn container_target(host: &dyn Host, container: &str, path: &str) -> Result<Target> {
    let mut target = path.to_owned();
    let mut stat = host.stat_path(container, path).await.ok();
    if let Some(link) = stat.as_ref().filter(|stat| stat.mode & KIND == LINK) {
        target = copy::leads_to(path, &link.link_target);
        stat = host.stat_path(container, &target).await.ok();
    }
    let is = match stat.map(|stat| stat.mode & KIND) {
        None => Is::Nothing,
        Some(DIRECTORY) => Is::Directory,
        Some(REGULAR) => Is::Other,
        Some(_) => {
            return Err(Error::invalid(format!(
                "destination \"{container}:{path}\" must be a directory or a regular file"
            )));
        }
    };
    let path = copy::with_end_of(&copy::clean(&format!("/{target}")), &target);
    Ok(Target { path, is })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_from_the_archive() {
        let stat = |name: &str| PathStat {
            name: name.into(),
            size_bytes: 0,
            mode: DIRECTORY,
            mtime: orc_base::Time::EPOCH,
            link_target: String::new(),
        };
        let pair = |from: &str, to: &str| Some((from.into(), to.into()));
        assert_eq!(renaming(&stat("a"), "a"), None);
        assert_eq!(renaming(&stat("a"), "b"), pair("a", "b"));
        assert_eq!(renaming(&stat("/"), "b"), pair("", "b"));
        assert_eq!(renaming(&stat("/"), "/"), None);
        assert_eq!(renaming(&stat("."), "b"), pair(".", "b"));
    }

    #[test]
    fn what_is_here_is_looked_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(at("d")).unwrap();
        std::fs::write(at("d/f"), b"x").unwrap();
        std::os::unix::fs::symlink("d", at("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        let base = |path: &str, follow| {
            let local = local_source(&at(path), follow).unwrap();
            format!(
                "{} {} {}",
                local.name, local.source.base, local.source.is_directory
            )
        };
        assert_eq!(base("d/f", false), "f f false");
        assert_eq!(base("d", false), "d d true");
        assert_eq!(base("d/.", false), ". . true");
        assert_eq!(base("link", false), "link link false");
        assert_eq!(base("link/", false), "d link true");
        assert_eq!(base("link", true), "d link true");
        assert_eq!(base("dangling", false), "dangling dangling false");
        assert!(local_source(&at("dangling"), true).is_err());
        assert!(local_source(&at("d/f/"), false).is_err());
        let to = |path: &str| local_target(&at(path)).map(|target| (target.path, target.is));
        assert_eq!(to("d").unwrap(), (at("d"), Is::Directory));
        assert_eq!(to("link").unwrap(), (at("d"), Is::Directory));
        assert_eq!(to("dangling").unwrap(), (at("nowhere"), Is::Nothing));
        assert_eq!(to("d/f").unwrap(), (at("d/f"), Is::Other));
        assert_eq!(to("new/").unwrap(), (at("new/"), Is::Nothing));
        assert!(to("new/new").is_err() && to("d/f/").is_err());
        assert!(local_target("/dev/null").is_err());
    }
}
