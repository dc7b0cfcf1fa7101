//! Members of one process, over the loopback, on real disks and in real time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use orc_base::Kind;

use crate::disk::Directory;
use crate::keys::Keys;
use crate::loopback::Loopback;
use crate::model::{Change, Key, Read, Transaction, Verdict};
use crate::raft::log::{Kept, LogStore};
use crate::raft::machine::Machine;
use crate::raft::options::{ClusterId, Options};
use crate::raft::store::RaftStore;
use crate::raft::types::Types;
use crate::transport::{NodeId, Peer};
use crate::wal::Wal;
use crate::writer::Writer;
use crate::{Limits, Role, Store as _, Survivor, contract, recover, restore};

/// Makes stores side by side in one place.
struct OnDisk {
    place: std::path::PathBuf,
    made: std::sync::atomic::AtomicUsize,
}

impl StoreBuilder<Types, LogStore, Machine> for OnDisk {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<Types>> {
        let number = self.made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let place = self.place.join(number.to_string());
        let disk = Arc::new(Directory::open(&place).unwrap());
        let keys = Arc::new(Keys::ephemeral());
        let (wal, contents) = Wal::open(disk.clone(), keys.clone()).unwrap();
        let log = LogStore::new(Kept::read(&contents).unwrap(), Writer::thread(wal).unwrap());
        Ok(((), log, Machine::new(disk, keys, Limits::default())))
    }
}

#[test]
fn openrafts_own_suite_holds() {
    let place = tempfile::tempdir().unwrap();
    let builder = OnDisk {
        place: place.path().to_owned(),
        made: std::sync::atomic::AtomicUsize::new(0),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let suite = Suite::<Types, LogStore, Machine, OnDisk, ()>::test_all(builder);
    runtime.block_on(suite).unwrap();
    drop(runtime);
    // The threads that write end a little after their stores, and may make a file until then.
    let gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        std::fs::remove_dir_all(place.path()).is_ok()
    });
    assert!(gone, "something goes on writing");
}

/// Some members, of whom each may be started and killed.
struct Cluster {
    place: tempfile::TempDir,
    network: Loopback,
    id: ClusterId,
}

impl Cluster {
    fn new() -> Self {
        Self {
            place: tempfile::tempdir().unwrap(),
            network: Loopback::default(),
            id: ClusterId::random(),
        }
    }

    fn options(&self, node: NodeId) -> Options {
        let directory = self.place.path().join(node.to_string());
        Options {
            address: format!("node-{node}"),
            limits: contract::LIMITS,
            ..Options::new(node, self.id, directory)
        }
    }

    async fn start(&self, node: NodeId) -> RaftStore {
        self.start_with(self.options(node)).await
    }

    async fn start_with(&self, options: Options) -> RaftStore {
        let node = options.node;
        let store = RaftStore::open(options, self.network.of(node))
            .await
            .unwrap();
        self.network.connect(node, store.clone());
        store
    }

    /// Three voters, of whom the first leads.
    async fn three(&self) -> Vec<RaftStore> {
        let first = self.start(1).await;
        first.found().await.unwrap();
        let mut all = vec![first];
        for node in 2..=3 {
            let store = self.start(node).await;
            all[0].add(peer(node)).await.unwrap();
            all[0].promote(node).await.unwrap();
            all.push(store);
        }
        all
    }

    /// Takes a member away without a word.
    fn kill(&self, node: NodeId) {
        self.network.disconnect(node);
    }
}

fn peer(node: NodeId) -> Peer {
    Peer {
        node,
        address: format!("node-{node}"),
    }
}

fn put(name: &str, value: &str) -> Transaction {
    let value = Bytes::from(value.to_owned());
    Transaction {
        guards: Vec::new(),
        changes: vec![Change::Put(Key::new(name).unwrap(), value)],
    }
}

async fn value(store: &RaftStore, name: &str, read: Read) -> Option<Bytes> {
    let found = store.get(&Key::new(name).unwrap(), read).await.unwrap();
    found.entry.map(|entry| entry.value)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_keeps_the_contract_and_all_it_was_told() {
    let cluster = Cluster::new();
    let store = cluster.start(1).await;
    let error = store.commit(put("a", "b")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(
        error.to_string().contains("belongs to no cluster yet"),
        "{error}"
    );
    store.found().await.unwrap();
    assert_eq!(store.found().await.unwrap_err().kind(), Kind::Conflict);
    contract::check(&store).await;
    store
        .commit(put("planted", "planted-secret"))
        .await
        .unwrap();
    store.rotate_keys().unwrap();
    store.snapshot().await.unwrap();
    let (sum, before) = (store.checksum(), store.status());
    store.stop().await.unwrap();
    cluster.kill(1);
    drop(store);

    let store = cluster.start(1).await;
    assert_eq!(
        value(&store, "planted", Read::Latest).await.unwrap(),
        "planted-secret"
    );
    assert_eq!(store.checksum(), sum);
    assert!(store.status().term > before.term || store.status().last >= before.last);
    no_trace_of("planted", cluster.place.path());
}

fn no_trace_of(text: &str, directory: &Path) {
    for path in orc_base::fs::list(directory).unwrap() {
        if path.is_dir() {
            no_trace_of(text, &path);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes());
        assert!(!found, "{} has {text}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_keep_the_contract_from_any_of_them() {
    let cluster = Cluster::new();
    let all = cluster.three().await;
    contract::check(&all[2]).await;
    let status = all[0]
        .wait(|s| s.members.iter().all(|m| m.lag == Some(0)))
        .await
        .unwrap();
    assert_eq!((status.leader, status.members.len()), (Some(1), 3));
    assert!(
        status
            .members
            .iter()
            .all(|member| member.role == Role::Voter)
    );
    for store in &all {
        assert_eq!(value(store, "f", Read::Latest).await.unwrap(), "now");
        assert_eq!(store.checksum(), all[0].checksum());
    }
    // A leader that stops leaves another in its place at once.
    let began = Instant::now();
    all[0].stop().await.unwrap();
    cluster.kill(1);
    all[1].commit(put("after", "handover")).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    let leader = all[2].status().leader;
    assert!(leader == Some(2) || leader == Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_within_a_second() {
    let cluster = Cluster::new();
    let all = cluster.three().await;
    all[0].commit(put("before", "it")).await.unwrap();
    cluster.kill(1);
    let began = Instant::now();
    all[1].commit(put("after", "it")).await.unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    // What was cut off refuses with a reason, and reads nothing that may be old.
    let error = all[0].commit(put("alone", "x")).await.unwrap_err();
    assert!(
        matches!(error.kind(), Kind::Unavailable | Kind::Timeout),
        "{error}"
    );
    let key = Key::new("after").unwrap();
    let error = all[0].get(&key, Read::Latest).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(
        error.to_string().contains("more than half of its 3 voters"),
        "{error}"
    );
    assert!(all[0].get(&key, Read::Local).await.is_ok());
    cluster.network.connect(1, all[0].clone());
    assert_eq!(value(&all[0], "after", Read::Latest).await.unwrap(), "it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_refused_and_a_late_one_gets_a_snapshot() {
    let cluster = Cluster::new();
    let small = |node| Options {
        snapshot_after: 50,
        keep_behind: 10,
        ..cluster.options(node)
    };
    let first = cluster.start_with(small(1)).await;
    first.found().await.unwrap();
    let mut watch = first.watch("k/", crate::Revision(0)).await.unwrap();
    for n in 0..300 {
        first
            .commit(put(&format!("k/{}", n % 7), &n.to_string()))
            .await
            .unwrap();
    }
    assert!(futures_util::StreamExt::next(&mut watch).await.is_some());
    let second = cluster.start_with(small(2)).await;
    assert_eq!(first.promote(2).await.unwrap_err().kind(), Kind::NotFound);
    first.add(peer(2)).await.unwrap();
    first.promote(2).await.unwrap();
    assert_eq!(
        value(&second, "k/5", Read::Latest).await,
        value(&first, "k/5", Read::Local).await
    );
    assert_eq!(second.checksum(), first.checksum());
    // The history came too: a watch goes on at the new member.
    let now = first
        .get(&Key::new("k/1").unwrap(), Read::Latest)
        .await
        .unwrap()
        .revision;
    let mut watch = second
        .watch("k/", crate::Revision(now.0 - 50))
        .await
        .unwrap();
    assert!(
        futures_util::StreamExt::next(&mut watch)
            .await
            .unwrap()
            .is_ok()
    );

    second.remove(2).await.unwrap();
    assert_eq!(first.status().members.len(), 1);
    assert_eq!(first.remove(1).await.unwrap_err().kind(), Kind::Conflict);
    let call = crate::raft::calls::Calls::new(cluster.network.of(2), cluster.id);
    let ask = |calls: crate::raft::calls::Calls| async move {
        let request = crate::raft::message::Request::ReadIndex;
        calls.ask(&peer(1), request, Duration::from_secs(1)).await
    };
    let error = ask(call).await.err().expect("a removed member is refused");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("node 2 was removed"), "{error}");
    let other = crate::raft::calls::Calls::new(cluster.network.of(1), ClusterId::random());
    let error = ask(other).await.err().expect("another cluster is refused");
    assert!(error.to_string().contains("belongs to cluster"), "{error}");
    let garbage = first.receive(1, Bytes::from_static(b"\x01garbage")).await;
    assert!(matches!(
        crate::raft::message::decode(&garbage).unwrap(),
        crate::raft::message::Answer::Failed { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_gives_everything_back() {
    let cluster = Cluster::new();
    let store = cluster.start(1).await;
    store.found().await.unwrap();
    for n in 0..50 {
        store
            .commit(put(&format!("k/{n}"), "planted"))
            .await
            .unwrap();
    }
    let mut backup = Vec::new();
    let key = store.backup(&mut backup).await.unwrap();
    assert!(!backup.windows(7).any(|window| window == b"planted"));
    let sum = store.checksum();

    let other = Cluster::new();
    let wrong = restore(&mut &backup[..], &"0".repeat(64), &other.options(4)).unwrap_err();
    assert_eq!(wrong.kind(), Kind::Denied, "{wrong}");
    let cut = restore(&mut &backup[..backup.len() / 2], &key, &other.options(4));
    assert!(cut.is_err());
    restore(&mut &backup[..], &key, &other.options(4)).unwrap();
    let again = restore(&mut &backup[..], &key, &other.options(4)).unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict);
    let restored = other.start(4).await;
    assert_eq!(
        value(&restored, "k/49", Read::Latest).await.unwrap(),
        "planted"
    );
    assert_eq!(restored.checksum(), sum);
    let made = restored.commit(put("more", "")).await.unwrap();
    assert!(matches!(made, Verdict::Made { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_majority_begins_again_from_the_best_survivor() {
    let cluster = Cluster::new();
    let all = cluster.three().await;
    all[0].commit(put("early", "1")).await.unwrap();
    // The third misses what comes now; then the first is lost with its disk.
    cluster.kill(3);
    for n in 0..20 {
        all[0].commit(put("late", &n.to_string())).await.unwrap();
    }
    for (store, node) in all.into_iter().zip(1..) {
        store.stop().await.unwrap();
        cluster.kill(node);
    }
    let look = async |node| {
        let options = cluster.options(node);
        Survivor::look(&options.directory, &options.key_file)
            .await
            .unwrap()
    };
    let survivors = [look(2).await, look(3).await];
    assert!(survivors[0].last > survivors[1].last);
    let new = Cluster::new();
    let same = Options {
        cluster: cluster.id,
        ..new.options(7)
    };
    assert_eq!(
        recover(&survivors, &same).await.unwrap_err().kind(),
        Kind::Invalid
    );
    let lost = recover(&survivors, &new.options(7)).await.unwrap();
    assert_eq!((lost.best, lost.kept), (2, survivors[0].last.1));
    assert!(lost.to_string().contains("node 2 has most of 2"), "{lost}");
    let store = new.start(7).await;
    assert_eq!(value(&store, "late", Read::Latest).await.unwrap(), "19");
    store.commit(put("new", "life")).await.unwrap();

    // The directory is the new member's alone.
    let old = Options {
        cluster: cluster.id,
        ..new.options(7)
    };
    store.stop().await.unwrap();
    new.kill(7);
    drop(store);
    let refused = RaftStore::open(old, new.network.of(7)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
}
