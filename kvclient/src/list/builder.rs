//! The builder of a list: the range and the options.

use super::asked::{Asked, unexpected};
use super::pages::{Entries, Items, Keys, Pages};
use super::stream::ListStream;
use crate::api::{Consistency, Key, ListQuery, ListReply, Order, Range, ReadOptions};
use crate::error::Error;
use crate::routing::Cluster;
use std::sync::Arc;

/// Builder of a list of a range, from [`Client::list`](crate::Client::list).
///
/// The iterators ask for one page at a time, from any node. All pages show the revision of the first one, whatever is
/// written meanwhile. An iterator ends with its first error.
///
/// ```
/// use kvclient::{Client, Range};
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// for day in ["2024-01-01", "2024-01-02", "2024-02-01"] {
///     client.set(day, "sunny")?;
/// }
/// let january = client.list(Range::between("2024-01", "2024-02")).descending();
/// let days = january.keys().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(days, ["2024-01-02", "2024-01-01"]);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is asked before one of the last methods is called"]
pub struct List {
    asked: Asked,
}

impl List {
    pub(crate) fn new(cluster: Arc<Cluster>, range: Range) -> Self {
        Self { asked: Asked::new(cluster, range) }
    }

    /// Lists the highest key first.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("log/1", "first")?;
    /// client.set("log/2", "second")?;
    /// let newest = client.list(Range::prefix("log/")).descending().limit(1).items().next().expect("there is one")?;
    /// assert_eq!(newest.value_str(), Some("second"));
    /// # anyhow::Ok(())
    /// ```
    pub fn descending(mut self) -> Self {
        self.asked.query.list.order = Order::Desc;
        self
    }

    /// Begins after this key, in the order of the list.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("log/1", "first")?;
    /// client.set("log/2", "second")?;
    /// let later = client.list(Range::prefix("log/")).after("log/1").keys().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(later, ["log/2"]);
    /// # anyhow::Ok(())
    /// ```
    pub fn after(mut self, key: impl Into<Key>) -> Self {
        self.asked.query.list.after = Some(key.into());
        self
    }

    /// Rolls up keys that have this text after the prefix, as folders: see [`ListEntry`](super::ListEntry).
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("app/a/1", "x")?;
    /// assert_eq!(client.list(Range::prefix("app/")).delimiter("/").page()?.prefixes, ["app/a/"]);
    /// # anyhow::Ok(())
    /// ```
    pub fn delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.asked.query.list.delimiter = Some(delimiter.into());
        self
    }

    /// Lists this many entries at most, in all pages together.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("a", "1")?;
    /// client.set("b", "2")?;
    /// assert_eq!(client.list(Range::All).limit(1).keys().count(), 1);
    /// # anyhow::Ok(())
    /// ```
    pub fn limit(mut self, entries: u64) -> Self {
        self.asked.limit = Some(entries);
        self
    }

    /// Sets the largest number of entries of a page: 1 to 10,000, and 10,000 unless set. A page also ends at 1 MiB.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("a", "1")?;
    /// client.set("b", "2")?;
    /// assert_eq!(client.list(Range::All).page_limit(1).pages().count(), 2);
    /// # anyhow::Ok(())
    /// ```
    pub fn page_limit(mut self, entries: u64) -> Self {
        self.asked.query.list.limit = Some(entries);
        self
    }

    /// Leaves out the values: entries and pages have `None` in their place.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("a", "1")?;
    /// assert_eq!(client.list(Range::All).keys_only().page()?.items[0].value, None);
    /// # anyhow::Ok(())
    /// ```
    pub fn keys_only(mut self) -> Self {
        self.asked.query.list.keys_only = true;
        self
    }

    /// Lists the range as it was at a revision.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let revision = client.set("color", "blue")?.revision;
    /// client.delete("color")?;
    /// assert_eq!(client.list(Range::All).at(revision).count()?, 1);
    /// # anyhow::Ok(())
    /// ```
    pub fn at(mut self, revision: u64) -> Self {
        self.asked.query.revision = Some(revision);
        self
    }

    /// Lists one node's own store, at once and without asking other nodes; see
    /// [`Client::get_stale`](crate::Client::get_stale).
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// println!("{} keys, or there were", client.list(Range::All).stale().count()?);
    /// # anyhow::Ok(())
    /// ```
    pub fn stale(self) -> Self {
        let consistency = Consistency::Stale { max_stale_ms: None };
        self.read(ReadOptions { consistency, ..ReadOptions::default() })
    }

    /// Sets the consistency of the list.
    ///
    /// ```
    /// use kvclient::api::ReadOptions;
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let written = client.set("color", "blue")?.revision;
    /// let read = ReadOptions { min_revision: Some(written), ..ReadOptions::default() };
    /// assert_eq!(client.list(Range::All).read(read).count()?, 1);
    /// # anyhow::Ok(())
    /// ```
    pub fn read(mut self, read: ReadOptions) -> Self {
        self.asked.query.read = read;
        self
    }

    /// Returns the number of keys of the whole range, whatever [`List::after`] and [`List::limit`] are.
    ///
    /// # Errors
    /// As [`Client::get`](crate::Client::get), and with a revision as [`Client::get_at`](crate::Client::get_at).
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// assert_eq!(Client::connect(endpoints)?.list(Range::prefix("app/")).count()?, 0);
    /// # anyhow::Ok(())
    /// ```
    pub fn count(&self) -> Result<u64, Error> {
        let mut query = self.asked.query.clone();
        query.list.count_only = true;
        query.list.limit = None;
        let page = self.asked.ask(&query)?;
        page.count.ok_or_else(|| unexpected("the number of keys is missing"))
    }

    /// Returns the first page, with the number of keys of the whole range in `count`. Its `next` is for
    /// [`List::page_after`].
    ///
    /// # Errors
    /// As [`List::count`].
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("a", "1")?;
    /// client.set("b", "2")?;
    /// let page = client.list(Range::All).page_limit(1).page()?;
    /// assert_eq!((page.items.len(), page.more, page.count), (1, true, Some(2)));
    /// # anyhow::Ok(())
    /// ```
    pub fn page(&self) -> Result<ListReply, Error> {
        self.asked.ask(&self.asked.counted())
    }

    /// Returns the page after the one whose `next` this is, at the same revision. All other options must be the same.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if it is the token of another list, [`Error::Compacted`] if its revision is no longer
    /// kept; otherwise as [`List::count`].
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("a", "1")?;
    /// client.set("b", "2")?;
    /// let list = client.list(Range::All).page_limit(1);
    /// let first = list.page()?;
    /// client.delete("b")?;
    /// let second = list.page_after(&first.next.expect("there are two"))?;
    /// assert_eq!((second.items[0].key.as_str(), second.more), (Some("b"), false));
    /// # anyhow::Ok(())
    /// ```
    pub fn page_after(&self, next: &str) -> Result<ListReply, Error> {
        self.asked.ask(&ListQuery { next: Some(next.to_owned()), ..self.asked.counted() })
    }

    /// Returns all pages.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// for page in client.list(Range::All).pages() {
    ///     println!("{} items at revision {}", page?.items.len(), client.observe("color")?.revision);
    /// }
    /// # anyhow::Ok(())
    /// ```
    pub fn pages(self) -> Pages {
        Pages::of(self.asked)
    }

    /// Returns all items. With a delimiter, leaves out the keys that are rolled up.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let items = client.list(Range::All).items().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(items[0].value_str(), Some("blue"));
    /// # anyhow::Ok(())
    /// ```
    pub fn items(mut self) -> Items {
        self.asked.query.list.keys_only = false;
        Items::of(self.entries())
    }

    /// Returns all keys, without asking for their values. With a delimiter, leaves out the keys that are rolled up.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// assert_eq!(client.list(Range::All).keys().collect::<Result<Vec<_>, _>>()?, ["color"]);
    /// # anyhow::Ok(())
    /// ```
    pub fn keys(self) -> Keys {
        Keys::of(self.keys_only().entries())
    }

    /// Returns all entries in order: items, and with a delimiter also the beginnings of keys that were rolled up.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("app/color", "blue")?;
    /// let entry = client.list(Range::All).delimiter("/").entries().next().expect("there is one")?;
    /// assert_eq!(entry.key(), &"app/");
    /// # anyhow::Ok(())
    /// ```
    pub fn entries(self) -> Entries {
        Entries::of(self.pages())
    }

    /// Returns all entries in order from a single reply. For a large range, this needs fewer requests than pages do,
    /// and the memory of only a few items in the node and in this client.
    ///
    /// If the reply breaks off, another node is asked for the rest, at the same revision. An iterator that ends without
    /// an error has returned every entry.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let mut stream = client.list(Range::All).stream();
    /// let entry = stream.next().expect("there is one")?;
    /// assert_eq!(entry.key(), &"color");
    /// assert!(stream.next().is_none() && stream.revision().is_some());
    /// # anyhow::Ok(())
    /// ```
    pub fn stream(self) -> ListStream {
        ListStream::of(self.asked)
    }
}
