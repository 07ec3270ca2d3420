//! The judgement: every answer fits the order of revisions that the watches told.
//!
//! 1. All watches told the same, revision after revision.
//! 2. An acknowledged write did at its revision just what it says, and nothing else happened at that revision.
//! 3. No value was written twice, and none by a request that was refused. What nobody acknowledges was done by a request
//!    of unknown outcome, or by the end of a lease.
//! 4. A read found what there was at its revision.
//! 5. What began after another operation had returned has a revision that is no lower, and a higher one if it wrote. With
//!    2 to 4, that is linearizability: the revisions are the order.
//! 6. Money is neither made nor lost, at any revision.
//! 7. No lease ended before its time.

use super::clients::{BALANCE, BANK, MORTAL, balance};
use super::notes::{Items, Note, Notes, Revised, Saw};
use super::watching::Told;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::time::Instant;

/// All that clients saw.
pub struct Judgement {
    notes: Notes,
    told: Vec<Told>,
}

impl Display for Judgement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let count = |kind: fn(&Saw) -> bool| self.notes.operations.iter().filter(|note| kind(&note.saw)).count();
        write!(
            f,
            "{} revisions: {} writes, {} reads, {} refused, {} unknown, {} leases",
            self.told[0].len(),
            count(|saw| matches!(saw, Saw::Wrote { .. })),
            count(|saw| matches!(saw, Saw::Read { .. } | Saw::Past { .. })),
            count(|saw| matches!(saw, Saw::Refused { .. })),
            count(|saw| matches!(saw, Saw::Unknown { .. })),
            self.notes.mortals.len()
        )
    }
}

impl Judgement {
    pub(super) fn new(notes: Notes, told: Vec<Told>) -> Self {
        Self { notes, told }
    }

    /// Checks all that clients saw.
    ///
    /// # Panics
    /// If something does not fit, with what that is.
    #[track_caller]
    pub fn check(&self) {
        println!("{self}");
        let changes: Vec<&Revised> = self.told[0].iter().map(|(revised, _)| revised).collect();
        self.watches_agree(&changes);
        let by_revision: BTreeMap<u64, &Revised> = changes.iter().map(|revised| (revised.revision, *revised)).collect();
        assert_eq!(by_revision.len(), changes.len(), "a revision was told twice");
        self.writes_are_told(&by_revision);
        self.changes_have_an_author(&changes);
        self.reads_fit(&changes);
        self.order_fits_time();
        self.leases_lasted(&changes);
    }

    #[track_caller]
    fn watches_agree(&self, changes: &[&Revised]) {
        for (number, told) in self.told.iter().enumerate() {
            for (at, (revised, first)) in told.iter().map(|(revised, _)| revised).zip(changes).enumerate() {
                assert_eq!(revised, *first, "watch {number} and the first one differ in event {at}");
            }
            assert_eq!(told.len(), changes.len(), "watch {number} told of another number of revisions");
        }
        for pair in changes.windows(2) {
            assert!(pair[0].revision < pair[1].revision, "{pair:?} are out of order");
        }
    }

    #[track_caller]
    fn writes_are_told(&self, by_revision: &BTreeMap<u64, &Revised>) {
        let mut revisions = BTreeSet::new();
        for note in &self.notes.operations {
            if let Saw::Wrote { revision, effects } = &note.saw {
                assert!(revisions.insert(*revision), "two writes have the revision {revision}");
                let told = by_revision.get(revision).map(|revised| &revised.effects);
                assert_eq!(told, Some(effects), "the write that was acknowledged at revision {revision}");
            }
        }
    }

    #[track_caller]
    fn changes_have_an_author(&self, changes: &[&Revised]) {
        let mut acknowledged = BTreeSet::new();
        let (mut refused, mut unknown, mut deletes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for note in &self.notes.operations {
            match &note.saw {
                Saw::Wrote { revision, .. } => drop(acknowledged.insert(*revision)),
                Saw::Refused { values } => refused.extend(values),
                Saw::Unknown { values, deletes: prefix } => {
                    unknown.extend(values);
                    deletes.extend(prefix.as_deref());
                }
                Saw::Read { .. } | Saw::Past { .. } => {}
            }
        }
        let mut written = BTreeSet::new();
        for revised in changes {
            for (key, value) in &revised.effects {
                match value {
                    Some(value) => {
                        assert!(written.insert(value), "{value} was written twice, again at {}", revised.revision);
                        assert!(!refused.contains(value), "{value} was refused, and written at {}", revised.revision);
                        let known = acknowledged.contains(&revised.revision) || unknown.contains(value);
                        assert!(known, "nobody wrote {value} to {key}, at {}", revised.revision);
                    }
                    None if acknowledged.contains(&revised.revision) || key.starts_with(MORTAL) => {}
                    None => {
                        let known = deletes.iter().any(|prefix| key.starts_with(prefix));
                        assert!(known, "nobody deleted {key}, at {}", revised.revision);
                    }
                }
            }
        }
    }

    #[track_caller]
    fn reads_fit(&self, changes: &[&Revised]) {
        let mut reads: Vec<(u64, &str, &Items)> = Vec::new();
        for note in &self.notes.operations {
            if let Saw::Read { revision, prefix, found } | Saw::Past { revision, prefix, found } = &note.saw {
                reads.push((*revision, prefix, found));
            }
        }
        reads.sort_by_key(|(revision, ..)| *revision);
        let (mut reads, mut state) = (reads.into_iter().peekable(), Items::new());
        for (at, revised) in changes.iter().enumerate() {
            for (key, value) in &revised.effects {
                match value {
                    Some(value) => drop(state.insert(key.clone(), value.clone())),
                    None => drop(state.remove(key).unwrap_or_else(|| panic!("{key} was deleted without having been"))),
                }
            }
            let accounts = state.range(BANK.to_owned()..).take_while(|(key, _)| key.starts_with(BANK));
            let sum: u64 = accounts.map(|(_, value)| balance(value)).sum();
            let opened = state.keys().filter(|key| key.starts_with(BANK)).count() as u64;
            assert_eq!(sum, opened * BALANCE, "at revision {} the sum is wrong: {state:?}", revised.revision);
            let next = changes.get(at + 1).map_or(u64::MAX, |next| next.revision);
            while let Some((revision, prefix, found)) = reads.next_if(|(revision, ..)| *revision < next) {
                let there = state.iter().filter(|(key, _)| key.starts_with(prefix));
                let there: Items = there.map(|(key, value)| (key.clone(), value.clone())).collect();
                // Before the first change nothing was there.
                let there = if revision < revised.revision { Items::new() } else { there };
                assert_eq!(*found, there, "what was read at revision {revision} with the prefix {prefix}");
            }
        }
        assert!(reads.next().is_none(), "each read was at a revision of the past");
    }

    #[track_caller]
    fn order_fits_time(&self) {
        let of = |note: &Note| match note.saw {
            Saw::Wrote { revision, .. } => Some((revision, true)),
            Saw::Read { revision, .. } => Some((revision, false)),
            Saw::Past { .. } | Saw::Refused { .. } | Saw::Unknown { .. } => None,
        };
        let ordered = || self.notes.operations.iter().filter_map(|note| of(note).map(|saw| (note, saw)));
        let mut begins: Vec<(Instant, u64, bool)> =
            ordered().map(|(note, (revision, wrote))| (note.invoked, revision, wrote)).collect();
        let mut ends: Vec<(Instant, u64)> = ordered().map(|(note, (revision, _))| (note.returned, revision)).collect();
        begins.sort_unstable();
        ends.sort_unstable();
        let (mut ends, mut newest) = (ends.into_iter().peekable(), 0);
        for (invoked, revision, wrote) in begins {
            while let Some((_, ended)) = ends.next_if(|(returned, _)| *returned < invoked) {
                newest = newest.max(ended);
            }
            let fits = if wrote { revision > newest } else { revision >= newest };
            assert!(fits, "an operation at revision {revision} began after one at {newest} had returned");
        }
    }

    #[track_caller]
    fn leases_lasted(&self, changes: &[&Revised]) {
        // The end of a key was heard of by then, by whichever watch was first.
        let heard = |revision: u64| {
            let times = self.told.iter().flatten().filter(|(revised, _)| revised.revision == revision);
            times.map(|(_, at)| *at).min().expect("a revision that was told")
        };
        for mortal in &self.notes.mortals {
            let next = changes.iter().filter(|revised| revised.revision > mortal.revision);
            let next = next.filter_map(|revised| Some((revised.revision, revised.effects.get(&mortal.key)?)));
            // A key that is written again has another lease.
            if let Some((revision, None)) = next.into_iter().next() {
                let lived = heard(revision).saturating_duration_since(mortal.invoked);
                assert!(lived >= mortal.ttl, "{mortal:?} ended after {lived:?}");
            }
        }
    }
}
