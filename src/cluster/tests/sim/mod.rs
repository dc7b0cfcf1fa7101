//! Whole-cluster life under one seed: users, nodes and faults around the driver.
//!
//! One clock that only the simulation moves, one source of chance, one thread: a seed is a life. Objects are
//! those of the API (`LocalObjects` over `MemoryStore`); nodes are fakes that "run" pods with delays and
//! failures. What must always hold is checked after every step, what must hold in the end when the faults
//! are over. `SIM_SEED=n` lives one life again, `SIM_SEEDS=n` lives more of them.

mod agent;
mod chaos;
mod checks;
mod life;
mod user;

use crate::tests::sim::life::Life;

/// Lives in `cargo test`.
const SEEDS: u64 = 50;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

#[test]
fn converges_whatever_happens() {
    let mut totals = [0_u64; 4];
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let told = runtime.block_on(async {
            let mut life = Life::begin(seed).await;
            life.live().await;
            life.end().await;
            life.told
        });
        for (total, part) in totals.iter_mut().zip(told) {
            *total += part;
        }
    }
    let [steps, pods, restarts, faults] = totals;
    println!("{steps} steps, {pods} pods run, {restarts} controllers killed, {faults} writes failed");
    assert!(pods > 0 && (restarts > 0 || seeds().len() < 10), "nothing was tried");
}
