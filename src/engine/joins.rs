//! Joins containers to networks and takes them off, at once when they run.

use std::sync::Arc;

use orc_base::fs::Durability;
use orc_base::{Context, Error, Result};
use orc_host::container::NetworkMode;
use orc_host::event::Subject;
use orc_host::network::{EndpointSpec, NetworkEndpoint};

use crate::cell::Cell;
use crate::core::{Core, blocking};
use crate::records::{ContainerRecord, Place};
use crate::start::write_files;
use crate::wiring;

/// Joins a container to one more network.
pub(crate) async fn connect(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    endpoint: &EndpointSpec,
) -> Result<()> {
    let _turn = cell.turn.lock().await;
    let mut record = (*cell.record()).clone();
    if record.spec.network_mode != NetworkMode::Networks {
        return Err(Error::conflict(format!(
            "container {} has no network of its own to join others: it was made with network mode host, none or container",
            record.name
        )));
    }
    let place = wiring::place(endpoint, |network| core.networks.find(network))?;
    if record
        .places
        .iter()
        .any(|other| other.network == place.network)
    {
        return Err(Error::conflict(format!(
            "endpoint with name {} already exists in network {}",
            record.name, place.network_name
        )));
    }
    let runs = cell.run().is_some();
    if runs {
        let hostname = &record.effective.hostname;
        let wish = wiring::endpoint(&place, hostname)?;
        core.net
            .connect(cell.id(), wish)
            .await
            .context(|| format!("connect {} to network {}", record.name, place.network_name))?;
    }
    record.places.push(place.clone());
    if let Err(error) = keep(core, cell, record, runs).await {
        let _ = core.net.disconnect(cell.id(), &place.network).await;
        return Err(error);
    }
    say(core, cell, "connect", &place);
    Ok(())
}

/// Takes a container off a network.
pub(crate) async fn disconnect(core: &Arc<Core>, cell: &Arc<Cell>, network: &str) -> Result<()> {
    let _turn = cell.turn.lock().await;
    let mut record = (*cell.record()).clone();
    let id = core.networks.find(network).map(|found| found.network.id);
    let at = record.places.iter().position(|place| match &id {
        Ok(id) => place.network == *id,
        // The network may be gone while a stopped container still wants it.
        Err(_) => place.network_name == network,
    });
    let Some(at) = at else {
        return Err(match id {
            Err(error) => error,
            Ok(_) => Error::not_found(format!(
                "container {} is not connected to the network {network}",
                record.name
            )),
        });
    };
    let place = record.places.remove(at);
    let runs = cell.run().is_some();
    if runs {
        core.net
            .disconnect(cell.id(), &place.network)
            .await
            .context(|| {
                format!(
                    "disconnect {} from network {}",
                    record.name, place.network_name
                )
            })?;
    }
    keep(core, cell, record, runs).await?;
    say(core, cell, "disconnect", &place);
    Ok(())
}

/// Puts the change on disk, and into the files of a running container.
async fn keep(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    record: ContainerRecord,
    runs: bool,
) -> Result<()> {
    if runs {
        let sandbox = core.net.sandbox(cell.id());
        write_files(core, &record, sandbox.as_ref(), &record.effective.hostname)?;
        cell.set_sandbox(sandbox);
        cell.save(&core.store, Durability::Process)?;
    }
    let (inner, saved) = (core.clone(), record.clone());
    blocking(move || inner.store.save_container(&saved)).await?;
    cell.set_record(record);
    Ok(())
}

fn say(core: &Core, cell: &Cell, action: &str, place: &Place) {
    let id = place.network.as_str();
    let more = [
        ("name", place.network_name.as_str()),
        ("type", "bridge"),
        ("container", cell.id().as_str()),
    ];
    core.say_of(Subject::Network, action, id, &more);
}

/// The running containers on a network.
pub(crate) fn on_network(core: &Core, network: &orc_base::Id) -> Vec<NetworkEndpoint> {
    core.net
        .sandboxes()
        .into_iter()
        .filter_map(|sandbox| {
            let endpoint = sandbox.endpoint(network)?;
            Some(NetworkEndpoint {
                container: sandbox.container.to_string(),
                name: core.containers.get(&sandbox.container).map_or_else(
                    || sandbox.name.to_string(),
                    |cell| cell.record().name.to_string(),
                ),
                address: endpoint.address,
                prefix: endpoint.prefix,
                ipv6: endpoint.ipv6.map(|place| (place.address, place.prefix)),
                mac: endpoint.mac.to_string(),
            })
        })
        .collect()
}
