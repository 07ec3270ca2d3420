//! Requested membership changes, and the reasons why one may be refused.

use serde::{Deserialize, Serialize};

/// A requested membership change. It identifies nodes by name and is sent between nodes: variants and fields are only
/// added at the end.
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
        /// True for a node that may only replace a member of its name.
        returning: bool,
        /// The newest level that it supports; see [`Level`](crate::kv::Level).
        level: u32,
    },
    /// A learner becomes a voter.
    Promote {
        /// The learner.
        name: String,
    },
    /// A member is removed.
    Remove {
        /// The member.
        name: String,
        /// True to remove the member even if too few of the remaining voters are heard.
        force: bool,
    },
    /// A learner becomes a voter and replaces another member.
    Replace {
        /// The member to be removed.
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

/// Reason why a membership change failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// Another node leads and answers this request (307). This request has changed nothing.
    NotLeader,
    /// No leader is known (503). This request has changed nothing.
    NoLeader,
    /// There is no member of this name (404).
    UnknownMember(String),
    /// The node was removed from this cluster, and its id is never used again (403).
    WasRemoved(String),
    /// The change is impossible, or not possible now (409); the sentence says why and what to do.
    Refused(String),
    /// Too many requests wait for a change already (429).
    TooMany,
    /// The change was begun and not completed in time (504). It may still complete.
    OutcomeUnknown,
}
