//! Joining a cluster that exists: asks to be added, and notes what cluster it is.
//!
//! The log is begun first, then the cluster goes into the identity (see [`crate::data`]). A crash at any point before
//! leaves a node that asks again, under the same id; after it, one that is a member and waits for its leader. The
//! leader dials it, and it dials back; see the guests in [`super::super::directory`].

use super::ReplicaTask;
use super::forming_task::refuse;
use crate::data::joining_records;
use crate::node::Recovered;
use crate::peer::PeerEvent;
use crate::server::FatalError;
use crate::server::inbox::Event;
use crate::server::joining::{JoinNews, Joining, Wish};
use crate::storage::ClusterIdentity;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};

/// While a node waits to be added, it says so this often.
const WAITING_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// What keeps a node from being added is worth a line once it has lasted this long: the leader may be changing.
const FIRST_LOGGED_AFTER: Duration = Duration::from_secs(1);

impl ReplicaTask {
    /// Asks the nodes of a cluster until this one is a member, and begins the log. `None` if the node was stopped
    /// before.
    pub(super) async fn join(&mut self, stop: &mut oneshot::Receiver<()>) -> Result<Option<Recovered>, FatalError> {
        let urls = self.config.join.clone();
        tracing::info!("asks {} to be added to the cluster", urls.join(", "));
        let mut waiting_for = format!("it asks {} to be added to the cluster", urls.join(", "));
        let _asking = self.ask(urls, Wish::Join, false)?;
        let mut reminders = tokio::time::interval_at(Instant::now() + FIRST_LOGGED_AFTER, WAITING_LOGGED_EVERY);
        reminders.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.publisher.forming(waiting_for.clone());
            tokio::select! {
                _ = &mut *stop => return Ok(None),
                Some(event) = self.events.recv() => match event {
                    Event::Joining(JoinNews::Joined(cluster)) => return self.begin_as_joined(cluster).await.map(Some),
                    Event::Joining(
                        JoinNews::Waits(why)
                        | JoinNews::Leaderless(why)
                        | JoinNews::Removed(why)
                        | JoinNews::Unknown(why),
                    ) => waiting_for = format!("to be added to the cluster: {why}"),
                    Event::DiskFailed(cause) => return Err(self.disk_failed(cause)),
                    Event::WriterPanicked => return Err(FatalError::Panicked),
                    Event::Founder(..)
                    | Event::Member(..)
                    | Event::Written(_)
                    | Event::Fetched(..)
                    | Event::LogUnreadable(..)
                    | Event::SnapshotTaken(_)
                    | Event::SnapshotUnreadable(_)
                    | Event::SnapshotSent(..)
                    | Event::SnapshotReceived(..)
                    | Event::StatesAsked(_)
                    | Event::StatesReported(..)
                    | Event::Stopping(_) => {}
                },
                Some(PeerEvent::Met(_) | PeerEvent::Message(..)) = self.from_peers.recv() => {}
                Some(request) = self.requests.recv() => refuse(request),
                _ = reminders.tick() => tracing::info!("waits {waiting_for}"),
            }
        }
    }

    /// Asks on, as a member that has nothing from its cluster yet: it may have been removed before it was ever fed.
    /// Without anybody that it was told of it can but wait.
    pub(super) fn ask_whether_still_wanted(&mut self) -> Result<(), FatalError> {
        let (urls, wish) = match self.config.join.is_empty() {
            true => (self.config.peer_urls(), Wish::Return),
            false => (self.config.join.clone(), Wish::Join),
        };
        self.asking = if urls.is_empty() { None } else { Some(self.ask(urls, wish, true)?) };
        Ok(())
    }

    /// Starts to ask.
    pub(super) fn ask(&self, urls: Vec<String>, wish: Wish, is_member: bool) -> Result<Joining, FatalError> {
        let node = self.identity.node_id.0;
        let asking = Joining::start(&self.config, node, urls, wish, is_member, self.events_in.clone());
        asking.map_err(FatalError::Resources)
    }

    /// This node is a member: begins its log and notes the cluster.
    pub(super) async fn begin_as_joined(&mut self, cluster: ClusterIdentity) -> Result<Recovered, FatalError> {
        tracing::info!("is a member of the cluster that {} formed", cluster.first_members.join(", "));
        self.begin(joining_records(), cluster).await
    }
}
