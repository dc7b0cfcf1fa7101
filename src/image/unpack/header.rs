//! The 512 bytes before an entry, and what their fields mean.
//!
//! Pure. A field that is not what it should be is an error and never a guess.

use orc_base::{Error, Result, Time};

use crate::unpack::entry::{Device, EntryKind};

/// The size of headers and what everything else is rounded up to.
pub(crate) const BLOCK: usize = 512;

/// A header block and what its fields mean.
pub(crate) struct Header([u8; BLOCK]);

impl Header {
    pub(crate) fn new(block: [u8; BLOCK]) -> Self {
        Self(block)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let stored = number(&self.0[148..156]);
        let (unsigned, signed) = self.sums();
        let matches = |sum: i64| stored.is_some() && stored == u64::try_from(sum).ok();
        if !matches(unsigned) && !matches(signed) {
            return Err(Error::invalid(
                "has a wrong checksum: this is no tar archive, or it is damaged",
            ));
        }
        // Some readers take what stands at the place of a prefix for one in the old format as well.
        let is_old = self.0[257..265] == [0; 8] && self.0[345..500] == [0; 155];
        let known = self.is_posix() || self.is_gnu() || is_old;
        match known {
            true => Ok(()),
            false => Err(Error::unsupported("has a header of an unknown format")),
        }
    }

    /// The sums of all bytes, those of the checksum taken for spaces; some writers took bytes for
    /// signed numbers. Plain loops: every header goes through them.
    fn sums(&self) -> (i64, i64) {
        let (mut sum, mut negative) = (8 * i64::from(b' '), 0);
        for part in [&self.0[..148], &self.0[156..]] {
            for byte in part {
                sum += i64::from(*byte);
                negative += i64::from(*byte >> 7);
            }
        }
        (sum, sum - 256 * negative)
    }

    pub(crate) fn kind(&self) -> u8 {
        self.0[156]
    }

    fn is_posix(&self) -> bool {
        &self.0[257..265] == b"ustar\x0000"
    }

    /// The pairs of offset and length of a sparse file (GNU).
    pub(crate) fn sparse_table(&self) -> &[u8] {
        &self.0[386..482]
    }

    /// Whether a block with more of such pairs follows (GNU).
    pub(crate) fn continues(&self) -> bool {
        self.0[482] != 0
    }

    pub(crate) fn is_gnu(&self) -> bool {
        &self.0[257..265] == b"ustar  \0"
    }

    pub(crate) fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        // The star format keeps two times behind a shorter prefix.
        let end = if &self.0[508..] == b"tar\0" { 476 } else { 500 };
        let prefix = until_nul(&self.0[345..end]);
        match self.is_posix() && !prefix.is_empty() {
            true => [prefix, b"/", name].concat(),
            false => name.into(),
        }
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        until_nul(&self.0[157..257]).into()
    }

    pub(crate) fn entry_kind(
        &self,
        kind: u8,
        name: &[u8],
        link: Vec<u8>,
        size: u64,
    ) -> Result<EntryKind> {
        let is_directory = kind == b'5' || kind == 0 && name.ends_with(b"/");
        if matches!(kind, b'0' | b'7' | 0) && !is_directory {
            return match name.ends_with(b"/") {
                true => Err(Error::invalid("is a file with the name of a directory")),
                false => Ok(EntryKind::File(size)),
            };
        }
        if size != 0 {
            return Err(Error::invalid(format!(
                "is no regular file and yet has {size} bytes of data"
            )));
        }
        Ok(match kind {
            _ if is_directory => EntryKind::Directory,
            b'1' => EntryKind::HardLink(link),
            b'2' => EntryKind::Symlink(link),
            b'3' => EntryKind::Char(self.device()?),
            b'4' => EntryKind::Block(self.device()?),
            b'6' => EntryKind::Fifo,
            other => {
                return Err(Error::unsupported(format!(
                    "is of the unknown type `{}`",
                    other.escape_ascii()
                )));
            }
        })
    }

    pub(crate) fn mode(&self) -> Result<u32> {
        Ok((self.number(100..108, "mode")? & 0o7777) as u32)
    }

    /// The largest number means "leave it" to chown(2), so it cannot be meant.
    pub(crate) fn owner(&self, field: std::ops::Range<usize>, what: &str) -> Result<u32> {
        let number = self.number(field, what)?;
        let owner = u32::try_from(number).ok().filter(|id| *id != u32::MAX);
        owner.ok_or_else(|| Error::invalid(format!("has the impossible {what} {number}")))
    }

    pub(crate) fn mtime(&self) -> Result<Time> {
        let field = &self.0[136..148];
        match signed(field) {
            Some(secs) => Ok(Time::from_secs(secs)),
            None => Err(bad_number("mtime", field)),
        }
    }

    fn device(&self) -> Result<Device> {
        let major = self.number(329..337, "device number")?;
        let minor = self.number(337..345, "device number")?;
        // The kernel's own widths: 12 and 20 bits (include/linux/kdev_t.h).
        if major >= 1 << 12 || minor >= 1 << 20 {
            return Err(Error::invalid(format!(
                "is a device with the impossible numbers {major}:{minor}"
            )));
        }
        Ok(Device {
            major: major as u32,
            minor: minor as u32,
        })
    }

    pub(crate) fn number(&self, field: std::ops::Range<usize>, what: &str) -> Result<u64> {
        let field = &self.0[field];
        number(field).ok_or_else(|| bad_number(what, field))
    }
}

/// The text of a field.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn bad_number(what: &str, field: &[u8]) -> Error {
    Error::invalid(format!(
        "has the {what} `{}`, which is no number",
        field.escape_ascii()
    ))
}

/// A number that is not negative.
pub(crate) fn number(field: &[u8]) -> Option<u64> {
    signed(field).and_then(|number| u64::try_from(number).ok())
}

/// Octal digits, or with the top bit set a two's complement number of the whole field (GNU).
fn signed(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 == 0 {
        return octal(field);
    }
    let negative = first & 0x40 != 0;
    let start = if negative { -1_i64 } else { 0 };
    let head = if negative { first } else { first & 0x3f };
    let bytes = std::iter::once(head).chain(field[1..].iter().copied());
    bytes.enumerate().try_fold(start, |sum, (index, byte)| {
        let digit = match (index, negative) {
            // The marker bit of a negative number is a bit like the others.
            (0, true) => return (byte == 0xff).then_some(-1),
            _ => i64::from(byte),
        };
        sum.checked_mul(256)?.checked_add(digit)
    })
}

fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    if field.iter().all(blank) {
        return Some(0);
    }
    // Digits behind a NUL are a number to some readers, and nothing to others.
    let start = field.iter().position(|byte| *byte != b' ')?;
    if field[start] == 0 {
        return None;
    }
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    // Behind a space only blanks may follow, behind a NUL anything: some writers leave dirt there.
    if !rest.iter().take_while(|byte| **byte != 0).all(blank) {
        return None;
    }
    digits.iter().try_fold(0_i64, |sum, byte| match byte {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_kinds() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644\0dirt", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"    ", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\x00", Some(-256)),
            (b"\x000000005\0", None),
            (b" \x005\0", None),
            (b"8\0", None),
            (b"-1\0", None),
            (b"1 1\0", None),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xc0\0\0\0", None),
        ] {
            assert_eq!(signed(field), value, "{}", field.escape_ascii());
        }
        assert_eq!(number(b"\xff\xff\xff\xff"), None);
    }
}
