//! The stream of a watch: what it sends, and when.

use super::super::context::{Context, HeavyWork};
use super::super::error::ApiError;
use super::super::event_stream;
use super::super::gateway::Gateway;
use super::super::pulse::{Beating, Pulse};
use super::super::reply_budget::{Charge, ReplyBudget};
use super::super::streams::StreamPlace;
use super::super::watchers::{Form, Text, ToRead, Watcher};
use super::begin::Begun;
use super::changes::{Piece, Reading, Unread};
use super::present::Present;
use crate::kv::ChangePlace;
use bytes::Bytes;
use futures_util::stream;
use kvclient::api::{Consistency, ErrorReply, PROGRESS_MS_DEFAULT, WatchEvent, WatchPosition, WatchRequest};
use std::mem;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use warp::reply::Response;

/// Shortest time between two `progress` events.
const PROGRESS_TIME_MIN: Duration = Duration::from_millis(100);

/// Time after which a stream ends whose node has not heard from a leader.
const LEADERLESS_TIME_MAX: Duration = Duration::from_secs(15);

/// Longest time between two looks at how fresh the node is.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Time until the next look where the node is not fresh enough.
const CHECK_AGAIN_AFTER: Duration = Duration::from_millis(100);

const LEADERLESS: &str = "this node has heard from no leader for 15 s, so there may be changes that it does not know of: go \
                          on at another node";

/// Answers with the stream.
pub(super) fn answer(context: &Context, asked: &WatchRequest, begun: Begun, place: StreamPlace) -> Response {
    let Begun { cluster, position, watcher, present } = begun;
    let form = Form { prev: asked.prev, only: asked.only };
    let progress_time = Duration::from_millis(asked.progress_ms.unwrap_or(PROGRESS_MS_DEFAULT)).max(PROGRESS_TIME_MIN);
    let now = Instant::now();
    let stream = WatchStream {
        gateway: context.gateway.clone(),
        budget: context.replies.clone(),
        heavy_work: context.heavy_work.clone(),
        pulse: context.pulse.clone(),
        begun: now,
        cluster,
        watcher,
        reading: Reading::behind(position, form),
        phase: Phase::Start(present),
        ends_leaderless: !matches!(asked.read.consistency, Consistency::Stale { .. }),
        progress_time,
        progress_due: now + progress_time,
        _place: place,
        _beating: context.pulse.keep(progress_time),
    };
    event_stream::reply(stream::unfold(stream, |mut stream| async { stream.next().await.map(|chunk| (chunk, stream)) }))
}

/// A watch, and how far it has come.
struct WatchStream {
    gateway: Gateway,
    budget: ReplyBudget,
    heavy_work: HeavyWork,
    pulse: Pulse,
    begun: Instant,
    cluster: u64,
    watcher: Watcher,
    reading: Reading,
    phase: Phase,
    /// True if the stream ends when the node is cut off.
    ends_leaderless: bool,
    progress_time: Duration,
    /// Time of the next `progress`, or of the next look whether it can be sent.
    progress_due: Instant,
    _place: StreamPlace,
    _beating: Beating,
}

/// The next step of a stream.
enum Phase {
    Start(Option<Present>),
    Present(Present),
    /// Changes that the node has applied already.
    Reading,
    /// Word of how fresh the node is, if that is due: it has sent everything that it had applied.
    Read,
    /// Changes to come.
    Waiting,
    Ended,
}

impl WatchStream {
    /// Returns the next bytes to send; `None` once the stream has ended.
    async fn next(&mut self) -> Option<Bytes> {
        let ended = match mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Ended => return None,
            Phase::Start(present) => return Some(self.start(present)),
            Phase::Present(present) => self.present(present).await.map_err(Unread::Refused),
            phase => {
                self.phase = phase;
                self.changes().await
            }
        };
        Some(ended.unwrap_or_else(|unread| {
            self.phase = Phase::Ended;
            let event = match unread {
                Unread::Forgotten(forgotten) => WatchEvent::Compacted { oldest_revision: forgotten.oldest },
                Unread::Refused(error) => WatchEvent::Error(ErrorReply { error: error.into_body() }),
            };
            self.render(&event)
        }))
    }

    /// A watch that begins with what is there has sent nothing yet, so it begins at revision 0: a client that is cut off
    /// before it has everything does not take the rest for all.
    fn start(&mut self, present: Option<Present>) -> Bytes {
        let revision = if present.is_some() { 0 } else { self.reading.position() };
        self.phase = present.map_or(Phase::Reading, Phase::Present);
        self.render(&WatchEvent::Start { revision, cluster: self.cluster })
    }

    async fn present(&mut self, mut present: Present) -> Result<Bytes, ApiError> {
        loop {
            // Whoever else is waiting for this thread comes first.
            yield_now().await;
            self.gateway.check_lives()?;
            let keys = self.watcher.keys();
            let page = self.gateway.with_store(|store| present.page(store, keys, &self.budget))?;
            if page.items.is_empty() && !page.is_last {
                continue;
            }
            let mut events = Vec::new();
            if !page.items.is_empty() {
                events.push(WatchEvent::Initial { items: page.items });
            }
            if page.is_last {
                events.push(WatchEvent::Synced { revision: present.revision() });
            }
            self.phase = if page.is_last { Phase::Reading } else { Phase::Present(present) };
            return self.rendered(events, page.bytes, page.charge).await;
        }
    }

    async fn changes(&mut self) -> Result<Bytes, Unread> {
        loop {
            self.gateway.check_lives().map_err(Unread::Refused)?;
            if matches!(self.phase, Phase::Read) {
                self.phase = Phase::Waiting;
                if let Some(progress) = self.progress().map_err(Unread::Refused)? {
                    return Ok(self.render(&progress));
                }
            }
            if matches!(self.phase, Phase::Waiting) {
                match self.watcher.take() {
                    ToRead::NothingUpTo(revision) => self.reading.pass_to(ChangePlace::before(revision + 1)),
                    ToRead::From(revision) => {
                        self.reading.pass_to(ChangePlace::before(revision));
                        self.phase = Phase::Reading;
                    }
                }
            }
            let Self { gateway, watcher, reading, budget, .. } = self;
            let behind = reading.exact_position();
            if matches!(self.phase, Phase::Reading)
                && let Some(Text { up_to, bytes, .. }) = behind.and_then(|behind| watcher.text(reading.form(), behind))
            {
                reading.pass_to(ChangePlace::before(up_to + 1));
                return Ok(bytes);
            }
            let piece = match self.phase {
                Phase::Waiting => Piece::NOTHING,
                _ => gateway.with_store(|store| reading.piece(store, watcher.keys(), budget))?,
            };
            let Piece { events, bytes, charge, is_last } = piece;
            if is_last {
                self.phase = if events.is_empty() { Phase::Waiting } else { Phase::Read };
            }
            if !events.is_empty() {
                let bytes = self.rendered(events, bytes, charge).await.map_err(Unread::Refused)?;
                if let (Some(behind), Some(up_to)) = (behind, self.reading.exact_position()) {
                    self.watcher.share(self.reading.form(), &Text { behind, up_to, bytes: bytes.clone() });
                }
                return Ok(bytes);
            }
            if !is_last {
                yield_now().await;
                continue;
            }
            if let Some(progress) = self.progress().map_err(Unread::Refused)? {
                return Ok(self.render(&progress));
            }
            let due = self.progress_due.min(Instant::now() + CHECK_EVERY);
            tokio::select! {
                () = self.watcher.woken() => {}
                () = sleep_until(due) => {}
                () = self.gateway.stops() => {}
            }
        }
    }

    /// Returns a `progress` event if one is due and true. All that the stream has taken note of has been read.
    ///
    /// # Errors
    /// [`ApiError`] if the node has been without a leader for too long.
    fn progress(&mut self) -> Result<Option<WatchEvent>, ApiError> {
        let (now, known) = (Instant::now(), self.pulse.known());
        let fresh_at = known.map_or(self.begun, |known| known.at.max(self.begun));
        if self.ends_leaderless && now - fresh_at > LEADERLESS_TIME_MAX {
            return Err(ApiError::no_leader(LEADERLESS));
        }
        if now < self.progress_due {
            return Ok(None);
        }
        let revision = self.reading.position();
        if !known.is_some_and(|known| now - known.at <= self.progress_time && known.revision <= revision) {
            self.progress_due = now + CHECK_AGAIN_AFTER;
            return Ok(None);
        }
        self.progress_due = now + self.progress_time;
        Ok(Some(WatchEvent::Progress { revision }))
    }

    /// Renders events, on another thread if there is much to render.
    async fn rendered(&self, events: Vec<WatchEvent>, bytes: usize, charge: Charge) -> Result<Bytes, ApiError> {
        let (cluster, position, budget) = (self.cluster, self.reading.position(), self.budget.clone());
        let render = move || {
            let mut text = Vec::new();
            events.iter().for_each(|event| write(&mut text, cluster, position, event));
            budget.attach(charge, text)
        };
        self.heavy_work.run(bytes, render).await
    }

    fn render(&self, event: &WatchEvent) -> Bytes {
        let mut text = Vec::new();
        write(&mut text, self.cluster, self.reading.position(), event);
        text.into()
    }
}

/// Writes an event. `position` is the revision up to which everything has been sent: the id of an event that ends the
/// stream.
fn write(to: &mut Vec<u8>, cluster: u64, position: u64, event: &WatchEvent) {
    let revision = match event {
        WatchEvent::Compacted { .. } => Some(position),
        event => event.sent_up_to(),
    };
    let id = revision.map(|revision| WatchPosition { cluster, revision }.to_string());
    event_stream::write(to, id.as_deref(), event.name(), event);
}
