//! Becoming part of a cluster: dials the configured peers until it is known who the founders are, and
//! begins the log with them. If there is a cluster already, of which this node has no data, it asks to return to it.
//!
//! Which of the two it is, and who the founders are, is decided in `forming`; what the log begins with in
//! [`crate::data`].

use super::{ReplicaTask, Request};
use crate::config::StorageKind;
use crate::data::{FOUNDING_INDEX, cluster_of, founding_records};
use crate::http::{BackupError, NotHandedOver};
use crate::node::{ChangeError, ReadError, Recovered, Recovery, WriteError};
use crate::peer::{ClusterId, Founder, Link, LinkEvent, PeerEvent, founders_of, founding_configuration};
use crate::raft::{LogWrite, Record, WriteId};
use crate::server::FatalError;
use crate::server::forming::Forming;
use crate::server::inbox::Event;
use crate::server::joining::{JoinNews, Wish};
use crate::storage::ClusterIdentity;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

/// While a node waits for its peers to form a cluster, it says so this often.
const WAITING_LOGGED_EVERY: Duration = Duration::from_secs(10);

impl ReplicaTask {
    /// Meets the peers until it is known who founds the cluster, and begins the log with them. `None`
    /// if the node was stopped before.
    pub(super) async fn form(&mut self, stop: &mut oneshot::Receiver<()>) -> Result<Option<Recovered>, FatalError> {
        let names = self.config.peers.iter().map(|peer| peer.name.clone());
        let mut forming = Forming::new(self.hello.borrow().as_founder(), names, self.lacks());
        self.hello.send_modify(|hello| hello.expects_data = self.config.expect_data);
        let links: BTreeMap<String, Link> = self.config.peers.iter().map(|peer| self.dial_founder(peer)).collect();
        let mut reminders = tokio::time::interval(WAITING_LOGGED_EVERY);
        reminders.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reminders.reset();
        let mut founders = forming.founders_if_alone();
        let mut returning = None;
        let mut is_held = false;
        while founders.is_none() {
            self.hello.send_if_modified(|hello| {
                let is_news = hello.remembers != forming.remembers();
                hello.remembers = forming.remembers();
                is_news
            });
            forming.to_ask_again().into_iter().filter_map(|name| links.get(name)).for_each(Link::redial);
            let was_held = std::mem::replace(&mut is_held, forming.is_held() && !forming.is_to_return());
            if is_held && !was_held {
                tracing::warn!("waits {}", forming.waiting_for());
            }
            if !forming.is_to_return() {
                returning = None;
            } else if returning.is_none() {
                tracing::info!("{}", forming.waiting_for());
                returning = Some(self.ask(self.config.peer_urls(), Wish::Return, false)?);
            }
            self.publisher.forming(forming.waiting_for());
            tokio::select! {
                _ = &mut *stop => return Ok(None),
                Some(event) = self.events.recv() => match event {
                    Event::Founder(name, LinkEvent::Met(hello)) => founders = forming.met(&name, &hello),
                    Event::Founder(name, LinkEvent::Failed(why)) => forming.missed(&name, why),
                    Event::Joining(JoinNews::Joined(cluster)) => {
                        if forming.returned(&cluster) {
                            return self.begin_as_joined(cluster).await.map(Some);
                        }
                    }
                    Event::Joining(JoinNews::Leaderless(why)) => forming.found_no_leader(&why),
                    Event::Joining(JoinNews::Waits(why) | JoinNews::Removed(why) | JoinNews::Unknown(why)) => {
                        forming.not_returned(why);
                    }
                    Event::Founder(_, LinkEvent::Lost | LinkEvent::Removed)
                    | Event::Founder(_, LinkEvent::BulkOpened | LinkEvent::BulkStalled)
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
                    Event::DiskFailed(cause) => return Err(self.disk_failed(cause)),
                    Event::WriterPanicked => return Err(FatalError::Panicked),
                },
                Some(event) = self.from_peers.recv() => {
                    if let PeerEvent::Met(hello) = event {
                        if hello.cluster.is_some() {
                            founders = forming.met_member(&hello);
                        }
                        if founders.is_none()
                            && !forming.has_met(&hello)
                            && let Some(link) = links.get(&hello.name)
                        {
                            // It may be the word of a process that is gone by now: what counts is who answers.
                            link.redial();
                        }
                    }
                }
                Some(request) = self.requests.recv() => refuse(request),
                _ = reminders.tick() => tracing::info!("forming: {}", forming.waiting_for()),
            }
        }
        drop(links);
        self.found(&founders.unwrap_or_default()).await.map(Some)
    }

    /// Why this node has no data, as a part of a sentence, if it expects to have some.
    fn lacks(&self) -> Option<String> {
        let why = match self.config.storage {
            StorageKind::Disk => format!(
                "--expect-data is set, and --data-dir {} holds none: mount the volume that has it there, and start this node again",
                self.config.data_dir.display()
            ),
            StorageKind::Memory => {
                "--expect-data is set, and with --storage memory this node has none of its own".to_owned()
            }
        };
        self.config.expect_data.then_some(why)
    }

    fn dial_founder(&self, peer: &crate::config::Peer) -> (String, Link) {
        let name = peer.name.clone();
        let link = self.open_link((&peer.name, &peer.url), None, move |found| Event::Founder(name.clone(), found));
        (peer.name.clone(), link)
    }

    /// Begins the log with the first configuration, and then notes the cluster in the identity; see
    /// [`crate::data`].
    async fn found(&mut self, founders: &[Founder]) -> Result<Recovered, FatalError> {
        let configuration = founding_configuration(founders);
        let cluster = cluster_of(&configuration);
        let names = cluster.first_members.join(", ");
        tracing::info!("founds cluster {}, which is new and empty, of {names}", ClusterId(cluster.id));
        self.begin(founding_records(configuration), cluster).await
    }

    /// Begins the log with these records, and then notes the cluster in the identity.
    pub(super) async fn begin(
        &mut self,
        records: Vec<Record>,
        cluster: ClusterIdentity,
    ) -> Result<Recovered, FatalError> {
        let mut recovery = Recovery::default().with_level_max(self.config.level_max);
        for record in records.clone() {
            let recovered = recovery.record(record, self.config.raft.cache_bytes_max);
            recovered.expect("what a log begins with is no command");
        }
        self.writer.write(LogWrite { id: WriteId(0), restart: None, records });
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Written(_) => break,
                Event::DiskFailed(cause) => return Err(self.disk_failed(cause)),
                Event::WriterPanicked => return Err(FatalError::Panicked),
                Event::Fetched(..)
                | Event::LogUnreadable(..)
                | Event::SnapshotTaken(_)
                | Event::SnapshotUnreadable(_)
                | Event::SnapshotSent(..)
                | Event::SnapshotReceived(..)
                | Event::Founder(..)
                | Event::Member(..)
                | Event::Joining(_)
                | Event::StatesAsked(_)
                | Event::StatesReported(..)
                | Event::Stopping(_) => {}
            }
        }
        self.identity.cluster = Some(cluster);
        let saved = self.save_identity().await;
        saved.map_err(|_| FatalError::Panicked)?.map_err(|cause| self.disk_failed(cause))?;
        // Both stores are empty; readers already hold the one of this task.
        let recovered = Recovered { store: Arc::clone(&self.store), ..recovery.finish([]) };
        self.introduce_as_member(&recovered);
        Ok(recovered)
    }

    /// From now on this node introduces itself as a member of its cluster, to whom messages are sent.
    pub(super) fn introduce_as_member(&self, recovered: &Recovered) {
        let founders = recovered.configurations.get(&FOUNDING_INDEX);
        self.hello.send_modify(|hello| {
            hello.founders = founders.map(founders_of).unwrap_or_default();
            hello.cluster = self.cluster();
            hello.remembers = None;
            hello.expects_data = false;
        });
        if let Some(cluster) = &self.identity.cluster {
            self.publisher.cluster(cluster);
        }
    }
}

/// Answers a request that came before there was a cluster.
pub(super) fn refuse(request: Request) {
    // Nobody waits for an answer if its receiver is gone.
    match request {
        Request::Write { reply, .. } => drop(reply.send(Err(WriteError::NoLeader))),
        Request::Read { reply, .. } => drop(reply.send(Err(ReadError::NoLeader))),
        Request::HandOver { reply, .. } => drop(reply.send(Err(NotHandedOver::NoLeader))),
        Request::Backup { reply } => drop(reply.send(Err(BackupError::Forming))),
        Request::ChangeMembers { reply, .. } => drop(reply.send(Err(ChangeError::NoLeader))),
    }
}
