//! Owners: what belongs to a deleted object goes after it, before it, or stays, as its deletion asked.
//!
//! ```text
//! owner gone ───────────────────────────▶ dependent deleted      (background)
//! owner waits with `foregroundDeletion` ─▶ dependents deleted ─▶ finalizer taken ─▶ owner gone
//! owner waits with `orphan` ─────────────▶ references taken ───▶ finalizer taken ─▶ owner gone
//! ```
//!
//! An owner that was not seen may only not have been seen yet: a deletion says which owners must be gone,
//! and whoever carries it out asks for them first. Owners of unknown kinds keep what is theirs.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orc_base::Time;
use serde_json::json;

use crate::control::Rule;
use crate::object::Facts;
use crate::operation::{Decision, Deed, Dependents, Guard};
use crate::reference::Ref;
use crate::world::{Change, Seen, World};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// The rule.
#[derive(Debug, Default)]
pub struct Owners;

impl Rule for Owners {
    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn concerns(&self, world: &World, change: &Change) -> Vec<Ref> {
        let mut found = vec![change.target.clone()];
        let left = |seen: &Arc<Seen>| seen.is_leaving();
        let ends =
            change.after.as_ref().is_none_or(left) || change.before.as_ref().is_some_and(left);
        for seen in change.both() {
            if ends {
                found.extend(world.dependents(seen.uid()).cloned());
            }
            let owners = seen.meta.owner_references.iter().flatten();
            let owners = owners.filter_map(|owner| world.of_uid(&owner.uid));
            found.extend(owners.filter(|owner| waits(world, owner)).cloned());
        }
        found.sort();
        found.dedup();
        found
    }

    fn decide(&self, world: &World, me: &Ref, _: Time) -> Decision {
        let mut decision = Decision::default();
        let Some(seen) = world.seen(me) else {
            return decision;
        };
        if !seen.is_leaving() {
            follow_owners(world, me, seen, &mut decision);
        } else if seen.has_finalizer(ORPHAN) {
            orphan(world, me, seen, &mut decision);
        } else if seen.has_finalizer(FOREGROUND) {
            go_last(world, me, seen, &mut decision);
        }
        decision
    }
}

fn waits(world: &World, target: &Ref) -> bool {
    let seen = world.seen(target);
    seen.is_some_and(|seen| {
        seen.is_leaving() && (seen.has_finalizer(FOREGROUND) || seen.has_finalizer(ORPHAN))
    })
}

/// What an owner is to what names it.
enum Standing {
    Solid,
    Gone(Ref),
    WaitsForMe,
}

fn standing(world: &World, me: &Ref, owner: &OwnerReference) -> Standing {
    let Some((kind, namespaced)) = world.kind(&owner.api_version, &owner.kind) else {
        return Standing::Solid;
    };
    if namespaced && me.namespace.is_empty() {
        return Standing::Solid;
    }
    let namespace = if namespaced {
        me.namespace.clone()
    } else {
        String::new()
    };
    let name = owner.name.clone();
    match world.owner_of(owner, &me.namespace) {
        None => Standing::Gone(Ref {
            kind,
            namespace,
            name,
        }),
        Some(target) => {
            let seen = world.seen(target);
            let waits = seen.is_some_and(|s| s.is_leaving() && s.has_finalizer(FOREGROUND));
            if waits {
                Standing::WaitsForMe
            } else {
                Standing::Solid
            }
        }
    }
}

/// Goes when no owner is left; forgets those that are gone when another stays.
fn follow_owners(world: &World, me: &Ref, seen: &Seen, decision: &mut Decision) {
    let owners: Vec<&OwnerReference> = seen.meta.owner_references.iter().flatten().collect();
    let mut solid = Vec::new();
    let mut gone = Vec::new();
    let mut waiting = false;
    for owner in &owners {
        match standing(world, me, owner) {
            Standing::Solid => solid.push(*owner),
            Standing::Gone(target) => gone.push((target, owner.uid.clone())),
            Standing::WaitsForMe => waiting = true,
        }
    }
    if owners.is_empty() || solid.len() == owners.len() {
        return;
    }
    if !solid.is_empty() {
        let patch = json!({ "metadata": { "ownerReferences": solid } });
        // Which may be wrong of an owner that was not seen yet: that one is asked for, too.
        let deed = Deed::Patch {
            target: me.clone(),
            part: crate::operation::Part::Spec,
            guard: Guard::unchanged(seen),
            patch,
        };
        if gone.is_empty() || waiting {
            decision.push(deed, "another owner stays");
        } else {
            decision.push(
                Deed::Unless {
                    gone,
                    deed: Box::new(deed),
                },
                "another owner stays",
            );
        }
        return;
    }
    let foreground = waiting
        && world
            .dependents(seen.uid())
            .any(|dependent| blocks(world, dependent, seen));
    let cause = match (&gone[..], waiting) {
        (_, true) => "its owner waits for it to go".to_owned(),
        ([(owner, _)], _) => format!("its owner {owner} is gone"),
        _ => "all its owners are gone".to_owned(),
    };
    let deed = Deed::Delete {
        target: me.clone(),
        guard: Guard::same(seen),
        grace_s: None,
        dependents: if foreground {
            Dependents::Foreground
        } else {
            Dependents::Background
        },
        gone,
    };
    decision.push(deed, cause);
}

/// Takes the references to an owner that leaves its dependents behind, then its finalizer.
fn orphan(world: &World, me: &Ref, seen: &Seen, decision: &mut Decision) {
    for target in world.dependents(seen.uid()) {
        let Some(dependent) = world.seen(target) else {
            continue;
        };
        let owners = dependent.meta.owner_references.iter().flatten();
        let others: Vec<_> = owners.filter(|owner| owner.uid != seen.uid()).collect();
        let patch = json!({ "metadata": { "ownerReferences": others } });
        decision.push(
            Deed::patch(target.clone(), &**dependent, patch),
            format!("{me} leaves it behind"),
        );
    }
    if decision.operations.is_empty() {
        take_finalizer(me, seen, ORPHAN, "nothing names it any more", decision);
    }
}

/// Waits for the dependents that hold it back.
fn go_last(world: &World, me: &Ref, seen: &Seen, decision: &mut Decision) {
    let blocking = world
        .dependents(seen.uid())
        .filter(|dependent| blocks(world, dependent, seen));
    let holds = |dependent: &&Ref| !in_circle(world, dependent, me);
    if blocking.filter(holds).count() == 0 {
        take_finalizer(me, seen, FOREGROUND, "nothing holds it back", decision);
    }
}

/// Whether the foreground deletion of `owner` waits for `dependent`.
fn blocks(world: &World, dependent: &Ref, owner: &Seen) -> bool {
    let seen = world.seen(dependent);
    let owners = seen
        .into_iter()
        .flat_map(|seen| seen.meta.owner_references.iter().flatten());
    let mut owners = owners.filter(|reference| reference.uid == owner.uid());
    owners.any(|reference| reference.block_owner_deletion == Some(true))
}

/// Whether `from` itself waits, however far round, for `me`: two that wait for each other never end.
fn in_circle(world: &World, from: &Ref, me: &Ref) -> bool {
    let mut met: BTreeSet<&Ref> = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        if next == me {
            return true;
        }
        let Some(seen) = world.seen(next) else {
            continue;
        };
        if met.insert(next) && seen.is_leaving() && seen.has_finalizer(FOREGROUND) {
            let dependents = world.dependents(seen.uid());
            open.extend(dependents.filter(|dependent| blocks(world, dependent, seen)));
        }
    }
    false
}

fn take_finalizer(me: &Ref, seen: &Seen, name: &str, cause: &str, decision: &mut Decision) {
    let finalizers = seen.meta.finalizers.iter().flatten();
    let rest: Vec<_> = finalizers.filter(|other| *other != name).collect();
    let patch = json!({ "metadata": { "finalizers": rest } });
    decision.push(Deed::patch(me.clone(), seen, patch), cause);
}
