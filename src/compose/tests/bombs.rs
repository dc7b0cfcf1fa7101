//! Small files that would become large: each is refused early, with a bound that is named. How much
//! time and memory that takes is measured with the whole program, in `tests/e2e/bombs.rs`.

mod files;

use std::path::Path;
use std::time::{Duration, Instant};

use super::support::{HOME, load, options, refusal};
use crate::files::Memory;
use crate::load::load_from;

/// Unoptimised code on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn each_is_refused_and_says_why() {
    for bomb in files::all() {
        let files = bomb.files.into_iter();
        let files = files.map(|(name, text)| (Path::new(HOME).join(name), text));
        let start = Instant::now();
        let error = load_from(&options(), &Memory(files.collect())).err();
        let took = start.elapsed();
        assert!(took < PATIENCE, "{}: {took:?}", bomb.name);
        let error = error.unwrap_or_else(|| panic!("{} is loaded", bomb.name));
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        assert!(first.ends_with(bomb.refusal), "{}: {first}", bomb.name);
        assert!(text.len() < 10_000, "{}: {} bytes", bomb.name, text.len());
    }
}

/// A line for each number.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

#[test]
fn mistakes_have_an_end() {
    let keys = lines(1_000, |index| format!("    key{index}: v\n"));
    let text = refusal(&format!("services:\n  a:\n{keys}"));
    assert_eq!(text.matches("not allowed").count(), 20);
    assert!(text.ends_with("there is more: mend these first"), "{text}");
}

#[test]
fn warnings_have_an_end() {
    let uses = lines(1_000, |index| format!("- $V{index}\n"));
    let warnings = load(&format!("x-a:\n{uses}")).warnings;
    assert_eq!(warnings.len(), 101);
    assert!(
        warnings
            .iter()
            .any(|line| line.ends_with("more variables are not set"))
    );
}

#[test]
fn what_is_only_large_is_loaded() {
    let start = Instant::now();
    let keys = lines(50_000, |index| format!("  k{index}: v\n"));
    load(&format!("x-a:\n{keys}"));
    let row = lines(5_000, |index| {
        format!("  s{index}: {{image: x, links: [s{}]}}\n", index + 1)
    });
    load(&format!("services:\n{row}  s5000: {{image: x}}\n"));
    load(
        &"# a comment\n"
            .repeat(100_000)
            .replacen('#', "services: {} #", 1),
    );
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}
