//! Asking to be added to a cluster: `POST /members/add` at the nodes that are known of it, one after the other, again and
//! again, from a task of its own.
//!
//! Whoever is asked sends the question on to the leader, and the answer says which cluster it is. The question says what
//! is to be, so it may be repeated: by a node whose answer was lost, or which was killed before it had written it down.
//!
//! A node that is a member and has heard nothing from its cluster yet asks on: it may be removed before it is ever fed,
//! and nobody would dial it to say so.

use super::reporter::Reporter;
use crate::background::Background;
use crate::config::Config;
use crate::peer::{Agent, Backoff, NodeRequest};
use crate::raft::NodeId;
use crate::storage::ClusterIdentity;
use bytes::Bytes;
use kvclient::api::{AddMemberRequest, ErrorCode, ErrorReply, MembersReply, headers, parse_hex_id};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use warp::http::header::LOCATION;
use warp::http::{HeaderValue, StatusCode};

/// Pauses between two rounds of requests.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Time for an answer, with all redirects: longer than the leader waits for a change.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);

/// Redirects followed for one request. Two are usual while the leader changes.
const REDIRECTS_MAX: usize = 4;

/// Longer answers are none.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JoinNews {
    /// Not yet; why, as a sentence.
    Waits(String),
    /// Not yet, since nobody knows a leader; a sentence that says so.
    Leaderless(String),
    /// The node is a member of this cluster.
    Joined(ClusterIdentity),
    /// The node was a member of it once, and is none any more.
    Removed(String),
    /// A member of the node's name is what it wants to replace, and there is none.
    Unknown(String),
}

/// What a node asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To become a member.
    Join,
    /// To become one in the place of an earlier life, and not otherwise.
    Return,
}

/// A wish as it is sent.
#[derive(Debug)]
struct WishSent {
    body: Bytes,
    /// The newest level that the node knows.
    level: u32,
}

/// Requests under way. Dropping it ends them.
#[derive(Debug)]
pub(super) struct JoinRequests {
    _asking: Background,
}

impl JoinRequests {
    /// Starts to ask at `urls`, and reports [`JoinNews`] until the node is a member. One that `is_member`, as far as it
    /// knows, pauses first, and goes on for as long as it has heard nothing else.
    pub(super) fn start(
        agent: Agent,
        config: &Config,
        node: NodeId,
        urls: Vec<String>,
        wish: Wish,
        is_member: bool,
        reporter: Reporter<JoinNews>,
    ) -> Self {
        let request = AddMemberRequest {
            name: config.name.clone(),
            node: node.to_string(),
            client_url: config.client_url.clone(),
            peer_url: config.peer_url.clone(),
            learner: config.learner,
            returning: wish == Wish::Return,
        };
        let body = Bytes::from(serde_json::to_vec(&request).expect("text has a JSON form"));
        let wish = WishSent { body, level: config.level_max.0 };
        let asking = async move {
            let mut pauses = Backoff::new(PAUSE_MIN, PAUSE_MAX);
            if is_member {
                sleep(pauses.next_pause()).await;
            }
            loop {
                let news = ask_all(&agent, &urls, &wish).await;
                let is_last = matches!(news, JoinNews::Joined(_)) && !is_member;
                reporter.report(news);
                if is_last {
                    return;
                }
                sleep(pauses.next_pause()).await;
            }
        };
        Self { _asking: Background::spawn(asking) }
    }
}

/// Asks one node after the other until one knows what becomes of the wish. Returns what the last one said.
async fn ask_all(agent: &Agent, urls: &[String], wish: &WishSent) -> JoinNews {
    let mut news = JoinNews::Waits("there is nobody to ask".into());
    for url in urls {
        news = ask(agent, url, wish).await;
        if !matches!(news, JoinNews::Waits(_) | JoinNews::Leaderless(_)) {
            break;
        }
    }
    news
}

/// Asks one node, and whomever it names as the leader.
async fn ask(agent: &Agent, url: &str, wish: &WishSent) -> JoinNews {
    let mut target = format!("{url}/members/add");
    let deadline = Instant::now() + ANSWER_TIME_MAX;
    for _ in 0..=REDIRECTS_MAX {
        // A node that knows no leader is to say so soon: another node may know one.
        let request = NodeRequest::post(&target, "application/json", wish.body.clone())
            .with_header(headers::REDIRECT, HeaderValue::from_static("true"))
            .with_header(headers::LEVEL, HeaderValue::from(wish.level));
        let answer = match agent.ask(request, deadline, ANSWER_BYTES_MAX).await {
            Ok(answer) => answer,
            Err(cause) => return JoinNews::Waits(format!("{target} does not answer: {cause}")),
        };
        let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        match (answer.status, location) {
            (StatusCode::TEMPORARY_REDIRECT, Some(location)) => target = location.to_owned(),
            (status, _) => return judge(&target, status, &answer.body),
        }
    }
    JoinNews::Waits(format!("{url} sends this node in circles: the leader is changing"))
}

/// What an answer means.
fn judge(target: &str, status: StatusCode, body: &[u8]) -> JoinNews {
    if status == StatusCode::OK {
        let cluster = serde_json::from_slice::<MembersReply>(body).ok().and_then(|reply| reply.cluster);
        let identity = cluster.and_then(|cluster| {
            let id = parse_hex_id(&cluster.id)?;
            Some(ClusterIdentity { id, first_members: cluster.first_members })
        });
        return match identity {
            Some(identity) => JoinNews::Joined(identity),
            None => JoinNews::Waits(format!("{target} does not say which cluster it is: its kvd may be too old")),
        };
    }
    match serde_json::from_slice::<ErrorReply>(body).map(|reply| reply.error) {
        Ok(error) if error.code == ErrorCode::Removed => JoinNews::Removed(error.message),
        Ok(error) if error.code == ErrorCode::MemberNotFound => JoinNews::Unknown(error.message),
        Ok(error) => {
            let why = format!("{target} says: {}", error.message);
            if error.code == ErrorCode::NoLeader { JoinNews::Leaderless(why) } else { JoinNews::Waits(why) }
        }
        Err(_) => {
            JoinNews::Waits(format!("{target} answers with status {status} and no explanation: is it a kvd node?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_which_cluster_or_why_not() {
        let cluster = ClusterIdentity { id: 0x51f0, first_members: vec!["node1".into()] };
        let joined = r#"{"members":[],"cluster":{"id":"00000000000051f0","first_members":["node1"]}}"#;
        let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"because","applied":"no"}}}}"#);
        for (status, body, expected) in [
            (200, joined.to_owned(), JoinNews::Joined(cluster)),
            (403, error("removed"), JoinNews::Removed("because".into())),
            (404, error("member_not_found"), JoinNews::Unknown("because".into())),
            (503, error("no_leader"), JoinNews::Leaderless("http://a says: because".into())),
            (409, error("change_refused"), JoinNews::Waits("http://a says: because".into())),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(judge("http://a", status, body.as_bytes()), expected);
        }
        for (status, body) in [(200, r#"{"members":[]}"#), (200, "hello"), (404, "<html>")] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert!(matches!(judge("http://a", status, body.as_bytes()), JoinNews::Waits(_)), "{body}");
        }
    }
}
