//! Restores the leases from a snapshot.

use super::super::hash::{HashSum, Kind};
use super::super::item::LeaseId;
use super::super::record::Record;
use super::super::snapshot::{RestoreError, malformed};
use super::lease::Lease;
use super::{LeaseKind, Leases};
use std::collections::BTreeMap;

/// Leases that are being restored; not all of them have arrived.
#[derive(Default)]
pub(in crate::kv) struct RestoringLeases {
    /// Ordered by id.
    leases: Vec<(LeaseId, Lease)>,
    hash: HashSum,
}

impl RestoringLeases {
    /// Number of leases received.
    pub(in crate::kv) fn len(&self) -> usize {
        self.leases.len()
    }

    /// Takes the canonical bytes of the next lease.
    pub(in crate::kv) fn add(&mut self, canonical: &[u8]) -> Result<(), RestoreError> {
        let (id, lease) = Lease::read(canonical).ok_or(malformed("a lease"))?;
        if self.leases.last().is_some_and(|(last, _)| *last >= id) {
            return Err(RestoreError::OutOfOrder { entry: "a lease" });
        }
        self.hash.add(Kind::Lease, canonical);
        self.leases.push((id, lease));
        Ok(())
    }

    /// Returns the leases, with the keys attached to them. `chosen` is the number of ids that the state machine has
    /// chosen.
    ///
    /// # Errors
    /// [`RestoreError::Malformed`] if an item has a lease that does not exist, or a lease of a key has not exactly one
    /// key.
    pub(in crate::kv) fn finish(self, chosen: u64, records: &[Record]) -> Result<Leases, RestoreError> {
        let Self { leases, hash } = self;
        let by_end = leases.iter().map(|(id, lease)| (lease.ends_ms, *id)).collect();
        let mut by_id: BTreeMap<LeaseId, Lease> = leases.into_iter().collect();
        for record in records {
            if let Some(id) = record.item().lease {
                let lease = by_id.get_mut(&id).ok_or(malformed("the lease of an item"))?;
                lease.keys.insert(record.key().into());
            }
        }
        if by_id.values().any(|lease| lease.kind == LeaseKind::OfKey && lease.keys.len() != 1) {
            return Err(malformed("the key of a lease"));
        }
        Ok(Leases { by_id, by_end, chosen, hash, ..Leases::default() })
    }
}
