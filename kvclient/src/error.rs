//! Errors, distinguished as far as a caller reacts differently to them.
//!
//! Each message says in one line what happened, what that means for the data if it was a write, and what to do.
//! [`Error::applied`] tells a program what it means for the data.

use crate::api::{Applied, Item, LockPlace};
use std::time::Duration;
use thiserror::Error;

/// Reason why an operation was not acknowledged.
///
/// ```
/// use kvclient::{Applied, Client, Condition, Error};
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// client.set("color", "blue")?;
/// match client.set_if("color", "green", Condition::Absent) {
///     Err(Error::ConditionFailed { current: Some(item) }) => assert_eq!(item.value_str(), Some("blue")),
///     Err(error) if error.applied() == Applied::Unknown => println!("read it again: {error}"),
///     Err(error) => println!("nothing has changed: {error}"),
///     Ok(reply) => println!("written at revision {}", reply.revision),
/// }
/// # anyhow::Ok(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The condition of a write did not hold. Not applied.
    ///
    /// `current` is the item at the moment when the condition was evaluated, so that a compare-and-set loop needs no
    /// further read.
    #[error("condition failed, nothing written: {}",
        describe(current.as_ref()))]
    ConditionFailed {
        /// The item that the condition was compared with; `None` if there was no such key.
        current: Option<Item>,
    },

    /// Nodes answered, but none led with a quorum behind it within the time limit. Not applied.
    #[error(
        "no leader{} ({detail}){}; try again when a majority of the nodes runs and can connect to each other",
        within(*after), unchanged(*write)
    )]
    NoLeader {
        /// Time spent trying.
        after: Duration,
        /// Failure of the last attempt.
        detail: String,
        /// True for a write. It has changed nothing and never will.
        write: bool,
    },

    /// No node could be reached within the time limit, or none that was reached answered a read.
    /// Not applied.
    #[error(
        "no node could be reached{} ({detail}){}; check the endpoints and that the nodes run",
        within(*after), unchanged(*write)
    )]
    Unreachable {
        /// Time spent trying.
        after: Duration,
        /// Failure of the last attempt.
        detail: String,
        /// True for a write. It has changed nothing and never will.
        write: bool,
    },

    /// The nodes that answered belong to another cluster: an endpoint is wrong, or a node was set up anew. Not applied.
    ///
    /// A client is bound to one cluster: the one of [`ClientBuilder::cluster_id`](crate::ClientBuilder::cluster_id), or
    /// else the first that a node named.
    #[error(
        "no node of this cluster could be reached{} ({detail}){}; check the endpoints, and whether a node was set up \
         again",
        within(*after), unchanged(*write)
    )]
    WrongCluster {
        /// Time spent trying.
        after: Duration,
        /// A node, its cluster, and the cluster that was meant.
        detail: String,
        /// True for a write. It has changed nothing and never will.
        write: bool,
    },

    /// A write was sent, and it is unknown whether it was applied. It may also still be applied later, though never
    /// twice. Only writes end with this error.
    #[error(
        "no definite answer{} ({detail}), so the write may have been applied or may still be applied; read the key before you write it \
         again",
        within(*after)
    )]
    OutcomeUnknown {
        /// Time spent trying.
        after: Duration,
        /// Failure of the last attempt.
        detail: String,
    },

    /// The request is invalid, for example because its key is empty. Not applied.
    #[error("invalid request: {message}")]
    InvalidRequest {
        /// Reason why it is refused.
        message: String,
    },

    /// The value or the request is larger than the nodes accept. Not applied.
    #[error("too large: {message}")]
    TooLarge {
        /// The limit, in the node's words.
        message: String,
    },

    /// Nodes had too much in flight throughout the time limit. Not applied.
    #[error(
        "the cluster is overloaded ({detail}){}; send less at once, or try again later",
        unchanged(*write)
    )]
    Overloaded {
        /// Time spent trying.
        after: Duration,
        /// The node's message.
        detail: String,
        /// True for a write. It has changed nothing and never will.
        write: bool,
    },

    /// A list was cut off or damaged on its way, and could not be continued. The entries that arrived are not all of
    /// it.
    #[error("the list from {endpoint} is incomplete: {detail}; list again")]
    ListBroken {
        /// The node that sent it.
        endpoint: String,
        /// The failure.
        detail: String,
    },

    /// A snapshot broke off or arrived damaged. The output is not a backup.
    #[error("the backup from {endpoint} is incomplete: it ended after {bytes} bytes ({detail}); try again")]
    SnapshotBroken {
        /// The node that sent it.
        endpoint: String,
        /// Bytes that had arrived.
        bytes: u64,
        /// The failure.
        detail: String,
    },

    /// A snapshot could not be written to the caller's destination. The output is not a backup.
    #[error("the backup cannot be written: {cause}")]
    Output {
        /// The writer's error.
        cause: std::io::Error,
    },

    /// A newer write under the same request name has been applied, so this one was not carried out now. The cluster no
    /// longer knows whether it was applied before the newer one.
    ///
    /// Occurs only with a caller's own [`RequestId`](crate::RequestId): the client never reuses a lower number.
    #[error("stale request, not carried out: {message}; use a higher `seq` for each new write")]
    StaleRequest {
        /// The node's message.
        message: String,
    },

    /// The write was applied, and this is the answer to a repeat of it: the reply to the first attempt was lost, and
    /// was too large for the cluster to keep. Only a transaction or the deletion of a range can have such a reply.
    #[error(
        "the write was applied, at revision {revision} or before, but its reply was lost and was too large to be kept; \
         read at that revision what you need of it"
    )]
    ReplyNotKept {
        /// Revision of the store after the write.
        revision: u64,
    },

    /// The store has reached the size that its nodes allow. Not applied. Deletes, and smaller values, are still
    /// accepted.
    #[error("the store is full, nothing written: {message}")]
    StoreFull {
        /// The node's message.
        message: String,
    },

    /// The state or the changes of this revision are no longer kept. Read the present state, and continue from there.
    #[error("{message}")]
    Compacted {
        /// The oldest revision that the node still keeps, if it says.
        oldest_revision: Option<u64>,
        /// The node's message.
        message: String,
    },

    /// The cluster has not reached this revision, which may be that of another cluster.
    #[error("{message}")]
    FutureRevision {
        /// The node's message, with the newest revision.
        message: String,
    },

    /// There is no such lease, or it has ended, and its keys with it. Not applied.
    #[error("{message}")]
    LeaseNotFound {
        /// The node's message.
        message: String,
    },

    /// A lease with this id exists already. Not applied.
    #[error("{message}")]
    LeaseExists {
        /// The node's message.
        message: String,
    },

    /// Another client holds the lock, and the time to wait for it is over.
    #[error("{message}")]
    LockHeld {
        /// The holder, if the node says.
        holder: Option<Box<LockPlace>>,
        /// The node's message.
        message: String,
    },

    /// The lock was no longer held. Not applied.
    #[error("{message}")]
    LockLost {
        /// The node's message.
        message: String,
    },

    /// Leadership was not transferred, for example because the target did not take over in time. Nothing has changed.
    #[error("leadership was not transferred: {message}")]
    TransferFailed {
        /// The reason, who leads, and what to do.
        message: String,
    },

    /// There is no member of this name. Not applied.
    #[error("{message}")]
    MemberNotFound {
        /// Names the members.
        message: String,
    },

    /// The members cannot be changed in this way, or not now. Not applied.
    #[error("the members were not changed: {message}")]
    ChangeRefused {
        /// The reason, and what to do.
        message: String,
    },

    /// The node refuses to serve this caller. Not applied.
    #[error("refused: {message}")]
    Forbidden {
        /// The node's message.
        message: String,
    },

    /// The client was configured wrongly, for example with an endpoint that is not a URL. Nothing was sent.
    #[error("{message}")]
    Configuration {
        /// The mistake and its correction.
        message: String,
    },

    /// A node answered in a way this client does not understand: is the endpoint a kvd node?
    #[error("unexpected answer from {endpoint}: {message}{}; check that the endpoint is a kvd node, and that client \
         and daemon have compatible versions",
        if *applied == Applied::No { "" } else { ", so the write may have been applied" })]
    Unexpected {
        /// The node that answered.
        endpoint: String,
        /// Effect that the request may have had.
        applied: Applied,
        /// The node's answer.
        message: String,
    },
}

impl Error {
    /// Returns whether the request may have changed anything. [`Applied::No`] is a promise that it has not and never
    /// will. The one error of a write that certainly was applied is [`Error::ReplyNotKept`].
    ///
    /// ```
    /// use kvclient::{Applied, Client};
    ///
    /// # let endpoints = ["http://127.0.0.1:8081"];
    /// let client = Client::connect(endpoints)?;
    /// let error = client.set("", "a key must not be empty").unwrap_err();
    /// assert_eq!(error.applied(), Applied::No);
    /// # anyhow::Ok(())
    /// ```
    pub fn applied(&self) -> Applied {
        match self {
            Self::OutcomeUnknown { .. } | Self::StaleRequest { .. } | Self::ReplyNotKept { .. } => Applied::Unknown,
            Self::Unexpected { applied, .. } => *applied,
            Self::ConditionFailed { .. }
            | Self::NoLeader { .. }
            | Self::Unreachable { .. }
            | Self::WrongCluster { .. }
            | Self::InvalidRequest { .. }
            | Self::TooLarge { .. }
            | Self::Overloaded { .. }
            | Self::StoreFull { .. }
            | Self::Compacted { .. }
            | Self::FutureRevision { .. }
            | Self::LeaseNotFound { .. }
            | Self::LeaseExists { .. }
            | Self::LockHeld { .. }
            | Self::LockLost { .. }
            | Self::ListBroken { .. }
            | Self::TransferFailed { .. }
            | Self::MemberNotFound { .. }
            | Self::ChangeRefused { .. }
            | Self::Forbidden { .. }
            | Self::SnapshotBroken { .. }
            | Self::Output { .. }
            | Self::Configuration { .. } => Applied::No,
        }
    }
}

impl Error {
    /// Returns the failure without its consequences, for a message that states them itself.
    pub(crate) fn bare(self) -> String {
        match self {
            Self::NoLeader { detail, .. }
            | Self::Unreachable { detail, .. }
            | Self::WrongCluster { detail, .. }
            | Self::OutcomeUnknown { detail, .. }
            | Self::Overloaded { detail, .. } => detail,
            Self::InvalidRequest { message }
            | Self::TooLarge { message }
            | Self::StaleRequest { message }
            | Self::StoreFull { message }
            | Self::Compacted { message, .. }
            | Self::FutureRevision { message }
            | Self::LeaseNotFound { message }
            | Self::LeaseExists { message }
            | Self::LockHeld { message, .. }
            | Self::LockLost { message }
            | Self::TransferFailed { message }
            | Self::MemberNotFound { message }
            | Self::ChangeRefused { message }
            | Self::Forbidden { message }
            | Self::Configuration { message } => message,
            Self::Unexpected { endpoint, message, .. } => format!("{endpoint}: {message}"),
            error @ (Self::ConditionFailed { .. }
            | Self::ReplyNotKept { .. }
            | Self::ListBroken { .. }
            | Self::SnapshotBroken { .. }
            | Self::Output { .. }) => error.to_string(),
        }
    }
}

/// Returns ` in 1.2s`, or nothing if it failed at once.
fn within(after: Duration) -> String {
    match after.as_millis() {
        0 => String::new(),
        ms @ 1..1000 => format!(" in {ms}ms"),
        _ => format!(" in {after:.1?}"),
    }
}

fn unchanged(write: bool) -> &'static str {
    if write { ", so nothing was changed" } else { "" }
}

fn describe(current: Option<&Item>) -> String {
    match current {
        Some(item) => format!("the key is now at revision {} (version {})", item.mod_revision, item.version),
        None => "the key does not exist".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_and_say_what_became_of_the_data() {
        let (after, micros) = (Duration::from_millis(1234), Duration::from_micros(126));
        let detail = || "connection refused".to_string();
        let message = || "why".to_string();
        let endpoint = || "http://127.0.0.1:1".to_string();
        let item =
            Item { key: "k".into(), value: vec![1], create_revision: 2, mod_revision: 7, version: 3, lease: None };
        for (error, applied, says) in [
            (Error::ConditionFailed { current: Some(item) }, Applied::No, "now at revision 7 (version 3)"),
            (Error::ConditionFailed { current: None }, Applied::No, "does not exist"),
            (Error::NoLeader { after, detail: detail(), write: true }, Applied::No, "in 1.2s (connection refused), so"),
            (Error::NoLeader { after, detail: detail(), write: false }, Applied::No, "(connection refused); try"),
            (Error::Unreachable { after, detail: detail(), write: true }, Applied::No, "nothing was changed"),
            (Error::Unreachable { after: micros, detail: detail(), write: false }, Applied::No, "reached (connection"),
            (Error::Unreachable { after: micros * 100, detail: detail(), write: false }, Applied::No, "in 12ms ("),
            (
                Error::WrongCluster { after, detail: detail(), write: true },
                Applied::No,
                "so nothing was changed; check",
            ),
            (
                Error::WrongCluster { after, detail: detail(), write: false },
                Applied::No,
                "this cluster could be reached",
            ),
            (Error::OutcomeUnknown { after, detail: detail() }, Applied::Unknown, "may have been applied"),
            (Error::Overloaded { after, detail: detail(), write: true }, Applied::No, "nothing was changed"),
            (Error::InvalidRequest { message: message() }, Applied::No, "invalid request: why"),
            (Error::TooLarge { message: message() }, Applied::No, "too large: why"),
            (Error::StaleRequest { message: message() }, Applied::Unknown, "not carried out"),
            (Error::ReplyNotKept { revision: 7 }, Applied::Unknown, "was applied, at revision 7"),
            (Error::StoreFull { message: message() }, Applied::No, "full, nothing written: why"),
            (Error::Compacted { oldest_revision: Some(7), message: message() }, Applied::No, "why"),
            (Error::FutureRevision { message: message() }, Applied::No, "why"),
            (Error::LeaseNotFound { message: message() }, Applied::No, "why"),
            (Error::LeaseExists { message: message() }, Applied::No, "why"),
            (Error::LockHeld { holder: None, message: message() }, Applied::No, "why"),
            (Error::LockLost { message: message() }, Applied::No, "why"),
            (
                Error::ListBroken { endpoint: endpoint(), detail: detail() },
                Applied::No,
                "from http://127.0.0.1:1 is incomplete: connection refused; list again",
            ),
            (Error::MemberNotFound { message: message() }, Applied::No, "why"),
            (Error::ChangeRefused { message: message() }, Applied::No, "not changed: why"),
            (Error::Forbidden { message: message() }, Applied::No, "refused: why"),
            (Error::Configuration { message: message() }, Applied::No, "why"),
            (
                Error::SnapshotBroken { endpoint: endpoint(), bytes: 7, detail: detail() },
                Applied::No,
                "is incomplete: it ended after 7 bytes (connection refused); try again",
            ),
            (Error::Output { cause: std::io::Error::other("disk full") }, Applied::No, "written: disk full"),
            (
                Error::Unexpected { endpoint: endpoint(), applied: Applied::Unknown, message: message() },
                Applied::Unknown,
                "may have been applied",
            ),
            (
                Error::Unexpected { endpoint: endpoint(), applied: Applied::No, message: message() },
                Applied::No,
                "http://127.0.0.1:1: why; check",
            ),
        ] {
            let text = error.to_string();
            assert_eq!(error.applied(), applied, "{text}");
            assert!(text.contains(says), "{text}");
            assert!(!text.contains('\n') && !text.contains("  "), "{text}");
        }
    }
}
