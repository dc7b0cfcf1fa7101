//! A machine to try the network layer on.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orc_base::{Id, Result};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

use crate::model::{AttachRequest, EndpointSpec, Network, NetworkSpec, PortSpec, Sandbox};
use crate::route::{self, Routes};
use crate::{Config, Net, netns, port};

/// How long what should arrive may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing must arrive to be believed.
const SILENCE: Duration = Duration::from_millis(300);

/// The machine's address on the wire, and its neighbour's.
pub(super) const MACHINE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(super) const MACHINE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(super) const NEIGHBOUR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// A machine in a network namespace of its own. Dropped last to first: the daemon, its runtime, the
/// places.
pub(super) struct Lab {
    pub(super) net: Net,
    runtime: Runtime,
    pub(super) places: Places,
}

/// Pinned namespaces and files, all gone when dropped.
pub(super) struct Places {
    directory: tempfile::TempDir,
}

impl Places {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn config(&self) -> Config {
        let mut config = Config::new(self.path("ns"));
        config.resolv_conf = self.path("resolv.conf");
        config
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for directory in [self.path("ns"), self.directory.path().to_owned()] {
            for entry in orc_base::fs::list(&directory).unwrap_or_default() {
                if netns::open(&entry).is_ok() {
                    let _ = netns::remove(&entry);
                }
            }
        }
    }
}

/// Runs `test` on a fresh machine.
pub(super) fn on_a_machine(test: impl FnOnce(&mut Lab) + Send) {
    let places = Places {
        directory: tempfile::tempdir().unwrap(),
    };
    let machine = places.path("machine");
    netns::create(&machine).unwrap();
    let namespace = netns::open(&machine).unwrap();
    netns::inside(namespace.as_fd(), || {
        std::fs::write(places.path("resolv.conf"), "nameserver 127.0.0.1\n")?;
        // Threads that the runtime starts are in the namespace of this one.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let net = runtime.block_on(Net::open(places.config()))?;
        let mut lab = Lab {
            net,
            runtime,
            places,
        };
        test(&mut lab);
        Ok(())
    })
    .unwrap();
}

impl Lab {
    /// Runs the daemon's work to its end.
    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Runs `work` beside the test.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// The daemon is killed and another one started.
    pub(super) fn restart(&mut self) {
        let ports: Vec<_> = self
            .net
            .sandboxes()
            .into_iter()
            .flat_map(|sandbox| sandbox.ports.into_iter().chain(sandbox.relayed))
            .collect();
        let net = self.run(Net::open(self.places.config())).unwrap();
        drop(std::mem::replace(&mut self.net, net));
        // A process that is killed loses its sockets at once; a thread of this one, soon.
        until("the old daemon's ports are free", || {
            ports.iter().all(|port| port::reserve_again(*port).is_ok())
        });
    }

    pub(super) fn network(&self, name: &str) -> Network {
        self.network_with(name, |_| {})
    }

    pub(super) fn network_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut NetworkSpec),
    ) -> Network {
        let mut spec = NetworkSpec::new(Id::random(), name.parse().unwrap());
        change(&mut spec);
        self.run(self.net.create_network(spec)).unwrap()
    }

    /// A wish for a container on these networks, with a namespace.
    pub(super) fn request(&self, name: &str, networks: &[&Network]) -> AttachRequest {
        let container = Id::random();
        let namespace = self.run(self.net.create_namespace(&container)).unwrap();
        AttachRequest {
            container,
            name: name.parse().unwrap(),
            namespace,
            endpoints: networks
                .iter()
                .map(|network| EndpointSpec::new(network.id.clone()))
                .collect(),
            ports: vec![],
            dns: vec![],
            forwards: false,
        }
    }

    pub(super) fn container(&self, name: &str, networks: &[&Network]) -> Sandbox {
        self.published(name, networks, vec![])
    }

    pub(super) fn published(
        &self,
        name: &str,
        networks: &[&Network],
        ports: Vec<PortSpec>,
    ) -> Sandbox {
        let mut request = self.request(name, networks);
        request.ports = ports;
        self.run(self.net.attach(request)).unwrap()
    }

    /// Another machine on a wire to this one, which routes everything by it.
    pub(super) fn neighbour(&self) -> PathBuf {
        let path = self.places.path("neighbour");
        netns::create(&path).unwrap();
        let namespace = netns::open(&path).unwrap();
        let inside = route::Inside {
            namespace: namespace.as_fd(),
            name: "eth0",
            mac: "02:00:00:00:00:02".parse().unwrap(),
        };
        let mut routes = Routes::open().unwrap();
        let wire = route::create_veth("wire0", 0, 1500, &inside);
        routes.apply(vec![wire, route::set_up("wire0")]).unwrap();
        let index = routes.existing("wire0").unwrap().index;
        // Namespaces of tests have no IPv6 on links that come later, as a container's do not.
        netns::sysctl("net/ipv6/conf/wire0/disable_ipv6", "0").unwrap();
        routes
            .apply(vec![
                route::add_address(index, MACHINE, 24),
                route::add_address(index, MACHINE6, 64),
            ])
            .unwrap();
        inside_of(&path, || {
            let mut routes = Routes::open()?;
            let index = routes.existing("eth0")?.index;
            netns::sysctl("net/ipv6/conf/eth0/disable_ipv6", "0")?;
            routes.apply(vec![
                route::set_up("eth0"),
                route::add_address(index, NEIGHBOUR, 24),
                route::add_address(index, NEIGHBOUR6, 64),
                route::add_default_route(index, MACHINE),
                route::add_default_route(index, MACHINE6),
            ])
        })
        .unwrap();
        path
    }

    /// Answers on a port inside `place` with `name`, the protocol and the address of the client.
    pub(super) fn serve(&self, place: &Path, name: &str, port: u16) {
        self.serve_at(place, name, Ipv4Addr::UNSPECIFIED, port);
    }

    /// The same to clients of IPv6 only.
    pub(super) fn serve6(&self, place: &Path, name: &str, port: u16) {
        inside_of(place, || netns::sysctl("net/ipv6/bindv6only", "1")).unwrap();
        self.serve_at(place, name, Ipv6Addr::UNSPECIFIED, port);
    }

    pub(super) fn serve_at(&self, place: &Path, name: &str, address: impl Into<IpAddr>, port: u16) {
        let address = address.into();
        let (tcp, udp) = inside_of(place, || {
            let tcp = std::net::TcpListener::bind((address, port))?;
            let udp = UdpSocket::bind((address, port))?;
            tcp.set_nonblocking(true)?;
            udp.set_nonblocking(true)?;
            Ok((tcp, udp))
        })
        .unwrap();
        let _runtime = self.runtime.enter();
        let tcp = tokio::net::TcpListener::from_std(tcp).unwrap();
        let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
        let tcp_name = format!("{name} tcp");
        self.runtime.spawn(async move {
            while let Ok((mut stream, client)) = tcp.accept().await {
                let answer = format!("{tcp_name} {}", client.ip());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let udp_name = format!("{name} udp");
        self.runtime.spawn(async move {
            let mut buffer = [0; 64];
            while let Ok((_, client)) = udp.recv_from(&mut buffer).await {
                let answer = format!("{udp_name} {}", client.ip());
                let _ = udp.send_to(answer.as_bytes(), client).await;
            }
        });
    }

    /// The place that the machine itself is.
    pub(super) fn machine(&self) -> PathBuf {
        self.places.path("machine")
    }
}

/// Runs `work` inside the namespace at `place`.
pub(super) fn inside_of<T: Send>(
    place: &Path,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    netns::inside(netns::open(place)?.as_fd(), work)
}

/// What a server says to a client in `place`, by TCP; it must answer.
pub(super) fn tcp(place: &Path, server: impl Into<IpAddr>, port: u16) -> String {
    let server = SocketAddr::new(server.into(), port);
    try_tcp(place, server, PATIENCE).unwrap_or_else(|| panic!("no answer of {server}"))
}

/// What a server says to a client in `place`, by UDP; it must answer.
pub(super) fn udp(place: &Path, server: impl Into<IpAddr>, port: u16) -> String {
    let server = SocketAddr::new(server.into(), port);
    try_udp(place, server, PATIENCE).unwrap_or_else(|| panic!("no answer of {server}"))
}

/// Neither TCP nor UDP gets an answer.
pub(super) fn is_silent(place: &Path, server: impl Into<IpAddr>, port: u16) -> bool {
    let server = SocketAddr::new(server.into(), port);
    try_tcp(place, server, SILENCE).is_none() && try_udp(place, server, SILENCE).is_none()
}

fn try_tcp(place: &Path, server: SocketAddr, patience: Duration) -> Option<String> {
    inside_of(place, || {
        let mut stream = TcpStream::connect_timeout(&server, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
    .ok()
    .filter(|answer| !answer.is_empty())
}

fn try_udp(place: &Path, server: SocketAddr, patience: Duration) -> Option<String> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    inside_of(place, || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(patience))?;
        socket.connect(server)?;
        ask(&socket)
    })
    .ok()
}

/// One question and its answer on a connected socket.
pub(super) fn ask(socket: &UdpSocket) -> Result<String> {
    socket.send(b"hello")?;
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Waits until `done`, which must come true.
pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
