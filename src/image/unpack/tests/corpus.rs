//! The corpus of `tests/hostile` through every reader of archives in this crate.
//!
//! For every case: nothing outside changes, it ends in time, what is refused is refused in one line
//! that names the entry, what lands is exactly the tree of the model, and afterwards nothing is left
//! and a good archive is taken in. `make test` gives the slow readers every few cases of the large
//! families; with `CORPUS=all` (`make corpus`) every reader gets all.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use orc_base::Result;
use orc_hostile::cases::{self, Case, Expect};
use orc_hostile::model::Style;
use orc_hostile::overlay;

use crate::unpack::tests::readers::{Machine, READERS, Reader};

/// How long one case may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the processor may work on a bomb, without optimisation, too: all take less than half of it.
const BOMB_PATIENCE: Duration = Duration::from_secs(10);
/// Held by tests whose time is not measured, and alone by the one whose is: the processor's time is
/// that of the whole process.
static MEASURED: RwLock<()> = RwLock::new(());

fn all() -> bool {
    std::env::var_os("CORPUS").is_some_and(|value| value == "all")
}

fn reader(name: &str) -> &'static Reader {
    READERS.iter().find(|one| one.name == name).unwrap()
}

/// The time that the processor has worked for this process.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Feeds a case, and says how it was not as expected.
fn judge(machine: &Machine, reader: &Reader, case: &Case) -> Option<String> {
    let start = Instant::now();
    let outcome = (reader.feed)(machine, &case.layers);
    let took = start.elapsed();
    let complaint = compare(machine, reader, case, &outcome);
    let complaint = match took > PATIENCE {
        true => Some(format!("took {took:?}")),
        false => complaint,
    };
    settle(machine, reader, case, complaint)
}

/// The same for what is to go off: on a busy machine it may take long, but not much work.
fn judge_bomb(machine: &Machine, reader: &Reader, case: &Case) -> Option<String> {
    let (start, before) = (Instant::now(), worked());
    let outcome = (reader.feed)(machine, &case.layers);
    let (took, work) = (start.elapsed(), worked() - before);
    println!(
        "{}: {}: {work:?} of work in {took:?}",
        reader.name, case.name
    );
    let complaint = compare(machine, reader, case, &outcome);
    let complaint = match work > BOMB_PATIENCE || took > BOMB_PATIENCE * 4 {
        true => Some(format!("took {work:?} of work in {took:?}")),
        false => complaint,
    };
    settle(machine, reader, case, complaint)
}

/// How an outcome is not as expected.
fn compare(
    machine: &Machine,
    reader: &Reader,
    case: &Case,
    outcome: &Result<Vec<PathBuf>>,
) -> Option<String> {
    match (case.expect(reader.style), outcome) {
        (_, Err(error)) if !is_one_line(&error.to_string()) => {
            Some(format!("says it in no short line: {error}"))
        }
        (Expect::Contained, _) => None,
        (_, Err(_)) if reader.refuses_all => None,
        (_, Ok(_)) if reader.refuses_all => Some("is taken for images".into()),
        (_, Err(_)) if case.unfinished && !reader.knows_digest => None,
        (_, Ok(_)) if case.unfinished && !reader.knows_digest => Some("is taken for whole".into()),
        (Expect::Refused(_), Ok(_)) => Some("is not refused".into()),
        (Expect::Refused(words), Err(error)) => {
            let text = error.to_string();
            let any_will_do = reader.all_at_once && case.layers.len() > 1;
            let words = if any_will_do { &[] } else { &words[..] };
            let missing = words.iter().find(|word| !text.contains(*word));
            missing.map(|word| format!("is refused without the words {word:?}: {text}"))
        }
        (Expect::Lands(_), Err(error)) => Some(format!("is refused: {error}")),
        (Expect::Lands(view), Ok(lowers)) => {
            let mut lowers = lowers.clone();
            lowers.push(machine.trap.path().join("empty"));
            let found = overlay::view(&lowers).unwrap();
            let differences = view.differences(&found);
            (!differences.is_empty()).then(|| format!("lands as {differences:?}"))
        }
    }
}

/// Whatever came of it: nothing outside has changed, and nothing is left.
fn settle(
    machine: &Machine,
    reader: &Reader,
    case: &Case,
    complaint: Option<String>,
) -> Option<String> {
    machine.trap.check(&case.name);
    machine.forget();
    complaint.map(|text| format!("{}: {} {text}", reader.name, case.name))
}

fn is_one_line(text: &str) -> bool {
    !text.is_empty() && !text.contains('\n') && text.len() < 2_000
}

/// Runs all cases that the reader takes.
fn run(machine: &Machine, reader: &Reader, cases: &[Case]) -> usize {
    let _not_measured = MEASURED.read().unwrap_or_else(PoisonError::into_inner);
    let mut complaints = Vec::new();
    let mut count = 0;
    for case in cases
        .iter()
        .filter(|case| reader.takes_layers || case.layers.len() == 1)
    {
        complaints.extend(judge(machine, reader, case));
        count += 1;
        if count % 100 == 0 {
            machine.takes_a_good_one();
        }
    }
    machine.takes_a_good_one();
    let shown = complaints.iter().take(20).cloned().collect::<Vec<_>>();
    assert!(
        complaints.is_empty(),
        "{} of {count} cases went wrong:\n{}",
        complaints.len(),
        shown.join("\n")
    );
    count
}

/// A few hundred of thousands: every family has its share, and another one in each reader.
fn share(name: &str, cases: Vec<Case>) -> Vec<Case> {
    if all() {
        return cases;
    }
    let step = 7;
    let start = name.len() % step;
    cases.into_iter().skip(start).step_by(step).collect()
}

fn goes_through(name: &str) {
    let machine = Machine::new();
    let cases = share(name, cases::corpus(&machine.trap.outside()));
    let count = run(&machine, reader(name), &cases);
    assert!(count > 150, "{count}");
}

#[test]
fn every_case_through_the_unpacker() {
    let machine = Machine::new();
    let cases = cases::corpus(&machine.trap.outside());
    let count = run(&machine, reader("layer"), &cases);
    assert!(count > 2_000, "{count}");
}

#[test]
fn cases_through_a_pull() {
    goes_through("pull");
}

#[test]
fn cases_through_a_load_of_dockers_format() {
    goes_through("load of Docker's format");
}

#[test]
fn cases_through_a_load_of_an_oci_layout() {
    goes_through("load of an OCI layout");
}

#[test]
fn cases_as_the_archive_that_is_loaded() {
    goes_through("load of the archive itself");
}

#[test]
fn cases_through_an_import() {
    goes_through("import");
}

#[test]
fn cases_as_files_into_a_tree() {
    goes_through("files into a tree");
}

#[test]
fn cases_as_files_of_a_build() {
    goes_through("files of a build");
}

#[test]
fn every_reader_has_a_test() {
    let text = include_str!("corpus.rs");
    for reader in &READERS {
        assert!(
            text.contains(&format!("(\"{}\")", reader.name)),
            "{}",
            reader.name
        );
    }
}

/// What the model says of random layers, a reader makes of them; most of them are no images that
/// anybody would build, and many are refused half-way.
#[test]
fn random_layers_become_what_the_model_says() {
    let machine = Machine::new();
    let count = if all() { 20_000 } else { 1_500 };
    let cases: Vec<_> = (0..count)
        .map(|seed| cases::random(seed, 2 + seed as usize % 2))
        .collect();
    let lands = |case: &&Case| matches!(case.expect(Style::Layer), Expect::Lands(_));
    assert!(cases.iter().filter(lands).count() > cases.len() / 10);
    run(&machine, reader("layer"), &cases);
    run(&machine, reader("files into a tree"), &cases);
}

/// Every link with every target: too many for anything but the unpacker.
#[test]
#[ignore = "tens of thousands of cases: `make corpus` runs them"]
fn every_link_with_every_target() {
    let machine = Machine::new();
    let cases = cases::every_link(&machine.trap.outside());
    let count = run(&machine, reader("layer"), &cases);
    assert!(count > 20_000, "{count}");
}

/// What wants gigabytes, a million files or all memory.
#[test]
#[ignore = "takes minutes: `make corpus` runs it"]
fn bombs() {
    let machine = Machine::new();
    let cases = cases::bombs();
    let _alone = MEASURED.write().unwrap_or_else(PoisonError::into_inner);
    for case in cases {
        for reader in READERS.iter().filter(|reader| !reader.refuses_all) {
            assert_eq!(judge_bomb(&machine, reader, &case), None);
        }
    }
    machine.takes_a_good_one();
}
