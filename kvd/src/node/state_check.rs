//! Divergence check: replicas compare the hashes of their states at the same applied index.
//!
//! An applied entry is committed, so at any index all replicas have applied the same entries in the same order (State
//! Machine Safety, paper §5.4.3), and the effects of entries are deterministic. So two different hashes of one index
//! mean that one of the two replicas has a wrong state: by a defect, or by faulty memory or a faulty disk. The majority
//! of the voters decides which state is right.
//!
//! Replicas are hardly ever at the same index, so each keeps the hashes of a few indexes that it has in common with its
//! peers: for every power of two from [`SPACING_MIN`] on, the last two multiples that it has applied. If two replicas
//! are less than such a power apart, the one ahead still has the last multiple that the other one has applied; so have
//! any number of them. That costs one hash every so many entries, and hardly any memory.
//!
//! A replica judges only itself: a replica that has diverged stops, and no other node has to be told. It judges by the
//! voters of the newest configuration that it has, whether it is a learner or a voter itself. That configuration need
//! not be committed: before its voters differ from those of the one before it is joint, and while it is joint nothing
//! is judged.

use crate::kv::StateHash;
use crate::mutants::{self, Mutant};
use crate::raft::{Configuration, LogIndex, NodeId};
use std::collections::BTreeMap;
use std::fmt;

/// Hashes are kept for multiples of this number, and of its doubles. A power of two.
const SPACING_MIN: u64 = 64;

/// Number of powers of two whose multiples are kept, from [`SPACING_MIN`] on: replicas that are further apart have no
/// index in common.
const SPACINGS: usize = 32;

/// Most states in a report.
pub const REPORT_STATES_MAX: usize = 2 * SPACINGS + 1;

/// Most members whose reports are kept.
const REPORTS_MAX: usize = 64;

/// The hash of a replica's state after it has applied an entry, and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedState {
    /// The entry.
    pub index: LogIndex,
    /// The hash.
    pub hash: StateHash,
}

/// This replica has diverged: its state is not the one it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The state of this replica.
    pub own: AppliedState,
    /// The hash that a majority of the voters has at that index; `None` if no hash has a majority, so that the right
    /// one is unknown.
    pub majority: Option<StateHash>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own: AppliedState { index, hash }, majority } = self;
        match majority {
            Some(majority) => write!(
                f,
                "after entry {index} the hash of its state is {hash}, and that of a majority of the voters is \
                 {majority}"
            ),
            None => write!(
                f,
                "after entry {index} the hash of its state is {hash}, and no hash has a majority of the voters, so it \
                 is unknown which data is right"
            ),
        }
    }
}

/// The states of this replica, and those reported by other replicas.
#[derive(Debug, Default)]
pub(super) struct StateCheck {
    own: OwnStates,
    /// The last report of each member.
    reports: BTreeMap<NodeId, Vec<AppliedState>>,
    divergence: Option<Divergence>,
    disagreement: Option<(NodeId, LogIndex)>,
}

/// The states that a replica keeps.
#[derive(Debug, Default)]
struct OwnStates {
    /// For each power of two, the last multiple but one and the last multiple.
    spaced: [[Option<AppliedState>; 2]; SPACINGS],
    last: Option<AppliedState>,
}

impl OwnStates {
    fn add(&mut self, state: AppliedState) {
        self.last = Some(state);
        let multiples = (0..SPACINGS).take_while(|power| state.index.0.is_multiple_of(SPACING_MIN << power));
        for power in multiples {
            let [earlier, last] = &mut self.spaced[power];
            *earlier = last.replace(state);
        }
    }

    /// Returns each state once, in the order of the indexes.
    fn all(&self) -> BTreeMap<LogIndex, StateHash> {
        let all = self.spaced.iter().flatten().chain([&self.last]).flatten();
        all.map(|state| (state.index, state.hash)).collect()
    }
}

impl StateCheck {
    /// Returns true if the state after this entry is one of those that are kept.
    pub(super) fn is_kept(index: LogIndex) -> bool {
        index.0.is_multiple_of(SPACING_MIN)
    }

    /// Records the state after an applied entry: for all entries that are kept, and for the last one of a batch.
    pub(super) fn applied(&mut self, state: AppliedState) {
        self.own.add(state);
    }

    /// Records that a snapshot has replaced the state; earlier states say nothing about it.
    pub(super) fn replaced(&mut self, state: AppliedState) {
        self.own = OwnStates::default();
        self.own.add(state);
    }

    /// Returns the states that are reported to other replicas.
    pub(super) fn states(&self) -> Vec<AppliedState> {
        self.own.all().into_iter().map(|(index, hash)| AppliedState { index, hash }).collect()
    }

    /// Takes the report of another replica, `from`, and judges this one, `own`.
    pub(super) fn compare(
        &mut self,
        own: NodeId,
        from: NodeId,
        states: Vec<AppliedState>,
        configuration: &Configuration,
    ) {
        if self.reports.len() >= REPORTS_MAX && !self.reports.contains_key(&from) {
            self.reports.retain(|id, _| configuration.members.contains_key(id));
        }
        if from == own || self.reports.len() >= REPORTS_MAX && !self.reports.contains_key(&from) {
            return;
        }
        self.reports.insert(from, states);
        if self.divergence.is_none() && !configuration.is_joint() {
            self.judge(own, configuration);
        }
    }

    fn judge(&mut self, own: NodeId, configuration: &Configuration) {
        let voters = &configuration.voters;
        self.disagreement = None;
        // The first state that differs is nearest to where the divergence began.
        for (index, hash) in self.own.all() {
            let others = self.reports.iter().filter(|(id, _)| voters.contains(id));
            let others = others.filter_map(|(id, states)| Some((*id, hash_at(states, index)?)));
            let own_vote = voters.contains(&own).then_some((own, hash));
            let votes: BTreeMap<NodeId, StateHash> = others.chain(own_vote).collect();
            let Some((other, _)) = votes.iter().find(|(_, vote)| **vote != hash) else { continue };
            let has_majority = |vote: &StateHash| {
                let count = votes.values().filter(|other| *other == vote).count();
                2 * count > voters.len() || mutants::is_on(Mutant::OneVoterDecides) && *vote != hash
            };
            let majority = votes.values().find(|vote| has_majority(vote)).copied();
            let nobody_knows = majority.is_none() && votes.len() == voters.len();
            let has_diverged = majority.is_some_and(|majority| majority != hash) || nobody_knows;
            if has_diverged && !mutants::is_on(Mutant::DivergedGoesOn) {
                self.divergence = Some(Divergence { own: AppliedState { index, hash }, majority });
                return;
            }
            self.disagreement = self.disagreement.or(Some((*other, index)));
        }
    }

    /// Returns the divergence of this replica, once known. It is never cleared.
    pub(super) fn divergence(&self) -> Option<Divergence> {
        self.divergence
    }

    /// Returns a voter whose state differs from this replica's, and at which index, as of the last reports. Either the
    /// voter has diverged, or too few voters have reported yet.
    pub(super) fn disagreement(&self) -> Option<(NodeId, LogIndex)> {
        self.disagreement
    }
}

fn hash_at(states: &[AppliedState], index: LogIndex) -> Option<StateHash> {
    let is_near = |state: &&AppliedState| {
        state.index == index
            || mutants::is_on(Mutant::StatesComparedAnywhere) && state.index.0.abs_diff(index.0) < SPACING_MIN
    };
    states.iter().find(is_near).map(|state| state.hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Goal, MemberInfo};
    use proptest::prelude::*;

    const N1: NodeId = NodeId(1);
    const N2: NodeId = NodeId(2);
    const N3: NodeId = NodeId(3);

    fn voters(ids: &[u64]) -> Configuration {
        let info = MemberInfo { name: "n".into(), client_url: "http://a".into(), peer_url: "http://a".into() };
        Configuration::of_voters(ids.iter().map(|id| (NodeId(*id), info.clone())))
    }

    /// The right state.
    fn right(index: u64) -> AppliedState {
        AppliedState { index: LogIndex(index), hash: StateHash(u128::from(index) << 70) }
    }

    fn wrong(index: u64, how: u128) -> AppliedState {
        AppliedState { hash: StateHash(right(index).hash.0 + how), ..right(index) }
    }

    /// A replica that has applied entries up to this state.
    fn at(state: AppliedState) -> StateCheck {
        let mut check = StateCheck::default();
        check.applied(state);
        check
    }

    fn divergence(own: AppliedState, majority: Option<AppliedState>) -> Option<Divergence> {
        Some(Divergence { own, majority: majority.map(|state| state.hash) })
    }

    #[test]
    fn who_differs_from_a_majority_has_strayed_and_nobody_else() {
        let three = voters(&[1, 2, 3]);
        let mut strayed = at(wrong(7, 1));
        strayed.compare(N1, N2, vec![right(7)], &three);
        assert_eq!((strayed.divergence(), strayed.disagreement()), (None, Some((N2, LogIndex(7)))), "one against one");
        strayed.compare(N1, N3, vec![right(7)], &three);
        assert_eq!(strayed.divergence(), divergence(wrong(7, 1), Some(right(7))));

        let mut well = at(right(7));
        well.compare(N2, N1, vec![wrong(7, 1)], &three);
        assert_eq!((well.divergence(), well.disagreement()), (None, Some((N1, LogIndex(7)))));
        well.compare(N2, N3, vec![right(7)], &three);
        assert_eq!((well.divergence(), well.disagreement()), (None, Some((N1, LogIndex(7)))), "two against one");
        well.compare(N2, N1, vec![right(7)], &three);
        assert_eq!((well.divergence(), well.disagreement()), (None, None), "it was replaced");
    }

    #[test]
    fn where_no_state_has_a_majority_of_all_voters_nobody_goes_on() {
        let two = voters(&[1, 2]);
        let mut one = at(right(7));
        one.compare(N1, N2, vec![wrong(7, 1)], &two);
        assert_eq!(one.divergence(), divergence(right(7), None));
        let mut one = at(right(7));
        for (from, report) in [(N2, wrong(7, 1)), (N3, wrong(7, 2))] {
            assert_eq!(one.divergence(), None);
            one.compare(N1, from, vec![report], &voters(&[1, 2, 3]));
        }
        assert_eq!(one.divergence(), divergence(right(7), None));
    }

    #[test]
    fn learners_are_judged_and_count_for_nothing() {
        let mut configuration = voters(&[1, 2, 3]);
        configuration.voters.remove(&N3);
        configuration.learners.insert(N3, Goal::Learner);
        let mut learner = at(wrong(7, 1));
        learner.compare(N3, N1, vec![right(7)], &configuration);
        assert_eq!(learner.divergence(), None, "one of two is no majority");
        learner.compare(N3, N2, vec![right(7)], &configuration);
        assert_eq!(learner.divergence(), divergence(wrong(7, 1), Some(right(7))));
        let mut voter = at(right(7));
        voter.compare(N1, N3, vec![wrong(7, 1)], &configuration);
        voter.compare(N1, NodeId(9), vec![wrong(7, 1)], &configuration);
        assert_eq!((voter.divergence(), voter.disagreement()), (None, None));
    }

    #[test]
    fn nothing_is_judged_while_the_voters_change_nor_at_different_places() {
        let mut joint = voters(&[1, 2, 3]);
        joint.outgoing = joint.voters.clone();
        let mut one = at(wrong(7, 1));
        for from in [N2, N3] {
            one.compare(N1, from, vec![right(7)], &joint);
        }
        assert_eq!(one.divergence(), None);
        for from in [N2, N3] {
            one.compare(N1, from, vec![right(6), right(8)], &voters(&[1, 2, 3]));
        }
        assert_eq!((one.divergence(), one.disagreement()), (None, None), "the last report counts");
    }

    #[test]
    fn a_state_from_a_snapshot_has_no_past() {
        let mut one = at(wrong(64, 1));
        one.replaced(right(70));
        assert_eq!(one.states(), [right(70)]);
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let (mut one, three) = (at(right(7)), voters(&[1, 2, 3]));
        for id in 4..1000 {
            one.compare(N1, NodeId(id), vec![right(7)], &three);
        }
        assert!(one.reports.len() <= REPORTS_MAX);
        one.compare(N1, N2, vec![wrong(7, 1)], &three);
        assert!(one.disagreement().is_some(), "members have room");
    }

    /// Applies entries in batches, as replicas do.
    fn apply_all(to: u64, batch: u64) -> StateCheck {
        let mut check = StateCheck::default();
        for index in 1..=to {
            if StateCheck::is_kept(LogIndex(index)) || index % batch == 0 || index == to {
                check.applied(right(index));
            }
        }
        check
    }

    proptest! {
        #[test]
        fn replicas_that_are_apart_have_a_state_in_common(
            positions in prop::collection::vec(SPACING_MIN..40_000, 3),
            batch in 1u64..200,
        ) {
            let states = positions.iter().map(|position| apply_all(*position, batch).states());
            let states: Vec<Vec<AppliedState>> = states.collect();
            let (least, most) = (positions.iter().min().unwrap(), positions.iter().max().unwrap());
            // Only multiples of a power of two above their distance are guaranteed to be in common, if there is one
            // yet.
            if (most - least).next_power_of_two().max(SPACING_MIN) <= *least {
                let common = states[0].iter().find(|state| states.iter().all(|other| other.contains(state)));
                prop_assert!(common.is_some(), "{positions:?}");
            }
            for states in states {
                prop_assert!(states.len() <= REPORT_STATES_MAX);
            }
        }
    }
}
