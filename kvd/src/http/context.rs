//! What handlers have in common: asking the replica, and what its answers mean over HTTP.

use super::body::{self, BodyReader};
use super::cluster::REMOVED;
use super::error::ApiError;
use super::gateway::{Backup, BackupError, Gateway, NotHandedOver, Request};
use super::listener::Limits;
use super::reply::ReplyBudget;
use crate::kv::{Outcome, Store};
use crate::node::{ChangeError, MemberChange, ReadError, WriteError};
use bytes::Bytes;
use kvclient::api::{LeaderReply, MembersReply, NodeState};
use std::sync::{PoisonError, RwLockReadGuard};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, oneshot, watch};

const INBOX_FULL: &str = "this node has too much under way: try again shortly";

/// Said of what never reached the replica, or only asked it something.
const STOPPING: &str = "this node is stopping: ask another one";

/// Up to this many bytes are parsed or rendered where they arrive; beyond it takes longer than handing
/// the work to another thread.
const LIGHT_BYTES_MAX: usize = 64 << 10;

/// Requests whose bytes are parsed or rendered on other threads at the same time.
const HEAVY_WORK_MAX: usize = 2;

/// State of the handlers of one server.
pub(super) struct Context {
    pub(super) gateway: Gateway,
    /// Largest JSON body, in bytes.
    pub(super) json_bytes_max: usize,
    pub(super) bodies: BodyReader,
    /// Memory for large replies.
    pub(super) replies: ReplyBudget,
    heavy_work: Semaphore,
    /// Closed when the server begins to stop; replies without an end then come to one.
    pub(super) stopping: watch::Receiver<()>,
}

impl Context {
    pub(super) fn new(gateway: Gateway, limits: &Limits, stopping: watch::Receiver<()>) -> Self {
        let json_bytes_max = body::json_bytes_max(gateway.value_bytes_max);
        let bodies = BodyReader::new(json_bytes_max, limits.body_time_max);
        let replies = ReplyBudget::new(limits.reply_bytes_max.max(json_bytes_max));
        Self { gateway, json_bytes_max, bodies, replies, heavy_work: Semaphore::new(HEAVY_WORK_MAX), stopping }
    }

    /// Does work whose time grows with `bytes`: here if they are few, else on another thread. The thread that
    /// polls handlers runs consensus too, and a crowd of large requests must not hold up its heartbeats.
    pub(super) async fn heavy_work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        if bytes <= LIGHT_BYTES_MAX {
            return work();
        }
        // The semaphore is never closed. A panic goes on here, where it ends one connection.
        let _permit = self.heavy_work.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Has an encoded command replicated and applied. `target` makes the path and query that a redirect leads to.
    ///
    /// # Errors
    /// As the replica says; each keeps the promise of its `applied`.
    pub(super) async fn write(&self, command: Bytes, target: impl FnOnce() -> String) -> Result<Outcome, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Write { command, reply })?;
        match answer.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) => Err(self.write_error(error, target)),
            // The replica went away with the write in its hands, maybe in its log.
            Err(_) => Err(ApiError::OutcomeUnknown(
                "this node stopped before the outcome was known: repeat the write elsewhere with the same `request`, \
                 or read the key",
            )),
        }
    }

    /// Whether what the store holds may be given out at all.
    ///
    /// # Errors
    /// [`ApiError::Diverged`].
    pub(super) fn check_not_diverged(&self) -> Result<(), ApiError> {
        match self.gateway.view.borrow().state {
            NodeState::Diverged => Err(ApiError::Diverged),
            _ => Ok(()),
        }
    }

    /// Waits until the store of this node is fresh enough for a read that begins now.
    ///
    /// # Errors
    /// As the replica says.
    pub(super) async fn freshen(&self) -> Result<(), ApiError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Read { reply })?;
        match answer.await {
            Ok(Err(ReadError::NoLeader)) if self.serves_nothing() => Err(self.no_leader()),
            Ok(answer) => answer.map_err(ApiError::from),
            Err(_) => Err(self.unanswered()),
        }
    }

    /// Has leadership handed over to the node of this name, or to the best.
    ///
    /// # Errors
    /// [`ApiError`] where it was not even tried.
    pub(super) async fn hand_over(&self, to: Option<String>) -> Result<Result<LeaderReply, NotHandedOver>, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::HandOver { to, reply })?;
        answer.await.map_err(|_| ApiError::OutcomeUnknown("this node stopped before another was known to lead"))
    }

    /// A snapshot of the whole store, with all that this node has applied by now. It may have to be written first.
    ///
    /// # Errors
    /// As the replica says.
    pub(super) async fn backup(&self) -> Result<Backup, ApiError> {
        self.check_not_diverged()?;
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Backup { reply })?;
        match answer.await {
            Ok(answer) => answer.map_err(|error| match error {
                BackupError::Forming => ApiError::NoLeader("this node is not part of a cluster yet".into()),
                BackupError::TooMany => ApiError::Overloaded(
                    "this node gives as many backups as it can at a time: try again later, or ask another node",
                ),
                BackupError::NoSpace => ApiError::Overloaded(
                    "this node's disk has no space for a snapshot: make space, or ask another node",
                ),
            }),
            Err(_) => Err(self.unanswered()),
        }
    }

    /// Has the members changed, and waits until that is committed.
    ///
    /// # Errors
    /// [`ApiError`] where it was not even tried, or will not be known.
    pub(super) async fn change_members(
        &self,
        change: MemberChange,
    ) -> Result<Result<MembersReply, ChangeError>, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::ChangeMembers { change, reply })?;
        answer.await.map_err(|_| {
            ApiError::OutcomeUnknown(
                "this node stopped before the outcome was known: see `GET /members` of another one, or ask there again, \
                 which does no harm",
            )
        })
    }

    /// Names of the members, as a sentence lists them.
    pub(super) fn member_names(&self) -> String {
        let view = self.gateway.view.borrow();
        let names: Vec<&str> = view.members.iter().map(|member| member.id.as_str()).collect();
        names.join(", ")
    }

    /// The replica went away with a question in its hands.
    fn unanswered(&self) -> ApiError {
        self.check_not_diverged().err().unwrap_or_else(|| ApiError::NoLeader(STOPPING.into()))
    }

    fn serves_nothing(&self) -> bool {
        matches!(self.gateway.view.borrow().state, NodeState::Removed | NodeState::Diverged)
    }

    /// Nobody is known who could answer.
    pub(super) fn no_leader(&self) -> ApiError {
        match self.gateway.view.borrow().state {
            NodeState::Removed => ApiError::NoLeader(REMOVED.into()),
            NodeState::Diverged => ApiError::Diverged,
            _ => ApiError::NoLeader("no leader is known: try again shortly".into()),
        }
    }

    /// The store, for a moment: not across an `await`.
    pub(super) fn store(&self) -> RwLockReadGuard<'_, Store> {
        // A panic while the lock is held stops the process, so nobody is left to see a poisoned one.
        self.gateway.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits for room in the inbox: what does not fit is refused, before anything was begun.
    fn ask(&self, request: Request) -> Result<(), ApiError> {
        self.gateway.requests.try_send(request).map_err(|refused| match refused {
            TrySendError::Full(_) => ApiError::Overloaded(INBOX_FULL),
            TrySendError::Closed(_) => ApiError::NoLeader(STOPPING.into()),
        })
    }

    fn write_error(&self, error: WriteError, target: impl FnOnce() -> String) -> ApiError {
        match error {
            WriteError::NotLeader { .. } => self.redirect(target),
            WriteError::NoLeader => self.no_leader(),
            WriteError::HandingOver => {
                ApiError::NoLeader("leadership is being handed over to another node: try again shortly".into())
            }
            WriteError::Superseded => {
                ApiError::NoLeader("leadership was lost before the write was replicated: send it again".into())
            }
            WriteError::Overloaded => ApiError::Overloaded("too many writes wait for a quorum: try again shortly"),
            WriteError::OutcomeUnknown => ApiError::OutcomeUnknown(
                "no quorum answered in time, and the write may still take effect: repeat it with the same `request`, \
                 or read the key",
            ),
        }
    }

    /// To the leader that this node knows by now. There may be none any more, or none yet but itself, when
    /// leadership moved between the replica's answer and this look at the view.
    pub(super) fn redirect(&self, target: impl FnOnce() -> String) -> ApiError {
        let view = self.gateway.view.borrow();
        match &view.leader {
            Some(leader) if *leader.id != *view.name => {
                ApiError::NotLeader { leader: leader.clone(), location: leader.url.clone() + &target() }
            }
            _ => ApiError::NoLeader("the leader is changing: try again shortly".into()),
        }
    }
}
