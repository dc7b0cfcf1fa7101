//! Networks: their records, their names, and what they look like from outside.
//!
//! The network layer makes them; this keeps what it made, synced, so that a restart finds them. The
//! network named `bridge` is made at the first start. `host` and `none` exist by name only: they are
//! network modes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use orc_base::{Context, Error, Id, Name, Result, Time};
use orc_host::network::{AddressPool, Network, NetworkEndpoint, NetworkSpec};
use orc_net::Net;
use orc_net::address::{Address, Subnet};
use orc_net::model::{self, Ipv6Spec};

use crate::names;
use crate::records::{FORMAT, NetworkRecord};
use crate::store::Store;

/// The network of containers that name none.
pub(crate) const DEFAULT: &str = "bridge";
/// Networks that are network modes: name and driver.
const PSEUDO: [(&str, &str); 2] = [("host", "host"), ("none", "null")];

/// The networks of one engine.
pub(crate) struct Networks {
    store: Store,
    records: Mutex<BTreeMap<Id, NetworkRecord>>,
    /// Held while a network is made or removed: names and subnets are unique.
    turn: tokio::sync::Mutex<()>,
}

impl Networks {
    /// Loads all networks.
    pub(crate) fn open(store: &Store) -> Result<Self> {
        let records = store
            .networks()?
            .into_iter()
            .map(|record| (record.network.id.clone(), record));
        Ok(Self {
            store: store.clone(),
            records: Mutex::new(records.collect()),
            turn: tokio::sync::Mutex::new(()),
        })
    }

    /// What the network layer is to restore.
    pub(crate) fn models(&self) -> Vec<model::Network> {
        self.lock()
            .values()
            .map(|record| record.network.clone())
            .collect()
    }

    /// Makes the default network when it is missing.
    pub(crate) async fn ensure_default(&self, net: &Net, now: Time) -> Result<()> {
        if self.find(DEFAULT).is_ok() {
            return Ok(());
        }
        let spec = NetworkSpec {
            name: DEFAULT.into(),
            ..NetworkSpec::default()
        };
        self.create(net, &spec, now)
            .await
            .map(drop)
            .context(|| "make the default network")
    }

    /// Makes a network.
    pub(crate) async fn create(
        &self,
        net: &Net,
        spec: &NetworkSpec,
        now: Time,
    ) -> Result<NetworkRecord> {
        let _turn = self.turn.lock().await;
        let name: Name = spec.name.parse()?;
        let pseudo = PSEUDO.iter().any(|(pseudo, _)| *pseudo == name.as_str());
        let taken = self
            .lock()
            .values()
            .any(|record| record.network.name == name);
        if taken || pseudo {
            return Err(Error::conflict(format!(
                "network with name {name} already exists"
            )));
        }
        let wanted = wish(Id::random(), name.clone(), spec)?;
        let network = net
            .create_network(wanted)
            .await
            .context(|| format!("create network {name}"))?;
        let record = NetworkRecord {
            format: FORMAT,
            created: now,
            spec: filled_in(spec, &network),
            network,
        };
        // What is made and not recorded is found by its owner tag and removed at the next start.
        if let Err(error) = self.store.save_network(&record) {
            let _ = net.remove_network(&record.network.id).await;
            return Err(error.within(format!("create network {name}")));
        }
        self.lock()
            .insert(record.network.id.clone(), record.clone());
        Ok(record)
    }

    /// Removes a network that no running container is on. `used_by` names one that will join it.
    pub(crate) async fn remove(&self, net: &Net, typed: &str) -> Result<NetworkRecord> {
        let _turn = self.turn.lock().await;
        if PSEUDO.iter().any(|(name, _)| *name == typed) || typed == DEFAULT {
            return Err(Error::denied(format!(
                "{typed} is a pre-defined network and cannot be removed"
            )));
        }
        let record = self.find(typed)?;
        let id = &record.network.id;
        if record.network.name.as_str() == DEFAULT {
            return Err(Error::denied(
                "bridge is a pre-defined network and cannot be removed",
            ));
        }
        // Refused with the names of those on it.
        net.remove_network(id).await?;
        self.lock().remove(id);
        self.store
            .remove_network(id)
            .context(|| format!("remove network {}", record.network.name))?;
        Ok(record)
    }

    /// The network that someone means.
    pub(crate) fn find(&self, typed: &str) -> Result<NetworkRecord> {
        let records = self.lock();
        let named = records
            .values()
            .map(|record| (&record.network.id, &record.network.name));
        let id = names::resolve_as("network", typed, named)?;
        Ok(records[id].clone())
    }

    /// Writes the record of a network anew whose file is `path`. Says whether there is one.
    pub(crate) fn rewrite(&self, path: &Path) -> Result<bool> {
        let records = self.lock();
        let mut all = records.values();
        match all.find(|record| self.store.network_file(&record.network.id) == path) {
            Some(record) => self.store.save_network(record).map(|()| true),
            None => Ok(false),
        }
    }

    /// The network with this id.
    pub(crate) fn get(&self, id: &Id) -> Option<NetworkRecord> {
        self.lock().get(id).cloned()
    }

    /// All networks and the pseudo networks, in order of name. `on` tells who is on a network.
    pub(crate) fn list(&self, on: impl Fn(&Id) -> Vec<NetworkEndpoint>) -> Vec<Network> {
        let real = self.lock().values().cloned().collect::<Vec<_>>();
        let mut networks: Vec<Network> = real
            .into_iter()
            .map(|record| present(record, &on))
            .chain(PSEUDO.iter().map(|(name, driver)| pseudo(name, driver)))
            .collect();
        networks.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        networks
    }

    /// One network or pseudo network with who is on it.
    pub(crate) fn inspect(
        &self,
        typed: &str,
        on: impl Fn(&Id) -> Vec<NetworkEndpoint>,
    ) -> Result<Network> {
        match self.find(typed) {
            Ok(record) => Ok(present(record, &on)),
            Err(error) => PSEUDO
                .iter()
                .map(|(name, driver)| pseudo(name, driver))
                .find(|network| network.spec.name == typed || network.id == typed)
                .ok_or(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Id, NetworkRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A spec in the words of the network layer.
fn wish(id: Id, name: Name, spec: &NetworkSpec) -> Result<model::NetworkSpec> {
    if !matches!(spec.driver.as_str(), "" | "bridge") {
        return Err(Error::unsupported(format!(
            "network driver `{}` is not there: use bridge",
            names::shown(&spec.driver)
        )));
    }
    let mut wish = model::NetworkSpec::new(id, name);
    wish.internal = spec.internal;
    for (key, value) in &spec.options {
        option(&mut wish, key, value)?;
    }
    // A pool without a subnet is IPv4's, whose subnet is chosen.
    let (six, four): (Vec<_>, Vec<_>) = spec.ipam.iter().partition(|pool| is_ipv6(pool));
    if spec.ipv6 || !six.is_empty() {
        wish.ipv6 = Some(Ipv6Spec::default());
    }
    for pools in [&six, &four] {
        if let [_, second, ..] = pools[..] {
            return Err(Error::unsupported(format!(
                "a network takes one address pool of each family: remove {}",
                second.subnet.as_deref().unwrap_or("the second one")
            )));
        }
    }
    for pool in six.into_iter().chain(four) {
        plan(&mut wish, pool)?;
    }
    Ok(wish)
}

fn is_ipv6(pool: &AddressPool) -> bool {
    pool.subnet.as_ref().is_some_and(|text| text.contains(':'))
}

fn option(wish: &mut model::NetworkSpec, key: &str, value: &str) -> Result<()> {
    let refuse = || {
        Error::invalid(format!(
            "network option {key}: `{}` is not a value of it",
            names::shown(value)
        ))
    };
    let truth = || value.parse::<bool>().map_err(|_| refuse());
    match key {
        "com.docker.network.driver.mtu" => wish.mtu = Some(value.parse().map_err(|_| refuse())?),
        "com.docker.network.bridge.name" => wish.bridge_name = Some(value.into()),
        "com.docker.network.bridge.enable_ip_masquerade" => wish.masquerade = truth()?,
        "com.docker.network.bridge.enable_icc" => wish.isolated = !truth()?,
        "com.docker.network.bridge.host_binding_ipv4" => {
            let address: Ipv4Addr = value.parse().map_err(|_| refuse())?;
            wish.host_ip = (!address.is_unspecified()).then_some(address);
        }
        // What it asks for is so.
        "com.docker.network.bridge.default_bridge" => {}
        "com.docker.network.bridge.gateway_mode_ipv4"
        | "com.docker.network.bridge.gateway_mode_ipv6" => match value {
            "" | "nat" => {}
            _ => {
                return Err(Error::unsupported(format!(
                    "network option {key}: `{}` is not supported, use nat",
                    names::shown(value)
                )));
            }
        },
        _ => tracing::debug!(key, value, "an option of a network is ignored"),
    }
    Ok(())
}

fn plan(wish: &mut model::NetworkSpec, pool: &AddressPool) -> Result<()> {
    if text(&pool.subnet).is_none() && (pool.ip_range.is_some() || pool.gateway.is_some()) {
        return Err(Error::invalid(
            "an ip range or a gateway needs a subnet beside it",
        ));
    }
    wish.reserved.extend(pool.reserved.values());
    if is_ipv6(pool) {
        wish.ipv6 = Some(Ipv6Spec {
            subnet: subnet(&pool.subnet)?,
            ip_range: subnet(&pool.ip_range)?,
            gateway: gateway(pool, |address| match address {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            })?,
        });
        return Ok(());
    }
    wish.subnet = subnet(&pool.subnet)?;
    wish.ip_range = subnet(&pool.ip_range)?;
    wish.gateway = gateway(pool, |address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })?;
    Ok(())
}

fn text(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn subnet<A: Address>(wanted: &Option<String>) -> Result<Option<Subnet<A>>> {
    text(wanted).map(str::parse).transpose()
}

/// The gateway of a pool, which must be of the pool's family.
fn gateway<A>(pool: &AddressPool, of_family: impl Fn(IpAddr) -> Option<A>) -> Result<Option<A>> {
    let Some(address) = pool.gateway else {
        return Ok(None);
    };
    of_family(address).map(Some).ok_or_else(|| {
        Error::invalid(format!(
            "gateway {address} is not of the same family as subnet {}",
            text(&pool.subnet).unwrap_or_default()
        ))
    })
}

/// The spec with what the network layer chose.
fn filled_in(spec: &NetworkSpec, network: &model::Network) -> NetworkSpec {
    let four = network.ipv4();
    let mut ipam = vec![pool(spec, &four, IpAddr::is_ipv4)];
    ipam.extend(network.ipv6.map(|six| pool(spec, &six, IpAddr::is_ipv6)));
    NetworkSpec {
        driver: "bridge".into(),
        ipv6: network.ipv6.is_some(),
        ipam,
        ..spec.clone()
    }
}

/// The pool of one family.
fn pool<A: Address>(
    spec: &NetworkSpec,
    plan: &model::Plan<A>,
    of_family: fn(&IpAddr) -> bool,
) -> AddressPool {
    let reserved = spec.ipam.iter().flat_map(|pool| &pool.reserved);
    AddressPool {
        subnet: Some(plan.subnet.to_string()),
        ip_range: plan.ip_range.map(|range| range.to_string()),
        gateway: Some(plan.gateway.into()),
        reserved: reserved
            .filter(|(_, address)| of_family(address))
            .map(|(name, address)| (name.clone(), *address))
            .collect(),
    }
}

fn present(record: NetworkRecord, on: impl Fn(&Id) -> Vec<NetworkEndpoint>) -> Network {
    Network {
        endpoints: on(&record.network.id),
        id: record.network.id.to_string(),
        spec: record.spec,
        created: record.created,
    }
}

/// A pseudo network has the same id on every machine.
fn pseudo(name: &str, driver: &str) -> Network {
    Network {
        id: format!("{:0<64}", orc_base::id::hex(name.as_bytes())),
        spec: NetworkSpec {
            name: name.into(),
            driver: driver.into(),
            ..NetworkSpec::default()
        },
        created: Time::EPOCH,
        endpoints: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    fn asked(change: impl FnOnce(&mut NetworkSpec)) -> Result<model::NetworkSpec> {
        let mut spec = NetworkSpec {
            name: "n".into(),
            ..NetworkSpec::default()
        };
        change(&mut spec);
        wish(Id::random(), "n".parse().unwrap(), &spec)
    }

    fn pool(subnet: &str, range: Option<&str>, gateway: Option<&str>) -> AddressPool {
        AddressPool {
            subnet: Some(subnet.into()),
            ip_range: range.map(Into::into),
            gateway: gateway.map(|address| address.parse().unwrap()),
            ..AddressPool::default()
        }
    }

    #[test]
    fn wishes_are_passed_on() {
        let wish = asked(|spec| {
            spec.internal = true;
            spec.options
                .insert("com.docker.network.driver.mtu".into(), "1400".into());
            spec.ipam = vec![pool(
                "10.9.0.0/24",
                Some("10.9.0.128/25"),
                Some("10.9.0.254"),
            )];
        })
        .unwrap();
        assert!(wish.internal && wish.masquerade);
        assert_eq!(wish.mtu, Some(1400));
        assert_eq!(wish.subnet.unwrap().to_string(), "10.9.0.0/24");
        assert_eq!(wish.gateway.unwrap().to_string(), "10.9.0.254");
    }

    #[test]
    fn both_families_have_their_pool() {
        let wish = asked(|spec| {
            spec.ipam = vec![
                pool("10.9.0.0/24", None, None),
                pool("fd00:9::/64", Some("fd00:9::/80"), Some("fd00:9::ff")),
            ];
            let router = ("router".to_owned(), "fd00:9::7".parse().unwrap());
            spec.ipam[1].reserved = [router].into();
        })
        .unwrap();
        assert_eq!(wish.subnet.unwrap().to_string(), "10.9.0.0/24");
        let six = wish.ipv6.unwrap();
        assert_eq!(six.subnet.unwrap().to_string(), "fd00:9::/64");
        assert_eq!(six.gateway.unwrap().to_string(), "fd00:9::ff");
        assert_eq!(wish.reserved.len(), 1);
        // Asked for without a subnet, one is chosen.
        let wish = asked(|spec| spec.ipv6 = true).unwrap();
        assert_eq!(wish.ipv6, Some(Ipv6Spec::default()));
        assert_eq!(asked(|_| {}).unwrap().ipv6, None);
    }

    #[test]
    fn options_act_or_are_ignored() {
        let wish = asked(|spec| {
            let options = [
                ("com.docker.network.bridge.enable_icc", "false"),
                ("com.docker.network.bridge.enable_ip_masquerade", "false"),
                ("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"),
                ("com.docker.network.bridge.name", "demo0"),
                ("parent", "eth0"),
            ];
            spec.options = options
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        })
        .unwrap();
        assert!(wish.isolated && !wish.masquerade);
        assert_eq!(wish.host_ip, Some(Ipv4Addr::LOCALHOST));
        assert_eq!(wish.bridge_name.as_deref(), Some("demo0"));
        for option in orc_host::network::OPTIONS {
            let known = asked(|spec| {
                spec.options.insert(option.into(), "\u{1}".into());
            });
            // What is known looks at its value, or means nothing here.
            let quiet = ["name", "default_bridge"];
            let looks = !quiet.iter().any(|end| option.ends_with(end));
            assert_eq!(known.is_err(), looks, "{option}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let kind = |change: fn(&mut NetworkSpec)| asked(change).unwrap_err().kind();
        for (found, expected) in [
            (
                kind(|spec| spec.driver = "overlay".into()),
                Kind::Unsupported,
            ),
            (
                kind(|spec| spec.ipam = vec![pool("fd00::/64", None, None); 2]),
                Kind::Unsupported,
            ),
            (
                kind(|spec| spec.ipam = vec![pool("fd00::/64", None, Some("10.0.0.1"))]),
                Kind::Invalid,
            ),
            (
                kind(|spec| spec.ipam = vec![pool("10.9.0.0/24", Some("fd00::/80"), None)]),
                Kind::Invalid,
            ),
            (
                kind(|spec| spec.ipam = vec![pool("10.9.0.0/99", None, None)]),
                Kind::Invalid,
            ),
            (
                kind(|spec| {
                    spec.ipam = vec![AddressPool {
                        gateway: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                        ..AddressPool::default()
                    }];
                }),
                Kind::Invalid,
            ),
            (
                kind(|spec| {
                    let mode = "com.docker.network.bridge.gateway_mode_ipv6";
                    spec.options.insert(mode.into(), "routed".into());
                }),
                Kind::Unsupported,
            ),
            (
                kind(|spec| {
                    spec.options
                        .insert("com.docker.network.driver.mtu".into(), "big".into());
                }),
                Kind::Invalid,
            ),
        ] {
            assert_eq!(found, expected);
        }
    }
}
