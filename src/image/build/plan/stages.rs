//! How stages hang together: what each starts from, which others and which images it takes from, and
//! which are needed for the target.
//!
//! A stage takes from stages above it only, so there are no circles.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Error, Result, spelling};

use crate::build::graph::{Bases, Source};
use crate::build::plan::arguments::{self, Globals};
use crate::build::plan::findings::Findings;
use crate::build::plan::options::PlanOptions;
use crate::dockerfile::ast::{Dockerfile, Instruction, Kind, RawMount, Stage, Transfer};
use crate::dockerfile::checks::Rule;
use crate::dockerfile::mount;
use crate::dockerfile::parse;
use crate::dockerfile::paths;
use crate::platform::Platform;
use crate::reference::Reference;

/// For how many images it is looked what else could have been meant.
const MAX_HINTS: usize = 50;

/// Where a stage or its files are from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    /// Nothing: `scratch`.
    Empty,
    /// A stage above.
    Stage(usize),
    /// An image or a context.
    Outside(Source),
}

/// A stage in its surroundings.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    /// As it is written.
    pub(crate) stage: &'a Stage,
    /// Its name, or `stage-1`.
    pub(crate) label: String,
    /// What it starts from.
    pub(crate) base: Origin,
    /// What it is for, when it says so.
    pub(crate) platform: Option<Platform>,
    /// What its base makes it do first.
    pub(crate) triggers: Vec<Instruction>,
    /// A further context has its name and stands for it.
    pub(crate) replaced: bool,
}

impl Node<'_> {
    /// All that is done, triggers first, and whether it is one.
    pub(crate) fn instructions(&self) -> impl Iterator<Item = (&Instruction, bool)> {
        let own = if self.replaced {
            &[][..]
        } else {
            &self.stage.instructions[..]
        };
        let triggers = self.triggers.iter().map(|trigger| (trigger, true));
        triggers.chain(own.iter().map(|instruction| (instruction, false)))
    }
}

/// All stages.
pub(crate) struct Stages<'a> {
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) options: &'a PlanOptions,
    pub(crate) nodes: Vec<Node<'a>>,
    /// The one that is built.
    pub(crate) target: usize,
    /// Those that it takes, in order, itself included.
    pub(crate) needed: BTreeSet<usize>,
}

/// What is needed from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its config is needed before there is a plan: a stage starts from it.
    pub config: bool,
    /// The line that needs it.
    pub line: usize,
    /// What may have been meant when there is no such thing: a stage with nearly the same name.
    pub hint: Option<String>,
}

impl<'a> Stages<'a> {
    /// Finds what each stage starts from and which are needed, with the triggers of the known bases.
    pub(crate) fn resolve(
        dockerfile: &'a Dockerfile,
        options: &'a PlanOptions,
        globals: &Globals,
        bases: &Bases,
        findings: &mut Findings<'_>,
    ) -> Result<Self> {
        let mut stages = Self {
            dockerfile,
            options,
            nodes: Vec::new(),
            target: 0,
            needed: BTreeSet::new(),
        };
        for stage in &dockerfile.stages {
            let node = stages.node(stage, globals, bases, findings)?;
            stages.nodes.push(node);
        }
        stages.target = stages.find_target()?;
        stages.need(stages.target)?;
        if options.all_stages && options.target.is_none() {
            (0..stages.nodes.len()).try_for_each(|index| stages.need(index))?;
        }
        Ok(stages)
    }

    fn node(
        &self,
        stage: &'a Stage,
        globals: &Globals,
        bases: &Bases,
        findings: &mut Findings<'_>,
    ) -> Result<Node<'a>> {
        let index = self.nodes.len();
        let place = &stage.from;
        let wrong = |error: Error| self.dockerfile.source.wrong(place.line, &error);
        let base = arguments::in_from(&stage.base, place, self.dockerfile, globals, findings)?;
        if base.text.is_empty() {
            let hint = arguments::meant(&base.unset, globals);
            let message = format!("`{}` is empty, it must name an image{hint}", stage.base);
            return Err(wrong(Error::invalid(message)));
        }
        let platform = self.platform(stage, globals, findings)?;
        let own_context = stage.name.as_deref().and_then(|name| self.context(name));
        let base = match &own_context {
            Some(context) => Origin::Outside(context.clone()),
            None => self.base(&base.text, platform.as_ref()).map_err(wrong)?,
        };
        let triggers = self.triggers(&base, bases).map_err(wrong)?;
        let label = stage
            .name
            .clone()
            .unwrap_or_else(|| format!("stage-{index}"));
        Ok(Node {
            stage,
            label,
            base,
            platform,
            triggers: triggers
                .into_iter()
                .map(|trigger| at(trigger, stage))
                .collect(),
            replaced: own_context.is_some(),
        })
    }

    fn platform(
        &self,
        stage: &Stage,
        globals: &Globals,
        findings: &mut Findings<'_>,
    ) -> Result<Option<Platform>> {
        let Some(text) = &stage.platform else {
            return Ok(None);
        };
        let place = &stage.from;
        let expanded = arguments::in_from(text, place, self.dockerfile, globals, findings)?;
        let wrong = |error: Error| self.dockerfile.source.wrong(place.line, &error);
        if expanded.text.is_empty() {
            let hint = arguments::meant(&expanded.unset, globals);
            let message = format!("`--platform={text}` is empty{hint}");
            return Err(wrong(Error::invalid(message)));
        }
        let platform: Platform = expanded.text.parse().map_err(|error: Error| {
            let hint = arguments::meant(&expanded.unset, globals);
            wrong(Error::new(error.kind(), format!("{error}{hint}")))
        })?;
        if expanded.used.is_empty() && expanded.unset.is_empty() {
            let name = stage.name.as_deref().unwrap_or_default();
            let told = name.contains(&platform.os) || name.contains(&platform.architecture);
            if !told {
                let message = format!(
                    "FROM --platform flag should not use constant value \"{}\"",
                    expanded.text
                );
                findings.add(place, Rule::FromPlatformFlagConstDisallowed, message);
            }
        }
        let only_target = expanded.used.iter().eq(["TARGETPLATFORM"]) && expanded.unset.is_empty();
        if only_target && globals.values.get("TARGETPLATFORM") == Some(&expanded.text) {
            let message = format!(
                "Setting platform to predefined {text} in FROM is redundant as this is the default behavior"
            );
            findings.add(place, Rule::RedundantTargetPlatform, message);
        }
        Ok(Some(platform))
    }

    fn base(&self, name: &str, platform: Option<&Platform>) -> Result<Origin> {
        if let Some(index) = self.named(name) {
            return Ok(Origin::Stage(index));
        }
        self.outside(name, platform)
    }

    /// The last stage so far with a name.
    fn named(&self, name: &str) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let has = |node: &Node<'_>| node.stage.name.as_deref() == Some(&lower);
        self.nodes.iter().rposition(has)
    }

    fn outside(&self, name: &str, platform: Option<&Platform>) -> Result<Origin> {
        if name == "scratch" {
            return Ok(Origin::Empty);
        }
        if let Some(context) = self.context(name) {
            return Ok(Origin::Outside(context));
        }
        if let Err(error) = Reference::parse(name) {
            return Err(match self.hint(name) {
                Some(hint) => Error::invalid(format!(
                    "`{name}` is neither a stage above nor an image; {hint}"
                )),
                None => error,
            });
        }
        let platform = platform.unwrap_or(self.options.target_platform());
        Ok(Origin::Outside(Source::Image {
            reference: name.into(),
            platform: platform.clone(),
        }))
    }

    /// A further context with the name, or with the image's name.
    fn context(&self, name: &str) -> Option<Source> {
        let familiar = Reference::parse(name).map(|reference| reference.familiar());
        let familiar = familiar.unwrap_or_default();
        let short = familiar.strip_suffix(":latest").unwrap_or(&familiar);
        let contexts = &self.options.contexts;
        let found = [name, &familiar, short]
            .into_iter()
            .find(|name| contexts.contains(*name));
        found.map(|name| Source::Context(Some(name.into())))
    }

    fn hint(&self, name: &str) -> Option<String> {
        let stages = self
            .dockerfile
            .stages
            .iter()
            .filter_map(|stage| stage.name.as_deref());
        let known = stages.chain(self.options.contexts.iter().map(String::as_str));
        let near = spelling::nearest(&name.to_ascii_lowercase(), known)?;
        Some(format!("did you mean the stage or context `{near}`?"))
    }

    /// What a base makes a stage on top of it do.
    fn triggers(&self, base: &Origin, bases: &Bases) -> Result<Vec<Instruction>> {
        let own = |index: &usize| {
            let node = &self.nodes[*index];
            let below = node.stage.instructions.iter().filter(|_| !node.replaced);
            below.filter_map(|instruction| match &instruction.kind {
                Kind::OnBuild(text) => Some(text),
                _ => None,
            })
        };
        let texts: Vec<&String> = match base {
            Origin::Empty => Vec::new(),
            Origin::Outside(source) => {
                let configs = bases.get(source).into_iter();
                configs.flat_map(|file| &file.config.on_build).collect()
            }
            Origin::Stage(index) => own(index).collect(),
        };
        let read = |text: &String| {
            parse::instruction(text).map_err(|error| {
                error.within(format!("`ONBUILD {text}` of the base cannot be done"))
            })
        };
        texts.into_iter().map(read).collect()
    }

    fn find_target(&self) -> Result<usize> {
        let Some(target) = &self.options.target else {
            return Ok(self.nodes.len() - 1);
        };
        if let Some(index) = self.named(target) {
            return Ok(index);
        }
        if let Some(index) = target
            .parse()
            .ok()
            .filter(|index| *index < self.nodes.len())
        {
            return Ok(index);
        }
        let names = || {
            self.dockerfile
                .stages
                .iter()
                .filter_map(|stage| stage.name.as_deref())
        };
        let hint = match spelling::nearest(&target.to_ascii_lowercase(), names()) {
            Some(near) => format!(", did you mean `{near}`?"),
            None if names().next().is_none() => ", none of its stages has a name".into(),
            None => format!(", there are {}", names().collect::<Vec<_>>().join(" ")),
        };
        let name = &self.dockerfile.source.name;
        Err(Error::not_found(format!(
            "{name} has no stage `{target}`{hint}"
        )))
    }

    /// What `--from` and `from=` of stage `index` mean.
    pub(crate) fn origin(&self, index: usize, name: &str) -> Result<Origin> {
        if let Ok(number) = name.parse::<usize>() {
            return match (number < index, index) {
                (true, _) => Ok(Origin::Stage(number)),
                (false, 0) => Err(Error::invalid("no stage stands above this one")),
                (false, _) => Err(Error::invalid(format!(
                    "there is no stage {number} above this one; it is stage {index}, the first is stage 0"
                ))),
            };
        }
        let lower = name.to_ascii_lowercase();
        let has = |node: &Node<'_>| node.stage.name.as_deref() == Some(&lower);
        if let Some(above) = self.nodes[..index].iter().rposition(has) {
            return Ok(Origin::Stage(above));
        }
        if let Some(below) = self.nodes[index..].iter().position(has) {
            return Err(Error::invalid(match below {
                0 => format!("the stage `{name}` cannot take from itself"),
                below => format!(
                    "the stage `{name}` begins in line {}, it must stand above the stage that takes from it",
                    self.nodes[index + below].stage.from.line
                ),
            }));
        }
        self.outside(name, None)
    }

    /// Adds a stage and all that it takes.
    fn need(&mut self, target: usize) -> Result<()> {
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if !self.needed.insert(index) {
                continue;
            }
            let links = self.links(index)?;
            open.extend(links.into_iter().filter_map(|(origin, _)| match origin {
                Origin::Stage(above) => Some(above),
                _ => None,
            }));
        }
        Ok(())
    }

    /// All that a stage takes from, its base first, and the lines.
    fn links(&self, index: usize) -> Result<Vec<(Origin, usize)>> {
        let node = &self.nodes[index];
        let mut links = vec![(node.base.clone(), node.stage.from.line)];
        for (instruction, _) in node.instructions() {
            let line = instruction.place.line;
            let names: Vec<Option<&str>> = match &instruction.kind {
                Kind::Add(transfer) | Kind::Copy(transfer) => taken_by_copy(transfer),
                Kind::Run(run) => run.mounts.iter().filter_map(taken_by_mount).collect(),
                _ => Vec::new(),
            };
            for name in names {
                let origin = match name {
                    None => Ok(Origin::Outside(Source::Context(None))),
                    Some(name) => self.origin(index, name),
                };
                let origin = origin.map_err(|error| self.dockerfile.source.wrong(line, &error))?;
                links.push((origin, line));
            }
        }
        Ok(links)
    }

    /// What is needed from outside for the target.
    pub(crate) fn wanted(&self) -> Result<BTreeMap<Source, Need>> {
        let mut wanted: BTreeMap<Source, Need> = BTreeMap::new();
        for index in &self.needed {
            for (position, (origin, line)) in self.links(*index)?.into_iter().enumerate() {
                let Origin::Outside(source) = origin else {
                    continue;
                };
                let hint = match &source {
                    Source::Image { reference, .. } if wanted.len() < MAX_HINTS => {
                        self.hint(reference)
                    }
                    _ => None,
                };
                let need = wanted.entry(source).or_insert(Need {
                    config: false,
                    line,
                    hint,
                });
                need.config |= position == 0;
            }
        }
        Ok(wanted)
    }
}

/// A trigger stands where the `FROM` does.
fn at(mut trigger: Instruction, stage: &Stage) -> Instruction {
    trigger.place.line = stage.from.line;
    trigger.place.end_line = stage.from.end_line;
    trigger
}

/// Where a `COPY` or `ADD` takes from; nothing means the main context.
fn taken_by_copy(transfer: &Transfer) -> Vec<Option<&str>> {
    match &transfer.from {
        Some(from) => vec![Some(from)],
        None if transfer.sources.iter().any(|source| !is_remote(source)) => vec![None],
        None => Vec::new(),
    }
}

/// Where a mount takes from. One whose type has a variable may turn out to take nothing.
fn taken_by_mount(raw: &RawMount) -> Option<Option<&str>> {
    if let Some(from) = &raw.from {
        return Some(Some(from));
    }
    let options = mount::split(&raw.text).ok()?;
    let kind = options.iter().rev().find(|(name, _)| name == "type");
    let kind = kind
        .and_then(|(_, value)| value.as_deref())
        .unwrap_or("bind");
    let other = ["cache", "tmpfs", "secret", "ssh"];
    let other = other.iter().any(|other| kind.eq_ignore_ascii_case(other));
    (!other).then_some(None)
}

/// Whether a source of `ADD` is a download or a repository.
pub(crate) fn is_remote(source: &str) -> bool {
    is_url(source) || is_git(source)
}

fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// `git://…`, `ssh://…`, `git@host:path`, and `https://….git`.
pub(crate) fn is_git(source: &str) -> bool {
    if source.starts_with("git://") || source.starts_with("ssh://") {
        return true;
    }
    if is_url(source) {
        let path = source.split(['#', '?']).next().unwrap_or_default();
        return path.ends_with(".git");
    }
    let Some((user, rest)) = source.split_once('@') else {
        return false;
    };
    let word = |text: &str, more: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        !text.is_empty() && text.chars().all(fine)
    };
    let host = rest.split_once(':').map(|(host, _)| host);
    word(user, "-_") && host.is_some_and(|host| word(host, "-."))
}

/// A path of a tree: absolute and clean, whatever `..` is in it.
pub(crate) fn from_root(path: &str) -> String {
    paths::absolute("/", path)
}
