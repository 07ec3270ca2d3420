//! Iterators that ask for one page after the other.

use super::asked::{Asked, unexpected};
use super::entry::{ListEntry, merged};
use crate::api::{Item, Key, ListReply};
use crate::error::Error;
use std::vec;

/// All pages of a list, from [`List::pages`](crate::List::pages). Ends with the first error.
#[derive(Debug)]
pub struct Pages {
    asked: Asked,
    next: Next,
    /// Entries that are still wanted.
    left: Option<u64>,
    revision: Option<u64>,
}

/// The page that comes next.
#[derive(Debug)]
enum Next {
    First,
    /// The page at this token.
    After(String),
    /// No page.
    Nothing,
}

impl Pages {
    pub(super) fn of(asked: Asked) -> Self {
        let left = asked.limit;
        let next = if left == Some(0) { Next::Nothing } else { Next::First };
        Self { asked, next, left, revision: None }
    }

    /// Returns the revision of the store that is listed, once the first page has arrived.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mut pages = Client::connect(endpoints)?.list(Range::All).pages();
    /// let first = pages.next().expect("there is one, if only an empty one")?;
    /// assert_eq!(pages.revision(), Some(first.revision));
    /// # anyhow::Ok(())
    /// ```
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }
}

impl Iterator for Pages {
    type Item = Result<ListReply, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let token = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::First => None,
            Next::After(token) => Some(token),
            Next::Nothing => return None,
        };
        let mut query = self.asked.paged();
        query.next = token;
        let mut page = match self.asked.ask(&query) {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        self.revision.get_or_insert(page.revision);
        if let Some(left) = &mut self.left {
            cut(&mut page, *left, query.list.order == crate::api::Order::Desc);
            *left = left.saturating_sub((page.items.len() + page.prefixes.len()) as u64);
        }
        if let (Some(next), true) = (&page.next, self.left != Some(0)) {
            self.next = Next::After(next.clone());
        }
        Some(Ok(page))
    }
}

/// Leaves only the first `entries` of a page.
fn cut(page: &mut ListReply, entries: u64, descending: bool) {
    while (page.items.len() + page.prefixes.len()) as u64 > entries {
        let is_prefix_last = match (page.items.last(), page.prefixes.last()) {
            (Some(item), Some(prefix)) => (item.key < *prefix) != descending,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if is_prefix_last {
            page.prefixes.pop();
        } else {
            page.items.pop();
        }
        page.more = true;
    }
}

/// All entries of a list, from [`List::entries`](crate::List::entries). Ends with the first error.
#[derive(Debug)]
pub struct Entries {
    pages: Pages,
    page: vec::IntoIter<ListEntry>,
}

impl Entries {
    pub(super) fn of(pages: Pages) -> Self {
        Self { pages, page: Vec::new().into_iter() }
    }

    /// Returns the revision of the store that is listed, once the first page has arrived.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mut entries = Client::connect(endpoints)?.list(Range::All).entries();
    /// assert!(entries.next().is_none() && entries.revision().is_some());
    /// # anyhow::Ok(())
    /// ```
    pub fn revision(&self) -> Option<u64> {
        self.pages.revision()
    }
}

impl Iterator for Entries {
    type Item = Result<ListEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.page.next() {
                return Some(Ok(entry));
            }
            match self.pages.next()? {
                Ok(page) => self.page = merged(page, self.pages.asked.query.list.order).into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// All items of a list, from [`List::items`](crate::List::items). Ends with the first error.
#[derive(Debug)]
pub struct Items {
    entries: Entries,
}

impl Items {
    pub(super) fn of(entries: Entries) -> Self {
        Self { entries }
    }
}

impl Iterator for Items {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.entries.next()? {
                Ok(ListEntry::Item(item)) => {
                    return Some(Item::try_from(item).map_err(unexpected));
                }
                Ok(ListEntry::Prefix(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// All keys of a list, from [`List::keys`](crate::List::keys). Ends with the first error.
#[derive(Debug)]
pub struct Keys {
    entries: Entries,
}

impl Keys {
    pub(super) fn of(entries: Entries) -> Self {
        Self { entries }
    }
}

impl Iterator for Keys {
    type Item = Result<Key, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.entries.next()? {
                Ok(ListEntry::Item(item)) => return Some(Ok(item.key)),
                Ok(ListEntry::Prefix(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
