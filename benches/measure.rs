//! What all benches share: rounds of the kernel's floor, medians, and rows that set a time beside its
//! measure. Only numbers and text; what is measured, and how often, is each bench's own.

use std::process::Command;
use std::time::Duration;

use crate::support::lab::{Lab, run};

/// One round of the kernel's floor: this program run again as `floor`, which prints a time a container.
pub(crate) fn floor_round(lab: &Lab) -> Vec<Duration> {
    let this = std::env::current_exe().expect("this program");
    let root = lab.path().join("floor");
    let ran = run(Command::new(this).arg("floor").arg(&root));
    ran.ok()
        .lines()
        .map(|line| Duration::from_nanos(line.parse().expect("a number")))
        .collect()
}

/// The one in the middle; of an even number, the slower of two.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

/// The median of `times`, how many times the measure that is, and the best of them.
pub(crate) fn print_row(what: &str, times: &[Duration], measure: Duration) {
    let time = median(times).as_secs_f64();
    let best = times.iter().min().copied().unwrap_or_default();
    println!(
        "  {what:48} {:8.2} ms  {:6.2}×  (best {:.2} ms)",
        time * 1e3,
        time / measure.as_secs_f64(),
        best.as_secs_f64() * 1e3
    );
}

/// How much of a limit the median of `times` is.
pub(crate) fn print_limit(what: &str, times: &[Duration], limit_ms: f64) {
    let part = median(times).as_secs_f64() * 1e3 / limit_ms;
    println!(
        "  {what}: {:.0} % of the limit of {limit_ms:.0} ms",
        part * 100.0
    );
}
