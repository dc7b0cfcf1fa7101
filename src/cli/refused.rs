//! What Docker's command line has and orc's does not, and why: an answer better than "unexpected".
//!
//! Only names and reasons. `surface.rs` holds them against all that Docker's command line has, so that
//! nothing it takes is unknown here: it is meant, or it stands in these tables.

/// Commands, and groups of them.
const COMMANDS: &[(&str, &str)] = &[
    (
        "checkpoint",
        "processes cannot be written to disk and continued",
    ),
    ("config", CLUSTER),
    (
        "context",
        "choose the daemon with `-H unix://…` or ORC_HOST, or by its roots",
    ),
    (
        "manifest",
        "an image here is for one platform; `orc registry tags` and `orc pull` ask a registry",
    ),
    ("node", CLUSTER),
    (
        "plugin",
        "orc takes no plug-ins: networks are bridges, volumes are of the driver `local`",
    ),
    (
        "search",
        "registries have no common way to be searched: use their web page; `orc registry tags NAME` lists the tags of a repository",
    ),
    ("secret", CLUSTER),
    ("service", CLUSTER),
    ("stack", CLUSTER),
    ("swarm", CLUSTER),
    (
        "trust",
        "signatures of Notary are not checked: name images by digest, NAME@sha256:…",
    ),
    ("volume update", CLUSTER_VOLUMES),
];

/// Flags: the commands that have them, what they are called, and why they are refused.
const FLAGS: &[(&[&str], &[&str], &str)] = &[
    (&[""], &["--config"], "set DOCKER_CONFIG to the directory"),
    (
        &[""],
        &["--context", "-c"],
        "choose the daemon with `-H unix://…` or ORC_HOST",
    ),
    (
        &[""],
        &[
            "--tls",
            "--tlscacert",
            "--tlscert",
            "--tlskey",
            "--tlsverify",
        ],
        "the daemon listens on a unix socket only",
    ),
    (
        CREATE,
        &[
            "--cpu-count",
            "--cpu-percent",
            "--io-maxbandwidth",
            "--io-maxiops",
        ],
        "it is for Windows only",
    ),
    (
        CREATE,
        &["--gpus"],
        "orc hands out no devices by driver and count: name the device nodes with `--device`",
    ),
    (
        CREATE,
        &["--kernel-memory"],
        "the kernel no longer has that limit: `--memory` counts kernel memory, too",
    ),
    (
        CREATE,
        &["--storage-opt"],
        "what containers write has no quota",
    ),
    (
        &["start"],
        &["--checkpoint", "--checkpoint-dir"],
        "processes cannot be written to disk and continued",
    ),
    (
        &["rm"],
        &["--link", "-l"],
        "a link is no thing of its own: take the container off the network with `orc network disconnect`",
    ),
    (
        &["build"],
        &["--cgroup-parent"],
        "RUN steps run below the daemon's own cgroup: limit them with `--memory`, `--cpu-quota` and the like",
    ),
    (&["build"], &["--isolation"], "it is for Windows only"),
    (
        &["build"],
        &["--security-opt"],
        "use `--allow security.insecure` and `RUN --security=insecure`",
    ),
    (
        &["build"],
        &["--squash"],
        "end the Dockerfile with `FROM scratch` and `COPY --from=… / /` to get one layer",
    ),
    (
        &["images"],
        &["--tree"],
        "an image here is for one platform: there is nothing below it",
    ),
    (
        &["import"],
        &["--platform"],
        "an imported image is for this machine's platform",
    ),
    (
        &["load"],
        &["--platform"],
        "each image of the archive is taken for the platform it has",
    ),
    (
        &["network create"],
        &["--config-only", "--config-from", "--ingress"],
        CLUSTER,
    ),
    (
        &["network create"],
        &["--ipam-driver", "--ipam-opt"],
        "addresses are orc's own to give: use `--subnet`, `--ip-range` and `--gateway`",
    ),
    (
        &["network connect"],
        &["--driver-opt"],
        "a container's place on a bridge has no options",
    ),
    (
        &["volume create"],
        &[
            "--availability",
            "--group",
            "--limit-bytes",
            "--required-bytes",
            "--scope",
            "--secret",
            "--sharing",
            "--topology-preferred",
            "--topology-required",
            "--type",
        ],
        CLUSTER_VOLUMES,
    ),
    (&["volume ls"], &["--cluster"], CLUSTER_VOLUMES),
];

const CREATE: &[&str] = &["run", "create"];
const CLUSTER: &str = "it is about a cluster, and orc has none yet";
const CLUSTER_VOLUMES: &str = "it is about volumes of a cluster, and orc has none yet";

/// The same command under the name that Docker gave it first.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("builder build", "build"),
    ("image build", "build"),
    ("image import", "import"),
    ("image load", "load"),
    ("image ls", "images"),
    ("image list", "images"),
    ("container create", "create"),
    ("container remove", "rm"),
    ("container rm", "rm"),
    ("container run", "run"),
    ("container start", "start"),
];

/// Why there is no such command; `words` are those of a command line, without `orc`.
pub(crate) fn command(words: &str) -> Option<&'static str> {
    COMMANDS
        .iter()
        .find(|(name, _)| *name == words)
        .map(|(_, why)| *why)
}

/// Why `command` (its words, without `orc`) does not take `flag`, `--name` or `-n`. A row and its reason
/// of the flags before the command serve wherever they were typed.
pub(crate) fn flag(command: &str, flag: &str) -> Option<&'static str> {
    let first = OTHER_NAMES
        .iter()
        .find(|(other, _)| *other == command)
        .map_or(command, |(_, first)| first);
    let of = |command: &str| {
        FLAGS
            .iter()
            .find(|(commands, flags, _)| commands.contains(&command) && flags.contains(&flag))
            .map(|(_, _, why)| *why)
    };
    of(first).or_else(|| of(""))
}

/// Every row of flags as a pair of command and flag.
#[cfg(test)]
pub(crate) fn flags() -> impl Iterator<Item = (&'static str, &'static str)> {
    FLAGS.iter().flat_map(|(commands, flags, _)| {
        commands
            .iter()
            .flat_map(|command| flags.iter().map(|flag| (*command, *flag)))
    })
}

/// Every refused command.
#[cfg(test)]
pub(crate) fn commands() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_refused_where_docker_has_it() {
        assert!(flag("run", "--gpus").is_some_and(|why| why.contains("--device")));
        assert_eq!(flag("container run", "--gpus"), flag("run", "--gpus"));
        assert_eq!(flag("ps", "--gpus"), None);
        assert!(flag("ps", "--tlsverify").is_some());
        assert!(command("swarm").is_some() && command("run").is_none());
    }
}
