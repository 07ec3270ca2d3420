//! Locks as conditions of writes.

use super::object::read_from_object;
use serde::Serialize;

/// A lock that the writer holds: `{"name":"N","token":T}`, in a condition `{"held":{...}}`.
///
/// The store itself checks it when the write is applied, so a writer that has lost the lock is refused even if it does
/// not know of the loss yet.
///
/// ```
/// use kvclient::api::{Condition, Held};
///
/// let condition = Condition::Held(Held { name: "jobs/nightly".into(), token: 57 });
/// assert_eq!(serde_json::to_string(&condition)?, r#"{"held":{"name":"jobs/nightly","token":57}}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Name of the lock.
    pub name: String,
    /// Fencing token of its holder: the create revision of its key.
    pub token: u64,
}

read_from_object!(Held, "an object with `name` and `token`", { name: String, token: u64 });
