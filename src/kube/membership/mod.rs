//! Who belongs to the cluster, as the store keeps it: roots, join tokens, nodes and their certificates.
//!
//! ```text
//! /orc/cluster        which cluster this is            /orc/tokens/<id>    who may join, and as what
//! /orc/roots          who signs, and who is believed   /orc/nodes/<name>   who did, and by which certificates
//! ```
//!
//! Every change is one transaction under guards, so two managers cannot let two machines in by one use of
//! a token, or under one name. A certificate counts as long as the record of its node names it: a node
//! that was removed is refused at once, and its name may be given again. [`Members::gate`] is where
//! listeners ask, from memory.

mod gate;
mod records;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orc_base::{Clock, Error, Result};
use orc_store::{Change, Guard, NodeId, Store, Transaction, Verdict};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::membership::records::{Records, key};
use crate::pki::authority::{self, Issued, NODE_LIFE};
use crate::pki::identity::{ADMINISTRATORS, NodeIdentity, Role, ServedName, Subject};
use crate::pki::join::{self, JoinAnswer, JoinRequest};
use crate::pki::peer::Peer;
use crate::pki::rotation::Roots;
use crate::pki::token::{self, JoinToken, MANAGER_LIFE, TokenRecord, WORKER_LIFE};

pub use gate::Known;
pub use records::{ClusterRecord, NodeRecord};

/// How often a change is tried against others that come first.
const TRIES: usize = 10;
/// Certificates of one node that are good at once: the current one, and the next until it is shown.
const CERTIFICATES: usize = 2;

/// The cluster's members, over its store.
#[derive(Clone)]
pub struct Members {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Members {
    /// Those that a store knows.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Begins a cluster whose first node is a manager. Returns the answer that it would get for joining,
    /// and the key that goes with its certificate. `Conflict` when the store has a cluster already.
    pub async fn found(
        &self,
        cluster: &str,
        node: &str,
        member: NodeId,
        address: IpAddr,
    ) -> Result<(JoinAnswer, String)> {
        let now = self.clock.now();
        let identity = NodeIdentity::new(cluster, node, Role::Manager)?;
        let roots = Roots::first(cluster, now)?;
        let (request, private) = authority::request()?;
        let answer = sign(&roots, &identity, &request, address, now)?;
        let record = NodeRecord {
            role: Role::Manager,
            member: Some(member),
            address,
            joined: now,
            certificates: vec![serial(&answer)?],
        };
        let cluster = ClusterRecord {
            id: cluster.to_owned(),
            created: now,
        };
        let verdict = self.store.commit(Transaction {
            guards: vec![Guard::Absent(key("cluster", "")?)],
            changes: vec![
                records::put("cluster", "", &cluster)?,
                records::put("roots", "", &roots)?,
                records::put("nodes", node, &record)?,
            ],
        });
        match verdict.await? {
            Verdict::Made { .. } => Ok((answer, private)),
            Verdict::Refused { .. } => Err(Error::conflict("there is a cluster already")),
        }
    }

    /// Which cluster this is. `NotFound` before it was founded.
    pub async fn cluster(&self) -> Result<ClusterRecord> {
        Ok(self.read().await?.cluster)
    }

    /// Who signs and who is believed.
    pub async fn roots(&self) -> Result<Roots> {
        Ok(self.read().await?.roots)
    }

    /// All nodes by name.
    pub async fn nodes(&self) -> Result<Vec<(String, NodeRecord)>> {
        let nodes = self.read().await?.nodes;
        Ok(nodes
            .into_iter()
            .map(|(name, (record, _))| (name, record))
            .collect())
    }

    /// All tokens that were given out and not taken back.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        let tokens = self.read().await?.tokens;
        Ok(tokens.into_iter().map(|(record, _)| record).collect())
    }

    /// Makes a token. A manager's is good for one machine unless `uses` says otherwise; `life` has its usual
    /// length for the role when it is not given.
    pub async fn create_token(
        &self,
        role: Role,
        life: Option<Duration>,
        uses: Option<u32>,
    ) -> Result<JoinToken> {
        self.replace_tokens(role, life, uses, false).await
    }

    /// The same, and takes back all others for that role.
    pub async fn rotate_token(
        &self,
        role: Role,
        life: Option<Duration>,
        uses: Option<u32>,
    ) -> Result<JoinToken> {
        self.replace_tokens(role, life, uses, true).await
    }

    async fn replace_tokens(
        &self,
        role: Role,
        life: Option<Duration>,
        uses: Option<u32>,
        alone: bool,
    ) -> Result<JoinToken> {
        let (usual, once) = match role {
            Role::Manager => (MANAGER_LIFE, Some(1)),
            Role::Worker => (WORKER_LIFE, None),
        };
        let life = life.unwrap_or(usual);
        self.change(|records, now| {
            let digest = records.roots.signer()?.digest()?;
            let (token, record) = token::create(digest, role, now, life, uses.or(once));
            let mut changes = vec![records::put("tokens", &record.id, &record)?];
            for (old, _) in &records.tokens {
                if now >= old.expires || (alone && old.role == role) {
                    changes.push(Change::Remove(key("tokens", &old.id)?));
                }
            }
            Ok((token, vec![records.roots_unchanged()?], changes))
        })
        .await
    }

    /// Takes a token back. `NotFound` when there is none of that id.
    pub async fn revoke_token(&self, id: &str) -> Result<()> {
        self.change(|records, _| {
            if !records.tokens.iter().any(|(token, _)| token.id == id) {
                return Err(Error::not_found(format!("there is no join token {id}")));
            }
            Ok(((), vec![], vec![Change::Remove(key("tokens", id)?)]))
        })
        .await
    }

    /// Lets a machine in that came with a token from `address`. Errors as [`join::admit`].
    pub async fn admit(
        &self,
        request: &JoinRequest,
        member: Option<NodeId>,
        address: IpAddr,
    ) -> Result<JoinAnswer> {
        self.change(|records, now| {
            let tokens: Vec<_> = records
                .tokens
                .iter()
                .map(|(token, _)| token.clone())
                .collect();
            let nodes: Vec<_> = records.nodes.keys().cloned().collect();
            let cluster = join::Cluster {
                id: &records.cluster.id,
                roots: &records.roots,
                tokens: &tokens,
                nodes: &nodes,
                now,
            };
            let (answer, used) = join::admit(&cluster, request, address)?;
            let record = NodeRecord {
                role: answer.role,
                member: member.filter(|_| answer.role == Role::Manager),
                address,
                joined: now,
                certificates: vec![serial(&answer)?],
            };
            let guards = vec![
                records.roots_unchanged()?,
                records.token_unchanged(&used.id)?,
                Guard::Absent(key("nodes", &request.node)?),
            ];
            let token = match used.uses_left {
                Some(0) => Change::Remove(key("tokens", &used.id)?),
                _ => records::put("tokens", &used.id, &used)?,
            };
            let changes = vec![token, records::put("nodes", &request.node, &record)?];
            Ok((answer, guards, changes))
        })
        .await
    }

    /// The next certificate of a node that has one: base64 of a request, as for joining. `Denied` when it is
    /// none of the cluster any more.
    pub async fn renew(&self, peer: &Peer, request: &str, address: IpAddr) -> Result<JoinAnswer> {
        let request = STANDARD
            .decode(request)
            .map_err(|_| Error::invalid("the certificate request is not base64"))?;
        self.change(|records, now| {
            let (name, mut record) = records.node_of(peer)?;
            let identity = NodeIdentity::new(&records.cluster.id, &name, record.role)?;
            let answer = sign(&records.roots, &identity, &request, address, now)?;
            record.address = address;
            // What it shows now, and what it will show.
            record.certificates.retain(|serial| *serial == peer.serial);
            record.certificates.push(serial(&answer)?);
            debug_assert!(record.certificates.len() <= CERTIFICATES);
            let guards = vec![records.roots_unchanged()?, records.node_unchanged(&name)?];
            Ok((answer, guards, vec![records::put("nodes", &name, &record)?]))
        })
        .await
    }

    /// Makes a node a manager, as the member of that number, or a worker. Its certificate says so after its
    /// next renewal, for which it is given `renew` right away.
    pub async fn set_role(&self, node: &str, role: Role, member: Option<NodeId>) -> Result<()> {
        self.change(|records, _| {
            let mut record = records.node(node)?;
            record.role = role;
            record.member = member.filter(|_| role == Role::Manager);
            let managers = records
                .nodes
                .iter()
                .filter(|(name, (other, _))| other.role == Role::Manager && *name != node);
            if role == Role::Worker && managers.count() == 0 {
                return Err(Error::conflict(format!(
                    "{node} is the only manager: promote another node first"
                )));
            }
            let guards = vec![records.node_unchanged(node)?];
            Ok(((), guards, vec![records::put("nodes", node, &record)?]))
        })
        .await
    }

    /// Removes a node: its certificates are refused from now on. `NotFound` when there is none of that name.
    pub async fn remove(&self, node: &str) -> Result<NodeRecord> {
        self.change(|records, _| {
            let record = records.node(node)?;
            let guards = vec![records.node_unchanged(node)?];
            Ok((record, guards, vec![Change::Remove(key("nodes", node)?)]))
        })
        .await
    }

    /// Begins with a new root. Every token is taken back: tokens name the root.
    pub async fn rotate_root(&self) -> Result<()> {
        self.change(|records, now| {
            let roots = records.roots.begin(&records.cluster.id, now)?;
            Ok((
                (),
                vec![records.roots_unchanged()?],
                vec![records::put("roots", "", &roots)?],
            ))
        })
        .await
    }

    /// Goes on with a rotation if all nodes are ready for the next step, as they say themselves; whether it
    /// went.
    pub async fn step_root(&self, progress: &[crate::pki::rotation::Progress]) -> Result<bool> {
        self.change(|records, _| {
            let missing = records
                .nodes
                .keys()
                .any(|name| !progress.iter().any(|said| said.node == *name));
            let Some(next) = records.roots.step(progress)?.filter(|_| !missing) else {
                return Ok((false, vec![], vec![]));
            };
            let mut changes = vec![records::put("roots", "", &next)?];
            for (token, _) in &records.tokens {
                changes.push(Change::Remove(key("tokens", &token.id)?));
            }
            Ok((true, vec![records.roots_unchanged()?], changes))
        })
        .await
    }

    /// A certificate with its key for somebody who may do everything.
    pub async fn administrator(&self, name: &str, life: Duration) -> Result<Issued> {
        let subject = Subject::User {
            name: name.to_owned(),
            groups: vec![ADMINISTRATORS.to_owned()],
        };
        let signer = self.roots().await?.signer()?;
        signer.issue(&subject, self.clock.now(), life)
    }

    async fn read(&self) -> Result<Records> {
        Records::read(&*self.store).await
    }

    /// Reads, decides and commits, again when somebody else was first.
    async fn change<T>(
        &self,
        decide: impl Fn(&Records, orc_base::Time) -> Result<(T, Vec<Guard>, Vec<Change>)>,
    ) -> Result<T> {
        for _ in 0..TRIES {
            let records = self.read().await?;
            let (result, guards, changes) = decide(&records, self.clock.now())?;
            if changes.is_empty() {
                return Ok(result);
            }
            let transaction = Transaction { guards, changes };
            if let Verdict::Made { .. } = self.store.commit(transaction).await? {
                return Ok(result);
            }
        }
        Err(Error::conflict(
            "the members of the cluster change too fast: try again",
        ))
    }
}

fn sign(
    roots: &Roots,
    identity: &NodeIdentity,
    request: &[u8],
    address: IpAddr,
    now: orc_base::Time,
) -> Result<JoinAnswer> {
    let subject = Subject::Node {
        identity: identity.clone(),
        names: vec![ServedName::Address(address)],
    };
    let certificate = roots.signer()?.sign(request, &subject, now, NODE_LIFE)?;
    Ok(JoinAnswer {
        cluster: identity.cluster.clone(),
        role: identity.role,
        chain: certificate + &roots.chain().concat(),
        roots: roots.trusted().concat(),
    })
}

/// The number of the certificate in an answer.
fn serial(answer: &JoinAnswer) -> Result<String> {
    let leaf = CertificateDer::from_pem_slice(answer.chain.as_bytes())
        .map_err(|_| Error::internal("a certificate that was just made cannot be read"))?;
    Ok(Peer::read(&leaf)?.serial)
}
