//! Profiles that somebody wrote, in Docker's JSON (`seccomp=profile.json`), as one BPF program.
//!
//! Rules are tried in their order and the first that fits decides, else `defaultAction` does. As with
//! Docker, a rule whose `includes` and `excludes` do not fit the container, and names that this
//! processor does not have, are as if they were not there. Calls of another ABI (32-bit, x32) are
//! always denied: their numbers mean other calls, and a list of what is denied would miss them.
//! Actions that need somebody who listens (`TRACE`, `NOTIFY`) are refused.

use std::collections::BTreeMap;

use orc_base::{Context, Error, Result};
use serde::Deserialize;

use crate::capability::{Capability, Set};
use crate::seccomp::names;
use crate::seccomp::program::{
    ACCUMULATOR_AND, ARCHITECTURE, AUDIT_ARCH, JUMP_AT_LEAST, JUMP_EQUAL, JUMP_GREATER, NUMBER,
    RETURN, instruction, jump, load, tree,
};
use crate::seccomp::table::Number;
use crate::sys::linux::Instruction;

/// The longest text of a profile.
pub(super) const MAX_PROFILE: usize = 1 << 20;
/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;
/// Numbers from here on are x32's.
const X32: Number = 0x4000_0000;
/// Go's word for this processor.
#[cfg(target_arch = "x86_64")]
const GO_ARCH: &str = "amd64";
#[cfg(target_arch = "aarch64")]
const GO_ARCH: &str = "arm64";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    #[serde(default)]
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Circumstances>,
    #[serde(default)]
    excludes: Option<Circumstances>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Circumstances {
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// What the kernel is told to do: `SECCOMP_RET_…` with its data.
type Verdict = u32;

/// One rule for one call: all conditions must hold.
#[derive(Clone)]
struct Case {
    conditions: Vec<Argument>,
    verdict: Verdict,
}

/// The program of a profile for a container with these capabilities, on this kernel
/// (`major.minor`). `Invalid` says what is wrong with the text.
pub(super) fn program(
    text: &str,
    capabilities: Set,
    kernel: (u32, u32),
) -> Result<Vec<Instruction>> {
    if text.len() > MAX_PROFILE {
        return Err(Error::exhausted(format!(
            "the seccomp profile is longer than {MAX_PROFILE} bytes"
        )));
    }
    let profile: Profile = serde_json::from_str(text)
        .map_err(|error| Error::invalid(error.to_string()))
        .context(|| "read the seccomp profile")?;
    let default = verdict(&profile.default_action, profile.default_errno_ret)?;
    let mut calls: BTreeMap<Number, Vec<Case>> = BTreeMap::new();
    for rule in profile.syscalls.iter().flatten() {
        if fits(rule, capabilities, kernel)? {
            add(rule, &mut calls)?;
        }
    }
    let mut program = vec![
        load(ARCHITECTURE),
        jump(JUMP_EQUAL, AUDIT_ARCH, 1, 0),
        instruction(RETURN, 0, 0, denied()),
        load(NUMBER),
    ];
    program.extend(tree(&ranges(&calls, default), &|cases: &Vec<Case>| {
        leaf(cases, default)
    }));
    match program.len() <= MAX_INSTRUCTIONS {
        true => Ok(program),
        false => Err(Error::exhausted(format!(
            "the seccomp profile needs {} instructions, and the kernel takes {MAX_INSTRUCTIONS}",
            program.len()
        ))),
    }
}

fn denied() -> Verdict {
    libc::SECCOMP_RET_ERRNO | libc::EPERM as u32
}

fn verdict(action: &str, errno: Option<u16>) -> Result<Verdict> {
    let errno = errno.map_or(libc::EPERM as u32, u32::from);
    Ok(match action {
        "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
        "SCMP_ACT_ERRNO" => libc::SECCOMP_RET_ERRNO | errno,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => libc::SECCOMP_RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => libc::SECCOMP_RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => libc::SECCOMP_RET_TRAP,
        "SCMP_ACT_LOG" => libc::SECCOMP_RET_LOG,
        other => {
            return Err(Error::unsupported(format!(
                "the seccomp profile says `{}`: use SCMP_ACT_ALLOW, ERRNO, KILL, KILL_PROCESS, TRAP or LOG",
                other.escape_default()
            )));
        }
    })
}

/// Whether a rule is about this container on this machine.
fn fits(rule: &Rule, capabilities: Set, kernel: (u32, u32)) -> Result<bool> {
    let has = |name: &String| -> Result<bool> {
        // A capability that nobody knows is one that the container does not have.
        Ok(Capability::parse(name).is_ok_and(|one| capabilities.contains(one)))
    };
    if let Some(wanted) = &rule.includes {
        let caps = wanted.caps.iter().flatten().map(has);
        if !caps.collect::<Result<Vec<_>>>()?.into_iter().all(|has| has) {
            return Ok(false);
        }
        let mut arches = wanted.arches.iter().flatten().peekable();
        if arches.peek().is_some() && !arches.any(|arch| arch == GO_ARCH) {
            return Ok(false);
        }
        if wanted
            .min_kernel
            .as_deref()
            .is_some_and(|least| kernel < version(least))
        {
            return Ok(false);
        }
    }
    if let Some(unwanted) = &rule.excludes {
        let caps = unwanted.caps.iter().flatten().map(has);
        if caps.collect::<Result<Vec<_>>>()?.into_iter().any(|has| has) {
            return Ok(false);
        }
        if unwanted.arches.iter().flatten().any(|arch| arch == GO_ARCH) {
            return Ok(false);
        }
        if unwanted
            .min_kernel
            .as_deref()
            .is_some_and(|least| kernel >= version(least))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `4.8` of `4.8`, `6.18` of `6.18.0-generic`.
pub(super) fn version(text: &str) -> (u32, u32) {
    let mut parts = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn add(rule: &Rule, calls: &mut BTreeMap<Number, Vec<Case>>) -> Result<()> {
    let verdict = verdict(&rule.action, rule.errno_ret)?;
    let arguments = rule.args.clone().unwrap_or_default();
    if let Some(bad) = arguments.iter().find(|one| one.index > 5) {
        return Err(Error::invalid(format!(
            "the seccomp profile compares argument {}: system calls have 0 to 5",
            bad.index
        )));
    }
    for one in &arguments {
        comparison(&one.op)?;
    }
    // As runc does: two conditions about one argument are two rules.
    let twice = (0..6).any(|index| arguments.iter().filter(|one| one.index == index).count() > 1);
    let alternatives: Vec<Vec<Argument>> = match twice {
        true => arguments.into_iter().map(|one| vec![one]).collect(),
        false => vec![arguments],
    };
    let names = rule.names.iter().flatten().chain(Some(&rule.name));
    for number in names.filter_map(|name| names::number(name)) {
        let cases = calls.entry(number).or_default();
        cases.extend(alternatives.iter().map(|conditions| Case {
            conditions: conditions.clone(),
            verdict,
        }));
    }
    Ok(())
}

/// The cases of every number, as ranges: each begins at its number and ends before the next.
fn ranges(calls: &BTreeMap<Number, Vec<Case>>, default: Verdict) -> Vec<(u32, Vec<Case>)> {
    let always = |verdict| {
        vec![Case {
            conditions: Vec::new(),
            verdict,
        }]
    };
    let mut ranges: Vec<(u32, Vec<Case>)> = Vec::new();
    let mut push = |start, cases: Vec<Case>| {
        let same = ranges.last().is_some_and(|(_, last): &(u32, Vec<Case>)| {
            let plain = |cases: &[Case]| match cases {
                [one, ..] if one.conditions.is_empty() => Some(one.verdict),
                _ => None,
            };
            plain(last).is_some() && plain(last) == plain(&cases)
        });
        if !same {
            ranges.push((start, cases));
        }
    };
    let mut next = 0;
    for (number, cases) in calls {
        if *number > next {
            push(next, always(default));
        }
        push(*number, cases.clone());
        next = number + 1;
    }
    push(next, always(default));
    push(X32, always(denied()));
    ranges
}

/// The cases in turn; one without conditions is the last.
fn leaf(cases: &[Case], default: Verdict) -> Vec<Instruction> {
    let mut program = Vec::new();
    for case in cases {
        program.extend(block(case));
        if case.conditions.is_empty() {
            return program;
        }
    }
    program.push(instruction(RETURN, 0, 0, default));
    program
}

/// Where a jump goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// To what comes next.
    Next,
    /// Behind the condition: it holds.
    Holds,
    /// Behind the case: it does not fit.
    Fails,
}

enum Step {
    Do(Instruction),
    Jump(u16, u32, To, To),
}

/// Returns the verdict when all conditions hold, else falls through. At most six conditions of at
/// most seven steps: every jump is short.
fn block(case: &Case) -> Vec<Instruction> {
    let conditions: Vec<Vec<Step>> = case.conditions.iter().map(condition).collect();
    let length: usize = conditions.iter().map(Vec::len).sum::<usize>() + 1;
    let mut program = Vec::with_capacity(length);
    let mut end = 0;
    for steps in conditions {
        end += steps.len();
        for step in steps {
            let at = program.len() + 1;
            let offset = |to: To| match to {
                To::Next => 0,
                To::Holds => (end - at) as u8,
                To::Fails => (length - at) as u8,
            };
            program.push(match step {
                Step::Do(instruction) => instruction,
                Step::Jump(code, value, yes, no) => jump(code, value, offset(yes), offset(no)),
            });
        }
    }
    program.push(instruction(RETURN, 0, 0, case.verdict));
    program
}

fn comparison(op: &str) -> Result<()> {
    match op {
        "SCMP_CMP_NE" | "SCMP_CMP_LT" | "SCMP_CMP_LE" | "SCMP_CMP_EQ" | "SCMP_CMP_GE"
        | "SCMP_CMP_GT" | "SCMP_CMP_MASKED_EQ" => Ok(()),
        other => Err(Error::invalid(format!(
            "the seccomp profile compares by `{}`: use SCMP_CMP_NE, LT, LE, EQ, GE, GT or MASKED_EQ",
            other.escape_default()
        ))),
    }
}

/// One condition about one argument of 64 bits; what a program loads has 32.
fn condition(argument: &Argument) -> Vec<Step> {
    let offset = 16 + 8 * argument.index;
    let (low, high) = (Step::Do(load(offset)), Step::Do(load(offset + 4)));
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    let (value_low, value_high) = halves(argument.value);
    let and = |mask: u32| Step::Do(instruction(ACCUMULATOR_AND, 0, 0, mask));
    let equal = |value, yes, no| Step::Jump(JUMP_EQUAL, value, yes, no);
    // The high halves decide unless they are the same.
    let order = |above, below, last| {
        vec![
            Step::Do(load(offset + 4)),
            Step::Jump(JUMP_GREATER, value_high, above, To::Next),
            equal(value_high, To::Next, below),
            Step::Do(load(offset)),
            last,
        ]
    };
    match argument.op.as_str() {
        "SCMP_CMP_EQ" => vec![
            high,
            equal(value_high, To::Next, To::Fails),
            low,
            equal(value_low, To::Next, To::Fails),
        ],
        "SCMP_CMP_NE" => vec![
            high,
            equal(value_high, To::Next, To::Holds),
            low,
            equal(value_low, To::Fails, To::Next),
        ],
        "SCMP_CMP_MASKED_EQ" => {
            let (wanted_low, wanted_high) = halves(argument.value_two);
            vec![
                high,
                and(value_high),
                equal(wanted_high, To::Next, To::Fails),
                low,
                and(value_low),
                equal(wanted_low, To::Next, To::Fails),
            ]
        }
        "SCMP_CMP_GE" => order(
            To::Holds,
            To::Fails,
            Step::Jump(JUMP_AT_LEAST, value_low, To::Next, To::Fails),
        ),
        "SCMP_CMP_GT" => order(
            To::Holds,
            To::Fails,
            Step::Jump(JUMP_GREATER, value_low, To::Next, To::Fails),
        ),
        "SCMP_CMP_LT" => order(
            To::Fails,
            To::Holds,
            Step::Jump(JUMP_AT_LEAST, value_low, To::Fails, To::Next),
        ),
        _ => order(
            To::Fails,
            To::Holds,
            Step::Jump(JUMP_GREATER, value_low, To::Fails, To::Next),
        ),
    }
}
