//! PAX extended headers: records of `<length> <key>=<value>\n`.
//!
//! Pure and strict: records are cut by their length, never searched for newlines, and one that is
//! malformed refuses the archive instead of being skipped, because readers that disagree about it
//! disagree about every entry that follows.

use orc_base::{Error, Result, Time};

use crate::unpack::limits::MAX_XATTRS;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the records before an entry say about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mtime: Option<Time>,
    /// Name without `SCHILY.xattr.`, value.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: Sparse,
}

/// The three ways in which GNU tar describes a sparse file in PAX records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sparse {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    /// `GNU.sparse.realsize` of format 1.0, `GNU.sparse.size` of the older ones.
    pub(crate) real_size: Option<u64>,
    /// `GNU.sparse.map` of format 0.1, or the pairs of 0.0 brought into its form.
    pub(crate) map: Option<Vec<u64>>,
}

/// Reads the records of an `x` header.
pub fn parse(bytes: &[u8]) -> Result<Pax> {
    let mut pax = Pax::default();
    for record in records(bytes) {
        let (key, value) = record?;
        take(&mut pax, key, value)?;
    }
    Ok(pax)
}

/// Reads the records of a `g` header. They may comment; readers differ about all the rest.
pub fn check_global(bytes: &[u8]) -> Result<()> {
    for record in records(bytes) {
        let (key, _) = record?;
        let steers = matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid");
        if steers || key.starts_with(b"GNU.sparse.") || key.starts_with(XATTR) {
            return Err(Error::invalid(format!(
                "a global PAX header sets `{}` for all entries",
                key.escape_ascii()
            )));
        }
    }
    Ok(())
}

fn take(pax: &mut Pax, key: &[u8], value: &[u8]) -> Result<()> {
    let sparse = &mut pax.sparse;
    match key {
        b"path" => pax.path = text(key, value)?,
        b"linkpath" => pax.link = text(key, value)?,
        b"size" => pax.size = number(key, value)?,
        b"uid" => pax.uid = owner(key, value)?,
        b"gid" => pax.gid = owner(key, value)?,
        b"mtime" => pax.mtime = time(key, value)?,
        b"GNU.sparse.major" => sparse.major = number(key, value)?,
        b"GNU.sparse.minor" => sparse.minor = number(key, value)?,
        b"GNU.sparse.name" => sparse.name = text(key, value)?,
        b"GNU.sparse.realsize" | b"GNU.sparse.size" => sparse.real_size = number(key, value)?,
        b"GNU.sparse.map" => sparse.map = Some(map(key, value)?),
        b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
            let is_offset = key == b"GNU.sparse.offset";
            let map = sparse.map.get_or_insert_default();
            if is_offset != map.len().is_multiple_of(2) {
                return Err(malformed(key, value));
            }
            map.push(number(key, value)?.ok_or_else(|| malformed(key, value))?);
        }
        _ => {
            if let Some(name) = key.strip_prefix(XATTR) {
                xattr(pax, name, value)?;
            }
        }
    }
    Ok(())
}

fn xattr(pax: &mut Pax, name: &[u8], value: &[u8]) -> Result<()> {
    if pax.xattrs.len() >= MAX_XATTRS {
        return Err(Error::exhausted(format!(
            "has more than {MAX_XATTRS} extended attributes"
        )));
    }
    if name.is_empty() || name.contains(&0) {
        return Err(malformed(name, value));
    }
    pax.xattrs.retain(|(other, _)| other != name);
    pax.xattrs.push((name.into(), value.into()));
    Ok(())
}

/// Cuts `bytes` into keys and values. Ends after the first record that is not one.
fn records(bytes: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8])>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((record, after)) = cut(rest) else {
            let start = std::mem::take(&mut rest);
            return Some(Err(malformed(&start[..start.len().min(40)], b"")));
        };
        rest = after;
        Some(Ok(record))
    })
}

/// The first record and what follows it.
#[expect(clippy::type_complexity, reason = "a key, a value and the rest")]
fn cut(bytes: &[u8]) -> Option<((&[u8], &[u8]), &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    (!key.is_empty() && !key.contains(&0)).then_some(((key, value), rest))
}

/// An empty value takes the record back: what the header says holds again.
fn text(key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>> {
    match value {
        b"" => Ok(None),
        _ if value.contains(&0) => Err(malformed(key, value)),
        _ => Ok(Some(value.into())),
    }
}

fn number(key: &[u8], value: &[u8]) -> Result<Option<u64>> {
    if value.is_empty() {
        return Ok(None);
    }
    let number = decimal(value).ok_or_else(|| malformed(key, value))?;
    Ok(Some(number))
}

fn owner(key: &[u8], value: &[u8]) -> Result<Option<u32>> {
    let Some(number) = number(key, value)? else {
        return Ok(None);
    };
    let owner = u32::try_from(number).ok().filter(|id| *id != u32::MAX);
    owner.map(Some).ok_or_else(|| malformed(key, value))
}

fn map(key: &[u8], value: &[u8]) -> Result<Vec<u64>> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    value
        .split(|byte| *byte == b',')
        .map(|part| decimal(part).ok_or_else(|| malformed(key, value)))
        .collect()
}

/// Seconds since 1970 with an optional sign and fraction.
fn time(key: &[u8], value: &[u8]) -> Result<Option<Time>> {
    if value.is_empty() {
        return Ok(None);
    }
    seconds(value)
        .map(Some)
        .ok_or_else(|| malformed(key, value))
}

fn seconds(value: &[u8]) -> Option<Time> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let whole = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let total = whole.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some(Time::from_nanos(if negative { -total } else { total }))
}

/// Digits only: no sign, no space, no overflow.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn malformed(key: &[u8], value: &[u8]) -> Error {
    let shorten = |bytes: &[u8]| bytes[..bytes.len().min(40)].escape_ascii().to_string();
    Error::invalid(format!(
        "has a malformed PAX record `{}={}`",
        shorten(key),
        shorten(value)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record with the right length.
    pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let mut length = body.len() + 1;
        while length != body.len() + length.to_string().len() {
            length = body.len() + length.to_string().len();
        }
        [length.to_string().as_bytes(), &body].concat()
    }

    #[test]
    fn reads_what_is_known_and_ignores_the_rest() {
        let bytes = [
            record("path", b"a/b"),
            record("linkpath", b"c"),
            record("size", b"9000000000"),
            record("uid", b"4294967294"),
            record("mtime", b"-1.25"),
            record("comment", b"anything\nat = all"),
            record("SCHILY.xattr.user.x", b"1\n2=\0"),
        ]
        .concat();
        let pax = parse(&bytes).unwrap();
        assert_eq!(pax.path.unwrap(), b"a/b");
        assert_eq!(
            (pax.size, pax.uid),
            (Some(9_000_000_000), Some(u32::MAX - 1))
        );
        assert_eq!(pax.mtime.unwrap().nanos(), -1_250_000_000);
        assert_eq!(pax.xattrs, [(b"user.x".to_vec(), b"1\n2=\0".to_vec())]);
    }

    #[test]
    fn the_last_word_counts_and_an_empty_one_takes_it_back() {
        let both = [record("path", b"a"), record("path", b"b")].concat();
        assert_eq!(parse(&both).unwrap().path.unwrap(), b"b");
        let none = [record("path", b"a"), record("path", b"")].concat();
        assert_eq!(parse(&none).unwrap().path, None);
    }

    #[test]
    fn malformed_records_refuse_the_archive() {
        for bad in [
            &b"x"[..],
            b"9 path=a",
            b"100 path=a\n",
            b"0 path=a\n",
            b"-9 path=a\n",
            b"+9 path=a\n",
            b"9 patha\n\n",
            b"4 =\n\n",
            b"99999999999999999999999 path=a\n",
            &record("path", b"a\0b"),
            &record("size", b"-1"),
            &record("size", b"1x"),
            &record("size", b"99999999999999999999"),
            &record("uid", b"4294967295"),
            &record("mtime", b"soon"),
            &record("mtime", b"1.-5"),
            &record("SCHILY.xattr.", b"x"),
            &record("GNU.sparse.map", b"1,,2"),
            &record("GNU.sparse.numbytes", b"1"),
            &[&record("path", b"a")[..], b"\0\0"].concat(),
        ] {
            assert!(parse(bad).is_err(), "{}", bad.escape_ascii());
        }
        let many: Vec<u8> = (0..=MAX_XATTRS)
            .flat_map(|n| record(&format!("SCHILY.xattr.user.{n}"), b""))
            .collect();
        assert!(parse(&many).is_err());
    }

    #[test]
    fn a_global_header_may_only_comment() {
        check_global(&record("comment", b"0123")).unwrap();
        check_global(&record("mtime", b"1")).unwrap();
        for key in ["path", "size", "linkpath", "GNU.sparse.map"] {
            assert!(check_global(&record(key, b"1")).is_err());
        }
    }
}
