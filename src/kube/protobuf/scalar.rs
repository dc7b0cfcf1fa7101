//! Messages that are one value in JSON: times, quantities, numbers or texts, JSON itself, durations.

use orc_base::{Error, Result, Time};
use serde_json::Value;

use crate::protobuf::wire::{Fields, Raw};

/// Nesting of the JSON inside `raw` is bounded by serde_json (128).
pub(super) fn raw(bytes: &[u8]) -> Result<Value> {
    match field_bytes(bytes, 1)? {
        None | Some([]) => Ok(Value::Null),
        Some(json) => Ok(serde_json::from_slice(json)?),
    }
}

/// `metav1.Time`: whole seconds. Nothing for the zero time, which Go writes as an empty message.
pub(super) fn time(bytes: &[u8]) -> Result<Option<String>> {
    let Some((secs, _)) = moment(bytes)? else {
        return Ok(None);
    };
    Ok(Some(Time::from_secs(secs).to_string()))
}

/// `metav1.MicroTime`: always six digits of fraction.
pub(super) fn micro_time(bytes: &[u8]) -> Result<Option<String>> {
    let Some((secs, nanos)) = moment(bytes)? else {
        return Ok(None);
    };
    let whole = Time::from_secs(secs).to_string();
    let whole = whole.trim_end_matches('Z');
    Ok(Some(format!("{whole}.{:06}Z", nanos / 1000)))
}

/// `resource.Quantity`: its text.
pub(super) fn quantity(bytes: &[u8]) -> Result<String> {
    let text = field_bytes(bytes, 1)?.unwrap_or(b"0");
    utf8(text)
}

/// `intstr.IntOrString`.
pub(super) fn int_or_string(bytes: &[u8]) -> Result<Value> {
    let (mut is_text, mut number, mut text) = (false, 0_i64, String::new());
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Raw::Varint(kind)) => is_text = kind != 0,
            (2, Raw::Varint(value)) => number = integer(value),
            (3, Raw::Bytes(value)) => text = utf8(value)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// `metav1.Duration`, as Go writes one.
pub(super) fn duration(bytes: &[u8]) -> Result<String> {
    let mut nanos = 0;
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        if let (1, Raw::Varint(value)) = field {
            nanos = integer(value);
        }
    }
    Ok(format!("{}s", seconds(nanos)))
}

/// A message that is nothing but a list of texts.
pub(super) fn texts(bytes: &[u8]) -> Result<Value> {
    let mut items = Vec::new();
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        if let (1, Raw::Bytes(value)) = field {
            items.push(utf8(value)?.into());
        }
    }
    Ok(Value::Array(items))
}

/// Protobuf writes negative numbers as their two's complement in 64 bits.
pub(super) fn integer(value: u64) -> i64 {
    value.cast_signed()
}

pub(super) fn utf8(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::invalid("protobuf: a text is not valid UTF-8"))?;
    Ok(text.to_owned())
}

fn seconds(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (whole, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let digits = format!("{fraction:09}");
    match digits.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        digits => format!("{sign}{whole}.{digits}"),
    }
}

/// Seconds and nanoseconds; nothing for the zero time.
fn moment(bytes: &[u8]) -> Result<Option<(i64, i64)>> {
    let (mut secs, mut nanos) = (0, 0);
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Raw::Varint(value)) => secs = integer(value),
            (2, Raw::Varint(value)) => nanos = integer(value),
            _ => {}
        }
    }
    // The years 1970 to 2261: what a `Time` can hold. Go's zero time is year 1.
    if secs <= 0 && nanos == 0 {
        return Ok(None);
    }
    if !(0..=9_200_000_000).contains(&secs) || !(0..1_000_000_000).contains(&nanos) {
        return Err(Error::invalid(format!(
            "protobuf: no time has {secs} seconds and {nanos} nanoseconds since 1970"
        )));
    }
    Ok(Some((secs, nanos)))
}

fn field_bytes(bytes: &[u8], wanted: u32) -> Result<Option<&[u8]>> {
    let mut found = None;
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        if let (number, Raw::Bytes(value)) = field
            && number == wanted
        {
            found = Some(value);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_as_kubernetes_does() {
        let bytes = [0x08, 0x80, 0xde, 0x91, 0xc9, 0x06, 0x10, 0xc0, 0x84, 0x3d];
        assert_eq!(time(&bytes).unwrap().unwrap(), "2025-11-24T14:43:12Z");
        let micro = micro_time(&bytes).unwrap().unwrap();
        assert_eq!(micro, "2025-11-24T14:43:12.001000Z");
        assert_eq!(time(&[]).unwrap(), None);
        let far = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(time(&far).is_err());
    }

    #[test]
    fn tells_numbers_from_texts() {
        assert_eq!(int_or_string(&[0x08, 0, 0x10, 80]).unwrap(), 80);
        let text = [0x08, 1, 0x10, 0, 0x1a, 3, b'2', b'5', b'%'];
        assert_eq!(int_or_string(&text).unwrap(), "25%");
    }

    #[test]
    fn writes_durations_in_seconds() {
        assert_eq!(seconds(1_500_000_000), "1.5");
        assert_eq!(seconds(-90_000_000_000), "-90");
    }
}
