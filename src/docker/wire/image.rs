//! Images.

use std::collections::BTreeMap;

use crate::wire::container::{GraphDriver, Healthcheck};
use crate::wire::json::{Empty, Ordered, Words, is_zero};

wire! {
    Summary {
        containers: i64,
        created: i64,
        id: String,
        labels: BTreeMap<String, String>,
        parent_id: String,
        repo_digests: Vec<String>,
        repo_tags: Vec<String>,
        shared_size: i64,
        size: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        orc_inspect: Option<Box<Inspect>>,
    }
}

wire! {
    Inspect {
        id: String,
        repo_tags: Vec<String>,
        repo_digests: Vec<String>,
        parent: String,
        comment: String,
        #[serde(skip_serializing_if = "is_zero")]
        created: String,
        docker_version: String,
        author: String,
        config: Config,
        architecture: String,
        #[serde(skip_serializing_if = "is_zero")]
        variant: String,
        os: String,
        size: u64,
        graph_driver: GraphDriver,
        #[serde(rename = "RootFS")]
        root_fs: RootFs,
        metadata: Metadata,
        #[serde(skip_serializing_if = "Option::is_none")]
        orc_history: Option<Vec<orc_host::image::History>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        orc_layer_sizes: Option<Vec<u64>>,
    }
}

wire! {
    Config {
        user: String,
        #[serde(skip_serializing_if = "is_zero")]
        exposed_ports: Ordered<Empty>,
        env: Vec<String>,
        entrypoint: Words,
        cmd: Words,
        #[serde(skip_serializing_if = "Option::is_none")]
        healthcheck: Option<Healthcheck>,
        #[serde(skip_serializing_if = "is_zero")]
        volumes: Ordered<Empty>,
        working_dir: String,
        labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_zero")]
        stop_signal: String,
    }
}

wire! {
    RootFs {
        r#type: String,
        layers: Vec<String>,
    }
}

wire! {
    Metadata {
        last_tag_time: String,
    }
}

wire! {
    History {
        id: String,
        created: i64,
        created_by: String,
        tags: Option<Vec<String>>,
        size: u64,
        comment: String,
    }
}

wire! {
    /// One of the two.
    Removal {
        #[serde(skip_serializing_if = "is_zero")]
        untagged: String,
        #[serde(skip_serializing_if = "is_zero")]
        deleted: String,
    }
}

wire! {
    Pruned {
        images_deleted: Vec<Removal>,
        space_reclaimed: u64,
    }
}

// The header `X-Registry-Auth`; these members are written in small letters.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Auth {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) password: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) identitytoken: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) registrytoken: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) auth: String,
}
