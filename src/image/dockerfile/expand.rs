//! Expands the variables of an instruction: which of its texts may have any is the instruction's.
//!
//! <https://docs.docker.com/reference/dockerfile/#environment-replacement>. Commands are left to their
//! shell, `ONBUILD` to the build that comes later, and `ARG` to the planner, who knows which values
//! were given.

use std::collections::BTreeSet;

use orc_base::Result;

use crate::dockerfile::ast::{Heredoc, Kind, Pair, RawMount, Transfer};
use crate::dockerfile::environment::Environment;
use crate::dockerfile::mount::{self, MountOptions};
use crate::dockerfile::words::{Quotes, Words};

/// Expands texts and remembers which variables had no value.
#[derive(Debug)]
pub struct Expander<'a> {
    words: Words,
    environment: &'a Environment,
    /// Variables that had no value.
    pub unset: BTreeSet<String>,
}

impl<'a> Expander<'a> {
    /// With the file's escape character and the values at the instruction.
    pub fn new(escape: char, environment: &'a Environment) -> Self {
        Self {
            words: Words::new(escape),
            environment,
            unset: BTreeSet::new(),
        }
    }

    /// One text.
    pub fn text(&mut self, text: &str) -> Result<String> {
        let expanded = self.words.expand(text, self.environment)?;
        self.unset.extend(expanded.unset);
        Ok(expanded.text)
    }

    fn texts(&mut self, texts: &[String]) -> Result<Vec<String>> {
        texts.iter().map(|text| self.text(text)).collect()
    }

    fn option(&mut self, text: Option<&String>) -> Result<Option<String>> {
        let text = text.map(|text| self.text(text)).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// An instruction with all of its variables expanded. Errors: see [`Words::expand`].
    pub fn kind(&mut self, kind: &Kind) -> Result<Kind> {
        Ok(match kind {
            Kind::Add(transfer) => Kind::Add(self.transfer(transfer)?),
            Kind::Copy(transfer) => Kind::Copy(self.transfer(transfer)?),
            Kind::Env(pairs) => Kind::Env(self.pairs(pairs)?),
            Kind::Label(pairs) => Kind::Label(self.pairs(pairs)?),
            Kind::Expose(ports) => Kind::Expose(self.split_words(ports)?),
            Kind::StopSignal(signal) => Kind::StopSignal(self.text(signal)?),
            Kind::User(user) => Kind::User(self.text(user)?),
            Kind::Volume(paths) => Kind::Volume(self.texts(paths)?),
            Kind::Workdir(path) => Kind::Workdir(self.text(path)?),
            kind => kind.clone(),
        })
    }

    fn pairs(&mut self, pairs: &[Pair]) -> Result<Vec<Pair>> {
        let mut expand = |pair: &Pair| {
            Ok(Pair {
                name: self.text(&pair.name)?,
                value: self.text(&pair.value)?,
                legacy: pair.legacy,
            })
        };
        pairs.iter().map(&mut expand).collect()
    }

    /// What a variable holds may be several words.
    fn split_words(&mut self, texts: &[String]) -> Result<Vec<String>> {
        let mut words = Vec::new();
        for text in texts {
            let expanded = self.words.expand(text, self.environment)?;
            self.unset.extend(expanded.unset);
            words.extend(expanded.words);
        }
        Ok(words)
    }

    fn transfer(&mut self, transfer: &Transfer) -> Result<Transfer> {
        let mut heredocs = Vec::new();
        for heredoc in &transfer.heredocs {
            heredocs.push(self.heredoc(heredoc)?);
        }
        Ok(Transfer {
            sources: self.texts(&transfer.sources)?,
            target: self.text(&transfer.target)?,
            chown: self.option(transfer.chown.as_ref())?,
            chmod: self.option(transfer.chmod.as_ref())?,
            checksum: self.option(transfer.checksum.as_ref())?,
            heredocs,
            ..transfer.clone()
        })
    }

    /// The text of a file: variables have a meaning in it, quotes have none.
    fn heredoc(&mut self, heredoc: &Heredoc) -> Result<Heredoc> {
        let mut text = heredoc.content();
        if heredoc.expand {
            let raw = Words {
                quotes: Quotes::Ignore,
                ..Words::new('\\')
            };
            let expanded = raw.expand(&text, self.environment)?;
            self.unset.extend(expanded.unset);
            text = expanded.text;
        }
        Ok(Heredoc {
            text,
            chomp: false,
            ..heredoc.clone()
        })
    }

    /// The options of a mount.
    pub fn mount(&mut self, raw: &RawMount) -> Result<MountOptions> {
        let mut options = mount::split(&raw.text)?;
        for (name, value) in &mut options {
            if let Some(text) = value.take() {
                // `from` is constant, and its text is what the stages were found by.
                *value = Some(match name == "from" {
                    true => text,
                    false => self.text(&text)?,
                });
            }
        }
        MountOptions::read(&options)
    }
}
