//! Sizes and durations as people write them in Compose files and on command lines.

use std::time::Duration;

use crate::error::{Error, Result};

/// Reads a size such as `64m`, `1.5GiB`, `512` or `10kb`: a number and an optional unit, powers of
/// 1024 as Docker's `RAMInBytes`. A size is never negative.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let unit = trimmed[digits..].trim().to_ascii_lowercase();
    let scale: u64 = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        "p" => 1 << 50,
        _ => return Err(not_a_size(text)),
    };
    if let Ok(whole) = trimmed[..digits].parse::<u64>() {
        return whole.checked_mul(scale).ok_or_else(|| not_a_size(text));
    }
    let number: f64 = trimmed[..digits].parse().map_err(|_| not_a_size(text))?;
    let bytes = number * scale as f64;
    if bytes >= u64::MAX as f64 {
        return Err(not_a_size(text));
    }
    Ok(bytes as u64)
}

fn not_a_size(text: &str) -> Error {
    Error::invalid(format!("`{text}` is not a size such as 512k, 64m or 1g"))
}

const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Prints a size in powers of 1000 with at most three significant digits, as `docker images` does.
pub fn format_bytes(bytes: u64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 3)
}

/// Prints a size in powers of 1000 with at most four significant digits, as `docker system df` does.
pub fn format_bytes_finely(bytes: u64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 4)
}

/// Prints a size in powers of 1024 with at most three significant digits, as `docker stats` does.
pub fn format_bytes_binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &BINARY, 3)
}

fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let precision = match value {
        _ if unit == 0 => 0,
        v if v >= 1000.0 => digits.saturating_sub(4),
        v if v >= 100.0 => digits - 3,
        v if v >= 10.0 => digits - 2,
        _ => digits - 1,
    };
    let number = format!("{value:.precision$}");
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    format!("{number}{}", units[unit])
}

/// Reads a duration of the Compose Specification and of Go: `1m30s`, `1.5h`, `250ms`, `10us`, `0`.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let fail = || {
        Error::invalid(format!(
            "`{text}` is not a duration such as 10s, 1m30s or 500ms"
        ))
    };
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(fail());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(fail)?;
        let number: f64 = rest[..digits].parse().map_err(|_| fail())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            _ => return Err(fail()),
        };
        let part = Duration::try_from_secs_f64(number * unit).map_err(|_| fail())?;
        total = total.checked_add(part).ok_or_else(fail)?;
        rest = &rest[letters..];
    }
    Ok(total)
}

/// Prints a duration the way Go does: `1m30s`, `1.5s`, `500ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    if nanos < 1_000_000_000 {
        let (unit, name) = match nanos {
            n if n < 1_000 => (1, "ns"),
            n if n < 1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{}{name}", decimal(nanos, unit));
    }
    let secs = duration.as_secs();
    let (hours, minutes) = (secs / 3600, secs / 60 % 60);
    let seconds = decimal(
        nanos - u128::from(secs / 60 * 60) * 1_000_000_000,
        1_000_000_000,
    );
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / unit` as the shortest decimal; `unit` is a power of ten.
fn decimal(value: u128, unit: u128) -> String {
    let width = unit.ilog10() as usize;
    let fraction = format!("{:0width$}", value % unit);
    let fraction = fraction.trim_end_matches('0');
    match (width, fraction) {
        (0, _) | (_, "") => (value / unit).to_string(),
        _ => format!("{}.{fraction}", value / unit),
    }
}

/// How long ago or how long, in the words of `docker ps`: `5 seconds`, `About a minute`, `3 days`.
pub fn human_duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    let (minutes, hours) = (secs / 60, (secs + 1800) / 3600);
    match secs {
        0 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{secs} seconds"),
        60..120 => "About a minute".into(),
        120..2_760 => format!("{minutes} minutes"),
        2_760..5_400 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512", 512),
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("10 kb", 10 << 10),
            ("0", 0),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for bad in ["", "m", "-1", "1x", "99999999999999999999g", "1.2.3"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(format_bytes(4_261_550), "4.26MB");
        assert_eq!(format_bytes(999), "999B");
        assert_eq!(format_bytes_finely(4_261_550), "4.262MB");
        assert_eq!(format_bytes_finely(12_345_678), "12.35MB");
        assert_eq!(format_bytes_finely(999), "999B");
        assert_eq!(format_bytes_finely(0), "0B");
        assert_eq!(format_bytes_binary(64 << 20), "64MiB");
    }

    #[test]
    fn durations() {
        for (text, shown) in [
            ("1m30s", "1m30s"),
            ("90s", "1m30s"),
            ("1.5h", "1h30m0s"),
            ("250ms", "250ms"),
            ("1500us", "1.5ms"),
            ("10ns", "10ns"),
            ("2.25s", "2.25s"),
            ("0", "0s"),
        ] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), shown);
        }
        for bad in ["", "5", "s", "1x", "-1s", "1s2", "1e400s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ages() {
        for (secs, text) in [
            (0, "Less than a second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (600, "10 minutes"),
            (3_700, "About an hour"),
            (86_400 * 3, "3 days"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(secs)), text);
        }
    }
}
