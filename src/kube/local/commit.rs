//! Makes planned writes in one transaction, and again when another write came between.

use orc_store::{Change, Revision, Store, Transaction, Verdict};

use crate::local::plan::{Plan, Planner, taken};
use crate::object::Object;
use crate::objects::{Refused, Write};
use crate::status::{Reason, Status};

/// How often a write that others come before is planned again.
const ATTEMPTS: usize = 32;
/// How often a made name is made anew.
const NAMES: usize = 8;

/// Makes all writes or none; what they came to, in their order.
pub(crate) async fn commit(planner: &Planner<'_>, writes: &[Write]) -> Result<Vec<Plan>, Refused> {
    let mut names = NAMES;
    for _ in 0..ATTEMPTS {
        let mut plans = Vec::with_capacity(writes.len());
        for (index, write) in writes.iter().enumerate() {
            let plan = planner.plan(write).await;
            plans.push(plan.map_err(|status| at(index, status))?);
        }
        let changes: usize = plans.iter().map(|plan| plan.changes.len()).sum();
        if planner.options.dry_run || changes == 0 {
            return Ok(plans);
        }
        let transaction = Transaction {
            guards: plans.iter().flat_map(|plan| plan.guards.clone()).collect(),
            changes: plans.iter().flat_map(|plan| plan.changes.clone()).collect(),
        };
        match made(planner.store, transaction).await? {
            Verdict::Made { revision } => return Ok(versioned(plans, revision, changes)),
            Verdict::Refused { guard, .. } => {
                let refused = refused(&plans, writes, guard);
                if let Some(refused) = refused {
                    names = match writes[refused.index.unwrap_or_default()].makes_a_name() {
                        true if names > 0 => names - 1,
                        _ => return Err(refused),
                    };
                }
            }
        }
        tokio::task::yield_now().await;
    }
    Err(Refused {
        index: None,
        status: Status::new(
            Reason::Conflict,
            "other writes came first again and again; try later",
        ),
    })
}

fn at(index: usize, status: Status) -> Refused {
    Refused {
        index: Some(index),
        status,
    }
}

async fn made(store: &dyn Store, transaction: Transaction) -> Result<Verdict, Refused> {
    store.commit(transaction).await.map_err(|error| Refused {
        index: None,
        status: error.into(),
    })
}

/// The refusal that another plan cannot change: the name of a new object is taken.
fn refused(plans: &[Plan], writes: &[Write], guard: usize) -> Option<Refused> {
    let mut before = 0;
    for (index, plan) in plans.iter().enumerate() {
        if guard < before + plan.guards.len() {
            let first = guard == before;
            taken(&plan.guards[guard - before]).filter(|_| first && plan.created)?;
            let Write::Create { scope, .. } = &writes[index] else {
                return None;
            };
            let status = Status::already_exists(scope.kind, plan.object.name());
            return Some(at(index, status));
        }
        before += plan.guards.len();
    }
    None
}

/// Tells every written object its version: each change has one of its own, the last is `revision`.
fn versioned(mut plans: Vec<Plan>, revision: Revision, changes: usize) -> Vec<Plan> {
    let mut next = Revision(revision.0 - (changes as u64 - 1));
    for plan in &mut plans {
        let written = matches!(
            plan.changes.first(),
            Some(Change::Put(..) | Change::Remove(_))
        );
        if written {
            set_version(&mut plan.object, next);
        }
        next.0 += plan.changes.len() as u64;
    }
    plans
}

fn set_version(object: &mut Object, revision: Revision) {
    object.set(&["metadata", "resourceVersion"], revision.to_string());
}

impl Write {
    fn makes_a_name(&self) -> bool {
        matches!(self, Self::Create { object, .. } if object.name().is_empty())
    }
}
