//! Asking to be added to a cluster: `POST /members/add`, from a task of its own.
//!
//! [`crate::bootstrap`] decides which node to ask next, and what the answers mean.

use super::reporter::Reporter;
use crate::background::Background;
use crate::bootstrap::{Answer, Asking, JoinNews, Step, Wish};
use crate::config::Config;
use crate::peer::{Agent, NodeRequest, jittered};
use crate::raft::NodeId;
use crate::storage::ClusterIdentity;
use bytes::Bytes;
use kvclient::api::{AddMemberRequest, ErrorCode, ErrorReply, MembersReply, headers, parse_hex_id};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use warp::http::header::LOCATION;
use warp::http::{HeaderValue, StatusCode};

/// Path at which every node takes requests to add a member.
const PATH: &str = "/members/add";

/// Time for an answer: longer than the leader waits for a change.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);

/// Maximum length of an answer. Longer ones are ignored.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The request as it is sent.
#[derive(Debug)]
struct WishSent {
    body: Bytes,
    /// The newest level that the node knows.
    level: u32,
}

/// Requests in flight. Dropping this ends them.
#[derive(Debug)]
pub(super) struct JoinRequests {
    _asking: Background,
}

impl JoinRequests {
    /// Starts to ask at `urls`, and reports [`JoinNews`] until the node is a member. If the node already `is_member`,
    /// as far as it knows, it pauses first, and keeps asking until it hears otherwise.
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
            let mut asking = Asking::new(urls, is_member);
            loop {
                match asking.step() {
                    Step::Ask(url) => asking.answered(ask(&agent, &url, &wish).await),
                    Step::Pause { ms } => sleep(jittered(Duration::from_millis(ms))).await,
                    Step::Report(news) => {
                        // If nobody takes the report, the node has stopped, and this task is about to end.
                        let _ = reporter.report(news);
                    }
                    Step::End => return,
                }
            }
        };
        Self { _asking: Background::spawn(asking) }
    }
}

/// Asks the node at this URL.
async fn ask(agent: &Agent, url: &str, wish: &WishSent) -> Answer {
    let target = format!("{url}{PATH}");
    // A node that knows no leader should say so soon: another node may know one.
    let request = NodeRequest::post(&target, "application/json", wish.body.clone())
        .with_header(headers::REDIRECT, HeaderValue::from_static("true"))
        .with_header(headers::LEVEL, HeaderValue::from(wish.level));
    let answer = match agent.ask(request, Instant::now() + ANSWER_TIME_MAX, ANSWER_BYTES_MAX).await {
        Ok(answer) => answer,
        Err(cause) => return Answer::News(JoinNews::Silent(format!("{target} does not answer: {cause}"))),
    };
    let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok());
    match (answer.status, location.and_then(|location| location.strip_suffix(PATH))) {
        (StatusCode::TEMPORARY_REDIRECT, Some(leader)) => Answer::Leader(leader.to_owned()),
        (status, _) => Answer::News(judge(&target, status, &answer.body)),
    }
}

/// Interprets an answer.
fn judge(target: &str, status: StatusCode, body: &[u8]) -> JoinNews {
    if status == StatusCode::OK {
        let cluster = serde_json::from_slice::<MembersReply>(body).ok().and_then(|reply| reply.cluster);
        let identity = cluster.and_then(|cluster| {
            let id = parse_hex_id(&cluster.id)?;
            Some(ClusterIdentity { id, first_members: cluster.first_members })
        });
        return match identity {
            Some(identity) => JoinNews::Joined(identity),
            None => JoinNews::Waits(format!("{target} does not report its cluster: its kvd may be too old")),
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
