//! Path of a handler's question, from the moment it is asked until there is an answer or an error to render.

use super::super::error::ApiError;
use super::leading::{Answer, Answered, Forward, Question, Unforwarded};
use super::limits::{self, CommandLimits};
use super::view::View;
use super::words::{Backup, BackupError, NotTransferred, Request};
use crate::kv::{Level, Outcome, Revision, Store};
use crate::node::{ChangeError, MemberChange, ReadError, WriteError};
use bytes::Bytes;
use kvclient::api::{Applied, ErrorCode, LeaderEvent, LeaderReply, MembersReply, NodeState, NodeUrl};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

const INBOX_FULL: &str = "this node has too many requests in flight: try again shortly";

/// Reported for a question that never reached the replica, or that changes nothing.
const STOPPING: &str = "this node is stopping: ask another one";

/// Reported by a node that is no longer a member.
pub(in crate::http) const REMOVED: &str =
    "this node has been removed from its cluster and serves only stale reads: ask another node";

/// Message that ends the streams of a node that is no longer a member.
const STREAM_OF_REMOVED: &str =
    "this node has been removed from its cluster and hears of no more changes: go on at another node";

/// Interval at which a waiting question is asked again while a leader is known. The same leader may answer after all,
/// for example if it keeps leadership because a transfer failed.
const ASKED_AGAIN_EVERY: Duration = Duration::from_millis(200);

/// The same interval while no leader is known. The wait ends by itself as soon as a leader is known, so this interval
/// only covers other changes of the node, such as its removal. Thousands of questions may wait, and they must not keep
/// the replica from elections.
const ASKED_AGAIN_LEADERLESS_EVERY: Duration = Duration::from_secs(1);

/// Longest wait for a client that follows redirects. Such a client looks for the leader on other nodes as well, and
/// must not be kept from that.
const REDIRECTED_WAIT_MAX: Duration = Duration::from_secs(1);

/// The node as handlers see it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The replica's inbox. Full means overloaded: a handler never waits for room.
    pub requests: mpsc::Sender<Request>,
    /// The latest view.
    pub view: watch::Receiver<View>,
    /// The leader and the term. Separate from the view, which changes with every commit.
    pub leader: watch::Receiver<LeaderEvent>,
    /// The store of this node. Readers share the lock, which is never held during disk or network I/O.
    pub store: Arc<RwLock<Store>>,
    /// Asks the leader if that is another node.
    pub forward: Arc<dyn Forward>,
    /// Closed when the node begins to stop. Questions that wait for a leader then end.
    pub stopping: watch::Receiver<()>,
    /// Time left for questions that the replica or the leader already has when the node begins to stop.
    pub stop_time_max: Duration,
    /// Limits of a command.
    pub limits: CommandLimits,
    /// Time at which the daemon started.
    pub started: std::time::Instant,
}

/// Caller of a question, and its deadline.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The caller.
    pub caller: Caller,
    /// Time after which nobody waits for the answer.
    pub deadline: Instant,
}

/// Kinds of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client of this node.
    Client {
        /// True for a client that goes to the leader itself once it is told which node leads.
        redirects: bool,
    },
    /// Another node, on behalf of its own client. Its questions are never forwarded again.
    Node,
}

impl Asker {
    /// Returns the time until which to wait for a leader.
    fn leader_by(&self) -> Instant {
        match self.caller {
            Caller::Client { redirects: true } => self.deadline.min(Instant::now() + REDIRECTED_WAIT_MAX),
            Caller::Client { redirects: false } | Caller::Node => self.deadline,
        }
    }
}

/// Answer to a handler's question, with the term of the node that gave it.
pub(in crate::http) struct OfTerm<T> {
    pub(in crate::http) value: T,
    pub(in crate::http) term: u64,
}

/// Reason why the replica of this node gave no answer.
enum Unanswered {
    /// Another node leads.
    OtherLeads,
    /// There is no leader just now, and nothing has changed. Contains the error to return if no leader is elected.
    Leaderless(ApiError),
    /// The final answer, whichever node leads.
    Final(ApiError),
}

impl Gateway {
    // --- What leaders answer -------------------------------------------------------------------------------------

    /// Replicates and applies an encoded command. `target` is path and query of the request.
    ///
    /// # Errors
    /// The leader's error; each keeps the promise of its `applied`.
    pub(in crate::http) async fn write(
        &self,
        asker: &Asker,
        target: &str,
        command: Bytes,
    ) -> Result<OfTerm<Outcome>, ApiError> {
        let answered = self.ask_leader(asker, target, Question::Write(command)).await?;
        answered.only(|answer| if let Answer::Written(outcome) = answer { Some(outcome) } else { None })
    }

    /// Changes the members, and waits until the change is committed.
    ///
    /// # Errors
    /// The leader's error.
    pub(in crate::http) async fn change_members(
        &self,
        asker: &Asker,
        target: &str,
        change: MemberChange,
    ) -> Result<OfTerm<MembersReply>, ApiError> {
        let answered = self.ask_leader(asker, target, Question::ChangeMembers(change)).await?;
        answered.only(|answer| if let Answer::Members(members) = answer { Some(members) } else { None })
    }

    /// Transfers leadership to the node of this name, or to the best target.
    ///
    /// # Errors
    /// The leader's error.
    pub(in crate::http) async fn leadership_transfer(
        &self,
        asker: &Asker,
        target: &str,
        to: Option<String>,
    ) -> Result<OfTerm<LeaderReply>, ApiError> {
        let answered = self.ask_leader(asker, target, Question::LeadershipTransfer(to)).await?;
        answered.only(|answer| if let Answer::Leader(leader) = answer { Some(leader) } else { None })
    }

    /// Asks this node, and the leader if that is another node, until one answers or the deadline passes. When this node
    /// stops, it does not wait for questions whose deadline is much later.
    async fn ask_leader(&self, asker: &Asker, target: &str, question: Question) -> Result<Answered, ApiError> {
        let time = asker.deadline.saturating_duration_since(Instant::now());
        if time.is_zero() {
            return Err(ApiError::overloaded("this node did not process the request in time: try again shortly"));
        }
        let when_unknown = question.when_unknown();
        tokio::select! {
            biased;
            answered = self.ask_until_answered(asker, target, question) => answered,
            () = self.stop_overtakes(time) => Err(ApiError::outcome_unknown(format!(
                "this node is stopping before the outcome is known; {when_unknown}"
            ))),
        }
    }

    /// Completes once the node has been stopping for `stop_time_max`, if `time` is longer than that. Else never
    /// completes.
    async fn stop_overtakes(&self, time: Duration) {
        if time <= self.stop_time_max {
            // Nearly every question: it ends at its own deadline before that.
            return std::future::pending().await;
        }
        let mut stopping = self.stopping.clone();
        // A dropped sender means the same.
        let _ = stopping.changed().await;
        sleep(self.stop_time_max).await;
    }

    /// Repeats a question only if the answer said that nothing has changed and nothing will. So the question takes
    /// effect at most once.
    async fn ask_until_answered(&self, asker: &Asker, target: &str, question: Question) -> Result<Answered, ApiError> {
        let leader_by = asker.leader_by();
        loop {
            let mut leader = self.leader.clone();
            leader.mark_unchanged();
            let waits = match self.ask_here(asker, question.clone()).await {
                Ok(answered) => return Ok(answered),
                Err(Unanswered::Final(error)) => return Err(error),
                Err(Unanswered::Leaderless(error)) => error,
                Err(Unanswered::OtherLeads) => match (self.other_leader(), asker.caller) {
                    // Leadership moved between the replica's answer and this look at the view: there may be no leader
                    // now, or this node may be the leader.
                    (None, _) => ApiError::no_leader("the leader is changing: try again shortly"),
                    (Some(leader), Caller::Client { redirects: true } | Caller::Node) => {
                        return Err(to_leader(leader, target));
                    }
                    (Some(leader), Caller::Client { redirects: false }) => {
                        match self.forward.forward(&leader, question.clone(), asker.deadline).await {
                            Ok(answered) => return Ok(answered),
                            Err(Unforwarded::TooOld) => return Err(to_leader(leader, target)),
                            Err(Unforwarded::Lost(why)) => {
                                let then = question.when_unknown();
                                return Err(ApiError::outcome_unknown(format!("{why}; {then}")));
                            }
                            Err(Unforwarded::NotSent(why)) => ApiError::no_leader(format!(
                                "this node cannot reach the leader, {}: {why}. Nothing was changed: try again shortly",
                                leader.id
                            )),
                            Err(Unforwarded::Refused(error)) if !may_be_asked_again(&error) => return Err(error),
                            Err(Unforwarded::Refused(error)) if error.code() == ErrorCode::NotLeader => {
                                ApiError::no_leader("the leader is changing: try again shortly")
                            }
                            Err(Unforwarded::Refused(error)) => error,
                        }
                    }
                },
            };
            if asker.caller == Caller::Node {
                return Err(waits);
            }
            if self.wait_for_leader(&mut leader, leader_by).await? == Waited::TimeIsOver {
                return Err(waits);
            }
        }
    }

    /// Answers a question of another node, asked on behalf of that node's client. It is answered here or not at all.
    ///
    /// # Errors
    /// The replica's error; [`ErrorCode::NotLeader`] if another node leads; and an error if a command breaks a limit of
    /// this node.
    pub async fn answer_node(&self, question: Question, deadline: Instant) -> Result<Answered, ApiError> {
        if let Question::Write(command) = &question {
            limits::check_encoded(command, self.limits)?;
        }
        self.ask_leader(&Asker { caller: Caller::Node, deadline }, "", question).await
    }

    async fn ask_here(&self, asker: &Asker, question: Question) -> Result<Answered, Unanswered> {
        let (deadline, when_unknown) = (asker.deadline, question.when_unknown());
        let answer = match question {
            Question::Write(command) => {
                let answer = self.ask(|reply| Request::Write { command, deadline, reply }).await;
                answer.map(|outcome| outcome.map(Answer::Written).map_err(|error| self.unwritten(error)))
            }
            Question::ChangeMembers(change) => {
                let answer = self.ask(|reply| Request::ChangeMembers { change, deadline, reply }).await;
                answer.map(|members| members.map(Answer::Members).map_err(|error| self.unchanged(error)))
            }
            Question::LeadershipTransfer(to) => {
                let name = to.clone().unwrap_or_default();
                let asked = timeout_at(deadline, self.ask(|reply| Request::LeadershipTransfer { to, reply })).await;
                let answer = asked.map_err(|_| {
                    Unanswered::Final(ApiError::outcome_unknown(format!("the leader is not known yet; {when_unknown}")))
                })?;
                answer.map(|leader| leader.map(Answer::Leader).map_err(|error| self.not_transferred(&name, error)))
            }
        };
        match answer {
            Ok(answer) => answer.map(|answer| Answered { answer, term: self.view.borrow().term }),
            Err(NotAsked::Refused(error)) => Err(Unanswered::Final(error)),
            // The replica ended while it had the question, which may already be in its log.
            Err(NotAsked::Dropped) => Err(Unanswered::Final(ApiError::outcome_unknown(format!(
                "this node stopped before the outcome was known; {when_unknown}"
            )))),
        }
    }

    /// Returns the leader that this node knows now, if that is another node.
    fn other_leader(&self) -> Option<NodeUrl> {
        let view = self.view.borrow();
        view.leader.clone().filter(|leader| *leader.id != *view.name)
    }

    /// Waits until it is worth asking again, or until the deadline. `leader` is the leader known when the question was
    /// asked.
    ///
    /// # Errors
    /// [`ApiError`] if the node stops.
    async fn wait_for_leader(
        &self,
        leader: &mut watch::Receiver<LeaderEvent>,
        deadline: Instant,
    ) -> Result<Waited, ApiError> {
        let mut stopping = self.stopping.clone();
        let again_after =
            if leader.borrow().leader.is_some() { ASKED_AGAIN_EVERY } else { ASKED_AGAIN_LEADERLESS_EVERY };
        let until = deadline.min(Instant::now() + again_after);
        tokio::select! {
            biased;
            () = sleep_until(until) => Ok(if until == deadline { Waited::TimeIsOver } else { Waited::AskAgain }),
            _ = stopping.changed() => Err(ApiError::no_leader(STOPPING)),
            _ = leader.changed() => Ok(Waited::AskAgain),
        }
    }

    // --- What any node answers -----------------------------------------------------------------------------------

    /// Waits until this node has applied everything that was acknowledged before the call (ReadIndex, thesis §6.4). A
    /// read that could not be confirmed may be repeated: it changes nothing.
    ///
    /// Returns the cluster time of the answer, in milliseconds, unless the leader runs a version that sends none.
    ///
    /// # Errors
    /// The replica's error, and an error if the deadline passes first.
    pub(in crate::http) async fn confirm(&self, asker: &Asker) -> Result<Option<u64>, ApiError> {
        let leader_by = asker.leader_by();
        loop {
            let mut leader = self.leader.clone();
            leader.mark_unchanged();
            let deadline = asker.deadline;
            let waits = match self.ask(|reply| Request::Read { deadline, reply }).await {
                Err(NotAsked::Refused(error)) => return Err(error),
                Err(NotAsked::Dropped) => return Err(self.stopped()),
                Ok(Ok(time_ms)) => return Ok(time_ms),
                Ok(Err(ReadError::Overloaded)) => {
                    return Err(ApiError::overloaded("too many reads wait for a quorum: try again shortly"));
                }
                Ok(Err(ReadError::TimedOut)) => ApiError::read_timed_out(),
                Ok(Err(ReadError::NoLeader)) => match self.without_leader() {
                    Unanswered::Final(error) => return Err(error),
                    Unanswered::OtherLeads | Unanswered::Leaderless(_) => {
                        ApiError::no_leader("no leader is known: try again shortly, or read with consistency=stale")
                    }
                },
            };
            if self.wait_for_leader(&mut leader, leader_by).await? == Waited::TimeIsOver {
                return Err(waits);
            }
        }
    }

    /// Waits until this node has applied `revision`.
    ///
    /// # Errors
    /// [`ErrorCode::TooStale`] if the deadline passes first.
    pub(in crate::http) async fn reach(&self, asker: &Asker, revision: Revision) -> Result<(), ApiError> {
        let mut applied = self.applied();
        loop {
            let reached = self.with_store(Store::revision);
            if reached >= revision {
                return Ok(());
            }
            if applied.next(asker.deadline).await? == Next::TimeIsOver {
                let sentence = format!(
                    "this node is at revision {reached} and did not reach {revision} in time: try again, ask another \
                     node, or read without consistency=stale"
                );
                return Err(ApiError::new(ErrorCode::TooStale, sentence));
            }
        }
    }

    /// Returns a follower of the commands that this node applies. Each command that is applied from now on wakes it.
    pub(in crate::http) fn applied(&self) -> Applying {
        let mut view = self.view.clone();
        view.mark_unchanged();
        Applying { view, stopping: self.stopping.clone() }
    }

    /// Returns a snapshot of the whole store, with everything that this node has applied so far. The snapshot may have
    /// to be written first. That has no time limit, unless `by` sets one.
    ///
    /// # Errors
    /// The replica's error.
    pub(in crate::http) async fn backup(&self, by: Option<Instant>) -> Result<Backup, ApiError> {
        self.check_not_diverged()?;
        let asking = self.ask(|reply| Request::Backup { reply });
        let asked = match by {
            None => asking.await,
            Some(by) => timeout_at(by, asking).await.map_err(|_| {
                ApiError::new(ErrorCode::Timeout, "the backup was not ready in time: try again with a longer timeout")
            })?,
        };
        match asked {
            Ok(Ok(backup)) => Ok(backup),
            Ok(Err(BackupError::Forming)) => Err(ApiError::no_leader("this node is not part of a cluster yet")),
            Ok(Err(BackupError::TooMany)) => Err(ApiError::overloaded(
                "this node is already sending as many backups as it can: try again later, or ask another node",
            )),
            Ok(Err(BackupError::NoSpace)) => Err(ApiError::overloaded(
                "this node's disk has no space for a snapshot: free some space, or ask another node",
            )),
            Err(NotAsked::Refused(error)) => Err(error),
            Err(NotAsked::Dropped) => Err(self.stopped()),
        }
    }

    /// Reads the store. `read` must be one bounded piece of work, since the replica applies nothing meanwhile.
    pub(in crate::http) fn with_store<T>(&self, read: impl FnOnce(&Store) -> T) -> T {
        // A panic while the lock is held stops the process, so nobody is left to see a poisoned one.
        read(&self.store.read().unwrap_or_else(PoisonError::into_inner))
    }

    // --- The one way in ------------------------------------------------------------------------------------------

    /// Puts one request into the replica's inbox, and waits for its answer. Never waits for room in the inbox: a
    /// request that does not fit is refused before anything has begun.
    async fn ask<A>(&self, request: impl FnOnce(oneshot::Sender<A>) -> Request) -> Result<A, NotAsked> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(request(reply)).map_err(|refused| {
            NotAsked::Refused(match refused {
                TrySendError::Full(_) => ApiError::overloaded(INBOX_FULL),
                TrySendError::Closed(_) => ApiError::no_leader(STOPPING),
            })
        })?;
        answer.await.map_err(|_| NotAsked::Dropped)
    }

    // --- What the replica's refusals mean ------------------------------------------------------------------------

    fn unwritten(&self, error: WriteError) -> Unanswered {
        match error {
            WriteError::NotLeader { .. } => Unanswered::OtherLeads,
            WriteError::NoLeader => self.without_leader(),
            WriteError::TransferringLeadership => Unanswered::Leaderless(ApiError::no_leader(
                "leadership is being transferred to another node: try again shortly",
            )),
            WriteError::Superseded => Unanswered::Leaderless(ApiError::no_leader(
                "leadership was lost before the write was replicated: send it again",
            )),
            WriteError::StoreFull => Unanswered::Final(ApiError::store_full()),
            WriteError::Overloaded => {
                Unanswered::Final(ApiError::overloaded("too many writes wait for a quorum: try again shortly"))
            }
            WriteError::BelowLevel { needed, lacking } => Unanswered::Final(self.below_level(needed, &lacking)),
            WriteError::OutcomeUnknown => Unanswered::Final(ApiError::outcome_unknown(
                "no quorum answered in time, and the write may still be applied: repeat it with the same `request`, or \
                 read the key",
            )),
        }
    }

    /// The cluster is below the level that a request needs. `lacking` lists the members that do not know that level.
    fn below_level(&self, needed: Level, lacking: &[impl ToString]) -> ApiError {
        let members = Arc::clone(&self.view.borrow().members);
        let ids: Vec<String> = lacking.iter().map(ToString::to_string).collect();
        let names: Vec<&str> =
            members.iter().filter(|member| ids.contains(&member.node)).map(|member| member.id.as_str()).collect();
        ApiError::not_ready(match names.as_slice() {
            [] => format!("this needs level {needed}, which the cluster is about to reach: try again shortly"),
            names => format!(
                "this needs level {needed}, which {} has not reported to support: upgrade kvd there, or start it. \
                 Nothing was changed",
                names.join(", ")
            ),
        })
    }

    fn unchanged(&self, error: ChangeError) -> Unanswered {
        Unanswered::Final(match error {
            ChangeError::NotLeader => return Unanswered::OtherLeads,
            ChangeError::NoLeader => return self.without_leader(),
            ChangeError::UnknownMember(name) => {
                let names = self.member_names();
                let sentence = format!("no member named \"{name}\" (members: {names})");
                ApiError::new(ErrorCode::MemberNotFound, sentence)
            }
            ChangeError::WasRemoved(name) => {
                let sentence = format!(
                    "{name} was removed from this cluster, and the id of a removed node is never used again: stop it, \
                     clear its data directory, and let it join again"
                );
                ApiError::new(ErrorCode::Removed, sentence)
            }
            ChangeError::Refused(sentence) => ApiError::new(ErrorCode::ChangeRefused, sentence),
            ChangeError::TooMany => ApiError::overloaded("too many membership changes are waiting: try again shortly"),
            ChangeError::OutcomeUnknown => ApiError::outcome_unknown(
                "the change was started but not committed in time, so it may still happen: check `GET /members`, or \
                 repeat the request, which is safe",
            ),
        })
    }

    /// Returns the error for a failed transfer of leadership to `to`.
    fn not_transferred(&self, to: &str, failure: NotTransferred) -> Unanswered {
        let failed = |sentence: String| ApiError::new(ErrorCode::TransferFailed, sentence);
        Unanswered::Final(match failure {
            NotTransferred::NotLeader => return Unanswered::OtherLeads,
            NotTransferred::NoLeader => return self.without_leader(),
            NotTransferred::UnknownMember => {
                let names = self.member_names();
                ApiError::invalid(format!("no member named \"{to}\" (members: {names})"))
            }
            NotTransferred::NotVoter => {
                ApiError::invalid(format!("{to} is not a voter, so it cannot lead: choose a voter"))
            }
            NotTransferred::NoTarget => failed(
                "this node has not heard from another voter lately, so no node can take over and this one stays \
                 leader: see `GET /members` and start one"
                    .into(),
            ),
            NotTransferred::UnderWay { to } => failed(format!(
                "leadership is already being transferred to {to}: wait until that is done, then try \
                     again"
            )),
            NotTransferred::GivenUp { to, leader } => failed(format!(
                "{to} did not take over within an election timeout, and {leader} is still the leader: check that {to} \
                 runs and has caught up, then try again"
            )),
            NotTransferred::OtherElected { leader } => failed(format!(
                "{leader} was elected before the transfer was done and is now the leader: try again if you want \
                 another one"
            )),
            NotTransferred::LeaderUnknown => ApiError::outcome_unknown(
                "this node is no longer the leader and does not know the new one: see `GET /leader` of the other nodes",
            ),
        })
    }

    /// The replica knows no leader. Returns whether it is worth waiting for one.
    fn without_leader(&self) -> Unanswered {
        match self.view.borrow().state {
            NodeState::Removed => Unanswered::Final(ApiError::no_leader(REMOVED)),
            NodeState::Diverged => Unanswered::Final(ApiError::diverged()),
            _ => Unanswered::Leaderless(ApiError::no_leader("no leader is known: try again shortly")),
        }
    }

    /// Refuses to serve the store if its content differs from that of the other nodes.
    ///
    /// # Errors
    /// [`ErrorCode::Diverged`].
    pub(in crate::http) fn check_not_diverged(&self) -> Result<(), ApiError> {
        match self.view.borrow().state {
            NodeState::Diverged => Err(ApiError::diverged()),
            _ => Ok(()),
        }
    }

    /// Refuses to go on with a stream if this node stops, was removed from its cluster, or has diverged.
    ///
    /// # Errors
    /// [`ApiError`] that says which.
    pub(in crate::http) fn check_lives(&self) -> Result<(), ApiError> {
        // A dropped sender means that the node has stopped.
        if self.stopping.has_changed().unwrap_or(true) {
            return Err(ApiError::no_leader(STOPPING));
        }
        match self.view.borrow().state {
            NodeState::Diverged => Err(ApiError::diverged()),
            NodeState::Removed => Err(ApiError::new(ErrorCode::Removed, STREAM_OF_REMOVED)),
            _ => Ok(()),
        }
    }

    /// Completes once the node begins to stop.
    pub(in crate::http) async fn stops(&self) {
        let mut stopping = self.stopping.clone();
        // A dropped sender means the same.
        let _ = stopping.changed().await;
    }

    /// The replica ended while it had a question that changes nothing.
    fn stopped(&self) -> ApiError {
        self.check_not_diverged().err().unwrap_or_else(|| ApiError::no_leader(STOPPING))
    }

    /// Returns the names of the members, as a list for a sentence.
    fn member_names(&self) -> String {
        let view = self.view.borrow();
        let names: Vec<&str> = view.members.iter().map(|member| member.id.as_str()).collect();
        names.join(", ")
    }
}

impl Answered {
    /// Returns the answer if it is of the kind that was asked for.
    fn only<T>(self, pick: impl FnOnce(Answer) -> Option<T>) -> Result<OfTerm<T>, ApiError> {
        let Self { answer, term } = self;
        let other = || {
            ApiError::outcome_unknown(
                "the leader answered a different request, which is a bug in kvd: check whether yours took effect",
            )
        };
        pick(answer).map(|value| OfTerm { value, term }).ok_or_else(other)
    }
}

/// Follows the commands that a node applies.
pub(in crate::http) struct Applying {
    /// Changes with everything that is applied.
    view: watch::Receiver<View>,
    stopping: watch::Receiver<()>,
}

/// Outcome of a wait for more to be applied.
#[derive(PartialEq, Eq)]
pub(in crate::http) enum Next {
    /// More may have been applied.
    More,
    /// The deadline has passed.
    TimeIsOver,
}

impl Applying {
    /// Waits until more has been applied since the call before, or until the deadline.
    ///
    /// # Errors
    /// [`ApiError`] if the node stops.
    pub(in crate::http) async fn next(&mut self, deadline: Instant) -> Result<Next, ApiError> {
        tokio::select! {
            biased;
            _ = self.stopping.changed() => Err(ApiError::no_leader(STOPPING)),
            () = sleep_until(deadline) => Ok(Next::TimeIsOver),
            _ = self.view.changed() => Ok(Next::More),
        }
    }
}

/// Outcome of a wait for a leader.
#[derive(PartialEq, Eq)]
enum Waited {
    /// There may be a leader now.
    AskAgain,
    /// The deadline has passed: nobody waits for the answer.
    TimeIsOver,
}

/// Reason why a request got no answer from the replica.
enum NotAsked {
    /// It never reached the replica.
    Refused(ApiError),
    /// The replica ended while it had the request.
    Dropped,
}

/// Redirects a client to the leader.
fn to_leader(leader: NodeUrl, target: &str) -> ApiError {
    let location = leader.url.clone() + target;
    ApiError::not_leader(leader, location)
}

/// Returns true for another node's refusal that reports that nothing has changed and that a leader may be found soon.
fn may_be_asked_again(error: &ApiError) -> bool {
    error.applied() == Applied::No && matches!(error.code(), ErrorCode::NotLeader | ErrorCode::NoLeader)
}
