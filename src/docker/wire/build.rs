//! Builds: what orc's own client asks and is told, and Docker's aux message.
//!
//! The body of `POST /orc/build` is one line of JSON, an [`orc_host::image_build::BuildSpec`], and
//! after its line feed the archive of the context, when there is one. The answer is a line for each
//! [`Line`].

use orc_host::image_build::BuildEvent;
use serde::{Deserialize, Serialize};

/// The media type of the body of `POST /orc/build`.
pub(crate) const BUILD: &str = "application/vnd.orc.build";

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    /// The last line of a build that failed.
    Failed {
        /// Why.
        error: Failure,
    },
    /// Something happened.
    Event(BuildEvent),
}

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The kind's word.
    pub(crate) kind: String,
    pub(crate) message: String,
}

/// What Docker sends beside its sentences: the id of the image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Aux {
    #[serde(rename = "ID")]
    pub(crate) id: String,
}
