//! Kubernetes' protobuf encoding of built-in types, one way: from bytes to the JSON everything else speaks.
//!
//! `kubectl create deployment`, `create token`, `auth can-i` and others send nothing else; answers are
//! always JSON, so nothing is ever encoded here. `messages.txt` says which field of which message has
//! which number, name and type; `schema` reads it, `wire` reads protobuf's own framing, `scalar` the few
//! messages that are one value in JSON, and `decode` puts them together.
//!
//! Why a table of our own: the crate `k8s-pb` has the messages as Rust types (39 000 lines to compile)
//! but no way from them to JSON. The table was made from its field numbers and `k8s-openapi`'s names.

pub mod decode;

mod scalar;
mod schema;
mod wire;
