//! Volumes.

use std::collections::BTreeMap;

use hyper::StatusCode;
use orc_base::Result;
use orc_host::container::ContainerFilter;
use orc_host::volume::Volume;

use crate::convert::filter::{self, Filters, Label};
use crate::convert::{pattern, volume};
use crate::server::call::Call;
use crate::server::reply::{self, Reply};
use crate::wire::volume as wire;

/// `GET /volumes`
pub(crate) async fn list(call: Call) -> Result<Reply> {
    let wanted = Wanted::of(call.query.filters()?)?;
    let mut volumes = call.host.list_volumes().await?;
    if let Some(dangling) = wanted.dangling {
        let users = users(&call).await?;
        volumes.retain(|found| users.contains_key(&found.name) != dangling);
    }
    let extended = call.extended();
    let volumes = volumes
        .iter()
        .filter(|found| wanted.matches(found))
        .map(|found| volume::to_wire(found, extended))
        .collect();
    reply::ok(&wire::VolumeList {
        volumes,
        warnings: Vec::new(),
    })
}

struct Wanted {
    names: Vec<String>,
    drivers: Vec<String>,
    labels: Vec<Label>,
    dangling: Option<bool>,
}

impl Wanted {
    fn of(mut filters: Filters) -> Result<Self> {
        let wanted = Self {
            names: filters.take("name"),
            drivers: filters.take("driver"),
            labels: filters.take_labels("label"),
            dangling: filters.take_flag("dangling")?,
        };
        filters.finish()?;
        Ok(wanted)
    }

    fn matches(&self, volume: &Volume) -> bool {
        (self.names.is_empty()
            || self
                .names
                .iter()
                .any(|name| pattern::names(name, &volume.name)))
            && (self.drivers.is_empty() || self.drivers.contains(&volume.driver))
            && self
                .labels
                .iter()
                .all(|label| filter::labelled(&volume.labels, label))
    }
}

/// How many containers, running or not, use each volume.
pub(crate) async fn users(call: &Call) -> Result<BTreeMap<String, i64>> {
    let mut users = BTreeMap::new();
    for container in call
        .host
        .list_containers(&ContainerFilter::everything())
        .await?
    {
        for name in container.mounts.into_iter().filter_map(|mount| mount.name) {
            *users.entry(name).or_insert(0) += 1;
        }
    }
    Ok(users)
}

/// `GET /volumes/{}`
pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    let found = call.host.inspect_volume(&call.name).await?;
    reply::ok(&volume::to_wire(&found, call.extended()))
}

/// `POST /volumes/create`
pub(crate) async fn create(mut call: Call) -> Result<Reply> {
    let body: wire::CreateBody = call.json_or_default().await?;
    let made = call.host.create_volume(&volume::spec(&body)?).await?;
    reply::json(
        StatusCode::CREATED,
        &volume::to_wire(&made, call.extended()),
    )
}

/// `DELETE /volumes/{}`
pub(crate) async fn remove(call: Call) -> Result<Reply> {
    call.host
        .remove_volume(&call.name, call.query.flag("force"))
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}
