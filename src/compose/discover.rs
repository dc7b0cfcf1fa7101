//! Which files a project is made of, which variables there are, and what the project is called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orc_base::{Context, Error, Result};

use crate::files::{self, COMPOSE_FILES, Files, Found};
use crate::interpolate::Interpolation;
use crate::node::{Node, Span, Trail};
use crate::reader::Reader;
use crate::remote::Address;

const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What somebody typed about files.
pub(crate) struct Wanted<'a> {
    pub(crate) files: &'a [PathBuf],
    pub(crate) project_directory: Option<&'a Path>,
    pub(crate) env_files: &'a [PathBuf],
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) working_dir: &'a Path,
}

/// Where a project is.
#[derive(Debug)]
pub(crate) struct Place {
    /// Absolute, or `-`.
    pub(crate) files: Vec<PathBuf>,
    /// The project directory, absolute.
    pub(crate) directory: PathBuf,
    /// The directory that the project is called after when nothing else says its name: where a project
    /// from elsewhere lies here says nothing.
    pub(crate) namesake: PathBuf,
    /// The process's environment over what the `.env` files say.
    pub(crate) variables: BTreeMap<String, String>,
}

/// Finds files and variables.
pub(crate) fn find(wanted: &Wanted<'_>, reader: &mut Reader<'_>) -> Result<Place> {
    let mut place = look(wanted, reader)?;
    if place.files.is_empty() {
        return Err(Error::not_found(
            "no configuration file provided: not found: write a compose.yaml, or name a file with `-f`",
        ));
    }
    if let Some(missing) = place
        .files
        .iter()
        .find(|file| file.as_os_str() != "-" && reader.files.look(file) == Found::Nothing)
    {
        return Err(Error::not_found(format!(
            "open {}: no such file or directory",
            missing.display()
        )));
    }
    place
        .variables
        .entry("PWD".to_owned())
        .or_insert_with(|| wanted.working_dir.display().to_string());
    Ok(place)
}

/// As [`find`], but it is fine when there is no file.
pub(crate) fn look(wanted: &Wanted<'_>, reader: &mut Reader<'_>) -> Result<Place> {
    let given_directory = wanted
        .project_directory
        .map(|path| files::join(wanted.working_dir, &path.to_string_lossy()));
    reader.copies.project_directory.clone_from(&given_directory);
    let mut variables = wanted.environment.clone();
    let mut files = located(wanted, reader, wanted.files.iter().map(PathBuf::as_path))?;

    let first_directory = given_directory
        .clone()
        .or_else(|| own_directory(&files, reader))
        .unwrap_or_else(|| wanted.working_dir.to_path_buf());
    let env_files = env_files(wanted);
    match &env_files {
        Some(env_files) => read_named(reader, wanted, env_files, &mut variables)?,
        None => read_default(reader, &first_directory, &mut variables)?,
    }
    if files.is_empty() {
        files = match variables.get("COMPOSE_FILE") {
            Some(list) if !list.is_empty() => {
                let listed = split_list(list, &variables).map(Path::new);
                located(wanted, reader, listed)?
            }
            _ => search(reader.files, &first_directory),
        };
    }
    let own = given_directory
        .clone()
        .or_else(|| own_directory(&files, reader));
    let namesake = own.unwrap_or_else(|| wanted.working_dir.to_path_buf());
    // As with docker compose, the `.env` of a project from elsewhere is not read.
    if env_files.is_none() && namesake != first_directory {
        read_default(reader, &namesake, &mut variables)?;
    }
    let directory = given_directory
        .or_else(|| directory_of(&files))
        .unwrap_or_else(|| wanted.working_dir.to_path_buf());
    Ok(Place {
        files,
        directory,
        namesake,
        variables,
    })
}

/// The variables about the command line that only the `.env` files say. As with docker compose, they
/// are looked for before the files of the project are.
pub(crate) fn settings(
    wanted: &Wanted<'_>,
    reader: &mut Reader<'_>,
) -> Result<BTreeMap<String, String>> {
    let mut files = Vec::new();
    for file in wanted.files {
        if Address::parse(&file.to_string_lossy())?.is_some() {
            return Ok(BTreeMap::new());
        }
        files.push(files::join(wanted.working_dir, &file.to_string_lossy()));
    }
    let typed = wanted.project_directory;
    let directory = typed.map(|path| files::join(wanted.working_dir, &path.to_string_lossy()));
    let is_stdin = wanted
        .files
        .first()
        .is_some_and(|file| file.as_os_str() == "-");
    let first = files.first().filter(|_| !is_stdin);
    let directory = directory
        .or_else(|| Some(first?.parent()?.to_path_buf()))
        .unwrap_or_else(|| wanted.working_dir.to_path_buf());
    let mut variables = wanted.environment.clone();
    match env_files(wanted) {
        Some(env_files) => read_named(reader, wanted, &env_files, &mut variables)?,
        None => read_default(reader, &directory, &mut variables)?,
    }
    variables
        .retain(|name, _| name.starts_with("COMPOSE_") && !wanted.environment.contains_key(name));
    Ok(variables)
}

fn directory_of(files: &[PathBuf]) -> Option<PathBuf> {
    let first = files.first().filter(|file| file.as_os_str() != "-")?;
    first.parent().map(Path::to_path_buf)
}

/// The same when that file is this machine's own.
fn own_directory(files: &[PathBuf], reader: &Reader<'_>) -> Option<PathBuf> {
    let first = files.first()?;
    match reader.copies.origin(first) {
        None => directory_of(files),
        Some(_) => None,
    }
}

/// The files that are named, absolute; what is elsewhere is fetched.
fn located<'a>(
    wanted: &Wanted<'_>,
    reader: &mut Reader<'_>,
    named: impl Iterator<Item = &'a Path>,
) -> Result<Vec<PathBuf>> {
    let typed = Span::default();
    let locate = |file: &Path| match file.as_os_str() == "-" {
        true => Ok(file.to_path_buf()),
        false => reader.locate(wanted.working_dir, &file.to_string_lossy(), &typed),
    };
    named.map(locate).collect()
}

/// One address is no list, whatever separates lists.
fn split_list<'a>(
    list: &'a str,
    variables: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = &'a str> {
    let separator = variables
        .get("COMPOSE_PATH_SEPARATOR")
        .map_or(":", String::as_str);
    let separator = match Address::parse(list) {
        Ok(Some(_)) => "\0",
        _ if separator.is_empty() => ":",
        _ => separator,
    };
    list.split(separator).filter(|part| !part.is_empty())
}

/// The files of the nearest directory upwards that has some.
fn search(files: &dyn Files, from: &Path) -> Vec<PathBuf> {
    let there = |directory: &Path, names: &[&str]| {
        names
            .iter()
            .map(|name| directory.join(name))
            .find(|path| files.look(path) == Found::File)
    };
    from.ancestors()
        .find_map(|directory| {
            let main = there(directory, &COMPOSE_FILES)?;
            Some(
                [main]
                    .into_iter()
                    .chain(there(directory, &OVERRIDES))
                    .collect(),
            )
        })
        .unwrap_or_default()
}

/// The files that were named; `None` for the default one.
fn env_files(wanted: &Wanted<'_>) -> Option<Vec<PathBuf>> {
    if !wanted.env_files.is_empty() {
        return Some(wanted.env_files.to_vec());
    }
    if let Some(list) = wanted
        .environment
        .get("COMPOSE_ENV_FILES")
        .filter(|list| !list.is_empty())
    {
        return Some(list.split(',').map(PathBuf::from).collect());
    }
    let disabled = wanted
        .environment
        .get("COMPOSE_DISABLE_ENV_FILE")
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "t" | "true"));
    disabled.then(Vec::new)
}

fn read_named(
    reader: &mut Reader<'_>,
    wanted: &Wanted<'_>,
    env_files: &[PathBuf],
    variables: &mut BTreeMap<String, String>,
) -> Result<()> {
    let mut own = BTreeMap::new();
    for file in env_files {
        let path = files::join(wanted.working_dir, &file.to_string_lossy());
        let mut visible: BTreeMap<String, String> = own.clone();
        visible.extend(variables.clone());
        let found = reader
            .variables(&path, &visible)
            .context(|| format!("couldn't find env file: {}", path.display()))?;
        own.extend(found);
    }
    for (name, value) in own {
        variables.entry(name).or_insert(value);
    }
    Ok(())
}

fn read_default(
    reader: &mut Reader<'_>,
    directory: &Path,
    variables: &mut BTreeMap<String, String>,
) -> Result<()> {
    let file = directory.join(".env");
    if reader.files.look(&file) != Found::File {
        return Ok(());
    }
    for (name, value) in reader.variables(&file, variables)? {
        variables.entry(name).or_insert(value);
    }
    Ok(())
}

/// The project's name: what was typed, else `COMPOSE_PROJECT_NAME`, else the last `name:` of the
/// files, else the directory's name with all that is not allowed taken out.
pub(crate) fn project_name(
    typed: Option<&str>,
    place: &Place,
    documents: &[Vec<Node>],
) -> Result<String> {
    let from_variable = place.variables.get("COMPOSE_PROJECT_NAME");
    let given = typed
        .or(from_variable.map(String::as_str))
        .filter(|name| !name.is_empty());
    if let Some(name) = given {
        return check_name(name);
    }
    for document in documents.iter().flatten().rev() {
        let Some(node) = document.get("name") else {
            continue;
        };
        let trail = Trail::ROOT.key("name");
        let Some(text) = node.text() else {
            return Err(trail.error(&node.span, "must be a string"));
        };
        let name = Interpolation::new(&place.variables)
            .text(text)
            .and_then(|name| check_name(&name))
            .map_err(|error| trail.error(&node.span, error))?;
        return Ok(name);
    }
    let base = place.namesake.file_name().unwrap_or_default();
    let name = normalise(&base.to_string_lossy());
    match name.is_empty() {
        true => Err(Error::invalid(format!(
            "project name must not be empty: {} gives none, use `-p`",
            place.namesake.display()
        ))),
        false => Ok(name),
    }
}

fn normalise(name: &str) -> String {
    let name: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
        .collect();
    name.trim_start_matches(['_', '-']).to_owned()
}

fn check_name(name: &str) -> Result<String> {
    if name == normalise(name) && name.len() <= 200 {
        return Ok(name.to_owned());
    }
    let shown: String = name
        .chars()
        .take(80)
        .flat_map(char::escape_default)
        .collect();
    Err(Error::invalid(format!(
        "invalid project name \"{shown}\": must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as start with a letter or number"
    )))
}
