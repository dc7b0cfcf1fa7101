//! Golden plans for each way a project can change, in `testdata/plans`.
//!
//! A case is a title, a project that is brought up, what happens meanwhile, the project as it is then,
//! and the plan:
//!
//! ```text
//! === title
//! services: {a: {image: busybox, command: sleep 1}}
//! --- exit=demo-a-1:1 up force
//! services: {a: {image: busybox, command: sleep 2}}
//! >>>
//! 0 stop demo-a-1  (…)
//! ! a warning
//! ```
//!
//! The words of the second line happen in turn; the last ones say what is planned (`up` with options
//! when they say nothing). A missing second project is the first one. `BLESS=1` writes the files anew;
//! read the difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orc_base::Result;
use orc_host::Host;
use orc_host::container::{HealthStatus, RemoveOptions};
use orc_host::fake::FakeHost;
use orc_host::image::ImageConfig;

use super::support::{load_with, look, machine, options, reach, up};
use crate::model::Project;
use crate::observe::Observed;
use crate::plan::{
    self, BuildPolicy, Down, Goal, PullPolicy, Recreate, RemoveImages, Restart, Start, Stop, Up,
};

struct Case {
    head: String,
    title: String,
    before: String,
    words: Vec<String>,
    after: String,
    expected: String,
}

impl Case {
    fn parse(text: &str) -> Self {
        let (head, expected) = text.split_once("\n>>>").expect("a line with >>>");
        let (title, rest) = head.split_once('\n').expect("a title");
        let (before, then) = rest.split_once("--- ").unwrap_or((rest, ""));
        let (words, after) = then.split_once('\n').unwrap_or((then, ""));
        Self {
            head: head.to_owned(),
            title: title.to_owned(),
            before: before.to_owned(),
            words: words.split_whitespace().map(str::to_owned).collect(),
            after: match after.trim() {
                "" => before.to_owned(),
                _ => after.to_owned(),
            },
            expected: expected.trim().to_owned(),
        }
    }

    async fn result(&self) -> String {
        let host = machine();
        host.add_image("alpine", ImageConfig::default());
        if !self.before.trim().is_empty() {
            let project = project(&self.before, "compose.yaml").unwrap();
            reach(&host, &project, &up()).await.unwrap();
        }
        let mut goal = Asked::default();
        for word in &self.words {
            let (verb, rest) = word.split_once('=').unwrap_or((word, ""));
            if !happens(&host, verb, rest).await {
                goal.take(verb, rest);
            }
        }
        let file = goal.file.clone().unwrap_or_else(|| "compose.yaml".into());
        let project = match project(&self.after, &file) {
            Ok(project) => project,
            Err(error) => return format!("refused: {error}\n"),
        };
        let mut observed = look(&host, &project).await;
        if goal.new_image {
            observed = with_new_image(observed).await;
        }
        match plan::plan(&project, &observed, &goal.goal()) {
            Ok(plan) => {
                let mut text = plan.to_string();
                for warning in &plan.warnings {
                    text += &format!("! {warning}\n");
                }
                for container in &observed.containers {
                    text = text.replace(&container.id[..12], "<id>");
                }
                match text.is_empty() {
                    true => "nothing\n".into(),
                    false => text,
                }
            }
            Err(error) => format!("refused: {error}\n"),
        }
    }
}

fn project(text: &str, file: &str) -> Result<Project> {
    let files: Vec<PathBuf> = file.split('+').map(PathBuf::from).collect();
    let others: Vec<(&str, &str)> = file.split('+').map(|name| (name, text)).collect();
    let options = crate::load::LoadOptions { files, ..options() };
    Ok(load_with(text, &others, &options)?.project)
}

/// Does what a word says; false when it is no word of that kind.
async fn happens(host: &FakeHost, verb: &str, rest: &str) -> bool {
    let (name, how) = rest.split_once(':').unwrap_or((rest, ""));
    match verb {
        "exit" => host.exit(name, how.parse().unwrap()).unwrap(),
        "remove" => {
            let options = RemoveOptions {
                force: true,
                volumes: false,
            };
            host.remove_container(name, options).await.unwrap();
        }
        "rename" => host.rename_container(name, how).await.unwrap(),
        "pause" => host.pause_container(name).await.unwrap(),
        "network" => {
            let options = orc_host::network::NetworkSpec {
                name: name.into(),
                ..Default::default()
            };
            host.create_network(&options).await.map(drop).unwrap();
        }
        "disconnect" => host.disconnect_network(how, name, true).await.unwrap(),
        "healthy" => host.set_health(name, HealthStatus::Healthy).unwrap(),
        "starting" => host.set_health(name, HealthStatus::Starting).unwrap(),
        _ => return false,
    }
    true
}

/// The same machine after somebody has pulled another `busybox`.
async fn with_new_image(observed: Observed) -> Observed {
    let other = machine();
    Observed::new(
        observed.containers,
        observed.networks.into_values().collect(),
        observed.volumes.into_values().collect(),
        other.list_images().await.unwrap(),
    )
}

/// What is planned.
#[derive(Default)]
struct Asked {
    up: Up,
    verb: Option<String>,
    volumes: bool,
    images: bool,
    file: Option<String>,
    new_image: bool,
}

impl Asked {
    fn take(&mut self, verb: &str, rest: &str) {
        let names = || rest.split(',').map(str::to_owned).collect::<Vec<_>>();
        match verb {
            "up" => {}
            "create" => self.up.start = false,
            "down" | "stop" | "start" | "restart" => self.verb = Some(verb.to_owned()),
            "force" => self.up.recreate = Recreate::Force,
            "never" => self.up.recreate = Recreate::Never,
            "wait" => self.up.wait = true,
            "renew" => self.up.renew_anonymous_volumes = true,
            "no-deps" => self.up.no_deps = true,
            "orphans" => self.up.remove_orphans = true,
            "build" => self.up.build = BuildPolicy::Always,
            "pull" => self.up.pull = Some(PullPolicy::Always),
            "back" => self.up.back = true,
            "services" => self.up.services = names(),
            "scale" => {
                let (service, count) = rest.split_once(':').unwrap();
                let count = count.parse().unwrap();
                self.up.scale = BTreeMap::from([(service.to_owned(), count)]);
            }
            "volumes" => self.volumes = true,
            "images" => self.images = true,
            "file" => self.file = Some(rest.to_owned()),
            "image" => self.new_image = true,
            other => panic!("no such word: {other}"),
        }
    }

    fn goal(&self) -> Goal {
        let services = self.up.services.clone();
        match self.verb.as_deref() {
            Some("down") => Goal::Down(Down {
                services,
                volumes: self.volumes,
                images: self.images.then_some(RemoveImages::All),
                remove_orphans: self.up.remove_orphans,
                ..Down::default()
            }),
            Some("stop") => Goal::Stop(Stop {
                services,
                ..Stop::default()
            }),
            Some("start") => Goal::Start(Start {
                services,
                wait: self.up.wait,
                ..Start::default()
            }),
            Some("restart") => Goal::Restart(Restart {
                services,
                ..Restart::default()
            }),
            _ => Goal::Up(self.up.clone()),
        }
    }
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "golden files are files of the repository"
)]
async fn each_change_has_its_plan() {
    let bless = std::env::var_os("BLESS").is_some();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/plans");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut blessed = Vec::new();
        for case in text.split("=== ").filter(|case| !case.trim().is_empty()) {
            let case = Case::parse(case);
            count += 1;
            let found = case.result().await;
            if found.trim() != case.expected {
                wrong.push(format!(
                    "{}\n--- wanted\n{}\n--- got\n{found}",
                    case.title, case.expected
                ));
            }
            blessed.push(format!("=== {}\n>>>\n{found}", case.head));
        }
        if bless {
            std::fs::write(&path, blessed.join("\n")).unwrap();
        }
    }
    assert!(count >= 40, "{count} cases");
    assert!(bless || wrong.is_empty(), "{}", wrong.join("\n"));
}
