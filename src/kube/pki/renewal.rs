//! When a machine asks for its next certificate: at a random moment between half and four fifths of the
//! life of the current one, so that a cluster made in one minute does not renew in one minute.

use std::time::Duration;

use orc_base::Time;

/// When to renew a certificate. `chance` is random, the same for the whole life of one certificate.
pub fn due(not_before: Time, not_after: Time, chance: u16) -> Time {
    let life = not_after.since(not_before);
    let share = 0.5 + 0.3 * f64::from(chance) / f64::from(u16::MAX);
    not_before.plus(life.mul_f64(share))
}

/// How long to wait before trying again after `failures` in a row: longer each time, but never past a tenth
/// of what is left, so that there are always some tries more.
pub fn retry(not_after: Time, now: Time, failures: u32) -> Duration {
    let wanted = Duration::from_secs(5) * 2_u32.saturating_pow(failures.min(10));
    let left = not_after.since(now) / 10;
    wanted.min(left).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renews_between_half_and_four_fifths() {
        let begin = Time::from_secs(1000);
        let end = Time::from_secs(2000);
        assert_eq!(due(begin, end, 0).secs(), 1500);
        assert_eq!(due(begin, end, u16::MAX).secs(), 1800);
        assert!((1500..=1800).contains(&due(begin, end, 12_345).secs()));
    }

    #[test]
    fn tries_on_until_the_end() {
        let end = Time::from_secs(10_000);
        assert_eq!(retry(end, Time::from_secs(0), 0).as_secs(), 5);
        assert_eq!(retry(end, Time::from_secs(0), 3).as_secs(), 40);
        assert_eq!(retry(end, Time::from_secs(9_900), 9).as_secs(), 10);
        assert_eq!(retry(end, Time::from_secs(20_000), 9).as_secs(), 1);
    }
}
