//! Updates lot after lot: golden plans, and what comes of replicas that fail.

use orc_host::Host;
use orc_host::container::HealthStatus;
use orc_host::fake::FakeHost;

use super::support::{assert_plan, brought_up, look, machine, plan_of, project, reach, up};
use crate::converge::{Quiet, carry_out, converge};
use crate::plan::{Goal, Plan, Recreate, Up, plan};
use crate::provider::NoPrograms;

/// Three replicas that are replaced as `update` says.
fn text(update: &str, command: &str) -> String {
    format!(
        "
services:
  web:
    image: busybox
    command: {command}
    stop_grace_period: 0s
    deploy: {{replicas: 3, update_config: {{{update}}}}}
"
    )
}

/// The plan for another command when the project runs.
async fn changed(host: &FakeHost, update: &str) -> Plan {
    brought_up(host, &text(update, "sleep 1")).await;
    let project = project(&text(update, "sleep 2"));
    plan_of(host, &project, &up()).await.unwrap()
}

#[tokio::test]
async fn one_after_the_other_by_default() {
    let host = machine();
    let plan = changed(&host, "").await;
    assert_plan(
        &plan,
        "
        0 stop demo-web-1  (configuration changed)
        1 remove demo-web-1  (configuration changed)  after 0
        2 create demo-web-1  (configuration changed)  after 1
        3 start demo-web-1  (configuration changed)  after 2
        4 wait for demo-web-1: ready for 5s  (update of web, 1 of 3)  after 3
        5 stop demo-web-2  (configuration changed)  after 4
        6 remove demo-web-2  (configuration changed)  after 5
        7 create demo-web-2  (configuration changed)  after 6
        8 start demo-web-2  (configuration changed)  after 7
        9 wait for demo-web-2: ready for 5s  (update of web, 2 of 3)  after 8
        10 stop demo-web-3  (configuration changed)  after 9
        11 remove demo-web-3  (configuration changed)  after 10
        12 create demo-web-3  (configuration changed)  after 11
        13 start demo-web-3  (configuration changed)  after 12
        14 wait for demo-web-3: ready for 5s  (update of web, 3 of 3)  after 13
        ",
    );
}

#[tokio::test]
async fn lots_with_a_pause_between() {
    let host = machine();
    let plan = changed(&host, "parallelism: 2, delay: 10s, monitor: 1s").await;
    assert_plan(
        &plan,
        "
        0 stop demo-web-1  (configuration changed)
        1 remove demo-web-1  (configuration changed)  after 0
        2 create demo-web-1  (configuration changed)  after 1
        3 start demo-web-1  (configuration changed)  after 2
        4 wait for demo-web-1: ready for 1s  (update of web, 1 of 3)  after 3
        5 stop demo-web-2  (configuration changed)
        6 remove demo-web-2  (configuration changed)  after 5
        7 create demo-web-2  (configuration changed)  after 6
        8 start demo-web-2  (configuration changed)  after 7
        9 wait for demo-web-2: ready for 1s  (update of web, 2 of 3)  after 8
        10 wait 10s  (update of web)  after 4 9
        11 stop demo-web-3  (configuration changed)  after 10
        12 remove demo-web-3  (configuration changed)  after 11
        13 create demo-web-3  (configuration changed)  after 12
        14 start demo-web-3  (configuration changed)  after 13
        15 wait for demo-web-3: ready for 1s  (update of web, 3 of 3)  after 14
        ",
    );
}

#[tokio::test]
async fn none_at_once_means_all_at_once() {
    let host = machine();
    let plan = changed(&host, "parallelism: 0, monitor: 1s").await;
    let stops = plan.operations().iter();
    let stops: Vec<_> = stops
        .filter(|step| step.action.verb() == "stop")
        .map(|step| step.after.len())
        .collect();
    assert_eq!(stops, [0, 0, 0]);
}

/// As [`text`], one replica that starts before the old one stops.
fn beside(command: &str, more: &str) -> String {
    format!(
        "
services:
  web:
    image: busybox
    command: {command}
    stop_grace_period: 0s
    deploy: {{update_config: {{order: start-first, monitor: 50ms}}}}
{more}"
    )
}

/// A plan in which the random ids of containers are called `<id>`.
fn named(plan: &Plan, observed: &crate::observe::Observed) -> String {
    let mut text = plan.to_string();
    for container in &observed.containers {
        text = text.replace(&container.id[..12], "<id>");
    }
    text
}

fn tidy(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).collect()
}

#[tokio::test]
async fn the_new_one_starts_first_and_takes_the_name() {
    let host = machine();
    brought_up(&host, &beside("sleep 1", "")).await;
    let project = project(&beside("sleep 2", ""));
    let before = look(&host, &project).await;
    let plan = plan(&project, &before, &up()).unwrap();
    assert_eq!(
        tidy(&named(&plan, &before)),
        tidy(
            "
        0 create <id>_demo-web-1  (configuration changed)
        1 start <id>_demo-web-1  (configuration changed)  after 0
        2 wait for <id>_demo-web-1: ready for 50ms  (update of web, 1 of 1)  after 1
        3 stop demo-web-1  (configuration changed)  after 2
        4 remove demo-web-1  (configuration changed)  after 3
        5 rename <id>_demo-web-1 to demo-web-1  (it has the old one's place)  after 4
        "
        )
    );
    converge(&plan, &host, &Quiet).await.unwrap();
    let after = look(&host, &project).await;
    let names: Vec<_> = after.containers.iter().map(|one| &one.name).collect();
    assert_eq!(names, ["demo-web-1"]);
    assert_ne!(after.containers[0].id, before.containers[0].id);
    let aliases = &after.containers[0].spec.networks[0].aliases;
    assert_eq!(aliases, &["web", "demo-web-1"]);
    assert_plan(&plan_of(&host, &project, &up()).await.unwrap(), "");
}

#[tokio::test]
async fn what_cannot_run_twice_stops_first_and_it_is_said() {
    for (more, why) in [
        (
            "    ports: ['8080:80']\n",
            "both would publish port 8080 of this machine",
        ),
        (
            "    network_mode: host\n",
            "both would use the machine's own network",
        ),
        (
            "    mac_address: 02:00:00:00:00:01\n",
            "both would have the same address",
        ),
        (
            "    networks: {default: {ipv4_address: 10.9.0.7}}\nnetworks: {default: {ipam: {config: [{subnet: 10.9.0.0/24}]}}}\n",
            "both would have the same address",
        ),
        (
            "  side: {image: busybox, command: sleep 1, network_mode: 'service:web'}\n",
            "side shares a namespace with it",
        ),
    ] {
        let host = machine();
        brought_up(&host, &beside("sleep 1", more)).await;
        let project = project(&beside("sleep 2", more));
        let plan = plan_of(&host, &project, &up()).await.unwrap();
        assert_eq!(plan.operations()[0].action.verb(), "stop", "{plan}");
        assert_eq!(
            plan.warnings,
            [format!(
                "service web: the old container stops before the new one starts, although `order` is start-first: {why}"
            )]
        );
    }
    // A range that is wide enough is no obstacle.
    let host = machine();
    let more = "    ports: ['8080-8090:80']\n";
    brought_up(&host, &beside("sleep 1", more)).await;
    let project = project(&beside("sleep 2", more));
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert_eq!(plan.operations()[0].action.verb(), "create", "{plan}");
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}

#[tokio::test]
async fn health_is_the_proof_where_somebody_checks_it() {
    let host = machine();
    let checked = "    healthcheck: {test: 'true'}\n";
    let text =
        |command: &str| text("", command).replace("    deploy", &format!("{checked}    deploy"));
    brought_up(&host, &text("sleep 1")).await;
    let project = project(&text("sleep 2"));
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert_eq!(
        plan.operations()[4].to_string(),
        "wait for demo-web-1: ready  (update of web, 1 of 3)"
    );
    // The second begins when the first is healthy, and never when it is not.
    let watcher = host.clone();
    let unhealthy = async move {
        loop {
            let web = watcher.inspect_container("demo-web-1").await;
            let new =
                web.is_ok_and(|web| web.state.is_running() && web.args.contains(&"2".to_owned()));
            if new {
                break;
            }
            tokio::task::yield_now().await;
        }
        let status = HealthStatus::Unhealthy;
        watcher.set_health("demo-web-1", status).unwrap();
    };
    let (done, ()) = tokio::join!(converge(&plan, &host, &Quiet), unhealthy);
    let error = done.unwrap_err().to_string();
    assert!(
        error.starts_with("update of web, 1 of 3: demo-web-1 is unhealthy"),
        "{error}"
    );
    assert!(!host.calls().iter().any(|call| call == "stop demo-web-2"));
}

#[tokio::test]
async fn a_pause_leaves_the_rest_as_it_was_and_the_next_up_goes_on() {
    let host = machine();
    brought_up(&host, &text("monitor: 10ms", "sleep 1")).await;
    let broken = project(&text("monitor: 10ms", "'false'"));
    let error = reach(&host, &broken, &up()).await.unwrap_err().to_string();
    assert!(
        error.starts_with("update of web, 1 of 3: demo-web-1 exited with code 1"),
        "{error}"
    );
    let running = look(&host, &broken).await;
    let running = running.containers.iter();
    let running: Vec<_> = running
        .filter(|one| one.state.is_running())
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(running, ["demo-web-2", "demo-web-3"]);
    // The same again: what was begun has to work before the rest is touched.
    let plan = plan_of(&host, &broken, &up()).await.unwrap();
    let lines: Vec<String> = plan
        .operations()
        .iter()
        .take(3)
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        lines,
        [
            "start demo-web-1  (does not run)",
            "wait for demo-web-1: ready for 10ms  (update of web goes on)",
            "stop demo-web-2  (configuration changed)",
        ]
    );
    assert_eq!(plan.operations()[2].after, [1]);
    let good = project(&text("monitor: 10ms", "sleep 3"));
    reach(&host, &good, &up()).await.unwrap();
    assert_plan(&plan_of(&host, &good, &up()).await.unwrap(), "");
}

#[tokio::test]
async fn what_failed_beside_the_old_one_is_taken_away() {
    for command in ["'false'", "/bin/nope"] {
        let host = machine();
        brought_up(&host, &beside("sleep 1", "")).await;
        let before = look(&host, &project(&beside("sleep 1", ""))).await;
        let broken = project(&beside(command, ""));
        reach(&host, &broken, &up()).await.unwrap_err();
        let after = look(&host, &broken).await;
        assert_eq!(after.containers.len(), 1, "{command}");
        assert_eq!(after.containers[0].id, before.containers[0].id);
        assert!(after.containers[0].state.is_running());
    }
}

#[tokio::test]
async fn going_on_warns_and_replaces_the_rest() {
    let host = machine();
    let update = "failure_action: continue, monitor: 10ms";
    brought_up(&host, &text(update, "sleep 1")).await;
    let broken = project(&text(update, "/bin/nope"));
    reach(&host, &broken, &up()).await.unwrap();
    let after = look(&host, &broken).await;
    let hash = &broken.services["web"].hash;
    let label =
        |one: &orc_host::container::Container| one.labels[crate::labels::CONFIG_HASH].clone();
    assert!(after.containers.iter().all(|one| label(one) == *hash));

    // Beside the old one, the old one stays.
    let host = machine();
    let text =
        |command: &str| beside(command, "").replace("order:", "failure_action: continue, order:");
    brought_up(&host, &text("sleep 1")).await;
    reach(&host, &project(&text("'false'")), &up())
        .await
        .unwrap();
    let after = look(&host, &project(&text("'false'"))).await;
    assert_eq!(after.containers.len(), 1);
    assert!(after.containers[0].state.is_running());
}

#[tokio::test]
async fn a_part_may_fail() {
    for (ratio, replaced) in [("0.34", 2), ("0.3", 1), ("0.7", 3)] {
        let host = machine();
        let update = format!("monitor: 10ms, max_failure_ratio: {ratio}");
        brought_up(&host, &text(&update, "sleep 1")).await;
        let broken = project(&text(&update, "'false'"));
        let error = reach(&host, &broken, &up()).await.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("update of web, {replaced} of 3: ")),
            "{ratio}: {error}"
        );
    }
}

#[tokio::test]
async fn going_back_is_asked_for_with_what_it_was() {
    let host = machine();
    let update = "failure_action: rollback, monitor: 10ms";
    let good = brought_up(&host, &text(update, "sleep 1")).await;
    let broken = project(&text(update, "'false'"));
    let plan = plan_of(&host, &broken, &up()).await.unwrap();
    let outcome = carry_out(&plan, &host, &NoPrograms, &Quiet).await;
    assert!(outcome.done.is_err());
    let hash = good.services["web"].hash.clone();
    assert_eq!(outcome.back, [("web".to_owned(), Some(hash))]);
}

#[tokio::test]
async fn going_back_has_a_course_of_its_own() {
    let host = machine();
    let with = |command: &str, back: &str| {
        text("parallelism: 0", command).replace(
            "update_config",
            &format!("rollback_config: {{{back}}}, update_config"),
        )
    };
    brought_up(&host, &with("sleep 1", "")).await;
    let back = Goal::Up(Up {
        back: true,
        recreate: Recreate::Force,
        ..Up::default()
    });
    for (config, waits) in [("parallelism: 2, monitor: 7s", 2), ("", 1)] {
        let project = project(&with("sleep 1", config));
        let plan = plan_of(&host, &project, &back).await.unwrap();
        let free = plan.operations().iter();
        let free = free.filter(|step| step.action.verb() == "stop" && step.after.is_empty());
        assert_eq!(free.count(), waits, "{plan}");
    }
}

#[tokio::test]
async fn words_that_mean_nothing_are_refused_before_anything_is_done() {
    for (deploy, error) in [
        (
            "update_config: {failure_action: explode}",
            "service web: deploy.update_config: failure_action: `explode`: use pause, continue or rollback",
        ),
        (
            "rollback_config: {failure_action: rollback}",
            "service web: deploy.rollback_config: failure_action: `rollback`: use pause, continue",
        ),
        (
            "update_config: {max_failure_ratio: 1.5}",
            "service web: deploy.update_config: max_failure_ratio: `1.5` is not between 0 and 1",
        ),
        (
            "mode: everywhere",
            "service web: deploy.mode: `everywhere`: use replicated, global, replicated-job or global-job",
        ),
    ] {
        let host = machine();
        let project = project(&format!(
            "services: {{web: {{image: busybox, deploy: {{{deploy}}}}}}}"
        ));
        let refused = plan_of(&host, &project, &up()).await.unwrap_err();
        assert_eq!(refused.to_string(), error);
    }
}

#[tokio::test]
async fn an_update_that_was_cut_short_is_put_right() {
    let host = machine();
    brought_up(&host, &beside("sleep 1", "")).await;
    let project = project(&beside("sleep 2", ""));
    let before = look(&host, &project).await;
    let plan = plan(&project, &before, &up()).unwrap();
    // The power goes when the new one runs.
    let old = &before.containers[0];
    let spec = plan
        .operations()
        .iter()
        .find_map(|step| match &step.action {
            crate::plan::Action::CreateContainer { spec, .. } => Some(spec),
            _ => None,
        });
    let name = format!("{}_demo-web-1", &old.id[..12]);
    host.create_container(Some(&name), spec.unwrap())
        .await
        .unwrap();
    host.start_container(&name).await.unwrap();
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert_eq!(
        tidy(&named(&plan, &before)),
        tidy(
            "
        0 stop demo-web-1  (another container has its place)
        1 remove demo-web-1  (another container has its place)  after 0
        2 rename <id>_demo-web-1 to demo-web-1  (the other container is gone)  after 1
        "
        )
    );
    converge(&plan, &host, &Quiet).await.unwrap();
    assert_plan(&plan_of(&host, &project, &up()).await.unwrap(), "");
    // And when only the name is wrong.
    host.rename_container("demo-web-1", &name).await.unwrap();
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert_eq!(plan.operations().len(), 1, "{plan}");
    converge(&plan, &host, &Quiet).await.unwrap();
    assert_plan(&plan_of(&host, &project, &up()).await.unwrap(), "");
}

#[tokio::test]
async fn what_depends_on_it_waits_for_the_whole_update() {
    let host = machine();
    let text = |command: &str| {
        format!(
            "
services:
  db:
    image: busybox
    command: {command}
    deploy: {{update_config: {{order: start-first, monitor: 1s}}}}
  web:
    image: busybox
    command: sleep 1
    depends_on: {{db: {{condition: service_started, restart: true}}}}
"
        )
    };
    brought_up(&host, &text("sleep 1")).await;
    let plan = plan_of(&host, &project(&text("sleep 2")), &up()).await;
    let plan = plan.unwrap();
    let last = plan.operations().last().unwrap();
    assert_eq!(last.to_string(), "restart demo-web-1  (db was renewed)");
    assert_eq!(last.after, [1, 5], "{plan}");
}

#[tokio::test]
async fn modes_say_how_many_and_how_often() {
    let host = machine();
    let text = "
services:
  everywhere: {image: busybox, command: sleep 1, deploy: {mode: global, replicas: 3}}
  job: {image: busybox, command: 'true', deploy: {mode: replicated-job, replicas: 2, restart_policy: {condition: any, max_attempts: 4}}}
";
    let project = brought_up(&host, text).await;
    let names = look(&host, &project).await;
    let names: Vec<_> = names
        .containers
        .iter()
        .map(|one| one.name.clone())
        .collect();
    assert_eq!(names, ["demo-everywhere-1", "demo-job-1", "demo-job-2"]);
    let job = host.inspect_container("demo-job-1").await.unwrap();
    assert_eq!(
        job.spec.restart,
        orc_host::container::RestartPolicy::OnFailure {
            max_retries: Some(4)
        }
    );
    // A job that has ended well is done.
    assert_plan(&plan_of(&host, &project, &up()).await.unwrap(), "");
}
