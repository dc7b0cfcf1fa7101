//! The names of containers: messages, zones, the server of each network, and the way upstream.

pub(crate) mod answer;
pub(crate) mod cluster;
pub(crate) mod forward;
pub(crate) mod message;
pub(crate) mod server;
pub(crate) mod zone;
