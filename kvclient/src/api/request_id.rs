//! Request ids, which make a repeated write apply once.

use super::object::read_from_object;
use serde::Serialize;

/// Longest client name inside a [`RequestId`], in characters.
///
/// ```
/// assert_eq!(kvclient::api::CLIENT_NAME_CHARS_MAX, 64);
/// ```
pub const CLIENT_NAME_CHARS_MAX: usize = 64;

/// Identifies one write of one client: `{"client":"...","seq":N}`.
///
/// For one `client` the cluster applies each `seq` at most once. A repeat of the newest `seq` gets the stored reply, an
/// older one gets 409 `stale_request`, and a different request under the same `seq` is refused. A client sends one
/// request at a time under one name.
///
/// If the condition failed, only that fact is stored: a repeat fails as well, and its `current` is the item at the time
/// of the repeat. A reply with a large `prev` is dropped if nobody asks for it and other replies need the space; a
/// repeat then gets `stale_request`.
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
