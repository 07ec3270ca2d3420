//! Log lines about membership changes: one for each change, once it is committed.

use crate::raft::{Configuration, Goal, MemberInfo, NodeId};

/// Compares each settled configuration with the one before.
#[derive(Debug, Default)]
pub(super) struct MembershipNews {
    last: Option<Configuration>,
}

impl MembershipNews {
    /// Takes a configuration that is committed and not joint. Returns a line for each change since the last one. The
    /// first configuration that a node knows is no change.
    pub(super) fn settled(&mut self, now: &Configuration) -> Vec<String> {
        let Some(before) = self.last.replace(now.clone()) else { return Vec::new() };
        let is_new = |(id, _): &(&NodeId, &Goal)| !before.members.contains_key(id);
        let joined = now.learners.iter().filter(is_new).map(|(id, goal)| joins(name(now, *id), *goal));
        let votes = now.voters.iter().filter(|id| !before.voters.contains(id));
        let votes = votes.map(|id| match has_namesake(&before, now, *id) {
            true => format!("{} votes again", name(now, *id)),
            false => format!("{} votes now", name(now, *id)),
        });
        let gone = before.members.keys().filter(|id| !now.members.contains_key(id));
        let gone = gone.filter_map(|id| match has_namesake(now, &before, *id) {
            // If it was a voter, the line about its new incarnation says so.
            true if before.voters.contains(id) => None,
            true => Some(format!("the previous incarnation of {} was removed", name(&before, *id))),
            false => Some(format!("{} was removed", name(&before, *id))),
        });
        let moved = now.members.iter().filter(|(id, info)| before.members.get(id).is_some_and(|known| known != *info));
        let moved = moved.map(|(_, MemberInfo { name, client_url, peer_url })| {
            format!("{name} is recorded at {peer_url} for nodes and {client_url} for clients")
        });
        joined.chain(votes).chain(gone).chain(moved).collect()
    }
}

fn joins(name: &str, goal: Goal) -> String {
    match goal {
        Goal::Learner => format!("{name} joined as a learner and stays one"),
        Goal::Voter => format!("{name} joined as a learner; it will vote once caught up"),
        Goal::Replace(_) => {
            format!("{name} rejoined with an empty data directory; it will vote again once caught up")
        }
    }
}

fn name(configuration: &Configuration, id: NodeId) -> &str {
    configuration.members.get(&id).map_or("a node", |info| &info.name)
}

/// Returns whether `others` has a voter with the name that the node `id` has in `configuration`.
fn has_namesake(others: &Configuration, configuration: &Configuration, id: NodeId) -> bool {
    let own = name(configuration, id);
    others.members.iter().any(|(other, info)| *other != id && info.name == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a configuration of voters and learners by id and name.
    fn configuration(voters: &[(u64, &str)], learners: &[(u64, &str, Goal)]) -> Configuration {
        let info = |name: &str| MemberInfo { name: name.into(), client_url: String::new(), peer_url: String::new() };
        let mut all = Configuration::of_voters(voters.iter().map(|(id, name)| (NodeId(*id), info(name))));
        for (id, name, goal) in learners {
            all.members.insert(NodeId(*id), info(name));
            all.learners.insert(NodeId(*id), *goal);
        }
        all
    }

    #[test]
    fn each_change_is_told_once() {
        let mut news = MembershipNews::default();
        let mut told = |voters: &[(u64, &str)], learners: &[(u64, &str, Goal)]| {
            news.settled(&configuration(voters, learners)).join("; ")
        };
        let old: &[_] = &[(1, "n1"), (2, "n2")];
        assert_eq!(told(old, &[]), "", "the first is no change");
        let joined = "n4 joined as a learner; it will vote once caught up; n5 joined as a learner and stays one";
        let learners: &[_] = &[(4, "n4", Goal::Voter), (5, "n5", Goal::Learner)];
        assert_eq!(told(old, learners), joined);
        assert_eq!(told(old, learners), "");
        assert_eq!(told(&[(1, "n1"), (4, "n4")], &[(5, "n5", Goal::Learner)]), "n4 votes now; n2 was removed");
        assert_eq!(
            told(&[(1, "n1"), (4, "n4")], &[(55, "n5", Goal::Learner)]),
            "n5 joined as a learner and stays one; the previous incarnation of n5 was removed"
        );
        let mut moved = configuration(&[(1, "n1"), (4, "n4")], &[(55, "n5", Goal::Learner)]);
        let info = moved.members.get_mut(&NodeId(4)).expect("a member");
        (info.peer_url, info.client_url) = ("http://p".into(), "http://c".into());
        assert_eq!(news.settled(&moved), ["n4 is recorded at http://p for nodes and http://c for clients"]);
        assert_eq!(news.settled(&moved), [""; 0]);
        let mut told = |voters: &[(u64, &str)], learners: &[(u64, &str, Goal)]| {
            news.settled(&configuration(voters, learners)).join("; ")
        };
        let back: &[_] = &[(44, "n4", Goal::Replace(NodeId(4)))];
        assert!(told(&[(1, "n1"), (4, "n4")], back).starts_with("n4 rejoined with an empty data directory"));
        assert_eq!(told(&[(1, "n1"), (44, "n4")], &[]), "n4 votes again");
    }
}
