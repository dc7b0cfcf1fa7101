//! What every [`Host`] promises, as one suite: run against the fake, the engine, and the client.
//!
//! A case makes its own things under names of its own and removes them, also when it fails. The
//! image given must have `sh`, `true`, `false`, `echo`, `sleep` and `cat`, as busybox has.

mod bench;
mod builds;
mod disk;
mod files;
mod life;
mod streams;
mod things;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use orc_base::Id;

use crate::Host;
use crate::contract::bench::Bench;

/// How long anything here may take before the host is taken to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// One case: what is promised, and the code that sees whether it holds.
pub struct Case {
    /// The promise.
    pub name: &'static str,
    run: fn(Bench) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Runs all cases, one after the other, and panics with the names of those that failed.
pub async fn run_all(host: Arc<dyn Host>, image: &str) {
    let mut failed = Vec::new();
    for case in cases() {
        if let Err(why) = run(&case, host.clone(), image).await {
            failed.push(format!("{}: {why}", case.name));
        }
    }
    assert!(failed.is_empty(), "broken promises:\n{}", failed.join("\n"));
}

/// Runs one case, and removes what it left.
pub async fn run(case: &Case, host: Arc<dyn Host>, image: &str) -> Result<(), String> {
    let bench = Bench {
        host,
        image: image.into(),
        prefix: format!("contract-{}", Id::random().short()),
    };
    let work = tokio::spawn((case.run)(bench.clone()));
    let abort = work.abort_handle();
    let result = match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(panic)) => Err(text_of(panic)),
        Err(_) => Err(format!("no end after {PATIENCE:?}")),
    };
    abort.abort();
    bench.clean().await;
    result
}

fn text_of(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()))
            .unwrap_or_else(|| "panicked".into()),
        Err(error) => error.to_string(),
    }
}

macro_rules! cases {
    ($($file:ident::$name:ident)*) => {
        /// All cases, in the order of a container's life.
        pub fn cases() -> Vec<Case> {
            vec![$(Case { name: stringify!($name), run: |bench| Box::pin($file::$name(bench)) }),*]
        }
    };
}

cases! {
    life::a_created_container_is_not_running
    life::what_was_asked_for_is_kept
    life::a_name_is_taken_once
    life::an_unknown_thing_is_not_found
    life::a_bad_name_is_invalid
    life::a_program_runs_to_its_end
    life::a_missing_program_fails_the_start
    life::a_running_container_does_not_start_again
    life::a_stopped_container_starts_again
    life::a_kill_ends_it
    streams::output_is_kept_in_order
    streams::following_ends_with_the_container
    streams::attached_before_the_start_sees_all
    streams::input_reaches_the_program
    streams::an_exec_runs_beside
    streams::an_exec_of_a_missing_program_ends_with_127
    streams::no_exec_without_a_running_container
    life::lists_are_filtered
    life::a_wait_sees_the_next_exit
    life::a_paused_container_is_running
    life::a_running_container_uses_something
    life::a_failing_program_is_restarted
    life::a_container_can_remove_itself
    life::health_is_probed
    life::a_container_is_renamed
    life::a_container_is_updated
    life::events_tell_the_story
    things::networks_come_and_go
    things::a_container_joins_networks
    things::volumes_come_and_go
    things::anonymous_volumes_go_when_asked
    things::images_have_many_names
    files::files_go_in_and_come_out
    files::files_that_are_not_there_are_refused
    files::archives_may_keep_directories_directories
    files::files_are_removed
    files::a_container_tells_what_it_changed
    files::a_container_is_exported
    files::a_container_becomes_an_image
    builds::an_image_is_built
    builds::a_failing_step_fails_the_build
    builds::a_bad_dockerfile_is_invalid
    builds::a_check_makes_nothing
    disk::space_is_counted
    disk::what_nobody_uses_is_pruned
    disk::what_is_kept_is_sound
    things::the_machine_describes_itself
}

#[cfg(test)]
mod tests {
    use orc_base::clock::SystemClock;

    use super::*;
    use crate::fake::FakeHost;
    use crate::image::ImageConfig;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_fake_keeps_every_promise() {
        let host = FakeHost::new(Arc::new(SystemClock));
        host.add_image("busybox:latest", ImageConfig::default());
        run_all(Arc::new(host), "busybox:latest").await;
    }
}
