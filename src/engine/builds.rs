//! Builds in the words of the door.

use std::sync::Arc;

use orc_base::{Error, Result};
use orc_host::image_build::{BuildEvent, BuildRequest};
use orc_host::stream::Stream;

use crate::core::Core;

/// Builds an image.
pub(crate) fn build(_core: &Arc<Core>, _request: BuildRequest) -> Result<Stream<BuildEvent>> {
    Err(Error::unsupported("building images is not supported yet"))
}
