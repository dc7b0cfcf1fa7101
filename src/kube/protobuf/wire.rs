//! Protobuf's framing: numbered fields of four kinds (<https://protobuf.dev/programming-guides/encoding/>).
//!
//! Knows no message. Every length is checked against what is there, so nothing is allocated for a promise.

use orc_base::{Error, Result};

/// What stands behind a field's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raw<'b> {
    /// A number of one to ten bytes.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Four bytes.
    Fixed32(u32),
    /// Text, bytes, a message, or packed numbers.
    Bytes(&'b [u8]),
}

/// Reads the fields of one message from the front.
#[derive(Debug)]
pub(super) struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    pub(super) fn of(message: &'b [u8]) -> Self {
        Self(message)
    }

    /// The next field with its number; nothing at the end. `Invalid` when the bytes are no protobuf.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Raw<'b>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| Error::invalid("protobuf: a field number is out of range"))?;
        let raw = match tag & 7 {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Raw::Bytes(self.take(length)?)
            }
            5 => Raw::Fixed32(u32::from_le_bytes(self.array()?)),
            other => {
                return Err(Error::invalid(format!(
                    "protobuf: field {number} has wire type {other}, which Kubernetes does not use"
                )));
            }
        };
        Ok(Some((number, raw)))
    }

    /// A number alone, for packed lists.
    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for (index, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = &self.0[index + 1..];
                return Ok(value);
            }
        }
        Err(Error::invalid("protobuf: a number does not end"))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| {
            let left = self.0.len();
            Error::invalid(format!(
                "protobuf: a field of {length} bytes where {left} are left"
            ))
        })?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take gives as many as asked"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_kind_of_field() {
        let bytes = [
            0x08, 0x96, 0x01, // 1: varint 150
            0x12, 2, b'h', b'i', // 2: bytes
            0x1d, 1, 0, 0, 0, // 3: fixed32
            0x21, 2, 0, 0, 0, 0, 0, 0, 0, // 4: fixed64
        ];
        let mut fields = Fields::of(&bytes);
        assert_eq!(fields.next().unwrap(), Some((1, Raw::Varint(150))));
        assert_eq!(fields.next().unwrap(), Some((2, Raw::Bytes(b"hi"))));
        assert_eq!(fields.next().unwrap(), Some((3, Raw::Fixed32(1))));
        assert_eq!(fields.next().unwrap(), Some((4, Raw::Fixed64(2))));
        assert_eq!(fields.next().unwrap(), None);
    }

    #[test]
    fn refuses_what_is_cut_or_made_up() {
        for bytes in [
            &[0x08][..],                  // no number
            &[0x08, 0x80],                // a number that does not end
            &[0x80; 11],                  // a tag that does not end
            &[0x12, 0xff, 0xff, 0x03, 0], // longer than what is there
            &[0x0b],                      // a group
            &[0x00, 0x00],                // field 0
            &[0x1d, 1, 2],                // half a fixed32
        ] {
            assert!(Fields::of(bytes).next().is_err(), "{bytes:?}");
        }
    }
}
