//! Encoding of one message of consensus as one binary WebSocket frame.
//!
//! | offset | bytes | what                                          |
//! |--------|-------|-----------------------------------------------|
//! | 0      | 1     | version of the format: 1                      |
//! | 1      | 4     | CRC-32C of what follows, little endian        |
//! | 5      | rest  | the [`Message`], in the encoding of postcard  |

use super::consistency;
use crate::raft::Message;
use bytes::Bytes;
use thiserror::Error;

/// Version of the format of frames.
const FRAME_VERSION: u8 = 1;

const HEADER_BYTES: usize = 5;

/// Largest frame accepted. An AppendEntries carries one entry of any size, or several that are far smaller together;
/// the code that sets the limit on entries ensures that each fits.
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// Reason why a frame was not understood.
#[derive(Debug, Error)]
pub enum FrameError {
    /// A text frame; messages are binary.
    #[error("a frame of text")]
    Text,
    /// Shorter than a header.
    #[error("a frame of {0} bytes is too short")]
    Short(usize),
    /// Written by an unknown version of the daemon.
    #[error("frame version {0} is unknown; this node speaks version {FRAME_VERSION}")]
    Version(u8),
    /// Damaged on the way.
    #[error("the checksum does not match")]
    Checksum,
    /// Undamaged, but not a message.
    #[error("not a message: {0}")]
    Malformed(#[from] postcard::Error),
    /// A message that no working node sends.
    #[error("an impossible message: {0}")]
    Inconsistent(&'static str),
}

/// Encodes a message.
pub fn encode(message: &Message) -> Bytes {
    let header = vec![FRAME_VERSION, 0, 0, 0, 0];
    // Writing to memory cannot fail, and every part of a message has an encoding.
    let mut frame = postcard::to_extend(message, header).expect("a message can be encoded");
    let checksum = crc32c::crc32c(&frame[HEADER_BYTES..]);
    frame[1..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    frame.into()
}

/// Decodes a message, and checks that it is consistent.
///
/// [`FrameError`] for anything that [`encode`] did not make of a valid message. Allocates nothing beyond the size of
/// the frame.
pub fn decode(frame: &[u8]) -> Result<Message, FrameError> {
    let Some((header, body)) = frame.split_first_chunk::<HEADER_BYTES>() else {
        return Err(FrameError::Short(frame.len()));
    };
    let [version, checksum @ ..] = *header;
    if version != FRAME_VERSION {
        return Err(FrameError::Version(version));
    }
    if crc32c::crc32c(body) != u32::from_le_bytes(checksum) {
        return Err(FrameError::Checksum);
    }
    match postcard::take_from_bytes(body)? {
        (message, []) => {
            consistency::check(&message).map_err(FrameError::Inconsistent)?;
            Ok(message)
        }
        (_, _) => Err(FrameError::Malformed(postcard::Error::DeserializeBadEncoding)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Body, ClusterTime, Entry, LogIndex, Payload, Term};

    fn append_entries() -> Message {
        let payload = Payload::Command(Bytes::from_static(b"set"));
        let entry = Entry { index: LogIndex(8), term: Term(3), time: ClusterTime(300), payload };
        let body = Body::AppendEntries {
            prev_log_index: LogIndex(7),
            prev_log_term: Term(2),
            entries: vec![entry],
            leader_commit: LogIndex(6),
            round: 5,
        };
        Message { term: Term(3), body }
    }

    #[test]
    fn the_bytes_of_a_frame_change_by_decision_only() {
        let expected = [
            1, 192, 169, 49, 134, // version, checksum
            3, 4, // term, AppendEntries
            7, 2, // prev_log_index, prev_log_term
            1, 8, 3, 172, 2, 1, 3, b's', b'e', b't', // one entry: index, term, time, Command of 3 bytes
            6, 5, // leader_commit, round
        ];
        assert_eq!(encode(&append_entries())[5..], expected[5..]);
        assert_eq!(encode(&append_entries())[..], expected);
    }

    #[test]
    fn a_frame_comes_back_as_it_went() {
        assert_eq!(decode(&encode(&append_entries())).unwrap(), append_entries());
    }

    #[test]
    fn a_damaged_frame_is_refused_wherever_the_damage_is() {
        let frame = encode(&append_entries());
        for at in 0..frame.len() {
            let mut damaged = frame.to_vec();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&frame[..at]).is_err(), "cut at {at}");
        }
        let mut longer = frame.to_vec();
        longer.push(0);
        assert!(decode(&longer).is_err());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_without_harm(body in proptest::collection::vec(0u8.., 0..200)) {
            // With a right checksum, so that the decoder is reached.
            let mut frame = vec![FRAME_VERSION];
            frame.extend(crc32c::crc32c(&body).to_le_bytes());
            frame.extend(&body);
            let _ = decode(&frame);
        }
    }
}
