//! The building blocks of every encoding here: numbers of variable length ([`put_varint`]) and length-prefixed bytes.

use kvclient::snapshot::{put_varint, take_varint};

/// Bytes that [`put_varint`] appends for `number`.
pub(super) fn varint_len(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends the length of the bytes, then the bytes.
pub(super) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Reads an encoding from its start. Every method returns `None` if the bytes do not hold the requested field. Nothing
/// is allocated, so a false length costs nothing.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the bytes that have not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Reads a byte that is 0 or 1.
    pub(super) fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        take_varint(&mut self.rest)
    }

    /// Reads a fixed number of bytes.
    pub(super) fn array<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    /// Reads bytes that follow their length.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.exactly(length)
    }

    /// Reads a given number of bytes.
    pub(super) fn exactly(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_has_one_encoding_and_no_other_is_read() {
        for (number, bytes) in [
            (0, vec![0x00]),
            (127, vec![0x7f]),
            (128, vec![0x80, 0x01]),
            (300, vec![0xac, 0x02]),
            (u64::MAX, vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut encoded = Vec::new();
            put_varint(&mut encoded, number);
            assert_eq!(encoded, bytes);
            assert_eq!(Reader::new(&bytes).varint(), Some(number));
        }
        for (why, bytes) in [
            ("empty", vec![]),
            ("ends before its last byte", vec![0x80]),
            ("zero, but longer than need be", vec![0x80, 0x00]),
            ("65 bits", vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            ("eleven bytes", vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ] {
            assert_eq!(Reader::new(&bytes).varint(), None, "{why}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let mut claim = Vec::new();
        put_varint(&mut claim, u64::MAX);
        assert_eq!(Reader::new(&claim).bytes(), None);
        assert_eq!(Reader::new(&[2, b'a']).bytes(), None);
        assert_eq!(Reader::new(&[1, b'a']).bytes(), Some(&b"a"[..]));
        assert_eq!(Reader::new(b"a").array::<2>(), None);
        assert_eq!(Reader::new(b"ab").array(), Some(*b"ab"));
    }

    proptest! {
        #[test]
        fn numbers_come_back_in_as_many_bytes_as_announced(shift in 0..64u32, number: u64) {
            let number = number >> shift;
            let mut encoded = Vec::new();
            put_varint(&mut encoded, number);
            prop_assert_eq!(encoded.len(), varint_len(number));
            let mut reader = Reader::new(&encoded);
            prop_assert_eq!(reader.varint(), Some(number));
            prop_assert!(reader.rest().is_empty());
        }
    }
}
