//! The iterator over changes.

use super::feed::{Feed, Heard};
use crate::api::{Change, ChangeKind, Range, WatchRequest};
use crate::error::Error;
use crate::routing::Cluster;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// All changes of one revision that a watch is about.
///
/// ```
/// use kvclient::Client;
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let mut watch = client.watch("color").from_revision(client.set("color", "blue")?.revision);
/// let revised = watch.next().expect("a watch has no end")?;
/// assert_eq!((revised.changes.len(), revised.changes[0].key().as_str()), (1, Some("color")));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revised {
    /// The revision.
    pub revision: u64,
    /// Its changes, at least one.
    pub changes: Vec<Change>,
}

/// An iterator over changes, from [`Client::watch`](crate::Client::watch). It waits as long as nothing changes.
///
/// Each revision comes once and whole, in order, whatever happens to the nodes: the watch goes on at another one by
/// itself. It ends with an error only if it cannot go on without a gap: with [`Error::Compacted`] where what comes next
/// is no longer kept, also because all nodes belong to another cluster by now, as after a restore; and with
/// [`Error::InvalidRequest`] or [`Error::FutureRevision`] if it was asked for what cannot be.
pub struct Watch {
    feed: Feed,
    ended: Arc<AtomicBool>,
    has_ended: bool,
}

/// Ends a watch from another thread; cheap to clone. From [`Watch::handle`].
#[derive(Clone, Debug)]
pub struct WatchHandle {
    ended: Arc<AtomicBool>,
}

impl WatchHandle {
    /// Ends the watch: within a second its iterator has no more items.
    ///
    /// ```
    /// use kvclient::Client;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let watch = Client::connect(endpoints)?.watch("color");
    /// let handle = watch.handle();
    /// let watching = std::thread::spawn(move || watch.count());
    /// handle.end();
    /// assert_eq!(watching.join().expect("it does not panic"), 0);
    /// # anyhow::Ok(())
    /// ```
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    pub(crate) fn new(cluster: Arc<Cluster>, range: Range) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let feed = Feed::new(cluster, WatchRequest::new(range), Arc::clone(&ended));
        Self { feed, ended, has_ended: false }
    }

    /// Watches the keys of one more range. A change counts once, however many ranges it is in.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let watch = Client::connect(endpoints)?.watch("color").also(Range::prefix("fruit/"));
    /// # anyhow::Ok(())
    /// ```
    #[must_use]
    pub fn also(mut self, range: impl Into<Range>) -> Self {
        self.feed.request_mut().ranges.push(range.into());
        self
    }

    /// Begins with this revision instead of the next one.
    ///
    /// ```
    /// use kvclient::Client;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let first = client.set("color", "blue")?.revision;
    /// client.set("color", "green")?;
    /// let revisions: Vec<u64> =
    ///     client.watch("color").from_revision(first).take(2).map(|revised| Ok(revised?.revision)).collect::<anyhow::Result<_>>()?;
    /// assert_eq!(revisions[0], first);
    /// # anyhow::Ok(())
    /// ```
    #[must_use]
    pub fn from_revision(mut self, revision: u64) -> Self {
        self.feed.request_mut().from_revision = Some(revision);
        self
    }

    /// Tells of each change with the item before it.
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::Change;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let deleted = client.delete("color")?.revision;
    /// let revised = client.watch("color").with_prev().from_revision(deleted).next().expect("it has no end")?;
    /// assert!(matches!(&revised.changes[..], [Change::Delete { prev: Some(item), .. }] if item.value == b"blue"));
    /// # anyhow::Ok(())
    /// ```
    #[must_use]
    pub fn with_prev(mut self) -> Self {
        self.feed.request_mut().prev = true;
        self
    }

    /// Tells only of changes of this kind.
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::ChangeKind;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let watch = Client::connect(endpoints)?.watch("color").only(ChangeKind::Delete);
    /// # anyhow::Ok(())
    /// ```
    #[must_use]
    pub fn only(mut self, kind: ChangeKind) -> Self {
        self.feed.request_mut().only = Some(kind);
        self
    }

    /// Returns what ends the watch from another thread. See [`WatchHandle::end`].
    ///
    /// ```
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let watch = kvclient::Client::connect(endpoints)?.watch("color");
    /// watch.handle().end();
    /// assert_eq!(watch.count(), 0);
    /// # anyhow::Ok(())
    /// ```
    pub fn handle(&self) -> WatchHandle {
        WatchHandle { ended: Arc::clone(&self.ended) }
    }

    /// Returns the revision up to which the watch has told everything, once a node has answered. Another watch goes on
    /// from the next one.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mut watch = kvclient::Client::connect(endpoints)?.watch("color");
    /// assert_eq!(watch.revision(), None);
    /// watch.next_timeout(Duration::from_secs(1));
    /// assert!(watch.revision().is_some());
    /// # anyhow::Ok(())
    /// ```
    pub fn revision(&self) -> Option<u64> {
        self.feed.revision()
    }

    /// Returns the next revision, or `None` if there is none for `timeout`, or if the watch has ended. It goes on in the
    /// first case. May take a second longer than `timeout` if nodes do not answer.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mut watch = kvclient::Client::connect(endpoints)?.watch("color");
    /// assert!(watch.next_timeout(Duration::from_millis(100)).is_none());
    /// # anyhow::Ok(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<Revised, Error>> {
        let started = Instant::now();
        while !self.has_ended {
            let left = timeout.saturating_sub(started.elapsed());
            match self.feed.next(left) {
                Heard::Changes { revision, changes } => return Some(Ok(Revised { revision, changes })),
                Heard::Failed(error) => {
                    self.has_ended = true;
                    return Some(Err(compacted(error)));
                }
                Heard::Ended => self.has_ended = true,
                Heard::Begun | Heard::Items(_) | Heard::Synced(_) | Heard::Progress(_) | Heard::Nothing => {
                    if started.elapsed() >= timeout {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Returns an iterator over the revisions that ends when nothing has changed for `timeout`. The watch goes on after
    /// that.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = kvclient::Client::connect(endpoints)?;
    /// let first = client.set("color", "blue")?.revision;
    /// let mut watch = client.watch("color").from_revision(first);
    /// assert_eq!(watch.timeout_iter(Duration::from_millis(500)).count(), 1);
    /// # anyhow::Ok(())
    /// ```
    pub fn timeout_iter(&mut self, timeout: Duration) -> TimeoutIter<'_> {
        TimeoutIter { watch: self, timeout }
    }
}

/// Returns the error that a watch ends with. What was to come next is not kept by a cluster that has another past.
fn compacted(error: Error) -> Error {
    let Error::WrongCluster { detail, .. } = error else { return error };
    let message = format!(
        "the changes that come next are not kept, since the cluster was replaced by another one, as by a restore \
         ({detail}): connect anew, read what there is now, and go on from there"
    );
    Error::Compacted { oldest_revision: None, message }
}

impl Iterator for Watch {
    type Item = Result<Revised, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_ended {
            if let Some(revised) = self.next_timeout(Duration::from_secs(60)) {
                return Some(revised);
            }
        }
        None
    }
}

impl FusedIterator for Watch {}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

/// An iterator that ends when nothing changes for a while, from [`Watch::timeout_iter`].
#[derive(Debug)]
pub struct TimeoutIter<'w> {
    watch: &'w mut Watch,
    timeout: Duration,
}

impl Iterator for TimeoutIter<'_> {
    type Item = Result<Revised, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.watch.next_timeout(self.timeout)
    }
}
