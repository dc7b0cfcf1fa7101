//! What the tags of a project's images lead to at their registries now.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use orc_base::{Error, Result};
use orc_compose::model::Project;
use orc_compose::pins::{self, ImageOf};
use orc_host::Host;
use orc_image::reference::Reference;

use crate::cli::pull::credentials;

/// For every image of a project, that image with its digest in the words of docker compose:
/// `docker.io/library/busybox:1@sha256:…`. Each is looked up once.
pub(crate) async fn pinned(
    host: &dyn Host,
    project: &Project,
    at_once: usize,
) -> Result<BTreeMap<ImageOf, String>> {
    let places = pins::images(project);
    let images: BTreeSet<String> = places.values().cloned().collect();
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
    let of_places = places.into_iter().filter_map(|(place, image)| {
        let pinned = pinned.get(&image)?;
        Some((place, pinned.clone()))
    });
    Ok(of_places.collect())
}
