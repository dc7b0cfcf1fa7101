//! A job and its pods as they stand.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use orc_base::Time;

use crate::control::conditions::Conditions;
use crate::control::pods;
use crate::object::Facts;
use crate::reference::Ref;
use crate::world::World;

/// What keeps a pod until it is counted.
pub(crate) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The first wait after a failure; it doubles with each.
const BACKOFF: Duration = Duration::from_secs(10);
const MAX_BACKOFF: Duration = Duration::from_secs(600);

/// A job, and its pods as they stand.
pub(crate) struct View<'w> {
    pub(crate) me: &'w Ref,
    pub(crate) job: &'w Job,
    pub(crate) spec: &'w JobSpec,
    pub(crate) status: JobStatus,
    pub(crate) now: Time,
    /// Those that run or will run.
    pub(crate) active: Vec<&'w Arc<Pod>>,
    /// Ended, or on their way out, and still to be counted.
    pub(crate) uncounted: Vec<&'w Arc<Pod>>,
    /// On their way out.
    pub(crate) leaving: usize,
    /// When the last one failed.
    pub(crate) last_failure: Option<Time>,
}

impl<'w> View<'w> {
    pub(crate) fn new(
        world: &'w World,
        me: &'w Ref,
        job: &'w Job,
        spec: &'w JobSpec,
        now: Time,
    ) -> Self {
        let own = world.dependents(job.uid());
        let own = own.filter_map(|target| world.pods.get(&target.namespace, &target.name));
        let own: Vec<_> = own.filter(|pod| pod.is_governed_by(job.uid())).collect();
        let failed = own.iter().filter(|pod| pods::phase(pod) == "Failed");
        Self {
            me,
            job,
            spec,
            status: job.status.clone().unwrap_or_default(),
            now,
            active: own
                .iter()
                .copied()
                .filter(|pod| pods::is_active(pod))
                .collect(),
            uncounted: own
                .iter()
                .copied()
                .filter(|pod| !pods::is_active(pod) && pod.has_finalizer(TRACKING))
                .collect(),
            leaving: own
                .iter()
                .filter(|p| p.is_leaving() && !pods::has_ended(p))
                .count(),
            last_failure: failed.map(|pod| pods::ended_at(pod)).max(),
        }
    }

    pub(crate) fn conditions(&self) -> Conditions {
        Conditions::of(self.status.conditions.as_ref())
    }

    pub(crate) fn is_finished(&self) -> bool {
        let conditions = self.conditions();
        conditions.is_true("Complete") || conditions.is_true("Failed")
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    pub(crate) fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    /// When the next pod may be made after a failure.
    pub(crate) fn next_try(&self, failed: i32) -> Option<Time> {
        let doubled = u32::try_from(failed - 1).unwrap_or(0).min(16);
        let wait = BACKOFF.saturating_mul(1 << doubled).min(MAX_BACKOFF);
        self.last_failure
            .map(|at| at.plus(wait))
            .filter(|_| failed > 0)
    }
}
