//! What a machine keeps on disk: how much space it takes, and whether it is sound.

use orc_base::Time;
use serde::{Deserialize, Serialize};

/// What to count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageOf {
    /// Images.
    pub images: bool,
    /// What containers wrote.
    pub containers: bool,
    /// Only what these wrote, by name or id; all when there are none.
    pub only: Vec<String>,
    /// Volumes.
    pub volumes: bool,
    /// What builds may use again.
    pub build_cache: bool,
    /// Everything else below the data root.
    pub other: bool,
}

impl UsageOf {
    /// All of it.
    pub fn everything() -> Self {
        Self {
            images: true,
            containers: true,
            only: Vec::new(),
            volumes: true,
            build_cache: true,
            other: true,
        }
    }
}

/// Bytes on disk, in blocks as du(1) counts them. What was not asked for is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiskUsage {
    /// Each image.
    pub images: Vec<ImageUsage>,
    /// All images together: what several share counts once.
    pub images_bytes: u64,
    /// What of that no container's image needs.
    pub images_unused_bytes: u64,
    /// Each container.
    pub containers: Vec<ContainerUsage>,
    /// Each volume.
    pub volumes: Vec<VolumeUsage>,
    /// Each thing that builds may use again.
    pub build_cache: Vec<CacheUsage>,
    /// What the build cache takes besides the images.
    pub build_cache_bytes: u64,
    /// Logs, records and downloads.
    pub other_bytes: u64,
}

/// The space of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUsage {
    /// Its id.
    pub id: String,
    /// Its unpacked layers, and these as they are pushed.
    pub bytes: u64,
    /// What of that other images have as well.
    pub shared_bytes: u64,
}

/// The space of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerUsage {
    /// Its id.
    pub id: String,
    /// What it wrote into its root file system.
    pub bytes: u64,
}

/// The space of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUsage {
    /// Its name.
    pub name: String,
    /// What is in it; none when it is kept elsewhere.
    pub bytes: Option<u64>,
}

/// Something that builds may use again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheUsage {
    /// Its key.
    pub id: String,
    /// The keys of what it stands on.
    pub parents: Vec<String>,
    /// BuildKit's word: `regular`, `source.local`, `exec.cachemount`.
    pub kind: String,
    /// What made it: `RUN make`.
    pub description: String,
    /// A build that runs has asked for it.
    pub in_use: bool,
    /// An image has it as well: removing it frees nothing.
    pub shared: bool,
    /// Its space.
    pub bytes: u64,
    /// When it was made.
    pub created: Time,
    /// When it was last of use.
    pub last_used: Time,
    /// How often.
    pub uses: u64,
}

/// What of the build cache is to go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CachePrune {
    /// What images have as well, too: then only the memory of it goes.
    pub all: bool,
    /// Nothing goes as long as the rest takes no more than so many bytes.
    pub keep_bytes: Option<u64>,
    /// Only what fits all of these: `id`, `parents`, `description`, `type`, `until` and `unused-for`
    /// (durations), `inuse`, `shared`, `private`, `mutable`, `immutable`.
    pub filters: Vec<(String, String)>,
}

/// How to look for damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckOptions {
    /// Reads no contents: only whether everything is there.
    pub quick: bool,
    /// Mends what can be mended, and drops what cannot and nobody uses; never what containers and
    /// people wrote.
    pub repair: bool,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckReport {
    /// How many images.
    pub images: u64,
    /// How many of their blobs.
    pub blobs: u64,
    /// How many of their layers.
    pub layers: u64,
    /// How many containers.
    pub containers: u64,
    /// How many bytes were read and compared.
    pub bytes: u64,
    /// What is not as it should be.
    pub findings: Vec<CheckFinding>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFinding {
    /// What kind of thing: `blob`, `layer`, `config`, `container`…
    pub part: String,
    /// Which: a digest, a file or an id.
    pub name: String,
    /// What is wrong.
    pub problem: String,
    /// The images or containers that need it.
    pub needed_by: Vec<String>,
    /// Whether it is good again, gone, or as it was.
    pub outcome: CheckOutcome,
    /// Why, or what to do.
    pub note: String,
}

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckOutcome {
    /// It is as it was.
    Left,
    /// It is good again.
    Mended,
    /// It is gone.
    Dropped,
}
