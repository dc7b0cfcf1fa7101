//! Networks and the places of containers on them.

use std::collections::BTreeMap;

use orc_host::network::EndpointSpec;

use crate::wire::json::{Ordered, is_zero};

wire! {
    /// Both a wish and what became of it, as in Docker.
    EndpointSettings {
        #[serde(rename = "IPAMConfig")]
        ipam_config: Option<EndpointIpam>,
        links: Vec<String>,
        aliases: Vec<String>,
        mac_address: String,
        driver_opts: BTreeMap<String, String>,
        gw_priority: i64,
        #[serde(rename = "NetworkID")]
        network_id: String,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        gateway: String,
        #[serde(rename = "IPAddress")]
        ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        ip_prefix_len: u8,
        #[serde(rename = "IPv6Gateway")]
        ipv6_gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        global_ipv6_prefix_len: u8,
        #[serde(rename = "DNSNames")]
        dns_names: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        orc_spec: Option<EndpointSpec>,
    }
}

wire! {
    EndpointIpam {
        #[serde(rename = "IPv4Address", skip_serializing_if = "is_zero")]
        ipv4_address: String,
        #[serde(rename = "IPv6Address", skip_serializing_if = "is_zero")]
        ipv6_address: String,
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "is_zero")]
        link_local_ips: Vec<String>,
    }
}

wire! {
    Network {
        name: String,
        id: String,
        created: String,
        scope: String,
        driver: String,
        #[serde(rename = "EnableIPv4")]
        enable_ipv4: bool,
        #[serde(rename = "EnableIPv6")]
        enable_ipv6: bool,
        #[serde(rename = "IPAM")]
        ipam: Ipam,
        internal: bool,
        attachable: bool,
        ingress: bool,
        config_from: ConfigFrom,
        config_only: bool,
        containers: Ordered<NetworkContainer>,
        options: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
    }
}

wire! {
    CreateBody {
        name: String,
        /// Docker's servers check always since 1.44, and so does the host.
        check_duplicate: Option<bool>,
        driver: String,
        scope: String,
        #[serde(rename = "EnableIPv4")]
        enable_ipv4: Option<bool>,
        #[serde(rename = "EnableIPv6")]
        enable_ipv6: Option<bool>,
        #[serde(rename = "IPAM")]
        ipam: Option<Ipam>,
        internal: bool,
        attachable: bool,
        ingress: bool,
        config_only: bool,
        config_from: Option<ConfigFrom>,
        options: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
        ..other
    }
}

wire! {
    CreateReply {
        id: String,
        warning: String,
    }
}

wire! {
    Ipam {
        driver: String,
        options: Option<BTreeMap<String, String>>,
        config: Vec<IpamConfig>,
    }
}

wire! {
    IpamConfig {
        #[serde(skip_serializing_if = "is_zero")]
        subnet: String,
        #[serde(rename = "IPRange", skip_serializing_if = "is_zero")]
        ip_range: String,
        #[serde(skip_serializing_if = "is_zero")]
        gateway: String,
        #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "is_zero")]
        auxiliary_addresses: BTreeMap<String, String>,
    }
}

wire! {
    ConfigFrom {
        network: String,
    }
}

wire! {
    NetworkContainer {
        name: String,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        mac_address: String,
        #[serde(rename = "IPv4Address")]
        ipv4_address: String,
        #[serde(rename = "IPv6Address")]
        ipv6_address: String,
    }
}

wire! {
    ConnectBody {
        container: String,
        endpoint_config: Option<EndpointSettings>,
        ..other
    }
}

wire! {
    DisconnectBody {
        container: String,
        force: bool,
    }
}

wire! {
    Pruned {
        networks_deleted: Vec<String>,
    }
}
