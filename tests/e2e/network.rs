//! Names and ports: who reaches whom.

use std::process::Command;

use crate::support::lab::{Lab, run, until};

const HTTPD: &str = "httpd -f -p 80 -h /var/www";
const PAGE: &str = "<h1>Hello from orc</h1>\n";

/// Another host on the same cable: its own namespace, joined to the lab's by a veth pair.
struct Neighbour(String);

impl Neighbour {
    /// The lab gets 10.9.0.1, the neighbour 10.9.0.2.
    fn join(lab: &Lab) -> Self {
        let name = format!("{}-n", lab.namespace());
        let ip = |line: &str| run(Command::new("ip").args(line.split_whitespace())).ok();
        ip(&format!("netns add {name}"));
        let neighbour = Self(name.clone());
        ip(&format!(
            "-n {} link add lan type veth peer name lan netns {name}",
            lab.namespace()
        ));
        for (namespace, address) in [(lab.namespace(), "10.9.0.1/24"), (&name, "10.9.0.2/24")] {
            ip(&format!("-n {namespace} addr add {address} dev lan"));
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
