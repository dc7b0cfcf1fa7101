//! What a build is asked for, as far as the plan depends on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::graph::Network;
use crate::dockerfile::ignore::Ignore;
use crate::platform::Platform;

/// What the plan depends on beside the Dockerfile.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// The stage to build; the last one when absent.
    pub target: Option<String>,
    /// Look at all stages, not only at what the target needs: a check without a target.
    pub all_stages: bool,
    /// `--build-arg`.
    pub args: BTreeMap<String, String>,
    /// Labels of the image, over those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// What to build for; what the base image is for, or this machine, when absent.
    pub platform: Option<Platform>,
    /// What this machine is.
    pub build_platform: Platform,
    /// The names of further contexts.
    pub contexts: BTreeSet<String>,
    /// The network of `RUN` steps that do not say.
    pub network: Network,
    /// Whether `RUN --network=host` is fine.
    pub allow_host_network: bool,
    /// Whether `RUN --security=insecure` is fine.
    pub allow_insecure: bool,
    /// What is left out of the main context, for a warning.
    pub ignore: Ignore,
}

impl PlanOptions {
    /// Nothing but a machine.
    pub fn new(build_platform: Platform) -> Self {
        Self {
            target: None,
            all_stages: false,
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            platform: None,
            build_platform,
            contexts: BTreeSet::new(),
            network: Network::Default,
            allow_host_network: false,
            allow_insecure: false,
            ignore: Ignore::default(),
        }
    }

    /// What steps are for when nothing else is said.
    pub fn target_platform(&self) -> &Platform {
        self.platform.as_ref().unwrap_or(&self.build_platform)
    }
}
