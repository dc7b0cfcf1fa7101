//! Joining, renewing and leaving, on a store in memory.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orc_base::clock::FakeClock;
use orc_base::{Clock, Kind, Time};
use orc_store::{MemoryStore, Store};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Known, Members};
use crate::pki::authority;
use crate::pki::identity::Role;
use crate::pki::join::{self, JoinAnswer};
use crate::pki::peer::Peer;
use crate::pki::rotation::Progress;
use crate::pki::token::{Digest, JoinToken};

fn noon() -> Time {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

struct World {
    members: Members,
    store: Arc<dyn Store>,
    clock: Arc<FakeClock>,
    first: Peer,
}

fn shown(answer: &JoinAnswer) -> Peer {
    Peer::read(&CertificateDer::from_pem_slice(answer.chain.as_bytes()).unwrap()).unwrap()
}

impl World {
    async fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let clock = Arc::new(FakeClock::at(noon()));
        let members = Members::new(Arc::clone(&store), clock.clone());
        let (answer, _) = members.found("c1", "m1", 1, address(1)).await.unwrap();
        Self {
            members,
            store,
            clock,
            first: shown(&answer),
        }
    }

    async fn join(&self, token: &JoinToken, node: &str) -> orc_base::Result<Peer> {
        let (request, _) = join::ask(token, node, self.clock.now()).unwrap();
        let answer = self.members.admit(&request, Some(2), address(2)).await?;
        join::accept(&answer, node, self.clock.now())?;
        Ok(shown(&answer))
    }

    async fn worker_token(&self) -> JoinToken {
        self.members
            .create_token(Role::Worker, None, None)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn machines_join_and_are_removed() {
    let world = World::new().await;
    let again = world.members.found("c2", "m1", 1, address(1)).await;
    assert_eq!(again.unwrap_err().kind(), Kind::Conflict);
    let known = Known::follow(Arc::clone(&world.store));
    let gate = known.gate();
    known.roots().wait_for(Option::is_some).await.unwrap();

    let token = world.worker_token().await;
    let worker = world.join(&token, "w1").await.unwrap();
    let taken = world.join(&token, "w1").await.unwrap_err().to_string();
    assert!(
        taken.starts_with("a node named w1 is in the cluster already"),
        "{taken}"
    );
    let nodes = world.members.nodes().await.unwrap();
    let names: Vec<_> = nodes
        .iter()
        .map(|(name, record)| (name.as_str(), record.role))
        .collect();
    assert_eq!(names, [("m1", Role::Manager), ("w1", Role::Worker)]);
    assert_eq!(nodes[1].1.member, None);

    world.members.remove("w1").await.unwrap();
    let refused = until_refused(&gate, &worker).await;
    assert_eq!(refused, "node w1 was removed from the cluster");
    let request = STANDARD.encode(authority::request().unwrap().0);
    let renewal = world.members.renew(&worker, &request, address(2)).await;
    assert_eq!(renewal.unwrap_err().kind(), Kind::Denied);
    // The name may be given again, and the old certificate is as bad as before.
    let other = world.join(&token, "w1").await.unwrap();
    assert_ne!(other.serial, worker.serial);
    assert!(until_refused(&gate, &worker).await.contains("was removed"));
    assert!(gate(&world.first).is_ok());
}

/// What the gate says once it has heard.
async fn until_refused(gate: &crate::pki::trust::Gate, peer: &Peer) -> String {
    for _ in 0..1000 {
        if let Err(error) = gate(peer) {
            return error.to_string();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?} is never refused", peer.node);
}

#[tokio::test]
async fn a_token_is_used_up_expires_and_is_rotated() {
    let world = World::new().await;
    let once = world
        .members
        .create_token(Role::Manager, None, None)
        .await
        .unwrap();
    // Two machines at once: one use is one machine.
    let (one, two) = tokio::join!(world.join(&once, "m2"), world.join(&once, "m3"));
    assert_eq!(
        [&one, &two]
            .into_iter()
            .filter(|joined| joined.is_ok())
            .count(),
        1
    );
    let refused = one.err().or(two.err()).unwrap().to_string();
    assert!(refused.contains("not one of this cluster's"), "{refused}");

    let (old, new) = (
        world.worker_token().await,
        world.members.rotate_token(Role::Worker, None, None),
    );
    let new = new.await.unwrap();
    assert_eq!(
        world.join(&old, "w1").await.unwrap_err().kind(),
        Kind::Denied
    );
    assert!(world.join(&new, "w1").await.is_ok());
    world.clock.advance(Duration::from_secs(25 * 3600));
    let late = world.join(&new, "w2").await.unwrap_err().to_string();
    assert!(late.contains("expired at"), "{late}");
    world.worker_token().await;
    assert_eq!(
        world.members.tokens().await.unwrap().len(),
        1,
        "old ones are swept"
    );
    let unknown = world.members.revoke_token("0badcafe").await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is no join token 0badcafe");
}

#[tokio::test]
async fn certificates_follow_each_other_and_the_role() {
    let world = World::new().await;
    let token = world.worker_token().await;
    let old = world.join(&token, "w1").await.unwrap();
    let renewed = async |peer: &Peer| {
        let request = STANDARD.encode(authority::request().unwrap().0);
        let answer = world.members.renew(peer, &request, address(3)).await?;
        Ok::<_, orc_base::Error>(shown(&answer))
    };
    world
        .members
        .set_role("w1", Role::Manager, Some(7))
        .await
        .unwrap();
    let known = Known::follow(Arc::clone(&world.store));
    let gate = known.gate();
    known.roots().wait_for(Option::is_some).await.unwrap();
    let refused = until_refused(&gate, &old).await;
    assert!(refused.contains("is a manager now"), "{refused}");
    assert!(known.renewal_gate()(&old).is_ok());
    // An answer that was lost is asked for again.
    let (_, next) = (renewed(&old).await.unwrap(), renewed(&old).await.unwrap());
    assert_eq!(next.node.as_ref().unwrap().role, Role::Manager);
    let last = renewed(&next).await.unwrap();
    assert!(renewed(&last).await.is_ok());
    assert!(
        renewed(&old)
            .await
            .unwrap_err()
            .to_string()
            .contains("was removed")
    );
    let (_, record) = world.members.nodes().await.unwrap().pop().unwrap();
    assert_eq!((record.member, record.address), (Some(7), address(3)));

    world
        .members
        .set_role("m1", Role::Worker, None)
        .await
        .unwrap();
    let alone = world
        .members
        .set_role("w1", Role::Worker, None)
        .await
        .unwrap_err();
    assert_eq!(
        alone.to_string(),
        "w1 is the only manager: promote another node first"
    );
}

#[tokio::test]
async fn a_new_root_replaces_the_old_one() {
    let world = World::new().await;
    let before = world.members.roots().await.unwrap();
    world.members.rotate_root().await.unwrap();
    let again = world.members.rotate_root().await.unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict);
    let digest = |pem: &str| {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        Digest::of_certificate(&der).unwrap().to_string()
    };
    let trusted = world.members.roots().await.unwrap();
    let all: Vec<String> = trusted.trusted().into_iter().map(digest).collect();
    let say = |certified_by: &String| {
        vec![Progress {
            node: "m1".into(),
            trusts: all.clone(),
            certified_by: certified_by.clone(),
        }]
    };
    assert!(
        !world.members.step_root(&[]).await.unwrap(),
        "m1 has said nothing"
    );
    assert!(world.members.step_root(&say(&all[0])).await.unwrap());
    assert!(!world.members.step_root(&say(&all[0])).await.unwrap());
    assert!(world.members.step_root(&say(&all[1])).await.unwrap());
    let after = world.members.roots().await.unwrap();
    assert_eq!(after.trusted().len(), 1);
    assert_ne!(after.trusted(), before.trusted());
}
