//! Volumes.

use std::collections::BTreeMap;

use crate::wire::json::is_zero;

wire! {
    Volume {
        created_at: String,
        driver: String,
        labels: BTreeMap<String, String>,
        mountpoint: String,
        name: String,
        options: BTreeMap<String, String>,
        scope: String,
        #[serde(skip_serializing_if = "is_zero")]
        orc_anonymous: bool,
    }
}

wire! {
    VolumeList {
        volumes: Vec<Volume>,
        warnings: Vec<String>,
    }
}

wire! {
    CreateBody {
        name: String,
        driver: String,
        driver_opts: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
        ..other
    }
}

wire! {
    Pruned {
        volumes_deleted: Vec<String>,
        space_reclaimed: u64,
    }
}
