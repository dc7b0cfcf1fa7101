//! Images that turn a project into something: docker compose's transformations.
//!
//! Such an image finds the whole project as `/in/compose.yaml`, with what is in configs and secrets,
//! perhaps templates in `/templates`, and writes what it makes into `/out`. It runs on orc's engine like
//! any other container, as the user who asked. A file with secrets is in a directory that only that user
//! can read, and goes away afterwards.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orc_base::{Context, Error, Result};
use orc_compose::model::Project;
use orc_compose::render::{Format, document, render};
use orc_host::Host;
use orc_host::container::{ContainerSpec, Mount, RemoveOptions, Submounts};
use orc_host::image::Image;
use serde_json::{Value, json};

use crate::cli::compose::run::slug;
use crate::cli::cp::CopyFlags;
use crate::cli::failure::{OK, Outcome};
use crate::cli::flags::Pull;
use crate::cli::parse::copy::End;
use crate::cli::parse::detach::DetachKeys;
use crate::cli::run::{self, Attach};
use crate::cli::session::Session;
use crate::cli::stack::sources::Contents;
use crate::cli::stdio::Wishes;
use crate::ui::out;

/// What marks such an image: docker compose's label and its value.
const LABEL: (&str, &str) = ("com.docker.compose.bridge", "transformation");
/// Where such an image has its templates.
const TEMPLATES: &str = "/templates";
/// What an image of one's own begins with.
const DOCKERFILE: &str = "FROM docker/compose-bridge-transformer
LABEL com.docker.compose.bridge=transformation
COPY templates /templates
";
/// Docker's own, which its registry has.
const DEFAULT: &str = "docker/compose-bridge-kubernetes";

/// Directories of this machine.
pub(crate) struct Places<'a> {
    /// For what is made.
    pub(crate) output: &'a Path,
    /// Templates of the user's own.
    pub(crate) templates: Option<&'a Path>,
}

/// The images of this machine that turn projects into something.
pub(crate) async fn list(session: &Session) -> Result<Vec<Image>> {
    let mut images = session.host().await?.list_images().await?;
    let (key, value) = LABEL;
    images.retain(|image| image.config.labels.get(key).is_some_and(|own| own == value));
    Ok(images)
}

/// Runs the images one after the other; one that fails ends it, with its exit code.
pub(crate) async fn all(
    session: &Session,
    project: &Project,
    contents: &Contents,
    images: &[String],
    places: &Places<'_>,
) -> Outcome {
    let host = session.host().await?;
    let input = Input::make(&document(&whole(project, contents)?)?)?;
    std::fs::create_dir_all(places.output)
        .context(|| format!("make {}", places.output.display()))?;
    let mut mounts = vec![
        bind(&input.0, "/in", true)?,
        bind(places.output, "/out", false)?,
    ];
    if let Some(templates) = places.templates {
        mounts.push(bind(templates, TEMPLATES, true)?);
    }
    for image in images {
        let code = one(&host, image, &mounts).await?;
        if code != OK {
            return Ok(code);
        }
    }
    Ok(OK)
}

async fn one(host: &Arc<dyn Host>, image: &str, mounts: &[Mount]) -> Outcome {
    let spec = ContainerSpec {
        image: image.to_owned(),
        env: vec!["LICENSE_AGREEMENT=true".into()],
        user: Some(rustix::process::geteuid().as_raw().to_string()),
        mounts: mounts.to_vec(),
        auto_remove: true,
        ..ContainerSpec::default()
    };
    let id = run::create(&**host, None, &spec, Pull::Missing, false).await?;
    let attach = Attach {
        wishes: Wishes {
            stdin: false,
            stdout: true,
            stderr: true,
            tty: false,
            detach: DetachKeys::default(),
        },
        sig_proxy: true,
    };
    run::attached(Arc::clone(host), &id, true, attach).await
}

fn bind(source: &Path, target: &str, read_only: bool) -> Result<Mount> {
    let source = std::path::absolute(source).context(|| format!("find {}", source.display()))?;
    Ok(Mount::Bind {
        source,
        target: target.to_owned(),
        read_only,
        propagation: None,
        create_source: false,
        submounts: Submounts::Follow,
    })
}

/// A directory with the project, for as long as images read it.
struct Input(PathBuf);

impl Input {
    fn make(text: &str) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("orc-bridge-{}", slug()?));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .context(|| format!("make {}", directory.display()))?;
        let input = Self(directory);
        std::fs::write(input.0.join("compose.yaml"), text)
            .context(|| format!("write into {}", input.0.display()))?;
        Ok(input)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, directory = %self.0.display(), "could not be removed");
        }
    }
}

/// The project with the contents of its configs and secrets, the images that its services run, and the
/// ports that they have.
fn whole(project: &Project, contents: &Contents) -> Result<Value> {
    let text = render(project, Format::Json, &[], false)?;
    let mut whole: Value = serde_json::from_str(&text)
        .map_err(|error| Error::internal(format!("read the project again: {error}")))?;
    // Nobody puts variables in place any more.
    single_dollars(&mut whole);
    for (section, contents) in [
        ("configs", &contents.configs),
        ("secrets", &contents.secrets),
    ] {
        inline(&mut whole[section], contents);
    }
    for (name, service) in &project.services {
        let facts = &mut whole["services"][name];
        if facts.is_null() || service.provider.is_some() {
            continue;
        }
        facts["image"] = service.image_name(&project.name).into();
        let mut ports: Vec<String> = service.expose.clone();
        for port in &service.ports {
            let target = port.target.to_string();
            if !ports.contains(&target) {
                ports.push(target);
            }
        }
        if !ports.is_empty() {
            facts["expose"] = json!(ports);
        }
    }
    Ok(whole)
}

fn inline(section: &mut Value, contents: &BTreeMap<String, Vec<u8>>) {
    for (key, content) in contents {
        if let Some(source) = section.get_mut(key).and_then(Value::as_object_mut) {
            source.remove("file");
            source.remove("environment");
            let text = String::from_utf8_lossy(content).into_owned();
            source.insert("content".into(), text.into());
        }
    }
}

fn single_dollars(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace("$$", "$"),
        Value::Array(items) => items.iter_mut().for_each(single_dollars),
        Value::Object(map) => map.values_mut().for_each(single_dollars),
        _ => {}
    }
}

/// Begins an image of one's own with the templates of another: a Dockerfile, and they beside it.
pub(crate) async fn create(session: &Session, from: Option<&str>, path: &Path) -> Outcome {
    if path.exists() {
        return Err(Error::conflict(format!(
            "{} is there already: name another directory",
            path.display()
        ))
        .into());
    }
    let host = session.host().await?;
    let spec = ContainerSpec {
        image: from.unwrap_or(DEFAULT).to_owned(),
        ..ContainerSpec::default()
    };
    let id = run::create(&*host, None, &spec, Pull::Missing, false).await?;
    let copied = copy(&*host, &id, path).await;
    let options = RemoveOptions {
        force: true,
        volumes: true,
    };
    let removed = host.remove_container(&id, options).await;
    copied?;
    removed?;
    out::line(&format!("Transformer created in {}", path.display()));
    Ok(OK)
}

async fn copy(host: &dyn Host, container: &str, path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).context(|| format!("make {}", path.display()))?;
    let from = End::Container {
        name: container.to_owned(),
        path: TEMPLATES.to_owned(),
    };
    let to = End::Local(path.join("templates").display().to_string());
    CopyFlags::quiet().copy(host, from, to).await?;
    let dockerfile = path.join("Dockerfile");
    std::fs::write(&dockerfile, DOCKERFILE).context(|| format!("write {}", dockerfile.display()))
}
