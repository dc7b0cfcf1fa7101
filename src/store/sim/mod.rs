//! The store under faults, in time that only seems to pass: every run follows from its seed.
//!
//! `world` has the members, their disks and the network between them; `faults` hurts them; `clients` write
//! and read, `watchers` follow; `linear` and `watchers` judge what was seen. `SIM_SEED=n` runs one seed,
//! `SIM_SEEDS=n` so many from `SIM_FIRST` on.

mod clients;
mod disk;
mod faults;
mod history;
mod linear;
pub(crate) mod news;
pub(crate) mod runtime;
mod watchers;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sim::history::Tally;
use crate::sim::runtime::Chance;
use crate::sim::world::World;

/// How long members are hurt.
const HURT: Duration = Duration::from_secs(6);
/// How long everything may take to be well again after the last fault.
const HEAL: Duration = Duration::from_secs(5);

/// Runs one seed, or says what was wrong.
fn run(seed: u64) -> Result<Tally, String> {
    let work = move || {
        Chance::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime can be made").block_on(life())
    };
    // A thread of its own: nothing of an earlier seed is left in it.
    let thread = std::thread::Builder::new().name(format!("seed-{seed}"));
    let thread = thread.spawn(work).expect("a thread can be made");
    let result = thread.join().unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    result.map_err(|error| format!("seed {seed}: {error}"))
}

async fn life() -> Result<Tally, String> {
    let world = World::new(3 + 2 * Chance::below(2)).await;
    let clients = clients::start(&world, 5);
    let watchers = watchers::start(&world);
    let faults = faults::run(&world, HURT).await;
    world.heal().await;
    world.settle(HEAL).await?;
    let history = clients.end().await;
    world.settle(HEAL).await?;
    let seen = watchers.end().await;
    world.same_everywhere(HEAL).await?;
    world.complaints()?;
    let events = watchers::check(&seen, &history)?;
    linear::check(&history)?;
    Ok(Tally {
        faults,
        events,
        ..history.tally()
    })
}

fn number(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |text| text.parse().expect("a number of seeds"))
}

/// Runs seeds on two threads; the first that goes wrong is told with how to run it again.
fn run_all(first: u64, count: u64) -> Tally {
    let next = AtomicU64::new(first);
    let began = Instant::now();
    let worker = || {
        let mut sum = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return sum;
            }
            match run(seed) {
                Ok(tally) => {
                    sum.acknowledged += tally.acknowledged;
                    sum.unknown += tally.unknown;
                    sum.refused += tally.refused;
                    sum.reads += tally.reads;
                    sum.events += tally.events;
                    sum.faults += tally.faults;
                }
                Err(error) => panic!(
                    "{error}; again: SIM_SEED={seed} cargo test -p orc-store --lib sim::seeds"
                ),
            }
        }
    };
    let sums: Vec<Tally> = std::thread::scope(|scope| {
        let threads = [scope.spawn(worker), scope.spawn(worker)];
        threads
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .to_vec()
    });
    let add = |of: fn(&Tally) -> usize| sums.iter().map(of).sum::<usize>();
    let tally = Tally {
        acknowledged: add(|t| t.acknowledged),
        unknown: add(|t| t.unknown),
        refused: add(|t| t.refused),
        reads: add(|t| t.reads),
        events: add(|t| t.events),
        faults: add(|t| t.faults),
        trace: 0,
    };
    println!(
        "{count} seeds from {first} in {:.0} s: {} writes acknowledged, {} refused, {} unknown, {} reads, \
         {} events watched, {} faults",
        began.elapsed().as_secs_f32(),
        tally.acknowledged,
        tally.refused,
        tally.unknown,
        tally.reads,
        tally.events,
        tally.faults
    );
    tally
}

#[test]
fn seeds() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        let seed = seed.parse().expect("the number of a seed");
        println!("{:?}", run(seed).unwrap_or_else(|error| panic!("{error}")));
        return;
    }
    let count = number("SIM_SEEDS", 50);
    let tally = run_all(number("SIM_FIRST", 1), count);
    // Faults must hurt and clients must get through, or nothing was tried.
    assert!(tally.acknowledged as u64 > count * 10);
    assert!(tally.faults as u64 > count * 3);
}

#[test]
fn a_seed_is_a_run() {
    assert_eq!(run(7).unwrap(), run(7).unwrap());
}
