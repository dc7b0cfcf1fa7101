//! Facts about the machine, and what it lacks.

use std::collections::BTreeMap;
use std::path::Path;

use orc_host::container::{NamespaceMode, NetworkMode};
use orc_host::system::Info;
use rustix::process::Resource;

use crate::core::Core;
use crate::lifecycle::Phase;
use crate::records::ContainerRecord;
use crate::translate::Machine;

/// The most bytes of a file that says something about the machine.
const MAX_FILE: u64 = 64 << 10;
/// The bit of `CAP_SYS_RESOURCE` in `/proc/self/status`, capabilities(7).
const SYS_RESOURCE: u32 = 24;

/// What this machine is and has.
pub(crate) fn info(core: &Core) -> Info {
    let name = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let mut info = Info {
        name: text(name.nodename()),
        version: env!("CARGO_PKG_VERSION").into(),
        kernel: text(name.release()),
        operating_system: operating_system(&read("/etc/os-release")),
        architecture: text(name.machine()),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: memory_bytes(),
        cgroup_version: cgroup_version(),
        data_root: core.store.dirs().data().display().to_string(),
        images: core.images.list().map_or(0, |images| images.len()),
        warnings: warnings(&core.machine),
        ..Info::default()
    };
    for cell in core.containers.all() {
        match cell.phase() {
            Phase::Running { paused: false, .. } => info.running += 1,
            Phase::Running { .. } => info.paused += 1,
            _ => info.stopped += 1,
        }
    }
    info
}

/// The host name: with the machine's UTS namespace or network, the machine's.
pub(crate) fn hostname(record: &ContainerRecord) -> String {
    let machines = record.spec.uts == NamespaceMode::Host
        || (record.spec.network_mode == NetworkMode::Host && record.spec.hostname.is_none());
    match machines {
        true => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        false => record.effective.hostname.clone(),
    }
}

/// What this machine lets be set.
pub(crate) fn machine() -> Machine {
    if has_capability(&read("/proc/self/status"), SYS_RESOURCE) {
        return Machine::default();
    }
    let limits = [
        ("as", Resource::As),
        ("core", Resource::Core),
        ("cpu", Resource::Cpu),
        ("data", Resource::Data),
        ("fsize", Resource::Fsize),
        ("locks", Resource::Locks),
        ("memlock", Resource::Memlock),
        ("msgqueue", Resource::Msgqueue),
        ("nice", Resource::Nice),
        ("nofile", Resource::Nofile),
        ("nproc", Resource::Nproc),
        ("rss", Resource::Rss),
        ("rtprio", Resource::Rtprio),
        ("rttime", Resource::Rttime),
        ("sigpending", Resource::Sigpending),
        ("stack", Resource::Stack),
    ];
    let hard_limits: BTreeMap<String, u64> = limits
        .into_iter()
        .filter_map(|(name, resource)| {
            let most = rustix::process::getrlimit(resource).maximum?;
            Some((name.to_owned(), most))
        })
        .collect();
    Machine { hard_limits }
}

/// Which boot of the machine this is.
pub(crate) fn boot_id() -> String {
    read("/proc/sys/kernel/random/boot_id").trim().to_owned()
}

fn warnings(machine: &Machine) -> Vec<String> {
    let mut warnings = Vec::new();
    if !machine.hard_limits.is_empty() {
        warnings.push(
            "orc lacks CAP_SYS_RESOURCE: ulimits cannot be raised above its own hard limits, nor oom_score_adj lowered"
                .to_owned(),
        );
    }
    if cgroup_version() == 1 {
        warnings.push("cgroup version 1: limits work, and starts take some milliseconds longer than with version 2".to_owned());
    }
    if !Path::new("/sys/kernel/security/apparmor").exists() {
        warnings.push("AppArmor is not there: containers are confined without it".to_owned());
    }
    if !Path::new("/proc/swaps").exists() || read("/proc/swaps").lines().count() < 2 {
        warnings
            .push("No swap: limits of memory and swap together are limits of memory".to_owned());
    }
    warnings
}

/// 2 when the unified hierarchy has the memory controller, 1 otherwise.
fn cgroup_version() -> u8 {
    let controllers = read("/sys/fs/cgroup/cgroup.controllers");
    match controllers.split_whitespace().any(|name| name == "memory") {
        true => 2,
        false => 1,
    }
}

fn has_capability(status: &str, bit: u32) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> bit & 1 == 1)
}

/// The machine's memory.
pub(crate) fn memory_bytes() -> u64 {
    memory(&read("/proc/meminfo"))
}

fn memory(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes * 1024)
}

fn operating_system(os_release: &str) -> String {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or("Linux", |name| name.trim_matches('"'))
        .to_owned()
}

fn read(path: &str) -> String {
    orc_base::fs::read_limited(Path::new(path), MAX_FILE)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_words() {
        assert_eq!(
            memory("MemTotal:       24591 kB\nMemFree: 1 kB"),
            24_591 * 1024
        );
        let debian = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux forky\"\n";
        assert_eq!(operating_system(debian), "Debian GNU/Linux forky");
        assert!(has_capability("CapEff:\t0000000001000000\n", SYS_RESOURCE));
        assert!(!has_capability("CapEff:\t0000000000ffffff\n", SYS_RESOURCE));
        assert_eq!(boot_id().len(), 36);
    }
}
