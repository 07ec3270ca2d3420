//! A change as a line of JSON, for programs.

use kvclient::api::Change;
use serde::Serialize;

/// A change with its revision.
#[derive(Serialize)]
pub(super) struct Line<'c> {
    pub(super) revision: u64,
    #[serde(flatten)]
    pub(super) change: &'c Change,
}

impl<'c> Line<'c> {
    pub(super) fn of(revision: u64, change: &'c Change) -> Self {
        Self { revision, change }
    }
}
