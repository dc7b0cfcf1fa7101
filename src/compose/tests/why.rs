//! Why something waits, fails, or has to be done: what people read while `up` works, and `plan`.

use std::sync::Mutex;

use orc_host::Host;
use orc_host::container::HealthStatus;
use orc_host::fake::FakeHost;
use orc_host::image::ImageConfig;

use super::support::{assert_plan, brought_up, look, machine, plan_of, project, up};
use crate::converge::{Observer, OperationEvent, Phase, converge};
use crate::plan::{self, Plan, PullPolicy, Up};

/// Remembers what is waited for, and warnings.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn event(&self, event: OperationEvent) {
        if let Phase::Waiting(text) | Phase::Warning(text) = event.phase {
            self.0.lock().unwrap().push(text);
        }
    }
}

impl Notes {
    fn have(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|note| note == text)
    }
}

const HEALTHY: &str = "
services:
  web:
    image: busybox
    command: httpd
    depends_on: {db: {condition: service_healthy}}
  db:
    image: busybox
    command: [sh, -c, 'echo one; echo two >&2; sleep 9']
    healthcheck: {test: [CMD, '/bin/probe'], retries: 10}
";

/// Lets others go on until `is_so`, a bounded number of times.
async fn until(is_so: impl AsyncFn() -> bool) {
    for _ in 0..100_000 {
        if is_so().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came so far");
}

#[tokio::test]
async fn waiting_for_health_counts_probes_and_repeats_them() {
    let host = machine();
    let project = project(HEALTHY);
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    let notes = Notes::default();
    let story = async {
        until(async || notes.have("db: healthy (no probe yet)")).await;
        host.fail_probe("demo-db-1", "\n connection refused \nmore\n")
            .unwrap();
        until(async || notes.have("db: healthy (probe 1 of 10: connection refused)")).await;
        host.fail_probe("demo-db-1", "").unwrap();
        until(async || notes.have("db: healthy (probe 2 of 10: exit code 1)")).await;
        host.set_health("demo-db-1", HealthStatus::Healthy).unwrap();
    };
    let (done, ()) = tokio::join!(converge(&plan, &host, &notes), story);
    done.unwrap();
}

#[tokio::test]
async fn of_several_containers_each_is_named() {
    let host = machine();
    let project = project(&HEALTHY.replace("  db:\n", "  db:\n    scale: 2\n"));
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    let notes = Notes::default();
    let story = async {
        for name in ["demo-db-1", "demo-db-2"] {
            until(async || notes.have(&format!("{name}: healthy (no probe yet)"))).await;
            host.set_health(name, HealthStatus::Healthy).unwrap();
        }
    };
    let (done, ()) = tokio::join!(converge(&plan, &host, &notes), story);
    done.unwrap();
}

#[tokio::test]
async fn an_unhealthy_dependency_shows_its_probe_and_its_lines() {
    let host = machine();
    let project = project(HEALTHY);
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    let notes = Notes::default();
    let story = async {
        until(async || notes.have("db: healthy (no probe yet)")).await;
        host.fail_probe("demo-db-1", "connection refused").unwrap();
        until(async || notes.have("db: healthy (probe 1 of 10: connection refused)")).await;
        host.set_health("demo-db-1", HealthStatus::Unhealthy)
            .unwrap();
    };
    let (done, ()) = tokio::join!(converge(&plan, &host, &notes), story);
    assert_eq!(
        done.unwrap_err().to_string(),
        "db (web depends on it): demo-db-1 is unhealthy\nlast lines of demo-db-1:\n| one\n| two"
    );
}

#[tokio::test]
async fn ten_lines_are_enough() {
    let script: Vec<String> = (1..=30).map(|line| format!("echo line {line}")).collect();
    let host = machine();
    let project = project(&format!(
        "services:\n  web: {{image: busybox, command: httpd, depends_on: {{job: {{condition: service_completed_successfully, required: false}}}}}}\n  \
         job: {{image: busybox, command: [sh, -c, '{}; exit 3']}}\n",
        script.join("; ")
    ));
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    let notes = Notes::default();
    converge(&plan, &host, &notes).await.unwrap();
    let expected: Vec<String> = (21..=30).map(|line| format!(" | line {line}")).collect();
    let warning = format!(
        "optional dependency: job (web depends on it): demo-job-1 did not complete successfully: \
         exit code 3 last lines of demo-job-1:{}",
        expected.concat()
    );
    assert!(notes.have(&warning), "{:?}", notes.0);
}

async fn preview(host: &FakeHost, text: &str, options: &Up) -> Plan {
    let project = project(text);
    let observed = look(host, &project).await;
    plan::preview(&project, &observed, options).unwrap()
}

const TWO: &str = "
services:
  a: {image: busybox, command: sleep 1}
  b: {image: busybox, command: sleep 1, depends_on: [a]}
";

#[tokio::test]
async fn nothing_changed_is_an_empty_plan_and_a_change_has_its_cause() {
    let host = machine();
    brought_up(&host, TWO).await;
    let same = preview(&host, TWO, &Up::default()).await;
    assert!(same.is_empty(), "{same}");
    let changed = TWO.replacen("sleep 1", "sleep 2", 1);
    let plan = preview(&host, &changed, &Up::default()).await;
    assert_plan(
        &plan,
        "
  0 stop demo-a-1  (configuration changed)
  1 remove demo-a-1  (configuration changed)  after 0
  2 create demo-a-1  (configuration changed)  after 1
  3 start demo-a-1  (configuration changed)  after 2
",
    );
    assert!(host.calls().is_empty(), "nothing was done");
    assert_eq!(plan.operations()[0].action.verb(), "stop");
    assert_eq!(plan.operations()[0].action.subject(), "Container demo-a-1");
}

#[tokio::test]
async fn images_that_are_renewed_come_first_and_once() {
    let host = machine();
    host.add_remote_image("busybox", ImageConfig::default());
    let always = Up {
        pull: Some(PullPolicy::Always),
        ..Up::default()
    };
    let plan = preview(&host, TWO, &always).await;
    assert_plan(
        &plan,
        "
  0 pull busybox  (policy is always)
  1 create network demo_default  (network is missing)  after 0
  2 create demo-a-1  (does not exist)  after 1
  3 start demo-a-1  (does not run)  after 2
  4 create demo-b-1  (does not exist)  after 1
  5 start demo-b-1  (does not run)  after 3 4
",
    );
    assert_eq!(
        plan.warnings,
        ["image busybox is renewed: containers of it are replaced when it has changed"]
    );
    // What runs is only pulled anew.
    brought_up(&host, TWO).await;
    let plan = preview(&host, TWO, &always).await;
    assert_plan(&plan, "0 pull busybox  (policy is always)");
}

#[tokio::test]
async fn what_is_built_each_time_is_built_once() {
    let host = machine();
    let text = "
services:
  a: {build: {context: ., dockerfile_inline: FROM busybox}, pull_policy: build, command: sleep 1}
";
    let plan = preview(&host, text, &Up::default()).await;
    let builds = plan.operations().iter();
    let builds: Vec<usize> = builds
        .filter(|step| step.action.verb() == "build")
        .map(|step| step.id)
        .collect();
    assert_eq!(builds, [0], "{plan}");
    let create = plan.operations().iter();
    let mut create = create.filter(|step| step.action.to_string() == "create demo-a-1");
    let after = &create.next().expect("a container").after;
    assert!(after.contains(&0), "{plan}");
    assert!(host.inspect_container("demo-a-1").await.is_err());
}
