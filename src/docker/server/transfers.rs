//! Images that come and go: pull, push, import, load and save. Progress is sent as it happens.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use orc_base::{Error, Result};
use orc_host::Host;
use orc_host::image::{Credentials, ImportSource, ImportTar, Progress};
use orc_host::stream::Stream;

use crate::convert::image::{auth_from_header, familiar};
use crate::convert::progress::{self, Style};
use crate::server::call::Call;
use crate::server::reply::{self, Reply};
use crate::wire::message::Message;

/// `POST /images/create`
pub(crate) async fn create(call: Call) -> Result<Reply> {
    match (call.query.get("fromImage"), call.query.get("fromSrc")) {
        (Some(_), None) => pull(call).await,
        (None, Some(_)) => import(call).await,
        _ => Err(Error::invalid(
            "give one of the parameters `fromImage` and `fromSrc`",
        )),
    }
}

async fn pull(call: Call) -> Result<Reply> {
    let name = call.query.needed("fromImage")?;
    let tag = call.query.get("tag");
    let credentials = credentials(&call)?;
    let platform = call.query.get("platform");
    let all = tag.is_none() && !call.extended() && !has_version(name);
    let progress = match all {
        false => {
            let reference = with_tag(name, tag);
            call.host
                .pull_image(&reference, platform, credentials)
                .await?
        }
        true => {
            let name = familiar(name);
            let tags = call.host.list_tags(name, credentials.clone()).await?;
            let references = tags.iter().map(|tag| format!("{name}:{tag}")).collect();
            let platform = platform.map(String::from);
            in_turn(call.host.clone(), references, move |host, reference| {
                let (platform, credentials) = (platform.clone(), credentials.clone());
                async move {
                    host.pull_image(&reference, platform.as_deref(), credentials)
                        .await
                }
                .boxed()
            })
        }
    };
    lines(&call, progress, Style::Status).await
}

/// Several transfers, one after the other; the first that fails is the last.
fn in_turn(
    host: Arc<dyn Host>,
    references: Vec<String>,
    begin: impl Fn(Arc<dyn Host>, String) -> BoxFuture<'static, Result<Stream<Progress>>>
    + Send
    + 'static,
) -> Stream<Progress> {
    let steps = stream::iter(references)
        .then(move |reference| begin(host.clone(), reference))
        .try_flatten();
    Box::pin(steps)
}

/// Whether a name has a tag or a digest.
fn has_version(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    name.contains('@') || last.contains(':')
}

async fn import(call: Call) -> Result<Reply> {
    if call.query.get("platform").is_some() {
        return Err(Error::unsupported(
            "`platform` is not supported by import: leave it out",
        ));
    }
    let reference = call
        .query
        .get("repo")
        .map(|repo| with_tag(repo, call.query.get("tag")));
    let changes = call
        .query
        .all("changes")
        .filter(|change| !change.is_empty());
    let (host, extended) = (call.host.clone(), call.extended());
    // Docker takes an address without a scheme for one of HTTP.
    let remote = match call.query.get("fromSrc") {
        None | Some("-") => None,
        Some(url) if url.contains("://") => Some(url.to_owned()),
        Some(host) => Some(format!("http://{host}")),
    };
    let source = ImportSource {
        reference,
        changes: changes.map(String::from).collect(),
        message: call.query.get("message").map(String::from),
        tar: match remote {
            Some(url) => ImportTar::Remote(url),
            None => ImportTar::Sent(call.into_stream()),
        },
    };
    let progress = host.import_image(source).await?;
    lines_for(extended, progress, Style::Status).await
}

/// A name with a tag or digest of its own is taken as it is.
fn with_tag(name: &str, tag: Option<&str>) -> String {
    let name = familiar(name);
    match tag {
        None => name.into(),
        Some(digest) if digest.contains(':') => format!("{name}@{digest}"),
        Some(tag) => format!("{name}:{tag}"),
    }
}

/// `POST /images/{..}/push`
pub(crate) async fn push(call: Call) -> Result<Reply> {
    let tag = call.query.get("tag");
    if call.query.get("platform").is_some() {
        return Err(Error::unsupported(
            "`platform` is not supported by push: leave it out",
        ));
    }
    let credentials = credentials(&call)?;
    let progress = match tag.is_none() && !call.extended() {
        false => {
            let reference = with_tag(&call.name, tag);
            call.host.push_image(&reference, credentials).await?
        }
        true => {
            let references = tags_here(&call).await?;
            in_turn(call.host.clone(), references, move |host, reference| {
                let credentials = credentials.clone();
                async move { host.push_image(&reference, credentials).await }.boxed()
            })
        }
    };
    lines(&call, progress, Style::Status).await
}

/// All local names of a repository, which is what a push without a tag means.
async fn tags_here(call: &Call) -> Result<Vec<String>> {
    let name = familiar(&call.name);
    let images = call.host.list_images().await?;
    let tags = images.iter().flat_map(|image| &image.tags);
    let mut found: Vec<String> = tags
        .filter(|tag| tag.rsplit_once(':').is_some_and(|(of, _)| of == name))
        .cloned()
        .collect();
    found.sort();
    match found.is_empty() {
        true => Err(Error::not_found(format!(
            "An image does not exist locally with the tag: {name}"
        ))),
        false => Ok(found),
    }
}

fn credentials(call: &Call) -> Result<Option<Credentials>> {
    auth_from_header(call.header("x-registry-auth").unwrap_or_default())
}

/// `POST /images/load`
pub(crate) async fn load(call: Call) -> Result<Reply> {
    if call.query.get("platform").is_some() {
        return Err(Error::unsupported(
            "`platform` is not supported by load: leave it out",
        ));
    }
    let (host, extended) = (call.host.clone(), call.extended());
    let progress = host.load_images(call.into_stream()).await?;
    lines_for(extended, progress, Style::Stream).await
}

/// `GET /images/get` and `GET /images/{..}/get`
pub(crate) async fn save(call: Call) -> Result<Reply> {
    if call.query.get("platform").is_some() {
        return Err(Error::unsupported(
            "`platform` is not supported by save: leave it out",
        ));
    }
    let names: Vec<String> = match call.name.is_empty() {
        true => call.query.all("names").map(String::from).collect(),
        false => vec![call.name.clone()],
    };
    if names.is_empty() {
        return Err(Error::invalid("the parameter `names` is missing"));
    }
    let tar = call.host.save_images(&names).await?;
    Ok(reply::stream("application/x-tar", tar))
}

async fn lines(call: &Call, progress: Stream<Progress>, style: Style) -> Result<Reply> {
    lines_for(call.extended(), progress, style).await
}

/// Progress as lines. What fails before anything was said has a status of its own, for Docker's
/// clients; orc's own reads the kind from the line.
async fn lines_for(extended: bool, mut progress: Stream<Progress>, style: Style) -> Result<Reply> {
    if !extended {
        let first = match progress.next().await {
            Some(Err(error)) => return Err(error),
            first => first,
        };
        progress = Box::pin(stream::iter(first).chain(progress));
    }
    let lines = progress.map(move |item| {
        let message = match item {
            Ok(progress) => progress::to_wire(&progress, style),
            Err(error) => progress::failure(&error),
        };
        line(&match extended {
            true => message,
            false => progress::plain(message),
        })
    });
    Ok(reply::stream("application/json", Box::pin(lines)))
}

/// A line ends with both, as Docker's do.
fn line(message: &Message) -> Result<Bytes> {
    let mut line = serde_json::to_vec(message)?;
    line.extend_from_slice(b"\r\n");
    Ok(line.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (name, has) in [
            ("busybox", false),
            ("localhost:5000/a", false),
            ("localhost:5000/a:1", true),
            ("a@sha256:00", true),
        ] {
            assert_eq!(has_version(name), has, "{name}");
        }
    }

    #[test]
    fn references() {
        assert_eq!(with_tag("busybox", Some("1.36")), "busybox:1.36");
        assert_eq!(with_tag("busybox", Some("sha256:00")), "busybox@sha256:00");
        assert_eq!(with_tag("busybox:1", None), "busybox:1");
        assert_eq!(
            with_tag("docker.io/library/busybox", Some("1")),
            "busybox:1"
        );
    }
}
