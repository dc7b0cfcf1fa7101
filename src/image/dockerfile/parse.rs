//! From text to a [`Dockerfile`]: puts statements together to stages.
//!
//! Bounded in bytes, instructions and stages. All mistakes of the file are told in one error, each
//! with its line.

use orc_base::{Error, Kind as ErrorKind, Result};

use crate::dockerfile::ast::{Dockerfile, Instruction, Kind, Place, Stage};
use crate::dockerfile::instructions::{self, From, Read};
use crate::dockerfile::lines::{self, Statement};
use crate::dockerfile::source::{Mistake, Source};
use crate::dockerfile::style;

/// The most bytes a Dockerfile may have.
pub const MAX_BYTES: usize = 1 << 20;
const MAX_INSTRUCTIONS: usize = 10_000;
const MAX_STAGES: usize = 1_000;

impl Dockerfile {
    /// Reads a Dockerfile; `name` is what messages call it. Errors: `Invalid` with all mistakes,
    /// `Exhausted` when it is too large.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let text = text(name, bytes)?;
        let mut source = Source::new(name, text);
        let split = lines::split(text);
        let mut mistakes = split.mistakes;
        let mut builder = Builder::default();
        if split.statements.len() > MAX_INSTRUCTIONS {
            return Err(too_large(name, &format!("{MAX_INSTRUCTIONS} instructions")));
        }
        for statement in &split.statements {
            match instructions::read(statement, split.directives.escape) {
                Ok(read) => builder.add(statement, read, &mut mistakes),
                Err(found) => mistakes.extend(found),
            }
        }
        if builder.stages.len() > MAX_STAGES {
            return Err(too_large(name, &format!("{MAX_STAGES} stages")));
        }
        if builder.stages.is_empty() && mistakes.is_empty() {
            let what = match split.statements.is_empty() {
                true => "the Dockerfile is empty, it needs at least FROM",
                false => "there is no FROM: a build starts from an image or from scratch",
            };
            return Err(Error::invalid(format!("{name}: {what}")));
        }
        mistakes.sort_by_key(|mistake| mistake.line);
        source.refuse(&mistakes)?;
        source.name = name.into();
        let mut dockerfile = Self {
            source,
            directives: split.directives,
            global_args: builder.global_args,
            stages: builder.stages,
            warnings: split.warnings,
        };
        dockerfile
            .warnings
            .extend(style::check(&dockerfile, &builder.as_words));
        Ok(dockerfile)
    }
}

/// Reads one instruction that stands alone: a trigger of a base image, a change of a config.
pub fn instruction(text: &str) -> Result<Instruction> {
    if text.len() > MAX_BYTES {
        return Err(too_large("the instruction", &format!("{MAX_BYTES} bytes")));
    }
    let split = lines::split(text);
    let told = |mistakes: Vec<Mistake>| {
        let messages: Vec<String> = mistakes.into_iter().map(|one| one.message).collect();
        Error::invalid(messages.join("; "))
    };
    if !split.mistakes.is_empty() {
        return Err(told(split.mistakes));
    }
    let [statement] = &split.statements[..] else {
        return Err(Error::invalid(match split.statements.is_empty() {
            true => "there is no instruction",
            false => "there is more than one instruction",
        }));
    };
    match instructions::read(statement, split.directives.escape).map_err(told)? {
        Read::Instruction(kind) => Ok(Instruction {
            place: place(statement),
            kind,
        }),
        Read::From(_) => Err(Error::invalid("FROM cannot stand here")),
    }
}

fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str> {
    if bytes.len() > MAX_BYTES {
        return Err(too_large(name, &format!("{MAX_BYTES} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        Error::invalid(format!("{name}:{line}: the text is not UTF-8"))
    })?;
    if let Some(at) = text.find('\0') {
        let line = 1 + text[..at].matches('\n').count();
        return Err(Error::invalid(format!(
            "{name}:{line}: there is a NUL byte"
        )));
    }
    Ok(text)
}

fn too_large(name: &str, limit: &str) -> Error {
    Error::new(
        ErrorKind::Exhausted,
        format!("{name} is larger than the limit of {limit}"),
    )
}

fn place(statement: &Statement) -> Place {
    Place {
        line: statement.line,
        end_line: statement.end_line,
        keyword: statement.keyword().into(),
        text: statement.text.trim().into(),
        comments: statement.comments.clone(),
    }
}

/// What was put together so far.
#[derive(Default)]
struct Builder {
    global_args: Vec<Instruction>,
    stages: Vec<Stage>,
    /// `AS` and the name of each stage as they are written.
    as_words: Vec<Option<(String, String)>>,
    told_order: bool,
}

impl Builder {
    fn add(&mut self, statement: &Statement, read: Read, mistakes: &mut Vec<Mistake>) {
        let kind = match read {
            Read::From(from) => return self.stage(statement, from),
            Read::Instruction(kind) => kind,
        };
        let instruction = Instruction {
            place: place(statement),
            kind,
        };
        match (self.stages.last_mut(), &instruction.kind) {
            (Some(stage), _) => stage.instructions.push(instruction),
            (None, Kind::Arg(_)) => self.global_args.push(instruction),
            (None, kind) if !self.told_order => {
                self.told_order = true;
                mistakes.push(statement.wrong(format!(
                    "{} stands before the first FROM, where only ARG may",
                    kind.name()
                )));
            }
            (None, _) => {}
        }
    }

    fn stage(&mut self, statement: &Statement, from: From) {
        self.stages.push(Stage {
            base: from.base,
            name: from
                .name
                .as_ref()
                .map(|(_, name)| name.to_ascii_lowercase()),
            platform: from.platform,
            from: place(statement),
            instructions: Vec::new(),
        });
        self.as_words.push(from.name);
    }
}
