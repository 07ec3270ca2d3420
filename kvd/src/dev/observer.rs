//! Asks the nodes for their state, as any client could.

use crate::peer::{Agent, NodeAnswer, NodeRequest};
use futures_util::future::join_all;
use kvclient::Health;
use std::time::Duration;
use tokio::time::Instant;

/// Time limit for an answer. A running node answers in a fraction of it, and a paused one never does.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(250);

/// Maximum length of an answer in bytes. Nine members need far less.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Asks nodes at these URLs.
#[derive(Debug)]
pub(super) struct Observer {
    agent: Agent,
    urls: Vec<String>,
}

/// The answer of a node.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) health: Health,
    /// True if it serves: it knows a leader, has applied all that was committed when it started, and its data is of the
    /// newest level that it knows.
    pub(super) has_caught_up: bool,
}

impl Observer {
    pub(super) fn new(urls: Vec<String>) -> Self {
        Self { agent: Agent::new(), urls }
    }

    /// Asks all nodes once. Returns their answers in the order of the nodes.
    pub(super) async fn look(&self) -> Vec<Option<Seen>> {
        join_all(self.urls.iter().map(|url| self.look_at(url))).await
    }

    async fn look_at(&self, url: &str) -> Option<Seen> {
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        let health = self.get(&format!("{url}/health"), deadline).await?;
        let health: Health = serde_json::from_slice(&health.body).ok()?;
        let is_settled = health.leader.is_some() && health.level >= health.level_max;
        let is_ready = self.get(&format!("{url}/readyz"), deadline).await?.status.is_success();
        Some(Seen { has_caught_up: is_settled && is_ready, health })
    }

    async fn get(&self, url: &str, deadline: Instant) -> Option<NodeAnswer> {
        self.agent.ask(NodeRequest::get(url), deadline, ANSWER_BYTES_MAX).await.ok()
    }
}
