//! Who may know which names.
//!
//! Pure: built anew from networks and sandboxes after every change, and asked by source address,
//! which says which container asks. A container knows the containers that it shares a network
//! with, by name, short id and the names given on that network; the first of its networks that
//! knows a name answers. What a container links to under a name of its own, it alone knows by that
//! name, and before all others. Names of containers are never asked upstream, and containers on internal
//! networks only ask nothing upstream at all.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use orc_base::Id;

use crate::address::{Subnet, Subnet6};
use crate::dns::answer::{Answer, Upstream};
use crate::dns::cluster::Cluster;
use crate::dns::message::{self, Query};
use crate::model::{Network, Sandbox};

/// The names of all networks of a daemon.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    clients: HashMap<Ipv4Addr, Arc<Client>>,
    networks: Vec<Names>,
    cluster: Option<Arc<Cluster>>,
}

/// What one container, or the host at a bridge's address, may see.
#[derive(Debug)]
struct Client {
    /// Indexes of its networks, most important first.
    networks: Vec<usize>,
    /// Names that it alone has for others, in lower case: a network and the other's name on it.
    links: HashMap<String, Vec<(usize, String)>>,
    upstream: Upstream,
}

/// The names on one network.
#[derive(Debug)]
struct Names {
    /// What the network itself is called, in lower case: `web.front` is `web` on `front`.
    suffix: String,
    subnet: Subnet,
    subnet6: Option<Subnet6>,
    forward: HashMap<String, Vec<IpAddr>>,
    reverse: HashMap<IpAddr, String>,
    /// Full ids, by which links may name a container.
    ids: HashMap<String, String>,
}

impl Zone {
    /// The names of all containers on all networks.
    pub(crate) fn new(
        networks: &BTreeMap<Id, Network>,
        sandboxes: &BTreeMap<Id, Sandbox>,
        cluster: Option<Arc<Cluster>>,
    ) -> Self {
        let mut zone = Self {
            cluster,
            ..Self::default()
        };
        let mut index_of = HashMap::new();
        for network in networks.values() {
            index_of.insert(&network.id, zone.networks.len());
            let host = Client {
                networks: vec![zone.networks.len()],
                links: HashMap::new(),
                upstream: Upstream::None,
            };
            zone.clients.insert(network.gateway, Arc::new(host));
            zone.networks.push(Names::new(network));
        }
        for sandbox in sandboxes.values() {
            zone.add(sandbox, &index_of);
        }
        zone
    }

    fn add(&mut self, sandbox: &Sandbox, index_of: &HashMap<&Id, usize>) {
        let client = Arc::new(Client {
            networks: sandbox
                .endpoints
                .iter()
                .filter_map(|endpoint| index_of.get(&endpoint.network).copied())
                .collect(),
            links: links(sandbox, index_of),
            upstream: match (sandbox.primary(), sandbox.dns.is_empty()) {
                (None, _) => Upstream::None,
                (Some(_), true) => Upstream::Host,
                (Some(_), false) => Upstream::Servers(sandbox.dns.as_slice().into()),
            },
        });
        for endpoint in &sandbox.endpoints {
            let Some(&index) = index_of.get(&endpoint.network) else {
                continue;
            };
            self.clients.insert(endpoint.address, Arc::clone(&client));
            let own = [sandbox.name.as_str(), sandbox.container.short()];
            let names = own
                .into_iter()
                .chain(endpoint.names.iter().map(String::as_str));
            let names: Vec<&str> = names.collect();
            let network = &mut self.networks[index];
            network.add(endpoint.address.into(), &names);
            if let Some(place) = endpoint.ipv6 {
                network.add(place.address.into(), &names);
            }
            let id = sandbox.container.to_string();
            network.ids.insert(id, sandbox.container.short().to_owned());
        }
    }

    /// What the client at `source` is told. `turn` counts up, so that several containers of one
    /// name take turns in being first.
    pub(crate) fn resolve(&self, source: Ipv4Addr, query: &Query, turn: usize) -> Answer {
        let Some(client) = self.clients.get(&source) else {
            return Answer::Refused;
        };
        let (Some(name), true) = (&query.name, query.internet) else {
            return client.ask();
        };
        if let Some(address) = message::reverse_address(name) {
            return self.reverse(client, address, query.kind);
        }
        let found = self.linked(client, name).or_else(|| {
            let mut networks = client.networks.iter();
            networks.find_map(|index| self.networks[*index].find(name))
        });
        // Who asks nothing outside of his networks asks nothing of the cluster either.
        let cluster = self.cluster.as_ref().filter(|_| client.asks());
        let service = || cluster?.resolve(name, query.kind, turn);
        match found {
            None if let Some(answer) = service() => answer,
            Some(addresses) => Answer::of(addresses, query.kind, turn),
            // A name of one label is a container's that is not there (any more): asking the world
            // would be slow and would tell it the project's names.
            None if is_host_query(query) && !name.contains('.') => Answer::NoSuchName,
            None => client.ask(),
        }
    }

    /// What the client calls so and nobody else. A link to a container that is not there is none.
    fn linked(&self, client: &Client, name: &str) -> Option<&[IpAddr]> {
        let mut links = client.links.get(name)?.iter();
        links.find_map(|(index, peer)| {
            let network = &self.networks[*index];
            let peer = network.ids.get(peer).unwrap_or(peer);
            network.find(peer)
        })
    }

    fn reverse(&self, client: &Client, address: IpAddr, kind: u16) -> Answer {
        let service = match &self.cluster {
            Some(cluster) if client.asks() => cluster.name_of(address),
            _ => None,
        };
        let is_ours = self.networks.iter().any(|names| names.contains(address));
        if service.is_none() && !is_ours {
            return client.ask();
        }
        let found = client
            .networks
            .iter()
            .find_map(|index| self.networks[*index].reverse.get(&address));
        match service.or(found.map(String::as_str)) {
            Some(name) if matches!(kind, message::PTR | message::ANY) => {
                Answer::Pointer(name.to_owned())
            }
            Some(_) => Answer::Empty,
            None => Answer::NoSuchName,
        }
    }
}

fn links(
    sandbox: &Sandbox,
    index_of: &HashMap<&Id, usize>,
) -> HashMap<String, Vec<(usize, String)>> {
    let mut links: HashMap<String, Vec<(usize, String)>> = HashMap::new();
    for endpoint in &sandbox.endpoints {
        let Some(&index) = index_of.get(&endpoint.network) else {
            continue;
        };
        for link in &endpoint.links {
            links
                .entry(lower(&link.alias))
                .or_default()
                .push((index, lower(&link.peer)));
        }
    }
    links
}

/// A name as it is compared.
fn lower(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether it asks for the address of a host, and not, as a validating resolver does, for the keys
/// of a top-level domain.
fn is_host_query(query: &Query) -> bool {
    matches!(query.kind, message::A | message::AAAA | message::ANY)
}

impl Client {
    /// Whether it may ask anybody but its own networks.
    fn asks(&self) -> bool {
        self.upstream != Upstream::None
    }

    fn ask(&self) -> Answer {
        match &self.upstream {
            Upstream::None => Answer::Refused,
            upstream => Answer::Ask(upstream.clone()),
        }
    }
}

impl Names {
    fn new(network: &Network) -> Self {
        Self {
            suffix: format!(".{}", network.name.to_ascii_lowercase()),
            subnet: network.subnet,
            subnet6: network.ipv6.map(|plan| plan.subnet),
            forward: HashMap::new(),
            reverse: HashMap::new(),
            ids: HashMap::new(),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.subnet.contains(address),
            IpAddr::V6(address) => self.subnet6.is_some_and(|subnet| subnet.contains(address)),
        }
    }

    /// The first of the names is the one that the address has.
    fn add(&mut self, address: IpAddr, names: &[&str]) {
        for name in names {
            let name = lower(name);
            let pointer = format!("{name}{}", self.suffix);
            self.reverse.entry(address).or_insert(pointer);
            let addresses = self.forward.entry(name).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }

    fn find(&self, name: &str) -> Option<&[IpAddr]> {
        let exact = self.forward.get(name);
        exact
            .or_else(|| self.forward.get(name.strip_suffix(&self.suffix)?))
            .map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Mac;
    use crate::model::{Endpoint, Ipv6Place, PeerAlias, Plan};

    /// Networks `front` (10.0.0.0/24), `back` (10.0.1.0/24) and the internal `inner` (10.0.2.0/24).
    struct World {
        networks: BTreeMap<Id, Network>,
        sandboxes: BTreeMap<Id, Sandbox>,
        ids: [Id; 3],
    }

    impl World {
        fn new() -> Self {
            let ids = [Id::random(), Id::random(), Id::random()];
            let networks = ["Front", "back", "inner"]
                .iter()
                .zip(&ids)
                .enumerate()
                .map(|(index, (name, id))| {
                    let network = Network {
                        id: id.clone(),
                        name: name.parse().unwrap(),
                        internal: index == 2,
                        subnet: format!("10.0.{index}.0/24").parse().unwrap(),
                        ip_range: None,
                        gateway: Ipv4Addr::new(10, 0, index as u8, 1),
                        mtu: 1500,
                        bridge: format!("br{index}"),
                        masquerade: true,
                        ipv6: None,
                        reserved: vec![],
                        isolated: false,
                        host_ip: None,
                    };
                    (id.clone(), network)
                })
                .collect();
            Self {
                networks,
                sandboxes: BTreeMap::new(),
                ids,
            }
        }

        /// A container on the networks of these numbers, at the same last byte on each.
        fn with(mut self, name: &str, host: u8, on: &[usize], names: &[&str]) -> Self {
            let endpoint = |index: &usize| Endpoint {
                network: self.ids[*index].clone(),
                interface: "eth0".into(),
                veth: "v".into(),
                address: Ipv4Addr::new(10, 0, *index as u8, host),
                prefix: 24,
                gateway: (*index != 2).then(|| Ipv4Addr::new(10, 0, *index as u8, 1)),
                resolver: Ipv4Addr::new(10, 0, *index as u8, 1),
                mac: Mac::from_address(Ipv4Addr::new(10, 0, *index as u8, host)),
                names: names.iter().map(ToString::to_string).collect(),
                ipv6: None,
                link_local: vec![],
                links: vec![],
            };
            let container = Id::random();
            let sandbox = Sandbox {
                container: container.clone(),
                name: name.parse().unwrap(),
                namespace: "/x".into(),
                endpoints: on.iter().map(endpoint).collect(),
                ports: vec![],
                dns: vec![],
                forwards: false,
                relayed: vec![],
            };
            self.sandboxes.insert(container, sandbox);
            self
        }

        /// Network `front` has fd00::/64 too, and its containers the same last byte there.
        fn with_ipv6(mut self) -> Self {
            let front = self.networks.get_mut(&self.ids[0]).unwrap();
            front.ipv6 = Some(Plan {
                subnet: "fd00::/64".parse().unwrap(),
                ip_range: None,
                gateway: "fd00::1".parse().unwrap(),
            });
            for sandbox in self.sandboxes.values_mut() {
                for endpoint in &mut sandbox.endpoints {
                    let last = endpoint.address.octets()[3];
                    endpoint.ipv6 = (endpoint.network == self.ids[0]).then(|| Ipv6Place {
                        address: format!("fd00::{last}").parse().unwrap(),
                        prefix: 64,
                        gateway: None,
                    });
                }
            }
            self
        }

        /// The container of that name calls others so on all its networks.
        fn linked(mut self, name: &str, links: &[(&str, &str)]) -> Self {
            let mut sandboxes = self.sandboxes.values_mut();
            let sandbox = sandboxes.find(|sandbox| &*sandbox.name == name).unwrap();
            for endpoint in &mut sandbox.endpoints {
                let link = |(peer, alias): &(&str, &str)| PeerAlias {
                    alias: (*alias).to_owned(),
                    peer: (*peer).to_owned(),
                };
                endpoint.links = links.iter().map(link).collect();
            }
            self
        }

        fn ask(&self, from: &str, kind: u16, name: &str) -> Answer {
            self.ask_in_turn(from, kind, name, 0)
        }

        fn ask_in_turn(&self, from: &str, kind: u16, name: &str, turn: usize) -> Answer {
            let zone = Zone::new(&self.networks, &self.sandboxes, None);
            let mut bytes = vec![0; 12];
            bytes[5] = 1;
            for label in name.split('.') {
                bytes.push(label.len() as u8);
                bytes.extend_from_slice(label.as_bytes());
            }
            bytes.push(0);
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&[0, 1]);
            let query = Query::parse(&bytes).unwrap();
            zone.resolve(from.parse().unwrap(), &query, turn)
        }
    }

    fn addresses(texts: &[&str]) -> Answer {
        Answer::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn peers_are_known_by_all_their_names() {
        let world = World::new().with("web", 2, &[0], &[]).with(
            "Demo-db-1",
            3,
            &[0],
            &["db", "store.local"],
        );
        let short = world
            .sandboxes
            .values()
            .find(|sandbox| &*sandbox.name == "Demo-db-1")
            .unwrap()
            .container
            .short()
            .to_owned();
        for name in ["db", "DB", "demo-db-1", "store.local", "db.front", &short] {
            let answer = world.ask("10.0.0.2", message::A, name);
            assert_eq!(answer, addresses(&["10.0.0.3"]), "{name}");
        }
        // Themselves too, and the host at the bridge's address.
        assert_eq!(
            world.ask("10.0.0.2", message::A, "web"),
            addresses(&["10.0.0.2"])
        );
        assert_eq!(
            world.ask("10.0.0.1", message::A, "db"),
            addresses(&["10.0.0.3"])
        );
        assert_eq!(
            world.ask("10.0.0.1", message::A, "example.com"),
            Answer::Refused
        );
    }

    #[test]
    fn names_stay_inside_their_networks() {
        let world = World::new()
            .with("web", 2, &[0], &[])
            .with("api", 3, &[0, 1], &[])
            .with("db", 4, &[1], &[]);
        assert_eq!(world.ask("10.0.0.2", message::A, "db"), Answer::NoSuchName);
        assert_eq!(
            world.ask("10.0.0.2", message::A, "db.back"),
            Answer::Ask(Upstream::Host)
        );
        // Whichever address it asks from, a container sees all its networks.
        for from in ["10.0.0.3", "10.0.1.3"] {
            assert_eq!(world.ask(from, message::A, "db"), addresses(&["10.0.1.4"]));
            assert_eq!(world.ask(from, message::A, "web"), addresses(&["10.0.0.2"]));
        }
        assert_eq!(
            world.ask("10.0.0.2", message::A, "api"),
            addresses(&["10.0.0.3"])
        );
        assert_eq!(
            world.ask("10.0.1.4", message::A, "api"),
            addresses(&["10.0.1.3"])
        );
        // Nobody's address is told nothing.
        assert_eq!(world.ask("10.0.0.99", message::A, "web"), Answer::Refused);
        assert_eq!(world.ask("192.0.2.1", message::A, "web"), Answer::Refused);
    }

    #[test]
    fn several_containers_of_one_name_take_turns() {
        let world = World::new()
            .with("web-1", 2, &[0], &["web"])
            .with("web-2", 3, &[0], &["web"])
            .with("web-3", 4, &[0], &["web"]);
        let mut firsts = Vec::new();
        for turn in 0..3 {
            match world.ask_in_turn("10.0.0.2", message::A, "web", turn) {
                Answer::Addresses(all) => {
                    assert_eq!(all.len(), 3);
                    firsts.push(all[0]);
                }
                other => panic!("{other:?}"),
            }
        }
        firsts.sort();
        firsts.dedup();
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn known_names_have_no_other_records() {
        let world = World::new().with("web", 2, &[0], &[]);
        for kind in [message::AAAA, 15, 16, 33, 65] {
            assert_eq!(world.ask("10.0.0.2", kind, "web"), Answer::Empty);
        }
    }

    #[test]
    fn only_names_of_the_outside_are_asked_there() {
        let world = World::new()
            .with("web", 2, &[0], &[])
            .with("vault", 2, &[2], &[])
            .with("both", 3, &[0, 2], &[]);
        for kind in [message::A, message::AAAA] {
            assert_eq!(world.ask("10.0.0.2", kind, "gone"), Answer::NoSuchName);
            let answer = world.ask("10.0.0.2", kind, "example.com");
            assert_eq!(answer, Answer::Ask(Upstream::Host));
        }
        // The keys of a top-level domain.
        assert_eq!(
            world.ask("10.0.0.2", 43, "com"),
            Answer::Ask(Upstream::Host)
        );
        assert_eq!(
            world.ask("10.0.2.2", message::A, "example.com"),
            Answer::Refused
        );
        assert_eq!(
            world.ask("10.0.2.2", message::A, "both"),
            addresses(&["10.0.2.3"])
        );
        let answer = world.ask("10.0.2.3", message::A, "example.com");
        assert_eq!(answer, Answer::Ask(Upstream::Host));
    }

    #[test]
    fn a_containers_own_servers_are_asked() {
        let mut world = World::new().with("web", 2, &[0], &[]);
        let servers: [IpAddr; 1] = ["192.0.2.53".parse().unwrap()];
        for sandbox in world.sandboxes.values_mut() {
            sandbox.dns = servers.to_vec();
        }
        let answer = world.ask("10.0.0.2", message::A, "example.com");
        assert_eq!(
            answer,
            Answer::Ask(Upstream::Servers(servers.as_slice().into()))
        );
    }

    #[test]
    fn addresses_have_names() {
        let world = World::new()
            .with("web", 2, &[0], &["www"])
            .with("db", 3, &[1], &[]);
        let ask = |name: &str| world.ask("10.0.0.2", message::PTR, name);
        assert_eq!(
            ask("2.0.0.10.in-addr.arpa"),
            Answer::Pointer("web.front".into())
        );
        assert_eq!(ask("9.0.0.10.in-addr.arpa"), Answer::NoSuchName);
        // Another network's: neither told nor asked for.
        assert_eq!(ask("3.1.0.10.in-addr.arpa"), Answer::NoSuchName);
        assert_eq!(ask("1.2.0.192.in-addr.arpa"), Answer::Ask(Upstream::Host));
    }

    #[test]
    fn ipv6_addresses_are_known_too() {
        let world = World::new()
            .with("web", 2, &[0], &["www"])
            .with("db", 3, &[1], &[])
            .with_ipv6();
        let ask = |kind, name: &str| world.ask("10.0.0.2", kind, name);
        assert_eq!(ask(message::A, "web"), addresses(&["10.0.0.2"]));
        assert_eq!(ask(message::AAAA, "www"), addresses(&["fd00::2"]));
        assert_eq!(
            ask(message::ANY, "web"),
            addresses(&["10.0.0.2", "fd00::2"])
        );
        let reverse = |last: char| format!("{last}{}{}.ip6.arpa", ".0".repeat(27), ".0.0.d.f");
        let web = Answer::Pointer("web.front".into());
        assert_eq!(ask(message::PTR, &reverse('2')), web);
        assert_eq!(ask(message::PTR, &reverse('9')), Answer::NoSuchName);
        let elsewhere = reverse('2').replace("d.f", "e.f");
        assert_eq!(ask(message::PTR, &elsewhere), Answer::Ask(Upstream::Host));
        // A network without it has names all the same.
        assert_eq!(world.ask("10.0.1.3", message::AAAA, "db"), Answer::Empty);
    }

    #[test]
    fn links_are_for_who_links() {
        let links = [("db", "Base"), ("gone", "base2"), ("store", "web")];
        let world = World::new()
            .with("app", 2, &[0, 1], &[])
            .with("web", 3, &[0], &[])
            .with("db", 4, &[1], &["store"])
            .with("other", 5, &[1], &[])
            .linked("app", &links);
        let ask = |from: &str, name: &str| world.ask(from, message::A, name);
        assert_eq!(ask("10.0.0.2", "base"), addresses(&["10.0.1.4"]));
        assert_eq!(ask("10.0.1.5", "base"), Answer::NoSuchName);
        assert_eq!(ask("10.0.0.2", "base2"), Answer::NoSuchName);
        // A link goes before a name that others have.
        assert_eq!(ask("10.0.0.2", "web"), addresses(&["10.0.1.4"]));
        // By the full id as well.
        let (id, _) = world
            .sandboxes
            .iter()
            .find(|(_, sandbox)| &*sandbox.name == "other")
            .unwrap();
        let id = id.to_string();
        let world = world.linked("app", &[(&id, "friend")]);
        assert_eq!(
            world.ask("10.0.0.2", message::A, "friend"),
            addresses(&["10.0.1.5"])
        );
    }
}
