//! A checksum at the end of a text file, so that a bit that flips on disk is noticed.
//!
//! The last line is `#crc32 ` and eight digits: the CRC-32 of ISO-HDLC (zlib's) of all before it. It
//! guards against disks, not against people. A file without the line was written by an older orc, or
//! by hand, and is taken as it is: what is left of a damaged line is no JSON.

use crate::error::{Error, Result};

const MARK: &[u8] = b"\n#crc32 ";
const DIGITS: usize = 8;

/// Adds the line.
pub(crate) fn seal(mut text: Vec<u8>) -> Vec<u8> {
    let sum = crc32(&text);
    text.extend_from_slice(MARK);
    text.extend_from_slice(format!("{sum:08x}\n").as_bytes());
    text
}

/// The text without the line. `Invalid` when they do not fit each other.
pub(crate) fn open(bytes: &[u8]) -> Result<&[u8]> {
    let length = MARK.len() + DIGITS + 1;
    let Some(start) = bytes.len().checked_sub(length) else {
        return Ok(bytes);
    };
    let (text, line) = bytes.split_at(start);
    let Some(digits) = line.strip_prefix(MARK) else {
        return Ok(bytes);
    };
    match digits == format!("{:08x}\n", crc32(text)).as_bytes() {
        true => Ok(text),
        false => Err(Error::invalid(
            "the file is damaged: its checksum does not match",
        )),
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        TABLE[usize::from(sum as u8 ^ byte)] ^ (sum >> 8)
    })
}

static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = match value & 1 {
                1 => 0xedb8_8320 ^ (value >> 1),
                _ => value >> 1,
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let text = br#"{"version":1,"images":{"a":"b"}}"#;
        let sealed = seal(text.to_vec());
        assert_eq!(open(&sealed).unwrap(), text);
        let reads = |bytes: &[u8]| {
            let json = open(bytes).ok()?;
            serde_json::from_slice::<serde_json::Value>(json).ok()
        };
        assert!(reads(&sealed).is_some() && reads(text).is_some());
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // The last byte is white space: a change there may leave the text as it was.
            let same = reads(&bad).is_none_or(|value| Some(value) == reads(text));
            assert!(same, "bit {bit}");
        }
        for length in 1..sealed.len() {
            let same = reads(&sealed[..length]).is_none_or(|value| Some(value) == reads(text));
            assert!(same, "{length} bytes");
        }
        assert_eq!(open(b"").unwrap(), b"");
    }

    #[test]
    fn is_the_checksum_that_others_compute() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
