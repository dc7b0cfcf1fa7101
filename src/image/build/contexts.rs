//! Where the files of a build come from: directories, archives, the web, repositories, images.
//!
//! What is not a directory of this machine is brought below the place of the build, and goes with it.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use orc_base::root::Root;
use orc_base::{Context, Error, Kind, Result};

use crate::archive::pipe::{self, blocking};
use crate::build::archive;
use crate::build::fetch;
use crate::build::git;
use crate::build::request::ContextSource;
use crate::build::shared::Shared;
use crate::dockerfile::ignore::MAX_BYTES as MAX_IGNORE_BYTES;
use crate::progress::Silent;
use crate::unpack::compression::MAGIC_BYTES;

/// The most bytes of a Dockerfile.
const MAX_DOCKERFILE_BYTES: u64 = 4 << 20;
/// How much of a download decides what it is.
const START_BYTES: usize = 512;

/// The archive that comes with a request.
pub type ContextArchive = Box<dyn tokio::io::AsyncRead + Send + Unpin>;

/// A context that is open.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A directory.
    Directory(Root),
    /// A Dockerfile and nothing else.
    Dockerfile(Vec<u8>),
    /// An image by its name.
    Image(String),
    /// An image in a directory.
    Layout {
        /// The directory.
        path: PathBuf,
        /// `:tag`, `@digest` or nothing.
        version: String,
    },
}

/// Opens a context.
pub(crate) async fn open(
    shared: &Arc<Shared>,
    source: &ContextSource,
    archive: Option<ContextArchive>,
) -> Result<Opened> {
    match source {
        ContextSource::Empty => Ok(Opened::Directory(Root::open(&shared.empty)?)),
        ContextSource::Directory { path, identity } => {
            let (path, identity) = (path.clone(), *identity);
            blocking(move || directory(&path, identity).map(Opened::Directory)).await
        }
        ContextSource::Archive => {
            let archive = archive.ok_or_else(|| {
                Error::invalid("the context is an archive, but no archive comes with the request")
            })?;
            let opened = take(shared, archive).await;
            opened.context(|| "read the archive of the context")
        }
        ContextSource::Remote(url) if git::is_repository(url) => {
            let directory = shared.place.directory("repository")?;
            let tree = git::check_out(url, None, true, &directory).await;
            let tree = tree.context(|| format!("fetch the context {}", git::shown(url)))?;
            Ok(Opened::Directory(Root::open(&tree)?))
        }
        ContextSource::Remote(url) => {
            let opened = download(shared, url).await;
            opened.context(|| format!("download the context {}", fetch::shown(url)))
        }
        ContextSource::Image(name) => Ok(Opened::Image(name.clone())),
        ContextSource::Layout { path, version } => Ok(Opened::Layout {
            path: path.clone(),
            version: version.clone(),
        }),
    }
}

fn directory(path: &Path, identity: Option<(u64, u64)>) -> Result<Root> {
    let open = || -> Result<Root> {
        if !path.is_absolute() {
            return Err(Error::invalid("it is not an absolute path"));
        }
        let root = Root::open(path)?;
        let stat = rustix::fs::fstat(&root)?;
        if identity.is_some_and(|identity| identity != (stat.st_dev, stat.st_ino)) {
            return Err(Error::conflict(
                "the engine sees another directory there than you do; send it with `tar c . | orc build -`",
            ));
        }
        Ok(root)
    };
    open().context(|| format!("open the context {}", path.display()))
}

async fn take(shared: &Arc<Shared>, archive: ContextArchive) -> Result<Opened> {
    let work = shared.clone();
    let unpack = move |tar: pipe::PipeReader, _| unpack(&work, tar);
    pipe::feed(archive, &Silent, unpack).await
}

fn unpack(shared: &Shared, mut source: impl Read + Send) -> Result<Opened> {
    let mut start = vec![0; MAGIC_BYTES];
    let count = crate::unpack::stream::read_full(&mut source, &mut start)
        .map_err(crate::unpack::stream::error)?;
    start.truncate(count);
    if start.is_empty() {
        return Err(Error::invalid("it is empty"));
    }
    let directory = shared.place.directory("context")?;
    let held = std::fs::File::open(&directory)?;
    let source = std::io::Cursor::new(start).chain(source);
    archive::unpack(source, held.as_fd(), None, &shared.stop)?;
    Ok(Opened::Directory(Root::open(&directory)?))
}

/// A download is an archive, or a Dockerfile.
async fn download(shared: &Arc<Shared>, url: &str) -> Result<Opened> {
    let mut response = fetch::open(&shared.http, fetch::parse(url)?).await?;
    let mut start = Vec::new();
    while start.len() < START_BYTES {
        match fetch::next(&mut response).await? {
            Some(chunk) => start.extend_from_slice(&chunk),
            None => break,
        }
    }
    if !archive::begins_like_an_archive(&start) {
        while let Some(chunk) = fetch::next(&mut response).await? {
            start.extend_from_slice(&chunk);
            if start.len() as u64 > MAX_DOCKERFILE_BYTES {
                return Err(Error::exhausted(format!(
                    "it is no archive, and as a Dockerfile it is larger than {MAX_DOCKERFILE_BYTES} bytes"
                )));
            }
        }
        return Ok(Opened::Dockerfile(start));
    }
    let rest = futures_util::stream::try_unfold(response, |mut response| async move {
        let chunk = fetch::next(&mut response)
            .await
            .map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(chunk.map(|chunk| (chunk, response)))
    });
    let rest = tokio_util::io::StreamReader::new(Box::pin(rest));
    let start = std::io::Cursor::new(start);
    take(
        shared,
        Box::new(tokio::io::AsyncReadExt::chain(start, rest)),
    )
    .await
}

/// The Dockerfile at `path` in a context. Links are followed inside of it.
pub(crate) fn dockerfile(root: &Root, path: &str) -> Result<Vec<u8>> {
    let missing = |error: Error| match error.kind() {
        Kind::NotFound => Error::not_found(format!(
            "failed to read dockerfile: open {path}: no such file or directory{}",
            suggestion(root, path)
        )),
        _ => error.within(format!("read {path}")),
    };
    read(root, path, MAX_DOCKERFILE_BYTES).map_err(missing)
}

/// The first of these files that is there, and what it says.
pub(crate) fn ignore_file(root: &Root, names: &[String]) -> Result<Option<String>> {
    for name in names {
        match read(root, name, MAX_IGNORE_BYTES as u64) {
            Ok(bytes) => return Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error.within(format!("read {name}"))),
        }
    }
    Ok(None)
}

fn read(root: &Root, path: &str, limit: u64) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = root.open_at(path, flags, rustix::fs::Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::RegularFile => {}
        rustix::fs::FileType::Directory => return Err(Error::invalid("it is a directory")),
        _ => return Err(Error::invalid("it is not a file")),
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::from(file);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(Error::exhausted(format!("it is larger than {limit} bytes"))),
        false => Ok(bytes),
    }
}

/// Files beside it whose names look like a Dockerfile's.
fn suggestion(root: &Root, path: &str) -> String {
    let above = Path::new(path).parent().unwrap_or(Path::new(""));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let Ok(directory) = root.open_at(above, flags, rustix::fs::Mode::empty()) else {
        return String::new();
    };
    let Ok(entries) = rustix::fs::Dir::read_from(&directory) else {
        return String::new();
    };
    let names = entries.take(10_000).filter_map(|entry| {
        let name = entry.ok()?.file_name().to_str().ok()?.to_owned();
        let lower = name.to_lowercase();
        let looks = lower.contains("dockerfile") || lower.contains("containerfile");
        (looks && !lower.ends_with("ignore")).then_some(name)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.truncate(5);
    match names.is_empty() {
        true => String::new(),
        false => format!(" (there is {})", names.join(", ")),
    }
}
