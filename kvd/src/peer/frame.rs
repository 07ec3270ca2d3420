//! Encoding of one message of consensus as one binary WebSocket frame.
//!
//! | offset | bytes | what                                          |
//! |--------|-------|-----------------------------------------------|
//! | 0      | 1     | version of the format: 1 or 2                 |
//! | 1      | 4     | CRC-32C of what follows, little endian        |
//! | 5      | rest  | the [`Message`], in the encoding of postcard  |
//! |        |       | in version 2, its [`ClusterTime`] follows     |
//!
//! Version 2 is for messages with a cluster time: AppendEntries and ReadIndexResponse. All others are of version 1. A
//! node of protocol 4 or earlier knows only version 1: it is sent these messages without their time.

use super::consistency;
use super::hello::PROTOCOL_CLUSTER_TIME;
use crate::raft::{Body, ClusterTime, Message};
use bytes::Bytes;
use thiserror::Error;

/// Version of the format of frames with a message alone.
const FRAME_VERSION: u8 = 1;

/// Version of the format of frames with a message and its cluster time.
const FRAME_VERSION_TIMED: u8 = 2;

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
    #[error("frame version {0} is unknown; this node speaks versions {FRAME_VERSION} to {FRAME_VERSION_TIMED}")]
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

/// Encodes a message for a node that speaks this version of the protocol; see
/// [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION). An older node is not told the cluster time.
pub fn encode(message: &Message, protocol: u32) -> Bytes {
    let time = time_of(&message.body).filter(|_| protocol >= PROTOCOL_CLUSTER_TIME);
    let version = if time.is_some() { FRAME_VERSION_TIMED } else { FRAME_VERSION };
    // Writing to memory cannot fail, and every part of a message has an encoding.
    let mut frame = postcard::to_extend(message, vec![version, 0, 0, 0, 0]).expect("a message can be encoded");
    if let Some(time) = time {
        frame = postcard::to_extend(&time, frame).expect("a number can be encoded");
    }
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
    if !(FRAME_VERSION..=FRAME_VERSION_TIMED).contains(&version) {
        return Err(FrameError::Version(version));
    }
    if crc32c::crc32c(body) != u32::from_le_bytes(checksum) {
        return Err(FrameError::Checksum);
    }
    let (mut message, mut rest): (Message, &[u8]) = postcard::take_from_bytes(body)?;
    if version == FRAME_VERSION_TIMED {
        let (time, after): (ClusterTime, &[u8]) = postcard::take_from_bytes(rest)?;
        let place = place_of_time(&mut message.body);
        *place.ok_or(FrameError::Malformed(postcard::Error::DeserializeBadEncoding))? = Some(time);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(FrameError::Malformed(postcard::Error::DeserializeBadEncoding));
    }
    consistency::check(&message).map_err(FrameError::Inconsistent)?;
    Ok(message)
}

/// Returns the cluster time in a message, if it has one.
fn time_of(body: &Body) -> Option<ClusterTime> {
    let (Body::AppendEntries { time, .. } | Body::ReadIndexResponse { time, .. }) = body else { return None };
    *time
}

/// Returns the place of the cluster time in a message of a kind that has one.
fn place_of_time(body: &mut Body) -> Option<&mut Option<ClusterTime>> {
    match body {
        Body::AppendEntries { time, .. } | Body::ReadIndexResponse { time, .. } => Some(time),
        Body::PreVote { .. }
        | Body::PreVoteResponse { .. }
        | Body::RequestVote { .. }
        | Body::RequestVoteResponse { .. }
        | Body::AppendAccepted { .. }
        | Body::AppendRejected { .. }
        | Body::ReadIndex { .. }
        | Body::TimeoutNow => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
    use crate::raft::{Entry, LogIndex, Payload, ReadId, Term};

    fn append_entries(time: Option<ClusterTime>) -> Message {
        let payload = Payload::Command(Bytes::from_static(b"set"));
        let entry = Entry { index: LogIndex(8), term: Term(3), time: ClusterTime(300), payload };
        let body = Body::AppendEntries {
            prev_log_index: LogIndex(7),
            prev_log_term: Term(2),
            entries: vec![entry],
            leader_commit: LogIndex(6),
            round: 5,
            time,
        };
        Message { term: Term(3), body }
    }

    /// The same message in both versions.
    fn both() -> [Message; 2] {
        [append_entries(None), append_entries(Some(ClusterTime(301)))]
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
        let timed = append_entries(Some(ClusterTime(301)));
        for old in [encode(&append_entries(None), PROTOCOL_VERSION), encode(&timed, PROTOCOL_CLUSTER_TIME - 1)] {
            assert_eq!(old[5..], expected[5..]);
            assert_eq!(old[..], expected);
        }
        // The same with another header, and the time at its end.
        let frame = encode(&timed, PROTOCOL_CLUSTER_TIME);
        assert_eq!(frame[5..], [&expected[5..], &[173, 2]].concat());
        assert_eq!(frame[..5], [2, 107, 240, 3, 138], "version, checksum");
    }

    #[test]
    fn a_frame_comes_back_as_it_went() {
        for message in both() {
            assert_eq!(decode(&encode(&message, PROTOCOL_VERSION)).unwrap(), message);
        }
        let older = decode(&encode(&both()[1], PROTOCOL_VERSION_MIN)).unwrap();
        assert_eq!(older, both()[0], "an older node is sent everything but the time");
    }

    #[test]
    fn only_messages_that_have_a_time_come_with_one() {
        let (read, read_index, time) = (ReadId(7), LogIndex(6), Some(ClusterTime(1)));
        for (body, is_timed) in [
            (Body::ReadIndexResponse { read, read_index, time }, true),
            (Body::ReadIndexResponse { read, read_index, time: None }, false),
            (Body::ReadIndex { read }, false),
        ] {
            let message = Message { term: Term(3), body };
            let mut frame = encode(&message, PROTOCOL_VERSION).to_vec();
            assert_eq!(frame[0] == FRAME_VERSION_TIMED, is_timed);
            // The other version by its number alone is not this message.
            frame[0] = if is_timed { FRAME_VERSION } else { FRAME_VERSION_TIMED };
            assert!(matches!(decode(&frame), Err(FrameError::Malformed(_))), "{message:?}");
        }
        let mut untimed = encode(&Message { term: Term(3), body: Body::ReadIndex { read } }, PROTOCOL_VERSION).to_vec();
        untimed[0] = FRAME_VERSION_TIMED;
        untimed.push(1);
        let checksum = crc32c::crc32c(&untimed[HEADER_BYTES..]);
        untimed[1..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(decode(&untimed), Err(FrameError::Malformed(_))), "a question has no time");
    }

    #[test]
    fn a_damaged_frame_is_refused_wherever_the_damage_is() {
        for message in both() {
            let frame = encode(&message, PROTOCOL_VERSION);
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
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_without_harm(version in 1u8..3, body in proptest::collection::vec(0u8.., 0..200)) {
            // With a right checksum, so that the decoder is reached.
            let mut frame = vec![version];
            frame.extend(crc32c::crc32c(&body).to_le_bytes());
            frame.extend(&body);
            let _ = decode(&frame);
        }
    }
}
