//! A user as Kubernetes knows one: a name and groups.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The group of everybody who is known.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of those who are not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of all service accounts.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// The name.
    pub name: String,
    /// The identity behind the name, when there is one.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else is known, such as the pod of a token.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Somebody known, by name and groups.
    pub fn new(name: &str, groups: &[String]) -> Self {
        let mut groups = groups.to_vec();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self {
            name: name.to_owned(),
            groups,
            ..Self::default()
        }
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let groups = [
            SERVICE_ACCOUNTS.to_owned(),
            format!("{SERVICE_ACCOUNTS}:{namespace}"),
        ];
        let name = format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}");
        Self {
            uid: uid.to_owned(),
            ..Self::new(&name, &groups)
        }
    }

    /// Whether it is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The namespace of a service account.
    pub fn service_account_namespace(&self) -> Option<&str> {
        if !self.is_in(SERVICE_ACCOUNTS) {
            return None;
        }
        let rest = self.name.strip_prefix(SERVICE_ACCOUNT_PREFIX)?;
        Some(rest.split_once(':')?.0)
    }

    /// `UserInfo` of `authentication.k8s.io/v1`.
    pub fn to_json(&self) -> Value {
        let mut info = json!({ "username": self.name, "groups": self.groups });
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}
