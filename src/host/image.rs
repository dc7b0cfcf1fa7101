//! Images as a machine holds them.

use std::collections::BTreeMap;
use std::time::Duration;

use orc_base::Time;
use serde::{Deserialize, Serialize};

use crate::stream::{Bytes, Stream};

/// A local image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `sha256:…` of its configuration.
    pub id: String,
    /// The names it has, `busybox:latest`, as people write them.
    pub tags: Vec<String>,
    /// `busybox@sha256:…` for each registry it came from or went to.
    pub digests: Vec<String>,
    /// When it was built, if it says so.
    pub created: Option<Time>,
    /// When one of its names was last fetched from a registry, by this machine.
    #[serde(default)]
    pub pulled: Option<Time>,
    /// Bytes of its unpacked layers.
    pub size_bytes: u64,
    /// Go's word for the processor: `amd64`, `arm64`.
    pub architecture: String,
    /// `v8` and the like.
    pub variant: String,
    /// `linux`.
    pub os: String,
    /// What a container of it runs by default.
    pub config: ImageConfig,
    /// Digests of the unpacked layers, lowest first.
    pub layers: Vec<String>,
    /// Unpacked bytes of each of them, in the same order.
    #[serde(default)]
    pub layer_sizes: Vec<u64>,
    /// Who made it.
    pub author: String,
    /// How each layer came to be, lowest first.
    pub history: Vec<History>,
}

impl Image {
    /// The steps of its history, lowest first, each with the bytes of the layer that it made.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = (&History, u64)> {
        let mut sizes = self.layer_sizes.iter();
        let steps: Vec<_> = self
            .history
            .iter()
            .map(|step| match step.empty_layer {
                true => (step, 0),
                false => (step, sizes.next().copied().unwrap_or(0)),
            })
            .collect();
        steps.into_iter()
    }
}

/// One step in the making of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// When.
    pub created: Option<Time>,
    /// By which instruction.
    pub created_by: String,
    /// What its author said.
    pub comment: String,
    /// It made no layer.
    pub empty_layer: bool,
}

/// Defaults for containers of an image (OCI image configuration, `config`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `NAME=value`.
    pub env: Vec<String>,
    /// The program.
    pub entrypoint: Option<Vec<String>>,
    /// Its arguments, or the program when there is no entry point.
    pub command: Option<Vec<String>>,
    /// `name`, `uid`, `name:group` or `uid:gid`; root when empty.
    pub user: String,
    /// `/` when empty.
    pub working_dir: String,
    /// `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Directories that get an anonymous volume.
    pub volumes: Vec<String>,
    /// For people and filters; never acted upon.
    pub labels: BTreeMap<String, String>,
    /// What asks the program to end; `SIGTERM` when absent.
    pub stop_signal: Option<String>,
    /// How to see whether it works.
    pub healthcheck: Option<Healthcheck>,
}

/// Labels by which a container is known to be of a project. Only who makes the container may say so:
/// what an image says about itself is foreign text.
const MEMBERSHIP: &str = "com.docker.compose.";

impl ImageConfig {
    /// The labels that containers of the image have, too: all but those of membership in a project.
    pub fn inherited_labels(&self) -> impl Iterator<Item = (&String, &String)> {
        self.labels
            .iter()
            .filter(|(key, _)| !key.starts_with(MEMBERSHIP))
    }
}

/// How to see whether a container works.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["CMD", program, …]`, `["CMD-SHELL", line]`, `["NONE"]`, or empty for the image's own.
    pub test: Vec<String>,
    /// Between two probes; 30 s when absent.
    pub interval: Option<Duration>,
    /// After which a probe has failed; 30 s when absent.
    pub timeout: Option<Duration>,
    /// How long failures do not count after the start; 0 s when absent.
    pub start_period: Option<Duration>,
    /// Between two probes in that period; 5 s when absent.
    pub start_interval: Option<Duration>,
    /// How many failures in a row make it unhealthy; 3 when absent.
    pub retries: Option<u32>,
}

/// Who asks a registry.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Credentials {
    /// The account.
    pub username: String,
    /// Its secret.
    pub password: String,
    /// An OAuth2 refresh token instead of both.
    pub identity_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.username)
    }
}

/// How far a transfer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The layer, by twelve digits of its digest; absent for the whole.
    pub layer: Option<String>,
    /// Docker's word for what is done: `Downloading`, `Pull complete`, or a whole sentence.
    pub status: String,
    /// Bytes done and to do, where they are known.
    pub bytes: Option<(u64, u64)>,
    /// The id of the image that was made, in the last item of import and load.
    pub image: Option<String>,
}

impl Progress {
    /// A sentence about the whole.
    pub fn message(status: impl Into<String>) -> Self {
        Self {
            layer: None,
            status: status.into(),
            bytes: None,
            image: None,
        }
    }
}

/// A reference that was removed, or an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// The name is gone; the image may have others.
    Untagged(String),
    /// The image or layer is gone.
    Deleted(String),
}

/// Where the archive of an import is.
pub enum ImportTar {
    /// It comes with the request.
    Sent(Stream<Bytes>),
    /// The machine downloads it from this address, `http://…` or `https://…`.
    Remote(String),
}

/// A root file system to make an image of.
pub struct ImportSource {
    /// A tar archive, plain or compressed.
    pub tar: ImportTar,
    /// What to call the image.
    pub reference: Option<String>,
    /// Dockerfile instructions for its configuration: `CMD ["sh"]`, `ENV A=b`.
    pub changes: Vec<String>,
    /// A word about it for its history.
    pub message: Option<String>,
}
