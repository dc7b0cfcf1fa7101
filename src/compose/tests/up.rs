//! `up`: golden plans.

use std::collections::BTreeMap;

use orc_host::Host;
use orc_host::container::HealthStatus;
use orc_host::image::ImageConfig;

use super::support::{
    HOME, assert_plan, brought_up, load_with, look, machine, options, plan_of, project, reach, up,
};
use crate::plan::{Goal, PullPolicy, Recreate, Up};

const WEB_AND_DB: &str = "
services:
  web:
    image: busybox
    command: httpd
    depends_on: [db]
    volumes: [data:/data]
  db:
    image: busybox
    command: sleep 1
volumes:
  data:
";

#[tokio::test]
async fn makes_everything_in_order() {
    let host = machine();
    let project = project(WEB_AND_DB);
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert_plan(
        &plan,
        "
        0 create network demo_default  (network is missing)
        1 create volume demo_data  (volume is missing)
        2 create demo-db-1  (does not exist)  after 0
        3 start demo-db-1  (does not run)  after 2
        4 create demo-web-1  (does not exist)  after 0 1
        5 start demo-web-1  (does not run)  after 3 4
        ",
    );
}

#[tokio::test]
async fn a_second_up_does_nothing() {
    let host = machine();
    let project = brought_up(&host, WEB_AND_DB).await;
    assert_plan(&plan_of(&host, &project, &up()).await.unwrap(), "");
    let wait = Goal::Up(Up {
        wait: true,
        ..Up::default()
    });
    assert_plan(&plan_of(&host, &project, &wait).await.unwrap(), "");
}

#[tokio::test]
async fn a_changed_service_alone_is_replaced() {
    let host = machine();
    brought_up(&host, WEB_AND_DB).await;
    let changed = project(&WEB_AND_DB.replace("httpd", "httpd -v"));
    let plan = plan_of(&host, &changed, &up()).await.unwrap();
    assert_plan(
        &plan,
        "
        0 stop demo-web-1  (configuration changed)
        1 remove demo-web-1  (configuration changed)  after 0
        2 create demo-web-1  (configuration changed)  after 1
        3 start demo-web-1  (configuration changed)  after 2
        ",
    );
}

#[tokio::test]
async fn pulls_what_is_missing_once() {
    let host = machine();
    let project = project(
        "services:\n  a: {image: redis}\n  b: {image: 'docker.io/library/redis:latest'}\n  c: {image: redis}\n",
    );
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    let pulls: Vec<String> = plan
        .operations()
        .iter()
        .filter(|operation| operation.to_string().starts_with("pull"))
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        pulls,
        [
            "pull redis  (image is missing)",
            "pull docker.io/library/redis:latest  (image is missing)"
        ]
    );
}

#[tokio::test]
async fn pull_policies() {
    let host = machine();
    host.add_remote_image("busybox", ImageConfig::default());
    let text = "services:\n  a: {image: busybox, command: sleep 1, pull_policy: always}\n";
    let project = brought_up(&host, text).await;
    let refresh = Goal::Refresh(Up::default());
    assert_plan(
        &plan_of(&host, &project, &refresh).await.unwrap(),
        "0 pull busybox  (policy is always)",
    );
    let never = Goal::Up(Up {
        pull: Some(PullPolicy::Never),
        ..Up::default()
    });
    let missing = super::support::project("services: {a: {image: nope}}");
    let error = plan_of(&host, &missing, &never).await.unwrap_err();
    assert_eq!(error.kind(), orc_base::Kind::NotFound);
    assert!(
        error.to_string().contains("image nope is not there"),
        "{error}"
    );
}

#[tokio::test]
async fn a_new_image_replaces_containers() {
    let host = machine();
    let project = brought_up(&host, "services: {a: {image: busybox, command: sleep 1}}").await;
    let other = machine();
    other.add_image("busybox", ImageConfig::default());
    let mut observed = look(&host, &project).await;
    observed = crate::observe::Observed::new(
        observed.containers,
        observed.networks.into_values().collect(),
        observed.volumes.into_values().collect(),
        other.list_images().await.unwrap(),
    );
    let plan = crate::plan::plan(&project, &observed, &up()).unwrap();
    assert!(
        plan.operations()[0].to_string().contains("image changed"),
        "{plan}"
    );
}

#[tokio::test]
async fn waits_for_health_and_for_ends() {
    let host = machine();
    let text = "
services:
  web:
    image: busybox
    command: httpd
    depends_on:
      db: {condition: service_healthy}
      job: {condition: service_completed_successfully}
  db:
    image: busybox
    command: sleep 1
    healthcheck: {test: 'true'}
  job: {image: busybox, command: 'true'}
";
    let project = project(text);
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert_plan(
        &plan,
        "
        0 create network demo_default  (network is missing)
        1 create demo-db-1  (does not exist)  after 0
        2 start demo-db-1  (does not run)  after 1
        3 create demo-job-1  (does not exist)  after 0
        4 start demo-job-1  (does not run)  after 3
        5 create demo-web-1  (does not exist)  after 0
        6 wait for demo-db-1: healthy  (web depends on it)  after 2
        7 wait for demo-job-1: completed  (web depends on it)  after 4
        8 start demo-web-1  (does not run)  after 2 4 5 6 7
        ",
    );
}

#[tokio::test]
async fn a_finished_one_shot_is_not_run_again() {
    let host = machine();
    let text = "
services:
  web:
    image: busybox
    command: httpd
    depends_on:
      job: {condition: service_completed_successfully}
  job: {image: busybox, command: 'true'}
  lone: {image: busybox, command: 'true'}
";
    let project = brought_up(&host, text).await;
    // What nobody waits for is started again, as docker compose does.
    assert_plan(
        &plan_of(&host, &project, &up()).await.unwrap(),
        "0 start demo-lone-1  (has ended)",
    );
}

#[tokio::test]
async fn a_service_that_stopped_is_started_after_what_it_needs() {
    let host = machine();
    let project = brought_up(&host, WEB_AND_DB).await;
    host.exit("demo-web-1", 1).unwrap();
    host.exit("demo-db-1", 1).unwrap();
    assert_plan(
        &plan_of(&host, &project, &up()).await.unwrap(),
        "
        0 start demo-db-1  (does not run)
        1 start demo-web-1  (does not run)  after 0
        ",
    );
}

#[tokio::test]
async fn scales_up_and_down() {
    let host = machine();
    let text = "services: {a: {image: busybox, command: sleep 1, scale: 2}}";
    let project = brought_up(&host, text).await;
    let scaled = |count| {
        Goal::Up(Up {
            scale: BTreeMap::from([("a".to_owned(), count)]),
            ..Up::default()
        })
    };
    assert_plan(
        &plan_of(&host, &project, &scaled(3)).await.unwrap(),
        "
        0 create demo-a-3  (does not exist)
        1 start demo-a-3  (does not run)  after 0
        ",
    );
    assert_plan(
        &plan_of(&host, &project, &scaled(1)).await.unwrap(),
        "
        0 stop demo-a-2  (too many replicas)
        1 remove demo-a-2  (too many replicas)  after 0
        ",
    );
    // A free number is used again.
    host.remove_container(
        "demo-a-1",
        orc_host::container::RemoveOptions {
            force: true,
            volumes: false,
        },
    )
    .await
    .unwrap();
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert!(plan.to_string().contains("create demo-a-1"), "{plan}");
}

#[tokio::test]
async fn forced_and_forbidden_replacement() {
    let host = machine();
    let project = brought_up(&host, "services: {a: {image: busybox, command: sleep 1}}").await;
    let with = |recreate| {
        Goal::Up(Up {
            recreate,
            ..Up::default()
        })
    };
    let forced = plan_of(&host, &project, &with(Recreate::Force))
        .await
        .unwrap();
    assert!(forced.to_string().contains("create demo-a-1  (forced)"));
    let changed = super::support::project("services: {a: {image: busybox, command: sleep 2}}");
    let never = plan_of(&host, &changed, &with(Recreate::Never))
        .await
        .unwrap();
    assert_plan(&never, "");
}

#[tokio::test]
async fn selected_services_and_what_they_need() {
    let host = machine();
    let text = "
services:
  web: {image: busybox, depends_on: [db]}
  db: {image: busybox}
  other: {image: busybox}
";
    let project = project(text);
    let only = |no_deps| {
        Goal::Up(Up {
            services: vec!["web".into()],
            no_deps,
            ..Up::default()
        })
    };
    let started = |plan: &crate::plan::Plan| plan.started().map(str::to_owned).collect::<Vec<_>>();
    let plan = plan_of(&host, &project, &only(false)).await.unwrap();
    assert_eq!(started(&plan), ["demo-db-1", "demo-web-1"]);
    let plan = plan_of(&host, &project, &only(true)).await.unwrap();
    assert_eq!(started(&plan), ["demo-web-1"]);
}

#[tokio::test]
async fn orphans_are_warned_about_or_removed() {
    let host = machine();
    brought_up(
        &host,
        "services: {a: {image: busybox, command: sleep 1}, b: {image: busybox, command: sleep 1}}",
    )
    .await;
    let smaller = project("services: {a: {image: busybox, command: sleep 1}}");
    let plan = plan_of(&host, &smaller, &up()).await.unwrap();
    assert!(plan.is_empty());
    assert!(plan.warnings[0].contains("Found orphan containers ([demo-b-1])"));
    let remove = Goal::Up(Up {
        remove_orphans: true,
        ..Up::default()
    });
    assert_plan(
        &plan_of(&host, &smaller, &remove).await.unwrap(),
        "
        0 stop demo-b-1  (orphan)
        1 remove demo-b-1  (orphan)  after 0
        ",
    );
}

#[tokio::test]
async fn a_changed_network_takes_its_containers_along() {
    let host = machine();
    let text = "
services:
  a: {image: busybox, command: sleep 1, networks: [n]}
  b: {image: busybox, command: sleep 1, networks: [n]}
networks: {n: {internal: false}}
";
    brought_up(&host, text).await;
    let changed = project(&text.replace("false", "true"));
    let only_a = Goal::Up(Up {
        services: vec!["a".into()],
        ..Up::default()
    });
    assert_plan(
        &plan_of(&host, &changed, &only_a).await.unwrap(),
        "
        0 stop demo-a-1  (network changed)
        1 remove demo-a-1  (network changed)  after 0
        2 stop demo-b-1  (network changed)
        3 remove demo-b-1  (network changed)  after 2
        4 remove network demo_n  (network changed)  after 1 3
        5 create network demo_n  (network changed)  after 4
        6 create demo-a-1  (network changed)  after 1 5
        7 start demo-a-1  (network changed)  after 6
        8 create demo-b-1  (network changed)  after 3 5
        9 start demo-b-1  (network changed)  after 8
        ",
    );
    reach(&host, &changed, &only_a).await.unwrap();
    assert_plan(&plan_of(&host, &changed, &up()).await.unwrap(), "");
}

#[tokio::test]
async fn dependents_that_ask_for_it_are_restarted() {
    let host = machine();
    let text = "
services:
  web:
    image: busybox
    command: httpd
    depends_on: {db: {condition: service_started, restart: true}}
  db: {image: busybox, command: sleep 1}
";
    brought_up(&host, text).await;
    let changed = project(&text.replace("sleep 1", "sleep 2"));
    let plan = plan_of(&host, &changed, &up()).await.unwrap();
    let last = plan.operations().last().unwrap().to_string();
    assert_eq!(last, "restart demo-web-1  (db was renewed)");
}

#[tokio::test]
async fn sharing_a_namespace_follows_the_container() {
    let host = machine();
    let text = "
services:
  app: {image: busybox, command: sleep 1}
  side: {image: busybox, command: sleep 1, network_mode: 'service:app'}
";
    let create = Goal::Up(Up {
        start: false,
        ..Up::default()
    });
    let plan = plan_of(&host, &project(text), &create).await.unwrap();
    assert_plan(
        &plan,
        "
        0 create network demo_default  (network is missing)
        1 create demo-app-1  (does not exist)  after 0
        2 create demo-side-1  (does not exist)  after 1
        ",
    );
    brought_up(&host, text).await;
    let side = host.inspect_container("demo-side-1").await.unwrap();
    assert_eq!(
        side.spec.network_mode,
        orc_host::container::NetworkMode::Container("demo-app-1".into())
    );
    let changed = project(&text.replacen("sleep 1", "sleep 2", 1));
    let plan = plan_of(&host, &changed, &up()).await.unwrap();
    assert!(
        plan.to_string()
            .contains("create demo-side-1  (a service it shares with was renewed)"),
        "{plan}"
    );
}

#[tokio::test]
async fn anonymous_volumes_are_carried_over() {
    let host = machine();
    let text = "services: {a: {image: busybox, command: sleep 1, volumes: [/cache]}}";
    brought_up(&host, text).await;
    let volume = |container: orc_host::container::Container| {
        let point = container
            .mounts
            .iter()
            .find(|point| point.target == "/cache");
        point.and_then(|point| point.name.clone()).unwrap()
    };
    let before = volume(host.inspect_container("demo-a-1").await.unwrap());
    let changed = project(&text.replace("sleep 1", "sleep 2"));
    reach(&host, &changed, &up()).await.unwrap();
    assert_eq!(
        volume(host.inspect_container("demo-a-1").await.unwrap()),
        before
    );
    assert_plan(&plan_of(&host, &changed, &up()).await.unwrap(), "");
    let renew = Goal::Up(Up {
        recreate: Recreate::Force,
        renew_anonymous_volumes: true,
        ..Up::default()
    });
    reach(&host, &changed, &renew).await.unwrap();
    assert_ne!(
        volume(host.inspect_container("demo-a-1").await.unwrap()),
        before
    );
}

#[tokio::test]
async fn waiting_is_planned_for_what_is_not_ready() {
    let host = machine();
    let text = "services: {a: {image: busybox, command: sleep 1, healthcheck: {test: 'true'}}}";
    let project = brought_up(&host, text).await;
    let wait = Goal::Up(Up {
        wait: true,
        ..Up::default()
    });
    host.set_health("demo-a-1", HealthStatus::Starting).unwrap();
    assert_plan(
        &plan_of(&host, &project, &wait).await.unwrap(),
        "0 wait for demo-a-1: ready  (asked to wait)",
    );
    host.set_health("demo-a-1", HealthStatus::Healthy).unwrap();
    assert_plan(&plan_of(&host, &project, &wait).await.unwrap(), "");
}

#[tokio::test]
async fn create_starts_nothing() {
    let host = machine();
    let create = Goal::Up(Up {
        start: false,
        ..Up::default()
    });
    let project = project(WEB_AND_DB);
    let plan = plan_of(&host, &project, &create).await.unwrap();
    assert_eq!(plan.started().count(), 0);
    reach(&host, &project, &create).await.unwrap();
    assert_plan(&plan_of(&host, &project, &create).await.unwrap(), "");
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    assert_eq!(
        plan.started().collect::<Vec<_>>(),
        ["demo-db-1", "demo-web-1"]
    );
}

#[tokio::test]
async fn external_things_are_used_and_never_made() {
    let host = machine();
    let text = "
services: {a: {image: busybox, command: sleep 1, networks: [n], volumes: ['v:/v']}}
networks: {n: {external: true, name: shared}}
volumes: {v: {external: true}}
";
    let project = project(text);
    let error = plan_of(&host, &project, &up())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("network shared declared as external"),
        "{error}"
    );
    let network = orc_host::network::NetworkSpec {
        name: "shared".into(),
        ..Default::default()
    };
    host.create_network(&network).await.unwrap();
    let error = plan_of(&host, &project, &up())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("volume v declared as external"), "{error}");
    let volume = orc_host::volume::VolumeSpec {
        name: "v".into(),
        ..Default::default()
    };
    host.create_volume(&volume).await.unwrap();
    reach(&host, &project, &up()).await.unwrap();
    let down = Goal::Down(crate::plan::Down {
        volumes: true,
        ..Default::default()
    });
    reach(&host, &project, &down).await.unwrap();
    assert!(host.inspect_network("shared").await.is_ok());
    assert!(host.inspect_volume("v").await.is_ok());
}

#[tokio::test]
async fn somebody_elses_network_is_left_alone() {
    let host = machine();
    let network = orc_host::network::NetworkSpec {
        name: "demo_default".into(),
        ..Default::default()
    };
    host.create_network(&network).await.unwrap();
    let project = project("services: {a: {image: busybox}}");
    let error = plan_of(&host, &project, &up()).await.unwrap_err();
    assert_eq!(error.kind(), orc_base::Kind::Conflict);
}

#[tokio::test]
async fn a_hundred_services_that_are_up_are_left_alone_quickly() {
    use std::fmt::Write;
    let mut text = String::from("services:\n");
    for index in 0..100 {
        let needs = match index {
            0 => String::new(),
            _ => format!(", depends_on: [s{}, s{}]", index - 1, index / 2),
        };
        writeln!(
            text,
            "  s{index}: {{image: busybox, command: sleep 1{}}}",
            needs.replace("s0, s0", "s0")
        )
        .unwrap();
    }
    let host = machine();
    let project = brought_up(&host, &text).await;
    let observed = look(&host, &project).await;
    let begin = std::time::Instant::now();
    let loaded = load_with(&text, &[], &options()).unwrap();
    let plan = crate::plan::plan(&loaded.project, &observed, &up()).unwrap();
    assert!(plan.is_empty(), "{plan}");
    // The budget is 0.2 s with an optimised build on an idle machine; this only finds explosions.
    assert!(begin.elapsed() < std::time::Duration::from_secs(20));
    assert_eq!(project.working_dir, std::path::Path::new(HOME));
}
