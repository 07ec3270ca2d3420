//! The past of keys: earlier items, changes, and waiting for the next change.

use super::handle::Client;
use super::time::to_ms;
use crate::api::{
    self, CompactReply, CompactRequest, GetQuery, GetReply, HistoryQuery, HistoryReply, Item, WAIT_MS_MAX, Wait,
};
use crate::error::Error;
use crate::routing::Question;
use std::time::{Duration, Instant};

/// Longest time that one request waits for a change. It can take this long to notice a node that hangs.
const WAIT_STEP_MAX: Duration = Duration::from_secs(20);

/// A key as one read saw it.
///
/// ```
/// # use kvclient::Client;
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let written = client.set("color", "blue")?.revision;
/// let seen = client.observe("color")?;
/// assert_eq!((seen.item.map(|item| item.mod_revision), seen.revision), (Some(written), written));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The item, `None` if there was no such key.
    pub item: Option<Item>,
    /// Revision of the store that served the read.
    pub revision: u64,
}

impl Client {
    /// Reads one key as it was at a revision. Returns `None` if there was no such key then.
    ///
    /// The cluster keeps the recent past: an hour, up to 64 MiB, unless `--history-age` and `--history-bytes` of its
    /// nodes say otherwise.
    ///
    /// # Errors
    /// [`Error::Compacted`] if that revision is no longer kept, [`Error::FutureRevision`] if it is yet to come;
    /// otherwise as [`Client::get`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let blue = client.set("color", "blue")?.revision;
    /// client.set("color", "green")?;
    /// assert_eq!(client.get_at("color", blue)?.expect("it was there").value_str(), Some("blue"));
    /// # anyhow::Ok(())
    /// ```
    pub fn get_at(&self, key: impl AsRef<[u8]>, revision: u64) -> Result<Option<Item>, Error> {
        self.get_with(GetQuery { revision: Some(revision), ..GetQuery::new(key.as_ref()) })
    }

    /// Reads one key, and the revision of the store that served the read. With that revision,
    /// [`Client::wait_for_change`] waits for the next change.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let seen = Client::connect(endpoints)?.observe("color")?;
    /// assert_eq!(seen.item, None);
    /// println!("there was no color at revision {}", seen.revision);
    /// # anyhow::Ok(())
    /// ```
    pub fn observe(&self, key: impl AsRef<[u8]>) -> Result<Observed, Error> {
        self.observe_with(&GetQuery::new(key.as_ref()))
    }

    /// Waits until a key is set or deleted after `revision`, for `patience` at most, and returns the key as it is then.
    ///
    /// Take `revision` from the previous result of [`Client::observe`] or of this method, so that no change is missed.
    /// Several changes in the meantime are seen as one; use a watch to see each of them. If the history no longer shows
    /// whether the key was deleted after `revision`, the answer comes at once.
    ///
    /// # Errors
    /// As [`Client::get`], if no node answers for the total time.
    ///
    /// ```
    /// # use kvclient::Client;
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let seen = client.observe("color")?;
    /// client.set("color", "blue")?;
    /// let changed = client.wait_for_change("color", seen.revision, Duration::from_secs(60))?;
    /// assert_eq!(changed.item.expect("just written").value_str(), Some("blue"));
    /// # anyhow::Ok(())
    /// ```
    pub fn wait_for_change(&self, key: impl AsRef<[u8]>, revision: u64, patience: Duration) -> Result<Observed, Error> {
        let began = Instant::now();
        loop {
            let step = patience.saturating_sub(began.elapsed()).min(WAIT_STEP_MAX);
            let asked = Instant::now();
            let wait = Wait { newer_than: revision, wait_ms: to_ms(step).min(WAIT_MS_MAX) };
            let observed = self.observe_with(&GetQuery { wait: Some(wait), ..GetQuery::new(key.as_ref()) })?;
            let has_changed = match &observed.item {
                Some(item) => item.mod_revision > revision,
                // An answer before the time is over means that the key was deleted.
                None => asked.elapsed() < step,
            };
            if has_changed || began.elapsed() >= patience {
                return Ok(observed);
            }
        }
    }

    /// Returns the changes of one key that are still kept, newest first.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::HistoryChange;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let deleted = client.delete("color")?.revision;
    /// let history = client.history("color")?;
    /// assert_eq!(history.changes[0], HistoryChange::Delete { revision: deleted });
    /// assert!(matches!(&history.changes[1], HistoryChange::Put { item } if item.value == b"blue"));
    /// # anyhow::Ok(())
    /// ```
    pub fn history(&self, key: impl AsRef<[u8]>) -> Result<HistoryReply, Error> {
        check_key(key.as_ref())?;
        self.fetch(&format!("/history?{}", HistoryQuery::new(key.as_ref()).to_query()))
    }

    /// Makes all nodes forget the history before `revision`. This frees memory, but is seldom needed: nodes forget old
    /// changes by themselves, by age and by size.
    ///
    /// # Errors
    /// [`Error::FutureRevision`] if the revision is yet to come; otherwise as [`Client::set`]. Repeating it is safe.
    ///
    /// ```
    /// use kvclient::{Client, Error};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let blue = client.set("color", "blue")?.revision;
    /// let green = client.set("color", "green")?.revision;
    /// client.compact(green)?;
    /// assert!(matches!(client.get_at("color", blue), Err(Error::Compacted { .. })));
    /// # anyhow::Ok(())
    /// ```
    pub fn compact(&self, revision: u64) -> Result<CompactReply, Error> {
        let lane = self.cluster.lanes.borrow();
        self.cluster.change(&lane, "/compact", None, &CompactRequest { revision })
    }

    /// Reads one key as `query` says.
    pub(super) fn observe_with(&self, query: &GetQuery) -> Result<Observed, Error> {
        check_key(&query.key)?;
        // The reply of a raw read is not JSON. The item is the same.
        let query = GetQuery { raw: false, ..query.clone() };
        let wait = query.wait.map_or(Duration::ZERO, |wait| Duration::from_millis(wait.wait_ms));
        let question = Question { path: format!("/get?{}", query.to_query()), wait, ..Question::default() };
        let told = self.cluster.ask::<GetReply>(&question)?;
        let of_reply = told.reply.as_ref().map(|reply| reply.revision);
        let revision = of_reply.or(told.revision).unwrap_or_default();
        Ok(Observed { item: told.reply.map(|reply| reply.item), revision })
    }
}

fn check_key(key: impl AsRef<[u8]>) -> Result<(), Error> {
    api::check_key(key).map_err(|message| Error::InvalidRequest { message })
}
