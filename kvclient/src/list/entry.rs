//! Entries of a list.

use crate::api::{Key, ListItem, ListLine, ListReply, Order};

/// One entry of a list: an item or, with a delimiter, the beginning of keys that are rolled up.
///
/// ```
/// use kvclient::{Client, ListEntry, Range};
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// for key in ["app/a/1", "app/a/2", "app/b"] {
///     client.set(key, "x")?;
/// }
/// let entries = client.list(Range::prefix("app/")).delimiter("/").entries().collect::<Result<Vec<_>, _>>()?;
/// assert!(matches!(&entries[0], ListEntry::Prefix(folder) if folder == "app/a/"));
/// assert!(matches!(&entries[1], ListEntry::Item(item) if item.key == "app/b"));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListEntry {
    /// An item, without its value where only keys were asked for.
    Item(ListItem),
    /// The beginning of the keys that were rolled up, with the delimiter at its end.
    Prefix(Key),
}

impl ListEntry {
    /// Returns the key, or the beginning of keys.
    ///
    /// ```
    /// assert_eq!(kvclient::ListEntry::Prefix("app/a/".into()).key(), &"app/a/");
    /// ```
    pub fn key(&self) -> &Key {
        match self {
            Self::Item(item) => &item.key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

impl From<ListEntry> for ListLine {
    fn from(entry: ListEntry) -> Self {
        match entry {
            ListEntry::Item(item) => Self::Item(item),
            ListEntry::Prefix(prefix) => Self::Prefix(prefix),
        }
    }
}

/// Returns the items and the prefixes of a page as one list, in its order.
pub(super) fn merged(page: ListReply, order: Order) -> Vec<ListEntry> {
    let ListReply { items, prefixes, .. } = page;
    let mut entries: Vec<_> = items.into_iter().map(ListEntry::Item).collect();
    if prefixes.is_empty() {
        return entries;
    }
    entries.extend(prefixes.into_iter().map(ListEntry::Prefix));
    match order {
        Order::Asc => entries.sort_by(|one, other| one.key().cmp(other.key())),
        Order::Desc => entries.sort_by(|one, other| other.key().cmp(one.key())),
    }
    entries
}
