//! Registries in the words of the door: logins, tags, and this machine as one.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use orc_base::{Context, Error, Result};
use orc_host::image::Credentials;
use orc_host::registry::{
    Artifact, ArtifactLayer, Found, Login, PulledArtifact, ServeEvent, ServeSpec,
};
use orc_host::stream::Stream;
use orc_image::digest::Digest;
use orc_image::reference::Reference;
use orc_image::serve::options::{ServeOptions, TlsTexts};
use orc_image::transfer::artifact;

use crate::core::Core;
use crate::images::{account, user};

/// Asks a registry whether it knows the account.
pub(crate) async fn log_in(
    core: &Core,
    registry: &str,
    credentials: &Credentials,
) -> Result<Login> {
    core.images
        .log_in(registry, account(credentials.clone()))
        .await?;
    Ok(Login {
        status: "Login Succeeded".into(),
        identity_token: String::new(),
    })
}

/// The tags of a repository on its registry.
pub(crate) async fn list_tags(
    core: &Core,
    repository: &str,
    credentials: Option<Credentials>,
) -> Result<Vec<String>> {
    let reference = Reference::parse(repository)?;
    core.images
        .list_tags(&reference, credentials.map(account))
        .await
}

/// What a name leads to on its registry.
pub(crate) async fn look_up(
    core: &Core,
    reference: &str,
    credentials: Option<Credentials>,
) -> Result<Found> {
    let reference = Reference::parse(reference)?;
    let found = core
        .images
        .look_up(&reference, credentials.map(account))
        .await?;
    Ok(Found {
        digest: found.digest.to_string(),
        media_type: found.media_type,
        size_bytes: found.size_bytes,
        platforms: found.platforms.iter().map(ToString::to_string).collect(),
    })
}

/// Sends an artefact.
pub(crate) async fn push_artifact(
    core: &Core,
    reference: &str,
    artifact: &Artifact,
    credentials: Option<Credentials>,
) -> Result<String> {
    let reference = Reference::parse(reference)?;
    let layers = artifact.layers.iter().map(|layer| artifact::ArtifactLayer {
        media_type: layer.media_type.clone(),
        bytes: layer.text.clone().into(),
        annotations: layer.annotations.clone(),
    });
    let artifact = artifact::Artifact {
        media_type: artifact.media_type.clone(),
        config_type: artifact.config_type.clone(),
        layers: layers.collect(),
        annotations: artifact.annotations.clone(),
    };
    let pushed = core
        .images
        .push_artifact(&reference, &artifact, credentials.map(account))
        .await?;
    Ok(pushed.digest.to_string())
}

/// Fetches an artefact, whose documents are text.
pub(crate) async fn pull_artifact(
    core: &Core,
    reference: &str,
    media_type: &str,
    credentials: Option<Credentials>,
) -> Result<PulledArtifact> {
    let reference = Reference::parse(reference)?;
    let pulled = core
        .images
        .pull_artifact(&reference, media_type, credentials.map(account))
        .await?;
    let artifact = pulled.artifact;
    let layers = artifact.layers.into_iter().map(text).collect::<Result<_>>();
    Ok(PulledArtifact {
        digest: pulled.digest.to_string(),
        artifact: Artifact {
            media_type: artifact.media_type,
            config_type: artifact.config_type,
            layers: layers.context(|| format!("pull {}", reference.familiar()))?,
            annotations: artifact.annotations,
        },
    })
}

fn text(layer: artifact::ArtifactLayer) -> Result<ArtifactLayer> {
    let text = String::from_utf8(layer.bytes.into())
        .map_err(|_| Error::invalid("a document of the artefact is not UTF-8 text"))?;
    Ok(ArtifactLayer {
        media_type: layer.media_type,
        text,
        annotations: layer.annotations,
    })
}

/// Serves the images of this machine until the stream is dropped.
pub(crate) async fn serve(core: &Arc<Core>, spec: &ServeSpec) -> Result<Stream<ServeEvent>> {
    let weak = Arc::downgrade(core);
    let options = ServeOptions {
        listen: spec.listen,
        writable: spec.writable,
        tls: spec.tls.as_ref().map(|tls| TlsTexts {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            client_authorities: tls.client_authorities.clone(),
        }),
        in_use: Arc::new(move |id: &Digest| {
            let core = weak.upgrade()?;
            user(&core, id.as_str())
        }),
    };
    let server = core.images.serve_registry(options).await?;
    tracing::info!(address = %server.address(), writable = spec.writable, "serving images");
    let listening = ServeEvent::Listening(server.address());
    let answers = stream::unfold(server, |mut server| async move {
        let answered = server.answered().await?;
        let event = ServeEvent::Answered {
            peer: answered.peer,
            method: answered.method,
            path: answered.path,
            status: answered.status,
        };
        Some((Ok(event), server))
    });
    Ok(Box::pin(stream::iter([Ok(listening)]).chain(answers)))
}
