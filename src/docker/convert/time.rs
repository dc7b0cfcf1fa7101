//! Times and durations as Docker writes them.

use std::time::Duration;

use orc_base::units::parse_duration;
use orc_base::{Error, Result, Time};
use serde_json::Value;

/// Go's zero time: never.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// RFC 3339, or [`NEVER`].
pub(crate) fn or_never(time: Option<Time>) -> String {
    time.map_or_else(|| NEVER.into(), |time| time.to_string())
}

/// The inverse of [`or_never`].
pub(crate) fn known(text: &str) -> Result<Option<Time>> {
    match text {
        "" | NEVER => Ok(None),
        text => text.parse().map(Some),
    }
}

/// RFC 3339 with always nine digits of fraction, which logs are stamped with.
pub(crate) fn stamp(time: Time) -> String {
    let seconds = Time::from_secs(time.secs()).to_string();
    let fraction = time.nanos().rem_euclid(1_000_000_000);
    format!("{}.{fraction:09}Z", seconds.trim_end_matches('Z'))
}

/// Seconds since 1970 with a fraction, `1700000000.000000005`.
pub(crate) fn seconds(time: Time) -> String {
    format!(
        "{}.{:09}",
        time.secs(),
        time.nanos().rem_euclid(1_000_000_000)
    )
}

/// A point in time of a query: seconds since 1970 with a fraction, RFC 3339, or a duration before
/// `now`. Nothing for an empty text and for 0.
pub(crate) fn moment(name: &str, text: &str, now: Time) -> Result<Option<Time>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(time) = unix(text) {
        return Ok((time != Time::EPOCH).then_some(time));
    }
    if let Ok(time) = text.parse() {
        return Ok(Some(time));
    }
    if let Ok(ago) = parse_duration(text.trim_start_matches('-')) {
        let ago = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
        return Ok(Some(Time::from_nanos(now.nanos().saturating_sub(ago))));
    }
    Err(Error::invalid(format!(
        "`{name}`: `{text}` is not a time: use seconds since 1970, RFC 3339 or a duration such as 10m"
    )))
}

fn unix(text: &str) -> Option<Time> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = seconds.starts_with('-');
    let seconds: i64 = seconds.parse().ok()?;
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: i64 = digits.parse().ok()?;
    let whole = seconds.checked_mul(1_000_000_000)?;
    let nanos = if negative { -nanos } else { nanos };
    whole.checked_add(nanos).map(Time::from_nanos)
}

/// What stands for ever.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Seconds, whole or not. A negative number is Docker's way to say for ever.
pub(crate) fn from_seconds(name: &str, seconds: f64) -> Result<Duration> {
    if seconds < 0.0 {
        return Ok(FOR_EVER);
    }
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Error::invalid(format!("`{name}`: {seconds} is too long")))
}

/// A number of seconds in JSON; whole ones as an integer, as Docker's are.
pub(crate) fn seconds_value(duration: Duration) -> Value {
    match duration.subsec_nanos() {
        0 => duration.as_secs().into(),
        _ => duration.as_secs_f64().into(),
    }
}

/// Nanoseconds; `None` is 0.
pub(crate) fn nanos(duration: Option<Duration>) -> i64 {
    duration.map_or(0, |duration| {
        i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// The inverse of [`nanos`].
pub(crate) fn from_nanos(name: &str, nanos: i64) -> Result<Option<Duration>> {
    match u64::try_from(nanos) {
        Ok(0) => Ok(None),
        Ok(nanos) => Ok(Some(Duration::from_nanos(nanos))),
        Err(_) => Err(Error::invalid(format!("`{name}` is negative"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now = Time::from_secs(1_000);
        let at = |text| moment("since", text, now).unwrap();
        assert_eq!(at(""), None);
        assert_eq!(at("0"), None);
        assert_eq!(at("17.5"), Some(Time::from_nanos(17_500_000_000)));
        assert_eq!(at("10m"), Some(Time::from_secs(400)));
        assert_eq!(at("1970-01-01T00:00:05Z"), Some(Time::from_secs(5)));
        assert!(
            moment("since", "noon", now)
                .unwrap_err()
                .to_string()
                .contains("since")
        );
        let odd = Time::from_nanos(1_234_000_000_005);
        assert_eq!(at(&seconds(odd)), Some(odd));
    }

    #[test]
    fn stamps_have_one_width() {
        assert_eq!(
            stamp(Time::from_nanos(1_500_000_000)),
            "1970-01-01T00:00:01.500000000Z"
        );
        assert_eq!(stamp(Time::EPOCH).len(), 30);
    }

    #[test]
    fn never_is_none() {
        assert_eq!(known(&or_never(None)).unwrap(), None);
        let time = Some(Time::from_nanos(7));
        assert_eq!(known(&or_never(time)).unwrap(), time);
        assert!(known("today").is_err());
    }

    #[test]
    fn seconds_may_be_broken() {
        assert_eq!(seconds_value(Duration::from_secs(3)), 3);
        assert_eq!(seconds_value(Duration::from_millis(1500)), 1.5);
        assert_eq!(from_seconds("t", 1.5).unwrap(), Duration::from_millis(1500));
        assert_eq!(from_seconds("t", -1.0).unwrap(), FOR_EVER);
        assert!(from_seconds("t", f64::MAX).is_err());
    }
}
