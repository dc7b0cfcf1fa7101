//! Real containers on a real kernel: the runtime from the outside.
//!
//! Needs root and the static busybox of Debian. This binary is its own launcher, which is why it has
//! a `main` instead of the usual harness: called as `orc launcher` it is one, else it runs the tests
//! whose name contains the first argument.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod bed;
mod confinement;
mod exec;
mod lifecycle;
mod limits;
mod roots;
mod start;
mod view;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::FutureExt;

use crate::bed::Bed;

/// How long one test may take before it has failed: far above what a busy machine needs.
const TIMEOUT: Duration = Duration::from_secs(120);

/// One test.
pub(crate) struct Test {
    name: &'static str,
    run: fn(Bed) -> futures_util::future::BoxFuture<'static, ()>,
}

/// Names async functions that take a [`Bed`] as tests of their module.
#[macro_export]
macro_rules! tests {
    ($($name:ident)*) => {
        pub(crate) const TESTS: &[$crate::Test] = &[$($crate::Test {
            name: concat!(module_path!(), "::", stringify!($name)),
            run: |bed| Box::pin($name(bed)),
        }),*];
    };
}

fn main() -> ExitCode {
    let mut args = std::env::args();
    // As the runtime calls it: `orc launcher`.
    let called_as = args.next();
    let filter = args.find(|arg| !arg.starts_with('-')).unwrap_or_default();
    if called_as.as_deref() == Some("orc") && filter == "launcher" {
        return ExitCode::from(orc_runtime::run_launcher() as u8);
    }
    if std::env::args().any(|arg| arg == "--list") {
        for test in all() {
            println!("{}: test", test.name);
        }
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let failed = runtime.block_on(run_all(&filter));
    bed::tidy_up();
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn all() -> impl Iterator<Item = &'static Test> {
    [
        start::TESTS,
        lifecycle::TESTS,
        exec::TESTS,
        confinement::TESTS,
        roots::TESTS,
        limits::TESTS,
        view::TESTS,
    ]
    .into_iter()
    .flatten()
}

async fn run_all(filter: &str) -> usize {
    let mut failed = 0;
    for test in all().filter(|test| test.name.contains(filter)) {
        let run = AssertUnwindSafe((test.run)(Bed::new(test.name))).catch_unwind();
        let outcome = match tokio::time::timeout(TIMEOUT, run).await {
            Ok(Ok(())) => "ok",
            Ok(Err(_)) => "FAILED",
            Err(_) => "FAILED (timeout)",
        };
        println!("test {} ... {outcome}", test.name);
        failed += usize::from(outcome != "ok");
    }
    println!("\ntest result: {failed} failed");
    failed
}
