//! What the clients of a recording have in common.

use super::clock::Clock;
use super::keys::KeyNames;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

/// Pause of a client after an answer. The tests look for wrong answers and not for the greatest rate, and the
/// processors are needed for elections.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// Pause of a client that was refused: what it met lasts for a while.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// What the clients have in common.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) names: KeyNames,
    pub(super) stop: AtomicBool,
    /// Numbers values, so that each is written by one request.
    pub(super) values: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    /// For each node the linearizable reads that those who are pinned to it have begun, and those that it answered.
    pub(super) asked: Vec<AtomicU64>,
    pub(super) answered: Vec<AtomicU64>,
}
