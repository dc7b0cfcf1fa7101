//! What the failure of one replica means for an update, while it is carried out.
//!
//! The plan says for each replica of an update what it may cost (`plan::Trial`); here failures are
//! counted. A step on such a container does not end the work when it fails: the step that waits for
//! the container to prove itself does, or says a warning and lets the update go on.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Error, Result};

use crate::plan::{Action, OnFailure, Operation, Plan, Trial};

/// What the end of a step means.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is done.
    Done,
    /// It failed, and the work goes on.
    Forgiven(Error),
    /// It failed, and so does the work.
    Failed(Error),
}

/// All updates of one plan.
pub(crate) struct Trials<'p> {
    /// The step in which each container has to prove itself.
    proofs: BTreeMap<&'p str, usize>,
    /// Why a container cannot prove itself any more.
    errors: BTreeMap<&'p str, Error>,
    /// How many replicas of each service have failed.
    failures: BTreeMap<&'p str, usize>,
    /// The containers of which nothing more is done: both, where the new one failed beside the old.
    given_up: BTreeSet<&'p str>,
    /// The services that are to become what they were before.
    back: BTreeMap<&'p str, Option<&'p str>>,
}

impl<'p> Trials<'p> {
    pub(crate) fn new(plan: &'p Plan) -> Self {
        let proofs = plan.operations().iter();
        let proofs = proofs.filter_map(|step| match &step.action {
            Action::Prove { name, .. } => Some((name.as_str(), step.id)),
            _ => None,
        });
        Self {
            proofs: proofs.collect(),
            errors: BTreeMap::new(),
            failures: BTreeMap::new(),
            given_up: BTreeSet::new(),
            back: BTreeMap::new(),
        }
    }

    /// Whether the step need not be done: its container has failed and was forgiven.
    pub(crate) fn leaves_out(&self, step: &Operation) -> bool {
        let container = step.action.container();
        container.is_some_and(|name| self.given_up.contains(name))
    }

    /// The failure of the step before it has begun.
    pub(crate) fn failed_before(&mut self, step: &'p Operation) -> Option<Error> {
        match &step.action {
            Action::Prove { name, .. } => self.errors.remove(name.as_str()),
            _ => None,
        }
    }

    /// What the end of a step means.
    pub(crate) fn judge(&mut self, step: &'p Operation, done: Result<()>) -> Verdict {
        let Err(error) = done else {
            return Verdict::Done;
        };
        if let Action::Prove { name, trial, .. } = &step.action {
            let service = step.service.as_deref().unwrap_or(name);
            return self.failed(service, name, trial, error.within(step.cause.clone()));
        }
        let Some(name) = step.action.container() else {
            return Verdict::Failed(error);
        };
        match self.proofs.get(name) {
            Some(proof) if *proof > step.id => {
                let again = Error::new(error.kind(), error.to_string());
                self.errors.entry(name).or_insert(error);
                Verdict::Forgiven(again)
            }
            _ => Verdict::Failed(error),
        }
    }

    fn failed(
        &mut self,
        service: &'p str,
        name: &'p str,
        trial: &'p Trial,
        error: Error,
    ) -> Verdict {
        let failures = self.failures.entry(service).or_default();
        *failures += 1;
        let forgiven = *failures <= trial.allowed_failures;
        match trial.on_failure {
            OnFailure::Continue => {}
            _ if forgiven => {}
            OnFailure::Pause => return Verdict::Failed(error),
            OnFailure::RollBack => {
                self.back.insert(service, trial.was.as_deref());
                return Verdict::Failed(error);
            }
        }
        if let Some(old) = &trial.beside {
            self.given_up.extend([name, old.as_str()]);
        }
        Verdict::Forgiven(error)
    }

    /// The services that are to become what they were before, each with the digest of that.
    pub(crate) fn back(&self) -> Vec<(String, Option<String>)> {
        let back = self.back.iter();
        back.map(|(service, was)| ((*service).to_owned(), was.map(str::to_owned)))
            .collect()
    }
}
