//! Kernel settings that a container may have of its own: those that live in one of its new
//! namespaces. Pure; the child writes them.

use std::path::PathBuf;

use orc_base::{Error, Result};

use crate::spec::{Namespace, Namespaces};

/// Settings of the IPC namespace besides `fs.mqueue.*`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];
/// The longest value that is written.
const MAX_VALUE: usize = 4096;

/// Below `/proc/sys`, where a setting is written, when the container's own namespaces have it.
pub(crate) fn path(key: &str, value: &str, namespaces: &Namespaces) -> Result<PathBuf> {
    let refuse = |why: &str| {
        Err(Error::invalid(format!(
            "sysctl `{}`: {why}",
            key.chars()
                .take(80)
                .flat_map(char::escape_default)
                .collect::<String>()
        )))
    };
    let plain = !key.is_empty()
        && key.len() <= 200
        && key.split('.').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        });
    if !plain {
        return refuse("names are words joined by dots, such as net.core.somaxconn");
    }
    if value.len() > MAX_VALUE || value.chars().any(|c| c.is_control() && c != '\t') {
        return refuse("the value is too long or has line breaks");
    }
    let (owner, name) = match key {
        _ if key.starts_with("net.") => (&namespaces.net, "network"),
        _ if key.starts_with("fs.mqueue.") || IPC.contains(&key) => (&namespaces.ipc, "IPC"),
        "kernel.domainname" | "kernel.hostname" => (&namespaces.uts, "UTS"),
        _ => return refuse("it belongs to the whole machine, not to a container"),
    };
    if *owner == Namespace::Host {
        return refuse(&format!(
            "it would change the machine, because the container uses the host's {name} namespace"
        ));
    }
    Ok(key.split('.').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_namespace_owns() {
        let own = Namespaces::default();
        let host = Namespaces {
            net: Namespace::Host,
            ..Namespaces::default()
        };
        let allowed = |key, value, namespaces| path(key, value, namespaces).is_ok();
        assert_eq!(
            path("net.ipv4.ip_unprivileged_port_start", "0", &own).unwrap(),
            PathBuf::from("net/ipv4/ip_unprivileged_port_start")
        );
        assert!(allowed("kernel.shmmax", "1", &own) && allowed("kernel.shmmax", "1", &host));
        assert!(allowed("net.ipv4.ping_group_range", "0\t2147483647", &own));
        assert!(!allowed("net.ipv4.ip_forward", "1", &host));
        for (key, value) in [
            ("kernel.core_pattern", "|/bin/sh"),
            ("kernel.shmmax+kernel.core_pattern", "1"),
            ("kernel.shmmax=1 kernel.core_pattern", "1"),
            ("net.", "1"),
            ("net..ipv4", "1"),
            ("net/../kernel/core_pattern", "1"),
            ("net.../kernel.core_pattern", "1"),
            ("net.ipv4.ip_forward", "1\nx"),
            ("vm.swappiness", "1"),
            ("", ""),
        ] {
            assert!(!allowed(key, value, &own), "{key}={value}");
        }
    }
}
