//! The top level of a file, and what is declared there beside services.

use crate::short;
use crate::spec::service::SERVICE;
use crate::spec::{Bare, Field, Shape, key, text_of};

/// A whole file.
pub(crate) static ROOT: Shape = Shape::Object(TOP);

static TOP: &[Field] = &[
    key("version", Shape::Scalar),
    key("name", Shape::Text),
    key("include", Shape::List(&INCLUDE)),
    key("services", Shape::Named(&SERVICE)),
    key("networks", Shape::Named(&NETWORK)),
    key("volumes", Shape::Named(&VOLUME)),
    key("secrets", Shape::Named(&SECRET)),
    key("configs", Shape::Named(&CONFIG)),
    key("models", Shape::Named(&MODEL)),
];

// Its paths are resolved by `include.rs`, which knows what they are relative to.
static INCLUDE: Shape = Shape::Short(short::include, &Shape::Object(INCLUDE_FIELDS));
static INCLUDE_FIELDS: &[Field] = &[
    key("path", Shape::Texts),
    key("env_file", Shape::Texts),
    key("project_directory", Shape::Text),
];

static NETWORK: Shape = Shape::Then(&Shape::Object(NETWORK_FIELDS), short::external);
static NETWORK_FIELDS: &[Field] = &[
    key("name", Shape::Text),
    key("driver", Shape::Text),
    key("driver_opts", Shape::Dict(&Shape::Scalar)),
    key("ipam", Shape::Object(IPAM)),
    key("external", EXTERNAL),
    key("internal", Shape::Bool),
    key("enable_ipv4", Shape::Bool),
    key("enable_ipv6", Shape::Bool),
    key("attachable", Shape::Bool),
    key("labels", Shape::Pairs(Bare::Empty)),
];
static IPAM: &[Field] = &[
    key("driver", Shape::Text),
    key("config", Shape::List(&Shape::Object(IPAM_POOL))).keyed(subnet),
    key("options", Shape::Dict(&Shape::Scalar)).ignored("orc's address plan has no options"),
];
static IPAM_POOL: &[Field] = &[
    key("subnet", Shape::Text),
    key("ip_range", Shape::Text),
    key("gateway", Shape::Text),
    key("aux_addresses", Shape::Dict(&Shape::Text)),
];

static VOLUME: Shape = Shape::Then(&Shape::Object(VOLUME_FIELDS), short::top_volume);
static VOLUME_FIELDS: &[Field] = &[
    key("name", Shape::Text),
    key("driver", Shape::Text),
    key("driver_opts", Shape::Dict(&Shape::Scalar)),
    key("external", EXTERNAL),
    key("labels", Shape::Pairs(Bare::Empty)),
];

static SECRET: Shape = Shape::Then(&Shape::Object(SECRET_FIELDS), short::external);
static SECRET_FIELDS: &[Field] = &[
    key("name", Shape::Text),
    key("environment", Shape::Text),
    key("file", Shape::Path),
    key("external", EXTERNAL),
    key("labels", Shape::Pairs(Bare::Empty)),
    key("driver", Shape::Text),
    key("driver_opts", Shape::Dict(&Shape::Scalar)),
    key("template_driver", Shape::Text),
];

static CONFIG: Shape = Shape::Then(&Shape::Object(CONFIG_FIELDS), short::external);
static CONFIG_FIELDS: &[Field] = &[
    key("name", Shape::Text),
    key("content", Shape::Text),
    key("environment", Shape::Text),
    key("file", Shape::Path),
    key("external", EXTERNAL),
    key("labels", Shape::Pairs(Bare::Empty)),
    key("template_driver", Shape::Text),
];

static MODEL: Shape = Shape::Object(&[
    key("name", Shape::Text),
    key("model", Shape::Text),
    key("context_size", Shape::Int),
    key("runtime_flags", Shape::List(&Shape::Text)),
]);

/// `true`, or the older `{name: …}`, which `short::external` moves away.
const EXTERNAL: Shape = Shape::Any;

fn subnet(node: &crate::node::Node) -> String {
    text_of(node, "subnet")
}
