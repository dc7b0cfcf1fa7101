//! Host ports held for containers.
//!
//! A published port is kept by a socket that is bound and never listens: the rules redirect packets
//! before any socket sees them, and meanwhile nobody else can bind it. A conflict names its owner:
//! a container of ours, or a process of the host.
//!
//! IPv4 only. A socket on `[::]` that also takes IPv4 conflicts with ours and so is noticed; one
//! that is for IPv6 alone is no conflict, as nothing of ours answers there.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use orc_base::{Error, Name, Result};
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
    _socket: OwnedFd,
}

/// Reserves all ports or none. `taken` are those of other containers.
pub(crate) fn reserve_all(
    specs: &[PortSpec],
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
        let reservation = reserve(spec, taken, &held)?;
        held.push(reservation);
    }
    Ok(held)
}

/// Takes a port again that was published before the daemon restarted.
pub(crate) fn reserve_again(port: PublishedPort) -> Result<Reservation> {
    bind(port).map_err(|errno| refusal(errno, port))
}

fn reserve(
    spec: &PortSpec,
    taken: &[(&Name, PublishedPort)],
    held: &[Reservation],
) -> Result<Reservation> {
    let host_ip = host_address(spec)?;
    if spec.container_port == 0 {
        return Err(Error::invalid("a container has no port 0 to publish"));
    }
    let at = |host_port| PublishedPort {
        host_ip,
        host_port,
        container_port: spec.container_port,
        protocol: spec.protocol,
    };
    let Some(range) = spec.host_port else {
        // The kernel chooses from its ephemeral range.
        return bind(at(0)).map_err(|errno| refusal(errno, at(0)));
    };
    let mut failure = None;
    for host_port in range.ports() {
        let port = at(host_port);
        let attempt = check_own(port, taken, held)
            .and_then(|()| bind(port).map_err(|errno| refusal(errno, port)));
        match attempt {
            Err(error) if error.kind() == orc_base::Kind::Conflict => {
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

fn host_address(spec: &PortSpec) -> Result<Ipv4Addr> {
    match spec.host_ip {
        None => Ok(Ipv4Addr::UNSPECIFIED),
        Some(IpAddr::V4(address)) => Ok(address),
        Some(IpAddr::V6(address)) => Err(Error::unsupported(format!(
            "port {} cannot be published on [{address}]: networks have IPv4 only",
            spec.container_port
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
    match bind_socket(port, false) {
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
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    if reuse {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if port.protocol == Protocol::Udp {
        // What comes while the rules are away is not for us to keep.
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    rustix::net::bind(&socket, &SocketAddrV4::new(port.host_ip, port.host_port))?;
    let bound = SocketAddrV4::try_from(rustix::net::getsockname(&socket)?)?;
    port.host_port = bound.port();
    Ok(Reservation {
        port,
        _socket: socket,
    })
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;
    use crate::model::PortRange;
    use crate::netns::alone;

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
            assert_eq!(kind(spec("::1", None, Protocol::Tcp)), Kind::Unsupported);
            let mut zero = spec("127.0.0.1", None, Protocol::Tcp);
            zero.container_port = 0;
            assert_eq!(kind(zero), Kind::Invalid);
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
