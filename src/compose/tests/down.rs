//! `down`: golden plans.

use orc_host::Host;

use super::support::{assert_plan, brought_up, look, machine, plan_of, reach};
use crate::model::Project;
use crate::plan::{Down, Goal, RemoveImages};

const TEXT: &str = "
services:
  web: {image: busybox, command: httpd, depends_on: [db]}
  db: {image: busybox, command: sleep 1, volumes: ['data:/data', /cache]}
  off: {image: busybox, profiles: [x]}
volumes: {data: {}}
";

#[tokio::test]
async fn stops_in_reverse_and_leaves_nothing() {
    let host = machine();
    let project = brought_up(&host, TEXT).await;
    let down = Goal::Down(Down {
        volumes: true,
        images: Some(RemoveImages::All),
        ..Down::default()
    });
    assert_plan(
        &plan_of(&host, &project, &down).await.unwrap(),
        "
        0 stop demo-web-1  (down)
        1 remove demo-web-1  (down)  after 0
        2 stop demo-db-1  (down)  after 1
        3 remove demo-db-1  (down)  after 2
        4 remove network demo_default  (down)  after 1 3
        5 remove volume demo_data  (down with volumes)  after 1 3
        6 remove image busybox  (down with images)  after 1 3
        ",
    );
    reach(&host, &project, &down).await.unwrap();
    let left = look(&host, &project).await;
    assert!(left.containers.is_empty() && left.volumes.is_empty() && left.images.is_empty());
    assert_eq!(left.networks.keys().collect::<Vec<_>>(), ["bridge"]);
    assert_plan(&plan_of(&host, &project, &down).await.unwrap(), "");
}

#[tokio::test]
async fn keeps_volumes_and_images_unless_asked() {
    let host = machine();
    let project = brought_up(&host, TEXT).await;
    reach(&host, &project, &Goal::Down(Down::default()))
        .await
        .unwrap();
    let left = look(&host, &project).await;
    assert!(left.volumes.contains_key("demo_data"));
    assert_eq!(left.images.len(), 1);
}

#[tokio::test]
async fn works_by_name_when_the_files_are_gone() {
    let host = machine();
    brought_up(&host, TEXT).await;
    let named = Project {
        name: "demo".into(),
        ..Project::default()
    };
    let down = Goal::Down(Down {
        volumes: true,
        ..Down::default()
    });
    assert_plan(
        &plan_of(&host, &named, &down).await.unwrap(),
        "
        0 stop demo-web-1  (down)
        1 remove demo-web-1  (down)  after 0
        2 stop demo-db-1  (down)  after 1
        3 remove demo-db-1  (down)  after 2
        4 remove network demo_default  (down)  after 1 3
        5 remove volume demo_data  (down with volumes)  after 1 3
        ",
    );
}

#[tokio::test]
async fn only_some_services_leave_the_network() {
    let host = machine();
    let project = brought_up(&host, TEXT).await;
    let down = Goal::Down(Down {
        services: vec!["web".into()],
        ..Down::default()
    });
    assert_plan(
        &plan_of(&host, &project, &down).await.unwrap(),
        "
        0 stop demo-web-1  (down)
        1 remove demo-web-1  (down)  after 0
        ",
    );
}

#[tokio::test]
async fn a_network_that_somebody_else_is_on_stays() {
    let host = machine();
    let project = brought_up(&host, TEXT).await;
    let spec = orc_host::container::ContainerSpec {
        image: "busybox".into(),
        command: Some(vec!["sleep".into(), "1".into()]),
        networks: vec![orc_host::network::EndpointSpec {
            network: "demo_default".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    host.create_container(Some("guest"), &spec).await.unwrap();
    host.start_container("guest").await.unwrap();
    let plan = plan_of(&host, &project, &Goal::Down(Down::default()))
        .await
        .unwrap();
    assert!(!plan.to_string().contains("remove network"), "{plan}");
    assert!(
        plan.warnings[0].contains("guest is on it"),
        "{:?}",
        plan.warnings
    );
}

#[tokio::test]
async fn unknown_services_are_refused() {
    let host = machine();
    let project = brought_up(&host, TEXT).await;
    let down = Goal::Down(Down {
        services: vec!["wbe".into()],
        ..Down::default()
    });
    let error = plan_of(&host, &project, &down)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error, "no such service: wbe: did you mean `web`?");
}
