//! Takes away what a program must not have: limits, capabilities, system calls.
//!
//! The order is forced by the kernel: bounding capabilities can be dropped while CAP_SETPCAP is
//! there, a filter can be installed without `no_new_privs` while CAP_SYS_ADMIN is there, and the
//! user comes last.

use orc_base::root::Root;
use orc_base::{Context, Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use crate::capability::Set;
use crate::seccomp::Filter;
use crate::spec::{ProcessSpec, Rlimit, Seccomp};
use crate::sys::linux;
use crate::user::Identity;

/// File mode creation mask of a process that asks for none.
const UMASK: u32 = 0o022;

/// The kernel's limit of a name in `ulimits`.
pub(crate) fn resource(name: &str) -> Result<Resource> {
    let lower = name.to_ascii_lowercase();
    Ok(match lower.strip_prefix("rlimit_").unwrap_or(&lower) {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => {
            return Err(Error::invalid(format!(
                "`{}` is not a ulimit: use a name such as nofile, nproc or core",
                name.escape_default()
            )));
        }
    })
}

/// Sets resource limits. Where the machine does not let this process raise a hard limit, it gets the
/// most there is, and a warning comes back.
pub(crate) fn limit(limits: &[Rlimit]) -> Result<Vec<Error>> {
    let mut warnings = Vec::new();
    for limit in limits {
        let resource = resource(&limit.name)?;
        let wanted = rustix::process::Rlimit {
            current: limit.soft,
            maximum: limit.hard,
        };
        let context = || format!("set ulimit {}", limit.name);
        match setrlimit(resource, wanted) {
            Ok(()) => {}
            Err(Errno::PERM) => {
                let most = getrlimit(resource).maximum;
                let maximum = lesser(wanted.maximum, most);
                let possible = rustix::process::Rlimit {
                    current: lesser(wanted.current, maximum),
                    maximum,
                };
                setrlimit(resource, possible).context(context)?;
                warnings.push(Error::denied(format!(
                    "ulimit {}: this machine does not let it be raised to {}, it stays at {}",
                    limit.name,
                    shown(wanted.maximum),
                    shown(maximum)
                )));
            }
            Err(errno) => return Err(errno).context(context),
        }
    }
    Ok(warnings)
}

/// Sets the preference of the kernel's memory killer, through the process's own procfs. A warning
/// comes back where the machine does not let it be lowered.
pub(crate) fn oom_score(proc: &Root, score: i32) -> Result<Option<Error>> {
    let write = || -> Result<(), Error> {
        let file = proc.open_at("self/oom_score_adj", OFlags::WRONLY, Mode::empty())?;
        rustix::io::write(file, score.to_string().as_bytes())?;
        Ok(())
    };
    match write() {
        Err(error) if error.kind() == orc_base::Kind::Denied => Ok(Some(
            error.within(format!("oom_score_adj cannot be set to {score}")),
        )),
        other => other
            .map(|()| None)
            .context(|| format!("set oom_score_adj to {score}")),
    }
}

/// Becomes the user, with no more than the given rights. A warning comes back when a capability was
/// asked for that this machine's root does not have.
pub(crate) fn confine(
    process: &ProcessSpec,
    identity: &Identity,
    filter: Option<&Filter>,
) -> Result<Option<Error>> {
    rustix::process::umask(Mode::from_raw_mode(process.umask.unwrap_or(UMASK)));
    let capabilities = available(process.capabilities)?;
    drop_bounding(capabilities).context(|| "drop capabilities")?;
    rustix::thread::clear_ambient_capability_set().context(|| "clear ambient capabilities")?;
    if let (false, Some(filter)) = (process.no_new_privs, filter) {
        install(filter)?;
    }
    become_user(identity)?;
    if identity.uid == 0 {
        hold(capabilities).context(|| "set capabilities")?;
    }
    if process.no_new_privs {
        rustix::thread::set_no_new_privs(true).context(|| "set no_new_privs")?;
        filter.map_or(Ok(()), install)?;
    }
    let lacking = process.capabilities.without(capabilities);
    // Who asks for all means all there are.
    let asked = process.capabilities != Set::ALL && lacking != Set::EMPTY;
    Ok(asked.then(|| {
        Error::denied(format!(
            "this machine's root has no {lacking:?}: the container goes without"
        ))
    }))
}

/// The filter for a process, when it is to have one.
pub(crate) fn filter(process: &ProcessSpec, default: &Filter) -> Result<Option<Filter>> {
    Ok(match &process.seccomp {
        Seccomp::Default => Some(default.for_capabilities(process.capabilities)),
        Seccomp::Unconfined => None,
        Seccomp::Profile(text) => Some(Filter::of_profile(text, process.capabilities)?),
    })
}

fn install(filter: &Filter) -> Result<()> {
    linux::install_filter(filter.program()).context(|| "install the system call filter")
}

/// What of a set this process has itself.
fn available(wanted: Set) -> Result<Set> {
    let own = rustix::thread::capabilities(None).context(|| "read own capabilities")?;
    Ok(wanted.and(Set::from_bits(own.permitted.bits())))
}

fn drop_bounding(keep: Set) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let bit = 1u64 << number;
        if keep.bits() & bit != 0 {
            continue;
        }
        let capability = CapabilitySet::from_bits_retain(bit);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Above the last one that the kernel knows.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// Without `PR_SET_KEEPCAPS` a change from root to another user drops all capabilities.
fn become_user(identity: &Identity) -> Result<()> {
    let groups: Vec<Gid> = identity
        .groups
        .iter()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let change = || {
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    };
    change().context(|| format!("become user {}:{}", identity.uid, identity.gid))
}

fn hold(capabilities: Set) -> Result<(), Errno> {
    let set = CapabilitySet::from_bits_retain(capabilities.bits());
    let sets = CapabilitySets {
        effective: set,
        permitted: set,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
}

/// The smaller of two limits, where none is unlimited.
fn lesser(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or("unlimited".into(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_names() {
        for name in ["nofile", "RLIMIT_NOFILE", "Core", "rttime"] {
            resource(name).unwrap();
        }
        for bad in ["", "files", "rlimit_", "nofile "] {
            assert!(resource(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn none_is_unlimited() {
        assert_eq!(lesser(None, Some(5)), Some(5));
        assert_eq!(lesser(Some(3), Some(5)), Some(3));
        assert_eq!(lesser(None, None), None);
    }
}
