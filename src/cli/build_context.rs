//! The context of a build and its Dockerfile, from what was typed: looked at, and nothing sent yet.
//!
//! A directory is read by the daemon itself; here it is only seen that there is one, and which.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, stream};
use orc_base::{Context, Error, Kind, Result, fs};
use orc_host::image_build::{ContextSource, DockerfileSource};
use orc_host::stream::{Bytes, Stream};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::cli::parse::build::is_remote;
use crate::cli::parse::mount::absolute;

/// The longest Dockerfile or ignore file that is sent along.
const MAX_FILE: u64 = 1 << 20;
/// What is looked at to tell an archive from a Dockerfile: a block of tar.
const BLOCK: usize = 512;
/// How much is read at once.
const PIECE: usize = 64 << 10;
/// How many names are told to someone whose Dockerfile is not there.
const MAX_SUGGESTED: usize = 4;

/// What a build is made from.
pub(crate) struct Material {
    pub(crate) context: ContextSource,
    pub(crate) dockerfile: DockerfileSource,
    /// What is sent along.
    pub(crate) archive: Option<Stream<Bytes>>,
}

/// Looks at what was typed as context and after `-f`. `input` is standard input.
pub(crate) async fn material(
    context: &str,
    file: Option<&str>,
    directory: &Path,
    input: impl AsyncRead + Send + Unpin + 'static,
) -> Result<Material> {
    if context == "-" {
        return from_input(file, input).await;
    }
    let dockerfile = match file {
        Some("-") => Some(text_of("Dockerfile", whole(input).await?)?),
        _ => None,
    };
    if is_remote(context) {
        let path = file.map_or_else(DockerfileSource::default, |file| {
            DockerfileSource::Path(file.into())
        });
        return Ok(Material {
            context: ContextSource::Remote(context.into()),
            dockerfile: dockerfile.unwrap_or(path),
            archive: None,
        });
    }
    let root = open_directory(&absolute(context, directory))?;
    let dockerfile = match (dockerfile, file) {
        (Some(text), _) => text,
        (None, Some(file)) => named(&root, file, directory)?,
        (None, None) => default(&root)?,
    };
    Ok(Material {
        context: identified(root)?,
        dockerfile,
        archive: None,
    })
}

/// A directory with what tells it from another of the same name elsewhere.
pub(crate) fn identified(path: PathBuf) -> Result<ContextSource> {
    let seen = path
        .metadata()
        .context(|| format!("look at {}", path.display()))?;
    Ok(ContextSource::Directory {
        identity: Some((seen.dev(), seen.ino())),
        path,
    })
}

/// The real path of a directory.
pub(crate) fn open_directory(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    let real = std::fs::canonicalize(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::not_found(format!("the context {shown} does not exist")),
        _ => Error::from(error).within(format!("open the context {shown}")),
    })?;
    match real.is_dir() {
        true => Ok(real),
        false => Err(Error::invalid(format!(
            "the context {shown} is not a directory: name a directory, or - to read an archive from standard input"
        ))),
    }
}

/// An archive, or a Dockerfile without any context.
async fn from_input(
    file: Option<&str>,
    mut input: impl AsyncRead + Send + Unpin + 'static,
) -> Result<Material> {
    if file == Some("-") {
        return Err(Error::invalid(
            "the context and the Dockerfile cannot both come from standard input",
        ));
    }
    let mut first = vec![0; BLOCK];
    let mut length = 0;
    while length < BLOCK {
        let read = input.read(&mut first[length..]).await;
        match read.context(|| "read standard input")? {
            0 => break,
            count => length += count,
        }
    }
    first.truncate(length);
    if first.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::invalid(
            "standard input is empty: it should hold an archive or a Dockerfile",
        ));
    }
    if is_archive(&first) {
        let head = stream::iter([Ok(Bytes::from(first))]);
        return Ok(Material {
            context: ContextSource::Archive,
            dockerfile: file.map_or_else(DockerfileSource::default, |file| {
                DockerfileSource::Path(file.into())
            }),
            archive: Some(Box::pin(head.chain(pieces(input)))),
        });
    }
    let mut text = first;
    text.extend(whole(input).await?);
    Ok(Material {
        context: ContextSource::Empty,
        dockerfile: text_of("Dockerfile", text)?,
        archive: None,
    })
}

/// By its first bytes: tar, or one of the compressions it comes in.
fn is_archive(first: &[u8]) -> bool {
    const MAGIC: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    let tar = first.get(257..262).is_some_and(|magic| magic == b"ustar");
    // The end of an empty archive, or a header of the time before ustar.
    let old = first.len() == BLOCK && first.contains(&0);
    tar || old || MAGIC.iter().any(|magic| first.starts_with(magic))
}

/// A Dockerfile of its own: in the context by its path there, else with its text.
fn named(root: &Path, file: &str, directory: &Path) -> Result<DockerfileSource> {
    let path = absolute(file, directory);
    let real = match std::fs::canonicalize(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let meant = root.join(file);
            let hint = match meant.is_file() {
                true => format!(
                    ": the path is relative to the current directory; did you mean {}?",
                    meant.display()
                ),
                false => suggestions(path.parent().unwrap_or(root)),
            };
            return Err(Error::not_found(format!(
                "there is no Dockerfile {}{hint}",
                path.display()
            )));
        }
        other => other.context(|| format!("open {}", path.display()))?,
    };
    let inside = real.strip_prefix(root).ok().and_then(Path::to_str);
    if let Some(inside) = inside {
        return Ok(DockerfileSource::Path(inside.into()));
    }
    let bytes = fs::read_limited(&real, MAX_FILE)?;
    let DockerfileSource::Text { name, text, .. } = text_of(file, bytes)? else {
        return Err(Error::internal("a text is a text"));
    };
    Ok(DockerfileSource::Text {
        name,
        text,
        ignore: ignore_file(&path)?,
    })
}

/// The ignore file beside a Dockerfile that is not in the context.
fn ignore_file(dockerfile: &Path) -> Result<Option<String>> {
    let mut name = dockerfile.as_os_str().to_owned();
    name.push(".dockerignore");
    match fs::read_limited(Path::new(&name), MAX_FILE) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Error::invalid(format!("{} is not text", name.display()))),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn default(root: &Path) -> Result<DockerfileSource> {
    for name in ["Dockerfile", "dockerfile"] {
        match root.join(name).metadata() {
            Ok(found) if found.is_file() => {
                if found.len() == 0 {
                    return Err(Error::invalid(format!(
                        "the Dockerfile {} is empty",
                        root.join(name).display()
                    )));
                }
                return Ok(DockerfileSource::Path(name.into()));
            }
            _ => {}
        }
    }
    Err(Error::not_found(format!(
        "there is no Dockerfile in {}{}",
        root.display(),
        suggestions(root)
    )))
}

/// What lies there and looks like one.
fn suggestions(directory: &Path) -> String {
    let names = fs::list(directory).unwrap_or_default();
    let mut names: Vec<String> = names
        .iter()
        .filter(|path| path.is_file())
        .filter_map(|path| path.file_name()?.to_str().map(String::from))
        .filter(|name| {
            let lower = name.to_ascii_lowercase();
            (lower.contains("dockerfile") || lower.contains("containerfile"))
                && !lower.ends_with("ignore")
        })
        .collect();
    names.sort();
    names.truncate(MAX_SUGGESTED);
    match names.is_empty() {
        true => String::new(),
        false => format!(": use `-f` with {}", names.join(" or ")),
    }
}

fn text_of(name: &str, bytes: Vec<u8>) -> Result<DockerfileSource> {
    let text =
        String::from_utf8(bytes).map_err(|_| Error::invalid(format!("{name} is not text")))?;
    if text.trim().is_empty() {
        return Err(Error::invalid(format!("the Dockerfile {name} is empty")));
    }
    Ok(DockerfileSource::Text {
        name: name.into(),
        text,
        ignore: None,
    })
}

async fn whole(input: impl AsyncRead + Unpin) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = input.take(MAX_FILE + 1).read_to_end(&mut bytes).await;
    read.context(|| "read standard input")?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::exhausted(format!(
            "the Dockerfile on standard input is over {MAX_FILE} bytes"
        )));
    }
    Ok(bytes)
}

fn pieces(input: impl AsyncRead + Send + Unpin + 'static) -> Stream<Bytes> {
    Box::pin(stream::unfold(Some(input), |input| async move {
        let mut input = input?;
        let mut piece = vec![0; PIECE];
        match input.read(&mut piece).await {
            Ok(0) => None,
            Ok(count) => {
                piece.truncate(count);
                Some((Ok(piece.into()), Some(input)))
            }
            Err(error) => Some((Err(Error::from(error).within("read standard input")), None)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &DockerfileSource) -> &str {
        match source {
            DockerfileSource::Text { text, .. } => text,
            DockerfileSource::Path(path) => panic!("a path: {path}"),
        }
    }

    async fn of(
        directory: &Path,
        context: &str,
        file: Option<&str>,
        input: &'static [u8],
    ) -> std::result::Result<Material, String> {
        material(context, file, directory, input)
            .await
            .map_err(|error| error.to_string())
    }

    fn error(made: std::result::Result<Material, String>) -> String {
        made.map(|_| ()).unwrap_err()
    }

    #[tokio::test]
    async fn a_directory_and_its_dockerfile() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        std::fs::create_dir(&app).unwrap();
        std::fs::write(app.join("Dockerfile.dev"), "FROM scratch").unwrap();
        std::fs::write(dir.path().join("Other"), "FROM other").unwrap();
        std::fs::write(dir.path().join("Other.dockerignore"), "*.o").unwrap();
        let here = dir.path();
        let missing = error(of(here, "app", None, b"").await);
        assert!(
            missing.ends_with("use `-f` with Dockerfile.dev"),
            "{missing}"
        );
        let relative = error(of(here, "app", Some("Dockerfile.dev"), b"").await);
        assert!(relative.contains("did you mean") && relative.contains("app/Dockerfile.dev"));
        let made = of(here, "app", Some("app/Dockerfile.dev"), b"")
            .await
            .unwrap();
        assert_eq!(
            made.dockerfile,
            DockerfileSource::Path("Dockerfile.dev".into())
        );
        let seen = app.metadata().unwrap();
        assert_eq!(
            made.context,
            ContextSource::Directory {
                path: app.canonicalize().unwrap(),
                identity: Some((seen.dev(), seen.ino())),
            }
        );
        let made = of(here, "app", Some("Other"), b"").await.unwrap();
        assert_eq!(
            made.dockerfile,
            DockerfileSource::Text {
                name: "Other".into(),
                text: "FROM other".into(),
                ignore: Some("*.o".into()),
            }
        );
        let made = of(here, "app", Some("-"), b"FROM input").await.unwrap();
        assert_eq!(text(&made.dockerfile), "FROM input");
        std::fs::write(app.join("Dockerfile"), "").unwrap();
        assert!(error(of(here, "app", None, b"").await).contains("is empty"));
        assert!(error(of(here, "none", None, b"").await).contains("does not exist"));
        assert!(error(of(here, "Other", None, b"").await).contains("not a directory"));
    }

    #[tokio::test]
    async fn standard_input_is_an_archive_or_a_dockerfile() {
        let here = Path::new("/");
        let made = of(here, "-", None, b"FROM scratch\n").await.unwrap();
        assert_eq!(made.context, ContextSource::Empty);
        assert_eq!(text(&made.dockerfile), "FROM scratch\n");
        for archive in [
            &b"\x1f\x8b\x08rest"[..],
            b"\x28\xb5\x2f\xfdrest",
            &[0; 1024],
        ] {
            let made = material("-", Some("sub/Dockerfile"), here, archive)
                .await
                .unwrap();
            assert_eq!(made.context, ContextSource::Archive);
            assert_eq!(
                made.dockerfile,
                DockerfileSource::Path("sub/Dockerfile".into())
            );
            let sent: Vec<u8> = made
                .archive
                .unwrap()
                .map(|piece| piece.unwrap())
                .collect::<Vec<_>>()
                .await
                .concat();
            assert_eq!(sent, archive);
        }
        assert!(error(of(here, "-", None, b" \n").await).contains("is empty"));
        assert!(error(of(here, "-", Some("-"), b"x").await).contains("cannot both"));
        assert!(error(of(here, "-", None, b"FROM \xff").await).contains("not text"));
    }

    #[tokio::test]
    async fn addresses_are_left_to_the_daemon() {
        let address = "https://example.com/app.git#main:sub";
        let made = of(Path::new("/"), address, Some("x/Dockerfile"), b"")
            .await
            .unwrap();
        assert_eq!(made.context, ContextSource::Remote(address.into()));
        assert_eq!(
            made.dockerfile,
            DockerfileSource::Path("x/Dockerfile".into())
        );
    }
}
