//! Which bytes of a blob are asked for: pure (RFC 9110, 14.2, one range).

/// What the header `Range` comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything: there is no range, or one this server does not know.
    All,
    /// From the first to the last byte, both included.
    Part(u64, u64),
    /// Bytes that do not exist.
    Nothing,
}

/// Reads `bytes=5-9`, `bytes=5-` or `bytes=-5` for a blob of `size` bytes.
pub(super) fn read(header: Option<&str>, size: u64) -> Wanted {
    let Some((first, last)) = header
        .and_then(|header| header.strip_prefix("bytes="))
        .and_then(|range| range.split_once('-'))
    else {
        return Wanted::All;
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if first >= size => Wanted::Nothing,
        (Ok(first), Ok(last)) if last >= first => Wanted::Part(first, last.min(size - 1)),
        (Ok(first), Err(_)) if last.is_empty() => Wanted::Part(first, size - 1),
        (Err(_), Ok(count)) if first.is_empty() => match count.min(size) {
            0 => Wanted::Nothing,
            count => Wanted::Part(size - count, size - 1),
        },
        _ => Wanted::All,
    }
}

/// What `Content-Range: 0-9` says of a chunk: its first byte, and how many there are.
pub(super) fn of_chunk(header: &str) -> Option<(u64, u64)> {
    let range = header.strip_prefix("bytes ").unwrap_or(header);
    let range = range.split('/').next()?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    Some((first, last.checked_sub(first)?.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges() {
        for (header, expected) in [
            (None, Wanted::All),
            (Some("bytes=0-9"), Wanted::Part(0, 9)),
            (Some("bytes=5-"), Wanted::Part(5, 9)),
            (Some("bytes=5-100"), Wanted::Part(5, 9)),
            (Some("bytes=-3"), Wanted::Part(7, 9)),
            (Some("bytes=-30"), Wanted::Part(0, 9)),
            (Some("bytes=-0"), Wanted::Nothing),
            (Some("bytes=10-"), Wanted::Nothing),
            (Some("bytes=9-5"), Wanted::All),
            (Some("bytes=1-2,4-5"), Wanted::All),
            (Some("bytes=x-"), Wanted::All),
            (Some("bytes=-"), Wanted::All),
            (Some("lines=1-2"), Wanted::All),
            (Some("bytes=99999999999999999999-"), Wanted::All),
        ] {
            assert_eq!(read(header, 10), expected, "{header:?}");
        }
        assert_eq!(read(Some("bytes=0-"), 0), Wanted::Nothing);
    }

    #[test]
    fn reads_chunks() {
        for (header, expected) in [
            ("0-9", Some((0, 10))),
            ("bytes 5-5/10", Some((5, 1))),
            ("9-5", None),
            ("0-18446744073709551615", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(of_chunk(header), expected, "{header}");
        }
    }
}
