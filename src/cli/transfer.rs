//! Images in and out: `pull`, `push`, `import`, `save` and `load`.

use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::StreamExt;
use orc_base::{Context, Error, Kind, Result};
use orc_host::Host;
use orc_host::image::{ImportSource, ImportTar};
use orc_host::stream::{Bytes, Stream};
use orc_image::reference::Reference;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::cli::failure::{OK, Outcome};
use crate::cli::flags::Pull as When;
use crate::cli::platform::PlatformFlag;
use crate::cli::pull::{self, credentials, follow};
use crate::cli::session::Session;
use crate::cli::stdio;
use crate::cli::trust::TrustFlag;
use crate::ui::progress::Mode;
use crate::ui::{escape, out, terminal};

/// How much of an archive is read at once.
const PIECE_BYTES: usize = 256 << 10;

fn mode(quiet: bool) -> Mode {
    if quiet { Mode::Quiet } else { Mode::Auto }
}

/// Fetch an image from its registry
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Refuse an image for another platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// When to ask the registry: always, missing or never
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "always",
        hide_default_value = true
    )]
    policy: When,
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    trust: TrustFlag,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
}

impl Pull {
    /// Prints what came of it, and the whole reference.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        self.trust.check()?;
        let host = session.host().await?;
        if !self.all_tags {
            return Ok(self.one(&*host, &Reference::parse(&self.image)?).await?);
        }
        let repository = name_only(&self.image)?;
        let name = repository.familiar_name();
        let account = credentials(&name).await?;
        for tag in host.list_tags(&name, account).await? {
            self.one(&*host, &repository.with_tag(&tag)?).await?;
        }
        Ok(OK)
    }

    async fn one(&self, host: &dyn Host, image: &Reference) -> Result<u8> {
        let name = image.familiar();
        let here = match self.policy {
            When::Always => false,
            When::Missing | When::Never => is_here(host, &name).await?,
        };
        if self.policy == When::Never && !here {
            return Err(Error::not_found(format!(
                "the image {name} is not here, and `--policy never` says not to fetch it"
            )));
        }
        if !here {
            let platform = self.platform.as_deref();
            let said = pull::pull(host, &name, platform, mode(self.quiet)).await?;
            if let Some(status) = said.status.filter(|_| !self.quiet) {
                out::line(&escape::line(&status));
            }
        }
        out::line(&image.to_string());
        Ok(OK)
    }
}

async fn is_here(host: &dyn Host, name: &str) -> Result<bool> {
    match host.inspect_image(name).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A repository; a tag or digest beside `--all-tags` contradicts it.
fn name_only(text: &str) -> Result<Reference> {
    let reference = Reference::parse(text)?;
    let named = text.contains('@')
        || text
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains(':'));
    match named {
        true => Err(Error::invalid(
            "a tag or digest cannot be given with `--all-tags`",
        )),
        false => Ok(reference),
    }
}

/// Send an image to its registry
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    platform: PlatformFlag,
    #[command(flatten)]
    trust: TrustFlag,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
}

impl Push {
    /// Prints the whole reference.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        self.trust.check()?;
        let host = session.host().await?;
        if !self.all_tags {
            return Ok(self.one(&*host, &Reference::parse(&self.image)?).await?);
        }
        let repository = name_only(&self.image)?;
        let mut tags: Vec<Reference> = host
            .list_images()
            .await?
            .iter()
            .flat_map(|image| &image.tags)
            .filter_map(|tag| Reference::parse(tag).ok())
            .filter(|tag| tag.name() == repository.name())
            .collect();
        tags.sort();
        if tags.is_empty() {
            return Err(Error::not_found(format!(
                "there is no image of the name {} here",
                repository.familiar_name()
            ))
            .into());
        }
        for tag in tags {
            self.one(&*host, &tag).await?;
        }
        Ok(OK)
    }

    async fn one(&self, host: &dyn Host, image: &Reference) -> Result<u8> {
        let name = image.familiar();
        self.platform
            .check(host, std::slice::from_ref(&name))
            .await?;
        let credentials = credentials(&name).await?;
        let steps = host.push_image(&name, credentials).await?;
        follow(steps, mode(self.quiet), "push", &format!("Image {name}")).await?;
        out::line(&image.to_string());
        Ok(OK)
    }
}

/// Make an image of a root file system's tar archive
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// An instruction of a Dockerfile: 'CMD ["sh"]', 'ENV A=b'
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A word about it for its history
    #[arg(short, long)]
    message: Option<String>,
    /// The archive, or its address (http:// or https://), or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to call the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

impl Import {
    /// Prints the image's id.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let source = ImportSource {
            tar: match self.file.to_str().filter(|name| is_address(name)) {
                Some(address) => ImportTar::Remote(address.to_owned()),
                None => ImportTar::Sent(read(&self.file).await?),
            },
            reference: self.name,
            changes: self.change,
            message: self.message,
        };
        let steps = session.host().await?.import_image(source).await?;
        match follow(steps, Mode::Quiet, "import", "Image").await?.image {
            Some(id) => out::line(&id),
            None => {
                return Err(Error::internal("the daemon did not say which image it made").into());
            }
        }
        Ok(OK)
    }
}

/// Write images to a tar archive
#[derive(Debug, Args)]
pub(crate) struct Save {
    /// The archive; standard output when absent
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    platform: PlatformFlag,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Save {
    /// A file is there whole or not at all.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        if self.output.is_none() && terminal::stdout_is_terminal() {
            return Err(Error::invalid(
                "an archive is not for a terminal: use `-o FILE`, or redirect the output",
            )
            .into());
        }
        let host = session.host().await?;
        self.platform.check(&*host, &self.images).await?;
        let pieces = host.save_images(&self.images).await?;
        save(pieces, self.output.as_deref()).await?;
        Ok(OK)
    }
}

/// Writes an archive to a file, whole or not at all, or to standard output. A pipe or a device is
/// written to as it is: to put a file in its place would take `/dev/null` from the whole machine.
pub(crate) async fn save(mut pieces: Stream<Bytes>, output: Option<&Path>) -> Result<()> {
    let Some(path) = output else {
        while let Some(piece) = pieces.next().await {
            out::bytes(&piece?);
        }
        return Ok(());
    };
    // What a link leads to is written, and the link stays.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut how = OpenOptions::new();
    how.write(true);
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return write(&how, path, pieces).await;
    }
    // Only for its owner, as Docker's: an image may hold what others should not read.
    how.create_new(true).mode(0o600);
    let partial = partial_name(path)?;
    let written = tokio::select! {
        written = write(&how, &partial, pieces) => written,
        signal = stdio::end_signal() => {
            let _ = std::fs::remove_file(&partial);
            out::exit(128 + signal)
        }
    };
    let kept = match written {
        Ok(()) => std::fs::rename(&partial, path).context(|| format!("write {}", path.display())),
        Err(error) => Err(error),
    };
    if kept.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    kept
}

fn partial_name(path: &Path) -> Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| Error::invalid(format!("`{}` is not the name of a file", path.display())))?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", std::process::id()));
    Ok(path.with_file_name(partial))
}

async fn write(how: &OpenOptions, path: &Path, mut pieces: Stream<Bytes>) -> Result<()> {
    let what = || format!("write {}", path.display());
    let mut file = how.open(path).await.context(what)?;
    while let Some(piece) = pieces.next().await {
        file.write_all(&piece?).await.context(what)?;
    }
    file.flush().await.context(what)
}

/// Take images from a tar archive that `save` wrote
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The archive; standard input when absent
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    /// Says which images came, on standard output.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        if self.input.is_none() && terminal::stdin_is_terminal() {
            return Err(
                Error::invalid("name the archive: use `-i FILE`, or redirect the input").into(),
            );
        }
        let tar = read(self.input.as_deref().unwrap_or(Path::new("-"))).await?;
        let mut steps = session.host().await?.load_images(tar).await?;
        while let Some(step) = steps.next().await {
            let step = step?;
            let said = step.layer.is_none() && !step.status.is_empty();
            if said && (!self.quiet || step.image.is_some()) {
                out::line(&escape::line(&step.status));
            }
        }
        Ok(OK)
    }
}

/// Whether the archive is not a file but something that the daemon downloads.
fn is_address(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

/// A file, or standard input, in pieces.
async fn read(path: &Path) -> Result<Stream<Bytes>> {
    if path == Path::new("-") {
        return Ok(pieces(tokio::io::stdin(), "standard input".into()));
    }
    let name = path.display().to_string();
    let file = File::open(path).await.context(|| format!("read {name}"))?;
    Ok(pieces(file, name))
}

/// What a reader gives, in pieces; `name` is for errors.
pub(crate) fn pieces(
    reader: impl AsyncRead + Send + Unpin + 'static,
    name: String,
) -> Stream<Bytes> {
    let next = |(mut reader, name): (_, String)| async move {
        let mut piece = bytes::BytesMut::with_capacity(PIECE_BYTES);
        match AsyncReadExt::read_buf(&mut reader, &mut piece).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some((piece.freeze(), (reader, name)))),
            Err(error) => Err(error).context(|| format!("read {name}")),
        }
    };
    Box::pin(futures_util::stream::try_unfold((reader, name), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tags_are_of_a_repository() {
        for good in ["busybox", "localhost:5000/a", "ghcr.io/a/b"] {
            name_only(good).unwrap();
        }
        for bad in ["busybox:1", "localhost:5000/a:1", "a@sha256:00", ""] {
            assert!(name_only(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn reads_in_pieces_and_writes_whole_files() {
        let directory = std::env::temp_dir().join(format!("orc-transfer-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (from, to) = (directory.join("from"), directory.join("to"));
        let data: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&from, &data).unwrap();
        let new = OpenOptions::new().write(true).create_new(true).clone();
        write(&new, &to, read(&from).await.unwrap()).await.unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), data);
        assert!(
            write(&new, &to, read(&from).await.unwrap()).await.is_err(),
            "an existing file was overwritten"
        );
        assert!(read(&directory.join("none")).await.is_err());
        assert!(partial_name(Path::new("/")).is_err());
        assert_eq!(
            partial_name(&to).unwrap().parent(),
            Some(directory.as_path())
        );
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[tokio::test]
    async fn pipes_and_links_stay_what_they_are() {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};

        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("from"), b"archive").unwrap();
        std::fs::write(at("old"), b"old").unwrap();
        std::os::unix::fs::symlink("old", at("link")).unwrap();
        let pieces = read(&at("from")).await.unwrap();
        save(pieces, Some(&at("link"))).await.unwrap();
        assert_eq!(std::fs::read(at("old")).unwrap(), b"archive");
        assert!(at("link").is_symlink());
        let mode = std::fs::metadata(at("old")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), kind, mode, 0).unwrap();
        let pipe = at("pipe");
        let reader = std::thread::spawn(move || std::fs::read(pipe).unwrap());
        let pieces = read(&at("from")).await.unwrap();
        save(pieces, Some(&at("pipe"))).await.unwrap();
        let kind = std::fs::symlink_metadata(at("pipe")).unwrap().file_type();
        assert!(kind.is_fifo(), "a file took the place of the pipe");
        assert_eq!(reader.join().unwrap(), b"archive");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
    }
}
