//! What hurts members: power cuts with torn tails, partitions, slow and failing disks, changes of members.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::sim::runtime::Chance;
use crate::sim::world::{World, peer};
use crate::transport::NodeId;

/// Hurts the world for so long. How many faults there were.
pub(crate) async fn run(world: &World, time: Duration) -> usize {
    let end = tokio::time::Instant::now() + time;
    let mut faults = Faults {
        world: world.clone(),
        next: 100,
        lasting: JoinSet::new(),
    };
    let mut count = 0;
    while tokio::time::Instant::now() < end {
        pause(50, 700).await;
        faults.one().await;
        count += 1;
    }
    while faults.lasting.join_next().await.is_some() {}
    count
}

/// Faults, and those that last.
struct Faults {
    world: World,
    /// The last member that was added.
    next: NodeId,
    lasting: JoinSet<()>,
}

async fn pause(least: u64, most: u64) {
    let millis = least + Chance::below(most - least);
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

impl Faults {
    /// Does something that takes a while, beside what comes next.
    fn later<F>(&mut self, deed: impl FnOnce(World) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let deed = tokio::time::timeout(Duration::from_secs(5), deed(self.world.clone()));
        self.lasting.spawn(async move {
            let _ = deed.await;
        });
    }

    async fn one(&mut self) {
        let world = self.world.clone();
        let world = &world;
        match Chance::below(13) {
            0 | 1 => self.later(|world| async move {
                let node = some(&world);
                world.crash(node);
                pause(10, 2500).await;
                world.start(node).await;
            }),
            2 => {
                let nodes = world.nodes();
                for node in &nodes {
                    world.crash(*node);
                }
                pause(10, 500).await;
                for node in nodes {
                    world.start(node).await;
                }
            }
            3 | 4 => split(world),
            5 => {
                let (from, to) = (some(world), some(world));
                world.cut(from, to);
            }
            6 => isolate_leader(world),
            7 | 8 => world.mend(),
            9 => {
                let node = some(world);
                world.slow_disk(node, Duration::from_millis(5 + Chance::below(120)));
            }
            10 => self.later(|world| async move {
                let node = some(&world);
                world.stop(node).await;
                pause(10, 1000).await;
                world.start(node).await;
            }),
            11 => self.later(|world| async move {
                let node = some(&world);
                world.fail_disk(node);
                pause(100, 1000).await;
                world.crash(node);
                world.start(node).await;
            }),
            _ => {
                self.next += 1;
                let node = self.next;
                self.later(move |world| async move {
                    match world.voters().await.len() {
                        0..=3 => grow(&world, node).await,
                        _ => shrink(&world).await,
                    }
                });
            }
        }
    }
}

fn some(world: &World) -> NodeId {
    let nodes = world.nodes();
    nodes[Chance::below(nodes.len() as u64) as usize]
}

fn split(world: &World) {
    let (left, right): (Vec<_>, Vec<_>) =
        world.nodes().into_iter().partition(|_| Chance::percent(50));
    for a in &left {
        for b in &right {
            world.cut(*a, *b);
            world.cut(*b, *a);
        }
    }
}

fn isolate_leader(world: &World) {
    let Some(leader) = world.any().and_then(|store| store.status().leader) else {
        return;
    };
    let both = Chance::percent(50);
    for node in world.nodes().into_iter().filter(|node| *node != leader) {
        world.cut(leader, node);
        if both {
            world.cut(node, leader);
        }
    }
}

async fn grow(world: &World, node: NodeId) {
    world.start(node).await;
    let Some(store) = world.any() else {
        return;
    };
    let added = store.add(peer(node)).await;
    world.tell(&format!("add {node}: {added:?}"));
    if added.is_ok() {
        let promoted = store.promote(node).await;
        world.tell(&format!("promote {node}: {promoted:?}"));
    }
}

async fn shrink(world: &World) {
    let voters = world.voters().await;
    let node = voters[Chance::below(voters.len() as u64) as usize];
    let Some(store) = world.any() else {
        return;
    };
    let removed = store.remove(node).await;
    world.tell(&format!("remove {node}: {removed:?}"));
    if removed.is_ok() {
        world.forget(node);
    }
}
