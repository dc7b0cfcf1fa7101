//! The networks of the fake: names, and who is on them.

use orc_base::{Error, Name, Result};

use crate::event::Subject;
use crate::fake::FakeHost;
use crate::network::{EndpointSpec, Network, NetworkSpec};

pub(crate) fn create(host: &FakeHost, spec: &NetworkSpec) -> Result<String> {
    spec.name.parse::<Name>()?;
    let now = host.clock.now();
    let mut world = host.lock();
    if world.find_network(&spec.name).is_ok() {
        return Err(Error::conflict(format!(
            "network with name {} already exists",
            spec.name
        )));
    }
    let id = world.add_network(spec, now);
    world.calls.push(format!("create network {}", spec.name));
    world.emit(now, Subject::Network, "create", &id, &spec.name);
    drop(world);
    host.wake();
    Ok(id)
}

pub(crate) fn remove(host: &FakeHost, name: &str) -> Result<()> {
    let now = host.clock.now();
    let mut world = host.lock();
    let network = world.find_network(name)?.clone();
    if let Some(endpoint) = network.endpoints.first() {
        return Err(Error::conflict(format!(
            "network {} is used by container {}",
            network.spec.name, endpoint.name
        )));
    }
    world.networks.retain(|other| other.id != network.id);
    world
        .calls
        .push(format!("remove network {}", network.spec.name));
    world.emit(
        now,
        Subject::Network,
        "destroy",
        &network.id,
        &network.spec.name,
    );
    drop(world);
    host.wake();
    Ok(())
}

pub(crate) fn list(host: &FakeHost) -> Result<Vec<Network>> {
    let mut networks = host.lock().networks.clone();
    networks.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    Ok(networks)
}

pub(crate) fn connect(host: &FakeHost, container: &str, endpoint: &EndpointSpec) -> Result<()> {
    let mut world = host.lock();
    let id = world.find(container)?;
    let name = world.entry(&id)?.container.name.clone();
    let endpoint = world.endpoint(endpoint, &name, &id)?;
    let container = &mut world.entry(&id)?.container;
    if container
        .endpoints
        .iter()
        .any(|other| other.network_id == endpoint.network_id)
    {
        return Err(Error::conflict(format!(
            "container {name} is on network {} already",
            endpoint.network_name
        )));
    }
    container.endpoints.push(endpoint);
    if container.state.is_running() {
        world.disconnect_all(&id);
        world.connect_all(&id);
    }
    Ok(())
}

pub(crate) fn disconnect(host: &FakeHost, network: &str, container: &str) -> Result<()> {
    let mut world = host.lock();
    let network = world.find_network(network)?.id.clone();
    let id = world.find(container)?;
    let endpoints = &mut world.entry(&id)?.container.endpoints;
    let before = endpoints.len();
    endpoints.retain(|endpoint| endpoint.network_id != network);
    if endpoints.len() == before {
        return Err(Error::not_found(format!(
            "container {container} is not on that network"
        )));
    }
    if let Ok(network) = world.find_network(&network) {
        network
            .endpoints
            .retain(|endpoint| endpoint.container != id);
    }
    Ok(())
}
