//! `--since` and `--until`: a time, seconds since 1970, or how long ago; and `-t` in seconds.

use std::time::Duration;

use orc_base::{Error, Result, Time, units};

/// Reads `2026-01-31T12:00:00Z`, `2026-01-31`, `1767225600.5` or `42m`. Times without a zone are UTC.
pub(crate) fn moment(text: &str, now: Time) -> Result<Time> {
    if let Ok(ago) = units::parse_duration(text)
        && text != "0"
    {
        let nanos = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
        return Ok(Time::from_nanos(now.nanos().saturating_sub(nanos)));
    }
    if let Some(time) = unix(text) {
        return Ok(time);
    }
    let zoned = [
        text.to_owned(),
        format!("{text}Z"),
        format!("{text}:00Z"),
        format!("{text}T00:00:00Z"),
    ];
    let time = zoned.iter().find_map(|text| text.parse().ok());
    time.ok_or_else(|| {
        Error::invalid(format!(
            "`{text}` is not a time: use 2026-01-31T12:00:00Z, seconds since 1970, or how long ago, such as 10m"
        ))
    })
}

fn unix(text: &str) -> Option<Time> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}")[..9].parse().ok()?;
    let whole = seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?;
    Some(Time::from_nanos(whole.checked_add(nanos)?))
}

/// `-t SECONDS`; a negative number waits for ever, which is a year here.
pub(crate) fn timeout(seconds: Option<i64>) -> Option<Duration> {
    const FOREVER: u64 = 365 * 86_400;
    seconds
        .map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(FOREVER).min(FOREVER)))
}

/// `--tail`: `all`, or how many lines; a negative number is all, as for Docker.
pub(crate) fn tail(text: &str) -> Result<Option<usize>> {
    match text {
        "all" | "" => Ok(None),
        _ => match text.parse::<i64>() {
            Ok(lines) => Ok(usize::try_from(lines).ok()),
            Err(_) => Err(Error::invalid(format!(
                "`--tail {text}`: use a number of lines, or all"
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now = Time::from_secs(1_000_000);
        for (text, expected) in [
            ("10m", "1970-01-12T13:36:40Z"),
            ("1.5h", "1970-01-12T12:16:40Z"),
            ("2026-01-31T12:00:00+01:00", "2026-01-31T11:00:00Z"),
            ("2026-01-31T12:00:00", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00", "2026-01-31T12:00:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("1767225600.5", "2026-01-01T00:00:00.5Z"),
            ("0", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(moment(text, now).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["", "yesterday", "-5", "5 minutes", "99999999999999999999"] {
            assert!(moment(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_and_seconds() {
        assert_eq!(tail("all").unwrap(), None);
        assert_eq!(tail("-1").unwrap(), None);
        assert_eq!(tail("5").unwrap(), Some(5));
        assert!(tail("x").is_err());
        assert_eq!(timeout(None), None);
        assert_eq!(timeout(Some(3)), Some(Duration::from_secs(3)));
        assert!(timeout(Some(-1)).unwrap() > Duration::from_secs(86_400));
    }
}
