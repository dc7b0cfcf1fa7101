//! What networks and sandboxes there are, and what becomes of a wish for another.
//!
//! Pure: plans complete records and changes nothing in the kernel. A plan holds as long as nothing
//! else is recorded, which the one thread of [`crate::runner`] sees to.

use std::collections::{BTreeMap, HashMap, HashSet};

use orc_base::{Error, Id, Name, Result};

use crate::address::{Mac, Subnet, shown};
use crate::bridge;
use crate::ipam::{self, Taken, TakenBy};
use crate::model::{
    AttachRequest, Endpoint, EndpointSpec, Network, NetworkSpec, PublishedPort, Sandbox,
};

/// The size of packet that every wire takes.
const DEFAULT_MTU: u32 = 1500;
/// The smallest that IPv4 needs and the largest that it knows.
const MTU: std::ops::RangeInclusive<u32> = 68..=65_535;
/// The most names that a container has on one network.
const NAMES: usize = 256;
/// The longest name in DNS, as text.
const NAME_LIMIT: usize = 253;
/// The most networks that a container is on.
const ENDPOINTS: usize = 64;

/// All networks and sandboxes of a daemon.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    pub(crate) networks: BTreeMap<Id, Network>,
    pub(crate) sandboxes: BTreeMap<Id, Sandbox>,
}

impl Registry {
    pub(crate) fn network(&self, id: &Id) -> Result<&Network> {
        self.networks
            .get(id)
            .ok_or_else(|| Error::not_found(format!("there is no network {}", id.short())))
    }

    pub(crate) fn sandbox(&self, container: &Id) -> Result<&Sandbox> {
        self.sandboxes.get(container).ok_or_else(|| {
            Error::not_found(format!("container {} is on no network", container.short()))
        })
    }

    /// Completes a wish for a network. `taken` are subnets of the host.
    pub(crate) fn plan_network(
        &self,
        spec: NetworkSpec,
        pools: &[Subnet],
        pool_prefix: u8,
        taken: &[Taken],
    ) -> Result<Network> {
        if self.networks.contains_key(&spec.id) {
            return Err(Error::conflict(format!(
                "network `{}` exists already",
                spec.name
            )));
        }
        let taken: Vec<Taken> = self.taken().chain(taken.iter().cloned()).collect();
        let subnet = match spec.subnet {
            Some(subnet) => ipam::check_subnet(subnet, &taken).map(|()| subnet)?,
            None if spec.ip_range.is_some() || spec.gateway.is_some() => {
                return Err(Error::invalid(format!(
                    "network `{}` names a range or a gateway but no subnet that they are in",
                    spec.name
                )));
            }
            None => ipam::choose_subnet(pools, pool_prefix, &taken)?,
        };
        let mtu = spec.mtu.unwrap_or(DEFAULT_MTU);
        if !MTU.contains(&mtu) {
            return Err(Error::invalid(format!(
                "{mtu} is not an MTU: it goes from {} to {}",
                MTU.start(),
                MTU.end()
            )));
        }
        let bridge = match spec.bridge_name {
            None => bridge::bridge_name(&spec.id),
            Some(name) => bridge::check_interface_name(&name).map(|()| name)?,
        };
        Ok(Network {
            gateway: ipam::choose_gateway(subnet, spec.ip_range, spec.gateway)?,
            id: spec.id,
            name: spec.name,
            internal: spec.internal,
            subnet,
            ip_range: spec.ip_range,
            mtu,
            bridge,
            masquerade: spec.masquerade,
        })
    }

    fn taken(&self) -> impl Iterator<Item = Taken> {
        self.networks.values().map(|network| Taken {
            subnet: network.subnet,
            by: TakenBy::Network(network.name.to_string()),
        })
    }

    /// Refuses to let go of a network that containers are on.
    pub(crate) fn check_unused(&self, network: &Network) -> Result<()> {
        let names: Vec<String> = self
            .sandboxes
            .values()
            .filter(|sandbox| sandbox.endpoint(&network.id).is_some())
            .map(|sandbox| format!("`{}`", sandbox.name))
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "network `{}` is in use by {}; disconnect or remove them first",
            network.name,
            names.join(", ")
        )))
    }

    /// Completes a wish for a sandbox, all but its ports.
    pub(crate) fn plan_sandbox(&self, request: &AttachRequest) -> Result<Sandbox> {
        if self.sandboxes.contains_key(&request.container) {
            return Err(Error::conflict(format!(
                "container `{}` is on its networks already",
                request.name
            )));
        }
        let mut sandbox = Sandbox {
            container: request.container.clone(),
            name: request.name.clone(),
            namespace: request.namespace.clone(),
            endpoints: Vec::with_capacity(request.endpoints.len()),
            ports: Vec::new(),
            dns: request.dns.clone(),
            forwards: request.forwards,
        };
        // Names that are asked for come first, or a chosen one could be in their way.
        let mut wanted: HashSet<&str> = HashSet::new();
        for name in request
            .endpoints
            .iter()
            .filter_map(|spec| spec.interface.as_deref())
        {
            if !wanted.insert(name) {
                return Err(Error::invalid(format!(
                    "two networks want to be interface {name} of container `{}`",
                    request.name
                )));
            }
        }
        for spec in &request.endpoints {
            let endpoint = self.plan_endpoint(&sandbox, spec, &wanted)?;
            sandbox.endpoints.push(endpoint);
        }
        Ok(sandbox)
    }

    /// Completes a wish for one more place on a network. `wanted` are names of interfaces that are
    /// not to be chosen.
    pub(crate) fn plan_endpoint(
        &self,
        sandbox: &Sandbox,
        spec: &EndpointSpec,
        wanted: &HashSet<&str>,
    ) -> Result<Endpoint> {
        let network = self.network(&spec.network)?;
        if sandbox.endpoint(&network.id).is_some() {
            return Err(Error::conflict(format!(
                "container `{}` is on network `{}` already",
                sandbox.name, network.name
            )));
        }
        if sandbox.endpoints.len() >= ENDPOINTS {
            return Err(Error::exhausted(format!(
                "container `{}` is on {ENDPOINTS} networks, which is the limit",
                sandbox.name
            )));
        }
        check_names(&spec.names)?;
        let used: HashMap<_, _> = self
            .sandboxes
            .values()
            .filter_map(|other| Some((other.endpoint(&network.id)?.address, &other.name)))
            .collect();
        let address = ipam::choose_address(network, &used, spec.address)?;
        Ok(Endpoint {
            network: network.id.clone(),
            interface: choose_interface(sandbox, spec, wanted)?,
            veth: bridge::veth_name(&sandbox.container, &network.id),
            address,
            prefix: network.subnet.prefix(),
            gateway: (!network.internal).then_some(network.gateway),
            resolver: network.gateway,
            mac: spec.mac.unwrap_or_else(|| Mac::from_address(address)),
            names: spec.names.clone(),
        })
    }

    /// The ports of all containers, and whose they are.
    pub(crate) fn ports(&self) -> Vec<(&Name, PublishedPort)> {
        self.sandboxes
            .values()
            .flat_map(|sandbox| sandbox.ports.iter().map(|port| (&sandbox.name, *port)))
            .collect()
    }
}

fn choose_interface(
    sandbox: &Sandbox,
    spec: &EndpointSpec,
    wanted: &HashSet<&str>,
) -> Result<String> {
    let taken = |name: &str| {
        sandbox
            .endpoints
            .iter()
            .any(|endpoint| endpoint.interface == name)
    };
    if let Some(name) = &spec.interface {
        bridge::check_interface_name(name)?;
        return match taken(name) {
            false => Ok(name.clone()),
            true => Err(Error::conflict(format!(
                "container `{}` has an interface {name} already",
                sandbox.name
            ))),
        };
    }
    (0..=ENDPOINTS)
        .map(|number| format!("eth{number}"))
        .find(|name| !taken(name) && !wanted.contains(name.as_str()))
        .ok_or_else(|| Error::exhausted("no name is left for another interface"))
}

fn check_names(names: &[String]) -> Result<()> {
    if names.len() > NAMES {
        return Err(Error::invalid(format!(
            "{} names on one network; the limit is {NAMES}",
            names.len()
        )));
    }
    let bad = names.iter().find(|name| {
        name.is_empty()
            || name.len() > NAME_LIMIT
            || !name.bytes().all(|byte| byte.is_ascii_graphic())
    });
    match bad {
        None => Ok(()),
        Some(bad) => Err(Error::invalid(format!(
            "`{}` is not a name on a network: use 1 to {NAME_LIMIT} printable ASCII characters",
            shown(bad)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    fn with_network(registry: &mut Registry, name: &str, internal: bool) -> Id {
        let mut spec = NetworkSpec::new(Id::random(), name.parse().unwrap());
        spec.internal = internal;
        let pools = ipam::default_pools();
        let network = registry.plan_network(spec, &pools, 24, &[]).unwrap();
        let id = network.id.clone();
        registry.networks.insert(id.clone(), network);
        id
    }

    fn request(name: &str, networks: &[&Id]) -> AttachRequest {
        AttachRequest {
            container: Id::random(),
            name: name.parse().unwrap(),
            namespace: "/x".into(),
            endpoints: networks
                .iter()
                .map(|id| EndpointSpec::new((*id).clone()))
                .collect(),
            ports: vec![],
            dns: vec![],
            forwards: false,
        }
    }

    #[test]
    fn a_sandbox_is_completed() {
        let mut registry = Registry::default();
        let inner = with_network(&mut registry, "inner", true);
        let front = with_network(&mut registry, "front", false);
        let sandbox = registry
            .plan_sandbox(&request("web", &[&inner, &front]))
            .unwrap();
        let texts: Vec<_> = sandbox
            .endpoints
            .iter()
            .map(|endpoint| format!("{} {}", endpoint.interface, endpoint.address))
            .collect();
        assert_eq!(texts, ["eth0 172.17.0.2", "eth1 172.17.1.2"]);
        // The way out is by the one that is not internal; so is the first name server.
        assert_eq!(sandbox.primary().unwrap().network, front);
        let servers: Vec<_> = sandbox
            .resolvers()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(servers, ["172.17.1.1", "172.17.0.1"]);

        registry
            .sandboxes
            .insert(sandbox.container.clone(), sandbox.clone());
        let next = registry.plan_sandbox(&request("db", &[&inner])).unwrap();
        assert_eq!(next.endpoints[0].address.octets()[3], 3);
        assert!(next.primary().is_none());
        let error = registry
            .check_unused(registry.network(&inner).unwrap())
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().contains("in use by `web`"), "{error}");
    }

    #[test]
    fn interfaces_do_not_collide() {
        let mut registry = Registry::default();
        let a = with_network(&mut registry, "a", false);
        let b = with_network(&mut registry, "b", false);
        let mut wish = request("web", &[&a, &b]);
        wish.endpoints[1].interface = Some("eth0".into());
        let sandbox = registry.plan_sandbox(&wish).unwrap();
        assert_eq!(sandbox.endpoints[0].interface, "eth1");
        wish.endpoints[0].interface = Some("eth0".into());
        assert_eq!(
            registry.plan_sandbox(&wish).unwrap_err().kind(),
            Kind::Invalid
        );
        wish.endpoints[0].interface = Some("a/b".into());
        assert_eq!(
            registry.plan_sandbox(&wish).unwrap_err().kind(),
            Kind::Invalid
        );
    }

    #[test]
    fn wishes_that_cannot_be_are_refused() {
        let mut registry = Registry::default();
        let front = with_network(&mut registry, "front", false);
        let kind = |wish: &AttachRequest| registry.plan_sandbox(wish).unwrap_err().kind();
        assert_eq!(kind(&request("web", &[&Id::random()])), Kind::NotFound);
        assert_eq!(kind(&request("web", &[&front, &front])), Kind::Conflict);
        let mut wish = request("web", &[&front]);
        for bad in ["", "a b", "a\n", "é", &"x".repeat(254)] {
            wish.endpoints[0].names = vec![bad.to_owned()];
            assert_eq!(kind(&wish), Kind::Invalid, "{bad:?}");
        }
        wish.endpoints[0].names = vec!["x".into(); NAMES + 1];
        assert_eq!(kind(&wish), Kind::Invalid);

        let spec = || NetworkSpec::new(Id::random(), "n".parse().unwrap());
        let plan = |spec| registry.plan_network(spec, &ipam::default_pools(), 24, &[]);
        let mut wish = spec();
        wish.subnet = Some("172.17.0.0/16".parse().unwrap());
        assert_eq!(plan(wish).unwrap_err().kind(), Kind::Conflict);
        for change in [
            |wish: &mut NetworkSpec| wish.mtu = Some(67),
            |wish: &mut NetworkSpec| wish.bridge_name = Some("a/../b".into()),
            |wish: &mut NetworkSpec| wish.gateway = Some([10, 0, 0, 1].into()),
        ] {
            let mut wish = spec();
            change(&mut wish);
            assert_eq!(plan(wish).unwrap_err().kind(), Kind::Invalid);
        }
    }
}
