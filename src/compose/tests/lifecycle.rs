//! `start`, `stop`, `restart`, `kill`, `rm` and `pull`: golden plans.

use super::support::{assert_plan, brought_up, machine, plan_of, reach};
use crate::plan::{Goal, Kill, Pull, PullPolicy, Remove, Restart, Start, Stop};

const TEXT: &str = "
services:
  web:
    image: busybox
    command: httpd
    depends_on: {db: {condition: service_healthy, restart: true}}
  db: {image: busybox, command: sleep 1, healthcheck: {test: 'true'}}
";

#[tokio::test]
async fn stop_goes_backwards_and_start_forwards() {
    let host = machine();
    let text = TEXT.replace("service_healthy", "service_started");
    let project = brought_up(&host, &text).await;
    let stop = Goal::Stop(Stop::default());
    assert_plan(
        &plan_of(&host, &project, &stop).await.unwrap(),
        "
        0 stop demo-web-1  (stop)
        1 stop demo-db-1  (stop)  after 0
        ",
    );
    reach(&host, &project, &stop).await.unwrap();
    assert_plan(&plan_of(&host, &project, &stop).await.unwrap(), "");
    assert_plan(
        &plan_of(&host, &project, &Goal::Start(Start::default()))
            .await
            .unwrap(),
        "
        0 start demo-db-1  (start)
        1 start demo-web-1  (start)  after 0
        ",
    );
}

#[tokio::test]
async fn start_waits_as_up_does() {
    let host = machine();
    let text = TEXT.replace("service_healthy", "service_started");
    brought_up(&host, &text).await;
    let project = super::support::project(TEXT);
    reach(&host, &project, &Goal::Stop(Stop::default()))
        .await
        .unwrap();
    assert_plan(
        &plan_of(&host, &project, &Goal::Start(Start::default()))
            .await
            .unwrap(),
        "
        0 start demo-db-1  (start)
        1 wait for demo-db-1: healthy  (web depends on it)  after 0
        2 start demo-web-1  (start)  after 0 1
        ",
    );
}

#[tokio::test]
async fn start_of_what_is_not_there_is_refused() {
    let host = machine();
    let project = super::support::project(TEXT);
    let start = Goal::Start(Start {
        services: vec!["db".into()],
        ..Start::default()
    });
    let error = plan_of(&host, &project, &start)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"db\" has no container to start"),
        "{error}"
    );
}

#[tokio::test]
async fn restart_takes_dependents_along() {
    let host = machine();
    let text = TEXT.replace("service_healthy", "service_started");
    let project = brought_up(&host, &text).await;
    let restart = |no_deps| {
        Goal::Restart(Restart {
            services: vec!["db".into()],
            no_deps,
            ..Restart::default()
        })
    };
    assert_plan(
        &plan_of(&host, &project, &restart(false)).await.unwrap(),
        "
        0 restart demo-db-1  (restart)
        1 restart demo-web-1  (restart)  after 0
        ",
    );
    assert_plan(
        &plan_of(&host, &project, &restart(true)).await.unwrap(),
        "0 restart demo-db-1  (restart)",
    );
}

#[tokio::test]
async fn kill_and_rm() {
    let host = machine();
    let text = TEXT.replace("service_healthy", "service_started");
    let project = brought_up(&host, &text).await;
    let kill = Goal::Kill(Kill {
        services: vec!["web".into()],
        signal: Some("SIGKILL".into()),
        ..Kill::default()
    });
    assert_plan(
        &plan_of(&host, &project, &Goal::Remove(Remove::default()))
            .await
            .unwrap(),
        "",
    );
    assert_plan(
        &plan_of(&host, &project, &kill).await.unwrap(),
        "0 kill demo-web-1 with SIGKILL  (kill)",
    );
    reach(&host, &project, &kill).await.unwrap();
    assert_plan(
        &plan_of(&host, &project, &Goal::Remove(Remove::default()))
            .await
            .unwrap(),
        "0 remove demo-web-1  (rm)",
    );
}

#[tokio::test]
async fn pull_fetches_each_image_once() {
    let host = machine();
    let project = super::support::project(
        "services: {a: {image: busybox}, b: {image: busybox}, c: {build: .}}",
    );
    let plan = plan_of(&host, &project, &Goal::Pull(Pull::default()))
        .await
        .unwrap();
    assert_plan(&plan, "0 pull busybox  (asked for)");
    assert!(plan.warnings[0].contains("service c has no image to pull"));
    let missing = Goal::Pull(Pull {
        policy: Some(PullPolicy::Missing),
        ..Pull::default()
    });
    assert_plan(&plan_of(&host, &project, &missing).await.unwrap(), "");
}
