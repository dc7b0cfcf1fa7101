//! What is told of every write and every stream: who, what, and what came of it. Never what was in it.

use std::fmt;

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Who asked.
    pub user: String,
    /// As in `create`.
    pub verb: String,
    /// As in `deployments.apps` or `pods/exec`.
    pub resource: String,
    /// Where; empty outside of namespaces.
    pub namespace: String,
    /// Of which object; empty for many, or one that has no name yet.
    pub name: String,
    /// The answer's code.
    pub code: u16,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            verb,
            resource,
            namespace,
            name,
            code,
        } = self;
        write!(f, "{code} {user:?} {verb} {resource}")?;
        match (namespace.as_str(), name.as_str()) {
            ("", "") => Ok(()),
            ("", name) => write!(f, " {name}"),
            (namespace, name) => write!(f, " {namespace}/{name}"),
        }
    }
}

/// Takes the lines.
pub type Sink = Box<dyn Fn(&Line) + Send + Sync>;

/// Into the daemon's log.
pub fn to_log() -> Sink {
    Box::new(|line| tracing::info!(target: "audit", "{line}"))
}
