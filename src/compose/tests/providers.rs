//! Programs that stand for services and models: golden plans, what they are told, and what comes of
//! what they give.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use orc_base::{Error, Kind, Result};
use orc_host::Host;
use orc_host::container::ContainerFilter;
use orc_host::fake::FakeHost;

use super::support::{assert_plan, look, machine, plan_of, project, up};
use crate::converge::{Observer, OperationEvent, Phase, Quiet, carry_out};
use crate::model::Project;
use crate::one_off::{RunOptions, one_off};
use crate::plan::{Down, Goal, Plan, Stop, Up, plan};
use crate::provider::Programs;
use crate::provider::call::{Call, Program};
use crate::provider::given::give;
use crate::provider::metadata::Metadata;

/// Programs that say what a test wants, by the beginning of how they are called.
#[derive(Default)]
struct Said {
    lines: BTreeMap<&'static str, Vec<&'static str>>,
    called: Mutex<Vec<String>>,
}

impl Said {
    fn new(lines: &[(&'static str, &[&'static str])]) -> Self {
        let lines = lines.iter().map(|(call, lines)| (*call, lines.to_vec()));
        Self {
            lines: lines.collect(),
            called: Mutex::default(),
        }
    }

    fn called(&self) -> Vec<String> {
        std::mem::take(&mut *self.called.lock().unwrap())
    }
}

impl Programs for Said {
    fn run<'a>(
        &'a self,
        call: &'a Call,
        heard: &'a mut (dyn FnMut(&str) -> Result<()> + Send),
    ) -> BoxFuture<'a, Result<()>> {
        let line = format!("{} {}", call.program, call.arguments.join(" "));
        self.called.lock().unwrap().push(line.clone());
        let said = self
            .lines
            .iter()
            .find(|(begin, _)| line.starts_with(**begin));
        let done = match said {
            Some((_, lines)) => lines.iter().try_for_each(|line| heard(line)),
            None => Err(Error::conflict(format!("nobody expects {line}"))),
        };
        Box::pin(async { done })
    }
}

/// Runs providers round after round, as the command line does. The answer is what has to be said.
async fn provide(host: &FakeHost, project: &mut Project, programs: &Said) -> Result<Vec<String>> {
    let mut told = Vec::new();
    loop {
        let plan = plan_of(host, project, &Goal::Provide(Up::default())).await?;
        if plan.is_empty() {
            return Ok(told);
        }
        let outcome = carry_out(&plan, host, programs, &Quiet).await;
        outcome.done?;
        told.extend(give(project, outcome.given));
    }
}

/// Brings the project up with its programs. The answer is the plan of what came after them.
async fn brought_up(host: &FakeHost, project: &mut Project, programs: &Said) -> Plan {
    provide(host, project, programs).await.unwrap();
    let plan = plan_of(host, project, &up()).await.unwrap();
    let outcome = carry_out(&plan, host, programs, &Quiet).await;
    outcome.done.unwrap();
    plan
}

async fn environment(host: &FakeHost, name: &str) -> Vec<String> {
    let all = ContainerFilter::default();
    let mut found = host.list_containers(&all).await.unwrap().into_iter();
    let found = found.find(|one| one.name == name).unwrap();
    found.spec.env
}

const CLOUD: &str = "
services:
  web: {image: busybox, command: [sleep, '1'], environment: {OWN: '1', KEY: mine}, depends_on: [my-db]}
  my-db: {provider: {type: cloud, options: {size: 10, tag: [a, b]}}}
";

const URL: &str = r#"{"type":"setenv","message":"URL=http://db"}"#;
const KEY: &str = r#"{"type":"rawsetenv","message":"KEY=theirs"}"#;

#[tokio::test]
async fn a_dry_run_has_everything_in_one_plan() {
    let host = machine();
    let plan = plan_of(&host, &project(CLOUD), &up()).await.unwrap();
    assert_plan(
        &plan,
        "
        0 create network demo_default  (network is missing)
        1 run provider cloud: up my-db  (asked each time)
        2 create demo-web-1  (does not exist)  after 0 1
        3 start demo-web-1  (does not run)  after 1 2
        ",
    );
}

#[tokio::test]
async fn variables_reach_those_who_depend_on_it() {
    let host = machine();
    let mut project = project(CLOUD);
    let programs = Said::new(&[("cloud compose", &[URL, KEY, ""])]);
    let told = provide(&host, &mut project, &programs).await.unwrap();
    assert_eq!(
        programs.called(),
        ["cloud compose --project-name=demo up --size=10 --tag=a --tag=b my-db"]
    );
    assert_eq!(
        told,
        ["provider my-db gives KEY another value than service web has in its file"]
    );
    brought_up(&host, &mut project, &programs).await;
    assert_eq!(programs.called(), [""; 0]);
    assert_eq!(
        environment(&host, "demo-web-1").await,
        ["OWN=1", "KEY=theirs", "MY-DB_URL=http://db"]
    );
}

#[tokio::test]
async fn only_other_variables_replace_containers() {
    let host = machine();
    let first = Said::new(&[("cloud compose", &[URL])]);
    brought_up(&host, &mut project(CLOUD), &first).await;
    let again = brought_up(&host, &mut project(CLOUD), &first).await;
    assert!(again.is_empty(), "{again}");
    let other = r#"{"type":"setenv","message":"URL=http://other"}"#;
    let second = Said::new(&[("cloud compose", &[other])]);
    let changed = brought_up(&host, &mut project(CLOUD), &second).await;
    assert!(
        changed
            .to_string()
            .contains("create demo-web-1  (what it is given changed)"),
        "{changed}"
    );
    assert!(
        environment(&host, "demo-web-1")
            .await
            .contains(&"MY-DB_URL=http://other".to_owned())
    );
    // Who only looks cannot know, and says so.
    let dry = plan_of(&host, &project(CLOUD), &up()).await.unwrap();
    assert_plan(&dry, "0 run provider cloud: up my-db  (asked each time)");
    assert_eq!(
        dry.warnings,
        [
            "containers of web are replaced when what its providers give has changed, which is known when they have run"
        ]
    );
}

#[tokio::test]
async fn what_a_provider_needs_runs_before_it() {
    let text = "
services:
  web: {image: busybox, command: [sleep, '1'], depends_on: [second]}
  second: {provider: {type: cloud}, depends_on: [cache]}
  cache: {image: busybox, command: [sleep, '1'], depends_on: [first]}
  first: {provider: {type: cloud}}
  alone: {image: busybox, command: [sleep, '1']}
";
    let host = machine();
    let mut project = project(text);
    let goal = Goal::Provide(Up::default());
    let one = plan_of(&host, &project, &goal).await.unwrap();
    assert_plan(&one, "0 run provider cloud: up first  (asked each time)");
    let programs = Said::new(&[("cloud compose", &[URL])]);
    let outcome = carry_out(&one, &host, &programs, &Quiet).await;
    outcome.done.unwrap();
    give(&mut project, outcome.given);
    let two = plan_of(&host, &project, &goal).await.unwrap();
    assert_plan(
        &two,
        "
        0 create network demo_default  (network is missing)
        1 create demo-cache-1  (does not exist)  after 0
        2 start demo-cache-1  (does not run)  after 1
        3 run provider cloud: up second  (asked each time)  after 2
        ",
    );
    let plan = brought_up(&host, &mut project, &programs).await;
    assert!(plan.to_string().contains("create demo-web-1"), "{plan}");
    assert_eq!(
        environment(&host, "demo-cache-1").await,
        ["FIRST_URL=http://db"]
    );
    assert_eq!(
        environment(&host, "demo-web-1").await,
        ["SECOND_URL=http://db"]
    );
}

/// The plan when the machine has a program that says this of itself.
async fn with_metadata(project: &Project, goal: &Goal, metadata: &str) -> Result<Plan> {
    let host = machine();
    let mut observed = look(&host, project).await;
    let program = match metadata {
        "missing" => Program::Missing,
        text => Program::Found(Metadata::parse(text)),
    };
    observed.programs.insert("cloud".into(), program);
    plan(project, &observed, goal)
}

fn arguments(plan: &Plan) -> Vec<String> {
    let steps = plan.operations().iter();
    steps
        .filter_map(|step| match &step.action {
            crate::plan::Action::RunProvider { call, .. } => Some(call.arguments.join(" ")),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn what_a_program_says_of_itself_decides_what_it_is_told() {
    let project = project(CLOUD);
    let plan = async |goal: Goal, metadata: &str| with_metadata(&project, &goal, metadata).await;
    let knows_size = r#"{"description":"x","up":{"parameters":[{"name":"size","required":true}]}}"#;
    let made = plan(up(), knows_size).await.unwrap();
    assert_eq!(
        arguments(&made),
        ["compose --project-name=demo up --size=10 my-db"]
    );
    let needs_more = r#"{"up":{"parameters":[{"name":"region","required":true}]}}"#;
    let error = plan(up(), needs_more).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "service my-db: provider cloud needs the option `region`: say it in `provider.options`"
    );
    let error = plan(up(), "missing").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(
        error.to_string(),
        "service my-db: the provider `cloud` is not on this machine: install the Docker plug-in `docker-cloud`, or a program `cloud` in a directory of `PATH`"
    );
    let made = plan(up(), "no JSON").await.unwrap();
    assert_eq!(
        arguments(&made),
        ["compose --project-name=demo up --size=10 --tag=a --tag=b my-db"]
    );
    // Only who says so is asked to stop.
    for (metadata, expected) in [
        (knows_size, None),
        ("no JSON", None),
        ("{}", None),
        (
            r#"{"stop":{"parameters":[{"name":"size"}]}}"#,
            Some("compose --project-name=demo stop --size=10 --tag=a --tag=b my-db"),
        ),
        (
            r#"{"description":"x","stop":{}}"#,
            Some("compose --project-name=demo stop my-db"),
        ),
    ] {
        let made = plan(Goal::Stop(Stop::default()), metadata).await.unwrap();
        assert_eq!(
            arguments(&made).first().map(String::as_str),
            expected,
            "{metadata}"
        );
    }
}

#[tokio::test]
async fn down_takes_it_away_after_those_who_depend_on_it() {
    let host = machine();
    let mut project = project(CLOUD);
    let programs = Said::new(&[("cloud compose", &[URL])]);
    brought_up(&host, &mut project, &programs).await;
    let down = Goal::Down(Down::default());
    let plan = plan_of(&host, &project, &down).await.unwrap();
    assert_plan(
        &plan,
        "
        0 stop demo-web-1  (down)
        1 remove demo-web-1  (down)  after 0
        2 run provider cloud: down my-db  (down)  after 1
        3 remove network demo_default  (down)  after 1 2
        ",
    );
    programs.called();
    carry_out(&plan, &host, &programs, &Quiet)
        .await
        .done
        .unwrap();
    assert_eq!(
        programs.called(),
        ["cloud compose --project-name=demo down --size=10 --tag=a --tag=b my-db"]
    );
    // What is in the way of one thing is no reason to leave all others.
    let without = with_metadata(&project, &down, "missing").await.unwrap();
    assert!(without.is_empty());
    assert!(
        without.warnings[0].starts_with("what provides my-db stays as it is: the provider `cloud`"),
        "{:?}",
        without.warnings
    );
}

/// Keeps what is told about a step on its way.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Observer for Told {
    fn event(&self, event: OperationEvent) {
        let text = match event.phase {
            Phase::Waiting(text) | Phase::Warning(text) => text,
            Phase::Done => event.text,
            _ => return,
        };
        self.0
            .lock()
            .unwrap()
            .push(format!("{}: {text}", event.subject));
    }
}

#[tokio::test]
async fn what_it_says_is_told_and_its_failure_ends_up() {
    let host = machine();
    let project = project(CLOUD);
    let plan = plan_of(&host, &project, &up()).await.unwrap();
    let error = r#"{"type":"error","message":"no quota left"}"#;
    let info = r#"{"type":"info","message":"half way"}"#;
    for (last, expected) in [
        (error, "service my-db: provider cloud: no quota left"),
        (
            "Hello!",
            "service my-db: provider cloud: it printed what is no answer of a provider, `Hello!`",
        ),
    ] {
        let told = Told::default();
        let programs = Said {
            lines: [("cloud compose", vec![info, last])].into(),
            ..Said::default()
        };
        let outcome = carry_out(&plan, &host, &programs, &told).await;
        let error = outcome.done.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        let told = std::mem::take(&mut *told.0.lock().unwrap());
        assert!(
            told.contains(&"Provider my-db: half way".to_owned()),
            "{told:?}"
        );
        let left = host.list_containers(&ContainerFilter::default()).await;
        assert!(left.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_has_no_containers_is_not_scaled_run_or_pulled() {
    let host = machine();
    let project = project(CLOUD);
    let scaled = Goal::Up(Up {
        scale: [("my-db".to_owned(), 2)].into(),
        ..Up::default()
    });
    let error = plan_of(&host, &project, &scaled).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "service my-db cannot be scaled: the provider cloud stands for it"
    );
    let observed = look(&host, &project).await;
    let run = one_off(&project, &observed, "my-db", &RunOptions::default(), "0");
    assert_eq!(
        run.unwrap_err().to_string(),
        "service my-db has no containers to run a command in: the provider cloud stands for it"
    );
    let pull = plan_of(&host, &project, &Goal::Pull(Default::default())).await;
    assert_eq!(pull.unwrap().warnings, [""; 0]);
}

#[tokio::test]
async fn left_alone_it_gives_nothing_and_that_is_said() {
    let host = machine();
    let alone = Goal::Up(Up {
        services: vec!["web".into()],
        no_deps: true,
        ..Up::default()
    });
    let plan = plan_of(&host, &project(CLOUD), &alone).await.unwrap();
    assert_eq!(
        plan.warnings,
        [
            "what web depends on is left alone, its providers too: containers of web get no variables of theirs"
        ]
    );
    let programs = Said::new(&[("cloud compose", &[URL])]);
    carry_out(&plan, &host, &programs, &Quiet)
        .await
        .done
        .unwrap();
    // Once they are known, the container is made with them.
    let plan = brought_up(&host, &mut project(CLOUD), &programs).await;
    assert!(
        plan.to_string().contains("(what it is given changed)"),
        "{plan}"
    );
    // And then it is left as it is.
    let plan = plan_of(&host, &project(CLOUD), &alone).await.unwrap();
    assert!(plan.is_empty(), "{plan}");
}

const MODELS: &str = "
services:
  chat: {image: busybox, command: [sleep, '1'], models: {my-llm: , other: {endpoint_var: ADDRESS, model_var: NAME}}}
  idle: {image: busybox, command: [sleep, '1']}
models:
  my-llm: {model: ai/smollm2, context_size: 1024, runtime_flags: [--fast]}
  other: {model: ai/other}
  unused: {model: ai/unused}
";

#[tokio::test]
async fn models_are_prepared_and_their_users_told() {
    let host = machine();
    let mut project = project(MODELS);
    let dry = plan_of(&host, &project, &up()).await.unwrap();
    assert_plan(
        &dry,
        "
        0 create network demo_default  (network is missing)
        1 prepare model my-llm: ai/smollm2  (chat uses it)
        2 prepare model other: ai/other  (chat uses it)
        3 create demo-chat-1  (does not exist)  after 0 1 2
        4 start demo-chat-1  (does not run)  after 3
        5 create demo-idle-1  (does not exist)  after 0
        6 start demo-idle-1  (does not run)  after 5
        ",
    );
    let programs = Said::new(&[
        (
            "docker-model ls --json",
            &["[", r#"{"id": "1", "tags": ["ai/other"]}"#, "]"],
        ),
        ("docker-model pull ai/smollm2", &["Downloaded 3 MB"]),
        (
            "docker-model docker-cli-plugin-metadata",
            &[r#"{"Version": "v1.1.0"}"#],
        ),
        ("docker-model configure", &[]),
        (
            "docker-model status --json",
            &[r#"{"endpoint": "http://models/v1/"}"#],
        ),
    ]);
    brought_up(&host, &mut project, &programs).await;
    let called = programs.called();
    for expected in [
        "docker-model pull ai/smollm2",
        "docker-model configure --context-size 1024 ai/smollm2 -- --fast",
        "docker-model configure ai/other",
    ] {
        assert!(called.contains(&expected.to_owned()), "{called:?}");
    }
    assert!(!called.iter().any(|call| call.contains("unused")));
    assert!(!called.contains(&"docker-model pull ai/other".to_owned()));
    assert_eq!(
        environment(&host, "demo-chat-1").await,
        [
            "ADDRESS=http://models/v1/",
            "MY_LLM_MODEL=ai/smollm2",
            "MY_LLM_URL=http://models/v1/",
            "NAME=ai/other",
        ]
    );
    assert_eq!(environment(&host, "demo-idle-1").await, [""; 0]);
}

#[tokio::test]
async fn without_the_plug_in_models_are_refused() {
    let host = machine();
    let project = project(MODELS);
    let mut observed = look(&host, &project).await;
    observed
        .programs
        .insert("docker-model".into(), Program::Missing);
    let error = plan(&project, &observed, &Goal::Provide(Up::default())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "service chat uses models, which the Docker plug-in `docker-model` runs, and it is not on this machine: install it, or run a model server as a service and give its address by `environment`"
    );
    // Who uses none is made all the same.
    let idle = Goal::Up(Up {
        services: vec!["idle".into()],
        ..Up::default()
    });
    plan(&project, &observed, &idle).unwrap();
}

#[test]
fn programs_are_named_and_no_paths() {
    for (name, expected) in [
        ("./cloud", "is no name of a program"),
        ("/bin/sh", "is no name of a program"),
        ("--help", "is no name of a program"),
        ("compose", "`compose` is no provider"),
        ("''", "say which program provides it"),
    ] {
        let project = project(&format!("services:\n  a: {{provider: {{type: {name}}}}}\n"));
        let text = &project.findings[0].text;
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("services.a.provider.type"), "{text}");
    }
}
