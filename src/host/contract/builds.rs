//! What a build promises.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use orc_base::{Error, Kind};

use crate::contract::bench::{Bench, collect, refused};
use crate::image_build::{BuildEvent, BuildRequest, BuildSpec, DockerfileSource, StepState};

/// A build of a Dockerfile without a context.
fn request(bench: &Bench, what: &str, instructions: &str) -> BuildRequest {
    let text = format!("FROM {}\n{instructions}", bench.image);
    let spec = BuildSpec {
        dockerfile: DockerfileSource::Text {
            name: "Dockerfile".into(),
            text,
            ignore: None,
        },
        tags: vec![format!("{}:v1", bench.name(what))],
        labels: BTreeMap::from([("contract".into(), bench.prefix.clone())]),
        ..BuildSpec::default()
    };
    BuildRequest {
        spec,
        archive: None,
    }
}

/// All that happens, and the error at the end.
async fn events(bench: &Bench, request: BuildRequest) -> (Vec<BuildEvent>, Option<Error>) {
    let mut stream = match bench.host.build_image(request).await {
        Ok(stream) => stream,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                assert!(stream.next().await.is_none(), "an error is the last item");
                return (events, Some(error));
            }
        }
    }
    (events, None)
}

pub(crate) async fn an_image_is_built(bench: Bench) {
    let what = "RUN echo hello from the build\nLABEL made=here\nCMD echo run\n";
    let request = request(&bench, "built", what);
    let tag = request.spec.tags[0].clone();
    let stream = bench.host.build_image(request).await.expect("a build");
    let events = collect(stream).await;
    let planned = events.iter().find_map(|event| match event {
        BuildEvent::Planned(steps) => Some(steps),
        _ => None,
    });
    let steps = planned.expect("the plan is told");
    let run = steps
        .iter()
        .position(|step| step.text.starts_with("RUN"))
        .expect("the step is in the plan");
    assert_eq!(steps[run].line, 2);
    let output: Vec<u8> = events
        .iter()
        .filter_map(|event| match event {
            BuildEvent::Output { step, bytes, .. } if *step == run => Some(bytes.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(String::from_utf8_lossy(&output), "hello from the build\n");
    let of_run = |wanted: fn(&StepState) -> bool| {
        events.iter().position(|event| {
            matches!(event, BuildEvent::Step { step, state, .. } if *step == run && wanted(state))
        })
    };
    let running = of_run(|state| *state == StepState::Running).expect("it began");
    let done = of_run(|state| *state == StepState::Done).expect("it ended");
    assert!(running < done, "{events:?}");
    let Some(BuildEvent::Built { image: id }) = events.last() else {
        panic!("the last event names the image: {events:?}");
    };
    let image = bench.host.inspect_image(&tag).await.expect("its name");
    assert_eq!(image.id, *id);
    assert_eq!(image.config.labels["made"], "here");
    assert_eq!(image.config.labels["contract"], bench.prefix);
    bench.host.remove_image(&tag, true).await.expect("remove");
}

pub(crate) async fn a_failing_step_fails_the_build(bench: Bench) {
    let request = request(&bench, "failing", "RUN echo before; exit 7\n");
    let tag = request.spec.tags[0].clone();
    let (events, error) = events(&bench, request).await;
    let error = error.expect("the build fails").to_string();
    assert!(error.contains("exit code: 7"), "{error}");
    let failed = events.iter().find_map(|event| match event {
        BuildEvent::Step {
            state: StepState::Failed { exit_code, .. },
            ..
        } => Some(*exit_code),
        _ => None,
    });
    assert_eq!(failed, Some(Some(7)), "{events:?}");
    refused(bench.host.inspect_image(&tag).await, Kind::NotFound);
}

pub(crate) async fn a_bad_dockerfile_is_invalid(bench: Bench) {
    let (events, error) = events(&bench, request(&bench, "bad", "RUM echo\n")).await;
    let error = error.expect("the build fails");
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    assert!(error.to_string().contains("Dockerfile:2"), "{error}");
    let ran = |event: &BuildEvent| matches!(event, BuildEvent::Step { .. });
    assert!(!events.iter().any(ran), "{events:?}");
}

pub(crate) async fn a_check_makes_nothing(bench: Bench) {
    let mut request = request(&bench, "checked", "RUN exit 1\n");
    request.spec.check = true;
    let tag = request.spec.tags[0].clone();
    let (events, error) = events(&bench, request).await;
    assert!(error.is_none(), "{error:?}");
    let built = |event: &BuildEvent| matches!(event, BuildEvent::Built { .. });
    assert!(!events.iter().any(built), "{events:?}");
    refused(bench.host.inspect_image(&tag).await, Kind::NotFound);
}
