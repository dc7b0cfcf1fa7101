//! Whether what clients were told could have come from one register a key, one operation at a time.
//!
//! The search of Wing and Gong with Lowe's memory of what was tried ("Testing for linearizability", 2017),
//! key by key, which is enough (Herlihy and Wing, locality). An operation without an answer may have happened
//! at any time after its call, or never. Values are written once, so they tell who wrote them.

use std::collections::{BTreeMap, HashSet};

use crate::sim::history::{Deed, History, Operation, Value};

/// States that are tried for one key, at most.
const MOST: usize = 2_000_000;

impl Deed {
    /// The value after it; nothing when it cannot have happened with this value before.
    fn after(&self, before: Value) -> Option<Value> {
        match self {
            Self::Read { saw } => (*saw == before).then_some(before),
            Self::Write { expects, value } => match expects {
                Some(expected) if *expected != before => None,
                _ => Some(*value),
            },
            Self::Refused { expects, saw } => {
                (*saw == before && *expects != before).then_some(before)
            }
        }
    }

    /// The value it saw.
    fn saw(&self) -> Value {
        match self {
            Self::Read { saw } | Self::Refused { saw, .. } => *saw,
            Self::Write { expects, .. } => expects.flatten(),
        }
    }
}

/// Checks a whole history, or says which key cannot be explained.
pub(crate) fn check(history: &History) -> Result<(), String> {
    let mut keys: BTreeMap<u64, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        keys.entry(operation.key).or_default().push(operation);
    }
    keys.into_iter().try_for_each(|(key, operations)| {
        explain(operations).map_err(|why| format!("what was read of key {key} {why}"))
    })
}

/// Operations that are done, one bit each.
type Done = Vec<u64>;

fn explain(mut operations: Vec<&Operation>) -> Result<(), String> {
    drop_unseen(&mut operations);
    operations.sort_by_key(|operation| operation.called);
    let mut tried: HashSet<(Done, Value)> = HashSet::new();
    let mut stack: Vec<(Done, Value)> = vec![(vec![0; operations.len().div_ceil(64)], None)];
    let mut furthest: Option<usize> = None;
    while let Some((done, value)) = stack.pop() {
        let Some(candidates) = candidates(&operations, &done) else {
            return Ok(());
        };
        let count = done.iter().map(|word| word.count_ones() as usize).sum();
        furthest = furthest.max(Some(count));
        // The one that returned first is tried first.
        for at in candidates.into_iter().rev() {
            if let Some(after) = operations[at].deed.after(value) {
                let mut done = done.clone();
                done[at / 64] |= 1 << (at % 64);
                if tried.insert((done.clone(), after)) {
                    stack.push((done, after));
                }
            }
        }
        if tried.len() > MOST {
            return Err(format!(
                "is too tangled to judge: {} operations",
                operations.len()
            ));
        }
    }
    Err(format!(
        "is not linearizable: {} of {} operations can be explained: {operations:?}",
        furthest.unwrap_or(0),
        operations.len()
    ))
}

/// A write of which nothing is known and that nobody saw may as well not have happened.
fn drop_unseen(operations: &mut Vec<&Operation>) {
    let seen: HashSet<u64> = operations
        .iter()
        .filter_map(|operation| operation.deed.saw())
        .collect();
    operations.retain(|operation| match (operation.returned, &operation.deed) {
        (
            None,
            Deed::Write {
                value: Some(value), ..
            },
        ) => seen.contains(value),
        (None, Deed::Read { .. } | Deed::Refused { .. }) => false,
        _ => true,
    });
}

/// Which operations may be next: not done, and called before any that is not done returned. Nothing when
/// all that returned are done.
fn candidates(operations: &[&Operation], done: &Done) -> Option<Vec<usize>> {
    let is_done = |at: usize| done[at / 64] & (1 << (at % 64)) != 0;
    let open = (0..operations.len()).filter(|at| !is_done(*at));
    let first_return = open
        .clone()
        .filter_map(|at| operations[at].returned)
        .min()?;
    let mut next: Vec<usize> = open
        .take_while(|at| operations[*at].called < first_return)
        .collect();
    next.sort_by_key(|at| operations[*at].returned.unwrap_or(u64::MAX));
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(called: u64, returned: u64, saw: Value) -> Operation {
        Operation {
            key: 0,
            called,
            returned: Some(returned),
            deed: Deed::Read { saw },
        }
    }

    fn write(called: u64, returned: Option<u64>, value: Value) -> Operation {
        Operation {
            key: 0,
            called,
            returned,
            deed: Deed::Write {
                expects: None,
                value,
            },
        }
    }

    fn swap(called: u64, returned: Option<u64>, expects: Value, value: Value) -> Operation {
        Operation {
            key: 0,
            called,
            returned,
            deed: Deed::Write {
                expects: Some(expects),
                value,
            },
        }
    }

    fn refused(called: u64, returned: u64, expects: Value, saw: Value) -> Operation {
        Operation {
            key: 0,
            called,
            returned: Some(returned),
            deed: Deed::Refused { expects, saw },
        }
    }

    fn judged(operations: Vec<Operation>) -> bool {
        let history = History {
            operations,
            ..History::default()
        };
        check(&history).is_ok()
    }

    #[test]
    fn what_one_register_could_say_is_right() {
        assert!(judged(vec![]));
        assert!(judged(vec![
            read(0, 1, None),
            write(2, Some(3), Some(1)),
            read(4, 5, Some(1))
        ]));
        // At the same time: either order.
        for saw in [None, Some(1)] {
            assert!(judged(vec![write(0, Some(9), Some(1)), read(1, 2, saw)]));
        }
        // Without an answer: seen late, or never, or between.
        assert!(judged(vec![
            write(0, None, Some(1)),
            read(1, 2, None),
            read(3, 4, Some(1))
        ]));
        assert!(judged(vec![
            write(0, None, Some(1)),
            read(1, 2, None),
            read(3, 4, None)
        ]));
        assert!(judged(vec![
            write(0, None, None),
            write(1, Some(2), Some(1)),
            read(3, 4, Some(1)),
            read(5, 6, None),
        ]));
        assert!(judged(vec![
            write(0, Some(1), Some(1)),
            swap(2, Some(3), Some(1), Some(2)),
            refused(4, 5, Some(1), Some(2)),
            swap(6, None, Some(2), Some(3)),
            read(7, 8, Some(3)),
        ]));
        // Other keys have nothing to do with it.
        let mut elsewhere = read(10, 11, None);
        elsewhere.key = 1;
        assert!(judged(vec![write(0, Some(1), Some(1)), elsewhere]));
    }

    #[test]
    fn what_no_register_could_say_is_wrong() {
        let wrong = [
            // A stale read.
            vec![write(0, Some(1), Some(1)), read(2, 3, None)],
            vec![
                write(0, Some(1), Some(1)),
                write(2, Some(3), Some(2)),
                read(4, 5, Some(1)),
            ],
            // A value from nowhere, and from the future.
            vec![read(0, 1, Some(7))],
            vec![read(0, 1, Some(1)), write(2, Some(3), Some(1))],
            // A lost write.
            vec![
                write(0, Some(1), Some(1)),
                write(2, None, Some(2)),
                read(3, 4, None),
            ],
            // Back again: seen, then not.
            vec![
                write(0, Some(9), Some(1)),
                read(1, 2, Some(1)),
                read(3, 4, None),
            ],
            vec![
                write(0, None, Some(1)),
                read(1, 2, Some(1)),
                read(3, 4, None),
            ],
            // Two swaps of the same value.
            vec![
                write(0, Some(1), Some(1)),
                swap(2, Some(5), Some(1), Some(2)),
                swap(3, Some(6), Some(1), Some(3)),
            ],
            // Refused without a reason.
            vec![write(0, Some(1), Some(1)), refused(2, 3, Some(1), Some(1))],
            vec![write(0, Some(1), Some(1)), refused(2, 3, Some(2), None)],
            // Two readers disagree about the order.
            vec![
                write(0, Some(20), Some(1)),
                write(0, Some(20), Some(2)),
                read(1, 2, Some(1)),
                read(3, 4, Some(2)),
                read(5, 6, Some(1)),
            ],
            // A swap without an answer happened, and did not.
            vec![
                write(0, Some(1), Some(1)),
                swap(2, None, Some(1), Some(2)),
                read(3, 4, Some(2)),
                read(5, 6, Some(1)),
            ],
        ];
        for (at, operations) in wrong.into_iter().enumerate() {
            assert!(!judged(operations), "history {at}");
        }
    }

    /// A right history of many clients, and what becomes of it when one answer is changed.
    #[test]
    fn one_changed_answer_in_a_long_history_is_found() {
        use crate::sim::runtime::Chance;
        Chance::seed(5);
        let (mut value, mut operations) = (None, Vec::new());
        for n in 0..300 {
            // Each happens at 10 n; calls and returns reach up to three neighbours far.
            let called = (10 * n + 40_u64).saturating_sub(Chance::below(30));
            let returned = 10 * n + 41 + Chance::below(30);
            operations.push(match Chance::below(3) {
                0 => {
                    value = Some(n);
                    write(called, Some(returned), value)
                }
                1 => {
                    let before = value;
                    value = Some(n);
                    swap(called, Some(returned), before, value)
                }
                _ => read(called, returned, value),
            });
        }
        assert!(judged(operations.clone()));
        let reads = operations.iter().enumerate();
        let reads: Vec<usize> = reads
            .filter(|(_, operation)| matches!(operation.deed, Deed::Read { .. }))
            .map(|(at, _)| at)
            .collect();
        for at in reads {
            let mut bad = operations.clone();
            // What was written long before, or will be long after.
            let far = if at > 150 { 0 } else { 299 };
            let written = |operation: &Operation| match operation.deed {
                Deed::Write { value, .. } => value,
                _ => None,
            };
            let other = operations[far..]
                .iter()
                .chain(&operations[..100])
                .find_map(written);
            bad[at].deed = Deed::Read { saw: other };
            if other != operations[at].deed.saw() {
                assert!(!judged(bad), "read {at}");
            }
        }
    }
}
