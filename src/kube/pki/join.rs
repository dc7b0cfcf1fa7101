//! Joining: what the new machine sends, what the cluster decides, and what the machine checks.
//!
//! Pure. The connection (`tls::joining`) has made sure of the cluster before [`JoinRequest`] is sent. The
//! caller writes the token's use and the new node in the same transaction as it answers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orc_base::{Error, Result, Time};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::pki::authority::{self, NODE_LIFE};
use crate::pki::identity::{NodeIdentity, Role, ServedName, Subject};
use crate::pki::peer::Peer;
use crate::pki::rotation::Roots;
use crate::pki::token::{self, JoinToken, TokenRecord};

/// How far two clocks may be apart: certificates are backdated by an hour.
const MAX_SKEW: Duration = Duration::from_secs(1800);

/// What a machine sends that wants to join.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Which token it has.
    pub token: String,
    /// The token's secret.
    pub secret: String,
    /// The name it wants.
    pub node: String,
    /// Its request for a certificate: base64 of DER.
    pub request: String,
    /// Its clock.
    pub time: Time,
}

/// What the cluster answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The cluster's id.
    pub cluster: String,
    /// What the machine is now.
    pub role: Role,
    /// Its certificate and what it shows behind it, PEM.
    pub chain: String,
    /// The roots to trust, PEM.
    pub roots: String,
}

/// What the cluster knows when somebody knocks.
#[derive(Debug)]
pub struct Cluster<'c> {
    /// Its id.
    pub id: &'c str,
    /// Its roots.
    pub roots: &'c Roots,
    /// The tokens that were given out.
    pub tokens: &'c [TokenRecord],
    /// The names of its machines.
    pub nodes: &'c [String],
    /// Its clock.
    pub now: Time,
}

/// The machine's side, first half: a new key and what to send. The key never leaves the machine.
pub fn ask(token: &JoinToken, node: &str, now: Time) -> Result<(JoinRequest, String)> {
    let (request, key) = authority::request()?;
    let request = JoinRequest {
        token: token.id.clone(),
        secret: token.secret(),
        node: node.to_owned(),
        request: STANDARD.encode(request),
        time: now,
    };
    Ok((request, key))
}

/// The cluster's side: the answer, and the token as it is to be kept from now on. `Denied` for the token,
/// `Conflict` for a name that is taken, `Invalid` for a wrong clock, name or request.
pub fn admit(
    cluster: &Cluster<'_>,
    request: &JoinRequest,
    address: std::net::IpAddr,
) -> Result<(JoinAnswer, TokenRecord)> {
    // The token first: strangers learn nothing else.
    let used = token::admit(cluster.tokens, &request.token, &request.secret, cluster.now)?;
    check_clock(request.time, cluster.now)?;
    let identity = NodeIdentity::new(cluster.id, &request.node, used.role)?;
    if cluster.nodes.contains(&request.node) {
        let node = &request.node;
        return Err(Error::conflict(format!(
            "a node named {node} is in the cluster already: give this machine another name, or remove the old one with `orc node rm {node}`"
        )));
    }
    let bytes = STANDARD
        .decode(&request.request)
        .map_err(|_| Error::invalid("the certificate request is not base64"))?;
    let subject = Subject::Node {
        identity,
        names: vec![ServedName::Address(address)],
    };
    let signer = cluster.roots.signer()?;
    let certificate = signer.sign(&bytes, &subject, cluster.now, NODE_LIFE)?;
    let answer = JoinAnswer {
        cluster: cluster.id.to_owned(),
        role: used.role,
        chain: certificate + &cluster.roots.chain().concat(),
        roots: cluster.roots.trusted().concat(),
    };
    Ok((answer, used))
}

/// The machine's side, second half: whether the answer is what was asked for.
pub fn accept(answer: &JoinAnswer, node: &str, now: Time) -> Result<NodeIdentity> {
    let leaf = CertificateDer::from_pem_slice(answer.chain.as_bytes())
        .map_err(|_| Error::invalid("the cluster answered with no certificate"))?;
    let peer = Peer::read(&leaf)?;
    if now < peer.not_before || now >= peer.not_after {
        let (begin, end) = (peer.not_before, peer.not_after);
        return Err(Error::invalid(format!(
            "the cluster's certificate for this machine is good from {begin} to {end}, and its clock says {now}: set the clock"
        )));
    }
    let identity = NodeIdentity::new(&answer.cluster, node, answer.role)?;
    if peer.node.as_ref() != Some(&identity) {
        return Err(Error::invalid(
            "the cluster answered with the certificate of another machine",
        ));
    }
    Ok(identity)
}

fn check_clock(theirs: Time, ours: Time) -> Result<()> {
    let apart = theirs.since(ours).max(ours.since(theirs));
    if apart <= MAX_SKEW {
        return Ok(());
    }
    let word = if theirs > ours { "ahead" } else { "behind" };
    let hours = apart.as_secs() / 3600;
    let minutes = apart.as_secs() / 60 % 60;
    Err(Error::invalid(format!(
        "this machine's clock is {hours} h {minutes} min {word} of the cluster's ({ours}): set it, then join again"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::token::WORKER_LIFE;

    fn noon() -> Time {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    struct Case {
        roots: Roots,
        token: JoinToken,
        tokens: Vec<TokenRecord>,
        nodes: Vec<String>,
    }

    fn case() -> Case {
        let roots = Roots::first("c1", noon()).unwrap();
        let digest = roots.signer().unwrap().digest().unwrap();
        let (token, record) = token::create(digest, Role::Worker, noon(), WORKER_LIFE, Some(1));
        Case {
            roots,
            token,
            tokens: vec![record],
            nodes: vec!["n1".to_owned()],
        }
    }

    impl Case {
        fn admit(&self, request: &JoinRequest) -> Result<(JoinAnswer, TokenRecord)> {
            let cluster = Cluster {
                id: "c1",
                roots: &self.roots,
                tokens: &self.tokens,
                nodes: &self.nodes,
                now: noon(),
            };
            admit(&cluster, request, [10, 0, 0, 2].into())
        }
    }

    #[test]
    fn a_machine_joins_once() {
        let mut case = case();
        let (request, _) = ask(&case.token, "n2", noon()).unwrap();
        let (answer, used) = case.admit(&request).unwrap();
        let identity = accept(&answer, "n2", noon()).unwrap();
        assert_eq!(identity.to_string(), "spiffe://c1/node/n2/worker");
        assert!(accept(&answer, "n3", noon()).is_err());
        case.tokens = vec![used];
        let error = case.admit(&request).unwrap_err().to_string();
        assert!(error.contains("has been used up"), "{error}");
    }

    #[test]
    fn says_what_is_wrong() {
        let case = case();
        let refusal = |node: &str, time: Time, change: fn(&mut JoinRequest)| {
            let (mut request, _) = ask(&case.token, node, time).unwrap();
            change(&mut request);
            case.admit(&request).unwrap_err().to_string()
        };
        let day = Duration::from_secs(86_400);
        assert_eq!(
            refusal("n2", noon().plus(day), |_| ()),
            "this machine's clock is 24 h 0 min ahead of the cluster's (2026-11-21T12:00:00Z): set it, then join again"
        );
        let taken = refusal("n1", noon(), |_| ());
        assert!(taken.starts_with("a node named n1 is in the cluster already"));
        let name = refusal("../n", noon(), |_| ());
        assert!(name.contains("is no name of a node"), "{name}");
        let token = refusal("n2", noon(), |request| request.secret.push('x'));
        assert!(token.starts_with("the join token is not one of this cluster's"));
        let bytes = refusal("n2", noon(), |request| request.request = "AAAA".to_owned());
        assert!(bytes.contains("the certificate request"), "{bytes}");
    }
}
