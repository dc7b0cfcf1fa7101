//! `run`: one more container of a service.

use orc_host::Host;
use orc_host::container::{Mount, RestartPolicy};

use super::support::{assert_plan, brought_up, look, machine, project};
use crate::one_off::{RunOptions, one_off};

const TEXT: &str = "
services:
  web:
    image: busybox
    command: httpd
    restart: always
    ports: ['80:80']
    environment: {A: '1'}
    volumes: ['data:/data']
    depends_on: [db]
  db: {image: busybox, command: sleep 1}
volumes: {data: {}}
";

#[tokio::test]
async fn starts_what_the_service_needs() {
    let host = machine();
    let project = project(TEXT);
    let observed = look(&host, &project).await;
    let run = one_off(
        &project,
        &observed,
        "web",
        &RunOptions::default(),
        "0123456789ab",
    )
    .unwrap();
    assert_plan(
        &run.plan,
        "
        0 create network demo_default  (network is missing)
        1 create volume demo_data  (volume is missing)
        2 create demo-db-1  (does not exist)  after 0
        3 start demo-db-1  (does not run)  after 2
        ",
    );
    assert_eq!(run.name, "demo-web-run-0123456789ab");
    assert!(run.spec.ports.is_empty());
    assert_eq!(run.spec.restart, RestartPolicy::No);
    assert_eq!(run.spec.labels["com.docker.compose.oneoff"], "True");
    assert_eq!(run.spec.labels["com.docker.compose.slug"], "0123456789ab");
    assert!(run.spec.networks[0].aliases.is_empty());
    assert_eq!(
        run.spec.command.as_deref(),
        Some(["httpd".to_owned()].as_slice())
    );
}

#[tokio::test]
async fn options_go_over_the_service() {
    let host = machine();
    let project = brought_up(&host, TEXT).await;
    let observed = look(&host, &project).await;
    let options = RunOptions {
        command: vec!["sh".into()],
        entrypoint: Some(vec!["e".into()]),
        environment: vec!["A=2".into(), "B=3".into()],
        mounts: vec![Mount::Tmpfs {
            target: "/data".into(),
            size_bytes: None,
            mode: None,
            options: vec![],
        }],
        service_ports: true,
        use_aliases: true,
        user: Some("7".into()),
        working_dir: Some("/w".into()),
        name: Some("mine".into()),
        labels: vec!["l=m".into()],
        tty: Some(true),
        interactive: true,
        remove: true,
        no_deps: true,
        ..RunOptions::default()
    };
    let run = one_off(&project, &observed, "web", &options, "0").unwrap();
    assert!(run.plan.is_empty(), "{}", run.plan);
    assert_eq!(run.name, "mine");
    assert_eq!(run.spec.command, Some(vec!["sh".into()]));
    assert_eq!(run.spec.env, ["A=2", "B=3"]);
    assert!(matches!(run.spec.mounts[..], [Mount::Tmpfs { .. }]));
    assert_eq!(run.spec.ports.len(), 1);
    assert_eq!(run.spec.networks[0].aliases, ["web", "mine"]);
    assert_eq!(
        (run.spec.user.as_deref(), run.spec.labels["l"].as_str()),
        (Some("7"), "m")
    );
    assert!(run.spec.tty && run.spec.open_stdin && run.spec.auto_remove);
}

#[tokio::test]
async fn one_offs_are_no_replicas() {
    let host = machine();
    let project = brought_up(&host, TEXT).await;
    let observed = look(&host, &project).await;
    let run = one_off(&project, &observed, "web", &RunOptions::default(), "0").unwrap();
    host.create_container(Some(&run.name), &run.spec)
        .await
        .unwrap();
    let observed = look(&host, &project).await;
    assert_eq!(observed.of_service("web").len(), 1);
    assert_eq!(observed.containers.len(), 3);
}

#[test]
fn unknown_services_are_refused() {
    let project = project(TEXT);
    let none = crate::observe::Observed::default();
    let error = one_off(&project, &none, "wbe", &RunOptions::default(), "0").unwrap_err();
    assert!(error.to_string().contains("did you mean `web`"), "{error}");
}
