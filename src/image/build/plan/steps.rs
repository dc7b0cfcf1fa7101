//! The steps of a plan while it is made: each once, numbered, and bounded in all that they say.

use std::collections::BTreeMap;

use orc_base::{Error, Result};

use crate::build::graph::{CopyFrom, Op, Source, Step, StepId};

/// The most bytes of text in a plan. A file can set a long variable and name it many times.
const MAX_BYTES: usize = 64 << 20;

/// Steps so far.
#[derive(Default)]
pub(crate) struct Steps {
    pub(crate) list: Vec<Step>,
    /// The stage that each is counted in.
    counted: Vec<Option<usize>>,
    sources: BTreeMap<Source, StepId>,
    bytes: usize,
}

impl Steps {
    /// Adds a step that people see as one of a stage's.
    pub(crate) fn push(&mut self, stage: usize, step: Step) -> Result<StepId> {
        self.add(Some(stage), step)
    }

    fn add(&mut self, stage: Option<usize>, step: Step) -> Result<StepId> {
        self.spend(bytes(&step))?;
        self.list.push(step);
        self.counted.push(stage);
        Ok(self.list.len() - 1)
    }

    /// Counts text that becomes part of the plan.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes;
        match self.bytes > MAX_BYTES {
            true => Err(Error::exhausted(format!(
                "the expanded Dockerfile has more than {MAX_BYTES} bytes of text; use shorter variables or fewer instructions"
            ))),
            false => Ok(()),
        }
    }

    /// What a stage starts from.
    pub(crate) fn base(&mut self, stage: usize, step: Step, source: &Source) -> Result<StepId> {
        match self.sources.get(source) {
            Some(id) => Ok(*id),
            None => {
                let id = self.add(Some(stage), step)?;
                self.sources.insert(source.clone(), id);
                Ok(id)
            }
        }
    }

    /// What files are taken from; it is counted in no stage.
    pub(crate) fn source(&mut self, source: &Source, line: usize) -> Result<StepId> {
        if let Some(id) = self.sources.get(source) {
            return Ok(*id);
        }
        let text = match source {
            Source::Image { reference, .. } => format!("FROM {reference}"),
            Source::Context(None) => "load build context".into(),
            Source::Context(Some(name)) => format!("load context {name}"),
        };
        let step = Step {
            stage: String::new(),
            position: None,
            text,
            line: if *source == Source::Context(None) {
                0
            } else {
                line
            },
            history: None,
            op: Op::Source(source.clone()),
        };
        let id = self.add(None, step)?;
        self.sources.insert(source.clone(), id);
        Ok(id)
    }

    /// Numbers the steps of each stage; only those that `kept` says yes to still know their history.
    pub(crate) fn finish(mut self, kept: impl Fn(usize) -> bool) -> Vec<Step> {
        let mut totals: BTreeMap<usize, usize> = BTreeMap::new();
        for stage in self.counted.iter().flatten() {
            *totals.entry(*stage).or_default() += 1;
        }
        let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
        for (step, stage) in self.list.iter_mut().zip(&self.counted) {
            let Some(stage) = stage else { continue };
            let number = seen.entry(*stage).or_default();
            *number += 1;
            step.position = Some((*number, totals[stage]));
            if !kept(*stage) {
                step.history = None;
            }
        }
        self.list
    }
}

fn bytes(step: &Step) -> usize {
    let lengths = |texts: &[String]| texts.iter().map(|text| text.len() + 24).sum::<usize>();
    let own = match &step.op {
        Op::Source(_) | Op::MakeDirectory { .. } => 0,
        Op::Run(run) => {
            let files: usize = run.files.iter().map(|file| file.bytes.len()).sum();
            lengths(&run.argv) + lengths(&run.env) + lengths(&run.hidden_env) + files
        }
        Op::Copy(copy) => copy
            .from
            .iter()
            .map(|from| match from {
                CopyFrom::Tree { paths, .. } => lengths(paths),
                CopyFrom::Inline(files) => files.iter().map(|file| file.bytes.len()).sum(),
                CopyFrom::Url { url, .. } | CopyFrom::Git { url, .. } => url.len(),
            })
            .sum(),
    };
    own + step.text.len() + 200
}
