//! Following the holders of a lock.

use crate::api::{HOLDER_EVENT, HolderEvent, LockQuery};
use crate::error::Error;
use crate::events::{Asked, Events, Next};
use crate::routing::Cluster;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// An iterator over the holders of a lock, from [`Client::watch_lock`](crate::Client::watch_lock). It waits as long as
/// nothing changes.
///
/// The first item is the present holder, or says that there is none. If the lock changes hands quickly, some holders
/// may be left out, but never the last one. It continues at another node by itself, and ends only with an error: if the
/// name is invalid, or if all nodes belong to another cluster by now.
pub struct HolderWatch {
    events: Events<Told>,
    query: LockQuery,
    /// The newest item.
    last: Option<HolderEvent>,
    has_ended: bool,
}

/// An event of the stream.
enum Told {
    Holder(HolderEvent),
    Error,
}

fn read(name: &str, data: &str) -> serde_json::Result<Option<Told>> {
    match name {
        HOLDER_EVENT => serde_json::from_str(data).map(Told::Holder).map(Some),
        "error" => Ok(Some(Told::Error)),
        _ => Ok(None),
    }
}

impl HolderWatch {
    pub(crate) fn new(cluster: Arc<Cluster>, name: String) -> Self {
        let events = Events::new(cluster, read, Arc::new(AtomicBool::new(false)));
        Self { events, query: LockQuery::new(name), last: None, has_ended: false }
    }

    /// Returns the next holder, or `None` if the lock does not change hands for `timeout`. The watch continues in
    /// either case, unless it has ended with an error.
    ///
    /// ```
    /// use kvclient::Client;
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mut watch = Client::connect(endpoints)?.watch_lock("service/leader");
    /// let now = watch.next_timeout(Duration::from_secs(5)).expect("a node answers")?;
    /// assert_eq!(now.holder, None);
    /// assert!(watch.next_timeout(Duration::from_millis(10)).is_none());
    /// # anyhow::Ok(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<HolderEvent, Error>> {
        let started = Instant::now();
        while !self.has_ended {
            let asked =
                || Asked { path: format!("/lock/watch?{}", self.query.to_query()), body: None, last_event_id: None };
            match self.events.next(timeout.saturating_sub(started.elapsed()), asked) {
                Next::Event(Told::Holder(told), _) => {
                    if self.is_news(&told) {
                        self.last = Some(told.clone());
                        return Some(Ok(told));
                    }
                }
                Next::Event(Told::Error, _) => self.events.told(),
                Next::Nothing => return None,
                Next::Failed(error) => {
                    self.has_ended = true;
                    return Some(Err(error));
                }
                Next::Ended => self.has_ended = true,
            }
        }
        None
    }

    /// Returns whether the event has another holder, and does not come from a node that is behind.
    fn is_news(&self, told: &HolderEvent) -> bool {
        let token = |event: &HolderEvent| event.holder.as_ref().map(|holder| holder.token);
        self.last.as_ref().is_none_or(|last| told.revision >= last.revision && token(told) != token(last))
    }
}

impl Iterator for HolderWatch {
    type Item = Result<HolderEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_ended {
            if let Some(holder) = self.next_timeout(Duration::MAX) {
                return Some(holder);
            }
        }
        None
    }
}

impl FusedIterator for HolderWatch {}

impl fmt::Debug for HolderWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HolderWatch").field("name", &self.query.name).field("last", &self.last).finish_non_exhaustive()
    }
}
