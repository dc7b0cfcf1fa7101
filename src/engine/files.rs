//! The files that are generated for each container and mounted into it: `/etc/hosts`,
//! `/etc/hostname` and `/etc/resolv.conf`.
//!
//! They are written in place, never replaced: a running container has them mounted by their inode.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use orc_base::{Context, Result};
use orc_host::container::{ContainerSpec, NetworkMode};
use orc_net::model::Sandbox;
use orc_net::resolv::{Resolver, hosts_file, resolv_conf};

/// The most bytes of a file of the machine that is handed on.
const MAX_HOST_FILE: u64 = 1 << 20;

/// The files by name in the container's directory, and where they are mounted.
pub(crate) const FILES: [(&str, &str); 3] = [
    ("hosts", "/etc/hosts"),
    ("hostname", "/etc/hostname"),
    ("resolv.conf", "/etc/resolv.conf"),
];

/// What the contents depend on.
pub(crate) struct Subject<'a> {
    /// What was asked for.
    pub spec: &'a ContainerSpec,
    /// Its host name.
    pub hostname: &'a str,
    /// Its places on networks.
    pub sandbox: Option<&'a Sandbox>,
    /// The machine's resolver configuration.
    pub resolv_conf: &'a Path,
}

/// Writes all three into `directory`.
pub(crate) fn write(directory: &Path, subject: &Subject<'_>) -> Result<()> {
    for ((name, _), text) in FILES.iter().zip([
        hosts(subject)?,
        format!("{}\n", subject.hostname),
        resolver(subject)?,
    ]) {
        put(&directory.join(name), text.as_bytes())?;
    }
    Ok(())
}

fn put(path: &PathBuf, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(path)?
            .write_all(bytes)
    };
    write().context(|| format!("write {}", path.display()))
}

fn hosts(subject: &Subject<'_>) -> Result<String> {
    let gateway = subject
        .sandbox
        .and_then(|sandbox| sandbox.primary().or(sandbox.endpoints.first()))
        .map_or(Ipv4Addr::LOCALHOST, |endpoint| endpoint.resolver);
    let extra: Vec<(String, IpAddr)> = subject
        .spec
        .extra_hosts
        .iter()
        .map(|(name, address)| {
            let address = address.parse().unwrap_or(IpAddr::V4(gateway));
            (name.clone(), address)
        })
        .collect();
    if subject.spec.network_mode == NetworkMode::Host {
        return Ok(machines_hosts(&extra));
    }
    let addresses: Vec<IpAddr> = subject
        .sandbox
        .iter()
        .flat_map(|sandbox| &sandbox.endpoints)
        .flat_map(|endpoint| {
            let ipv6 = endpoint.ipv6.map(|place| IpAddr::V6(place.address));
            [IpAddr::V4(endpoint.address)].into_iter().chain(ipv6)
        })
        .collect();
    let name = match &subject.spec.domainname {
        Some(domain) => format!("{}.{domain}", subject.hostname),
        None => subject.hostname.to_owned(),
    };
    hosts_file(&name, &addresses, &extra)
}

/// With the machine's network, the machine's names.
fn machines_hosts(extra: &[(String, IpAddr)]) -> String {
    let own = orc_base::fs::read_limited(Path::new("/etc/hosts"), MAX_HOST_FILE)
        .unwrap_or_else(|_| b"127.0.0.1\tlocalhost\n".to_vec());
    let mut text = String::from_utf8_lossy(&own).into_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

fn resolver(subject: &Subject<'_>) -> Result<String> {
    let spec = subject.spec;
    let untouched = [&spec.dns, &spec.dns_search, &spec.dns_options]
        .iter()
        .all(|list| list.is_empty());
    if subject.sandbox.is_none() && untouched {
        let own = orc_base::fs::read_limited(subject.resolv_conf, MAX_HOST_FILE);
        return Ok(String::from_utf8_lossy(&own.unwrap_or_default()).into_owned());
    }
    let mut resolver = Resolver::read(subject.resolv_conf)?;
    match subject.sandbox {
        Some(sandbox) => resolver.nameservers = sandbox.resolvers(),
        None if spec.dns.is_empty() => {}
        None => {
            resolver.nameservers = spec
                .dns
                .iter()
                .filter_map(|server| server.parse().ok())
                .collect();
        }
    }
    if !spec.dns_search.is_empty() {
        resolver.search.clone_from(&spec.dns_search);
    }
    if !spec.dns_options.is_empty() {
        resolver.options.clone_from(&spec.dns_options);
    }
    resolv_conf(&resolver)
}

#[cfg(test)]
mod tests {
    use orc_base::Id;
    use orc_net::model::{Endpoint, Ipv6Place};

    use super::*;

    #[test]
    fn says_who_and_where_the_container_is() {
        let dir = tempfile::tempdir().unwrap();
        let machine = dir.path().join("machine");
        std::fs::write(&machine, "nameserver 192.0.2.1\nsearch example\n").unwrap();
        let id = Id::random();
        let sandbox = Sandbox {
            container: id.clone(),
            name: "web".parse().unwrap(),
            namespace: "/ns".into(),
            endpoints: vec![Endpoint {
                network: id,
                interface: "eth0".into(),
                veth: "v".into(),
                address: "10.0.0.2".parse().unwrap(),
                prefix: 24,
                gateway: Some("10.0.0.1".parse().unwrap()),
                resolver: "10.0.0.1".parse().unwrap(),
                mac: "02:42:0a:00:00:02".parse().unwrap(),
                names: Vec::new(),
                ipv6: Some(Ipv6Place {
                    address: "fd00::2".parse().unwrap(),
                    prefix: 64,
                    gateway: None,
                }),
                link_local: Vec::new(),
                links: Vec::new(),
            }],
            ports: Vec::new(),
            dns: Vec::new(),
            forwards: false,
            relayed: Vec::new(),
        };
        let spec = ContainerSpec {
            domainname: Some("lan".into()),
            extra_hosts: vec![
                ("db".into(), "10.9.9.9".into()),
                ("machine".into(), "host-gateway".into()),
            ],
            ..ContainerSpec::default()
        };
        let subject = Subject {
            spec: &spec,
            hostname: "web",
            sandbox: Some(&sandbox),
            resolv_conf: &machine,
        };
        write(dir.path(), &subject).unwrap();
        let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let hosts = read("hosts");
        for line in [
            "10.0.0.2\tweb.lan web\n",
            "fd00::2\tweb.lan web\n",
            "10.9.9.9\tdb\n",
            "10.0.0.1\tmachine\n",
        ] {
            assert!(hosts.contains(line), "{hosts}");
        }
        assert_eq!(read("hostname"), "web\n");
        let resolv = read("resolv.conf");
        assert!(
            resolv.starts_with("nameserver 10.0.0.1\nsearch example\n"),
            "{resolv}"
        );

        let alone = Subject {
            sandbox: None,
            spec: &ContainerSpec::default(),
            ..subject
        };
        write(dir.path(), &alone).unwrap();
        assert_eq!(
            read("resolv.conf"),
            "nameserver 192.0.2.1\nsearch example\n"
        );
    }
}
