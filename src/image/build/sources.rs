//! The images and contexts that a plan starts from: found here, or brought here.
//!
//! Asks the plan again until it wants nothing new, for a base image may have triggers. What is not
//! here is pulled as `orc pull` would, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::try_join_all;

use orc_base::{Context, Error, Kind, Result};

use crate::archive::pipe::blocking;
use crate::build::contexts::{self, Opened};
use crate::build::executor::Sources;
use crate::build::files::Files;
use crate::build::graph::{Bases, Source};
use crate::build::layout::Layout;
use crate::build::plan::make;
use crate::build::plan::options::PlanOptions;
use crate::build::request::{BuildEvent, BuildOptions, StepInfo, StepState};
use crate::build::shared::Shared;
use crate::build::step_copy::Tree;
use crate::build::view::View;
use crate::config::ConfigFile;
use crate::dockerfile::ast::Dockerfile;
use crate::dockerfile::ignore::Ignore;
use crate::manifest::{Document, MAX_DOCUMENT_BYTES, Manifest};
use crate::platform::Platform;
use crate::progress::{Phase, Progress, ProgressEvent};
use crate::reference::Reference;
use crate::transfer::pull::{self, PullOptions};
use crate::unpacker;

/// What was found.
pub(crate) struct Found {
    /// The file systems.
    pub(crate) sources: Sources,
    /// The configs of the images among them.
    pub(crate) bases: Bases,
    /// The steps that bringing them here took, for people.
    pub(crate) steps: Vec<StepInfo>,
}

/// Finds all that the plan wants. `main` is the main context.
pub(crate) async fn find(
    shared: &Arc<Shared>,
    options: &BuildOptions,
    dockerfile: &Dockerfile,
    plan: &PlanOptions,
    main: Arc<View>,
) -> Result<Found> {
    let mut found = Found {
        sources: BTreeMap::from([(Source::Context(None), Tree::Context(main))]),
        bases: Bases::new(),
        steps: Vec::new(),
    };
    let mut asked = BTreeSet::from([Source::Context(None)]);
    loop {
        let wanted = make::wanted(dockerfile, plan, &found.bases)?;
        let new = wanted
            .into_iter()
            .filter(|(source, _)| asked.insert(source.clone()));
        let new: Vec<_> = new.collect();
        if new.is_empty() {
            return Ok(found);
        }
        let mut jobs = Vec::new();
        for (source, need) in new {
            let place = format!("{}:{}", dockerfile.source.name, need.line);
            let step = found.steps.len();
            if let Some(text) = missing(shared, options, &source) {
                found.steps.push(StepInfo {
                    stage: String::new(),
                    position: None,
                    text,
                    line: need.line,
                });
            }
            let own = (found.steps.len() > step).then_some(step);
            jobs.push(async move {
                let resolved = resolve(shared, options, &source, own).await;
                if let (Some(step), Err(error)) = (own, &resolved) {
                    let why = error.to_string();
                    let exit_code = None;
                    shared.state(step, StepState::Failed { why, exit_code });
                }
                resolved
                    .map(|resolved| (source, resolved))
                    .context(|| place)
            });
        }
        if !found.steps.is_empty() {
            shared
                .events
                .report(BuildEvent::Planned(found.steps.clone()));
        }
        for (source, (tree, config)) in try_join_all(jobs).await? {
            if let Some(config) = config {
                found.bases.insert(source.clone(), config);
            }
            found.sources.insert(source, tree);
        }
    }
}

type Resolved = (Tree, Option<ConfigFile>);

/// What has to be done to have a source, when that may take long.
fn missing(shared: &Shared, options: &BuildOptions, source: &Source) -> Option<String> {
    let Source::Image {
        reference,
        platform,
    } = source
    else {
        return None;
    };
    let parsed = Reference::parse(reference).ok()?;
    let here = !options.pull && here(shared, &parsed, platform).is_some();
    (!here).then(|| format!("pull {reference}"))
}

async fn resolve(
    shared: &Arc<Shared>,
    options: &BuildOptions,
    source: &Source,
    step: Option<usize>,
) -> Result<Resolved> {
    match source {
        Source::Image {
            reference,
            platform,
        } => image(shared, options, reference, platform, step).await,
        Source::Context(None) => Err(Error::internal("the main context is known")),
        Source::Context(Some(name)) => {
            let given = options.contexts.get(name);
            let given = given.ok_or_else(|| Error::not_found(format!("no context `{name}`")))?;
            let opened = contexts::open(shared, given, None).await;
            let platform = options.platform.clone().unwrap_or_else(Platform::host);
            match opened.context(|| format!("context `{name}`"))? {
                Opened::Image(name) => image(shared, options, &name, &platform, step).await,
                Opened::Layout { path, version } => {
                    let taken = layout(shared, &path, &version, &platform).await;
                    taken.context(|| format!("context `{name}`"))
                }
                Opened::Directory(root) => {
                    let ignore = contexts::ignore_file(&root, &[".dockerignore".into()])?;
                    let ignore = ignore.map(|text| Ignore::parse(&text)).transpose()?;
                    let view = Arc::new(View::of_context(root, ignore));
                    Ok((Tree::Context(view), None))
                }
                Opened::Dockerfile(_) => Err(Error::invalid(format!(
                    "context `{name}` is a single file; an archive, a repository or a directory is wanted"
                ))),
            }
        }
    }
}

/// An image by its name: the one that is here unless it is to be asked for anew.
async fn image(
    shared: &Arc<Shared>,
    options: &BuildOptions,
    name: &str,
    platform: &Platform,
    step: Option<usize>,
) -> Result<Resolved> {
    let reference = Reference::parse(name)?;
    if !options.pull
        && let Some(resolved) = here(shared, &reference, platform)
    {
        return Ok(resolved);
    }
    let pull = PullOptions {
        platform: Some(platform.clone()),
        credentials: options.credentials.get(reference.registry()).cloned(),
    };
    let state = |state| {
        if let Some(step) = step {
            shared.state(step, state);
        }
    };
    state(StepState::Running);
    let progress = Pulling { shared, step };
    let pulled = pull::pull(&shared.http, shared.store(), &reference, &pull, &progress).await;
    pulled?;
    state(StepState::Done);
    here(shared, &reference, platform)
        .ok_or_else(|| Error::conflict(format!("{name} was removed while the build wanted it")))
}

struct Pulling<'a> {
    shared: &'a Shared,
    step: Option<usize>,
}

impl Progress for Pulling<'_> {
    fn report(&self, event: ProgressEvent) {
        let (Some(step), Some(layer)) = (self.step, event.layer) else {
            return;
        };
        let (verb, current, total) = match event.phase {
            Phase::Downloading { current, total } => ("downloading", current, total),
            Phase::Extracting { current, total } => ("extracting", current, total),
            _ => return,
        };
        self.shared.events.report(BuildEvent::Progress {
            step,
            what: format!("{verb} {layer}"),
            current,
            total: Some(total),
        });
    }
}

/// The image of this name, if it is here and for the platform.
fn here(shared: &Shared, reference: &Reference, platform: &Platform) -> Option<Resolved> {
    let store = shared.store();
    let (image, manifest) = match store.find_manifest(&reference.to_string()) {
        Ok(found) => found,
        Err(error) if error.kind() == Kind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "an image cannot be read");
            return None;
        }
    };
    let own = Platform::new(&image.os, &image.architecture, &image.variant);
    if !own.architecture.is_empty() && !platform.accepts(&own) {
        return None;
    }
    let bytes = store.content().read(&manifest, MAX_DOCUMENT_BYTES).ok()?;
    let Ok(Document::Manifest(parts)) = Document::parse(&bytes, &[]) else {
        return None;
    };
    let config = store
        .content()
        .read(&image.id, crate::config::MAX_CONFIG_BYTES)
        .and_then(|bytes| ConfigFile::parse(&bytes))
        .ok()?;
    Some(known(shared, &parts, config))
}

fn known(shared: &Shared, parts: &Manifest, config: ConfigFile) -> Resolved {
    for (diff_id, blob) in config.diff_ids.iter().zip(&parts.layers) {
        shared.blobs.know(diff_id, blob.clone());
    }
    let files = Files {
        layers: config.diff_ids.clone(),
    };
    (Tree::Files(files), Some(config))
}

/// An image of a layout, whose layers are brought here and are nobody's afterwards.
async fn layout(
    shared: &Arc<Shared>,
    path: &std::path::Path,
    version: &str,
    platform: &Platform,
) -> Result<Resolved> {
    let (work, path) = (shared.clone(), path.to_owned());
    let (version, platform) = (version.to_owned(), platform.clone());
    let (parts, config) = blocking(move || {
        let layout = Layout::open(&path)?;
        let (_, parts) = layout.manifest(&version, &platform)?;
        crate::manifest::require_image(&parts)?;
        let config = layout.config(&parts)?;
        if config.diff_ids.len() != parts.layers.len() {
            return Err(Error::invalid("manifest and config name different layers"));
        }
        for blob in &parts.layers {
            work.stop.check()?;
            layout.take(work.store().content(), blob)?;
        }
        Ok((parts, config))
    })
    .await?;
    for (diff_id, blob) in config.diff_ids.iter().zip(&parts.layers) {
        unpacker::unpack_blob(&shared.ingest, &blob.digest, diff_id, |_| ()).await?;
    }
    Ok(known(shared, &parts, config))
}
