//! Which device numbers a container may open, as lines for the first version of control groups and
//! as a BPF program for the second. Pure.
//!
//! An allow-list: what no rule names is denied.

use orc_base::{Error, Result};

use crate::spec::{Device, DeviceKind, DeviceRule};

/// What a program sees: `BPF_DEVCG_*`.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const ALL: i32 = MKNOD | READ | WRITE;

/// Every container may make nodes, which the other rules keep closed, and use these: null, zero,
/// full, random, urandom, tty, console, ptmx, and terminals.
pub(crate) fn rules(devices: &[Device], extra: &[DeviceRule]) -> Vec<DeviceRule> {
    let rule = |kind, major, minor, access: &str| DeviceRule {
        kind: Some(kind),
        major,
        minor,
        access: access.into(),
    };
    let mut rules = vec![
        rule(DeviceKind::Char, None, None, "m"),
        rule(DeviceKind::Block, None, None, "m"),
    ];
    for (major, minor) in [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(1)),
        (5, Some(2)),
        (136, None),
    ] {
        rules.push(rule(DeviceKind::Char, Some(major), minor, "rwm"));
    }
    for device in devices {
        rules.push(rule(
            device.kind,
            Some(device.major),
            Some(device.minor),
            &device.access,
        ));
    }
    rules.extend_from_slice(extra);
    rules
}

/// Checked rules.
#[derive(Debug)]
pub(crate) struct Filter(Vec<Allowed>);

#[derive(Debug)]
struct Allowed {
    kind: Option<DeviceKind>,
    major: Option<u32>,
    minor: Option<u32>,
    access: i32,
}

impl Filter {
    pub(crate) fn new(rules: &[DeviceRule]) -> Result<Self> {
        let allowed = rules.iter().map(|rule| {
            Ok(Allowed {
                kind: rule.kind,
                major: rule.major,
                minor: rule.minor,
                access: access(&rule.access)?,
            })
        });
        allowed.collect::<Result<_>>().map(Self)
    }

    /// Lines for `devices.allow`.
    pub(crate) fn lines(&self) -> Vec<String> {
        let number = |number: Option<u32>| number.map_or("*".into(), |number| number.to_string());
        let line = |allowed: &Allowed, kind: char| {
            let mut access = String::new();
            for (letter, bit) in [('r', READ), ('w', WRITE), ('m', MKNOD)] {
                if allowed.access & bit != 0 {
                    access.push(letter);
                }
            }
            let (major, minor) = (number(allowed.major), number(allowed.minor));
            format!("{kind} {major}:{minor} {access}")
        };
        let lines = self.0.iter().flat_map(|allowed| match allowed.kind {
            Some(DeviceKind::Char) => vec![line(allowed, 'c')],
            Some(DeviceKind::Block) => vec![line(allowed, 'b')],
            None => vec![line(allowed, 'c'), line(allowed, 'b')],
        });
        lines.collect()
    }

    /// A program for `BPF_PROG_TYPE_CGROUP_DEVICE`, whose context is
    /// `{ u32 access << 16 | type; u32 major; u32 minor }`: returns 1 to allow.
    pub(crate) fn program(&self) -> Vec<u64> {
        let mut program = vec![
            bpf::load_word(KIND, CONTEXT, 0),
            bpf::copy(ACCESS, KIND),
            bpf::and(KIND, 0xffff),
            bpf::shift_right(ACCESS, 16),
            bpf::load_word(MAJOR, CONTEXT, 4),
            bpf::load_word(MINOR, CONTEXT, 8),
        ];
        for allowed in &self.0 {
            program.extend(block(allowed));
        }
        program.extend([bpf::set(RESULT, 0), bpf::end()]);
        program
    }
}

/// Registers of the program.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 0;

/// Returns 1 when the request is what the rule allows, else falls through.
fn block(allowed: &Allowed) -> Vec<u64> {
    let mut tests: Vec<Vec<u64>> = Vec::new();
    if let Some(kind) = allowed.kind {
        let kind = match kind {
            DeviceKind::Block => BLOCK,
            DeviceKind::Char => CHAR,
        };
        tests.push(vec![bpf::jump_unless_equal(KIND, kind)]);
    }
    if allowed.access != ALL {
        // All that is requested must be among what is allowed.
        tests.push(vec![
            bpf::copy(SCRATCH, ACCESS),
            bpf::and(SCRATCH, allowed.access),
            bpf::jump_unless_same(SCRATCH, ACCESS),
        ]);
    }
    for (register, number) in [(MAJOR, allowed.major), (MINOR, allowed.minor)] {
        if let Some(number) = number {
            tests.push(vec![bpf::jump_unless_equal(register, number as i32)]);
        }
    }
    let mut block: Vec<u64> = tests.into_iter().flatten().collect();
    block.extend([bpf::set(RESULT, 1), bpf::end()]);
    let length = block.len();
    for (index, instruction) in block.iter_mut().enumerate() {
        if bpf::is_jump(*instruction) {
            *instruction = bpf::with_offset(*instruction, length - index - 1);
        }
    }
    block
}

fn access(letters: &str) -> Result<i32> {
    let bits = letters.chars().try_fold(0, |bits, letter| match letter {
        'r' => Some(bits | READ),
        'w' => Some(bits | WRITE),
        'm' => Some(bits | MKNOD),
        _ => None,
    });
    bits.filter(|bits| *bits != 0).ok_or_else(|| {
        Error::invalid(format!(
            "`{}` is not a device permission: use letters of `rwm`",
            letters.escape_default()
        ))
    })
}

/// Instructions of extended BPF (Documentation/bpf/standardization/instruction-set.rst of the kernel).
mod bpf {
    fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
        u64::from(code)
            | u64::from(to | from << 4) << 8
            | u64::from(offset as u16) << 16
            | u64::from(value as u32) << 32
    }

    /// `BPF_LDX | BPF_MEM | BPF_W`
    pub(super) fn load_word(to: u8, from: u8, offset: i16) -> u64 {
        instruction(0x61, to, from, offset, 0)
    }

    /// `BPF_ALU | BPF_MOV | BPF_X`
    pub(super) fn copy(to: u8, from: u8) -> u64 {
        instruction(0xbc, to, from, 0, 0)
    }

    /// `BPF_ALU64 | BPF_MOV | BPF_K`
    pub(super) fn set(to: u8, value: i32) -> u64 {
        instruction(0xb7, to, 0, 0, value)
    }

    /// `BPF_ALU | BPF_AND | BPF_K`
    pub(super) fn and(to: u8, value: i32) -> u64 {
        instruction(0x54, to, 0, 0, value)
    }

    /// `BPF_ALU | BPF_RSH | BPF_K`
    pub(super) fn shift_right(to: u8, value: i32) -> u64 {
        instruction(0x74, to, 0, 0, value)
    }

    /// `BPF_JMP32 | BPF_JNE | BPF_K`, its offset still to be set
    pub(super) fn jump_unless_equal(register: u8, value: i32) -> u64 {
        instruction(0x56, register, 0, 0, value)
    }

    /// `BPF_JMP32 | BPF_JNE | BPF_X`, its offset still to be set
    pub(super) fn jump_unless_same(one: u8, other: u8) -> u64 {
        instruction(0x5e, one, other, 0, 0)
    }

    /// `BPF_JMP | BPF_EXIT`
    pub(super) fn end() -> u64 {
        instruction(0x95, 0, 0, 0, 0)
    }

    pub(super) fn is_jump(instruction: u64) -> bool {
        matches!(instruction as u8, 0x56 | 0x5e)
    }

    pub(super) fn with_offset(instruction: u64, offset: usize) -> u64 {
        instruction & !(0xffff << 16) | ((offset as u64 & 0x7fff) << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        kind: Option<DeviceKind>,
        major: Option<u32>,
        minor: Option<u32>,
        access: &str,
    ) -> DeviceRule {
        DeviceRule {
            kind,
            major,
            minor,
            access: access.into(),
        }
    }

    #[test]
    fn lines_of_the_first_version() {
        let lines = Filter::new(&rules(&[], &[rule(None, Some(10), None, "r")]))
            .unwrap()
            .lines();
        assert_eq!(
            lines,
            [
                "c *:* m",
                "b *:* m",
                "c 1:3 rwm",
                "c 1:5 rwm",
                "c 1:7 rwm",
                "c 1:8 rwm",
                "c 1:9 rwm",
                "c 5:0 rwm",
                "c 5:1 rwm",
                "c 5:2 rwm",
                "c 136:* rwm",
                "c 10:* r",
                "b 10:* r",
            ]
        );
        for bad in ["", "x", "rwx", "r\n"] {
            assert!(Filter::new(&[rule(None, None, None, bad)]).is_err());
        }
    }

    /// Runs the program as the kernel would, for the few instructions it uses.
    fn allows(program: &[u64], kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let context = [(access as u32) << 16 | kind as u32, major, minor];
        let mut registers = [0u32; 11];
        let mut at = 0;
        for _ in 0..10_000 {
            let instruction = program[at];
            at += 1;
            let (to, from) = (
                (instruction >> 8 & 0xf) as usize,
                (instruction >> 12 & 0xf) as usize,
            );
            let offset = (instruction >> 16 & 0xffff) as usize;
            let value = (instruction >> 32) as u32;
            match instruction as u8 {
                0x61 => registers[to] = context[offset / 4],
                0xbc => registers[to] = registers[from],
                0xb7 => registers[to] = value,
                0x54 => registers[to] &= value,
                0x74 => registers[to] >>= value,
                0x56 if registers[to] != value => at += offset,
                0x5e if registers[to] != registers[from] => at += offset,
                0x56 | 0x5e => {}
                0x95 => return registers[0] == 1,
                code => panic!("instruction {code:#x}"),
            }
        }
        panic!("does not end");
    }

    #[test]
    fn the_program_decides_as_the_lines_say() {
        let fuse = rule(Some(DeviceKind::Char), Some(10), Some(229), "rw");
        let program = Filter::new(&rules(&[], &[fuse])).unwrap().program();
        for (kind, access, major, minor, allowed) in [
            (CHAR, READ | WRITE, 1, 3, true),
            (CHAR, READ, 1, 1, false),
            (BLOCK, READ, 1, 3, false),
            (BLOCK, READ, 8, 0, false),
            (BLOCK, MKNOD, 8, 0, true),
            (BLOCK, MKNOD | READ, 8, 0, false),
            (CHAR, READ | WRITE, 136, 77, true),
            (CHAR, READ, 10, 229, true),
            (CHAR, READ, 10, 228, false),
            (CHAR, MKNOD | WRITE, 10, 229, false),
        ] {
            assert_eq!(
                allows(&program, kind, access, major, minor),
                allowed,
                "{kind} {access} {major}:{minor}"
            );
        }
        let nothing = Filter::new(&[]).unwrap().program();
        assert!(!allows(&nothing, CHAR, READ, 1, 3));
    }
}
