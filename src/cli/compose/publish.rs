//! `publish`: the project as an artefact on a registry, for `docker compose -f oci://…`.
//!
//! The images that the project builds go first; then the document, as `orc_compose::publish` makes
//! it. What its sender may not want to show is asked about before anything is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use orc_base::{Error, Kind, Result};
use orc_compose::load::LoadOptions;
use orc_compose::publish::{Publication, publication};
use orc_host::Host;
use orc_host::registry::{Artifact, ArtifactLayer};

use crate::cli::compose::pin::pinned;
use crate::cli::compose::push::{images, push};
use crate::cli::compose::remote::artifact::{
    ENV_FILE, ENV_FILE_NAME, FILE, FILE_NAME, OLD_CONFIG, PROJECT, VERSION,
};
use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::cli::prompt;
use crate::cli::pull::credentials;
use crate::cli::session::Session;
use crate::ui::{escape, out, terminal};

/// The versions of the image specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OciVersion {
    /// Artefacts are told by their config
    #[value(name = "1.0")]
    V1_0,
    /// Artefacts have a type
    #[value(name = "1.1")]
    V1_1,
}

/// Send the project to a registry, for others to run
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The images with it, as one application
    #[arg(long, hide = true)]
    app: bool,
    /// Version of the image specification; 1.0 only where the registry does not take 1.1
    #[arg(long, value_enum, value_name = "VERSION")]
    oci_version: Option<OciVersion>,
    /// Pin images to what their tags lead to now
    #[arg(long)]
    resolve_image_digests: bool,
    /// With values of environment variables and the content of `env_file`s
    #[arg(long)]
    with_env: bool,
    /// Do not ask
    #[arg(short = 'y', long)]
    yes: bool,
    /// What it is called there
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: String,
}

impl Publish {
    /// Prints the name with the digest of what was sent.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        if self.app {
            return Err(Error::unsupported(
                "`--app` is not supported: images are pushed under their own names, which the published file has",
            )
            .into());
        }
        let everything = ProjectFlags {
            profile: vec!["*".into()],
            ..flags.clone()
        };
        let options = everything.options(&[])?;
        // Before anything is sent: whether it can be read, and what it shows.
        let first = publication(&options, self.with_env, &BTreeMap::new())?;
        let project = everything.load(&[])?;
        let images: Vec<String> = images(&project, &[], false)?.into_keys().collect();
        if flags.dry_run {
            let push = |image: &String| out::line(&format!("push {image}"));
            images.iter().for_each(push);
            out::line(&format!("publish {}", self.repository));
            return Ok(OK);
        }
        if !self.may_be_seen(&first.concerns).await? {
            return Ok(OK);
        }
        let host = session.host().await?;
        push(&host, &flags, &images)
            .await
            .into_iter()
            .collect::<Result<()>>()?;
        let digest = self
            .send(&host, &options, first, &project, flags.at_once())
            .await?;
        out::line(&format!("{}@{digest}", self.repository));
        Ok(OK)
    }

    async fn send(
        &self,
        host: &Arc<dyn Host>,
        options: &LoadOptions,
        first: Publication,
        project: &orc_compose::model::Project,
        at_once: usize,
    ) -> Result<String> {
        let published = match self.resolve_image_digests {
            true => {
                let images = pinned(&**host, project, at_once).await?;
                publication(options, self.with_env, &images)?
            }
            false => first,
        };
        let account = credentials(&self.repository).await?;
        let send = |config_type: Option<&str>| {
            let artifact = artifact(&published, config_type);
            let account = account.clone();
            async move {
                host.push_artifact(&self.repository, &artifact, account)
                    .await
            }
        };
        match self.oci_version {
            Some(OciVersion::V1_0) => send(Some(OLD_CONFIG)).await,
            Some(OciVersion::V1_1) => send(None).await,
            None => match send(None).await {
                // Registries of the time before refuse the manifest.
                Err(error) if error.kind() == Kind::Invalid => send(Some(OLD_CONFIG)).await,
                other => other,
            },
        }
    }

    /// Asks, when there is something to ask about; where nobody can answer it is a refusal.
    async fn may_be_seen(&self, concerns: &[String]) -> Result<bool> {
        if concerns.is_empty() || self.yes {
            return Ok(true);
        }
        let list: String = concerns
            .iter()
            .map(|concern| format!("\n  {}", escape::line(concern)))
            .collect();
        if !terminal::stdin_is_terminal() {
            return Err(Error::denied(format!(
                "everybody who may read {} would see:{list}\nsay `-y` if they may, or take it out of the files",
                self.repository
            )));
        }
        prompt::ask(format!(
            "Everybody who may read {} will see:{list}",
            self.repository
        ))
        .await
    }
}

fn artifact(published: &Publication, config_type: Option<&str>) -> Artifact {
    let annotated = |key: &str, value: &str| {
        let version = env!("CARGO_PKG_VERSION");
        BTreeMap::from([
            (key.to_owned(), value.to_owned()),
            (VERSION.to_owned(), format!("orc-{version}")),
        ])
    };
    let file = ArtifactLayer {
        media_type: FILE.into(),
        text: published.document.clone(),
        annotations: annotated(FILE_NAME, "compose.yaml"),
    };
    let env_files = published
        .env_files
        .iter()
        .map(|(name, text)| ArtifactLayer {
            media_type: ENV_FILE.into(),
            text: text.clone(),
            annotations: annotated(ENV_FILE_NAME, name),
        });
    Artifact {
        media_type: PROJECT.into(),
        config_type: config_type.map(str::to_owned),
        layers: std::iter::once(file).chain(env_files).collect(),
        annotations: BTreeMap::new(),
    }
}
