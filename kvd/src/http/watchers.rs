//! Watchers: the index by which a change of a key wakes those who wait for it.
//!
//! A watcher is a position in the history that this node keeps, and a set of keys in an index. One task follows the
//! commands that the node applies, looks up each changed key, and wakes the watchers of that key. So a watcher of other
//! keys costs a write nothing. Nothing is queued: a watcher that is woken reads the history, or takes the text that
//! another watcher of the same keys has rendered (`texts`).
//!
//! # Why no change is missed
//!
//! The task counts a revision as looked at (`looked_at`) only after the first revision that concerns a watcher stands
//! in that watcher's slot (`concerned_from`). A watcher reads `looked_at` first and takes its slot after that. If the
//! slot was empty, no change up to the `looked_at` that it read concerns it, apart from those that it has already
//! passed. If the slot had a revision, the watcher reads the history from there, or from its own position if that is
//! further. A revision that the task finds meanwhile stands in the slot again. A watcher joins under the lock that the
//! task holds while it looks, and with its position in its slot, unless the task has yet to look at the changes after
//! that position.

mod index;
mod texts;

pub(super) use texts::{Form, Text};

use super::gateway::{Gateway, Next};
use crate::kv::{ChangePlace, PIECE_KEYS_MAX, Revision, Spans};
use index::Index;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use texts::Texts;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::Instant;

/// Most watchers that are woken at once. All other work, heartbeats and the next write included, waits until these have
/// sent their changes. So a crowd of watchers is woken bit by bit.
const WOKEN_AT_ONCE_MAX: usize = 32;

/// Time after which the task looks again even if nothing seems to have been applied.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Stands for no revision.
const NONE: Revision = Revision::MAX;

/// All watchers of a node; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Watchers {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    joined: Mutex<Joined>,
    /// All revisions up to this one have been looked at.
    looked_at: AtomicU64,
    /// Tells the task that there is a watcher again. Earlier changes may concern it.
    first_joined: Notify,
    texts: Texts,
}

#[derive(Default)]
struct Joined {
    index: Index<u64, Arc<Slot>>,
    next_id: u64,
    /// Place at which the task continues, if it has stopped within a revision.
    within: Option<ChangePlace>,
}

#[derive(Debug)]
struct Slot {
    /// The first revision that concerns the watcher and that it has not taken yet; [`NONE`] if there is none.
    concerned_from: AtomicU64,
    woken: Notify,
}

/// A watcher. It leaves when dropped.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    id: u64,
    keys: Arc<Spans>,
}

/// Part of the history that a watcher must read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToRead {
    /// All that concerns it from this revision on.
    From(Revision),
    /// Nothing up to this revision.
    NothingUpTo(Revision),
}

/// Outcome of a look at what has been applied.
enum Looked {
    /// There is more to look at.
    AtSome,
    /// Everything has been looked at.
    AtAll,
    /// There is nobody to wake.
    Alone,
}

impl Shared {
    fn joined(&self) -> MutexGuard<'_, Joined> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watchers {
    /// Adds a watcher of these keys that has read everything up to `position`. The store has reached that revision.
    pub(super) fn join(&self, keys: Spans, position: Revision) -> Watcher {
        let mut joined = self.shared.joined();
        let looked_at = &self.shared.looked_at;
        if joined.index.is_empty() {
            // There is no other watcher, so the changes in between concern nobody.
            looked_at.store(position, Ordering::Release);
            joined.within = None;
            self.shared.first_joined.notify_one();
        }
        // Of a revision that is looked at in parts, some changes may have been passed.
        let is_within = joined.within.is_some_and(|place| position < place.revision);
        let is_behind = position < looked_at.load(Ordering::Acquire) || is_within;
        let concerned_from = if is_behind { position + 1 } else { NONE };
        let slot = Arc::new(Slot { concerned_from: AtomicU64::new(concerned_from), woken: Notify::new() });
        let id = joined.next_id;
        joined.next_id += 1;
        joined.index.add(id, &keys, &slot);
        Watcher { shared: Arc::clone(&self.shared), slot, id, keys: Arc::new(keys) }
    }

    /// Wakes watchers until the node stops.
    pub(super) async fn wake(self, gateway: Gateway) {
        let mut applied = gateway.applied();
        let mut concerned = VecDeque::new();
        loop {
            let looked = self.look(&gateway, &mut concerned);
            for slot in concerned.drain(..concerned.len().min(WOKEN_AT_ONCE_MAX)) {
                slot.woken.notify_one();
            }
            if !concerned.is_empty() {
                yield_now().await;
                continue;
            }
            match looked {
                Looked::AtSome => yield_now().await,
                Looked::AtAll => {
                    if gateway.check_lives().is_err() {
                        // These watchers end, and later ones find out by themselves.
                        self.shared.joined().index.all(|slot| slot.woken.notify_one());
                    }
                    tokio::select! {
                        next = applied.next(Instant::now() + LOOK_EVERY) => match next {
                            Ok(Next::More | Next::TimeIsOver) => {}
                            Err(_) => return,
                        },
                        () = self.shared.first_joined.notified() => {}
                    }
                }
                Looked::Alone => {
                    tokio::select! {
                        () = self.shared.first_joined.notified() => {}
                        () = gateway.stops() => return,
                    }
                }
            }
        }
    }

    /// Looks at the changes that have been applied, for one piece of work. Adds the watchers that they concern to
    /// `concerned`.
    fn look(&self, gateway: &Gateway, concerned: &mut VecDeque<Arc<Slot>>) -> Looked {
        let mut joined = self.shared.joined();
        let Joined { index, within, .. } = &mut *joined;
        if index.is_empty() {
            return Looked::Alone;
        }
        let looked_at = &self.shared.looked_at;
        let seen = looked_at.load(Ordering::Acquire);
        gateway.with_store(|store| {
            let reached = store.revision();
            let mut place = within.take().unwrap_or(ChangePlace::before(seen + 1));
            let Ok(changes) = store.changed_keys(place) else {
                index.all(|slot| slot.concern(seen + 1, concerned));
                looked_at.store(reached, Ordering::Release);
                return Looked::AtAll;
            };
            for (count, (revision, key)) in changes.enumerate() {
                if count == PIECE_KEYS_MAX {
                    looked_at.store(place.revision - 1, Ordering::Release);
                    *within = Some(place);
                    return Looked::AtSome;
                }
                index.of_key(key, |slot| slot.concern(revision, concerned));
                place = place.behind_next(revision);
            }
            looked_at.store(reached, Ordering::Release);
            Looked::AtAll
        })
    }
}

impl Slot {
    /// Adds the watcher to `concerned`, unless it is there for an earlier revision that it has not taken yet. In that
    /// case this revision is in the store before the watcher takes the earlier one, so the watcher finds both.
    fn concern(self: &Arc<Self>, revision: Revision, concerned: &mut VecDeque<Arc<Self>>) {
        if self.concerned_from.fetch_min(revision, Ordering::AcqRel) == NONE {
            concerned.push_back(Arc::clone(self));
        }
    }
}

impl Watcher {
    /// Returns the watched keys.
    pub(super) fn keys(&self) -> &Spans {
        &self.keys
    }

    /// Returns what this watcher must read. It must not ask again before it has read it.
    pub(super) fn take(&self) -> ToRead {
        let looked_at = self.shared.looked_at.load(Ordering::Acquire);
        match self.slot.concerned_from.swap(NONE, Ordering::AcqRel) {
            NONE => ToRead::NothingUpTo(looked_at),
            revision => ToRead::From(revision),
        }
    }

    /// Returns the changes after this revision as another watcher of the same keys has rendered them, if one has. There
    /// may be more changes after those.
    pub(super) fn text(&self, form: Form, behind: Revision) -> Option<Text> {
        self.shared.texts.find(&self.keys, form, behind)
    }

    /// Keeps a text for other watchers of the same keys.
    pub(super) fn share(&self, form: Form, text: &Text) {
        self.shared.texts.keep(&self.keys, form, text);
    }

    /// Waits until there may be something to read, or until the node may have stopped serving.
    pub(super) async fn woken(&self) {
        self.slot.woken.notified().await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let Self { shared, id, keys, .. } = self;
        shared.joined().index.remove(*id, keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KeyRange;

    #[test]
    fn who_joins_while_a_revision_is_looked_at_in_parts_is_told_of_all_of_it() {
        let watchers = Watchers::default();
        let mut all = Spans::default();
        all.add(&KeyRange::ALL);
        let _first = watchers.join(all.clone(), 5);
        watchers.shared.joined().within = Some(ChangePlace::before(6));
        assert!(matches!(watchers.join(all.clone(), 5).take(), ToRead::From(6)));
        assert!(matches!(watchers.join(all, 6).take(), ToRead::NothingUpTo(5)));
    }
}
