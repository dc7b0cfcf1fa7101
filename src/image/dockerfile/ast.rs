//! What a Dockerfile says, as data, before any variable is expanded.
//!
//! Made by `parse`, read by the planner. Each instruction knows its lines, for messages.

use crate::config::Healthcheck;
use crate::dockerfile::checks::{Checks, Warning};
use crate::dockerfile::source::Source;

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq)]
pub struct Dockerfile {
    /// Its name and lines, for messages about it.
    pub source: Source,
    /// What stands above everything else.
    pub directives: Directives,
    /// The `ARG`s above the first `FROM`.
    pub global_args: Vec<Instruction>,
    /// Each `FROM` and what follows it; at least one.
    pub stages: Vec<Stage>,
    /// What was noticed while reading; the planner decides which of them are told.
    pub warnings: Vec<Warning>,
}

/// Parser directives: `# name=value` at the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// The frontend that the author wanted; it is not loaded, orc reads the language itself.
    pub syntax: Option<String>,
    /// What escapes a character and continues a line: a backslash or a backtick.
    pub escape: char,
    /// Which checks are wanted.
    pub check: Checks,
}

/// A `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The image, stage or context it starts from; may have variables.
    pub base: String,
    /// Its name, in lower case.
    pub name: Option<String>,
    /// `--platform`; may have variables.
    pub platform: Option<String>,
    /// The `FROM` itself.
    pub from: Place,
    /// What follows.
    pub instructions: Vec<Instruction>,
}

/// Where an instruction is and how it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Its first line, from 1.
    pub line: usize,
    /// Its last line, here-documents included.
    pub end_line: usize,
    /// Its first word as it is written.
    pub keyword: String,
    /// All of it on one line, without here-documents.
    pub text: String,
    /// The comments right above it, without `#`.
    pub comments: Vec<String>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// Where it is.
    pub place: Place,
    /// What it says.
    pub kind: Kind,
}

/// What an instruction says. Texts are as written: quotes and variables are still in them.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `ADD`.
    Add(Transfer),
    /// `ARG`.
    Arg(Vec<Argument>),
    /// `CMD`.
    Cmd(Command),
    /// `COPY`.
    Copy(Transfer),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `ENV`.
    Env(Vec<Pair>),
    /// `EXPOSE`, in order of their text.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`.
    Label(Vec<Pair>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`: the instruction, with its here-documents on lines of their own.
    OnBuild(String),
    /// `RUN`.
    Run(Run),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

impl Kind {
    /// The instruction's name in capitals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::OnBuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Written as `name value`, the old way.
    pub legacy: bool,
}

/// A name that a build may be given a value for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: String,
    /// Its value when none is given.
    pub default: Option<String>,
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line for the shell.
    Shell(String),
    /// The words themselves, from a JSON list.
    Exec(Vec<String>),
}

/// A here-document: text that stands below the instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it; for `COPY` also the name of the file.
    pub name: String,
    /// Whether variables in it are expanded; not when its name is quoted.
    pub expand: bool,
    /// `<<-`: tabs at the start of its lines go away.
    pub chomp: bool,
    /// Its lines, as they stand in the file.
    pub text: String,
}

impl Heredoc {
    /// Its text without the tabs that `<<-` takes away.
    pub fn content(&self) -> String {
        match self.chomp {
            false => self.text.clone(),
            true => self
                .text
                .split_inclusive('\n')
                .map(|line| line.trim_start_matches('\t'))
                .collect(),
        }
    }
}

/// A `RUN`.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What is run; for a here-document still with its `<<NAME`.
    pub command: Command,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, each as it is written: it is read after its variables are expanded.
    pub mounts: Vec<RawMount>,
    /// `--network`.
    pub network: Option<RunNetwork>,
    /// `--security=insecure`.
    pub insecure: bool,
}

/// A `--mount` as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMount {
    /// All options.
    pub text: String,
    /// `from=`, which may have no variables: it decides which stages are needed.
    pub from: Option<String>,
}

/// `--network` of a `RUN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNetwork {
    /// What the build has.
    Default,
    /// Loopback only.
    None,
    /// The machine's.
    Host,
}

/// A `COPY` or an `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transfer {
    /// Paths, patterns, and for `ADD` also downloads and repositories.
    pub sources: Vec<String>,
    /// Files whose text stands in the Dockerfile.
    pub heredocs: Vec<Heredoc>,
    /// Where they go.
    pub target: String,
    /// `--from`.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`.
    pub unpack: Option<bool>,
}
