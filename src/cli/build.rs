//! `build`: what was typed as a build, its progress, and what becomes of the image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use orc_base::{Context, Error, Result, fs, units};
use orc_host::Host;
use orc_host::container::Resources;
use orc_host::image::Credentials;
use orc_host::image_build::{
    BuildEvent, BuildRequest, BuildSpec, ContextSource, DockerfileSource, MAX_SECRET, Secret,
    SshAgent,
};
use orc_image::reference::Reference;

use crate::cli::build_context::{Material, identified, material, open_directory};
use crate::cli::build_flags::Build;
use crate::cli::build_output;
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::build::{self as parse, Output, SecretFrom};
use crate::cli::parse::mount::absolute;
use crate::cli::parse::{env, limits, network};
use crate::cli::pull::credentials;
use crate::cli::session::Session;
use crate::ui::build::Display;
use crate::ui::out;
use crate::ui::progress::{Mode, TICK};

/// The longest Dockerfile whose images are looked for in it.
const MAX_DOCKERFILE: u64 = 1 << 20;

impl Build {
    /// Builds, prints the id when `quiet`, and does what the outputs ask for.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let directory = std::env::current_dir().context(|| "find the working directory")?;
        self.refuse()?;
        let outputs = self.outputs(&directory)?;
        let Material {
            context,
            dockerfile,
            archive,
        } = material(
            &self.context,
            self.file.as_deref(),
            &directory,
            tokio::io::stdin(),
        )
        .await?;
        let mut spec = self.spec(&directory, context, dockerfile)?;
        spec.tags.extend(outputs.iter().flat_map(further_names));
        spec.tags.dedup();
        if outputs.iter().any(is_push) && spec.tags.is_empty() {
            return Err(Error::invalid("to push an image it needs a name: use `--tag`").into());
        }
        spec.credentials = accounts(&spec).await?;
        let host = session.host().await?;
        let tags = spec.tags.clone();
        let check = spec.check;
        let mode = if self.quiet {
            Mode::Quiet
        } else {
            self.progress
        };
        let built = build(&*host, BuildRequest { spec, archive }, mode).await?;
        let Some(image) = built.image else {
            return Ok(checked(check, built.warnings));
        };
        if let Some(path) = &self.iidfile {
            write(path, &image)?;
        }
        if let Some(path) = &self.metadata_file {
            write(path, &metadata(&image, &tags))?;
        }
        for output in &outputs {
            build_output::carry_out(&*host, output, &image, &tags, mode).await?;
        }
        if outputs.iter().any(is_files) && !outputs.iter().any(is_image) && tags.is_empty() {
            // Only its files were wanted. Somebody may have named or used it meanwhile.
            let _ = host.remove_image(&image, false).await;
            return Ok(OK);
        }
        match mode {
            Mode::Quiet => out::line(&image),
            Mode::Json => {}
            _ if tags.is_empty() => out::note(&format!("Built {image}")),
            _ => out::note(&format!("Built {image} as {}", tags.join(", "))),
        }
        Ok(OK)
    }

    fn refuse(&self) -> Result<()> {
        match self.call.as_deref() {
            None | Some("build" | "check" | "lint") => {}
            Some(other) => {
                return Err(Error::unsupported(format!(
                    "`--call {other}` is not supported: use build or check"
                )));
            }
        }
        if self
            .platform
            .iter()
            .flat_map(|list| list.split(','))
            .count()
            > 1
        {
            return Err(Error::unsupported(
                "several platforms in one build are not supported: build for one at a time",
            ));
        }
        let wanted = |text: &Option<String>| {
            text.as_deref()
                .is_some_and(|text| !matches!(text, "false" | "0" | "mode=min"))
        };
        for (flag, set) in [
            ("--provenance", wanted(&self.provenance)),
            ("--sbom", wanted(&self.sbom)),
            ("--attest", !self.attest.is_empty()),
        ] {
            if set {
                out::warning(&format!("`{flag}`: attestations are not made"));
            }
        }
        Ok(())
    }

    fn outputs(&self, directory: &Path) -> Result<Vec<Output>> {
        let mut outputs: Vec<Output> = self
            .output
            .iter()
            .map(|text| parse::output(text, directory))
            .collect::<Result<_>>()?;
        if self.push {
            let push = Output::Image {
                names: Vec::new(),
                push: true,
            };
            match outputs
                .iter_mut()
                .find(|output| matches!(output, Output::Image { .. }))
            {
                Some(Output::Image { push, .. }) => *push = true,
                _ => outputs.push(push),
            }
        }
        if self.load && !outputs.is_empty() {
            outputs.push(Output::Image {
                names: Vec::new(),
                push: false,
            });
        }
        Ok(outputs)
    }

    fn spec(
        &self,
        directory: &Path,
        context: ContextSource,
        dockerfile: DockerfileSource,
    ) -> Result<BuildSpec> {
        let bytes = |text: &Option<String>| text.as_deref().map(units::parse_bytes).transpose();
        let contexts = self.build_context.iter().map(|text| {
            let (name, source) = parse::context(text, directory)?;
            Ok((name, seen(source)?))
        });
        Ok(BuildSpec {
            contexts: contexts.collect::<Result<_>>()?,
            context,
            dockerfile,
            target: self.target.clone().filter(|target| !target.is_empty()),
            tags: self.tag.clone(),
            args: arguments(&self.build_arg)?,
            labels: env::pairs("label", &self.label)?,
            platform: self.platform.first().cloned(),
            pull: self.pull,
            no_cache: self.no_cache,
            no_cache_filter: self.no_cache_filter.clone(),
            cache_from: self.cache_from.clone(),
            cache_to: self.cache_to.clone(),
            secrets: self
                .secret
                .iter()
                .map(|text| secret(text, directory))
                .collect::<Result<_>>()?,
            ssh: self
                .ssh
                .iter()
                .map(|text| agent(text, directory))
                .collect::<Result<_>>()?,
            network: self.network.clone().filter(|mode| mode != "default"),
            extra_hosts: self
                .add_host
                .iter()
                .map(|text| network::add_host(text))
                .collect::<Result<_>>()?,
            shm_bytes: bytes(&self.shm_size)?.filter(|bytes| *bytes > 0),
            ulimits: self
                .ulimit
                .iter()
                .map(|text| limits::ulimit(text))
                .collect::<Result<_>>()?,
            resources: Resources {
                memory_bytes: bytes(&self.memory)?,
                memory_swap_bytes: self.memory_swap.as_deref().map(limits::swap).transpose()?,
                cpu_shares: self.cpu_shares,
                cpu_period_us: self.cpu_period,
                cpu_quota_us: self.cpu_quota,
                cpuset_cpus: self.cpuset_cpus.clone(),
                cpuset_mems: self.cpuset_mems.clone(),
                ..Resources::default()
            },
            allow: self.allow.clone(),
            compression: parse::compression(&self.output)?,
            credentials: BTreeMap::new(),
            check: self.check || self.call.as_deref().is_some_and(|call| call != "build"),
        })
    }
}

fn further_names(output: &Output) -> Vec<String> {
    match output {
        Output::Image { names, .. } => names.clone(),
        _ => Vec::new(),
    }
}

fn is_push(output: &Output) -> bool {
    matches!(output, Output::Image { push: true, .. })
}

fn is_image(output: &Output) -> bool {
    matches!(output, Output::Image { .. })
}

fn is_files(output: &Output) -> bool {
    !is_image(output)
}

/// A check says what it found, and fails when that is something, as `docker build --check` does.
fn checked(check: bool, warnings: usize) -> u8 {
    match (check, warnings) {
        (true, 0) => {
            out::note("Check complete, no warnings found.");
            OK
        }
        (true, found) => {
            out::note(&format!(
                "Check complete, {found} warnings have been found!"
            ));
            1
        }
        (false, _) => OK,
    }
}

/// A directory is seen to be there, and which it is.
fn seen(source: ContextSource) -> Result<ContextSource> {
    match source {
        ContextSource::Directory { path, .. } => identified(open_directory(&path)?),
        other => Ok(other),
    }
}

/// `NAME=value`, or `NAME` with the value it has here; without one it is not set.
fn arguments(texts: &[String]) -> Result<BTreeMap<String, String>> {
    let here = |name: &str| std::env::var(name).ok();
    let mut arguments = BTreeMap::new();
    for text in texts {
        let variable = env::variable(text, &here)?;
        if let Some((name, value)) = variable.split_once('=') {
            arguments.insert(name.into(), value.into());
        }
    }
    Ok(arguments)
}

fn secret(text: &str, directory: &Path) -> Result<Secret> {
    let (id, from) = parse::secret(text, directory)?;
    let file =
        |path: &Path| fs::read_limited(path, MAX_SECRET as u64).context(|| format!("secret {id}"));
    let value = match &from {
        SecretFrom::File(path) => file(path)?,
        SecretFrom::Variable(name) => variable(&id, name)?,
        SecretFrom::Either(name) => match std::env::var_os(name) {
            Some(_) => variable(&id, name)?,
            None => file(&absolute(name, directory))?,
        },
    };
    Ok(Secret { id, value })
}

fn variable(id: &str, name: &str) -> Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os(name).ok_or_else(|| {
        Error::not_found(format!("secret {id}: the variable `{name}` is not set"))
    })?;
    let value = value.into_vec();
    match value.len() <= MAX_SECRET {
        true => Ok(value),
        false => Err(Error::exhausted(format!(
            "secret {id} has {} bytes: the limit is {MAX_SECRET}",
            value.len()
        ))),
    }
}

fn agent(text: &str, directory: &Path) -> Result<SshAgent> {
    let (id, socket) = parse::ssh(text, directory)?;
    let socket = match socket {
        Some(socket) => socket,
        None => std::env::var_os("SSH_AUTH_SOCK")
            .filter(|socket| !socket.is_empty())
            .map(PathBuf::from)
            .ok_or_else(|| {
                Error::not_found(format!(
                    "`--ssh {text}`: no ssh-agent runs here (SSH_AUTH_SOCK is not set)"
                ))
            })?,
    };
    let found = socket
        .metadata()
        .context(|| format!("`--ssh {text}`: {}", socket.display()))?;
    use std::os::unix::fs::FileTypeExt;
    match found.file_type().is_socket() {
        true => Ok(SshAgent { id, socket }),
        false => Err(Error::unsupported(format!(
            "`--ssh {text}`: {} is not an agent's socket: add the key to an ssh-agent and name that",
            socket.display()
        ))),
    }
}

/// The accounts that this user has at the registries of all images that the build seems to need.
pub(crate) async fn accounts(spec: &BuildSpec) -> Result<BTreeMap<String, Credentials>> {
    let mut found = BTreeMap::new();
    let mut asked = BTreeSet::new();
    for name in images(spec) {
        let Ok(reference) = Reference::parse(&name) else {
            continue;
        };
        if !asked.insert(reference.registry().to_owned()) {
            continue;
        }
        if let Some(account) = credentials(&name).await? {
            found.insert(reference.registry().to_owned(), account);
        }
    }
    Ok(found)
}

/// What could be the name of an image in what is asked for.
fn images(spec: &BuildSpec) -> Vec<String> {
    let mut names = spec.tags.clone();
    for source in spec.contexts.values() {
        if let ContextSource::Image(name) = source {
            names.push(name.clone());
        }
    }
    for cache in spec.cache_from.iter().chain(&spec.cache_to) {
        match parse::fields(cache) {
            Ok(fields) if cache.contains('=') => {
                let named = fields.into_iter().filter(|(key, _)| key == "ref");
                names.extend(named.map(|(_, name)| name));
            }
            _ => names.push(cache.clone()),
        }
    }
    names.extend(spec.args.values().cloned());
    names.extend(dockerfile_text(spec).iter().flat_map(|text| {
        text.lines().flat_map(|line| {
            let words = line.split_whitespace();
            let taken = words.filter(|_| mentions_image(line));
            taken
                .map(|word| {
                    let word = word.strip_prefix("--from=").unwrap_or(word);
                    let word = word.split_once('=').map_or(word, |(_, value)| value);
                    word.trim_matches('"').to_owned()
                })
                .collect::<Vec<_>>()
        })
    }));
    names
}

fn mentions_image(line: &str) -> bool {
    let line = line.trim_start().to_ascii_uppercase();
    line.starts_with("FROM ") || line.starts_with("ARG ") || line.contains("--FROM=")
}

fn dockerfile_text(spec: &BuildSpec) -> Option<String> {
    match (&spec.dockerfile, &spec.context) {
        (DockerfileSource::Text { text, .. }, _) => Some(text.clone()),
        (DockerfileSource::Path(file), ContextSource::Directory { path, .. }) => {
            let bytes = fs::read_limited(&path.join(file), MAX_DOCKERFILE).ok()?;
            String::from_utf8(bytes).ok()
        }
        _ => None,
    }
}

/// What came of a build.
pub(crate) struct Built {
    /// The image; none after a check.
    pub(crate) image: Option<String>,
    /// How many warnings there were.
    pub(crate) warnings: usize,
}

/// Builds and shows the progress.
pub(crate) async fn build(host: &dyn Host, request: BuildRequest, mode: Mode) -> Result<Built> {
    let mut display = Display::new(mode);
    let mut built = Built {
        image: None,
        warnings: 0,
    };
    let mut events = host.build_image(request).await?;
    let mut clock = tokio::time::interval(TICK);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = clock.tick() => {
                display.tick();
                continue;
            }
        };
        match event {
            None => break,
            Some(Ok(event)) => {
                display.event(&event);
                match event {
                    BuildEvent::Built { image } => built.image = Some(image),
                    BuildEvent::Warning(_) => built.warnings += 1,
                    _ => {}
                }
            }
            Some(Err(error)) => {
                display.fail(&error);
                return Err(error);
            }
        }
    }
    display.finish();
    Ok(built)
}

fn metadata(image: &str, tags: &[String]) -> String {
    let facts = serde_json::json!({
        "containerimage.config.digest": image,
        "containerimage.digest": image,
        "image.name": tags.join(","),
    });
    format!("{facts:#}\n")
}

fn write(path: &str, text: &str) -> Result<()> {
    std::fs::write(path, text).context(|| format!("write {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_a_build_seems_to_need() {
        let spec = BuildSpec {
            tags: vec!["registry.example/app:1".into()],
            dockerfile: DockerfileSource::Text {
                name: "Dockerfile".into(),
                text: "ARG BASE=\"base.example/x:1\"\nFROM --platform=linux/amd64 $BASE AS b\nRUN curl x.example\nCOPY --from=tools.example/t /a /b\n"
                    .into(),
                ignore: None,
            },
            cache_from: vec![
                "type=registry,ref=cache.example/c".into(),
                "plain.example/c".into(),
            ],
            ..BuildSpec::default()
        };
        let images = images(&spec);
        for wanted in [
            "registry.example/app:1",
            "base.example/x:1",
            "tools.example/t",
            "cache.example/c",
            "plain.example/c",
        ] {
            assert!(
                images.iter().any(|name| name == wanted),
                "{wanted}: {images:?}"
            );
        }
        assert!(!images.iter().any(|name| name == "x.example"));
    }

    #[test]
    fn secrets_are_read_here() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), b"value").unwrap();
        let read = secret("id=k,src=key", dir.path()).unwrap();
        assert_eq!((read.id.as_str(), &read.value[..]), ("k", &b"value"[..]));
        assert!(secret("id=k,env=ORC_TEST_SURELY_NOT_SET", dir.path()).is_err());
        std::fs::write(dir.path().join("large"), vec![0; MAX_SECRET + 1]).unwrap();
        let error = secret("id=k,src=large", dir.path()).unwrap_err();
        assert!(error.to_string().contains("secret k"), "{error}");
    }
}
