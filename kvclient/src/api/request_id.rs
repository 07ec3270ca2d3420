//! Ids of requests, by which a repeated write is applied once.

use super::object::read_from_object;
use serde::Serialize;

/// Longest client name inside a [`RequestId`], in characters.
///
/// ```
/// assert_eq!(kvclient::api::CLIENT_NAME_CHARS_MAX, 64);
/// ```
pub const CLIENT_NAME_CHARS_MAX: usize = 64;

/// Names one write of one client: `{"client":"...","seq":N}`.
///
/// For one `client` the cluster applies each `seq` at most once: a repeat of the newest gets the
/// stored reply, an older one gets 409 `stale_request`, and another request under the same `seq` is
/// refused. A client sends one request at a time under one name.
///
/// Of a reply that tells a failed condition only that is stored: a repeat fails as well, and its `current` is
/// the item as it is by then. A reply with a large `prev` is dropped when it is not asked for and others need the
/// room; a repeat then gets `stale_request`.
///
/// ```
/// use kvclient::api::RequestId;
///
/// let id = RequestId { client: "backup".into(), seq: 7 };
/// assert_eq!(serde_json::to_string(&id)?, r#"{"client":"backup","seq":7}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct RequestId {
    /// Name of the client, 1 to [`CLIENT_NAME_CHARS_MAX`] characters.
    pub client: String,
    /// Number of the request, higher for each new one.
    pub seq: u64,
}

read_from_object!(RequestId, "an object with `client` and `seq`", { client: String, seq: u64 });
