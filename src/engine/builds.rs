//! Builds in the words of the door: a thin mapping to the image layer, with the engine's own runner.
//!
//! A build belongs to whoever asked for it: when its stream is dropped, its programs are killed first,
//! and then the rest is given up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::stream;
use orc_base::{Error, Result};
use orc_host::event::Subject;
use orc_host::image_build::{self as host, BuildRequest, BuildSpec};
use orc_host::stream::{Output, Stream};
use orc_image::build::contexts::ContextArchive;
use orc_image::build::request::{self as image, BuildOptions, Events};
use orc_image::reference::Reference;
use tokio::sync::mpsc;

use crate::core::Core;
use crate::images::{account, reader};
use crate::steps::{Settings, Steps};

/// How many events may wait for whoever reads before output and progress are left out; how far steps
/// are is always told.
const WAITING: usize = 4096;
/// What is said where output was left out.
const CLIPPED: &[u8] = b"[output clipped: it came faster than it was read]\n";

/// Builds an image.
pub(crate) fn build(core: &Arc<Core>, request: BuildRequest) -> Result<Stream<host::BuildEvent>> {
    let BuildRequest { spec, archive } = request;
    let settings = Settings {
        extra_hosts: spec.extra_hosts.clone(),
        shm_bytes: spec.shm_bytes,
        ulimits: spec.ulimits.clone(),
        resources: spec.resources.clone(),
    };
    settings.check()?;
    let options = options(spec)?;
    let archive = archive.map(|tar| Box::new(reader(tar)) as ContextArchive);
    let (events, received) = mpsc::unbounded_channel();
    let teller = Arc::new(Teller {
        core: core.clone(),
        events,
        waiting: Arc::default(),
        clipped: AtomicBool::new(false),
    });
    let waiting = teller.waiting.clone();
    let build = carry_through(core.clone(), options, archive, settings, teller);
    core.builds.spawn(build);
    Ok(Box::pin(stream::unfold(
        (received, waiting),
        |(mut received, waiting)| async move {
            let event = received.recv().await?;
            waiting.fetch_sub(1, Ordering::Relaxed);
            Some((event, (received, waiting)))
        },
    )))
}

async fn carry_through(
    core: Arc<Core>,
    options: BuildOptions,
    archive: Option<ContextArchive>,
    settings: Settings,
    teller: Arc<Teller>,
) {
    let tags = options.tags.clone();
    let ending = core.builds.ending();
    let steps = Arc::new(Steps::new(core.clone(), settings));
    let built = tokio::select! {
        built = core.images.build(options, archive, steps.clone(), teller.clone()) => built,
        () = teller.events.closed() => {
            steps.cancel().await;
            return;
        }
        () = ending.cancelled() => {
            steps.cancel().await;
            return teller.send(Err(Error::unavailable("the daemon is ending: the build was cancelled")));
        }
    };
    steps.settled().await;
    match built {
        Err(error) => teller.send(Err(error)),
        // A check.
        Ok(None) => {}
        Ok(Some(image)) => {
            for tag in tags {
                let name = tag.familiar();
                core.say_of(Subject::Image, "tag", image.id.as_str(), &[("name", &name)]);
            }
            let image = image.id.to_string();
            teller.send(Ok(host::BuildEvent::Built { image }));
        }
    }
}

/// The request in the words of the image layer.
fn options(spec: BuildSpec) -> Result<BuildOptions> {
    let contexts = spec.contexts.into_iter();
    let secrets = spec.secrets.into_iter();
    let agents = spec.ssh.into_iter();
    let accounts = spec.credentials.into_iter();
    Ok(BuildOptions {
        context: context(spec.context),
        contexts: contexts
            .map(|(name, source)| (name, context(source)))
            .collect(),
        dockerfile: match spec.dockerfile {
            host::DockerfileSource::Path(path) => image::DockerfileSource::Path(path),
            host::DockerfileSource::Text { name, text, ignore } => {
                image::DockerfileSource::Text { name, text, ignore }
            }
        },
        target: spec.target,
        tags: spec
            .tags
            .iter()
            .map(|tag| Reference::parse(tag))
            .collect::<Result<_>>()?,
        args: spec.args,
        labels: spec.labels,
        platform: spec
            .platform
            .filter(|platform| !platform.is_empty())
            .map(|platform| platform.parse())
            .transpose()?,
        pull: spec.pull,
        no_cache: spec.no_cache,
        no_cache_filter: spec.no_cache_filter,
        cache_from: spec.cache_from,
        cache_to: spec.cache_to,
        secrets: secrets
            .map(|secret| {
                within_limits(secret).map(|host::Secret { id, value }| image::Secret { id, value })
            })
            .collect::<Result<_>>()?,
        ssh: agents
            .map(|host::SshAgent { id, socket }| image::SshAgent { id, socket })
            .collect(),
        network: spec.network,
        allow: spec.allow,
        compression: spec.compression,
        credentials: accounts
            .map(|(registry, credentials)| (registry, account(credentials)))
            .collect::<BTreeMap<_, _>>(),
        check: spec.check,
    })
}

fn within_limits(secret: host::Secret) -> Result<host::Secret> {
    match secret.value.len() <= host::MAX_SECRET {
        true => Ok(secret),
        false => Err(Error::exhausted(format!(
            "secret {} has {} bytes: the limit is {}",
            secret.id,
            secret.value.len(),
            host::MAX_SECRET
        ))),
    }
}

fn context(source: host::ContextSource) -> image::ContextSource {
    match source {
        host::ContextSource::Empty => image::ContextSource::Empty,
        host::ContextSource::Directory { path, identity } => {
            image::ContextSource::Directory { path, identity }
        }
        host::ContextSource::Archive => image::ContextSource::Archive,
        host::ContextSource::Remote(address) => image::ContextSource::Remote(address),
        host::ContextSource::Image(name) => image::ContextSource::Image(name),
        host::ContextSource::Layout { path, version } => {
            image::ContextSource::Layout { path, version }
        }
    }
}

/// Passes events on to whoever reads.
struct Teller {
    core: Arc<Core>,
    events: mpsc::UnboundedSender<Result<host::BuildEvent>>,
    waiting: Arc<AtomicUsize>,
    /// Output was left out, and nobody knows yet.
    clipped: AtomicBool,
}

impl Teller {
    fn send(&self, event: Result<host::BuildEvent>) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // When nobody reads, the build is given up.
        let _ = self.events.send(event);
    }

    fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= WAITING
    }

    fn output(&self, step: usize, output: Output, bytes: Vec<u8>) {
        if self.is_full() {
            self.clipped.store(true, Ordering::Relaxed);
            return;
        }
        let event = |bytes| {
            Ok(host::BuildEvent::Output {
                step,
                output,
                bytes,
            })
        };
        if self.clipped.swap(false, Ordering::Relaxed) {
            self.send(event(CLIPPED.to_vec()));
        }
        self.send(event(bytes));
    }
}

impl Events for Teller {
    fn report(&self, event: image::BuildEvent) {
        let told = match event {
            image::BuildEvent::Output {
                step,
                stderr,
                bytes,
            } => {
                let output = match stderr {
                    true => Output::Stderr,
                    false => Output::Stdout,
                };
                return self.output(step, output, bytes);
            }
            image::BuildEvent::Progress { .. } if self.is_full() => return,
            image::BuildEvent::Progress {
                step,
                what,
                current,
                total,
            } => host::BuildEvent::Progress {
                step,
                what,
                current,
                total,
            },
            image::BuildEvent::Dockerfile { name, text } => {
                host::BuildEvent::Dockerfile { name, text }
            }
            image::BuildEvent::Planned(steps) => {
                let steps = steps.into_iter().map(|step| host::BuildStep {
                    stage: step.stage,
                    position: step.position,
                    text: step.text,
                    line: step.line,
                });
                host::BuildEvent::Planned(steps.collect())
            }
            image::BuildEvent::Step { step, state } => host::BuildEvent::Step {
                step,
                state: self::state(state),
                time: self.core.now(),
            },
            image::BuildEvent::Warning(text) => host::BuildEvent::Warning(text),
        };
        self.send(Ok(told));
    }
}

fn state(state: image::StepState) -> host::StepState {
    match state {
        image::StepState::Running => host::StepState::Running,
        image::StepState::Cached => host::StepState::Cached,
        image::StepState::Done => host::StepState::Done,
        image::StepState::Failed { why, exit_code } => host::StepState::Failed { why, exit_code },
        image::StepState::Cancelled => host::StepState::Cancelled,
    }
}
