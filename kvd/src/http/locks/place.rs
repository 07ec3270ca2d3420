//! Places in the queues of locks, as the store keeps them and as clients are told of them.

use super::super::convert::to_api_lease;
use crate::kv::{Holder, KeyRange, Spans, Store};
use kvclient::api::LockPlace;

/// Returns the keys of the places of a lock.
pub(super) fn keys_of(name: &str) -> Spans {
    let mut keys = Spans::default();
    keys.add(&KeyRange::of_prefix(format!("{name}/").as_bytes()));
    keys
}

/// Returns for how long a lock has had its holder, in milliseconds, if this node knows. `time_ms` is the cluster time of
/// the leader's answer, if it has told one.
pub(super) fn held_ms(store: &Store, name: &str, time_ms: Option<u64>) -> Option<u64> {
    let now_ms = time_ms.unwrap_or(0).max(store.time_ms());
    store.held_since_ms(name.as_bytes()).map(|since_ms| now_ms.saturating_sub(since_ms))
}

/// Returns a place as the API tells it.
pub(super) fn to_place(holder: Holder, held_ms: Option<u64>) -> LockPlace {
    let Holder { token, lease, value } = holder;
    LockPlace { lease: to_api_lease(lease), token, value: value.into(), held_ms }
}
