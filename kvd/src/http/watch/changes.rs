//! The changes that a watch tells of, read from the history in pieces.

use super::super::convert::to_api_item;
use super::super::error::ApiError;
use super::super::reply_budget::{Charge, ReplyBudget};
use super::super::watchers::Form;
use crate::kv::{self, ChangePlace, Forgotten, PIECE_KEYS_MAX, Revision, Spans, Store};
use kvclient::api::{Change, ChangeKind, Item, WatchEvent};
use std::mem;

/// Most changes that a piece copies.
const PIECE_CHANGES_MAX: usize = 256;

/// Bytes of keys and values after which a piece ends.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Bytes of keys and values after which a revision comes in several events.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// The part of the history that a watch has read, and what it has yet to tell of that.
pub(super) struct Reading {
    form: Form,
    /// Everything before this place has been read.
    place: ChangePlace,
    /// Unsent changes of the revision at that place.
    open: Vec<Change>,
    open_bytes: usize,
    charge: Charge,
}

/// Changes read in one piece.
pub(super) struct Piece {
    pub(super) events: Vec<WatchEvent>,
    /// Bytes of keys and values.
    pub(super) bytes: usize,
    pub(super) charge: Charge,
    /// True if everything that the node has applied has been read.
    pub(super) is_last: bool,
}

impl Piece {
    /// End of what can be read.
    pub(super) const NOTHING: Self = Self { events: Vec::new(), bytes: 0, charge: Charge::NONE, is_last: true };
}

/// Reason why nothing could be read.
pub(super) enum Unread {
    /// It is no longer kept.
    Forgotten(Forgotten),
    Refused(ApiError),
}

impl Reading {
    /// Begins behind the changes of this revision.
    pub(super) fn behind(position: Revision, form: Form) -> Self {
        let place = ChangePlace::before(position + 1);
        Self { form, place, open: Vec::new(), open_bytes: 0, charge: Charge::NONE }
    }

    /// The revision up to which everything has been told.
    pub(super) fn position(&self) -> Revision {
        self.place.revision - 1
    }

    /// Returns the position if nothing behind it has been read yet.
    pub(super) fn exact_position(&self) -> Option<Revision> {
        (self.place.passed == 0 && self.open.is_empty()).then(|| self.position())
    }

    /// Returns the form.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Passes over all changes before `place`, which do not concern the watch or have been told.
    pub(super) fn pass_to(&mut self, place: ChangePlace) {
        self.place = self.place.max(place);
    }

    /// Reads on, for one piece of work.
    pub(super) fn piece(&mut self, store: &Store, keys: &Spans, budget: &ReplyBudget) -> Result<Piece, Unread> {
        let mut piece = Piece { events: Vec::new(), bytes: 0, charge: Charge::NONE, is_last: false };
        let mut copied = 0;
        let changes = store.changed_keys(self.place).map_err(Unread::Forgotten)?;
        for (looked_at, (revision, key)) in changes.enumerate() {
            if looked_at == PIECE_KEYS_MAX || copied == PIECE_CHANGES_MAX || piece.bytes >= PIECE_BYTES_MAX {
                self.give(&mut piece, budget).map_err(Unread::Refused)?;
                return Ok(piece);
            }
            if revision > self.place.revision {
                self.close(&mut piece.events, false);
            }
            self.place = self.place.behind_next(revision);
            let Some(change) = store.change(key, revision).filter(|change| keys.contain(change.key)) else { continue };
            if self.form.only.is_some_and(|only| only != kind(&change)) {
                continue;
            }
            let (change_bytes, bytes) = (bytes(&change, self.form.prev), self.open_bytes);
            budget.extend(&mut self.charge, change_bytes).map_err(Unread::Refused)?;
            if bytes > 0 && bytes + change_bytes > EVENT_BYTES_MAX {
                self.close(&mut piece.events, true);
            }
            self.open.push(to_change(&change, self.form.prev));
            self.open_bytes += change_bytes;
            piece.bytes += change_bytes;
            copied += 1;
        }
        self.close(&mut piece.events, false);
        self.place = ChangePlace::before(store.revision() + 1);
        piece.is_last = true;
        self.give(&mut piece, budget).map_err(Unread::Refused)?;
        Ok(piece)
    }

    /// Makes an event of what is open.
    fn close(&mut self, events: &mut Vec<WatchEvent>, more: bool) {
        self.open_bytes = 0;
        if !self.open.is_empty() {
            events.push(WatchEvent::Change { revision: self.place.revision, changes: mem::take(&mut self.open), more });
        }
    }

    /// Hands the charge over with the events, but for what is still open.
    fn give(&mut self, piece: &mut Piece, budget: &ReplyBudget) -> Result<(), ApiError> {
        if !piece.events.is_empty() {
            piece.charge = mem::replace(&mut self.charge, Charge::NONE);
            budget.extend(&mut self.charge, self.open_bytes)?;
        }
        Ok(())
    }
}

fn kind(change: &kv::Change<'_>) -> ChangeKind {
    if change.after.is_some() { ChangeKind::Put } else { ChangeKind::Delete }
}

fn bytes(change: &kv::Change<'_>, with_prev: bool) -> usize {
    let before = change.before.filter(|_| with_prev).map_or(0, |item| change.key.len() + item.value.len());
    change.key.len() + change.after.map_or(0, |item| item.value.len()) + before
}

fn to_change(change: &kv::Change<'_>, with_prev: bool) -> Change {
    let item = |item: kv::ItemRef<'_>| -> Item { to_api_item(change.key.into(), item.to_item()) };
    let prev = change.before.filter(|_| with_prev).map(item);
    match change.after {
        Some(after) => Change::Put { item: item(after), prev },
        None => Change::Delete { key: change.key.into(), prev },
    }
}
