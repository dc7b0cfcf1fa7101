//! How large each replica set of a deployment should be, one step at a time.
//!
//! What always holds during a rolling update: all sets together want no more than `replicas + maxSurge`,
//! and no set gets smaller while fewer than `replicas - maxUnavailable` pods are available.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::json;

use crate::control::deployment::sets::{DESIRED, Family, MAX, number};
use crate::control::replica_set::wanted;
use crate::object::Facts;
use crate::operation::{Decision, Deed};
use crate::reference::Ref;
use crate::world::World;

/// A rolling update: the new set grows as far as it may, then the old ones shrink as far as they may.
pub(crate) fn roll(world: &World, family: &Family<'_>, decision: &mut Decision) {
    let (surge, _) = family.bounds();
    let all: i32 = family.all().map(|set| wanted(set)).sum();
    let room = (family.wanted() + surge - all).max(0);
    let Some(new) = family.new else {
        family.create_new(world, room.min(family.wanted()), decision);
        return;
    };
    let size = wanted(new);
    let next = match size > family.wanted() {
        true => family.wanted(),
        false => size + room.min(family.wanted() - size),
    };
    resize(family, new, next, decision);
    if decision.operations.is_empty() {
        shrink_old(family, new, decision);
    }
}

/// Ends all old pods before the new set starts any.
pub(crate) fn recreate(
    world: &World,
    family: &Family<'_>,
    wait_for_pods: bool,
    decision: &mut Decision,
) {
    for set in &family.old {
        resize(family, set, 0, decision);
    }
    if !decision.operations.is_empty() || wait_for_pods {
        return;
    }
    match family.new {
        Some(new) => resize(family, new, family.wanted(), decision),
        None => family.create_new(world, family.wanted(), decision),
    }
}

/// The number of replicas changed, or the rollout is paused: what runs is scaled in proportion, and
/// nothing is rolled out.
pub(crate) fn follow_size(family: &Family<'_>, decision: &mut Decision) {
    let mut active = family.all().filter(|set| wanted(set) > 0);
    if let (only, None) = (active.next(), active.next()) {
        if let Some(set) = only.or(family.new) {
            resize(family, set, family.wanted(), decision);
        }
    } else if let Some(new) = family.new.filter(|new| is_saturated(family, new)) {
        for set in &family.old {
            resize(family, set, 0, decision);
        }
        resize(family, new, family.wanted(), decision);
    } else if !family.recreates() {
        in_proportion(family, decision);
    }
}

/// What counts as available of a set: no more than it still wants, since what it shrinks by will go.
fn available(set: &ReplicaSet) -> i32 {
    let status = set.status.as_ref();
    let available = status.and_then(|s| s.available_replicas).unwrap_or(0);
    available.min(wanted(set))
}

fn shrink_old(family: &Family<'_>, new: &ReplicaSet, decision: &mut Decision) {
    let least = family.wanted() - family.bounds().1;
    let all: i32 = family.all().map(|set| wanted(set)).sum();
    let coming = wanted(new) - available(new);
    let mut room = all - least - coming;
    let mut left: Vec<(&Arc<ReplicaSet>, i32)> =
        family.old.iter().map(|set| (*set, wanted(set))).collect();
    // First what does not work anyway.
    for (set, size) in &mut left {
        let broken = (*size - available(set)).min(room).max(0);
        *size -= broken;
        room -= broken;
    }
    // Then what does, as far as enough others do.
    let working: i32 = family.all().map(|set| available(set)).sum();
    let mut spare = (working - least).min(room).max(0);
    for (_, size) in &mut left {
        let less = (*size).min(spare);
        *size -= less;
        spare -= less;
    }
    for (set, size) in left {
        resize(family, set, size, decision);
    }
}

/// Whether the new set is as large as wanted and works.
fn is_saturated(family: &Family<'_>, new: &ReplicaSet) -> bool {
    let desired = number(new.annotations(), DESIRED);
    wanted(new) == family.wanted()
        && desired == Some(family.wanted())
        && available(new) == family.wanted()
}

/// Spreads the difference over all active sets by their size; what does not divide goes to the first.
fn in_proportion(family: &Family<'_>, decision: &mut Decision) {
    let mut sets: Vec<_> = family.all().filter(|set| wanted(set) > 0).collect();
    let most = match family.wanted() {
        0 => 0,
        wanted => wanted + family.bounds().0,
    };
    let all: i32 = sets.iter().map(|set| wanted(set)).sum();
    let missing = most - all;
    sets.sort_by_key(|set| std::cmp::Reverse((wanted(set), set.created())));
    if missing < 0 {
        sets.sort_by_key(|set| (std::cmp::Reverse(wanted(set)), set.created()));
    }
    let mut given = 0;
    let mut sizes = Vec::new();
    for set in &sets {
        let before = number(set.annotations(), MAX)
            .filter(|max| *max > 0)
            .unwrap_or(all);
        let share = f64::from(wanted(set)) * f64::from(most) / f64::from(before.max(1));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounded, and no more than i32 holds"
        )]
        let share = share.round() as i32 - wanted(set);
        let left = missing - given;
        let share = match missing > 0 {
            true => share.clamp(0, left),
            false => share.clamp(left, 0),
        };
        given += share;
        sizes.push(wanted(set) + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + missing - given).max(0);
    }
    for (set, size) in sets.into_iter().zip(sizes) {
        resize(family, set, size, decision);
    }
}

/// Gives a set its size, and what it says of the size of the whole.
fn resize(family: &Family<'_>, set: &Arc<ReplicaSet>, size: i32, decision: &mut Decision) {
    let before = wanted(set);
    let annotations = family.size_annotations();
    let told = annotations
        .iter()
        .all(|(key, value)| set.annotations().get(key) == Some(value));
    if before == size && (told || size == 0) {
        return;
    }
    let target = Ref::to::<ReplicaSet>(set.namespace(), set.name());
    let told: serde_json::Map<_, _> = annotations
        .into_iter()
        .map(|(key, value)| (key, json!(value)))
        .collect();
    if before == size {
        let patch = json!({ "metadata": { "annotations": told } });
        decision.push(
            Deed::patch(target, &**set, patch),
            "the size of the whole changed",
        );
        return;
    }
    let patch = json!({ "metadata": { "annotations": told }, "spec": { "replicas": size } });
    let way = if size > before { "up" } else { "down" };
    let text = format!(
        "Scaled {way} replica set {} from {before} to {size}",
        set.name()
    );
    let cause = format!("from {before} to {size} of {}", family.wanted());
    decision.push_noted(Deed::patch(target, &**set, patch), cause, family.note(text));
}
