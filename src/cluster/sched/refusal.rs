//! Why a node does not take a pod, in words.
//!
//! Each refusal knows three sentences: in the summary of many nodes, of one node, and the smallest
//! change that would lift it.

use orc_base::units::format_bytes_binary;

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Someone marked the node unschedulable.
    Drained,
    /// A taint that the pod does not tolerate, as `key=value:Effect`.
    Taint(String),
    /// Labels that the pod's `nodeSelector` asks for.
    Label(String),
    /// The pod's required node affinity.
    Affinity,
    /// The pod may run only on the node of this name.
    OtherNode(String),
    /// Too little of something.
    Lacks {
        /// The resource's name as in the manifest.
        resource: String,
        /// What the pod asks for.
        need: i64,
        /// What is left.
        free: i64,
        /// What the node has altogether.
        has: i64,
    },
    /// As many pods as the node takes.
    Full {
        /// How many that is.
        pods: i64,
    },
    /// A port of the node that is taken, as `8080/TCP`.
    Port(String),
    /// No pod that this one must be with, within this topology.
    NoPeer(String),
    /// A pod that this one must not be with, within this topology.
    Peer(String),
    /// A pod that does not want this one near, within this topology.
    UnwantedBy(String),
    /// More pods than an even spread over this topology allows.
    Uneven {
        /// The label whose values are spread over.
        topology: String,
        /// How uneven it would be.
        skew: i64,
        /// How uneven it may be.
        max_skew: i64,
    },
    /// The node lacks the label that a spread goes by.
    NoTopology(String),
}

impl Refusal {
    /// For the summary of `count` nodes: `2 lack memory (need 512 MiB)`.
    pub(crate) fn of_many(&self, count: usize) -> String {
        let verb = |one: &str, many: &str| if count == 1 { one } else { many }.to_owned();
        let lack = verb("lacks", "lack");
        let text = match self {
            Self::Drained => format!("{} drained", verb("is", "are")),
            Self::Taint(taint) => format!("{} taint {taint}", verb("has", "have")),
            Self::Label(label) => format!("{lack} label {label}"),
            Self::Affinity => format!("{} the node affinity", verb("misses", "miss")),
            Self::OtherNode(name) => format!("{} not {name}", verb("is", "are")),
            Self::Lacks { resource, need, .. } => {
                format!(
                    "{lack} {} (need {})",
                    noun(resource),
                    amount(resource, *need)
                )
            }
            Self::Full { .. } => format!("{} full", verb("is", "are")),
            Self::Port(port) => format!("{} port {port} taken", verb("has", "have")),
            Self::NoPeer(_) => format!("{lack} the pods it must be with"),
            Self::Peer(_) => format!("{} a pod it must not be with", verb("has", "have")),
            Self::UnwantedBy(_) => {
                format!("{} a pod that does not want it near", verb("has", "have"))
            }
            Self::Uneven { topology, .. } => {
                format!("would make the spread over {topology} uneven")
            }
            Self::NoTopology(label) => format!("{lack} label {label}"),
        };
        format!("{count} {text}")
    }

    /// What makes two refusals one line of a summary.
    pub(crate) fn group(&self) -> Self {
        match self {
            Self::Lacks { resource, need, .. } => Self::Lacks {
                resource: resource.clone(),
                need: *need,
                free: 0,
                has: 0,
            },
            Self::Full { .. } => Self::Full { pods: 0 },
            Self::Uneven { topology, .. } => Self::Uneven {
                topology: topology.clone(),
                skew: 0,
                max_skew: 0,
            },
            other => other.clone(),
        }
    }

    /// The smallest change on `node` or of the pod that would lift it.
    pub fn remedy(&self, node: &str) -> String {
        match self {
            Self::Drained => format!("`orc node update --availability active {node}`"),
            Self::Taint(taint) => format!("a toleration of {taint}"),
            Self::Label(label) | Self::NoTopology(label) => format!("label {label} on {node}"),
            Self::Affinity => format!("a node affinity that {node} meets"),
            Self::OtherNode(name) => format!("room on {name}, the only node it may run on"),
            Self::Lacks {
                resource,
                need,
                free,
                has,
            } if need > has => format!(
                "a node with {} {} ({node} has {} at all, {} free)",
                amount(resource, *need),
                noun(resource),
                amount(resource, *has),
                amount(resource, (*free).max(0))
            ),
            Self::Lacks {
                resource,
                need,
                free,
                ..
            } => format!(
                "{} {} more on {node}",
                amount(resource, need - free),
                noun(resource)
            ),
            Self::Full { pods } => format!("one pod fewer than {pods} on {node}"),
            Self::Port(port) => format!("port {port} of {node} given up"),
            Self::NoPeer(topology) => {
                format!("a pod it must be with, in the same {topology} as {node}")
            }
            Self::Peer(topology) => {
                format!("no pod it must not be with, in the same {topology} as {node}")
            }
            Self::UnwantedBy(topology) => {
                format!("no pod that keeps it away, in the same {topology} as {node}")
            }
            Self::Uneven { topology, skew, .. } => format!("maxSkew {skew} over {topology}"),
        }
    }
}

/// Of one node: `lacks memory: needs 512 MiB, 100 MiB of 2 GiB are free`.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lacks {
                resource,
                need,
                free,
                has,
            } => write!(
                f,
                "lacks {}: needs {}, {} of {} free",
                noun(resource),
                amount(resource, *need),
                amount(resource, (*free).max(0)),
                amount(resource, *has)
            ),
            Self::Full { pods } => write!(f, "is full: has {pods} pods"),
            Self::NoPeer(topology) => {
                write!(f, "lacks the pods it must be with (same {topology})")
            }
            Self::Peer(topology) => write!(f, "has a pod it must not be with (same {topology})"),
            Self::UnwantedBy(topology) => {
                write!(f, "has a pod that does not want it near (same {topology})")
            }
            Self::Uneven {
                topology,
                skew,
                max_skew,
            } => write!(
                f,
                "would make the spread over {topology} uneven: by {skew}, may be {max_skew}"
            ),
            other => f.write_str(other.of_many(1).trim_start_matches("1 ")),
        }
    }
}

fn noun(resource: &str) -> &str {
    match resource {
        "ephemeral-storage" => "disk",
        other => other,
    }
}

/// `512 MiB` of memory, `1.5` processors, `2` of anything else.
fn amount(resource: &str, value: i64) -> String {
    match resource {
        "cpu" => match value % 1000 {
            0 => (value / 1000).to_string(),
            _ => format!("{value}m"),
        },
        "memory" | "ephemeral-storage" => {
            let text = format_bytes_binary(u64::try_from(value).unwrap_or(0));
            let unit = text
                .find(|c: char| c.is_ascii_alphabetic())
                .unwrap_or(text.len());
            format!("{} {}", &text[..unit], &text[unit..])
        }
        _ => value.to_string(),
    }
}
