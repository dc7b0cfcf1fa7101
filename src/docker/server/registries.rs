//! Logins to registries, and what is orc's own: the tags of a repository, and this machine as a
//! registry.

use futures_util::StreamExt;
use orc_base::Result;

use crate::convert::{image, registry};
use crate::server::call::Call;
use crate::server::reply::{self, Reply};
use crate::wire::registry as wire;

/// `POST /auth`: the registry itself is asked.
pub(crate) async fn log_in(mut call: Call) -> Result<Reply> {
    let (registry, credentials) = registry::login(call.json().await?)?;
    let login = call.host.log_in(&registry, &credentials).await?;
    reply::ok(&wire::LoginReply {
        status: login.status,
        identity_token: login.identity_token,
    })
}

/// `GET /orc/tags?repository=…`
pub(crate) async fn tags(call: Call) -> Result<Reply> {
    let repository = call.query.needed("repository")?.to_owned();
    let header = call.header("x-registry-auth").unwrap_or_default();
    let credentials = image::auth_from_header(header)?;
    let tags = call.host.list_tags(&repository, credentials).await?;
    reply::ok(&wire::Tags { tags })
}

/// `GET /distribution/{..}/json`: what a name leads to on its registry.
pub(crate) async fn look_up(call: Call) -> Result<Reply> {
    let header = call.header("x-registry-auth").unwrap_or_default();
    let credentials = image::auth_from_header(header)?;
    let found = call.host.look_up_image(&call.name, credentials).await?;
    reply::ok(&registry::found_to_wire(found))
}

/// `POST /orc/artifact?reference=…`: documents that are no image go to a registry.
pub(crate) async fn push_artifact(mut call: Call) -> Result<Reply> {
    let reference = call.query.needed("reference")?.to_owned();
    let header = call.header("x-registry-auth").unwrap_or_default();
    let credentials = image::auth_from_header(header)?;
    let artifact: orc_host::registry::Artifact = call.json().await?;
    let digest = call
        .host
        .push_artifact(&reference, &artifact, credentials)
        .await?;
    reply::ok(&wire::Stored { digest })
}

/// `GET /orc/artifact?reference=…&type=…`: documents that are no image come from a registry.
pub(crate) async fn pull_artifact(call: Call) -> Result<Reply> {
    let reference = call.query.needed("reference")?.to_owned();
    let media_type = call.query.needed("type")?.to_owned();
    let header = call.header("x-registry-auth").unwrap_or_default();
    let credentials = image::auth_from_header(header)?;
    let pulled = call
        .host
        .pull_artifact(&reference, &media_type, credentials)
        .await?;
    reply::ok(&pulled)
}

/// `POST /orc/registry`: a registry that lives as long as this connection. Lines say where it listens
/// and what it answers.
pub(crate) async fn serve(mut call: Call) -> Result<Reply> {
    let spec = registry::serve(call.json().await?);
    let events = call.host.serve_registry(&spec).await?;
    let lines = events.map(|event| {
        let mut line = serde_json::to_vec(&event?)?;
        line.push(b'\n');
        Ok(line.into())
    });
    Ok(reply::stream("application/json", Box::pin(lines)))
}
