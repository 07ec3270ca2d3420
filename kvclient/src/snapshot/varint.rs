//! Numbers of variable length.
//!
//! A number takes seven bits a byte, lowest first, with the high bit set on every byte but the last (LEB128). Each
//! number has exactly one encoding: a longer encoding of the same number is refused, so that equal states have equal
//! bytes and equal hashes.

/// Maximum length of an encoded number in bytes: 64 bits at seven a byte.
pub const VARINT_BYTES_MAX: usize = 10;

/// Appends a number.
///
/// ```
/// let mut bytes = Vec::new();
/// kvclient::snapshot::put_varint(&mut bytes, 300);
/// assert_eq!(bytes, [0xac, 0x02]);
/// ```
#[inline]
pub fn put_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Takes a number from the start of `from`. Returns `None` if there is none, or if [`put_varint`] encodes it otherwise;
/// then the length of what is left in `from` is undefined.
///
/// ```
/// use kvclient::snapshot::take_varint;
///
/// let mut bytes = &[0xac, 0x02, 7][..];
/// assert_eq!((take_varint(&mut bytes), bytes), (Some(300), &[7][..]));
/// assert_eq!(take_varint(&mut &[0x80, 0][..]), None);
/// ```
#[inline]
pub fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for position in 0..VARINT_BYTES_MAX {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * position;
        if (bits << shift) >> shift != bits {
            return None; // more than 64 bits
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            let is_shortest = *byte != 0 || position == 0;
            return is_shortest.then_some(number);
        }
    }
    None
}
