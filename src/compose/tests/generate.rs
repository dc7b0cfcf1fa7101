//! The way back: containers that a project made become a file that makes the same ones.

use orc_host::Host;
use orc_host::container::ContainerFilter;
use orc_host::image::ImageConfig;

use super::support::{brought_up, machine, project};
use crate::generate::generate;
use crate::render::document;

const TEXT: &str = "
services:
  web:
    image: busybox
    command: [sleep, '1']
    environment: {PRICE: 5$$, EMPTY: ''}
    labels: {team: a}
    ports: ['127.0.0.1:8080-8090:80/udp']
    restart: unless-stopped
    volumes: [data:/data:ro, {type: tmpfs, target: /tmp, tmpfs: {size: 1m}}, /anonymous]
    networks: {back: {aliases: [store]}}
    healthcheck: {test: [CMD, 'true'], interval: 1s500ms, retries: 2}
    stop_grace_period: 3s
    cpus: 0.5
    mem_limit: 64m
    cap_add: [NET_ADMIN]
    ulimits: {nofile: {soft: 1, hard: 2}}
    extra_hosts: ['one=10.0.0.1']
    scale: 2
  alone: {image: busybox, command: [sleep, '1'], network_mode: none, read_only: true, tty: true}
networks: {back: }
volumes: {data: }
";

#[tokio::test]
async fn what_was_made_is_written_down() {
    let host = machine();
    brought_up(
        &host,
        &TEXT.replace(
            "'127.0.0.1:8080-8090:80/udp'",
            "'127.0.0.1:8080-8081:80/udp'",
        ),
    )
    .await;
    let containers = host
        .list_containers(&ContainerFilter::default())
        .await
        .unwrap();
    let image = ImageConfig::default();
    let containers: Vec<_> = containers
        .into_iter()
        .map(|one| (one, image.clone()))
        .collect();
    let generated = generate(Some("again"), &containers);
    let text = document(&generated.file).unwrap();
    // What comes out is a Compose file, and means the same.
    let again = project(&text);
    let before = project(TEXT);
    assert_eq!(again.name, "again");
    assert_eq!(again.networks["demo_back"].name, "demo_back");
    assert!(again.networks["demo_back"].external && again.volumes["demo_data"].external);
    let (web, old) = (&again.services["web"], &before.services["web"]);
    assert_eq!(web.replicas(), 2);
    assert_eq!(web.environment, old.environment, "{text}");
    assert_eq!(web.labels, old.labels);
    assert_eq!(web.command, old.command);
    assert_eq!(web.restart, old.restart);
    assert_eq!(web.healthcheck, old.healthcheck);
    assert_eq!(web.stop_grace_period, old.stop_grace_period);
    assert_eq!((web.cpus, web.mem_limit), (old.cpus, old.mem_limit));
    assert_eq!(web.cap_add, old.cap_add);
    assert_eq!(web.ulimits, old.ulimits);
    assert_eq!(web.extra_hosts, old.extra_hosts);
    assert_eq!(web.ports[0].host_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(web.ports[0].published.as_deref(), Some("8080-8081"));
    assert_eq!(web.ports[0].protocol.as_deref(), Some("udp"));
    let place = web.networks["demo_back"].as_ref().unwrap();
    assert_eq!(place.aliases, ["store"], "{text}");
    let kinds: Vec<&str> = web.volumes.iter().map(|one| one.kind.as_str()).collect();
    assert!(
        kinds.contains(&"tmpfs") && kinds.contains(&"volume"),
        "{text}"
    );
    let alone = &again.services["alone"];
    assert_eq!(alone.network_mode.as_deref(), Some("none"));
    assert!(alone.read_only && alone.tty);
}
