//! The way from files to a [`Project`]: which files, which variables, then stage by stage. What is
//! wrong with them is told together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orc_base::{Error, Result};

use crate::assemble::{Model, assemble};
use crate::discover::{self, Wanted};
use crate::environment::{self, Around};
use crate::files::{Disk, Files};
use crate::foreign;
use crate::lower;
use crate::model::{Finding, Foreign, Project, Severity, Subject};
use crate::node::{Map, Node, Span, Trail};
use crate::normalize::normalize;
use crate::reader::Reader;
use crate::remote::Remotes;
use crate::seccomp;
use crate::select::{Selection, select};
use crate::support;
use crate::typed;
use crate::validate;
use crate::values;

/// What somebody typed, and the process around it.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// `-f`, in order; `-` is standard input. Empty: `COMPOSE_FILE`, else found upwards.
    pub files: Vec<PathBuf>,
    /// `--project-directory`; the directory of the first file when absent.
    pub project_directory: Option<PathBuf>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--profile`; `COMPOSE_PROFILES` when empty.
    pub profiles: Vec<String>,
    /// `--env-file`; `COMPOSE_ENV_FILES`, else `.env`, when empty.
    pub env_files: Vec<PathBuf>,
    /// The process's environment.
    pub environment: BTreeMap<String, String>,
    /// The process's working directory.
    pub working_dir: PathBuf,
    /// What came on standard input, for `-f -`.
    pub stdin: Option<String>,
    /// Services named on the command line: they are on whatever their profile, and only they and
    /// what they need must have their `env_file`s. All services when empty.
    pub services: Vec<String>,
    /// Leave variables as they are.
    pub no_interpolate: bool,
    /// Do not fill in defaults.
    pub no_normalize: bool,
    /// Do not check references between services, networks and volumes.
    pub no_consistency: bool,
    /// Leave paths as they are.
    pub no_path_resolution: bool,
    /// Leave `env_file` as it is.
    pub no_env_resolution: bool,
    /// Whoever fetches files that are elsewhere; without one they are refused.
    pub remotes: Option<Arc<dyn Remotes>>,
    /// `--compatibility`: `_` stands in the names of containers and images, as docker-compose 1 had it.
    pub compatibility: bool,
}

/// A project and what has to be said about its files.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// One sentence each.
    pub warnings: Vec<String>,
}

/// Reads and checks a project. Every error names a place, `compose.yaml:12:7: services.web: …`, and
/// shows the line; one error tells all mistakes that were found.
pub fn load(options: &LoadOptions) -> Result<Loaded> {
    load_from(options, &Disk)
}

/// [`load`] from files that need not be on a disk.
pub fn load_from(options: &LoadOptions, files: &dyn Files) -> Result<Loaded> {
    let mut reader = reader(options, files);
    let project = read(options, &mut reader);
    let Reader {
        ledger, warnings, ..
    } = reader;
    let mut project = project.map_err(|error| ledger.mistakes.with(error))?;
    lower::complete_digests(&mut project);
    Ok(Loaded {
        project,
        warnings: warnings.into_iter().collect(),
    })
}

/// All stages. A stage that finds something wrong notes it; the next one begins only when nothing is.
fn read(options: &LoadOptions, reader: &mut Reader<'_>) -> Result<Project> {
    let place = discover::find(&wanted(options), reader)?;
    let documents = parse(reader, &place.files)?;
    let name = discover::project_name(options.project_name.as_deref(), &place, &documents)?;
    let mut variables = place.variables;
    variables.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());

    let model = Model {
        files: &place.files,
        base: &place.directory,
        variables: &variables,
    };
    let mut tree = assemble(reader, &model, documents)?;
    if reader.ledger.mistakes.count() > 0 {
        look_on(options, reader, tree, &name, &variables)?;
        reader.refuse()?;
        return Err(Error::internal("mistakes that are none"));
    }
    match options.no_normalize {
        false => normalize(&mut tree, &name, &variables),
        true => {
            if let Some(top) = tree.map_mut() {
                let said = top.get("name").map(|said| said.span.clone());
                let span = said.unwrap_or_default();
                top.set("name", Node::new(name.as_str(), &span));
            }
        }
    }
    if !(options.no_interpolate || options.no_normalize) {
        values::check(&tree, &mut reader.ledger.mistakes)?;
    }
    validate::shapes(&tree, &mut reader.ledger.mistakes)?;
    let selection = select(
        services(&tree),
        &profiles(options, &variables),
        &options.services,
    )?;
    if !reader.copies.is_empty() {
        confine(options, reader, &tree, &place.directory)?;
    }
    let mut findings = match options.no_env_resolution {
        true => Vec::new(),
        false => resolve_files(&mut tree, &selection, reader, &variables)?,
    };
    if !options.no_consistency {
        let lenient = options.no_interpolate;
        validate::consistency(&tree, &selection, lenient, &mut reader.ledger.mistakes)?;
    }
    reader.refuse()?;
    findings.extend(support::findings(&tree, reader.files));

    let foreign = Foreign {
        sources: reader.copies.sources(),
        programs: foreign::programs(&tree),
        wishes: foreign::wishes(
            &tree,
            &name,
            &selection,
            reader.files,
            &reader.copies.given(&variables),
        ),
    };
    let lenient = options.no_interpolate || options.no_normalize;
    let mut project = typed::project(tree, &selection, lenient)?;
    let services = project.services.values_mut();
    for service in services.chain(project.disabled.values_mut()) {
        service.old_names = options.compatibility;
    }
    project.name = name;
    project.working_dir = place.directory;
    project.files = place.files;
    project.findings = findings;
    project.foreign = foreign;
    project.environment = variables;
    project.interpolated = !options.no_interpolate;
    if !options.no_env_resolution {
        seccomp::read(&mut project, reader.files);
    }
    Ok(project)
}

/// Notes what services refer to and nobody has, when something else is wrong in the files: both are
/// told at once. What may only be missing because of the other mistakes is passed over.
fn look_on(
    options: &LoadOptions,
    reader: &mut Reader<'_>,
    mut tree: Node,
    name: &str,
    variables: &BTreeMap<String, String>,
) -> Result<()> {
    if options.no_consistency || reader.ledger.is_torn {
        return Ok(());
    }
    let known = validate::sections(&tree);
    normalize(&mut tree, name, variables);
    let profiles = profiles(options, variables);
    let Ok(selection) = select(services(&tree), &profiles, &options.services) else {
        return Ok(());
    };
    let lenient = options.no_interpolate;
    let mistakes = &mut reader.ledger.mistakes;
    validate::references(&tree, &selection, lenient, &known, mistakes)
}

/// Refuses files from elsewhere that name files which are not theirs, before any of those is read.
fn confine(
    options: &LoadOptions,
    reader: &mut Reader<'_>,
    tree: &Node,
    directory: &Path,
) -> Result<()> {
    let base = match options.no_path_resolution {
        false => directory,
        // Nothing is read then.
        true if options.no_env_resolution => return Ok(()),
        true => &options.working_dir,
    };
    foreign::confine(tree, base, reader.files, &mut reader.ledger.mistakes)?;
    reader.refuse()
}

/// The documents of all files; one that cannot be read does not hide the mistakes of the others.
fn parse(reader: &mut Reader<'_>, files: &[PathBuf]) -> Result<Vec<Vec<Node>>> {
    let mut documents = Vec::with_capacity(files.len());
    let mut unread = None;
    for file in files {
        match reader.parse(file) {
            Ok(found) => documents.push(found),
            Err(error) if unread.is_some() => {
                reader.ledger.mistakes.add(&Span::default(), error)?;
            }
            Err(error) => unread = Some(error),
        }
    }
    match unread {
        Some(error) => Err(error),
        None => Ok(documents),
    }
}

/// The `COMPOSE_…` variables that the project's `.env` says and the environment does not. Empty for a
/// project from elsewhere; what is wrong with the files is for whoever loads it.
pub fn settings(options: &LoadOptions) -> BTreeMap<String, String> {
    settings_from(options, &Disk)
}

/// [`settings`] from files that need not be on a disk.
pub fn settings_from(options: &LoadOptions, files: &dyn Files) -> BTreeMap<String, String> {
    let mut reader = reader(options, files);
    discover::settings(&wanted(options), &mut reader).unwrap_or_default()
}

/// The project name that the options and the environment give when no file has to be there, for
/// `down -p`, `ls` and their like.
pub fn project_name(options: &LoadOptions) -> Result<String> {
    project_name_from(options, &Disk)
}

/// [`project_name`] from files that need not be on a disk.
pub fn project_name_from(options: &LoadOptions, files: &dyn Files) -> Result<String> {
    let mut reader = reader(options, files);
    let place = discover::look(&wanted(options), &mut reader)?;
    let typed = options.project_name.as_deref();
    if typed.is_some() || place.variables.contains_key("COMPOSE_PROJECT_NAME") {
        return discover::project_name(typed, &place, &[]);
    }
    let documents = parse(&mut reader, &place.files)?;
    discover::project_name(typed, &place, &documents)
}

fn reader<'a>(options: &'a LoadOptions, files: &'a dyn Files) -> Reader<'a> {
    let mut reader = Reader::new(files, &options.working_dir);
    reader.stdin = options.stdin.as_deref();
    reader.remotes = options.remotes.as_deref();
    reader.home = options.environment.get("HOME").map(String::as_str);
    reader.interpolate = !options.no_interpolate;
    reader.resolve_paths = !options.no_path_resolution;
    reader
}

fn wanted(options: &LoadOptions) -> Wanted<'_> {
    Wanted {
        files: &options.files,
        project_directory: options.project_directory.as_deref(),
        env_files: &options.env_files,
        environment: &options.environment,
        working_dir: &options.working_dir,
    }
}

fn profiles(options: &LoadOptions, variables: &BTreeMap<String, String>) -> Vec<String> {
    if !options.profiles.is_empty() {
        return options.profiles.clone();
    }
    let list = variables.get("COMPOSE_PROFILES").map_or("", String::as_str);
    list.split(',')
        .map(str::trim)
        .filter(|profile| !profile.is_empty())
        .map(str::to_owned)
        .collect()
}

fn services(tree: &Node) -> &Map {
    static NONE: std::sync::LazyLock<Map> = std::sync::LazyLock::new(Map::default);
    tree.get("services").and_then(Node::map).unwrap_or(&NONE)
}

/// Reads `env_file`s. A missing one is a mistake when its service is wanted, and else it is only said
/// when the service is to be made.
fn resolve_files(
    tree: &mut Node,
    selection: &Selection,
    reader: &mut Reader<'_>,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let services = tree
        .map_mut()
        .and_then(|map| map.get_mut("services")?.map_mut());
    let Some(services) = services else {
        return Ok(findings);
    };
    let around = Around {
        files: reader.files,
        working_dir: reader.working_dir,
        variables,
    };
    let ledger = &mut reader.ledger;
    let section = Trail::ROOT.key("services");
    for (name, entry) in services.iter_mut() {
        let span = entry.node.span.clone();
        let trail = section.key(name);
        let done = environment::resolve(&mut entry.node, &trail, &around, &mut ledger.budget);
        match done {
            Err(error) if selection.wanted.contains(name) => ledger.mistakes.add(&span, error)?,
            Err(error) => findings.push(Finding {
                subject: Subject::Service(name.clone()),
                text: error.to_string(),
                severity: Severity::Missing,
            }),
            Ok(()) => {}
        }
    }
    Ok(findings)
}
