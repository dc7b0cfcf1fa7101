//! `build` of a service. Names of keys are the specification's.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::read::bytes;
use crate::model::service::{Grant, Ulimit};

/// How the image of a service is built.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Build {
    /// An absolute path, or an address.
    pub context: Option<String>,
    /// A path in the context, or an absolute one.
    pub dockerfile: Option<String>,
    /// The Dockerfile itself.
    pub dockerfile_inline: Option<String>,
    /// Values of its `ARG`s.
    pub args: BTreeMap<String, String>,
    /// The stage to build.
    pub target: Option<String>,
    /// Where else results are found.
    pub cache_from: Vec<String>,
    /// Where results are also kept.
    pub cache_to: Vec<String>,
    /// What `RUN --mount=type=secret` may have.
    pub secrets: Vec<Grant>,
    /// What `RUN --mount=type=ssh` may have: the id and the agent's socket, empty for the usual one.
    pub ssh: BTreeMap<String, String>,
    /// Further contexts: a path, an address, `docker-image://…` or `service:…`.
    pub additional_contexts: BTreeMap<String, String>,
    /// Further names of the image.
    pub tags: Vec<String>,
    /// Ask for base images anew.
    pub pull: bool,
    /// Use no results of earlier builds.
    pub no_cache: bool,
    /// Use no earlier results of these stages.
    pub no_cache_filter: Vec<String>,
    /// The network of `RUN` steps.
    pub network: Option<String>,
    /// Bytes of `/dev/shm` in `RUN` steps.
    #[serde(deserialize_with = "bytes")]
    pub shm_size: Option<i64>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// What to build for.
    pub platforms: Vec<String>,
    /// `name=address`.
    pub extra_hosts: Vec<String>,
    /// Limits of setrlimit(2) in `RUN` steps.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// `RUN --security=insecure` is allowed.
    pub privileged: bool,
    /// What else the Dockerfile may ask for.
    pub entitlements: Vec<String>,
    /// `default`.
    pub isolation: Option<String>,
}

impl Build {
    /// The services whose images are contexts of this build.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.additional_contexts
            .values()
            .filter_map(|context| context.strip_prefix("service:"))
    }
}
