//! The default system call filter, as one BPF program.
//!
//! An allow-list: what it does not name fails with EPERM. Calls newer than the table fail with
//! ENOSYS, so that C libraries fall back to older ones, and so does `clone3`, whose flags a filter
//! cannot read. Other ABIs of the machine (32-bit, x32) are denied: their numbers mean other calls.
//!
//! Own instructions instead of a library's: neighbours in the table that are treated alike become
//! one range, and ranges a search tree, which is shorter and faster than a list of comparisons.

use std::collections::BTreeMap;

use crate::capability::Set;
use crate::sys::linux::Instruction;

mod table;

use crate::seccomp::table::Number;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The low half of the first argument: the kernel reads no more of it for the calls tested here.
const FIRST_ARGUMENT: u32 = 16;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

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
        program.extend(tree(&ranges(&verdicts(capabilities)), &leaf));
        Self {
            capabilities,
            program,
        }
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
            program.extend(tree(&spread(allowed), &|verdict| vec![end(verdict)]));
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

/// A binary search for the range of what was loaded; every path ends in a leaf, and every leaf ends.
fn tree(ranges: &[(u32, Verdict)], leaf: &dyn Fn(Verdict) -> Vec<Instruction>) -> Vec<Instruction> {
    if let [(_, verdict)] = ranges {
        return leaf(*verdict);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let start = high[0].0;
    let low = tree(low, leaf);
    let mut program = match u8::try_from(low.len()) {
        Ok(length) => vec![jump(JUMP_AT_LEAST, start, length, 0)],
        // Conditional jumps reach 255 instructions, unconditional ones any number.
        Err(_) => vec![jump(JUMP_AT_LEAST, start, 0, 1), skip(low.len())],
    };
    program.extend(low);
    program.extend(tree(high, leaf));
    program
}

/// `BPF_JMP | BPF_JEQ | BPF_K`
const JUMP_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`
const JUMP_AT_LEAST: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`
const JUMP_ANY_BIT: u16 = 0x45;
/// `BPF_JMP | BPF_JA`
const SKIP: u16 = 0x05;
/// `BPF_LD | BPF_W | BPF_ABS`
const LOAD: u16 = 0x20;
/// `BPF_RET | BPF_K`
const RETURN: u16 = 0x06;

fn load(offset: u32) -> Instruction {
    instruction(LOAD, 0, 0, offset)
}

fn jump(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    instruction(code, jump_true, jump_false, value)
}

fn skip(count: usize) -> Instruction {
    instruction(SKIP, 0, 0, count as u32)
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

fn instruction(code: u16, jump_true: u8, jump_false: u8, value: u32) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability;

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
                        other => panic!("load of {other}"),
                    };
                    continue;
                }
                SKIP => {
                    at += value as usize;
                    continue;
                }
                RETURN if value == libc::SECCOMP_RET_ALLOW => return "allow",
                RETURN if value & 0xffff == libc::ENOSYS as u32 => return "missing",
                RETURN => return "deny",
                JUMP_EQUAL => accumulator == value,
                JUMP_AT_LEAST => accumulator >= value,
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
}
