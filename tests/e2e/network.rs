//! Names and ports: who reaches whom.

use std::process::Command;

use crate::support::lab::{Lab, run, until};

const HTTPD: &str = "httpd -f -p 80 -h /var/www";
const PAGE: &str = "<h1>Hello from orc</h1>\n";

/// Another host on the same cable: its own namespace, joined to the lab's by a veth pair.
struct Neighbour(String);

impl Neighbour {
    /// The lab gets 10.9.0.1 and 2001:db8::1, the neighbour 10.9.0.2 and 2001:db8::2.
    fn join(lab: &Lab) -> Self {
        let name = format!("{}-n", lab.namespace());
        let ip = |line: &str| run(Command::new("ip").args(line.split_whitespace())).ok();
        ip(&format!("netns add {name}"));
        let neighbour = Self(name.clone());
        ip(&format!(
            "-n {} link add lan type veth peer name lan netns {name}",
            lab.namespace()
        ));
        for (namespace, last) in [(lab.namespace(), 1), (&name, 2)] {
            ip(&format!("-n {namespace} addr add 10.9.0.{last}/24 dev lan"));
            ip(&format!(
                "-n {namespace} addr add 2001:db8::{last}/64 dev lan nodad"
            ));
            ip(&format!("-n {namespace} link set lan up"));
        }
        neighbour
    }

    fn ip(&self, line: &str) {
        run(Command::new("ip")
            .args(["-n", &self.0])
            .args(line.split_whitespace()))
        .ok();
    }

    fn get(&self, url: &str) -> Option<String> {
        let namespace = format!("--net=/run/netns/{}", self.0);
        let ran =
            run(Command::new("nsenter").args([&namespace, "curl", "-sS", "--max-time", "2", url]));
        (ran.code == 0).then_some(ran.stdout)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.0])
            .status();
    }
}

fn answers(lab: &Lab, url: &str) {
    until("the server answers", || {
        (lab.http(url).code == 0).then_some(())
    });
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    let lab = Lab::with_busybox("ports");
    let neighbour = Neighbour::join(&lab);
    lab.orc_line(&format!(
        "run -d --name web --init -p 8080:80 example/busybox:1 {HTTPD}"
    ))
    .ok();
    answers(&lab, "http://127.0.0.1:8080/");
    assert_eq!(lab.http("http://localhost:8080/").ok(), PAGE);
    assert_eq!(
        lab.http("http://10.9.0.1:8080/").ok(),
        PAGE,
        "by another address of the host"
    );
    assert_eq!(
        neighbour.get("http://10.9.0.1:8080/").as_deref(),
        Some(PAGE),
        "from another host"
    );
    let address = lab
        .orc([
            "inspect",
            "-f",
            "{{.NetworkSettings.Networks.bridge.Gateway}}",
            "web",
        ])
        .ok();
    let url = format!("http://{}:8080/", address.trim());
    lab.orc_line("network create other").ok();
    for network in ["bridge", "other"] {
        let page = lab
            .orc([
                "run",
                "--rm",
                "--network",
                network,
                "example/busybox:1",
                "wget",
                "-qO-",
                &url,
            ])
            .ok();
        assert_eq!(page, PAGE, "from a container on {network}");
    }
    assert_eq!(
        lab.orc(["exec", "web", "wget", "-qO-", &url]).ok(),
        PAGE,
        "from itself"
    );
    assert_eq!(
        lab.orc_line("port web 80").ok().lines().next(),
        Some("0.0.0.0:8080")
    );
    lab.orc_line("rm -f web").ok();
    assert_eq!(
        neighbour.get("http://10.9.0.1:8080/"),
        None,
        "it is withdrawn"
    );
    lab.orc_line("network rm other").ok();
}

#[test]
fn a_loopback_port_stays_on_the_host() {
    let lab = Lab::with_busybox("lo");
    let neighbour = Neighbour::join(&lab);
    lab.orc_line(&format!(
        "run -d --name web --init -p 127.0.0.1:8080:80 example/busybox:1 {HTTPD}"
    ))
    .ok();
    answers(&lab, "http://127.0.0.1:8080/");
    assert_eq!(neighbour.get("http://10.9.0.1:8080/"), None);
    // A neighbour on the same cable that routes loopback and container addresses here (N6).
    neighbour.ip("route add 172.16.0.0/12 via 10.9.0.1");
    let address = lab
        .orc([
            "inspect",
            "-f",
            "{{.NetworkSettings.Networks.bridge.IPAddress}}",
            "web",
        ])
        .ok();
    assert_eq!(
        neighbour.get(&format!("http://{}/", address.trim())),
        None,
        "an unpublished port"
    );
    lab.orc_line("rm -f web").ok();
}

#[test]
fn the_client_address_is_kept() {
    let lab = Lab::with_busybox("client");
    let neighbour = Neighbour::join(&lab);
    let script = "mkdir -p /www/cgi-bin && cd /www/cgi-bin \
        && printf '#!/bin/sh\\necho; echo $REMOTE_ADDR\\n' > who && chmod +x who && exec httpd -f -p 80 -h /www";
    let run = "run -d --name web --init -p 8080:80 example/busybox:1 sh -c";
    lab.orc(run.split(' ').chain([script])).ok();
    let seen = until("the server answers", || {
        neighbour.get("http://10.9.0.1:8080/cgi-bin/who")
    });
    assert!(seen.contains("10.9.0.2"), "{seen}");
    lab.orc_line("rm -f web").ok();
}

#[test]
fn udp_ports_are_published() {
    let lab = Lab::new("udp");
    lab.import("python", "example/python:bookworm");
    let echo = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 9999))
while True:
    s.sendto(*s.recvfrom(100))";
    let run = "run -d --name echo -p 9999:9999/udp example/python:bookworm python3 -c";
    lab.orc(run.split(' ').chain([echo])).ok();
    let ask = "exec 3<>/dev/udp/127.0.0.1/9999; echo ping >&3; timeout 1 head -n 1 <&3";
    let answer = until("an echo", || {
        let ran = lab.host(["bash", "-c", ask]);
        (!ran.stdout.is_empty()).then_some(ran.stdout)
    });
    assert_eq!(answer, "ping\n");
    lab.orc_line("rm -f echo").ok();
}

#[test]
fn a_port_in_use_names_its_owner() {
    let lab = Lab::with_busybox("conflict");
    lab.orc_line("run -d --name first -p 8080:80 example/busybox:1 sleep 100000")
        .ok();
    let before = lab.snapshot();
    let ran = lab.orc_line("run -d --name second -p 8080:80 example/busybox:1 sleep 100000");
    assert_eq!(ran.code, 125, "{ran}");
    assert!(
        ran.stderr.contains("8080") && ran.stderr.contains("first"),
        "{ran}"
    );
    lab.orc_line("rm -f second");
    before.is_back(&lab);

    let mut squatter = lab.spawn(["busybox", "nc", "-l", "-p", "7070"]);
    until("the squatter listens", || {
        lab.host(["ss", "-Hlnt"])
            .ok()
            .contains(":7070")
            .then_some(())
    });
    let ran = lab.orc_line("run -d --name third -p 7070:80 example/busybox:1 sleep 100000");
    let pid = squatter.id().to_string();
    assert!(
        ran.code != 0 && ran.stderr.contains("7070") && ran.stderr.contains(&pid),
        "{ran}"
    );
    let _ = squatter.kill();
    let _ = squatter.wait();
    lab.orc_line("start third").ok();
    lab.orc_line("rm -f first third").ok();
}

#[test]
fn names_are_scoped_to_shared_networks() {
    let lab = Lab::with_busybox("dns");
    let file = "
services:
  web:
    image: example/busybox:1
    command: sleep 100000
    init: true
    hostname: webhost
    networks:
      front:
        aliases: [site]
      back:
  db:
    image: example/busybox:1
    command: sleep 100000
    init: true
    networks: [back]
  lone:
    image: example/busybox:1
    command: sleep 100000
    init: true
    networks: [front]
networks:
  front:
  back:
    internal: true
";
    let project = lab.project("dns", file);
    let before = lab.snapshot();
    lab.sh(&project, "orc up -d").ok();
    let resolves = |from: &str, name: &str| {
        lab.sh(
            &project,
            &format!("orc exec {from} nslookup -type=a {name}"),
        )
        .code
            == 0
    };
    for name in ["web", "site", "dns-web-1", "WEB"] {
        assert!(resolves("lone", name), "lone resolves {name}");
    }
    assert!(resolves("db", "web") && resolves("web", "db") && resolves("web", "lone"));
    assert!(!resolves("db", "site"), "an alias is of one network");
    assert!(
        !resolves("db", "lone") && !resolves("lone", "db"),
        "they share no network"
    );
    let ping = lab.sh(&project, "orc exec db ping -c 1 -W 2 web").code;
    assert_eq!(ping, 0, "and it is there");
    let id = lab.orc(["inspect", "-f", "{{.Id}}", "dns-web-1"]).ok();
    assert!(resolves("lone", &id[..12]));
    let hosts = lab
        .sh(
            &project,
            "orc exec web cat /etc/hosts /etc/hostname /etc/resolv.conf",
        )
        .ok();
    assert!(
        hosts.contains("webhost") && hosts.contains("nameserver"),
        "{hosts}"
    );
    lab.sh(&project, "orc down").ok();
    before.is_back(&lab);
}

#[test]
fn networks_are_apart() {
    let lab = Lab::with_busybox("apart");
    lab.orc_line("network create a").ok();
    lab.orc_line("network create b").ok();
    lab.orc_line(&format!(
        "run -d --name web --init --network a example/busybox:1 {HTTPD}"
    ))
    .ok();
    let address = lab
        .orc([
            "inspect",
            "-f",
            "{{.NetworkSettings.Networks.a.IPAddress}}",
            "web",
        ])
        .ok();
    let url = format!("http://{}/", address.trim());
    answers(&lab, &url);
    let get = |network: &str| {
        lab.orc([
            "run",
            "--rm",
            "--init",
            "--network",
            network,
            "example/busybox:1",
            "timeout",
            "2",
            "wget",
            "-qO-",
            &url,
        ])
        .code
    };
    assert_eq!(get("a"), 0);
    assert_ne!(get("b"), 0);
    assert_ne!(get("none"), 0);
    lab.orc_line("network connect b web").ok();
    let both = lab.orc_line("exec web ls /sys/class/net").ok();
    assert_eq!(
        both.split_whitespace().collect::<Vec<_>>(),
        ["eth0", "eth1", "lo"]
    );
    lab.orc_line("network disconnect b web").ok();
    lab.orc_line("rm -f web").ok();
    lab.orc_line("network rm a b").ok();
}

#[test]
fn host_and_shared_networks() {
    let lab = Lab::with_busybox("modes");
    let own = lab
        .sh(lab.path(), "busybox readlink /proc/self/ns/net")
        .ok();
    assert_eq!(
        lab.orc_line("run --rm --network host example/busybox:1 readlink /proc/self/ns/net")
            .ok(),
        own
    );
    lab.orc_line(&format!(
        "run -d --name web --init example/busybox:1 {HTTPD}"
    ))
    .ok();
    let page = until("the page by loopback", || {
        let ran = lab.orc_line(
            "run --rm --network container:web example/busybox:1 wget -qO- http://127.0.0.1/",
        );
        (ran.code == 0).then_some(ran.stdout)
    });
    assert_eq!(page, PAGE);
    assert_eq!(
        lab.orc_line("run --rm --network none example/busybox:1 ls /sys/class/net")
            .ok(),
        "lo\n"
    );
    lab.orc_line("rm -f web").ok();
}

#[test]
fn flushed_rules_come_back() {
    let lab = Lab::with_busybox("flush");
    lab.orc_line(&format!(
        "run -d --name web --init -p 8080:80 example/busybox:1 {HTTPD}"
    ))
    .ok();
    answers(&lab, "http://127.0.0.1:8080/");
    lab.host(["nft", "flush", "ruleset"]).ok();
    answers(&lab, "http://127.0.0.1:8080/");
    lab.orc_line("rm -f web").ok();
}

#[test]
fn networks_have_ipv6() {
    let lab = Lab::with_busybox("ipv6");
    let neighbour = Neighbour::join(&lab);
    let file = "
services:
  web:
    image: example/busybox:1
    command: httpd -f -p 80 -h /var/www
    init: true
    ports: ['8080:80', '[::1]:8081:80']
    networks:
      front: {ipv6_address: 'fd00:77::99'}
  peer:
    image: example/busybox:1
    command: sleep 100000
    init: true
    networks: [front]
  lone:
    image: example/busybox:1
    command: sleep 100000
    init: true
    networks: [back]
networks:
  front:
    enable_ipv6: true
    ipam: {config: [{subnet: 'fd00:77::/64', aux_addresses: {router: 'fd00:77::2'}}]}
  back:
    enable_ipv6: true
";
    let project = lab.project("six", file);
    // The first time, the host begins to forward IPv6 and has routes for it from then on.
    lab.sh(&project, "orc up -d && orc down").ok();
    until("the host's own addresses are settled", || {
        let tentative = lab.host(["ip", "-6", "addr", "show", "tentative"]);
        tentative.ok().is_empty().then_some(())
    });
    let before = lab.snapshot();
    lab.sh(&project, "orc up -d").ok();
    answers(&lab, "http://127.0.0.1:8080/");
    let sh = |line: &str| lab.sh(&project, line);
    let names = sh("orc exec peer nslookup -type=aaaa web").ok();
    assert!(names.contains("fd00:77::99"), "{names}");
    sh("orc exec peer ping -6 -c 1 -W 2 web").ok();
    let url = "http://[fd00:77::99]/";
    let page = sh(&format!("orc exec peer wget -qO- {url}")).ok();
    assert_eq!(page, PAGE);
    let far = sh(&format!("orc exec lone timeout 2 wget -qO- {url}"));
    assert_ne!(far.code, 0, "another network is apart: {far}");
    // The one that is reserved is left out.
    let addresses = sh("orc exec peer ip -6 addr show eth0").ok();
    assert!(addresses.contains("fd00:77::3/64"), "{addresses}");
    let hosts = sh("orc exec web cat /etc/hosts").ok();
    assert!(hosts.contains("fd00:77::99\t"), "{hosts}");

    for url in [
        "http://[::1]:8080/",
        "http://[::1]:8081/",
        "http://[2001:db8::1]:8080/",
        "http://localhost:8080/",
    ] {
        assert_eq!(lab.http(url).ok(), PAGE, "{url}");
    }
    let from_outside = neighbour.get("http://[2001:db8::1]:8080/");
    assert_eq!(from_outside.as_deref(), Some(PAGE));
    neighbour.ip("-6 route add fd00:77::/64 via 2001:db8::1");
    assert_eq!(neighbour.get(url), None, "only what is published");
    assert_eq!(neighbour.get("http://[2001:db8::1]:8081/"), None);
    let ports = sh("orc port six-web-1 80").ok();
    assert!(
        ports.contains("0.0.0.0:8080\n[::]:8080\n[::1]:8081\n"),
        "{ports}"
    );
    let place = "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}/{{.GlobalIPv6PrefixLen}} {{.IPv6Gateway}}{{end}}";
    let place = lab.orc(["inspect", "-f", place, "six-web-1"]).ok();
    assert_eq!(place, "fd00:77::99/64 fd00:77::1\n");
    // The same again needs nothing.
    sh("orc up -d --dry-run").ok();
    let plan = sh("orc plan");
    assert_eq!(plan.code, 0, "{plan}");
    sh("orc down").ok();
    before.is_back(&lab);
}

#[test]
fn localhost_is_ipv6_too() {
    let lab = Lab::with_busybox("local6");
    let neighbour = Neighbour::join(&lab);
    lab.orc_line(&format!(
        "run -d --name web --init -p 8080:80 example/busybox:1 {HTTPD}"
    ))
    .ok();
    answers(&lab, "http://127.0.0.1:8080/");
    assert_eq!(lab.http("http://[::1]:8080/").ok(), PAGE);
    assert_eq!(neighbour.get("http://[2001:db8::1]:8080/"), None);
    // With the next daemon as well.
    let daemon = lab.daemon_pid();
    lab.host(["kill", "-9", &daemon.to_string()]).ok();
    lab.orc_line("ps").ok();
    answers(&lab, "http://[::1]:8080/");
    lab.orc_line("restart -t 0 web").ok();
    answers(&lab, "http://[::1]:8080/");
    lab.orc_line("rm -f web").ok();
    assert_ne!(lab.http("http://[::1]:8080/").code, 0);
}

#[test]
fn a_new_name_counts_at_once() {
    let lab = Lab::with_busybox("rename");
    for name in ["web", "peer"] {
        lab.orc_line(&format!(
            "run -d --name {name} --init example/busybox:1 sleep 100000"
        ))
        .ok();
    }
    let resolves = |name: &str| {
        lab.orc_line(&format!("exec peer nslookup -type=a {name}"))
            .code
            == 0
    };
    assert!(resolves("web"));
    lab.orc_line("rename web site").ok();
    assert!(resolves("site") && !resolves("web"));
    // The next daemon knows it by that name too.
    let daemon = lab.daemon_pid();
    lab.host(["kill", "-9", &daemon.to_string()]).ok();
    lab.orc_line("ps").ok();
    assert!(resolves("site") && !resolves("web"));
    lab.orc_line("rm -f site peer").ok();
}

#[test]
fn links_are_for_who_links() {
    let lab = Lab::with_busybox("links");
    lab.orc_line("network create shared").ok();
    lab.orc_line("run -d --name other --init --network shared example/busybox:1 sleep 100000")
        .ok();
    let file = "
services:
  app:
    image: example/busybox:1
    command: sleep 100000
    init: true
    links: ['db:base']
    external_links: ['other:far']
    networks: [default, shared]
  db:
    image: example/busybox:1
    command: sleep 100000
    init: true
networks:
  shared: {external: true}
";
    let project = lab.project("links", file);
    lab.sh(&project, "orc up -d").ok();
    let resolves = |from: &str, name: &str| {
        let line = format!("orc exec {from} nslookup -type=a {name}");
        lab.sh(&project, &line).code == 0
    };
    assert!(resolves("app", "base") && resolves("app", "far") && resolves("app", "db"));
    assert!(!resolves("db", "base"), "what app calls it is app's");
    // Whoever takes its place is meant.
    lab.sh(&project, "orc up -d --force-recreate db").ok();
    assert!(resolves("app", "base"));
    lab.sh(&project, "orc down").ok();
    // Docker's command line says links of the network that nobody names in a place of their own.
    lab.docker(
        "run -d --name new --init --link other:far --network shared example/busybox:1 sleep 1000",
    )
    .ok();
    lab.docker("run -d --name left --init example/busybox:1 sleep 1000")
        .ok();
    lab.docker("run -d --name right --init --link left:west example/busybox:1 sleep 1000")
        .ok();
    assert!(resolves("new", "far") && resolves("right", "west"));
    assert!(!resolves("left", "west"));
    lab.orc_line("rm -f other new left right").ok();
    lab.orc_line("network rm shared").ok();
}

#[test]
fn a_deleted_bridge_comes_back() {
    let lab = Lab::with_busybox("bridge");
    lab.orc_line("network create -o com.docker.network.bridge.name=demo0 net")
        .ok();
    lab.orc_line(&format!(
        "run -d --name web --init --network net -p 8080:80 example/busybox:1 {HTTPD}"
    ))
    .ok();
    answers(&lab, "http://127.0.0.1:8080/");
    lab.host(["ip", "link", "delete", "demo0"]).ok();
    answers(&lab, "http://127.0.0.1:8080/");
    lab.orc_line("rm -f web").ok();
    lab.orc_line("network rm net").ok();
    // The kernel takes it away a moment later.
    until("the bridge is gone", || {
        let shown = lab.host(["ip", "link", "show", "demo0"]);
        (shown.code != 0).then_some(())
    });
}
