//! Forming a cluster: dials the configured peers until it is known who the founders are, and begins the log with them. If
//! there is a cluster already, of which this node has no data, it asks to return to it.
//!
//! Which of the two it is, and who the founders are, is decided in [`forming`].

use super::beginning;
use super::refusing::refuse;
use super::serving::Serving;
use super::shell::Shell;
use crate::config::{Config, Peer, StorageKind};
use crate::peer::{Founder, Hello, Link, LinkEvent, PeerEvent};
use crate::server::error::FatalError;
use crate::server::events::Event;
use crate::server::forming;
use crate::server::inbox::{Arrived, Inbox};
use crate::server::join_requests::{JoinNews, JoinRequests, Wish};
use crate::storage::ClusterIdentity;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often a node says in its log that it waits for its peers.
const WAITING_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// A node that forms a cluster with its peers.
#[derive(Debug)]
pub(super) struct Forming {
    decision: forming::Forming,
    /// Links to the peers, by their names.
    links: BTreeMap<String, Link>,
    /// While there is a cluster that this node was part of: asks it for the place of this node's earlier life.
    returning: Option<JoinRequests>,
    /// Nothing is founded with this node, and the log says so.
    is_held: bool,
}

/// The end of forming.
enum Formed {
    /// These nodes found a cluster.
    New(Vec<Founder>),
    /// This node is a member of a cluster that was there.
    Returned(ClusterIdentity),
}

impl Forming {
    /// Starts to dial the peers.
    pub(super) fn new(shell: &Shell) -> Self {
        let config = &shell.config;
        let names = config.peers.iter().map(|peer| peer.name.clone());
        let decision = forming::Forming::new(shell.hello.borrow().as_founder(), names, lacks(config));
        shell.hello.send_modify(|hello| hello.expects_data = config.expect_data);
        let links = config.peers.iter().map(|peer| (peer.name.clone(), dial(shell, peer))).collect();
        Self { decision, links, returning: None, is_held: false }
    }

    /// Runs until this node is part of a cluster and its log has begun; `None` if it is stopped before.
    pub(super) async fn run(mut self, shell: &mut Shell, inbox: &mut Inbox) -> Result<Option<Serving>, FatalError> {
        let Some(formed) = self.form(shell, inbox).await? else { return Ok(None) };
        drop(self);
        let recovered = match formed {
            Formed::New(founders) => beginning::found(shell, inbox, &founders).await?,
            Formed::Returned(cluster) => beginning::join(shell, inbox, cluster).await?,
        };
        Ok(Some(Serving::new(shell, recovered, None, 0)))
    }

    async fn form(&mut self, shell: &Shell, inbox: &mut Inbox) -> Result<Option<Formed>, FatalError> {
        if let Some(founders) = self.decision.founders_if_alone() {
            return Ok(Some(Formed::New(founders)));
        }
        let mut reminders = tokio::time::interval(WAITING_LOGGED_EVERY);
        reminders.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reminders.reset();
        loop {
            self.follow_decision(shell);
            let arrived = tokio::select! {
                arrived = inbox.next() => arrived?,
                _ = reminders.tick() => {
                    tracing::info!("forming: {}", self.decision.waiting_for());
                    continue;
                }
            };
            let formed = match arrived {
                None => return Ok(None),
                Some(Arrived::Event(event)) => self.take(event),
                Some(Arrived::FromPeer(PeerEvent::Met(hello))) => self.dialled_by(&hello).map(Formed::New),
                Some(Arrived::FromPeer(PeerEvent::Message(..))) => None,
                Some(Arrived::Request(request)) => {
                    refuse(request);
                    None
                }
            };
            if formed.is_some() {
                return Ok(formed);
            }
        }
    }

    /// Does and shows what follows from what is known of the peers by now.
    fn follow_decision(&mut self, shell: &Shell) {
        let decision = &self.decision;
        shell.hello.send_if_modified(|hello| {
            let is_news = hello.remembers != decision.remembers();
            hello.remembers = decision.remembers();
            is_news
        });
        decision.to_ask_again().into_iter().filter_map(|name| self.links.get(name)).for_each(Link::redial);
        let was_held = std::mem::replace(&mut self.is_held, decision.is_held() && !decision.is_to_return());
        if self.is_held && !was_held {
            tracing::warn!("waits {}", decision.waiting_for());
        }
        if !decision.is_to_return() {
            self.returning = None;
        } else if self.returning.is_none() {
            tracing::info!("{}", decision.waiting_for());
            self.returning = Some(shell.ask_to_join(shell.config.peer_urls(), Wish::Return, false));
        }
        shell.publisher.forming(decision.waiting_for());
    }

    fn take(&mut self, event: Event) -> Option<Formed> {
        match event {
            Event::Founder(name, LinkEvent::Met(hello)) => return self.decision.met(&name, &hello).map(Formed::New),
            Event::Founder(name, LinkEvent::Failed(why)) => self.decision.missed(&name, why),
            Event::Join(JoinNews::Joined(cluster)) if self.decision.returned(&cluster) => {
                return Some(Formed::Returned(cluster));
            }
            Event::Join(JoinNews::Leaderless(why)) => self.decision.found_no_leader(&why),
            Event::Join(JoinNews::Waits(why) | JoinNews::Removed(why) | JoinNews::Unknown(why)) => {
                self.decision.not_returned(why);
            }
            Event::Join(JoinNews::Joined(_)) => {}
            Event::Founder(_, LinkEvent::Lost | LinkEvent::Removed) => {}
            Event::Founder(_, LinkEvent::BulkOpened | LinkEvent::BulkStalled) => {}
            Event::Log(_) | Event::Snapshots(_) | Event::Member(..) | Event::States(_) | Event::Stopping(_) => {}
        }
        None
    }

    /// A node has dialled this one. Returns the founders, if they are known by that.
    fn dialled_by(&mut self, hello: &Hello) -> Option<Vec<Founder>> {
        let founders = hello.cluster.and_then(|_| self.decision.met_member(hello));
        if founders.is_none()
            && !self.decision.has_met(hello)
            && let Some(link) = self.links.get(&hello.name)
        {
            // The process that introduced itself may be gone by now: only who answers counts.
            link.redial();
        }
        founders
    }
}

/// Why this node has no data, as a part of a sentence, if it expects to have some.
fn lacks(config: &Config) -> Option<String> {
    let why = match config.storage {
        StorageKind::Disk => format!(
            "--expect-data is set, and --data-dir {} holds none: mount the volume that has it there, and start this node again",
            config.data_dir.display()
        ),
        StorageKind::Memory => {
            "--expect-data is set, and with --storage memory this node has none of its own".to_owned()
        }
    };
    config.expect_data.then_some(why)
}

fn dial(shell: &Shell, peer: &Peer) -> Link {
    let name = peer.name.clone();
    shell.open_link((&peer.name, &peer.url), None, move |found| Event::Founder(name.clone(), found))
}
