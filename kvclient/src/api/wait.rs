//! Long polls: reads that wait for a change.

use super::query::{Query, QueryText};

/// Longest wait of `/get` and `/list` for a change, in milliseconds.
///
/// ```
/// assert_eq!(kvclient::api::WAIT_MS_MAX, 600_000);
/// ```
pub const WAIT_MS_MAX: u64 = 600_000;

/// Meaning of a position, for errors about one that is malformed.
const REVISION: &str = "a revision, as in `Kvd-Revision` of the last reply";

/// Delays the answer to a read until something changes after a revision: `newer_than=R&wait_ms=N`. For `/get`, `after=R`
/// means the same, which is familiar from Consul; for `/list`, `after` is a key.
///
/// ```
/// use kvclient::api::{GetQuery, Wait};
///
/// let query = GetQuery { wait: Some(Wait { newer_than: 7, wait_ms: 60_000 }), ..GetQuery::new("color") };
/// assert_eq!(query.to_query(), "key=color&newer_than=7&wait_ms=60000");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Revision after which a change is awaited: `Kvd-Revision` of the previous reply.
    pub newer_than: u64,
    /// Time after which the read is answered in any case, in milliseconds, at most [`WAIT_MS_MAX`].
    pub wait_ms: u64,
}

impl Wait {
    /// Takes the wait from the query of `/get`, if it has one.
    pub(super) fn take_of_get(query: &mut Query<'_>) -> Result<Option<Self>, String> {
        let (newer_than, after) = (query.take_as("newer_than", REVISION)?, query.take_as("after", REVISION)?);
        if newer_than.is_some() && after.is_some() {
            return Err("give `newer_than` or `after`, not both: they mean the same".into());
        }
        Self::behind(newer_than.or(after), query)
    }

    /// Takes the wait from a query, if it has one.
    pub(super) fn take(query: &mut Query<'_>) -> Result<Option<Self>, String> {
        Self::behind(query.take_as("newer_than", REVISION)?, query)
    }

    fn behind(newer_than: Option<u64>, query: &mut Query<'_>) -> Result<Option<Self>, String> {
        let wait_ms = query.take_as("wait_ms", "a number of milliseconds")?;
        match (newer_than, wait_ms) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err("`wait_ms` needs `newer_than`, the revision after which a change is awaited".into()),
            (Some(_), Some(wait_ms)) if wait_ms > WAIT_MS_MAX => Err(format!("`wait_ms` is at most {WAIT_MS_MAX}")),
            (Some(newer_than), wait_ms) => Ok(Some(Self { newer_than, wait_ms: wait_ms.unwrap_or(0) })),
        }
    }

    /// Adds the wait to a query.
    pub(super) fn add_to(self, query: &mut QueryText) {
        query.add("newer_than", self.newer_than);
        query.add("wait_ms", self.wait_ms);
    }
}
