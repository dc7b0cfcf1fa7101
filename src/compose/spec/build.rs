//! The keys of `build`.

use crate::short;
use crate::spec::{Bare, Field, Shape, itself, key};

/// `build`.
pub(crate) static BUILD: Shape = Shape::Object(FIELDS);

static FIELDS: &[Field] = &[
    key(
        "additional_contexts",
        Shape::Then(&Shape::Pairs(Bare::Empty), short::contexts),
    ),
    key("args", Shape::Pairs(Bare::Null)),
    key("cache_from", TEXTS),
    key("cache_to", TEXTS),
    key("context", Shape::PathOrUrl),
    key("dockerfile", Shape::Text),
    key("dockerfile_inline", Shape::Text),
    key("entitlements", TEXTS),
    key("extra_hosts", Shape::Short(short::extra_hosts, &TEXTS)).unique(itself),
    key("isolation", Shape::Text),
    key("labels", Shape::Pairs(Bare::Empty)),
    key("network", Shape::Text),
    key("no_cache", Shape::Bool),
    key("no_cache_filter", Shape::Texts),
    key("platforms", TEXTS).unique(itself),
    key("privileged", Shape::Bool),
    key("provenance", Shape::Scalar),
    key("pull", Shape::Bool),
    key("sbom", Shape::Scalar),
    key("secrets", Shape::List(&SECRET)),
    key("shm_size", Shape::Bytes),
    key("ssh", Shape::Pairs(Bare::Empty)),
    key("tags", TEXTS).unique(itself),
    key("target", Shape::Text),
    key("ulimits", Shape::Dict(&ULIMIT)),
];

const TEXTS: Shape = Shape::List(&Shape::Text);

static SECRET: Shape = Shape::Short(
    short::grant,
    &Shape::Object(&[
        key("source", Shape::Text),
        key("target", Shape::Text),
        key("uid", Shape::Text),
        key("gid", Shape::Text),
        key("mode", Shape::Mode),
    ]),
);

static ULIMIT: Shape = Shape::Then(&Shape::Any, short::ulimit);
