//! Downloads of `ADD` and of contexts on the web.
//!
//! Bounded in bytes, redirects and patience. The file is private, as BuildKit has it (mode 0600), and
//! as old as the server says (`Last-Modified`), or as 1970 when it does not.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::LAST_MODIFIED;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio_util::io::StreamReader;

use orc_base::{Context, Error, Kind, Result, Time, fs};

use crate::archive::pipe::blocking;
use crate::build::times::set_time;
use crate::digest::Digest;
use crate::progress::{Phase, Progress, ProgressEvent};
use crate::registry::http::Http;
use crate::registry::http::last_cause;

const MAX_REDIRECTS: usize = 10;
const MAX_BYTES: u64 = 32 << 30;
const CONNECT: Duration = Duration::from_secs(30);
/// How long nothing may arrive.
const STALL: Duration = Duration::from_secs(60);
/// How many bytes are told at once, as a power of two: a MiB.
const TOLD_SHIFT: u32 = 20;
const MAX_CERTIFICATES_BYTES: u64 = 4 << 20;

/// Downloads `url` into `directory`, which is ours and empty, and says what the file is called there.
pub(crate) async fn fetch(
    http: &Arc<Http>,
    url: &str,
    checksum: Option<&str>,
    directory: &Path,
) -> Result<String> {
    let download = async {
        let expected = checksum.map(Digest::parse).transpose();
        let expected = expected.context(|| "read the checksum")?;
        let parsed = parse(url)?;
        let name = name(&parsed);
        let response = open(http, parsed).await?;
        let time = last_modified(&response);
        let path = directory.join(&name);
        receive(response, &path, expected.as_ref()).await?;
        blocking(move || set_time(&path, time)).await?;
        Ok::<_, Error>(name)
    };
    download
        .await
        .context(|| format!("download {}", shown(url)))
}

/// The bytes of `url`, of which there may be `limit`.
pub(crate) async fn open(http: &Arc<Http>, url: Url) -> Result<Response> {
    let client = client(http)?;
    let sent = client.get(url).send().await.map_err(explain)?;
    let status = sent.status();
    if status.is_success() {
        return Ok(sent);
    }
    let kind = match status.as_u16() {
        404 | 410 => Kind::NotFound,
        401 | 403 => Kind::Denied,
        500.. => Kind::Unavailable,
        _ => Kind::Invalid,
    };
    Err(Error::new(kind, format!("the server answers {status}")))
}

/// Reads a URL that may be downloaded.
pub(crate) fn parse(url: &str) -> Result<Url> {
    let parsed = Url::parse(url).map_err(|error| Error::invalid(error.to_string()))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        other => Err(Error::unsupported(format!(
            "`{other}` is no way to download; http and https are"
        ))),
    }
}

/// The next piece of an answer; none at its end.
pub(crate) async fn next(response: &mut Response) -> Result<Option<Bytes>> {
    match tokio::time::timeout(STALL, response.chunk()).await {
        Err(_) => Err(Error::timeout(format!(
            "nothing arrived for {} seconds",
            STALL.as_secs()
        ))),
        Ok(chunk) => chunk.map_err(explain),
    }
}

/// The bytes of an answer as they arrive, within the bounds of downloads; says how far it is.
pub(crate) fn reader(
    response: Response,
    progress: &dyn Progress,
) -> impl AsyncRead + Send + Unpin + '_ {
    let total = response.content_length().unwrap_or(0);
    let pieces = stream::try_unfold((response, 0), move |(mut response, before)| async move {
        let Some(piece) = next(&mut response).await.map_err(io::Error::other)? else {
            return Ok::<_, io::Error>(None);
        };
        let current = before + piece.len() as u64;
        if current > MAX_BYTES {
            return Err(io::Error::other(too_many()));
        }
        // Every piece would be too often to read.
        if current >> TOLD_SHIFT != before >> TOLD_SHIFT {
            progress.report(ProgressEvent {
                layer: None,
                phase: Phase::Downloading { current, total },
            });
        }
        Ok(Some((piece, (response, current))))
    });
    StreamReader::new(Box::pin(pieces))
}

fn too_many() -> Error {
    Error::exhausted(format!("more than {MAX_BYTES} bytes"))
}

/// The same without a password, and short enough for a message.
pub(crate) fn shown(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else {
        return url.chars().take(200).flat_map(char::escape_debug).collect();
    };
    if parsed.password().is_some() {
        let _ = parsed.set_password(Some("xxxxx"));
    }
    parsed.as_str().chars().take(200).collect()
}

fn client(http: &Arc<Http>) -> Result<Client> {
    // reqwest is built without a provider of its own. One that is there already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("orc/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::limited(MAX_REDIRECTS))
        .connect_timeout(CONNECT)
        // What is compressed on its way is what the author wants to have.
        .http1_only();
    for file in &http.config.certificates {
        let bytes = fs::read_limited(file, MAX_CERTIFICATES_BYTES)?;
        let certificates = reqwest::Certificate::from_pem_bundle(&bytes)
            .map_err(|_| Error::invalid(format!("read {}: no certificates", file.display())))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(explain)
}

fn explain(error: reqwest::Error) -> Error {
    let error = error.without_url();
    Error::unavailable(format!("{error}: {}", last_cause(&error)))
}

/// The last part of the URL's path.
fn name(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut parts| parts.next_back());
    match last {
        None | Some("" | "." | "..") => "__unnamed__".into(),
        Some(name) => name.to_owned(),
    }
}

async fn receive(mut response: Response, path: &Path, expected: Option<&Digest>) -> Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .await?;
    let mut hasher = expected.map(Digest::hasher);
    let mut bytes = 0;
    while let Some(chunk) = next(&mut response).await? {
        bytes += chunk.len() as u64;
        if bytes > MAX_BYTES {
            return Err(too_many());
        }
        if let Some(hasher) = &mut hasher {
            hasher.update(&chunk);
        }
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    match (hasher.map(crate::digest::Hasher::finish), expected) {
        (Some(digest), Some(expected)) if digest != *expected => Err(Error::invalid(format!(
            "digest mismatch {digest}: {expected}"
        ))),
        _ => Ok(()),
    }
}

/// RFC 9110, section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn last_modified(response: &Response) -> Time {
    let header = response.headers().get(LAST_MODIFIED);
    let text = header.and_then(|value| value.to_str().ok());
    text.and_then(http_date).unwrap_or(Time::EPOCH)
}

fn http_date(text: &str) -> Option<Time> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split(' ').skip(1);
    let (day, month, year, clock) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    format!("{year}-{month:02}-{day}T{clock}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_last_part() {
        for (url, wanted) in [
            ("http://a/b/c.tar.gz?x=1", "c.tar.gz"),
            ("http://a/", "__unnamed__"),
            ("http://a", "__unnamed__"),
            ("http://a/b/", "__unnamed__"),
            ("http://a/x/..%2f..%2fetc", "..%2f..%2fetc"),
        ] {
            assert_eq!(name(&Url::parse(url).unwrap()), wanted, "{url}");
        }
        assert!(parse("file:///etc/passwd").is_err());
        assert!(!shown("http://me:secret@a/b").contains("secret"));
    }

    #[test]
    fn dates_of_servers() {
        let time = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(time.to_string(), "1994-11-06T08:49:37Z");
        for bad in ["", "yesterday", "Sun, 06 Foo 1994 08:49:37 GMT"] {
            assert_eq!(http_date(bad), None);
        }
    }
}
