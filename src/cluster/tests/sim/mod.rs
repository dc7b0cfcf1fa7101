//! Whole-cluster life under one seed: users, nodes and faults around the driver.
//!
//! One clock that only the simulation moves, one source of chance, one thread a life. A seed is a life but
//! for the uids, which the API draws at random and names and ties follow from. Objects are
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
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// Lives one life; what was done in it.
fn live(seed: u64) -> [u64; 4] {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut life = Life::begin(seed).await;
        life.live().await;
        life.end().await;
        life.told
    })
}

#[test]
fn converges_whatever_happens() {
    let seeds = seeds();
    // Each life has one thread, and two may be lived at once.
    let (odd, even): (Vec<u64>, Vec<u64>) = seeds.iter().partition(|seed| *seed % 2 == 1);
    let lives = |seeds: Vec<u64>| seeds.into_iter().map(live).collect::<Vec<_>>();
    let other = std::thread::spawn(move || lives(even));
    let mut told = lives(odd);
    told.extend(
        other
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    );
    let sum = |part: usize| told.iter().map(|life| life[part]).sum::<u64>();
    let (pods, killed, failed) = (sum(1), sum(2), sum(3));
    println!(
        "{} steps, {pods} pods run, {killed} controllers killed, {failed} writes failed",
        sum(0)
    );
    assert!(pods > 0, "nothing was tried");
    assert!(
        seeds.len() < 10 || killed > 0 && failed > 0,
        "nothing went wrong"
    );
}
