//! What the API has beside the objects of the table of kinds: questions that are answered and not kept,
//! and what stands below objects without being stored. Discovery and the documents read it.

use crate::kind::{ObjectKind, Subresource};

/// A question that is answered at once: it can only be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Review {
    pub(super) group: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
}

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

const fn review(group: &'static str, plural: &'static str, kind: &'static str) -> Review {
    Review {
        group,
        plural,
        kind,
        namespaced: false,
    }
}

/// All of them, of version v1.
pub(super) const REVIEWS: &[Review] = &[
    review(AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview"),
    review(AUTHENTICATION, "tokenreviews", "TokenReview"),
    Review {
        namespaced: true,
        ..review(
            AUTHORIZATION,
            "localsubjectaccessreviews",
            "LocalSubjectAccessReview",
        )
    },
    review(
        AUTHORIZATION,
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
    ),
    review(
        AUTHORIZATION,
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
    ),
    review(AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview"),
];

/// What stands below an object, for discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Below {
    pub(super) name: &'static str,
    /// Group, version and kind of what it takes and gives.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) verbs: &'static [&'static str],
}

/// All that stands below the objects of a kind.
pub(super) fn below(kind: &ObjectKind) -> Vec<Below> {
    let stored = kind.subresources.iter().map(|one| stored(kind, *one));
    let streams = match (kind.group, kind.plural) {
        ("", "pods") => STREAMS,
        ("", "serviceaccounts") => TOKEN,
        _ => &[],
    };
    stored.chain(streams.iter().copied()).collect()
}

fn stored(kind: &ObjectKind, subresource: Subresource) -> Below {
    let own = Below {
        name: subresource.name(),
        group: kind.group,
        version: kind.version,
        kind: kind.kind,
        verbs: &["get", "patch", "update"],
    };
    match subresource {
        Subresource::Status | Subresource::EphemeralContainers => own,
        Subresource::Finalize => Below {
            verbs: &["update"],
            ..own
        },
        Subresource::Scale => Below {
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            ..own
        },
        Subresource::Binding => Below {
            kind: "Binding",
            verbs: &["create"],
            ..own
        },
        Subresource::Eviction => Below {
            group: "policy",
            version: "v1",
            kind: "Eviction",
            verbs: &["create"],
            ..own
        },
    }
}

const fn stream(name: &'static str, kind: &'static str) -> Below {
    Below {
        name,
        group: "",
        version: "v1",
        kind,
        verbs: &["create", "get"],
    }
}

const STREAMS: &[Below] = &[
    stream("attach", "PodAttachOptions"),
    stream("exec", "PodExecOptions"),
    Below {
        verbs: &["get"],
        ..stream("log", "Pod")
    },
    stream("portforward", "PodPortForwardOptions"),
];

const TOKEN: &[Below] = &[Below {
    name: "token",
    group: AUTHENTICATION,
    version: "v1",
    kind: "TokenRequest",
    verbs: &["create"],
}];
