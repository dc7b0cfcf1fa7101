//! Signals by name and number. Pure.

use orc_base::{Error, Result};

/// Names without `SIG` and their numbers on x86-64 and arm64 (signal(7)).
const SIGNALS: [(&str, i32); 33] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// The first and last real-time signals that programs may use: the C library keeps two for itself.
const RT_MIN: i32 = 34;
const RT_MAX: i32 = 64;

/// `SIGKILL`
pub const KILL: i32 = 9;
/// `SIGTERM`
pub const TERM: i32 = 15;

/// Reads `SIGTERM`, `TERM`, `term`, `15`, `RTMIN+3` or `SIGRTMAX-1`.
pub fn parse(text: &str) -> Result<i32> {
    number(text).ok_or_else(|| {
        Error::invalid(format!(
            "`{}` is not a signal: use a name such as SIGTERM or a number from 1 to {RT_MAX}",
            text.escape_default()
        ))
    })
}

/// The name with `SIG` of a signal, when it has one.
pub fn name(signal: i32) -> Option<String> {
    if let Some((name, _)) = SIGNALS.iter().find(|(_, number)| *number == signal) {
        return Some(format!("SIG{name}"));
    }
    match signal {
        RT_MIN => Some("SIGRTMIN".into()),
        RT_MAX => Some("SIGRTMAX".into()),
        _ if (RT_MIN..RT_MAX).contains(&signal) => Some(format!("SIGRTMIN+{}", signal - RT_MIN)),
        _ => None,
    }
}

fn number(text: &str) -> Option<i32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text
            .parse()
            .ok()
            .filter(|number| (1..=RT_MAX).contains(number));
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = SIGNALS.iter().find(|(name, _)| *name == bare) {
        return Some(*number);
    }
    let signal = match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
        (Some(rest), _) => RT_MIN.checked_add(offset(rest, '+')?)?,
        (_, Some(rest)) => RT_MAX.checked_sub(offset(rest, '-')?)?,
        _ => return None,
    };
    (RT_MIN..=RT_MAX).contains(&signal).then_some(signal)
}

/// Nothing, or a sign and digits.
fn offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(sign)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", TERM),
            ("TERM", TERM),
            ("term", TERM),
            ("15", TERM),
            ("sigkill", KILL),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for bad in [
            "",
            "0",
            "65",
            "-9",
            "+9",
            "SIG",
            "SIGNOPE",
            "RTMIN+31",
            "RTMAX-99999999999",
            "RTMIN++1",
            "RTMIN-1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_name_reads_back() {
        for signal in (1..=31).chain(RT_MIN..=RT_MAX) {
            assert_eq!(parse(&name(signal).unwrap()).unwrap(), signal);
        }
        assert_eq!(name(6).unwrap(), "SIGABRT");
        assert_eq!((name(0), name(32)), (None, None));
    }
}
