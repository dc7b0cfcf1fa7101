//! How lists and maps of the API are merged: facts of the API that `k8s_openapi`'s schemas do not carry.
//!
//! The published OpenAPI says them as `x-kubernetes-list-type`, `-list-map-keys`, `-map-type`,
//! `-patch-strategy` and `-patch-merge-key`. A list without a row is replaced as a whole, a map without a
//! row is merged key by key.

/// One fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRule {
    /// Of which definition.
    pub definition: &'static str,
    /// Of which field; empty for the definition itself.
    pub field: &'static str,
    /// How server-side apply sees it: `atomic`, `set`, or the fields that are the key of an item.
    pub apply: &'static str,
    /// How a strategic merge patch sees it: empty for replaced, `set`, or the one field that is the key.
    pub patch: &'static str,
    /// Whether a strategic merge patch may say which keys stay (`retainKeys`).
    pub retain_keys: bool,
}

const fn row(
    definition: &'static str,
    field: &'static str,
    apply: &'static str,
    patch: &'static str,
) -> ListRule {
    ListRule {
        definition,
        field,
        apply,
        patch,
        retain_keys: false,
    }
}

const fn retaining(
    definition: &'static str,
    field: &'static str,
    apply: &'static str,
    patch: &'static str,
) -> ListRule {
    ListRule {
        retain_keys: true,
        ..row(definition, field, apply, patch)
    }
}

const CONTAINER: &str = "io.k8s.api.core.v1.Container";
const EPHEMERAL: &str = "io.k8s.api.core.v1.EphemeralContainer";
const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";
const POD_STATUS: &str = "io.k8s.api.core.v1.PodStatus";
const NODE_STATUS: &str = "io.k8s.api.core.v1.NodeStatus";
const SERVICE_SPEC: &str = "io.k8s.api.core.v1.ServiceSpec";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const SELECTOR: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector";

const RULES: &[ListRule] = &[
    row(META, "finalizers", "set", "set"),
    row(META, "ownerReferences", "uid", "uid"),
    row(SELECTOR, "", "atomic", ""),
    row(
        "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
        "",
        "atomic",
        "",
    ),
    row(CONTAINER, "env", "name", "name"),
    row(
        CONTAINER,
        "ports",
        "containerPort,protocol",
        "containerPort",
    ),
    row(CONTAINER, "volumeDevices", "devicePath", "devicePath"),
    row(CONTAINER, "volumeMounts", "mountPath", "mountPath"),
    row(EPHEMERAL, "env", "name", "name"),
    row(
        EPHEMERAL,
        "ports",
        "containerPort,protocol",
        "containerPort",
    ),
    row(EPHEMERAL, "volumeDevices", "devicePath", "devicePath"),
    row(EPHEMERAL, "volumeMounts", "mountPath", "mountPath"),
    row(
        "io.k8s.api.core.v1.ResourceRequirements",
        "claims",
        "name",
        "",
    ),
    row(
        "io.k8s.api.core.v1.ContainerStatus",
        "allocatedResourcesStatus",
        "name",
        "name",
    ),
    row(
        "io.k8s.api.core.v1.ContainerStatus",
        "volumeMounts",
        "mountPath",
        "mountPath",
    ),
    row(POD_SPEC, "containers", "name", "name"),
    row(POD_SPEC, "initContainers", "name", "name"),
    row(POD_SPEC, "ephemeralContainers", "name", "name"),
    row(POD_SPEC, "hostAliases", "ip", "ip"),
    row(POD_SPEC, "imagePullSecrets", "name", "name"),
    row(POD_SPEC, "nodeSelector", "atomic", ""),
    retaining(POD_SPEC, "resourceClaims", "name", "name"),
    row(POD_SPEC, "schedulingGates", "name", "name"),
    row(
        POD_SPEC,
        "topologySpreadConstraints",
        "topologyKey,whenUnsatisfiable",
        "topologyKey",
    ),
    retaining(POD_SPEC, "volumes", "name", "name"),
    row(POD_STATUS, "conditions", "type", "type"),
    row(POD_STATUS, "hostIPs", "atomic", "ip"),
    row(POD_STATUS, "podIPs", "ip", "ip"),
    retaining(POD_STATUS, "resourceClaimStatuses", "name", "name"),
    row(
        "io.k8s.api.core.v1.NamespaceStatus",
        "conditions",
        "type",
        "type",
    ),
    row("io.k8s.api.core.v1.NodeSpec", "podCIDRs", "set", "set"),
    row(NODE_STATUS, "addresses", "type", "type"),
    row(NODE_STATUS, "conditions", "type", "type"),
    row(SERVICE_SPEC, "ports", "port,protocol", "port"),
    row(SERVICE_SPEC, "selector", "atomic", ""),
    row(
        "io.k8s.api.core.v1.ServiceStatus",
        "conditions",
        "type",
        "type",
    ),
    row(
        "io.k8s.api.core.v1.ServiceAccount",
        "secrets",
        "name",
        "name",
    ),
    row("io.k8s.api.core.v1.ConfigMapKeySelector", "", "atomic", ""),
    row("io.k8s.api.core.v1.EndpointAddress", "", "atomic", ""),
    row("io.k8s.api.core.v1.EndpointPort", "", "atomic", ""),
    row("io.k8s.api.core.v1.LocalObjectReference", "", "atomic", ""),
    row("io.k8s.api.core.v1.NodeSelector", "", "atomic", ""),
    row("io.k8s.api.core.v1.NodeSelectorTerm", "", "atomic", ""),
    row("io.k8s.api.core.v1.ObjectFieldSelector", "", "atomic", ""),
    row("io.k8s.api.core.v1.ObjectReference", "", "atomic", ""),
    row("io.k8s.api.core.v1.ResourceFieldSelector", "", "atomic", ""),
    row("io.k8s.api.core.v1.SecretKeySelector", "", "atomic", ""),
    row(
        "io.k8s.api.core.v1.TypedLocalObjectReference",
        "",
        "atomic",
        "",
    ),
    row(
        "io.k8s.api.apps.v1.DaemonSetStatus",
        "conditions",
        "type",
        "type",
    ),
    row(
        "io.k8s.api.apps.v1.DeploymentStatus",
        "conditions",
        "type",
        "type",
    ),
    row(
        "io.k8s.api.apps.v1.ReplicaSetStatus",
        "conditions",
        "type",
        "type",
    ),
    retaining("io.k8s.api.apps.v1.DeploymentSpec", "strategy", "", ""),
    row(
        "io.k8s.api.batch.v1.JobStatus",
        "conditions",
        "atomic",
        "type",
    ),
    row(
        "io.k8s.api.batch.v1.PodFailurePolicyOnExitCodesRequirement",
        "values",
        "set",
        "",
    ),
    row(
        "io.k8s.api.batch.v1.UncountedTerminatedPods",
        "failed",
        "set",
        "",
    ),
    row(
        "io.k8s.api.batch.v1.UncountedTerminatedPods",
        "succeeded",
        "set",
        "",
    ),
    row("io.k8s.api.discovery.v1.Endpoint", "addresses", "set", ""),
    row("io.k8s.api.discovery.v1.EndpointPort", "", "atomic", ""),
];

/// What the key of an item has where the field is left out.
pub(crate) fn key_default(field: &str) -> Option<&'static str> {
    (field == "protocol").then_some("TCP")
}

/// All facts, for the server's OpenAPI documents.
pub fn list_rules() -> &'static [ListRule] {
    RULES
}

/// The fact about a field, or about a definition when `field` is empty.
pub(crate) fn rule(definition: &str, field: &str) -> Option<&'static ListRule> {
    RULES
        .iter()
        .find(|rule| rule.definition == definition && rule.field == field)
}
