//! Members of a real store that speak over real TLS.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orc_base::Clock;
use orc_base::clock::SystemClock;
use orc_store::{
    Change, ClusterId, Key, Options, Peer, RaftStore, Read, Store as _, Transaction, Transport as _,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{Link, MemberAddress, PROTOCOL, serve};
use crate::pki::authority::NODE_LIFE;
use crate::pki::identity::{NodeIdentity, Role, Subject};
use crate::pki::live::Live;
use crate::pki::peer;
use crate::pki::rotation::Roots;
use crate::pki::tls::{self, ClientCertificates};
use crate::pki::trust::{Trust, open_gate};

const CLUSTER: &str = "c1";

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

struct World {
    roots: Roots,
    directory: tempfile::TempDir,
    id: ClusterId,
}

impl World {
    fn new() -> Self {
        Self {
            roots: Roots::first(CLUSTER, SystemClock.now()).unwrap(),
            directory: tempfile::tempdir().unwrap(),
            id: ClusterId::random(),
        }
    }

    fn live(&self, node: &str, role: Role) -> Arc<Live> {
        let subject = Subject::Node {
            identity: NodeIdentity::new(CLUSTER, node, role).unwrap(),
            names: vec![],
        };
        let signer = self.roots.signer().unwrap();
        let issued = signer
            .issue(&subject, SystemClock.now(), NODE_LIFE)
            .unwrap();
        Arc::new(Live::new(&issued.certificate, &issued.key).unwrap())
    }

    fn trust(&self) -> Arc<Trust> {
        Arc::new(Trust::new(self.roots.trusted()).unwrap())
    }

    fn link(&self, number: u64, node: &str, role: Role) -> Link {
        let shown = Some(self.live(node, role));
        let tls = tls::client(shown, self.trust(), open_gate(), &[PROTOCOL], clock());
        Link::new(number, CLUSTER, tls.unwrap())
    }

    async fn member(&self, number: u64) -> Member {
        let node = format!("m{number}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = MemberAddress {
            node: node.clone(),
            place: listener.local_addr().unwrap(),
        };
        let mut options = Options::new(number, self.id, self.directory.path().join(&node));
        options.address = address.to_string();
        let link = Arc::new(self.link(number, &node, Role::Manager));
        let store = RaftStore::open(options, link).await.unwrap();
        let tls = tls::server(
            self.live(&node, Role::Manager),
            self.trust(),
            open_gate(),
            ClientCertificates::Required,
            &[PROTOCOL],
            clock(),
        );
        let acceptor = TlsAcceptor::from(Arc::new(tls.unwrap()));
        let serving = tokio::spawn(accept(listener, acceptor, store.clone()));
        Member {
            peer: Peer {
                node: number,
                address: address.to_string(),
            },
            store,
            serving,
        }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, store: RaftStore) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, store) = (acceptor.clone(), store.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let shown = stream.get_ref().1.peer_certificates().unwrap();
            let node = peer::Peer::read(&shown[0]).unwrap().node.unwrap();
            let _ = serve(stream, &node, Arc::new(store)).await;
        });
    }
}

struct Member {
    peer: Peer,
    store: RaftStore,
    serving: JoinHandle<()>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn put(name: &str, value: &'static str) -> Transaction {
    Transaction {
        guards: vec![],
        changes: vec![Change::Put(
            Key::new(name).unwrap(),
            Bytes::from_static(value.as_bytes()),
        )],
    }
}

async fn value(store: &RaftStore, name: &str) -> Option<Bytes> {
    let found = store
        .get(&Key::new(name).unwrap(), Read::Latest)
        .await
        .unwrap();
    found.entry.map(|entry| entry.value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_are_one_store() {
    let world = World::new();
    let (one, two, three) = (
        world.member(1).await,
        world.member(2).await,
        world.member(3).await,
    );
    one.store.found().await.unwrap();
    for other in [&two, &three] {
        one.store.add(other.peer.clone()).await.unwrap();
        one.store.promote(other.peer.node).await.unwrap();
    }
    one.store.commit(put("a", "1")).await.unwrap();
    // By a follower, and read from another one.
    two.store.commit(put("b", "2")).await.unwrap();
    assert_eq!(value(&three.store, "a").await.unwrap(), "1");
    assert_eq!(value(&three.store, "b").await.unwrap(), "2");

    // The leader is gone without a word.
    one.serving.abort();
    one.store.stop().await.unwrap();
    drop(one);
    let elected = two
        .store
        .wait(|status| status.leader.is_some_and(|leader| leader != 1));
    tokio::time::timeout(Duration::from_secs(10), elected)
        .await
        .unwrap()
        .unwrap();
    three.store.commit(put("a", "3")).await.unwrap();
    assert_eq!(value(&two.store, "a").await.unwrap(), "3");
    two.store.stop().await.unwrap();
    three.store.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_have_no_part() {
    let world = World::new();
    let one = world.member(1).await;
    one.store.found().await.unwrap();
    let two = Peer {
        node: 2,
        address: "m2@127.0.0.1:1".to_owned(),
    };
    one.store.add(two).await.unwrap();
    let asked = async |link: Link| {
        let call = link.call(&one.peer, Bytes::from_static(b"?"));
        let answer = tokio::time::timeout(Duration::from_secs(5), call)
            .await
            .unwrap();
        answer.unwrap_err().to_string()
    };
    let worker = asked(world.link(3, "w1", Role::Worker)).await;
    assert!(worker.contains("hung up"), "{worker}");
    // Another manager that says it is member 2.
    let other = asked(world.link(2, "m9", Role::Manager)).await;
    assert!(other.contains("hung up"), "{other}");
    let elsewhere = World::new();
    let link = elsewhere.link(2, "m2", Role::Manager);
    let refused = link
        .call(&one.peer, Bytes::new())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("is not of this cluster"), "{refused}");
    // Nobody is there, so it was not sent.
    let nobody = Peer {
        node: 4,
        address: "m4@127.0.0.1:1".to_owned(),
    };
    let link = world.link(1, "m1", Role::Manager);
    let error = link.call(&nobody, Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind(), orc_base::Kind::Unavailable, "{error}");
}
