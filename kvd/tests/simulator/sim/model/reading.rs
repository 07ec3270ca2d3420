//! Answers of the model to reads.

use super::super::queries::{Answer, Answered, Query};
use super::state::State;
use super::{Lease, Model, operating};
use kvd::kv::{LeaseId, Revision};
use kvd::raft::LogIndex;

impl Model {
    /// Returns the answer that is right where and when this one was given.
    pub(crate) fn answer(&self, given: &Answered) -> Answer {
        let (revision, applied) = (given.revision, given.applied);
        match &given.query {
            Query::Get { key, at } => Answer::Item(self.item_at(key, at.unwrap_or(revision)).cloned()),
            Query::List { list, at } => Answer::List(operating::listed(&self.state_at(at.unwrap_or(revision)), list)),
            Query::Txn(txn) => Answer::Txn(operating::read_txn(&self.state_at(revision), revision, txn)),
            Query::Lock(name) => Answer::Lock(self.state_at(revision).places(name)),
            Query::Lease(id) => {
                let keys = self.state_at(revision).keys_of(*id);
                Answer::Lease(self.lease_at(*id, applied).map(|(lease, _)| (lease, keys)))
            }
            Query::Past { key } => {
                let items = self.keys.get(key).into_iter().flatten();
                let items = items.filter(|(at, _)| (given.oldest..=revision).contains(at));
                Answer::Past(items.map(|(at, item)| (*at, item.clone())).collect())
            }
        }
    }

    /// Returns a lease as it was after an entry, and the entry since which it was like that.
    pub(crate) fn lease_at(&self, id: LeaseId, index: LogIndex) -> Option<(Lease, LogIndex)> {
        let (since, lease) = self.leases.get(&id)?.range(..=index).next_back()?;
        lease.map(|lease| (lease, *since))
    }

    /// Returns the entries from the first to the last after which a lease, or its absence, is as it is after `index`.
    /// The last is unknown if it is so still.
    pub(crate) fn lease_lasts(&self, id: LeaseId, index: LogIndex) -> (LogIndex, Option<LogIndex>) {
        let Some(states) = self.leases.get(&id) else { return (LogIndex(0), None) };
        let since = states.range(..=index).next_back().map_or(LogIndex(0), |(since, _)| *since);
        let next = states.range(index.next()..).next();
        (since, next.map(|(next, _)| next.previous()))
    }

    /// Returns the items at a revision. Which leases there are does not matter to what is read of items.
    fn state_at(&self, revision: Revision) -> State {
        if revision == self.revision {
            return self.state.clone();
        }
        let items = self.keys.keys().filter_map(|key| Some((key.clone(), self.item_at(key, revision)?.clone())));
        State { items: items.collect(), ..State::default() }
    }
}
