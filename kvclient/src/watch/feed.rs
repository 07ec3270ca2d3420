//! The events of a watch: those of one node after another, without gap or repeat.
//!
//! The position is the id of the last event. Whatever happens to a node, the next one continues after it. The part of a
//! revision that has arrived before a stream broke off is dropped, since the next node sends the whole of it.

use crate::api::{Change, Item, WatchEvent, WatchPosition, WatchRequest};
use crate::error::Error;
use crate::events::{Asked, Events, Next};
use crate::routing::Cluster;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The events of a watch.
pub(super) struct Feed {
    events: Events<WatchEvent>,
    request: WatchRequest,
    /// Everything up to there has been told.
    position: Option<WatchPosition>,
    /// Changes received of a revision that comes in several events.
    parts: Vec<Change>,
}

/// News from a feed.
#[derive(Debug)]
pub(super) enum Heard {
    /// The present items follow, from the first one on, whatever came before.
    Begun,
    /// Some of the present items.
    Items(Vec<Item>),
    /// The present items have come, as they were at this revision.
    Synced(u64),
    /// All changes of one revision.
    Changes { revision: u64, changes: Vec<Change> },
    /// The node is up to date, and there is nothing else up to this revision.
    Progress(u64),
    /// Nothing for a while.
    Nothing,
    /// The watch cannot go on.
    Failed(Error),
    /// It was ended.
    Ended,
}

impl Feed {
    pub(super) fn new(cluster: Arc<Cluster>, request: WatchRequest, ended: Arc<AtomicBool>) -> Self {
        let events = Events::new(cluster, WatchEvent::read, ended);
        Self { events, request, position: None, parts: Vec::new() }
    }

    /// Returns the request, to change it before the first call of [`Feed::next`].
    pub(super) fn request_mut(&mut self) -> &mut WatchRequest {
        &mut self.request
    }

    /// Returns the revision up to which everything has been told, once a node has answered.
    pub(super) fn revision(&self) -> Option<u64> {
        self.position.map(|position| position.revision)
    }

    /// Forgets the position: the watch begins anew.
    pub(super) fn begin_anew(&mut self) {
        self.position = None;
        self.events.leave();
    }

    /// Waits for `patience`, to within a tick, for the next news.
    pub(super) fn next(&mut self, patience: Duration) -> Heard {
        let started = Instant::now();
        loop {
            let Self { events, request, position, .. } = self;
            let left = patience.saturating_sub(started.elapsed());
            match events.next(left, || to_ask(request, *position)) {
                Next::Event(event, id) => match self.take(event, id) {
                    Ok(Some(heard)) => return heard,
                    Ok(None) => {}
                    Err(error) => {
                        self.events.leave();
                        return Heard::Failed(error);
                    }
                },
                Next::Nothing => return Heard::Nothing,
                Next::Failed(error) => return Heard::Failed(error),
                Next::Ended => return Heard::Ended,
            }
        }
    }

    /// Takes an event: updates the position, and returns what the event means.
    fn take(&mut self, event: WatchEvent, id: Option<String>) -> Result<Option<Heard>, Error> {
        let begins_with_items = self.request.initial && self.position.is_none();
        // The id of a watch that begins with the present items counts only once they have all come.
        if !(begins_with_items && matches!(event, WatchEvent::Start { .. }))
            && let Some(position) = id.and_then(|id| id.parse().ok())
        {
            self.position = Some(position);
        }
        Ok(match event {
            WatchEvent::Start { .. } => {
                self.parts.clear();
                begins_with_items.then_some(Heard::Begun)
            }
            WatchEvent::Initial { items } => Some(Heard::Items(items)),
            WatchEvent::Synced { revision } => Some(Heard::Synced(revision)),
            WatchEvent::Change { changes, more: true, .. } => {
                self.parts.extend(changes);
                None
            }
            WatchEvent::Change { revision, changes, more: false } => {
                let mut all = mem::take(&mut self.parts);
                all.extend(changes);
                Some(Heard::Changes { revision, changes: all })
            }
            WatchEvent::Progress { revision } => Some(Heard::Progress(revision)),
            WatchEvent::Compacted { oldest_revision } => {
                return Err(Error::Compacted {
                    oldest_revision: Some(oldest_revision),
                    message:
                        "the changes that come next are no longer kept: read what there is now, and go on from there"
                            .into(),
                });
            }
            WatchEvent::Error(_) => {
                self.events.told();
                None
            }
        })
    }
}

/// Returns what is asked of the next node.
fn to_ask(request: &WatchRequest, position: Option<WatchPosition>) -> Asked {
    let last_event_id = position.map(|position| position.to_string());
    match request.to_query() {
        Some(query) => Asked { path: format!("/watch?{query}"), body: None, last_event_id },
        None => Asked { path: "/watch".to_owned(), body: serde_json::to_vec(request).ok(), last_event_id },
    }
}
