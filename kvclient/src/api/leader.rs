//! `/leader`, `/leader/watch`, `/leader/transfer`: which node leads.

use super::object::read_from_object;
use serde::{Deserialize, Serialize};

/// A node's name and its URL for clients.
///
/// ```
/// use kvclient::api::NodeUrl;
///
/// let node: NodeUrl = serde_json::from_str(r#"{"id":"node1","url":"http://127.0.0.1:8081"}"#)?;
/// assert_eq!(node.id, "node1");
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUrl {
    /// Name of the node, as in `--name`.
    pub id: String,
    /// URL for clients, without a trailing slash.
    pub url: String,
}

/// Reply of `GET /leader`.
///
/// ```
/// use kvclient::api::LeaderReply;
///
/// let leader: LeaderReply = serde_json::from_str(r#"{"id":"node1","url":"http://127.0.0.1:8081","term":5}"#)?;
/// assert_eq!((leader.id.as_str(), leader.term), ("node1", 5));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderReply {
    /// Name of the leader.
    pub id: String,
    /// URL of the leader for clients.
    pub url: String,
    /// The leader's term.
    pub term: u64,
}

/// Data of each `leader` event of `GET /leader/watch`.
///
/// ```
/// use kvclient::api::LeaderEvent;
///
/// let event: LeaderEvent = serde_json::from_str(r#"{"term":5,"leader":null}"#)?;
/// assert_eq!(event, LeaderEvent { term: 5, leader: None });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderEvent {
    /// Term of the node that sends the event.
    pub term: u64,
    /// The leader that this node knows, or null.
    pub leader: Option<NodeUrl>,
}

/// Body of `POST /leader/transfer`. The reply is a [`LeaderReply`].
///
/// ```
/// use kvclient::api::TransferRequest;
///
/// let request = TransferRequest { to: Some("node2".into()) };
/// assert_eq!(serde_json::to_string(&request)?, r#"{"to":"node2"}"#);
/// assert_eq!(serde_json::from_str::<TransferRequest>("{}")?, TransferRequest { to: None });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransferRequest {
    /// Name of the new leader. By default the most up-to-date voter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

read_from_object!(TransferRequest, "an object with `to`, or without", { #[serde(default)] to: Option<String> });
