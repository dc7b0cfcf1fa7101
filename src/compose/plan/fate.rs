//! What happens to each replica of a service: it stays, is started, is replaced, is made, or goes.
//!
//! Pure and without the rest of the plan, so that the rules stand in one place: which of two with one
//! number stays, who goes when there are too many, and which numbers new ones get.

use std::collections::BTreeSet;

use orc_host::container::Container;

use crate::observe::number;
use crate::plan::compare::is_up;

/// What happens to one replica.
#[derive(Debug)]
pub(super) enum Fate<'a> {
    /// It is as it should be.
    Keep(&'a Container),
    /// It is as it should be and does not run.
    Start(&'a Container),
    /// Another one takes its place, and why.
    Replace(&'a Container, &'static str),
    /// A new one gets this number.
    Create(u64),
}

/// All that happens to a service's containers.
#[derive(Debug, Default)]
pub(super) struct Fates<'a> {
    /// As many as are wanted.
    pub(super) replicas: Vec<Fate<'a>>,
    /// Those that go, and why.
    pub(super) surplus: Vec<(&'a Container, &'static str)>,
}

/// A container that exists, and why it has to be replaced, if it has to.
pub(super) type Existing<'a> = (&'a Container, Option<&'static str>);

/// Decides. `rests` says which containers are well without running.
pub(super) fn fates<'a>(
    existing: Vec<Existing<'a>>,
    wanted: usize,
    rests: &dyn Fn(&Container) -> bool,
) -> Fates<'a> {
    let mut surplus = Vec::new();
    let mut kept = without_doubles(existing, &mut surplus);
    if kept.len() > wanted {
        // Those that would be replaced anyway go first, then the highest numbers.
        kept.sort_by_key(|(container, cause)| (cause.is_some(), number(container)));
        let extra = kept.split_off(wanted);
        surplus.extend(extra.iter().map(|(one, _)| (*one, "too many replicas")));
        kept.sort_by_key(|(container, _)| number(container));
    }
    let taken: BTreeSet<u64> = kept.iter().map(|(one, _)| number(one)).collect();
    let free = (1..).filter(|number| !taken.contains(number));
    let missing = wanted.saturating_sub(kept.len());
    let replicas = kept
        .into_iter()
        .map(|(container, cause)| match cause {
            Some(cause) => Fate::Replace(container, cause),
            None if is_up(container) || rests(container) => Fate::Keep(container),
            None => Fate::Start(container),
        })
        .chain(free.take(missing).map(Fate::Create))
        .collect();
    Fates { replicas, surplus }
}

/// An update that was cut short leaves two containers with one number: the one that is as the files
/// say stays, then the one that runs.
fn without_doubles<'a>(
    mut existing: Vec<Existing<'a>>,
    surplus: &mut Vec<(&'a Container, &'static str)>,
) -> Vec<Existing<'a>> {
    existing.sort_by_key(|(one, cause)| (number(one), cause.is_some(), !is_up(one)));
    let mut kept: Vec<Existing<'a>> = Vec::with_capacity(existing.len());
    for (container, cause) in existing {
        let doubled = kept.last().is_some_and(|(last, _)| {
            number(last) == number(container) && number(container) != u64::MAX
        });
        match doubled {
            true => surplus.push((container, "another container has its place")),
            false => kept.push((container, cause)),
        }
    }
    kept
}
