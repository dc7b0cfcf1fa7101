//! A project in memory on a machine in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use orc_base::Result;
use orc_base::clock::FakeClock;
use orc_host::fake::FakeHost;
use orc_host::image::ImageConfig;

use crate::converge::{Quiet, converge};
use crate::files::Memory;
use crate::load::{LoadOptions, Loaded, load_from};
use crate::model::Project;
use crate::observe::{Observed, observe};
use crate::plan::{Goal, Plan, Up, plan};

/// Where all projects of the tests are.
pub(super) const HOME: &str = "/home/demo";

/// Options as for a command typed in [`HOME`].
pub(super) fn options() -> LoadOptions {
    LoadOptions {
        working_dir: HOME.into(),
        ..LoadOptions::default()
    }
}

/// Loads `compose.yaml` with this text.
pub(super) fn load(text: &str) -> Loaded {
    load_with(text, &[], &options()).unwrap()
}

/// The refusal of `compose.yaml` with this text.
pub(super) fn refusal(text: &str) -> String {
    load_with(text, &[], &options()).unwrap_err().to_string()
}

/// Loads `compose.yaml` beside other files, whose names are relative to [`HOME`].
pub(super) fn load_with(
    text: &str,
    others: &[(&str, &str)],
    options: &LoadOptions,
) -> Result<Loaded> {
    let mut files: BTreeMap<_, _> = others
        .iter()
        .map(|(name, text)| (Path::new(HOME).join(name), (*text).to_owned()))
        .collect();
    files.insert(Path::new(HOME).join("compose.yaml"), text.to_owned());
    load_from(options, &Memory(files))
}

/// The project of `compose.yaml` with this text.
pub(super) fn project(text: &str) -> Project {
    load(text).project
}

/// A machine with the image that the tests use.
pub(super) fn machine() -> FakeHost {
    let host = FakeHost::new(Arc::new(FakeClock::default()));
    host.add_image("busybox", ImageConfig::default());
    host
}

/// One look at `host`.
pub(super) async fn look(host: &FakeHost, project: &Project) -> Observed {
    observe(host, &project.name).await.unwrap()
}

/// The plan of `goal` for what `host` shows.
pub(super) async fn plan_of(host: &FakeHost, project: &Project, goal: &Goal) -> Result<Plan> {
    plan(project, &look(host, project).await, goal)
}

/// Plans and does.
pub(super) async fn reach(host: &FakeHost, project: &Project, goal: &Goal) -> Result<()> {
    let plan = plan_of(host, project, goal).await?;
    converge(&plan, host, &Quiet).await
}

/// Plain `up`.
pub(super) fn up() -> Goal {
    Goal::Up(Up::default())
}

/// Brings the project of this text up.
pub(super) async fn brought_up(host: &FakeHost, text: &str) -> Project {
    let project = project(text);
    reach(host, &project, &up()).await.unwrap();
    host.clear_calls();
    project
}

/// Compares a printed plan, leading blanks of each line aside.
#[track_caller]
pub(super) fn assert_plan(plan: &Plan, expected: &str) {
    let tidy = |text: &str| -> Vec<String> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(tidy(&plan.to_string()), tidy(expected), "\n{plan}");
}
