//! What an object is called: its kind, its namespace and its name.

use std::fmt;

use k8s_openapi::Resource;

/// A kind of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// As in `apps`; empty for the core.
    pub group: &'static str,
    /// As in `v1`.
    pub version: &'static str,
    /// As in `Deployment`.
    pub name: &'static str,
}

impl Kind {
    /// The kind of a type.
    pub const fn of<T: Resource>() -> Self {
        Self {
            group: T::GROUP,
            version: T::VERSION,
            name: T::KIND,
        }
    }

    /// As in `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Ref {
    /// The object of a type with this name.
    pub fn to<T: Resource>(namespace: &str, name: &str) -> Self {
        Self {
            kind: Kind::of::<T>(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// `Pod default/web-1`, `Node n1`.
impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind.name, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind.name, self.name),
        }
    }
}
