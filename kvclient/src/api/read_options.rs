//! Consistency of reads: the states of the store that a read may see.

use super::query::{Query, QueryText};

/// Consistency of a read: `consistency=linearizable`, the default, or `consistency=stale`.
///
/// ```
/// use kvclient::api::{Consistency, Query, ReadOptions};
///
/// let read = ReadOptions::take(&mut Query::parse("consistency=stale&max_stale_ms=500")?)?;
/// assert_eq!(read.consistency, Consistency::Stale { max_stale_ms: Some(500) });
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The read sees every write that was acknowledged before it began.
    #[default]
    Linearizable,
    /// The read sees the node's own store as it is.
    Stale {
        /// Greatest age of the node's state, in milliseconds. `None` allows any age.
        max_stale_ms: Option<u64>,
    },
}

/// Options of every read.
///
/// ```
/// use kvclient::api::{Query, ReadOptions};
///
/// let mut query = Query::parse("min_revision=9")?;
/// let read = ReadOptions::take(&mut query)?;
/// query.finish()?;
/// assert_eq!(read, ReadOptions { min_revision: Some(9), ..ReadOptions::default() });
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Consistency of the read.
    pub consistency: Consistency,
    /// Revision that the serving node must have applied. The node waits until it has.
    pub min_revision: Option<u64>,
}

impl ReadOptions {
    /// Takes the options from a query.
    ///
    /// # Errors
    /// A sentence that says which parameter is wrong.
    ///
    /// ```
    /// use kvclient::api::{Query, ReadOptions};
    ///
    /// assert!(ReadOptions::take(&mut Query::parse("max_stale_ms=500")?).is_err(), "it is not stale");
    /// # Ok::<(), String>(())
    /// ```
    pub fn take(query: &mut Query<'_>) -> Result<Self, String> {
        let consistency = query.take("consistency")?;
        let max_stale_ms = query.take_as("max_stale_ms", "a number of milliseconds")?;
        let min_revision = query.take_as("min_revision", "a revision, as in `revision` of a reply")?;
        Self::of(consistency.as_deref(), max_stale_ms, min_revision)
    }

    /// Returns the options from the values of the fields, or parameters, of these names.
    pub(super) fn of(
        consistency: Option<&str>,
        max_stale_ms: Option<u64>,
        min_revision: Option<u64>,
    ) -> Result<Self, String> {
        let consistency = match (consistency, max_stale_ms) {
            (Some("stale"), _) => Consistency::Stale { max_stale_ms },
            (None | Some("linearizable"), None) => Consistency::Linearizable,
            (None | Some("linearizable"), Some(_)) => {
                return Err("`max_stale_ms` needs consistency=stale: other reads are never stale".into());
            }
            (Some(_), _) => return Err("`consistency` must be linearizable or stale".into()),
        };
        Ok(Self { consistency, min_revision })
    }

    /// Returns the values of the fields, or parameters, `consistency` and `max_stale_ms`.
    pub(super) fn consistency_fields(self) -> (Option<&'static str>, Option<u64>) {
        match self.consistency {
            Consistency::Linearizable => (None, None),
            Consistency::Stale { max_stale_ms } => (Some("stale"), max_stale_ms),
        }
    }

    /// Adds the options to a query.
    pub(super) fn add_to(self, query: &mut QueryText) {
        let (consistency, max_stale_ms) = self.consistency_fields();
        query.add_some("consistency", consistency);
        query.add_some("max_stale_ms", max_stale_ms);
        query.add_some("min_revision", self.min_revision);
    }
}
