//! Hooks of services: golden plans, what is told, and what a failure leads to.

use std::sync::Mutex;

use orc_base::Kind;
use orc_host::Host;
use orc_host::container::ContainerFilter;

use super::support::{
    assert_plan, brought_up, load_with, machine, options, plan_of, project, reach, up,
};
use crate::converge::{Observer, OperationEvent, Phase, converge};
use crate::plan::{Action, Goal, Restart, Start, Stop};

const BOTH: &str = "
services:
  a:
    image: busybox
    command: sleep 1
    post_start:
      - {command: echo one, user: root, privileged: true, working_dir: /w, environment: {A: '1', TOKEN: , NONE: }}
      - {command: echo two}
    pre_stop: [{command: echo bye}]
  b: {image: busybox, command: sleep 1, depends_on: [a]}
";

#[tokio::test]
async fn hooks_run_after_starts_and_before_stops() {
    let host = machine();
    let plan = plan_of(&host, &project(BOTH), &up()).await.unwrap();
    assert_plan(
        &plan,
        "
        0 create network demo_default  (network is missing)
        1 create demo-a-1  (does not exist)  after 0
        2 start demo-a-1  (does not run)  after 1
        3 run post_start 1 in demo-a-1: echo one  (after its start)  after 2
        4 run post_start 2 in demo-a-1: echo two  (after its start)  after 3
        5 create demo-b-1  (does not exist)  after 0
        6 start demo-b-1  (does not run)  after 4 5
        ",
    );
    let project = brought_up(&host, BOTH).await;
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert!(plan.is_empty(), "{plan}");
    let plan = plan_of(&host, &project, &Goal::Stop(Stop::default()))
        .await
        .unwrap();
    assert_plan(
        &plan,
        "
        0 stop demo-b-1  (stop)
        1 run pre_stop 1 in demo-a-1: echo bye  (before its stop)  after 0
        2 stop demo-a-1  (stop)  after 1
        ",
    );
    let goal = Goal::Restart(Restart {
        services: vec!["a".into()],
        ..Restart::default()
    });
    assert_plan(
        &plan_of(&host, &project, &goal).await.unwrap(),
        "
        0 run pre_stop 1 in demo-a-1: echo bye  (before its stop)
        1 restart demo-a-1  (restart)  after 0
        2 run post_start 1 in demo-a-1: echo one  (after its start)  after 1
        3 run post_start 2 in demo-a-1: echo two  (after its start)  after 2
        ",
    );
    let changed = super::support::project(&BOTH.replacen("sleep 1", "sleep 2", 1));
    assert_plan(
        &plan_of(&host, &changed, &up()).await.unwrap(),
        "
        0 run pre_stop 1 in demo-a-1: echo bye  (before its stop)
        1 stop demo-a-1  (configuration changed)  after 0
        2 remove demo-a-1  (configuration changed)  after 1
        3 create demo-a-1  (configuration changed)  after 2
        4 start demo-a-1  (configuration changed)  after 3
        5 run post_start 1 in demo-a-1: echo one  (after its start)  after 4
        6 run post_start 2 in demo-a-1: echo two  (after its start)  after 5
        ",
    );
    reach(&host, &project, &Goal::Stop(Stop::default()))
        .await
        .unwrap();
    let goal = Goal::Start(Start {
        services: vec!["a".into()],
        ..Start::default()
    });
    assert_plan(
        &plan_of(&host, &project, &goal).await.unwrap(),
        "
        0 start demo-a-1  (start)
        1 run post_start 1 in demo-a-1: echo one  (after its start)  after 0
        2 run post_start 2 in demo-a-1: echo two  (after its start)  after 1
        ",
    );
    // What does not run needs no hook before it goes.
    let down = plan_of(&host, &project, &Goal::Down(Default::default())).await;
    assert!(!down.unwrap().to_string().contains("pre_stop"));
}

#[tokio::test]
async fn a_hook_is_a_process_of_its_own_kind() {
    let options = crate::load::LoadOptions {
        environment: [("TOKEN".to_owned(), "t".to_owned())].into(),
        ..options()
    };
    let project = load_with(BOTH, &[], &options).unwrap().project;
    let plan = plan_of(&machine(), &project, &up()).await.unwrap();
    let process = plan
        .operations()
        .iter()
        .find_map(|operation| match &operation.action {
            Action::RunHook { process, .. } => Some(process.clone()),
            _ => None,
        })
        .unwrap();
    assert_eq!(process.command, ["echo", "one"]);
    assert_eq!(process.env, ["A=1", "TOKEN=t"]);
    assert_eq!(process.user.as_deref(), Some("root"));
    assert_eq!(process.working_dir.as_deref(), Some("/w"));
    assert!(process.privileged && process.stdout && process.stderr && !process.stdin);
}

/// Keeps what hooks say.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Observer for Said {
    fn event(&self, event: OperationEvent) {
        if let Phase::Output { service, line } = event.phase {
            self.0.lock().unwrap().push(format!("{service} | {line}"));
        }
    }
}

#[tokio::test]
async fn what_a_hook_says_is_told_and_its_failure_ends_up() {
    let host = machine();
    let text = BOTH.replace("echo two", "sh -c 'echo half; echo broken >&2; exit 3'");
    let plan = plan_of(&host, &project(&text), &up()).await.unwrap();
    let said = Said::default();
    let error = converge(&plan, &host, &said).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.to_string(),
        "post_start 2 of demo-a-1: it exited with code 3: broken"
    );
    assert_eq!(
        *said.0.lock().unwrap(),
        ["a | one", "a | half", "a | broken"]
    );
    let left = host.list_containers(&ContainerFilter::everything()).await;
    let names: Vec<_> = left.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["demo-a-1"], "it is left to be looked at");
}

#[tokio::test]
async fn a_hook_that_fails_before_a_stop_keeps_the_container() {
    let host = machine();
    let text = BOTH.replace("echo bye", "'false'");
    let project = brought_up(&host, &text).await;
    let error = reach(&host, &project, &Goal::Down(Default::default()))
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("pre_stop 1 of demo-a-1: "),
        "{error}"
    );
    let container = host.inspect_container("demo-a-1").await.unwrap();
    assert!(container.state.is_running());
}

const INITIAL: &str = "
services:
  a:
    image: busybox
    command: sleep 1
    user: '5'
    working_dir: /w
    ports: ['8080-8081:80']
    environment: {A: '1', B: '2'}
    scale: 2
    pre_start:
      - {command: echo schema, environment: {B: '3'}}
      - {command: echo mine, per_replica: true, image: tools, user: '7'}
";

#[tokio::test]
async fn containers_run_to_their_end_before_the_service() {
    let host = machine();
    let plan = plan_of(&host, &project(INITIAL), &up()).await.unwrap();
    assert_plan(
        &plan,
        "
        0 pull tools  (image of pre_start is missing)
        1 create network demo_default  (network is missing)  after 0
        2 create demo-a-1  (does not exist)  after 0 1
        3 create demo-a-pre_start-1  (pre_start 1 of a)  after 0 2
        4 start demo-a-pre_start-1  (pre_start 1 of a)  after 3
        5 wait for demo-a-pre_start-1: completed  (pre_start 1 of a)  after 4
        6 remove demo-a-pre_start-1  (pre_start 1 of a)  after 5
        7 create demo-a-1-pre_start-2  (pre_start 2 of a)  after 5
        8 start demo-a-1-pre_start-2  (pre_start 2 of a)  after 7
        9 wait for demo-a-1-pre_start-2: completed  (pre_start 2 of a)  after 8
        10 remove demo-a-1-pre_start-2  (pre_start 2 of a)  after 9
        11 start demo-a-1  (does not run)  after 9
        12 create demo-a-2  (does not exist)  after 0 1
        13 create demo-a-2-pre_start-2  (pre_start 2 of a)  after 0 5 12
        14 start demo-a-2-pre_start-2  (pre_start 2 of a)  after 13
        15 wait for demo-a-2-pre_start-2: completed  (pre_start 2 of a)  after 14
        16 remove demo-a-2-pre_start-2  (pre_start 2 of a)  after 15
        17 start demo-a-2  (does not run)  after 15
        ",
    );
    let specs: Vec<_> = plan
        .operations()
        .iter()
        .filter_map(|operation| match &operation.action {
            Action::CreateContainer { name, spec } if name.contains("pre_start") => Some(spec),
            _ => None,
        })
        .collect();
    let (own, other) = (specs[0], specs[1]);
    assert_eq!(
        (own.image.as_str(), other.image.as_str()),
        ("busybox", "tools")
    );
    assert_eq!(own.command, Some(vec!["echo".into(), "schema".into()]));
    assert_eq!(
        (own.user.as_deref(), other.user.as_deref()),
        (Some("5"), Some("7"))
    );
    assert_eq!(own.working_dir.as_deref(), Some("/w"));
    assert_eq!(own.env, ["A=1", "B=3"]);
    assert!(own.ports.is_empty() && own.networks[0].aliases.is_empty());
    assert_eq!(own.labels["com.docker.compose.oneoff"], "True");
}

#[tokio::test]
async fn one_that_fails_is_kept_and_replaced_by_the_next_attempt() {
    let host = machine();
    let text = "
services:
  a: {image: busybox, command: sleep 1, pre_start: [{command: sh -c 'echo no database; exit 4'}]}
  b: {image: busybox, command: sleep 1, depends_on: [a]}
";
    let error = reach(&host, &project(text), &up()).await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with(
            "a (pre_start 1 of a): demo-a-pre_start-1 did not complete successfully: exit code 4"
        ) && error.contains("no database"),
        "{error}"
    );
    let names = async || {
        let left = host.list_containers(&ContainerFilter::everything()).await;
        let names: Vec<_> = left.unwrap().into_iter().map(|one| one.name).collect();
        names
    };
    assert_eq!(names().await, ["demo-a-pre_start-1"]);
    let fixed = project(&text.replace("exit 4", "exit 0"));
    let plan = plan_of(&host, &fixed, &up()).await.unwrap().to_string();
    assert!(
        plan.contains("remove demo-a-pre_start-1  (left by an earlier attempt)"),
        "{plan}"
    );
    reach(&host, &fixed, &up()).await.unwrap();
    let mut names = names().await;
    names.sort();
    assert_eq!(names, ["demo-a-1", "demo-b-1"]);
}
