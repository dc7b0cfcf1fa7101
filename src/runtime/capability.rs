//! Capabilities by name, and sets of them. Pure.
//!
//! Names are the kernel's without or with `CAP_`, in any case, as Docker takes them.

use std::fmt;

use orc_base::{Error, Result};
use serde::{Deserialize, Serialize};

/// The kernel's names in the order of their numbers (capabilities(7)).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Capability(u8);

/// `CAP_DAC_READ_SEARCH`
pub const DAC_READ_SEARCH: Capability = Capability(2);
/// `CAP_NET_ADMIN`
pub const NET_ADMIN: Capability = Capability(12);
/// `CAP_SYS_MODULE`
pub const SYS_MODULE: Capability = Capability(16);
/// `CAP_SYS_RAWIO`
pub const SYS_RAWIO: Capability = Capability(17);
/// `CAP_SYS_CHROOT`
pub const SYS_CHROOT: Capability = Capability(18);
/// `CAP_SYS_PTRACE`
pub const SYS_PTRACE: Capability = Capability(19);
/// `CAP_SYS_PACCT`
pub const SYS_PACCT: Capability = Capability(20);
/// `CAP_SYS_ADMIN`
pub const SYS_ADMIN: Capability = Capability(21);
/// `CAP_SYS_BOOT`
pub const SYS_BOOT: Capability = Capability(22);
/// `CAP_SYS_NICE`
pub const SYS_NICE: Capability = Capability(23);
/// `CAP_SYS_TIME`
pub const SYS_TIME: Capability = Capability(25);
/// `CAP_SYS_TTY_CONFIG`
pub const SYS_TTY_CONFIG: Capability = Capability(26);
/// `CAP_SYSLOG`
pub const SYSLOG: Capability = Capability(34);
/// `CAP_PERFMON`
pub const PERFMON: Capability = Capability(38);
/// `CAP_BPF`
pub const BPF: Capability = Capability(39);

impl Capability {
    /// Reads `NET_ADMIN`, `CAP_NET_ADMIN` or `net_admin`.
    pub fn parse(name: &str) -> Result<Self> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        NAMES
            .iter()
            .position(|known| *known == bare)
            .map(|number| Self(number as u8))
            .ok_or_else(|| {
                Error::invalid(format!(
                    "`{}` is not a capability: use a name of capabilities(7) such as NET_ADMIN, or ALL",
                    name.escape_default()
                ))
            })
    }

    /// The kernel's number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Capability {
    type Error = Error;

    fn try_from(number: u8) -> Result<Self> {
        if usize::from(number) < NAMES.len() {
            return Ok(Self(number));
        }
        Err(Error::invalid(format!("no capability has number {number}")))
    }
}

impl From<Capability> for u8 {
    fn from(capability: Capability) -> Self {
        capability.0
    }
}

/// With `CAP_`.
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", NAMES[usize::from(self.0)])
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of capabilities, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Set(u64);

impl Set {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All that the table knows.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);
    /// Docker's fourteen: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP
    /// NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP.
    pub const DEFAULT: Self = Self(
        1 | 1 << 1
            | 1 << 3
            | 1 << 4
            | 1 << 5
            | 1 << 6
            | 1 << 7
            | 1 << 8
            | 1 << 10
            | 1 << 13
            | 1 << 18
            | 1 << 27
            | 1 << 29
            | 1 << 31,
    );

    /// The set after Docker's `cap_add` and `cap_drop`, where `ALL` stands for every capability:
    /// `drop: ALL` starts from nothing, `add: ALL` from everything; a capability in both lists is
    /// added unless the drop names it and the add is `ALL`.
    pub fn apply(self, add: &[String], drop: &[String]) -> Result<Self> {
        let (add_all, added) = parse_list(add)?;
        let (drop_all, dropped) = parse_list(drop)?;
        Ok(match (add_all, drop_all) {
            (true, _) => Self::ALL.without(dropped),
            (false, true) => added,
            (false, false) => self.without(dropped).with(added),
        })
    }

    /// Whether `capability` is in it.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Both sets together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without those of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// One bit a capability, as the kernel writes them in `/proc/PID/status`.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// From the kernel's bits; those the table does not know are left out.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits).and(Self::ALL)
    }

    /// Each in order of number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..NAMES.len() as u8)
            .map(Capability)
            .filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for Set {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(
            capabilities
                .into_iter()
                .fold(0, |bits, capability| bits | 1 << capability.0),
        )
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Whether `ALL` is among the names, and the set of the others.
fn parse_list(names: &[String]) -> Result<(bool, Set)> {
    let is_all = |name: &&String| matches!(name.to_ascii_uppercase().as_str(), "ALL" | "CAP_ALL");
    let all = names.iter().any(|name| is_all(&name));
    let others = names
        .iter()
        .filter(|name| !is_all(name))
        .map(|name| Capability::parse(name))
        .collect::<Result<Set>>()?;
    Ok((all, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> Set {
        names
            .iter()
            .map(|name| Capability::parse(name).unwrap())
            .collect()
    }

    fn apply(add: &[&str], drop: &[&str]) -> Set {
        let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        Set::DEFAULT.apply(&owned(add), &owned(drop)).unwrap()
    }

    #[test]
    fn names_are_the_kernels() {
        for (name, number) in [
            ("CHOWN", 0),
            ("CAP_NET_ADMIN", 12),
            ("sys_admin", 21),
            ("cap_checkpoint_restore", 40),
        ] {
            assert_eq!(Capability::parse(name).unwrap().number(), number);
        }
        for bad in ["", "ROOT", "CAP_", "CAP_CAP_CHOWN", "all"] {
            assert!(Capability::parse(bad).is_err(), "{bad}");
        }
        for (constant, name) in [
            (DAC_READ_SEARCH, "DAC_READ_SEARCH"),
            (NET_ADMIN, "NET_ADMIN"),
            (SYS_MODULE, "SYS_MODULE"),
            (SYS_RAWIO, "SYS_RAWIO"),
            (SYS_CHROOT, "SYS_CHROOT"),
            (SYS_PTRACE, "SYS_PTRACE"),
            (SYS_PACCT, "SYS_PACCT"),
            (SYS_ADMIN, "SYS_ADMIN"),
            (SYS_BOOT, "SYS_BOOT"),
            (SYS_NICE, "SYS_NICE"),
            (SYS_TIME, "SYS_TIME"),
            (SYS_TTY_CONFIG, "SYS_TTY_CONFIG"),
            (SYSLOG, "SYSLOG"),
            (PERFMON, "PERFMON"),
            (BPF, "BPF"),
        ] {
            assert_eq!(constant, Capability::parse(name).unwrap());
        }
    }

    #[test]
    fn the_default_set_is_dockers() {
        assert_eq!(Set::DEFAULT.iter().count(), 14);
        assert_eq!(
            Set::DEFAULT,
            set(&[
                "CHOWN",
                "DAC_OVERRIDE",
                "FSETID",
                "FOWNER",
                "MKNOD",
                "NET_RAW",
                "SETGID",
                "SETUID",
                "SETFCAP",
                "SETPCAP",
                "NET_BIND_SERVICE",
                "SYS_CHROOT",
                "KILL",
                "AUDIT_WRITE"
            ])
        );
    }

    #[test]
    fn adds_and_drops_as_docker_does() {
        assert_eq!(apply(&[], &["ALL"]), Set::EMPTY);
        assert_eq!(apply(&["NET_ADMIN"], &["all"]), set(&["NET_ADMIN"]));
        assert_eq!(
            apply(&["ALL"], &["CAP_SYS_ADMIN"]),
            Set::ALL.without(set(&["SYS_ADMIN"]))
        );
        assert_eq!(
            apply(&["sys_time"], &["mknod"]),
            Set::DEFAULT
                .with(set(&["SYS_TIME"]))
                .without(set(&["MKNOD"]))
        );
        assert!(Set::DEFAULT.apply(&["NOPE".into()], &[]).is_err());
    }
}
