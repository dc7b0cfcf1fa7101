//! `build` sections: what is asked of the machine, and when.

use std::path::Path;

use orc_host::Host;
use orc_host::image::ImageConfig;
use orc_host::image_build::{ContextSource, DockerfileSource};

use super::support::{
    HOME, assert_plan, brought_up, look, machine, options, plan_of, project, reach, refusal, up,
};
use crate::load::LoadOptions;
use crate::model::Project;
use crate::plan::{Action, Build, BuildPolicy, Goal, Plan, Up};

/// A build in a directory that every machine has.
const WEB: &str = "
services:
  web:
    build:
      context: /
      dockerfile_inline: |
        FROM busybox
        CMD httpd
";

fn build() -> Goal {
    Goal::Build(Build::default())
}

fn up_with(build: BuildPolicy, refreshed: bool) -> Up {
    Up {
        build,
        refreshed,
        ..Up::default()
    }
}

/// What the only build of a plan asks for.
fn asked(plan: &Plan) -> &crate::image_build::ImageBuild {
    let builds: Vec<_> = plan
        .operations()
        .iter()
        .filter_map(|operation| match &operation.action {
            Action::BuildImage { build, .. } => Some(build),
            _ => None,
        })
        .collect();
    assert_eq!(builds.len(), 1, "{plan}");
    builds[0]
}

async fn planned(project: &Project) -> Plan {
    plan_of(&machine(), project, &build()).await.unwrap()
}

#[tokio::test]
async fn a_missing_image_is_built() {
    let host = machine();
    let project = project(WEB);
    assert_plan(
        &plan_of(&host, &project, &up()).await.unwrap(),
        "
        0 build demo-web  (image is missing)
        1 create network demo_default  (network is missing)  after 0
        2 create demo-web-1  (does not exist)  after 0 1
        3 start demo-web-1  (does not run)  after 2
        ",
    );
    reach(&host, &project, &up()).await.unwrap();
    assert!(host.inspect_image("demo-web").await.is_ok());
    assert_plan(&plan_of(&host, &project, &up()).await.unwrap(), "");
}

#[tokio::test]
async fn a_new_build_replaces_the_container() {
    let host = machine();
    let project = brought_up(&host, WEB).await;
    let asked = up_with(BuildPolicy::Always, false);
    let refresh = Goal::Refresh(asked);
    assert_plan(
        &plan_of(&host, &project, &refresh).await.unwrap(),
        "0 build demo-web  (asked to build)",
    );
    reach(&host, &project, &refresh).await.unwrap();
    let rest = Goal::Up(up_with(BuildPolicy::Always, true));
    assert_plan(
        &plan_of(&host, &project, &rest).await.unwrap(),
        "
        0 stop demo-web-1  (image changed)
        1 remove demo-web-1  (image changed)  after 0
        2 create demo-web-1  (image changed)  after 1
        3 start demo-web-1  (image changed)  after 2
        ",
    );
}

#[tokio::test]
async fn a_policy_of_build_builds_each_time() {
    let host = machine();
    let text = format!("{WEB}    pull_policy: build\n");
    let project = brought_up(&host, &text).await;
    let refresh = |build| Goal::Refresh(up_with(build, false));
    let plan = plan_of(&host, &project, &refresh(BuildPolicy::Missing)).await;
    assert_plan(&plan.unwrap(), "0 build demo-web  (policy is build)");
    let plan = plan_of(&host, &project, &refresh(BuildPolicy::Never)).await;
    assert_plan(&plan.unwrap(), "");
    let without = "services:\n  a: {image: busybox, pull_policy: build}\n";
    let error = plan_of(&host, &super::support::project(without), &up()).await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("no `build` section")
    );
}

#[tokio::test]
async fn nothing_is_built_that_is_not_to_be() {
    let host = machine();
    let goal = Goal::Up(up_with(BuildPolicy::Never, false));
    let error = plan_of(&host, &project(WEB), &goal).await.unwrap_err();
    assert_eq!(error.kind(), orc_base::Kind::NotFound);
    assert!(
        error.to_string().contains("image demo-web is not there"),
        "{error}"
    );
}

/// With a name and a `build` section the image is built, unless the file says to fetch it.
#[tokio::test]
async fn an_image_with_a_name_is_built_under_it() {
    let host = machine();
    host.add_remote_image("example/web", ImageConfig::default());
    let built = WEB.replace("web:\n", "web:\n    image: example/web\n");
    let plan = plan_of(&host, &project(&built), &up()).await.unwrap();
    assert_eq!(asked(&plan).spec.tags, ["example/web"]);
    let fetched = format!("{built}    pull_policy: missing\n");
    let plan = plan_of(&host, &project(&fetched), &up()).await.unwrap();
    assert!(
        plan.to_string().starts_with("  0 pull example/web"),
        "{plan}"
    );
}

#[tokio::test]
async fn contexts_of_services_come_first() {
    let text = "
services:
  app:
    build:
      dockerfile_inline: FROM base
      additional_contexts: {base: 'service:base', other: 'docker-image://alpine:3'}
  base:
    build: {dockerfile_inline: FROM busybox}
  unused:
    build: {dockerfile_inline: FROM busybox}
";
    let app = Goal::Build(Build {
        services: vec!["app".into()],
        ..Build::default()
    });
    let host = machine();
    let project = project(text);
    let plan = plan_of(&host, &project, &app).await.unwrap();
    assert_plan(
        &plan,
        "
        0 build demo-base  (the build of app takes files of it)
        1 build demo-app  (asked for)  after 0
        ",
    );
    let Action::BuildImage { build: lowered, .. } = &plan.operations()[1].action else {
        panic!("{plan}");
    };
    assert_eq!(
        lowered.spec.contexts["base"],
        ContextSource::Image("demo-base".into())
    );
    assert_eq!(
        lowered.spec.contexts["other"],
        ContextSource::Image("alpine:3".into())
    );
    let all = plan_of(&host, &project, &build()).await.unwrap();
    assert_plan(
        &all,
        "
        0 build demo-base  (asked for)
        1 build demo-app  (asked for)  after 0
        2 build demo-unused  (asked for)
        ",
    );
    let looped = text.replace(
        "base:\n    build: {dockerfile_inline: FROM busybox}",
        "base:\n    build: {dockerfile_inline: FROM busybox, additional_contexts: {x: 'service:app'}}",
    );
    let error = plan_of(&host, &super::support::project(&looped), &app).await;
    assert!(error.unwrap_err().to_string().contains("need each other"));
}

#[tokio::test]
async fn every_key_has_its_meaning() {
    let text = "
services:
  web:
    image: example/web:1
    build:
      context: ./app
      dockerfile: docker/Dockerfile
      args: {A: 1, B: 'two', C: null}
      target: prod
      cache_from: ['type=registry,ref=example/cache']
      cache_to: ['type=inline']
      secrets: [token, {source: file, target: key}]
      ssh: ['default=/run/agent']
      additional_contexts: {more: ./more, far: 'https://example.com/a.git'}
      tags: ['example/web:1', 'example/web:latest']
      pull: true
      no_cache: true
      network: none
      shm_size: 64m
      labels: {made: here}
      platforms: [linux/amd64]
      extra_hosts: ['db:10.0.0.1']
      ulimits: {nofile: {soft: 10, hard: 20}, nproc: 5}
      entitlements: [network.host]
      privileged: true
secrets:
  token: {environment: TOKEN}
  file: {file: ./key.txt}
";
    let options = LoadOptions {
        environment: [
            ("TOKEN".to_owned(), "s3cret".to_owned()),
            ("C".to_owned(), "three".to_owned()),
        ]
        .into(),
        ..options()
    };
    let loaded = super::support::load_with(text, &[("app/x", "")], &options).unwrap();
    let plan = planned(&loaded.project).await;
    let lowered = asked(&plan);
    let spec = &lowered.spec;
    assert_eq!(
        spec.context,
        ContextSource::Directory {
            path: Path::new(HOME).join("app"),
            identity: None
        }
    );
    assert_eq!(
        spec.dockerfile,
        DockerfileSource::Path("docker/Dockerfile".into())
    );
    let args: Vec<_> = spec.args.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(args, ["A=1", "B=two", "C=three"]);
    assert_eq!(spec.target.as_deref(), Some("prod"));
    assert_eq!(spec.cache_from, ["type=registry,ref=example/cache"]);
    assert_eq!(spec.cache_to, ["type=inline"]);
    assert_eq!(spec.secrets.len(), 1);
    assert_eq!(spec.secrets[0].value, b"s3cret");
    assert_eq!(
        lowered.secret_files,
        [("key".to_owned(), Path::new(HOME).join("key.txt"))]
    );
    assert_eq!(spec.ssh[0].socket, Path::new("/run/agent"));
    assert_eq!(
        spec.contexts["more"],
        ContextSource::Directory {
            path: Path::new(HOME).join("more"),
            identity: None
        }
    );
    assert_eq!(
        spec.contexts["far"],
        ContextSource::Remote("https://example.com/a.git".into())
    );
    assert_eq!(spec.tags, ["example/web:1", "example/web:latest"]);
    assert!(spec.pull && spec.no_cache);
    assert_eq!(spec.network.as_deref(), Some("none"));
    assert_eq!(spec.shm_bytes, Some(64 << 20));
    assert_eq!(spec.labels["made"], "here");
    assert_eq!(spec.labels["com.docker.compose.service"], "web");
    assert_eq!(spec.platform.as_deref(), Some("linux/amd64"));
    assert_eq!(spec.extra_hosts, [("db".into(), "10.0.0.1".into())]);
    let limits: Vec<_> = spec
        .ulimits
        .iter()
        .map(|limit| (limit.name.as_str(), limit.soft, limit.hard))
        .collect();
    assert_eq!(limits, [("nofile", 10, 20), ("nproc", 5, 5)]);
    assert_eq!(spec.allow, ["network.host", "security.insecure"]);
    let text = format!("{plan}{plan:?}");
    assert!(!text.contains("s3cret"), "{text}");
    assert!(plan.warnings.iter().any(|line| line.contains("privileged")));
}

#[tokio::test]
async fn a_dockerfile_beside_the_context_is_read_here() {
    let text = "services:\n  web: {build: {context: ./app, dockerfile: ../Dockerfile.web}}\n";
    let plan = planned(&project(text)).await;
    assert_eq!(
        asked(&plan).dockerfile.as_deref(),
        Some(Path::new(HOME).join("Dockerfile.web").as_path())
    );
}

/// What changes how an image is made changes no container that exists.
#[tokio::test]
async fn the_config_hash_does_not_know_builds() {
    let host = machine();
    brought_up(&host, WEB).await;
    let changed = project(&WEB.replace("CMD httpd", "CMD other"));
    assert_plan(&plan_of(&host, &changed, &up()).await.unwrap(), "");
    assert_eq!(look(&host, &changed).await.containers.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    for (keys, said) in [
        ("network: demo_net", "default, none or host"),
        ("isolation: hyperv", "isolation"),
        ("ssh: [default]", "SSH_AUTH_SOCK is not set"),
    ] {
        let text = format!("services:\n  web:\n    build:\n      context: .\n      {keys}\n");
        let error = plan_of(&machine(), &project(&text), &build()).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let both = refusal(
        "services:\n  web: {build: {context: ., dockerfile: x, dockerfile_inline: FROM x}}\n",
    );
    assert!(both.contains("mutually exclusive"), "{both}");
    let nothing = planned(&project("services:\n  a: {image: busybox}\n")).await;
    assert!(nothing.is_empty() && nothing.warnings[0].contains("no service to build"));
}

#[tokio::test]
async fn a_missing_context_is_named() {
    let host = machine();
    let project = project("services:\n  web: {build: ./surely/not/there}\n");
    let error = reach(&host, &project, &build())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("build demo-web") && error.contains("surely/not/there does not exist"),
        "{error}"
    );
}
