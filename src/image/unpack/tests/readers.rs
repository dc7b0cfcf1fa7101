//! Everything in this crate that reads an archive, one row each.
//!
//! A row gets the streams of a case and says which layers came of them, or why not. A new reader is a
//! new row; the corpus (`corpus.rs`) goes through all of them.

use std::io::Read;
use std::path::PathBuf;

use serde_json::json;

use orc_base::fs::Durability;
use orc_base::root::Root;
use orc_base::{Error, Id, Result};
use orc_hostile::model::Style;
use orc_hostile::registry::Registry;
use orc_hostile::trap::Trap;

use crate::archive::files::{self, Files};
use crate::archive::import::ImportOptions;
use crate::build::archive;
use crate::build::stop::Stop;
use crate::digest::Digest;
use crate::image::Image;
use crate::images::Images;
use crate::layers::Layers;
use crate::manifest::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::progress::Silent;
use crate::reference::Reference;
use crate::registry::config::RegistryConfig;
use crate::removal;
use crate::testing::tape;
use crate::transfer::pull::PullOptions;
use crate::unpack::compression::Compression;
use crate::unpack::stream::Watch;

/// One way in for archives.
pub(super) struct Reader {
    pub(super) name: &'static str,
    /// How it takes whiteouts.
    pub(super) style: Style,
    /// Whether it takes several layers.
    pub(super) takes_layers: bool,
    /// Whether somebody told it a digest of what is to come.
    pub(super) knows_digest: bool,
    /// Whether it takes layers at the same time: which of two bad ones it names is chance.
    pub(super) all_at_once: bool,
    /// Whether it must refuse every case: an archive of files is none of images.
    pub(super) refuses_all: bool,
    pub(super) feed: Feed,
}

/// The directories that came of the streams, topmost first, or why none did.
type Feed = fn(&Machine, &[Vec<u8>]) -> Result<Vec<PathBuf>>;

/// All of them.
pub(super) const READERS: [Reader; 8] = [
    Reader {
        name: "layer",
        style: Style::Layer,
        takes_layers: true,
        knows_digest: true,
        all_at_once: false,
        refuses_all: false,
        feed: layers,
    },
    Reader {
        name: "pull",
        style: Style::Layer,
        takes_layers: true,
        knows_digest: true,
        all_at_once: true,
        refuses_all: false,
        feed: pull,
    },
    Reader {
        name: "load of Docker's format",
        style: Style::Layer,
        takes_layers: true,
        knows_digest: true,
        all_at_once: false,
        refuses_all: false,
        feed: load_docker,
    },
    Reader {
        name: "load of an OCI layout",
        style: Style::Layer,
        takes_layers: true,
        knows_digest: true,
        all_at_once: false,
        refuses_all: false,
        feed: load_oci,
    },
    Reader {
        name: "load of the archive itself",
        style: Style::Layer,
        takes_layers: false,
        knows_digest: false,
        all_at_once: false,
        refuses_all: true,
        feed: load_itself,
    },
    Reader {
        name: "import",
        style: Style::Layer,
        takes_layers: false,
        knows_digest: false,
        all_at_once: false,
        refuses_all: false,
        feed: import,
    },
    Reader {
        name: "files into a tree",
        style: Style::Plain,
        takes_layers: true,
        knows_digest: false,
        all_at_once: false,
        refuses_all: false,
        feed: files,
    },
    Reader {
        name: "files of a build",
        style: Style::Build,
        takes_layers: true,
        knows_digest: false,
        all_at_once: false,
        refuses_all: false,
        feed: build,
    },
];

const NAME: &str = "hostile/image:latest";

/// A machine with images, beside a tree that nothing may touch.
pub(super) struct Machine {
    pub(super) trap: Trap,
    images: Images,
    registry: Registry,
    runtime: tokio::runtime::Runtime,
    clean: Vec<PathBuf>,
}

impl Machine {
    pub(super) fn new() -> Self {
        let trap = Trap::new();
        std::fs::create_dir(trap.path().join("empty")).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let images = {
            let _inside = runtime.enter();
            let config = RegistryConfig::default();
            Images::open_with(&trap.path().join("images"), config, Durability::Process).unwrap()
        };
        let mut machine = Self {
            trap,
            images,
            registry: Registry::start().unwrap(),
            runtime,
            clean: Vec::new(),
        };
        machine.takes_a_good_one();
        machine.clean = machine.files();
        machine
    }

    /// The same machine still takes in what is right.
    pub(super) fn takes_a_good_one(&self) {
        let good = tape().directory("d").file("d/f", b"good").end();
        let lowers = import(self, &[good]).unwrap();
        assert_eq!(std::fs::read(lowers[0].join("d/f")).unwrap(), b"good");
        self.forget();
    }

    /// Removes every image, and waits until nothing is left that was not there at the start.
    pub(super) fn forget(&self) {
        for image in self.images.list().unwrap() {
            let name = image.id.to_string();
            self.images.remove(&name, true, &|_| None).unwrap();
        }
        self.registry.clear();
        for name in ["layers", "tree"] {
            // As strangers made it: deeper than a path can say.
            removal::remove_tree(&self.trap.path().join(name)).unwrap();
        }
        if self.clean.is_empty() {
            return;
        }
        for _ in 0..1_000 {
            if self.files() == self.clean {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(self.files(), self.clean, "something is left over");
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut pending = vec![self.trap.path().join("images")];
        while let Some(directory) = pending.pop() {
            for path in orc_base::fs::list(&directory).unwrap() {
                match path.is_dir() && !path.is_symlink() {
                    true => pending.push(path),
                    false => files.push(path),
                }
            }
        }
        files.sort();
        files
    }

    /// The directories of an image that came in, topmost first.
    fn lowers(&self, image: &Image) -> Result<Vec<PathBuf>> {
        let container = Id::random();
        let snapshot = self.images.create_snapshot(&container, &image.id)?;
        self.images.remove_snapshot(&container)?;
        Ok(snapshot.lowers)
    }

    fn load(&self, tar: &[u8]) -> Result<Vec<PathBuf>> {
        let loaded = self.runtime.block_on(self.images.load(tar, &Silent))?;
        match &loaded[..] {
            [one] => self.lowers(&one.image),
            other => Err(Error::internal(format!("{} images", other.len()))),
        }
    }
}

/// The digest that an attacker would announce: that of all bytes that come out.
fn diff_id(stream: &[u8]) -> Digest {
    let mut bytes = Vec::new();
    if let Ok(compression) = Compression::detect(stream)
        && let Ok(mut decoder) = compression.decoder(stream)
    {
        // A bomb goes off before anyone compares.
        let _ = decoder.by_ref().take(64 << 20).read_to_end(&mut bytes);
    }
    Digest::of(&bytes)
}

fn config(streams: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<_> = streams.iter().map(|stream| diff_id(stream)).collect();
    let config = json!({
        "os": "linux",
        "architecture": crate::platform::Platform::host().architecture,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

/// The manifest of these layers, and all blobs that it needs.
fn image(config: &[u8], streams: &[Vec<u8>]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let layers: Vec<_> = streams
        .iter()
        .map(|stream| {
            let compression = Compression::detect(stream).unwrap_or(Compression::None);
            let media_type = match compression {
                Compression::None => OCI_LAYER,
                other => other.media_type(),
            };
            json!({"mediaType": media_type, "digest": Digest::of(stream), "size": stream.len()})
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": Digest::of(config), "size": config.len()},
        "layers": layers,
    });
    let mut blobs = streams.to_vec();
    blobs.push(config.to_vec());
    (manifest.to_string().into_bytes(), blobs)
}

fn layers(machine: &Machine, streams: &[Vec<u8>]) -> Result<Vec<PathBuf>> {
    let layers = Layers::open(&machine.trap.path().join("layers"))?;
    let mut diff_ids = Vec::new();
    for stream in streams {
        let diff_id = diff_id(stream);
        layers.unpack(&diff_id, &stream[..], &Watch::default(), &mut |_| ())?;
        diff_ids.push(diff_id);
    }
    Ok(layers.stack(&diff_ids))
}

fn pull(machine: &Machine, streams: &[Vec<u8>]) -> Result<Vec<PathBuf>> {
    pull_as(machine, &config(streams), streams)
}

/// Pulls an image of these layers with a config of the test's own.
pub(super) fn pull_as(
    machine: &Machine,
    config: &[u8],
    streams: &[Vec<u8>],
) -> Result<Vec<PathBuf>> {
    let (manifest, blobs) = image(config, streams);
    let registry = &machine.registry;
    for blob in &blobs {
        registry.blob("hostile/image", Digest::of(blob).as_str(), blob);
    }
    for reference in ["latest", Digest::of(&manifest).as_str()] {
        registry.manifest("hostile/image", reference, OCI_MANIFEST, &manifest);
    }
    let reference = Reference::parse(&format!("{}/{NAME}", registry.host()))?;
    let options = PullOptions::default();
    let pulled = machine.images.pull(&reference, &options, &Silent);
    machine.lowers(&machine.runtime.block_on(pulled)?)
}

fn load_docker(machine: &Machine, streams: &[Vec<u8>]) -> Result<Vec<PathBuf>> {
    load_docker_as(machine, &config(streams), streams)
}

/// Loads an image of these layers with a config of the test's own.
pub(super) fn load_docker_as(
    machine: &Machine,
    config: &[u8],
    streams: &[Vec<u8>],
) -> Result<Vec<PathBuf>> {
    let names: Vec<_> = (0..streams.len())
        .map(|n| format!("{n}/layer.tar"))
        .collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": [NAME], "Layers": names}]);
    let start = tape()
        .file("config.json", config)
        .file("manifest.json", manifest.to_string().as_bytes());
    let pairs = names.iter().zip(streams);
    let tar = pairs.fold(start, |tar, (name, stream)| tar.file(name, stream));
    machine.load(&tar.end())
}

fn load_oci(machine: &Machine, streams: &[Vec<u8>]) -> Result<Vec<PathBuf>> {
    let (manifest, mut blobs) = image(&config(streams), streams);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{
            "mediaType": OCI_MANIFEST,
            "digest": Digest::of(&manifest),
            "size": manifest.len(),
            "annotations": {"io.containerd.image.name": format!("docker.io/{NAME}")},
        }],
    });
    blobs.push(manifest);
    let start = tape()
        .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index.to_string().as_bytes());
    let tar = blobs.iter().fold(start, |tar, blob| {
        tar.file(&format!("blobs/sha256/{}", Digest::of(blob).hex()), blob)
    });
    machine.load(&tar.end())
}

fn load_itself(machine: &Machine, streams: &[Vec<u8>]) -> Result<Vec<PathBuf>> {
    machine.load(&streams[0])
}

fn import(machine: &Machine, streams: &[Vec<u8>]) -> Result<Vec<PathBuf>> {
    let options = ImportOptions {
        reference: Some(Reference::parse(NAME)?),
        ..ImportOptions::default()
    };
    let imported = machine.images.import(&streams[0][..], options);
    machine.lowers(&machine.runtime.block_on(imported)?)
}

/// One after the other into the same tree, as into a container.
fn files(machine: &Machine, streams: &[Vec<u8>]) -> Result<Vec<PathBuf>> {
    let directory = machine.trap.path().join("tree");
    std::fs::create_dir(&directory)?;
    for stream in streams {
        let root = Root::open(&directory)?;
        let received = files::receive(root, Files::default(), &stream[..]);
        machine.runtime.block_on(received)?;
    }
    Ok(vec![directory])
}

/// The context of a build, and what `ADD` unpacks.
fn build(machine: &Machine, streams: &[Vec<u8>]) -> Result<Vec<PathBuf>> {
    let directory = machine.trap.path().join("tree");
    std::fs::create_dir(&directory)?;
    let open = std::fs::File::open(&directory)?;
    for stream in streams {
        archive::unpack(&stream[..], &open, None, &Stop::default())?;
    }
    Ok(vec![directory])
}
