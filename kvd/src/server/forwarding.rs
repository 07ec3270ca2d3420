//! Questions that only the leader answers, asked by another node on behalf of a client: `POST /raft/forward`.
//!
//! Each question is one HTTP request between nodes of the same cluster, over a pooled connection. The time left travels
//! in the frame, beside the question itself. Each leader has turns of its own, so that a leader that hangs while
//! holding all of its turns does not block questions to the next one. A frame is a head in postcard's encoding,
//! followed by the bytes that the head describes: for a question to write, the command; for an answer, the outcome of
//! the command, or JSON. Errors are those of the API. Variants are only ever added, at the end: a node refuses one that
//! it does not know, before it does anything.
//!
//! A question is forwarded only once: the receiver answers it, or says that it does not lead.

use crate::http::{Answer, Answered, ApiError, Forward, Forwarding, Gateway, Question, TIMEOUT_MAX, Unforwarded, View};
use crate::kv::Outcome;
use crate::node::MemberChange;
use crate::peer::{Agent, FRAME_BYTES_MAX, HELLO_HEADER, Hello, NoAnswer, NodeRequest, of_same_cluster, refuse};
use crate::raft::NodeId;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use kvclient::api::{ErrorCode, ErrorReply, LeaderEvent, NodeUrl, parse_hex_id};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply as _, Response};

const PATH: &str = "/raft/forward";

/// Memory for other nodes' questions while they arrive, in bytes.
const ARRIVING_BYTES_MAX: usize = 64 << 20;

/// A question that is arriving must make progress within this time. It may be long, and the link slow.
const ARRIVAL_STALL_MAX: Duration = Duration::from_secs(5);

/// Maximum length of a head, with the names and URLs of a membership change.
const HEAD_BYTES_MAX: usize = 4 << 10;

/// Maximum length of a question: that of an entry, and its head.
const QUESTION_BYTES_MAX: usize = FRAME_BYTES_MAX + HEAD_BYTES_MAX;

/// Maximum length of an answer: an item or the members of a cluster, and its head.
const ANSWER_BYTES_MAX: usize = FRAME_BYTES_MAX + HEAD_BYTES_MAX;

/// The leader answers by the deadline. The answer has this much longer to arrive.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// The head of a question.
#[derive(Debug, Serialize, Deserialize)]
struct QuestionHead {
    time_left_ms: u64,
    kind: QuestionKind,
}

#[derive(Debug, Serialize, Deserialize)]
enum QuestionKind {
    /// The command follows.
    Write,
    ChangeMembers(MemberChange),
    LeadershipTransfer(Option<String>),
}

/// The head of an answer.
#[derive(Debug, Serialize, Deserialize)]
struct AnswerHead {
    term: u64,
    kind: AnswerKind,
}

#[derive(Debug, Serialize, Deserialize)]
enum AnswerKind {
    /// The outcome follows, whole.
    Written,
    /// The members follow, as JSON.
    Members,
    /// The new leader follows, as JSON.
    Leader,
}

fn encode_question(question: Question, time_left: Duration) -> Bytes {
    let time_left_ms = u64::try_from(time_left.as_millis()).unwrap_or(u64::MAX);
    let (kind, content) = match question {
        Question::Write(command) => (QuestionKind::Write, command),
        Question::ChangeMembers(change) => (QuestionKind::ChangeMembers(change), Bytes::new()),
        Question::LeadershipTransfer(to) => (QuestionKind::LeadershipTransfer(to), Bytes::new()),
    };
    frame(&QuestionHead { time_left_ms, kind }, &content)
}

fn decode_question(frame: &Bytes) -> Option<(Question, Duration)> {
    let (QuestionHead { time_left_ms, kind }, content) = postcard::take_from_bytes(frame).ok()?;
    let content = frame.slice_ref(content);
    let question = match kind {
        QuestionKind::Write => Question::Write(content),
        QuestionKind::ChangeMembers(change) if content.is_empty() => Question::ChangeMembers(change),
        QuestionKind::LeadershipTransfer(to) if content.is_empty() => Question::LeadershipTransfer(to),
        QuestionKind::ChangeMembers(_) | QuestionKind::LeadershipTransfer(_) => return None,
    };
    Some((question, Duration::from_millis(time_left_ms).min(TIMEOUT_MAX)))
}

fn encode_answer(Answered { answer, term }: &Answered) -> Bytes {
    let json = |written: serde_json::Result<Vec<u8>>| written.expect("what the API says has a JSON form");
    let (kind, content) = match answer {
        Answer::Written(outcome) => (AnswerKind::Written, outcome.encode_whole()),
        Answer::Members(members) => (AnswerKind::Members, json(serde_json::to_vec(members))),
        Answer::Leader(leader) => (AnswerKind::Leader, json(serde_json::to_vec(leader))),
    };
    frame(&AnswerHead { term: *term, kind }, &content)
}

fn decode_answer(frame: &[u8]) -> Option<Answered> {
    let (AnswerHead { term, kind }, content) = postcard::take_from_bytes(frame).ok()?;
    let answer = match kind {
        AnswerKind::Written => Answer::Written(Outcome::decode_whole(content)?),
        AnswerKind::Members => Answer::Members(serde_json::from_slice(content).ok()?),
        AnswerKind::Leader => Answer::Leader(serde_json::from_slice(content).ok()?),
    };
    Some(Answered { answer, term })
}

fn frame(head: &impl Serialize, content: &[u8]) -> Bytes {
    let mut frame = postcard::to_allocvec(head).expect("a head has an encoding");
    frame.extend_from_slice(content);
    frame.into()
}

/// Forwards questions to the leader.
#[derive(Debug)]
pub(super) struct Forwarder {
    agent: Agent,
    hello: watch::Receiver<Hello>,
    view: watch::Receiver<View>,
    leader: watch::Receiver<LeaderEvent>,
    /// URLs at which members are dialled.
    dialled: watch::Receiver<BTreeMap<NodeId, String>>,
    /// Turns for each leader that there are questions for, by the leader's name.
    turns: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    /// Maximum number of questions from this node in flight to one leader, each over a connection of its own. Further
    /// questions wait for a turn.
    turns_max: usize,
}

impl Forwarder {
    pub(super) fn new(
        agent: Agent,
        hello: watch::Receiver<Hello>,
        view: watch::Receiver<View>,
        leader: watch::Receiver<LeaderEvent>,
        dialled: watch::Receiver<BTreeMap<NodeId, String>>,
        turns_max: usize,
    ) -> Self {
        Self { agent, hello, view, leader, dialled, turns: Mutex::default(), turns_max }
    }

    /// Waits for a turn with a leader.
    async fn turn(&self, to: &NodeUrl, deadline: Instant) -> Result<OwnedSemaphorePermit, Unforwarded> {
        let turns = self.turns_with(&to.id);
        if let Ok(turn) = Arc::clone(&turns).try_acquire_owned() {
            return Ok(turn);
        }
        let not_sent = |why: &str| Unforwarded::NotSent(why.into());
        tokio::select! {
            // The semaphore is never closed.
            turn = turns.acquire_owned() => turn.map_err(|_| not_sent("it accepts no more requests")),
            () = self.deposed(to) => Err(not_sent("it leads no more")),
            () = sleep_until(deadline) => Err(Unforwarded::Refused(ApiError::overloaded(format!(
                "too many requests to the leader, {}, are in flight: try again shortly",
                to.id
            )))),
        }
    }

    fn turns_with(&self, name: &str) -> Arc<Semaphore> {
        // No code panics while it holds this lock.
        let mut all = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = all.get(name) {
            return Arc::clone(turns);
        }
        // A new leader: earlier leaders' turns may be unused by now.
        all.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = Arc::new(Semaphore::new(self.turns_max));
        all.insert(name.to_owned(), Arc::clone(&turns));
        turns
    }

    /// Completes once this node no longer takes `node` for the leader.
    async fn deposed(&self, node: &NodeUrl) {
        let mut leader = self.leader.clone();
        let leads = |known: &LeaderEvent| known.leader.as_ref().is_some_and(|leader| leader.id == node.id);
        // A sender that is gone never announces another leader.
        if leader.wait_for(|known| !leads(known)).await.is_err() {
            std::future::pending().await
        }
    }

    /// Returns the URL at which the member of this name is dialled.
    fn peer_url(&self, name: &str) -> Option<String> {
        let member = self.view.borrow().members.iter().find(|member| member.id == name).cloned()?;
        let id = parse_hex_id(&member.node).map(NodeId);
        let dialled = id.and_then(|id| self.dialled.borrow().get(&id).cloned());
        Some(dialled.unwrap_or(member.peer_url))
    }

    async fn ask(&self, to: NodeUrl, question: Question, deadline: Instant) -> Result<Answered, Unforwarded> {
        let _turn = self.turn(&to, deadline).await?;
        let url = self.peer_url(&to.id).ok_or_else(|| Unforwarded::NotSent("it is no longer a member".into()))?;
        let frame = encode_question(question, deadline.saturating_duration_since(Instant::now()));
        let request = NodeRequest::post(&format!("{url}{PATH}"), "application/octet-stream", frame);
        let request = request.from_node(&self.hello.borrow());
        match self.agent.ask(request, deadline + ANSWER_MARGIN, ANSWER_BYTES_MAX).await {
            Ok(answer) => judge(&to, answer.status, &answer.body),
            Err(NoAnswer::NotSent(why)) => Err(Unforwarded::NotSent(why)),
            Err(NoAnswer::Lost(why)) => Err(Unforwarded::Lost(format!(
                "the request was sent to the leader, {}, and no answer arrived: \
                     {why}",
                to.id
            ))),
        }
    }
}

/// Interprets a node's answer.
fn judge(from: &NodeUrl, status: StatusCode, body: &[u8]) -> Result<Answered, Unforwarded> {
    let incomprehensible = || Unforwarded::Lost(format!("the leader, {}, sent an invalid answer", from.id));
    if status == StatusCode::OK {
        return decode_answer(body).ok_or_else(incomprehensible);
    }
    match serde_json::from_slice::<ErrorReply>(body) {
        Ok(ErrorReply { error }) if error.code == ErrorCode::NotFound => Err(Unforwarded::TooOld),
        Ok(ErrorReply { error }) => Err(Unforwarded::Refused(ApiError::from_node(error))),
        Err(_) => Err(incomprehensible()),
    }
}

impl Forward for Forwarder {
    fn forward(&self, to: &NodeUrl, question: Question, deadline: Instant) -> Forwarding<'_> {
        Box::pin(self.ask(to.clone(), question, deadline))
    }
}

/// Returns the route that takes other nodes' questions.
pub(super) fn route(hello: watch::Receiver<Hello>, gateway: Gateway) -> BoxedFilter<(Response,)> {
    let arriving = Arc::new(Semaphore::new(ARRIVING_BYTES_MAX));
    warp::path!("raft" / "forward")
        .and(warp::post())
        .and(warp::header::optional::<String>(HELLO_HEADER))
        .and(warp::header::<usize>("content-length"))
        .and(warp::body::stream())
        .then(move |theirs: Option<String>, length, body| {
            let (ours, gateway, arriving) = (hello.borrow().clone(), gateway.clone(), Arc::clone(&arriving));
            async move {
                match take(&ours, theirs.as_deref(), &arriving, length, body).await {
                    Ok((question, time)) => match gateway.answer_node(question, Instant::now() + time).await {
                        Ok(answered) => Response::new(encode_answer(&answered).into()),
                        Err(error) => error.into_response(),
                    },
                    Err(refusal) => *refusal,
                }
            }
        })
        .boxed()
}

/// Reads a question of `length` bytes.
async fn take<B: Buf>(
    ours: &Hello,
    theirs: Option<&str>,
    arriving: &Semaphore,
    length: usize,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<(Question, Duration), Box<Response>> {
    of_same_cluster(ours, theirs)?;
    let no_question = |why: &str| Box::new(refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why.to_owned()));
    if length > QUESTION_BYTES_MAX {
        return Err(no_question("a question of another node is not as long"));
    }
    let Ok(_charge) = arriving.try_acquire_many(u32::try_from(length).unwrap_or(u32::MAX)) else {
        let why = "too many requests from other nodes are in flight: try again shortly".to_owned();
        return Err(Box::new(refuse(ErrorCode::Overloaded, StatusCode::TOO_MANY_REQUESTS, why)));
    };
    let collecting = async {
        let mut body = pin!(body);
        let mut frame = BytesMut::with_capacity(length);
        while let Some(piece) = timeout(ARRIVAL_STALL_MAX, body.next()).await.ok()? {
            let mut piece = piece.ok()?;
            while piece.has_remaining() {
                let chunk = piece.chunk();
                frame.extend_from_slice(chunk);
                let taken = chunk.len();
                piece.advance(taken);
            }
        }
        Some(frame.freeze())
    };
    let frame = collecting.await.ok_or_else(|| {
        let why = "the request reached the leader incomplete: try again shortly".to_owned();
        Box::new(refuse(ErrorCode::Overloaded, StatusCode::TOO_MANY_REQUESTS, why))
    })?;
    decode_question(&frame).ok_or_else(|| {
        let why =
            format!("the leader, {}, runs a version that does not support this request: upgrade its kvd", ours.name);
        Box::new(refuse(ErrorCode::NotReady, StatusCode::SERVICE_UNAVAILABLE, why))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Item, PutDone};
    use kvclient::api::{LeaderReply, MembersReply};

    #[test]
    fn questions_and_answers_come_back_as_they_went() {
        let remove = MemberChange::Remove { name: "node2".into(), force: true };
        for question in [
            Question::Write(Bytes::from_static(b"a command")),
            Question::ChangeMembers(remove),
            Question::LeadershipTransfer(None),
            Question::LeadershipTransfer(Some("node3".into())),
        ] {
            let frame = encode_question(question.clone(), Duration::from_millis(4321));
            assert_eq!(decode_question(&frame), Some((question, Duration::from_millis(4321))));
        }
        let item = Item { value: "blue".into(), create_revision: 2, mod_revision: 3, version: 2, lease: None };
        for answer in [
            Answer::Written(Outcome::Set {
                revision: 9,
                done: PutDone { created: false, prev: Some(item.clone()), lease: None },
            }),
            Answer::Written(Outcome::ConditionFailed { current: Some(item) }),
            Answer::Written(Outcome::ConditionFailed { current: None }),
            Answer::Written(Outcome::StaleRequest { newest: 4 }),
            Answer::Members(MembersReply { members: Vec::new(), cluster: None }),
            Answer::Leader(LeaderReply { id: "node2".into(), url: "http://a".into(), term: 7 }),
        ] {
            let answered = Answered { answer, term: 12 };
            assert_eq!(decode_answer(&encode_answer(&answered)), Some(answered));
        }
    }

    #[test]
    fn the_bytes_of_questions_are_pinned() {
        for (question, expected) in [
            (Question::Write("cmd".into()), &b"\xe8\x07\x00cmd"[..]),
            (Question::LeadershipTransfer(Some("n2".into())), b"\xe8\x07\x02\x01\x02n2"),
            (Question::ChangeMembers(MemberChange::Promote { name: "n4".into() }), b"\xe8\x07\x01\x01\x02n4"),
            (
                Question::ChangeMembers(MemberChange::Replace { old: "n1".into(), new: "n4".into() }),
                b"\xe8\x07\x01\x03\x02n1\x02n4",
            ),
        ] {
            assert_eq!(encode_question(question, Duration::from_secs(1)), expected);
        }
    }

    #[test]
    fn what_is_no_question_is_none() {
        let endless = encode_question(Question::LeadershipTransfer(None), Duration::MAX);
        assert_eq!(decode_question(&endless), Some((Question::LeadershipTransfer(None), TIMEOUT_MAX)));
        for frame in [&b""[..], b"\x01", b"\x01\x09", b"\x01\x02\x00more", b"\x01\x01\x01\x05n4"] {
            assert_eq!(decode_question(&Bytes::copy_from_slice(frame)), None, "{frame:?}");
        }
        assert_eq!(decode_answer(b"\x01\x00"), None);
        assert_eq!(decode_answer(b"\x01\x07"), None);
    }

    fn leads(name: &str) -> LeaderEvent {
        let url = format!("http://{name}.example:8081");
        LeaderEvent { term: 5, leader: Some(NodeUrl { id: name.into(), url }) }
    }

    /// Maximum number of questions in flight.
    const TURNS_MAX: usize = 3;

    /// Returns a forwarder of a node that follows node2, and the sender that tells it of other leaders.
    fn forwarder() -> (Forwarder, watch::Sender<LeaderEvent>) {
        let (told, leader) = watch::channel(leads("node2"));
        let hello = Hello::of_member("node1", 1);
        let view = View { ready: true, ..View::forming("node1", "", "", "", 1) };
        let channels = (watch::channel(hello).1, watch::channel(view).1, watch::channel(BTreeMap::new()).1);
        (Forwarder::new(Agent::new(), channels.0, channels.1, leader, channels.2, TURNS_MAX), told)
    }

    #[tokio::test]
    async fn a_leader_that_stands_still_keeps_no_question_from_the_next() {
        let (forwarder, told) = forwarder();
        let (old, new) = (leads("node2").leader.unwrap(), leads("node3").leader.unwrap());
        let late = Instant::now() + Duration::from_secs(3600);
        let mut taken = Vec::new();
        for _ in 0..TURNS_MAX {
            taken.push(forwarder.turn(&old, late).await.unwrap());
        }
        let soon = Instant::now() + Duration::from_millis(10);
        let refused = forwarder.turn(&old, soon).await;
        let Err(Unforwarded::Refused(refusal)) = refused else { panic!("its time is over") };
        assert_eq!(refusal.code(), ErrorCode::Overloaded, "it was not sent, and the leader is there");
        let deposing = async {
            tokio::task::yield_now().await;
            told.send_replace(leads("node3"));
        };
        let (waiting, ()) = tokio::join!(forwarder.turn(&old, late), deposing);
        let Err(Unforwarded::NotSent(why)) = waiting else { panic!("there is no turn left") };
        assert!(why.contains("leads no more"), "{why}");
        assert!(forwarder.turn(&new, late).await.is_ok());

        assert_eq!(forwarder.turns.lock().unwrap().len(), 2, "the questions to the old one are still there");
        drop(taken);
        told.send_replace(leads("node4"));
        assert!(forwarder.turn(&leads("node4").leader.unwrap(), late).await.is_ok());
        assert_eq!(forwarder.turns.lock().unwrap().len(), 1);
    }

    #[test]
    fn an_answer_says_whether_it_can_have_come_to_something() {
        let from = NodeUrl { id: "node2".into(), url: "http://a".into() };
        let judged = |status, body: &str| judge(&from, status, body.as_bytes()).unwrap_err();
        let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"because","applied":"no"}}}}"#);
        assert_eq!(judged(StatusCode::NOT_FOUND, &error("not_found")), Unforwarded::TooOld);
        let Unforwarded::Refused(refused) = judged(StatusCode::TOO_MANY_REQUESTS, &error("overloaded")) else {
            panic!("an error of the API")
        };
        assert_eq!(refused.into_body().code, ErrorCode::Overloaded);
        for (status, body) in [(StatusCode::OK, "hello"), (StatusCode::BAD_GATEWAY, "<html>")] {
            assert!(matches!(judged(status, body), Unforwarded::Lost(_)), "{status} {body}");
        }
    }
}
