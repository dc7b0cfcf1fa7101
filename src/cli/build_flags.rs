//! What can be typed after `build`: one row a flag, in the words of docker build and buildx.
//!
//! Only what was typed; `build.rs` says what it means.

use clap::Args;

use crate::cli::trust::TrustFlag;
use crate::ui::progress::Mode;

/// Build an image from a Dockerfile
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct Build {
    /// Name of the image, NAME[:TAG]
    #[arg(short, long, value_name = "NAME", help_heading = "Image")]
    pub(crate) tag: Vec<String>,
    /// The Dockerfile; - is standard input
    #[arg(short, long, value_name = "FILE", help_heading = "Build")]
    pub(crate) file: Option<String>,
    /// Stage to build
    #[arg(long, value_name = "STAGE", help_heading = "Build")]
    pub(crate) target: Option<String>,
    /// Value of an ARG; NAME alone takes it from here
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Build")]
    pub(crate) build_arg: Vec<String>,
    /// One more context: NAME=PATH, NAME=URL, NAME=docker-image://IMAGE
    #[arg(long, value_name = "NAME=WHERE", help_heading = "Build")]
    pub(crate) build_context: Vec<String>,
    /// What to build for, such as linux/amd64
    #[arg(long, value_name = "OS/ARCH", help_heading = "Build")]
    pub(crate) platform: Vec<String>,
    /// Ask for base images anew
    #[arg(long, help_heading = "Build")]
    pub(crate) pull: bool,
    /// A secret for RUN --mount=type=secret: id=NAME[,src=FILE|,env=NAME]
    #[arg(long, value_name = "SECRET", help_heading = "Build")]
    pub(crate) secret: Vec<String>,
    /// An ssh agent for RUN --mount=type=ssh: default or ID=SOCKET
    #[arg(long, value_name = "AGENT", num_args = 0..=1, default_missing_value = "default", help_heading = "Build")]
    pub(crate) ssh: Vec<String>,
    /// Let the Dockerfile have network.host or security.insecure
    #[arg(long, value_name = "ENTITLEMENT", help_heading = "Build")]
    pub(crate) allow: Vec<String>,
    /// Only look for what is wrong or will surprise
    #[arg(long, help_heading = "Build")]
    pub(crate) check: bool,
    /// build or check
    #[arg(long, value_name = "METHOD", hide = true)]
    pub(crate) call: Option<String>,

    /// Use no results of earlier builds
    #[arg(long, help_heading = "Cache")]
    pub(crate) no_cache: bool,
    /// Use no earlier results of these stages
    #[arg(
        long,
        value_name = "STAGE",
        value_delimiter = ',',
        help_heading = "Cache"
    )]
    pub(crate) no_cache_filter: Vec<String>,
    /// Where else results are found: IMAGE, type=registry,ref=IMAGE or type=local,src=DIR
    #[arg(long, value_name = "CACHE", help_heading = "Cache")]
    pub(crate) cache_from: Vec<String>,
    /// Where results are also kept: type=inline, type=registry,ref=IMAGE or type=local,dest=DIR
    #[arg(long, value_name = "CACHE", help_heading = "Cache")]
    pub(crate) cache_to: Vec<String>,

    /// A label of the image
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Image")]
    pub(crate) label: Vec<String>,
    /// What becomes of it: DIR, or type=local|tar|oci|docker|image|registry,dest=…
    #[arg(short, long, value_name = "OUTPUT", help_heading = "Image")]
    pub(crate) output: Vec<String>,
    /// Keep it here, as always
    #[arg(long, help_heading = "Image")]
    pub(crate) load: bool,
    /// Send it to the registry of its names
    #[arg(long, help_heading = "Image")]
    pub(crate) push: bool,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE", help_heading = "Image")]
    pub(crate) iidfile: Option<String>,
    /// Write facts about the image to a file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Image")]
    pub(crate) metadata_file: Option<String>,

    /// Network of RUN steps: default, none or host
    #[arg(long, value_name = "MODE", help_heading = "Steps")]
    pub(crate) network: Option<String>,
    /// A line of /etc/hosts in RUN steps: NAME:ADDRESS
    #[arg(long, value_name = "NAME:ADDRESS", help_heading = "Steps")]
    pub(crate) add_host: Vec<String>,
    /// Size of /dev/shm in RUN steps
    #[arg(long, value_name = "BYTES", help_heading = "Steps")]
    pub(crate) shm_size: Option<String>,
    /// A limit in RUN steps: NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT", help_heading = "Steps")]
    pub(crate) ulimit: Vec<String>,
    /// Memory of a RUN step
    #[arg(short, long, value_name = "BYTES", help_heading = "Steps")]
    pub(crate) memory: Option<String>,
    /// Memory and swap of a RUN step together; -1 is no limit
    #[arg(
        long,
        value_name = "BYTES",
        allow_hyphen_values = true,
        help_heading = "Steps"
    )]
    pub(crate) memory_swap: Option<String>,
    /// Weight of a RUN step against others
    #[arg(short, long, value_name = "WEIGHT", help_heading = "Steps")]
    pub(crate) cpu_shares: Option<u64>,
    /// Period of the processor quota, in microseconds
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Steps")]
    pub(crate) cpu_period: Option<u64>,
    /// Processor time in a period, in microseconds
    #[arg(
        long,
        value_name = "MICROSECONDS",
        allow_negative_numbers = true,
        help_heading = "Steps"
    )]
    pub(crate) cpu_quota: Option<i64>,
    /// Processors of a RUN step, such as 0-2
    #[arg(long, value_name = "CPUS", help_heading = "Steps")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes of a RUN step
    #[arg(long, value_name = "NODES", help_heading = "Steps")]
    pub(crate) cpuset_mems: Option<String>,

    /// How progress is shown
    #[arg(
        long,
        value_enum,
        env = "BUILDKIT_PROGRESS",
        default_value_t,
        help_heading = "Progress"
    )]
    pub(crate) progress: Mode,
    /// Print only the image's id
    #[arg(short, long, help_heading = "Progress")]
    pub(crate) quiet: bool,

    // What Docker's flags promise and is always so here, or is not made at all.
    #[arg(long, hide = true)]
    pub(crate) rm: bool,
    #[arg(long, hide = true)]
    pub(crate) force_rm: bool,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) provenance: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) sbom: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) attest: Vec<String>,
    #[arg(long, hide = true)]
    pub(crate) builder: Option<String>,
    // A context is never sent, so there is nothing to compress.
    #[arg(long, hide = true)]
    pub(crate) compress: bool,
    #[command(flatten)]
    pub(crate) trust: TrustFlag,

    /// The context: a directory, an address, or - for an archive or a Dockerfile on standard input
    #[arg(value_name = "PATH|URL|-", required = true)]
    pub(crate) context: String,
}
