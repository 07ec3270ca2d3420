//! The two lanes to each peer, each a stream of its own, so that bulk never delays what keeps the leader.

use super::hello::PROTOCOL_TWO_LANES;

/// Header of a request for a stream that says which lane it is; without it, it is the prompt one.
pub const LANE_HEADER: &str = "kvd-lane";

/// What a stream between two nodes carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Heartbeats, votes, rounds of reads, and all answers: small messages that must not wait.
    Prompt,
    /// Entries.
    Bulk,
}

impl Lane {
    /// As the value of [`LANE_HEADER`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Bulk => "bulk",
        }
    }

    /// The lane that a request asks for; `None` if it is unknown.
    pub fn from_header(header: Option<&str>) -> Option<Self> {
        match header {
            None | Some("prompt") => Some(Self::Prompt),
            Some("bulk") => Some(Self::Bulk),
            Some(_) => None,
        }
    }

    /// Whether a peer that speaks this version of the protocol takes two streams. One that does not would take the second
    /// for a new one in place of the first.
    pub(super) fn are_known_to(protocol: u32) -> bool {
        protocol >= PROTOCOL_TWO_LANES
    }
}
