//! The whole cluster at a glance: every member asked at once, reachable or not.

use crate::api::{Health, Member, MemberGoal};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::routing::{Cluster, Deadline};
use std::thread;
use std::time::Duration;

/// One node of the cluster, as [`Client::status`](crate::Client::status) found it.
///
/// ```
/// # use kvclient::Client;
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let nodes = client.status()?;
/// let voters = nodes.iter().filter(|node| node.voter).count();
/// let reachable = nodes.iter().filter(|node| node.voter && node.health.is_ok()).count();
/// println!("quorum: {}", if reachable > voters / 2 { "yes" } else { "no" });
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
pub struct NodeStatus {
    /// Name of the node, or its URL if it belongs to another cluster.
    pub name: String,
    /// URL for clients, according to the cluster.
    pub client_url: String,
    /// URL at which it answered, which may differ. None if it did not answer.
    pub endpoint: Option<String>,
    /// True if it counts for quorums.
    pub voter: bool,
    /// For a learner: its goal.
    pub goal: Option<MemberGoal>,
    /// The node's own report, or the reason why it could not be asked.
    pub health: Result<Health, Error>,
}

/// Asks every known node, then every member that those named and that has not been asked yet.
pub(crate) fn of_all_nodes(cluster: &Cluster) -> Result<Vec<NodeStatus>, Error> {
    let known: Vec<Endpoint> = cluster.endpoints().all().cloned().collect();
    let deadline = Deadline::after(cluster.limits.total_timeout);
    let mut answers = ask(cluster, known, &deadline);
    // The most up-to-date node knows the members best.
    let furthest =
        answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()).max_by_key(|h| (h.term, h.commit_index));
    let members = match furthest {
        Some(health) => health.members.clone(),
        None => {
            // No node answered: list all of them, unless one of them runs and belongs to another cluster.
            let is_stranger = |error: &Error| matches!(error, Error::WrongCluster { .. });
            let errors = answers.into_iter().filter_map(|(_, answer)| answer.err());
            let error = errors.max_by_key(is_stranger).map(|error| match (error, cluster.endpoints().silence()) {
                (Error::Unreachable { after, write, .. }, Some(detail)) => Error::Unreachable { after, detail, write },
                (error, _) => error,
            });
            let none = || Error::Unreachable {
                after: cluster.limits.attempt_timeout,
                detail: "no endpoint".into(),
                write: false,
            };
            return Err(error.unwrap_or_else(none));
        }
    };
    let unasked = members
        .iter()
        .filter_map(|member| Endpoint::parse(&member.client_url).ok())
        .filter(|endpoint| !answers.iter().any(|(asked, _)| asked == endpoint));
    answers.extend(ask(cluster, unasked.collect(), &deadline));
    Ok(assemble(members, answers))
}

/// Asks all of `nodes` at once, each within the time limit of an attempt.
fn ask(cluster: &Cluster, nodes: Vec<Endpoint>, deadline: &Deadline) -> Vec<(Endpoint, Result<Health, Error>)> {
    let limit = deadline.attempt(cluster.attempt_limit()).unwrap_or_default();
    thread::scope(|scope| {
        let asked: Vec<_> = nodes
            .into_iter()
            .map(|node| {
                let asker = {
                    let node = node.clone();
                    thread::Builder::new().spawn_scoped(scope, move || {
                        let lane = cluster.lanes.borrow();
                        cluster.health(&lane.transport, &node, limit)
                    })
                };
                (node, asker)
            })
            .collect();
        asked
            .into_iter()
            .map(|(node, asker)| {
                let unasked = |detail: String| Err(Error::Unreachable { after: limit, detail, write: false });
                let answer = match asker {
                    Ok(asker) => asker.join().unwrap_or_else(|_| unasked(format!("{node}: asking it failed"))),
                    Err(cause) => unasked(format!("{node}: no thread to ask it with: {cause}")),
                };
                (node, answer)
            })
            .collect()
    })
}

/// Returns one row per member, with its answer, at whichever address it gave it. Then come nodes that answered but are
/// not members: a node that is still forming or has been removed, or an endpoint that leads to another cluster.
fn assemble(members: Vec<Member>, mut answers: Vec<(Endpoint, Result<Health, Error>)>) -> Vec<NodeStatus> {
    let mut nodes: Vec<NodeStatus> = Vec::with_capacity(members.len());
    for member in members {
        let url = Endpoint::parse(&member.client_url).ok();
        // A node that returned without its data has two incarnations for a while, and only one of them answers.
        let is_this_life = |health: &Health| health.node.is_empty() || health.node == member.node;
        let is_it = |health: &Health| health.id == member.id && (member.node.is_empty() || is_this_life(health));
        let of_name = answers.iter().position(|(_, answer)| answer.as_ref().is_ok_and(is_it));
        let of_url = || answers.iter().position(|(asked, answer)| answer.is_err() && Some(asked) == url.as_ref());
        let mut endpoint = None;
        let health = match of_name.or_else(of_url) {
            Some(index) => {
                let (asked, answer) = answers.swap_remove(index);
                endpoint = answer.is_ok().then(|| asked.to_string());
                answer
            }
            None if url.is_some() => Err(Error::Unreachable {
                after: Duration::ZERO,
                detail: format!("another incarnation of {} answers at {}", member.id, member.client_url),
                write: false,
            }),
            None => Err(Error::Configuration {
                message: format!("{} advertises `{}`, which is not a node URL", member.id, member.client_url),
            }),
        };
        nodes.push(NodeStatus {
            name: member.id,
            client_url: member.client_url,
            endpoint,
            voter: member.voter,
            goal: member.goal,
            health,
        });
    }
    for (endpoint, answer) in answers {
        let name = match &answer {
            Ok(health) if nodes.iter().any(|node| node.health.as_ref().is_ok_and(|known| is_same(known, health))) => {
                continue;
            }
            Ok(health) => health.id.clone(),
            Err(Error::WrongCluster { .. }) => endpoint.to_string(),
            Err(_) => continue,
        };
        let client_url = endpoint.to_string();
        let endpoint = answer.is_ok().then(|| client_url.clone());
        nodes.push(NodeStatus { name, client_url, endpoint, voter: false, goal: None, health: answer });
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

/// Returns whether two answers come from the same node, reached at two URLs.
fn is_same(a: &Health, b: &Health) -> bool {
    a.id == b.id && a.node == b.node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn member(name: &str, url: &str) -> Member {
        let (id, url) = (name.to_owned(), url.to_owned());
        Member { id, client_url: url.clone(), peer_url: url, voter: true, goal: None, node: String::new() }
    }

    fn answered(url: &str, name: &str) -> (Endpoint, Result<Health, Error>) {
        (Endpoint::parse(url).unwrap(), Ok(testing::health(name, 1, None, &[])))
    }

    fn silent(url: &str) -> (Endpoint, Result<Health, Error>) {
        let error = Error::Unreachable { after: Duration::ZERO, detail: url.into(), write: false };
        (Endpoint::parse(url).unwrap(), Err(error))
    }

    fn stranger(url: &str) -> (Endpoint, Result<Health, Error>) {
        let error = Error::WrongCluster { after: Duration::ZERO, detail: url.into(), write: false };
        (Endpoint::parse(url).unwrap(), Err(error))
    }

    #[test]
    fn of_a_node_that_came_back_without_its_data_each_life_has_its_row() {
        let life = |node: &str, voter| Member { node: node.into(), voter, ..member("node2", "http://b:1") };
        let (endpoint, answer) = answered("http://b:1", "node2");
        let answer = answer.map(|health| Health { node: "22".into(), ..health });
        let nodes = assemble(vec![life("2", true), life("22", false)], vec![(endpoint, answer)]);
        let rows: Vec<_> = nodes.iter().map(|node| (node.voter, node.health.is_ok())).collect();
        assert_eq!(rows, [(true, false), (false, true)]);
        let error = nodes[0].health.as_ref().unwrap_err().to_string();
        assert!(error.contains("another incarnation of node2 answers at http://b:1"), "{error}");
    }

    #[test]
    fn each_member_has_one_row_however_it_was_reached() {
        let members =
            vec![member("node2", "http://b:1"), member("node1", "http://127.0.0.1:1"), member("node3", "http://c:1")];
        let answers = vec![
            answered("http://localhost:1", "node1"),
            silent("http://127.0.0.1:1"),
            silent("http://typo:1"),
            answered("http://b:1", "node2"),
            silent("http://c:1"),
            stranger("http://e:1"),
            answered("http://d:1", "stranger"),
        ];
        let rows: Vec<_> =
            assemble(members, answers).into_iter().map(|n| (n.name, n.client_url, n.voter, n.health.is_ok())).collect();
        let row = |name: &str, url: &str, voter, reachable| (name.to_owned(), url.to_owned(), voter, reachable);
        assert_eq!(
            rows,
            [
                row("http://e:1", "http://e:1", false, false),
                row("node1", "http://127.0.0.1:1", true, true),
                row("node2", "http://b:1", true, true),
                row("node3", "http://c:1", true, false),
                row("stranger", "http://d:1", false, true),
            ]
        );
    }
}
