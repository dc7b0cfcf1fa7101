//! What `inspect` answers, as plain JSON: for whoever prints it.
//!
//! The same text that the server sends to Docker's own clients, without orc's additions.

use orc_base::Result;
use orc_host::container::Container;
use orc_host::image::Image;
use orc_host::network::Network;
use orc_host::volume::Volume;
use serde_json::Value;

use crate::convert;

/// `docker container inspect`.
pub fn container(found: &Container) -> Result<Value> {
    Ok(serde_json::to_value(convert::container::to_wire(
        found, false,
    )?)?)
}

/// `docker image inspect`.
pub fn image(found: &Image) -> Result<Value> {
    Ok(serde_json::to_value(convert::image::to_wire(found, false))?)
}

/// `docker network inspect`.
pub fn network(found: &Network) -> Result<Value> {
    Ok(serde_json::to_value(convert::network::to_wire(found))?)
}

/// `docker volume inspect`.
pub fn volume(found: &Volume) -> Result<Value> {
    Ok(serde_json::to_value(convert::volume::to_wire(
        found, false,
    ))?)
}
