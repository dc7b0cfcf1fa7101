//! One build from its request to its image.
//!
//! ```text
//! request ─► contexts ─► Dockerfile ─► sources ─► plan ─► executor ─► image
//! ```
//!
//! Whatever ends it, also whoever asked going away: threads that still work for it stop, and its place
//! goes with the last of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Semaphore;

use orc_base::root::Root;
use orc_base::{Context, Error, Result, Time};

use crate::build::blobs::{Blobs, Packing};
use crate::build::contexts::{self, ContextArchive, Opened};
use crate::build::executor::{self, Outcome};
use crate::build::fingerprint::Fingerprints;
use crate::build::finish;
use crate::build::graph::{Network, Op, Plan};
use crate::build::place::Places;
use crate::build::plan::make;
use crate::build::plan::options::PlanOptions;
use crate::build::remote_cache::{self, Export, Place as CachePlace, RemoteCache, Spec};
use crate::build::request::{BuildEvent, BuildOptions, DockerfileSource, Events, StepInfo};
use crate::build::runner::StepRunner;
use crate::build::shared::Shared;
use crate::build::sources;
use crate::build::stop::{Stop, StopOnDrop};
use crate::build::view::View;
use crate::digest::Digest;
use crate::dockerfile::ast::Dockerfile;
use crate::dockerfile::ignore::{self, Ignore};
use crate::flight::Flights;
use crate::image::Image;
use crate::platform::Platform;
use crate::registry::http::Http;
use crate::store::Store;
use crate::unpack::compression::Compression;

/// What all builds of a store share.
#[derive(Debug, Clone)]
pub(crate) struct Builder {
    /// Where they work.
    places: Places,
    /// What files contain.
    fingerprints: Fingerprints,
    /// Who works on what.
    flights: Arc<Flights<Digest>>,
}

/// Who asks for a build, and with what.
pub(crate) struct Call {
    /// What is asked for.
    pub(crate) options: BuildOptions,
    /// The archive of the main context.
    pub(crate) archive: Option<ContextArchive>,
    /// Runs programs.
    pub(crate) runner: Arc<dyn StepRunner>,
    /// Hears what happens.
    pub(crate) events: Arc<dyn Events>,
}

impl Builder {
    /// Builds below `directory`, where what a crash left is removed.
    pub(crate) fn open(directory: &std::path::Path) -> Result<Self> {
        Ok(Self {
            places: Places::open(directory)?,
            fingerprints: Fingerprints::default(),
            flights: Arc::default(),
        })
    }

    /// Builds; no image comes of a check.
    pub(crate) async fn build(
        &self,
        http: &Arc<Http>,
        store: &Store,
        call: Call,
    ) -> Result<Option<Image>> {
        let Call {
            options,
            archive,
            runner,
            events,
        } = call;
        let ingest = store.begin();
        let stop = Stop::default();
        let _stop = StopOnDrop(stop.clone());
        let mut remote = Vec::new();
        for text in &options.cache_from {
            remote.extend(open_cache(http, store, text, &options, &*events).await?);
        }
        let place = self.places.create()?;
        let shared = Arc::new(Shared {
            empty: place.directory("empty")?,
            place,
            runner,
            events,
            fingerprints: self.fingerprints.clone(),
            flights: self.flights.clone(),
            stop,
            blobs: Blobs::default(),
            packing: packing(&options)?,
            platform: OnceLock::new(),
            first: OnceLock::new(),
            dockerfile: OnceLock::new(),
            http: http.clone(),
            remote,
            no_cache: options.no_cache,
            no_cache_filter: options.no_cache_filter.clone(),
            secrets: options.secrets.clone(),
            ssh: options.ssh.clone(),
            lanes: Semaphore::new(cores()),
            views: Mutex::new(HashMap::new()),
            paths: Mutex::new(HashMap::new()),
            ingest: ingest.clone(),
        });
        let built = run(&shared, &options, archive).await;
        // What went well is in an image or remembered; what did not is collected.
        if built.is_ok() {
            ingest.settle();
        }
        built
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get())
}

fn packing(options: &BuildOptions) -> Result<Packing> {
    let compression = match options.compression.as_deref() {
        None | Some("gzip") => Compression::Gzip,
        Some("zstd") => Compression::Zstd,
        Some("uncompressed") => Compression::None,
        Some(other) => {
            return Err(Error::invalid(format!(
                "`{other}` is no way to compress layers; gzip, zstd and uncompressed are"
            )));
        }
    };
    let epoch = options.args.get("SOURCE_DATE_EPOCH");
    let epoch = epoch.filter(|text| !text.is_empty()).map(|text| {
        let seconds: Option<i64> = text.parse().ok();
        let seconds = seconds.filter(|seconds| *seconds >= 0);
        seconds.map(Time::from_secs).ok_or_else(|| {
            Error::invalid(format!(
                "SOURCE_DATE_EPOCH is `{text}`, and should be seconds since 1970"
            ))
        })
    });
    Ok(Packing {
        compression,
        clamp: epoch.transpose()?,
    })
}

/// A cache that cannot be read is a warning; one that cannot be is an error.
async fn open_cache(
    http: &Arc<Http>,
    store: &Store,
    text: &str,
    options: &BuildOptions,
    events: &dyn Events,
) -> Result<Option<RemoteCache>> {
    let spec = Spec::parse(text)?;
    match RemoteCache::open(http, store, &spec, &options.credentials).await {
        Ok(cache) => Ok(Some(cache)),
        Err(error) => {
            let why = format!("the cache `{text}` is not used: {error}");
            events.report(BuildEvent::Warning(why));
            Ok(None)
        }
    }
}

async fn run(
    shared: &Arc<Shared>,
    options: &BuildOptions,
    archive: Option<ContextArchive>,
) -> Result<Option<Image>> {
    let cache_to = options.cache_to.iter().map(|text| Spec::parse(text));
    let cache_to: Vec<Spec> = cache_to.collect::<Result<_>>()?;
    let main = contexts::open(shared, &options.context, archive).await?;
    let (main, text) = match main {
        Opened::Directory(root) => (root, None),
        Opened::Dockerfile(text) => (Root::open(&shared.empty)?, Some(text)),
        Opened::Image(_) | Opened::Layout { .. } => {
            return Err(Error::invalid(
                "the main context is a directory, an archive or a repository; give an image as a further context",
            ));
        }
    };
    let (dockerfile, ignore) = read(options, main_dockerfile(options), &main, text)?;
    let _ = shared.dockerfile.set(dockerfile.name.clone());
    let events = &shared.events;
    events.report(BuildEvent::Dockerfile {
        name: dockerfile.name.clone(),
        text: dockerfile.text.clone(),
    });
    let plan_options = plan_options(options, &ignore)?;
    let main = Arc::new(View::of_context(main, Some(ignore)));
    let parsed = &dockerfile.parsed;
    let found = sources::find(shared, options, parsed, &plan_options, main).await?;
    let plan = make::plan(parsed, &plan_options, &found.bases)?;
    for warning in &plan.warnings {
        events.report(BuildEvent::Warning(warning.clone()));
    }
    if options.check {
        return Ok(None);
    }
    can_run(&plan)?;
    announce(shared, &plan, found.steps);
    let (plan, sources) = (Arc::new(plan), Arc::new(found.sources));
    let outcomes = executor::execute(shared, &plan, &sources).await?;
    let inline = cache_to.iter().any(|spec| spec.place == CachePlace::Inline);
    let image = finish::finish(shared, &plan, &outcomes, &options.tags, inline).await?;
    for spec in &cache_to {
        export(shared, options, &plan, &outcomes, spec).await?;
    }
    Ok(Some(image))
}

/// Where the Dockerfile is in the context, if it is there.
fn main_dockerfile(options: &BuildOptions) -> &str {
    match &options.dockerfile {
        DockerfileSource::Path(path) if !path.is_empty() => path,
        _ => "Dockerfile",
    }
}

/// A Dockerfile and what it says.
struct Read {
    name: String,
    text: String,
    parsed: Dockerfile,
}

/// Reads the Dockerfile and the ignore file that counts for it.
fn read(
    options: &BuildOptions,
    path: &str,
    main: &Root,
    downloaded: Option<Vec<u8>>,
) -> Result<(Read, Ignore)> {
    let (name, bytes, beside) = match (&options.dockerfile, downloaded) {
        (DockerfileSource::Text { name, text, ignore }, _) => {
            (name.clone(), text.clone().into_bytes(), ignore.clone())
        }
        (DockerfileSource::Path(_), Some(bytes)) => ("Dockerfile".into(), bytes, None),
        (DockerfileSource::Path(_), None) => {
            (path.to_owned(), contexts::dockerfile(main, path)?, None)
        }
    };
    let parsed = Dockerfile::parse(&name, &bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let ignore = match beside {
        Some(text) => Some(text),
        None => contexts::ignore_file(main, &ignore::names(path))?,
    };
    let ignore = ignore.map(|text| Ignore::parse(&text)).transpose();
    let ignore = ignore.context(|| "read the ignore file")?;
    let read = Read { name, text, parsed };
    Ok((read, ignore.unwrap_or_default()))
}

fn plan_options(options: &BuildOptions, ignore: &Ignore) -> Result<PlanOptions> {
    let allows = |what: &str| options.allow.iter().any(|one| one == what);
    let network = match options.network.as_deref() {
        None | Some("" | "default" | "bridge") => Network::Default,
        Some("none") => Network::None,
        Some("host") => Network::Host,
        Some(other) => {
            return Err(Error::invalid(format!(
                "`{other}` is no network for a build; default, none and host are"
            )));
        }
    };
    for what in &options.allow {
        if !["network.host", "security.insecure"].contains(&what.as_str()) {
            return Err(Error::invalid(format!(
                "`{what}` cannot be allowed; network.host and security.insecure can"
            )));
        }
    }
    Ok(PlanOptions {
        target: options.target.clone(),
        args: options.args.clone(),
        labels: options.labels.clone(),
        platform: options.platform.clone(),
        contexts: options.contexts.keys().cloned().collect(),
        network,
        allow_host_network: allows("network.host") || network == Network::Host,
        allow_insecure: allows("security.insecure"),
        ignore: ignore.clone(),
        all_stages: options.check,
        ..PlanOptions::new(Platform::host())
    })
}

/// Programs for another processor run where an emulator is registered (binfmt_misc, proc(5)). A stage
/// may be for this machine while the image is not: that is how one builds for others.
fn can_run(plan: &Plan) -> Result<()> {
    let host = Platform::host();
    let foreign = plan.steps.iter().find_map(|step| match &step.op {
        Op::Run(run) if !host.accepts(&run.platform) => Some(&run.platform),
        _ => None,
    });
    let Some(platform) = foreign else {
        return Ok(());
    };
    let name = match platform.architecture.as_str() {
        "amd64" => "x86_64",
        "386" => "i386",
        "arm64" => "aarch64",
        other => other,
    };
    let handler = format!("/proc/sys/fs/binfmt_misc/qemu-{name}");
    match std::path::Path::new(&handler).exists() {
        true => Ok(()),
        false => Err(Error::unsupported(format!(
            "this machine is {host} and cannot run programs for {platform}: register an emulator (binfmt_misc, such as the package qemu-user-static), or build without RUN"
        ))),
    }
}

/// Says what will be done: after what was done already to find out.
fn announce(shared: &Shared, plan: &Plan, before: Vec<StepInfo>) {
    let _ = shared.first.set(before.len());
    let _ = shared.platform.set(plan.platform.clone());
    let mut all = before;
    all.extend(plan.steps.iter().map(|step| StepInfo {
        stage: step.stage.clone(),
        position: step.position,
        text: step.text.clone(),
        line: step.line,
    }));
    shared.events.report(BuildEvent::Planned(all));
}

/// Keeps results elsewhere.
async fn export(
    shared: &Arc<Shared>,
    options: &BuildOptions,
    plan: &Plan,
    outcomes: &[Outcome],
    spec: &Spec,
) -> Result<()> {
    if spec.place == CachePlace::Inline {
        return Ok(());
    }
    let records = finish::records(plan, outcomes, spec.all);
    let owners = finish::owners(outcomes);
    let mut layers: Vec<(Digest, _)> = Vec::new();
    for layer in records.iter().filter_map(|record| record.layer.as_ref()) {
        if layers.iter().any(|(known, _)| known == layer) {
            continue;
        }
        if layers.len() == remote_cache::MAX_LAYERS {
            break;
        }
        let Some(files) = owners.get(layer) else {
            continue;
        };
        layers.push((layer.clone(), finish::blob(shared, files, layer).await?));
    }
    let here = |one: &remote_cache::Travelling| {
        let layer = one.layer.as_ref();
        layer.is_none_or(|layer| layers.iter().any(|(known, _)| known == layer))
    };
    let export = Export {
        records: records.into_iter().filter(here).collect(),
        layers: layers.clone(),
        platform: plan.platform.clone(),
    };
    let sent = export.send(
        &shared.http,
        shared.store(),
        &spec.place,
        &options.credentials,
    );
    sent.await
}
