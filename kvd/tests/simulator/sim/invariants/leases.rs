//! Leases end neither early nor late.
//!
//! **Not early.** Between the entry from which a lease's time is counted (its grant, or its last renewal) and the entry
//! that ends it, its time to live has passed on the clocks of the leaders under which it lived, added up: on the clock
//! of each leader from the first to the last entry that it stamped in between, as far as its process ran (a pause
//! counts for the shortest election timeout at most); and on the fastest clock from the last entry of one leader to the
//! first of the next, since that leader may have been elected, or idle, then.
//!
//! **Not late.** A leader that has applied everything that is committed, and finds the time of a lease over when it
//! checks its timers, has a command that ends leases in its log then. Timers are checked every 25 ms at most, so a
//! lease ends within 100 ms of its time as soon as its leader commits. Which leases there are is told by the model, not
//! by the store of that leader.
//!
//! Which leases a command ends, with which keys, is decided by the model as well.

use super::super::model::Model;
use super::cluster_time::{Counted, PERMILLE};
use super::{Checked, ensure};
use kvd::kv::{Command, Level, Operation};
use kvd::node::Replica;
use kvd::raft::{Entry, LogIndex, NodeId, Payload};

const NAME: &str = "Leases";

/// The stamps of committed entries.
#[derive(Debug)]
pub(crate) struct Leases {
    /// From entry 1 on; `None` for one whose stamping was not seen.
    stamps: Vec<Option<Counted>>,
}

impl Default for Leases {
    fn default() -> Self {
        // The first configuration is there from the start.
        Self { stamps: vec![None] }
    }
}

impl Leases {
    /// Notes the stamp of the next committed entry, and checks the leases that it ends.
    pub(super) fn committed(&mut self, stamp: Option<Counted>, model: &Model) -> Checked {
        self.stamps.push(stamp);
        let index = LogIndex(self.stamps.len() as u64);
        for (lease, begun) in model.just_ended() {
            let Some(passed_us) = self.passed_us(*begun) else { continue };
            ensure!(
                NAME,
                passed_us >= lease.ttl_ms * 1_000,
                "entry {index} ends a lease of {} ms, for which {passed_us} us can have passed since entry {begun}",
                lease.ttl_ms
            );
        }
        Ok(())
    }

    /// Returns the most that the clocks of the leaders can have shown since an entry, in microseconds.
    fn passed_us(&self, since: LogIndex) -> Option<u64> {
        let stamps = self.stamps.get(since.previous().0 as usize..)?;
        let stamps: Option<Vec<&Counted>> = stamps.iter().map(Option::as_ref).collect();
        let (_, fastest) = PERMILLE;
        let mut passed_us = 0;
        for leader in stamps.as_ref()?.chunk_by(|one, other| one.term == other.term) {
            let (first, last) = (leader.first()?, leader.last()?);
            // Clocks are read in whole milliseconds.
            let slack_us = 2_000 + 1_000 * (last.stops - first.stops);
            passed_us += (last.ran - first.ran) * first.permille / 1_000 + slack_us;
        }
        for pair in stamps?.windows(2).filter(|pair| pair[0].term != pair[1].term) {
            passed_us += pair[1].at.saturating_sub(pair[0].at) * fastest / 1_000 + 2_000;
        }
        Some(passed_us)
    }

    /// Checks a replica that has checked its timers, when everything up to `committed` is committed.
    pub(crate) fn ticked<W, R>(
        &self,
        id: NodeId,
        replica: &Replica<W, R>,
        committed: LogIndex,
        model: &Model,
    ) -> Checked {
        let Some(now) = replica.cluster_time() else { return Ok(()) };
        let (raft, log) = (replica.raft(), replica.raft().log());
        let applied = log.applied_index();
        if applied != committed || replica.level() < Level::DATA_MODEL || raft.transfer_target().is_some() {
            return Ok(());
        }
        let over = model.present_leases().iter().find(|(_, lease)| lease.ends_ms <= now.0);
        let Some((lease, _)) = over else { return Ok(()) };
        let unapplied = log.entries_from(applied.next(), usize::MAX).unwrap_or_default();
        ensure!(
            NAME,
            unapplied.iter().any(ends_leases),
            "n{} leads, and the time of lease {lease} is over at {}, and it does not end it",
            id.0,
            now.0
        );
        Ok(())
    }
}

fn ends_leases(entry: &Entry) -> bool {
    let Payload::Command(command) = &entry.payload else { return false };
    Command::decode(command).is_ok_and(|command| matches!(command.operation, Operation::EndLeases { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvd::kv::{LeaseId, SessionLimits};
    use kvd::raft::Term;

    fn at_ms(term: u64, at_ms: u64, permille: u64) -> Option<Counted> {
        Some(Counted { term: Term(term), at: at_ms * 1_000, ran: at_ms * 1_000, stops: 0, permille })
    }

    /// Returns whether a lease of 500 ms that is granted in entry 2 may end in the last of these entries.
    fn may_end(stamps: &[Option<Counted>]) -> bool {
        let lease = LeaseId::new(7).expect("not zero");
        let mut leases = Leases::default();
        let mut model = Model::new(SessionLimits::default());
        let mut committed = |operation: Option<Operation>, stamp| {
            let command = operation.map(|operation| Command { operation, request: None });
            let _ = model.apply(0, command.as_ref());
            leases.committed(stamp, &model).is_ok()
        };
        let (granted, last) = (stamps[0], stamps[stamps.len() - 1]);
        let grant = Operation::GrantLease { lease: Some(lease), ttl_ms: 500 };
        let _ = committed(Some(grant), granted);
        for stamp in &stamps[1..stamps.len() - 1] {
            let _ = committed(None, *stamp);
        }
        committed(Some(Operation::EndLeases { ends: vec![(lease, 500)] }), last)
    }

    #[test]
    fn a_lease_lives_for_its_time_on_the_clocks_of_its_leaders() {
        assert!(may_end(&[at_ms(1, 0, 1_000), at_ms(1, 500, 1_000)]));
        assert!(!may_end(&[at_ms(1, 0, 1_000), at_ms(1, 490, 1_000)]));
        assert!(may_end(&[at_ms(1, 0, 1_200), at_ms(1, 420, 1_200)]), "on a fast clock");
        assert!(!may_end(&[at_ms(1, 0, 800), at_ms(1, 520, 800)]), "on a slow clock");
    }

    #[test]
    fn between_leaders_the_fastest_clock_may_have_counted() {
        let stamps = |end| [at_ms(1, 0, 800), at_ms(1, 250, 800), at_ms(2, 500, 800), at_ms(2, end, 800)];
        assert!(may_end(&stamps(501)), "200 ms, 300 ms, and no more");
        assert!(!may_end(&stamps(500).map(|stamp| stamp.map(|stamp| Counted {
            at: stamp.at * 9 / 10,
            ran: stamp.ran * 9 / 10,
            ..stamp
        }))));
    }
}
