//! Carrying out: order, waiting, failure.

use std::sync::Mutex;
use std::time::Duration;

use orc_base::Kind;
use orc_host::Host;
use orc_host::container::{Content, FileSource, GivenFile, HealthStatus};
use orc_host::image::ImageConfig;

use super::support::{brought_up, look, machine, plan_of, project, reach, up};
use crate::converge::{Observer, OperationEvent, Phase, converge};
use crate::plan::{Goal, Up};

/// Remembers what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<OperationEvent>>);

impl Observer for Notes {
    fn event(&self, event: OperationEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Notes {
    fn lines(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .map(|event| format!("{} {}", event.subject, event.text))
            .collect()
    }

    fn failures(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter_map(|event| match &event.phase {
                Phase::Failed(text) => Some(text.clone()),
                _ => None,
            })
            .collect()
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
    command: sleep 1
    healthcheck: {test: 'true'}
";

#[tokio::test]
async fn says_what_it_does() {
    let host = machine();
    host.add_remote_image("redis", ImageConfig::default());
    let project = project("services: {a: {image: redis, command: sleep 1}}");
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    let notes = Notes::default();
    converge(&plan, &host, &notes).await.unwrap();
    let lines = notes.lines();
    for line in [
        "Network demo_default Creating",
        "Network demo_default Created",
        "Image redis Pulling",
        "Image redis Pulled",
        "Container demo-a-1 Created",
        "Container demo-a-1 Starting",
        "Container demo-a-1 Started",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
    }
    assert_eq!(
        lines.last().map(String::as_str),
        Some("Container demo-a-1 Started")
    );
}

#[tokio::test]
async fn starts_what_waits_only_when_it_is_time() {
    let host = machine();
    let project = project(HEALTHY);
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    let watcher = host.clone();
    let healthy = async move {
        loop {
            let running = watcher.inspect_container("demo-db-1").await;
            if running.is_ok_and(|db| db.state.is_running()) {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(!watcher.calls().contains(&"start demo-web-1".to_owned()));
        watcher
            .set_health("demo-db-1", HealthStatus::Healthy)
            .unwrap();
    };
    let notes = Notes::default();
    let (done, ()) = tokio::join!(converge(&plan, &host, &notes), healthy);
    done.unwrap();
    assert_eq!(
        host.calls().last().map(String::as_str),
        Some("start demo-web-1")
    );
}

#[tokio::test]
async fn an_unhealthy_dependency_is_an_error_with_both_names() {
    let host = machine();
    let project = project(HEALTHY);
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    let watcher = host.clone();
    let unhealthy = async move {
        while watcher
            .set_health("demo-db-1", HealthStatus::Unhealthy)
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    let notes = Notes::default();
    let (done, ()) = tokio::join!(converge(&plan, &host, &notes), unhealthy);
    let error = done.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(
        error
            .to_string()
            .starts_with("db (web depends on it): demo-db-1 is unhealthy"),
        "{error}"
    );
    assert!(!host.calls().contains(&"start demo-web-1".to_owned()));
    assert_eq!(notes.failures().len(), 1);
}

#[tokio::test]
async fn a_failed_one_shot_says_its_last_words() {
    let host = machine();
    let project = project(
        "
services:
  web:
    image: busybox
    command: httpd
    depends_on: {job: {condition: service_completed_successfully}}
  job: {image: busybox, command: [sh, -c, 'echo no disk left; exit 3']}
",
    );
    let error = reach(&host, &project, &up()).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "job (web depends on it): demo-job-1 did not complete successfully: exit code 3\nlast lines of demo-job-1:\n| no disk left"
    );
}

#[tokio::test]
async fn an_optional_dependency_may_fail() {
    let host = machine();
    let project = project(
        "
services:
  web:
    image: busybox
    command: httpd
    depends_on: {job: {condition: service_completed_successfully, required: false}}
  job: {image: busybox, command: [sh, -c, 'exit 3']}
",
    );
    reach(&host, &project, &up()).await.unwrap();
    assert!(host.calls().contains(&"start demo-web-1".to_owned()));
}

#[tokio::test]
async fn waiting_for_health_without_a_check_is_refused() {
    let host = machine();
    let project = project(&HEALTHY.replace("    healthcheck: {test: 'true'}\n", ""));
    let error = reach(&host, &project, &up()).await.unwrap_err();
    assert!(
        error.to_string().contains("demo-db-1 has no healthcheck"),
        "{error}"
    );
}

#[tokio::test]
async fn one_shots_that_end_well_count_as_ready() {
    let host = machine();
    let project = project(
        "services: {a: {image: busybox, command: 'true'}, b: {image: busybox, command: sleep 1}}",
    );
    let wait = Goal::Up(Up {
        wait: true,
        ..Up::default()
    });
    reach(&host, &project, &wait).await.unwrap();
}

#[tokio::test]
async fn what_exits_while_it_is_waited_for_is_an_error() {
    let host = machine();
    let project = project("services: {a: {image: busybox, command: 'false'}}");
    let wait = Goal::Up(Up {
        wait: true,
        ..Up::default()
    });
    let error = reach(&host, &project, &wait).await.unwrap_err().to_string();
    assert!(error.contains("demo-a-1 exited with code 1"), "{error}");
}

#[tokio::test]
async fn waiting_has_an_end() {
    let host = machine();
    let project =
        project("services: {a: {image: busybox, command: sleep 1, healthcheck: {test: 'true'}}}");
    let wait = Goal::Up(Up {
        wait: true,
        wait_timeout: Some(Duration::from_millis(50)),
        ..Up::default()
    });
    let error = reach(&host, &project, &wait).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(
        error
            .to_string()
            .contains("demo-a-1 is starting and not ready after 50ms"),
        "{error}"
    );
}

#[tokio::test]
async fn an_unknown_image_leaves_no_container() {
    let host = machine();
    let project = project("services: {a: {image: nope}, b: {image: busybox, depends_on: [a]}}");
    let error = reach(&host, &project, &up()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("pull nope:latest: manifest unknown"),
        "{error}"
    );
    assert_eq!(host.calls(), ["pull nope:latest"]);
}

#[tokio::test]
async fn a_program_that_cannot_start_is_named() {
    let host = machine();
    let text = "services: {a: {image: busybox, command: /bin/nope}}";
    let error = reach(&host, &project(text), &up()).await.unwrap_err();
    assert!(error.to_string().starts_with("start demo-a-1: "), "{error}");
    // The next attempt, with the right program, works.
    let fixed = project("services: {a: {image: busybox, command: sleep 1}}");
    reach(&host, &fixed, &up()).await.unwrap();
}

#[tokio::test]
async fn content_without_a_file_goes_into_memory_and_is_never_printed() {
    let host = machine();
    let text = "
services:
  a:
    image: busybox
    command: sleep 1
    configs: [c, {source: f, mode: 0440}]
    secrets: [{source: s, target: token, uid: '7', gid: '8', mode: 0400}, p]
configs: {c: {content: hello}, f: {file: ./f.conf}}
secrets: {s: {environment: TOKEN}, p: {file: ./plain}}
";
    let options = crate::load::LoadOptions {
        environment: [("TOKEN".to_owned(), "geheim".to_owned())].into(),
        ..super::support::options()
    };
    let files = [("f.conf", "x"), ("plain", "y")];
    let project = super::support::load_with(text, &files, &options)
        .unwrap()
        .project;
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert!(!format!("{plan} {plan:?}").contains("geheim"));
    reach(&host, &project, &up()).await.unwrap();
    let container = host.inspect_container("demo-a-1").await.unwrap();
    let given = |target: &str, source, uid, gid, mode| GivenFile {
        target: target.into(),
        source,
        uid,
        gid,
        mode,
    };
    let content = |text: &str| FileSource::Content(Content(text.into()));
    assert_eq!(
        container.spec.files,
        [
            given("/run/secrets/token", content("geheim"), 7, 8, 0o400),
            given("/c", content("hello"), 0, 0, 0o444),
            given(
                "/f",
                FileSource::Path("/home/demo/f.conf".into()),
                0,
                0,
                0o440
            ),
        ]
    );
    // What is to be as it is on the machine is bound.
    let mounts: Vec<_> = container.mounts.iter().map(|point| &point.target).collect();
    assert_eq!(mounts, ["/run/secrets/p"]);
    // Other content is another container.
    let changed = crate::load::LoadOptions {
        environment: [("TOKEN".to_owned(), "anders".to_owned())].into(),
        ..super::support::options()
    };
    let project = super::support::load_with(text, &files, &changed)
        .unwrap()
        .project;
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert!(
        plan.to_string().contains("(what it is given changed)"),
        "{plan}"
    );
}

#[tokio::test]
async fn what_runs_and_what_replaced_something_stays_after_a_failure() {
    let host = machine();
    let text = "services: {a: {image: busybox, command: sleep 1, volumes: [/v]}, b: {image: busybox, command: sleep 1}}";
    brought_up(&host, text).await;
    let broken = project(&text.replacen("sleep 1", "/bin/nope", 1));
    reach(&host, &broken, &up()).await.unwrap_err();
    let left = look(&host, &broken).await;
    assert_eq!(left.containers.len(), 2);
    assert!(left.networks.contains_key("demo_default"));
    assert!(left.volumes.values().any(|volume| volume.anonymous));
    reach(&host, &project(text), &up()).await.unwrap();
}
