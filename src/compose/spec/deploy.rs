//! The keys of `deploy`. What only a cluster can do is said and ignored on one machine.

use crate::short;
use crate::spec::{Bare, Field, Shape, key};

/// `deploy`.
pub(crate) const DEPLOY: Shape = Shape::Object(FIELDS);

/// Why device requests are refused, and what to do instead.
pub(crate) const NO_GPUS: &str = "orc hands out no devices by driver and count: name the device nodes by `devices` (such as /dev/dri or /dev/nvidia0), and mount the libraries that go with them";

const CLUSTER: &str = "it means something on a cluster only";

static FIELDS: &[Field] = &[
    key("mode", Shape::Text),
    key("endpoint_mode", Shape::Text),
    key("replicas", Shape::Int),
    key("labels", Shape::Pairs(Bare::Empty)).ignored(CLUSTER),
    key("placement", Shape::Object(PLACEMENT)).ignored(CLUSTER),
    key("resources", Shape::Object(RESOURCES)),
    key("restart_policy", Shape::Object(RESTART)),
    key("update_config", Shape::Object(UPDATE)),
    key("rollback_config", Shape::Object(UPDATE)),
];

static PLACEMENT: &[Field] = &[
    key("constraints", Shape::List(&Shape::Text)),
    key(
        "preferences",
        Shape::List(&Shape::Object(&[key("spread", Shape::Text)])),
    ),
    key("max_replicas_per_node", Shape::Int),
];

static RESOURCES: &[Field] = &[
    key("limits", Shape::Object(LIMITS)),
    key("reservations", Shape::Object(RESERVATIONS)),
];
static LIMITS: &[Field] = &[
    key("cpus", Shape::Float),
    key("memory", Shape::Bytes),
    key("pids", Shape::Int),
];
static RESERVATIONS: &[Field] = &[
    key("cpus", Shape::Float).ignored(CLUSTER),
    key("memory", Shape::Bytes),
    key("pids", Shape::Int).ignored(CLUSTER),
    key("generic_resources", Shape::List(&Shape::Object(GENERIC))).ignored(CLUSTER),
    key("devices", DEVICE_REQUESTS).refused(NO_GPUS),
];
static GENERIC: &[Field] = &[key(
    "discrete_resource_spec",
    Shape::Object(&[key("kind", Shape::Text), key("value", Shape::Float)]),
)];

/// What `gpus` and `reservations.devices` list.
pub(crate) const DEVICE_REQUESTS: Shape = Shape::List(&DEVICE_REQUEST);
static DEVICE_REQUEST: Shape = Shape::Then(
    &Shape::Object(&[
        key("capabilities", Shape::List(&Shape::Text)),
        key("count", Shape::Scalar),
        key("device_ids", Shape::List(&Shape::Text)),
        key("driver", Shape::Text),
        key("options", Shape::Pairs(Bare::Empty)),
    ]),
    short::device_request,
);

static RESTART: &[Field] = &[
    key("condition", Shape::Text),
    key("delay", Shape::Duration),
    key("max_attempts", Shape::Int),
    key("window", Shape::Duration),
];

static UPDATE: &[Field] = &[
    key("parallelism", Shape::Int),
    key("delay", Shape::Duration),
    key("failure_action", Shape::Text),
    key("monitor", Shape::Duration),
    key("max_failure_ratio", Shape::Float),
    key("order", Shape::Word(&["start-first", "stop-first"])),
];
