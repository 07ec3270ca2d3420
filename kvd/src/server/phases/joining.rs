//! Joining an existing cluster: asks to be added to it, and begins the log once it is added.
//!
//! A crash before the log is durable leaves a node that asks again, under the same id. A crash after it leaves a member
//! that waits for its leader. The leader dials it, and it dials back; see the guests in [`crate::server`]'s directory.

use super::beginning::begin;
use super::refusing::refuse;
use super::serving::Serving;
use super::shell::Shell;
use crate::bootstrap::{Beginning, JoinNews, Wish};
use crate::peer::PeerEvent;
use crate::server::error::FatalError;
use crate::server::events::Event;
use crate::server::inbox::{Arrived, Inbox};
use crate::server::join_requests::JoinRequests;
use crate::storage::ClusterIdentity;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// Interval at which a node logs that it waits to be added.
const WAITING_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// An obstacle is logged once it has lasted this long: the leader may be changing.
const FIRST_LOGGED_AFTER: Duration = Duration::from_secs(1);

/// A node that asks to be added to a cluster.
#[derive(Debug)]
pub(super) struct Joining {
    /// Requests to be added. Dropping this ends them.
    _requests: JoinRequests,
    /// The thing that this node waits for, as the rest of a sentence after "waiting for".
    waiting_for: String,
}

impl Joining {
    /// Starts to ask the nodes that `--join` names.
    pub(super) fn new(shell: &Shell) -> Self {
        shell.hello.send_modify(|hello| hello.joins = true);
        let urls = shell.config.join.clone();
        let named = urls.join(", ");
        tracing::info!("asking {named} to be added to the cluster");
        let requests = shell.ask_to_join(urls, Wish::Join, false);
        Self { _requests: requests, waiting_for: format!("asking {named} to be added to the cluster") }
    }

    /// Runs until this node is a member and its log has begun. Returns `None` if it is stopped before.
    pub(super) async fn run(mut self, shell: &mut Shell, inbox: &mut Inbox) -> Result<Option<Serving>, FatalError> {
        let Some(cluster) = self.join(shell, inbox).await? else { return Ok(None) };
        drop(self);
        tracing::info!("joined the cluster that {} formed", cluster.first_members.join(", "));
        let recovered = begin(shell, inbox, Beginning::as_joined(cluster)).await?;
        Ok(Some(Serving::new(shell, recovered, None, 0)))
    }

    async fn join(&mut self, shell: &Shell, inbox: &mut Inbox) -> Result<Option<ClusterIdentity>, FatalError> {
        let mut reminders = tokio::time::interval_at(Instant::now() + FIRST_LOGGED_AFTER, WAITING_LOGGED_EVERY);
        reminders.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            shell.publisher.forming(self.waiting_for.clone());
            let arrived = tokio::select! {
                arrived = inbox.next() => arrived?,
                _ = reminders.tick() => {
                    tracing::info!("{}", self.waiting_for);
                    continue;
                }
            };
            match arrived {
                None => return Ok(None),
                Some(Arrived::Event(Event::Join(news))) => match news {
                    JoinNews::Joined(cluster) => return Ok(Some(cluster)),
                    JoinNews::Waits(why)
                    | JoinNews::Leaderless(why)
                    | JoinNews::Silent(why)
                    | JoinNews::Removed(why)
                    | JoinNews::Unknown(why) => self.waiting_for = format!("waiting to be added to the cluster: {why}"),
                },
                Some(Arrived::Event(
                    Event::Log(_)
                    | Event::Snapshots(_)
                    | Event::Founder(..)
                    | Event::Member(..)
                    | Event::States(_)
                    | Event::Stopping(_),
                )) => {}
                Some(Arrived::FromPeer(PeerEvent::Met(_) | PeerEvent::Message(..))) => {}
                Some(Arrived::Request(request)) => refuse(request),
            }
        }
    }
}
