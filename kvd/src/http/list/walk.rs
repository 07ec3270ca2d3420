//! A walk along a range at one revision, in pieces.

use super::super::convert::{delimiter_of, to_list_item};
use super::super::error::ApiError;
use crate::kv::{Forgotten, ItemRef, KeyRange, PAGE_BYTES_MAX, Pin, Revision, Scan, Store, Visit, folder_of};
use bytes::Bytes;
use kvclient::api::{Key, ListItem, ListQuery};

/// Most entries of a piece.
const PIECE_ENTRIES_MAX: u64 = 256;

/// Bytes of keys and values after which a piece ends.
const PIECE_BYTES_MAX: u64 = 64 << 10;

/// The form of a list.
pub(super) struct Listing {
    /// Leave out the values.
    pub(super) keys_only: bool,
    /// Roll up keys that have this delimiter behind so many bytes.
    pub(super) delimiter: Option<(Bytes, u64)>,
}

/// A part of a list.
pub(super) enum Entry {
    Item(ListItem),
    /// The beginning that several keys may share, up to the delimiter.
    Folder(Key),
}

impl Entry {
    /// Returns the key, or the beginning of keys.
    pub(super) fn key(&self) -> &Key {
        match self {
            Self::Item(item) => &item.key,
            Self::Folder(folder) => folder,
        }
    }
}

/// Room for entries. There is always room for the first.
pub(super) struct Room {
    entries_max: u64,
    bytes_max: u64,
    entries: u64,
    bytes: u64,
}

impl Room {
    /// Room for a page of at most `entries_max` entries.
    pub(super) fn of_page(entries_max: u64) -> Self {
        Self { entries_max, bytes_max: PAGE_BYTES_MAX, entries: 0, bytes: 0 }
    }

    /// Room without end.
    pub(super) fn endless() -> Self {
        Self { entries_max: u64::MAX, bytes_max: u64::MAX, entries: 0, bytes: 0 }
    }

    fn of_piece() -> Self {
        Self { entries_max: PIECE_ENTRIES_MAX, bytes_max: PIECE_BYTES_MAX, entries: 0, bytes: 0 }
    }

    /// Bytes of all entries.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.entries == 0 || (self.entries < self.entries_max && self.bytes + bytes as u64 <= self.bytes_max)
    }

    fn take(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes as u64;
    }
}

/// A walk along a range at one revision.
pub(super) struct Walk {
    pin: Pin,
    scan: Scan,
    listing: Listing,
}

/// End of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The next piece goes on.
    Piece,
    /// There is no room for the next entry.
    Room,
    /// There are no more entries.
    Range,
}

impl Listing {
    pub(super) fn of(query: &ListQuery) -> Self {
        Self { keys_only: query.list.keys_only, delimiter: delimiter_of(&query.list) }
    }
}

impl Walk {
    /// Begins a walk at revision `at`, or at the newest one.
    ///
    /// # Errors
    /// [`Forgotten`] if that revision is no longer kept.
    pub(super) fn begin(
        store: &Store,
        at: Option<Revision>,
        range: KeyRange,
        descending: bool,
        listing: Listing,
    ) -> Result<Self, Forgotten> {
        Ok(Self { pin: store.pin(at)?, scan: Scan::new(range, descending), listing })
    }

    /// Returns the revision.
    pub(super) fn revision(&self) -> Revision {
        self.pin.revision()
    }

    /// Returns the part of the range that is left.
    pub(super) fn rest(&self) -> &KeyRange {
        self.scan.ahead()
    }

    /// Walks on for one piece, and adds what it finds to `entries`, as far as there is `room`. `charge` is called before
    /// bytes of the store are copied.
    ///
    /// # Errors
    /// [`ApiError`] if the revision is no longer kept, or that of `charge`.
    pub(super) fn piece(
        &mut self,
        store: &Store,
        room: &mut Room,
        entries: &mut Vec<Entry>,
        mut charge: impl FnMut(usize) -> Result<(), ApiError>,
    ) -> Result<End, ApiError> {
        let Self { pin, scan, listing } = self;
        let mut piece = Room::of_piece();
        loop {
            let (mut end, mut refused, mut is_behind_folder) = (End::Piece, None, false);
            let visit = |key: &[u8], item: ItemRef<'_>| {
                let folder =
                    listing.delimiter.as_ref().and_then(|(delimiter, prefix)| folder_of(key, *prefix, delimiter));
                let bytes = match folder {
                    Some(folder) => folder.len(),
                    None if listing.keys_only => key.len(),
                    None => key.len() + item.value.len(),
                };
                if !room.has_room(bytes) {
                    end = End::Room;
                    return Visit::StopBefore;
                }
                if !piece.has_room(bytes) {
                    return Visit::StopBefore;
                }
                if let Err(refusal) = charge(bytes) {
                    refused = Some(refusal);
                    return Visit::StopBefore;
                }
                room.take(bytes);
                piece.take(bytes);
                if let Some(folder) = folder {
                    entries.push(Entry::Folder(folder.into()));
                    is_behind_folder = true;
                    return Visit::SkipPrefix(Bytes::copy_from_slice(folder));
                }
                entries.push(Entry::Item(to_list_item(key, item, listing.keys_only)));
                Visit::Next
            };
            store.read_piece(pin, scan, visit).map_err(ApiError::compacted)?;
            if let Some(refusal) = refused {
                return Err(refusal);
            }
            if scan.is_done() {
                return Ok(End::Range);
            }
            // A folder costs a search of its own, and a piece has many.
            if !is_behind_folder {
                return Ok(end);
            }
        }
    }

    /// Begins to count the keys of a range at the revision of the walk.
    ///
    /// # Errors
    /// [`Forgotten`] if that revision is no longer kept.
    pub(super) fn counting(&self, store: &Store, range: KeyRange) -> Result<Counting, Forgotten> {
        // A pin keeps what its reader has yet to read, so each reader needs its own.
        Ok(Counting { pin: store.pin(Some(self.revision()))?, scan: Scan::new(range, false), counted: 0 })
    }
}

/// A count of the keys of a range.
pub(super) struct Counting {
    pin: Pin,
    scan: Scan,
    counted: u64,
}

impl Counting {
    /// Counts on for one piece. Returns the number of keys once it is known.
    ///
    /// # Errors
    /// [`Forgotten`] if the revision is no longer kept.
    pub(super) fn piece(&mut self, store: &Store) -> Result<Option<u64>, Forgotten> {
        let counted = &mut self.counted;
        store.read_piece(&self.pin, &mut self.scan, |_, _| {
            *counted += 1;
            Visit::Next
        })?;
        Ok(self.scan.is_done().then_some(self.counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Command, HistoryLimits, Operation, Put, StoreLimits};

    #[test]
    fn keys_that_the_list_has_passed_still_count_when_they_are_gone() {
        const KEYS: usize = 5_000;
        let mut store = Store::default();
        let history = HistoryLimits { bytes_max: 0, age_ms_max: 0, ..HistoryLimits::default() };
        store.set_limits(&StoreLimits { history, ..StoreLimits::default() });
        let command = |operation| Command { operation, request: None };
        let key = |number: usize| format!("{number:05}");
        for number in 0..KEYS {
            store.apply(0, &command(Operation::Set { put: Put::new(key(number), "v"), condition: None }));
        }
        let listing = Listing { keys_only: true, delimiter: None };
        let mut walk = Walk::begin(&store, None, KeyRange::ALL, false, listing).unwrap();
        let mut counting = walk.counting(&store, KeyRange::ALL).unwrap();
        let (mut room, mut entries) = (Room::of_page(1_000), Vec::new());
        while walk.piece(&store, &mut room, &mut entries, |_| Ok(())).unwrap() == End::Piece {}
        let mut counted = counting.piece(&store).unwrap();
        for number in 0..KEYS {
            store.apply(0, &command(Operation::Delete { key: key(number).into(), condition: None, prev: false }));
        }
        while store.free_history(1_000) {}
        while counted.is_none() {
            counted = counting.piece(&store).unwrap();
        }
        assert_eq!((entries.len(), counted), (1_000, Some(KEYS as u64)));
    }
}
