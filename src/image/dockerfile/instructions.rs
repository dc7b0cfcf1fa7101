//! Reads the arguments of each instruction.
//!
//! One function an instruction, from a statement to its typed form or to what is wrong with it. All
//! mistakes of a statement are collected, so that they are told together.

use std::ops::Range;
use std::time::Duration;

use orc_base::{Result, spelling, units};

use crate::config::Healthcheck;
use crate::dockerfile::arguments::{Arguments, Json, Outcome};
use crate::dockerfile::ast::{Argument, Command, Kind, Pair, RawMount, Run, RunNetwork, Transfer};
use crate::dockerfile::environment::Environment;
use crate::dockerfile::flags::{self, Flags};
use crate::dockerfile::heredoc;
use crate::dockerfile::lines::Statement;
use crate::dockerfile::mount::{self, MountOptions};
use crate::dockerfile::source::Mistake;
use crate::dockerfile::words::Words;

/// All instructions, by their names.
pub(crate) const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A `FROM`, or what stands below one.
#[derive(Debug)]
pub(crate) enum Read {
    From(From),
    Instruction(Kind),
}

/// A `FROM`.
#[derive(Debug)]
pub(crate) struct From {
    pub(crate) base: String,
    pub(crate) platform: Option<String>,
    /// `AS` and the name as they are written.
    pub(crate) name: Option<(String, String)>,
}

/// Reads one statement.
pub(crate) fn read(statement: &Statement, escape: char) -> std::result::Result<Read, Vec<Mistake>> {
    let keyword = statement.keyword();
    let upper = keyword.to_ascii_uppercase();
    let Some(name) = NAMES.into_iter().find(|name| *name == upper) else {
        let hint = match spelling::nearest(&upper, NAMES) {
            Some(near) => format!(", did you mean {near}?"),
            None => String::new(),
        };
        let message = format!("unknown instruction {keyword}{hint}");
        return Err(vec![statement.mistake(0..keyword.len(), message)]);
    };
    let (flags, start) = flags::split(statement, name, keyword.len(), escape);
    let arguments = Arguments {
        statement,
        name,
        start,
        escape,
    };
    arguments.read(flags)
}

impl Arguments<'_> {
    fn read(self, mut flags: Flags<'_>) -> std::result::Result<Read, Vec<Mistake>> {
        let read = match self.name {
            "FROM" => self.from(&mut flags).map(Read::From),
            _ => self.instruction(&mut flags).map(Read::Instruction),
        };
        let mut mistakes = flags.finish();
        match read {
            Ok(read) if mistakes.is_empty() => Ok(read),
            Ok(_) => Err(mistakes),
            Err(mistake) => {
                mistakes.push(mistake);
                Err(mistakes)
            }
        }
    }

    fn instruction(self, flags: &mut Flags<'_>) -> Outcome<Kind> {
        Ok(match self.name {
            "ADD" => Kind::Add(self.transfer(flags, true)?),
            "ARG" => Kind::Arg(self.arguments()?),
            "CMD" => Kind::Cmd(self.command()?),
            "COPY" => Kind::Copy(self.transfer(flags, false)?),
            "ENTRYPOINT" => Kind::Entrypoint(self.command()?),
            "ENV" => Kind::Env(self.pairs()?),
            "EXPOSE" => {
                let mut ports: Vec<String> = self.some_words()?;
                ports.sort();
                Kind::Expose(ports)
            }
            "HEALTHCHECK" => Kind::Healthcheck(self.healthcheck(flags)?),
            "LABEL" => Kind::Label(self.pairs()?),
            "MAINTAINER" => Kind::Maintainer(self.whole()?),
            "ONBUILD" => Kind::OnBuild(self.trigger()?),
            "RUN" => Kind::Run(self.run(flags)?),
            "SHELL" => Kind::Shell(self.shell()?),
            "STOPSIGNAL" => Kind::StopSignal(self.whole()?),
            "USER" => Kind::User(self.whole()?),
            "VOLUME" => Kind::Volume(self.volumes()?),
            _ => Kind::Workdir(self.whole()?),
        })
    }

    fn shell(self) -> Outcome<Vec<String>> {
        match self.json() {
            Json::List(words) if words.is_empty() => Err(self.needs("at least one word")),
            Json::List(words) => Ok(words),
            Json::Others => Err(self.not_strings()),
            Json::No => Err(self.needs("a JSON list: SHELL [\"/bin/bash\", \"-c\"]")),
        }
    }

    fn volumes(self) -> Outcome<Vec<String>> {
        let paths = match self.json() {
            Json::List(paths) => paths,
            Json::Others => return Err(self.not_strings()),
            Json::No => self.some_words()?,
        };
        let paths: Vec<String> = paths.iter().map(|path| path.trim().into()).collect();
        match paths.is_empty() || paths.contains(&String::new()) {
            true => Err(self.needs("paths that are not empty")),
            false => Ok(paths),
        }
    }

    fn arguments(self) -> Outcome<Vec<Argument>> {
        let words = self.quoted_words()?;
        if words.is_empty() {
            return Err(self.needs("a name"));
        }
        let argument = |(part, word): (Range<usize>, &str)| {
            let (name, default) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.into())),
                None => (word, None),
            };
            if name.is_empty() {
                return Err(self
                    .statement
                    .mistake(part, "the name of the ARG is missing"));
            }
            Ok(Argument {
                name: name.into(),
                default,
            })
        };
        words.into_iter().map(argument).collect()
    }

    /// `name=value …`, or the old `name value`.
    fn pairs(self) -> Outcome<Vec<Pair>> {
        let words = self.quoted_words()?;
        let Some((_, first)) = words.first() else {
            return Err(self.needs("name=value"));
        };
        if !first.contains('=') {
            let (name, value) = self
                .rest()
                .split_once([' ', '\t', '\r', '\u{b}', '\u{c}'])
                .ok_or_else(|| self.needs(&format!("a value: {} {first}=…", self.name)))?;
            return Ok(vec![Pair {
                name: name.into(),
                value: value.trim_start().into(),
                legacy: true,
            }]);
        }
        let pair = |(part, word): (Range<usize>, &str)| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Pair {
                name: name.into(),
                value: value.into(),
                legacy: false,
            }),
            Some(_) => Err(self.statement.mistake(part, "the name before = is missing")),
            None => Err(self.statement.mistake(
                part,
                format!("`{word}` has no =; write name=value, and a value with spaces in quotes"),
            )),
        };
        words.into_iter().map(pair).collect()
    }

    fn from(self, flags: &mut Flags<'_>) -> Outcome<From> {
        let platform = flags.text("platform");
        let words = self.placed_words();
        let (base, name) = match &words[..] {
            [(_, base)] => (*base, None),
            [(_, base), (_, word), (part, name)] if word.eq_ignore_ascii_case("as") => {
                if !is_stage_name(&name.to_ascii_lowercase()) {
                    let message = format!(
                        "`{name}` cannot name a stage: letters, digits and -_. after a letter can"
                    );
                    return Err(self.statement.mistake(part.clone(), message));
                }
                (*base, Some(((*word).to_owned(), (*name).to_owned())))
            }
            [] => return Err(self.needs("an image: FROM image [AS name]")),
            _ => {
                return Err(
                    self.wrong("FROM takes an image, and AS with a name: FROM image [AS name]")
                );
            }
        };
        Ok(From {
            base: base.into(),
            platform,
            name,
        })
    }

    fn transfer(self, flags: &mut Flags<'_>, add: bool) -> Outcome<Transfer> {
        let mut transfer = Transfer {
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.switch("link").unwrap_or(false),
            exclude: flags
                .texts("exclude")
                .into_iter()
                .map(|(_, text)| text)
                .collect(),
            ..Transfer::default()
        };
        if add {
            transfer.checksum = flags.text("checksum");
            transfer.keep_git_dir = flags.switch("keep-git-dir");
            transfer.unpack = flags.switch("unpack");
        } else {
            transfer.parents = flags.switch("parents").unwrap_or(false);
            if let Some((part, from)) = flags.placed("from") {
                self.constant("--from", &from)
                    .unwrap_or_else(|message| flags.wrong(part, message));
                transfer.from = Some(from).filter(|from| !from.is_empty());
            }
        }
        self.paths(&mut transfer)?;
        Ok(transfer)
    }

    /// A text that decides which stages there are may have no variables.
    fn constant(self, what: &str, text: &str) -> std::result::Result<(), String> {
        let expanded = Words::new(self.escape).expand(text, &Environment::default());
        match expanded.is_ok_and(|expanded| expanded.text == text) {
            true => Ok(()),
            false => Err(format!(
                "{what} may have no variables; name a stage with FROM, where ARGs count, and use its name"
            )),
        }
    }

    fn paths(self, transfer: &mut Transfer) -> Outcome<()> {
        let (mut words, json) = match self.json() {
            Json::List(words) => (words, true),
            Json::Others => return Err(self.not_strings()),
            Json::No => {
                let words = self.placed_words();
                (
                    words.into_iter().map(|(_, word)| word.to_owned()).collect(),
                    false,
                )
            }
        };
        let announced = |word: &str| match json {
            true => Ok(None),
            false => heredoc::parse(word),
        };
        let target = words
            .pop()
            .ok_or_else(|| self.needs("sources and a target"))?;
        if words.is_empty() {
            return Err(self.needs("sources and a target; there is one path only"));
        }
        if let Ok(Some(_)) = announced(&target) {
            return Err(self.wrong(format!(
                "a here-document cannot be the target of {}, the target comes last",
                self.name
            )));
        }
        for word in words {
            match announced(&word) {
                Ok(Some(found)) => {
                    let named = |doc: &&_| -> bool {
                        let doc: &crate::dockerfile::ast::Heredoc = doc;
                        doc.name == found.name
                    };
                    let body = self.statement.heredocs.iter().rev().find(named).cloned();
                    transfer.heredocs.push(body.unwrap_or(found));
                }
                _ => transfer.sources.push(word),
            }
        }
        transfer.target = target;
        Ok(())
    }

    fn run(self, flags: &mut Flags<'_>) -> Outcome<Run> {
        let mut mounts = Vec::new();
        for (part, text) in flags.texts("mount") {
            if flags.is_full() {
                break;
            }
            match self.mount(&text) {
                Ok(mount) => mounts.push(mount),
                Err(message) => flags.wrong(part, message),
            }
        }
        let network = match flags.placed("network") {
            None => None,
            Some((part, text)) => match text.as_str() {
                "default" => Some(RunNetwork::Default),
                "none" => Some(RunNetwork::None),
                "host" => Some(RunNetwork::Host),
                other => {
                    let message = format!("--network is default, none or host, not `{other}`");
                    flags.wrong(part, message);
                    None
                }
            },
        };
        let insecure = match flags.placed("security") {
            None => false,
            Some((part, text)) => match text.as_str() {
                "sandbox" => false,
                "insecure" => true,
                other => {
                    let message = format!("--security is sandbox or insecure, not `{other}`");
                    flags.wrong(part, message);
                    false
                }
            },
        };
        for (part, _) in flags.texts("device") {
            let message = "RUN --device is not supported: build steps get no devices";
            flags.wrong(part, message.into());
        }
        Ok(Run {
            command: self.command()?,
            heredocs: self.statement.heredocs.clone(),
            mounts,
            network,
            insecure,
        })
    }

    /// Checks what can be checked before variables are expanded.
    fn mount(self, text: &str) -> std::result::Result<RawMount, String> {
        let options = mount::split(text).map_err(|error| error.to_string())?;
        let from = options.iter().rev().find(|(name, _)| name == "from");
        let from = from.and_then(|(_, value)| value.clone());
        if let Some(from) = &from {
            self.constant("from of a mount", from)?;
        }
        let constant = !text.contains('$') && !text.contains(self.escape);
        if constant {
            MountOptions::read(&options).map_err(|error| error.to_string())?;
        }
        Ok(RawMount {
            text: text.into(),
            from: from.filter(|from| !from.is_empty()),
        })
    }

    fn healthcheck(self, flags: &mut Flags<'_>) -> Outcome<Healthcheck> {
        let rest = self.rest();
        let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if kind.eq_ignore_ascii_case("none") {
            return match command.trim() {
                "" => Ok(Healthcheck {
                    test: vec!["NONE".into()],
                    ..Healthcheck::default()
                }),
                _ => Err(self.wrong("HEALTHCHECK NONE takes no arguments")),
            };
        }
        let mut time = |name: &'static str| {
            let (part, text) = flags.placed(name)?;
            match period(&text) {
                Ok(time) => time,
                Err(error) => {
                    flags.wrong(part, format!("--{name}: {error}"));
                    None
                }
            }
        };
        let mut check = Healthcheck {
            interval: time("interval"),
            timeout: time("timeout"),
            start_period: time("start-period"),
            start_interval: time("start-interval"),
            ..Healthcheck::default()
        };
        if let Some((part, text)) = flags.placed("retries") {
            match text.parse::<u32>() {
                Ok(retries) => check.retries = Some(retries).filter(|count| *count > 0),
                Err(_) => flags.wrong(part, format!("--retries is a count, not `{text}`")),
            }
        }
        if !kind.eq_ignore_ascii_case("cmd") {
            return Err(self.needs("CMD and a command, or NONE"));
        }
        let start = self.start + (rest.len() - command.trim_start().len());
        let command = Self { start, ..self };
        check.test = match command.command()? {
            Command::Exec(words) if words.is_empty() => {
                return Err(self.needs("a command after CMD"));
            }
            Command::Exec(words) => std::iter::once("CMD".into()).chain(words).collect(),
            Command::Shell(line) => vec!["CMD-SHELL".into(), line],
        };
        Ok(check)
    }

    /// Checks the instruction that comes later, and keeps its text.
    fn trigger(self) -> Outcome<String> {
        let text = self.whole()?;
        let inner = self.statement.inner(&text);
        let name = inner.keyword().to_ascii_uppercase();
        if ["ONBUILD", "FROM", "MAINTAINER"].contains(&name.as_str()) {
            return Err(self.wrong(format!("{name} cannot stand behind ONBUILD")));
        }
        if let Err(mistakes) = read(&inner, self.escape) {
            let messages: Vec<String> = mistakes.into_iter().map(|one| one.message).collect();
            return Err(self.wrong(messages.join("; ")));
        }
        let mut trigger = text;
        for heredoc in &self.statement.heredocs {
            trigger.push('\n');
            trigger.push_str(&heredoc.text);
            trigger.push_str(&heredoc.name);
        }
        Ok(trigger)
    }
}

/// Lower-case letters, digits and `-_.`, after a letter.
pub(crate) fn is_stage_name(name: &str) -> bool {
    let tail = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(tail)
}

/// A time of a health check: at least a millisecond; zero is the default.
fn period(text: &str) -> Result<Option<Duration>> {
    let time = units::parse_duration(text)?;
    match time {
        Duration::ZERO => Ok(None),
        time if time < Duration::from_millis(1) => Err(orc_base::Error::invalid(format!(
            "`{text}` is less than a millisecond"
        ))),
        time => Ok(Some(time)),
    }
}
