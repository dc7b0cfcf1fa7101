//! Promises about the disk: what things take, what nobody uses, whether it is sound.

use std::collections::BTreeMap;

use crate::contract::bench::Bench;
use crate::network::NetworkSpec;
use crate::storage::{CachePrune, CheckOptions, UsageOf};
use crate::unused::{Prunable, Prune, PruneFilter, Pruned};
use crate::volume::VolumeSpec;

pub(crate) async fn space_is_counted(bench: Bench) {
    let name = bench.create("c", &bench.spec(&["true"])).await;
    let id = bench.host.inspect_container(&name).await.expect("it").id;
    let volume = bench.name("v");
    let spec = VolumeSpec {
        name: volume.clone(),
        ..VolumeSpec::default()
    };
    bench.host.create_volume(&spec).await.expect("a volume");
    let usage = bench.host.disk_usage(&UsageOf::everything()).await;
    let usage = usage.expect("count");
    assert!(usage.containers.iter().any(|one| one.id == id));
    let counted = usage.volumes.iter().find(|one| one.name == volume);
    assert!(counted.expect("the volume").bytes.is_some());
    let image = bench.host.inspect_image(&bench.image).await.expect("it");
    let counted = usage.images.iter().find(|one| one.id == image.id);
    let counted = counted.expect("the image");
    assert!(counted.shared_bytes <= counted.bytes && counted.bytes <= usage.images_bytes);
    assert!(usage.images_unused_bytes <= usage.images_bytes);
    let only = UsageOf {
        containers: true,
        only: vec![id.clone()],
        ..UsageOf::default()
    };
    let usage = bench.host.disk_usage(&only).await.expect("count");
    let ids: Vec<_> = usage.containers.iter().map(|one| &one.id).collect();
    assert_eq!(ids, [&id]);
    assert!(usage.images.is_empty() && usage.volumes.is_empty());
    bench.remove(&name).await;
    bench
        .host
        .remove_volume(&volume, false)
        .await
        .expect("gone");
}

pub(crate) async fn what_nobody_uses_is_pruned(bench: Bench) {
    let label = |value: &str| BTreeMap::from([("prune".to_owned(), value.to_owned())]);
    let value = bench.name("goes");
    let prune = async |what| -> Pruned {
        let filter = PruneFilter {
            labels: vec![("prune".into(), Some(value.clone()))],
            ..PruneFilter::default()
        };
        let prune = Prune { what, filter };
        bench.host.prune(&prune).await.expect("prune")
    };
    let mut spec = bench.spec(&["true"]);
    spec.labels.extend(label(&value));
    let gone = bench.create("gone", &spec).await;
    let id = bench.host.inspect_container(&gone).await.expect("it").id;
    let kept = bench.create("kept", &bench.spec(&["true"])).await;
    assert_eq!(prune(Prunable::Containers).await.removed, [id]);
    bench.host.inspect_container(&kept).await.expect("kept");
    bench.remove(&kept).await;

    let network = NetworkSpec {
        name: bench.name("net"),
        labels: label(&value),
        ..NetworkSpec::default()
    };
    bench.host.create_network(&network).await.expect("made");
    assert_eq!(prune(Prunable::Networks).await.removed, [network.name]);
    let volume = VolumeSpec {
        name: bench.name("vol"),
        labels: label(&value),
        ..VolumeSpec::default()
    };
    bench.host.create_volume(&volume).await.expect("made");
    let none = prune(Prunable::Volumes { named: false }).await;
    assert_eq!(none.removed, [""; 0]);
    let pruned = prune(Prunable::Volumes { named: true }).await;
    assert_eq!(pruned.removed, [volume.name]);
    let none = prune(Prunable::Images { named: true }).await;
    assert_eq!((none.images.len(), none.bytes), (0, 0));
    let unknown = CachePrune {
        filters: vec![("id".into(), "no such key".into())],
        ..CachePrune::default()
    };
    let pruned = bench.host.prune_build_cache(&unknown).await;
    assert_eq!(pruned.expect("prune").removed, [""; 0]);
}

pub(crate) async fn what_is_kept_is_sound(bench: Bench) {
    let options = CheckOptions {
        quick: true,
        repair: false,
    };
    let report = bench.host.check_storage(options).await.expect("check");
    assert!(report.images > 0, "{report:?}");
    assert_eq!(report.findings, []);
}
