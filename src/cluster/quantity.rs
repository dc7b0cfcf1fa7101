//! Kubernetes' quantities: `500m`, `128Mi`, `1e3`, as whole numbers of a thousandth.
//!
//! Grammar and suffixes as in apimachinery's `resource.Quantity`. What is no quantity counts as nothing:
//! the API server has refused it before anyone schedules by it.

/// A quantity in thousandths, rounded up as Kubernetes does and held inside 64 bits; `None` when the
/// text is no quantity.
pub(crate) fn thousandths(text: &str) -> Option<i64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let (top, bottom) = scale(suffix)?;
    let fraction = &fraction[..fraction.len().min(9)];
    let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let top = digits.checked_mul(top)?.checked_mul(1000)?;
    let bottom = bottom.checked_mul(10_i128.pow(u32::try_from(fraction.len()).ok()?))?;
    let value = sign * ((top + bottom - 1) / bottom);
    Some(i64::try_from(value).unwrap_or(if sign > 0 { i64::MAX } else { i64::MIN }))
}

/// A quantity in whole units, rounded up; `None` as [`thousandths`].
pub(crate) fn units(text: &str) -> Option<i64> {
    let milli = thousandths(text)?;
    match milli == i64::MAX {
        true => exact_units(text),
        false => Some(milli.div_euclid(1000) + i64::from(milli.rem_euclid(1000) > 0)),
    }
}

/// Sizes beyond nine petabytes do not fit as thousandths.
fn exact_units(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (top, bottom) = scale(&text[end..])?;
    let value = text[..end].parse::<i128>().ok()?.checked_mul(top)? / bottom;
    Some(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The factor of a suffix, as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1 << (10 * power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => Some((1000, 1)),
        "M" => Some((1_000_000, 1)),
        "G" => Some((1_000_000_000, 1)),
        "T" => Some((1_000_000_000_000, 1)),
        "P" => Some((1_000_000_000_000_000, 1)),
        "E" => Some((1_000_000_000_000_000_000, 1)),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10_i128.checked_pow(power.unsigned_abs().min(18))?;
            Some(if power < 0 { (1, factor) } else { (factor, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubernetes_reads() {
        for (text, milli) in [
            ("0", 0),
            ("1", 1000),
            ("500m", 500),
            ("0.1", 100),
            (".5", 500),
            ("1.5", 1500),
            ("100u", 1),
            ("1k", 1_000_000),
            ("1e3", 1_000_000),
            ("2E-3", 2),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("-5", -5000),
        ] {
            assert_eq!(thousandths(text), Some(milli), "{text}");
        }
        for bad in [
            "",
            "x",
            "1x",
            "1 Gi",
            "--1",
            "1.2.3",
            "1e",
            "0x10",
            "1e9999999999",
        ] {
            assert_eq!(thousandths(bad), None, "{bad}");
        }
        assert_eq!(units("100m"), Some(1));
        assert_eq!(units("16Ei"), Some(i64::MAX));
        assert_eq!(units("64Pi"), Some(64 << 50));
    }
}
