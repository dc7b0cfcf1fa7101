//! Classic BPF for system call filters: instructions, and a search among ranges of numbers.
//! Pure; what is decided about which call is `seccomp` and `profile`.

use crate::sys::linux::Instruction;

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;

#[cfg(target_arch = "x86_64")]
pub(super) const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const AUDIT_ARCH: u32 = 0xc000_00b7;

/// A binary search for the range of what was loaded; every path ends in a leaf, and every leaf ends.
pub(super) fn tree<T>(
    ranges: &[(u32, T)],
    leaf: &dyn Fn(&T) -> Vec<Instruction>,
) -> Vec<Instruction> {
    if let [(_, what)] = ranges {
        return leaf(what);
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
pub(super) const JUMP_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`
pub(super) const JUMP_AT_LEAST: u16 = 0x35;
/// `BPF_JMP | BPF_JA`
pub(super) const SKIP: u16 = 0x05;
/// `BPF_JMP | BPF_JGT | BPF_K`
pub(super) const JUMP_GREATER: u16 = 0x25;
/// `BPF_ALU | BPF_AND | BPF_K`
pub(super) const ACCUMULATOR_AND: u16 = 0x54;
/// `BPF_LD | BPF_W | BPF_ABS`
pub(super) const LOAD: u16 = 0x20;
/// `BPF_RET | BPF_K`
pub(super) const RETURN: u16 = 0x06;

/// Loads a word of `struct seccomp_data`.
pub(super) fn load(offset: u32) -> Instruction {
    instruction(LOAD, 0, 0, offset)
}

/// Jumps over so many instructions.
pub(super) fn jump(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    instruction(code, jump_true, jump_false, value)
}

fn skip(count: usize) -> Instruction {
    instruction(SKIP, 0, 0, count as u32)
}

/// One instruction.
pub(super) fn instruction(code: u16, jump_true: u8, jump_false: u8, value: u32) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        value,
    }
}
