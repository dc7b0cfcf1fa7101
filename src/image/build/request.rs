//! What someone asks of a build, and what is told on the way. Plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::credentials::Credentials;
use crate::platform::Platform;
use crate::reference::Reference;

/// A build. Empty values mean the default.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The files that `COPY` and `ADD` take.
    pub context: ContextSource,
    /// Further contexts by name, for `FROM`, `COPY --from` and `RUN --mount=from`.
    pub contexts: BTreeMap<String, ContextSource>,
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// The stage to build; the last one when absent.
    pub target: Option<String>,
    /// Names of the image; none is fine.
    pub tags: Vec<Reference>,
    /// Values of `ARG`s. `SOURCE_DATE_EPOCH` makes the result reproducible: no time in it is later.
    pub args: BTreeMap<String, String>,
    /// Labels of the image, over those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// What to build for; this machine when absent.
    pub platform: Option<Platform>,
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
    /// The network of `RUN` steps that do not say: `default`, `none` or `host`.
    pub network: Option<String>,
    /// What the Dockerfile may ask for beyond the default: `network.host`, `security.insecure`.
    pub allow: Vec<String>,
    /// How new layers are compressed: `gzip` (the default), `zstd` or `uncompressed`.
    pub compression: Option<String>,
    /// Accounts by registry host.
    pub credentials: BTreeMap<String, Credentials>,
    /// Only look for what is wrong or will surprise: nothing is run, and no image made.
    pub check: bool,
}

/// Where the files of a context come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ContextSource {
    /// There are none.
    #[default]
    Empty,
    /// A directory of this machine, read while the build runs.
    Directory {
        /// Its absolute path.
        path: PathBuf,
        /// Device and inode as the one who asks sees them: another file system is noticed.
        identity: Option<(u64, u64)>,
    },
    /// The tar archive that comes with the request.
    Archive,
    /// `https://…/x.git#ref:subdirectory`, `https://…/x.tar.gz`, `git@…`, or a Dockerfile by its URL.
    Remote(String),
    /// The files of an image.
    Image(String),
    /// `oci-layout://`: a directory with images in it, and which of them: `:tag` or `@digest`.
    Layout {
        /// The directory.
        path: PathBuf,
        /// What follows it, or nothing when there is only one.
        version: String,
    },
}

/// Where the Dockerfile of a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// A file that a step may read and nobody keeps.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// What the Dockerfile calls it.
    pub id: String,
    /// What it holds.
    pub value: Vec<u8>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.id)
    }
}

/// An ssh-agent(1) that a step may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAgent {
    /// What the Dockerfile calls it; `default` mostly.
    pub id: String,
    /// The agent's socket on this machine.
    pub socket: PathBuf,
}

/// Takes the events of a build, from any thread, and never for long.
pub trait Events: Send + Sync {
    /// Something happened.
    fn report(&self, event: BuildEvent);
}

/// What happens in a build, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// The Dockerfile that was read.
    Dockerfile {
        /// What it is called in messages.
        name: String,
        /// What it says.
        text: String,
    },
    /// What will be done: all steps, in the order of their numbers. May come again with more steps
    /// behind those that are known: what to do is only known once the base images are here.
    Planned(Vec<StepInfo>),
    /// A step goes on to another state.
    Step {
        /// Its number.
        step: usize,
        /// What it is now.
        state: StepState,
    },
    /// A program of a step wrote something.
    Output {
        /// The step.
        step: usize,
        /// Whether it went to standard error.
        stderr: bool,
        /// What was written, as it was read.
        bytes: Vec<u8>,
    },
    /// A step moves bytes.
    Progress {
        /// The step.
        step: usize,
        /// What is moved.
        what: String,
        /// Bytes so far.
        current: u64,
        /// Bytes in all, where it is known.
        total: Option<u64>,
    },
    /// Something that will surprise the author of the Dockerfile: `Dockerfile:3: …`.
    Warning(String),
}

/// One step as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepInfo {
    /// The stage, `builder` or `stage-1`; empty for what belongs to none.
    pub stage: String,
    /// Which of how many of the stage, where it counts.
    pub position: Option<(usize, usize)>,
    /// The instruction: `RUN make`, or what is done.
    pub text: String,
    /// The line of the Dockerfile, from 1; 0 when it stands in none.
    pub line: usize,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
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
