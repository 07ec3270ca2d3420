//! The check of a history, one key at a time.

use super::key_history::KeyHistory;
use super::operation::Operation;
use super::search::Search;
use super::violation::Violation;
use std::collections::BTreeMap;

/// Checks that each key's part of a history is linearizable. All keys are absent at first.
///
/// # Errors
/// The first key that no order explains, with the place from which on none fits.
///
/// # Panics
/// If the history is malformed: a value that two requests wrote, or an answer without a return or to another question.
pub fn check(history: &[Operation]) -> Result<(), Violation> {
    let mut keys: BTreeMap<u64, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        operation.check_form();
        keys.entry(operation.key).or_default().push(operation);
    }
    for (key, operations) in keys {
        let history = KeyHistory::new(&operations);
        Search::new(&history).run().map_err(|dead_end| Violation::new(key, &operations, &history, dead_end))?;
    }
    Ok(())
}
