//! Asking to be added to a cluster: `POST /members/add` at the nodes that are known of it, one after the other, again and
//! again, from a thread of its own.
//!
//! Whoever is asked sends the question on to the leader, and the answer says which cluster it is. The question says what
//! is to be, so it may be repeated: by a node whose answer was lost, or which was killed before it had written it down.
//!
//! A node that is a member and has heard nothing from its cluster yet asks on: it may be removed before it is ever fed,
//! and nobody would dial it to say so.

use super::reporter::Reporter;
use crate::config::Config;
use crate::raft::NodeId;
use crate::storage::ClusterIdentity;
use kvclient::api::{AddMemberRequest, ErrorCode, ErrorReply, MembersReply};
use rand::RngExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Pause between two rounds of questions: doubled from the first to the last, with jitter.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Time for a connection to be made, and for an answer: longer than the leader waits for a change.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// Redirects followed for one question. Two are usual while the leader changes.
const REDIRECTS_MAX: usize = 4;

/// Longer answers are none.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

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

/// Questions under way. Dropping it ends them.
#[derive(Debug)]
pub(super) struct JoinRequests {
    stop: Arc<AtomicBool>,
}

impl Drop for JoinRequests {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl JoinRequests {
    /// Starts to ask at `urls`, and reports [`JoinNews`] until the node is a member. One that `is_member`, as far as
    /// it knows, pauses first, and goes on for as long as it has heard nothing else.
    pub(super) fn start(
        config: &Config,
        node: NodeId,
        urls: Vec<String>,
        wish: Wish,
        is_member: bool,
        reporter: Reporter<JoinNews>,
    ) -> std::io::Result<Self> {
        let request = AddMemberRequest {
            name: config.name.clone(),
            node: node.to_string(),
            client_url: config.client_url.clone(),
            peer_url: config.peer_url.clone(),
            learner: config.learner,
            returning: wish == Wish::Return,
        };
        let level = config.level_max.0;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let ask = move || {
            let agent = agent();
            let mut pause = BACKOFF_MIN;
            if is_member {
                thread::sleep(pause);
            }
            while !stopped.load(Ordering::Relaxed) {
                let mut news = JoinNews::Waits("there is nobody to ask".into());
                for url in &urls {
                    news = ask(&agent, url, &request, level);
                    if !matches!(news, JoinNews::Waits(_) | JoinNews::Leaderless(_)) || stopped.load(Ordering::Relaxed)
                    {
                        break;
                    }
                }
                let is_last = matches!(news, JoinNews::Joined(_)) && !is_member;
                if stopped.load(Ordering::Relaxed) || !reporter.report(news) || is_last {
                    return;
                }
                thread::sleep(pause.mul_f64(rand::rng().random_range(0.5..=1.0)));
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        };
        thread::Builder::new().name("join".into()).spawn(ask)?;
        Ok(Self { stop })
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(ANSWER_TIMEOUT))
        .build();
    ureq::Agent::new_with_config(config)
}

/// Asks one node, and whomever it names as the leader.
fn ask(agent: &ureq::Agent, url: &str, request: &AddMemberRequest, level: u32) -> JoinNews {
    let body = serde_json::to_vec(request).expect("text has a JSON form");
    let mut target = format!("{url}/members/add");
    for _ in 0..=REDIRECTS_MAX {
        // Who knows no leader is to say so soon: another node may know one.
        let asked = agent.post(&target).header("kvd-redirect", "true").header("kvd-level", level.to_string());
        let asked = asked.header("content-type", "application/json").send(&body[..]);
        let mut response = match asked {
            Ok(response) => response,
            Err(cause) => return JoinNews::Waits(format!("{target} does not answer: {cause}")),
        };
        let location = response.headers().get("location").and_then(|location| location.to_str().ok());
        if let (307, Some(location)) = (response.status().as_u16(), location) {
            target = location.to_owned();
            continue;
        }
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().unwrap_or_default();
        return judge(&target, status, &text);
    }
    JoinNews::Waits(format!("{url} sends this node in circles: the leader is changing"))
}

/// What an answer means.
fn judge(target: &str, status: u16, body: &[u8]) -> JoinNews {
    if status == 200 {
        let cluster = serde_json::from_slice::<MembersReply>(body).ok().and_then(|reply| reply.cluster);
        let identity = cluster.and_then(|cluster| {
            let id = u64::from_str_radix(&cluster.id, 16).ok()?;
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
            assert_eq!(judge("http://a", status, body.as_bytes()), expected);
        }
        for (status, body) in [(200, r#"{"members":[]}"#), (200, "hello"), (404, "<html>")] {
            assert!(matches!(judge("http://a", status, body.as_bytes()), JoinNews::Waits(_)), "{body}");
        }
    }
}
