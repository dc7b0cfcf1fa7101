//! What a build does, as data: steps, each on the results of others.
//!
//! Made by `plan`, carried out by the executor. All variables are expanded, all paths are absolute,
//! and the config of the result is known before anything runs: only file systems come from doing.

use std::collections::BTreeMap;

use crate::config::{ConfigFile, ImageConfig};
use crate::platform::Platform;

/// The place of a step in [`Plan::steps`].
pub type StepId = usize;

/// A build, each step after all that it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to do.
    pub steps: Vec<Step>,
    /// The step whose file system is the image's; none for an image without layers.
    pub result: Option<StepId>,
    /// What the image's config says; layers and times are filled in by the executor. Its history has
    /// a line for each instruction, with `empty_layer` for those that make none.
    pub config: ConfigFile,
    /// What to build for.
    pub platform: Platform,
    /// What will surprise the author, `Dockerfile:3: …`.
    pub warnings: Vec<String>,
}

/// One step: takes file systems, makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The stage it belongs to: its name or `stage-1`.
    pub stage: String,
    /// Which of how many of the stage, as people see it.
    pub position: Option<(usize, usize)>,
    /// The instruction as people see it, expanded: `RUN make`.
    pub text: String,
    /// The line of the Dockerfile; 0 when it comes from none.
    pub line: usize,
    /// The line of the history that its layer belongs to, in [`Plan::config`]; only steps of the
    /// stages that the result descends from have one.
    pub history: Option<usize>,
    /// What is done.
    pub op: Op,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A file system from outside: `FROM image`, a context, an image that is copied from.
    Source(Source),
    /// `RUN`.
    Run(Run),
    /// `COPY` and `ADD`.
    Copy(Copy),
    /// `WORKDIR`: the directory exists, and belongs to the image's user as BuildKit has it.
    MakeDirectory {
        /// On which file system; none for `scratch`.
        parent: Option<StepId>,
        /// Where.
        path: String,
        /// The image's user, who owns what is made; root when empty.
        user: String,
    },
}

/// A file system from outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// An image by its name.
    Image {
        /// As the Dockerfile has it, expanded.
        reference: String,
        /// What for.
        platform: Platform,
    },
    /// A context by its name; the main one has none.
    Context(Option<String>),
}

/// A program that changes a file system.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What it starts from; none for `scratch`.
    pub parent: Option<StepId>,
    /// The program and its arguments, the shell included.
    pub argv: Vec<String>,
    /// Files that exist for it only, read-only and mode 0755: a here-document that is a script.
    pub files: Vec<InlineFile>,
    /// `NAME=value` each: the image's environment and the arguments in scope.
    pub env: Vec<String>,
    /// Variables it sees that are neither part of the image nor of the cache key (proxies).
    pub hidden_env: Vec<String>,
    /// Where it starts; `/` when empty.
    pub working_dir: String,
    /// Who runs it; root when empty.
    pub user: String,
    /// What is mounted while it runs.
    pub mounts: Vec<Mount>,
    /// Its network.
    pub network: Network,
    /// `--security=insecure`.
    pub insecure: bool,
    /// What its programs are for: a stage may be for another platform than the image.
    pub platform: Platform,
}

/// A file that an instruction brings along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// Where it is: a path for `RUN`, the file's name for `COPY`.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// The network of a `RUN` step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// The one that containers get.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The machine's.
    Host,
}

/// What is mounted for a `RUN` step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// Part of another file system.
    Bind {
        /// Whose; none is an empty one.
        from: Option<StepId>,
        /// Which part.
        source: String,
        /// Where.
        target: String,
        /// What is written is thrown away; without it nothing can be written.
        writable: bool,
    },
    /// A directory that stays from build to build.
    Cache {
        /// What it is called; its target by default.
        id: String,
        /// What it starts with.
        from: Option<StepId>,
        /// Which part of that.
        source: String,
        /// Where.
        target: String,
        /// Nothing can be written.
        readonly: bool,
        /// How two builds share it.
        sharing: Sharing,
        /// Mode of the directory when it is made.
        mode: u32,
        /// Owner and group of the directory when it is made.
        owner: (u32, u32),
    },
    /// Memory.
    Tmpfs {
        /// Where.
        target: String,
        /// How much; unlimited when absent.
        size_bytes: Option<u64>,
    },
    /// A secret as a file, a variable or both.
    Secret {
        /// Which.
        id: String,
        /// Where; none when it is only a variable.
        target: Option<String>,
        /// The variable.
        env: Option<String>,
        /// Without it the build fails.
        required: bool,
        /// Mode of the file.
        mode: u32,
        /// Owner and group of the file.
        owner: (u32, u32),
    },
    /// The socket of an ssh-agent(1), and `SSH_AUTH_SOCK`.
    Ssh {
        /// Which.
        id: String,
        /// Where.
        target: String,
        /// Without it the build fails.
        required: bool,
        /// Mode of the socket.
        mode: u32,
        /// Owner and group of the socket.
        owner: (u32, u32),
    },
}

/// How builds share a cache directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// All at once.
    #[default]
    Shared,
    /// Another one when it is taken.
    Private,
    /// One after the other.
    Locked,
}

/// Files that come from elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// What they are put on; none for `scratch`.
    pub parent: Option<StepId>,
    /// Where they are from; one instruction may mix paths, downloads and here-documents.
    pub from: Vec<CopyFrom>,
    /// Where they go: absolute; with a trailing slash when it must be a directory.
    pub target: String,
    /// `--chown`, expanded.
    pub owner: Option<String>,
    /// `--chmod`, expanded.
    pub mode: Option<String>,
    /// `--link`: the layer does not depend on what is below it.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// Unpack archives among the files of trees: `ADD` without `--unpack=false`.
    pub unpack: bool,
    /// `ADD`: downloads and repositories are sources too.
    pub add: bool,
}

/// Where files of a [`Copy`] are from.
#[derive(Debug, Clone, PartialEq)]
pub enum CopyFrom {
    /// Paths and patterns in a file system.
    Tree {
        /// Whose.
        step: StepId,
        /// Which: absolute and clean. With `--parents` each has a `/./`: what follows it is a
        /// pattern whose directories are kept, what stands before it is where it is looked for.
        paths: Vec<String>,
    },
    /// Here-documents; mode 0644.
    Inline(Vec<InlineFile>),
    /// A download of `ADD`.
    Url {
        /// From where.
        url: String,
        /// Unpack it when it is an archive: `--unpack`.
        unpack: bool,
        /// What it must be: `sha256:…`.
        checksum: Option<String>,
    },
    /// A git repository.
    Git {
        /// Which, with `#ref:subdirectory`.
        url: String,
        /// The commit it must be.
        checksum: Option<String>,
        /// Whether `.git` is kept.
        keep_git_dir: bool,
    },
}

/// What the planner knows of a source before any file is touched: the config of each base image.
pub type Bases = BTreeMap<Source, ConfigFile>;

impl Plan {
    /// The config part of the result.
    pub fn image_config(&self) -> &ImageConfig {
        &self.config.config
    }
}
