//! Amounts of what nodes have and pods ask for.
//!
//! Processors in thousandths, memory and disk in bytes, all else as counts by name. Sums stop at the
//! largest number instead of wrapping.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// An amount of each resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of local disk (`ephemeral-storage`).
    pub disk_bytes: i64,
    /// Everything else by its name, such as `example.com/gpu`.
    pub others: BTreeMap<String, i64>,
}

impl Resources {
    /// What a map of Kubernetes' quantities says. `pods` is counted elsewhere.
    pub(crate) fn read(map: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut all = Self::default();
        for (name, quantity) in map.into_iter().flatten() {
            // What is no quantity counts as nothing: the API server has refused it before.
            let quantity: Option<orc_kube::Quantity> = quantity.0.parse().ok();
            let units = || quantity.map_or(0, orc_kube::Quantity::value).max(0);
            match name.as_str() {
                "cpu" => {
                    all.cpu_milli = quantity.map_or(0, orc_kube::Quantity::millis).max(0);
                }
                "memory" => all.memory_bytes = units(),
                "ephemeral-storage" => all.disk_bytes = units(),
                "pods" => {}
                _ => {
                    all.others.insert(name.clone(), units());
                }
            }
        }
        all
    }

    /// What a pod asks for: its containers together, or its largest step of initialisation, whichever
    /// is more, and its overhead. Init containers that restart run beside all that follow them.
    pub(crate) fn of_pod(spec: &PodSpec) -> Self {
        let mut beside = Self::default();
        let mut peak = Self::default();
        for container in spec.init_containers.iter().flatten() {
            let asked = Self::of_container(container);
            if container.restart_policy.as_deref() == Some("Always") {
                beside.add(&asked);
                peak.raise(&beside);
            } else {
                let mut step = beside.clone();
                step.add(&asked);
                peak.raise(&step);
            }
        }
        for container in &spec.containers {
            beside.add(&Self::of_container(container));
        }
        beside.raise(&peak);
        beside.add(&Self::read(spec.overhead.as_ref()));
        beside
    }

    /// What one container asks for: its requests, and its limit where it has no request.
    fn of_container(container: &Container) -> Self {
        let asked = container.resources.as_ref();
        let mut all = Self::read(asked.and_then(|asked| asked.limits.as_ref()));
        let requests = asked.and_then(|asked| asked.requests.as_ref());
        let exact = Self::read(requests);
        for name in requests.into_iter().flat_map(BTreeMap::keys) {
            match name.as_str() {
                "cpu" => all.cpu_milli = exact.cpu_milli,
                "memory" => all.memory_bytes = exact.memory_bytes,
                "ephemeral-storage" => all.disk_bytes = exact.disk_bytes,
                other => {
                    let amount = exact.others.get(other).copied().unwrap_or(0);
                    all.others.insert(other.to_owned(), amount);
                }
            }
        }
        all
    }

    /// Adds another amount.
    pub(crate) fn add(&mut self, more: &Self) {
        self.combine(more, i64::saturating_add);
    }

    /// Takes an amount away.
    pub(crate) fn subtract(&mut self, less: &Self) {
        self.combine(less, i64::saturating_sub);
    }

    /// Raises each amount to at least the other's.
    fn raise(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, by: fn(i64, i64) -> i64) {
        self.cpu_milli = by(self.cpu_milli, other.cpu_milli);
        self.memory_bytes = by(self.memory_bytes, other.memory_bytes);
        self.disk_bytes = by(self.disk_bytes, other.disk_bytes);
        for (name, amount) in &other.others {
            let own = self.others.entry(name.clone()).or_default();
            *own = by(*own, *amount);
        }
    }
}
