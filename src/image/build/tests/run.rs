//! `RUN`: what programs see, what becomes of what they write, and how steps go side by side.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::support::bed;
use crate::build::graph::Network;
use crate::build::request::{BuildEvent, Secret, SshAgent, StepState};
use crate::build::runner::StepMount;
use crate::build::shared::lock;

#[tokio::test(flavor = "multi_thread")]
async fn changes_become_layers_and_no_change_makes_none() {
    let bed = bed();
    let base = bed.base().await;
    let image = bed
        .build(
            "FROM base\nRUN write /new new; remove /file; make /d\nRUN say nothing\n\
             WORKDIR /usr/lib\nWORKDIR /made/here\nENV A=b\nRUN write /new newer",
        )
        .await
        .unwrap();
    assert_eq!(image.layers.len(), base.layers.len() + 3);
    assert_eq!(bed.line(&image, "new"), "644 0:0 = newer");
    assert_eq!(bed.line(&image, "made/here"), "755 0:0 /");
    assert!(!bed.tree(&image).contains("\nfile "));
    assert_eq!(bed.line(&image, "usr/lib/old"), "644 0:0 = old");
    let lines = image.history.iter().rev().take(6);
    let empty: Vec<bool> = lines.map(|line| line.empty_layer).collect();
    assert_eq!(empty, [false, true, false, true, true, false]);
    assert_eq!(image.config.working_dir, "/made/here");
    assert!(bed.output().contains("nothing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_directory_belongs_to_the_user() {
    let bed = bed();
    bed.base().await;
    let image = bed
        .build("FROM base\nUSER app\nWORKDIR /home/app")
        .await
        .unwrap();
    assert_eq!(bed.line(&image, "home/app"), "755 1001:1002 /");
    assert_eq!(bed.line(&image, "home"), "755 1001:1002 /");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_see_what_they_should() {
    let bed = bed();
    bed.base().await;
    let mut options = bed.options(
        "FROM base\nARG A=1\nENV E=2\nUSER app\nWORKDIR /usr\nRUN --network=none variable A /a; variable E /e; variable HTTP_PROXY /p",
    );
    options.args.insert("A".into(), "given".into());
    options.args.insert("HTTP_PROXY".into(), "http://p".into());
    let image = bed.run(options).await.unwrap();
    for (path, value) in [("a", "given"), ("e", "2"), ("p", "http://p")] {
        assert_eq!(bed.line(&image, path), format!("644 0:0 = {value}"));
    }
    let steps = lock(&bed.runner.steps).clone();
    assert_eq!(steps[0].user, "app");
    assert_eq!(steps[0].working_dir, "/usr");
    assert_eq!(steps[0].network, Network::None);
    assert_eq!(steps[0].argv[..2], ["/bin/sh", "-c"]);
    let env = image.config.env.join(" ");
    assert!(env.contains("E=2") && !env.contains("A=") && !env.contains("PROXY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_are_there_and_leave_nothing() {
    let bed = bed();
    bed.put("dir/f", "context").put("ignored", "secret");
    bed.put(".dockerignore", "ignored\n");
    bed.base().await;
    let mut options = bed.options(
        "FROM base AS tools\nRUN write /tool tool; write /other other\nFROM base\n\
         RUN --mount=type=bind,target=/c --mount=type=bind,from=tools,source=/tool,target=/t \
             --mount=type=secret,id=s --mount=type=secret,id=v,env=V --mount=type=cache,target=/cache \
             --mount=type=tmpfs,target=/tmp/x,size=1m --mount=type=ssh \
             list /c; show /c/dir/f; show /t; show /run/secrets/s; variable V /v; write /cache/k kept\n\
         RUN --mount=type=cache,target=/cache show /cache/k\n\
         RUN --mount=type=bind,from=tools,target=/t,rw write /t/w gone; show /t/w; show /t/other\n\
         RUN --mount=type=bind,target=/c,rw write /c/dir/f changed; show /c/dir/f",
    );
    let secret = |id: &str, value: &str| Secret {
        id: id.into(),
        value: value.into(),
    };
    options.secrets = vec![secret("s", "hush"), secret("v", "quiet")];
    options.ssh = vec![SshAgent {
        id: "default".into(),
        socket: "/nowhere".into(),
    }];
    let image = bed.run(options).await.unwrap();
    let output = bed.output();
    for word in [
        "dir", "context", "tool", "hush", "kept", "gone", "other", "changed",
    ] {
        assert!(output.contains(word), "{word}: {output}");
    }
    assert!(!output.contains("ignored"));
    assert_eq!(std::fs::read_to_string(bed.at("dir/f")).unwrap(), "context");
    assert_eq!(bed.line(&image, "v"), "644 0:0 = quiet");
    let tree = bed.tree(&image);
    for gone in ["hush", "kept", "gone", "tool"] {
        assert!(!tree.contains(gone), "{gone}: {tree}");
    }
    let steps = lock(&bed.runner.steps).clone();
    let with_agent = steps.iter().find(|step| {
        let mut mounts = step.mounts.iter();
        mounts.any(|mount| matches!(mount, StepMount::Agent { .. }))
    });
    let env = &with_agent.unwrap().env;
    assert!(
        env.iter().any(|one| one.starts_with("SSH_AUTH_SOCK=")),
        "{env:?}"
    );
    assert!(bed.is_clean());
    let text = format!("{image:?}");
    assert!(!text.contains("hush") && !text.contains("quiet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_required_must_be_given() {
    let bed = bed();
    bed.base().await;
    for (line, words) in [
        (
            "RUN --mount=type=secret,id=s,required=true say x",
            "--secret id=s",
        ),
        ("RUN --mount=type=ssh,required=true say x", "--ssh default"),
        (
            "RUN --mount=type=bind,source=/missing,target=/m say x",
            "/missing: not found",
        ),
    ] {
        let error = bed.build(&format!("FROM base\n{line}")).await.unwrap_err();
        assert!(error.to_string().contains(words), "{line}: {error}");
    }
    bed.build("FROM base\nRUN --mount=type=secret,id=s say x")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_which_step_and_stops_the_others() {
    let bed = bed();
    bed.base().await;
    let began = Instant::now();
    let error = bed
        .build(
            "FROM base AS slow\nRUN forever\nFROM base AS bad\nRUN pause 100; say last words; exit 7\n\
             FROM base\nCOPY --from=slow /file /a\nCOPY --from=bad /file /b",
        )
        .await
        .unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(20));
    let text = error.to_string();
    assert!(text.starts_with("Dockerfile:4: RUN pause 100"), "{text}");
    assert!(
        text.ends_with("did not complete successfully: exit code: 7"),
        "{text}"
    );
    let states = bed.states();
    let of = |start: &str| {
        let mut states = states.iter();
        states
            .find(|(text, _)| text.starts_with(start))
            .unwrap()
            .1
            .clone()
    };
    assert!(matches!(
        of("RUN pause"),
        StepState::Failed {
            exit_code: Some(7),
            ..
        }
    ));
    assert_eq!(of("RUN forever"), StepState::Cancelled);
    assert_eq!(of("COPY --from=slow"), StepState::Cancelled);
    assert!(bed.output().contains("last words"));
    assert!(bed.is_clean());
    assert_eq!(bed.images.list().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_go_side_by_side_and_unused_ones_not_at_all() {
    let bed = bed();
    bed.base().await;
    bed.build(
        "FROM base AS a\nRUN pause 300; write /a a\nFROM base AS b\nRUN pause 300; write /b b\n\
         FROM base AS unused\nRUN exit 1\nFROM base\nCOPY --from=a /a /\nCOPY --from=b /b /",
    )
    .await
    .unwrap();
    assert_eq!(bed.ran(), 2);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(bed.runner.most.load(Ordering::SeqCst), cores.min(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_of_the_same_do_each_step_once() {
    let bed = std::sync::Arc::new(bed());
    bed.base().await;
    let dockerfile = "FROM base\nRUN pause 200; write /a a\nRUN pause 50; write /b b";
    let mut builds = Vec::new();
    for _ in 0..4 {
        let options = bed.options(dockerfile);
        let (images, runner, events) = (bed.images.clone(), bed.runner.clone(), bed.events.clone());
        let build = async move { images.build(options, None, runner, events).await };
        builds.push(tokio::spawn(build));
    }
    let mut ids = Vec::new();
    for build in builds {
        ids.push(build.await.unwrap().unwrap().unwrap().id);
    }
    ids.dedup();
    assert_eq!((ids.len(), bed.ran()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn going_away_ends_the_build() {
    let bed = bed();
    bed.base().await;
    let options = bed.options("FROM base\nRUN write /a a; forever");
    let build = bed.run(options);
    assert!(
        tokio::time::timeout(Duration::from_millis(500), build)
            .await
            .is_err()
    );
    assert_eq!(bed.ran(), 1);
    assert!(bed.is_clean());
    assert_eq!(bed.images.list().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_announced_before_they_begin() {
    let bed = bed();
    bed.base().await;
    bed.build("FROM base\nRUN say x").await.unwrap();
    let events = bed.events();
    let at = |wanted: fn(&BuildEvent) -> bool| events.iter().position(wanted).unwrap();
    let planned = at(|event| matches!(event, BuildEvent::Planned(_)));
    let first = at(|event| matches!(event, BuildEvent::Step { .. }));
    assert!(planned < first);
    assert!(at(|event| matches!(event, BuildEvent::Dockerfile { .. })) < planned);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_here_documents_are_files() {
    let bed = bed();
    bed.base().await;
    let dockerfile = "FROM base\nRUN <<EOF\n#!/bin/tool\nwords\nEOF";
    // The player looks at the last word only, which is no command of it.
    let _ = bed.build(dockerfile).await;
    let step = lock(&bed.runner.steps)[0].clone();
    let script = step.mounts.iter().find_map(|mount| match mount {
        StepMount::Bind {
            target, readonly, ..
        } => Some((target.clone(), *readonly)),
        _ => None,
    });
    assert_eq!(
        script,
        Some((step.argv[2].clone(), true)),
        "{:?}",
        step.argv
    );
}
