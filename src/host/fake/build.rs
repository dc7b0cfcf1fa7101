//! Builds of the fake: a Dockerfile of `FROM`, `RUN` in shell form and metadata, run by [`program`].
//!
//! A Dockerfile in a context that is a directory is not read: the fake has no files. It is taken for
//! one of `FROM scratch`.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use orc_base::{Error, Result};

use crate::fake::FakeHost;
use crate::fake::program::{self, Ends};
use crate::fake::world::with_tag;
use crate::image::ImageConfig;
use crate::image_build::{
    BuildEvent, BuildRequest, BuildSpec, BuildStep, DockerfileSource, StepState,
};
use crate::stream::Stream;

/// One instruction, its line, and what stands after the word.
struct Instruction {
    line: usize,
    word: String,
    rest: String,
}

/// Builds: all that happens is known before the stream is given out.
pub(crate) async fn build(host: &FakeHost, request: BuildRequest) -> Result<Stream<BuildEvent>> {
    let BuildRequest { spec, archive } = request;
    if let Some(mut archive) = archive {
        while let Some(bytes) = archive.next().await {
            bytes?;
        }
    }
    let (name, text) = match &spec.dockerfile {
        DockerfileSource::Text { name, text, .. } => (name.clone(), text.clone()),
        DockerfileSource::Path(path) => (path.clone(), "FROM scratch\n".into()),
    };
    let instructions = parse(&name, &text)?;
    host.lock()
        .calls
        .push(format!("build {}", spec.tags.join(" ")));
    let mut events = vec![
        Ok(BuildEvent::Dockerfile { name, text }),
        Ok(BuildEvent::Planned(steps(&instructions))),
    ];
    let failed = run(host, &spec, &instructions, &mut events);
    match failed {
        Err(error) => events.push(Err(error)),
        Ok(_) if spec.check => {}
        Ok(config) => events.push(Ok(finish(host, &spec, config))),
    }
    Ok(Box::pin(stream::iter(events)))
}

fn parse(name: &str, text: &str) -> Result<Vec<Instruction>> {
    const WORDS: [&str; 6] = ["FROM", "RUN", "CMD", "ENV", "LABEL", "ARG"];
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            let word = word.to_ascii_uppercase();
            match WORDS.contains(&word.as_str()) {
                true => Ok(Instruction {
                    line: index + 1,
                    word,
                    rest: rest.into(),
                }),
                false => Err(Error::invalid(format!(
                    "{name}:{}: unknown instruction: {word}",
                    index + 1
                ))),
            }
        })
        .collect()
}

fn is_step(instruction: &Instruction) -> bool {
    matches!(instruction.word.as_str(), "FROM" | "RUN")
}

fn steps(instructions: &[Instruction]) -> Vec<BuildStep> {
    let shown: Vec<&Instruction> = instructions.iter().filter(|one| is_step(one)).collect();
    let step = |(index, one): (usize, &&Instruction)| BuildStep {
        stage: "stage-0".into(),
        position: Some((index + 1, shown.len())),
        text: format!("{} {}", one.word, one.rest),
        line: one.line,
    };
    shown.iter().enumerate().map(step).collect()
}

/// Carries the instructions out and returns the config of what came of it.
fn run(
    host: &FakeHost,
    spec: &BuildSpec,
    instructions: &[Instruction],
    events: &mut Vec<Result<BuildEvent>>,
) -> Result<ImageConfig> {
    let mut config = ImageConfig::default();
    let mut step = 0;
    let state = |step, state| {
        let time = host.clock.now();
        Ok(BuildEvent::Step { step, state, time })
    };
    for one in instructions {
        let rest = one.rest.as_str();
        match one.word.as_str() {
            "FROM" if rest != "scratch" => {
                config = host.lock().find_image(rest)?.config.clone();
            }
            "CMD" => config.command = Some(["sh", "-c", rest].map(String::from).into()),
            "ENV" => config.env.push(rest.into()),
            "LABEL" => config.labels.extend(pair(rest)),
            _ => {}
        }
        if !is_step(one) || spec.check {
            continue;
        }
        events.push(state(step, StepState::Running));
        if one.word == "RUN" {
            let ended = run_step(step, rest, events);
            if let Err((why, code)) = ended {
                let exit_code = Some(code);
                let failed = StepState::Failed {
                    why: why.clone(),
                    exit_code,
                };
                events.push(state(step, failed));
                return Err(Error::invalid(why));
            }
        }
        events.push(state(step, StepState::Done));
        step += 1;
    }
    config.labels.extend(spec.labels.clone());
    Ok(config)
}

fn run_step(
    step: usize,
    line: &str,
    events: &mut Vec<Result<BuildEvent>>,
) -> Result<(), (String, i32)> {
    let program = program::parse(&["sh", "-c", line].map(String::from)).unwrap_or_default();
    let prints = program.prints.into_iter();
    events.extend(prints.map(|(output, text)| {
        Ok(BuildEvent::Output {
            step,
            output,
            bytes: text.into_bytes(),
        })
    }));
    match program.ends {
        Ends::With(0) | Ends::Never | Ends::WithInput => Ok(()),
        Ends::With(code) => Err((
            format!(
                "process \"/bin/sh -c {line}\" did not complete successfully: exit code: {code}"
            ),
            code,
        )),
    }
}

fn pair(text: &str) -> BTreeMap<String, String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    BTreeMap::from([(key.into(), value.trim_matches('"').into())])
}

fn finish(host: &FakeHost, spec: &BuildSpec, config: ImageConfig) -> BuildEvent {
    let mut image = host.image("none", config);
    image.tags = spec.tags.iter().map(|tag| with_tag(tag)).collect();
    let id = image.id.clone();
    let mut world = host.lock();
    for other in &mut world.images {
        other.tags.retain(|tag| !image.tags.contains(tag));
    }
    world.images.push(image);
    drop(world);
    host.wake();
    BuildEvent::Built { image: id }
}
