//! Exchange of state hashes between nodes, so that each finds out whether it has diverged (see
//! [`crate::node::Divergence`]): `GET /raft/states`, asked of every member again and again by a task of its own, at the
//! URL where the member is dialled for messages too.
//!
//! It runs beside the streams of consensus, since nothing waits for it: a lost answer is made up for by the next one.

use super::reporter::Reporter;
use crate::background::Background;
use crate::kv::{STATE_HASH_FORMAT, StateHash};
use crate::node::{AppliedState, REPORT_STATES_MAX};
use crate::peer::{Agent, HELLO_HEADER, Hello, NodeRequest, of_same_cluster, refuse};
use crate::raft::{LogIndex, NodeId};
use kvclient::api::ErrorCode;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};

/// Delay between a start and the first question to the other nodes, and the interval after that.
const FIRST_AFTER: Duration = Duration::from_millis(300);
const EVERY: Duration = Duration::from_secs(2);

/// Time for an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

/// Maximum length of an answer. Longer ones are ignored.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A question about states, or an answer to one.
#[derive(Debug)]
pub(super) enum StatesEvent {
    /// Another node asks for this node's states.
    Asked(oneshot::Sender<Vec<AppliedState>>),
    /// A member has reported its states.
    Reported(NodeId, Vec<AppliedState>),
}

/// A node's report of its states.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    /// [`STATE_HASH_FORMAT`] of the reporting node.
    format: u32,
    /// Its id, as sixteen hexadecimal digits.
    node: String,
    states: Vec<ReportedState>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReportedState {
    index: u64,
    /// In hexadecimal digits.
    hash: String,
}

impl Report {
    fn new(node: NodeId, states: &[AppliedState]) -> Self {
        let reported = |state: &AppliedState| ReportedState { index: state.index.0, hash: state.hash.to_string() };
        Self { format: STATE_HASH_FORMAT, node: node.to_string(), states: states.iter().map(reported).collect() }
    }

    /// Returns the states if `node` reports them and this version can compare them with its own. While a cluster is
    /// upgraded to a version that hashes differently, only nodes of the same version are compared.
    fn states_of(self, node: NodeId) -> Option<Vec<AppliedState>> {
        let state = |ReportedState { index, hash }: ReportedState| {
            let hash = StateHash(u128::from_str_radix(&hash, 16).ok()?);
            Some(AppliedState { index: LogIndex(index), hash })
        };
        let is_comparable = self.format == STATE_HASH_FORMAT && self.node == node.to_string();
        let is_expected = is_comparable && self.states.len() <= REPORT_STATES_MAX;
        is_expected.then(|| self.states.into_iter().map(state).collect()).flatten()
    }
}

/// The route `GET /raft/states`, for nodes of the same cluster.
pub(super) fn route(hello: watch::Receiver<Hello>, reporter: Reporter<StatesEvent>) -> BoxedFilter<(Response,)> {
    warp::path!("raft" / "states")
        .and(warp::get())
        .and(warp::header::optional::<String>(HELLO_HEADER))
        .then(move |theirs: Option<String>| {
            let (ours, reporter) = (hello.borrow().clone(), reporter.clone());
            async move { answer(&ours, theirs.as_deref(), &reporter).await }
        })
        .boxed()
}

async fn answer(ours: &Hello, theirs: Option<&str>, reporter: &Reporter<StatesEvent>) -> Response {
    if let Err(refusal) = of_same_cluster(ours, theirs) {
        return *refusal;
    }
    let (reply, states) = oneshot::channel();
    // A node that has stopped drops the question.
    reporter.report(StatesEvent::Asked(reply));
    match states.await {
        Ok(states) => warp::reply::json(&Report::new(ours.node_id(), &states)).into_response(),
        Err(_) => {
            let why = "this node no longer takes part".to_owned();
            refuse(ErrorCode::NotReady, StatusCode::SERVICE_UNAVAILABLE, why)
        }
    }
}

/// Asks for the states of other nodes until it is dropped.
#[derive(Debug)]
pub(super) struct StateExchange {
    _asking: Background,
}

impl StateExchange {
    /// Starts to ask the nodes in `dialled`, on behalf of the node that introduces itself by `hello`, and reports
    /// [`StatesEvent::Reported`].
    pub(super) fn start(
        agent: Agent,
        dialled: watch::Receiver<BTreeMap<NodeId, String>>,
        hello: watch::Receiver<Hello>,
        reporter: Reporter<StatesEvent>,
    ) -> Self {
        let ask_all = async move {
            let mut pause = FIRST_AFTER;
            loop {
                sleep(pause).await;
                let (others, hello) = (dialled.borrow().clone(), hello.borrow().clone());
                for (id, url) in others {
                    let Some(states) = ask(&agent, id, &url, &hello).await else { continue };
                    reporter.report(StatesEvent::Reported(id, states));
                }
                // Keeps the nodes from asking in lockstep.
                pause = EVERY.mul_f64(rand::rng().random_range(0.9..=1.1));
            }
        };
        Self { _asking: Background::spawn(ask_all) }
    }
}

/// Asks one node at the URL where it is dialled. A node that does not answer is asked again next time.
async fn ask(agent: &Agent, id: NodeId, url: &str, hello: &Hello) -> Option<Vec<AppliedState>> {
    let request = NodeRequest::get(&format!("{url}/raft/states")).from_node(hello);
    let answer = agent.ask(request, Instant::now() + ANSWER_TIME_MAX, ANSWER_BYTES_MAX).await.ok()?;
    let report = serde_json::from_slice::<Report>(&answer.body).ok();
    report.filter(|_| answer.status == StatusCode::OK)?.states_of(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_back_as_it_went_and_only_from_whom_it_is() {
        let state = |index, hash| AppliedState { index: LogIndex(index), hash: StateHash(hash) };
        let states = vec![state(64, u128::MAX), state(u64::MAX, 1)];
        let json = serde_json::to_string(&Report::new(NodeId(0xab), &states)).expect("a report");
        let expected = concat!(
            r#"{"format":1,"node":"00000000000000ab","states":["#,
            r#"{"index":64,"hash":"ffffffffffffffffffffffffffffffff"},"#,
            r#"{"index":18446744073709551615,"hash":"00000000000000000000000000000001"}]}"#
        );
        assert_eq!(json, expected);
        let report = || serde_json::from_str::<Report>(&json).expect("a report");
        assert_eq!(report().states_of(NodeId(0xab)), Some(states));
        assert_eq!(report().states_of(NodeId(0xac)), None, "another life listens there");
        let newer = Report { format: STATE_HASH_FORMAT + 1, ..report() };
        assert_eq!(newer.states_of(NodeId(0xab)), None, "hashes of another kind");
        let long = Report::new(NodeId(1), &vec![state(1, 1); REPORT_STATES_MAX + 1]);
        assert!(long.states_of(NodeId(1)).is_none());
    }
}
