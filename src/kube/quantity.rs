//! Amounts such as `500m`, `2Gi` and `1e3`, as `k8s.io/apimachinery/pkg/api/resource` reads and writes them.

use std::fmt;
use std::str::FromStr;

use orc_base::Error;

const NANOS: i128 = 1_000_000_000;
const DECIMAL: [(&str, i32); 9] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suffix {
    Decimal,
    Binary,
    Exponent,
}

/// An amount, exact to a billionth; prints in Kubernetes' canonical form.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    suffix: Suffix,
}

impl Quantity {
    /// In billionths.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// In thousandths, rounded up.
    pub fn millis(self) -> i64 {
        let millis = self.nanos.div_euclid(1_000_000) + i128::from(self.nanos % 1_000_000 != 0);
        i64::try_from(millis).unwrap_or(i64::MAX)
    }

    /// In units, rounded up.
    pub fn value(self) -> i64 {
        let value = self.nanos.div_euclid(NANOS) + i128::from(self.nanos % NANOS != 0);
        i64::try_from(value).unwrap_or(i64::MAX)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| {
            Error::invalid(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            )
        })
    }
}

fn parse(text: &str) -> Option<Quantity> {
    if text.len() > 64 {
        return None;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let digits: i128 = match format!("{whole}{fraction}").trim_start_matches('0') {
        "" => 0,
        digits if digits.len() > 27 => return None,
        digits => digits.parse().ok()?,
    };
    let scale = -i32::try_from(fraction.len()).ok()?;
    let (nanos, suffix) = if suffix.is_empty() {
        (scaled(digits, scale + 9)?, Suffix::Decimal)
    } else if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (scaled(digits, scale + exponent + 9)?, Suffix::Decimal)
    } else if let Some((_, bits)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        let large = digits.checked_mul(1 << bits)?;
        (scaled(large, scale + 9)?, Suffix::Binary)
    } else {
        let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
        let in_range = (-30..=30).contains(&exponent);
        in_range.then_some(())?;
        (scaled(digits, scale + exponent + 9)?, Suffix::Exponent)
    };
    let nanos = if text.starts_with('-') { -nanos } else { nanos };
    // What is larger is capped, as the original does.
    let most = i128::from(i64::MAX) * NANOS;
    Some(Quantity {
        nanos: nanos.clamp(-most, most),
        suffix,
    })
}

/// `digits × 10^exponent`, rounded up.
fn scaled(digits: i128, exponent: i32) -> Option<i128> {
    let power = 10_i128.checked_pow(exponent.unsigned_abs().min(38))?;
    match exponent >= 0 {
        true => digits.checked_mul(power),
        false => Some(digits / power + i128::from(digits % power != 0)),
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos;
        if nanos == 0 {
            return f.write_str("0");
        }
        let whole = nanos / NANOS;
        if self.suffix == Suffix::Binary && nanos % NANOS == 0 && whole.abs() >= 1024 {
            let largest = BINARY
                .iter()
                .rev()
                .find(|(_, bits)| whole % (1 << bits) == 0);
            return match largest {
                Some((name, bits)) => write!(f, "{}{name}", whole >> bits),
                None => write!(f, "{whole}"),
            };
        }
        let exponent = (-9..=18)
            .rev()
            .step_by(3)
            .find(|e: &i32| nanos % 10_i128.pow((e + 9).unsigned_abs()) == 0)
            .unwrap_or(-9);
        let digits = nanos / 10_i128.pow((exponent + 9).unsigned_abs());
        if self.suffix == Suffix::Exponent {
            return match exponent {
                0 => write!(f, "{digits}"),
                _ => write!(f, "{digits}e{exponent}"),
            };
        }
        let name = DECIMAL.iter().find(|(_, e)| *e == exponent);
        write!(f, "{digits}{}", name.map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_canonically() {
        for (text, canonical, millis) in [
            ("0", "0", 0),
            ("1", "1", 1000),
            ("0.5", "500m", 500),
            ("1000m", "1", 1000),
            ("100m", "100m", 100),
            ("1.5Gi", "1536Mi", 1_610_612_736_000),
            ("1024Ki", "1Mi", 1_048_576_000),
            ("500Ki", "500Ki", 512_000_000),
            ("1000Ki", "1000Ki", 1_024_000_000),
            ("512Mi", "512Mi", 536_870_912_000),
            ("2000k", "2M", 2_000_000_000),
            ("1e3", "1e3", 1_000_000),
            ("8E", "8E", i64::MAX),
            ("-1", "-1", -1000),
            ("1u", "1u", 1),
            (".5", "500m", 500),
        ] {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!(quantity.to_string(), canonical, "{text}");
            assert_eq!(quantity.millis(), millis, "{text}");
        }
        for bad in [
            "", "x", "1.2.3", "1 Gi", "1gi", "e3", "1e", "--1", ".", "1e99", "1MiB",
        ] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
        assert!("1Gi".parse::<Quantity>().unwrap() > "1G".parse().unwrap());
    }
}
