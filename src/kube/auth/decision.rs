//! What is asked of the table of rights, and what it answers: plain data.

/// What somebody wants to do, as Kubernetes says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Attributes {
    /// As in `list`.
    pub(crate) verb: String,
    /// As in `apps`.
    pub(crate) group: String,
    /// As in `pods`; empty for what is no resource.
    pub(crate) resource: String,
    /// As in `log`.
    pub(crate) subresource: String,
    /// Empty for all of them, and for what has none.
    pub(crate) namespace: String,
    /// Empty for many at once.
    pub(crate) name: String,
    /// The path of what is no resource.
    pub(crate) path: String,
    /// Equality in the field selector, as in `spec.nodeName`, `n1`.
    pub(crate) fields: Vec<(String, String)>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Yes, and why.
    Allow(&'static str),
    /// Yes, if this is so.
    Ask(Question),
    /// No.
    Deny,
}

/// What must be so for a machine to do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// The pod runs on the node.
    PodIsOn {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The node.
        node: String,
    },
    /// A pod on the node uses the object.
    IsUsedOn {
        /// `secrets`, `configmaps` or `serviceaccounts`.
        resource: String,
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// The node.
        node: String,
    },
}
