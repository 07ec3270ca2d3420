//! Tokens: places at which lists go on.
//!
//! A token names its cluster and the parameters of its list, so that it is not taken for the place in another one. To
//! clients it is opaque: hexadecimal digits of the bytes below.
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 8 | cluster |
//! | 8 | hash of the parameters |
//! | 8 | revision |
//! | 9 | number of keys counted: 1 and the number, or zeros |
//! | rest but 4 | position |
//! | 4 | CRC-32C of all before |
//!
//! Numbers have their lowest byte first.

use super::super::error::ApiError;
use crate::kv::Revision;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 1;

/// Bytes of a token beside its position.
const FIXED_BYTES: usize = 1 + 8 + 8 + 8 + 9 + 4;

/// The place at which a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Token {
    /// Revision of the list.
    pub(in crate::http) revision: Revision,
    /// The key at which it goes on, or another position in the order of the list.
    pub(in crate::http) position: Bytes,
    /// Number of keys of the whole range, if they have been counted.
    pub(in crate::http) count: Option<u64>,
}

impl Token {
    /// Returns the token as text, for a list of these parameters in this cluster.
    pub(in crate::http) fn write(&self, cluster: &str, parameters: &str) -> String {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.position.len());
        bytes.push(VERSION);
        bytes.extend(xxh3_64(cluster.as_bytes()).to_le_bytes());
        bytes.extend(xxh3_64(parameters.as_bytes()).to_le_bytes());
        bytes.extend(self.revision.to_le_bytes());
        bytes.push(self.count.is_some().into());
        bytes.extend(self.count.unwrap_or(0).to_le_bytes());
        bytes.extend(&self.position[..]);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from(b"0123456789abcdef"[digit as usize]))
            .collect()
    }

    /// Reads a token for a list of these parameters in this cluster.
    ///
    /// # Errors
    /// [`ApiError`] if it is another list's, or none.
    pub(in crate::http) fn read(text: &str, cluster: &str, parameters: &str) -> Result<Self, ApiError> {
        let refused = |what| {
            ApiError::invalid(format!(
                "`next` {what}: send `next` of the page before, with the same other parameters, or leave it out to begin \
                 anew"
            ))
        };
        let Some(Parts { of_cluster, of_parameters, token }) = bytes_of(text).and_then(|bytes| Parts::of(&bytes))
        else {
            return Err(refused("is not a token"));
        };
        if of_cluster != xxh3_64(cluster.as_bytes()) {
            return Err(refused("is a token of another cluster"));
        }
        if of_parameters != xxh3_64(parameters.as_bytes()) {
            return Err(refused("is the token of a list with other parameters"));
        }
        Ok(token)
    }
}

struct Parts {
    of_cluster: u64,
    of_parameters: u64,
    token: Token,
}

impl Parts {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return None;
        }
        let rest = content.strip_prefix(&[VERSION])?;
        let (of_cluster, rest) = rest.split_first_chunk()?;
        let (of_parameters, rest) = rest.split_first_chunk()?;
        let (revision, rest) = rest.split_first_chunk()?;
        let (is_counted, rest) = rest.split_first()?;
        let (count, position) = rest.split_first_chunk()?;
        let token = Token {
            revision: u64::from_le_bytes(*revision),
            position: Bytes::copy_from_slice(position),
            count: (*is_counted == 1).then_some(u64::from_le_bytes(*count)),
        };
        let (of_cluster, of_parameters) = (u64::from_le_bytes(*of_cluster), u64::from_le_bytes(*of_parameters));
        Some(Self { of_cluster, of_parameters, token })
    }
}

/// Returns the bytes of hexadecimal digits.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(position: &'static [u8], count: Option<u64>) -> Token {
        Token { revision: 0x0102, position: Bytes::from_static(position), count }
    }

    #[test]
    fn a_token_comes_back_for_the_same_list_only() {
        for token in [token(b"", None), token(b"a\xff\0", Some(7)), token(&[0xff; 4097], Some(u64::MAX))] {
            let text = token.write("c1", "prefix=a");
            assert_eq!(Token::read(&text, "c1", "prefix=a"), Ok(token));
            for (cluster, parameters, complaint) in
                [("c2", "prefix=a", "of another cluster"), ("c1", "prefix=b", "with other parameters")]
            {
                let refusal = Token::read(&text, cluster, parameters).unwrap_err().into_body();
                assert!(refusal.message.contains(complaint), "{refusal:?}");
            }
        }
    }

    #[test]
    fn nothing_else_is_a_token() {
        let whole = token(b"key", Some(7)).write("c", "p");
        for cut in 0..whole.len() {
            assert!(Token::read(&whole[..cut], "c", "p").is_err(), "{cut}");
        }
        for place in 0..whole.len() {
            let other = if whole.as_bytes()[place] == b'0' { "1" } else { "0" };
            let mut changed = whole.clone();
            changed.replace_range(place..=place, other);
            assert!(Token::read(&changed, "c", "p").is_err(), "{place}");
        }
        for text in ["x", "é", "0é", &(whole.clone() + "00")] {
            assert!(Token::read(text, "c", "p").is_err(), "{text}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_table() {
        let text = token(b"key", Some(7)).write("c", "p");
        let fixed = "0201000000000000010700000000000000";
        assert_eq!((&text[..2], &text[34..68], &text[68..74]), ("01", fixed, "6b6579"));
    }
}
