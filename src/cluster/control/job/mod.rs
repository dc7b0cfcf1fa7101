//! Jobs: pods that run until enough of them have succeeded.
//!
//! A finalizer keeps an ended pod until it is counted, and counting it and letting it go are one
//! transaction with the job's status: no pod counts twice, and none is lost when someone deletes it.
//!
//! ```text
//! waiting ─start─▶ running ─enough succeeded─▶ Complete ─ttl─▶ gone
//!                     └─too many failed, too long─▶ Failed ─ttl─▶ gone
//! ```

mod count;
mod indexes;
mod make;
mod view;

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use orc_base::Time;
use serde_json::{Value, json};

use crate::control::conditions::{Conditions, Says, difference};
use crate::control::job::view::{TRACKING, View};
use crate::control::replica_set::owners_of;
use crate::control::{Rule, pods};
use crate::object::{Facts, from_kube, to_kube};
use crate::operation::{Decision, Deed, Dependents, Guard, Operation};
use crate::reference::{Kind, Ref};
use crate::world::{Change, World};

/// The rule.
#[derive(Debug, Default)]
pub struct Jobs;

impl Rule for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn concerns(&self, _: &World, change: &Change) -> Vec<Ref> {
        let kind = Kind::of::<Job>();
        match change.target.kind {
            own if own == kind => vec![change.target.clone()],
            pod if pod == Kind::of::<Pod>() => owners_of(change, kind),
            _ => Vec::new(),
        }
    }

    fn decide(&self, world: &World, me: &Ref, now: Time) -> Decision {
        let mut decision = Decision::default();
        let job = world.jobs.get(&me.namespace, &me.name);
        let uid = job.map(|job| job.uid());
        count::let_orphans_go(world, me, uid, &mut decision);
        let Some((job, spec)) = job.and_then(|job| Some((job, job.spec.as_ref()?))) else {
            return decision;
        };
        let view = View::new(world, me, job, spec, now);
        if job.is_leaving() {
            view.let_all_go(&mut decision);
        } else if view.is_finished() {
            view.clear_up(&mut decision);
        } else {
            view.advance(world, &mut decision);
        }
        decision
    }
}

/// How a job ends.
struct End {
    kind: &'static str,
    before: &'static str,
    reason: &'static str,
    message: String,
}

impl View<'_> {
    /// Counts, and then makes or deletes pods, or ends.
    fn advance(&self, world: &World, decision: &mut Decision) {
        let tally = count::Tally::of(self);
        if !self.uncounted.is_empty() {
            self.count(&tally, decision);
            return;
        }
        if let Some(end) = self.end(&tally, decision) {
            self.finish(&tally, &end, decision);
            return;
        }
        make::adjust(world, self, &tally, decision);
        self.report(&tally, None, decision);
    }

    /// Writes the count, and lets the counted pods go, at once.
    fn count(&self, tally: &count::Tally, decision: &mut Decision) {
        let status = self.status_of(tally, None);
        let mut deeds = Vec::new();
        if let Some(status) = difference(&self.status, status) {
            deeds.push(Deed::status(self.me.clone(), self.job, status));
        }
        deeds.extend(tally.counted.iter().map(|pod| count::let_go(pod)));
        decision.operations.push(Operation {
            deeds,
            cause: format!("{} pods have ended", tally.counted.len()),
            note: None,
        });
    }

    /// Why the job is over, if it is.
    fn end(&self, tally: &count::Tally, decision: &mut Decision) -> Option<End> {
        if let Some(field) = self.unsupported() {
            return Some(End::failed(
                "UnsupportedField",
                format!("orc does not do spec.{field} of jobs"),
            ));
        }
        let limit = self.spec.backoff_limit.unwrap_or(6);
        let restarts: i32 = self.active.iter().map(|pod| pods::restarts(pod)).sum();
        let template = self.spec.template.spec.as_ref();
        let in_place = template.and_then(|s| s.restart_policy.as_deref()) == Some("OnFailure");
        if tally.failed > limit || in_place && restarts > 0 && restarts + tally.failed > limit {
            let message = "Job has reached the specified backoff limit".to_owned();
            return Some(End::failed("BackoffLimitExceeded", message));
        }
        if let (Some(allowed), Some(start)) = (
            self.spec.active_deadline_seconds,
            self.status.start_time.as_ref(),
        ) && !self.is_suspended()
        {
            let allowed = Duration::from_secs(u64::try_from(allowed).unwrap_or(0));
            let end = from_kube(start).plus(allowed);
            if self.now >= end {
                let message = "Job was active longer than specified deadline".to_owned();
                return Some(End::failed("DeadlineExceeded", message));
            }
            decision.look_again(end);
        }
        let enough = match self.spec.completions {
            Some(completions) => tally.succeeded >= completions,
            None => tally.succeeded > 0 && self.active.is_empty(),
        };
        enough.then(|| End {
            kind: "Complete",
            before: "SuccessCriteriaMet",
            reason: "CompletionsReached",
            message: "Reached expected number of succeeded pods".to_owned(),
        })
    }

    /// Ends what still runs; says so when nothing does.
    fn finish(&self, tally: &count::Tally, end: &End, decision: &mut Decision) {
        for pod in &self.active {
            count::give_up(pod, end.reason, decision);
        }
        if decision.operations.is_empty() {
            self.report(tally, Some(end), decision);
        }
    }

    /// After the end: nothing is kept back, and the job goes when its time has come.
    fn clear_up(&self, decision: &mut Decision) {
        self.let_all_go(decision);
        let Some(ttl) = self.spec.ttl_seconds_after_finished else {
            return;
        };
        let ttl = Duration::from_secs(u64::try_from(ttl).unwrap_or(0));
        let gone = self.finished_at().plus(ttl);
        if self.now < gone {
            decision.look_again(gone);
            return;
        }
        let deed = Deed::Delete {
            target: self.me.clone(),
            guard: Guard::unchanged(self.job),
            grace_s: None,
            dependents: Dependents::Foreground,
            gone: Vec::new(),
        };
        decision.push(deed, "ttlSecondsAfterFinished is over");
    }

    fn finished_at(&self) -> Time {
        let conditions = self.status.conditions.iter().flatten();
        let ends = conditions
            .filter(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
            .filter_map(|c| c.last_transition_time.as_ref().map(from_kube));
        ends.max().unwrap_or(self.now)
    }

    fn let_all_go(&self, decision: &mut Decision) {
        let kept = self.active.iter().chain(&self.uncounted);
        for pod in kept.filter(|pod| pod.has_finalizer(TRACKING)) {
            decision.push(count::let_go(pod), "its job is over");
        }
    }

    fn report(&self, tally: &count::Tally, end: Option<&End>, decision: &mut Decision) {
        if let Some(status) = difference(&self.status, self.status_of(tally, end)) {
            let deed = Deed::status(self.me.clone(), self.job, status);
            let cause = end.map_or("its pods changed", |end| end.reason);
            decision.push(deed, cause);
        }
    }

    fn status_of(&self, tally: &count::Tally, end: Option<&End>) -> Value {
        let mut conditions = self.conditions();
        self.say_suspended(&mut conditions);
        if let Some(end) = end {
            for kind in [end.before, end.kind] {
                let (reason, message) = (end.reason, end.message.as_str());
                conditions.set(
                    Says {
                        kind,
                        status: "True",
                        reason,
                        message,
                    },
                    self.now,
                );
            }
        }
        let start = match (&self.status.start_time, self.is_suspended()) {
            (_, true) => Value::Null,
            (Some(start), false) => json!(start),
            (None, false) => json!(to_kube(self.now)),
        };
        let done = end.is_some_and(|end| end.kind == "Complete");
        json!({
            "startTime": start,
            "completionTime": if done { json!(to_kube(self.now)) } else { Value::Null },
            "active": self.active.len(),
            "ready": self.active.iter().filter(|pod| pods::is_ready(pod)).count(),
            "terminating": self.leaving,
            "succeeded": tally.succeeded,
            "failed": tally.failed,
            "completedIndexes": match tally.done.is_empty() {
                true => Value::Null,
                false => json!(indexes::write(&tally.done)),
            },
            "conditions": conditions.to_json(),
        })
    }

    fn say_suspended(&self, conditions: &mut Conditions) {
        let kind = "Suspended";
        let was = conditions.is_true(kind);
        let (status, reason, message) = match self.is_suspended() {
            true => ("True", "JobSuspended", "Job suspended"),
            false if was => ("False", "JobResumed", "Job resumed"),
            false => return,
        };
        conditions.set(
            Says {
                kind,
                status,
                reason,
                message,
            },
            self.now,
        );
    }

    /// A field of the spec that would change the outcome, and that this rule does not know.
    fn unsupported(&self) -> Option<&'static str> {
        let spec = self.spec;
        [
            (
                "backoffLimitPerIndex",
                spec.backoff_limit_per_index.is_some(),
            ),
            ("maxFailedIndexes", spec.max_failed_indexes.is_some()),
            ("podFailurePolicy", spec.pod_failure_policy.is_some()),
            ("successPolicy", spec.success_policy.is_some()),
        ]
        .into_iter()
        .find_map(|(field, set)| set.then_some(field))
    }
}

impl End {
    fn failed(reason: &'static str, message: String) -> Self {
        Self {
            kind: "Failed",
            before: "FailureTarget",
            reason,
            message,
        }
    }
}
