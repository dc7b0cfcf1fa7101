//! Images in the words of the door: a thin mapping to the image layer, with events.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use orc_base::{Error, Result};
use orc_host::container::Mount;
use orc_host::event::Subject;
use orc_host::image::{self as host, Credentials, ImportSource, ImportTar, Removal};
use orc_host::stream::{Bytes, Stream};
use orc_image::archive::import::ImportOptions;
use orc_image::config::{self, ImageConfig};
use orc_image::digest::Digest;
use orc_image::image::Image;
use orc_image::progress::{Phase, Progress, ProgressEvent};
use orc_image::reference::Reference;
use orc_image::transfer::pull::PullOptions;
use tokio::sync::mpsc;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::core::{Core, blocking};

/// How many lines of progress wait for whoever reads them; more are dropped.
const LINES: usize = 256;

/// Fetches an image.
pub(crate) fn pull(
    core: &Arc<Core>,
    reference: &str,
    platform: Option<&str>,
    credentials: Option<Credentials>,
) -> Result<Stream<host::Progress>> {
    let reference = Reference::parse(reference)?;
    let options = PullOptions {
        platform: platform
            .filter(|text| !text.is_empty())
            .map(str::parse)
            .transpose()?,
        credentials: credentials.map(account),
    };
    let core = core.clone();
    Ok(transfer(move |progress| async move {
        core.images
            .pull(&reference, &options, progress.as_ref())
            .await?;
        let name = reference.familiar();
        if let Err(error) = core.pulls.remember(&name, core.now()) {
            tracing::warn!("{}", error.within(format!("remember the pull of {name}")));
        }
        say(&core, "pull", &name, &name);
        Ok(Vec::new())
    }))
}

/// Sends an image.
pub(crate) fn push(
    core: &Arc<Core>,
    reference: &str,
    credentials: Option<Credentials>,
) -> Result<Stream<host::Progress>> {
    let reference = Reference::parse(reference)?;
    let core = core.clone();
    Ok(transfer(move |progress| async move {
        let pushed = core
            .images
            .push(&reference, credentials.map(account), progress.as_ref())
            .await?;
        say(&core, "push", &reference.familiar(), &reference.familiar());
        let tag = reference.version().to_owned();
        Ok(vec![host::Progress::message(format!(
            "{tag}: digest: {} size: {}",
            pushed.digest, pushed.size_bytes
        ))])
    }))
}

/// Makes an image of a root file system.
pub(crate) fn import(core: &Arc<Core>, source: ImportSource) -> Result<Stream<host::Progress>> {
    let reference = source
        .reference
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(Reference::parse)
        .transpose()?;
    let options = ImportOptions {
        reference,
        changes: source.changes,
        message: source.message,
    };
    let core = core.clone();
    Ok(transfer(move |progress| async move {
        let image = match source.tar {
            ImportTar::Sent(tar) => core.images.import(reader(tar), options).await?,
            ImportTar::Remote(url) => {
                let images = &core.images;
                images.import_url(&url, options, progress.as_ref()).await?
            }
        };
        let name = image.references.first().map(Reference::familiar);
        say(
            &core,
            "import",
            image.id.as_str(),
            name.as_deref().unwrap_or(""),
        );
        Ok(vec![made(&image)])
    }))
}

/// Takes images from an archive.
pub(crate) fn load(core: &Arc<Core>, tar: Stream<Bytes>) -> Stream<host::Progress> {
    let core = core.clone();
    transfer(move |progress| async move {
        let progress = WithoutNames(progress.as_ref());
        let loaded = core.images.load(reader(tar), &progress).await?;
        let mut lines = Vec::new();
        for item in loaded {
            let id = item.image.id;
            let name = item.reference.as_ref().map(Reference::familiar);
            say(&core, "load", id.as_str(), name.as_deref().unwrap_or(""));
            let text = match name {
                Some(name) => format!("Loaded image: {name}"),
                None => format!("Loaded image ID: {id}"),
            };
            lines.push(host::Progress {
                image: Some(id.to_string()),
                ..host::Progress::message(text)
            });
        }
        Ok(lines)
    })
}

/// The images as one archive.
pub(crate) async fn save(core: &Arc<Core>, names: &[String]) -> Result<Stream<Bytes>> {
    // Before the first byte, while an error still has a status of its own.
    let saving = core.images.prepare_save(names).await?;
    let (theirs, ours) = tokio::io::duplex(256 << 10);
    let (failure, failed) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        if let Err(error) = saving.write(ours).await {
            let _ = failure.send(error);
        }
    });
    // The archive ends when its writer is gone; why it went is asked then.
    let bytes = ReaderStream::with_capacity(theirs, 64 << 10).map_err(Error::from);
    let end = stream::once(failed).filter_map(|failed| std::future::ready(failed.ok().map(Err)));
    Ok(Box::pin(bytes.chain(end)))
}

/// Gives an image one more name.
pub(crate) async fn tag(core: &Arc<Core>, name: &str, reference: &str) -> Result<()> {
    let reference = Reference::parse(reference)?;
    let (inner, name) = (core.clone(), name.to_owned());
    let id = blocking(move || {
        inner.images.tag(&name, &reference)?;
        Ok((inner.images.find(&name)?.id, reference.familiar()))
    })
    .await?;
    say(core, "tag", id.0.as_str(), &id.1);
    Ok(())
}

/// Removes a name, and the image with its last one.
pub(crate) async fn remove(core: &Arc<Core>, name: &str, force: bool) -> Result<Vec<Removal>> {
    let (inner, name) = (core.clone(), name.to_owned());
    let removed = blocking(move || {
        let in_use = |id: &Digest| user(&inner, id.as_str());
        inner.images.remove(&name, force, &in_use)
    })
    .await?;
    Ok(removed
        .into_iter()
        .map(|removal| match removal {
            orc_image::image::Removal::Untagged(name) => {
                say(core, "untag", &name, &name);
                Removal::Untagged(name)
            }
            orc_image::image::Removal::Deleted(digest) => {
                say(core, "delete", digest.as_str(), digest.as_str());
                Removal::Deleted(digest.to_string())
            }
        })
        .collect())
}

/// The name of a container of an image.
pub(crate) fn user(core: &Core, image: &str) -> Option<String> {
    core.containers.all().into_iter().find_map(|cell| {
        let record = cell.record();
        let mounts = record
            .mounts
            .iter()
            .any(|mount| matches!(mount, Mount::Image { image: used, .. } if used == image));
        (record.image_id == image || mounts).then(|| record.name.to_string())
    })
}

/// All images.
pub(crate) async fn list(core: &Arc<Core>) -> Result<Vec<host::Image>> {
    let core = core.clone();
    blocking(move || {
        let images = core.images.list()?.into_iter();
        Ok(images.map(|image| present(&core, image)).collect())
    })
    .await
}

/// One image.
pub(crate) async fn inspect(core: &Arc<Core>, name: &str) -> Result<host::Image> {
    let (core, name) = (core.clone(), name.to_owned());
    blocking(move || core.images.find(&name).map(|image| present(&core, image))).await
}

fn present(core: &Core, image: Image) -> host::Image {
    let tags: Vec<String> = image
        .references
        .iter()
        .filter(|reference| reference.digest().is_none())
        .map(Reference::familiar)
        .collect();
    host::Image {
        id: image.id.to_string(),
        pulled: core.pulls.last(&tags),
        tags,
        digests: image.repo_digests,
        created: image.created,
        size_bytes: image.size_bytes,
        architecture: image.architecture,
        variant: image.variant,
        os: image.os,
        config: config(&image.config),
        layers: image.layers.iter().map(Digest::to_string).collect(),
        layer_sizes: image.layer_sizes,
        author: image.author,
        history: image
            .history
            .into_iter()
            .map(|step| host::History {
                created: step.created,
                created_by: step.created_by,
                comment: step.comment,
                empty_layer: step.empty_layer,
            })
            .collect(),
    }
}

/// An image's defaults in the words of the door.
pub(crate) fn config(config: &ImageConfig) -> host::ImageConfig {
    host::ImageConfig {
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        command: config.cmd.clone(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        exposed_ports: config.exposed_ports.clone(),
        volumes: config.volumes.clone(),
        labels: config.labels.clone().into_iter().collect(),
        stop_signal: config.stop_signal.clone(),
        healthcheck: config.healthcheck.as_ref().map(healthcheck),
    }
}

fn healthcheck(check: &config::Healthcheck) -> host::Healthcheck {
    host::Healthcheck {
        test: check.test.clone(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

pub(crate) fn account(credentials: Credentials) -> orc_image::credentials::Credentials {
    orc_image::credentials::Credentials {
        username: credentials.username,
        password: credentials.password,
        identity_token: credentials.identity_token,
    }
}

pub(crate) fn reader(tar: Stream<Bytes>) -> impl tokio::io::AsyncRead + Send + Unpin {
    StreamReader::new(tar.map_err(|error| std::io::Error::other(error.to_string())))
}

fn made(image: &Image) -> host::Progress {
    host::Progress {
        image: Some(image.id.to_string()),
        ..host::Progress::message(image.id.to_string())
    }
}

fn say(core: &Core, action: &str, id: &str, name: &str) {
    core.say_of(Subject::Image, action, id, &[("name", name)]);
}

/// Passes progress on to whoever reads; what does not fit is dropped, for it is only for people.
struct Reporter(mpsc::Sender<Result<host::Progress>>);

impl Progress for Reporter {
    fn report(&self, event: ProgressEvent) {
        let _ = self.0.try_send(Ok(line(event)));
    }
}

/// Leaves out the lines that name what was loaded: they come last, with the ids.
struct WithoutNames<'a>(&'a dyn Progress);

impl Progress for WithoutNames<'_> {
    fn report(&self, event: ProgressEvent) {
        let names =
            matches!(&event.phase, Phase::Message(text) if text.starts_with("Loaded image"));
        if !names {
            self.0.report(event);
        }
    }
}

/// Runs a transfer whose last lines, or error, come after its progress. It ends when nobody reads.
fn transfer<W>(work: impl FnOnce(Arc<Reporter>) -> W + Send + 'static) -> Stream<host::Progress>
where
    W: Future<Output = Result<Vec<host::Progress>>> + Send + 'static,
{
    let (lines, received) = mpsc::channel(LINES);
    tokio::spawn(async move {
        let work = work(Arc::new(Reporter(lines.clone())));
        let last = tokio::select! {
            last = work => last,
            () = lines.closed() => return,
        };
        let last = match last {
            Ok(last) => last.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        for line in last {
            if lines.send(line).await.is_err() {
                return;
            }
        }
    });
    Box::pin(stream::unfold(received, |mut received| async move {
        received.recv().await.map(|line| (line, received))
    }))
}

/// Docker's words for progress.
fn line(event: ProgressEvent) -> host::Progress {
    let (status, bytes) = match event.phase {
        Phase::Pulling => ("Pulling fs layer".into(), None),
        Phase::Waiting => ("Waiting".into(), None),
        Phase::Downloading { current, total } => ("Downloading".into(), Some((current, total))),
        Phase::Verifying => ("Verifying Checksum".into(), None),
        Phase::Extracting { current, total } => ("Extracting".into(), Some((current, total))),
        Phase::PullComplete => ("Pull complete".into(), None),
        Phase::AlreadyExists => ("Already exists".into(), None),
        Phase::Preparing => ("Preparing".into(), None),
        Phase::Pushing { current, total } => ("Pushing".into(), Some((current, total))),
        Phase::Pushed => ("Pushed".into(), None),
        Phase::LayerAlreadyExists => ("Layer already exists".into(), None),
        Phase::Mounted(from) => (format!("Mounted from {from}"), None),
        Phase::Message(text) => (text, None),
    };
    host::Progress {
        layer: event.layer,
        status,
        bytes,
        image: None,
    }
}
