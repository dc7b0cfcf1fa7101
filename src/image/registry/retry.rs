//! Whether and when to try again: pure, from what went wrong and how often to a wait.
//!
//! The number of tries and every wait are bounded by [`Limits`], whatever the other side says: a
//! `Retry-After` of zero still waits, one of an hour ends the attempt and is told to the user.

use std::time::Duration;

use orc_base::{Error, Time};

use crate::registry::config::Limits;

/// An error, and whether trying again may help.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) hope: Hope,
}

/// Whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hope {
    /// The same request will fail again.
    None,
    /// There is no connection. If there never was one, the address is likely wrong.
    NoConnection,
    /// It may have been bad luck.
    Soon,
    /// The other side says when.
    After(Duration),
}

impl Failure {
    /// Trying again does not help.
    pub(crate) fn last(error: Error) -> Self {
        Self {
            error,
            hope: Hope::None,
        }
    }

    /// Trying again may help.
    pub(crate) fn passing(error: Error) -> Self {
        Self {
            error,
            hope: Hope::Soon,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::last(error)
    }
}

/// How often a request failed so far, and at which endpoint.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tries {
    failed: u32,
    endpoint: usize,
}

impl Tries {
    /// Begins to count anew, after something went well.
    pub(crate) fn reset(&mut self) {
        self.failed = 0;
    }

    /// Begins to count anew when it is another endpoint's turn: then true.
    pub(crate) fn moved_to(&mut self, endpoint: usize) -> bool {
        let moved = self.endpoint != endpoint;
        if moved {
            *self = Self {
                failed: 0,
                endpoint,
            };
        }
        moved
    }

    /// Counts a failure: how long to wait before the next try, or none to give up. `reached` is
    /// whether the registry ever answered; `random` spreads waits of many clients.
    pub(crate) fn next(
        &mut self,
        hope: Hope,
        reached: bool,
        limits: &Limits,
        random: u8,
    ) -> Option<Duration> {
        self.failed += 1;
        let tries = match hope {
            Hope::None => 1,
            Hope::NoConnection if !reached => limits.tries.min(2),
            _ => limits.tries,
        };
        if self.failed >= tries {
            return None;
        }
        let doubled = limits
            .backoff
            .saturating_mul(1 << (self.failed - 1).min(16));
        let spread = doubled.mul_f64(1.0 + f64::from(random) / 512.0);
        let wait = match hope {
            Hope::After(asked) if asked > limits.longest_wait => return None,
            Hope::After(asked) => asked.max(limits.backoff),
            _ => spread,
        };
        Some(wait.min(limits.longest_wait))
    }
}

/// Reads a `Retry-After` header: seconds or a date (RFC 9110, 10.2.3). Nonsense is none.
pub(crate) fn retry_after(header: &str, now: Time) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    Some(http_date(header)?.since(now))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; the two older forms that the RFC also knows are not read.
fn http_date(text: &str) -> Option<Time> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, clock, "GMT"] = words.as_slice() else {
        return None;
    };
    let month = 1 + MONTHS.iter().position(|name| name == month)?;
    format!("{year}-{month:02}-{day}T{clock}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            tries: 4,
            backoff: Duration::from_secs(1),
            longest_wait: Duration::from_secs(3),
            ..Limits::default()
        }
    }

    /// The waits in seconds until it gives up.
    fn waits(hope: Hope, reached: bool) -> Vec<u64> {
        let mut tries = Tries::default();
        let next = || tries.next(hope, reached, &limits(), 0);
        std::iter::from_fn(next)
            .map(|wait| wait.as_secs())
            .collect()
    }

    #[test]
    fn every_hope_ends() {
        let after = |secs| Hope::After(Duration::from_secs(secs));
        for (hope, reached, expected) in [
            (Hope::None, true, &[][..]),
            (Hope::Soon, false, &[1, 2, 3]),
            (Hope::NoConnection, false, &[1]),
            (Hope::NoConnection, true, &[1, 2, 3]),
            (after(0), true, &[1, 1, 1]),
            (after(2), true, &[2, 2, 2]),
            (after(3600), true, &[]),
            (after(u64::MAX), true, &[]),
        ] {
            assert_eq!(waits(hope, reached), expected, "{hope:?} {reached}");
        }
    }

    #[test]
    fn waits_are_spread_and_bounded() {
        let limits = Limits {
            tries: 1_000,
            ..limits()
        };
        let mut tries = Tries::default();
        let first = tries.next(Hope::Soon, true, &limits, 255).unwrap();
        assert!(first > Duration::from_millis(1_400) && first < Duration::from_millis(1_500));
        for _ in 0..900 {
            let wait = tries.next(Hope::Soon, true, &limits, 255).unwrap();
            assert!(wait <= limits.longest_wait);
        }
    }

    #[test]
    fn reads_both_forms_of_retry_after() {
        let now: Time = "1994-11-06T08:49:07Z".parse().unwrap();
        let read = |text: &str| retry_after(text, now).map(|wait| wait.as_secs());
        for (text, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("soon", None),
            ("1.5", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
