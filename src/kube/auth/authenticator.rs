//! From what a connection and a request show to a user.
//!
//! A certificate was checked by TLS (`pki::trust`) and names its user; a bearer token of a service account
//! is good as long as the account and the pod it is bound to exist. Long requests ask again.

use std::sync::Arc;

use orc_base::{Clock, Error, Result};

use crate::auth::jwt::{Bound, Claims, Keys};
use crate::auth::user::User;
use crate::kinds;
use crate::objects::{Objects, Target};
use crate::pki::identity::ADMINISTRATORS;
use crate::pki::peer::Peer;
use crate::pki::trust::Gate;
use crate::status::Reason;

/// What somebody shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    Nothing,
    /// A certificate that TLS has accepted.
    Certificate(Box<Peer>),
    /// A bearer token. Never printed.
    Token(Token),
}

/// A bearer token; prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Finds users.
pub struct Authenticator {
    objects: Arc<dyn Objects>,
    keys: Keys,
    gate: Gate,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// `gate` is asked about certificates again and again: the place of the list of removed nodes.
    pub fn new(objects: Arc<dyn Objects>, keys: Keys, gate: Gate, clock: Arc<dyn Clock>) -> Self {
        Self {
            objects,
            keys,
            gate,
            clock,
        }
    }

    /// Who it is. `Denied` when what was shown is not, or no longer, good; `Unavailable` when nobody can
    /// say now.
    pub async fn user(&self, credential: &Credential) -> Result<User> {
        match credential {
            Credential::Nothing => Ok(User::anonymous()),
            Credential::Certificate(peer) => {
                if self.clock.now() >= peer.not_after {
                    return Err(Error::denied("the certificate has expired"));
                }
                (self.gate)(peer)?;
                Ok(of_certificate(peer))
            }
            Credential::Token(token) => Ok(self.token(&token.0, &[]).await?.0),
        }
    }

    /// Whose token it is, and what it says.
    pub async fn token(&self, token: &str, audiences: &[String]) -> Result<(User, Claims)> {
        let claims = self.keys.verify(token, audiences, self.clock.now())?;
        let binding = &claims.binding;
        let namespace = &binding.namespace;
        let account = &binding.serviceaccount;
        self.check(namespace, "serviceaccounts", account).await?;
        let mut user = User::service_account(namespace, &account.name, &account.uid);
        for (plural, bound) in [("pods", &binding.pod), ("secrets", &binding.secret)] {
            if let Some(bound) = bound {
                self.check(namespace, plural, bound).await?;
            }
        }
        if let Some(pod) = &binding.pod {
            let extra = |name: &str| format!("authentication.kubernetes.io/pod-{name}");
            user.extra.insert(extra("name"), vec![pod.name.clone()]);
            user.extra.insert(extra("uid"), vec![pod.uid.clone()]);
        }
        Ok((user, claims))
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Claims) -> Result<String> {
        self.keys.sign(claims)
    }

    async fn check(&self, namespace: &str, plural: &str, bound: &Bound) -> Result<()> {
        let kind = kinds::by_resource("", "v1", plural).expect("a kind of the table");
        let target = Target::new(kind, namespace, &bound.name);
        match self.objects.get(&target, "0").await {
            Ok(object) if object.uid() == bound.uid => Ok(()),
            Ok(_) => Err(Error::denied(
                "what the token is bound to is no longer there",
            )),
            Err(status) if status.reason() == Reason::NotFound => Err(Error::denied(
                "what the token is bound to is no longer there",
            )),
            Err(status) => Err(status.into()),
        }
    }
}

/// Machines are told apart by their URI, which only the authority gives: a person cannot become one by a
/// name, and a machine has no groups but its own.
fn of_certificate(peer: &Peer) -> User {
    match &peer.node {
        Some(node) => User::new(&node.user(), &[crate::pki::identity::NODES.to_owned()]),
        None => {
            let mut groups = peer.organizations.clone();
            groups.retain(|group| group == ADMINISTRATORS || !group.starts_with("system:"));
            User::new(&peer.common_name, &groups)
        }
    }
}
