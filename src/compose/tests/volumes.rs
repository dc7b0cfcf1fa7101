//! Volumes that are not as the file says, anonymous ones that move on, and what is used of others.

use std::collections::BTreeSet;

use orc_host::Host;

use super::support::{assert_plan, brought_up, look, machine, plan_of, project, reach, up};
use crate::plan::{Down, Goal, Up, changed_volumes};

const TEXT: &str = "
services:
  a: {image: busybox, command: sleep 1, volumes: ['data:/data']}
  b: {image: busybox, command: sleep 1, volumes: ['data:/data:ro']}
volumes: {data: {labels: {v: '1'}}}
";

#[tokio::test]
async fn a_volume_that_changed_is_told_and_made_anew_when_somebody_wants_it() {
    let host = machine();
    brought_up(&host, TEXT).await;
    let changed = project(&TEXT.replace("v: '1'", "v: '2'"));
    let plan = plan_of(&host, &changed, &up()).await.unwrap();
    assert_plan(&plan, "");
    assert_eq!(
        plan.warnings,
        [
            "volume demo_data is as it was made, not as the file says now: `orc up -y` makes it anew, without its data"
        ]
    );
    let options = Up {
        services: vec!["a".into()],
        ..Up::default()
    };
    let names = changed_volumes(&changed, &look(&host, &changed).await, &options).unwrap();
    assert_eq!(names, BTreeSet::from(["demo_data".to_owned()]));
    let goal = Goal::Up(Up {
        renew_volumes: names,
        ..options
    });
    let plan = plan_of(&host, &changed, &goal).await.unwrap();
    assert_plan(
        &plan,
        "
        0 stop demo-a-1  (volume changed)
        1 remove demo-a-1  (volume changed)  after 0
        2 stop demo-b-1  (volume changed)
        3 remove demo-b-1  (volume changed)  after 2
        4 remove volume demo_data  (volume changed)  after 1 3
        5 create volume demo_data  (volume changed)  after 4
        6 create demo-a-1  (volume changed)  after 1 5
        7 start demo-a-1  (volume changed)  after 6
        8 create demo-b-1  (volume changed)  after 3 5
        9 start demo-b-1  (volume changed)  after 8
        ",
    );
    reach(&host, &changed, &goal).await.unwrap();
    let volume = host.inspect_volume("demo_data").await.unwrap();
    assert_eq!(volume.labels["v"], "2");
    assert!(plan_of(&host, &changed, &up()).await.unwrap().is_empty());
}

#[tokio::test]
async fn down_with_volumes_takes_anonymous_ones_that_moved_on() {
    let host = machine();
    let text = "services: {a: {image: busybox, command: sleep 1, volumes: [/anon]}}";
    brought_up(&host, text).await;
    let changed = brought_up(&host, &text.replace("sleep 1", "sleep 2")).await;
    assert_eq!(host.list_volumes().await.unwrap().len(), 1);
    let name = host.list_volumes().await.unwrap().remove(0).name;
    let goal = Goal::Down(Down {
        volumes: true,
        ..Down::default()
    });
    assert_plan(
        &plan_of(&host, &changed, &goal).await.unwrap(),
        &format!(
            "
            0 stop demo-a-1  (down)
            1 remove demo-a-1  (down)  after 0
            2 remove network demo_default  (down)  after 1
            3 remove volume {name}  (down with volumes)  after 1
            "
        ),
    );
    reach(&host, &changed, &goal).await.unwrap();
    assert!(host.list_volumes().await.unwrap().is_empty());
}

#[tokio::test]
async fn volumes_of_another_service_come_after_it_and_go_with_it() {
    let host = machine();
    let text = "
services:
  a: {image: busybox, command: sleep 1, volumes_from: ['b:ro']}
  b: {image: busybox, command: sleep 1, volumes: [/data]}
";
    let plan = plan_of(&host, &project(text), &up()).await.unwrap();
    assert_plan(
        &plan,
        "
        0 create network demo_default  (network is missing)
        1 create demo-b-1  (does not exist)  after 0
        2 start demo-b-1  (does not run)  after 1
        3 create demo-a-1  (does not exist)  after 0 1 2
        4 start demo-a-1  (does not run)  after 2 3
        ",
    );
    brought_up(&host, text).await;
    let changed = project(&text.replacen("sleep 1, volumes:", "sleep 2, volumes:", 1));
    let plan = plan_of(&host, &changed, &up()).await.unwrap().to_string();
    assert!(
        plan.contains("create demo-a-1  (a service it shares with was renewed)"),
        "{plan}"
    );
    reach(&host, &changed, &up()).await.unwrap();
    let volume = |container: orc_host::container::Container| container.mounts[0].name.clone();
    let a = host.inspect_container("demo-a-1").await.unwrap();
    let b = host.inspect_container("demo-b-1").await.unwrap();
    assert!(a.mounts[0].read_only && !b.mounts[0].read_only);
    assert_eq!(volume(a), volume(b));
}

#[tokio::test]
async fn mounted_images_are_fetched_and_seen_to_change() {
    let host = machine();
    let text = "
services:
  a:
    image: busybox
    command: sleep 1
    volumes: [{type: image, source: tools, target: /tools}]
";
    let plan = plan_of(&host, &project(text), &up()).await.unwrap();
    assert!(
        plan.to_string()
            .contains("pull tools  (mounted image is missing)"),
        "{plan}"
    );
    host.add_image("tools", Default::default());
    let project = brought_up(&host, text).await;
    assert!(plan_of(&host, &project, &up()).await.unwrap().is_empty());
    let container = host.inspect_container("demo-a-1").await.unwrap();
    let image = host.inspect_image("tools").await.unwrap();
    assert_eq!(container.mounts[0].source, image.id);
    host.remove_image("tools", true).await.unwrap();
    host.add_image("tools", Default::default());
    let plan = plan_of(&host, &project, &up()).await.unwrap().to_string();
    assert!(plan.contains("(mounted image changed)"), "{plan}");
}
