//! Host ports held for containers.
//!
//! A published port is kept by a socket that is bound and does not listen by itself: the rules
//! redirect packets before any socket sees them, and meanwhile nobody else can bind it. What rules
//! cannot lead, the daemon does, from the same socket ([`crate::relay`]). A conflict names its owner:
//! a container of ours, or a process of the host.
//!
//! Sockets of the two families are apart: one on `[::]` of ours takes no IPv4. Somebody else's that
//! does is in the way of both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use orc_base::{Error, Kind, Name, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::model::{PortSpec, Protocol, PublishedPort};
use crate::port_owner;

/// The most ports one container may publish: each costs a descriptor.
const LIMIT: usize = 4096;

/// A port that nobody else can bind while this lives.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) port: PublishedPort,
    pub(crate) socket: OwnedFd,
    /// Whether nobody named an address of the host for it.
    anywhere: bool,
}

/// What a container's ports are without a host's address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// The host's IPv4 address; `0.0.0.0` is all of them.
    pub(crate) host_ip: Ipv4Addr,
    /// Whether it has an IPv6 address that a port can lead to.
    pub(crate) ipv6: bool,
}

impl Reach {
    /// The host's addresses that a port without one is published on.
    fn everywhere(self) -> Vec<IpAddr> {
        // Who asks for one IPv4 address does not mean all of IPv6.
        match self.ipv6 && self.host_ip.is_unspecified() {
            true => vec![self.host_ip.into(), Ipv6Addr::UNSPECIFIED.into()],
            false => vec![self.host_ip.into()],
        }
    }
}

/// How often a port that is free with IPv4 is not with IPv6, when any will do.
const TRIES: usize = 16;

/// Reserves all ports or none. `taken` are those of other containers.
pub(crate) fn reserve_all(
    specs: &[PortSpec],
    reach: Reach,
    taken: &[(&Name, PublishedPort)],
) -> Result<Vec<Reservation>> {
    if specs.len() > LIMIT {
        return Err(Error::invalid(format!(
            "{} ports are to be published; the limit is {LIMIT}",
            specs.len()
        )));
    }
    let mut held: Vec<Reservation> = Vec::with_capacity(specs.len());
    for spec in specs {
        let reservations = reserve(spec, reach, taken, &held)?;
        held.extend(reservations);
    }
    Ok(held)
}

/// Takes a port again that was published before the daemon restarted.
pub(crate) fn reserve_again(port: PublishedPort) -> Result<Reservation> {
    bind(port).map_err(|errno| refusal(errno, port))
}

/// The places beside those held where `localhost` leads IPv6 clients: `[::1]` for each port of all
/// IPv4 addresses that has no IPv6 of its own. One that somebody else has is left out.
pub(crate) fn reserve_localhost(held: &[Reservation]) -> Vec<Reservation> {
    held.iter()
        .filter(|held| held.anywhere && held.port.host_ip == Ipv4Addr::UNSPECIFIED)
        .map(|held| PublishedPort {
            host_ip: Ipv6Addr::LOCALHOST.into(),
            ..held.port
        })
        .filter(|port| !held.iter().any(|other| other.port.overlaps(port)))
        .filter_map(|port| bind(port).ok())
        .collect()
}

/// One port at all addresses that it is to be published on.
fn reserve(
    spec: &PortSpec,
    reach: Reach,
    taken: &[(&Name, PublishedPort)],
    held: &[Reservation],
) -> Result<Vec<Reservation>> {
    if spec.container_port == 0 {
        return Err(Error::invalid("a container has no port 0 to publish"));
    }
    let addresses = match spec.host_ip {
        None => reach.everywhere(),
        Some(address) => vec![check_leads(address, spec, reach)?],
    };
    let at_all = |host_port| reserve_at(spec, &addresses, host_port, taken, held);
    let Some(range) = spec.host_port else {
        return any_port(addresses.len(), at_all);
    };
    let mut failure = None;
    for host_port in range.ports() {
        match at_all(host_port) {
            Err(error) if error.kind() == Kind::Conflict => {
                failure.get_or_insert(error);
            }
            other => return other,
        }
    }
    let failure = failure.unwrap_or_else(|| Error::internal("an empty range of ports"));
    match range.ports().count() {
        1 => Err(failure),
        _ => Err(failure.within(format!("no port of {range}/{} is free", spec.protocol))),
    }
}

/// The kernel chooses from its ephemeral range, for the first address only.
fn any_port(
    addresses: usize,
    at_all: impl Fn(u16) -> Result<Vec<Reservation>>,
) -> Result<Vec<Reservation>> {
    let mut result = at_all(0);
    for _ in 1..TRIES {
        match result {
            Err(error) if error.kind() == Kind::Conflict && addresses > 1 => result = at_all(0),
            other => return other,
        }
    }
    result
}

/// One port of the host at each of these addresses. Port 0 is any, and the same for all.
fn reserve_at(
    spec: &PortSpec,
    addresses: &[IpAddr],
    mut host_port: u16,
    taken: &[(&Name, PublishedPort)],
    held: &[Reservation],
) -> Result<Vec<Reservation>> {
    let mut reservations = Vec::with_capacity(addresses.len());
    for host_ip in addresses {
        let port = PublishedPort {
            host_ip: *host_ip,
            host_port,
            container_port: spec.container_port,
            protocol: spec.protocol,
        };
        if host_port != 0 {
            check_own(port, taken, held)?;
        }
        let mut reservation = bind(port).map_err(|errno| refusal(errno, port))?;
        host_port = reservation.port.host_port;
        reservation.anywhere = spec.host_ip.is_none();
        reservations.push(reservation);
    }
    Ok(reservations)
}

/// Refuses what neither rules nor the daemon can lead to the container.
fn check_leads(address: IpAddr, spec: &PortSpec, reach: Reach) -> Result<IpAddr> {
    if address.is_ipv4() || spec.protocol == Protocol::Tcp {
        return Ok(address);
    }
    let port = format!(
        "port {}/udp cannot be published on [{address}]",
        spec.container_port
    );
    // The daemon answers from the address that was asked, which it only knows when it is one.
    match reach.ipv6 || !address.is_unspecified() {
        true => Ok(address),
        false => Err(Error::unsupported(format!(
            "{port}: the container is on no network with IPv6; make one with `enable_ipv6`, or name one of this host's addresses"
        ))),
    }
}

fn check_own(
    port: PublishedPort,
    taken: &[(&Name, PublishedPort)],
    held: &[Reservation],
) -> Result<()> {
    if let Some((name, _)) = taken.iter().find(|(_, other)| other.overlaps(&port)) {
        return Err(Error::conflict(format!(
            "port {port} is already published by container `{name}`"
        )));
    }
    if held.iter().any(|other| other.port.overlaps(&port)) {
        return Err(Error::conflict(format!(
            "port {port} is published twice by this container"
        )));
    }
    Ok(())
}

fn refusal(errno: Errno, port: PublishedPort) -> Error {
    match errno {
        Errno::ADDRINUSE => {
            let owner = port_owner::find(port).map_or_else(
                || "by a process that cannot be seen from here".to_owned(),
                |process| format!("by `{}` (pid {})", process.name, process.pid),
            );
            Error::conflict(format!("port {port} is already in use {owner}"))
        }
        Errno::ADDRNOTAVAIL => Error::invalid(format!(
            "port {port} cannot be published: this host does not have that address"
        )),
        errno => Error::from(errno).within(format!("reserve port {port}")),
    }
}

fn bind(port: PublishedPort) -> Result<Reservation, Errno> {
    // Where the daemon answers, connections of a container that is gone may not be closed yet. (Of
    // datagram sockets, two that do not mind would share the port.)
    match bind_socket(port, port.is_answered() && port.protocol == Protocol::Tcp) {
        // Connections that have ended keep a port busy for a minute unless the socket says that it
        // does not mind; a real owner minds, and is found.
        Err(Errno::ADDRINUSE) if port_owner::only_lingers(port) => bind_socket(port, true),
        other => other,
    }
}

fn bind_socket(mut port: PublishedPort, reuse: bool) -> Result<Reservation, Errno> {
    let kind = match port.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let family = match port.host_ip {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if port.host_ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if reuse {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if port.protocol == Protocol::Udp && !port.is_answered() {
        // What comes while the rules are away is not for us to keep.
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(port.host_ip, port.host_port))?;
    let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    port.host_port = bound.port();
    Ok(Reservation {
        port,
        socket,
        anywhere: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PortRange;
    use crate::netns::alone;

    const FOUR: Reach = Reach {
        host_ip: Ipv4Addr::UNSPECIFIED,
        ipv6: false,
    };
    const BOTH: Reach = Reach {
        host_ip: Ipv4Addr::UNSPECIFIED,
        ipv6: true,
    };

    fn reserve_all(
        specs: &[PortSpec],
        taken: &[(&Name, PublishedPort)],
    ) -> Result<Vec<Reservation>> {
        super::reserve_all(specs, FOUR, taken)
    }

    fn places(held: &[Reservation]) -> Vec<String> {
        held.iter().map(|held| held.port.to_string()).collect()
    }

    fn spec(host_ip: &str, host_port: Option<u16>, protocol: Protocol) -> PortSpec {
        PortSpec {
            host_ip: Some(host_ip.parse().unwrap()),
            host_port: host_port.map(|port| PortRange::one(port).unwrap()),
            container_port: 80,
            protocol,
        }
    }

    #[test]
    fn a_held_port_cannot_be_bound() {
        alone(|| {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let held = reserve_all(&[spec("127.0.0.1", None, protocol)], &[]).unwrap();
                let port = held[0].port;
                assert!(port.host_port >= 1024, "{port}");
                let address = (port.host_ip, port.host_port);
                let taken = match protocol {
                    Protocol::Tcp => std::net::TcpListener::bind(address).is_err(),
                    Protocol::Udp => std::net::UdpSocket::bind(address).is_err(),
                };
                assert!(taken, "{port}");
                drop(held);
                drop(reserve_again(port).unwrap());
            }
        });
    }

    #[test]
    fn names_the_process_that_has_it() {
        alone(|| {
            // A listener for both families, as most servers have.
            let listener = std::net::TcpListener::bind("[::]:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            for host_ip in ["0.0.0.0", "127.0.0.1"] {
                let wanted = spec(host_ip, Some(port), Protocol::Tcp);
                let error = reserve_all(&[wanted], &[]).unwrap_err();
                assert_eq!(error.kind(), Kind::Conflict);
                let pid = format!("(pid {})", std::process::id());
                assert!(error.to_string().contains(&pid), "{error}");
            }
        });
    }

    #[test]
    fn names_the_container_that_has_it() {
        alone(|| {
            let name: Name = "web-1".parse().unwrap();
            let held = reserve_all(&[spec("127.0.0.1", None, Protocol::Tcp)], &[]).unwrap();
            let port = held[0].port;
            let wanted = spec("0.0.0.0", Some(port.host_port), Protocol::Tcp);
            let error = reserve_all(std::slice::from_ref(&wanted), &[(&name, port)]).unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict);
            let expected = format!(
                "port {}/tcp on 0.0.0.0 is already published by container `web-1`",
                port.host_port
            );
            assert_eq!(error.to_string(), expected);
            // The other protocol is another port.
            reserve_all(
                &[PortSpec {
                    protocol: Protocol::Udp,
                    ..wanted
                }],
                &[(&name, port)],
            )
            .unwrap();
        });
    }

    #[test]
    fn a_range_gives_its_first_free_port_and_all_or_none_are_held() {
        alone(|| {
            let held = reserve_all(&[spec("127.0.0.1", None, Protocol::Tcp)], &[]).unwrap();
            let first = held[0].port.host_port;
            let mut wanted = spec("127.0.0.1", None, Protocol::Tcp);
            wanted.host_port = Some(PortRange::new(first, first.saturating_add(50)).unwrap());
            let next = reserve_all(&[wanted], &[]).unwrap();
            assert!(next[0].port.host_port > first);
            drop(held);

            let free = spec("127.0.0.1", Some(first), Protocol::Tcp);
            let error = reserve_all(&[free.clone(), free.clone()], &[]).unwrap_err();
            assert!(error.to_string().contains("published twice"), "{error}");
            reserve_all(&[free], &[]).unwrap();
        });
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        alone(|| {
            let kind = |spec| reserve_all(&[spec], &[]).unwrap_err().kind();
            assert_eq!(
                kind(spec("203.0.113.9", None, Protocol::Tcp)),
                Kind::Invalid
            );
            assert_eq!(kind(spec("::", None, Protocol::Udp)), Kind::Unsupported);
            assert_eq!(kind(spec("fd00::9", None, Protocol::Tcp)), Kind::Invalid);
            let mut zero = spec("127.0.0.1", None, Protocol::Tcp);
            zero.container_port = 0;
            assert_eq!(kind(zero), Kind::Invalid);
        });
    }

    #[test]
    fn a_port_without_an_address_is_on_both_families() {
        alone(|| {
            let everywhere = |host_port: Option<u16>| PortSpec {
                host_ip: None,
                ..spec("::", host_port, Protocol::Tcp)
            };
            let held = super::reserve_all(&[everywhere(Some(5000))], BOTH, &[]).unwrap();
            assert_eq!(places(&held), ["5000/tcp on 0.0.0.0", "5000/tcp on ::"]);
            assert!(reserve_localhost(&held).is_empty());
            drop(held);
            // Any port will do, but the same on both.
            let held = super::reserve_all(&[everywhere(None)], BOTH, &[]).unwrap();
            assert_eq!(held[0].port.host_port, held[1].port.host_port);
            drop(held);
            // Without IPv6, what `localhost` means to an IPv6 client.
            let specs = [
                everywhere(Some(5000)),
                spec("0.0.0.0", Some(5001), Protocol::Tcp),
            ];
            let held = super::reserve_all(&specs, FOUR, &[]).unwrap();
            let beside = reserve_localhost(&held);
            assert_eq!(places(&beside), ["5000/tcp on ::1"]);
            // Somebody else's is left to him. The daemon listens on such sockets at once.
            rustix::net::listen(&beside[0].socket, 1).unwrap();
            assert!(reserve_localhost(&held).is_empty());
            drop((held, beside));
            // One that somebody has with IPv6 alone is taken.
            let theirs = reserve_all(&[spec("::", Some(5000), Protocol::Tcp)], &[]).unwrap();
            rustix::net::listen(&theirs[0].socket, 1).unwrap();
            let error = super::reserve_all(&[everywhere(Some(5000))], BOTH, &[]).unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict);
            super::reserve_all(&[everywhere(Some(5000))], FOUR, &[]).unwrap();
            let one = Reach {
                host_ip: Ipv4Addr::LOCALHOST,
                ipv6: true,
            };
            let held = super::reserve_all(&[everywhere(Some(5000))], one, &[]).unwrap();
            assert_eq!(places(&held), ["5000/tcp on 127.0.0.1"]);
        });
    }

    #[test]
    fn ended_connections_do_not_keep_a_port() {
        alone(|| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let client = std::net::TcpStream::connect(address).unwrap();
            let (server, _) = listener.accept().unwrap();
            // Whoever closes first lingers.
            drop(server);
            drop(client);
            drop(listener);
            let wanted = spec("127.0.0.1", Some(address.port()), Protocol::Tcp);
            reserve_all(&[wanted], &[]).unwrap();
        });
    }
}
