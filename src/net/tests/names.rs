//! Names: asked by real packets from inside containers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use orc_base::Id;

use super::lab::{Lab, inside_of, on_a_machine};
use crate::model::{EndpointSpec, Ipv6Spec, Protocol};
use crate::{ClusterNames, PortName, ServiceName};

/// How long an answer may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// Asks the server at `server` from inside `place`, by UDP.
fn ask(place: &Path, server: Ipv4Addr, name: &str, kind: RecordType) -> Message {
    inside_of(place, || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect((server, 53))?;
        socket.send(&question(name, kind).to_vec().unwrap())?;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer)?;
        Ok(Message::from_vec(&buffer[..length]).unwrap())
    })
    .unwrap()
}

/// The same by TCP.
fn ask_tcp(place: &Path, server: Ipv4Addr, name: &str, kind: RecordType) -> Message {
    inside_of(place, || {
        let mut stream = TcpStream::connect((server, 53))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let message = question(name, kind).to_vec().unwrap();
        stream.write_all(&(message.len() as u16).to_be_bytes())?;
        stream.write_all(&message)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        Ok(Message::from_vec(&answer).unwrap())
    })
    .unwrap()
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    message
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::A(address) => address.0,
            other => panic!("{other}"),
        })
        .collect()
}

fn code(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

/// A server of the outside on the machine's loopback: knows one address and counts questions.
fn upstream(lab: &Lab) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let udp = UdpSocket::bind("127.0.0.1:53").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:53").unwrap();
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let answer_with = |bytes: &[u8], last: u8| {
        let mut message = Message::from_vec(bytes).unwrap();
        message.metadata.message_type = MessageType::Response;
        let name = message.queries[0].name().clone();
        if name.to_ascii().starts_with("refused") {
            message.metadata.response_code = ResponseCode::Refused;
        }
        let address = RData::A(Ipv4Addr::new(198, 51, 100, last).into());
        message.add_answer(Record::from_rdata(name, 60, address));
        message.to_vec().unwrap()
    };
    let answer = move |bytes: &[u8]| answer_with(bytes, 7);
    let count = Arc::clone(&asked);
    lab.spawn(async move {
        let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::SeqCst);
            // First what a forger would send: the wrong number, then the wrong question.
            let mut forged = answer_with(&buffer[..length], 66);
            forged[0] ^= 1;
            udp.send_to(&forged, client).await.unwrap();
            let mut forged = answer_with(&buffer[..length], 66);
            forged[13] ^= 1;
            udp.send_to(&forged, client).await.unwrap();
            udp.send_to(&answer(&buffer[..length]), client)
                .await
                .unwrap();
        }
    });
    let count = Arc::clone(&asked);
    lab.spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let tcp = tokio::net::TcpListener::from_std(tcp).unwrap();
        while let Ok((mut stream, _)) = tcp.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let length = stream.read_u16().await.unwrap();
            let mut message = vec![0; usize::from(length)];
            stream.read_exact(&mut message).await.unwrap();
            let answer = answer(&message);
            stream.write_u16(answer.len() as u16).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    asked
}

#[test]
fn containers_find_each_other_on_shared_networks_only() {
    on_a_machine(|lab| {
        let (front, back) = (lab.network("front"), lab.network("back"));
        let web = lab.container("web", &[&front]);
        let db = lab.container("db", &[&back]);
        let mut request = lab.request("api-1", &[&front, &back]);
        for endpoint in &mut request.endpoints {
            endpoint.names = vec!["api".into()];
        }
        let api = lab.run(lab.net.attach(request)).unwrap();
        let from = |place: &Path, server, name: &str| ask(place, server, name, RecordType::A);
        let (web_ns, db_ns) = (&web.namespace, &db.namespace);
        for name in ["api", "API.", "api-1", api.container.short(), "api.front"] {
            let answer = from(web_ns, front.gateway, name);
            assert_eq!(addresses(&answer), [api.endpoints[0].address], "{name}");
        }
        let answer = from(db_ns, back.gateway, "api");
        assert_eq!(addresses(&answer), [api.endpoints[1].address]);
        assert_eq!(
            code(&from(web_ns, front.gateway, "db")),
            ResponseCode::NXDomain
        );
        // Whichever of its servers it asks, a container sees all its networks.
        for server in api.resolvers() {
            let std::net::IpAddr::V4(server) = server else {
                panic!()
            };
            assert_eq!(
                addresses(&from(&api.namespace, server, "db")),
                [db.endpoints[0].address]
            );
        }
        // By TCP, with other records, backwards, and from the host.
        let answer = ask_tcp(web_ns, front.gateway, "api", RecordType::A);
        assert_eq!(addresses(&answer), [api.endpoints[0].address]);
        let none = ask(web_ns, front.gateway, "api", RecordType::AAAA);
        assert_eq!(
            (code(&none), none.answers.len()),
            (ResponseCode::NoError, 0)
        );
        let [a, b, c, d] = api.endpoints[0].address.octets();
        let reverse = format!("{d}.{c}.{b}.{a}.in-addr.arpa.");
        let answer = ask(web_ns, front.gateway, &reverse, RecordType::PTR);
        assert_eq!(answer.answers[0].data.to_string(), "api-1.front.");
        assert_eq!(
            addresses(&from(&lab.machine(), front.gateway, "web")).len(),
            1
        );

        // Names come and go with containers.
        lab.run(
            lab.net
                .connect(&web.container, EndpointSpec::new(back.id.clone())),
        )
        .unwrap();
        assert_eq!(
            addresses(&from(web_ns, front.gateway, "db")),
            [db.endpoints[0].address]
        );
        lab.run(lab.net.disconnect(&web.container, &back.id))
            .unwrap();
        assert_eq!(
            code(&from(web_ns, front.gateway, "db")),
            ResponseCode::NXDomain
        );
        lab.run(lab.net.detach(&api.container)).unwrap();
        assert_eq!(
            code(&from(web_ns, front.gateway, "api")),
            ResponseCode::NXDomain
        );
    });
}

#[test]
fn ipv6_addresses_and_new_names() {
    on_a_machine(|lab| {
        let front = lab.network_with("front", |spec| spec.ipv6 = Some(Ipv6Spec::default()));
        let web = lab.container("web", &[&front]);
        let peer = lab.container("peer", &[&front]);
        let place = &peer.namespace;
        let from = |name: &str, kind| ask(place, front.gateway, name, kind);
        let own = web.endpoints[0].ipv6.unwrap().address;
        let answer = from("web", RecordType::AAAA);
        assert_eq!(answer.answers[0].data, RData::AAAA(own.into()));
        assert_eq!(answer.answers.len(), 1);
        let digits: String = own
            .octets()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let labels: Vec<String> = digits.chars().rev().map(String::from).collect();
        let reverse = format!("{}.ip6.arpa.", labels.join("."));
        let answer = from(&reverse, RecordType::PTR);
        assert_eq!(answer.answers[0].data.to_string(), "web.front.");
        // Another name counts at once.
        lab.run(lab.net.rename(&web.container, "site".parse().unwrap()))
            .unwrap();
        assert_eq!(
            addresses(&from("site", RecordType::A)),
            [web.endpoints[0].address]
        );
        assert_eq!(code(&from("web", RecordType::A)), ResponseCode::NXDomain);
        lab.run(lab.net.rename(&Id::random(), "nobody".parse().unwrap()))
            .unwrap();
    });
}

#[test]
fn strangers_are_told_nothing() {
    on_a_machine(|lab| {
        let asked = upstream(lab);
        let neighbour = lab.neighbour();
        let front = lab.network("front");
        lab.container("web", &[&front]);
        for name in ["web", "example.com"] {
            let answer = ask(&neighbour, front.gateway, name, RecordType::A);
            assert_eq!(code(&answer), ResponseCode::Refused);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn other_names_are_asked_upstream() {
    on_a_machine(|lab| {
        let asked = upstream(lab);
        let front = lab.network("front");
        let web = lab.container("web", &[&front]);
        let place = &web.namespace;
        let answer = ask(place, front.gateway, "Example.com", RecordType::A);
        assert_eq!(answer.metadata.id, 4711);
        assert_eq!(addresses(&answer), [Ipv4Addr::new(198, 51, 100, 7)]);
        let answer = ask_tcp(place, front.gateway, "example.com", RecordType::A);
        assert_eq!(addresses(&answer), [Ipv4Addr::new(198, 51, 100, 7)]);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // What upstream says is said, when nobody says better.
        let answer = ask(place, front.gateway, "refused.example", RecordType::A);
        assert_eq!(code(&answer), ResponseCode::Refused);
        // A name of a container that is not there stays here.
        let before = asked.load(Ordering::SeqCst);
        let answer = ask(place, front.gateway, "gone", RecordType::A);
        assert_eq!(code(&answer), ResponseCode::NXDomain);
        assert_eq!(asked.load(Ordering::SeqCst), before);
    });
}

#[test]
fn the_hosts_servers_are_read_again_and_a_container_may_have_its_own() {
    on_a_machine(|lab| {
        let asked = upstream(lab);
        let front = lab.network("front");
        let web = lab.container("web", &[&front]);
        let own = {
            let mut request = lab.request("own", &[&front]);
            request.dns = vec!["127.0.0.1".parse().unwrap()];
            lab.run(lab.net.attach(request)).unwrap()
        };
        let file = lab.places.path("resolv.conf");
        // Nobody answers there, so the server is told to be refused at once.
        std::fs::write(&file, "nameserver 127.0.0.99\n").unwrap();
        let answer = ask(&web.namespace, front.gateway, "example.com", RecordType::A);
        assert_eq!(code(&answer), ResponseCode::ServFail);
        let answer = ask(&own.namespace, front.gateway, "example.com", RecordType::A);
        assert_eq!(code(&answer), ResponseCode::NoError);
        std::fs::write(&file, "nameserver 127.0.0.99\nnameserver 127.0.0.1\n").unwrap();
        let start = Instant::now();
        loop {
            let answer = ask(&web.namespace, front.gateway, "example.com", RecordType::A);
            if code(&answer) == ResponseCode::NoError {
                break;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "the new servers are never asked"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn internal_networks_ask_nothing_upstream() {
    on_a_machine(|lab| {
        let asked = upstream(lab);
        let inner = lab.network_with("inner", |spec| spec.internal = true);
        let mut request = lab.request("vault", &[&inner]);
        request.dns = vec!["127.0.0.1".parse().unwrap()];
        let vault = lab.run(lab.net.attach(request)).unwrap();
        let peer = lab.container("peer", &[&inner]);
        for sandbox in [&vault, &peer] {
            let place = &sandbox.namespace;
            for kind in [RecordType::A, RecordType::TXT, RecordType::AAAA] {
                let answer = ask(place, inner.gateway, "secret.example.com", kind);
                assert_eq!(code(&answer), ResponseCode::Refused);
            }
            let answer = ask_tcp(place, inner.gateway, "secret.example.com", RecordType::A);
            assert_eq!(code(&answer), ResponseCode::Refused);
            assert_eq!(
                addresses(&ask(place, inner.gateway, "vault", RecordType::A)).len(),
                1
            );
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn idle_connections_stop_nobody() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let web = lab.container("web", &[&front]);
        let other = lab.container("other", &[&front]);
        let start = Instant::now();
        let idle: Vec<TcpStream> = inside_of(&web.namespace, || {
            (0..200)
                .map(|_| Ok(TcpStream::connect((front.gateway, 53))?))
                .collect()
        })
        .unwrap();
        for place in [&web.namespace, &other.namespace] {
            for _ in 0..20 {
                let answer = ask_tcp(place, front.gateway, "web", RecordType::A);
                assert_eq!(addresses(&answer).len(), 1);
                let answer = ask(place, front.gateway, "web", RecordType::A);
                assert_eq!(addresses(&answer).len(), 1);
            }
        }
        // All but a few were closed to make room, long before they had been idle for too long.
        let is_open = |stream: &TcpStream| {
            stream.set_nonblocking(true).unwrap();
            let read = (&mut &*stream).read(&mut [0]);
            read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        };
        if start.elapsed() < Duration::from_secs(4) {
            assert!(idle.iter().any(&is_open));
        }
        assert!(idle.iter().filter(|stream| is_open(stream)).count() <= 16);
        super::lab::until("idle connections are closed", || !idle.iter().any(&is_open));
    });
}

#[test]
fn many_containers_of_one_name_need_tcp_and_take_turns() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let mut expected = Vec::new();
        for number in 1..=40 {
            let mut request = lab.request(&format!("web-{number}"), &[&front]);
            request.endpoints[0].names = vec!["web".into()];
            let sandbox = lab.run(lab.net.attach(request)).unwrap();
            expected.push(sandbox.endpoints[0].address);
        }
        let place = lab.net.sandboxes()[0].namespace.clone();
        let short = ask(&place, front.gateway, "web", RecordType::A);
        assert!(short.metadata.truncation && !short.answers.is_empty());
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..40 {
            let mut all = addresses(&ask_tcp(&place, front.gateway, "web", RecordType::A));
            firsts.insert(all[0]);
            all.sort();
            assert_eq!(all, expected);
        }
        assert!(firsts.len() > 30);
    });
}

#[test]
fn services_of_the_cluster_have_names() {
    on_a_machine(|lab| {
        let asked = upstream(lab);
        let (front, inner) = (
            lab.network("front"),
            lab.network_with("inner", |spec| spec.internal = true),
        );
        let web = lab.container("web", &[&front]);
        let alone = lab.container("alone", &[&inner]);
        let names = ClusterNames {
            domain: "cluster.local".into(),
            services: vec![ServiceName {
                name: "shop".into(),
                namespace: "default".into(),
                addresses: vec![Ipv4Addr::new(10, 96, 0, 7).into()],
                ports: vec![PortName {
                    name: "http".into(),
                    protocol: Protocol::Tcp,
                    port: 80,
                }],
                hosts: vec![],
            }],
        };
        lab.run(lab.net.set_cluster_names(Some(names))).unwrap();
        let shop = "shop.default.svc.cluster.local.";
        let says = |name: &str, kind| {
            let message = ask(&web.namespace, front.gateway, name, kind);
            let all = message.answers.iter().map(|record| record.data.to_string());
            all.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(says(shop, RecordType::A), "10.96.0.7");
        let port = format!("_http._tcp.{shop}");
        assert_eq!(says(&port, RecordType::SRV), format!("0 100 80 {shop}"));
        assert_eq!(says("7.0.96.10.in-addr.arpa.", RecordType::PTR), shop);
        assert_eq!(says("dns-version.cluster.local.", RecordType::TXT), "1.1.0");
        // What a search list makes of a name of the outside.
        let searched = "example.com.default.svc.cluster.local.";
        let none = ask(&web.namespace, front.gateway, searched, RecordType::A);
        assert_eq!(code(&none), ResponseCode::NXDomain);
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        let refused = ask(&alone.namespace, inner.gateway, shop, RecordType::A);
        assert_eq!(code(&refused), ResponseCode::Refused);
        lab.run(lab.net.set_cluster_names(None)).unwrap();
        let outside = ask(&web.namespace, front.gateway, shop, RecordType::A);
        assert_eq!(addresses(&outside), [Ipv4Addr::new(198, 51, 100, 7)]);
    });
}
