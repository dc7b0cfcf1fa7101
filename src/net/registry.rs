//! What networks and sandboxes there are, and what becomes of a wish for another.
//!
//! Pure: plans complete records and changes nothing in the kernel. A plan holds as long as nothing
//! else is recorded, which the one thread of [`crate::runner`] sees to.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

use orc_base::{Error, Id, Name, Result};

use crate::address::{Address, Mac, Subnet, Subnet6, shown};
use crate::bridge;
use crate::ipam::{self, Taken, TakenBy, Used};
use crate::model::{
    AttachRequest, Endpoint, EndpointSpec, Ipv6Place, Ipv6Spec, Network, NetworkSpec, Plan,
    PublishedPort, Sandbox,
};

/// The size of packet that every wire takes.
const DEFAULT_MTU: u32 = 1500;
/// The smallest that IPv4 needs and the largest that it knows.
const MTU: std::ops::RangeInclusive<u32> = 68..=65_535;
/// The smallest that IPv6 needs (RFC 8200, 5).
const LEAST_MTU_OF_IPV6: u32 = 1280;
/// The most addresses of a network that something else has.
const RESERVED: usize = 1024;
/// The most further addresses of one endpoint.
const LINK_LOCAL: usize = 16;
/// `fe80::/10`.
const LINK_LOCAL6: Subnet6 = Subnet6::literal6(0xfe80, 10);
/// The most names that a container has on one network.
const NAMES: usize = 256;
/// The longest name in DNS, as text.
const NAME_LIMIT: usize = 253;
/// The most networks that a container is on.
const ENDPOINTS: usize = 64;

/// Subnets that the host reaches some other way than by our networks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Elsewhere {
    pub(crate) ipv4: Vec<Taken>,
    pub(crate) ipv6: Vec<Taken<Ipv6Addr>>,
}

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

    /// Whether the bridge of a network or the host's end of an interface has this name.
    pub(crate) fn wants_link(&self, name: &str) -> bool {
        let mut networks = self.networks.values();
        let mut endpoints = self.sandboxes.values().flat_map(|one| &one.endpoints);
        networks.any(|network| network.bridge == name)
            || endpoints.any(|endpoint| endpoint.veth == name)
    }

    /// Completes a wish for a network.
    pub(crate) fn plan_network(
        &self,
        spec: NetworkSpec,
        pools: &[Subnet],
        pool_prefix: u8,
        elsewhere: &Elsewhere,
    ) -> Result<Network> {
        if self.networks.contains_key(&spec.id) {
            return Err(Error::conflict(format!(
                "network `{}` exists already",
                spec.name
            )));
        }
        let ours = self.taken(|network| Some(network.subnet));
        let taken: Vec<Taken> = ours.chain(elsewhere.ipv4.iter().cloned()).collect();
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
        let bridge = match &spec.bridge_name {
            None => bridge::bridge_name(&spec.id),
            Some(name) => bridge::check_interface_name(name).map(|()| name.clone())?,
        };
        if spec.ipv6.is_some() && mtu < LEAST_MTU_OF_IPV6 {
            return Err(Error::invalid(format!(
                "an MTU of {mtu} is too small for IPv6, which needs {LEAST_MTU_OF_IPV6}"
            )));
        }
        let ipv6 = spec
            .ipv6
            .as_ref()
            .map(|wish| self.plan_ipv6(&spec, wish, &elsewhere.ipv6))
            .transpose()?;
        let ipv4 = ipam::plan(subnet, spec.ip_range, spec.gateway, &spec.reserved)?;
        check_reserved(&spec.reserved, &ipv4, ipv6.as_ref())?;
        Ok(Network {
            gateway: ipv4.gateway,
            id: spec.id,
            name: spec.name,
            internal: spec.internal,
            subnet,
            ip_range: spec.ip_range,
            mtu,
            bridge,
            masquerade: spec.masquerade,
            ipv6,
            reserved: spec.reserved,
            isolated: spec.isolated,
            host_ip: spec.host_ip,
        })
    }

    fn plan_ipv6(
        &self,
        spec: &NetworkSpec,
        wish: &Ipv6Spec,
        elsewhere: &[Taken<Ipv6Addr>],
    ) -> Result<Plan<Ipv6Addr>> {
        let subnet = match wish.subnet {
            Some(subnet) => subnet,
            None if wish.ip_range.is_some() || wish.gateway.is_some() => {
                return Err(Error::invalid(format!(
                    "network `{}` names an IPv6 range or gateway but no subnet that they are in",
                    spec.name
                )));
            }
            None => ipam::local_subnet(&spec.id),
        };
        let ours = self.taken(|network| Some(network.ipv6?.subnet));
        let taken: Vec<_> = ours.chain(elsewhere.iter().cloned()).collect();
        ipam::check_subnet6(subnet, &taken)?;
        ipam::plan(subnet, wish.ip_range, wish.gateway, &spec.reserved)
    }

    fn taken<A: Address>(
        &self,
        subnet: impl Fn(&Network) -> Option<Subnet<A>>,
    ) -> impl Iterator<Item = Taken<A>> {
        self.networks.values().filter_map(move |network| {
            Some(Taken {
                subnet: subnet(network)?,
                by: TakenBy::Network(network.name.to_string()),
            })
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
            relayed: Vec::new(),
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
        let links = spec.links.iter();
        let links: Vec<_> = links.flat_map(|link| [&link.alias, &link.peer]).collect();
        check_names(&links)?;
        let used = self.used(network, |endpoint| Some(endpoint.address));
        let address = ipam::choose_address(&network.ipv4(), &used, spec.address)?;
        let ipv6 = self.plan_ipv6_place(network, spec)?;
        check_link_local(spec, network)?;
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
            ipv6,
            link_local: spec.link_local.clone(),
            links: spec.links.clone(),
        })
    }

    fn plan_ipv6_place(&self, network: &Network, spec: &EndpointSpec) -> Result<Option<Ipv6Place>> {
        let Some(plan) = network.ipv6 else {
            return match spec.ipv6 {
                None => Ok(None),
                Some(address) => Err(Error::invalid(format!(
                    "{address} cannot be had on network `{}`, which has no IPv6: make it with \
                     `enable_ipv6`",
                    network.name
                ))),
            };
        };
        let used = self.used(network, |endpoint| Some(endpoint.ipv6?.address));
        let address = ipam::choose_address(&plan, &used, spec.ipv6)?;
        Ok(Some(Ipv6Place {
            address,
            prefix: plan.subnet.prefix(),
            gateway: (!network.internal).then_some(plan.gateway),
        }))
    }

    /// The addresses of a network that cannot be given.
    fn used<'a, A: Address>(
        &'a self,
        network: &'a Network,
        address: impl Fn(&Endpoint) -> Option<A>,
    ) -> Used<'a, A> {
        let owners = self.sandboxes.values().filter_map(|sandbox| {
            let endpoint = sandbox.endpoint(&network.id)?;
            Some((address(endpoint)?, &sandbox.name))
        });
        Used {
            network: &network.name,
            by: owners.collect(),
            reserved: &network.reserved,
        }
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

fn check_reserved(
    reserved: &[IpAddr],
    ipv4: &Plan<std::net::Ipv4Addr>,
    ipv6: Option<&Plan<Ipv6Addr>>,
) -> Result<()> {
    if reserved.len() > RESERVED {
        return Err(Error::invalid(format!(
            "{} addresses are reserved; the limit is {RESERVED}",
            reserved.len()
        )));
    }
    for address in reserved {
        let (inside, gateway) = match address {
            IpAddr::V4(address) => (ipv4.subnet.contains(*address), *address == ipv4.gateway),
            IpAddr::V6(address) => (
                ipv6.is_some_and(|plan| plan.subnet.contains(*address)),
                ipv6.is_some_and(|plan| plan.gateway == *address),
            ),
        };
        if !inside {
            return Err(Error::invalid(format!(
                "{address} cannot be reserved: it is in no subnet of the network"
            )));
        }
        if gateway {
            return Err(Error::invalid(format!(
                "{address} cannot be reserved: it is the gateway"
            )));
        }
    }
    Ok(())
}

fn check_link_local(spec: &EndpointSpec, network: &Network) -> Result<()> {
    if spec.link_local.len() > LINK_LOCAL {
        return Err(Error::invalid(format!(
            "{} link-local addresses on one network; the limit is {LINK_LOCAL}",
            spec.link_local.len()
        )));
    }
    for address in &spec.link_local {
        let link_local = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => LINK_LOCAL6.contains(*address),
        };
        if !link_local {
            return Err(Error::invalid(format!(
                "{address} is not a link-local address: use one of 169.254.0.0/16 or fe80::/10"
            )));
        }
        if address.is_ipv6() && network.ipv6.is_none() {
            return Err(Error::invalid(format!(
                "{address} cannot be had on network `{}`, which has no IPv6",
                network.name
            )));
        }
    }
    Ok(())
}

fn check_names(names: &[impl AsRef<str>]) -> Result<()> {
    if names.len() > NAMES {
        return Err(Error::invalid(format!(
            "{} names on one network; the limit is {NAMES}",
            names.len()
        )));
    }
    let bad = names.iter().map(AsRef::as_ref).find(|name| {
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
        let nothing = Elsewhere::default();
        let network = registry.plan_network(spec, &pools, 24, &nothing).unwrap();
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
        let nothing = Elsewhere::default();
        let plan = |spec| registry.plan_network(spec, &ipam::default_pools(), 24, &nothing);
        let mut wish = spec();
        wish.subnet = Some("172.17.0.0/16".parse().unwrap());
        assert_eq!(plan(wish).unwrap_err().kind(), Kind::Conflict);
        for change in [
            |wish: &mut NetworkSpec| wish.mtu = Some(67),
            |wish: &mut NetworkSpec| wish.bridge_name = Some("a/../b".into()),
            |wish: &mut NetworkSpec| wish.gateway = Some([10, 0, 0, 1].into()),
            |wish: &mut NetworkSpec| wish.reserved = vec!["192.0.2.1".parse().unwrap()],
            |wish: &mut NetworkSpec| wish.reserved = vec!["172.17.1.1".parse().unwrap(); 1025],
            |wish: &mut NetworkSpec| {
                wish.ipv6 = Some(Ipv6Spec::default());
                wish.mtu = Some(1279);
            },
            |wish: &mut NetworkSpec| {
                wish.ipv6 = Some(Ipv6Spec {
                    gateway: Some("fd00::1".parse().unwrap()),
                    ..Ipv6Spec::default()
                });
            },
        ] {
            let mut wish = spec();
            change(&mut wish);
            assert_eq!(plan(wish).unwrap_err().kind(), Kind::Invalid);
        }
    }

    #[test]
    fn ipv6_is_planned_beside() {
        let mut registry = Registry::default();
        let mut spec = NetworkSpec::new(Id::random(), "six".parse().unwrap());
        spec.ipv6 = Some(Ipv6Spec {
            subnet: Some("fd00:6::/64".parse().unwrap()),
            ..Ipv6Spec::default()
        });
        spec.reserved = vec!["fd00:6::2".parse().unwrap()];
        let plan = |registry: &Registry, spec: NetworkSpec| {
            registry.plan_network(spec, &ipam::default_pools(), 24, &Elsewhere::default())
        };
        let six = plan(&registry, spec.clone()).unwrap();
        registry.networks.insert(six.id.clone(), six.clone());
        spec.id = Id::random();
        spec.subnet = None;
        assert_eq!(plan(&registry, spec).unwrap_err().kind(), Kind::Conflict);
        let four = with_network(&mut registry, "four", false);

        let mut wish = request("web", &[&four, &six.id]);
        wish.endpoints[1].link_local = vec!["169.254.7.7".parse().unwrap()];
        let sandbox = registry.plan_sandbox(&wish).unwrap();
        let place = sandbox.endpoints[1].ipv6.unwrap();
        assert_eq!(place.address.to_string(), "fd00:6::3");
        assert_eq!(place.gateway, Some("fd00:6::1".parse().unwrap()));
        // The families leave by different networks.
        assert_eq!(sandbox.primary().unwrap().network, four);
        assert_eq!(sandbox.primary_ipv6().unwrap().network, six.id);
        let addresses: Vec<_> = sandbox.endpoints[1]
            .addresses()
            .iter()
            .map(|(address, prefix)| format!("{address}/{prefix}"))
            .collect();
        assert_eq!(
            addresses,
            [
                "172.17.0.2/24",
                "fd00:6::3/64",
                "fe80::42:acff:fe11:2/64",
                "169.254.7.7/16"
            ]
        );
        assert_eq!(sandbox.endpoints[0].addresses().len(), 1);

        let kind = |change: &dyn Fn(&mut EndpointSpec, &mut EndpointSpec)| {
            let mut wish = request("web", &[&four, &six.id]);
            let [four, six] = &mut wish.endpoints[..] else {
                unreachable!()
            };
            change(four, six);
            registry.plan_sandbox(&wish).unwrap_err().kind()
        };
        let address = |text: &str| Some(text.parse().unwrap());
        assert_eq!(
            kind(&|four, _| four.ipv6 = address("fd00:6::9")),
            Kind::Invalid
        );
        assert_eq!(
            kind(&|_, six| six.ipv6 = address("fd00:7::9")),
            Kind::Invalid
        );
        assert_eq!(
            kind(&|_, six| six.ipv6 = address("fd00:6::1")),
            Kind::Conflict
        );
        let local = |text: &str| vec![text.parse().unwrap()];
        assert_eq!(
            kind(&|_, six| six.link_local = local("fd00::1")),
            Kind::Invalid
        );
        assert_eq!(
            kind(&|four, _| four.link_local = local("fe80::1")),
            Kind::Invalid
        );
    }
}
