//! Changes that a command makes in one step.

use super::item::LeaseId;
use super::item::Revision;
use super::key_range::Spans;
use super::leases::LeaseKind;
use super::level::Level;
use super::outcome::Outcome;
use super::record::Record;
use bytes::Bytes;
use std::collections::BTreeMap;

/// An outcome, with the step that carries it out.
pub(super) struct Decision {
    pub(super) outcome: Outcome,
    pub(super) step: Step,
}

/// The step that a command makes.
pub(super) enum Step {
    None,
    Edits(Edits),
    Compact(Revision),
    RaiseLevel(Level),
}

impl From<Outcome> for Decision {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, step: Step::None }
    }
}

/// Changes that a command makes, in one step.
#[derive(Default)]
pub(super) struct Edits {
    /// Leases that are made, or whose time to live is set anew.
    pub(super) grants: Vec<Grant>,
    /// Leases whose time begins anew.
    pub(super) renewals: Vec<LeaseId>,
    /// A lease that ends with these edits, or begins to.
    pub(super) ends: Option<LeaseId>,
    /// Keys that are written, and single keys that exist and are deleted.
    pub(super) records: BTreeMap<Bytes, Option<Record>>,
    /// Ranges whose keys are deleted; none of them is written.
    pub(super) deleted: Spans,
    /// True if any of those ranges has a key.
    pub(super) deletes_any: bool,
}

/// A lease that is made.
pub(super) struct Grant {
    pub(super) lease: LeaseId,
    pub(super) kind: LeaseKind,
    pub(super) ttl_ms: u64,
    /// True if the state machine has chosen the id.
    pub(super) is_chosen: bool,
}

impl Edits {
    /// Returns true if a key changes.
    pub(super) fn change_keys(&self) -> bool {
        !self.records.is_empty() || self.deletes_any
    }
}
