//! Who asks a registry.
//!
//! Secrets are never printed: `Debug` shows the account at most. Where accounts are written down is
//! `credentials_file`'s and `credential_helper`'s; which host may see a secret is decided in
//! `registry/token.rs` and `registry/hops.rs`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// An account at a registry.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// The account.
    pub username: String,
    /// Its secret.
    pub password: String,
    /// An OAuth2 refresh token instead of both; empty when there is none.
    pub identity_token: String,
}

impl Credentials {
    /// A name and a password.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
            identity_token: String::new(),
        }
    }

    /// Whether there is nothing to show a registry.
    pub fn is_empty(&self) -> bool {
        self.username.is_empty() && self.password.is_empty() && self.identity_token.is_empty()
    }

    /// The value of an `Authorization: Basic` header.
    pub(crate) fn basic_value(&self) -> String {
        let pair = format!("{}:{}", self.username, self.password);
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// Every text that must not appear in an error or a log.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let basic = self.basic_value();
        let encoded = basic.trim_start_matches("Basic ").to_owned();
        [self.password.clone(), self.identity_token.clone(), encoded]
            .into_iter()
            .filter(|secret| !secret.is_empty())
            .collect()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.username)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_not_printed() {
        let mut credentials = Credentials::basic("ann", "s3cr3t");
        credentials.identity_token = "t0ken".into();
        assert_eq!(format!("{credentials:?}"), "Credentials(ann)");
        assert_eq!(credentials.secrets().len(), 3);
    }
}
