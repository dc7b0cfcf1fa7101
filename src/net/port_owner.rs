//! Which process has a port: for the words of a refusal, so the best guess is good enough.
//!
//! Reads `/proc/net/{tcp,udp}{,6}` of this thread's namespace for the socket and then looks for it
//! among the descriptors of all processes. Both are bounded.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv6Addr};

use crate::model::{Protocol, PublishedPort};

/// How much of one table is read: 150 bytes a socket.
const TABLE_BYTES: u64 = 16 << 20;
/// How many descriptors are looked at.
const DESCRIPTORS: usize = 200_000;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

/// The process whose socket stands in the way of `port`.
pub(crate) fn find(port: PublishedPort) -> Option<Process> {
    let socket = sockets(port).into_iter().find(|socket| socket.inode != 0)?;
    process_with(socket.inode)
}

/// Whether only connections that have ended stand in the way of `port`.
pub(crate) fn only_lingers(port: PublishedPort) -> bool {
    let sockets = sockets(port);
    port.protocol == Protocol::Tcp
        && !sockets.is_empty()
        && sockets.iter().all(|socket| socket.inode == 0)
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    /// 0 when no process has it any more.
    inode: u64,
}

fn sockets(port: PublishedPort) -> Vec<Socket> {
    let tables = match port.protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
    };
    let mut found = Vec::new();
    for table in tables {
        // `/proc/net` would be the main thread's.
        if let Ok(file) = File::open(format!("/proc/thread-self/net/{table}")) {
            let lines = BufReader::new(file.take(TABLE_BYTES)).lines();
            found.extend(
                lines
                    .map_while(Result::ok)
                    .filter_map(|line| parse(&line, port)),
            );
        }
    }
    found
}

/// A line of the table when it is about `port`: `sl local remote state … inode`.
fn parse(line: &str, port: PublishedPort) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, number) = fields.get(1)?.split_once(':')?;
    if u16::from_str_radix(number, 16).ok()? != port.host_port || !meets(address, port.host_ip) {
        return None;
    }
    Some(Socket {
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Whether a socket on `address`, in the table's notation, is in the way of one on `wanted`.
fn meets(address: &str, wanted: IpAddr) -> bool {
    let Some(theirs) = read_address(address) else {
        return false;
    };
    let any = theirs.is_unspecified() || wanted.is_unspecified();
    match (theirs, wanted) {
        // One on `[::]` may be for IPv4 too; the table does not say.
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), _) => true,
        (IpAddr::V6(theirs), IpAddr::V4(wanted)) => theirs
            .to_ipv4_mapped()
            .is_some_and(|theirs| any || theirs == wanted),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
        _ => any || theirs == wanted,
    }
}

/// An address in the table's notation: 32-bit parts as numbers of this machine.
fn read_address(text: &str) -> Option<IpAddr> {
    let part = |at: usize| {
        let number = u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(number.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::from(part(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (index, octets) in octets.chunks_mut(4).enumerate() {
                octets.copy_from_slice(&part(index)?);
            }
            Some(IpAddr::from(octets))
        }
        _ => None,
    }
}

fn process_with(inode: u64) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    let mut left = DESCRIPTORS;
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            left = left.checked_sub(1)?;
            if std::fs::read_link(descriptor.path())
                .is_ok_and(|link| link.as_os_str() == wanted.as_str())
            {
                return Some(Process {
                    pid,
                    name: name_of(pid),
                });
            }
        }
    }
    None
}

fn name_of(pid: u32) -> String {
    let mut name = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/comm")) {
        let _ = file.take(64).read_to_end(&mut name);
    }
    crate::address::shown(String::from_utf8_lossy(&name).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: impl Into<IpAddr>) -> PublishedPort {
        PublishedPort {
            host_ip: host_ip.into(),
            host_port: 0x1388,
            container_port: 80,
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_are_matched_by_port_and_address() {
        let line = "   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        let found = Some(Socket { inode: 4711 });
        assert_eq!(parse(line, port([127, 0, 0, 1])), found);
        assert_eq!(parse(line, port([0, 0, 0, 0])), found);
        assert_eq!(parse(line, port([127, 0, 0, 2])), None);
        assert_eq!(
            parse(&line.replace("1388", "1389"), port([0, 0, 0, 0])),
            None
        );
        let any6 = line.replace("0100007F:", "00000000000000000000000000000000:");
        assert_eq!(parse(&any6, port([127, 0, 0, 2])), found);
        let mapped = line.replace("0100007F:", "0000000000000000FFFF00000100007F:");
        assert_eq!(parse(&mapped, port([127, 0, 0, 1])), found);
        assert_eq!(parse(&mapped, port([127, 0, 0, 2])), None);
        assert_eq!(parse(&mapped, port(Ipv6Addr::LOCALHOST)), None);
        assert_eq!(parse(&mapped, port([0, 0, 0, 0])), found);
        // IPv6 sockets stand in the way of their like.
        let own6 = line.replace("0100007F:", "00000000000000000000000001000000:");
        assert_eq!(parse(&own6, port(Ipv6Addr::LOCALHOST)), found);
        assert_eq!(parse(&own6, port(Ipv6Addr::UNSPECIFIED)), found);
        assert_eq!(parse(&own6, port([0, 0, 0, 0])), None);
        assert_eq!(parse(line, port(Ipv6Addr::UNSPECIFIED)), None);
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_read_without_panic(line: String) {
            let _ = parse(&line, port([127, 0, 0, 1]));
        }
    }
}
