//! Makes the step of a `COPY` or an `ADD`.

use orc_base::{Error, Result};

use crate::build::chmod::Chmod;
use crate::build::graph::{Copy, CopyFrom, InlineFile, Op, Source};
use crate::build::plan::stages::{Origin, from_root, is_git, is_remote};
use crate::build::plan::walk::{State, Walk};
use crate::digest::Digest;
use crate::dockerfile::ast::{Place, Transfer};
use crate::dockerfile::checks::Rule;
use crate::dockerfile::glob::Glob;
use crate::dockerfile::ignore::Ignore;
use crate::dockerfile::paths;

/// Adds the step of a `COPY` or an `ADD`, whose variables are expanded, and its line of the history.
pub(crate) fn plan(
    walk: &mut Walk<'_, '_>,
    index: usize,
    state: &mut State,
    transfer: &Transfer,
    add: bool,
    place: &Place,
    text: String,
) -> Result<()> {
    check(transfer, add)?;
    if transfer.from.is_none() {
        ignored(walk, transfer, add, place);
    }
    let tree = tree(walk, index, transfer, add, place)?;
    let copy = Copy {
        parent: state.result,
        from: sources(transfer, add, tree),
        target: paths::absolute_target(&state.metadata.config.working_dir, &transfer.target),
        owner: transfer.chown.clone(),
        mode: transfer.chmod.clone(),
        link: transfer.link,
        parents: transfer.parents,
        exclude: transfer.exclude.clone(),
        unpack: add && transfer.unpack.unwrap_or(true),
        add,
    };
    let history = walk.history(state, line(transfer, add), false)?;
    walk.step(index, state, place, text, history, Op::Copy(copy))
}

/// Refuses what can never be copied.
fn check(transfer: &Transfer, add: bool) -> Result<()> {
    if let Some(mode) = &transfer.chmod {
        Chmod::parse(mode)?;
    }
    Ignore::from_patterns(&transfer.exclude)?;
    for source in &transfer.sources {
        if is_remote(source) {
            if !add {
                return Err(Error::invalid(format!(
                    "COPY takes no download or repository such as `{source}`, ADD does"
                )));
            }
            continue;
        }
        // What stands before a pattern's pivot is a pattern too.
        source
            .split("/./")
            .try_for_each(|part| match transfer.parents {
                true => Glob::parse_deep(part).map(drop),
                false => Glob::parse(part).map(drop),
            })?;
    }
    match &transfer.checksum {
        Some(checksum) => check_checksum(transfer, checksum),
        None => Ok(()),
    }
}

fn check_checksum(transfer: &Transfer, checksum: &str) -> Result<()> {
    let ([source], true) = (&transfer.sources[..], transfer.heredocs.is_empty()) else {
        return Err(Error::invalid("--checksum goes with exactly one source"));
    };
    if is_git(source) {
        let hex = checksum.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = (7..=64).contains(&checksum.len());
        return match hex && length {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "`{checksum}` is not a commit: the --checksum of a repository is one, in hexadecimal digits"
            ))),
        };
    }
    if !is_remote(source) {
        return Err(Error::invalid(
            "--checksum goes with a download or a repository, not with files of the context",
        ));
    }
    Digest::parse(checksum)
        .map(drop)
        .map_err(|error| error.within("--checksum"))
}

/// The file system that paths are in.
fn tree(
    walk: &mut Walk<'_, '_>,
    index: usize,
    transfer: &Transfer,
    add: bool,
    place: &Place,
) -> Result<Option<usize>> {
    let paths = transfer
        .sources
        .iter()
        .any(|source| !add || !is_remote(source));
    if !paths {
        return Ok(None);
    }
    let origin = match &transfer.from {
        Some(from) => walk.stages.origin(index, from)?,
        None => Origin::Outside(Source::Context(None)),
    };
    let step = walk.result_of(&origin, place.line)?;
    match step {
        Some(step) => Ok(Some(step)),
        None => Err(Error::invalid(format!(
            "there are no files in `{}` that could be copied",
            transfer.from.as_deref().unwrap_or("scratch")
        ))),
    }
}

/// Sources in their order; paths that follow each other are together.
fn sources(transfer: &Transfer, add: bool, tree: Option<usize>) -> Vec<CopyFrom> {
    let mut from: Vec<CopyFrom> = Vec::new();
    for source in &transfer.sources {
        if add && is_git(source) {
            from.push(CopyFrom::Git {
                url: source.clone(),
                checksum: transfer.checksum.clone(),
                keep_git_dir: transfer.keep_git_dir.unwrap_or(false),
            });
        } else if add && is_remote(source) {
            from.push(CopyFrom::Url {
                url: source.clone(),
                unpack: transfer.unpack.unwrap_or(false),
                checksum: transfer.checksum.clone(),
            });
        } else if let Some(step) = tree {
            let path = match transfer.parents {
                true => with_pivot(source),
                false => from_root(source),
            };
            match from.last_mut() {
                Some(CopyFrom::Tree { paths, .. }) => paths.push(path),
                _ => from.push(CopyFrom::Tree {
                    step,
                    paths: vec![path],
                }),
            }
        }
    }
    if !transfer.heredocs.is_empty() {
        let file = |heredoc: &crate::dockerfile::ast::Heredoc| InlineFile {
            path: heredoc.name.clone(),
            bytes: heredoc.text.clone().into_bytes(),
        };
        from.push(CopyFrom::Inline(
            transfer.heredocs.iter().map(file).collect(),
        ));
    }
    from
}

/// `a/./b*` as `/a/./b*`, and `b*` as `/./b*`.
fn with_pivot(source: &str) -> String {
    let (before, pattern) = source.split_once("/./").unwrap_or(("", source));
    let before = from_root(before);
    format!("{}/.{}", before.trim_end_matches('/'), from_root(pattern))
}

fn line(transfer: &Transfer, add: bool) -> String {
    let mut words = vec![if add { "ADD".to_owned() } else { "COPY".into() }];
    words.extend(transfer.parents.then(|| "--parents".into()));
    words.extend(
        transfer
            .chown
            .iter()
            .map(|owner| format!("--chown={owner}")),
    );
    words.extend(transfer.chmod.iter().map(|mode| format!("--chmod={mode}")));
    words.extend(transfer.sources.iter().cloned());
    words.extend(
        transfer
            .heredocs
            .iter()
            .map(|heredoc| format!("<<{}", heredoc.name)),
    );
    words.push(transfer.target.clone());
    words.push("# buildkit".into());
    words.join(" ")
}

/// Tells of a source that the ignore file leaves out.
fn ignored(walk: &mut Walk<'_, '_>, transfer: &Transfer, add: bool, place: &Place) {
    let ignore = &walk.stages.options.ignore;
    // What is taken back again is too hard to tell from here.
    if ignore.is_empty() || ignore.takes_back() {
        return;
    }
    for source in transfer.sources.iter().filter(|source| !is_remote(source)) {
        let path = from_root(source);
        let path = path.trim_start_matches('/');
        let left_out = match path {
            "" => ignore.excludes_all(),
            path => ignore.excludes(path),
        };
        if left_out {
            let verb = if add { "Add" } else { "Copy" };
            let message =
                format!("Attempting to {verb} file \"{source}\" that is excluded by .dockerignore");
            walk.findings.add(place, Rule::CopyIgnoredFile, message);
        }
    }
}
