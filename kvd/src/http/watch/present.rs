//! The items that are there when a watch begins.

use super::super::convert::to_api_item;
use super::super::error::ApiError;
use super::super::reply_budget::{Charge, ReplyBudget};
use crate::kv::{Forgotten, ItemRef, KeyRange, Pin, Revision, Scan, Spans, Store, Visit};
use kvclient::api::Item;

/// Most items of one event.
const ITEMS_MAX: usize = 256;

/// Bytes of keys and values after which an event ends.
const BYTES_MAX: usize = 64 << 10;

/// A walk along the watched keys at one revision.
pub(super) struct Present {
    pin: Pin,
    scan: Scan,
}

/// A part of the items.
pub(super) struct Page {
    pub(super) items: Vec<Item>,
    /// Bytes of keys and values.
    pub(super) bytes: usize,
    pub(super) charge: Charge,
    /// True if there are no more.
    pub(super) is_last: bool,
}

impl Present {
    pub(super) fn of(store: &Store, keys: &Spans) -> Result<Self, Forgotten> {
        let mut ranges = keys.ranges();
        let first = ranges.next();
        let (from, first_to) =
            first.map_or((bytes::Bytes::new(), Some(bytes::Bytes::new())), |range| (range.from, range.to));
        let to = ranges.last().map_or(first_to, |range| range.to);
        Ok(Self { pin: store.pin(None)?, scan: Scan::new(KeyRange { from, to }, false) })
    }

    /// Returns the revision of the items.
    pub(super) fn revision(&self) -> Revision {
        self.pin.revision()
    }

    /// Returns the next items, for one piece of work.
    ///
    /// # Errors
    /// [`ApiError`] if the revision is no longer kept, or if there is no memory for the reply.
    pub(super) fn page(&mut self, store: &Store, keys: &Spans, budget: &ReplyBudget) -> Result<Page, ApiError> {
        let Self { pin, scan } = self;
        let mut page = Page { items: Vec::new(), bytes: 0, charge: Charge::NONE, is_last: false };
        let mut refused = None;
        match keys.next_from(&scan.ahead().from) {
            Some(next) => scan.skip_to(next),
            None => scan.finish(),
        }
        let visit = |key: &[u8], item: ItemRef<'_>| {
            if page.items.len() == ITEMS_MAX || page.bytes >= BYTES_MAX || !keys.contain(key) {
                return Visit::StopBefore;
            }
            let bytes = key.len() + item.value.len();
            if let Err(error) = budget.extend(&mut page.charge, bytes) {
                refused = Some(error);
                return Visit::StopBefore;
            }
            page.bytes += bytes;
            page.items.push(to_api_item(key.into(), item.to_item()));
            Visit::Next
        };
        store.read_piece(pin, scan, visit).map_err(ApiError::compacted)?;
        page.is_last = scan.is_done();
        refused.map_or(Ok(page), Err)
    }
}
