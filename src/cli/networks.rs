//! `network …`.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use orc_base::{Error, Kind, Result};
use orc_host::network::{AddressPool, EndpointSpec, Network, NetworkSpec, OPTIONS};

use crate::cli::describe;
use crate::cli::each::each;
use crate::cli::failure::{OK, Outcome};
use crate::cli::inspect;
use crate::cli::parse::{env, filter, network};
use crate::cli::prune;
use crate::cli::session::Session;
use crate::ui::format::Format;
use crate::ui::out;

/// Networks of containers
#[derive(Debug, Subcommand)]
pub(crate) enum Networks {
    /// List networks
    #[command(visible_alias = "list")]
    Ls(List),
    /// Make a network
    Create(Box<Create>),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Show all that is known of networks
    Inspect(inspect::OfNetworks),
    /// Join a container to a network
    Connect(Connect),
    /// Take a container off a network
    Disconnect(Disconnect),
    /// Remove all networks that no container uses
    Prune(prune::Networks),
}

impl Networks {
    /// Leads to the verb.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Ls(verb) => verb.run(session).await,
            Self::Create(verb) => verb.run(session).await,
            Self::Rm(verb) => verb.run(session).await,
            Self::Inspect(verb) => verb.run(session).await,
            Self::Connect(verb) => verb.run(session).await,
            Self::Disconnect(verb) => verb.run(session).await,
            Self::Prune(verb) => verb.run(session).await,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only some: name=…, id=…, driver=…, label=…, dangling=true
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// table, json, or a template such as '{{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

impl List {
    async fn run(self, session: &Session) -> Outcome {
        let wanted = filter::named(&self.filter, &["name", "id", "driver", "dangling"])?;
        let format = Format::parse(self.format.as_deref(), self.json)?;
        let networks = session.host().await?.list_networks().await?;
        let shown = networks.iter().filter(|network| {
            wanted.labels_match(&network.spec.labels)
                && wanted.field_matches("name", |name| network.spec.name.contains(name))
                && wanted.field_matches("id", |id| network.id.starts_with(id))
                && wanted.field_matches("driver", |driver| network.spec.driver == driver)
                && wanted.dangling.is_none_or(|dangling| {
                    dangling == (network.endpoints.is_empty() && !is_predefined(network))
                })
        });
        if self.quiet {
            for network in shown {
                out::line(if self.no_trunc {
                    &network.id
                } else {
                    describe::short_id(&network.id)
                });
            }
            return Ok(OK);
        }
        let rows: Vec<_> = shown
            .map(|network| describe::network(network, self.no_trunc))
            .collect();
        format.print(describe::NETWORKS, &rows)?;
        Ok(OK)
    }
}

/// Those that are always there.
fn is_predefined(network: &Network) -> bool {
    matches!(network.spec.name.as_str(), "bridge" | "host" | "none")
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// bridge
    #[arg(short, long, default_value = "bridge")]
    driver: String,
    /// Its addresses, 172.20.0.0/16, and with IPv6 fd00:20::/64
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<String>,
    /// Where addresses are taken from, within the subnet
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<String>,
    /// This machine's address on it
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,
    /// An address that something else has: NAME=ADDRESS
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,
    /// Nothing goes in or out
    #[arg(long)]
    internal: bool,
    /// Containers may join by hand; they always may
    #[arg(long)]
    attachable: bool,
    /// Addresses of IPv6, too
    #[arg(long)]
    ipv6: bool,
    /// A label
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// An option of the driver
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    // A network without addresses of IPv4 is not built; `local` is the reach of every network here.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    ipv4: Option<bool>,
    #[arg(long, hide = true)]
    scope: Option<String>,
    /// Its name
    name: String,
}

impl Create {
    fn spec(&self) -> Result<NetworkSpec> {
        if self.ipv4 == Some(false) {
            return Err(Error::unsupported(
                "`--ipv4=false` is not supported: every network has addresses of IPv4",
            ));
        }
        if let Some(scope) = self.scope.as_deref().filter(|scope| *scope != "local") {
            return Err(Error::unsupported(format!(
                "`--scope {scope}` is not supported: a network is this machine's, `local`"
            )));
        }
        let reserved = env::pairs("reserved address", &self.aux_address)?;
        let reserved = reserved
            .into_iter()
            .map(|(name, address)| match address.parse() {
                Ok(address) => Ok((name, address)),
                Err(_) => Err(Error::invalid(format!(
                    "`--aux-address {name}={address}`: `{address}` is not an address"
                ))),
            });
        let mut pools: Vec<AddressPool> = self
            .subnet
            .iter()
            .map(|subnet| AddressPool {
                subnet: Some(subnet.clone()),
                ..AddressPool::default()
            })
            .collect();
        for range in &self.ip_range {
            let pool = pool_of(&mut pools, range.contains(':'))?;
            once("--ip-range", pool.ip_range.replace(range.clone()).is_none())?;
        }
        for gateway in &self.gateway {
            let pool = pool_of(&mut pools, gateway.is_ipv6())?;
            once("--gateway", pool.gateway.replace(*gateway).is_none())?;
        }
        for reserved in reserved {
            let (name, address): (String, IpAddr) = reserved?;
            let pool = pool_of(&mut pools, address.is_ipv6())?;
            pool.reserved.insert(name, address);
        }
        Ok(NetworkSpec {
            name: self.name.clone(),
            driver: self.driver.clone(),
            options: env::pairs("option", &self.opt)?,
            labels: env::pairs("label", &self.label)?,
            internal: self.internal,
            attachable: self.attachable,
            ipv6: self.ipv6,
            ipam: pools,
        })
    }

    async fn run(self, session: &Session) -> Outcome {
        let spec = self.spec()?;
        for option in spec
            .options
            .keys()
            .filter(|key| !OPTIONS.contains(&key.as_str()))
        {
            out::warning(&format!(
                "network option `{option}` is not supported and was ignored"
            ));
        }
        out::line(&session.host().await?.create_network(&spec).await?);
        Ok(OK)
    }
}

/// The pool of a family: a network has one of each.
fn pool_of(pools: &mut [AddressPool], ipv6: bool) -> Result<&mut AddressPool> {
    let of_family = |pool: &&mut AddressPool| {
        let subnet = pool.subnet.as_deref().unwrap_or_default();
        subnet.contains(':') == ipv6
    };
    pools.iter_mut().find(of_family).ok_or_else(|| {
        Error::invalid(
            "`--gateway`, `--ip-range` and `--aux-address` need a `--subnet` of their family",
        )
    })
}

fn once(flag: &str, first: bool) -> Result<()> {
    match first {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "`{flag}` is given twice for one subnet"
        ))),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// One that is not there is fine
    #[arg(short, long)]
    force: bool,
    /// The networks
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
}

impl Remove {
    async fn run(self, session: &Session) -> Outcome {
        let (host, force) = (&session.host().await?, self.force);
        each(&self.names, |name| async move {
            match host.remove_network(&name).await {
                Err(error) if force && error.kind() == Kind::NotFound => Ok(String::new()),
                other => other.map(|()| name),
            }
        })
        .await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// One more name it is found under there
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// A fixed address there
    #[arg(long, value_name = "IPV4")]
    ip: Option<String>,
    /// A fixed IPv6 address there
    #[arg(long, value_name = "IPV6")]
    ip6: Option<String>,
    /// A further address there that means something on that wire only
    #[arg(long, value_name = "ADDRESS")]
    link_local_ip: Vec<String>,
    /// What this container alone calls another one there
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    link: Vec<String>,
    /// The higher one gives the default route
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    gw_priority: i64,
    /// The network
    network: String,
    /// The container
    container: String,
}

impl Connect {
    async fn run(self, session: &Session) -> Outcome {
        let endpoint = EndpointSpec {
            network: self.network,
            aliases: self.alias,
            ipv4: self.ip.as_deref().map(network::ipv4).transpose()?,
            ipv6: self.ip6.as_deref().map(network::ipv6).transpose()?,
            link_local: self
                .link_local_ip
                .iter()
                .map(|text| network::address(text))
                .collect::<Result<_>>()?,
            links: self.link.iter().map(|text| network::link(text)).collect(),
            gateway_priority: self.gw_priority,
            ..EndpointSpec::default()
        };
        session
            .host()
            .await?
            .connect_network(&self.container, &endpoint)
            .await?;
        Ok(OK)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Disconnect {
    /// Also when the container is gone
    #[arg(short, long)]
    force: bool,
    /// The network
    network: String,
    /// The container
    container: String,
}

impl Disconnect {
    async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        host.disconnect_network(&self.network, &self.container, self.force)
            .await?;
        Ok(OK)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn spec(line: &str) -> std::result::Result<NetworkSpec, String> {
        let words = std::iter::once("create").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.kind().to_string())?;
        line.create.spec().map_err(|error| error.to_string())
    }

    #[test]
    fn specs() {
        assert_eq!(spec("a").unwrap().ipam, []);
        assert_eq!(spec("--ipv4 --scope local a").unwrap(), spec("a").unwrap());
        let spec_of = spec("--subnet 10.1.0.0/24 --gateway 10.1.0.9 --internal --label x=y --aux-address r=10.1.0.7 a").unwrap();
        assert_eq!(spec_of.ipam[0].subnet.as_deref(), Some("10.1.0.0/24"));
        assert_eq!(spec_of.ipam[0].reserved["r"].to_string(), "10.1.0.7");
        assert!(spec_of.internal);
        let both = spec("--ipv6 --subnet 10.1.0.0/24 --subnet fd00:1::/64 --gateway fd00:1::9 --ip-range 10.1.0.128/25 --aux-address r=fd00:1::7 a").unwrap();
        assert!(both.ipv6 && both.ipam.len() == 2);
        assert_eq!(both.ipam[0].ip_range.as_deref(), Some("10.1.0.128/25"));
        assert_eq!(both.ipam[1].gateway, Some("fd00:1::9".parse().unwrap()));
        assert!(both.ipam[1].reserved.contains_key("r") && both.ipam[0].gateway.is_none());
        for bad in [
            "",
            "--subnet 10.0.0.0/8 --gateway fd00::1 a",
            "--subnet 10.0.0.0/8 --gateway 10.0.0.1 --gateway 10.0.0.2 a",
            "--gateway 10.0.0.1 a",
            "--gateway x a",
            "--aux-address r=x --subnet 10.0.0.0/8 a",
            "--label =x a",
            "--ipv4=false a",
            "--scope swarm a",
        ] {
            assert!(spec(bad).is_err(), "{bad}");
        }
    }
}
