//! The two lanes to each peer, each with a stream of its own, so that bulk data never delays the messages that keep a
//! leader.

use super::hello::PROTOCOL_TWO_LANES;

/// Header of a request for a stream with the name of the lane; without it, the lane is the prompt one.
pub const LANE_HEADER: &str = "kvd-lane";

/// Contents of a stream between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Heartbeats, votes, rounds of reads, and all answers: small messages that must not wait.
    Prompt,
    /// Entries.
    Bulk,
}

impl Lane {
    /// Returns the value of [`LANE_HEADER`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Bulk => "bulk",
        }
    }

    /// Returns the lane that a request asks for; `None` if it is unknown.
    pub fn from_header(header: Option<&str>) -> Option<Self> {
        match header {
            None | Some("prompt") => Some(Self::Prompt),
            Some("bulk") => Some(Self::Bulk),
            Some(_) => None,
        }
    }

    /// Returns whether a peer with this protocol version takes two streams. An older peer would mistake the second
    /// stream for a replacement of the first.
    pub(super) fn are_known_to(protocol: u32) -> bool {
        protocol >= PROTOCOL_TWO_LANES
    }
}
