//! Building an image from a Dockerfile: what someone asks for, and what is told on the way.
//!
//! Plain data. Bytes are written as text where they are text, so that requests and events can be read
//! by people when they travel as JSON. Files of the result are no business of a build: whoever wants
//! them exports or saves the image that was built.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orc_base::Time;
use serde::{Deserialize, Serialize};

use crate::container::{Resources, Ulimit};
use crate::image::Credentials;
use crate::stream::{Bytes, Output, Stream};

/// An image to build. `None` and empty values mean the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildSpec {
    /// The files that `COPY` and `ADD` take.
    pub context: ContextSource,
    /// Further contexts by name, for `FROM`, `COPY --from` and `RUN --mount=from`.
    pub contexts: BTreeMap<String, ContextSource>,
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// The stage to build; the last one when absent.
    pub target: Option<String>,
    /// Names of the image.
    pub tags: Vec<String>,
    /// Values of `ARG`s. No value takes the one of the Dockerfile.
    pub args: BTreeMap<String, String>,
    /// Labels of the image, over those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// What to build for, `linux/amd64`; this machine when absent.
    pub platform: Option<String>,
    /// Whether base images are asked for anew.
    pub pull: bool,
    /// Use no result of an earlier build.
    pub no_cache: bool,
    /// Use no earlier result for these stages.
    pub no_cache_filter: Vec<String>,
    /// Where else results are looked for: `type=registry,ref=…`, `type=local,src=…`, or a reference.
    pub cache_from: Vec<String>,
    /// Where results are also kept: `type=inline`, `type=registry,ref=…`, `type=local,dest=…`.
    pub cache_to: Vec<String>,
    /// What `RUN --mount=type=secret` may have.
    pub secrets: Vec<Secret>,
    /// What `RUN --mount=type=ssh` may have.
    pub ssh: Vec<SshAgent>,
    /// The network of `RUN` steps: `default`, `none` or `host`.
    pub network: Option<String>,
    /// Further lines of `/etc/hosts` in `RUN` steps: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Size of `/dev/shm` in `RUN` steps.
    pub shm_bytes: Option<u64>,
    /// Limits of setrlimit(2) in `RUN` steps.
    pub ulimits: Vec<Ulimit>,
    /// Limits of each `RUN` step.
    pub resources: Resources,
    /// What the Dockerfile may ask for beyond the default: `network.host`, `security.insecure`.
    pub allow: Vec<String>,
    /// How the new layers are compressed: `gzip`, `zstd` or `uncompressed`.
    pub compression: Option<String>,
    /// Accounts by registry host.
    pub credentials: BTreeMap<String, Credentials>,
    /// Only look for what is wrong or will surprise: nothing is run, and no image made.
    pub check: bool,
}

/// Where the files of a build come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContextSource {
    /// There are none.
    #[default]
    Empty,
    /// A directory that the machine reads itself.
    Directory {
        /// Its absolute path.
        path: PathBuf,
        /// Device and inode as the one who asks sees them: another file system is noticed.
        identity: Option<(u64, u64)>,
    },
    /// The tar archive that comes with the request.
    Archive,
    /// `https://…/x.git#ref:subdirectory`, `https://…/x.tar.gz`, `git@…`.
    Remote(String),
    /// The files of an image.
    Image(String),
    /// `oci-layout://`: a directory with images in it, and which of them.
    Layout {
        /// The directory.
        path: PathBuf,
        /// `:tag` or `@digest`; nothing when there is only one.
        version: String,
    },
}

/// Where the Dockerfile of a build is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DockerfileSource {
    /// A path in the context.
    Path(String),
    /// Not in the context.
    Text {
        /// What it is called in messages.
        name: String,
        /// What it says.
        text: String,
        /// What the ignore file beside it says, which then counts instead of the context's.
        ignore: Option<String>,
    },
}

impl Default for DockerfileSource {
    fn default() -> Self {
        Self::Path("Dockerfile".into())
    }
}

/// The most bytes of a secret, as in BuildKit.
pub const MAX_SECRET: usize = 500 << 10;

/// A file that a build step may read and nobody keeps.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// What the Dockerfile calls it.
    pub id: String,
    /// What it holds; at most [`MAX_SECRET`] bytes.
    #[serde(with = "as_text")]
    pub value: Vec<u8>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({})", self.id)
    }
}

/// An ssh-agent(1) that a build step may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshAgent {
    /// What the Dockerfile calls it; `default` mostly.
    pub id: String,
    /// The agent's socket on the machine.
    pub socket: PathBuf,
}

/// A build and the archive that comes with it.
pub struct BuildRequest {
    /// What to build.
    pub spec: BuildSpec,
    /// The archive of [`ContextSource::Archive`].
    pub archive: Option<Stream<Bytes>>,
}

/// What happens in a build, in order. When it fails, an error is the last item of the stream, after
/// the [`StepState::Failed`] of the step that is to blame, if one is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuildEvent {
    /// The Dockerfile that was read, so that messages can show its lines.
    Dockerfile {
        /// What it is called in messages.
        name: String,
        /// What it says.
        text: String,
    },
    /// What will be done: all steps, in the order of their numbers. May come again with more steps
    /// behind those that are known: what to do is only known once the base images are here.
    Planned(Vec<BuildStep>),
    /// A step goes on to another state.
    Step {
        /// Its number in the plan.
        step: usize,
        /// What it is now.
        state: StepState,
        /// Since when.
        time: Time,
    },
    /// A program of a step wrote something.
    Output {
        /// The step.
        step: usize,
        /// Where it was written.
        output: Output,
        /// What was written, as it was read.
        #[serde(with = "as_text")]
        bytes: Vec<u8>,
    },
    /// A step moves bytes.
    Progress {
        /// The step.
        step: usize,
        /// What is moved, such as a layer's short digest.
        what: String,
        /// Bytes so far.
        current: u64,
        /// Bytes in all, where it is known.
        total: Option<u64>,
    },
    /// Something that will surprise the author of the Dockerfile: `Dockerfile:3: …`.
    Warning(String),
    /// The last event: the image is here and has its names. A check ends without it.
    Built {
        /// Its id, `sha256:…`.
        image: String,
    },
}

/// One step of a build as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildStep {
    /// The stage, `builder` or `stage-1`; empty for what belongs to none.
    pub stage: String,
    /// Which of how many of the stage, where it counts: (2, 5).
    pub position: Option<(usize, usize)>,
    /// The instruction: `RUN make`, or what is done: `load build context`.
    pub text: String,
    /// The line of the Dockerfile it stands in, from 1; 0 when it stands in none.
    pub line: usize,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepState {
    /// It is being done.
    Running,
    /// It was done by an earlier build.
    Cached,
    /// It is done.
    Done,
    /// It failed, and the build with it.
    Failed {
        /// Why.
        why: String,
        /// How its program ended, when there was one.
        exit_code: Option<i32>,
    },
    /// Another step failed first.
    Cancelled,
}

/// Bytes as text where they are text, else as numbers.
mod as_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => to.serialize_str(text),
            Err(_) => bytes.serialize(to),
        }
    }

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected text or a list of bytes")]
    enum Either {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Either::deserialize(from)? {
            Either::Text(text) => text.into_bytes(),
            Either::Bytes(bytes) => bytes,
        })
    }
}
