//! What things take on disk, and what was removed.

use orc_host::storage::DiskUsage as Usage;

use crate::wire::container::Summary as ContainerSummary;
use crate::wire::image::Summary as ImageSummary;
use crate::wire::json::is_zero;
use crate::wire::volume::Volume;

wire! {
    DiskUsage {
        layers_size: u64,
        images: Vec<ImageSummary>,
        containers: Vec<ContainerSummary>,
        volumes: Vec<VolumeUsage>,
        build_cache: Vec<BuildCache>,
        builder_size: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        orc_usage: Option<Usage>,
    }
}

wire! {
    VolumeUsage {
        #[serde(flatten)]
        volume: Volume,
        usage_data: UsageData,
    }
}

wire! {
    UsageData {
        size: i64,
        ref_count: i64,
    }
}

wire! {
    BuildCache {
        #[serde(rename = "ID")]
        id: String,
        #[serde(skip_serializing_if = "is_zero")]
        parents: Vec<String>,
        r#type: String,
        description: String,
        in_use: bool,
        shared: bool,
        size: u64,
        created_at: String,
        last_used_at: Option<String>,
        usage_count: u64,
    }
}

wire! {
    BuildsPruned {
        caches_deleted: Vec<String>,
        space_reclaimed: u64,
    }
}
