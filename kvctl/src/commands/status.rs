//! `kvctl status`: the cluster as a whole.
//!
//! Asks every member for its own view and shows them side by side. [`Survey`] decides from these views whether the
//! cluster can serve, which is also the exit code, so that a script can use it as a health check.

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Table, Tone};
use crate::units;
use clap::Args;
use kvclient::api::{ClonedNode, Health, MemberGoal, NodeState};
use kvclient::{Error, NodeStatus};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Show every member: state, term, progress of its log, keys
///
/// LEADER marks the leader; LAG counts log entries that are committed but not yet applied on the node. A wide terminal
/// also shows COMMIT, VERSION and UPTIME. During an upgrade, when some nodes support a newer level than others, LEVEL
/// shows the level of the data and the newest level of the node (`1/2`). The level rises by itself once every member
/// supports the next one. The exit code is 0 if there is a leader and a quorum of the voters answers, otherwise 5.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl status
  kvctl status -o json | jq -r '.nodes[] | select(.lag > 1000).id'
  until kvctl status > /dev/null 2>&1; do sleep 1; done")]
pub(crate) struct Status {}

impl Status {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        let nodes = context.client.status()?.into_iter().map(Node::from).collect();
        let survey = Survey::new(context.client.cluster_id(), nodes);
        if context.output.is_json() {
            context.output.json(&survey)?;
        } else {
            context.output.table(&survey.table())?;
        }
        for cloned in survey.cloned() {
            output::warn(&cloned);
        }
        match survey.trouble() {
            Some(trouble) => Err(Failure::Unavailable(trouble).into()),
            None => {
                for node in &survey.nodes {
                    if let Some(error) = &node.error {
                        output::warn(&format!("{} is unreachable: {error}", node.id));
                    }
                }
                for waits in survey.waiting() {
                    output::warn(&waits);
                }
                Ok(())
            }
        }
    }
}

/// A member's report on itself, or the reason why there is none. As in the API, its name is the field `id`.
#[derive(Clone, Debug, Serialize)]
struct Node {
    id: String,
    client_url: String,
    voter: bool,
    /// For a learner: its goal.
    goal: Option<MemberGoal>,
    reachable: bool,
    /// True if this is the leader.
    leader: bool,
    /// Entries that are committed, according to any node, and not yet applied here.
    lag: Option<u64>,
    error: Option<String>,
    health: Option<Health>,
}

impl From<NodeStatus> for Node {
    fn from(status: NodeStatus) -> Self {
        let NodeStatus { name, client_url, voter, goal, health, .. } = status;
        let (health, error) = match health {
            Ok(health) => (Some(health), None),
            Err(error) => (None, Some(reason(error))),
        };
        let reachable = health.is_some();
        Self { id: name, client_url, voter, goal, reachable, leader: false, lag: None, error, health }
    }
}

/// Returns why a node did not answer, short enough for a list.
fn reason(error: Error) -> String {
    match error {
        Error::Unreachable { detail, .. } | Error::WrongCluster { detail, .. } | Error::NoLeader { detail, .. } => {
            detail
        }
        error => error.to_string(),
    }
}

/// The views of all members, and the conclusions from them.
#[derive(Debug, Serialize)]
struct Survey {
    /// Id of the cluster; none if no answering node belongs to one.
    cluster: Option<String>,
    /// True if there is a leader and a quorum of the voters answers.
    healthy: bool,
    /// Name of the leader.
    leader: Option<String>,
    /// The newest term that any node knows.
    term: Option<u64>,
    voters: usize,
    voters_reachable: usize,
    /// Voters that must answer for the cluster to serve.
    quorum: usize,
    nodes: Vec<Node>,
}

impl Survey {
    fn new(cluster: Option<&str>, mut nodes: Vec<Node>) -> Self {
        let views = || nodes.iter().filter_map(|node| node.health.as_ref());
        // A deposed leader may still believe that it leads until it hears of the newer term.
        let leading_term = views().filter(|view| view.state == NodeState::Leader).map(|view| view.term).max();
        let term = views().map(|view| view.term).max();
        let commit_index = views().map(|view| view.commit_index).max().unwrap_or(0);
        for node in &mut nodes {
            if let Some(view) = &node.health {
                node.leader = view.state == NodeState::Leader && Some(view.term) == leading_term;
                node.lag = Some(commit_index.saturating_sub(view.applied_index));
            }
        }
        let leader = nodes.iter().find(|node| node.leader).map(|node| node.id.clone());
        let voters = nodes.iter().filter(|node| node.voter).count();
        let serves = |node: &Node| node.health.as_ref().is_some_and(|view| view.diverged.is_none());
        let voters_reachable = nodes.iter().filter(|node| node.voter && serves(node)).count();
        let quorum = voters / 2 + 1;
        Self {
            cluster: cluster.map(str::to_owned),
            healthy: leader.is_some() && voters_reachable >= quorum,
            leader,
            term,
            voters,
            voters_reachable,
            quorum,
            nodes,
        }
    }

    /// Returns whether some node knows a newer level than another.
    fn levels_differ(&self) -> bool {
        let known = || self.nodes.iter().filter_map(|node| Some(node.health.as_ref()?.level_max));
        known().max() != known().min()
    }

    /// Returns what nodes wait for, in their own words.
    fn waiting(&self) -> Vec<String> {
        let views = self.nodes.iter().filter_map(|node| node.health.as_ref());
        let waiting = views.filter_map(|view| Some((&view.id, view.waiting_for.as_ref()?)));
        waiting.map(|(name, waiting_for)| format!("{name}: {waiting_for}")).collect()
    }

    /// Returns a sentence for each member under whose id two processes run.
    fn cloned(&self) -> Vec<String> {
        let views = self.nodes.iter().filter_map(|node| node.health.as_ref());
        let seen: BTreeMap<_, _> = views.flat_map(|view| &view.cloned).map(|cloned| (&cloned.node, cloned)).collect();
        let sentence = |ClonedNode { id, processes: [one, other], .. }: &ClonedNode| {
            format!(
                "two processes run as {id}: one {one}, the other {other}. Acknowledged writes may be lost: stop the copy and \
                 clear its data directory"
            )
        };
        seen.into_values().map(sentence).collect()
    }

    /// Returns why the cluster cannot serve, and what to do.
    fn trouble(&self) -> Option<String> {
        if self.healthy {
            return None;
        }
        let views = || self.nodes.iter().filter_map(|node| node.health.as_ref());
        let waits = self.waiting().into_iter().next();
        if let Some(waits) = &waits
            && views().all(|view| view.state == NodeState::Forming)
        {
            return Some(format!("the cluster is still forming: {waits}"));
        }
        let (reachable, voters, quorum) = (self.voters_reachable, self.voters, self.quorum);
        if reachable < quorum {
            let silent = self.nodes.iter().filter(|node| node.voter);
            let silent = silent.filter_map(|node| Some(format!("{} ({})", node.id, node.error.as_ref()?)));
            let silent = silent.collect::<Vec<_>>().join(", ");
            let remedy =
                if silent.is_empty() { "see the nodes' logs".into() } else { format!("start or reconnect {silent}") };
            let waits = waits.map(|waits| format!("; {waits}")).unwrap_or_default();
            return Some(format!(
                "no quorum: {reachable} of {voters} voters answer and {quorum} are needed; {remedy}{waits}"
            ));
        }
        Some(format!(
            "no leader: {reachable} of {voters} voters answer, so an election should end within a second; if it does \
             not, see the nodes' logs"
        ))
    }

    fn table(&self) -> Table {
        let levels = self.levels_differ();
        let mut columns =
            vec!["NAME", "STATE", "?LEADER", "#TERM", "+#COMMIT", "#APPLIED", "#LAG", "#KEYS", "+VERSION", "+UPTIME"];
        columns.extend(levels.then_some("LEVEL").into_iter().chain(["URL"]));
        let mut table = Table::new(&columns);
        for node in &self.nodes {
            let number =
                |of: fn(&Health) -> u64| node.health.as_ref().map(|view| of(view).to_string()).unwrap_or_default();
            let (state, tone) = match node.health.as_ref().map(|view| view.state) {
                None => ("unreachable".to_owned(), Some(Tone::Bad)),
                Some(state @ NodeState::Leader) if node.leader => (state.to_string(), Some(Tone::Good)),
                Some(state @ (NodeState::Follower | NodeState::Learner)) => (state.to_string(), None),
                Some(state @ (NodeState::Removed | NodeState::Diverged)) => (state.to_string(), Some(Tone::Bad)),
                Some(state) => (state.to_string(), Some(Tone::Doubtful)),
            };
            let view = node.health.as_ref();
            let (state, tone) = match view {
                Some(Health { diverged: Some(divergence), .. }) => {
                    (format!("diverged at {}", divergence.index), Some(Tone::Bad))
                }
                Some(Health { disk_stuck_ms: Some(_), .. }) => (format!("{state}, disk stuck"), Some(Tone::Bad)),
                Some(Health { snapshots_damaged: 1.., .. } | Health { log_damaged: 1.., .. }) => {
                    (format!("{state}, check disk"), Some(Tone::Doubtful))
                }
                Some(_) | None => (state, tone),
            };
            let mut cells = vec![
                node.id.clone(),
                state,
                if node.leader { "*".into() } else { String::new() },
                number(|view| view.term),
                number(|view| view.commit_index),
                number(|view| view.applied_index),
                node.lag.map(|lag| lag.to_string()).unwrap_or_default(),
                number(|view| view.keys),
                node.health.as_ref().map(|view| view.version.clone()).unwrap_or_default(),
                node.health.as_ref().map(|view| units::long(Duration::from_millis(view.uptime_ms))).unwrap_or_default(),
            ];
            if levels {
                cells.push(view.map(|view| format!("{}/{}", view.level, view.level_max)).unwrap_or_default());
            }
            cells.push(node.client_url.clone());
            table.push(cells, tone);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvclient::api::Divergence;
    use serde_json::json;

    fn node(number: u8, state: Option<NodeState>) -> Node {
        let name = format!("node{number}");
        let health = state.map(|state| {
            let health = json!({
                "id": name,
                "state": state,
                "term": 5,
                "leader": null,
                "last_log_index": 20,
                "commit_index": 17 + number,
                "applied_index": 17,
                "revision": 9,
                "keys": 3,
                "version": "0.1.0",
                "uptime_ms": 125_000,
                "members": [],
                "waiting_for": (state == NodeState::Forming).then_some("node3 has not answered"),
            });
            serde_json::from_value(health).expect("what a node says of itself")
        });
        let error = state.is_none().then(|| "connection refused".into());
        let client_url = format!("http://127.0.0.1:808{number}");
        let reachable = health.is_some();
        Node { id: name, client_url, voter: true, goal: None, reachable, leader: false, lag: None, error, health }
    }

    fn survey(states: &[Option<NodeState>]) -> Survey {
        Survey::new(None, (1..).zip(states).map(|(number, &state)| node(number, state)).collect())
    }

    #[test]
    fn a_cluster_is_healthy_with_a_leader_and_a_quorum() {
        use NodeState::{Candidate, Follower, Forming, Leader};
        const DOWN: Option<NodeState> = None;
        for (states, trouble) in [
            (&[Some(Leader), Some(Follower), Some(Follower)][..], None),
            (&[Some(Leader), Some(Follower), DOWN], None),
            (&[Some(Leader)], None),
            (&[Some(Leader), Some(Follower), Some(Follower), DOWN, DOWN], None),
            (&[Some(Leader), DOWN, DOWN], Some("no quorum: 1 of 3 voters answer and 2 are needed")),
            (&[Some(Leader), Some(Follower), DOWN, DOWN], Some("no quorum: 2 of 4 voters answer and 3 are needed")),
            (&[Some(Candidate), Some(Follower), DOWN], Some("no leader: 2 of 3 voters answer")),
            (&[Some(Forming), Some(Forming), DOWN], Some("still forming: node1: node3 has not answered")),
            (&[DOWN, DOWN, DOWN], Some("start or reconnect node1 (connection refused), node2")),
            (&[], Some("no quorum: 0 of 0 voters answer and 1 are needed")),
        ] {
            let survey = survey(states);
            assert_eq!(survey.healthy, trouble.is_none(), "{states:?}");
            let found = survey.trouble();
            assert!(
                match (&found, trouble) {
                    (Some(found), Some(trouble)) => found.contains(trouble),
                    (None, None) => true,
                    _ => false,
                },
                "{states:?}: {found:?}, not {trouble:?}"
            );
        }
    }

    #[test]
    fn who_waits_outside_says_for_what_and_is_none_of_the_voters() {
        let mut nodes = vec![node(1, Some(NodeState::Follower)), node(2, None), node(3, None)];
        nodes.push(Node { voter: false, ..node(2, Some(NodeState::Forming)) });
        let survey = Survey::new(None, nodes);
        assert_eq!((survey.voters_reachable, survey.healthy), (1, false));
        let trouble = survey.trouble().expect("no quorum");
        assert!(trouble.contains("node3 (connection refused); node2: node3 has not answered"), "{trouble}");
        assert_eq!(survey.waiting(), ["node2: node3 has not answered"]);
    }

    #[test]
    fn two_processes_under_one_id_are_told_once_whoever_has_seen_them() {
        let mut nodes = vec![node(1, Some(NodeState::Leader)), node(2, Some(NodeState::Follower)), node(3, None)];
        assert_eq!(Survey::new(None, nodes.clone()).cloned(), Vec::<String>::new());
        for node in &mut nodes[..2] {
            let processes = ["answers at http://a:1", "connects from b"].map(str::to_owned);
            let health = node.health.as_mut().expect("it answers");
            health.cloned = vec![ClonedNode { id: "node3".into(), node: "00000000000000a3".into(), processes }];
        }
        let told = Survey::new(None, nodes).cloned();
        assert_eq!(told.len(), 1);
        let expected = "two processes run as node3: one answers at http://a:1, the other connects from b. ";
        assert!(told[0].starts_with(expected), "{told:?}");
    }

    #[test]
    fn learners_count_for_nothing() {
        let mut nodes = vec![node(1, Some(NodeState::Leader)), node(2, None), node(3, Some(NodeState::Learner))];
        nodes[2].voter = false;
        let survey = Survey::new(None, nodes);
        assert_eq!((survey.voters, survey.voters_reachable, survey.quorum, survey.healthy), (2, 1, 2, false));
    }

    #[test]
    fn of_two_that_take_themselves_for_the_leader_the_newer_term_is() {
        let mut nodes = vec![node(1, Some(NodeState::Leader)), node(2, Some(NodeState::Leader)), node(3, None)];
        if let Some(view) = &mut nodes[1].health {
            view.term = 6;
        }
        let survey = Survey::new(None, nodes);
        assert_eq!(survey.leader.as_deref(), Some("node2"));
        assert_eq!(survey.nodes.iter().map(|node| node.leader).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn the_table_shows_every_member() {
        let table = survey(&[Some(NodeState::Leader), Some(NodeState::Follower), None]).table();
        let lines = "\
NAME   STATE        LEADER  TERM  APPLIED  LAG  KEYS  URL
node1  leader       *          5       17    2     3  http://127.0.0.1:8081
node2  follower     -          5       17    2     3  http://127.0.0.1:8082
node3  unreachable  -          -        -    -     -  http://127.0.0.1:8083";
        assert_eq!(table.to_string(), lines);
    }

    #[test]
    fn the_table_shows_what_is_wrong_with_a_member_and_whoever_serves_nothing_counts_for_nothing() {
        let mut nodes = vec![
            node(1, Some(NodeState::Leader)),
            node(2, Some(NodeState::Follower)),
            node(3, Some(NodeState::Diverged)),
        ];
        let view = |node: &mut Node| node.health.take().expect("it answers");
        nodes[0].health = Some(Health { snapshots_damaged: 1, ..view(&mut nodes[0]) });
        nodes[1].health = Some(Health { disk_stuck_ms: Some(3_000), ..view(&mut nodes[1]) });
        let divergence = Divergence { index: 1234, hash: "0a".into(), majority: None };
        nodes[2].health = Some(Health { diverged: Some(divergence), ..view(&mut nodes[2]) });
        let survey = Survey::new(None, nodes);
        let lines = "\
NAME   STATE                 LEADER  TERM  APPLIED  LAG  KEYS  URL
node1  leader, check disk    *          5       17    3     3  http://127.0.0.1:8081
node2  follower, disk stuck  -          5       17    3     3  http://127.0.0.1:8082
node3  diverged at 1234      -          5       17    3     3  http://127.0.0.1:8083";
        assert_eq!(survey.table().to_string(), lines);
        assert_eq!((survey.voters, survey.voters_reachable, survey.healthy), (3, 2, true));
    }

    #[test]
    fn the_level_is_shown_where_a_node_knows_more_than_another() {
        let with = |levels: [(u32, u32); 2]| {
            let nodes = (1..).zip(levels).map(|(number, (level, level_max))| {
                let mut node = node(number, Some(NodeState::Follower));
                let view = node.health.take().expect("it answers");
                Node { health: Some(Health { level, level_max, ..view }), ..node }
            });
            Survey::new(None, nodes.collect()).table().to_string()
        };
        let lines = "\
NAME   STATE     LEADER  TERM  APPLIED  LAG  KEYS  LEVEL  URL
node1  follower  -          5       17    2     3  1/2    http://127.0.0.1:8081
node2  follower  -          5       17    2     3  1/1    http://127.0.0.1:8082";
        assert_eq!(with([(1, 2), (1, 1)]), lines);
        for level in [(1, 1), (1, 2), (2, 2)] {
            assert!(!with([level; 2]).contains("LEVEL"));
        }
    }
}
