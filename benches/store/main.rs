//! The store's writes beside etcd's, on the same disk, in turns and in one run.
//!
//! One write gives one of 1 000 keys a value of 256 bytes and waits until it is acknowledged; clients are
//! spread over all members. The members of orc live in this process and reach each other without a network,
//! so their figures have no cost of a transport in them; etcd's members are processes, spoken with by gRPC
//! over loopback. Both sync every write to disk before they acknowledge it, and with three members all
//! three share one disk. Below is what that disk can do: appending 2 KiB and `fdatasync`, one after the other.
//! Without an `etcd` on the path (Debian: `etcd-server`) only orc is measured.

mod etcd;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use orc_store::{
    Change, ClusterId, Key, Loopback, Options, Peer, RaftStore, Store as _, Transaction,
};

/// How long each figure is measured, and how often in turns.
const TIME: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
const CLIENTS: [usize; 3] = [1, 16, 64];
pub(crate) const VALUE: usize = 256;
const KEYS: usize = 1000;

/// What was measured once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

/// Lets clients write for [`TIME`]; `write` gets the client's number and the key's.
pub(crate) async fn measure<F>(
    clients: usize,
    write: impl Fn(usize, usize) -> F + Send + Sync + 'static,
) -> Sample
where
    F: Future<Output = ()> + Send,
{
    let write = Arc::new(write);
    let count = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let client = |client: usize| {
        let (write, count) = (write.clone(), count.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            while began.elapsed() < TIME {
                let key = count.fetch_add(1, Ordering::Relaxed) % KEYS;
                let start = Instant::now();
                write(client, key).await;
                took.push(start.elapsed());
            }
            took
        })
    };
    let tasks: Vec<_> = (0..clients).map(client).collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a client does not panic"));
    }
    let seconds = began.elapsed().as_secs_f64();
    all.sort_unstable();
    Sample {
        per_second: all.len() as f64 / seconds,
        p50: all[all.len() / 2],
        p99: all[all.len() * 99 / 100],
    }
}

/// Members of orc in this process.
async fn members(place: &Path, count: u64) -> Vec<RaftStore> {
    let network = Loopback::default();
    let cluster = ClusterId::random();
    let mut all: Vec<RaftStore> = Vec::new();
    for node in 1..=count {
        let options = Options::new(node, cluster, place.join(format!("orc-{node}")));
        let store = RaftStore::open(options, network.of(node)).await;
        let store = store.expect("a member starts");
        network.connect(node, store.clone());
        match all.first() {
            None => store.found().await.expect("a cluster"),
            Some(first) => {
                let address = String::new();
                first.add(Peer { node, address }).await.expect("a learner");
                first.promote(node).await.expect("a voter");
            }
        }
        all.push(store);
    }
    all
}

async fn orc(all: &[RaftStore], clients: usize) -> Sample {
    let all = all.to_vec();
    measure(clients, move |client, key| {
        let store = all[client % all.len()].clone();
        async move {
            let key = Key::new(format!("key/{key}")).expect("a good name");
            let change = Change::Put(key, Bytes::from(vec![b'x'; VALUE]));
            let transaction = Transaction {
                guards: Vec::new(),
                changes: vec![change],
            };
            store.commit(transaction).await.expect("a write");
        }
    })
    .await
}

/// Milliseconds that an append of 2 KiB and `fdatasync` takes, the median.
fn floor(place: &Path) -> f64 {
    use std::io::Write as _;
    let mut file = std::fs::File::create(place.join("floor")).expect("a file");
    let mut took = Vec::new();
    for _ in 0..500 {
        let start = Instant::now();
        file.write_all(&[7; 2048]).expect("a write");
        file.sync_data().expect("a sync");
        took.push(start.elapsed());
    }
    took.sort_unstable();
    millis(took[took.len() / 2])
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// MiB of a process that are its own, and its share of others' (`Pss`, proc_pid_smaps_rollup(5)).
pub(crate) fn memory(process: u32) -> f64 {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

fn middle(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    samples[samples.len() / 2]
}

fn row(who: &str, nodes: u64, clients: usize, sample: Sample) {
    println!(
        "{who:5} {nodes} nodes {clients:3} clients {:9.0} writes/s  p50 {:7.2} ms  p99 {:7.2} ms",
        sample.per_second,
        millis(sample.p50),
        millis(sample.p99)
    );
}

async fn run() {
    let place =
        tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| "/var/tmp".into()));
    let place = place.expect("a directory");
    println!("append 2 KiB and fdatasync: {:.2} ms", floor(place.path()));
    for nodes in [1, 3] {
        let directory = place.path().join(nodes.to_string());
        std::fs::create_dir(&directory).expect("a directory");
        let ours = members(&directory, nodes).await;
        let theirs = etcd::Cluster::start(&directory, nodes).await;
        for clients in CLIENTS {
            let (mut orcs, mut etcds) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                orcs.push(orc(&ours, clients).await);
                if let Some(cluster) = &theirs {
                    etcds.push(cluster.measure(clients).await);
                }
            }
            let ours = middle(orcs);
            row("orc", nodes, clients, ours);
            if !etcds.is_empty() {
                let theirs = middle(etcds);
                row("etcd", nodes, clients, theirs);
                println!("      orc/etcd {:.1}x", ours.per_second / theirs.per_second);
            }
        }
        let all = memory(std::process::id());
        println!(
            "memory, {nodes} nodes: orc {all:.0} MiB, all members and the clients in one process"
        );
        if let Some(cluster) = &theirs {
            println!("memory, {nodes} nodes: etcd {}", cluster.memory());
        }
        println!("floor afterwards: {:.2} ms", floor(place.path()));
        for store in ours {
            store.stop().await.expect("a member stops");
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(run());
}
