//! A change of the members as it is asked for, and why it may not be made.

use serde::{Deserialize, Serialize};

/// A change of the members. Nodes have their names here, and send it to each other: variants and fields are only added, at
/// the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// A node joins, as a learner at first.
    Add {
        /// Its id.
        node: u64,
        /// Its name.
        name: String,
        /// Its URL for clients.
        client_url: String,
        /// Its URL for the other nodes.
        peer_url: String,
        /// True for a node that stays a learner.
        learner: bool,
        /// True for a node that may only take the place of a member of its name.
        returning: bool,
        /// The newest level that it knows; see [`Level`](crate::kv::Level).
        level: u32,
    },
    /// A learner becomes a voter.
    Promote {
        /// The learner.
        name: String,
    },
    /// A member leaves.
    Remove {
        /// The member.
        name: String,
        /// True to go on where too few of the others are heard.
        force: bool,
    },
    /// A learner becomes a voter in the place of another.
    Replace {
        /// The one that leaves.
        old: String,
        /// The learner.
        new: String,
    },
    /// The recorded URLs of a member change.
    Update {
        /// The member.
        name: String,
        /// Its new URL for clients, if that changes.
        client_url: Option<String>,
        /// Its new URL for the other nodes, if that changes.
        peer_url: Option<String>,
    },
}

/// Why the members were not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// Another node leads, and answers this (307). This request has changed nothing.
    NotLeader,
    /// No leader is known (503). This request has changed nothing.
    NoLeader,
    /// There is no member of this name (404).
    UnknownMember(String),
    /// The node was removed from this cluster, and its id is never used again (403).
    WasRemoved(String),
    /// It cannot be done, or not now (409); the sentence says why and what to do.
    Refused(String),
    /// Too many wait for a change already (429).
    TooMany,
    /// The change was begun, and was not done in time (504). It may still be.
    OutcomeUnknown,
}
