//! Lines of progress and refusals. These members begin with small letters.

use serde::{Deserialize, Serialize};

use crate::wire::build::Aux;
use crate::wire::json::is_zero;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Refusal {
    pub(crate) message: String,
}

/// One line of progress (Docker's `jsonmessage.JSONMessage`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Message {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress_detail: Option<ProgressDetail>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) progress: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_detail: Option<ErrorDetail>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aux: Option<Aux>,
    #[serde(rename = "OrcImage", skip_serializing_if = "Option::is_none")]
    pub(crate) orc_image: Option<String>,
    #[serde(rename = "OrcKind", skip_serializing_if = "is_zero")]
    pub(crate) orc_kind: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProgressDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorDetail {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) code: u16,
    pub(crate) message: String,
}
