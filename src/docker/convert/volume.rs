//! Volumes: Docker's JSON of them, and back.

use orc_base::{Error, Result};
use orc_host::volume::{Volume, VolumeSpec};

use crate::convert::unsupported::{self, Place};
use crate::wire::volume as wire;

/// What `docker volume inspect` prints.
pub(crate) fn to_wire(volume: &Volume, extended: bool) -> wire::Volume {
    wire::Volume {
        created_at: volume.created.to_string(),
        driver: volume.driver.clone(),
        labels: volume.labels.clone(),
        mountpoint: volume.mountpoint.clone(),
        name: volume.name.clone(),
        options: volume.options.clone(),
        scope: "local".into(),
        orc_anonymous: extended && volume.anonymous,
    }
}

/// The inverse of [`to_wire`] with `extended`.
pub(crate) fn from_wire(volume: &wire::Volume) -> Result<Volume> {
    let created = volume.created_at.parse().map_err(|error: Error| {
        error
            .with_kind(orc_base::Kind::Internal)
            .within(format!("read volume {}", volume.name))
    })?;
    Ok(Volume {
        name: volume.name.clone(),
        driver: volume.driver.clone(),
        options: volume.options.clone(),
        labels: volume.labels.clone(),
        mountpoint: volume.mountpoint.clone(),
        created,
        anonymous: volume.orc_anonymous,
    })
}

/// The body that asks for a volume.
pub(crate) fn body(spec: &VolumeSpec) -> wire::CreateBody {
    wire::CreateBody {
        name: spec.name.clone(),
        driver: spec.driver.clone(),
        driver_opts: spec.options.clone(),
        labels: spec.labels.clone(),
        ..Default::default()
    }
}

/// The inverse of [`body`].
pub(crate) fn spec(body: &wire::CreateBody) -> Result<VolumeSpec> {
    unsupported::refuse_all(Place::Other("Volume"), &body.other)?;
    Ok(VolumeSpec {
        name: body.name.clone(),
        driver: body.driver.clone(),
        options: body.driver_opts.clone(),
        labels: body.labels.clone(),
    })
}
