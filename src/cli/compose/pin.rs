//! What the tags of a project's images lead to at their registries now.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use orc_base::{Error, Result};
use orc_compose::model::Project;
use orc_host::Host;
use orc_image::reference::Reference;

use crate::cli::pull::credentials;

/// For every service that has an image, that image with its digest in the words of docker compose:
/// `docker.io/library/busybox:1@sha256:…`. Each image is looked up once.
pub(crate) async fn pinned(
    host: &dyn Host,
    project: &Project,
    at_once: usize,
) -> Result<BTreeMap<String, String>> {
    let images: BTreeSet<String> = project
        .services
        .values()
        .filter_map(|service| service.image.clone())
        .collect();
    let look = |image: String| async move {
        let reference = Reference::parse(&image)?;
        if reference.digest().is_some() {
            return Ok((image, reference.to_string()));
        }
        let account = credentials(&image).await?;
        let found = host.look_up_image(&image, account).await?;
        let pinned = format!("{reference}@{}", found.digest);
        Ok::<_, Error>((image, pinned))
    };
    let pinned: BTreeMap<String, String> = stream::iter(images)
        .map(look)
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let of_services = project.services.iter().filter_map(|(name, service)| {
        let pinned = pinned.get(service.image.as_ref()?)?;
        Some((name.clone(), pinned.clone()))
    });
    Ok(of_services.collect())
}
