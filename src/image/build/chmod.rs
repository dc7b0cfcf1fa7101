//! The modes of `--chmod`: octal digits, or words as in chmod(1).

use orc_base::{Error, Result};

/// What becomes of a mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chmod {
    /// This instead.
    Set(u32),
    /// Each of these in turn.
    Change(Vec<Clause>),
}

/// `go-w`: who, how and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clause {
    who: u32,
    actions: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Action {
    sign: char,
    /// `rwx` for everybody, set-id and sticky bits.
    bits: u32,
    /// `X`: x for directories and for what somebody may execute.
    execute_if: bool,
    /// `u`, `g` or `o`: what they may.
    copy: Option<char>,
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHER: u32 = 0o1007;

impl Chmod {
    /// Reads `755`, `u=rwx,go+rX`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!(
                "`{}` is no mode; write octal digits or words such as u=rwx,go=rX",
                text.escape_debug()
            ))
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok();
            return Ok(Self::Set(
                mode.filter(|mode| *mode <= 0o7777).ok_or_else(wrong)?,
            ));
        }
        let clauses = text.split(',').map(clause);
        let clauses: Option<Vec<_>> = clauses.collect();
        Ok(Self::Change(clauses.ok_or_else(wrong)?))
    }

    /// The mode that `mode` becomes.
    pub(crate) fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Set(mode) => *mode,
            Self::Change(clauses) => clauses
                .iter()
                .flat_map(|clause| clause.actions.iter().map(|action| (clause.who, action)))
                .fold(mode & 0o7777, |mode, (who, action)| {
                    action.apply(who, mode, is_directory)
                }),
        }
    }
}

fn clause(text: &str) -> Option<Clause> {
    let signs = ['+', '-', '='];
    let start = text.find(signs)?;
    let mut who = 0;
    for c in text[..start].chars() {
        who |= match c {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHER,
            'a' => USER | GROUP | OTHER,
            _ => return None,
        };
    }
    if who == 0 {
        who = USER | GROUP | OTHER;
    }
    let mut actions = Vec::new();
    let mut rest = &text[start..];
    while let Some(sign) = rest.chars().next() {
        let tail = &rest[1..];
        let end = tail.find(signs).unwrap_or(tail.len());
        actions.push(action(sign, &tail[..end])?);
        rest = &tail[end..];
    }
    Some(Clause { who, actions })
}

fn action(sign: char, letters: &str) -> Option<Action> {
    let mut action = Action {
        sign,
        bits: 0,
        execute_if: false,
        copy: None,
    };
    for c in letters.chars() {
        match c {
            'r' => action.bits |= 0o444,
            'w' => action.bits |= 0o222,
            'x' => action.bits |= 0o111,
            's' => action.bits |= 0o6000,
            't' => action.bits |= 0o1000,
            'X' => action.execute_if = true,
            'u' | 'g' | 'o' if letters.len() == 1 => action.copy = Some(c),
            _ => return None,
        }
    }
    Some(action)
}

impl Action {
    fn apply(&self, who: u32, mode: u32, is_directory: bool) -> u32 {
        let mut bits = self.bits;
        if self.execute_if && (is_directory || mode & 0o111 != 0) {
            bits |= 0o111;
        }
        if let Some(from) = self.copy {
            let shift = match from {
                'u' => 6,
                'g' => 3,
                _ => 0,
            };
            bits |= (mode >> shift & 0o7) * 0o111;
        }
        let bits = bits & who;
        match self.sign {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => {
                // Directories keep set-id bits that nobody speaks of, as chmod(1) has it.
                let kept = if is_directory { 0o6000 & !bits } else { 0 };
                mode & (!who | kept) | bits
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_modes_as_chmod_does() {
        for (text, before, is_directory, after) in [
            ("755", 0o600, false, 0o755),
            ("0644", 0o777, true, 0o644),
            ("4755", 0o644, false, 0o4755),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("go=", 0o777, false, 0o700),
            ("u=rwX,go=rX", 0o644, true, 0o755),
            ("u=rwX,go=rX", 0o644, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("g=u", 0o750, false, 0o770),
            ("o+u", 0o750, false, 0o757),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, true, 0o2755),
            ("+t", 0o777, true, 0o1777),
            ("u=rw,u+x,g-r", 0o640, false, 0o700),
            ("u+r-w", 0o200, false, 0o400),
            ("=r", 0o777, false, 0o444),
        ] {
            let chmod = Chmod::parse(text).unwrap();
            let got = chmod.apply(before, is_directory);
            assert_eq!(got, after, "{text} of {before:o}: {got:o}");
        }
    }

    #[test]
    fn refuses_what_is_no_mode() {
        for text in [
            "", "8", "999", "77777", "u", "u+q", "z+x", "u+x,", "-", "rwx", "1x",
        ] {
            let parsed = Chmod::parse(text);
            assert!(parsed.is_err() || text == "-", "{text}");
        }
    }
}
