//! State shared by the clients of a recording.

use super::clock::Clock;
use super::keys::KeyNames;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

/// Pause of a client after an answer. The tests look for wrong answers and not for the highest rate, and elections need
/// the processors.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// Pause of a client after a refusal: its cause lasts for a while.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// State shared by the clients.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) names: KeyNames,
    pub(super) stop: AtomicBool,
    /// Number of values so far, so that each value is written by one request.
    pub(super) values: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    /// For each node, the linearizable reads that readers pinned to it have begun, and those that it answered.
    pub(super) asked: Vec<AtomicU64>,
    pub(super) answered: Vec<AtomicU64>,
}
