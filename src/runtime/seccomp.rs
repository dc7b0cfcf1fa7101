//! The default system call filter, as one BPF program.
//!
//! A container may bring a profile of its own (`profile`).
//!
//! The default is an allow-list: what it does not name fails with EPERM. Calls newer than the table fail with
//! ENOSYS, so that C libraries fall back to older ones, and so does `clone3`, whose flags a filter
//! cannot read. Other ABIs of the machine (32-bit, x32) are denied: their numbers mean other calls.
//!
//! Own instructions instead of a library's: neighbours in the table that are treated alike become
//! one range, and ranges a search tree, which is shorter and faster than a list of comparisons.

use std::collections::BTreeMap;

use orc_base::Result;

use crate::capability::Set;
use crate::sys::linux::Instruction;

mod names;
mod profile;
mod program;
mod table;

use crate::seccomp::program::{
    ARCHITECTURE, AUDIT_ARCH, JUMP_EQUAL, NUMBER, RETURN, instruction, jump, load, tree,
};
use crate::seccomp::table::Number;

/// The low half of the first argument: the kernel reads no more of it for the calls tested here.
const FIRST_ARGUMENT: u32 = 16;

/// `BPF_JMP | BPF_JSET | BPF_K`
const JUMP_ANY_BIT: u16 = 0x45;

/// What happens with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
    Missing,
    /// Allowed when the first argument is in one of these ranges.
    ArgumentIn(&'static [(u32, u32)]),
    /// Allowed when the first argument has none of these bits.
    ArgumentWithout(u32),
}

/// Refuses a profile that could not be installed.
pub fn check_profile(text: &str) -> Result<()> {
    Filter::of_profile(text, Set::DEFAULT).map(drop)
}

/// A program for seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    capabilities: Set,
    program: Vec<Instruction>,
}

impl Filter {
    /// For a container with Docker's default capabilities.
    pub(crate) fn default_profile() -> Self {
        Self::new(Set::DEFAULT)
    }

    /// For a container with these capabilities.
    pub(crate) fn new(capabilities: Set) -> Self {
        let mut program = vec![
            load(ARCHITECTURE),
            jump(JUMP_EQUAL, AUDIT_ARCH, 1, 0),
            end(Verdict::Deny),
            load(NUMBER),
        ];
        program.extend(tree(&ranges(&verdicts(capabilities)), &|verdict| {
            leaf(*verdict)
        }));
        Self {
            capabilities,
            program,
        }
    }

    /// Of a profile in Docker's JSON, for a container with these capabilities on this kernel.
    pub(crate) fn of_profile(text: &str, capabilities: Set) -> Result<Self> {
        let kernel = rustix::system::uname();
        let kernel = profile::version(&kernel.release().to_string_lossy());
        Ok(Self {
            capabilities,
            program: profile::program(text, capabilities, kernel)?,
        })
    }

    /// This filter when it is for these capabilities, else another one.
    pub(crate) fn for_capabilities(&self, capabilities: Set) -> Self {
        match self.capabilities == capabilities {
            true => self.clone(),
            false => Self::new(capabilities),
        }
    }

    pub(crate) fn program(&self) -> &[Instruction] {
        &self.program
    }
}

/// The verdict about every call that is not simply denied.
fn verdicts(capabilities: Set) -> BTreeMap<Number, Verdict> {
    let mut verdicts = BTreeMap::new();
    let mut set = |number: Number, verdict| {
        verdicts.insert(number, verdict);
    };
    let number = |call: libc::c_long| call as Number;
    set(
        number(libc::SYS_socket),
        Verdict::ArgumentIn(table::SOCKET_FAMILIES),
    );
    set(
        number(libc::SYS_personality),
        Verdict::ArgumentIn(table::PERSONALITIES),
    );
    set(
        number(libc::SYS_clone),
        Verdict::ArgumentWithout(table::NAMESPACE_FLAGS),
    );
    set(number(libc::SYS_clone3), Verdict::Missing);
    for call in table::ALLOWED.iter().copied().flatten() {
        set(*call, Verdict::Allow);
    }
    for (capability, calls) in table::WITH_CAPABILITY {
        if capabilities.contains(*capability) {
            for call in *calls {
                set(*call, Verdict::Allow);
            }
        }
    }
    verdicts
}

/// The same as ranges: each begins at its number and ends before the next. The first begins at 0.
fn ranges(verdicts: &BTreeMap<Number, Verdict>) -> Vec<(u32, Verdict)> {
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    let mut push = |start, verdict| {
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((start, verdict));
        }
    };
    let mut next = 0;
    for (number, verdict) in verdicts {
        if *number > next {
            push(next, Verdict::Deny);
        }
        push(*number, *verdict);
        next = number + 1;
    }
    push(next, Verdict::Deny);
    push(table::LAST_KNOWN + 1, Verdict::Missing);
    ranges
}

/// What is done once the range is known.
fn leaf(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow | Verdict::Deny | Verdict::Missing => vec![end(verdict)],
        Verdict::ArgumentWithout(bits) => vec![
            load(FIRST_ARGUMENT),
            jump(JUMP_ANY_BIT, bits, 0, 1),
            end(Verdict::Deny),
            end(Verdict::Allow),
        ],
        Verdict::ArgumentIn(allowed) => {
            let mut program = vec![load(FIRST_ARGUMENT)];
            program.extend(tree(&spread(allowed), &|verdict| vec![end(*verdict)]));
            program
        }
    }
}

/// Ranges with both ends as ranges that cover all numbers.
fn spread(allowed: &[(u32, u32)]) -> Vec<(u32, Verdict)> {
    let mut ranges = Vec::new();
    let mut next = Some(0);
    for (first, last) in allowed {
        if next.is_some_and(|next| next < *first) {
            ranges.extend(next.map(|next| (next, Verdict::Deny)));
        }
        ranges.push((*first, Verdict::Allow));
        next = last.checked_add(1);
    }
    ranges.extend(next.map(|next| (next, Verdict::Deny)));
    ranges
}

fn end(verdict: Verdict) -> Instruction {
    let value = match verdict {
        Verdict::Allow => libc::SECCOMP_RET_ALLOW,
        Verdict::Missing => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        Verdict::Deny | Verdict::ArgumentIn(_) | Verdict::ArgumentWithout(_) => {
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32
        }
    };
    instruction(RETURN, 0, 0, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability;
    use crate::seccomp::program::{ACCUMULATOR_AND, JUMP_AT_LEAST, JUMP_GREATER, LOAD, SKIP};

    /// What the kernel's interpreter answers, in words.
    fn run(filter: &Filter, architecture: u32, number: u32, argument: u64) -> &'static str {
        let mut accumulator = 0;
        let mut at = 0;
        for _ in 0..10_000 {
            let Instruction {
                code,
                jump_true,
                jump_false,
                value,
            } = filter.program[at];
            at += 1;
            let test = match code {
                LOAD => {
                    accumulator = match value {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        FIRST_ARGUMENT => argument as u32,
                        value if value == FIRST_ARGUMENT + 4 => (argument >> 32) as u32,
                        other => panic!("load of {other}"),
                    };
                    continue;
                }
                SKIP => {
                    at += value as usize;
                    continue;
                }
                ACCUMULATOR_AND => {
                    accumulator &= value;
                    continue;
                }
                RETURN if value == libc::SECCOMP_RET_ALLOW => return "allow",
                RETURN if value & 0xffff == libc::ENOSYS as u32 => return "missing",
                RETURN if value == libc::SECCOMP_RET_KILL_PROCESS => return "kill",
                RETURN if value & 0xffff == 7 => return "seven",
                RETURN => return "deny",
                JUMP_EQUAL => accumulator == value,
                JUMP_AT_LEAST => accumulator >= value,
                JUMP_GREATER => accumulator > value,
                JUMP_ANY_BIT => accumulator & value != 0,
                code => panic!("instruction {code:#x}"),
            };
            at += usize::from(if test { jump_true } else { jump_false });
        }
        panic!("does not end");
    }

    fn check(filter: &Filter, call: libc::c_long, argument: u64, expected: &str) {
        let verdict = run(filter, AUDIT_ARCH, call as u32, argument);
        assert_eq!(verdict, expected, "call {call} with {argument:#x}");
    }

    #[test]
    fn agrees_with_the_table_for_every_number() {
        for capabilities in [Set::EMPTY, Set::DEFAULT, Set::ALL] {
            let filter = Filter::new(capabilities);
            let verdicts = verdicts(capabilities);
            for number in (0..1000).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
                let expected = match verdicts.get(&number) {
                    _ if number > table::LAST_KNOWN => "missing",
                    Some(Verdict::Allow) => "allow",
                    Some(Verdict::Missing) => "missing",
                    None => "deny",
                    Some(_) => continue,
                };
                assert_eq!(run(&filter, AUDIT_ARCH, number, 0), expected, "{number}");
            }
        }
        let length = Filter::default_profile().program.len();
        assert!(length < 600, "{length} instructions");
    }

    /// R24: what must not get through.
    #[test]
    fn denies_the_kernels_rims() {
        let filter = Filter::default_profile();
        for call in [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_open_by_handle_at,
            libc::SYS_kexec_load,
            libc::SYS_init_module,
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_settimeofday,
            libc::SYS_perf_event_open,
            libc::SYS_pivot_root,
            libc::SYS_open_tree,
            libc::SYS_mbind,
        ] {
            check(&filter, call, 0, "deny");
        }
        check(&filter, libc::SYS_clone3, 0, "missing");
        assert_eq!(run(&filter, 0x4000_0003, 1, 0), "deny", "a 32-bit call");
        assert_eq!(
            run(&filter, AUDIT_ARCH, 0x4000_0000, 0),
            "missing",
            "an x32 call"
        );
    }

    #[test]
    fn looks_at_arguments() {
        let filter = Filter::default_profile();
        for (family, expected) in [
            (libc::AF_UNIX, "allow"),
            (libc::AF_INET, "allow"),
            (libc::AF_INET6, "allow"),
            (libc::AF_NETLINK, "allow"),
            (libc::AF_PACKET, "allow"),
            (libc::AF_ALG, "deny"),
            (libc::AF_VSOCK, "deny"),
            (12, "deny"),
            (46, "deny"),
            (-1, "deny"),
        ] {
            check(&filter, libc::SYS_socket, family as u64, expected);
        }
        check(&filter, libc::SYS_clone, libc::SIGCHLD as u64, "allow");
        for flag in [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWNET,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWCGROUP,
        ] {
            check(&filter, libc::SYS_clone, flag as u64, "deny");
        }
        for (value, expected) in [
            (0, "allow"),
            (8, "allow"),
            (0x20008, "allow"),
            (0xffff_ffff, "allow"),
            (0x0040000, "deny"),
            (9, "deny"),
        ] {
            check(&filter, libc::SYS_personality, value, expected);
        }
    }

    #[test]
    fn capabilities_open_their_calls() {
        let admin = Filter::new(Set::DEFAULT.with([capability::SYS_ADMIN].into_iter().collect()));
        for call in [libc::SYS_mount, libc::SYS_unshare, libc::SYS_clone3] {
            check(&admin, call, 0, "allow");
        }
        check(&admin, libc::SYS_clone, libc::CLONE_NEWUSER as u64, "allow");
        check(&admin, libc::SYS_kexec_load, 0, "deny");
        let default = Filter::default_profile();
        check(&default, libc::SYS_chroot, 0, "allow");
        check(&Filter::new(Set::EMPTY), libc::SYS_chroot, 0, "deny");
        assert_eq!(default.for_capabilities(Set::DEFAULT), default);
        assert_ne!(default.for_capabilities(Set::EMPTY), default);
    }

    fn profile(text: &str) -> Filter {
        Filter::of_profile(text, Set::DEFAULT).unwrap()
    }

    #[test]
    fn a_profile_of_ones_own_decides() {
        let filter = profile(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "archMap": [], "syscalls": [
                {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW", "args": []},
                {"name": "kill", "action": "SCMP_ACT_KILL_PROCESS"},
                {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7},
                {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"], "minKernel": "4.8"}},
                {"names": ["setns"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "999.0"}},
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_CHOWN"]}},
                {"names": ["reboot"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}}
            ]}"#,
        );
        for (call, expected) in [
            (libc::SYS_read, "allow"),
            (libc::SYS_write, "deny"),
            (libc::SYS_kill, "kill"),
            (libc::SYS_mount, "seven"),
            (libc::SYS_bpf, "deny"),
            (libc::SYS_chroot, "allow"),
            (libc::SYS_setns, "deny"),
            (libc::SYS_ptrace, "deny"),
            (libc::SYS_reboot, "deny"),
        ] {
            check(&filter, call, 0, expected);
        }
    }

    #[test]
    fn other_abis_are_denied_by_any_profile() {
        let open = profile(r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": null}"#);
        check(&open, libc::SYS_mount, 0, "allow");
        check(&open, 999, 0, "allow");
        assert_eq!(run(&open, 0x4000_0003, 1, 0), "deny", "a 32-bit call");
        assert_eq!(
            run(&open, AUDIT_ARCH, 0x4000_0001, 0),
            "deny",
            "an x32 call"
        );
    }

    #[test]
    fn a_profile_compares_whole_arguments() {
        const HIGH: u64 = 1 << 32;
        for (op, value, two, cases) in [
            (
                "EQ",
                HIGH + 5,
                0,
                [(HIGH + 5, true), (5, false), (HIGH, false)],
            ),
            (
                "NE",
                HIGH + 5,
                0,
                [(HIGH + 5, false), (5, true), (HIGH, true)],
            ),
            (
                "LT",
                HIGH,
                0,
                [(HIGH - 1, true), (HIGH, false), (2 * HIGH, false)],
            ),
            (
                "LE",
                HIGH,
                0,
                [(HIGH - 1, true), (HIGH, true), (HIGH + 1, false)],
            ),
            (
                "GE",
                HIGH,
                0,
                [(HIGH - 1, false), (HIGH, true), (2 * HIGH, true)],
            ),
            (
                "GT",
                HIGH,
                0,
                [(HIGH - 1, false), (HIGH, false), (HIGH + 1, true)],
            ),
            (
                "MASKED_EQ",
                HIGH + 6,
                2,
                [(2, true), (HIGH + 2, false), (6, false)],
            ),
        ] {
            let filter = profile(&format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{{"index": 0, "value": {value}, "valueTwo": {two}, "op": "SCMP_CMP_{op}"}}]}}]}}"#
            ));
            for (argument, allowed) in cases {
                let expected = if allowed { "allow" } else { "deny" };
                let verdict = run(&filter, AUDIT_ARCH, libc::SYS_socket as u32, argument);
                assert_eq!(verdict, expected, "{argument:#x} {op} {value:#x}");
            }
        }
        let both = profile(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]}"#,
        );
        for (argument, expected) in [(1, "allow"), (2, "allow"), (3, "deny")] {
            check(&both, libc::SYS_socket, argument, expected);
        }
    }

    #[test]
    fn profiles_that_cannot_be_meant_are_refused() {
        for (text, why) in [
            ("{", "read the seccomp profile"),
            ("{}", "defaultAction"),
            (r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#, "SCMP_ACT_MAYBE"),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}"#,
                "SCMP_ACT_NOTIFY",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#,
                "argument 6",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 1, "value": 0, "op": "LIKE"}]}]}"#,
                "`LIKE`",
            ),
        ] {
            let error = check_profile(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let rule = r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}]}"#;
        let many = vec![rule; 1000].join(",");
        let text = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{many}]}}"#);
        let error = check_profile(&text).unwrap_err();
        assert_eq!(error.kind(), orc_base::Kind::Exhausted, "{error}");
        let long = " ".repeat(profile::MAX_PROFILE + 1);
        assert_eq!(
            check_profile(&long).unwrap_err().kind(),
            orc_base::Kind::Exhausted
        );
    }
}
