//! Carries out what the registry plans, on the one thread that may.
//!
//! ```text
//! create_network:  plan → bridge → resolver → record → rules, names
//! attach:          plan → reserve ports → interfaces → record → rules, names
//! detach:          forget → rules, names → interfaces, ports
//! ```
//!
//! A step that fails undoes the steps before it. What is recorded is what the rules and names are
//! made of: they are always made anew from all of it, never changed in part.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use orc_base::{Context, Error, Id, Kind, Name, Result};
use tokio::sync::oneshot;

use crate::address::{Address, Subnet};
use crate::conntrack::Connections;
use crate::dns::cluster::{Cluster, ClusterNames};
use crate::dns::server::{Names, Server};
use crate::dns::zone::Zone;
use crate::driver::{Driver, Place};
use crate::ipam::{Taken, TakenBy};
use crate::model::{
    AttachRequest, Endpoint, EndpointSpec, Network, NetworkSpec, Protocol, PublishedPort, Sandbox,
};
use crate::netns;
use crate::nft::Nft;
use crate::overlay::{self, Overlay};
use crate::port::{self, Reach, Reservation};
use crate::registry::{Elsewhere, Registry};
use crate::relay::Relays;
use crate::resolv::Resolver;
use crate::route::{RouteTo, Routes};
use crate::rules::{self, Model};
use crate::ruleset::Ruleset;
use crate::services::{self, Service};

/// How this daemon differs from others.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) table: String,
    pub(crate) pools: Vec<Subnet>,
    pub(crate) pool_prefix: u8,
    pub(crate) resolv_conf: std::path::PathBuf,
}

/// The kernel's and the records' keeper.
pub(crate) struct Runner {
    settings: Settings,
    runtime: tokio::runtime::Handle,
    registry: Arc<RwLock<Registry>>,
    driver: Box<dyn Driver>,
    routes: Routes,
    nft: Nft,
    /// Off when the kernel cannot filter on bridges.
    bridge_filter: bool,
    names: Arc<Names>,
    resolvers: BTreeMap<Id, Server>,
    ports: BTreeMap<Id, Ports>,
    overlay: Option<Overlay>,
    /// Unknown until somebody says; what an earlier daemon set goes on until then.
    services: Option<Vec<Service>>,
    cluster: Option<Arc<Cluster>>,
}

/// What keeps a container's ports while it lives.
struct Ports {
    _held: Vec<Reservation>,
    relays: Relays,
}

impl Runner {
    /// `runtime` is where the name servers run.
    pub(crate) fn new(
        settings: Settings,
        runtime: tokio::runtime::Handle,
        registry: Arc<RwLock<Registry>>,
        driver: Box<dyn Driver>,
        names: Arc<Names>,
    ) -> Result<Self> {
        Ok(Self {
            settings,
            runtime,
            registry,
            driver,
            routes: Routes::open()?,
            nft: Nft::open()?,
            bridge_filter: true,
            names,
            resolvers: BTreeMap::new(),
            ports: BTreeMap::new(),
            overlay: None,
            services: None,
            cluster: None,
        })
    }

    /// The number of the socket that sets the rules.
    pub(crate) fn nft_port(&self) -> u32 {
        self.nft.port()
    }

    /// Removals that have begun are done when this fires.
    pub(crate) fn settled(&mut self) -> Result<oneshot::Receiver<()>> {
        Ok(self.driver.settled())
    }

    fn registry(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, sandbox: Sandbox) {
        self.registry()
            .sandboxes
            .insert(sandbox.container.clone(), sandbox);
    }

    pub(crate) fn create_network(&mut self, spec: NetworkSpec) -> Result<Network> {
        let taken = self.elsewhere()?;
        let (pools, prefix) = (&self.settings.pools, self.settings.pool_prefix);
        let network = self.registry().plan_network(spec, pools, prefix, &taken)?;
        self.start_network(&network)?;
        if let Err(error) = self.publish() {
            self.forget_network(&network);
            log_undo(self.publish().and(self.driver.remove_network(&network)));
            return Err(error);
        }
        Ok(network)
    }

    /// Makes a network and records it; the rules are still to be set.
    fn start_network(&mut self, network: &Network) -> Result<()> {
        self.driver.create_network(network)?;
        let server = {
            let _runtime = self.runtime.enter();
            Server::start(network.gateway, &self.names)
        };
        match server {
            Ok(server) => {
                self.resolvers.insert(network.id.clone(), server);
                self.registry()
                    .networks
                    .insert(network.id.clone(), network.clone());
                Ok(())
            }
            Err(error) => {
                log_undo(self.driver.remove_network(network));
                Err(error)
            }
        }
    }

    fn forget_network(&mut self, network: &Network) {
        self.registry().networks.remove(&network.id);
        self.resolvers.remove(&network.id);
    }

    /// Subnets that the host reaches some other way.
    fn elsewhere(&mut self) -> Result<Elsewhere> {
        let mut links: BTreeMap<u32, String> = self
            .routes
            .links()?
            .into_iter()
            .map(|link| (link.index, link.name))
            .collect();
        let ours: HashSet<String> = self
            .registry()
            .networks
            .values()
            .map(|network| network.bridge.clone())
            .collect();
        let own: HashSet<u32> = links
            .extract_if(.., |_, name| ours.contains(name))
            .map(|(index, _)| index)
            .collect();
        let mut elsewhere = Elsewhere {
            ipv4: taken(self.routes.routes()?, &links, &own),
            ipv6: taken(self.routes.routes6()?, &links, &own),
        };
        let resolver = Resolver::read(&self.settings.resolv_conf).unwrap_or_default();
        for server in resolver.nameservers {
            match server {
                IpAddr::V4(address) => elsewhere.ipv4.push(Taken {
                    subnet: Subnet::of(address, 32)?,
                    by: TakenBy::NameServer,
                }),
                IpAddr::V6(address) => elsewhere.ipv6.push(Taken {
                    subnet: Subnet::of(address, 128)?,
                    by: TakenBy::NameServer,
                }),
            }
        }
        Ok(elsewhere)
    }

    /// Fine when there is no such network.
    pub(crate) fn remove_network(&mut self, id: &Id) -> Result<()> {
        let Some(network) = self.registry().networks.get(id).cloned() else {
            return Ok(());
        };
        self.registry().check_unused(&network)?;
        self.forget_network(&network);
        // Without the bridge its rules match nothing: what failed is told, and done later.
        let published = self.publish();
        let removed = self.driver.remove_network(&network);
        Error::all([published, removed].into_iter().filter_map(Result::err))
    }

    pub(crate) fn attach(&mut self, request: &AttachRequest) -> Result<Sandbox> {
        let mut sandbox = self.registry().plan_sandbox(request)?;
        let reach = self.reach(&sandbox);
        let mut held = port::reserve_all(&request.ports, reach, &self.registry().ports())?;
        sandbox.ports = held.iter().map(|held| held.port).collect();
        let beside = port::reserve_localhost(&held);
        sandbox.relayed = beside.iter().map(|held| held.port).collect();
        held.extend(beside);
        if sandbox.primary().is_none() && !sandbox.ports.is_empty() {
            tracing::warn!(
                container = %sandbox.name,
                "ports are published but lead nowhere: the container is on no network with a way out"
            );
        }
        self.create_interfaces(&sandbox)?;
        if let Err(error) = self.hold(&sandbox, held) {
            for made in &sandbox.endpoints {
                log_undo(self.driver.detach(&sandbox.container, made));
            }
            return Err(error);
        }
        self.record(sandbox.clone());
        if let Err(error) = self.publish() {
            log_undo(self.detach(&sandbox.container));
            return Err(error);
        }
        self.forget_conversations(&sandbox);
        Ok(sandbox)
    }

    /// What ports without a host's address are for a sandbox.
    fn reach(&self, sandbox: &Sandbox) -> Reach {
        let registry = self.registry();
        let network = sandbox
            .primary()
            .and_then(|endpoint| registry.networks.get(&endpoint.network));
        Reach {
            host_ip: network
                .and_then(|network| network.host_ip)
                .unwrap_or(Ipv4Addr::UNSPECIFIED),
            ipv6: sandbox.primary_ipv6().is_some(),
        }
    }

    /// Keeps ports, and answers on those that rules cannot lead.
    fn hold(&mut self, sandbox: &Sandbox, reservations: Vec<Reservation>) -> Result<()> {
        let (relays, held) = {
            let _runtime = self.runtime.enter();
            Relays::start(reservations)?
        };
        relays.lead_to(sandbox.targets());
        let ports = Ports {
            _held: held,
            relays,
        };
        self.ports.insert(sandbox.container.clone(), ports);
        Ok(())
    }

    /// Leads what the daemon answers on to where a sandbox is now.
    fn lead_relays(&self, container: &Id) {
        if let (Some(ports), Some(sandbox)) = (
            self.ports.get(container),
            self.registry().sandboxes.get(container),
        ) {
            ports.relays.lead_to(sandbox.targets());
        }
    }

    /// All of a sandbox's interfaces or none.
    fn create_interfaces(&mut self, sandbox: &Sandbox) -> Result<()> {
        for (index, endpoint) in sandbox.endpoints.iter().enumerate() {
            if let Err(error) = self.create_interface(sandbox, endpoint) {
                for made in &sandbox.endpoints[..index] {
                    log_undo(self.driver.detach(&sandbox.container, made));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn create_interface(&mut self, sandbox: &Sandbox, endpoint: &Endpoint) -> Result<()> {
        let network = self.registry().network(&endpoint.network)?.clone();
        let namespace = netns::open(&sandbox.namespace)?;
        let place = Place {
            container: &sandbox.container,
            namespace: namespace.as_fd(),
            primary: sandbox.primary() == Some(endpoint),
            primary_ipv6: sandbox.primary_ipv6() == Some(endpoint),
        };
        self.driver
            .attach(&place, &network, endpoint)
            .context(|| format!("network `{}`", network.name))
    }

    /// Fine when the container is on no network.
    pub(crate) fn detach(&mut self, container: &Id) -> Result<()> {
        let Some(sandbox) = self.registry().sandboxes.remove(container) else {
            return Ok(());
        };
        let mut outcomes = vec![self.publish()];
        self.forget_conversations(&sandbox);
        for endpoint in &sandbox.endpoints {
            outcomes.push(self.driver.detach(container, endpoint));
        }
        self.ports.remove(container);
        Error::all(outcomes.into_iter().filter_map(Result::err))
    }

    pub(crate) fn connect(&mut self, container: &Id, spec: &EndpointSpec) -> Result<Endpoint> {
        let before = self.registry().sandbox(container)?.clone();
        let endpoint = self
            .registry()
            .plan_endpoint(&before, spec, &HashSet::new())?;
        let mut after = before.clone();
        after.endpoints.push(endpoint.clone());
        self.create_interface(&after, &endpoint)?;
        self.record(after);
        if let Err(error) = self.publish() {
            self.record(before);
            log_undo(self.driver.detach(container, &endpoint));
            log_undo(self.publish());
            return Err(error);
        }
        self.lead_relays(container);
        if let Some(sandbox) = self.registry().sandboxes.get(container).cloned() {
            self.forget_conversations(&sandbox);
        }
        Ok(endpoint)
    }

    pub(crate) fn disconnect(
        &mut self,
        container: &Id,
        network: &Id,
    ) -> Result<oneshot::Receiver<()>> {
        let before = self.registry().sandbox(container)?.clone();
        let Some(endpoint) = before.endpoint(network) else {
            let name = self.registry().network(network)?.name.clone();
            return Err(Error::not_found(format!(
                "container `{}` is not on network `{name}`",
                before.name
            )));
        };
        let mut after = before.clone();
        after.endpoints.retain(|other| other.network != *network);
        self.record(after.clone());
        let published = self.publish();
        self.lead_relays(container);
        self.forget_conversations(&before);
        // The old default routes go with their interface.
        let ipv4 = (before.primary() == Some(endpoint)).then(|| after.primary());
        let ipv6 = (before.primary_ipv6() == Some(endpoint)).then(|| after.primary_ipv6());
        let routed = self.route_by(&after, ipv4.flatten(), ipv6.flatten());
        let detached = self.driver.detach(container, endpoint);
        Error::all(
            [published, routed, detached]
                .into_iter()
                .filter_map(Result::err),
        )?;
        Ok(self.driver.settled())
    }

    /// Points the default route of each family to its endpoint, if one is given.
    fn route_by(
        &mut self,
        sandbox: &Sandbox,
        ipv4: Option<&Endpoint>,
        ipv6: Option<&Endpoint>,
    ) -> Result<()> {
        let routes = [(ipv4, true), (ipv6, false)];
        for (endpoint, is_ipv4) in routes {
            let Some(endpoint) = endpoint else {
                continue;
            };
            let namespace = netns::open(&sandbox.namespace)?;
            let place = Place {
                container: &sandbox.container,
                namespace: namespace.as_fd(),
                primary: is_ipv4,
                primary_ipv6: !is_ipv4,
            };
            self.driver.route_by(&place, endpoint)?;
        }
        Ok(())
    }

    /// Lets UDP clients of a container's ports meet the rules of now. Without it they only do once
    /// they have been silent for a while, so a failure is no more than told.
    fn forget_conversations(&self, sandbox: &Sandbox) {
        let udp = || {
            sandbox
                .ports
                .iter()
                .filter(|port| port.protocol == Protocol::Udp)
        };
        let forget = || -> Result<()> {
            let mut connections = Connections::open()?;
            for target in sandbox.targets() {
                connections.forget_led_to(target)?;
            }
            udp().try_for_each(|port| {
                connections.forget_not_led(port.host_port, port.host_ip.is_ipv6())
            })
        };
        if udp().next().is_some()
            && let Err(error) = forget()
        {
            tracing::debug!(%error, container = %sandbox.name, "old UDP conversations go on");
        }
    }

    /// Takes over what an earlier daemon left: keeps what is right, makes what is missing, removes
    /// what nobody owns. What cannot be restored is told in the log and left as it is.
    pub(crate) fn restore(
        &mut self,
        networks: Vec<Network>,
        sandboxes: Vec<Sandbox>,
    ) -> Result<()> {
        let mut owners = HashSet::new();
        for network in networks {
            owners.insert(network.id.clone());
            if let Err(error) = self.start_network(&network) {
                tracing::error!(%error, network = %network.name, "a network cannot be restored");
            }
        }
        for sandbox in sandboxes {
            owners.insert(sandbox.container.clone());
            self.restore_sandbox(sandbox);
        }
        self.publish()?;
        self.driver.remove_orphans(&|owner| owners.contains(owner))
    }

    /// A container whose namespace is gone has ended; its record is the engine's to clear.
    fn restore_sandbox(&mut self, sandbox: Sandbox) {
        if let Err(error) = netns::open(&sandbox.namespace) {
            tracing::warn!(%error, container = %sandbox.name, "a container is gone from its networks");
            return;
        }
        for endpoint in &sandbox.endpoints {
            if let Err(error) = self.create_interface(&sandbox, endpoint) {
                tracing::error!(%error, container = %sandbox.name, "an interface cannot be restored");
            }
        }
        let ports = sandbox.ports.iter().chain(&sandbox.relayed);
        let reservations = ports.filter_map(|port| self.reserve_again(*port)).collect();
        if let Err(error) = self.hold(&sandbox, reservations) {
            tracing::warn!(%error, container = %sandbox.name, "ports cannot be answered");
        }
        self.record(sandbox);
    }

    /// A port that somebody took meanwhile still leads to its container: the rules come first.
    fn reserve_again(&self, port: PublishedPort) -> Option<Reservation> {
        port::reserve_again(port)
            .inspect_err(|error| tracing::warn!(%error, "a published port is not ours alone"))
            .ok()
    }

    /// Makes the interfaces of this host again that somebody else deleted.
    pub(crate) fn restore_links(&mut self) -> Result<()> {
        let outcomes = [self.restore_recorded(), self.restore_overlay()];
        Error::all(outcomes.into_iter().filter_map(Result::err))
    }

    /// Makes the bridges and the interfaces of containers that are recorded and not there, and puts
    /// containers back on bridges that were made again. Names, rules and ports are untouched by their
    /// loss.
    fn restore_recorded(&mut self) -> Result<()> {
        let links = self.routes.links()?;
        let there: HashSet<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let is_missing = |name: &str| !there.contains(name);
        let recorded = self.registry().clone();
        let mut failures = Vec::new();
        let mut made = HashSet::new();
        for (id, network) in &recorded.networks {
            if is_missing(&network.bridge) {
                tracing::warn!(network = %network.name, "somebody deleted the bridge of a network: made again");
                match self.driver.create_network(network) {
                    Ok(()) => drop(made.insert(id)),
                    Err(error) => {
                        failures.push(error.within(format!("network `{}`", network.name)));
                    }
                }
            }
        }
        for sandbox in recorded.sandboxes.values() {
            for endpoint in &sandbox.endpoints {
                let missing = is_missing(&endpoint.veth);
                if missing {
                    tracing::warn!(container = %sandbox.name, interface = endpoint.interface, "somebody deleted an interface: made again");
                }
                if missing || made.contains(&endpoint.network) {
                    let outcome = self.create_interface(sandbox, endpoint);
                    let outcome = outcome.context(|| format!("container `{}`", sandbox.name));
                    failures.extend(outcome.err());
                }
            }
        }
        Error::all(failures)
    }

    /// Fine when the container is on no network.
    pub(crate) fn rename(&mut self, container: &Id, name: Name) {
        let renamed = self
            .registry()
            .sandboxes
            .get_mut(container)
            .map(|sandbox| sandbox.name = name);
        if renamed.is_some() {
            self.publish_names();
        }
    }

    /// Sets rules and names to what is recorded.
    pub(crate) fn publish(&mut self) -> Result<()> {
        self.publish_names();
        self.set_rules()
    }

    fn publish_names(&self) {
        let zone = {
            let registry = self.registry();
            Zone::new(
                &registry.networks,
                &registry.sandboxes,
                self.cluster.clone(),
            )
        };
        self.names.publish(zone);
    }

    /// Sets the rules, which somebody else may have removed.
    pub(crate) fn set_rules(&mut self) -> Result<()> {
        let ruleset = self.ruleset();
        match self.nft.replace(&self.settings.table, &ruleset) {
            Err(error) if error.kind() == Kind::Unsupported && self.bridge_filter => {
                tracing::warn!(
                    %error,
                    "this kernel cannot filter on bridges: containers can send with addresses of others"
                );
                self.bridge_filter = false;
                let ruleset = self.ruleset();
                self.nft.replace(&self.settings.table, &ruleset)
            }
            other => other,
        }
    }

    /// Sets all rules again, after somebody else changed some.
    pub(crate) fn restore_rules(&mut self) -> Result<()> {
        self.set_rules()?;
        self.set_service_rules()
    }

    /// Makes this the way to other nodes, or ends it.
    pub(crate) fn set_overlay(&mut self, overlay: Option<Overlay>) -> Result<()> {
        match &overlay {
            Some(overlay) => overlay::set(&mut self.routes, &self.settings.table, overlay)?,
            None => overlay::remove(&mut self.routes, &self.settings.table)?,
        }
        self.overlay = overlay;
        self.restore_rules()
    }

    fn restore_overlay(&mut self) -> Result<()> {
        match &self.overlay {
            Some(overlay) => overlay::set(&mut self.routes, &self.settings.table, overlay),
            None => Ok(()),
        }
    }

    /// Makes these the services; UDP clients of endpoints that are gone meet others at once.
    pub(crate) fn set_services(&mut self, services: Vec<Service>) -> Result<()> {
        let gone = services::gone_for_udp(self.services.as_deref().unwrap_or_default(), &services);
        self.services = Some(services);
        self.set_service_rules()?;
        if gone.is_empty() {
            return Ok(());
        }
        let mut connections = Connections::open()?;
        for endpoint in gone {
            connections.forget_led_to(IpAddr::V4(endpoint))?;
        }
        Ok(())
    }

    /// Makes these the names of the cluster.
    pub(crate) fn set_cluster_names(&mut self, names: Option<&ClusterNames>) {
        self.cluster = names.map(|names| Arc::new(Cluster::new(names)));
        self.publish_names();
    }

    fn set_service_rules(&mut self) -> Result<()> {
        let Some(services) = &self.services else {
            return Ok(());
        };
        let table = services::table(&self.settings.table);
        let interface = self.overlay.as_ref().map(Overlay::interface);
        let cluster = self.overlay.as_ref().map(|overlay| overlay.cluster);
        let ruleset = services::render(&table, services, cluster, interface.as_deref());
        self.nft.replace(&table, &ruleset)
    }

    /// The rules for what is recorded.
    pub(crate) fn ruleset(&self) -> Ruleset {
        let registry = self.registry();
        let resolvers = self
            .resolvers
            .iter()
            .map(|(network, server)| (network.clone(), server.port))
            .collect();
        rules::render(&Model {
            table: &self.settings.table,
            networks: &registry.networks,
            sandboxes: &registry.sandboxes,
            resolvers: &resolvers,
            bridge_filter: self.bridge_filter,
            overlay: self.overlay.as_ref(),
        })
    }
}

/// The subnets of routes that do not go by our `own` links.
fn taken<A: Address>(
    routes: Vec<RouteTo<A>>,
    links: &BTreeMap<u32, String>,
    own: &HashSet<u32>,
) -> Vec<Taken<A>> {
    let others = routes
        .into_iter()
        .filter(|route| !own.contains(&route.link));
    others
        .map(|route| {
            let link = links.get(&route.link);
            let link = link.map_or("an interface", String::as_str).to_owned();
            Taken {
                subnet: route.subnet,
                by: match route.gateway {
                    None => TakenBy::Link(link),
                    Some(_) => TakenBy::Route(link),
                },
            }
        })
        .collect()
}

/// What could not be undone is told here: the caller hears why there was something to undo.
fn log_undo(undone: Result<()>) {
    if let Err(error) = undone {
        tracing::warn!(%error, "after a failure, something stays behind until the next start");
    }
}
