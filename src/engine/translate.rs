//! A container's record turned into the order that the runtime carries out.
//!
//! Pure: `start.rs` finds out the [`Facts`]; the same record and facts always give the same order.
//! The default confinement is decided here and in no other place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orc_base::Result;
use orc_host::container::{NetworkMode, Ulimit};
use orc_host::exec::ExecSpec;
use orc_runtime::capability::Set;
use orc_runtime::spec::{
    self, BlockIo, ContainerSpec, Device, LogSpec, Mount, Namespaces, ProcessSpec, Propagation,
    Resources, Rlimit, Rootfs, Seccomp, Stdio, Submounts,
};

use crate::devices;
use crate::effective::merge_env;
use crate::records::ContainerRecord;
use crate::validate::capabilities;
use crate::words::log_size;

/// How many processes a container may have unless it is said otherwise.
const PIDS: i64 = 2048;
/// How many open files a process may have, soft and hard.
const NOFILE: (u64, u64) = (1024, 524_288);
/// The size of `/dev/shm`.
const SHM_BYTES: u64 = 64 << 20;
/// How much of an output is kept that only `attach` can see.
const UNKEPT_LOG_BYTES: u64 = 1 << 20;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is only known when a container starts.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Its layers.
    pub rootfs: Rootfs,
    /// Its cgroup below each hierarchy.
    pub cgroup: String,
    /// Where the monitor's socket and the exit status live.
    pub state_dir: PathBuf,
    /// The log file.
    pub log: PathBuf,
    /// Whose namespaces it has.
    pub namespaces: Namespaces,
    /// Its host name: its own, or the machine's.
    pub hostname: String,
    /// What is mounted, parents first, sources found.
    pub mounts: Vec<Mount>,
    /// Its devices.
    pub devices: Vec<Device>,
    /// Its limits on block devices.
    pub block_io: BlockIo,
    /// What this machine lets be set.
    pub machine: Machine,
}

/// What this machine lets be set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    /// The hard limits of the daemon by name, when it cannot go beyond them (no `CAP_SYS_RESOURCE`).
    pub hard_limits: BTreeMap<String, u64>,
}

/// The order for the runtime to run a container.
pub(crate) fn container(record: &ContainerRecord, facts: Facts) -> Result<ContainerSpec> {
    let spec = &record.spec;
    let (masked_paths, readonly_paths) = match spec.privileged {
        true => (Vec::new(), Vec::new()),
        false => (spec::default_masked_paths(), spec::default_readonly_paths()),
    };
    let log = log_spec(record, facts.log)?;
    let sysctls = sysctls(record);
    Ok(ContainerSpec {
        id: record.id.clone(),
        process: process(record, &facts.hostname, &facts.machine)?,
        hostname: facts.hostname,
        domainname: spec.domainname.clone(),
        rootfs: facts.rootfs,
        mounts: facts.mounts,
        namespaces: facts.namespaces,
        resources: resources(&spec.resources, facts.block_io),
        cgroup: facts.cgroup,
        devices: facts.devices,
        device_rules: devices::rules(&spec.device_rules)?,
        sysctls,
        masked_paths,
        readonly_paths,
        privileged: spec.privileged,
        init: spec.init,
        oom_score_adj: spec.oom_score_adj,
        shm_bytes: spec.shm_bytes.filter(|size| *size > 0).unwrap_or(SHM_BYTES),
        stdio: Stdio {
            terminal: spec.tty,
            stdin: spec.open_stdin,
            stdin_once: spec.stdin_once,
            size: None,
        },
        log: Some(log),
        state_dir: facts.state_dir,
    })
}

fn process(record: &ContainerRecord, hostname: &str, machine: &Machine) -> Result<ProcessSpec> {
    let (spec, effective) = (&record.spec, &record.effective);
    Ok(ProcessSpec {
        args: effective.args.clone(),
        env: environment(&effective.env, hostname, spec.tty)?,
        cwd: effective.working_dir.clone(),
        user: effective.user.clone(),
        groups: spec.groups.clone(),
        capabilities: capabilities(spec)?,
        no_new_privs: spec.no_new_privileges,
        seccomp: match &spec.seccomp_profile {
            _ if spec.privileged || spec.seccomp_unconfined => Seccomp::Unconfined,
            Some(profile) => Seccomp::Profile(profile.clone()),
            None => Seccomp::Default,
        },
        rlimits: rlimits(&spec.ulimits, machine),
        umask: None,
    })
}

/// What every program is given, with the container's own environment over it.
fn environment(own: &[String], hostname: &str, terminal: bool) -> Result<Vec<String>> {
    let mut base = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if terminal {
        base.push("TERM=xterm".into());
    }
    merge_env(&base, own)
}

/// The order to run one more process in a container.
pub(crate) fn exec(
    record: &ContainerRecord,
    wanted: &ExecSpec,
    hostname: &str,
    cgroup: &str,
    machine: &Machine,
) -> Result<spec::ExecSpec> {
    let mut process = process(record, hostname, machine)?;
    process.args.clone_from(&wanted.command);
    let own = merge_env(&record.effective.env, &wanted.env)?;
    process.env = environment(&own, hostname, wanted.tty)?;
    if let Some(dir) = wanted.working_dir.as_ref().filter(|dir| !dir.is_empty()) {
        process.cwd.clone_from(dir);
    }
    if let Some(user) = wanted.user.as_ref().filter(|user| !user.is_empty()) {
        process.user.clone_from(user);
    }
    if wanted.privileged {
        process.capabilities = Set::ALL;
        process.seccomp = Seccomp::Unconfined;
    }
    Ok(spec::ExecSpec {
        process,
        stdin: wanted.stdin,
        terminal: wanted.tty,
        size: wanted.size.map(|size| (size.rows, size.columns)),
        cgroup: cgroup.into(),
        oom_score_adj: record.spec.oom_score_adj,
    })
}

/// The wanted limits over the default ones, none above what this machine lets be set.
fn rlimits(wanted: &[Ulimit], machine: &Machine) -> Vec<Rlimit> {
    let number = |value: i64| u64::try_from(value).ok();
    let mut limits: Vec<Rlimit> = wanted
        .iter()
        .map(|limit| Rlimit {
            name: limit.name.clone(),
            soft: number(limit.soft),
            hard: number(limit.hard),
        })
        .collect();
    if !wanted.iter().any(|limit| limit.name == "nofile") {
        limits.push(Rlimit {
            name: "nofile".into(),
            soft: Some(NOFILE.0),
            hard: Some(NOFILE.1),
        });
    }
    for limit in &mut limits {
        if let Some(most) = machine.hard_limits.get(&limit.name) {
            limit.hard = Some(limit.hard.map_or(*most, |hard| hard.min(*most)));
            limit.soft = Some(limit.soft.map_or(*most, |soft| soft.min(*most)));
        }
    }
    limits
}

/// What is said to someone who asks for what this machine does not let be set.
pub(crate) fn machine_warnings(
    spec: &orc_host::container::ContainerSpec,
    machine: &Machine,
) -> Vec<String> {
    let lowered = spec.ulimits.iter().filter_map(|limit| {
        let most = *machine.hard_limits.get(&limit.name)?;
        let above = u64::try_from(limit.hard).map_or(true, |hard| hard > most);
        above.then(|| {
            format!(
                "ulimit {} is lowered to {most}: orc lacks CAP_SYS_RESOURCE to raise it",
                limit.name
            )
        })
    });
    let score = spec.oom_score_adj.filter(|score| *score < 0);
    let score = score
        .filter(|_| !machine.hard_limits.is_empty())
        .map(|_| "oom_score_adj is not lowered: orc lacks CAP_SYS_RESOURCE to do it".to_owned());
    lowered.chain(score).collect()
}

/// Limits in the words of the runtime.
pub(crate) fn resources(wanted: &orc_host::container::Resources, block_io: BlockIo) -> Resources {
    let positive = |value: Option<u64>| value.filter(|value| *value > 0);
    let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    Resources {
        memory_bytes: positive(wanted.memory_bytes),
        memory_swap_bytes: swap(wanted),
        memory_reservation_bytes: positive(wanted.memory_reservation_bytes),
        nano_cpus: positive(wanted.nano_cpus),
        cpu_quota_us: wanted.cpu_quota_us.filter(|quota| *quota != 0),
        cpu_period_us: positive(wanted.cpu_period_us),
        cpu_shares: positive(wanted.cpu_shares),
        cpuset_cpus: text(&wanted.cpuset_cpus),
        cpuset_mems: text(&wanted.cpuset_mems),
        // 0 is Docker's word for the default.
        pids_max: Some(wanted.pids.filter(|pids| *pids != 0).unwrap_or(PIDS)),
        memory_swappiness: wanted.memory_swappiness,
        oom_kill_disable: wanted.oom_kill_disable == Some(true),
        cpu_realtime_runtime_us: wanted.cpu_realtime_runtime_us.filter(|time| *time != 0),
        cpu_realtime_period_us: positive(wanted.cpu_realtime_period_us),
        block_io,
    }
}

/// Memory and swap together. Who limits memory alone may swap as much again, as with Docker.
fn swap(wanted: &orc_host::container::Resources) -> Option<i64> {
    let memory = wanted.memory_bytes.filter(|memory| *memory > 0);
    let twice = memory.and_then(|memory| i64::try_from(memory.checked_mul(2)?).ok());
    wanted.memory_swap_bytes.filter(|swap| *swap != 0).or(twice)
}

/// Docker's two defaults for a network namespace of the container's own, and what was asked for.
fn sysctls(record: &ContainerRecord) -> BTreeMap<String, String> {
    let own = matches!(
        record.spec.network_mode,
        NetworkMode::Networks | NetworkMode::None
    );
    let mut settings = BTreeMap::new();
    if own {
        settings.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
        settings.insert("net.ipv4.ping_group_range".into(), "0 2147483647".into());
    }
    settings.extend(record.spec.sysctls.clone());
    settings
}

/// The log is what `attach` reads, so there is a small one even when none is kept.
fn log_spec(record: &ContainerRecord, path: PathBuf) -> Result<LogSpec> {
    let (max_bytes, max_files) = match record.spec.log.driver.as_str() {
        "none" => (UNKEPT_LOG_BYTES, 1),
        _ => log_size(&record.spec)?,
    };
    Ok(LogSpec {
        path,
        max_bytes,
        max_files,
    })
}

/// A generated file that is mounted into the container.
pub(crate) fn generated(source: PathBuf, target: &str, readonly: bool) -> Mount {
    Mount::Bind {
        source,
        target: target.into(),
        readonly,
        submounts: Submounts::Leave,
        propagation: Propagation::Private,
    }
}

#[cfg(test)]
mod tests {
    use orc_base::{Id, Time};
    use orc_host::container::ContainerSpec as Wanted;
    use orc_host::image::ImageConfig;

    use super::*;
    use crate::effective::effective;
    use crate::records::FORMAT;

    fn record(spec: Wanted) -> ContainerRecord {
        let id = Id::random();
        let image = ImageConfig {
            command: Some(vec!["sh".into()]),
            env: vec!["A=1".into()],
            ..ImageConfig::default()
        };
        ContainerRecord {
            format: FORMAT,
            effective: effective(&id, &spec, &image).unwrap(),
            id,
            name: "web".parse().unwrap(),
            created: Time::EPOCH,
            spec,
            image_id: "sha256:00".into(),
            mounts: Vec::new(),
            anonymous: Vec::new(),
            files: Vec::new(),
            places: Vec::new(),
        }
    }

    fn order(spec: Wanted, machine: Machine) -> ContainerSpec {
        let facts = Facts {
            rootfs: Rootfs {
                lowers: vec!["/l".into()],
                upper: "/u".into(),
                work: "/w".into(),
                readonly: false,
            },
            cgroup: "/orc/x".into(),
            state_dir: "/run/x".into(),
            log: "/log".into(),
            namespaces: Namespaces::default(),
            hostname: "web".into(),
            mounts: Vec::new(),
            devices: Vec::new(),
            block_io: BlockIo::default(),
            machine,
        };
        container(&record(spec), facts).unwrap()
    }

    #[test]
    fn the_default_is_confined() {
        let order = order(Wanted::default(), Machine::default());
        assert_eq!(order.process.capabilities, Set::DEFAULT);
        assert_eq!(order.process.seccomp, Seccomp::Default);
        assert!(!order.masked_paths.is_empty() && !order.readonly_paths.is_empty());
        assert_eq!(order.resources.pids_max, Some(2048));
        assert_eq!(order.shm_bytes, 64 << 20);
        assert_eq!(order.sysctls["net.ipv4.ip_unprivileged_port_start"], "0");
        assert_eq!(
            order.process.rlimits,
            [Rlimit {
                name: "nofile".into(),
                soft: Some(1024),
                hard: Some(524_288)
            }]
        );
        assert_eq!(order.process.env, [PATH, "HOSTNAME=web", "A=1"]);
    }

    #[test]
    fn privileged_takes_everything_off_and_drop_takes_from_it() {
        let order = order(
            Wanted {
                privileged: true,
                cap_drop: vec!["NET_ADMIN".into()],
                ..Wanted::default()
            },
            Machine::default(),
        );
        assert!(order.masked_paths.is_empty() && order.privileged);
        assert_eq!(order.process.seccomp, Seccomp::Unconfined);
        let most = order.process.capabilities;
        assert!(!most.contains(orc_runtime::capability::NET_ADMIN));
        assert!(most.contains(orc_runtime::capability::SYS_ADMIN));
    }

    #[test]
    fn limits_stay_below_what_the_machine_lets_be_set() {
        let machine = Machine {
            hard_limits: BTreeMap::from([("nofile".into(), 4096), ("core".into(), 0)]),
        };
        let wanted = Wanted {
            ulimits: vec![Ulimit {
                name: "core".into(),
                soft: -1,
                hard: -1,
            }],
            oom_score_adj: Some(-5),
            ..Wanted::default()
        };
        let warnings = machine_warnings(&wanted, &machine);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(machine_warnings(&wanted, &Machine::default()).is_empty());
        let order = order(wanted, machine);
        let limits: Vec<_> = order
            .process
            .rlimits
            .iter()
            .map(|limit| (limit.name.as_str(), limit.soft, limit.hard))
            .collect();
        assert_eq!(
            limits,
            [
                ("core", Some(0), Some(0)),
                ("nofile", Some(1024), Some(4096))
            ]
        );
    }

    #[test]
    fn memory_alone_allows_as_much_swap() {
        let swap = |memory, swap| {
            let wanted = Wanted {
                resources: orc_host::container::Resources {
                    memory_bytes: memory,
                    memory_swap_bytes: swap,
                    ..Default::default()
                },
                ..Wanted::default()
            };
            order(wanted, Machine::default())
                .resources
                .memory_swap_bytes
        };
        assert_eq!(swap(Some(64 << 20), None), Some(128 << 20));
        assert_eq!(swap(Some(64 << 20), Some(-1)), Some(-1));
        assert_eq!(swap(Some(64 << 20), Some(64 << 20)), Some(64 << 20));
        assert_eq!(swap(None, None), None);
        assert_eq!(swap(Some(u64::MAX), None), None);
    }

    #[test]
    fn the_machines_network_keeps_its_settings() {
        let order = order(
            Wanted {
                network_mode: NetworkMode::Host,
                ..Wanted::default()
            },
            Machine::default(),
        );
        assert!(order.sysctls.is_empty());
    }

    #[test]
    fn an_exec_is_as_confined_as_the_container() {
        let record = record(Wanted {
            cap_drop: vec!["ALL".into()],
            no_new_privileges: true,
            user: Some("7".into()),
            ..Wanted::default()
        });
        let wanted = ExecSpec {
            command: vec!["id".into()],
            env: vec!["A=2".into()],
            tty: true,
            ..ExecSpec::default()
        };
        let order = exec(&record, &wanted, "web", "/orc/x", &Machine::default()).unwrap();
        assert_eq!(order.process.capabilities, Set::EMPTY);
        assert!(order.process.no_new_privs);
        assert_eq!(order.process.user, "7");
        assert_eq!(
            order.process.env,
            [PATH, "HOSTNAME=web", "TERM=xterm", "A=2"]
        );
        let privileged = ExecSpec {
            privileged: true,
            user: Some("root".into()),
            ..wanted
        };
        let order = exec(&record, &privileged, "web", "/orc/x", &Machine::default()).unwrap();
        assert_eq!(order.process.capabilities, Set::ALL);
        assert_eq!(order.process.user, "root");
    }
}
