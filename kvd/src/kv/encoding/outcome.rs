//! The bytes of outcomes: in the sessions that remember them, and between nodes.

use super::super::outcome::{DeleteDone, Outcome, PutDone};
use super::wire::{Prev, Source, Wire, later};

const SET: u8 = 1;
const DELETED: u8 = 2;
const CONDITION_FAILED: u8 = 3;

later!(Outcome {
    4 => StaleRequest { newest },
    5 => SessionsFull,
    6 => SeqReused,
    7 => LevelRaised { level },
    8 => DeletedRange { revision, done },
    9 => Txn { revision, done },
    10 => TooLarge(excess),
    11 => LeaseGranted { lease, ttl_ms },
    12 => LeaseExists,
    13 => LeaseNotFound { lease },
    14 => KeptAlive { ttls_ms },
    15 => LeaseRevoked { revision, deleted },
    16 => LeasesEnded,
    17 => LockTaken { lease, token },
    18 => PlaceTaken { lease, token },
    19 => LockHeld { holder },
    20 => PlaceLeft { revision },
    21 => PlaceLost,
    22 => Unlocked { revision },
    23 => LockLost,
    24 => Compacted { revision },
    25 => FutureRevision { revision },
    26 => NotKept { revision },
});

/// A key was written, and has a lease of its own.
const SET_WITH_LEASE: u8 = 27;

impl Outcome {
    /// Encodes the outcome for the session that remembers it:
    ///
    /// | offset | size   | field |
    /// |--------|--------|-------|
    /// | 0      | 1      | the number of the outcome |
    /// | 1      | varies | 1 set: revision: number; created: 0 or 1; `prev`: item |
    /// |        |        | 2 deleted: revision: number; deleted: 0 or 1; `prev`: item |
    /// |        |        | 3 condition failed: nothing: `current` is not remembered |
    /// |        |        | 4 and above: the fields, in their order |
    /// |        |        | 27 set, with a lease of the key's own: as 1, and the lease: number |
    ///
    /// An item is the byte 0 if there is none; otherwise 1, or 2 if it has a lease, then create revision, mod revision,
    /// version and the lease: numbers; value: bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::new();
        match self {
            Self::Set { revision, done: PutDone { created, prev, lease } } => {
                to.push(if lease.is_some() { SET_WITH_LEASE } else { SET });
                revision.write(&mut to);
                created.write(&mut to);
                Prev(prev).write(&mut to);
                if let Some(lease) = lease {
                    lease.write(&mut to);
                }
            }
            Self::Deleted { revision, done: DeleteDone { deleted, prev } } => {
                to.push(DELETED);
                revision.write(&mut to);
                deleted.write(&mut to);
                Prev(prev).write(&mut to);
            }
            Self::ConditionFailed { current: _ } => to.push(CONDITION_FAILED),
            _ => self.write_later(&mut to),
        }
        to
    }

    /// Decodes what [`Outcome::encode`] wrote, a failed condition without its `current`; `None` for all other bytes.
    pub(in crate::kv) fn decode(encoded: &[u8]) -> Option<Self> {
        let from = &mut Source::copying(encoded);
        let number = from.reader.u8()?;
        let outcome = match number {
            SET | SET_WITH_LEASE => {
                let (revision, created, prev) = (u64::read(from)?, bool::read(from)?, Prev::read(from)?);
                let lease = if number == SET { None } else { Some(Wire::read(from)?) };
                Self::Set { revision, done: PutDone { created, prev, lease } }
            }
            DELETED => {
                let (revision, deleted, prev) = (u64::read(from)?, bool::read(from)?, Prev::read(from)?);
                Self::Deleted { revision, done: DeleteDone { deleted, prev } }
            }
            CONDITION_FAILED => Self::ConditionFailed { current: None },
            number => Self::read_later(number, from)?,
        };
        from.reader.rest().is_empty().then_some(outcome)
    }

    /// Encodes the outcome for a requester on another node: as a session keeps it, and the item `current` behind a
    /// failed condition.
    pub fn encode_whole(&self) -> Vec<u8> {
        let mut to = self.encode();
        if let Self::ConditionFailed { current } = self {
            Prev(current).write(&mut to);
        }
        to
    }

    /// Decodes what [`Outcome::encode_whole`] wrote; `None` for all other bytes.
    pub fn decode_whole(encoded: &[u8]) -> Option<Self> {
        let Some(item) = encoded.strip_prefix(&[CONDITION_FAILED]) else { return Self::decode(encoded) };
        let from = &mut Source::copying(item);
        let current = Prev::read(from)?;
        from.reader.rest().is_empty().then_some(Self::ConditionFailed { current })
    }
}
