//! What flags before and after the verb change about a plan and how it is carried out.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::{brought_up, load_with, look, machine, options, plan_of, project, reach, up};
use crate::converge::{Observer, OperationEvent, Phase, converge};
use crate::load::LoadOptions;
use crate::plan::{Goal, Recreate, Up, plan};

const WEB_AND_DB: &str = "
services:
  web: {image: busybox, command: httpd, depends_on: [db]}
  db: {image: busybox, command: sleep 1}
";

#[tokio::test]
async fn old_names_have_underscores() {
    let host = machine();
    let old = LoadOptions {
        compatibility: true,
        ..options()
    };
    let text = "services:\n  web: {image: busybox}\n  own: {build: .}\n";
    let project = load_with(text, &[], &old).unwrap().project;
    assert_eq!(project.services["own"].image_name("demo"), "demo_own");
    let only = Goal::Up(Up {
        services: vec!["web".into()],
        ..Up::default()
    });
    let plan = plan_of(&host, &project, &only).await.unwrap();
    assert_eq!(plan.started().collect::<Vec<_>>(), ["demo_web_1"]);
}

#[tokio::test]
async fn what_is_forced_is_what_was_named() {
    let host = machine();
    let project = brought_up(&host, WEB_AND_DB).await;
    let replaced = |options: Up| {
        let (host, project) = (&host, &project);
        async move {
            let plan = plan_of(host, project, &Goal::Up(options)).await.unwrap();
            let text = plan.to_string();
            ["web", "db"]
                .into_iter()
                .filter(|name| text.contains(&format!("remove demo-{name}-1")))
                .collect::<Vec<_>>()
        }
    };
    let forced = Up {
        recreate: Recreate::Force,
        ..Up::default()
    };
    let web = Up {
        services: vec!["web".into()],
        ..Up::default()
    };
    assert_eq!(replaced(forced.clone()).await, ["web", "db"]);
    let web_forced = Up {
        recreate: Recreate::Force,
        ..web.clone()
    };
    assert_eq!(replaced(web_forced.clone()).await, ["web"]);
    let dependencies = Up {
        recreate_dependencies: Recreate::Force,
        ..web
    };
    assert_eq!(replaced(dependencies).await, ["db"]);
}

#[tokio::test]
async fn orphans_can_be_left_unsaid() {
    let host = machine();
    brought_up(&host, WEB_AND_DB).await;
    let text = "services:\n  db: {image: busybox, command: sleep 1}\n";
    let seen = look(&host, &project(text)).await;
    let said = |value: Option<&str>| {
        let mut with = options();
        if let Some(value) = value {
            let name = "COMPOSE_IGNORE_ORPHANS".to_owned();
            with.environment.insert(name, value.into());
        }
        let project = load_with(text, &[], &with).unwrap().project;
        plan(&project, &seen, &up()).unwrap().warnings.len()
    };
    assert_eq!((said(None), said(Some("0")), said(Some("TRUE"))), (1, 1, 0));
}

/// How many steps were under way at once.
#[derive(Default)]
struct Most {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Observer for Most {
    fn event(&self, event: OperationEvent) {
        match event.phase {
            Phase::Started => {
                let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
                self.most.fetch_max(now, Ordering::Relaxed);
            }
            Phase::Done | Phase::Failed(_) => drop(self.now.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }
}

#[tokio::test]
async fn no_more_is_done_at_once_than_is_allowed() {
    let host = machine();
    let text = "services:\n  a: {image: busybox, command: sleep 1000, scale: 12}\n";
    let project = project(text);
    let mut plan = plan_of(&host, &project, &up()).await.unwrap();
    plan.at_once = Some(2);
    let most = Most::default();
    converge(&plan, &host, &most).await.unwrap();
    assert!(most.most.load(Ordering::Relaxed) <= 2);
    reach(&host, &project, &up()).await.unwrap();
    assert_eq!(look(&host, &project).await.containers.len(), 12);
}
