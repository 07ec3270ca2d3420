//! A copy of a range that is kept up to date.

use super::feed::{Feed, Heard};
use crate::api::{Change, Item, Key, Range, WatchRequest};
use crate::error::Error;
use crate::routing::Cluster;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A copy of a range in memory that follows the cluster, from [`Client::mirror`](crate::Client::mirror).
///
/// Reads of it ask no node. It is whole: before the first items have all come it has none, and where it must load them
/// anew, because what it missed is no longer kept, the old ones stay until the new ones are there. It has each revision
/// as a whole, or not yet. How old it may be is in [`MirrorState`]; after a write, [`Mirror::wait_for`] waits for it.
/// Where all nodes belong to another cluster by now, as after a restore, it has failed, and keeps what it has.
///
/// A thread of its own follows the changes until the mirror is dropped.
///
/// ```
/// use kvclient::{Client, Range};
/// use std::time::Duration;
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// client.set("fruit/apple", "green")?;
/// let mirror = client.mirror(Range::prefix("fruit/"));
/// mirror.wait_ready(Duration::from_secs(5))?;
/// assert_eq!(mirror.get("fruit/apple").expect("it is there").value, b"green");
///
/// let written = client.set("fruit/apple", "red")?;
/// assert!(mirror.wait_for(written.revision, Duration::from_secs(5)));
/// assert_eq!(mirror.get("fruit/apple").expect("it is there").value, b"red");
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
pub struct Mirror {
    shared: Arc<Shared>,
    ended: Arc<AtomicBool>,
}

/// State of a [`Mirror`].
///
/// ```
/// use kvclient::{Client, Range};
/// use std::time::Duration;
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let mirror = Client::connect(endpoints)?.mirror(Range::All);
/// mirror.wait_ready(Duration::from_secs(5))?;
/// let state = mirror.state();
/// println!("{} keys at revision {:?}", state.keys, state.revision);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorState {
    /// Revision at which the copy is, once it has all items.
    pub revision: Option<u64>,
    /// Number of keys.
    pub keys: usize,
    /// Time since the copy was last known to be up to date, give or take the time between two reports of a node, which
    /// are five seconds apart.
    pub age: Option<Duration>,
    /// True if the copy is no longer kept up to date. [`Mirror::wait_ready`] says why.
    pub has_failed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    copy: Mutex<Copy>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Copy {
    items: BTreeMap<Key, Item>,
    revision: Option<u64>,
    up_to_date: Option<Instant>,
    /// Reason why the copy is no longer kept up to date.
    failed: Option<Arc<Error>>,
}

impl Shared {
    fn copy(&self) -> MutexGuard<'_, Copy> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Copy)) {
        change(&mut self.copy());
        self.changed.notify_all();
    }

    /// Waits until `look` finds something, for `timeout` at most.
    fn wait<T>(&self, timeout: Duration, mut look: impl FnMut(&Copy) -> Option<T>) -> Option<T> {
        let started = Instant::now();
        let mut copy = self.copy();
        loop {
            if let Some(found) = look(&copy) {
                return Some(found);
            }
            let left = timeout.checked_sub(started.elapsed()).filter(|left| !left.is_zero())?;
            copy = self.changed.wait_timeout(copy, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Mirror {
    pub(crate) fn start(cluster: Arc<Cluster>, range: Range) -> Self {
        let (shared, ended) = (Arc::<Shared>::default(), Arc::new(AtomicBool::new(false)));
        let request = WatchRequest { initial: true, ..WatchRequest::new(range) };
        let feed = Feed::new(cluster, request, Arc::clone(&ended));
        let of_thread = Arc::clone(&shared);
        let name = "kvclient mirror".to_owned();
        if let Err(cause) = thread::Builder::new().name(name).spawn(move || follow(feed, &of_thread)) {
            let message = format!("the system has no thread for a mirror: {cause}");
            shared.change(|copy| copy.failed = Some(Arc::new(Error::Configuration { message })));
        }
        Self { shared, ended }
    }

    /// Waits until all items have come.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if they have not come within `timeout`, and the error that has ended the mirror, if one has.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mirror = Client::connect(endpoints)?.mirror(Range::All);
    /// mirror.wait_ready(Duration::from_secs(5))?;
    /// # anyhow::Ok(())
    /// ```
    pub fn wait_ready(&self, timeout: Duration) -> Result<(), Arc<Error>> {
        let ready = self.shared.wait(timeout, |copy| match (&copy.failed, copy.revision) {
            (Some(error), _) => Some(Err(Arc::clone(error))),
            (None, Some(_)) => Some(Ok(())),
            (None, None) => None,
        });
        ready.unwrap_or_else(|| {
            let detail = "no node has sent all items in time".to_owned();
            Err(Arc::new(Error::Unreachable { after: timeout, detail, write: false }))
        })
    }

    /// Waits until the mirror has everything up to a revision, for `timeout` at most. Returns true if it has.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let mirror = client.mirror(Range::All);
    /// assert!(mirror.wait_for(client.set("color", "blue")?.revision, Duration::from_secs(5)));
    /// assert!(!mirror.wait_for(u64::MAX, Duration::from_millis(10)));
    /// # anyhow::Ok(())
    /// ```
    pub fn wait_for(&self, revision: u64, timeout: Duration) -> bool {
        self.shared.wait(timeout, |copy| copy.revision.filter(|reached| *reached >= revision)).is_some()
    }

    /// Returns the item under a key.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mirror = Client::connect(endpoints)?.mirror(Range::All);
    /// assert_eq!(mirror.get("color"), None);
    /// # anyhow::Ok(())
    /// ```
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Item> {
        self.shared.copy().items.get(&Key::from(key.as_ref())).cloned()
    }

    /// Returns all items, ordered by key, as they were at one revision.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mirror = Client::connect(endpoints)?.mirror(Range::All);
    /// for item in mirror.items() {
    ///     println!("{}", item.key);
    /// }
    /// # anyhow::Ok(())
    /// ```
    pub fn items(&self) -> Vec<Item> {
        self.shared.copy().items.values().cloned().collect()
    }

    /// Returns how far and how fresh the mirror is.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mirror = Client::connect(endpoints)?.mirror(Range::prefix("none/"));
    /// assert_eq!(mirror.state().keys, 0);
    /// # anyhow::Ok(())
    /// ```
    pub fn state(&self) -> MirrorState {
        let copy = self.shared.copy();
        MirrorState {
            revision: copy.revision,
            keys: copy.items.len(),
            age: copy.up_to_date.map(|moment| moment.elapsed()),
            has_failed: copy.failed.is_some(),
        }
    }
}

impl Drop for Mirror {
    /// Ends the thread within a second, without waiting for it.
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Follows the changes until the mirror is dropped, or cannot go on.
fn follow(mut feed: Feed, shared: &Shared) {
    let mut coming = BTreeMap::new();
    loop {
        match feed.next(Duration::from_secs(60)) {
            Heard::Begun => coming = BTreeMap::new(),
            Heard::Items(items) => coming.extend(items.into_iter().map(|item| (item.key.clone(), item))),
            Heard::Synced(revision) => shared.change(|copy| {
                copy.items = std::mem::take(&mut coming);
                copy.revision = Some(revision);
                copy.up_to_date = Some(Instant::now());
            }),
            Heard::Changes { revision, changes } => shared.change(|copy| {
                for change in changes {
                    match change {
                        Change::Put { item, .. } => drop(copy.items.insert(item.key.clone(), item)),
                        Change::Delete { key, .. } => drop(copy.items.remove(&key)),
                    }
                }
                copy.revision = Some(revision);
            }),
            Heard::Progress(revision) => shared.change(|copy| {
                copy.revision = Some(revision);
                copy.up_to_date = Some(Instant::now());
            }),
            // What was missed is no longer kept: everything is loaded anew, and the old items stay until then.
            Heard::Failed(Error::Compacted { .. }) => feed.begin_anew(),
            Heard::Failed(error) => {
                shared.change(|copy| copy.failed = Some(Arc::new(error)));
                return;
            }
            Heard::Nothing => {}
            Heard::Ended => return,
        }
    }
}
