//! Images move to and from the real `docker-registry`, and spoiled ones are refused.

use std::path::Path;

use crate::support::lab::{Lab, run};
use crate::support::registry::Registry;

/// A lab with a registry that holds `example/busybox:1`, and nothing local.
fn lab_and_registry(test: &str) -> (Lab, Registry, String) {
    let lab = Lab::with_busybox(test);
    let registry = Registry::start(&lab);
    let image = registry.name("example/busybox:1");
    lab.orc(["tag", "example/busybox:1", &image]).ok();
    lab.orc(["push", &image]).ok();
    lab.orc(["rmi", &image, "example/busybox:1"]).ok();
    assert_eq!(lab.orc(["images", "-q"]).ok(), "");
    (lab, registry, image)
}

/// The digests of the layers of an image on the registry, as `skopeo` sees them.
fn layers(lab: &Lab, image: &str) -> Vec<String> {
    let raw = lab
        .host([
            "skopeo",
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{image}"),
        ])
        .ok();
    let manifest: serde_json::Value = serde_json::from_str(&raw).expect("a manifest");
    let layers = manifest["layers"].as_array().expect("layers");
    layers
        .iter()
        .map(|layer| layer["digest"].as_str().expect("a digest").to_owned())
        .collect()
}

#[test]
fn pushed_and_pulled_it_is_the_same_image() {
    let lab = Lab::with_busybox("push");
    let registry = Registry::start(&lab);
    let image = registry.name("example/busybox:1");
    let id = lab
        .orc(["inspect", "-f", "{{.Id}}", "example/busybox:1"])
        .ok();
    lab.orc(["tag", "example/busybox:1", &image]).ok();
    lab.orc(["push", &image]).ok();
    lab.orc(["rmi", &image, "example/busybox:1"]).ok();
    let output = lab
        .orc(["run", "--rm", &image, "echo", "pulled and run"])
        .ok();
    assert_eq!(output, "pulled and run\n");
    assert_eq!(lab.orc(["inspect", "-f", "{{.Id}}", &image]).ok(), id);
    let again = lab.orc(["pull", &image]);
    let last: Vec<&str> = again.stdout.lines().collect();
    assert!(last[0].contains("up to date"), "{again}");
    assert_eq!(last[1..], [image.as_str()]);
}

#[test]
fn up_pulls_what_is_missing() {
    let (lab, _registry, _) = lab_and_registry("uppull");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose-examples/hello");
    let before = lab.snapshot();
    lab.sh(&example, "REGISTRY=localhost:5001/ orc up -d").ok();
    let names = lab.orc(["ps", "--format", "{{.Names}} {{.Image}}"]).ok();
    assert_eq!(names, "hello-web-1 localhost:5001/example/busybox:1\n");
    lab.sh(&example, "REGISTRY=localhost:5001/ orc down --rmi all")
        .ok();
    before.is_back(&lab);
}

#[test]
fn a_pull_by_digest_is_that_digest() {
    let (lab, _registry, image) = lab_and_registry("digest");
    lab.orc(["pull", &image]).ok();
    let by_digest = lab
        .orc(["inspect", "-f", "{{index .RepoDigests 0}}", &image])
        .ok();
    let by_digest = by_digest.trim();
    assert!(by_digest.contains("@sha256:"), "{by_digest}");
    lab.orc(["rmi", &image]).ok();
    lab.orc(["pull", by_digest]).ok();
    lab.orc(["run", "--rm", by_digest, "true"]).ok();
    let (name, digest) = by_digest.split_at(by_digest.len() - 4);
    let wrong = format!("{name}{}", if digest == "0000" { "1111" } else { "0000" });
    let text = lab.orc(["pull", &wrong]).refused();
    assert!(text.contains("sha256:"), "{text}");
}

/// Spoils the layer of the image on the registry; the pull is refused, leaves nothing, and works
/// again once the layer is right.
fn spoiled_layer_is_refused(test: &str, spoil: impl Fn(&Path), says: &[&str]) {
    let (lab, registry, image) = lab_and_registry(test);
    let blob = registry.blob(&layers(&lab, &image)[0]);
    let whole = std::fs::read(&blob).expect("the blob");
    let before = lab.snapshot();
    spoil(&blob);
    let text = lab.orc(["pull", &image]).refused();
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("orc: "))
            .count(),
        1,
        "{text}"
    );
    assert!(says.iter().any(|word| text.contains(word)), "{text}");
    assert!(text.contains(&image), "{text}");
    before.is_back(&lab);
    std::fs::write(&blob, whole).expect("mend the blob");
    lab.orc(["pull", &image]).ok();
    lab.orc(["run", "--rm", &image, "true"]).ok();
}

#[test]
fn a_layer_with_the_wrong_digest_is_refused() {
    let flip = |blob: &Path| {
        let mut bytes = std::fs::read(blob).expect("the blob");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(blob, bytes).expect("spoil it");
    };
    spoiled_layer_is_refused("wrongdigest", flip, &["digest"]);
}

#[test]
fn a_truncated_layer_is_refused() {
    let truncate = |blob: &Path| {
        let bytes = std::fs::read(blob).expect("the blob");
        std::fs::write(blob, &bytes[..bytes.len() / 2]).expect("spoil it");
    };
    spoiled_layer_is_refused("truncated", truncate, &["size", "bytes", "digest"]);
}

/// An image whose one layer was made by a shell script that writes `layer.tar`, on the registry.
fn image_of_layer(lab: &Lab, registry: &Registry, script: &str) -> String {
    let layout = lab.path().join("layout");
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("a directory");
    lab.sh(&layout, script).ok();
    let add = |name: &str| -> (String, u64) {
        let file = layout.join(name);
        let sum = run(std::process::Command::new("sha256sum").arg(&file)).ok();
        let hex = sum.split(' ').next().expect("a digest").to_owned();
        let size = std::fs::metadata(&file).expect("a file").len();
        std::fs::rename(&file, blobs.join(&hex)).expect("move it");
        (format!("sha256:{hex}"), size)
    };
    let (layer, layer_size) = add("layer.tar");
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
    );
    std::fs::write(layout.join("config.json"), config).expect("a file");
    let (config, config_size) = add("config.json");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_size}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":{layer_size}}}]}}"#
    );
    std::fs::write(layout.join("manifest.json"), manifest).expect("a file");
    let (manifest, manifest_size) = add("manifest.json");
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{manifest}","size":{manifest_size},"annotations":{{"org.opencontainers.image.ref.name":"1"}}}}]}}"#
    );
    std::fs::write(layout.join("index.json"), index).expect("a file");
    std::fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .expect("a file");
    let image = registry.name("evil:1");
    let source = format!("oci:{}:1", layout.display());
    let policy = lab.path().join("policy.json");
    std::fs::write(
        &policy,
        r#"{"default":[{"type":"insecureAcceptAnything"}]}"#,
    )
    .expect("a file");
    lab.host([
        "skopeo",
        "copy",
        "--policy",
        &policy.display().to_string(),
        "--dest-tls-verify=false",
        &source,
        &format!("docker://{image}"),
    ])
    .ok();
    image
}

fn hostile_layer_is_refused(test: &str, script: &str, names: &str) {
    let (lab, registry, good) = lab_and_registry(test);
    let image = image_of_layer(&lab, &registry, script);
    let before = lab.snapshot();
    let text = lab.orc(["pull", &image]).refused();
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("orc: "))
            .count(),
        1,
        "{text}"
    );
    assert!(text.contains(names) && text.contains(&image), "{text}");
    before.is_back(&lab);
    assert!(!lab.path().join("escaped").exists());
    lab.orc(["pull", &good]).ok();
}

#[test]
fn a_layer_that_climbs_out_is_refused() {
    let script =
        "echo bad > escaped && tar -P --transform 's#^#../../../../#' -cf layer.tar escaped";
    hostile_layer_is_refused("dotdot", script, "../../../../escaped");
}

#[test]
fn a_layer_that_writes_through_a_link_is_refused() {
    let script = "ln -s ../../../../.. out && tar -cf layer.tar out && rm out \
                  && mkdir -p out/tmp && echo bad > out/tmp/escaped && tar -rf layer.tar out/tmp/escaped";
    hostile_layer_is_refused("linkout", script, "out/tmp/escaped");
}

#[test]
fn skopeo_reads_what_orc_saved() {
    let lab = Lab::with_busybox("save");
    let archive = lab.path().join("saved.tar").display().to_string();
    lab.orc(["save", "-o", &archive, "example/busybox:1"]).ok();
    let seen = lab
        .host([
            "skopeo",
            "inspect",
            "--config",
            &format!("docker-archive:{archive}"),
        ])
        .ok();
    assert!(seen.contains("\"Cmd\""), "{seen}");
    lab.orc(["rmi", "example/busybox:1"]).ok();
    let loaded = lab.orc(["load", "-i", &archive]).ok();
    assert!(loaded.contains("example/busybox:1"), "{loaded}");
    lab.orc(["run", "--rm", "example/busybox:1", "true"]).ok();
}
