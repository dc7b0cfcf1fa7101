//! What could be better in the files of a project, before anything is made: `lint`.
//!
//! Reads what the loader reads, and asks no machine. A remark is no error: the project loads, and
//! `up` would do what the files say. Each rule is one function below `lint/`; which ones are left out
//! is said by `x-orc-lint: {ignore: [rule, …]}` at the top of a file or in a service.

pub(crate) mod anchors;
pub(crate) mod overrides;
pub(crate) mod ports;
pub mod remark;
pub(crate) mod services;
pub(crate) mod sources;
pub(crate) mod variables;

use std::path::PathBuf;

use orc_base::Result;
use serde_json::{Value as Json, json};

use crate::files::{self, Disk, Files};
use crate::lint::remark::{Remark, Report, Rule};
use crate::lint::sources::{Recorded, Sources};
use crate::lint::variables::Outside;
use crate::load::{LoadOptions, load_from};
use crate::model::Project;
use crate::node::Node;

/// The key that says what is ignored.
const SETTINGS: &str = "x-orc-lint";

/// The remarks about a project, in the order of files and lines; each place once for a rule. A
/// project that does not load is an error, the same as everywhere.
pub fn lint(options: &LoadOptions) -> Result<Vec<Remark>> {
    lint_from(options, &Disk)
}

/// [`lint`] from files that need not be on a disk.
pub fn lint_from(options: &LoadOptions, files: &dyn Files) -> Result<Vec<Remark>> {
    let recorded = Recorded::new(files);
    let project = load_from(options, &recorded)?.project;
    // Once more with `env_file` left as it stands: its places are needed.
    let with_env_files = LoadOptions {
        no_env_resolution: true,
        ..options.clone()
    };
    let tree = load_from(&with_env_files, &recorded)?.project.tree;
    let sources = Sources::new(
        recorded.into_texts(),
        options.stdin.as_deref(),
        &options.working_dir,
    );
    let mut report = Report::default();
    let compose_files = sources.compose_files(&tree, &project.files);
    for (name, text) in &compose_files {
        anchors::check(&mut report, name, text);
    }
    overrides::versions(&mut report, &compose_files);
    let again = overrides::Again {
        files,
        working_dir: &options.working_dir,
        home: options.environment.get("HOME").map(String::as_str),
    };
    overrides::repeats(&mut report, &project, &again);
    let outside = Outside {
        env_files: env_files(options, &project),
        environment: &options.environment,
    };
    variables::twice(&mut report, &tree, &project, &sources, &outside);
    variables::secrets(&mut report, &tree, &sources);
    ports::check(&mut report, &tree, &project);
    services::check(&mut report, &tree, &project, files);
    let ignored = Ignored::read(&mut report, &tree);
    Ok(arranged(report, &ignored))
}

/// The remarks as a JSON list for programs.
pub fn to_json(remarks: &[Remark]) -> String {
    let items: Vec<Json> = remarks
        .iter()
        .map(|remark| {
            json!({
                "rule": remark.rule.as_str(), "file": remark.file, "line": remark.line,
                "column": remark.column, "path": remark.path, "what": remark.what,
                "why": remark.rule.why(), "fix": remark.fix,
            })
        })
        .collect();
    format!("{:#}\n", Json::from(items))
}

/// Sorted, without what is ignored, the same place once for a rule and a text.
fn arranged(report: Report, ignored: &Ignored) -> Vec<Remark> {
    let mut remarks = report.remarks;
    remarks.retain(|remark| !ignored.covers(remark));
    remarks.sort_by(|a, b| {
        let place = |remark: &Remark| (remark.file.clone(), remark.line, remark.column);
        (place(a), a.rule, &a.path, &a.what).cmp(&(place(b), b.rule, &b.path, &b.what))
    });
    remarks.dedup_by(|b, a| {
        (a.rule, &a.file, a.line, a.column, &a.what) == (b.rule, &b.file, b.line, b.column, &b.what)
    });
    remarks
}

/// The files of variables that the loader looks for; those that it did not read are of no account.
fn env_files(options: &LoadOptions, project: &Project) -> Vec<PathBuf> {
    let named: Vec<PathBuf> = match options.env_files.is_empty() {
        false => options.env_files.clone(),
        true => options
            .environment
            .get("COMPOSE_ENV_FILES")
            .map(|list| {
                list.split(',')
                    .filter(|file| !file.is_empty())
                    .map(PathBuf::from)
            })
            .into_iter()
            .flatten()
            .collect(),
    };
    match named.is_empty() {
        true => vec![project.working_dir.join(".env")],
        false => named
            .iter()
            .map(|file| files::join(&options.working_dir, &file.to_string_lossy()))
            .collect(),
    }
}

/// Which rules do not count, and for whom.
struct Ignored {
    everywhere: Vec<Rule>,
    services: Vec<(String, Vec<Rule>)>,
}

impl Ignored {
    fn read(report: &mut Report, tree: &Node) -> Self {
        let everywhere = rules(report, tree, SETTINGS);
        let mut of_services = Vec::new();
        for (name, service) in sources::services(tree) {
            let path = format!("services.{name}.{SETTINGS}");
            let rules = rules(report, service, &path);
            if !rules.is_empty() {
                of_services.push((name.clone(), rules));
            }
        }
        Self {
            everywhere,
            services: of_services,
        }
    }

    fn covers(&self, remark: &Remark) -> bool {
        let own = remark.service.as_ref().is_some_and(|service| {
            let mut all = self.services.iter();
            all.any(|(name, rules)| name == service && rules.contains(&remark.rule))
        });
        own || self.everywhere.contains(&remark.rule)
    }
}

/// The rules that `x-orc-lint` of `node` names; a name that is no rule's is remarked upon.
fn rules(report: &mut Report, node: &Node, path: &str) -> Vec<Rule> {
    let Some(settings) = node.get(SETTINGS) else {
        return Vec::new();
    };
    let Some(list) = settings.get("ignore").and_then(Node::list) else {
        report.add(
            Rule::UnknownRule,
            &settings.span,
            path,
            "there is no list of rules",
            format!("write `{SETTINGS}: {{ignore: [rule, …]}}`"),
        );
        return Vec::new();
    };
    let mut rules = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let name = item.scalar().unwrap_or_default();
        match Rule::parse(&name) {
            Some(rule) => rules.push(rule),
            None => {
                let known = || Rule::ALL.map(Rule::as_str).join(", ");
                let fix = match Rule::nearest(&name) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("use one of {}", known()),
                };
                let path = format!("{path}.ignore[{index}]");
                report.add(
                    Rule::UnknownRule,
                    &item.span,
                    path,
                    format!("`{name}` is no rule"),
                    fix,
                );
            }
        }
    }
    rules
}
