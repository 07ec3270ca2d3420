//! Long polls: reads that wait until something in their range has changed.
//!
//! The read looks at the history once, in pieces, and then waits among the [watchers](super::watchers) of its keys.

use super::context::Context;
use super::error::ApiError;
use super::watchers::ToRead;
use crate::kv::{ChangePlace, KeyRange, PIECE_KEYS_MAX, Revision, Spans, Store};
use kvclient::api::Wait;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

/// The keys that a read waits for.
pub(super) struct Watched {
    range: KeyRange,
}

/// Findings of a look at the history.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Something has changed, or the history no longer shows whether it has.
    Change,
    /// Nothing has changed up to this revision, at which the look ended early.
    NothingUpTo(Revision),
    /// Nothing has changed up to now.
    Nothing,
}

impl Watched {
    pub(super) fn new(range: KeyRange) -> Self {
        Self { range }
    }

    /// Looks for a change after `seen`, for one piece of work.
    fn look(&self, store: &Store, seen: Revision) -> Found {
        if seen >= store.revision() {
            return Found::Nothing;
        }
        if let Some(key) = self.range.as_key() {
            // An item that was last written by `seen` has not been deleted since, or its revision would be later.
            return match store.get_ref(key) {
                Some(item) if item.mod_revision <= seen => Found::Nothing,
                Some(_) => Found::Change,
                None if seen + 1 < store.oldest_change() => Found::Change,
                None => match store.changes_of(key, Revision::MAX).next() {
                    Some(change) if change.revision > seen => Found::Change,
                    _ => Found::Nothing,
                },
            };
        }
        let Ok(changes) = store.changed_keys(ChangePlace::before(seen + 1)) else { return Found::Change };
        let mut looked_at = (0, seen);
        for (revision, key) in changes {
            if looked_at.0 >= PIECE_KEYS_MAX && revision > looked_at.1 {
                return Found::NothingUpTo(looked_at.1);
            }
            if self.range.contains(key) {
                return Found::Change;
            }
            looked_at = (looked_at.0 + 1, revision);
        }
        Found::Nothing
    }
}

/// Waits until a key of the range is set or deleted after `wait.newer_than`, until the history no longer shows whether
/// one was, or until the time is over: that of `wait`, or `by` if that is earlier. The caller has checked that the
/// store has reached that revision.
///
/// # Errors
/// [`ApiError`] if there are too many streams, or if the node stops or may no longer serve its store.
pub(super) async fn wait(context: &Context, wait: Wait, watched: Watched, by: Option<Instant>) -> Result<(), ApiError> {
    let _stream = context.streams.begin()?;
    let deadline = Instant::now() + Duration::from_millis(wait.wait_ms);
    let deadline = by.map_or(deadline, |by| by.min(deadline));
    let mut keys = Spans::default();
    keys.add(&watched.range);
    let mut seen = wait.newer_than;
    let watcher = context.watchers.join(keys, seen);
    let wait = async {
        loop {
            context.gateway.check_lives()?;
            if let ToRead::From(revision) = watcher.take() {
                seen = seen.max(revision - 1);
                loop {
                    match context.gateway.with_store(|store| watched.look(store, seen)) {
                        Found::Change => return Ok(()),
                        Found::NothingUpTo(revision) => seen = revision,
                        Found::Nothing => break,
                    }
                    yield_now().await;
                }
            }
            watcher.woken().await;
        }
    };
    tokio::select! {
        biased;
        () = context.gateway.stops() => context.gateway.check_lives(),
        ended = timeout_at(deadline, wait) => ended.unwrap_or(Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Command, HistoryLimits, Operation, Put, StoreLimits};

    fn apply(store: &mut Store, operation: Operation) {
        store.apply(1, &Command { operation, request: None });
    }

    fn set(store: &mut Store, key: &'static str) {
        apply(store, Operation::Set { put: Put::new(key, "v"), condition: None });
    }

    #[test]
    fn a_change_is_found_where_it_is_known_or_may_have_been() {
        let mut store = Store::default();
        set(&mut store, "a/1"); // revision 2
        set(&mut store, "b"); // 3
        apply(&mut store, Operation::Delete { key: "b".into(), condition: None, prev: false }); // 4
        set(&mut store, "c"); // 5
        let key = |key: &str| Watched::new(KeyRange::of_key(key.as_bytes()));
        let folder = Watched::new(KeyRange::of_prefix(b"a/"));
        let all = Watched::new(KeyRange::ALL);
        for (case, watched, seen, expected) in [
            ("set after", &key("a/1"), 1, Found::Change),
            ("set at", &key("a/1"), 2, Found::Nothing),
            ("deleted after", &key("b"), 3, Found::Change),
            ("deleted at", &key("b"), 4, Found::Nothing),
            ("never there", &key("d"), 1, Found::Nothing),
            ("in the range", &folder, 1, Found::Change),
            ("beside the range", &folder, 2, Found::Nothing),
            ("anything", &all, 4, Found::Change),
            ("nothing yet", &all, 5, Found::Nothing),
        ] {
            assert_eq!(watched.look(&store, seen), expected, "{case}");
        }
        let history = HistoryLimits { bytes_max: 0, age_ms_max: 0, ..HistoryLimits::default() };
        store.set_limits(&StoreLimits { history, ..StoreLimits::default() });
        set(&mut store, "c"); // 6
        for (case, watched, seen, expected) in [
            ("an old item", &key("a/1"), 2, Found::Nothing),
            ("a key that may have been deleted", &key("b"), 4, Found::Change),
            ("a range that may have changed", &folder, 4, Found::Change),
        ] {
            assert_eq!(watched.look(&store, seen), expected, "{case}, forgotten");
        }
    }

    #[test]
    fn a_look_ends_behind_a_whole_revision() {
        let mut store = Store::default();
        for _ in 0..PIECE_KEYS_MAX + 10 {
            set(&mut store, "c");
        }
        let folder = Watched::new(KeyRange::of_prefix(b"a/"));
        let first = 1 + PIECE_KEYS_MAX as u64;
        assert_eq!(folder.look(&store, 1), Found::NothingUpTo(first));
        assert_eq!(folder.look(&store, first), Found::Nothing);
    }
}
