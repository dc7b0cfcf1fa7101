//! Promises about what containers stand on: networks, volumes, images, the machine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use orc_base::Kind;

use crate::container::{ContainerSpec, Mount, RemoveOptions};
use crate::contract::bench::{Bench, refused};
use crate::network::{EndpointSpec, NetworkSpec};
use crate::volume::VolumeSpec;

pub(crate) async fn networks_come_and_go(bench: Bench) {
    let spec = NetworkSpec {
        name: bench.name("net"),
        labels: BTreeMap::from([("a".into(), "b".into())]),
        internal: true,
        ..NetworkSpec::default()
    };
    let id = bench.host.create_network(&spec).await.expect("create");
    refused(bench.host.create_network(&spec).await, Kind::Conflict);
    let network = bench
        .host
        .inspect_network(&spec.name)
        .await
        .expect("inspect");
    assert_eq!(
        (&network.id, &network.spec.labels, network.spec.internal),
        (&id, &spec.labels, true)
    );
    assert_eq!(network.spec.driver, "bridge");
    assert!(
        network.spec.ipam[0].subnet.is_some(),
        "an address plan was chosen"
    );
    let listed = bench.host.list_networks().await.expect("list");
    assert!(listed.iter().any(|network| network.id == id));
    bench.host.remove_network(&spec.name).await.expect("remove");
    refused(bench.host.inspect_network(&id).await, Kind::NotFound);
}

pub(crate) async fn a_container_joins_networks(bench: Bench) {
    let mut networks = Vec::new();
    for what in ["one", "two"] {
        let spec = NetworkSpec {
            name: bench.name(what),
            ..NetworkSpec::default()
        };
        bench
            .host
            .create_network(&spec)
            .await
            .expect("create network");
        networks.push(spec.name);
    }
    let endpoint = |network: &String| EndpointSpec {
        network: network.clone(),
        aliases: vec!["web".into()],
        ..EndpointSpec::default()
    };
    let spec = ContainerSpec {
        networks: vec![endpoint(&networks[0])],
        ..bench.spec(&["sleep", "1000"])
    };
    let name = bench.start("c", &spec).await;
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    let place = &container.endpoints[0];
    assert_eq!(place.network_name, networks[0]);
    let address: Ipv4Addr = place.address.expect("an address while it runs");
    for dns_name in ["web", &name, &container.id[..12]] {
        assert!(
            place.dns_names.iter().any(|found| found == dns_name),
            "{:?}",
            place.dns_names
        );
    }
    let network = bench
        .host
        .inspect_network(&networks[0])
        .await
        .expect("inspect network");
    assert_eq!(network.endpoints[0].address, address);
    let text = refused(
        bench.host.remove_network(&networks[0]).await,
        Kind::Conflict,
    );
    assert!(text.contains(&name), "{text}");

    bench
        .host
        .connect_network(&name, &endpoint(&networks[1]))
        .await
        .expect("connect");
    refused(
        bench
            .host
            .connect_network(&name, &endpoint(&networks[1]))
            .await,
        Kind::Conflict,
    );
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    assert!(
        container
            .endpoints
            .iter()
            .all(|place| place.address.is_some())
    );
    assert_eq!(container.endpoints.len(), 2);
    bench
        .host
        .disconnect_network(&networks[1], &name, false)
        .await
        .expect("disconnect");
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    assert_eq!(container.endpoints.len(), 1);
    bench.remove(&name).await;
    for network in networks {
        bench
            .host
            .remove_network(&network)
            .await
            .expect("remove network");
    }
}

pub(crate) async fn volumes_come_and_go(bench: Bench) {
    let spec = VolumeSpec {
        name: bench.name("vol"),
        labels: BTreeMap::from([("a".into(), "b".into())]),
        ..VolumeSpec::default()
    };
    let made = bench.host.create_volume(&spec).await.expect("create");
    assert_eq!(
        (made.driver.as_str(), &made.labels, made.anonymous),
        ("local", &spec.labels, false)
    );
    let again = bench.host.create_volume(&spec).await.expect("create again");
    assert_eq!(again, made);
    let container = ContainerSpec {
        mounts: vec![Mount::Volume {
            name: spec.name.clone(),
            target: "/data".into(),
            read_only: false,
            no_copy: false,
            subpath: None,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }],
        ..bench.spec(&["true"])
    };
    let name = bench.create("c", &container).await;
    let mounts = bench
        .host
        .inspect_container(&name)
        .await
        .expect("inspect")
        .mounts;
    assert_eq!(
        (mounts[0].name.as_ref(), &mounts[0].source),
        (Some(&spec.name), &made.mountpoint)
    );
    let text = refused(
        bench.host.remove_volume(&spec.name, false).await,
        Kind::Conflict,
    );
    assert!(text.contains(&name), "{text}");
    bench.remove(&name).await;
    assert!(
        bench
            .host
            .list_volumes()
            .await
            .expect("list")
            .contains(&made)
    );
    bench
        .host
        .remove_volume(&spec.name, false)
        .await
        .expect("remove");
    refused(bench.host.inspect_volume(&spec.name).await, Kind::NotFound);
}

pub(crate) async fn anonymous_volumes_go_when_asked(bench: Bench) {
    let spec = ContainerSpec {
        anonymous_volumes: ["/data".to_string()].into(),
        ..bench.spec(&["true"])
    };
    for keep in [false, true] {
        let name = bench.create("c", &spec).await;
        let mounts = bench
            .host
            .inspect_container(&name)
            .await
            .expect("inspect")
            .mounts;
        let volume = mounts[0].name.clone().expect("a volume");
        let options = RemoveOptions {
            force: false,
            volumes: !keep,
        };
        bench
            .host
            .remove_container(&name, options)
            .await
            .expect("remove");
        if keep {
            assert!(
                bench
                    .host
                    .inspect_volume(&volume)
                    .await
                    .expect("kept")
                    .anonymous
            );
            bench
                .host
                .remove_volume(&volume, false)
                .await
                .expect("remove volume");
        }
        refused(bench.host.inspect_volume(&volume).await, Kind::NotFound);
    }
}

pub(crate) async fn images_have_many_names(bench: Bench) {
    let image = bench
        .host
        .inspect_image(&bench.image)
        .await
        .expect("the image of the suite");
    assert!(image.id.starts_with("sha256:"), "{}", image.id);
    let tag = format!("{}:v1", bench.name("image"));
    bench.host.tag_image(&bench.image, &tag).await.expect("tag");
    let same = bench
        .host
        .inspect_image(&tag)
        .await
        .expect("by its new name");
    assert_eq!(same.id, image.id);
    assert!(same.tags.contains(&tag), "{:?}", same.tags);
    let by_id = bench
        .host
        .inspect_image(&image.id[7..19])
        .await
        .expect("by its short id");
    assert_eq!(by_id.id, image.id);
    bench.host.remove_image(&tag, false).await.expect("untag");
    refused(bench.host.inspect_image(&tag).await, Kind::NotFound);
    bench
        .host
        .inspect_image(&bench.image)
        .await
        .expect("the image has its first name still");
}

pub(crate) async fn the_machine_describes_itself(bench: Bench) {
    let info = bench.host.info().await.expect("info");
    assert!(info.cpus > 0 && info.memory_bytes > 0, "{info:?}");
    assert!(matches!(info.cgroup_version, 1 | 2));
    assert!(!info.version.is_empty() && !info.kernel.is_empty());
}
